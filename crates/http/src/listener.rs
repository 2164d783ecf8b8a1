//! A listener: connections in, bounded in every direction, until it is told to stop.

pub mod places;

use std::{convert::Infallible, future::ready, io, net::SocketAddr, time::Duration};

use axum::{http::Request, response::Response};
use axum_server::{
    Handle,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use hyper::body::Incoming;
use hyper_util::{rt::TokioExecutor, server::conn::auto::Builder};
use socket2::SockRef;
use tower::{Service, service_fn};

use self::places::Places;
use crate::Front;

/// Bounds on a connection, applied before a request is looked at (`security.md` H5). Everything is off by default in
/// the layers below, so everything is set here.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The longest time in which a request's headers must have arrived, and between two requests of HTTP/1.
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

impl Bounds {
    /// Sets them for the connections that are served with `builder`.
    pub fn apply(self, builder: &mut Builder<TokioExecutor>) {
        let Self { header_timeout } = self;
        builder.http1().header_read_timeout(header_timeout).max_buf_size(HEAD_BYTES).max_headers(HEADERS);
        builder
            .http2()
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD_BYTES as u32)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(ERROR_RESETS)
            .keep_alive_interval(header_timeout)
            .keep_alive_timeout(header_timeout);
    }
}

/// Serves connections, as many as `places` has, until `handle` says stop; then those in progress are finished.
pub async fn serve(
    listener: std::net::TcpListener,
    front: Front,
    tls: Option<RustlsConfig>,
    bounds: Bounds,
    places: Places,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    serve_with(listener, move |peer| front.of_peer(peer), tls, bounds, places, handle).await
}

/// As [`serve`], with the service that is made for each connection.
pub async fn serve_with<S>(
    listener: std::net::TcpListener,
    service_of: impl Fn(SocketAddr) -> S,
    tls: Option<RustlsConfig>,
    bounds: Bounds,
    places: Places,
    handle: Handle<SocketAddr>,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    let services = service_fn(move |peer| ready(Ok::<_, Infallible>(service_of(peer))));
    SockRef::from(&listener).listen(BACKLOG)?;
    let mut server = axum_server::from_tcp(listener)?
        .handle(handle)
        .first_request_timeout(bounds.header_timeout)
        .accept_error_handler(places.failures());
    bounds.apply(server.http_builder());
    match tls {
        Some(config) => server.acceptor(RustlsAcceptor::new(config).acceptor(places)).serve(services).await,
        None => server.acceptor(places).serve(services).await,
    }
}
