//! How a guard answers those whom it does not let in.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It carries no token.
    NoToken,
    /// Its token is not in force, or it carries two.
    InvalidToken,
    /// Its token is in force, and something that is demanded is not met; the text is Doorward's.
    Forbidden(String),
    /// Doorward could not be asked: nothing is known about the token.
    Unavailable,
}

impl Refusal {
    /// The status: 401, 403 or 503.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The stable code, as Doorward has it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoToken | Self::InvalidToken => "INVALID_TOKEN",
            Self::Forbidden(_) => "FORBIDDEN",
            Self::Unavailable => "UNAVAILABLE",
        }
    }

    /// The status of gRPC: `UNAUTHENTICATED`, `PERMISSION_DENIED` or `UNAVAILABLE`.
    pub fn grpc_status(&self) -> u8 {
        match self {
            Self::NoToken | Self::InvalidToken => 16,
            Self::Forbidden(_) => 7,
            Self::Unavailable => 14,
        }
    }

    /// One sentence that says what to do.
    pub fn message(&self) -> String {
        match self {
            Self::NoToken => "There is no token; send it as 'Authorization: Bearer TOKEN'.".into(),
            Self::InvalidToken => {
                "The token is unknown, expired or released; log in again for a new one.".into()
            }
            Self::Forbidden(message) => message.clone(),
            Self::Unavailable => "The request cannot be served just now; try again in a second.".into(),
        }
    }
}

/// Doorward's envelope, or for gRPC a status.
pub(super) fn default(refusal: &Refusal, request: &HeaderMap) -> Response<Full<Bytes>> {
    match grpc(request) {
        Some(content_type) => grpc_answer(refusal, content_type),
        None => envelope(refusal),
    }
}

fn envelope(refusal: &Refusal) -> Response<Full<Bytes>> {
    let status = json!({"code": refusal.code(), "message": refusal.message(), "description": null});
    let body = json!({"status": status, "data": {}}).to_string();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let challenge = match refusal {
        Refusal::NoToken => Some("Bearer"),
        Refusal::InvalidToken => Some("Bearer error=\"invalid_token\""),
        Refusal::Forbidden(_) => Some("Bearer error=\"insufficient_scope\""),
        Refusal::Unavailable => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            None
        }
    };
    if let Some(challenge) = challenge {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

/// The content type of a call of gRPC, or of gRPC for browsers.
fn grpc(request: &HeaderMap) -> Option<&HeaderValue> {
    let content_type = request.get(header::CONTENT_TYPE)?;
    let rest = content_type.as_bytes().strip_prefix(b"application/grpc")?;
    matches!(rest.first(), None | Some(b'+' | b'-' | b';' | b' ')).then_some(content_type)
}

/// What a message of gRPC must not hold as it is.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// An answer of trailers only: they are sent as headers, and there is no body.
fn grpc_answer(refusal: &Refusal, content_type: &HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type.clone());
    headers.insert("grpc-status", HeaderValue::from(u16::from(refusal.grpc_status())));
    let message = utf8_percent_encode(&refusal.message(), ENCODED).to_string();
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert("grpc-message", message);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_that_only_begins_alike_is_not_grpc() {
        let is_grpc = |text: &'static str| {
            grpc(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))])).is_some()
        };
        for text in
            ["application/grpc", "application/grpc+proto", "application/grpc-web", "application/grpc; x=y"]
        {
            assert!(is_grpc(text), "{text}");
        }
        assert!(!is_grpc("application/grpcish") && !is_grpc("application/json"));
    }
}
