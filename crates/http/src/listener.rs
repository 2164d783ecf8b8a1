//! A listener: connections in, bounded in every direction, until it is told to stop.

use std::{io, net::SocketAddr, time::Duration};

use axum::{ServiceExt, body::Body, extract::Request, response::Response};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use hyper::body::Incoming;
use hyper_util::{rt::TokioExecutor, server::conn::auto::Builder};
use tower::Service;

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

impl Bounds {
    /// Sets them for the connections that are served with `builder`.
    pub fn apply(self, builder: &mut Builder<TokioExecutor>) {
        let Self { header_timeout } = self;
        builder.http1().header_read_timeout(header_timeout).max_buf_size(HEAD_BYTES).max_headers(HEADERS);
        builder
            .http2()
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD_BYTES as u32)
            .keep_alive_interval(header_timeout)
            .keep_alive_timeout(header_timeout);
    }
}

/// Serves connections until `handle` says stop; then those in progress are finished.
pub async fn serve<S, F>(
    listener: std::net::TcpListener,
    service: S,
    tls: Option<RustlsConfig>,
    bounds: Bounds,
    handle: Handle<SocketAddr>,
) -> io::Result<()>
where
    S: Service<Request, Response = Response, Error = std::convert::Infallible, Future = F>
        + Clone
        + Send
        + Sync
        + 'static,
    F: Future<Output = Result<Response, std::convert::Infallible>> + Send + 'static,
{
    let service = Boxed(service);
    let service = ServiceExt::<Request<Incoming>>::into_make_service_with_connect_info::<SocketAddr>(service);
    let mut server =
        axum_server::from_tcp(listener)?.handle(handle).first_request_timeout(bounds.header_timeout);
    bounds.apply(server.http_builder());
    match tls {
        Some(config) => {
            server.acceptor(axum_server::tls_rustls::RustlsAcceptor::new(config)).serve(service).await
        }
        None => server.serve(service).await,
    }
}

/// Takes requests with the body that the server below makes, and hands them on with axum's.
#[derive(Clone)]
struct Boxed<S>(S);

impl<S: Service<Request>> Service<Request<Incoming>> for Boxed<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> S::Future {
        self.0.call(request.map(Body::new))
    }
}
