//! `authentication/web_api_key/token`: log in with a Web API key.

use axum::{Json, extract, http::HeaderMap};
use doorward_domain::doorkeeper::LoginError;

use super::token::unit;
use crate::{
    basic,
    body::Members,
    envelope::{Envelope, Nothing},
    error::ApiError,
    origin,
    state::State,
    wire::{IssuedToken, KeyLoginBody},
};

/// Log in with a Web API key.
///
/// Returns an authentication token which can subsequently be used by all other Web API methods to access the system.
/// The token expires after two hours, regardless of whether it is used or not. The key is passed as the username of
/// HTTP Basic; the password is left empty.
#[utoipa::path(
    post,
    operation_id = "log_in_with_web_api_key",
    path = "/authentication/web_api_key/token",
    tag = "authentication",
    security(("web_api_key" = [])),
    request_body = Option<KeyLoginBody>,
    responses(
        (status = 200, description = "Logged in", body = Envelope<IssuedToken>),
        (status = 400, description = "`MALFORMED_REQUEST`, `MISSING_PARAMETER` or `INVALID_PARAMETER`", body = Envelope<Nothing>),
        (status = 401, description = "`INVALID_CREDENTIALS`", body = Envelope<Nothing>),
        (status = 403, description = "`INVALID_UNIT`", body = Envelope<Nothing>),
        (status = 413, description = "`PAYLOAD_TOO_LARGE`", body = Envelope<Nothing>),
        (status = 503, description = "`UNAVAILABLE`; `Retry-After` says when to try again", body = Envelope<Nothing>),
    )
)]
pub async fn issue(
    extract::State(state): extract::State<State>,
    origin: origin::From,
    headers: HeaderMap,
    members: Members,
) -> Result<Json<Envelope<IssuedToken>>, ApiError> {
    let key = basic::parse_key(basic::authorization(&headers)?)?;
    let login = state.doorkeeper.log_in_with_key(&key, unit(&members)?, &origin.0);
    let token = state.in_time(login, LoginError::from).await?;
    Ok(Json(Envelope::ok_with_empty_texts(IssuedToken { token: token.expose().to_owned() })))
}
