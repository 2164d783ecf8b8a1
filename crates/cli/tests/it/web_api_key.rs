//! `authentication/web_api_key/token`.

use doorward_domain::clock::TimeSource;
use doorward_domain::{directory::Status, id::KeyId, session::Scope};
use doorward_testkit::{Answer, SystemRandomness, TestServer};
use serde_json::json;

const PATH: &str = "/authentication/web_api_key/token";

#[tokio::test]
async fn bodies_may_be_absent_empty_or_name_a_unit() {
    let server = TestServer::start().await;
    let request = || server.request("POST", PATH).basic_auth(&server.demo.key, Some(""));
    for request in [
        request(),
        request().body(""),
        request().body(" {} ").header("Content-Type", "text/plain"),
        request().json(&json!({"unit": ""})),
        request().json(&json!({"unit": server.demo.other_unit.to_string()})),
        // Without base64 padding, as some old clients send it, and in another case.
        server
            .request("POST", "/Authentication/web_api_key/token/")
            .header("authorization", "BASIC RUU3M0MwQUU2NDUyNDM3MUI1RERFRkY1RjdCQjIxOTI6"),
    ] {
        assert!(server.is_in_force(&Answer::of(request).await.token()).await);
    }
    let foreign = request().json(&json!({"unit": server.other.unit.to_string()}));
    assert_eq!(Answer::of(foreign).await.code(), "INVALID_UNIT");
}

#[tokio::test]
async fn keys_that_are_not_in_use_are_refused_alike() {
    let server = TestServer::start().await;
    let log_in = async |key: &str| Answer::of(server.request("POST", PATH).basic_auth(key, Some(""))).await;
    let expiring = "KEY-BROUGHT-IN-FROM-ELSEWHERE";
    let expires_at = server.clock.wall().plus(std::time::Duration::from_secs(60));
    let id = KeyId::generate(server.clock.wall(), &SystemRandomness).unwrap();
    server.change(server.demo.create_key(id, expiring, Some(expires_at))).await;
    let token = log_in(expiring).await.token();
    server.clock.advance(std::time::Duration::from_secs(60));
    let refused = log_in("0123456789ABCDEF0123456789ABCDEF").await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "INVALID_CREDENTIALS"));
    assert_eq!(log_in(expiring).await.text, refused.text);
    assert!(server.is_in_force(&token).await, "a token lives its two hours");
    assert_eq!(log_in(&server.demo.key.to_lowercase()).await.text, refused.text);
    for scope in [
        Scope::Key(server.demo.user, server.demo.key_id),
        Scope::User(server.demo.user),
        Scope::Organisation(server.demo.id),
    ] {
        server.set_status(&server.demo, scope, Status::Disabled).await;
        assert_eq!(log_in(&server.demo.key).await.text, refused.text, "{scope:?}");
        server.set_status(&server.demo, scope, Status::Active).await;
        log_in(&server.demo.key).await.token();
    }
    let reasons: Vec<_> =
        server.audit().await.into_iter().map(|row| row.reason).filter(|reason| reason != "ok").collect();
    assert_eq!(
        reasons,
        [
            "unknown_key",
            "key_expired",
            "unknown_key",
            "key_disabled",
            "user_disabled",
            "organisation_suspended"
        ]
    );
}

/// Keys that nobody has cost their caller nothing, so they must not fill the disk with records.
#[tokio::test]
async fn unknown_keys_are_recorded_up_to_a_point() {
    let server = TestServer::start().await;
    let guess = async |n: u32| {
        let request = server.request("POST", PATH).basic_auth(format!("GUESS-{n}"), Some(""));
        assert_eq!(Answer::of(request).await.code(), "INVALID_CREDENTIALS");
    };
    let written = async || server.metric("doorward_journal_commit_entries_sum").await;
    let before = written().await;
    for n in 0..1_010 {
        guess(n).await;
    }
    assert_eq!(written().await - before, 1_000.0);
    server.clock.advance(std::time::Duration::from_secs(60));
    guess(0).await;
    assert_eq!(written().await - before, 1_001.0);
    let counted =
        server.metric(r#"doorward_logins_total{method="web_api_key",outcome="invalid_credentials"}"#).await;
    assert_eq!(counted, 1_011.0, "the metric counts them all");
}
