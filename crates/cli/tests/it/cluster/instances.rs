//! Instances as processes, what they are asked over HTTP, and what is done to them.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use doorward_testkit::{Answer, FaultProxy, PostgresServer, history::Verdict};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

use super::{PATIENCE, below, soon};
use crate::program::{self, Server};

/// How many instances a cluster has.
pub const INSTANCES: usize = 3;
/// Their lease.
pub const LEASE: Duration = Duration::from_secs(2);

const PASSWORD: &str = "correct horse battery";

/// Instances of Doorward on one database.
pub struct Cluster {
    pub http: reqwest::Client,
    pub instances: Vec<Instance>,
    /// How long a client waits for a verdict. It waits a lease longer for what is committed.
    pub patience: Duration,
    /// The secret of a Web API key.
    pub key: String,
    folder: TempDir,
}

/// An instance, which may run or not. It has the same addresses whenever it does.
pub struct Instance {
    pub api: SocketAddr,
    pub admin: SocketAddr,
    /// Stands between it and PostgreSQL.
    pub proxy: FaultProxy,
    args: Vec<String>,
    environment: Mutex<Vec<(String, String)>>,
    server: Mutex<Option<Server>>,
    /// What earlier runs have printed.
    before: Mutex<String>,
}

impl Instance {
    /// The server, if it runs.
    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the process a signal by its name.
    pub fn signal(&self, name: &str) {
        self.server().as_ref().unwrap().signal(name);
    }

    /// Ends the process as a power failure would.
    pub fn kill(&self) {
        let server = self.server().take().unwrap();
        self.keep(&server.log());
        server.kill();
    }

    /// Ends the process in good order.
    pub fn stop(&self) {
        let server = self.server().take().unwrap();
        server.signal("TERM");
        let (code, log) = block_in_place(|| server.wait());
        assert_eq!(code, Some(0), "{log}");
        self.keep(&log);
    }

    /// Gives the process this environment when it is started again.
    pub fn set_environment(&self, variables: &[(&str, &str)]) {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        *self.environment.lock().unwrap() = variables.collect();
    }

    fn keep(&self, log: &str) {
        self.before.lock().unwrap().push_str(log);
    }

    /// All that it has printed.
    pub fn log(&self) -> String {
        let now = self.server().as_ref().map(Server::log).unwrap_or_default();
        self.before.lock().unwrap().clone() + &now
    }

    /// What of it an operator should know.
    pub fn warnings(&self) -> String {
        self.log()
            .lines()
            .filter(|line| !line.contains(r#""level":"INFO""#))
            .map(|line| format!("{line}\n"))
            .collect()
    }
}

impl Cluster {
    /// Makes a database on a server, and instances on it.
    pub async fn start(database: &PostgresServer) -> Self {
        Self::start_with(database, &[]).await
    }

    /// As [`Self::start`], with these settings.
    pub async fn start_with(database: &PostgresServer, settings: &[&str]) -> Self {
        let url = block_in_place(|| database.create_database());
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, database.port()));
        Self::start_on(&url, server, settings).await
    }

    /// Makes a database's contents and instances on it. They reach it through proxies where its URL has the address
    /// `server`.
    pub async fn start_on(url: &str, server: SocketAddr, settings: &[&str]) -> Self {
        // Addresses that no other program uses, so that no other program ever answers at one that an instance has left.
        static CLUSTERS: AtomicU8 = AtomicU8::new(0);
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id().to_le_bytes();
        let host = Ipv4Addr::new(127, 64 | (process[0] % 64), process[1], number.wrapping_add(1));

        let folder = tempfile::tempdir().unwrap();
        let storage = format!("storage.url={url}");
        let args =
            ["init", "--organisation", "ACME", "--username", "admin", "--password-stdin", "--set", &storage];
        let output = block_in_place(|| program::run(&args, PASSWORD));
        assert!(output.status.success(), "{output:?}");

        // Held until all are chosen, so that none is chosen twice.
        let (mut instances, mut held) = (Vec::new(), Vec::new());
        for number in 0..INSTANCES {
            let proxy = FaultProxy::start(server).await.unwrap();
            let url = url.replace(&server.to_string(), &proxy.address().to_string());
            assert!(url.contains(&proxy.address().to_string()), "{url} does not have {server}");
            let free = || TcpListener::bind((host, 0)).unwrap();
            let (api, admin) = (free(), free());
            let own = [
                format!("storage.url={url}"),
                "storage.connect_timeout=1s".into(),
                "storage.statement_timeout=2s".into(),
                format!("cluster.name=instance-{number}"),
                format!("cluster.lease={}", humantime::format_duration(LEASE)),
                "cluster.heartbeat=200ms".into(),
                "cluster.poll_interval=50ms".into(),
            ];
            let settings = own.iter().map(String::as_str).chain(settings.iter().copied());
            instances.push(Instance {
                api: api.local_addr().unwrap(),
                admin: admin.local_addr().unwrap(),
                proxy,
                args: settings.flat_map(|setting| ["--set".to_owned(), setting.to_owned()]).collect(),
                environment: Mutex::default(),
                server: Mutex::default(),
                before: Mutex::default(),
            });
            held.push((api, admin));
        }
        drop(held);
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        let mut cluster =
            Self { http, instances, patience: Duration::from_secs(1), key: String::new(), folder };
        for instance in 0..INSTANCES {
            cluster.run(instance);
        }
        let token = cluster.log_in(0, "admin", PASSWORD).await.token();
        let user = cluster.admin(0, &token, "GET", "/users", Value::Null).await;
        let key = json!({"name": "Load", "user": user["items"][0]["id"]});
        let key = cluster.admin(0, &token, "POST", "/keys", key).await;
        cluster.key = key["secret"].as_str().unwrap().to_owned();
        cluster
    }

    /// Starts an instance and waits until it listens.
    pub fn run(&self, number: usize) {
        let instance = &self.instances[number];
        let args: Vec<_> = instance.args.iter().map(String::as_str).collect();
        let (api, admin) = (instance.api.to_string(), instance.admin.to_string());
        let mut command = program::command(&[]);
        command.envs(instance.environment.lock().unwrap().iter().map(|(name, value)| (name, value)));
        let start = || Server::at([&api, &admin], command, self.folder.path(), &args);
        *instance.server() = Some(block_in_place(start));
    }

    /// A request to an instance.
    pub fn request(&self, instance: usize, method: &str, path: &str) -> reqwest::RequestBuilder {
        let address = self.instances[instance].api;
        self.http.request(method.parse().unwrap(), format!("http://{address}{path}"))
    }

    /// Logs in with a password.
    pub async fn log_in(&self, instance: usize, username: &str, password: &str) -> Answer {
        let body = json!({"organisation": "ACME", "username": username, "password": password});
        Answer::of(self.request(instance, "POST", "/authentication/token").json(&body)).await
    }

    /// The token of an administrator.
    pub async fn administrator(&self, instance: usize) -> String {
        self.log_in(instance, "admin", PASSWORD).await.token()
    }

    /// Has the organisation administered, which must succeed.
    pub async fn admin(&self, instance: usize, token: &str, method: &str, path: &str, body: Value) -> Value {
        let address = self.instances[instance].admin;
        let url = format!("http://{address}/admin/v1/organisations/ACME{path}");
        let request = self.http.request(method.parse().unwrap(), url).bearer_auth(token);
        let answer = Answer::of(if body.is_null() { request } else { request.json(&body) }).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        if answer.text.is_empty() { Value::Null } else { answer.json() }
    }

    /// Gets a token with the Web API key, if the instance can give one now.
    pub async fn issue(&self, instance: usize) -> Option<String> {
        self.issue_for(instance, &self.key).await
    }

    /// As [`Self::issue`], with the secret of a key.
    pub async fn issue_for(&self, instance: usize, key: &str) -> Option<String> {
        let request =
            self.request(instance, "POST", "/authentication/web_api_key/token").basic_auth(key, Some(""));
        match answered(request.timeout(self.patience + LEASE)).await? {
            Answer { status: 503, .. } => None,
            answer => Some(answer.token()),
        }
    }

    /// Verifies a token, which is a use of it.
    pub async fn verify(&self, instance: usize, token: &str) -> Verdict {
        self.verdict(self.request(instance, "GET", "/verify").bearer_auth(token)).await
    }

    /// Looks at a token, which is no use of it.
    pub async fn see(&self, instance: usize, token: &str) -> Verdict {
        self.verdict(self.request(instance, "GET", "/verify?touch=false").bearer_auth(token)).await
    }

    async fn verdict(&self, request: reqwest::RequestBuilder) -> Verdict {
        match answered(request.timeout(self.patience)).await {
            None => Verdict::Unavailable,
            Some(answer) => match answer.status {
                200 => Verdict::Active,
                401 => Verdict::Inactive,
                503 => Verdict::Unavailable,
                _ => panic!("{answer:?}"),
            },
        }
    }

    /// Releases a token; whether that was answered.
    pub async fn release(&self, instance: usize, token: &str) -> bool {
        let request = self.request(instance, "POST", "/authentication/token/release");
        match answered(request.json(&json!({"token": token})).timeout(self.patience + LEASE)).await {
            None | Some(Answer { status: 503, .. }) => false,
            Some(answer) => {
                assert_eq!((answer.status, &*answer.code()), (200, "OK"), "{answer:?}");
                true
            }
        }
    }

    /// Whether an instance calls itself ready.
    pub async fn is_ready(&self, instance: usize) -> bool {
        let address = self.instances[instance].admin;
        let answer = answered(self.http.get(format!("http://{address}/readyz")).timeout(self.patience)).await;
        let status = answer.map(|answer| answer.status);
        assert!(matches!(status, None | Some(200 | 503)), "{status:?}");
        status == Some(200)
    }

    /// Waits until the verdict of an instance is one of an instance that knows.
    pub async fn verify_soon(&self, instance: usize, token: &str) -> Verdict {
        soon("a verdict", async {
            loop {
                match self.verify(instance, token).await {
                    Verdict::Unavailable => sleep(Duration::from_millis(50)).await,
                    verdict => return verdict,
                }
            }
        })
        .await
    }

    /// Waits until every instance does everything that it is for. Nobody helps it.
    pub async fn serves_again(&self) {
        let began = Instant::now();
        for instance in 0..INSTANCES {
            let other = (instance + 1 + below(INSTANCES - 1)) % INSTANCES;
            soon(&format!("instance {instance} serves again"), async {
                loop {
                    if self.is_ready(instance).await
                        && let Some(token) = self.issue(instance).await
                        && self.verify(other, &token).await == Verdict::Active
                        && self.release(instance, &token).await
                    {
                        assert_ne!(self.verify(other, &token).await, Verdict::Active, "released");
                        break;
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            })
            .await;
        }
        eprintln!("all serve {:.1} s later", began.elapsed().as_secs_f64());
        for (number, instance) in self.instances.iter().enumerate() {
            let log = instance.log();
            assert!(!log.contains("panicked"), "instance {number}: {log}");
        }
    }

    /// What all instances have warned of, for a test that has failed.
    pub fn warnings(&self) -> String {
        let all = self.instances.iter().enumerate();
        all.map(|(number, instance)| format!("instance {number}:\n{}\n", instance.warnings())).collect()
    }
}

/// The answer to a request; `None` if there was none, which tells nothing.
async fn answered(request: reqwest::RequestBuilder) -> Option<Answer> {
    let response = request.send().await.ok()?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Some(Answer { status, headers, text: response.text().await.ok()? })
}
