//! One request over HTTP, for what is not measured: whether a target answers, and what.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, bail};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// An answer as it came, and its status.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) bytes: Vec<u8>,
    body: usize,
}

impl Answered {
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[self.body..]
    }
}

/// Sends a request of this line (`GET /verify`), these further headers and this body.
pub(crate) fn ask(address: SocketAddr, line: &str, headers: &str, body: &str) -> anyhow::Result<Answered> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    let head = format!("{line} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
    let (mut bytes, mut some) = (Vec::new(), vec![0; 65_536]);
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
            // What tells no length here has no body.
            let whole = end + 4 + length.map_or(Ok(0), str::parse)?;
            if bytes.len() >= whole {
                let status = head.split(' ').nth(1).context("no status")?.parse()?;
                return Ok(Answered { status, bytes, body: end + 4 });
            }
        }
        match stream.read(&mut some)? {
            0 => bail!("{address} answers half: {}", String::from_utf8_lossy(&bytes)),
            count => bytes.extend_from_slice(&some[..count]),
        }
    }
}
