//! Large bodies, and connections that become something else.

use doorward_testkit::{Answer, TestServer};
use futures_util::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Api, Gateway, MANY, much};

/// What the gateway may use while 100 MiB go through it.
const MOST_KIB: usize = 64 * 1024;

#[tokio::test]
async fn large_bodies_stream_both_ways() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let gateway = Gateway::before(&server, api.address, &[]);
    let token = server.log_in(&server.demo).await;
    let answer = Answer::of(gateway.request("POST", "/sink").bearer_auth(&token).body(much())).await;
    assert_eq!((answer.status, answer.text), (200, MANY.to_string()));
    // The token at the front of a JSON body that is far larger than what is looked at.
    let front = format!("{{\"token\":\"{token}\",\"a\":\"");
    let parts = futures_util::stream::iter([Ok::<_, std::io::Error>(front.clone().into())]);
    let many = futures_util::stream::iter((0..1600).map(|_| Ok(bytes::Bytes::from(vec![b'x'; 64 * 1024]))));
    let end = futures_util::stream::iter([Ok("\"}".into())]);
    let body = reqwest::Body::wrap_stream(parts.chain(many).chain(end));
    let request = gateway.request("POST", "/sink").header("content-type", "application/json").body(body);
    let answer = Answer::of(request).await;
    assert_eq!((answer.status, answer.text), (200, (1600 * 64 * 1024 + "{\"a\":\"\"}".len()).to_string()));
    let response = gateway.request("GET", "/source").bearer_auth(&token).send().await.unwrap();
    let mut parts = response.bytes_stream();
    let mut length = 0;
    while let Some(part) = parts.next().await {
        length += part.unwrap().len();
    }
    assert_eq!(length, MANY);
    let most = gateway.most_memory();
    assert!(most < MOST_KIB, "{most} KiB");
}

#[tokio::test]
async fn a_token_is_looked_for_so_far_and_no_further() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let gateway = Gateway::before(&server, api.address, &["--body-limit", "2048"]);
    let token = server.log_in(&server.demo).await;
    let json =
        |body: String| gateway.request("POST", "/x").header("content-type", "application/json").body(body);
    let long = "y".repeat(3000);
    let late = format!("{{\"a\":\"{long}\",\"token\":\"{token}\"}}");
    let answer = Answer::of(json(late.clone())).await;
    assert_eq!((answer.status, &*answer.code()), (413, "PAYLOAD_TOO_LARGE"));
    assert!(answer.text.contains("2048") && answer.text.contains("first"), "{answer:?}");
    api.nothing();
    let answer = Answer::of(json(format!("{{\"token\":\"{token}\",\"a\":\"{long}\"}}"))).await;
    assert_eq!((answer.status, answer.text), (200, format!("{{\"a\":\"{long}\"}}")));
    api.one();
    let answer = Answer::of(json(late.clone()).bearer_auth(&token)).await;
    assert_eq!((answer.status, answer.text), (200, late), "what is found elsewhere will do");
    api.one();
    let bytes = vec![0xFF; 5000];
    let request = gateway.request("POST", "/x").header("content-type", "application/octet-stream");
    let answer = request.bearer_auth(&token).body(bytes.clone()).send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), bytes);
}

/// The example of RFC 6455, section 1.3.
const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// An API that speaks WebSocket and sends back what it is sent.
async fn websocket_api() -> (std::net::SocketAddr, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, reached) = tokio::sync::mpsc::channel(10);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = read_head(&mut stream).await;
            heads.send(head).await.unwrap();
            let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
        }
    });
    (address, reached)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn websockets_pass_with_a_token() {
    let server = TestServer::start().await;
    let (address, mut reached) = websocket_api().await;
    let gateway = Gateway::before(&server, address, &[]);
    let token = server.log_in(&server.demo).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head =
        format!("GET /chat?token={token} HTTP/1.1\r\nHost: a\r\n{UPGRADE}X-Auth-User: spoofed\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let head = reached.recv().await.unwrap();
    assert!(head.starts_with("GET /chat HTTP/1.1\r\n") && !head.contains(&token), "{head}");
    assert!(
        head.contains(&format!("x-auth-user: {}", server.demo.username)) && !head.contains("spoofed"),
        "{head}"
    );
    for frame in ["\u{1}hello", "\u{2}GET /smuggled HTTP/1.1\r\n\r\n"] {
        stream.write_all(frame.as_bytes()).await.unwrap();
        let mut echo = vec![0; frame.len()];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, frame.as_bytes());
    }
    // Nobody gets so far without a token.
    let head = format!("GET /chat HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n");
    let answer = gateway.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let head = format!(
        "POST /chat HTTP/1.1\r\nHost: a\r\n{UPGRADE}Content-Length: 1\r\nAuthorization: Bearer {token}\r\n\r\nx"
    );
    let answer = gateway.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(reached.try_recv().is_err());
}

/// A WebSocket may be open for days.
#[tokio::test]
async fn o3_websockets_take_no_place_of_requests() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let (address, _reached) = websocket_api().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let routes = format!(
        "[[route]]\npath='/'\nupstream='http://{}'\n[[route]]\npath='/chat'\nupstream='http://{address}'\n",
        api.address
    );
    std::fs::write(&file, routes).unwrap();
    let limits = ["--max-requests", "1", "--max-websockets", "1", "--routes", file.to_str().unwrap()];
    let gateway = Gateway::start(server.api, &limits);
    let token = server.log_in(&server.demo).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!("GET /chat?token={token} HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101"));
    assert!(gateway.raw(head.as_bytes()).await.starts_with("HTTP/1.1 503"));
    let answer = Answer::of(gateway.request("GET", "/x").bearer_auth(&token)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}
