//! `authentication/token/release`.

use doorward_testkit::{Answer, TestServer};
use serde_json::json;

#[tokio::test]
async fn t6_a_release_is_immediate_and_a_retry_is_safe() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    assert_eq!(server.verify(&token).await.status, 200);
    for _ in 0..3 {
        let answer = server.release(&token).await;
        assert_eq!((answer.status, answer.code().as_str()), (200, "OK"));
        assert_eq!(server.verify(&token).await.status, 401);
    }
    for unknown in
        ["0".repeat(32), token.to_lowercase(), token[..31].into(), "1351195444".into(), "x".repeat(5000)]
    {
        assert_eq!(server.release(&unknown).await.code(), "OK", "{unknown}");
    }
}

/// A token that has just expired is removed by its release like any other, for a use that began a moment earlier may
/// still be under way.
#[tokio::test]
async fn t3_a_release_of_an_expired_token_is_written_too() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    server.clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(server.verify(&token).await.status, 401);
    assert_eq!(server.metric("doorward_sessions{method=\"password\"}").await, 1.0, "not swept yet");
    assert_eq!(server.release(&token).await.code(), "OK");
    assert_eq!(server.metric("doorward_sessions{method=\"password\"}").await, 0.0);
    assert_eq!(server.audit().await.last().unwrap().event, "release");
    // What cannot be a token is released however often it is said.
    let twice = server.request("POST", "/authentication/token/release?token=1351195444");
    assert_eq!(Answer::of(twice.json(&json!({"token": "1351195444"}))).await.code(), "OK");
}

#[tokio::test]
async fn t2_an_inexact_token_releases_nothing() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    for inexact in [
        token.to_lowercase(),
        format!("{token} "),
        format!(" {token}"),
        format!("{token}0"),
        token[..31].into(),
    ] {
        server.release(&inexact).await;
        let verify = server.request("GET", "/verify").query(&[("token", &inexact)]);
        assert_eq!(Answer::of(verify).await.status, 401, "{inexact:?}");
        assert!(server.is_in_force(&token).await);
    }
}

#[tokio::test]
async fn t6_many_releases_at_once_are_all_served() {
    let server = TestServer::start().await;
    let mut tokens = Vec::new();
    for _ in 0..50 {
        tokens.push(server.log_in_with_key(&server.demo).await);
    }
    let release = |token: &String| {
        let request = server.request("POST", "/authentication/token/release").json(&json!({"token": token}));
        tokio::spawn(Answer::of(request))
    };
    let answers: Vec<_> = tokens.iter().chain(&tokens).map(release).collect();
    for answer in answers {
        assert_eq!(answer.await.unwrap().code(), "OK");
    }
    for token in &tokens {
        assert!(!server.is_in_force(token).await);
    }
}

/// Guarantees 1 and 2 in one process; `kill.rs` shows them on the real binary.
#[tokio::test]
async fn d1_what_was_answered_survives_a_crash() {
    let server = TestServer::start().await;
    let mut kept = Vec::new();
    let mut released = Vec::new();
    for _ in 0..20 {
        kept.push(server.log_in_with_key(&server.demo).await);
        released.push(server.log_in(&server.other).await);
    }
    for token in &released {
        server.release(token).await;
    }
    let server = server.crash_and_restart().await;
    for (kept, released) in kept.iter().zip(&released) {
        assert_eq!(server.verify(kept).await.status, 200);
        assert_eq!(server.verify(released).await.status, 401);
    }
}
