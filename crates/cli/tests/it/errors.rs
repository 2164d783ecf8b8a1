//! The error table, on both mounts: the same bodies, and statuses that fit or are always 200.

use doorward_testkit::{Answer, Demo, TestServer};
use serde_json::json;

const NEW: &str = "/authentication";
const CRM_COM: &str = "/crmapi/rest/v2/authentication";

/// Sends a request to both mounts and checks the answers; returns the message.
async fn check(
    server: &TestServer,
    (method, path): (&str, &str),
    dress: impl Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    (status, code): (u16, &str),
) -> String {
    let mut bodies = Vec::new();
    for (mount, status) in [(NEW, status), (CRM_COM, 200)] {
        let answer = Answer::of(dress(server.request(method, &format!("{mount}{path}")))).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{method} {mount}{path}: {answer:?}"
        );
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!answer.header("x-request-id").is_empty());
        assert_eq!(answer.json()["data"], json!({}));
        bodies.push(answer.json());
    }
    assert_eq!(bodies[0], bodies[1]);
    bodies[0]["status"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn bodies_that_are_wrong() {
    let server = TestServer::start().await;
    let deep = format!("{{\"username\":{}", "[".repeat(50_000));
    let long_name = json!({"username": "é".repeat(257), "organisation": "o", "password": "p"}).to_string();
    let long_password =
        json!({"username": "u", "organisation": "o", "password": "x".repeat(1025)}).to_string();
    for (body, code, message) in [
        (&b"username=mpadministrator&password=1234"[..], "MALFORMED_REQUEST", "byte 1 "),
        (b"<login/>", "MALFORMED_REQUEST", "byte 1 "),
        ("{\n\u{a0}\"username\": \"x\"}".as_bytes(), "MALFORMED_REQUEST", "byte 3 is a no-break space"),
        (b"{\"username\": \"x\"", "MALFORMED_REQUEST", "ends at byte 16"),
        (b"[]", "MALFORMED_REQUEST", "not an object"),
        (b"\"text\"", "MALFORMED_REQUEST", "not an object"),
        (b"null", "MALFORMED_REQUEST", "not an object"),
        (b"{\"username\": \"\xff\xfe\"}", "MALFORMED_REQUEST", "not UTF-8 at byte 15"),
        (deep.as_bytes(), "MALFORMED_REQUEST", "nested too deeply"),
        (b"", "MISSING_PARAMETER", "'username'"),
        (b"{}", "MISSING_PARAMETER", "'username'"),
        (br#"{"username": null}"#, "MISSING_PARAMETER", "'username'"),
        (br#"{"username": "u", "password": ""}"#, "MISSING_PARAMETER", "'password'"),
        (br#"{"username": "u", "password": "p"}"#, "MISSING_PARAMETER", "'organisation'"),
        (br#"{"username": 7}"#, "INVALID_PARAMETER", "'username' is a number"),
        (br#"{"username": ["u"]}"#, "INVALID_PARAMETER", "'username' is an array"),
        (br#"{"username": "u", "password": {"a": 1}}"#, "INVALID_PARAMETER", "'password' is an object"),
        (
            br#"{"username": "u", "password": "p", "organisation": true}"#,
            "INVALID_PARAMETER",
            "'organisation' is a boolean",
        ),
        (
            br#"{"username": "u", "password": "p", "organisation": "a", "organization": "b"}"#,
            "INVALID_PARAMETER",
            "'organization' differs",
        ),
        (br#"{"username": "u", "username": "v"}"#, "INVALID_PARAMETER", "more than once"),
        (
            br#"{"username": "u", "password": "p", "organisation": "o", "unit": 5}"#,
            "INVALID_PARAMETER",
            "'unit' is a number",
        ),
        (
            br#"{"username": "u", "password": "p", "organisation": "o", "unit": "7F"}"#,
            "INVALID_PARAMETER",
            "'unit' is not a unit's id",
        ),
        (long_name.as_bytes(), "INVALID_PARAMETER", "'username' is longer than 256 characters"),
        (long_password.as_bytes(), "INVALID_PARAMETER", "longer than 1024 bytes"),
    ] {
        let shown =
            check(&server, ("POST", "/token"), |request| request.body(body.to_vec()), (400, code)).await;
        assert!(shown.contains(message), "{shown} does not say {message:?}");
    }
    let release: [(&[u8], &str, &str); 4] = [
        (b"", "MISSING_PARAMETER", "'token'"),
        (b"{\"token\": 1351195444}", "INVALID_PARAMETER", "'token' is a number"),
        (b"{\"token\": \"A\", \"token\": \"B\"}", "INVALID_PARAMETER", "more than once"),
        (b"{", "MALFORMED_REQUEST", "ends at byte 1"),
    ];
    for (body, code, message) in release {
        let shown =
            check(&server, ("POST", "/token/release"), |request| request.body(body), (400, code)).await;
        assert!(shown.contains(message), "{shown} does not say {message:?}");
    }
}

#[tokio::test]
async fn keys_that_are_wrong() {
    let server = TestServer::start().await;
    for (authorization, status, code) in [
        (None, 400, "MISSING_PARAMETER"),
        (Some("Basic Og=="), 400, "MISSING_PARAMETER"),
        (Some("Bearer RUU3M0MwQUU2NDUyNDM3MUI1RERFRkY1RjdCQjIxOTI6"), 400, "MISSING_PARAMETER"),
        (Some("Digest username=x"), 400, "MISSING_PARAMETER"),
        (Some("Basic"), 400, "MISSING_PARAMETER"),
        (Some("Basic ?"), 400, "INVALID_PARAMETER"),
        (Some("Basic /////w=="), 400, "INVALID_PARAMETER"),
        (Some("Basic RUU3M0MwQUU2NDUyNDM3MUI1RERFRkY1RjdCQjIxOTI="), 400, "INVALID_PARAMETER"),
        (Some("Basic YTpi"), 400, "INVALID_PARAMETER"),
        (Some("Basic YTo="), 401, "INVALID_CREDENTIALS"),
    ] {
        let dress = |request: reqwest::RequestBuilder| match authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        };
        check(&server, ("POST", "/web_api_key/token"), dress, (status, code)).await;
    }
    let twice = |request: reqwest::RequestBuilder| {
        request.basic_auth(Demo::KEY, Some("")).basic_auth(Demo::KEY, Some(""))
    };
    let message = check(&server, ("POST", "/web_api_key/token"), twice, (400, "MALFORMED_REQUEST")).await;
    assert!(message.contains("repeated"), "h4");
    let wrong_body =
        |request: reqwest::RequestBuilder| request.basic_auth(Demo::KEY, Some("")).body("{\"unit\": 1}");
    check(&server, ("POST", "/web_api_key/token"), wrong_body, (400, "INVALID_PARAMETER")).await;
}

#[tokio::test]
async fn tokens_that_are_wrong() {
    let server = TestServer::start().await;
    let (token, other) = (server.log_in(&server.demo).await, server.log_in(&server.demo).await);
    for wrong in [token.to_lowercase(), token[..31].into(), format!("{token}0"), "0".repeat(32), "x".into()] {
        check(&server, ("GET", "/token"), |request| request.bearer_auth(&wrong), (401, "INVALID_TOKEN"))
            .await;
        check(
            &server,
            ("GET", "/token"),
            |request| request.query(&[("token", &wrong)]),
            (401, "INVALID_TOKEN"),
        )
        .await;
    }
    check(&server, ("GET", "/token"), |request| request, (400, "MISSING_PARAMETER")).await;
    let two = |request: reqwest::RequestBuilder| request.bearer_auth(&token).query(&[("token", &other)]);
    check(&server, ("GET", "/token"), two, (400, "INVALID_PARAMETER")).await;
    let two = |request: reqwest::RequestBuilder| request.bearer_auth(&token).json(&json!({"token": other}));
    check(&server, ("GET", "/token"), two, (400, "INVALID_PARAMETER")).await;
    check(&server, ("POST", "/token/release"), two, (400, "INVALID_PARAMETER")).await;
    assert!(server.is_in_force(&token).await && server.is_in_force(&other).await);
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let server = TestServer::start().await;
    for path in ["", "/", "/tokens", "/token/release/now", "/web_api_key", "/%74oken"] {
        let message = check(&server, ("POST", path), |request| request, (404, "NOT_FOUND")).await;
        assert!(message.contains("nothing at this path"));
    }
    for (method, path) in [
        ("PUT", "/token"),
        ("DELETE", "/token"),
        ("GET", "/web_api_key/token"),
        ("GET", "/token/release"),
        ("BREW", "/token"),
    ] {
        check(&server, (method, path), |request| request, (405, "METHOD_NOT_ALLOWED")).await;
    }
    let allow =
        Answer::of(server.request("PATCH", "/authentication/token/release")).await.header("allow").to_owned();
    assert_eq!(allow, "POST");
    for path in [
        "/",
        "/oauth2",
        "/authenticationx/token",
        "/crmapi/rest/v1/authentication/token",
        "/metrics",
        "/docs",
    ] {
        let answer = Answer::of(server.request("GET", path)).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, "application/problem+json"),
            "{path}"
        );
        assert_eq!(answer.json()["code"], "NOT_FOUND");
    }
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let server = TestServer::start().await;
    for (size, chunked) in [(65_537, false), (1 << 20, false), (1 << 20, true)] {
        let body = || {
            let json =
                json!({"username": "x".repeat(size), "password": "p", "organisation": "o"}).to_string();
            let whole = bytes::Bytes::from(json);
            if chunked {
                let parts: Vec<_> = whole
                    .chunks(8192)
                    .map(|part| Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(part)))
                    .collect();
                reqwest::Body::wrap_stream(futures_util::stream::iter(parts))
            } else {
                whole.into()
            }
        };
        for path in ["/token", "/token/release", "/web_api_key/token"] {
            let dress =
                |request: reqwest::RequestBuilder| request.basic_auth(Demo::KEY, Some("")).body(body());
            let message = check(&server, ("POST", path), dress, (413, "PAYLOAD_TOO_LARGE")).await;
            assert!(message.contains("65536 bytes"));
        }
        let introspect =
            server.request("POST", "/oauth2/introspect").basic_auth(Demo::KEY, Some("")).body(body());
        assert_eq!(Answer::of(introspect).await.status, 413);
    }
}

/// O1: what does not fit the queue of logins is refused at once, and never as a wrong credential.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o1_a_full_queue_is_unavailable_on_both_mounts() {
    use doorward_domain::{
        attempts::LockoutRules,
        passwords::{Argon2Cost, HashingLimits},
    };
    let options = doorward_testkit::Options {
        hashing: HashingLimits { threads: 1, queue: 1 },
        // Slow enough that logins sent together meet in the queue.
        cost: Argon2Cost { memory_kib: 19 * 1024, iterations: 2, parallelism: 1 },
        lockout: LockoutRules { failures: 100, ..LockoutRules::default() },
        ..doorward_testkit::Options::default()
    };
    let server = TestServer::with(options).await;
    let body = json!({"username": "mpadministrator", "password": "1234", "organisation": "CRMDEMO"});
    let mut codes = Vec::new();
    for (mount, status) in [(NEW, 503), (CRM_COM, 200)] {
        let log_in =
            |_| tokio::spawn(Answer::of(server.request("POST", &format!("{mount}/token")).json(&body)));
        let logins: Vec<_> = (0..40).map(log_in).collect();
        for login in logins {
            let answer = login.await.unwrap();
            if answer.code() == "UNAVAILABLE" {
                assert_eq!((answer.status, answer.header("retry-after")), (status, "1"));
            }
            codes.push(answer.code());
        }
    }
    let count = |wanted: &str| codes.iter().filter(|code| *code == wanted).count();
    assert_eq!(count("OK") + count("UNAVAILABLE"), 80, "{codes:?}");
    assert!(count("OK") > 0 && count("UNAVAILABLE") > 0, "{codes:?}");
    server.log_in(&server.demo).await;
}
