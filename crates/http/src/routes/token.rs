//! `authentication/token`: log in with a password; look at a token.

use axum::{
    Json,
    extract::{self, FromRequest, Request},
};
use doorward_domain::{
    credential::Password,
    doorkeeper::{LoginError, PasswordLogin},
    id::UnitId,
    name::CanonicalName,
};

use crate::{
    body::Members,
    envelope::{Envelope, Nothing},
    error::ApiError,
    origin,
    state::State,
    token_source::Presented,
    wire::{IssuedToken, PasswordLoginBody, TokenDetails},
};

/// Log in with a username and a password.
///
/// Returns an authentication token which can subsequently be used by all other Web API methods to access the system.
/// The token expires after one hour of idle time (i.e. one hour of not using the token).
#[utoipa::path(
    post,
    operation_id = "log_in_with_password",
    path = "/authentication/token",
    tag = "authentication",
    request_body = PasswordLoginBody,
    responses(
        (status = 200, description = "Logged in", body = Envelope<IssuedToken>),
        (status = 400, description = "`MALFORMED_REQUEST`, `MISSING_PARAMETER` or `INVALID_PARAMETER`", body = Envelope<Nothing>),
        (status = 401, description = "`INVALID_CREDENTIALS`", body = Envelope<Nothing>),
        (status = 403, description = "`INVALID_UNIT` or `PASSWORD_CHANGE_REQUIRED`", body = Envelope<Nothing>),
        (status = 413, description = "`PAYLOAD_TOO_LARGE`", body = Envelope<Nothing>),
        (status = 503, description = "`UNAVAILABLE`; `Retry-After` says when to try again", body = Envelope<Nothing>),
    )
)]
pub async fn issue(
    extract::State(state): extract::State<State>,
    origin: origin::From,
    members: Members,
) -> Result<Json<Envelope<IssuedToken>>, ApiError> {
    let username = members.get_text("username", "send the name to log in with")?;
    let password = members.get_text("password", "send the password to log in with")?;
    let password = Password::parse(password).ok_or_else(|| {
        ApiError::InvalidParameter("password".into(), format!("is longer than {} bytes", Password::MAX_BYTES))
    })?;
    let login = PasswordLogin {
        organisation: name("organisation", organisation(&members)?)?,
        username: name("username", username)?,
        password,
        unit: unit(&members)?,
    };
    let token =
        state.in_time(state.doorkeeper.log_in_with_password(login, &origin.0), LoginError::from).await?;
    Ok(Json(Envelope::ok(IssuedToken { token: token.expose().to_owned() })))
}

/// Look at a token.
///
/// Tells the holder whom the token speaks for and when it ends. This is not a use: the idle time goes on. The token
/// may be sent as `Authorization: Bearer`, in the query or in the body.
#[utoipa::path(
    get,
    operation_id = "look_at_token",
    path = "/authentication/token",
    tag = "authentication",
    security(("token" = [])),
    params(("token" = Option<String>, Query, description = "The token, where it is not in `Authorization`")),
    responses(
        (status = 200, description = "The token is valid", body = Envelope<TokenDetails>),
        (status = 400, description = "`MALFORMED_REQUEST`, `MISSING_PARAMETER` or `INVALID_PARAMETER`", body = Envelope<Nothing>),
        (status = 401, description = "`INVALID_TOKEN`", body = Envelope<Nothing>),
    )
)]
pub async fn look(
    extract::State(state): extract::State<State>,
    request: Request,
) -> Result<Json<Envelope<TokenDetails>>, ApiError> {
    let presented = Presented::default().in_authorization(request.headers()).in_query(request.uri());
    let members = Members::from_request(request, &state).await?;
    let token = presented.found(members.find_text("token")?.unwrap_or_default().as_bytes()).one()?;
    let live = state.doorkeeper.peek(&token).await?.ok_or(ApiError::InvalidToken)?;
    Ok(Json(Envelope::ok(TokenDetails::from(&live))))
}

/// The organisation, in either spelling.
pub(super) fn organisation(members: &Members) -> Result<&str, ApiError> {
    match (members.find_text("organisation")?, members.find_text("organization")?) {
        (Some(one), Some(other)) if one != other => Err(ApiError::InvalidParameter(
            "organization".into(),
            "differs from 'organisation'; send one of them".into(),
        )),
        (Some(organisation), _) | (None, Some(organisation)) => Ok(organisation),
        (None, None) => Err(ApiError::MissingParameter(
            "organisation".into(),
            "send the code of the organisation to log in on",
        )),
    }
}

/// A name that is short enough to be one.
pub(super) fn name(parameter: &'static str, name: &str) -> Result<String, ApiError> {
    match name.chars().nth(CanonicalName::MAX_CHARACTERS) {
        None => Ok(name.to_owned()),
        Some(_) => {
            let problem = format!("is longer than {} characters", CanonicalName::MAX_CHARACTERS);
            Err(ApiError::InvalidParameter(parameter.into(), problem))
        }
    }
}

/// The unit to work in, if one is named.
pub(super) fn unit(members: &Members) -> Result<Option<UnitId>, ApiError> {
    let read = |text: &str| {
        let problem = "is not a unit's id, which is 32 hexadecimal digits";
        text.parse().map_err(|_| ApiError::InvalidParameter("unit".into(), problem.into()))
    };
    members.find_text("unit")?.map(read).transpose()
}
