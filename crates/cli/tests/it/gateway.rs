//! `doorward gateway`, the real binary, between real clients, a real Doorward and real APIs.

mod bodies;
mod faults;
mod raw;
mod routes;
mod tokens;

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Uri, header},
    response::{IntoResponse, Response},
    routing::any,
    serve::ListenerExt,
};
use doorward_testkit::{Answer, TestServer};
use futures_util::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::program::{command, run};

/// A running gateway. Killed when dropped.
pub struct Gateway {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Gateway {
    /// Starts a gateway that asks this Doorward.
    pub fn start(doorward: SocketAddr, args: &[&str]) -> Self {
        let mut child = command(&["gateway", "--listen", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0"])
            .args([
                "--log-format",
                "json",
                "--log-level",
                "trace",
                "--doorward",
                &format!("http://{doorward}"),
            ])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (address, admin) = loop {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it did not start: {}", log.lock().unwrap());
            log.lock().unwrap().push_str(&line);
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            let address = |name: &str| event[name].as_str().and_then(|text| text.parse().ok());
            if let (Some(gateway), Some(admin)) = (address("gateway"), address("admin")) {
                break (gateway, admin);
            }
        };
        let lines = log.clone();
        let reader = std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = stderr.read(&mut part) {
                lines.lock().unwrap().push_str(&String::from_utf8_lossy(&part[..length]));
            }
        });
        Self { address, admin, child, log, reader: Some(reader) }
    }

    /// A gateway before one API.
    pub fn before(doorward: &TestServer, upstream: SocketAddr, args: &[&str]) -> Self {
        let upstream = format!("http://{upstream}");
        Self::start(doorward.api, &[&["--upstream", &upstream], args].concat())
    }

    /// A request to the gateway.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        client.request(method.parse().unwrap(), format!("http://{}{path}", self.address))
    }

    pub async fn admin(&self, path: &str) -> Answer {
        Answer::of(reqwest::Client::new().get(format!("http://{}{path}", self.admin))).await
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end and returns the exit code and all that was logged.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        self.reader.take().unwrap().join().unwrap();
        (code, self.log.lock().unwrap().clone())
    }

    /// Stops it and returns all that was logged.
    pub fn stop(self) -> String {
        self.signal("TERM");
        let (code, log) = self.wait();
        assert_eq!(code, Some(0), "{log}");
        log
    }

    /// The most memory it has used, in KiB.
    pub fn most_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Sends bytes as they are, and reads until the connection is closed or nothing has come for a while.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A gateway that has refused the beginning may not read the rest.
        let _ = stream.write_all(bytes).await;
        let (mut answer, mut part) = (Vec::new(), [0; 4096]);
        while let Ok(Ok(length @ 1..)) =
            tokio::time::timeout(Duration::from_millis(700), stream.read(&mut part)).await
        {
            answer.extend_from_slice(&part[..length]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request as it reached an API.
#[derive(Clone, Debug)]
pub struct Reached {
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reached {
    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// An API: it notes what reaches it.
#[derive(Clone)]
pub struct Api {
    pub address: SocketAddr,
    pub reached: Arc<Mutex<Vec<Reached>>>,
    /// How many connections have been made to it.
    pub connections: Arc<AtomicUsize>,
}

impl Api {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self {
            address: listener.local_addr().unwrap(),
            reached: Arc::default(),
            connections: Arc::default(),
        };
        let router = Router::new()
            .route("/sink", any(sink))
            .route("/source", any(source))
            .route("/break", any(break_off))
            .route("/never", any(std::future::pending::<()>))
            .route("/slow", any(slow))
            .fallback(any(note))
            .with_state(api.clone());
        let connections = api.connections.clone();
        let listener = listener.tap_io(move |_| {
            connections.fetch_add(1, Ordering::Relaxed);
        });
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        api
    }

    /// The one request that has reached it since this was last asked.
    pub fn one(&self) -> Reached {
        let mut reached = std::mem::take(&mut *self.reached.lock().unwrap());
        assert_eq!(reached.len(), 1, "{reached:?}");
        reached.remove(0)
    }

    pub fn nothing(&self) {
        assert!(self.reached.lock().unwrap().is_empty(), "{:?}", self.reached.lock().unwrap());
    }
}

async fn note(State(api): State<Api>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // A body that breaks off is no request.
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return ().into_response() };
    let reached = Reached { uri: parts.uri, headers: parts.headers, body: body.clone() };
    api.reached.lock().unwrap().push(reached);
    ([("x-api", "yes"), ("connection", "x-hop"), ("x-hop", "stays here")], body).into_response()
}

async fn sink(body: Body) -> String {
    let mut length = 0;
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        length += part.unwrap().len();
    }
    length.to_string()
}

const MANY: usize = 100 * 1024 * 1024;

async fn source() -> Response {
    let part = Bytes::from(vec![b'x'; 64 * 1024]);
    let parts = stream::iter((0..MANY / part.len()).map(move |_| Ok::<_, std::io::Error>(part.clone())));
    Body::from_stream(parts).into_response()
}

async fn break_off() -> Response {
    let parts = stream::iter([Ok(Bytes::from("a beginning")), Err(std::io::Error::other("no end"))]);
    // The beginning is on its way before the end that does not come.
    let parts = parts.then(async |part| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        part
    });
    ([(header::CONTENT_LENGTH, "1000")], Body::from_stream(parts)).into_response()
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(500)).await;
    "done"
}

/// An API that notes the very bytes that reach it, and answers each connection's first ones.
pub struct RawApi {
    pub address: SocketAddr,
    pub bytes: Arc<Mutex<Vec<u8>>>,
}

impl RawApi {
    pub async fn start(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        let noted = bytes.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let noted = noted.clone();
                tokio::spawn(async move {
                    let mut part = [0; 65_536];
                    let mut is_answered = false;
                    while let Ok(length @ 1..) = stream.read(&mut part).await {
                        noted.lock().unwrap().extend_from_slice(&part[..length]);
                        if !is_answered {
                            // What else is on its way belongs to the first request, or is smuggled.
                            tokio::time::sleep(Duration::from_millis(50)).await;
                            let _ = stream.write_all(answer).await;
                            is_answered = true;
                        }
                    }
                });
            }
        });
        Self { address, bytes }
    }

    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.bytes.lock().unwrap())
    }
}

/// What `POST` sends: 100 MiB in parts.
pub fn much() -> reqwest::Body {
    let part = Bytes::from(vec![b'x'; 64 * 1024]);
    let parts = (0..MANY / part.len()).map(move |_| Ok::<_, std::io::Error>(part.clone()));
    reqwest::Body::wrap_stream(stream::iter(parts))
}

#[test]
fn a_wrong_command_line_is_said_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, "[[route]]\npath = '/a'\nupstream = 'http://h'\npublik = true\n").unwrap();
    let file = file.to_str().unwrap();
    for (args, texts) in [
        (&["--upstream", "127.0.0.1:1"][..], &["--upstream", "127.0.0.1:1", "write it as http://"][..]),
        (&["--upstream", "http://u:canary@h"], &["username or password"]),
        (&["--routes", file], &["gateway.toml: line 4", "publik", "public"]),
        (&["--routes", "/nowhere.toml"], &["/nowhere.toml", "--routes"]),
        (&[], &["--upstream"]),
        (&["--routes", file, "--upstream", "http://h"], &["cannot be used with"]),
        (&["--upstream", "http://h", "--doorward", "h"], &["--doorward", "http://host:port"]),
        (
            &["--upstream", "http://h", "--trusted-proxies", "10.0.0.1/8"],
            &["--trusted-proxies", "10.0.0.0/8"],
        ),
        (&["--upstream", "http://h", "--tls-key", "x"], &["--tls-certificate"]),
        (&["--upstream", "http://h", "--body-limit", "5"], &["--body-limit", "1024"]),
    ] {
        let output = run(&[&["gateway"], args].concat(), "");
        let shown = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {shown}");
        for text in texts {
            assert!(shown.contains(text), "{args:?}: {shown} does not say {text}");
        }
        assert!(!shown.contains("canary"), "{shown}");
    }
}
