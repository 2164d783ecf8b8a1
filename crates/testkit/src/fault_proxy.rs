//! A TCP proxy with faults, to stand between a program and what it depends on. It is switched while connections are
//! open, and what is switched concerns all of them.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

/// How many pieces may be under way in one direction of a delayed connection.
const UNDER_WAY: usize = 1024;

/// What a proxy does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing wrong: all is passed on.
    None,
    /// Connections are reset, and so are new ones at once.
    Cut,
    /// Connections that are open stay, and new ones are reset at once.
    Refuse,
    /// All is passed on so much later, in each direction.
    Delay(Duration),
    /// Nothing is passed on; it waits, and arrives when this is over. So a network behaves that loses all packets for a
    /// while.
    Stall,
    /// What is sent in these directions vanishes, the end of a connection too, and nobody is told. New connections are
    /// accepted and silent. A connection that lost something stays as it is until [`Fault::Cut`], or until this is over
    /// and one of its ends gives up.
    HalfOpen {
        /// From who connected.
        to_server: bool,
        /// To who connected.
        to_client: bool,
    },
}

impl Fault {
    /// Nothing passes in either direction, and nobody is told.
    pub const SILENCE: Self = Self::HalfOpen { to_server: true, to_client: true };

    fn swallows(self, direction: Direction) -> bool {
        match self {
            Self::HalfOpen { to_server, to_client } => match direction {
                Direction::ToServer => to_server,
                Direction::ToClient => to_client,
            },
            _ => false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

/// A proxy. Dropping it ends its connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    open: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts a proxy on a free port of 127.0.0.1, in the runtime of the caller, with no fault.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (fault, faults) = watch::channel(Fault::None);
        let open = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(accept(listener, server, faults, open.clone()));
        Ok(Self { address, fault, open, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Behaves like this from now on.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// How many connections are open to it.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    faults: watch::Receiver<Fault>,
    open: Arc<AtomicUsize>,
) {
    // Ends with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        open.fetch_add(1, Ordering::SeqCst);
        let counted = Counted(open.clone());
        let faults = faults.clone();
        connections.spawn(async move {
            let _counted = counted;
            carry(client, server, faults).await;
        });
    }
}

/// One of the open connections, until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, mut faults: watch::Receiver<Fault>) {
    let is_cut = async |mut faults: watch::Receiver<Fault>| {
        drop(faults.wait_for(|fault| *fault == Fault::Cut).await);
    };
    let reset = |stream: &TcpStream| drop(stream.set_zero_linger());
    let cut = is_cut(faults.clone());
    if *faults.borrow() == Fault::Refuse {
        return reset(&client);
    }
    let connected = async {
        // Whoever connects to a silent server gets no further than the handshake, and nothing reaches the real one.
        let _ = faults.wait_for(|fault| *fault != Fault::SILENCE && *fault != Fault::Stall).await;
        TcpStream::connect(server).await
    };
    let mut upstream = tokio::select! {
        () = cut => return reset(&client),
        connected = connected => match connected {
            Ok(upstream) => upstream,
            Err(_) => return reset(&client),
        },
    };
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    let was_cut = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), upstream.split());
        let cut = is_cut(faults.clone());
        let carried = async {
            tokio::join!(
                pump(from_client, to_server, Direction::ToServer, faults.clone()),
                pump(from_server, to_client, Direction::ToClient, faults.clone())
            )
        };
        tokio::select! {
            () = cut => true,
            _ = carried => false,
        }
    };
    if was_cut {
        reset(&client);
        reset(&upstream);
    }
}

/// Carries one direction to its end, and tells the other side of the end.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    mut faults: watch::Receiver<Fault>,
) {
    let (pieces, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let mut faults_on_arrival = faults.clone();
    let read = async move {
        let mut has_lost = false;
        loop {
            let mut piece = vec![0; 16 * 1024];
            let length = from.read(&mut piece).await.unwrap_or(0);
            let fault = *faults.borrow_and_update();
            has_lost |= fault.swallows(direction);
            if length == 0 {
                // The end vanishes as anything else does, for as long as anything does.
                let _ = faults.wait_for(|fault| !fault.swallows(direction)).await;
                break;
            }
            // What follows a gap would be something else than was sent.
            if has_lost {
                continue;
            }
            let delay = if let Fault::Delay(delay) = fault { delay } else { Duration::ZERO };
            piece.truncate(length);
            if pieces.send((Instant::now() + delay, piece)).await.is_err() {
                break;
            }
        }
    };
    let write = async move {
        let mut has_lost = false;
        while let Some((at, piece)) = arriving.recv().await {
            sleep_until(at).await;
            // The fault of the moment at which it arrives counts too.
            let _ = faults_on_arrival.wait_for(|fault| *fault != Fault::Stall).await;
            has_lost |= faults_on_arrival.borrow().swallows(direction);
            if !has_lost && to.write_all(&piece).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    // Who cannot be written to is gone; who sends no more may still be owed what is under way.
    let mut write = pin!(write);
    tokio::select! {
        () = &mut write => {}
        () = read => write.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Long enough for anything that happens at all.
    const SOON: Duration = Duration::from_secs(30);
    /// Long enough to see that something does not happen, when it would at once.
    const NEVER: Duration = Duration::from_millis(200);

    /// A server that sends back what it receives.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn proxied() -> (FaultProxy, TcpStream) {
        let proxy = FaultProxy::start(echo().await).await.unwrap();
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        (proxy, stream)
    }

    async fn says(stream: &mut TcpStream, text: &str) {
        stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn hears(stream: &mut TcpStream, text: &str) {
        let mut heard = vec![0; text.len()];
        timeout(SOON, stream.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8(heard).unwrap(), text);
    }

    /// What reading gives within a moment, if anything.
    async fn within(stream: &mut TcpStream, limit: Duration) -> Option<io::Result<usize>> {
        let mut piece = [0; 64];
        timeout(limit, stream.read(&mut piece)).await.ok()
    }

    async fn until_open(proxy: &FaultProxy, count: usize) {
        let wait = async {
            while proxy.connections() != count {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{} connections", proxy.connections()));
    }

    #[tokio::test]
    async fn without_a_fault_all_passes_and_connections_are_counted() {
        let (proxy, mut first) = proxied().await;
        says(&mut first, "one").await;
        hears(&mut first, "one").await;
        let mut second = TcpStream::connect(proxy.address()).await.unwrap();
        says(&mut second, "two").await;
        hears(&mut second, "two").await;
        assert_eq!(proxy.connections(), 2);
        // More than is carried in one piece.
        let long = "0123456789".repeat(30_000);
        let (mut from, mut to) = second.split();
        let send = async {
            to.write_all(long.as_bytes()).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let mut heard = vec![0; 16];
        let receive = async { from.read_exact(&mut heard).await.unwrap() };
        tokio::join!(send, receive);
        assert_eq!(heard, b"0123456789012345");
        drop((first, second));
        until_open(&proxy, 0).await;
    }

    #[tokio::test]
    async fn a_cut_resets_what_is_open_and_what_is_opened() {
        let (proxy, mut stream) = proxied().await;
        says(&mut stream, "one").await;
        hears(&mut stream, "one").await;
        proxy.set(Fault::Cut);
        let ended = within(&mut stream, SOON).await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        until_open(&proxy, 0).await;
        if let Ok(mut stream) = TcpStream::connect(proxy.address()).await {
            assert!(!matches!(within(&mut stream, SOON).await.unwrap(), Ok(1..)));
        }
        proxy.set(Fault::None);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        says(&mut stream, "two").await;
        hears(&mut stream, "two").await;
    }

    #[tokio::test]
    async fn who_is_refused_does_not_disturb_who_is_in() {
        let (proxy, mut stream) = proxied().await;
        says(&mut stream, "one").await;
        hears(&mut stream, "one").await;
        proxy.set(Fault::Refuse);
        if let Ok(mut stream) = TcpStream::connect(proxy.address()).await {
            assert!(!matches!(within(&mut stream, SOON).await.unwrap(), Ok(1..)));
        }
        says(&mut stream, "two").await;
        hears(&mut stream, "two").await;
    }

    #[tokio::test]
    async fn a_delay_is_that_of_each_direction() {
        let (proxy, mut stream) = proxied().await;
        says(&mut stream, "one").await;
        hears(&mut stream, "one").await;
        let delay = Duration::from_millis(150);
        proxy.set(Fault::Delay(delay));
        let began = Instant::now();
        for text in ["two", "three"] {
            says(&mut stream, text).await;
        }
        hears(&mut stream, "twothree").await;
        assert!(began.elapsed() >= 2 * delay);
        proxy.set(Fault::None);
        says(&mut stream, "four").await;
        hears(&mut stream, "four").await;
    }

    #[tokio::test]
    async fn what_stalls_arrives_late() {
        let (proxy, mut stream) = proxied().await;
        says(&mut stream, "one").await;
        hears(&mut stream, "one").await;
        proxy.set(Fault::Stall);
        says(&mut stream, "two").await;
        let mut later = TcpStream::connect(proxy.address()).await.unwrap();
        says(&mut later, "three").await;
        assert!(within(&mut stream, NEVER).await.is_none());
        proxy.set(Fault::None);
        hears(&mut stream, "two").await;
        hears(&mut later, "three").await;
    }

    #[tokio::test]
    async fn half_open_connections_neither_answer_nor_close() {
        for fault in [
            Fault::SILENCE,
            Fault::HalfOpen { to_server: true, to_client: false },
            Fault::HalfOpen { to_server: false, to_client: true },
        ] {
            let (proxy, mut stream) = proxied().await;
            says(&mut stream, "one").await;
            hears(&mut stream, "one").await;
            proxy.set(fault);
            says(&mut stream, "two").await;
            let mut new = TcpStream::connect(proxy.address()).await.unwrap();
            assert!(new.write_all(b"three").await.is_ok());
            assert!(within(&mut stream, NEVER).await.is_none() && within(&mut new, NEVER).await.is_none());
            assert_eq!(proxy.connections(), 2, "{fault:?}");
            proxy.set(Fault::None);
            // What was lost does not come after all, nor anything that was sent behind it.
            let _ = stream.write_all(b"four").await;
            assert!(within(&mut stream, NEVER).await.is_none(), "{fault:?}");
            proxy.set(Fault::Cut);
            assert!(within(&mut stream, SOON).await.unwrap().is_err());
        }
    }

    #[tokio::test]
    async fn the_end_of_one_side_is_the_end_of_the_other() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = FaultProxy::start(listener.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        says(&mut client, "last words").await;
        hears(&mut server, "last words").await;
        proxy.set(Fault::SILENCE);
        drop(client);
        assert!(within(&mut server, NEVER).await.is_none(), "the server does not hear of it");
        proxy.set(Fault::None);
        assert!(!matches!(within(&mut server, SOON).await.unwrap(), Ok(1..)));
        drop(server);
        until_open(&proxy, 0).await;
    }
}
