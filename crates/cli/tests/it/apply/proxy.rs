//! Stands between the program and the server, and holds up or cuts off one of the requests that change something.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// What becomes of the answer to the request that is held up.
#[derive(Clone, Copy, PartialEq)]
pub enum Answering {
    /// It is passed on.
    Always,
    /// It is lost, and the connection with it.
    NotOnce,
    /// It is lost, and those to all later requests that change something.
    NoMore,
}

/// The way to the server.
pub struct Proxy {
    pub address: String,
    /// Told when the request has arrived, before the server gets it.
    pub reached: Arc<Notify>,
    /// Lets it go on.
    pub go_on: Arc<Notify>,
    has_dropped: Arc<AtomicBool>,
}

impl Proxy {
    /// Holds up the request that is the `nth` to change something.
    pub async fn start(server: SocketAddr, answering: Answering, nth: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            reached: Arc::default(),
            go_on: Arc::default(),
            has_dropped: Arc::default(),
        };
        let (reached, go_on, has_dropped) =
            (proxy.reached.clone(), proxy.go_on.clone(), proxy.has_dropped.clone());
        let count = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let work = Work {
                    reached: reached.clone(),
                    go_on: go_on.clone(),
                    has_dropped: has_dropped.clone(),
                    count: count.clone(),
                    answering,
                    nth,
                };
                tokio::spawn(work.pass(client, server));
            }
        });
        proxy
    }

    /// Whether an answer was lost.
    pub fn has_dropped(&self) -> bool {
        self.has_dropped.load(Ordering::Relaxed)
    }
}

struct Work {
    reached: Arc<Notify>,
    go_on: Arc<Notify>,
    has_dropped: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    answering: Answering,
    nth: usize,
}

impl Work {
    /// Passes what is said on, a request at a time, as the program sends them.
    async fn pass(self, mut client: TcpStream, server: SocketAddr) {
        let mut server = TcpStream::connect(server).await.unwrap();
        let (mut asked, mut answered) = ([0; 65_536], [0; 65_536]);
        let mut is_lost = false;
        loop {
            tokio::select! {
                read = client.read(&mut asked) => {
                    let Ok(length @ 1..) = read else { return };
                    let part = &asked[..length];
                    let is_change = ["POST", "PATCH", "DELETE"].iter().any(|verb| part.starts_with(verb.as_bytes()));
                    let count = if is_change { self.count.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
                    if count == self.nth {
                        self.reached.notify_one();
                        self.go_on.notified().await;
                        is_lost = self.answering != Answering::Always;
                    }
                    is_lost |= count > self.nth && self.answering == Answering::NoMore;
                    if server.write_all(part).await.is_err() {
                        return;
                    }
                }
                read = server.read(&mut answered) => {
                    let Ok(length @ 1..) = read else { return };
                    if is_lost {
                        self.has_dropped.store(true, Ordering::Relaxed);
                        return;
                    }
                    if client.write_all(&answered[..length]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
