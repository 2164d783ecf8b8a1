//! The gateway's listener: as many connections as there may be, each within bounds.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{body::Body, extract::ConnectInfo, http::Request, response::Response};
use axum_server::tls_rustls::RustlsConfig;
use doorward_http::listener::{self, Handle, places::Places};
use hyper::{body::Incoming, service::service_fn};

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
    handle: Handle,
) -> io::Result<()> {
    let is_tls = tls.is_some();
    let service_of = move |peer: SocketAddr| {
        let gateway = gateway.clone();
        service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let gateway = gateway.clone();
            async move { Ok::<Response, Infallible>(gateway.answer(request.map(Body::new), is_tls).await) }
        })
    };
    let places = Places::kept(bounds.connections, bounds.write_timeout);
    let bounds = listener::Bounds { header_timeout: bounds.header_timeout };
    listener::serve(listener, service_of, tls, bounds, places, handle).await
}

/// Serves `/livez` and `/readyz` to operators until `handle` says stop.
pub async fn serve_operators(
    listener: std::net::TcpListener,
    gateway: Arc<Gateway>,
    header_timeout: Duration,
    handle: Handle,
) -> io::Result<()> {
    let service_of = move |_| {
        let gateway = gateway.clone();
        service_fn(move |request: Request<Incoming>| {
            let gateway = gateway.clone();
            async move { Ok::<Response, Infallible>(gateway.answer_operator(request.uri().path()).await) }
        })
    };
    let bounds = listener::Bounds { header_timeout };
    listener::serve(listener, service_of, None, bounds, Places::default(), handle).await
}
