//! The gateway's listener: as many connections as there may be, each within bounds.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{ServiceExt, body::Body, extract::Request, response::Response};
use axum_server::{
    Handle,
    accept::Accept,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use hyper::body::Incoming;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tower::service_fn;

use crate::gateway::Gateway;

/// How long a client may be silent before its machine is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Bounds of the listener.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The longest time in which a request's headers must have arrived, and between two requests of HTTP/1.
    pub header_timeout: Duration,
    /// The most connections at a time; further ones are closed at once.
    pub connections: usize,
    /// The longest time in which a client takes nothing of what is sent to it.
    pub write_timeout: Duration,
}

/// Serves connections until `handle` says stop; then requests in progress are finished.
pub async fn serve(
    listener: std::net::TcpListener,
    gateway: Arc<Gateway>,
    tls: Option<RustlsConfig>,
    bounds: Bounds,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let is_tls = tls.is_some();
    let service = service_fn(move |request: Request<Incoming>| {
        let gateway = gateway.clone();
        async move { Ok::<Response, Infallible>(gateway.answer(request.map(Body::new), is_tls).await) }
    });
    let service = ServiceExt::<Request<Incoming>>::into_make_service_with_connect_info::<SocketAddr>(service);
    let mut server =
        axum_server::from_tcp(listener)?.handle(handle).first_request_timeout(bounds.header_timeout);
    let header_timeout = bounds.header_timeout;
    doorward_http::listener::Bounds { header_timeout }.apply(server.http_builder());
    let places = Arc::new(Semaphore::new(bounds.connections.min(Semaphore::MAX_PERMITS)));
    let places = Places { places, write_timeout: bounds.write_timeout };
    match tls {
        Some(config) => server.acceptor(RustlsAcceptor::new(config).acceptor(places)).serve(service).await,
        None => server.acceptor(places).serve(service).await,
    }
}

/// Serves `/livez` and `/readyz` to operators until `handle` says stop.
pub async fn serve_operators(
    listener: std::net::TcpListener,
    gateway: Arc<Gateway>,
    header_timeout: Duration,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let gateway = gateway.clone();
        async move { Ok::<Response, Infallible>(gateway.answer_operator(request.uri().path()).await) }
    });
    let bounds = doorward_http::listener::Bounds { header_timeout };
    doorward_http::listener::serve_with(listener, move |_| service.clone(), None, bounds, handle).await
}

/// Takes as many connections as there are places.
#[derive(Clone)]
struct Places {
    places: Arc<Semaphore>,
    write_timeout: Duration,
}

impl<S> Accept<TcpStream, S> for Places {
    type Stream = Placed;
    type Service = S;
    type Future = Ready<io::Result<(Placed, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(match self.places.clone().try_acquire_owned() {
            Ok(place) => {
                let (write_timeout, stalled) = (self.write_timeout, None);
                // A client that has vanished says nothing; asked, its machine or the network does.
                let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
                SockRef::from(&stream)
                    .set_tcp_keepalive(&keepalive)
                    .and_then(|()| stream.set_nodelay(true))
                    .map(|()| (Placed { stream, place, write_timeout, stalled }, service))
            }
            Err(_) => {
                tracing::warn!("a connection was closed: there are as many as there may be");
                Err(io::ErrorKind::ConnectionRefused.into())
            }
        })
    }
}

/// A connection that has its place, and loses it when its client takes nothing for too long.
struct Placed {
    stream: TcpStream,
    #[expect(dead_code, reason = "held for as long as the connection is")]
    place: OwnedSemaphorePermit,
    write_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Placed {
    /// Passes the outcome of a write on, unless too many have come to nothing.
    fn wrote<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let write_timeout = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(write_timeout)));
        std::task::ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
