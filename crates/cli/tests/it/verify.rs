//! `/verify`, as reverse proxies ask it.

use doorward_testkit::{Answer, TestServer};

/// 32 upper-case hexadecimal digits.
pub fn is_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'))
}

const IDENTITY: [&str; 8] = [
    "x-auth-organisation",
    "x-auth-unit",
    "x-auth-user",
    "x-auth-organisation-id",
    "x-auth-unit-id",
    "x-auth-user-id",
    "x-auth-method",
    "x-auth-expires",
];

#[tokio::test]
async fn all_identity_headers_on_200_and_none_on_401() {
    let server = TestServer::start().await;
    let demo = &server.demo;
    for (token, method, expires) in [
        (server.log_in(demo).await, "password", "2026-11-24T04:36:02.000Z"),
        (server.log_in_with_key(demo).await, "web_api_key", "2026-11-24T05:36:02.000Z"),
    ] {
        let answer = server.verify(&token).await;
        let expected = [
            "CRMDEMO",
            "Markt & M%C3%BCller 100%25",
            "mpadministrator",
            &demo.id.to_string(),
            &demo.unit.to_string(),
            &demo.user.to_string(),
            method,
            expires,
        ];
        assert_eq!((answer.status, answer.text.as_str()), (200, ""));
        assert_eq!(IDENTITY.map(|name| answer.header(name)), expected);
        server.release(&token).await;
        let answer = server.verify(&token).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"");
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("x-auth")), "{answer:?}");
    }
}

#[tokio::test]
async fn every_method_is_answered_and_the_token_is_found_where_proxies_put_it() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        assert_eq!(
            Answer::of(server.request(method, "/verify").bearer_auth(&token)).await.status,
            200,
            "{method}"
        );
    }
    let other = server.log_in(&server.other).await;
    let get = |path: String| server.request("GET", &path);
    let plain = || get("/verify".into());
    for (request, status) in [
        (get(format!("/verify?token={token}")), 200),
        (plain().header("X-Forwarded-Uri", format!("/orders?page=2&token={token}")), 200),
        (plain().header("X-Original-URI", format!("/orders?token={token}#part")), 200),
        (plain().header("X-Original-URI", format!("/orders?token={token}")).bearer_auth(&token), 200),
        (plain().header("X-Original-URI", format!("/orders?token={other}")).bearer_auth(&token), 401),
        (get(format!("/verify?token={other}")).bearer_auth(&token), 401),
        (plain().bearer_auth(&token).header("Authorization", "Basic YTo="), 401),
        (plain().header("X-Original-URI", format!("/orders/token={token}")), 401),
        (plain().header("Authorization", format!("Token {token}")), 401),
        (plain().header("Authorization", token.clone()), 401),
        (plain().header("Cookie", format!("token={token}")), 401),
        (plain().body(format!("{{\"token\":\"{token}\"}}")), 401),
        (plain(), 401),
    ] {
        let shown = format!("{request:?}");
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, status, "{shown}");
        assert_eq!(answer.headers.contains_key("x-auth-user"), status == 200, "{shown}");
    }
}

/// F1: whatever is sent, what is not a valid token is not a 2xx.
#[tokio::test]
async fn f1_nothing_but_a_valid_token_is_a_2xx() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    for (name, value) in [
        ("authorization", "Bearer"),
        ("authorization", "Bearer "),
        ("authorization", "Bearer null"),
        ("authorization", "Bearer '; DROP TABLE session; --"),
        ("x-auth-user", "mpadministrator"),
        ("x-original-uri", "/?token=%00"),
        ("x-original-uri", "?token=&token=&token="),
        ("x-forwarded-uri", "%%%?%%%token=%FF"),
        ("x-http-method-override", "OPTIONS"),
    ] {
        let answer = Answer::of(server.request("GET", "/verify").header(name, value)).await;
        assert_eq!(answer.status, 401, "{name}: {value}");
    }
    for path in [
        "/verify/",
        "/VERIFY",
        "//verify",
        "/verify?token",
        "/verify?token=",
        "/verify/x",
        "/verify;x",
        "/verify%00",
    ] {
        let answer = Answer::of(server.request("GET", path)).await;
        assert!(matches!(answer.status, 401 | 404), "{path}: {answer:?}");
    }
    server.clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(server.verify(&token).await.status, 401);
}

/// A plain question is answered before there is any talk of routes; the same behind `/verify/at` goes through them.
#[tokio::test]
async fn a_plain_question_is_answered_as_any_other() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    let more = ["content-type", "content-length", "www-authenticate", "cache-control"];
    for bearer in [token.as_str(), "00000000000000000000000000000000", "no token", ""] {
        let ask = async |path: &str| Answer::of(server.request("GET", path).bearer_auth(bearer)).await;
        let (plain, routed) = (ask("/verify").await, ask("/verify/at").await);
        assert_eq!((plain.status, &plain.text), (routed.status, &routed.text), "{bearer}");
        for name in IDENTITY.into_iter().chain(more) {
            assert_eq!(plain.header(name), routed.header(name), "{name} for {bearer}");
        }
        assert_ne!(plain.header("x-request-id"), routed.header("x-request-id"));
    }
}
