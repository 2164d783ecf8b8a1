//! `/verify`: the question that a reverse proxy asks about every request.
//!
//! The answer is 200 with headers that say whom the token speaks for, or 401 with none of them; nothing that goes
//! wrong inside is a 2xx. This is the hot path: extraction borrows, and the answer is written by hand.

use axum::{
    body::Body,
    extract::{self, Request},
    http::{HeaderMap, HeaderName, HeaderValue},
    response::Response,
};
use doorward_domain::session_table::Live;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{error::ApiError, problem::Problem, state::State, token_source::Presented, wire::Rfc3339};

/// Verify a token.
///
/// Every method is answered alike. The token is taken from `Authorization: Bearer`, from the query of the forwarded
/// request (`X-Forwarded-Uri`, `X-Original-URI`) or from this request's own query. This is a use: it restarts the
/// token's idle time. Names in headers are percent-encoded where they are not plain ASCII.
#[utoipa::path(
    get,
    operation_id = "verify_token",
    path = "/verify",
    tag = "verification",
    security(("token" = [])),
    params(
        ("token" = Option<String>, Query, description = "The token, where it is nowhere else"),
        ("X-Forwarded-Uri" = Option<String>, Header, description = "The forwarded request's address (Caddy, Traefik)"),
        ("X-Original-URI" = Option<String>, Header, description = "The forwarded request's address (nginx)"),
    ),
    responses(
        (status = 200, description = "The token is valid", headers(
            ("X-Auth-Organisation" = String, description = "The organisation's code"),
            ("X-Auth-Organisation-Id" = String),
            ("X-Auth-Unit" = String, description = "The unit's name"),
            ("X-Auth-Unit-Id" = String),
            ("X-Auth-User" = String, description = "The username"),
            ("X-Auth-User-Id" = String),
            ("X-Auth-Method" = String, description = "`password` or `web_api_key`"),
            ("X-Auth-Expires" = String, description = "When the token ends if it is not used again (RFC 3339)"),
        )),
        (status = 401, description = "There is no token, it is not valid, or there are two", body = Problem),
    )
)]
pub async fn verify(extract::State(state): extract::State<State>, request: Request) -> Response {
    let headers = request.headers();
    let presented =
        Presented::default().in_authorization(headers).in_forwarded_query(headers).in_query(request.uri());
    match presented.one().ok().and_then(|token| state.doorkeeper.verify(&token)) {
        Some(live) => {
            let mut response = Response::new(Body::empty());
            identify(&live, response.headers_mut());
            response
        }
        None => Problem::of(&ApiError::InvalidToken),
    }
}

/// What a name must not show as it is: controls and whatever is not ASCII, and the sign of the encoding itself.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// Writes the identity headers, all of them.
fn identify(live: &Live, headers: &mut HeaderMap) {
    let identity = live.subject.identity();
    headers.reserve(12);
    headers.insert(ORGANISATION, name(&identity.organisation_code));
    headers.insert(ORGANISATION_ID, id(identity.organisation.to_hex()));
    headers.insert(UNIT, name(&identity.unit_name));
    headers.insert(UNIT_ID, id(identity.unit.to_hex()));
    headers.insert(USER, name(&identity.username));
    headers.insert(USER_ID, id(identity.user.to_hex()));
    headers.insert(METHOD, HeaderValue::from_static(identity.method.as_str()));
    headers.insert(EXPIRES, value(Rfc3339(live.expires_at).to_string()));
}

const ORGANISATION: HeaderName = HeaderName::from_static("x-auth-organisation");
const ORGANISATION_ID: HeaderName = HeaderName::from_static("x-auth-organisation-id");
const UNIT: HeaderName = HeaderName::from_static("x-auth-unit");
const UNIT_ID: HeaderName = HeaderName::from_static("x-auth-unit-id");
const USER: HeaderName = HeaderName::from_static("x-auth-user");
const USER_ID: HeaderName = HeaderName::from_static("x-auth-user-id");
const METHOD: HeaderName = HeaderName::from_static("x-auth-method");
const EXPIRES: HeaderName = HeaderName::from_static("x-auth-expires");

/// A name as a header shows it. Most names need no encoding, and finding that out is all they cost.
fn name(name: &str) -> HeaderValue {
    let is_plain = name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'%');
    if is_plain { value(name) } else { value(utf8_percent_encode(name, ENCODED).to_string()) }
}

fn id(digits: [u8; 32]) -> HeaderValue {
    HeaderValue::from_bytes(&digits).unwrap_or(NOTHING)
}

/// What is written above is printable ASCII, which every header takes.
fn value(text: impl AsRef<str>) -> HeaderValue {
    HeaderValue::from_str(text.as_ref()).unwrap_or(NOTHING)
}

const NOTHING: HeaderValue = HeaderValue::from_static("");
