//! A listener: connections in, bounded in every direction, until it is told to stop.
//!
//! Each connection is a task that is polled several times for each request, so nothing is asked there that can be found out
//! otherwise: who waits too long is found by looking at all of them now and then ([`places`]), not by a timer for each
//! request, and that it is time to stop by one flag.

pub mod places;
mod stop;

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use axum::{
    BoxError,
    body::{Bytes, HttpBody},
    http::{Request, Response},
};
use axum_server::tls_rustls::RustlsConfig;
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use self::places::{Counting, Placed, Places};
pub use self::stop::Handle;

/// Bounds on a connection, applied before a request is looked at (`security.md` H5). Everything is off by default in
/// the layers below, so everything is set here.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The longest time in which a request's headers must have arrived, and between two requests of HTTP/1; a handshake of TLS
    /// counts too.
    pub header_timeout: Duration,
}

/// The most bytes that the head of a request may have.
const HEAD_BYTES: usize = 32 * 1024;
/// The most headers that a request may have.
const HEADERS: usize = 100;
/// The most requests at a time on one connection (HTTP/2).
const STREAMS: u32 = 128;
/// The most requests of a connection that were taken back before they were looked at (HTTP/2): one more ends it.
const PENDING_RESETS: usize = 20;
/// The most requests of a connection that were reset for what was wrong with them (HTTP/2): one more ends it.
const ERROR_RESETS: usize = 256;
/// How many connections may wait to be taken; the default of the layers below is 128, which a flood fills at once.
const BACKLOG: i32 = 4_096;
/// How long to wait when the operating system hands no connection over.
const RETRY: Duration = Duration::from_millis(50);

impl Bounds {
    fn builder(self) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        // No timer for each head: see `Places::cut_off`.
        builder.http1().header_read_timeout(None).max_buf_size(HEAD_BYTES).max_headers(HEADERS);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD_BYTES as u32)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(ERROR_RESETS)
            .keep_alive_interval(self.header_timeout)
            .keep_alive_timeout(self.header_timeout);
        builder
    }
}

/// Serves connections, as many as `places` has, each with a service of its own, until `handle` says stop; then requests in
/// progress are finished.
pub async fn serve<S, B>(
    listener: std::net::TcpListener,
    service_of: impl Fn(SocketAddr) -> S,
    tls: Option<RustlsConfig>,
    bounds: Bounds,
    places: Places,
    handle: Handle,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Send + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    SockRef::from(&listener).listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let builder = Arc::new(bounds.builder());
    let mut connections = JoinSet::new();
    let mut rounds = interval((bounds.header_timeout / 8).clamp(RETRY / 2, Duration::from_secs(1)));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = pin!(handle.stopping());
    loop {
        tokio::select! {
            biased;
            () = &mut stopping => break,
            _ = rounds.tick() => places.cut_off(Instant::now(), bounds.header_timeout),
            _ = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    places.let_leave().await;
                    let Some(stream) = places.admit(stream) else { continue };
                    let service = stream.counting(service_of(peer));
                    let (builder, tls, handle) = (Arc::clone(&builder), tls.clone(), handle.clone());
                    connections.spawn(async move {
                        match tls {
                            Some(tls) => {
                                let Some(stream) = shake_hands(stream, &tls, bounds, &handle).await else { return };
                                drive(&builder, stream, service, &handle).await;
                            }
                            None => drive(&builder, stream, service, &handle).await,
                        }
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    places.failed(&error);
                    sleep(RETRY).await;
                }
            },
        }
    }
    drop(listener);
    let ends = async { while connections.join_next().await.is_some() {} };
    // Whoever is too late for that is cut off.
    let _ = timeout(handle.patience(), ends).await;
    connections.shutdown().await;
    Ok(())
}

/// The beginning of TLS; `None` if it comes to nothing.
async fn shake_hands(
    stream: Placed,
    tls: &RustlsConfig,
    bounds: Bounds,
    handle: &Handle,
) -> Option<tokio_rustls::server::TlsStream<Placed>> {
    let hands = TlsAcceptor::from(tls.get_inner()).accept(stream);
    tokio::select! {
        () = handle.stopping() => None,
        // A client that does not know how to speak TLS, or stops in the middle, is its own affair.
        shaken = timeout(bounds.header_timeout, hands) => shaken.ok()?.ok(),
    }
}

/// Serves the requests of a connection until its end.
async fn drive<I, S, B>(builder: &Builder<TokioExecutor>, stream: I, service: Counting<S>, handle: &Handle)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Send + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let lasting = service.lasting();
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut told = pin!(handle.told());
    let (mut is_waiting, mut is_ending) = (false, false);
    // That a client has gone, or never spoke HTTP, is its own affair.
    let _ = poll_fn(|cx| {
        if !is_waiting {
            // Once is enough: a task is woken by the waker that it had first. What it comes to is asked below.
            is_waiting = true;
            let _: Poll<()> = told.as_mut().poll(cx);
        }
        if !is_ending && handle.is_stopping() {
            is_ending = true;
            connection.as_mut().graceful_shutdown();
        }
        Pin::as_mut(&mut connection).poll(cx)
    })
    .await;
    // If there is more to come, it is no more requests.
    lasting.set();
}

/// Whether taking a connection failed because of that connection alone.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
