//! `/oauth2/introspect` (RFC 7662): a service asks about a token.

use axum::{
    Json,
    extract::{self, Request},
    response::{IntoResponse, Response},
};

use super::revoke::{Refusal, caller, read_token};
use crate::{
    origin,
    state::State,
    wire::{Introspection, TokenForm},
};

/// Ask about a token (RFC 7662).
///
/// The caller authenticates with a Web API key or a token and sees the tokens of its own organisation; the operator
/// organisation sees all. This is a use of the token asked about: it restarts the idle time. Whatever the reason, an
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
        (status = 503, description = "`temporarily_unavailable`", body = Refusal),
    )
)]
pub async fn introspect(
    extract::State(state): extract::State<State>,
    origin: origin::From,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let token = read_token(&state, body).await?;
    let caller = caller(&state, &head.headers, &origin.0).await?;
    Ok(match token.and_then(|token| state.doorkeeper.introspect(&token, caller)) {
        Some(live) => Json(Introspection::from(&live)).into_response(),
        None => ([("content-type", "application/json")], r#"{"active":false}"#).into_response(),
    })
}
