//! A whole server in the test's own process: real sockets, a real database, a clock that the test moves.

use std::{collections::BTreeSet, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use doorward_domain::{
    address::AddressRules,
    address::TrustedProxies,
    administration::Administration,
    attempts::{Attempts, LockoutRules},
    audit::chain::StoredRecord,
    catalogue::{Catalogue, KeyCounts, OrganisationReference},
    change::{Change, NewPassword},
    clock::{Clock, TimeSource},
    directory::{Directory, NameLookup, Status},
    doorkeeper::{Doorkeeper, Parts},
    journal::{Entry, Journal, JournalThread, Outcome},
    lifetimes::Lifetimes,
    name::CanonicalName,
    passwords::{Argon2Cost, HashingLimits, PasswordHash, Passwords},
    policy::{BreachedPasswords, PasswordRules},
    resource,
    rules::Rules,
    session::Scope,
    session_table::SessionTable,
    sessions::Sessions,
};
use doorward_http::{
    Limits, Readiness, State,
    listener::{self, Bounds, Handle, places::Places},
    metrics::Metrics,
    router,
};
use doorward_storage::{Kind, OpenError, SqliteDirectory, SqliteStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{
    SystemRandomness, TestClock,
    world::{Organisation, audit},
};

/// How a test's server differs from the product's defaults.
#[derive(Clone)]
pub struct Options {
    /// Lifetimes of tokens.
    pub lifetimes: Lifetimes,
    /// When accounts are locked.
    pub lockout: LockoutRules,
    /// What passwords must be like.
    pub passwords: PasswordRules,
    /// From where logins are accepted.
    pub addresses: AddressRules,
    /// Leaked passwords.
    pub breached: Option<Arc<dyn BreachedPasswords>>,
    /// How much hashing may go on.
    pub hashing: HashingLimits,
    /// What a hash costs: next to nothing, for tests.
    pub cost: Argon2Cost,
    /// Bounds of a body.
    pub limits: Limits,
    /// Bounds of a connection.
    pub bounds: Bounds,
    /// Connections that the API listener may have.
    pub connections: usize,
    /// How long a client may take nothing.
    pub write_timeout: Duration,
    /// Proxies that are believed.
    pub proxies: TrustedProxies,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lifetimes: Lifetimes::default(),
            lockout: LockoutRules::default(),
            passwords: PasswordRules::default(),
            addresses: AddressRules::default(),
            breached: None,
            hashing: HashingLimits { threads: 2, queue: 64 },
            cost: Argon2Cost { memory_kib: 8, iterations: 1, parallelism: 1 },
            limits: Limits::default(),
            bounds: Bounds { header_timeout: Duration::from_secs(30) },
            connections: 10_000,
            write_timeout: Duration::from_secs(30),
            proxies: TrustedProxies::default(),
        }
    }
}

/// The server.
pub struct TestServer {
    /// The address of the contract.
    pub api: SocketAddr,
    /// The address of health and metrics.
    pub admin: SocketAddr,
    /// The address that Envoys ask.
    pub ext_authz: SocketAddr,
    /// The machine's clock.
    pub clock: TestClock,
    /// The organisation of the reference's examples.
    pub demo: Organisation,
    /// Another organisation.
    pub other: Organisation,
    /// The operator organisation.
    pub operator: Organisation,
    doorkeeper: Arc<Doorkeeper>,
    administration: Arc<Administration>,
    directory: Arc<SqliteDirectory>,
    journal: Journal,
    journal_thread: Option<JournalThread>,
    handles: [Handle; 3],
    servers: Vec<JoinHandle<std::io::Result<()>>>,
    folder: TempDir,
    options: Options,
    client: reqwest::Client,
}

impl TestServer {
    /// Starts a server with three organisations and the product's defaults.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// Starts a server with three organisations.
    pub async fn with(options: Options) -> Self {
        let clock = TestClock::default();
        let now = clock.wall();
        let folder = tempfile::tempdir().expect("a folder");
        let demo = Organisation::demo(now);
        let (other, operator) = (Organisation::new("OTHER", now), Organisation::new("OPERATOR", now));
        let all = [(&demo, false), (&other, false), (&operator, true)];
        let entries =
            all.map(|(organisation, is_operator)| organisation.entries(is_operator, options.cost, now));
        let store = SqliteStore::create(folder.path(), Kind::Real, &entries.concat()).expect("a database");
        Self::run(store, folder, clock, options, [demo, other, operator]).await
    }

    /// Starts a server on data that are there. They have none of the three organisations.
    pub async fn open(folder: TempDir) -> Self {
        let clock = TestClock::default();
        let now = clock.wall();
        let organisations = ["DEMO", "OTHER", "OPERATOR"].map(|code| Organisation::new(code, now));
        let store = SqliteStore::open(folder.path()).expect("the database");
        Self::run(store, folder, clock, Options::default(), organisations).await
    }

    async fn run(
        store: SqliteStore,
        folder: TempDir,
        test_clock: TestClock,
        options: Options,
        [demo, other, operator]: [Organisation; 3],
    ) -> Self {
        let clock = Clock::new(test_clock.clone());
        if let Some(latest) = store.latest() {
            clock.not_before(latest);
        }
        let table = Arc::new(SessionTable::default());
        store.load(&table, clock.now()).expect("sessions");
        let metrics = Arc::new(Metrics::default());
        let (ledger, directory) = store.start(metrics.clone(), 2).expect("readers");
        let directory = Arc::new(directory);
        let (journal, journal_thread) = Journal::start(ledger, table.clone(), |problem| panic!("{problem}"));
        let random = SystemRandomness;
        let passwords =
            Passwords::start(options.hashing, options.cost, &random, clock.clone(), metrics.clone(), || ());
        let rules = Rules {
            passwords: options.passwords.clone(),
            lockout: options.lockout,
            addresses: options.addresses.clone(),
            lifetimes: options.lifetimes,
        };
        let doorkeeper = Doorkeeper::new(Parts {
            clock: clock.clone(),
            random: Box::new(random),
            sessions: Sessions::all_in(table, clock),
            journal: journal.clone(),
            directory: directory.clone(),
            passwords: passwords.expect("hashing threads").with_breached(options.breached.clone()),
            attempts: Attempts::new(options.hashing.queue),
            rules,
            observer: metrics.clone(),
        });
        let doorkeeper = Arc::new(doorkeeper.expect("randomness"));
        let administration =
            Arc::new(Administration::new(doorkeeper.clone(), directory.clone(), BTreeSet::new()));
        let readiness = Readiness::default();
        readiness.set(true);
        let (limits, proxies) = (options.limits, Arc::new(options.proxies.clone()));
        let places = Places::new(options.connections, options.write_timeout, metrics.connections("api"));
        let state = State {
            doorkeeper: doorkeeper.clone(),
            administration: administration.clone(),
            metrics,
            limits,
            proxies,
            readiness,
        };
        let bind = || std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let (api, admin, ext_authz) = (bind(), bind(), bind());
        let address = |listener: &std::net::TcpListener| listener.local_addr().expect("an address");
        let addresses = [&api, &admin, &ext_authz].map(address);
        let handles = [Handle::new(), Handle::new(), Handle::new()];
        let api_service = router::api_service(state.clone(), 0xD00D);
        let servers = vec![
            tokio::spawn(listener::serve(
                api,
                api_service.of_peers(),
                None,
                options.bounds,
                places,
                handles[0].clone(),
            )),
            tokio::spawn(listener::serve(
                admin,
                router::admin_service(state.clone(), 0xD00E).of_peers(),
                None,
                options.bounds,
                Places::default(),
                handles[1].clone(),
            )),
            tokio::spawn(listener::serve(
                ext_authz,
                router::ext_authz_service(state, 0xD00F).of_peers(),
                None,
                options.bounds,
                Places::default(),
                handles[2].clone(),
            )),
        ];
        Self {
            api: addresses[0],
            admin: addresses[1],
            ext_authz: addresses[2],
            clock: test_clock,
            demo,
            other,
            operator,
            doorkeeper,
            administration,
            directory,
            journal,
            journal_thread: Some(journal_thread),
            handles,
            servers,
            folder,
            options,
            client: reqwest::Client::builder().pool_max_idle_per_host(64).build().expect("a client"),
        }
    }

    /// Stops without writing what was not yet written, as a crash would, and starts again on the same data.
    pub async fn crash_and_restart(mut self) -> Self {
        for handle in &self.handles {
            handle.stop(Duration::ZERO);
        }
        for server in self.servers.drain(..) {
            server.await.expect("no panic").expect("a stop");
        }
        let journal = self.journal_thread.take().expect("it runs");
        let Self {
            folder, clock, options, demo, other, operator, doorkeeper, administration, directory, ..
        } = self;
        drop((doorkeeper, administration, directory));
        tokio::task::spawn_blocking(|| journal.stop()).await.expect("no panic");
        // A program that another test starts holds the lock too, between its fork and its exec.
        let mut tries = 0;
        let store = loop {
            match SqliteStore::open(folder.path()) {
                Err(OpenError::InUse { .. }) if tries < 10_000 => tokio::task::yield_now().await,
                opened => break opened.expect("the database"),
            }
            tries += 1;
        };
        Self::run(store, folder, clock, options, [demo, other, operator]).await
    }

    /// Writes the uses that are due, or all.
    pub async fn flush(&self, all: bool) -> usize {
        self.doorkeeper.flush_uses(all).await.expect("a commit")
    }

    /// Frees what has ended.
    pub async fn sweep(&self) -> usize {
        self.doorkeeper.sweep().await.expect("a commit")
    }

    /// Removes audit records of this age, as housekeeping does.
    pub async fn forget_records(&self, retention: Duration) -> usize {
        self.administration.forget_records(retention).await.expect("a commit")
    }

    /// Counts the Web API keys that want attention, as housekeeping does for the metrics.
    pub async fn count_keys(&self) -> KeyCounts {
        self.administration.count_keys().await.expect("counts")
    }

    /// Changes the directory as an administrator does.
    pub async fn change(&self, change: Change) {
        let entry = Entry::change(change, audit(self.clock.wall()));
        let outcome = self.journal.submit(entry).await.expect("a commit");
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    }

    /// What a hash costs on this server.
    pub fn cost(&self) -> Argon2Cost {
        self.options.cost
    }

    /// The folder of the database.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The newest audit records, newest last.
    pub async fn audit(&self) -> Vec<StoredRecord> {
        self.directory.list_newest_records(1000).await.expect("records")
    }

    /// A request to the API listener.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.client.request(method, format!("http://{}{path}", self.api))
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request("POST", path).json(&body)).await
    }

    /// Enables or disables something of an organisation, as an administrator does.
    pub async fn set_status(&self, organisation: &Organisation, scope: Scope, status: Status) {
        let (id, directory) = (organisation.id, &*self.directory);
        let there = "the thing is there";
        let change = match scope {
            Scope::Organisation(id) => {
                let found = directory.find_organisation(OrganisationReference::Id(id)).await;
                let found = found.expect("an answer").expect(there).value;
                let organisation = resource::Organisation { status, ..found };
                Change::UpdateOrganisation { organisation, expected: None }
            }
            Scope::Unit(unit) => {
                let found = directory.find_unit(id, unit).await.expect("an answer").expect(there).value;
                let unit = resource::Unit { status, ..found };
                Change::UpdateUnit { organisation: id, unit, expected: None }
            }
            Scope::User(user) => {
                let found = directory.find_user(id, user).await.expect("an answer").expect(there).user;
                let user = resource::User { status, ..found.value };
                Change::UpdateUser { organisation: id, user, expected: None, ends_sessions: false }
            }
            Scope::Key(_, key) => {
                let found = directory.find_key(id, key).await.expect("an answer").expect(there).key;
                let key = resource::Key { status, ..found.value };
                Change::UpdateKey { organisation: id, key, expected: None }
            }
        };
        self.change(change).await;
    }

    /// Sets the password of an organisation's user to one with this hash, as an administrator does.
    pub async fn set_password(&self, organisation: &Organisation, hash: PasswordHash, must_change: bool) {
        let password = NewPassword { hash, must_change };
        let (organisation, user) = (organisation.id, organisation.user);
        self.change(Change::SetPassword { organisation, user, password, replaces: None }).await;
    }

    /// The hash of a user's password as it is stored.
    pub async fn stored_hash(&self, organisation: &Organisation, username: &str) -> PasswordHash {
        let name = |text: &str| CanonicalName::new(text).expect("a name");
        let lookup = self.directory.find_by_name(name(&organisation.code), name(username)).await;
        let NameLookup::Found(account) = lookup.expect("an answer") else { panic!("{username} is there") };
        account.user.password_hash.expect("a password")
    }

    /// A request to the admin listener.
    pub fn admin_request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.client.request(method, format!("http://{}{path}", self.admin))
    }

    /// A session of an administrator.
    pub async fn administrator(&self, organisation: &Organisation) -> Administrator<'_> {
        let token = self.log_in(organisation).await;
        self.bearer(&token, &organisation.id.to_string())
    }

    /// Whoever holds this token, at work on an organisation, of which the id or the code is given.
    pub fn bearer(&self, token: &str, organisation: &str) -> Administrator<'_> {
        let base = format!("/admin/v1/organisations/{organisation}");
        Administrator { server: self, token: token.to_owned(), base }
    }

    /// Reads a path of the admin listener.
    pub async fn admin(&self, path: &str) -> Answer {
        Answer::of(self.client.get(format!("http://{}{path}", self.admin))).await
    }

    /// The value of a metric's line that begins with `name`; zero if there is none.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.admin("/metrics").await.text;
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// Tries to log the user of an organisation in with a password.
    pub async fn try_password(&self, organisation: &Organisation, password: &str) -> Answer {
        let Organisation { code, username, .. } = organisation;
        let body = json!({"username": username, "password": password, "organisation": code});
        self.post("/authentication/token", body).await
    }

    /// Logs the user of an organisation in and returns the token.
    pub async fn log_in(&self, organisation: &Organisation) -> String {
        self.try_password(organisation, &organisation.password).await.token()
    }

    /// Tries to log somebody in.
    pub async fn try_login(&self, organisation: &str, username: &str, password: &str) -> Answer {
        let body = json!({"username": username, "password": password, "organisation": organisation});
        self.post("/authentication/token", body).await
    }

    /// Tries to log in with the secret of a Web API key.
    pub async fn try_key(&self, secret: &str) -> Answer {
        let request = self.request("POST", "/authentication/web_api_key/token");
        Answer::of(request.basic_auth(secret, Some(""))).await
    }

    /// Logs in with the Web API key of an organisation.
    pub async fn log_in_with_key(&self, organisation: &Organisation) -> String {
        self.try_key(&organisation.key).await.token()
    }

    /// Asks `/verify` about a token; this is a use.
    pub async fn verify(&self, token: &str) -> Answer {
        Answer::of(self.request("GET", "/verify").bearer_auth(token)).await
    }

    /// Whether a token is in force; this is not a use.
    pub async fn is_in_force(&self, token: &str) -> bool {
        let answer = Answer::of(self.request("GET", "/authentication/token").bearer_auth(token)).await;
        assert!(matches!(answer.status, 200 | 401), "{answer:?}");
        answer.status == 200
    }

    /// Releases a token.
    pub async fn release(&self, token: &str) -> Answer {
        self.post("/authentication/token/release", json!({"token": token})).await
    }
}

/// An administrator who works on one organisation: paths count from there.
pub struct Administrator<'a> {
    server: &'a TestServer,
    /// The token they work with.
    pub token: String,
    /// The path of the organisation.
    pub base: String,
}

impl Administrator<'_> {
    /// A request with the token.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let path = if path.starts_with("/admin") { path.to_owned() } else { format!("{}{path}", self.base) };
        self.server.admin_request(method, &path).bearer_auth(&self.token)
    }

    /// Sends a request without a body.
    pub async fn send(&self, method: &str, path: &str) -> Answer {
        Answer::of(self.request(method, path)).await
    }

    /// Sends a request with a body.
    pub async fn send_json(&self, method: &str, path: &str, body: Value) -> Answer {
        Answer::of(self.request(method, path).json(&body)).await
    }

    /// Sends a request that must succeed and returns its body.
    pub async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let request = self.request(method, path);
        let answer = Answer::of(if body.is_null() { request } else { request.json(&body) }).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        if answer.text.is_empty() { Value::Null } else { answer.json() }
    }

    /// The same administrator at work on another organisation, of which the id or the code is given.
    #[must_use]
    pub fn at(&self, organisation: &str) -> Self {
        self.server.bearer(&self.token, organisation)
    }

    /// Creates something and returns it.
    pub async fn create(&self, path: &str, body: Value) -> Value {
        let answer = self.send_json("POST", path, body).await;
        assert_eq!(answer.status, 201, "{path}: {answer:?}");
        answer.json()
    }

    /// Reads something.
    pub async fn get(&self, path: &str) -> Value {
        self.ok("GET", path, Value::Null).await
    }

    /// Changes something and returns it.
    pub async fn patch(&self, path: &str, body: Value) -> Value {
        self.ok("PATCH", path, body).await
    }

    /// Deletes something.
    pub async fn delete(&self, path: &str) {
        self.ok("DELETE", path, Value::Null).await;
    }

    /// All items of a list, page by page; `path` has a query.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let (mut items, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}&after={after}")).await;
            items.extend(page["items"].as_array().expect("items").iter().cloned());
            let Some(next) = page["next"].as_str() else { return items };
            assert_ne!(next, after, "the list ends");
            after = next.to_owned();
        }
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub text: String,
}

impl Answer {
    /// Sends a request and reads the answer.
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.expect("a body") }
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of the envelope.
    pub fn code(&self) -> String {
        self.json()["status"]["code"].as_str().expect("a code").to_owned()
    }

    /// Checks that this is a problem document with this status, code and member at fault (empty for none).
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str, member: &str) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        let member = (!member.is_empty()).then_some(member);
        assert_eq!(
            (self.status, problem["code"].as_str(), problem["member"].as_str()),
            (status, Some(code), member),
            "{self:?}"
        );
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.ends_with('.')), "{self:?}");
    }

    /// The token of a login that must have succeeded.
    pub fn token(&self) -> String {
        let token = self.json()["data"]["token"].as_str().map(str::to_owned);
        token.unwrap_or_else(|| panic!("no token: {self:?}"))
    }

    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }
}
