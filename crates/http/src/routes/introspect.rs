//! `/oauth2/introspect` (RFC 7662): a service asks about a token.

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    extract::{self, Request},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use doorward_domain::{audit::Origin, session_table::LiveRef};

use super::revoke::{Refusal, caller, read_form};
use crate::{
    origin,
    state::State,
    wire::{Introspection, TokenForm},
};

/// Ask about a token (RFC 7662).
///
/// The caller authenticates with a Web API key that has the right `verifier`, or with the token of one or of an
/// administrator, and sees the tokens of its own organisation; the operator
/// organisation sees all. This is a use of the token asked about, which restarts the idle time, unless the form has
/// `touch=false`. Whatever the reason, an
/// inactive token is `{"active":false}`.
#[utoipa::path(
    post,
    operation_id = "introspect_token",
    path = "/oauth2/introspect",
    tag = "oauth2",
    security(("web_api_key" = []), ("token" = [])),
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token's state", body = Introspection),
        (status = 400, description = "`invalid_request`", body = Refusal),
        (status = 401, description = "`invalid_client`: the caller has not authenticated", body = Refusal),
        (status = 403, description = "`unauthorized_client`: the caller may not introspect", body = Refusal),
        (status = 503, description = "`temporarily_unavailable`", body = Refusal),
    )
)]
pub async fn introspect(
    extract::State(state): extract::State<State>,
    origin: origin::From,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    answer(&state, &head.headers, body, &origin.0).await
}

/// Where it is asked.
pub(crate) const PATH: &str = "/oauth2/introspect";

/// What [`introspect`] answers, for whoever has taken the request apart already.
pub(crate) async fn answer<B>(
    state: &State,
    headers: &HeaderMap,
    body: B,
    origin: &Origin,
) -> Result<Response, Refusal>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let (token, is_use) = read_form(state, body).await?;
    let caller = caller(state, headers, origin).await?;
    let told = match token {
        Some(token) => {
            let tell = |live: LiveRef<'_>| {
                let mut told = Vec::with_capacity(512);
                Introspection::write(live, &mut told);
                told
            };
            state.doorkeeper.introspect(&token, caller, is_use, tell).await?
        }
        None => None,
    };
    let body = told.map_or_else(|| Body::from(INACTIVE), Body::from);
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// What is told of a token that is not in force, or not the caller's to know of.
pub(super) const INACTIVE: &str = r#"{"active":false}"#;
