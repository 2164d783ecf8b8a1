//! Who may work on a database, and with whom.

use doorward_testkit::PostgresServer;

use super::place;
use crate::program::{self, Server};

const KEY: &str = "EE73C0AE64524371B5DDEFF5F7BB2192";

/// The demo makes its data in an empty database, once, however many instances of it begin at the same moment.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn demos_begin_together_on_an_empty_database() {
    let _place = place().await;
    let url = tokio::task::spawn_blocking(|| PostgresServer::shared().create_database()).await.unwrap();
    let storage = format!("storage.url={url}");
    let begin = || {
        let storage = storage.clone();
        tokio::task::spawn_blocking(move || {
            let folder = tempfile::tempdir().unwrap();
            Server::start(folder.path(), &["--demo", "--set", &storage])
        })
    };
    let (one, other) = (begin(), begin());
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    let issued = one.request("POST", "/authentication/web_api_key/token").basic_auth(KEY, Some(""));
    let issued: serde_json::Value = issued.send().await.unwrap().json().await.unwrap();
    let token = issued["data"]["token"].as_str().unwrap();
    let status = async || other.request("GET", "/verify").bearer_auth(token).send().await.unwrap().status();
    assert_eq!(status().await, 200);
    let release = one.request("POST", "/authentication/token/release");
    let release = release.json(&serde_json::json!({"token": token})).send().await.unwrap();
    assert_eq!(
        (release.status(), status().await),
        (reqwest::StatusCode::OK, reqwest::StatusCode::UNAUTHORIZED)
    );

    // Wrong things that a tired person types.
    let refused = |args: &[&str], texts: &[&str]| {
        let output = program::run(args, "correct horse battery staple\n");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{told}");
        for text in texts {
            assert!(told.contains(text), "{text}: {told}");
        }
        assert!(!told.contains("panicked"), "{told}");
    };
    let free = ["--listen-api", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0"];
    let serve = |more: &[&'static str]| [&["serve", "--set", &storage][..], &free, more].concat().join("\n");
    let lines = [
        (serve(&[]), &["holds the demo's data", "--demo"][..]),
        (
            serve(&["--demo", "--set", "cluster.lease=7s"]),
            &["`cluster.lease` 5s", "has 7s", "give all the same"],
        ),
        (
            ["init", "--organisation", "ACME", "--username", "a", "--password-stdin", "--set", &storage]
                .join("\n"),
            &["has data of Doorward's already", "doorward serve"],
        ),
    ];
    for (line, texts) in lines {
        refused(&line.split('\n').collect::<Vec<_>>(), texts);
    }
    for (command, remedy) in [
        (&["backup", "file"][..], "pg_dump"),
        (&["restore", "file"], "session end --all"),
        (&["recover"], "another administrator"),
        (&["export", "users", "--organisation", "ACME", "file.csv"], "cannot be exported yet"),
        (&["audit", "verify"], "audit export"),
    ] {
        refused(&[command, &["--set", &storage]].concat(), &["works on a data folder alone", remedy]);
    }
    let nobody = "storage.url=postgres://postgres@127.0.0.1:1/doorward";
    refused(&["serve", "--set", nobody], &["127.0.0.1:1", "Connection refused"]);
    for server in [one, other] {
        server.signal("TERM");
        let (code, log) = tokio::task::spawn_blocking(|| server.wait()).await.unwrap();
        assert_eq!(code, Some(0), "{log}");
    }
}
