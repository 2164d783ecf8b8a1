//! The outermost service of a listener: what every request passes, whatever it asks for.
//!
//! It gives the request its id, finds the client's address, forgives what is harmless in a path, answers 200 to everything on the mount for
//! existing CRM.COM clients, keeps answers out of caches, counts and logs. It is one future and no boxes, for every
//! verification goes through it.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::Response,
    routing::future::RouteFuture,
};
use doorward_domain::address::TrustedProxies;
use pin_project_lite::pin_project;
use tower::Service;

use crate::{
    error::ErrorCode,
    metrics::Metrics,
    origin::{self, Arrival, RequestId},
    router::{Endpoint, Mount},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A listener's service around its [`Router`].
#[derive(Clone)]
pub struct Front {
    inner: Router,
    forgives: bool,
    metrics: Arc<Metrics>,
    proxies: Arc<TrustedProxies>,
    ids: Arc<RequestIds>,
}

impl Front {
    /// Puts the front before a router. Of `proxies` it believes where a request comes from; `seed` tells this run's
    /// request ids from those of other runs.
    pub fn new(inner: Router, metrics: Arc<Metrics>, proxies: Arc<TrustedProxies>, seed: u32) -> Self {
        let ids = Arc::new(RequestIds { seed, next: AtomicU32::new(0) });
        Self { inner, forgives: true, metrics, proxies, ids }
    }

    /// Leaves paths as they are: pages of a browser tell `/docs` from `/docs/`.
    #[must_use]
    pub fn with_exact_paths(self) -> Self {
        Self { forgives: false, ..self }
    }
}

struct RequestIds {
    seed: u32,
    next: AtomicU32,
}

impl RequestIds {
    fn next(&self) -> RequestId {
        RequestId::new(self.seed, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Service<Request> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, mut request: Request) -> Answering {
        let began = Instant::now();
        if self.forgives {
            forgive_path(request.uri_mut());
        }
        let (mount, endpoint) = Endpoint::of(request.uri().path());
        let address = origin::client(&self.proxies, request.extensions(), request.headers());
        let arrival = Arrival { id: self.ids.next(), address };
        let told = Told { method: request.method().clone(), arrival };
        request.extensions_mut().insert(arrival);
        Answering {
            inner: self.inner.call(request),
            metrics: self.metrics.clone(),
            mount,
            endpoint,
            told,
            began,
        }
    }
}

/// What the log says about a request.
struct Told {
    method: Method,
    arrival: Arrival,
}

pin_project! {
    /// A request being answered.
    pub struct Answering {
        #[pin]
        inner: RouteFuture<Infallible>,
        metrics: Arc<Metrics>,
        mount: Mount,
        endpoint: Endpoint,
        told: Told,
        began: Instant,
    }
}

impl Future for Answering {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(this.inner.poll(cx));
        let code = response.extensions().get::<ErrorCode>().copied();
        let status = response.status();
        if *this.mount == Mount::CrmCom {
            *response.status_mut() = StatusCode::OK;
        }
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::from_str(this.told.arrival.id.as_str()) {
            headers.insert(REQUEST_ID, id);
        }
        let took = this.began.elapsed();
        this.metrics.request(*this.endpoint, code, status.is_success(), took);
        log(*this.endpoint, this.told, status, code, took);
        Poll::Ready(Ok(response))
    }
}

/// One line a request, without anything of its address or body: a token may be in either (`security.md` H2).
fn log(
    endpoint: Endpoint,
    told: &Told,
    status: StatusCode,
    code: Option<ErrorCode>,
    took: std::time::Duration,
) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                endpoint = endpoint.as_str(),
                method = %told.method,
                status = status.as_u16(),
                code = code.map_or("OK", |code| code.0),
                took_us = took.as_micros() as u64,
                address = told.arrival.address.map(tracing::field::display),
                request_id = told.arrival.id.as_str(),
                "answered"
            )
        };
    }
    if endpoint.is_asked_all_the_time() { line!(debug) } else { line!(info) }
}

/// Makes the path of the contract out of one that differs harmlessly: doubled or trailing slashes, and case.
fn forgive_path(uri: &mut Uri) {
    let path = uri.path();
    let is_plain = |path: &[u8]| {
        !path.windows(2).any(|pair| pair == b"//")
            && !path.iter().any(u8::is_ascii_uppercase)
            && (path.len() == 1 || path.last() != Some(&b'/'))
    };
    if is_plain(path.as_bytes()) {
        return;
    }
    let mut plain: String =
        path.split('/').filter(|part| !part.is_empty()).fold(String::new(), |path, part| path + "/" + part);
    plain.make_ascii_lowercase();
    if plain.is_empty() {
        plain.push('/');
    }
    if let Some(query) = uri.query() {
        plain = plain + "?" + query;
    }
    // A path taken from an address that was read makes an address again; if not, it stays as it was.
    if let Ok(forgiven) = plain.parse() {
        *uri = forgiven;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_differences_of_a_path_are_forgiven() {
        for (sent, meant) in [
            ("/authentication/token", "/authentication/token"),
            ("/authentication/token/", "/authentication/token"),
            ("//authentication//token", "/authentication/token"),
            ("/crmapi/REST/v2/Authentication/token/?A=B/", "/crmapi/rest/v2/authentication/token?A=B/"),
            ("/", "/"),
            ("//", "/"),
        ] {
            let mut uri = sent.parse().unwrap();
            forgive_path(&mut uri);
            assert_eq!(uri.to_string(), meant);
        }
    }
}
