//! The guarded API: it notes every request as it arrives, and answers it.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use super::wire::{Connection, Message};

/// The API. Its threads end with the process.
pub struct Upstream {
    pub address: SocketAddr,
    arrived: Arc<Mutex<Vec<Message>>>,
    hangs_up: Arc<AtomicBool>,
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            arrived: Arc::default(),
            hangs_up: Arc::default(),
        };
        let (arrived, hangs_up) = (upstream.arrived.clone(), upstream.hangs_up.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (arrived, hangs_up) = (arrived.clone(), hangs_up.clone());
                std::thread::spawn(move || serve(Connection::new(stream), &arrived, &hangs_up));
            }
        });
        upstream
    }

    /// From now on no request is answered.
    pub fn hang_up(&self) {
        self.hangs_up.store(true, Ordering::Relaxed);
    }

    /// What has arrived since this was last asked.
    pub fn take(&self) -> Vec<Message> {
        std::mem::take(&mut self.arrived.lock().unwrap())
    }
}

fn serve(mut connection: Connection, arrived: &Mutex<Vec<Message>>, hangs_up: &AtomicBool) {
    while let Some(message) = connection.read(false) {
        if hangs_up.load(Ordering::Relaxed) {
            return;
        }
        let (method, _) = message.request();
        let head = method == "HEAD";
        let websocket = message.values("upgrade").iter().any(|value| value.eq_ignore_ascii_case("websocket"));
        let is_old = message.line.ends_with("HTTP/1.0");
        let length = message.body.len();
        arrived.lock().unwrap().push(message);
        if websocket {
            // For the key of RFC 6455, which the tests send.
            let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            connection.stream.write_all(answer.as_bytes()).unwrap();
            // Whatever comes goes back.
            while let Some(byte) = connection.bytes(1) {
                connection.stream.write_all(&byte).unwrap();
            }
            return;
        }
        let text = format!("the API got {length} bytes");
        let body = if head { "" } else { &text };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", text.len());
        if write(&mut connection.stream, &answer).is_err() || is_old {
            return;
        }
    }
}

fn write(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(text.as_bytes())
}
