//! The real binary: setting up, starting, stopping, and what it says when something is wrong.

use std::{os::unix::fs::PermissionsExt, path::Path};

use doorward_testkit::{Answer, Demo};
use serde_json::json;

use crate::program::{Server, run};

pub const PASSWORD: &str = "correct horse battery";

/// Makes a data folder with organisation ACME, unit Main and its administrator.
pub fn init(folder: &Path) {
    let output = run(
        &[
            "init",
            "--organisation",
            "ACME",
            "--username",
            "admin",
            "--password-stdin",
            "--data",
            folder.to_str().unwrap(),
        ],
        PASSWORD,
    );
    assert!(output.status.success(), "{output:?}");
}

/// Runs the program, which must fail with one line that holds all the texts.
pub fn fails(args: &[&str], code: i32, texts: &[&str]) {
    let output = run(args, "");
    let shown = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = shown.lines().filter(|line| !line.contains(" INFO ")).collect();
    assert_eq!((output.status.code(), lines.len()), (Some(code), 1), "{args:?}: {shown}");
    for text in texts {
        assert!(lines[0].contains(text), "{:?} does not say {text:?}", lines[0]);
    }
}

#[tokio::test]
async fn the_demo_serves_the_examples_of_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo");
    for _ in 0..2 {
        let server = Server::start(&data, &["--demo"]);
        let body = json!({"username": Demo::USERNAME, "password": Demo::PASSWORD, "organisation": Demo::ORGANISATION, "unit": Demo::UNIT});
        let token = Answer::of(server.request("POST", "/authentication/token").json(&body)).await.token();
        let key = server.request("POST", "/authentication/web_api_key/token").basic_auth(Demo::KEY, Some(""));
        Answer::of(key).await.token();
        assert_eq!(Answer::of(server.request("GET", "/verify").bearer_auth(&token)).await.status, 200);
        let release = server.request("POST", "/authentication/token/release").json(&json!({"token": token}));
        assert_eq!(Answer::of(release).await.code(), "OK");
        assert_eq!(Answer::of(server.request("GET", "/verify").bearer_auth(&token)).await.status, 401);
        server.signal("TERM");
        let (code, log) = server.wait();
        assert_eq!(code, Some(0), "{log}");
        for value in [Demo::USERNAME, Demo::PASSWORD, Demo::ORGANISATION, Demo::UNIT, Demo::KEY, "curl -s"] {
            assert!(log.contains(value), "{log}");
        }
    }
    let shown = data.to_str().unwrap();
    fails(
        &["serve", "--data", shown, "--listen-api", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0"],
        1,
        &[shown, "demo", "--demo"],
    );
}

#[test]
fn c7_the_demo_listens_on_loopback_only() {
    let folder = tempfile::tempdir().unwrap();
    let shown = folder.path().to_str().unwrap();
    for flag in ["--listen-api", "--listen-admin"] {
        fails(&["serve", "--demo", "--data", shown, flag, "0.0.0.0:0"], 2, &["loopback", "0.0.0.0:0"]);
    }
    assert!(!folder.path().join("doorward.db").exists());
}

/// C7: without the demo there is no account but the one that `init` was told to make, and no password but its own.
#[tokio::test]
async fn c7_init_makes_one_administrator_and_no_known_password() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let args = ["init", "--organisation", "ACME", "--username", "admin", "--data", data.to_str().unwrap()];
    let output = run(&args, "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let password = text
        .lines()
        .find_map(|line| line.strip_prefix("password"))
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);

    let server = Server::start(&data, &[]);
    let log_in = async |organisation: &str, username: &str, password: &str| {
        let body = json!({"username": username, "password": password, "organisation": organisation});
        Answer::of(server.request("POST", "/authentication/token").json(&body)).await
    };
    log_in("acme", "ADMIN", password).await.token();
    for (organisation, username, password) in [
        (Demo::ORGANISATION, Demo::USERNAME, Demo::PASSWORD),
        ("ACME", "admin", "admin"),
        ("ACME", "admin", "password"),
        ("ACME", "root", password),
    ] {
        assert_eq!(log_in(organisation, username, password).await.code(), "INVALID_CREDENTIALS");
    }
    let key = server.request("POST", "/authentication/web_api_key/token").basic_auth(Demo::KEY, Some(""));
    assert_eq!(Answer::of(key).await.code(), "INVALID_CREDENTIALS");
    drop(server);
    fails(&args, 1, &["doorward.db", "already"]);
}

#[test]
fn init_refuses_what_would_not_work() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let init = |organisation: &str, input: &str, set: &str| {
        let args =
            ["--organisation", organisation, "--username", "admin", "--password-stdin", "--data", data];
        run(&[&["init"][..], &args, &["--set", set]].concat(), input)
    };
    let list = folder.path().join("leaked.txt");
    // The SHA-1 of PASSWORD.
    std::fs::write(&list, "98DECC62ECE399A22ED30D490EF333BE7FDE7385:3\n").unwrap();
    let breached = format!("passwords.breached_file={}", list.display());
    let default = "passwords.min_length=15";
    for (output, text) in [
        (init("ACME", "short\n", default), "has 5 of at least 15 characters"),
        (init("ACME", "\n", default), "has 0 of at least 15 characters"),
        (init("ACME", PASSWORD, "passwords.min_length=40"), "has 21 of at least 40 characters"),
        (init("ACME", "shortshortshort\n", default), "is easy to guess"),
        (init("Short Circuit", "SHORT_circuit_2026\n", default), "the organisation"),
        (init("ACME", PASSWORD, "passwords.require_digit=true"), "has no digit; add"),
        (init("ACME", PASSWORD, &breached), "is in a list of leaked passwords"),
        (init("ACME", &"short".repeat(205), default), "longer than 1024 bytes"),
        (init(" ", PASSWORD, default), "organisation \"\" is empty"),
    ] {
        let shown = String::from_utf8(output.stderr).unwrap();
        assert!(shown.contains(text) && output.status.code() == Some(2), "{shown}");
        assert!(!shown.to_lowercase().contains("short") && !shown.contains(PASSWORD), "{shown}");
    }
    std::fs::write(&list, "not a list").unwrap();
    let output = init("ACME", PASSWORD, &breached);
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(shown.contains("leaked.txt: not a list") && output.status.code() == Some(1), "{shown}");
    assert!(!folder.path().join("doorward.db").exists(), "nothing half done");
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let shown = data.to_str().unwrap();
    let serve = |data: &'static str| {
        ["serve", "--listen-api", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0", "--data", data]
    };
    let serve = |data: &str| serve(Box::leak(data.to_owned().into_boxed_str()));
    fails(&serve(shown), 1, &[shown, "doorward init"]);
    init(&data);

    let running = Server::start(&data, &[]);
    fails(&serve(shown), 1, &[shown, "another process"]);
    let api = running.api.to_string();
    fails(
        &["serve", "--demo", "--listen-api", &api, "--listen-admin", "127.0.0.1:0", "--data", shown],
        1,
        &[&api, "listen.api", "in use"],
    );
    drop(running);
    fails(
        &["serve", "--demo", "--listen-api", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0", "--data", shown],
        1,
        &[shown, "real data"],
    );

    let database = data.join("doorward.db");
    let sound = std::fs::read(&database).unwrap();
    std::fs::write(&database, b"This is a letter, not a database. ".repeat(200)).unwrap();
    fails(&serve(shown), 1, &["doorward.db"]);
    let mut damaged = sound.clone();
    let middle = damaged.len() / 2;
    damaged[middle..].fill(0x5A);
    std::fs::write(&database, &damaged).unwrap();
    fails(&serve(shown), 1, &["doorward.db", "damaged"]);
    std::fs::write(&database, &sound[..sound.len() / 2]).unwrap();
    fails(&serve(shown), 1, &["doorward.db"]);
    std::fs::write(&database, &sound).unwrap();
    drop(Server::start(&data, &[]));

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    fails(&serve(file.to_str().unwrap()), 1, &["file"]);
    fails(&serve("/proc/doorward"), 1, &["/proc/doorward"]);
    fails(&["serve", "--set", "tokens.pasword_idle=1h"], 2, &["tokens.pasword_idle", "tokens.password_idle"]);
    fails(&["serve", "--set", "tokens.password_idle"], 2, &["KEY=VALUE"]);
    fails(&["serve", "--listen-api", "localhost"], 2, &["listen.api", "localhost"]);
    fails(&["serve", "--config", "nowhere.toml"], 2, &["nowhere.toml"]);
    let tls = ["--set", "listen.tls.certificate=none.pem", "--set", "listen.tls.key=none.pem"];
    fails(&[&serve(shown)[..], &tls].concat(), 1, &["none.pem"]);
}

#[test]
fn the_configuration_can_be_checked_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doorward.toml");
    std::fs::write(&file, "[tokens]\npassword_idle = \"30m\"\n").unwrap();
    let file = file.to_str().unwrap();
    let shown =
        String::from_utf8(run(&["config", "show", "--config", file, "--listen-api", "[::1]:9"], "").stdout)
            .unwrap();
    let line = |key: &str| {
        shown.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}: {shown}"))
    };
    assert!(
        line("tokens.password_idle").contains("30m")
            && line("tokens.password_idle").contains("doorward.toml")
    );
    assert!(line("listen.api").contains("[::1]:9") && line("listen.api").contains("--listen-api"));
    assert!(line("tokens.password_cap").contains("30d") && line("tokens.password_cap").contains("default"));
    let checked = run(&["config", "check", "--config", file], "");
    assert!(checked.status.success() && String::from_utf8(checked.stdout).unwrap().contains("in order"));
    fails(&["config", "check", "--config", file, "--set", "lockout.failures=0"], 2, &["lockout.failures"]);
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell], "").stdout.len() > 1000);
    }
    // A reader who goes away early is no error.
    let mut early = crate::program::command(&["config", "show"]);
    let mut early =
        early.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(early.stdout.take());
    let output = early.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let help = String::from_utf8(run(&["--help"], "").stdout).unwrap();
    assert!(help.contains("serve --demo") && help.contains("doorward init"));
}

/// A graceful stop finishes what is in progress, writes the uses and exits 0.
#[tokio::test]
async fn a_stop_is_graceful() {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path());
    let server = Server::start(folder.path(), &["--set", "tokens.password_idle=1h"]);
    let body = json!({"username": "admin", "password": PASSWORD, "organisation": "ACME"});
    let token = Answer::of(server.request("POST", "/authentication/token").json(&body)).await.token();
    let look =
        |server: &Server| Answer::of(server.request("GET", "/authentication/token").bearer_auth(&token));
    let verified = Answer::of(server.request("GET", "/verify").bearer_auth(&token)).await;
    let login = tokio::spawn(Answer::of(server.request("POST", "/authentication/token").json(&body)));
    let used = look(&server).await.json()["data"]["last_used_at"].clone();
    // The login has been taken in when its hash waits or is under way.
    while !Answer::of(reqwest::Client::new().get(format!("http://{}/metrics", server.admin)))
        .await
        .text
        .contains("doorward_hash_wait_seconds_count 2")
    {
        tokio::task::yield_now().await;
    }
    server.signal("TERM");
    login.await.unwrap().token();
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    let server = Server::start(folder.path(), &[]);
    let shown = look(&server).await;
    assert_eq!(shown.json()["data"]["last_used_at"], used, "the use was written");
    assert_eq!(verified.header("x-auth-expires"), shown.json()["data"]["expires_at"]);
}

/// TLS by certificate and key, read again on SIGHUP.
#[tokio::test]
#[cfg_attr(any(missing_openssl, missing_curl), ignore = "needs openssl and curl")]
async fn tls_certificates_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path());
    let certificate = folder.path().join("certificate.pem");
    let key = folder.path().join("key.pem");
    let make = |name: &str| {
        let made = std::process::Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
                "-subj",
                &format!("/CN={name}"),
            ])
            .arg("-addext")
            .arg("subjectAltName=DNS:localhost,IP:127.0.0.1")
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output();
        assert!(made.unwrap().status.success());
    };
    make("first");
    let (certificate_flag, key_flag) = (
        format!("listen.tls.certificate={}", certificate.display()),
        format!("listen.tls.key={}", key.display()),
    );
    let server = Server::start(folder.path(), &["--set", &certificate_flag, "--set", &key_flag]);
    let subject = || {
        let address = server.api.to_string();
        let output = std::process::Command::new("openssl")
            .args(["s_client", "-connect", &address, "-servername", "localhost"])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(subject().contains("CN = first"), "{}", subject());
    make("second");
    server.signal("HUP");
    while !server.log().contains("read again") {
        tokio::task::yield_now().await;
    }
    assert!(subject().contains("CN = second"));
    let output = std::process::Command::new("curl")
        .args(["-s", "--cacert"])
        .arg(&certificate)
        .arg(format!("https://localhost:{}/verify", server.api.port()))
        .output();
    assert!(String::from_utf8_lossy(&output.unwrap().stdout).contains("INVALID_TOKEN"));
    // A broken file keeps the old certificate in use.
    std::fs::write(&certificate, "nonsense").unwrap();
    server.signal("HUP");
    while !server.log().contains("cannot be read") {
        tokio::task::yield_now().await;
    }
    assert!(subject().contains("CN = second"));
}
