//! `/oauth2/introspect` and `/oauth2/revoke`.

use doorward_domain::{directory::Status, session::Scope};
use doorward_testkit::{Answer, Organisation, TestServer};
use serde_json::json;

async fn introspect(server: &TestServer, caller: &Organisation, token: &str) -> Answer {
    let request = server.request("POST", "/oauth2/introspect").basic_auth(&caller.key, Some(""));
    Answer::of(request.form(&[("token", token)])).await
}

async fn revoke(server: &TestServer, caller: &Organisation, token: &str) -> Answer {
    let request = server.request("POST", "/oauth2/revoke").basic_auth(&caller.key, Some(""));
    Answer::of(request.form(&[("token", token), ("token_type_hint", "access_token")])).await
}

#[tokio::test]
async fn t7_inactive_is_exactly_that_whatever_the_reason() {
    let server = TestServer::start().await;
    let released = server.log_in(&server.demo).await;
    server.release(&released).await;
    let expired = server.log_in(&server.demo).await;
    server.clock.advance(std::time::Duration::from_secs(3600));
    let foreign = server.log_in(&server.other).await;
    for token in [released, expired, foreign, "0".repeat(32), "nonsense".into(), "a".into()] {
        let answer = introspect(&server, &server.demo, &token).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, r#"{"active":false}"#), "{token}");
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn t7_the_caller_must_authenticate() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    let released = server.log_in(&server.demo).await;
    server.release(&released).await;
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        let form = || server.request("POST", path).form(&[("token", &token)]);
        for request in [
            form(),
            form().basic_auth("not-a-key", Some("")),
            form().basic_auth(&server.demo.key, Some("x")),
            form().bearer_auth(&released),
            form().bearer_auth("x"),
            form().header("authorization", "Basic %%%"),
            form().bearer_auth(&token).bearer_auth(&token),
        ] {
            let answer = Answer::of(request).await;
            assert_eq!(
                (answer.status, answer.json()["error"].as_str()),
                (401, Some("invalid_client")),
                "{answer:?}"
            );
            assert!(answer.headers.contains_key("www-authenticate"));
        }
        let nothing = server.request("POST", path).basic_auth(&server.demo.key, Some(""));
        for request in [nothing.try_clone().unwrap(), nothing.json(&json!({"token": token}))] {
            let answer = Answer::of(request).await;
            assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("invalid_request")));
        }
        assert_eq!(Answer::of(server.request("GET", path)).await.status, 405);
    }
    assert!(server.is_in_force(&token).await);
}

#[tokio::test]
async fn t8_callers_see_the_tokens_of_their_organisation_and_the_operator_sees_all() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    let (demo, other, operator) = (&server.demo, &server.other, &server.operator);
    for (caller, is_active) in [(demo, true), (other, false), (operator, true)] {
        assert_eq!(introspect(&server, caller, &token).await.json()["active"], is_active);
    }
    let shown = introspect(&server, demo, &token).await.json();
    assert_eq!(shown["username"], "mpadministrator");
    assert_eq!(shown["sub"], demo.user.to_string());
    assert_eq!(shown["exp"].as_i64().unwrap() - shown["iat"].as_i64().unwrap(), 3600);

    let answer = revoke(&server, other, &token).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    assert!(server.is_in_force(&token).await, "another organisation ends nothing");
    assert_eq!(revoke(&server, operator, &token).await.status, 200);
    assert!(!server.is_in_force(&token).await);
    let token = server.log_in(demo).await;
    assert_eq!(revoke(&server, demo, &token).await.status, 200);
    assert!(!server.is_in_force(&token).await);
    assert_eq!(revoke(&server, demo, &token).await.status, 200, "t6: a retry is safe");
}

#[tokio::test]
async fn introspection_is_a_use_but_not_by_strangers() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    let half = std::time::Duration::from_secs(1800);
    server.clock.advance(half);
    introspect(&server, &server.demo, &token).await;
    server.clock.advance(half);
    assert!(server.is_in_force(&token).await, "the hour began again");
    introspect(&server, &server.other, &token).await;
    server.clock.advance(half);
    assert!(!server.is_in_force(&token).await, "a stranger's question does not keep it alive");
}

#[tokio::test]
async fn a_token_authenticates_its_holder_as_a_caller() {
    let server = TestServer::start().await;
    let (caller, asked) = (server.log_in(&server.demo).await, server.log_in_with_key(&server.demo).await);
    let request =
        server.request("POST", "/oauth2/introspect").bearer_auth(&caller).form(&[("token", &asked)]);
    let shown = Answer::of(request).await.json();
    assert_eq!((shown["active"].as_bool(), shown["method"].as_str()), (Some(true), Some("web_api_key")));
}

/// A caller's key is remembered between calls, and forgotten with any change of the directory.
#[tokio::test]
async fn a_key_that_is_disabled_asks_nothing_more() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    let demo = &server.demo;
    for _ in 0..2 {
        assert_eq!(introspect(&server, demo, &token).await.json()["active"], true);
    }
    for scope in [Scope::Key(demo.user, demo.key_id), Scope::Organisation(demo.id), Scope::User(demo.user)] {
        server.set_status(demo, scope, Status::Disabled).await;
        assert_eq!(introspect(&server, demo, &token).await.status, 401, "{scope:?}");
        server.set_status(demo, scope, Status::Active).await;
        assert_eq!(introspect(&server, demo, &token).await.status, 200);
    }
}
