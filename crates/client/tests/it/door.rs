//! A door before a server that a test shuts and opens: shut, it takes connections and breaks them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    is_open: watch::Sender<bool>,
    knocks: Arc<AtomicUsize>,
}

impl Door {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_open, opened) = watch::channel(true);
        let knocks = Arc::new(AtomicUsize::new(0));
        let counted = knocks.clone();
        tokio::spawn(async move {
            while let Ok((mut inside, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut opened = opened.clone();
                tokio::spawn(async move {
                    if !*opened.borrow_and_update() {
                        return;
                    }
                    let mut outside = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut inside, &mut outside) => {}
                        _ = opened.wait_for(|is_open| !is_open) => {}
                    }
                });
            }
        });
        Self { address, is_open, knocks }
    }

    pub(crate) fn set_open(&self, is_open: bool) {
        self.is_open.send_replace(is_open);
    }

    /// Breaks the connections that are there.
    pub(crate) async fn slam(&self) {
        self.set_open(false);
        while self.is_open.receiver_count() > 1 {
            tokio::task::yield_now().await;
        }
        self.set_open(true);
    }

    /// How many connections came.
    pub(crate) fn knocks(&self) -> usize {
        self.knocks.load(Ordering::SeqCst)
    }
}
