//! How the gateway answers a request that it does not hand on: in the contract's envelope.

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use doorward_http::{ApiError, Envelope};

/// Why a request is not handed on, or came back without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status where the route uses more than 200.
    pub status: StatusCode,
    /// Stable.
    pub code: &'static str,
    /// One sentence that says what to do.
    pub message: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), header: None }
    }

    /// The request cannot be read in one way only.
    pub fn malformed(message: impl Into<String>) -> Self {
        ApiError::MalformedRequest(message.into()).into()
    }

    /// There is no token.
    pub fn no_token() -> Self {
        let message = "The request has no token; log in and send the token as 'Authorization: Bearer TOKEN', as the \
                       parameter 'token' of the address or as the member 'token' of a JSON body.";
        Self { message: message.into(), ..ApiError::InvalidToken.into() }
    }

    /// No token in as much of the body as is looked at.
    pub fn no_token_within(limit: usize) -> Self {
        let message = format!(
            "The request has no token in the first {limit} bytes of its body, and none elsewhere; put the member 'token' \
             first, or send 'Authorization: Bearer TOKEN'."
        );
        Self { message, ..ApiError::PayloadTooLarge(limit).into() }
    }

    /// The token is in force and does not meet the route's requirements; Doorward says which.
    pub fn forbidden(message: Option<String>) -> Self {
        let refusal: Self =
            ApiError::Forbidden("The token is valid, and this path demands more of it.").into();
        Self { message: message.unwrap_or(refusal.message), ..refusal }
    }

    /// No route leads there.
    pub fn no_route() -> Self {
        let message = "There is nothing at this path; check the address.";
        Self { message: message.into(), ..ApiError::NotFound.into() }
    }

    /// There is a route, but not for this method; `allowed` lists those it has.
    pub fn method(allowed: &str) -> Self {
        let allow = HeaderValue::from_str(allowed).ok().map(|value| (header::ALLOW, value));
        Self { header: allow, ..ApiError::MethodNotAllowed.into() }
    }

    /// The check cannot be made, or there is no room.
    pub fn unavailable() -> Self {
        ApiError::Unavailable.into()
    }

    /// The client does not send what it announced.
    pub fn slow_client() -> Self {
        let message = "The body did not arrive in time; send it again without pauses.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", message)
    }

    /// The client's body broke off.
    pub fn broken_body() -> Self {
        Self::malformed("The body ends before its end; send all of it.")
    }

    /// The API behind cannot be reached, or does not speak HTTP.
    pub fn bad_gateway() -> Self {
        let message = "The API behind this gateway does not answer properly; try again later.";
        Self::new(StatusCode::BAD_GATEWAY, "BAD_GATEWAY", message)
    }

    /// The API behind does not answer in time.
    pub fn gateway_timeout() -> Self {
        let message = "The API behind this gateway does not answer in time; it may have done what was asked: look before \
                       you try again.";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "GATEWAY_TIMEOUT", message)
    }

    /// The answer; with status 200 for clients that look at the envelope only.
    pub fn answer(self, is_always_200: bool) -> Response {
        let status = if is_always_200 { StatusCode::OK } else { self.status };
        let mut response = (status, Json(Envelope::error(self.code, self.message))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        response
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let header = match error {
            ApiError::InvalidToken => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\"")))
            }
            ApiError::Unavailable => Some((header::RETRY_AFTER, HeaderValue::from_static("1"))),
            _ => None,
        };
        Self { header, ..Self::new(error.status(), error.code().0, error.message()) }
    }
}
