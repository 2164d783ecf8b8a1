//! HTTP itself: framing, repeated and absurd headers, slow clients. Written onto the socket by hand.

use std::time::Duration;

use doorward_http::{Limits, listener::Bounds};
use doorward_testkit::{Options, TestServer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends bytes and reads until the server closes or falls silent after an answer.
pub async fn exchange(server: &TestServer, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.api).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect()
}

#[tokio::test]
async fn h4_ambiguous_framing_smuggles_nothing() {
    let server = TestServer::start().await;
    let smuggled = "GET /verify HTTP/1.1\r\nHost: a\r\n\r\n";
    for head in [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2, 3\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Content-Length: -1\r\n",
        "Content-Length : 2\r\n",
    ] {
        let request = format!("POST /authentication/token HTTP/1.1\r\nHost: a\r\n{head}\r\n{{}}{smuggled}");
        let answer = exchange(&server, request.as_bytes()).await;
        assert!(matches!(statuses(&answer)[..], [] | ["400"]), "{head:?}: {answer}");
    }
    // Both: the chunks count (RFC 9112, section 6.3), and the connection ends with the answer, so that what was put
    // behind them is never taken for a request.
    for head in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
    ] {
        let request =
            format!("POST /authentication/token HTTP/1.1\r\nHost: a\r\n{head}\r\n0\r\n\r\n{smuggled}");
        let answer = exchange(&server, request.as_bytes()).await;
        assert_eq!(statuses(&answer), ["400"], "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn h4_a_repeated_authorization_is_refused() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    let request = format!(
        "GET /verify HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    assert_eq!(statuses(&exchange(&server, request.as_bytes()).await), ["401"]);
    let request = request.replace("/verify", "/authentication/token");
    assert_eq!(statuses(&exchange(&server, request.as_bytes()).await), ["400"]);
}

#[tokio::test]
async fn absurd_heads_are_refused_and_the_next_request_is_served() {
    let server = TestServer::start().await;
    let long = "x".repeat(100_000);
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    for request in [
        format!("GET /verify HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET /verify HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
        "GET /verify HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \u{1}\r\n\r\n".into(),
        "GET /verify HTTP/9.9\r\n\r\n".into(),
        "GET  /verify\r\n\r\n".into(),
        "\0\0\0\0\r\n\r\n".into(),
        "\r\n\r\n\r\n".into(),
    ] {
        let answer = exchange(&server, request.as_bytes()).await;
        assert!(
            statuses(&answer).iter().all(|status| status.starts_with('4')),
            "{:?}: {answer}",
            &request[..20.min(request.len())]
        );
    }
    server.log_in(&server.demo).await;
}

/// H5: a client that is slow with its head or its body is cut off, and no credential was looked at before.
#[tokio::test]
async fn h5_slow_clients_are_cut_off() {
    let short = Duration::from_millis(200);
    let options = Options {
        limits: Limits { body_timeout: short, ..Limits::default() },
        bounds: Bounds { header_timeout: short },
        ..Options::default()
    };
    let server = TestServer::with(options).await;
    let mut idle = TcpStream::connect(server.api).await.unwrap();
    let mut head = TcpStream::connect(server.api).await.unwrap();
    head.write_all(b"GET /verify HTTP/1.1\r\nHost: a\r\nX-Half: ").await.unwrap();
    let mut body = TcpStream::connect(server.api).await.unwrap();
    body.write_all(b"POST /authentication/token HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"user")
        .await
        .unwrap();
    for (stream, expected) in [(&mut idle, ""), (&mut head, ""), (&mut body, "did not arrive within 200ms")] {
        let mut answer = String::new();
        // The reading ends when the server closes; a server that waits for ever fails the test by hanging in it.
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(expected), "{answer}");
    }
    assert!(server.audit().await.iter().all(|row| row.event != "password_login"));
}

/// H5: no credential is looked at for a body that is refused, on any endpoint.
#[tokio::test]
async fn h5_no_credential_is_looked_at_for_a_body_that_is_too_large() {
    let server = TestServer::start().await;
    let known = server.audit().await.len();
    let paths = [
        "/authentication/token",
        "/authentication/web_api_key/token",
        "/oauth2/introspect",
        "/oauth2/revoke",
    ];
    for path in paths {
        let request =
            server.request("POST", path).basic_auth("NO-SUCH-KEY", Some("")).body("x".repeat(70_000));
        assert_eq!(doorward_testkit::Answer::of(request).await.status, 413, "{path}");
    }
    assert_eq!(server.audit().await.len(), known, "a credential was judged");
}

/// H6: nothing is cached, and every answer has an id that the audit log knows too.
#[tokio::test]
async fn h6_answers_are_not_cached_and_have_an_id() {
    let server = TestServer::start().await;
    let answer = server.try_password(&server.demo, "1234").await;
    let (token, id) = (answer.token(), answer.header("x-request-id").to_owned());
    assert_eq!(server.audit().await.last().unwrap().request_id, id);
    for answer in
        [answer, server.verify(&token).await, server.release(&token).await, server.verify(&token).await]
    {
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-request-id").len(), 16);
    }
}
