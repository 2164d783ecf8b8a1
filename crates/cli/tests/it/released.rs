//! U1: data folders of earlier states, made with their own binaries, open in this one (`tests/released`, one dump of
//! a database each; the secrets in this file belong to them and to nothing else).

use std::{collections::BTreeSet, fs, path::PathBuf};

use doorward_testkit::{Answer, Demo, TestServer};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Server, run};

fn dumps() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/released")
}

/// A data folder as the dump has it.
pub fn folder_of(state: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let dump = fs::read_to_string(dumps().join(format!("{state}.sql"))).unwrap();
    let database = rusqlite::Connection::open(folder.path().join("doorward.db")).unwrap();
    database.execute_batch(&dump).unwrap();
    folder
}

#[test]
fn u1_every_release_has_its_data_here() {
    let changelog = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../CHANGELOG.md");
    let changelog = fs::read_to_string(changelog).unwrap();
    let headings = changelog.lines().filter_map(|line| line.strip_prefix("## "));
    let releases: Vec<_> = headings.filter(|heading| *heading != "Unreleased").collect();
    assert!(!releases.is_empty());
    for heading in releases {
        let version = heading.split(' ').next().unwrap();
        let dump = dumps().join(format!("{version}.sql"));
        assert!(
            dump.exists(),
            "{version} is released: make a folder with its binary and dump it to {dump:?}"
        );
    }
}

/// Each of them by the real binary: it starts, says what it did, and the backup that it made can be restored.
#[test]
fn u1_every_earlier_state_is_served_and_its_backup_restored() {
    let mut states = BTreeSet::new();
    for file in fs::read_dir(dumps()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let state = name.strip_suffix(".sql").unwrap().to_owned();
        let folder = folder_of(&state);
        let demo: &[&str] = if state.ends_with("demo") { &["--demo"] } else { &[] };
        let server = Server::start(folder.path(), demo);
        let log = server.log();
        drop(server);
        let is_upgrade = log.contains("data brought up to date");
        let backups: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.to_str().unwrap().contains("before-schema-"))
            .collect();
        assert_eq!(backups.len(), usize::from(is_upgrade), "{state}: {log}");
        assert!(is_upgrade || !state.starts_with("before"), "{state}: {log}");
        drop(Server::start(folder.path(), demo));
        for backup in backups {
            assert!(log.contains(backup.to_str().unwrap()), "{log}");
            let again = folder.path().join("again");
            let output = run(&["restore", backup.to_str().unwrap(), "--data", again.to_str().unwrap()], "");
            assert!(output.status.success(), "{output:?}");
            drop(Server::start(&again, demo));
        }
        states.insert(state);
    }
    assert!(states.contains("before-0.1.0"), "{states:?}");
}

async fn token(server: &TestServer, organisation: &str, username: &str, password: &str) -> String {
    server.try_login(organisation, username, password).await.token()
}

#[tokio::test]
async fn u1_data_of_before_0_1_0_are_as_they_were() {
    let server = TestServer::open(folder_of("before-0.1.0")).await;
    assert!(server.is_in_force("15B76DC29858C9C4984D966DFAFB21A6").await, "a token survives");
    assert!(!server.is_in_force("64705D08A0E306673994C9D3BC3F0784").await, "it was released");
    let token = token(&server, "acme", "ADMIN", "kept by the harbour master 7").await;
    let wrong = server.try_login("ACME", "admin", "kept by the harbour master 8").await;
    assert_eq!(wrong.code(), "INVALID_CREDENTIALS");
    let acme = server.bearer(&token, "ACME");
    let units = acme.list("/units?limit=1").await;
    assert_eq!((units.len(), &units[0]["name"]), (1, &json!("Harbour")));
    assert_eq!(acme.get("").await["name"], "ACME", "its name is its code");
    // It is the operator organisation and may make others.
    acme.create("/admin/v1/organisations", json!({"code": "NEW"})).await;
    acme.create("/users", json!({"username": "zoe", "units": [units[0]["id"]]})).await;
    let events: Vec<_> = server.audit().await.into_iter().map(|row| (row.event, row.reason)).collect();
    let refused = |reason: &str| ("password_login".to_owned(), reason.to_owned());
    assert_eq!(events[6..9], ["wrong_password", "unknown_user", "unknown_organisation"].map(refused));
}

#[tokio::test]
async fn u1_demo_data_of_before_0_1_0_are_as_they_were() {
    let server = TestServer::open(folder_of("before-0.1.0-demo")).await;
    for token in ["88392A26AF48F72C117304BE323A7D14", "B8AEC68EC2B0007928CAFAE5A940AD7A"] {
        assert!(server.is_in_force(token).await, "{token}");
    }
    assert!(!server.is_in_force("43627FD21C53CA7C6028FC1E765613BD").await, "it was released");
    let by_key = server.try_key(Demo::KEY).await.token();
    let token = token(&server, Demo::ORGANISATION, Demo::USERNAME, Demo::PASSWORD).await;
    let keys = server.bearer(&token, Demo::ORGANISATION).list("/keys?limit=10").await;
    assert_eq!((keys.len(), &keys[0]["verifier"]), (1, &json!(true)), "as every key then");
    assert_eq!(keys[0]["secret_hint"], Value::Null);
    let introspect = server.request("POST", "/oauth2/introspect").basic_auth(Demo::KEY, Some(""));
    let answer = Answer::of(introspect.form(&[("token", by_key)])).await;
    assert_eq!(answer.json()["active"], true, "{answer:?}");
}

#[tokio::test]
async fn u1_data_of_0_1_0_are_as_they_were() {
    let server = TestServer::open(folder_of("0.1.0")).await;
    for token in [
        "5D1DE2C3717C1274143F539A5B564096",
        "A9D3DC9FB2CC707644E9F418B495FD1A",
        "E9E91B6578E4F81E10994FAF20D2DC13",
        "9312FDBA8610F4633EB56F868A953E53",
        "AC00A165BABD37867B86BC59432C8262",
    ] {
        assert!(server.is_in_force(token).await, "{token} survives");
    }
    for token in ["F7DC9754F1E9D8E38300E002596C50B5", "DB162D06803D22AA85ADACEA6D251BF6"] {
        assert!(!server.is_in_force(token).await, "{token} was released, or ended by an administrator");
    }
    let zoe = token(&server, "ACME", "zoe", "nine wet dogs on a raft").await;
    assert_eq!(server.bearer(&zoe, "ACME").send("GET", "").await.status, 403, "she is no administrator");
    let hank = token(&server, "GLOBEX", "hank", "four blue kites over Delft").await;
    assert_eq!(server.bearer(&hank, "ACME").send("GET", "").await.status, 404, "another organisation's");
    assert_eq!(server.bearer(&hank, "GLOBEX").get("").await["name"], "Globex Ltd");

    let acme = server.bearer(&token(&server, "ACME", "admin", "kept by the harbour master 7").await, "ACME");
    let users = acme.list("/users?limit=1").await;
    assert_eq!(users.len(), 2);
    assert_eq!(
        (&users[1]["username"], &users[1]["person_name"], &users[1]["email"]),
        (&json!("zoe"), &json!("Zoë Quay"), &json!("zoe@acme.example"))
    );
    let former = acme.at("GLOBEX").list("/users?limit=9").await;
    assert_eq!((&former[0]["username"], &former[0]["status"]), (&json!("former"), &json!("disabled")));
    let rules = acme.get("/rules").await.to_string();
    assert!(rules.contains("192.0.2.0/24") && rules.contains("16"), "{rules}");

    // A key in the middle of a rotation, and one that introspects.
    for secret in ["AE3E1D0A3D85D152DEE7576ACE36830F", "AD0C272918F24C787EBCDE1F9ADA89BA"] {
        server.try_key(secret).await.token();
    }
    let keys = acme.list("/keys?limit=10").await;
    let shop = keys.iter().find(|key| key["name"] == "web shop").unwrap();
    assert_eq!(shop["allowed_addresses"], json!(["127.0.0.1", "10.0.0.0/8"]));
    assert_eq!(shop["secrets"].as_array().unwrap().len(), 2);
    let introspect = server.request("POST", "/oauth2/introspect");
    let introspect = introspect.basic_auth("04970D9F38F8016DB0F85EFBB7441A19", Some(""));
    assert_eq!(Answer::of(introspect.form(&[("token", zoe)])).await.json()["active"], true);
}

#[tokio::test]
async fn u1_demo_data_of_0_1_0_are_as_they_were() {
    let server = TestServer::open(folder_of("0.1.0-demo")).await;
    for token in ["5E8518111918E5DC1C1C9958433BEA2B", "90BD33F79E0F26E15467CDEABFABDE0E"] {
        assert!(server.is_in_force(token).await, "{token}");
    }
    assert!(!server.is_in_force("8D1C176593C882C01914A6FADF5B4464").await, "it was released");
    server.try_key(Demo::KEY).await.token();
    let token = token(&server, Demo::ORGANISATION, Demo::USERNAME, Demo::PASSWORD).await;
    let demo = server.bearer(&token, Demo::ORGANISATION);
    demo.create("/admin/v1/organisations", json!({"code": "NEW"})).await;
}
