//! HTTP/1 byte by byte: no client library sends what an attacker sends.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A message's head and body.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The request line or the status line.
    pub line: String,
    /// Names as they were sent, and values; the bytes as Latin-1.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What stands behind a body in chunks.
    pub trailers: Vec<(String, String)>,
}

impl Message {
    /// All values of a header.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The status of an answer; 0 of none.
    pub fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The method and the target of a request.
    pub fn request(&self) -> (&str, &str) {
        let mut parts = self.line.split(' ');
        (parts.next().unwrap(), parts.next().unwrap_or_default())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection, and what was read from it beyond the last message.
pub struct Connection {
    pub stream: TcpStream,
    rest: Vec<u8>,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        // A message of the tests takes seconds at most; a test that hangs says nothing.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream, rest: Vec::new() }
    }

    pub fn open(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    /// Reads a message; `None` at the end of the stream. Without a length, `to_the_end` says whether the body is all that
    /// comes or nothing.
    pub fn read(&mut self, to_the_end: bool) -> Option<Message> {
        let mut message = self.read_head()?;
        let lengths = message.values("content-length");
        if message.values("transfer-encoding").iter().any(|value| value.to_lowercase().contains("chunked")) {
            loop {
                let line = self.line()?;
                let size = usize::from_str_radix(line.split(';').next().unwrap().trim(), 16).ok()?;
                let part = self.bytes(size)?;
                message.body.extend(part);
                if size == 0 {
                    while let Some(line) = self.line().filter(|line| !line.is_empty()) {
                        let (name, value) = line.split_once(':')?;
                        message.trailers.push((name.to_owned(), value.trim().to_owned()));
                    }
                    break;
                }
                self.line()?;
            }
        } else if let Some(length) = lengths.first() {
            message.body = self.bytes(length.parse().ok()?)?;
        } else if to_the_end && !(100..200).contains(&message.status()) {
            while self.more() {}
            message.body = std::mem::take(&mut self.rest);
        }
        Some(message)
    }

    /// Reads a head alone.
    pub fn read_head(&mut self) -> Option<Message> {
        let line = self.line()?;
        let mut message = Message { line, ..Message::default() };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(message);
            }
            if line.starts_with([' ', '\t']) {
                message.headers.last_mut()?.1.push_str(&line);
            } else {
                let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                message.headers.push((name.to_owned(), value.trim().to_owned()));
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            // A bare line feed ends a line for careless servers.
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let line: String = line.into_iter().map(char::from).collect();
                return Some(line.trim_end_matches(['\r', '\n']).to_owned());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Exactly so many bytes.
    pub fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.rest.len() < count {
            if !self.more() {
                return None;
            }
        }
        Some(self.rest.drain(..count).collect())
    }

    fn more(&mut self) -> bool {
        let mut part = vec![0; 65_536];
        let count = self.stream.read(&mut part).unwrap_or(0);
        self.rest.extend(&part[..count]);
        count > 0
    }
}

/// Sends bytes on a connection of its own and reads the answer, an empty one if there is none.
pub fn exchange(address: SocketAddr, request: &[u8]) -> Message {
    let mut connection = Connection::open(address);
    // Who refuses a body may close before it has all of it; the answer is there anyway.
    let _ = connection.stream.write_all(request);
    if request.starts_with(b"HEAD ") {
        return connection.read_head().unwrap_or_default();
    }
    loop {
        let answer = connection.read(true).unwrap_or_default();
        if answer.status() != 100 {
            return answer;
        }
    }
}
