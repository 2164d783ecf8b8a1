//! S1: canary secrets go through everything that the server does, and are then searched in all that it wrote.

use std::path::Path;

use doorward_testkit::Answer;
use serde_json::json;

use crate::program::{Server, run};

const PASSWORD: &str = "canary-password-7f3a";
const WRONG: &str = "canary-wrong-guess-91c2";
const KEY: &str = "CANARY-KEY-5D10";

#[tokio::test]
async fn s1_no_secret_is_in_logs_metrics_answers_or_files() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let shown = data.to_str().unwrap();
    let output = run(
        &["init", "--organisation", "ACME", "--username", "admin", "--password-stdin", "--data", shown],
        PASSWORD,
    );
    assert!(output.status.success());
    assert!(!String::from_utf8(output.stdout).unwrap().contains(PASSWORD));

    let server = Server::start(&data, &["--set", "log.level=trace"]);
    let post = |path: &str, body: String| Answer::of(server.request("POST", path).body(body));
    let log_in = |password: &str| {
        let body = json!({"username": "admin", "password": password, "organisation": "ACME"});
        post("/authentication/token", body.to_string())
    };
    let mut answers = Vec::new();
    let login = log_in(PASSWORD).await;
    let token = login.token();
    let other = log_in(PASSWORD).await.token();
    answers.push(log_in(WRONG).await);
    // Typed into the wrong field, for an organisation that is there and for one that is not.
    for organisation in ["ACME", "NOBODY"] {
        let body = json!({"username": WRONG, "password": "x", "organisation": organisation});
        answers.push(post("/authentication/token", body.to_string()).await);
    }
    answers.push(
        post("/authentication/token", format!("{{\"username\":\"admin\",\"password\":\"{WRONG}\" oops"))
            .await,
    );
    answers.push(
        post("/authentication/token", format!("{{\"username\":\"admin\",\"password\":[\"{WRONG}\"]}}")).await,
    );
    answers.push(post("/authentication/token", format!("username=admin&password={WRONG}")).await);
    for mount in ["/authentication", "/crmapi/rest/v2/authentication", ""] {
        for path in
            [format!("/token?token={token}"), format!("/token/{token}"), format!("/verify?token={token}")]
        {
            answers.push(Answer::of(server.request("GET", &format!("{mount}{path}"))).await);
        }
    }
    let forwarded =
        server.request("GET", "/verify").header("X-Original-URI", format!("/orders?token={token}"));
    answers.push(Answer::of(forwarded).await);
    for path in ["/authentication/web_api_key/token", "/oauth2/introspect", "/oauth2/revoke"] {
        let request = server.request("POST", path).basic_auth(KEY, Some("")).form(&[("token", &token)]);
        answers.push(Answer::of(request).await);
    }
    let introspect =
        server.request("POST", "/oauth2/introspect").bearer_auth(&other).form(&[("token", &token)]);
    answers.push(Answer::of(introspect).await);
    answers.push(post("/authentication/token/release", json!({"token": token}).to_string()).await);
    let metrics = Answer::of(reqwest::Client::new().get(format!("http://{}/metrics", server.admin))).await;
    assert!(metrics.text.contains("doorward_requests"));
    answers.push(metrics);
    server.signal("TERM");
    let (code, log) = server.wait();
    assert_eq!(code, Some(0));
    assert!(log.contains("answered"), "{log}");

    let secrets = [PASSWORD, WRONG, KEY, &token, &other];
    for answer in &answers {
        let text = format!("{answer:?}");
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    }
    for line in log.lines() {
        assert!(secrets.iter().all(|secret| !line.contains(secret)), "{line}");
    }
    for file in files(&data) {
        let bytes = std::fs::read(&file).unwrap();
        for secret in secrets {
            let has =
                bytes.windows(secret.len()).any(|window| window.eq_ignore_ascii_case(secret.as_bytes()));
            assert!(!has, "{} holds {secret}", file.display());
        }
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.iter().any(|file| file.ends_with("doorward.db")), "{files:?}");
    files
}
