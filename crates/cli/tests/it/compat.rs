//! `doorward compat`: the real binary before a server, and against another.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use doorward_testkit::{Answer, Demo, TestServer};
use serde_json::json;
use tempfile::TempDir;

use crate::program::{command, run};

const MOUNT: &str = "/crmapi/rest/v2/authentication";

/// A recording proxy. Killed when dropped.
struct Recorder {
    child: Child,
    base: String,
}

impl Recorder {
    fn start(file: &str, upstream: &str) -> Self {
        let args = ["compat", "record", file, "--upstream", upstream, "--listen", "127.0.0.1:0"];
        let mut child = command(&args).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let base =
            line.split_whitespace().find(|word| word.starts_with("http://127.0.0.1:") && word.ends_with(';'));
        let base = base.unwrap_or_else(|| panic!("{line}")).trim_end_matches(';').to_owned();
        Self { child, base }
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        let request = reqwest::Client::new().post(format!("{}{MOUNT}{path}", self.base));
        Answer::of(request.header("content-type", "application/json").body(body.to_owned())).await
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// What a client of the old API does in a day.
async fn use_the_old_server(old: &TestServer, file: &str) -> Vec<String> {
    let recorder = Recorder::start(file, &format!("http://{}", old.api));
    let login =
        json!({"username": old.demo.username, "password": old.demo.password, "organisation": "CRMDEMO"});
    let token = recorder.post("/token", &login.to_string()).await.token();
    let key = reqwest::Client::new().post(format!("{}{MOUNT}/web_api_key/token", recorder.base));
    let by_key = Answer::of(key.basic_auth(Demo::KEY, Some(""))).await.token();
    for query in [format!("?token={token}"), String::new()] {
        let look = reqwest::Client::new().get(format!("{}{MOUNT}/token{query}", recorder.base));
        Answer::of(look.bearer_auth(&token)).await;
    }
    let wrong =
        json!({"username": old.demo.username, "password": "a wrong guess", "organisation": "CRMDEMO"});
    assert_eq!(recorder.post("/token", &wrong.to_string()).await.code(), "INVALID_CREDENTIALS");
    recorder.post("/token", "{\"username\": oops").await;
    recorder.post("/token/release", &json!({"token": token}).to_string()).await;
    // What is not of the resource passes and is not written down.
    let other = reqwest::Client::new().get(format!("{}/verify", recorder.base)).bearer_auth(&by_key);
    assert_eq!(Answer::of(other).await.status, 200);
    vec![token, by_key, Demo::KEY.to_owned(), old.demo.password.clone(), "a wrong guess".to_owned()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_old_server_answers_is_compared_with_another() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (TestServer::start().await, TestServer::start().await);
    let (file, secrets) = (path(&folder, "old.jsonl"), path(&folder, "secrets.toml"));
    let known = use_the_old_server(&old, &file).await;
    let recording = std::fs::read_to_string(&file).unwrap();
    assert_eq!(recording.lines().count(), 7, "{recording}");
    assert!(known.iter().all(|secret| !recording.contains(secret.as_str())), "S1: {recording}");

    let listed = String::from_utf8(run(&["compat", "secrets", &file], "").stdout).unwrap();
    let names: Vec<_> = listed.lines().filter(|line| line.ends_with("= \"\"")).collect();
    assert_eq!(names, ["\"key 1\" = \"\"", "\"password 1\" = \"\"", "\"password 2\" = \"\""], "{listed}");
    let filled = listed
        .replace("\"key 1\" = \"\"", &format!("\"key 1\" = \"{}\"", Demo::KEY))
        .replace("\"password 1\" = \"\"", &format!("\"password 1\" = \"{}\"", old.demo.password))
        .replace("\"password 2\" = \"\"", "\"password 2\" = \"a wrong guess\"");
    std::fs::write(&secrets, filled).unwrap();
    let server = format!("http://{}", new.api);
    let replay = ["compat", "replay", &file, "--server", &server, "--secrets", &secrets];
    let output = tokio::task::block_in_place(|| run(&replay, ""));
    let told = String::from_utf8(output.stdout).unwrap();
    // The servers have other ids for the same organisation and user, and nothing else is different.
    let differences: Vec<_> = told.lines().filter(|line| line.starts_with("    /")).collect();
    assert!(differences.iter().all(|line| line.contains("/id: ") || line.contains("_at: ")), "{told}");
    // All but the body that was neither JSON nor a form could be sent.
    assert!(told.contains("was not sent: its body could not be recorded"), "{told}");
    assert!(told.contains("1 requests were not sent"), "{told}");
    // The release reached the new server: the token that it gave for the recorded one is gone.
    let events: Vec<_> = new.audit().await.into_iter().map(|row| row.event).collect();
    assert!(events.contains(&"release".to_owned()), "{events:?}");
    // Without secrets nothing is guessed.
    let output = tokio::task::block_in_place(|| run(&replay[..5], ""));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("there is no value of 'password 1'") && output.status.code() == Some(1), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn differences_are_shown_and_wrong_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let new = TestServer::start().await;
    let file = path(&folder, "old.jsonl");
    let exchange = json!({
        "method": "POST", "target": format!("{MOUNT}/token"), "content_type": "application/json", "body": "{}",
        "answer": {"status": 200, "content_type": "application/json",
                   "body": r#"{"status":{"code":"OLD_CODE","message":"","description":""},"data":{}}"#},
    });
    std::fs::write(&file, format!("{exchange}\n")).unwrap();
    let server = format!("http://{}", new.api);
    let replay = |file: &str, more: &[&str]| {
        let args = [&["compat", "replay", file, "--server", &server], more].concat();
        let output = tokio::task::block_in_place(|| run(&args, ""));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, told, _) = replay(&file, &[]);
    assert!(
        code == Some(1) && told.contains("/status/code: \"OLD_CODE\" -> \"MISSING_PARAMETER\""),
        "{told}"
    );
    std::fs::write(&file, "{}\n").unwrap();
    let (code, _, told) = replay(&file, &[]);
    assert!(
        code == Some(1) && told.contains("line 1: it is nothing that `doorward compat record` writes"),
        "{told}"
    );
    let secrets = path(&folder, "secrets.toml");
    std::fs::write(&secrets, "\"password 1\" = \"canary\nx").unwrap();
    let (code, _, told) = replay(&file, &["--secrets", &secrets]);
    assert!(code == Some(2) && told.contains("secrets.toml, line") && !told.contains("canary"), "{told}");
    let output = run(&["compat", "record", &file, "--upstream", "http://old.example"], "");
    assert!(String::from_utf8(output.stderr).unwrap().contains("name a file that is not there yet"));
    let output = run(&["compat", "record", "new.jsonl", "--upstream", "old.example"], "");
    assert_eq!(output.status.code(), Some(2));
}
