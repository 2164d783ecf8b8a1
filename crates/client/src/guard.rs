//! A tower layer that lets nobody in of whom Doorward does not say who they are.

mod answer;
mod presented;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::{Either, Full};
use tower::{Layer, Service};

pub use self::answer::Refusal;
use crate::{Access, Error, Identity, Requirements, Token, Verifier};

/// The body of a guarded service: the guard's own or the service's.
pub type GuardedBody<B> = Either<Full<Bytes>, B>;

type AnswerWith = dyn Fn(&Refusal, &HeaderMap) -> Response<Full<Bytes>> + Send + Sync;

/// Guards a service over HTTP, whether it is axum's, tonic's or hyper's.
///
/// For each request the layer finds the token in `Authorization: Bearer`, asks Doorward about it, and hands the request on
/// with the [`Identity`] and the [`Token`] in its extensions. It removes every header whose name begins with `X-Auth-`,
/// with underscores too, so that nothing behind it takes a caller's word for who they are. Other requests it answers
/// itself: with 401, with 403 where [requirements](Self::require) are not met, and with 503 where Doorward cannot be
/// asked. A call of gRPC gets the status `UNAUTHENTICATED`, `PERMISSION_DENIED` or `UNAVAILABLE`.
///
/// Requests that must pass without a token (health checks, the preflight of browsers) belong on routes without this
/// layer, or before it.
///
/// # axum
///
/// ```no_run
/// # async fn example(verifier: doorward_client::Verifier) {
/// use axum::{Extension, Router, routing::get};
/// use doorward_client::{GuardLayer, Identity, Requirements, Role};
///
/// async fn whose(Extension(identity): Extension<Identity>) -> String {
///     identity.user.name
/// }
///
/// let administrators = Requirements::default().role(Role::Administrator);
/// let app: Router = Router::new()
///     .route("/settings", get(whose))
///     .layer(GuardLayer::new(verifier.clone()).require(administrators))
///     .merge(Router::new().route("/orders", get(whose)).layer(GuardLayer::new(verifier)));
/// # }
/// ```
///
/// # tonic
///
/// ```no_run
/// # async fn example(verifier: doorward_client::Verifier) -> Result<(), Box<dyn std::error::Error>> {
/// # use doorward_client::GuardLayer;
/// # let (_, service) = tonic_health::server::health_reporter();
/// tonic::transport::Server::builder()
///     .layer(GuardLayer::new(verifier))
///     .add_service(service) // in its methods `request.extensions().get::<Identity>()` says who calls
///     .serve("127.0.0.1:3000".parse()?)
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct GuardLayer {
    verifier: Verifier,
    requirements: Requirements,
    takes_query: bool,
    answer: Arc<AnswerWith>,
}

impl GuardLayer {
    /// A guard that lets in whoever has a token that is in force. With a verifier [without a
    /// key](Verifier::without_key) these are the users of all organisations.
    pub fn new(verifier: Verifier) -> Self {
        Self {
            verifier,
            requirements: Requirements::default(),
            takes_query: false,
            answer: Arc::new(answer::default),
        }
    }

    /// Lets in only those who meet these requirements.
    #[must_use]
    pub fn require(self, requirements: Requirements) -> Self {
        Self { requirements, ..self }
    }

    /// Takes the token from the query parameter `token` too, as clients of the old API send it, and removes the
    /// parameter from the address. Whatever logs addresses must stand behind the guard then.
    #[must_use]
    pub fn with_query_parameter(self) -> Self {
        Self { takes_query: true, ..self }
    }

    /// Answers refused requests with what this makes of the refusal and the headers of the request; by default that is
    /// JSON as Doorward itself writes it, and a status of gRPC for gRPC. [`Refusal::status`] should be kept.
    ///
    /// ```no_run
    /// # fn example(layer: doorward_client::GuardLayer) {
    /// let layer = layer.answer_with(|refusal, _| {
    ///     let mut answer = http::Response::new(refusal.message().into());
    ///     *answer.status_mut() = refusal.status();
    ///     answer
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn answer_with(
        self,
        answer: impl Fn(&Refusal, &HeaderMap) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self { answer: Arc::new(answer), ..self }
    }

    /// Who calls, or why nobody is let in.
    async fn admit(&self, token: &Token) -> Result<Identity, Refusal> {
        match self.verifier.check(token, &self.requirements).await {
            Ok(Access::Granted(identity)) => Ok(identity),
            Ok(Access::Inactive) => Err(Refusal::InvalidToken),
            Ok(Access::Forbidden(reason)) => Err(Refusal::Forbidden(reason)),
            Err(error) => {
                log(&error);
                Err(Refusal::Unavailable)
            }
        }
    }
}

/// The caller learns nothing about what is wrong here; the operator does.
fn log(error: &Error) {
    if error.is_temporary() {
        tracing::warn!(%error, "a token could not be verified");
    } else {
        tracing::error!(%error, "no token can be verified until this is put right");
    }
}

impl fmt::Debug for GuardLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardLayer")
            .field("verifier", &self.verifier)
            .field("requirements", &self.requirements)
            .field("takes_query", &self.takes_query)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, service: S) -> Guard<S> {
        Guard { service, layer: self.clone() }
    }
}

/// A service behind a [`GuardLayer`].
#[derive(Clone, Debug)]
pub struct Guard<S> {
    service: S,
    layer: GuardLayer,
}

impl<S, B, R> Service<Request<B>> for Guard<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<GuardedBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that is ready is called; its clone may not be.
        let ready = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, ready);
        let layer = self.layer.clone();
        remove_identity(request.headers_mut());
        let token = presented::take(&mut request, layer.takes_query);
        Box::pin(async move {
            let admitted = match token {
                Ok(token) => layer.admit(&token).await.map(|identity| (identity, token)),
                Err(refusal) => Err(refusal),
            };
            match admitted {
                Ok((identity, token)) => {
                    request.extensions_mut().insert(identity);
                    request.extensions_mut().insert(token);
                    Ok(service.call(request).await?.map(Either::Right))
                }
                Err(refusal) => Ok((layer.answer)(&refusal, request.headers()).map(Either::Left)),
            }
        })
    }
}

/// Removes what callers say about who they are. Some programs read `_` as `-`, so both are gone.
fn remove_identity(headers: &mut HeaderMap) {
    let is_one = |name: &&HeaderName| {
        let mut bytes = name.as_str().bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
        b"x-auth-".iter().all(|expected| bytes.next() == Some(*expected))
    };
    let names: Vec<HeaderName> = headers.keys().filter(is_one).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}
