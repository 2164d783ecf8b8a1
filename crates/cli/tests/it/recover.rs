//! `doorward recover`: a way back in for those who are locked out, on the server's machine alone.

use std::path::Path;

use doorward_testkit::{Answer, Demo};
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    binary::{PASSWORD, fails, init},
    program::{Server, run},
};

/// A folder as `init` makes it, in which `sql` was run.
fn folder_with(sql: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path());
    change(folder.path(), sql);
    folder
}

fn change(folder: &Path, sql: &str) {
    Connection::open(folder.join("doorward.db")).unwrap().execute_batch(sql).unwrap();
}

fn args<'a>(folder: &'a TempDir, more: &[&'a str]) -> Vec<&'a str> {
    [&["recover", "--data", folder.path().to_str().unwrap()], more].concat()
}

/// Recovers, with the password on standard input; what is printed.
fn recover(folder: &TempDir, more: &[&str], input: &str) -> String {
    let output = run(&args(folder, more), input);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn generated(told: &str) -> &str {
    let line = told.lines().find_map(|line| line.strip_prefix("password"));
    line.unwrap_or_else(|| panic!("{told}")).split_whitespace().next().unwrap()
}

async fn log_in(server: &Server, username: &str, password: &str) -> Answer {
    let body = json!({"username": username, "password": password, "organisation": "ACME"});
    Answer::of(server.request("POST", "/authentication/token").json(&body)).await
}

async fn manages(server: &Server, token: &str) -> bool {
    let url = format!("http://{}/admin/v1/organisations", server.admin);
    Answer::of(reqwest::Client::new().get(url).bearer_auth(token)).await.status == 200
}

#[tokio::test]
async fn recover_gives_a_new_password_and_undoes_all_that_refuses_the_login() {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path());
    let server = Server::start(folder.path(), &[]);
    let old = log_in(&server, "admin", PASSWORD).await.token();
    drop(server);
    change(
        folder.path(),
        "UPDATE organisation SET status = 'disabled';
         UPDATE unit SET status = 'disabled';
         UPDATE user SET status = 'disabled', role = 'member', must_change_password = 1;
         INSERT INTO organisation_rule SELECT id, 'addresses.deny', '0.0.0.0/0,::/0' FROM organisation;
         INSERT INTO organisation_rule SELECT id, 'passwords.min_length', '20' FROM organisation;",
    );
    let more = ["--username", "ADMIN", "--make-administrator", "--reset-addresses"];
    let told = recover(&folder, &more, "");
    for part in [
        "organisation ACME is no longer suspended",
        "unit Main is no longer disabled",
        "user admin is no longer disabled",
        "user admin is an administrator now",
        "address rules are gone",
        "all sessions of the user",
        "Next: doorward serve --data",
        "doorward login --organisation 'ACME' --username 'admin'",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("refuse logins"), "{told}");
    let server = Server::start(folder.path(), &[]);
    let token = log_in(&server, "admin", generated(&told)).await.token();
    assert!(manages(&server, &token).await);
    assert_eq!(log_in(&server, "admin", PASSWORD).await.code(), "INVALID_CREDENTIALS");
    let verified = Answer::of(server.request("GET", "/verify").bearer_auth(&old)).await;
    assert_eq!(verified.status, 401, "sessions ended");
    drop(server);

    let database = Connection::open(folder.path().join("doorward.db")).unwrap();
    let sql = "SELECT event, coalesce(members, ''), user IS NOT NULL FROM audit
               WHERE address IS NULL AND length(organisation) = 16 AND actor IS NULL AND event <> 'created' ORDER BY rowid";
    let mut statement = database.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let records: Vec<(String, String, bool)> = rows.map(Result::unwrap).collect();
    let record = |event: &str, members: &str, user| (event.to_owned(), members.to_owned(), user);
    assert_eq!(
        records,
        [
            record("updated", "status", false),
            record("rules_set", "addresses.deny", false),
            record("updated", "status", false),
            record("updated", "role,status", true),
            record("recovered", "", true),
        ]
    );
    let rules: String =
        database.query_row("SELECT group_concat(rule) FROM organisation_rule", [], |row| row.get(0)).unwrap();
    assert_eq!(rules, "passwords.min_length", "other rules stay");
}

#[tokio::test]
async fn recover_takes_the_only_administrator_and_a_password_that_the_rules_allow() {
    let folder = folder_with(
        "INSERT INTO organisation_rule SELECT id, 'passwords.min_length', '20' FROM organisation;
         INSERT INTO organisation_rule SELECT id, 'addresses.allow', '192.0.2.1' FROM organisation;
         UPDATE user SET person_name = 'Ludmila Cartwright'",
    );
    let weak = |input: &str, text: &str| {
        let output = run(&args(&folder, &["--password-stdin"]), input);
        let shown = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && shown.contains(text), "{shown}");
        assert!(!shown.contains(input.trim()) || input.trim().is_empty(), "{shown}");
    };
    weak("a b c d e f\n", "has 11 of at least 20 characters");
    weak("\n", "has 0 of at least 20 characters");
    weak("Ludmila Cartwright Ludmila\n", "is easy to guess");
    let told = recover(&folder, &["--password-stdin"], "quite another donkey 5 trombones\n");
    assert!(!told.contains("trombones") && told.contains("administrator admin"), "{told}");
    assert!(told.contains("--reset-addresses"), "{told}");
    let told =
        recover(&folder, &["--reset-addresses", "--password-stdin"], "the 3rd donkey of 5 trombones\n");
    assert!(told.contains("address rules are gone") && !told.contains("refuse"), "{told}");
    let told = recover(&folder, &["--set", "addresses.deny=127.0.0.0/8"], "");
    assert!(told.contains("of the configuration refuse logins from 127.0.0.1"), "{told}");
    recover(&folder, &["--password-stdin"], "the 4th donkey of 5 trombones\n");
    let server = Server::start(folder.path(), &[]);
    log_in(&server, "admin", "the 4th donkey of 5 trombones").await.token();
    // Who runs it beside the server is told what to do, and changes nothing.
    fails(&args(&folder, &[]), 1, &["in use", "stop it first"]);
    log_in(&server, "admin", "the 4th donkey of 5 trombones").await.token();
}

#[tokio::test]
async fn recover_creates_an_administrator_where_none_is_left() {
    let folder = folder_with("UPDATE user SET role = 'member'; DELETE FROM membership; DELETE FROM unit");
    fails(&args(&folder, &[]), 1, &["ACME has no administrator", "--make-administrator"]);
    assert_eq!(run(&args(&folder, &["--make-administrator"]), "").status.code(), Some(2), "of whom?");
    fails(&args(&folder, &["--username", "bo"]), 1, &["no user bo", "--make-administrator"]);
    fails(&args(&folder, &["--username", "admin"]), 1, &["admin", "not an administrator", "there is none"]);
    let told = recover(&folder, &["--username", "bo", "--make-administrator"], "");
    assert!(told.contains("user bo was created") && told.contains("unit Main was created"), "{told}");
    let server = Server::start(folder.path(), &[]);
    let token = log_in(&server, "bo", generated(&told)).await.token();
    assert!(manages(&server, &token).await);
}

#[test]
fn recover_says_whom_it_could_mean_and_what_is_wrong() {
    let folder = folder_with(
        "INSERT INTO user (id, organisation, username, canonical, role, status, must_change_password, created_at,
                           updated_at)
         SELECT randomblob(16), id, 'Bo', 'bo', 'administrator', 'disabled', 0, 1, 1 FROM organisation",
    );
    fails(&args(&folder, &[]), 1, &["several administrators", "admin, Bo (disabled)"]);
    fails(&args(&folder, &["--username", "cy"]), 1, &["no user cy", "admin, Bo (disabled)"]);
    fails(&args(&folder, &["--username", " "]), 2, &["username", "is empty"]);
    fails(&args(&folder, &["--organisation", "acne"]), 1, &["no organisation \"acne\""]);
    fails(&args(&folder, &["--organisation", ""]), 2, &["organisation \"\" is empty"]);
    let told = recover(&folder, &["--username", "bO", "--organisation", "acme"], "");
    assert!(told.contains("administrator Bo") && told.contains("Bo is no longer disabled"), "{told}");
    change(folder.path(), "UPDATE organisation SET is_operator = 0");
    fails(&args(&folder, &["--username", "Bo"]), 1, &["no operator organisation", "--organisation"]);

    let empty = tempfile::tempdir().unwrap();
    fails(&args(&empty, &[]), 1, &[empty.path().to_str().unwrap(), "no database"]);
    let demo = tempfile::tempdir().unwrap();
    drop(Server::start(demo.path(), &["--demo"]));
    fails(&args(&demo, &[]), 1, &["demo", "nothing to recover"]);
    let known = Connection::open(demo.path().join("doorward.db")).unwrap();
    let user: String = known.query_row("SELECT username FROM user", [], |row| row.get(0)).unwrap();
    assert_eq!(user, Demo::USERNAME);
}
