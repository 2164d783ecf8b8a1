//! `authentication/token/release`: end a token.

use std::convert::identity;

use axum::{
    Json,
    extract::{self, FromRequest, Request},
};

use crate::{
    body::Members,
    envelope::{Envelope, Nothing},
    error::ApiError,
    origin,
    state::State,
    token_source::Presented,
    wire::ReleaseBody,
};

/// Release a token.
///
/// Once this is answered, the token is not usable by any other Web API call, whatever happens to the server. Releasing
/// a token that is unknown, has expired or was released before answers the same, so that a retry is safe.
#[utoipa::path(
    post,
    operation_id = "release_token",
    path = "/authentication/token/release",
    tag = "authentication",
    request_body = ReleaseBody,
    responses(
        (status = 200, description = "Released", body = Envelope<Nothing>),
        (status = 400, description = "`MALFORMED_REQUEST`, `MISSING_PARAMETER` or `INVALID_PARAMETER`", body = Envelope<Nothing>),
        (status = 413, description = "`PAYLOAD_TOO_LARGE`", body = Envelope<Nothing>),
        (status = 503, description = "`UNAVAILABLE`: the token may still be in force; `Retry-After` says when to try again", body = Envelope<Nothing>),
    )
)]
pub async fn release(
    extract::State(state): extract::State<State>,
    origin: origin::From,
    request: Request,
) -> Result<Json<Envelope<Nothing>>, ApiError> {
    let elsewhere = Presented::default().in_authorization(request.headers()).in_query(request.uri());
    let members = Members::from_request(request, &state).await?;
    let text = members.get_text("token", "send the token to be released as a member of the body")?;
    match elsewhere.found(text.as_bytes()).one() {
        Ok(token) => state.in_time(state.doorkeeper.release(&token, None, &origin.0), identity).await?,
        // What cannot be a token is not in force.
        Err(ApiError::InvalidToken) => {}
        Err(error) => return Err(error),
    }
    Ok(Json(Envelope::ok_with_empty_texts(Nothing {})))
}
