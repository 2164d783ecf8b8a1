//! The gateway's listener: as many connections as there may be, each within bounds.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{ServiceExt, body::Body, extract::Request, response::Response};
use axum_server::{
    Handle,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use doorward_http::listener::places::Places;
use hyper::body::Incoming;
use tower::service_fn;

use crate::gateway::Gateway;

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
    let places = Places::kept(bounds.connections, bounds.write_timeout);
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
    let places = Places::default();
    doorward_http::listener::serve_with(listener, move |_| service.clone(), None, bounds, places, handle)
        .await
}
