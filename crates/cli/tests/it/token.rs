//! `authentication/token`: what a login accepts, and what it says of what it does not.

use doorward_domain::{directory::Status, policy::PasswordRules, session::Scope};
use doorward_testkit::{Answer, Demo, Options, TestServer};
use serde_json::json;

use crate::verify::is_token;

#[tokio::test]
async fn a_token_says_who_it_is_and_looking_is_no_use() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    server.clock.advance(std::time::Duration::from_secs(60));
    for request in [
        server.request("GET", "/authentication/token").bearer_auth(&token),
        server.request("GET", "/crmapi/rest/v2/authentication/token").query(&[("token", &token)]),
        server.request("GET", "/authentication/token").json(&json!({"token": token})),
    ] {
        let answer = Answer::of(request).await;
        let data = &answer.json()["data"];
        assert_eq!((answer.status, answer.code().as_str()), (200, "OK"));
        assert_eq!(data["organisation"], json!({"id": server.demo.id.to_string(), "name": "CRMDEMO"}));
        assert_eq!(data["unit"], json!({"id": Demo::UNIT, "name": "Markt & Müller 100%"}));
        assert_eq!(data["user"], json!({"id": server.demo.user.to_string(), "name": "mpadministrator"}));
        assert_eq!(data["method"], "password");
        assert_eq!(data["issued_at"], "2026-11-24T03:36:02.000Z");
        assert_eq!(data["last_used_at"], "2026-11-24T03:36:02.000Z");
        assert_eq!(data["expires_at"], "2026-11-24T04:36:02.000Z");
    }
}

#[tokio::test]
async fn names_match_in_any_case_and_spelling() {
    let server = TestServer::start().await;
    for body in [
        json!({"username": "MPAdministrator", "password": "1234", "organisation": "crmdemo"}),
        json!({"username": "mpadministrator", "password": "1234", "organization": "CrmDemo", "unit": ""}),
        json!({"username": "ｍｐadministrator", "password": "1234", "organisation": "CRMDEMO", "unit": null, "extra": [1]}),
        json!({"username": "mpadministrator", "password": "1234", "organisation": "CRMDEMO", "unit": Demo::UNIT.to_lowercase()}),
        json!({"username": "mpadministrator", "password": "1234", "organisation": "CRMDEMO", "organization": "CRMDEMO"}),
    ] {
        assert!(is_token(&server.post("/authentication/token", body).await.token()));
    }
}

#[tokio::test]
async fn a_unit_is_one_of_the_users_or_refused() {
    let server = TestServer::start().await;
    let log_in = async |unit: String| {
        let body = json!({"username": "mpadministrator", "password": "1234", "organisation": "CRMDEMO", "unit": unit});
        server.post("/authentication/token", body).await
    };
    let answer = log_in(server.demo.other_unit.to_string()).await;
    let shown = Answer::of(server.request("GET", "/authentication/token").bearer_auth(answer.token())).await;
    assert_eq!(shown.json()["data"]["unit"]["name"], "Second");
    for foreign in [server.other.unit.to_string(), "0".repeat(32)] {
        let answer = log_in(foreign).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "INVALID_UNIT"));
    }
    let body = json!({"username": "mpadministrator", "password": "wrong", "organisation": "CRMDEMO", "unit": server.other.unit.to_string()});
    assert_eq!(
        server.post("/authentication/token", body).await.code(),
        "INVALID_CREDENTIALS",
        "the unit comes second"
    );

    server.set_status(&server.demo, Scope::Unit(server.demo.other_unit), Status::Disabled).await;
    assert_eq!(log_in(server.demo.other_unit.to_string()).await.code(), "INVALID_UNIT");
    assert!(is_token(&log_in(String::new()).await.token()));
}

/// Every way in which credentials fail, with the reason that only the audit log has.
#[tokio::test]
async fn c5_every_failure_is_one_answer_for_one_hash_and_the_audit_log_knows_which() {
    let lockout = doorward_domain::attempts::LockoutRules { failures: 1, ..Options::default().lockout };
    let server = TestServer::with(Options { lockout, ..Options::default() }).await;
    let log_in = async |organisation: &str, username: &str, password: &str| {
        let body = json!({"username": username, "password": password, "organisation": organisation});
        let hashes = server.metric("doorward_hash_wait_seconds_count").await;
        let answer = server.post("/authentication/token", body).await;
        let hashed = server.metric("doorward_hash_wait_seconds_count").await - hashes;
        let reason = server.audit().await.last().unwrap().reason.clone();
        ((answer.status, answer.text), hashed as u32, reason)
    };
    let (answer, hashes, reason) = log_in("NOBODY", "mpadministrator", "1234").await;
    assert_eq!((answer.0, hashes, reason.as_str()), (401, 1, "unknown_organisation"));
    let check = |case: ((u16, String), u32, String), expected: &str| {
        assert_eq!(case, (answer.clone(), 1, expected.to_owned()))
    };

    check(log_in("\u{1}", "mpadministrator", "1234").await, "unknown_organisation");
    check(log_in("CRMDEMO", "nobody", "1234").await, "unknown_user");
    check(log_in("OTHER", "mpadministrator", "1234").await, "unknown_user");
    server.set_status(&server.demo, Scope::User(server.demo.user), Status::Disabled).await;
    check(log_in("CRMDEMO", "mpadministrator", "1234").await, "user_disabled");
    server.set_status(&server.demo, Scope::User(server.demo.user), Status::Active).await;
    server.set_status(&server.demo, Scope::Organisation(server.demo.id), Status::Disabled).await;
    check(log_in("CRMDEMO", "mpadministrator", "1234").await, "organisation_suspended");
    server.set_status(&server.demo, Scope::Organisation(server.demo.id), Status::Active).await;
    check(log_in("CRMDEMO", "mpadministrator", "wrong").await, "wrong_password");
    // l5: locked looks like a wrong password.
    check(log_in("CRMDEMO", "mpadministrator", "1234").await, "locked");
    server.clock.advance(std::time::Duration::from_secs(60));
    let ((status, _), hashes, reason) = log_in("CRMDEMO", "mpadministrator", "1234").await;
    assert_eq!((status, hashes, reason.as_str()), (200, 1, "ok"));
}

#[tokio::test]
async fn a_password_that_must_be_changed_gives_no_token() {
    let server = TestServer::start().await;
    let password = doorward_domain::credential::Password::parse("Zo\u{eb}'s new password").unwrap();
    let hash = server.cost().hash(&password, &doorward_testkit::SystemRandomness).unwrap();
    server.set_password(&server.demo, hash, true).await;
    let answer = server.try_password(&server.demo, "Zoe\u{308}'s new password").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "PASSWORD_CHANGE_REQUIRED"));
    assert_eq!(server.try_password(&server.demo, "1234").await.code(), "INVALID_CREDENTIALS");
}

/// Guarantee 3: what ends a user's tokens ends them before it is answered, and for good.
#[tokio::test]
async fn m3_a_change_ends_the_tokens_below_it_and_no_others() {
    let passwords = PasswordRules { min_length: 4, blocklist: false, ..PasswordRules::default() };
    let mut server = TestServer::with(Options { passwords, ..Options::default() }).await;
    let (demo, other) = (server.demo.clone(), server.other.clone());
    let token = server.administrator(&server.operator).await.token;
    let path = |rest: &str| format!("/admin/v1/organisations/{}{rest}", demo.id);
    let (organisation, unit) = (path(""), path(&format!("/units/{}", demo.unit)));
    let (user, key) = (path(&format!("/users/{}", demo.user)), path(&format!("/keys/{}", demo.key_id)));
    let (end, password) = (path("/sessions/end"), format!("{user}/password"));
    let disabled = json!({"status": "disabled"});
    // What ends tokens, and whether it ends password tokens, Web API key tokens and tokens of another unit.
    for (method, path, body, [password_ends, key_ends, other_unit_ends]) in [
        ("PATCH", &organisation, json!({"status": "suspended"}), [true, true, true]),
        ("PATCH", &unit, disabled.clone(), [true, true, false]),
        ("PATCH", &user, disabled.clone(), [true, true, true]),
        ("PATCH", &key, disabled, [false, true, false]),
        ("PATCH", &user, json!({"units": [demo.unit.to_string()]}), [true, true, true]),
        ("POST", &password, json!({"password": demo.password, "must_change": false}), [true, true, true]),
        (
            "POST",
            &format!("{key}/rotate"),
            json!({"overlap": "0s", "secret": demo.key}),
            [false, true, false],
        ),
        ("POST", &end, json!({"all": true}), [true, true, true]),
        ("POST", &end, json!({"unit": demo.unit.to_string()}), [true, true, false]),
        ("POST", &end, json!({"user": demo.user.to_string()}), [true, true, true]),
        ("POST", &end, json!({"key": demo.key_id.to_string()}), [false, true, false]),
    ] {
        let password = server.log_in(&demo).await;
        let with_key = server.log_in_with_key(&demo).await;
        let login = json!({"username": demo.username, "password": demo.password, "organisation": demo.code, "unit": demo.other_unit.to_string()});
        let other_unit = server.post("/authentication/token", login).await.token();
        let bystander = server.log_in(&other).await;
        let what = format!("{method} {path} {body}");
        let change = server.admin_request(method, path).bearer_auth(&token).json(&body);
        let answer = Answer::of(change).await;
        assert!(answer.status < 300, "{what}: {answer:?}");
        for restarted in [false, true] {
            if restarted {
                server = server.crash_and_restart().await;
            }
            for (token, ends) in [
                (&password, password_ends),
                (&with_key, key_ends),
                (&other_unit, other_unit_ends),
                (&bystander, false),
            ] {
                assert_eq!(server.is_in_force(token).await, !ends, "{what}, restarted: {restarted}");
                assert_eq!(server.verify(token).await.status == 200, !ends, "{what}");
            }
        }
        let units = [demo.unit.to_string(), demo.other_unit.to_string()];
        for (path, undo) in [
            (&organisation, json!({"status": "active"})),
            (&unit, json!({"status": "active"})),
            (&user, json!({"status": "active", "units": units})),
            (&key, json!({"status": "active"})),
        ] {
            let answer =
                Answer::of(server.admin_request("PATCH", path).bearer_auth(&token).json(&undo)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        assert!(!password_ends || !server.is_in_force(&password).await, "enabling revives nothing");
        assert!(server.is_in_force(&server.log_in(&demo).await).await);
    }
}

/// C4: a hash of lesser parameters is replaced at the next login, and no token ends by it.
#[tokio::test]
async fn c4_a_login_renews_a_hash_of_lesser_parameters() {
    let weaker = doorward_domain::passwords::Argon2Cost { memory_kib: 8, iterations: 1, parallelism: 1 };
    let cost = doorward_domain::passwords::Argon2Cost { iterations: 3, ..weaker };
    let server = TestServer::with(Options { cost, ..Options::default() }).await;
    let password = doorward_domain::credential::Password::parse("1234").unwrap();
    let hash = weaker.hash(&password, &doorward_testkit::SystemRandomness).unwrap();
    server.set_password(&server.demo, hash, false).await;
    let stored = || {
        let bytes = std::fs::read(server.folder().join("doorward.db-wal")).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        text.matches("$argon2id$v=19$m=8,t=1,p=1$").count() > 0
    };
    assert!(stored());
    let first = server.log_in(&server.demo).await;
    let second = server.log_in(&server.demo).await;
    assert!(server.is_in_force(&first).await && server.is_in_force(&second).await);
    let count = server.metric("doorward_journal_commit_entries_sum").await;
    server.log_in(&server.demo).await;
    assert_eq!(
        server.metric("doorward_journal_commit_entries_sum").await - count,
        1.0,
        "renewed once, not each time"
    );
}
