//! The examples of the reference, request and response, byte for byte as its pages show them, on both mounts.

use doorward_testkit::{Answer, Demo, TestServer};
use serde_json::Value;

use crate::verify::is_token;

const MOUNTS: [&str; 2] = ["/authentication", "/crmapi/rest/v2/authentication"];

/// The same but for the token, which cannot be the one of the page.
fn assert_same(answer: &Answer, reference: &str) {
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let mut expected: Value = serde_json::from_str(reference).unwrap();
    if expected["data"].get("token").is_some() {
        assert!(is_token(&answer.token()), "{answer:?}");
        expected["data"]["token"] = answer.token().into();
    }
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn post_authentication_token() {
    let server = TestServer::start().await;
    for mount in MOUNTS {
        let request = server.request("POST", &format!("{mount}/token"));
        let answer = Answer::of(request.body(include_str!("reference/token_request.json"))).await;
        assert_same(&answer, include_str!("reference/token_response.json"));
    }
}

#[tokio::test]
async fn post_authentication_web_api_key_token() {
    let server = TestServer::start().await;
    for mount in MOUNTS {
        let request = server
            .request("POST", &format!("{mount}/web_api_key/token"))
            .header("Content-Type", "application/json")
            .header("Authorization", "Basic RUU3M0MwQUU2NDUyNDM3MUI1RERFRkY1RjdCQjIxOTI6");
        let answer = Answer::of(request.body(include_str!("reference/web_api_key_token_request.json"))).await;
        assert_same(&answer, include_str!("reference/web_api_key_token_response.json"));
        assert!(server.is_in_force(&answer.token()).await);
    }
    assert_eq!(server.demo.key, Demo::KEY);
}

#[tokio::test]
async fn post_authentication_token_release() {
    let server = TestServer::start().await;
    for mount in MOUNTS {
        let token = server.log_in(&server.demo).await;
        let body = include_str!("reference/release_request.json").replace("{{token}}", &token);
        let answer = Answer::of(server.request("POST", &format!("{mount}/token/release")).body(body)).await;
        assert_same(&answer, include_str!("reference/release_response.json"));
        assert!(!server.is_in_force(&token).await);
    }
}
