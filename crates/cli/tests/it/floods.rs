//! Floods of connections, of streams and of tokens that nobody has; clients that take nothing (`security.md` O3).

use std::{process::Command, time::Duration};

use doorward_testkit::{Answer, Demo, Options, TestServer};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::program::{Server, command};

async fn connect(address: std::net::SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Sends a request and returns the beginning of its answer; empty if the server closes.
async fn ask(stream: &mut TcpStream, request: &str) -> String {
    if stream.write_all(request.as_bytes()).await.is_err() {
        return String::new();
    }
    let mut answer = [0; 12];
    match stream.read_exact(&mut answer).await {
        Ok(_) => String::from_utf8_lossy(&answer).into_owned(),
        Err(_) => String::new(),
    }
}

/// Whether the server has closed a connection, or does so now.
async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
}

async fn with_places(connections: usize) -> TestServer {
    TestServer::with(Options { connections, ..Options::default() }).await
}

const OPEN: &str = "doorward_connections{listener=\"api\"}";
const LOOK: &str = "GET /verify HTTP/1.1\r\nHost: a\r\n\r\n";
/// A login of which the body is still to come, after the server has said that it waits for it.
const HALF: &str =
    "POST /authentication/token HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";

/// Who only connects makes room for who comes later, and who is at work stays.
#[tokio::test]
async fn o3_an_idle_connection_makes_room_for_a_new_one() {
    let server = with_places(3).await;
    let mut working = connect(server.api).await;
    assert_eq!(ask(&mut working, LOOK).await, "HTTP/1.1 401");
    let mut idle = [connect(server.api).await, connect(server.api).await];
    for _ in 0..3 {
        let mut newcomer = connect(server.api).await;
        assert_eq!(ask(&mut newcomer, LOOK).await, "HTTP/1.1 401");
        drop(newcomer);
    }
    let mut more = Vec::new();
    for _ in 0..3 {
        let mut newcomer = connect(server.api).await;
        assert_eq!(ask(&mut newcomer, LOOK).await, "HTTP/1.1 401");
        more.push(newcomer);
    }
    for stream in &mut idle {
        assert!(is_closed(stream).await, "it made room");
    }
    assert!(server.metric("doorward_connections_displaced_total{listener=\"api\"}").await >= 2.0);
    // They are gone once they have noticed.
    while server.metric(OPEN).await > 3.0 {}
}

/// Where everybody is being answered the newcomer is closed at once, and only at that listener.
#[tokio::test]
async fn o3_who_is_being_answered_is_not_cut_off_for_a_new_connection() {
    let server = with_places(2).await;
    let mut busy = [connect(server.api).await, connect(server.api).await];
    for stream in &mut busy {
        assert_eq!(ask(stream, HALF).await, "HTTP/1.1 100");
    }
    for _ in 0..3 {
        let mut newcomer = connect(server.api).await;
        assert_eq!(ask(&mut newcomer, LOOK).await, "", "there is no place");
    }
    assert_eq!(server.metric("doorward_connections_refused_total{listener=\"api\"}").await, 3.0);
    assert_eq!(server.admin("/livez").await.status, 200);
    for stream in &mut busy {
        stream.write_all(b"{}").await.unwrap();
        let mut rest = vec![0; 64];
        stream.read_exact(&mut rest).await.unwrap();
        assert!(String::from_utf8_lossy(&rest).contains("HTTP/1.1 400"), "it is answered to its end");
    }
    drop(busy);
    // The ends of those two have to be noticed first.
    loop {
        let mut newcomer = connect(server.api).await;
        if ask(&mut newcomer, LOOK).await == "HTTP/1.1 401" {
            break;
        }
    }
}

/// H5: who asks and asks, and takes none of the answers, is cut off.
#[tokio::test]
async fn h5_a_client_that_takes_nothing_is_cut_off() {
    let options = Options { write_timeout: Duration::from_millis(200), ..Options::default() };
    let server = TestServer::with(options).await;
    let mut stream = connect(server.api).await;
    let many = LOOK.repeat(1_000);
    // Writing ends when the server closes; a server that waits for ever fails the test by hanging in it.
    while stream.write_all(many.as_bytes()).await.is_ok() {}
    assert_eq!(server.metric("doorward_connections_stalled_total{listener=\"api\"}").await, 1.0);
    while server.metric(OPEN).await > 0.0 {}
}

/// The real program with few file descriptors: it takes no more connections than it has room for, goes on answering, and
/// its operators get in.
#[tokio::test]
async fn o3_a_flood_of_connections_leaves_descriptors_for_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    let program = command(&[]).get_program().to_owned();
    let mut limited = Command::new("bash");
    limited.args(["-c", r#"ulimit -n 256; exec "$0" "$@""#]).arg(program);
    let server = Server::from_command(limited, folder.path(), &["--demo"]);
    assert!(server.log().contains("too few files for 'limits.connections'"), "{}", server.log());
    let mut flood = Vec::new();
    for _ in 0..600 {
        flood.push(connect(server.api).await);
    }
    let login = server.request("POST", "/authentication/web_api_key/token").basic_auth(Demo::KEY, Some(""));
    let token = Answer::of(login).await.token();
    let release = server.request("POST", "/authentication/token/release").json(&json!({"token": token}));
    assert_eq!(Answer::of(release).await.code(), "OK");
    let metrics =
        reqwest::get(format!("http://{}/metrics", server.admin)).await.unwrap().text().await.unwrap();
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(value("doorward_connections_displaced_total{listener=\"api\"}") > 300.0, "{metrics}");
    assert_eq!(
        value("doorward_connections_refused_total{listener=\"api\"}"),
        0.0,
        "there is room for newcomers"
    );
}

/// Without a file descriptor no connection is taken; it is said, and tried again until there is one.
#[tokio::test]
async fn o3_want_of_descriptors_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--demo"]);
    let limit = |number: &str| {
        let pid = server.id().to_string();
        let status =
            Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={number}:4096")]).status();
        assert!(status.unwrap().success());
    };
    // The client of this connection is kept, so that it needs no descriptor.
    let client = reqwest::Client::new();
    let ask = || client.get(format!("http://{}/verify", server.api)).send();
    assert_eq!(ask().await.unwrap().status(), 401);
    limit("3");
    let mut waiting = connect(server.api).await;
    waiting.write_all(LOOK.as_bytes()).await.unwrap();
    while !server.log().contains("connections cannot be taken") {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask().await.unwrap().status(), 401, "who is connected is answered");
    limit("1024");
    let mut answer = [0; 12];
    waiting.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
}

/// Tokens that nobody has leave nothing behind: no session, no record, no commit.
#[tokio::test]
async fn o3_unknown_tokens_leave_nothing_behind() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    let state = async || {
        (
            server.metric("doorward_sessions{method=\"password\"}").await,
            server.metric("doorward_journal_commit_seconds_count").await,
            server.audit().await.len(),
        )
    };
    let before = state().await;
    for number in 0..2_000 {
        assert_eq!(server.verify(&format!("{number:032X}")).await.status, 401);
    }
    assert_eq!(state().await, before);
    assert_eq!(server.verify(&token).await.status, 200);
}

#[tokio::test]
async fn o3_unknown_tokens_are_not_logged() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--demo"]);
    let lines = || server.log().lines().filter(|line| line.starts_with('{')).count();
    let before = lines();
    let client = reqwest::Client::new();
    for number in 0..200 {
        let request = client.get(format!("http://{}/verify", server.api));
        assert_eq!(Answer::of(request.bearer_auth(format!("{number:032X}"))).await.status, 401);
    }
    assert_eq!(lines(), before);
}

/// O1: while the disk takes its time, logins and releases wait as long as they may and are refused; whoever comes then is not
/// kept waiting; verification notices nothing, and afterwards all goes on.
#[tokio::test]
async fn o1_a_slow_store_is_unavailable_and_verification_goes_on() {
    let mut options = Options::default();
    options.limits.answer_timeout = Duration::from_millis(200);
    let server = TestServer::with(options).await;
    let (kept, wanted) = (server.log_in(&server.demo).await, server.log_in(&server.demo).await);
    let release = async |token: &str| {
        let answer = server.release(token).await;
        (answer.status, answer.code(), answer.header("retry-after").to_owned())
    };
    let unavailable = || (503, "UNAVAILABLE".to_owned(), "1".to_owned());
    let database = rusqlite::Connection::open(server.folder().join("doorward.db")).unwrap();
    // The journal waits for whoever else writes, for five seconds at most.
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(release(&wanted).await, unavailable());
    for _ in 0..20 {
        assert_eq!(release(&wanted).await, unavailable());
        assert_eq!(server.try_key(&server.demo.key).await.status, 503);
        assert_eq!(server.verify(&kept).await.status, 200);
        assert!(server.is_in_force(&wanted).await, "a release that was not done is not in force either");
    }
    database.execute_batch("ROLLBACK").unwrap();
    // The commit under way ends within the time that SQLite lets pass between two tries.
    while server.try_key(&server.demo.key).await.status != 200 {}
    assert_eq!(release(&wanted).await.0, 200);
    assert!(!server.is_in_force(&wanted).await && server.is_in_force(&kept).await);
    let refused =
        server.metric("doorward_requests_total{endpoint=\"release\",outcome=\"UNAVAILABLE\"}").await;
    assert_eq!(refused, 21.0);
}

/// Frames of HTTP/2, written by hand: what a well-behaved client cannot be made to send.
mod frames {
    pub const HEADERS: u8 = 1;
    pub const RESET: u8 = 3;
    pub const GOAWAY: u8 = 7;
    pub const CONTINUATION: u8 = 9;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;

    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// The beginning of a connection.
    pub fn preface() -> Vec<u8> {
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat()
    }

    /// The header block of a request; 0x82 is GET, 0x83 POST.
    pub fn request(method: u8, path: &str) -> Vec<u8> {
        let mut block = vec![method, 0x86, 0x01, 1, b'a', 0x04, u8::try_from(path.len()).unwrap()];
        block.extend(path.bytes());
        block
    }
}

/// Reads frames until one is what is looked for, and returns its payload; `None` if the server closes before.
async fn read_until(stream: &mut TcpStream, mut wanted: impl FnMut(u8, u32) -> bool) -> Option<Vec<u8>> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.ok()?;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if wanted(head[3], id) {
            return Some(payload);
        }
    }
}

/// Requests that are taken back as soon as they are sent (CVE-2023-44487) end their connection.
#[tokio::test]
async fn o3_rapid_resets_end_the_connection() {
    use frames::{END_HEADERS, END_STREAM, GOAWAY, HEADERS, RESET, frame, preface, request};
    let server = TestServer::start().await;
    let mut flood = preface();
    for id in (1..400).step_by(2) {
        flood.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, &request(0x82, "/verify")));
        flood.extend(frame(RESET, 0, id, &8_u32.to_be_bytes()));
    }
    let mut stream = connect(server.api).await;
    stream.write_all(&flood).await.unwrap();
    let goodbye = read_until(&mut stream, |kind, _| kind == GOAWAY).await.unwrap();
    assert_eq!(goodbye[4..8], 11_u32.to_be_bytes(), "ENHANCE_YOUR_CALM");
    server.log_in(&server.demo).await;
}

/// A head that never ends (RUSTSEC-2024-0332) is not gathered.
#[tokio::test]
async fn o3_a_head_without_end_ends_the_connection() {
    use frames::{CONTINUATION, HEADERS, frame, preface, request};
    let server = TestServer::start().await;
    let mut stream = connect(server.api).await;
    let mut begin = preface();
    begin.extend(frame(HEADERS, 0, 1, &request(0x82, "/verify")));
    stream.write_all(&begin).await.unwrap();
    // A literal header "x: ...", again and again. Writing ends when the server closes.
    let header = [&[0x00, 1, b'x', 126][..], &[b'y'; 126]].concat();
    let more = frame(CONTINUATION, 0, 1, &header.repeat(100));
    let (mut reader, mut writer) = stream.into_split();
    let mut sent = 0_usize;
    while writer.write_all(&more).await.is_ok() {
        sent += more.len();
        assert!(sent < 512 * 1024 * 1024, "it is read on and on");
    }
    let _ = reader.read_to_end(&mut Vec::new()).await;
    server.log_in(&server.demo).await;
}

/// There are 128 requests at a time on one connection, and one more is refused without harm to the others.
#[tokio::test]
async fn o3_one_stream_too_many_is_refused() {
    use frames::{END_HEADERS, HEADERS, RESET, frame, preface, request};
    let server = TestServer::start().await;
    let mut stream = connect(server.api).await;
    let mut begin = preface();
    for number in 0..129 {
        begin.extend(frame(HEADERS, END_HEADERS, 2 * number + 1, &request(0x83, "/authentication/token")));
    }
    stream.write_all(&begin).await.unwrap();
    let reset = read_until(&mut stream, |kind, _| kind == RESET);
    let refused = reset.await.unwrap();
    assert_eq!(refused, 7_u32.to_be_bytes(), "REFUSED_STREAM");
    // The body of the first ends, and it is answered.
    stream.write_all(&frame(0, 1, 1, b"{}")).await.unwrap();
    assert!(read_until(&mut stream, |kind, id| (kind, id) == (HEADERS, 1)).await.is_some());
}
