//! `authentication/password`: change one's own password.

use axum::{Json, extract};
use doorward_domain::{
    credential::Password,
    doorkeeper::{ChangePasswordError, PasswordChange},
};

use super::token::{name, organisation};
use crate::{
    body::Members,
    envelope::{Envelope, Nothing},
    error::ApiError,
    origin,
    state::State,
    wire::PasswordChangeBody,
};

/// Change one's own password.
///
/// The current password must be given. All sessions of the user end: log in again with the new password. A wrong
/// current password counts as a failed login.
#[utoipa::path(
    post,
    operation_id = "change_password",
    path = "/authentication/password",
    tag = "authentication",
    request_body = PasswordChangeBody,
    responses(
        (status = 200, description = "The password is changed and all sessions of the user have ended", body = Envelope<Nothing>),
        (status = 400, description = "`MALFORMED_REQUEST`, `MISSING_PARAMETER` or `INVALID_PARAMETER`, which also says what is wrong with the new password", body = Envelope<Nothing>),
        (status = 401, description = "`INVALID_CREDENTIALS`", body = Envelope<Nothing>),
        (status = 413, description = "`PAYLOAD_TOO_LARGE`", body = Envelope<Nothing>),
        (status = 503, description = "`UNAVAILABLE`; `Retry-After` says when to try again", body = Envelope<Nothing>),
    )
)]
pub async fn change(
    extract::State(state): extract::State<State>,
    origin: origin::From,
    members: Members,
) -> Result<Json<Envelope<Nothing>>, ApiError> {
    let username = members.get_text("username", "send the name you log in with")?;
    let password = |member: &'static str, remedy: &'static str| {
        let text = members.get_text(member, remedy)?;
        Password::parse(text).ok_or_else(|| {
            ApiError::InvalidParameter(member.into(), format!("is longer than {} bytes", Password::MAX_BYTES))
        })
    };
    let change = PasswordChange {
        organisation: name("organisation", organisation(&members)?)?,
        username: name("username", username)?,
        current: password("password", "send the password until now")?,
        new: password("new_password", "send the password from now on")?,
    };
    let change = state.doorkeeper.change_password(change, &origin.0);
    state.in_time(change, |error| ChangePasswordError::Login(error.into())).await?;
    Ok(Json(Envelope::ok_with_empty_texts(Nothing {})))
}
