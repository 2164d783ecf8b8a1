//! One request on its way through: its path, its route, its token, the check, and on.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::Response,
};
use axum_reverse_proxy::TunnelGuard;
use doorward_domain::{address::TrustedProxies, credential::PlainToken};
use doorward_http::{
    origin::{self, RequestId},
    token_source::Presented,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    body::{self, Looked, Watch},
    doorward::Doorward,
    headers,
    path::Path,
    query,
    refusal::Refusal,
    routes::{NoRoute, Route, Routes},
    trust::{self, Connector},
    upstream::{Patience, Upstream},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How a gateway works.
pub struct Options {
    /// Which paths lead where.
    pub routes: Routes,
    /// The address of Doorward's API listener.
    pub doorward: Uri,
    /// Connects to Doorward and to the APIs.
    pub connector: Connector,
    /// How long Doorward may take to answer.
    pub check_timeout: Duration,
    /// How long the APIs may take.
    pub patience: Patience,
    /// How long the part of a body may take to come in which a token is looked for, while nobody knows who sends it.
    pub look_timeout: Duration,
    /// How many bytes of a body are looked at.
    pub body_limit: usize,
    /// The most requests at a time: that are handed on, whose token is being looked for, and that are asked about, each.
    pub requests: usize,
    /// The most WebSockets at a time.
    pub websockets: usize,
    /// Whose word counts for where a request comes from.
    pub proxies: TrustedProxies,
    /// Tells this run's request ids from those of other runs.
    pub seed: u32,
}

/// The gateway: answers requests itself or has them answered.
pub struct Gateway {
    routes: Routes,
    /// One for each route.
    upstreams: Vec<Upstream>,
    doorward: Doorward,
    look_timeout: Duration,
    body_limit: usize,
    places: Places,
    proxies: TrustedProxies,
    seed: u32,
    next: AtomicU32,
    is_stopping: AtomicBool,
}

/// How many requests may be where. Who has shown no token takes no place of those who have.
struct Places {
    looking: Arc<Semaphore>,
    asking: Arc<Semaphore>,
    passing: Arc<Semaphore>,
    websockets: Arc<Semaphore>,
}

/// Takes a place for as long as it is held.
fn take(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Refusal> {
    places.clone().try_acquire_owned().map_err(|_| {
        tracing::warn!("a request was refused: there are as many as there may be");
        Refusal::unavailable()
    })
}

/// What is said of a request in the log.
struct Told {
    method: Method,
    id: RequestId,
    address: Option<IpAddr>,
    route: Option<usize>,
    code: &'static str,
}

impl Gateway {
    /// Puts a gateway together; an error is one sentence.
    pub fn new(options: Options) -> Result<Self, String> {
        let Options { routes, doorward, connector, check_timeout, patience, requests, .. } = options;
        let upstream = trust::client(connector.clone(), requests);
        let upstreams = routes
            .all()
            .iter()
            .map(|route| Upstream::new(&route.upstream, upstream.clone(), patience))
            .collect();
        let places = |number: usize| Arc::new(Semaphore::new(number.min(Semaphore::MAX_PERMITS)));
        Ok(Self {
            routes,
            upstreams,
            doorward: Doorward::new(&doorward, trust::client(connector, requests), check_timeout)?,
            look_timeout: options.look_timeout,
            body_limit: options.body_limit,
            places: Places {
                looking: places(requests),
                asking: places(requests),
                passing: places(requests),
                websockets: places(options.websockets),
            },
            proxies: options.proxies,
            seed: options.seed,
            next: AtomicU32::new(0),
            is_stopping: AtomicBool::new(false),
        })
    }

    /// From now on the gateway is not ready.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Whether requests can be answered.
    pub async fn is_ready(&self) -> bool {
        !self.is_stopping.load(Ordering::Relaxed) && self.doorward.is_there().await
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request, is_tls: bool) -> Response {
        let began = Instant::now();
        let mut told = Told {
            method: request.method().clone(),
            id: RequestId::new(self.seed, self.next.fetch_add(1, Ordering::Relaxed)),
            address: peer(request.extensions())
                .map(|peer| origin::client(&self.proxies, peer, request.headers())),
            route: None,
            code: "OK",
        };
        let mut response = match self.pass(request, is_tls, &mut told).await {
            Ok(response) => response,
            Err(refusal) => {
                told.code = refusal.code;
                refusal.answer(self.refuses_with_200(told.route))
            }
        };
        if let Ok(id) = HeaderValue::from_str(told.id.as_str()) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        // Nothing of the address or the body: a token may be in either (`security.md` H2).
        tracing::info!(
            route = told.route.map(|place| self.routes.all()[place].shown()),
            method = %told.method,
            status = response.status().as_u16(),
            code = told.code,
            took_us = began.elapsed().as_micros() as u64,
            address = told.address.map(tracing::field::display),
            request_id = told.id.as_str(),
            "answered"
        );
        response
    }

    /// Answers operators: `/livez` and `/readyz`.
    pub async fn answer_operator(&self, path: &str) -> Response {
        let (status, text) = match path {
            "/livez" => (StatusCode::OK, "ok\n"),
            "/readyz" if self.is_ready().await => (StatusCode::OK, "ok\n"),
            "/readyz" => {
                (StatusCode::SERVICE_UNAVAILABLE, "Doorward does not answer, or the gateway is stopping\n")
            }
            _ => (StatusCode::NOT_FOUND, "there are /livez and /readyz\n"),
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response
    }

    /// Where there is no route, what holds for all of them.
    fn refuses_with_200(&self, route: Option<usize>) -> bool {
        let all = self.routes.all();
        route.map_or_else(
            || all.iter().all(|route| route.refuses_with_200),
            |place| all[place].refuses_with_200,
        )
    }

    async fn pass(&self, request: Request, is_tls: bool, told: &mut Told) -> Result<Response, Refusal> {
        let (mut parts, body) = request.into_parts();
        let path = Path::new(parts.uri.path()).map_err(|problem| {
            Refusal::malformed(format!(
                "The path {problem}; send it in its plain form, as in '/orders/4711'."
            ))
        })?;
        let place = self.find(&path, &parts.method, told)?;
        let route = &self.routes.all()[place];
        refuse_two_meanings(&parts.headers, &parts.method, &body)?;

        let (Some(peer), Some(client)) = (peer(&parts.extensions), told.address) else {
            tracing::error!("a request has no address");
            return Err(Refusal::unavailable());
        };
        let from_proxy = self.proxies.trusts(peer);
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
        let host = host.or_else(|| parts.uri.authority().map(ToString::to_string));
        headers::clean(&mut parts.headers, from_proxy, !self.routes.by_method());

        let places = &self.places;
        let passing =
            if headers::is_websocket(&parts.headers) { &places.websockets } else { &places.passing };
        let (room, looked) = if route.is_public {
            let room = take(passing)?;
            forget_token(&mut parts.headers);
            (room, Looked::untouched(body))
        } else {
            let elsewhere = Presented::default().in_authorization(&parts.headers);
            let elsewhere = query::find(parts.uri.query().unwrap_or_default(), elsewhere);
            let ask = async |token: &PlainToken| {
                let _place = take(&places.asking)?;
                self.doorward.verify(token, route.requirements.as_deref(), client).await
            };
            let limit = self.body_limit;
            let (room, looked, identity) = if matches!(elsewhere, Presented::Nothing) {
                let place = take(&places.looking)?;
                let mut looked = body::look(&parts.headers, body, limit, self.look_timeout).await?;
                drop(place);
                let token = looked.only_token(Presented::Nothing)?;
                let identity = ask(&token).await?;
                (take(passing)?, looked, identity)
            } else {
                let token = elsewhere.one()?;
                let identity = ask(&token).await?;
                let room = take(passing)?;
                let idle = self.upstreams[place].idle();
                let mut looked = body::look(&parts.headers, body, limit, idle).await?;
                looked.only_token(Presented::One(token))?;
                (room, looked, identity)
            };
            if is_bearer(&parts.headers) {
                parts.headers.remove(header::AUTHORIZATION);
            }
            parts.headers.extend(identity);
            (room, looked)
        };
        headers::clean_referer(&mut parts.headers);
        headers::tell_origin(&mut parts.headers, peer, host.as_deref(), is_tls);
        if let Ok(id) = HeaderValue::from_str(told.id.as_str()) {
            parts.headers.insert(REQUEST_ID, id);
        }
        parts.uri = forwarded_address(route, &path, parts.uri.query())?;
        parts.extensions.insert(TunnelGuard::new(room));
        let watch = Arc::new(Watch::default());
        let body = looked.forward(self.upstreams[place].idle(), watch.clone());
        self.upstreams[place].send(Request::from_parts(parts, body), &watch).await
    }

    fn find(&self, path: &Path, method: &Method, told: &mut Told) -> Result<usize, Refusal> {
        // Servers that take `delete` for `DELETE` would do what another route is for.
        if method.as_str().bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(Refusal::malformed(
                "The method has small letters; send it in capitals, as in 'GET'.",
            ));
        }
        // What TRACE would show are headers that are not the client's.
        if [Method::CONNECT, Method::TRACE].contains(method) {
            return Err(Refusal::method("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        let place = self.routes.find(path, method).map_err(|problem| match problem {
            NoRoute::NoPath => Refusal::no_route(),
            NoRoute::NoMethod(allowed) => Refusal::method(&allowed),
            NoRoute::OtherCase => Refusal::malformed(
                "The path differs from a known one in upper and lower case only; send it as it is documented.",
            ),
        })?;
        told.route = Some(place);
        Ok(place)
    }
}

/// Refuses what a server behind could take for another request than the one that was checked.
fn refuse_two_meanings(headers: &HeaderMap, method: &Method, body: &Body) -> Result<(), Refusal> {
    let refuse = |problem: &str| Err(Refusal::malformed(problem));
    if headers.get_all(header::HOST).iter().count() > 1 {
        return refuse("The request has two 'Host' headers; send one.");
    }
    if headers.get_all(header::AUTHORIZATION).iter().count() > 1 {
        return refuse("The request has two 'Authorization' headers; send one.");
    }
    if headers.get_all(header::CONTENT_TYPE).iter().count() > 1 {
        return refuse("The request has two 'Content-Type' headers; send one.");
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => {}
        // A `Content-Length` beside it has been taken out by the HTTP library, which closes the connection behind it.
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => {}
        _ => return refuse("The request's 'Transfer-Encoding' is not 'chunked'; send no other."),
    }
    let has_body = !http_body::Body::is_end_stream(body);
    if headers::is_websocket(headers) && (has_body || method != Method::GET) {
        return refuse("A WebSocket is asked for with GET and without a body.");
    }
    // A client of HTTP/1 is not expected to send these with a body of unknown length, and it would be lost.
    let is_unmeasured = http_body::Body::size_hint(body).exact().is_none();
    if has_body && is_unmeasured && [Method::GET, Method::HEAD].contains(method) {
        return refuse("A GET or HEAD with a body needs 'Content-Length'; send it, or send no body.");
    }
    Ok(())
}

fn is_bearer(headers: &HeaderMap) -> bool {
    let value = headers.get(header::AUTHORIZATION);
    value.is_some_and(|value| doorward_http::basic::scheme(value.as_bytes(), "bearer").is_some())
}

/// Where no token is asked for, one of ours goes no further all the same.
fn forget_token(headers: &mut HeaderMap) {
    let is_ours = headers.get(header::AUTHORIZATION).is_some_and(|value| {
        doorward_http::basic::scheme(value.as_bytes(), "bearer")
            .is_some_and(|text| PlainToken::parse(text).is_some())
    });
    if is_ours {
        headers.remove(header::AUTHORIZATION);
    }
}

/// The address that the upstream is asked for: the path that was compared, and the query without its token.
fn forwarded_address(route: &Route, path: &Path, query: Option<&str>) -> Result<Uri, Refusal> {
    // Where no token is asked for, a parameter of that name may be the API's own.
    let goes = |token: &str| PlainToken::parse(token.as_bytes()).is_some();
    let goes = if route.is_public { goes } else { |_: &str| true };
    let mut address = route.forwarded(path).to_owned();
    if let Some(query) = query.and_then(|query| query::without_tokens(query, goes)) {
        address.push('?');
        address.push_str(&query);
    }
    address.parse().map_err(|_| Refusal::malformed("The address cannot be read; check it."))
}
/// Who is at the other end of the connection.
fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
}
