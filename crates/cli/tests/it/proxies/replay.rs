//! Traefik and Envoy are in no Debian package: what they ask is sent as their sources say that they send it, and their
//! configurations are looked at.

use std::{fs, net::SocketAddr, path::Path};

use doorward_testkit::TestServer;

use super::{rig::IDENTITY, spoofs, wire};

/// Traefik's ForwardAuth (`pkg/middlewares/auth/forward.go`): a GET without a body, of the client's headers only those in
/// `authRequestHeaders`, then the five about the request that it makes itself.
fn traefik(api: SocketAddr, verify: &str, method: &str, uri: &str, headers: &str) -> wire::Message {
    wire::exchange(
        api,
        format!(
            "GET {verify} HTTP/1.1\r\nHost: {api}\r\nUser-Agent: Go-http-client/1.1\r\n{headers}\
             X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Host: api.example.com\r\nX-Forwarded-Method: {method}\r\n\
             X-Forwarded-Proto: http\r\nX-Forwarded-Uri: {uri}\r\nAccept-Encoding: gzip\r\n\r\n"
        )
        .as_bytes(),
    )
}

/// Envoy's HTTP client (`ext_authz_http_impl.cc`): the client's method, its path and query behind the prefix, a length of
/// zero, `Authorization`, and what the configuration adds.
fn envoy(api: SocketAddr, method: &str, target: &str, headers: &str) -> wire::Message {
    wire::exchange(
        api,
        format!(
            "{method} /verify/at{target} HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 0\r\n{headers}\
             x-forwarded-for: 192.0.2.7\r\nx-envoy-internal: true\r\nx-envoy-expected-rq-timeout-ms: 2000\r\n\r\n"
        )
        .as_bytes(),
    )
}

fn is_yes(answer: &wire::Message, user: &str) -> bool {
    for name in IDENTITY {
        assert_eq!(answer.values(name).len(), usize::from(answer.status() == 200), "{answer:?}");
    }
    assert!(matches!(answer.status(), 200 | 401 | 403), "{answer:?}");
    answer.status() == 200 && answer.values("x-auth-user") == [user]
}

#[tokio::test(flavor = "multi_thread")]
async fn traefiks_questions_are_answered() {
    let server = TestServer::start().await;
    let (token, other) = (server.log_in(&server.demo).await, server.log_in(&server.other).await);
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let user = server.demo.username.clone();
    let (own, others, api) = (bearer(&token), bearer(&other), server.api);
    let ask = |verify: &str, uri: &str, headers: &str| traefik(api, verify, "POST", uri, headers);
    assert!(is_yes(&ask("/verify", "/orders/7?page=2", &own), &user));
    assert!(!is_yes(&ask("/verify", "/orders/7?page=2", ""), &user));
    assert!(!is_yes(&ask("/verify", &format!("/?token={other}"), &own), &user), "two tokens");
    assert!(!is_yes(&ask("/verify", "/", &format!("{own}{others}")), &user), "two headers");
    let demanding = "/verify?require_organisation=CRMDEMO";
    assert!(is_yes(&ask(demanding, "/?require_organisation=OTHER", &own), &user));
    assert_eq!(ask(demanding, "/?require_organisation=OTHER", &others).status(), 403);
    server.release(&token).await;
    assert!(!is_yes(&ask("/verify", "/", &own), &user));
}

#[tokio::test(flavor = "multi_thread")]
async fn envoys_questions_are_answered() {
    let server = TestServer::start().await;
    let (token, other) = (server.log_in(&server.demo).await, server.log_in(&server.other).await);
    let own = format!("authorization: Bearer {token}\r\n");
    let user = server.demo.username.clone();
    let api = server.api;
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for target in [
            "/",
            "/orders/7",
            "/orders?x=1&y=2",
            "/%C3%A4/b%20c",
            "/a//b",
            "/verify",
            "/../verify",
            "/a%2fb",
            "/?",
        ] {
            assert!(is_yes(&envoy(api, method, target, &own), &user), "{method} {target}");
            assert!(!is_yes(&envoy(api, method, target, ""), &user), "{method} {target}");
        }
        assert!(is_yes(&envoy(api, method, &format!("/orders?a=b&token={token}"), ""), &user), "{method}");
        assert!(!is_yes(&envoy(api, method, &format!("/orders?token={other}"), &own), &user), "two tokens");
    }
    // What a client asks for in its query is demanded of nobody, and lets nobody in.
    assert!(is_yes(&envoy(api, "GET", "/?require_organisation=OTHER&touch=false", &own), &user));
    let demand = "x-auth-require: organisation=OTHER\r\n";
    assert_eq!(envoy(api, "GET", "/?require_organisation=CRMDEMO", &format!("{own}{demand}")).status(), 403);
    server.release(&token).await;
    assert!(!is_yes(&envoy(api, "GET", "/", &own), &user));
}

fn deployed(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file)).unwrap()
}

#[test]
fn f2_the_configurations_of_traefik_and_envoy_name_every_header() {
    let (traefik, envoy) = (deployed("traefik/doorward.yml"), deployed("envoy/envoy.yaml"));
    let grpc = deployed("envoy/grpc.yaml");
    let has_line = |text: &str, line: &str| text.lines().any(|known| known.trim() == line);
    for name in spoofs::reserved() {
        for spelling in spoofs::spellings(name)
            .iter()
            .filter(|spelling| spelling.starts_with("X") && !spelling.contains('.'))
        {
            let is_as_written = spelling.replace('_', "-") == name;
            assert!(!is_as_written || has_line(&traefik, &format!("{spelling}: \"\"")), "{spelling}");
        }
        for envoy in [&envoy, &grpc] {
            assert!(has_line(envoy, &format!("- remove: {}", name.to_lowercase())), "{name}");
        }
    }
    for name in IDENTITY {
        assert!(has_line(&traefik, &format!("- {name}")), "{name}");
        assert!(has_line(&envoy, &format!("- exact: {}", name.to_lowercase())), "{name}");
    }
    for line in ["trustForwardHeader: false", "- Authorization", "Authorization: \"\""] {
        assert!(has_line(&traefik, line), "{line}");
    }
    for line in [
        "failure_mode_allow: false",
        "headers_with_underscores_action: REJECT_REQUEST",
        "path_prefix: /verify/at",
        "- remove: authorization",
        "- remove: token",
    ] {
        assert!(has_line(&envoy, line), "{line}");
    }
    for line in ["failure_mode_allow: false", "headers_with_underscores_action: DROP_HEADER"] {
        assert!(has_line(&grpc, line), "{line}");
    }
}
