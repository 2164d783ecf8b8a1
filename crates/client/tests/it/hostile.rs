//! Servers that are none of Doorward's, and what keeps a request from being sent twice.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use doorward_client::{Client, Connection, Credentials, Error, Requirements, Verifier};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::token;

/// Answers every request with the same bytes, and then again and again with the others until nobody listens.
struct Fake {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Fake {
    async fn saying(answer: impl Into<Vec<u8>>, without_end: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, requests) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (answer, counted): (Arc<[u8]>, _) = (answer.into().into(), requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, counted) = (answer.clone(), counted.clone());
                tokio::spawn(async move { serve(stream, &answer, without_end, &counted).await });
            }
        });
        Self { address, requests }
    }

    fn connection(&self) -> Connection {
        let connection = Connection::to(format!("http://{}", self.address));
        connection.request_timeout(Duration::from_millis(500)).build().unwrap()
    }

    fn requests(&self) -> usize {
        self.requests.swap(0, Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, answer: &[u8], without_end: &[u8], requests: &AtomicUsize) {
    let mut buffer = vec![0; 64 * 1024];
    match stream.read(&mut buffer).await {
        Ok(0) | Err(_) => return,
        Ok(_) => requests.fetch_add(1, Ordering::SeqCst),
    };
    if stream.write_all(answer).await.is_err() || without_end.is_empty() {
        return;
    }
    while stream.write_all(without_end).await.is_ok() {}
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n{body}")
        .into_bytes()
}

const JSON: &str = "Content-Type: application/json\r\n";
const IDENTITY: &str = "X-Auth-Organisation: ACME\r\nX-Auth-Organisation-Id: 1\r\nX-Auth-Unit: u\r\nX-Auth-Unit-Id: 2\r\n\
    X-Auth-User: zoe\r\nX-Auth-User-Id: 3\r\nX-Auth-Method: password\r\n";

/// Whatever it is that answers, it is an error, soon and without much memory; and no error repeats a secret.
#[tokio::test]
async fn f1_what_is_not_doorwards_answer_is_an_error() {
    let expires = "X-Auth-Expires: 2026-11-24T03:36:02.120Z\r\n";
    let active = r#""active":true,"sub":"1","username":"zoe""#;
    let half = r#"HTTP/1.1 200 OK
Content-Type: application/json
Content-Length: 400

{"active":true,"status":{"code":"OK"},"results":["#;
    let answers: Vec<(Vec<u8>, &'static [u8])> = vec![
        (b"".to_vec(), b""),
        (b"\0\xff\xfe garbage".to_vec(), b""),
        (b"".to_vec(), b"garbage without end "),
        (b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-Filler: and no end of headers\r\n"),
        (half.replace('\n', "\r\n").into_bytes(), b""),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                .to_vec(),
            b"10\r\n                \r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999999999999\r\n\r\n"
                .to_vec(),
            b"        ",
        ),
        (http("200 OK", "", ""), b""),
        (http("204 No Content", "", ""), b""),
        (http("200 OK", "Content-Type: text/html\r\n", "<h1>Welcome</h1>"), b""),
        (http("200 OK", "Content-Type: text/html\r\n", r#"{"active":true}"#), b""),
        (http("200 OK", JSON, "true"), b""),
        (http("200 OK", JSON, "[]"), b""),
        (http("200 OK", JSON, "{}"), b""),
        (http("200 OK", JSON, &"[".repeat(60_000)), b""),
        (http("200 OK", JSON, r#"{"active":"true"}"#), b""),
        (http("200 OK", JSON, r#"{"active":1}"#), b""),
        (http("200 OK", JSON, &format!("{{{active}}}")), b""),
        (http("200 OK", JSON, &format!("{{{active},\"exp\":-1}}")), b""),
        (http("200 OK", JSON, r#"{"status":{"code":"OK"},"data":null,"results":[]}"#), b""),
        (http("200 OK", JSON, r#"{"status":{"code":"OK"},"data":{"token":"A\nB"},"results":[1]}"#), b""),
        (
            http(
                "200 OK",
                JSON,
                r#"{"status":{"code":"ALMOST"},"data":{"token":"A"},"results":[{"active":true}]}"#,
            ),
            b"",
        ),
        (http("200 OK", IDENTITY, ""), b""),
        (http("200 OK", &format!("{IDENTITY}X-Auth-Expires: soon\r\n"), ""), b""),
        (http("200 OK", &format!("{IDENTITY}{expires}X-Auth-User: root\r\n"), ""), b""),
        (http("200 OK", &format!("{}{expires}", IDENTITY.replace("zoe", "%FF")), ""), b""),
        (http("206 Partial Content", &format!("{IDENTITY}{expires}"), ""), b""),
        (http("302 Found", &format!("Location: /verify\r\n{IDENTITY}{expires}"), ""), b""),
        (http("307 Temporary Redirect", "Location: http://127.0.0.1:9/\r\n", ""), b""),
        (http("401 Unauthorized", "Content-Type: text/html\r\n", "INVALID_TOKEN"), b""),
        (http("401 Unauthorized", JSON, r#"{"active":false}"#), b""),
        (http("403 Forbidden", "", ""), b""),
        (http("403 Forbidden", JSON, r#"{"code":7}"#), b""),
        (http("404 Not Found", JSON, r#"{"code":"INVALID_TOKEN","active":false}"#), b""),
        (http("429 Too Many Requests", JSON, r#"{"active":false}"#), b""),
        (http("500 Oops", JSON, r#"{"active":false}"#), b""),
        (http("502 Bad Gateway", "", ""), b""),
        (http("503 Service Unavailable", "Retry-After: never\r\n", ""), b""),
        (http("503 Service Unavailable", "Retry-After: 99999999999999999999\r\n", ""), b""),
    ];
    let given = token("CANARYTOKEN");
    // Some of them are silent in the end, so all are asked at once.
    let asked = answers.into_iter().map(async |(answer, without_end)| {
        let said = String::from_utf8_lossy(&answer).into_owned();
        let fake = Fake::saying(answer, without_end).await;
        let connection = fake.connection();
        let (with_key, without_key) =
            (Verifier::with_key(connection.clone(), "canary-key"), Verifier::without_key(connection.clone()));
        let requirements = Requirements::default().organisation("ACME");
        let password = Credentials::password("ACME", "zoe", "canary-password");
        let errors = [
            with_key.verify(&given).await.unwrap_err(),
            with_key.check(&given, &requirements).await.unwrap_err(),
            with_key.verify_batch(&[given.clone(), given.clone()]).await.unwrap_err(),
            without_key.verify(&given).await.unwrap_err(),
            without_key.check(&given, &requirements).await.unwrap_err(),
            connection.who_am_i(&given).await.unwrap_err(),
            connection.log_in(&Credentials::key("canary-key")).await.unwrap_err(),
            connection.log_in(&password).await.unwrap_err(),
        ];
        for error in errors {
            let shown = format!("{error} {error:?}");
            assert!(!shown.to_lowercase().contains("canary"), "s1: {shown}");
            assert!(!error.is_invalid_credentials() && shown.len() < 2000, "{said}: {shown}");
        }
    });
    futures_util::future::join_all(asked).await;
}

/// A login that was sent is not sent again, whatever became of it; nor is anything that was refused.
#[tokio::test]
async fn only_what_is_safe_is_sent_again() {
    let given = token("A");
    let limited = "Retry-After: 0\r\n";
    for (answer, questions, logins) in [
        (b"".to_vec(), 3, 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".to_vec(), 3, 1),
        (http("503 Service Unavailable", limited, ""), 3, 1),
        (http("503 Service Unavailable", "", ""), 1, 1),
        (http("503 Service Unavailable", "Retry-After: 3600\r\n", ""), 1, 1),
        (http("429 Too Many Requests", limited, ""), 1, 1),
        (http("401 Unauthorized", JSON, r#"{"error":"invalid_client"}"#), 1, 1),
        (http("403 Forbidden", JSON, r#"{"code":"FORBIDDEN","detail":"No."}"#), 1, 1),
        (http("200 OK", "", ""), 1, 1),
    ] {
        let said = String::from_utf8_lossy(&answer).into_owned();
        let fake = Fake::saying(answer, b"").await;
        let connection = fake.connection();
        Verifier::with_key(connection.clone(), "key").verify(&given).await.unwrap_err();
        assert_eq!(fake.requests(), questions, "introspection: {said}");
        connection.who_am_i(&given).await.unwrap_err();
        assert_eq!(fake.requests(), questions, "look: {said}");
        connection.release(&given).await.unwrap_err();
        assert_eq!(fake.requests(), questions, "release: {said}");
        connection.log_in(&Credentials::key("key")).await.unwrap_err();
        assert_eq!(fake.requests(), logins, "login: {said}");
        let (current, new) = ("a".into(), "b".into());
        connection.change_password("ACME", "zoe", &current, &new).await.unwrap_err();
        assert_eq!(fake.requests(), logins, "password: {said}");
    }
}

/// Silence costs one wait, and its end is known.
#[tokio::test]
async fn silence_is_an_error_when_the_time_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connection = Connection::to(format!("http://{}", listener.local_addr().unwrap()));
    let connection = connection.request_timeout(Duration::from_millis(50)).build().unwrap();
    let error = Verifier::without_key(connection.clone()).verify(&token("A")).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { timed_out: true, not_sent: false, .. }), "{error:?}");
    let client = Client::new(connection, Credentials::key("key"));
    assert!(client.token().await.unwrap_err().is_temporary());
}

/// Where nobody listens a login is tried again, for none was sent.
#[tokio::test]
async fn a_login_without_a_connection_is_tried_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let connection = Connection::to(format!("http://{address}")).retries(10).build().unwrap();
    let login = tokio::spawn(async move { connection.log_in(&Credentials::key("key")).await });
    while !login.is_finished() {
        // Another test may have been given the port meanwhile.
        if let Ok(listener) = TcpListener::bind(address).await {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0);
            let body = r#"{"status":{"code":"OK","message":null,"description":null},"data":{"token":"ABC"}}"#;
            stream.write_all(&http("200 OK", JSON, body)).await.unwrap();
            break;
        }
        tokio::task::yield_now().await;
    }
    let error = Connection::to("http://127.0.0.1:9").retries(0).build().unwrap();
    let error = error.log_in(&Credentials::key("key")).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { not_sent: true, .. }), "{error:?}");
    assert_eq!(login.await.unwrap().unwrap(), token("ABC"));
}
