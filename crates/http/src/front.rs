//! The outermost service of a listener: what every request passes, whatever it asks for.
//!
//! It gives the request its id, finds the client's address, forgives what is harmless in a path, answers 200 to
//! everything on the mount for existing CRM.COM clients, keeps answers out of caches, counts and logs. What services ask about
//! every call that they get is answered right here, a plain verification without so much as a future: the way through the
//! router, with all that it can do, costs more than the answer.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::future::RouteFuture,
};
use doorward_domain::{address::TrustedProxies, audit::Origin};
use hyper::{body::Incoming, service::Service};
use pin_project_lite::pin_project;
use tower::Service as _;

use crate::{
    error::ErrorCode,
    metrics::Metrics,
    origin::{self, Arrival, RequestId},
    router::{Endpoint, Mount},
    routes::{batch, introspect, verify},
    state::State,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A listener's service around its [`Router`].
pub struct Front {
    shared: Arc<Shared>,
    /// Who is at the other end of the connection that this is for.
    peer: Option<IpAddr>,
}

struct Shared {
    inner: Router,
    paths: Paths,
    metrics: Arc<Metrics>,
    proxies: Arc<TrustedProxies>,
    seed: u32,
    next_id: AtomicU32,
}

/// What a listener makes of paths.
pub(crate) enum Paths {
    /// Harmless differences are forgiven, and plain verifications answered at once.
    Forgiven(Arc<State>),
    /// They stay as they are: pages of a browser tell `/docs` from `/docs/`.
    Exact,
}

impl Front {
    /// Puts the front before a router. Of `proxies` it believes where a request comes from; `seed` tells this run's
    /// request ids from those of other runs.
    pub(crate) fn new(
        inner: Router,
        paths: Paths,
        metrics: Arc<Metrics>,
        proxies: Arc<TrustedProxies>,
        seed: u32,
    ) -> Self {
        let next_id = AtomicU32::new(0);
        Self { shared: Arc::new(Shared { inner, paths, metrics, proxies, seed, next_id }), peer: None }
    }

    /// Makes the service of each connection, by who is at its other end.
    pub fn of_peers(self) -> impl Fn(SocketAddr) -> Self {
        move |peer| Self { peer: Some(peer.ip()), shared: Arc::clone(&self.shared) }
    }

    fn next_id(&self) -> RequestId {
        RequestId::new(self.shared.seed, self.shared.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Answers a question of a service, past the router.
    fn ask(
        &self,
        state: Arc<State>,
        question: Question,
        request: Request<Incoming>,
        id: RequestId,
        began: Instant,
    ) -> impl Future<Output = Response> + use<> {
        let address = self.address(request.headers());
        async move {
            let (head, body) = request.into_parts();
            let origin = Origin { address, request_id: id.as_str().to_owned() };
            let answer = match question {
                Question::Introspect => introspect::answer(&state, &head.headers, body, &origin).await,
                Question::Batch => batch::answer(&state, &head.headers, body, &origin).await,
            };
            let (_, endpoint) = Endpoint::of(head.uri.path());
            let answered = Answered { endpoint, method: &head.method, id, began };
            answered.dress(answer.into_response(), &state.metrics, || address)
        }
    }

    /// The client's address; not found out before it is asked for.
    fn address(&self, headers: &HeaderMap) -> Option<IpAddr> {
        Some(origin::client(&self.shared.proxies, self.peer?, headers))
    }
}

/// What services ask again and again, with a body.
#[derive(Clone, Copy)]
enum Question {
    Introspect,
    Batch,
}

impl Question {
    fn of(method: &Method, uri: &Uri) -> Option<Self> {
        match uri.path() {
            _ if method != Method::POST => None,
            introspect::PATH => Some(Self::Introspect),
            batch::PATH => Some(Self::Batch),
            _ => None,
        }
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        let began = Instant::now();
        let id = self.next_id();
        let Shared { inner, paths, metrics, .. } = &*self.shared;
        if let Paths::Forgiven(state) = paths {
            if let Some(response) = verify::answer_now(state, request.uri(), request.headers()) {
                let address = || self.address(request.headers());
                let answered = Answered { endpoint: Endpoint::Verify, method: request.method(), id, began };
                return Answering::Now { response: Some(answered.dress(response, metrics, address)) };
            }
            if let Some(question) = Question::of(request.method(), request.uri()) {
                return Answering::Asked {
                    answer: Box::pin(self.ask(Arc::clone(state), question, request, id, began)),
                };
            }
            forgive_path(request.uri_mut());
        }
        let (mount, endpoint) = Endpoint::of(request.uri().path());
        let arrival = Arrival { id, peer: self.peer, address: self.address(request.headers()) };
        let method = request.method().clone();
        request.extensions_mut().insert(arrival);
        let inner = inner.clone().call(request.map(Body::new));
        Answering::Routed { inner, shared: self.shared.clone(), mount, endpoint, method, arrival, began }
    }
}

pin_project! {
    /// A request being answered.
    #[project = Answer]
    pub enum Answering {
        /// It is.
        Now { response: Option<Response> },
        /// Past the router.
        Asked { answer: Pin<Box<dyn Future<Output = Response> + Send>> },
        /// By the router.
        Routed {
            #[pin]
            inner: RouteFuture<Infallible>,
            shared: Arc<Shared>,
            mount: Mount,
            endpoint: Endpoint,
            method: Method,
            arrival: Arrival,
            began: Instant,
        },
    }
}

impl Future for Answering {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Answer::Now { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                // Asked again after it has answered.
                None => Poll::Pending,
            },
            Answer::Asked { answer } => answer.as_mut().poll(cx).map(Ok),
            Answer::Routed { inner, shared, mount, endpoint, method, arrival, began } => {
                let Ok(mut response) = ready!(inner.poll(cx));
                let answered = Answered { endpoint: *endpoint, method, id: arrival.id, began: *began };
                response = answered.dress(response, &shared.metrics, || arrival.address);
                if *mount == Mount::CrmCom {
                    *response.status_mut() = StatusCode::OK;
                }
                Poll::Ready(Ok(response))
            }
        }
    }
}

/// A request that has been answered.
struct Answered<'a> {
    endpoint: Endpoint,
    method: &'a Method,
    id: RequestId,
    began: Instant,
}

impl Answered<'_> {
    /// Puts on an answer what all have, counts it and logs it.
    fn dress(
        self,
        mut response: Response,
        metrics: &Metrics,
        address: impl FnOnce() -> Option<IpAddr>,
    ) -> Response {
        let code = response.extensions().get::<ErrorCode>().copied();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::from_str(self.id.as_str()) {
            headers.insert(REQUEST_ID, id);
        }
        let (took, status) = (self.began.elapsed(), response.status());
        metrics.request(self.endpoint, code, status.is_success(), took);
        self.log(status, code, took, address);
        response
    }

    /// One line a request, without anything of its address or body: a token may be in either (`security.md` H2).
    fn log(
        self,
        status: StatusCode,
        code: Option<ErrorCode>,
        took: Duration,
        address: impl FnOnce() -> Option<IpAddr>,
    ) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    endpoint = self.endpoint.as_str(),
                    method = %self.method,
                    status = status.as_u16(),
                    code = code.map_or("OK", |code| code.0),
                    took_us = took.as_micros() as u64,
                    address = address().map(tracing::field::display),
                    request_id = self.id.as_str(),
                    "answered"
                )
            };
        }
        if self.endpoint.is_asked_all_the_time() { line!(debug) } else { line!(info) }
    }
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
