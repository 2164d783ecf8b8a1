//! S1: canary secrets go through everything that the server does, and are then searched in all that it wrote.

use std::path::Path;

use doorward_testkit::Answer;
use serde_json::json;

use crate::program::{Server, run};

const PASSWORD: &str = "canary-password-7f3a";
const WRONG: &str = "canary-wrong-guess-91c2";
const KEY: &str = "CANARY-KEY-5D10";
const NEW_PASSWORD: &str = "canary new password 40f7 otter";
const BROUGHT_IN: &str = "CANARY-BROUGHT-IN-77E1";

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
    let shown_once = administer(&server, &other, &mut answers).await;
    answers.push(post("/authentication/token/release", json!({"token": token}).to_string()).await);
    let metrics = Answer::of(reqwest::Client::new().get(format!("http://{}/metrics", server.admin))).await;
    assert!(metrics.text.contains("doorward_requests"));
    answers.push(metrics);
    let backup = data.join("backup");
    let output = run(&["backup", backup.to_str().unwrap(), "--data", shown], "");
    assert!(output.status.success(), "{output:?}");
    server.signal("TERM");
    let (code, log) = server.wait();
    assert_eq!(code, Some(0));
    assert!(log.contains("answered"), "{log}");

    let mut secrets = vec![PASSWORD, WRONG, KEY, NEW_PASSWORD, BROUGHT_IN, &token, &other];
    secrets.extend(shown_once.iter().map(String::as_str));
    for answer in &answers {
        let text = format!("{answer:?}");
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    }
    for line in log.lines() {
        assert!(secrets.iter().all(|secret| !line.contains(secret)), "{line}");
    }
    for file in files(&data) {
        let bytes = std::fs::read(&file).unwrap();
        for secret in &secrets {
            let has =
                bytes.windows(secret.len()).any(|window| window.eq_ignore_ascii_case(secret.as_bytes()));
            assert!(!has, "{} holds {secret}", file.display());
        }
    }
}

/// Sets and shows secrets as administrators do. Returns those that were shown, which is to be the only time.
async fn administer(server: &Server, token: &str, answers: &mut Vec<Answer>) -> Vec<String> {
    let send = async |method: &str, path: &str, body: String| {
        let url = format!("http://{}/admin/v1/organisations/ACME{path}", server.admin);
        let request = reqwest::Client::new().request(method.parse().unwrap(), url).bearer_auth(token);
        Answer::of(request.body(body)).await
    };
    let user = json!({"username": "ann", "password": NEW_PASSWORD});
    let user = send("POST", "/users", user.to_string()).await;
    let id = user.json()["id"].as_str().unwrap().to_owned();
    answers.push(user);
    let key = json!({"name": "In", "user": id, "secret": BROUGHT_IN}).to_string();
    answers.push(send("POST", "/keys", key).await);
    let change = json!({
        "organisation": "ACME", "username": "ann", "password": WRONG, "new_password": NEW_PASSWORD,
    });
    let change = server.request("POST", "/authentication/password").body(change.to_string());
    answers.push(Answer::of(change).await);
    for (path, body) in [
        ("/users", format!("{{\"username\":\"{WRONG}\",\"password\":[\"{WRONG}\"]}}")),
        ("/users", format!("{{\"username\":\"bob\",\"password\":\"{WRONG}\" oops")),
        ("/keys", json!({"name": "In", "user": id, "secret": {"is": WRONG}}).to_string()),
        ("/keys", json!({"name": "In", "user": id, "secret": BROUGHT_IN}).to_string()),
    ] {
        answers.push(send("POST", path, body).await);
    }
    let mut shown = Vec::new();
    let mut show = |answer: Answer, member: &str| {
        let body = answer.json();
        shown.push(body[member].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned());
        body["id"].as_str().unwrap_or_default().to_owned()
    };
    show(send("POST", &format!("/users/{id}/password"), "{}".into()).await, "password");
    let key = json!({"name": "Job", "user": id}).to_string();
    let key = show(send("POST", "/keys", key).await, "secret");
    show(send("POST", &format!("/keys/{key}/rotate"), "{}".into()).await, "secret");
    for path in ["", "/users", "/keys", "/sessions", "/rules", &format!("/keys/{key}")] {
        answers.push(send("GET", &format!("{path}?token={token}&secret={KEY}"), String::new()).await);
        answers.push(send("GET", path, String::new()).await);
    }
    // Users are brought in: with a password, a hash, and both in the wrong form.
    let users = json!({"users": [
        {"username": "ben", "password": NEW_PASSWORD},
        {"username": "cat", "password": [WRONG]},
        {"username": "dan", "password_hash": WRONG},
        {"username": "eva", "password": WRONG, "password_hash": WRONG},
        {"username": "fay", "secret": WRONG},
        WRONG,
    ]});
    answers.push(send("POST", "/users/import", users.to_string()).await);
    // A token is explained to somebody who has it; the answer need not show it again.
    let explain = format!("http://{}/admin/v1/tokens/explain", server.admin);
    for body in [json!({"token": token}), json!({"token": [token]}), json!({"token": token.to_lowercase()})] {
        let request = reqwest::Client::new().post(&explain).bearer_auth(token).json(&body);
        answers.push(Answer::of(request).await);
    }
    answers.push(send("GET", "/audit", String::new()).await);
    shown
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.iter().any(|file| file.ends_with("doorward.db")), "{files:?}");
    files
}
