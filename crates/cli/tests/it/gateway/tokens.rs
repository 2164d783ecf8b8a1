//! The token, wherever it is; and who a client says it is.

use doorward_testkit::{Answer, TestServer};
use serde_json::json;

use super::{Api, Gateway};

const UNKNOWN: &str = "00000000000000000000000000000000";

#[tokio::test]
async fn h2_a_token_is_found_wherever_it_is_and_goes_no_further() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let gateway = Gateway::before(&server, api.address, &[]);
    let token = server.log_in(&server.demo).await;
    let plain = |method, path: &str| gateway.request(method, path);
    let body = format!("{{ \"a\" : 1.50,\t\"token\":\"{token}\" , \"x\\u0041\":[{{\"token\":\"mine\"}}]}}\n");
    let left = "{ \"a\" : 1.50 , \"x\\u0041\":[{\"token\":\"mine\"}]}\n";
    for (request, address, reached_body) in [
        (plain("GET", "/orders?a=1&b=%2F").bearer_auth(&token), "/orders?a=1&b=%2F", ""),
        (plain("GET", &format!("/orders?a=1&token={token}&b=+")), "/orders?a=1&b=+", ""),
        (plain("GET", &format!("/orders?token={token}")), "/orders", ""),
        (plain("POST", "/orders").body(body.clone()), "/orders", left),
        (
            plain("POST", "/orders").header("content-type", "application/json").body(body.clone()),
            "/orders",
            left,
        ),
        (
            plain("POST", "/orders")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.clone()),
            "/orders",
            left,
        ),
        (
            plain("POST", &format!("/orders?token={token}")).bearer_auth(&token).body(body.clone()),
            "/orders",
            left,
        ),
        (plain("PUT", "/orders").bearer_auth(&token).body("{\"token\":null}"), "/orders", "{\"token\":null}"),
        (plain("POST", "/orders").bearer_auth(&token).body("token=x&y"), "/orders", "token=x&y"),
        (
            plain("POST", "/orders")
                .bearer_auth(&token)
                .header("content-type", "text/xml")
                .body("<token>x</token>"),
            "/orders",
            "<token>x</token>",
        ),
        (
            plain("GET", "/orders").bearer_auth(&token).header("referer", format!("http://a/?token={token}")),
            "/orders",
            "",
        ),
        (plain("DELETE", "/orders").bearer_auth(&token), "/orders", ""),
    ] {
        let answer = Answer::of(request).await;
        let reached = api.one();
        assert_eq!((answer.status, answer.header("x-api")), (200, "yes"), "{answer:?}");
        assert_eq!(answer.text, reached_body);
        assert_eq!(
            (reached.uri.to_string(), &reached.body[..]),
            (address.to_owned(), reached_body.as_bytes())
        );
        for (name, value) in [
            ("x-auth-organisation", server.demo.code.clone()),
            ("x-auth-organisation-id", server.demo.id.to_string()),
            ("x-auth-unit-id", server.demo.unit.to_string()),
            ("x-auth-user", server.demo.username.clone()),
            ("x-auth-user-id", server.demo.user.to_string()),
            ("x-auth-method", "password".to_owned()),
            ("x-forwarded-for", "127.0.0.1".to_owned()),
            ("x-forwarded-proto", "http".to_owned()),
            ("x-forwarded-host", gateway.address.to_string()),
            ("host", api.address.to_string()),
        ] {
            assert_eq!(reached.header(name), value, "{reached:?}");
        }
        assert!(!reached.header("x-auth-unit").is_empty() && !reached.header("x-auth-expires").is_empty());
        assert_eq!(reached.header("x-request-id"), answer.header("x-request-id"));
        assert!(!format!("{reached:?}").contains(&token), "{reached:?}");
        if !reached_body.is_empty() {
            assert_eq!(reached.header("content-length"), reached_body.len().to_string());
        }
        assert!(answer.headers.get("x-hop").is_none(), "what is for the connection stays there: {answer:?}");
    }
    let log = gateway.stop();
    assert!(log.contains("\"answered\"") && log.contains("\"route\":\"/\""), "{log}");
    assert!(!log.contains(&token) && !log.to_lowercase().contains(&token.to_lowercase()), "{log}");
}

#[tokio::test]
async fn chunked_bodies_are_cut_too() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let gateway = Gateway::before(&server, api.address, &[]);
    let token = server.log_in(&server.demo).await;
    let body = format!("{{\"token\":\"{token}\",\"x\":1}}");
    for size in [1, 7, 1000] {
        let mut raw = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in body.as_bytes().chunks(size) {
            raw.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            raw.extend_from_slice(part);
            raw.extend_from_slice(b"\r\n");
        }
        raw.extend_from_slice(b"0\r\nX-Auth-User: admin\r\n\r\n");
        let answer = gateway.raw(&raw).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("{\"x\":1}"), "{answer}");
        let reached = api.one();
        assert_eq!(&reached.body[..], b"{\"x\":1}");
        assert_eq!(reached.header("x-auth-user"), server.demo.username);
    }
}

#[tokio::test]
async fn f1_what_is_not_let_in_reaches_nobody() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let gateway = Gateway::before(&server, api.address, &[]);
    let (token, other) = (server.log_in(&server.demo).await, server.log_in(&server.other).await);
    let released = server.log_in(&server.demo).await;
    server.release(&released).await;
    let get = |path: &str| gateway.request("GET", path);
    let post =
        |body: String| gateway.request("POST", "/x").header("content-type", "application/json").body(body);
    let wrong_case = token.to_lowercase();
    for (request, status, code) in [
        (get("/x"), 401, "INVALID_TOKEN"),
        (get("/x?token="), 401, "INVALID_TOKEN"),
        (get("/x").bearer_auth(UNKNOWN), 401, "INVALID_TOKEN"),
        (get("/x").bearer_auth(&released), 401, "INVALID_TOKEN"),
        (get("/x").bearer_auth(&wrong_case), 401, "INVALID_TOKEN"),
        (get("/x").basic_auth(&token, Some("")), 401, "INVALID_TOKEN"),
        (get(&format!("/x?token={token}%20")), 401, "INVALID_TOKEN"),
        (post("{}".into()), 401, "INVALID_TOKEN"),
        (post(json!({"token": 5}).to_string()), 401, "INVALID_TOKEN"),
        (post(json!({"a": {"token": token}}).to_string()), 401, "INVALID_TOKEN"),
        (post(json!([{"token": token}]).to_string()), 401, "INVALID_TOKEN"),
        (get(&format!("/x?token={token}")).bearer_auth(&other), 400, "INVALID_PARAMETER"),
        (get(&format!("/x?token={token}&token={other}")), 400, "INVALID_PARAMETER"),
        (get(&format!("/x?token={UNKNOWN}")).bearer_auth(&token), 400, "INVALID_PARAMETER"),
        (post(json!({"token": other}).to_string()).bearer_auth(&token), 400, "INVALID_PARAMETER"),
        (post(format!("{{\"token\":\"{token}\",\"token\":\"{other}\"}}")), 400, "INVALID_PARAMETER"),
        (post(format!("{{\"token\":\"{token}\",}}")), 400, "MALFORMED_REQUEST"),
        (post(format!("{{\"token\":\"{token}\"}}{{}}")), 400, "MALFORMED_REQUEST"),
        (post(format!("{{\"token\":\"{token}\"")), 400, "MALFORMED_REQUEST"),
        (get("/x").bearer_auth(&token).header("authorization", "Basic YTo="), 400, "MALFORMED_REQUEST"),
        (gateway.request("TRACE", "/x").bearer_auth(&token), 405, "METHOD_NOT_ALLOWED"),
    ] {
        let answer = Answer::of(request).await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.json()["data"], json!({}));
        assert!(
            !answer.text.contains(&token)
                && !answer.headers.keys().any(|name| name.as_str().starts_with("x-auth"))
        );
        if status == 401 {
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
        api.nothing();
    }
    // A release is in force here at once.
    assert_eq!(Answer::of(get("/x").bearer_auth(&token)).await.status, 200);
    server.release(&token).await;
    assert_eq!(Answer::of(get("/x").bearer_auth(&token)).await.code(), "INVALID_TOKEN");
    let log = gateway.stop();
    for secret in [&token, &other, &released, &wrong_case] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn old_clients_are_refused_with_200() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let gateway = Gateway::before(&server, api.address, &["--refuse-with-200"]);
    let answer = Answer::of(gateway.request("GET", "/x").bearer_auth(UNKNOWN)).await;
    assert_eq!((answer.status, &*answer.code()), (200, "INVALID_TOKEN"));
    let answer = Answer::of(gateway.request("GET", "/a%2Fb").bearer_auth(UNKNOWN)).await;
    assert_eq!((answer.status, &*answer.code()), (200, "MALFORMED_REQUEST"));
    api.nothing();
}

#[tokio::test]
async fn f2_f3_a_client_cannot_say_who_it_is_or_ask_for_something_else() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let gateway = Gateway::before(&server, api.address, &[]);
    let token = server.log_in(&server.demo).await;
    let head = |lines: &str| {
        format!(
            "GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{lines}Connection: close\r\n\r\n"
        )
    };
    for lines in [
        "X-Auth-User: spoofed\r\n",
        "x_auth_user: spoofed\r\n",
        "X-Auth_User: spoofed\r\n",
        "X.Auth.User: spoofed\r\n",
        "X-Auth-User: spoofed\r\nX-Auth-User: spoofed\r\n",
        "X-Auth-Role: spoofed\r\n",
        "X-Auth-Require: organisation=OTHER\r\n",
        "X-Auth-Touch: false\r\n",
        "Connection: X-Auth-User, X-Auth-User-Id\r\n",
        "Connection: x-forwarded-for, host, content-length\r\n",
        "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n",
        "X-Original-URL: /spoofed\r\nX-Rewrite-URL: /spoofed\r\nX-Original-URI: /spoofed\r\nX-Forwarded-Uri: /spoofed\r\n",
        "Proxy-Authorization: Basic spoofed\r\nProxy-Connection: spoofed\r\nKeep-Alive: spoofed\r\nTE: spoofed\r\nTrailer: spoofed\r\n",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings\r\n",
        "Expect: 100-continue\r\n",
        "Connection: close\r\nConnection: x-request-id\r\nX-Request-Id: spoofed\r\n",
    ] {
        let answer = gateway.raw(head(lines).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{lines}{answer}");
        let reached = api.one();
        let text = format!("{:?}", reached.headers);
        assert!(
            !text.contains("spoofed") && !text.contains("6.6.6.6") && !text.contains("OTHER"),
            "{lines}{text}"
        );
        assert_eq!(reached.header("x-auth-user"), server.demo.username);
        assert_eq!(reached.header("x-auth-user-id"), server.demo.user.to_string());
        assert_eq!(reached.header("x-forwarded-for"), "127.0.0.1");
        let mut names: Vec<_> = reached.headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        let ours = [
            "host",
            "x-auth-expires",
            "x-auth-method",
            "x-auth-organisation",
            "x-auth-organisation-id",
            "x-auth-unit",
            "x-auth-unit-id",
            "x-auth-user",
            "x-auth-user-id",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id",
        ];
        assert_eq!(names, ours, "{lines}");
    }
}

/// H1: behind a proxy of one's own the chain goes on; from anybody else it begins here.
#[tokio::test]
async fn h1_the_clients_address_comes_from_trusted_proxies_only() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let token = server.log_in(&server.demo).await;
    for (trusted, chain, logged) in
        [("127.0.0.0/8,::1", "1.2.3.4, 127.0.0.1", "1.2.3.4"), ("10.0.0.0/8", "127.0.0.1", "127.0.0.1")]
    {
        let gateway = Gateway::before(&server, api.address, &["--trusted-proxies", trusted]);
        let request = gateway.request("GET", "/x").bearer_auth(&token).header("x-forwarded-for", "1.2.3.4");
        assert_eq!(Answer::of(request.header("x-real-ip", "6.6.6.6")).await.status, 200);
        let reached = api.one();
        assert_eq!((reached.header("x-forwarded-for"), reached.header("x-real-ip")), (chain, ""));
        let log = gateway.stop();
        assert!(log.contains(&format!("\"address\":\"{logged}\"")), "{log}");
    }
}
