//! Envoy's external authorisation over gRPC: `envoy.service.auth.v3.Authorization/Check`, on a listener of its own.
//!
//! It is `/verify` in Envoy's words. Whoever reaches it is believed about what the route demands, and if it is a trusted
//! proxy about where the client is, so it does not stand among the paths that clients reach. Every answer of ours is a
//! decision: what goes wrong inside is a denial, and not an error, for an error passes where `failure_mode_allow` is set
//! (`security.md` F1).

mod answer;
mod question;

use std::time::Duration;

use axum::{
    Router,
    extract::{self, Request},
    http::{HeaderMap, HeaderValue},
    middleware::{self, Next},
    response::Response,
};
use doorward_domain::audit::Origin;
use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, CheckResponse,
    authorization_server::{Authorization, AuthorizationServer},
};
use tonic::{Code, Status, service::Routes};

use self::question::Question;
use super::verify::judge;
use crate::{
    demands,
    error::{ApiError, ErrorCode},
    origin,
    state::State,
};

/// Where gRPC finds the method.
pub const PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

/// The most bytes of a question beside those of the client's body: Envoy takes heads of 60 KiB unless it is told to take
/// larger ones.
const HEAD_BYTES: usize = 128 * 1024;

/// All paths of the listener: the one method, and gRPC's answer for those that are not there.
pub fn router(state: State) -> Router {
    let (most, timeout) = (HEAD_BYTES + state.limits.body_bytes, state.limits.body_timeout);
    let service = AuthorizationServer::new(Checker(state)).max_decoding_message_size(most);
    Routes::new(service).into_axum_router().layer(middleware::from_fn_with_state(timeout, bound_and_name))
}

struct Checker(State);

#[tonic::async_trait]
impl Authorization for Checker {
    async fn check(
        &self,
        request: tonic::Request<CheckRequest>,
    ) -> Result<tonic::Response<CheckResponse>, Status> {
        let (_, extensions, asked) = request.into_parts();
        let peer = extensions.get::<origin::Arrival>().and_then(|arrival| arrival.peer);
        let is_believed = peer.is_some_and(|peer| self.0.proxies.trusts(peer));
        let Some(question) = Question::read(asked, self.0.limits.body_bytes) else {
            tracing::error!(
                "Envoy asks about what is no HTTP request; ext_authz belongs among its HTTP filters"
            );
            return Ok(denied(&ApiError::InvalidToken));
        };
        let Question { presented, headers, settings, source, passing } = question;
        let (is_use, keeps_authorization) = settings.as_ref().map_or((true, false), |settings| {
            (settings.is_use && !demands::is_peek(&headers), settings.keeps_authorization)
        });
        let demanded = || question::demanded(settings, &headers);
        // Where Envoy is not believed about the client's address, or does not know it, nobody knows it. That of Envoy would
        // be a wrong one, which a rule may allow.
        let origin = || Origin {
            address: source.filter(|_| is_believed).map(|source| {
                let forwarded = headers.get_all("x-forwarded-for").iter();
                self.0.proxies.client(source, forwarded.map(HeaderValue::as_bytes))
            }),
            ..origin::of(&extensions)
        };
        Ok(match judge(&self.0, presented, demanded, is_use, origin).await {
            Ok(live) => tonic::Response::new(answer::ok(live.borrow(), passing, keeps_authorization)),
            Err(error) => denied(&error),
        })
    }
}

/// A denial, with its code for whoever counts.
fn denied(error: &ApiError) -> tonic::Response<CheckResponse> {
    let mut response = tonic::Response::new(answer::denied(error));
    response.extensions_mut().insert(error.code());
    response
}

/// Bounds the time in which a question must have arrived and been answered (`security.md` H5), and gives what is refused
/// before it is understood a code for whoever counts.
async fn bound_and_name(
    extract::State(timeout): extract::State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Status::deadline_exceeded(format!("The question did not arrive within {timeout:?}.")).into_http()
        }
    };
    if let Some(code) = refusal(response.headers()) {
        response.extensions_mut().insert(code);
    }
    response
}

/// The code of an answer that is none of ours but gRPC's. It has its status in the head: there is nothing else.
fn refusal(headers: &HeaderMap) -> Option<ErrorCode> {
    let status = Code::from_bytes(headers.get("grpc-status")?.as_bytes());
    match status {
        Code::Ok => None,
        Code::Unimplemented => Some(ApiError::NotFound.code()),
        Code::OutOfRange => Some(ApiError::PayloadTooLarge(0).code()),
        _ => Some(ApiError::MalformedRequest(String::new()).code()),
    }
}
