//! What goes wrong: neighbours that are away or slow, clients that are slow, too much at once, and the end.

use std::{fs::File, path::Path, process::Command, sync::atomic::Ordering, time::Duration};

use doorward_testkit::{Answer, TestServer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Api, Gateway, RawApi};

/// An address where nobody is.
async fn nowhere() -> std::net::SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn f1_without_doorward_nobody_gets_through() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let token = server.log_in(&server.demo).await;
    let upstream = format!("http://{}", api.address);
    let silent = RawApi::start(b"").await.address;
    let empty = RawApi::start(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.address;
    let partial =
        RawApi::start(b"HTTP/1.1 200 OK\r\nX-Auth-User: a\r\nContent-Length: 0\r\n\r\n").await.address;
    let error = RawApi::start(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n").await.address;
    let elsewhere =
        RawApi::start(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n").await.address;
    let garbage = RawApi::start(b"\x16\x03\x01\0\x05").await.address;
    for doorward in [nowhere().await, silent, empty, partial, error, elsewhere, garbage, server.admin] {
        let gateway = Gateway::start(doorward, &["--upstream", &upstream, "--check-timeout", "300ms"]);
        let answer = Answer::of(gateway.request("GET", "/x").bearer_auth(&token)).await;
        assert_eq!((answer.status, &*answer.code()), (503, "UNAVAILABLE"), "{doorward}");
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(Answer::of(gateway.request("GET", "/x")).await.status, 401, "this needs no question");
        assert_eq!((gateway.admin("/livez").await.status, gateway.admin("/readyz").await.status), (200, 503));
        api.nothing();
        let log = gateway.stop();
        assert!(!log.contains(&token) && log.contains("Doorward"), "{log}");
    }
}

/// F1: a Doorward of a version that knows no requirements has nothing where they are asked for.
#[tokio::test]
async fn f1_an_older_doorward_lets_nobody_through_a_route_with_requirements() {
    let api = Api::start().await;
    let older = RawApi::start(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let routes =
        format!("[[route]]\npath='/'\nupstream='http://{}'\nrequire.role='administrator'\n", api.address);
    std::fs::write(&file, routes).unwrap();
    let gateway = Gateway::start(older.address, &["--routes", file.to_str().unwrap()]);
    let answer = Answer::of(gateway.request("GET", "/x").bearer_auth("0".repeat(32))).await;
    assert_eq!((answer.status, &*answer.code()), (503, "UNAVAILABLE"));
    let asked = String::from_utf8(older.take()).unwrap();
    assert!(
        asked.starts_with("GET /verify/at/") && asked.contains("x-auth-require: role=administrator\r\n"),
        "{asked}"
    );
    api.nothing();
}

#[tokio::test]
async fn an_api_that_fails_is_told_from_a_token_that_fails() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let token = server.log_in(&server.demo).await;
    let gateway = Gateway::before(&server, api.address, &["--first-byte-timeout", "300ms"]);
    let answer = Answer::of(gateway.request("GET", "/never").bearer_auth(&token)).await;
    assert_eq!((answer.status, &*answer.code()), (504, "GATEWAY_TIMEOUT"));
    let response = gateway.request("GET", "/break").bearer_auth(&token).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err(), "an answer that breaks off is not taken for a whole one");
    for upstream in [
        nowhere().await,
        RawApi::start(b"\x16\x03\x01 nothing of HTTP\r\n\r\n").await.address,
        RawApi::start(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx").await.address,
        RawApi::start(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
            .await
            .address,
    ] {
        let gateway = Gateway::before(&server, upstream, &[]);
        let answer = Answer::of(gateway.request("GET", "/x").bearer_auth(&token)).await;
        assert_eq!((answer.status, &*answer.code()), (502, "BAD_GATEWAY"), "{answer:?}");
        let log = gateway.stop();
        assert!(log.contains("the upstream") && !log.contains(&token), "{log}");
    }
}

#[tokio::test]
async fn a_slow_upload_is_not_a_slow_answer() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let token = server.log_in(&server.demo).await;
    let gateway = Gateway::before(&server, api.address, &["--first-byte-timeout", "400ms"]);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\nAuthorization: Bearer {token}\r\nContent-Length: 8\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..8 {
        stream.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(&api.one().body[..], b"xxxxxxxx");
}

#[tokio::test]
async fn h5_slow_clients_are_cut_off() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let token = server.log_in(&server.demo).await;
    let gateway =
        Gateway::before(&server, api.address, &["--header-timeout", "300ms", "--idle-timeout", "300ms"]);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for (sent, answered) in [
        ("GET /x HTTP/1.1\r\nHost:".to_owned(), ""),
        (format!("POST /x HTTP/1.1\r\nHost: a\r\n{bearer}Content-Length: 9\r\n\r\n{{\"a\""), "HTTP/1.1 408"),
        (
            format!(
                "POST /x HTTP/1.1\r\nHost: a\r\n{bearer}Content-Type: image/png\r\nContent-Length: 9\r\n\r\nx"
            ),
            "HTTP/1.1 408",
        ),
    ] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let end = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await;
        assert!(end.is_ok(), "the connection stays open after {answer:?}");
        assert!(answer.starts_with(answered), "{sent}: {answer}");
        assert!(answered.is_empty() || answer.contains("REQUEST_TIMEOUT"), "{answer}");
        api.nothing();
    }
}

async fn the_one_place_is_given_back(gateway: &Gateway, token: &str) {
    let ask = || Answer::of(gateway.request("GET", "/x").bearer_auth(token));
    assert_eq!(ask().await.status, 503, "the one place is taken");
    for _ in 0..100 {
        if ask().await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the one place stays taken");
}

/// A client that asks for much and takes nothing of it keeps nobody else out.
#[tokio::test]
async fn h5_clients_that_do_not_read_are_cut_off() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let token = server.log_in(&server.demo).await;
    let gateway = Gateway::before(&server, api.address, &["--max-requests", "1", "--idle-timeout", "1500ms"]);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!("GET /source HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    the_one_place_is_given_back(&gateway, &token).await;
    drop(stream);
}

/// The same of one of HTTP/2 that never opens its window, so that nothing is ever written to it.
#[tokio::test]
async fn h5_clients_that_shut_their_window_are_cut_off() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let token = server.log_in(&server.demo).await;
    let gateway = Gateway::before(&server, api.address, &["--max-requests", "1", "--idle-timeout", "1500ms"]);
    let builder = reqwest::Client::builder().http2_prior_knowledge();
    let client = builder.http2_initial_stream_window_size(1).build().unwrap();
    let request = client.get(format!("http://{}/source", gateway.address)).bearer_auth(&token);
    let unread = request.send().await.unwrap();
    assert_eq!(unread.status(), 200);
    the_one_place_is_given_back(&gateway, &token).await;
    assert!(unread.bytes().await.is_err(), "an answer that was cut off is not taken for a whole one");
}

/// Who has shown no token takes no place of those who have.
#[tokio::test]
async fn o3_nobody_is_kept_out_by_those_without_a_token() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let token = server.log_in(&server.demo).await;
    let gateway = Gateway::before(&server, api.address, &["--max-requests", "1", "--header-timeout", "3s"]);
    // Two for the one place: it is full when either is refused.
    let beginning = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{";
    let begin = async || {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        stream
    };
    let status = async |stream: &mut TcpStream| {
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        String::from_utf8(status.to_vec()).unwrap()
    };
    let (mut one, mut other) = (begin().await, begin().await);
    let (first, mut waiting) = tokio::select! {
        first = status(&mut one) => (first, other),
        first = status(&mut other) => (first, one),
    };
    assert_eq!(first, "HTTP/1.1 503");
    let answer = Answer::of(gateway.request("POST", "/x").bearer_auth(&token).body("{\"a\":1}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // Nor is it kept for longer than a head may take.
    assert_eq!(status(&mut waiting).await, "HTTP/1.1 408");
}

#[tokio::test]
async fn connections_are_used_again() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let token = server.log_in(&server.demo).await;
    let gateway = Gateway::before(&server, api.address, &[]);
    for _ in 0..30 {
        assert_eq!(Answer::of(gateway.request("GET", "/x").bearer_auth(&token)).await.status, 200);
    }
    let made = api.connections.load(Ordering::Relaxed);
    assert!((1..=3).contains(&made), "{made} connections for 30 requests");
}

#[tokio::test]
async fn o3_there_is_an_end_to_what_goes_on_at_once() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let token = server.log_in(&server.demo).await;
    let gateway = Gateway::before(&server, api.address, &["--max-requests", "1", "--max-connections", "3"]);
    let slow = tokio::spawn(gateway.request("GET", "/slow").bearer_auth(&token).send());
    tokio::time::sleep(Duration::from_millis(150)).await;
    let answer = Answer::of(gateway.request("GET", "/x").bearer_auth(&token)).await;
    assert_eq!((answer.status, &*answer.code()), (503, "UNAVAILABLE"));
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert_eq!(Answer::of(gateway.request("GET", "/x").bearer_auth(&token)).await.status, 200);
    api.one();
    let (mut open, mut closed) = (Vec::new(), 0);
    for _ in 0..6 {
        open.push(TcpStream::connect(gateway.address).await.unwrap());
    }
    for stream in &mut open {
        let read = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut [0; 1])).await;
        closed += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
    }
    assert!((3..6).contains(&closed), "{closed} of 6 were closed, with 3 places");
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let token = server.log_in(&server.demo).await;
    let gateway = Gateway::before(&server, api.address, &[]);
    assert_eq!((gateway.admin("/livez").await.status, gateway.admin("/readyz").await.status), (200, 200));
    assert_eq!(gateway.admin("/x").await.status, 404);
    let slow = tokio::spawn(gateway.request("GET", "/slow").bearer_auth(&token).send());
    tokio::time::sleep(Duration::from_millis(150)).await;
    gateway.signal("TERM");
    let answer = slow.await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "done"));
    let address = gateway.address;
    let (code, log) = gateway.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(TcpStream::connect(address).await.is_err());
}

fn make_certificate(folder: &Path) -> (String, String) {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(File::create("/dev/null").unwrap())
        .status();
    assert!(made.unwrap().success());
    (certificate.display().to_string(), key.display().to_string())
}

/// One gateway before another: TLS comes in and goes out, in HTTP/2 and HTTP/1.1.
#[tokio::test]
#[cfg_attr(missing_openssl, ignore = "needs openssl")]
async fn tls_comes_in_and_goes_out() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let token = server.log_in(&server.demo).await;
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = make_certificate(folder.path());
    let tls = ["--tls-certificate", &certificate, "--tls-key", &key];
    let file = folder.path().join("inner.toml");
    std::fs::write(&file, format!("[[route]]\npath='/'\nupstream='http://{}'\npublic=true\n", api.address))
        .unwrap();
    let inner = Gateway::start(server.api, &[&["--routes", file.to_str().unwrap()], &tls[..]].concat());
    let upstream = format!("https://localhost:{}", inner.address.port());
    let start = |args: &[&str]| Gateway::start(server.api, &[&["--upstream", &upstream], args].concat());
    let outer = start(&[&["--ca-certificate", &certificate], &tls[..]].concat());
    let pem = std::fs::read(&certificate).unwrap();
    let client = |is_http1: bool| {
        let authority = reqwest::Certificate::from_pem(&pem).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([authority]);
        if is_http1 { client.http1_only() } else { client }.build().unwrap()
    };
    for (is_http1, version) in [(true, reqwest::Version::HTTP_11), (false, reqwest::Version::HTTP_2)] {
        let address = format!("https://localhost:{}/x?token={token}", outer.address.port());
        let response = client(is_http1).post(address).body("{\"a\":1}").send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
        let reached = api.one();
        assert_eq!((reached.uri.to_string().as_str(), &reached.body[..]), ("/x", &b"{\"a\":1}"[..]));
        // The inner gateway gives nothing on the word of the outer one, which is not its proxy.
        assert_eq!((reached.header("x-auth-user"), reached.header("x-forwarded-proto")), ("", "https"));
    }
    // A certificate that nobody vouches for.
    let outer = start(&[]);
    let answer = Answer::of(outer.request("GET", "/x").bearer_auth(&token)).await;
    assert_eq!((answer.status, &*answer.code()), (502, "BAD_GATEWAY"));
}
