//! `doorward migrate`, as an operator runs it: an installation with live tokens goes from SQLite to PostgreSQL, whole or not
//! at all.

use std::{
    path::Path,
    process::{Child, Stdio},
};

use doorward_domain::id::OrganisationId;
use doorward_storage::{Kind, PostgresOptions, PostgresStore};
use doorward_testkit::{
    Answer, Demo, PostgresServer, PostgresSession,
    conformance::company::{LAB, NOBODY, changed, create_unit},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    admin::evidence::digest,
    binary::{PASSWORD, fails, init},
    program::{Server, command, run},
};

const BODY_PASSWORD: &str = "quite another donkey 5 trombones";

/// Runs a command that must succeed; what it prints.
pub fn ok(args: &[&str]) -> String {
    let output = run(args, "");
    let told = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{args:?}: {told}{errors}");
    told
}

/// Serves a database.
pub fn serve(url: &str, more: &[&str]) -> Server {
    let nowhere = Path::new("/nonexistent");
    Server::start(nowhere, &[&["--set", &format!("storage.url={url}")], more].concat())
}

/// Ends a server in good order, so that it has written all that it knows.
pub fn stop(server: Server) {
    server.signal("TERM");
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
}

pub async fn log_in(server: &Server, username: &str, password: &str) -> Answer {
    let body = json!({"username": username, "password": password, "organisation": "ACME"});
    Answer::of(server.request("POST", "/authentication/token").json(&body)).await
}

async fn log_in_with(server: &Server, key: &str) -> Answer {
    Answer::of(server.request("POST", "/authentication/web_api_key/token").basic_auth(key, Some(""))).await
}

/// Whom a token speaks for; `None` if it is refused.
pub async fn identity(server: &Server, token: &str) -> Option<Vec<String>> {
    let answer = Answer::of(server.request("GET", "/verify").bearer_auth(token)).await;
    let names = ["organisation", "organisation-id", "unit", "unit-id", "user", "user-id", "method"];
    match answer.status {
        200 => Some(names.iter().map(|name| answer.header(&format!("x-auth-{name}")).to_owned()).collect()),
        401 => None,
        _ => panic!("{answer:?}"),
    }
}

/// An administrator of ACME at work.
pub struct Desk<'a> {
    pub server: &'a Server,
    pub token: String,
}

impl Desk<'_> {
    pub async fn send(&self, method: &str, path: &str, body: Value) -> Value {
        let url = format!("http://{}/admin/v1/organisations/ACME{path}", self.server.admin);
        let request = reqwest::Client::new().request(method.parse().unwrap(), url).bearer_auth(&self.token);
        let answer = Answer::of(request.json(&body)).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        if answer.text.is_empty() { Value::Null } else { answer.json() }
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("http://{}/admin/v1/organisations/ACME{path}", self.server.admin);
        Answer::of(reqwest::Client::new().get(url).bearer_auth(&self.token)).await.json()
    }

    /// All records of the organisation, after making sure that their chain is whole.
    async fn records(&self) -> Vec<Value> {
        let records = self.get("/audit?order=oldest&limit=500").await["items"].as_array().unwrap().clone();
        let mut previous = "0".repeat(64);
        for (record, number) in records.iter().zip(1..) {
            assert_eq!((&record["number"], &record["previous"]), (&json!(number), &json!(previous)));
            previous = digest(record);
            assert_eq!(record["digest"], previous);
        }
        let last = &self.get("/audit/chain").await["last"];
        assert_eq!(*last, json!({"number": records.len(), "digest": previous}));
        records
    }
}

/// What was made before the move, and must be so behind it.
struct Before {
    folder: TempDir,
    /// Live tokens and whom they speak for.
    live: Vec<(String, Vec<String>)>,
    ended: Vec<String>,
    key: String,
    records: Vec<Value>,
}

impl Before {
    /// An installation that was worked with.
    async fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        init(folder.path());
        let server = Server::start(folder.path(), &[]);
        let token = log_in(&server, "admin", PASSWORD).await.token();
        let desk = Desk { server: &server, token: token.clone() };
        let unit = desk.send("POST", "/units", json!({"name": "Lager & Müller"})).await["id"].clone();
        let user = |name: &str| json!({"username": name, "password": BODY_PASSWORD, "units": [unit], "email": "A@b.de"});
        let zoe = desk.send("POST", "/users", user("Zoë")).await["id"].clone();
        let bo = desk.send("POST", "/users", user("bo")).await["id"].clone();
        let key = desk.send("POST", "/keys", json!({"name": "Job", "user": zoe})).await;
        let key = key["secret"].as_str().unwrap().to_owned();
        desk.send("PATCH", "/rules", json!({"tokens.password_idle": "2h", "lockout.failures": 7})).await;

        let mut live = Vec::new();
        for token in [
            token.clone(),
            log_in(&server, "zoë", BODY_PASSWORD).await.token(),
            log_in_with(&server, &key).await.token(),
        ] {
            let identity = identity(&server, &token).await.unwrap();
            live.push((token, identity));
        }
        let disabled = log_in(&server, "bo", BODY_PASSWORD).await.token();
        desk.send("PATCH", &format!("/users/{}", bo.as_str().unwrap()), json!({"status": "disabled"})).await;
        let released = log_in(&server, "zoë", BODY_PASSWORD).await.token();
        let release =
            server.request("POST", "/authentication/token/release").json(&json!({"token": released}));
        assert_eq!(Answer::of(release).await.code(), "OK");
        assert_eq!(log_in(&server, "zoë", "wrong").await.code(), "INVALID_CREDENTIALS");
        let records = desk.records().await;
        stop(server);
        Self { folder, live, ended: vec![disabled, released], key, records }
    }

    fn from(&self) -> String {
        format!("sqlite:{}", self.folder.path().display())
    }
}

#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn all_that_was_in_force_is_in_force_on_postgres() {
    let before = Before::make().await;
    let url = PostgresServer::shared().create_database();
    let from = before.from();
    let told = ok(&["migrate", "--from", &from, "--to", &url]);
    let database = url.rsplit('/').next().unwrap();
    for part in [
        format!("{} was moved to the PostgreSQL database \"{database}\"", before.folder.path().display()),
        "Checked: read back".to_owned(),
        "do not serve it again".to_owned(),
    ] {
        assert!(told.contains(&part), "{part}: {told}");
    }
    assert!(told.ends_with(&format!("Next: doorward serve --set 'storage.url={url}'\n")), "{told}");
    let rows = |table: &str| {
        let line = told.lines().find(|line| line.split_whitespace().next() == Some(table));
        line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_else(|| panic!("{table}: {told}"))
    };
    assert_eq!((rows("user"), rows("unit"), rows("web_api_key")), ("3", "2", "1"), "{told}");
    assert_eq!((rows("organisation_rule"), rows("session")), ("2", rows("session_use")), "{told}");

    let server = serve(&url, &[]);
    for (token, whom) in &before.live {
        assert_eq!(identity(&server, token).await.as_ref(), Some(whom));
    }
    for token in &before.ended {
        assert_eq!(identity(&server, token).await, None);
    }
    let desk = Desk { server: &server, token: before.live[0].0.clone() };
    let records = desk.records().await;
    assert_eq!(records[..before.records.len()], before.records[..]);
    assert_eq!(
        desk.get("/rules").await["rules"]["lockout.failures"]["value"],
        7,
        "{}",
        desk.get("/rules").await
    );
    // What was learnt of ended sessions is known.
    let explain = reqwest::Client::new().post(format!("http://{}/admin/v1/tokens/explain", server.admin));
    let explain = explain.bearer_auth(&desk.token).json(&json!({"token": before.ended[1]}));
    let explained = Answer::of(explain).await.json();
    assert_eq!(explained["reason"], "released", "{explained}");

    let new = [
        log_in(&server, "zoë", BODY_PASSWORD).await.token(),
        log_in_with(&server, &before.key).await.token(),
    ];
    for token in &new {
        assert!(identity(&server, token).await.is_some());
    }
    assert_eq!(log_in(&server, "bo", BODY_PASSWORD).await.status, 401);
    // What ends all sessions ends those that were moved and those that are new.
    let zoe = &before.live[1].1[5];
    desk.send("POST", "/sessions/end", json!({"user": zoe})).await;
    for token in [&before.live[1].0, &before.live[2].0, &new[0], &new[1]] {
        assert_eq!(identity(&server, token).await, None);
    }
    assert!(identity(&server, &log_in(&server, "zoë", BODY_PASSWORD).await.token()).await.is_some());
    assert!(desk.records().await.len() > before.records.len());
    drop(server);

    // It is not written over, and the folder is as it was.
    fails(&["migrate", "--from", &from, "--to", &url], 1, &[database, "has data", "storage.url"]);
    let server = Server::start(before.folder.path(), &[]);
    assert_eq!(identity(&server, &before.live[1].0).await.as_ref(), Some(&before.live[1].1));
    fails(&["migrate", "--from", &from, "--to", &url], 1, &["in use", "stop it first"]);
}

#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn what_is_configured_need_not_be_said_and_the_demo_stays_the_demo() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &["--demo"]);
    let token = log_in_with(&server, Demo::KEY).await.token();
    stop(server);
    let database = PostgresServer::shared();
    let url = database.create_database().replace("postgres@", "guarded@");
    let password = folder.path().join("password");
    std::fs::write(&password, "open sesame\n").unwrap();
    let file = folder.path().join("doorward.toml");
    let text = format!(
        "data = {data:?}\n[storage]\nurl = {url:?}\npassword_file = {:?}\n",
        folder.path().join("not-yet").display()
    );
    std::fs::write(&file, text).unwrap();
    let config = file.to_str().unwrap();
    fails(&["migrate", "--config", config], 1, &["not-yet", "storage.password_file"]);
    // What is configured is not for another database that is named.
    fails(&["migrate", "--config", config, "--to", &url], 1, &["password"]);
    let named = ["--to", &url, "--password-file", password.to_str().unwrap()];
    let told = ok(&[&["migrate", "--config", config][..], &named].concat());
    let next = told.lines().last().unwrap();
    assert!(
        next.starts_with("Next: doorward serve --demo --config") && next.contains("storage.password_file="),
        "{told}"
    );
    std::fs::rename(&password, folder.path().join("not-yet")).unwrap();
    fails(&["migrate", "--config", config], 1, &["has data"]);
    let server = Server::start(&data, &["--demo", "--config", config]);
    assert!(identity(&server, &token).await.is_some());
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn migrate_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let shown = folder.path().to_str().unwrap();
    let from = format!("sqlite:{shown}");
    let url = PostgresServer::shared().create_database();
    fails(&["migrate", "--from", &from], 2, &["--to postgres://", "storage.url"]);
    fails(&["migrate", "--from", shown, "--to", &url], 2, &["--from", "sqlite:FOLDER"]);
    fails(&["migrate", "--from", &from, "--to", "sqlite:x"], 2, &["--to", "URL of PostgreSQL"]);
    let with_password = "postgres://doorward:hunter2@db/doorward";
    let output = run(&["migrate", "--from", &from, "--to", with_password], "");
    let refused = String::from_utf8(output.stderr).unwrap();
    assert!(refused.contains("***") && refused.contains("`storage.password_file`"), "{refused}");
    assert!(output.status.code() == Some(2) && !refused.contains("hunter2"), "{refused}");
    fails(&["migrate", "--from", &from, "--to", &url], 1, &[shown, "no database"]);
    init(folder.path());
    let nowhere = url.replace(url.rsplit('/').next().unwrap(), "no_such");
    fails(&["migrate", "--from", &from, "--to", &nowhere], 1, &["no_such", "createdb"]);
    let file = folder.path().join("missing");
    let missing = file.to_str().unwrap();
    fails(&["migrate", "--from", &from, "--to", &url, "--password-file", missing], 1, &[missing]);
    fails(&["migrate", "--from", &from, "--to", &url, "--ca-file", missing], 1, &[missing]);
    ok(&["migrate", "--from", &from, "--to", &url]);
}

/// Waits until there is such a lock in a database, or no more.
fn until(server: &PostgresServer, url: &str, is_there: bool, lock: &str) {
    let sql = format!(
        "SELECT count(*) > 0 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
         WHERE datname = current_database() AND {lock}"
    );
    let wanted = if is_there { "t" } else { "f" };
    while server.sql(url, &sql) != wanted {
        server.sql(url, "SELECT pg_sleep(0.02)");
    }
}

/// A folder, a database with tables that has no data, and a move that has come to the last of them.
fn in_the_midst(server: &PostgresServer) -> (TempDir, String, PostgresSession, Child) {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path());
    let url = server.create_database();
    // A creation that fails leaves the tables.
    let orphan = changed(create_unit(LAB, OrganisationId::from_bytes(NOBODY), "Lab"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let created = runtime.block_on(PostgresStore::create(&PostgresOptions::new(&url), Kind::Real, &[orphan]));
    created.unwrap_err();
    // With it goes the connection, which keeps others from making tables.
    drop(runtime);
    let session = server.hold(&url, "BEGIN; LOCK TABLE audit");
    until(server, &url, true, "relation = 'audit'::regclass AND mode = 'AccessExclusiveLock' AND granted");
    let child = command(&["migrate", "--from", &format!("sqlite:{}", folder.path().display()), "--to", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until(server, &url, true, "relation = 'audit'::regclass AND NOT granted");
    (folder, url, session, child)
}

fn assert_empty(server: &PostgresServer, url: &str) {
    for table in ["organisation", "\"user\"", "audit", "audit_chain WHERE number > 0", "journal_state"] {
        assert_eq!(server.sql(url, &format!("SELECT count(*) FROM {table}")), "0", "{table}");
    }
    let set = format!("storage.url={url}");
    fails(&["serve", "--set", &set], 1, &["has no data", "doorward init"]);
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn a_move_that_is_killed_leaves_nothing_and_can_be_repeated() {
    let server = PostgresServer::shared();
    let (folder, url, session, mut child) = in_the_midst(server);
    child.kill().unwrap();
    child.wait().unwrap();
    drop(session);
    // The server may find out later that nobody is there any more; who comes next waits for that.
    let from = format!("sqlite:{}", folder.path().display());
    until(server, &url, false, "locktype = 'advisory'");
    assert_empty(server, &url);
    ok(&["migrate", "--from", &from, "--to", &url]);
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn a_move_to_a_server_that_dies_says_so_and_can_be_repeated() {
    let server = PostgresServer::start();
    let (folder, url, session, child) = in_the_midst(&server);
    server.kill();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && told.contains("nothing was moved"), "{told}");
    assert!(told.lines().count() == 1 && output.stdout.is_empty(), "{told}");
    drop(session);
    server.run();
    assert_empty(&server, &url);
    ok(&["migrate", "--from", &format!("sqlite:{}", folder.path().display()), "--to", &url]);
}
