//! A client of HTTP/1.1 on one kept-alive connection: little enough that it costs the machine less than the server does.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The key of the demo's data.
const KEY: &str = "RUU3M0MwQUU2NDUyNDM3MUI1RERFRkY1RjdCQjIxOTI6";
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: bool,
    pub(super) body: String,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, buffer: Vec::new() }
    }

    /// Sends a request and reads its answer, on a new connection if the last one failed.
    pub(super) async fn ask(&mut self, request: &str) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = timeout(PATIENCE, TcpStream::connect(self.address)).await??;
                stream.set_nodelay(true)?;
                stream
            }
        };
        let answer = timeout(PATIENCE, exchange(&mut stream, request, &mut self.buffer)).await??;
        self.stream = Some(stream);
        Ok(answer)
    }
}

async fn exchange(stream: &mut TcpStream, request: &str, buffer: &mut Vec<u8>) -> io::Result<Answer> {
    stream.write_all(request.as_bytes()).await?;
    buffer.clear();
    let strange = || io::Error::from(io::ErrorKind::InvalidData);
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(strange)?;
        let header = |name: &str| {
            head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let length = header("content-length").and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
        let retry_after = header("retry-after").is_some();
        while buffer.len() < end + 4 + length {
            if stream.read_buf(buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let body = String::from_utf8_lossy(&buffer[end + 4..]).into_owned();
        return Ok(Answer { status, retry_after, body });
    }
}

pub(super) fn verify(token: &str) -> String {
    format!("GET /verify HTTP/1.1\r\nHost: storm\r\nAuthorization: Bearer {token}\r\n\r\n")
}

pub(super) fn release(token: &str) -> String {
    post("/authentication/token/release", &format!("{{\"token\":\"{token}\"}}"))
}

pub(super) fn log_in(username: &str, password: &str) -> String {
    let body =
        format!("{{\"organisation\":\"CRMDEMO\",\"username\":\"{username}\",\"password\":\"{password}\"}}");
    post("/authentication/token", &body)
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: storm\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub(super) fn log_in_with_key() -> String {
    format!(
        "POST /authentication/web_api_key/token HTTP/1.1\r\nHost: storm\r\nAuthorization: Basic {KEY}\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// A token by key.
pub(super) async fn issue_with(client: &mut Client) -> io::Result<String> {
    let answer = client.ask(&log_in_with_key()).await?;
    let token = answer.body.split_once("\"token\":\"").and_then(|(_, rest)| rest.get(..32));
    token.map(str::to_owned).ok_or_else(|| io::ErrorKind::PermissionDenied.into())
}

/// As [`issue_with`], on a connection of its own.
pub(super) async fn issue(address: SocketAddr) -> io::Result<String> {
    issue_with(&mut Client::new(address)).await
}
