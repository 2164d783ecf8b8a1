//! The error table of the contract and of the admin API, and how an error looks in the envelope.
//!
//! What the caller may read is in [`ApiError`]; what the operator may read goes to the log where the error is made.

use std::borrow::Cow;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use doorward_domain::{
    administration::AdminError,
    doorkeeper::{ChangePasswordError, LoginError},
    journal::StoreError,
};

use crate::envelope::Envelope;

/// An error of the two mounts or of the admin API. Codes are stable; texts may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// The body or the request as a whole cannot be read; the text says where and what to do.
    MalformedRequest(String),
    /// A mandatory part is absent; the text says how to send it.
    MissingParameter(Cow<'static, str>, &'static str),
    /// A part is of the wrong type or form; the text says what it must be.
    InvalidParameter(Cow<'static, str>, String),
    /// One answer for every way in which credentials can fail.
    InvalidCredentials,
    /// The unit is not one of the user's.
    InvalidUnit,
    /// The password must be changed first.
    PasswordChangeRequired,
    /// The token is unknown, expired or released.
    InvalidToken,
    /// The token is in force and its holder may not do this; the text says who may.
    Forbidden(&'static str),
    /// There is nothing at this path.
    NotFound,
    /// The path is right, and there is no such thing, or none that the caller may see.
    NoSuchThing,
    /// There is something at this path, but not for this method.
    MethodNotAllowed,
    /// The body is larger than this many bytes.
    PayloadTooLarge(usize),
    /// A part must be unique and is taken; the text says by what.
    Taken(&'static str, String),
    /// The state of things does not allow it; the text says what to do.
    Conflict(String),
    /// It was changed since the caller read it.
    PreconditionFailed,
    /// The `Idempotency-Key` was used for another request.
    IdempotencyKeyReused,
    /// The store does not answer or the login queue is full.
    Unavailable,
}

/// The stable code of an error, left in a response for whoever counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub &'static str);

/// How long a caller should wait before it tries an unavailable server again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl ApiError {
    /// Every code of this table, for metrics that exist before they are counted.
    pub const CODES: [&str; 16] = [
        "MALFORMED_REQUEST",
        "MISSING_PARAMETER",
        "INVALID_PARAMETER",
        "INVALID_CREDENTIALS",
        "INVALID_UNIT",
        "PASSWORD_CHANGE_REQUIRED",
        "INVALID_TOKEN",
        "FORBIDDEN",
        "NOT_FOUND",
        "METHOD_NOT_ALLOWED",
        "PAYLOAD_TOO_LARGE",
        "TAKEN",
        "CONFLICT",
        "PRECONDITION_FAILED",
        "IDEMPOTENCY_KEY_REUSED",
        "UNAVAILABLE",
    ];

    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::MalformedRequest(_) => "MALFORMED_REQUEST",
            Self::MissingParameter(..) => "MISSING_PARAMETER",
            Self::InvalidParameter(..) => "INVALID_PARAMETER",
            Self::InvalidCredentials => "INVALID_CREDENTIALS",
            Self::InvalidUnit => "INVALID_UNIT",
            Self::PasswordChangeRequired => "PASSWORD_CHANGE_REQUIRED",
            Self::InvalidToken => "INVALID_TOKEN",
            Self::Forbidden(_) => "FORBIDDEN",
            Self::NotFound | Self::NoSuchThing => "NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::PayloadTooLarge(_) => "PAYLOAD_TOO_LARGE",
            Self::Taken(..) => "TAKEN",
            Self::Conflict(_) => "CONFLICT",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::Unavailable => "UNAVAILABLE",
        })
    }

    /// The status where the mount uses more than 200.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MalformedRequest(_) | Self::MissingParameter(..) | Self::InvalidParameter(..) => {
                StatusCode::BAD_REQUEST
            }
            Self::InvalidCredentials | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::InvalidUnit | Self::PasswordChangeRequired | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound | Self::NoSuchThing => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::PayloadTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Taken(..) | Self::Conflict(_) => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// One sentence for the caller that says what to do.
    pub fn message(&self) -> String {
        match self {
            Self::MalformedRequest(problem) => problem.clone(),
            Self::MissingParameter(name, remedy) => format!("The parameter '{name}' is missing: {remedy}."),
            Self::InvalidParameter(name, problem) => format!("The parameter '{name}' {problem}."),
            Self::InvalidCredentials => "The credentials are not accepted; check them and try again.".into(),
            Self::InvalidUnit => {
                "The unit is not one of this user's; name one that is, or none to use the default unit."
                    .into()
            }
            Self::PasswordChangeRequired => {
                "The password must be changed before it gives a token; change it with 'POST authentication/password'."
                    .into()
            }
            Self::InvalidToken => {
                "The token is unknown, expired or released; log in again for a new one.".into()
            }
            Self::Forbidden(who) => (*who).into(),
            Self::NoSuchThing => "There is no such thing here; check the id, or list what there is.".into(),
            Self::NotFound => "There is nothing at this path; compare it with the API document.".into(),
            Self::MethodNotAllowed => {
                "This path does not answer this method; the header 'Allow' names those it does.".into()
            }
            Self::PayloadTooLarge(limit) => {
                format!("The body is larger than {limit} bytes; send a smaller one.")
            }
            Self::Taken(name, problem) => format!("The parameter '{name}' {problem}."),
            Self::Conflict(problem) => problem.clone(),
            Self::PreconditionFailed => {
                "This was changed since you read it; read it again and decide anew on what it is now.".into()
            }
            Self::IdempotencyKeyReused => {
                "This Idempotency-Key was used for another request; send a new key with each new request.".into()
            }
            Self::Unavailable => "The request cannot be served just now; try again in a second.".into(),
        }
    }

    /// Gives an answer what this error's status asks for, and the code for whoever counts.
    pub(crate) fn dress(&self, mut response: Response) -> Response {
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(self.code());
        response
    }

    /// The name of the part at fault.
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Self::MissingParameter(name, _) | Self::InvalidParameter(name, _) => Some(name),
            Self::Taken(name, _) => Some(name),
            _ => None,
        }
    }

    /// The header that an answer with this error has beside its body.
    pub(crate) fn header(&self) -> Option<(header::HeaderName, HeaderValue)> {
        match self {
            Self::InvalidToken => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\"")))
            }
            Self::InvalidCredentials => Some((
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"Doorward\", charset=\"UTF-8\""),
            )),
            Self::Unavailable => Some((header::RETRY_AFTER, RETRY_AFTER)),
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(Envelope::error(self.code().0, self.message()));
        self.dress((self.status(), body).into_response())
    }
}

impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::InvalidCredentials => Self::InvalidCredentials,
            LoginError::InvalidUnit => Self::InvalidUnit,
            LoginError::PasswordChangeRequired => Self::PasswordChangeRequired,
            LoginError::Unavailable(reason) => {
                tracing::warn!(reason, "a login could not be served");
                Self::Unavailable
            }
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            // Every request meets it; that the lease was lost, or how far the reading is, is said elsewhere.
            StoreError::NoLease | StoreError::Reading => {
                tracing::debug!(reason = %error, "a request could not be served")
            }
            _ => tracing::warn!(reason = %error, "a request could not be served"),
        }
        Self::Unavailable
    }
}

impl From<AdminError> for ApiError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::InvalidToken => Self::InvalidToken,
            AdminError::Forbidden(who) => Self::Forbidden(who),
            AdminError::NotFound => Self::NoSuchThing,
            AdminError::Invalid { member, problem } => Self::InvalidParameter(member.into(), problem),
            AdminError::Taken { member, problem } => Self::Taken(member, problem),
            AdminError::Conflict(problem) => Self::Conflict(problem),
            AdminError::Stale => Self::PreconditionFailed,
            AdminError::Reused => Self::IdempotencyKeyReused,
            AdminError::Unavailable(reason) => {
                tracing::warn!(reason, "an administrator could not be served");
                Self::Unavailable
            }
        }
    }
}

impl From<ChangePasswordError> for ApiError {
    fn from(error: ChangePasswordError) -> Self {
        match error {
            ChangePasswordError::Login(error) => error.into(),
            ChangePasswordError::Weak(weakness) => {
                Self::InvalidParameter("new_password".into(), weakness.to_string())
            }
            ChangePasswordError::Unchanged => {
                Self::InvalidParameter("new_password".into(), "is the current one; choose another".into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_stable_and_each_has_its_status() {
        let table = [
            (ApiError::MalformedRequest(String::new()), "MALFORMED_REQUEST", 400),
            (ApiError::MissingParameter("".into(), ""), "MISSING_PARAMETER", 400),
            (ApiError::InvalidParameter("".into(), String::new()), "INVALID_PARAMETER", 400),
            (ApiError::InvalidCredentials, "INVALID_CREDENTIALS", 401),
            (ApiError::InvalidUnit, "INVALID_UNIT", 403),
            (ApiError::PasswordChangeRequired, "PASSWORD_CHANGE_REQUIRED", 403),
            (ApiError::InvalidToken, "INVALID_TOKEN", 401),
            (ApiError::Forbidden(""), "FORBIDDEN", 403),
            (ApiError::NotFound, "NOT_FOUND", 404),
            (ApiError::NoSuchThing, "NOT_FOUND", 404),
            (ApiError::MethodNotAllowed, "METHOD_NOT_ALLOWED", 405),
            (ApiError::PayloadTooLarge(1), "PAYLOAD_TOO_LARGE", 413),
            (ApiError::Taken("", String::new()), "TAKEN", 409),
            (ApiError::Conflict(String::new()), "CONFLICT", 409),
            (ApiError::PreconditionFailed, "PRECONDITION_FAILED", 412),
            (ApiError::IdempotencyKeyReused, "IDEMPOTENCY_KEY_REUSED", 422),
            (ApiError::Unavailable, "UNAVAILABLE", 503),
        ];
        for (error, code, status) in table {
            assert_eq!((error.code().0, error.status().as_u16()), (code, status));
            assert!(ApiError::CODES.contains(&code));
        }
    }
}
