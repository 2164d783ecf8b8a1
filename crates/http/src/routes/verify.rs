//! `/verify`: the question that a reverse proxy asks about every request.
//!
//! The answer is 200 with headers that say whom the token speaks for, or 401 or 403 with none of them; nothing that goes
//! wrong inside is a 2xx. This is the hot path: extraction borrows, and the answer is written by hand. Almost every question is
//! plain ([`plain_token`]); those that demand something may wait, and cost more.

use axum::{
    body::Body,
    extract::{self, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Uri},
    response::Response,
};
use doorward_domain::{
    audit::Origin,
    credential::PlainToken,
    doorkeeper::CheckError,
    requirement::{Requirements, Unmet},
    session_table::{Live, LiveRef},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{
    basic::scheme, demands, error::ApiError, origin, problem::Problem, state::State, token_source::Presented,
    wire::Rfc3339,
};

/// Verify a token.
///
/// Every method is answered alike, and so are the paths below `/verify/at/`, for proxies that add the path of the request
/// they ask about; the query is then that request's too, and only headers say what is demanded. The token is taken from `Authorization: Bearer`, from the query of the forwarded
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
        ("touch" = Option<String>, Query, description = "`false`: this is no use of the token"),
        ("require_organisation" = Option<String>, Query, description = "The token's organisation must be this: its code or id. \
            What reads as an id, 32 hexadecimal digits, is none but that. These parameters may be repeated, and then one \
            of their values will do"),
        ("require_unit" = Option<String>, Query, description = "The token's unit must be this: its name or id, \
            which says as well of which organisation"),
        ("require_method" = Option<String>, Query, description = "`password` or `web_api_key`"),
        ("require_role" = Option<String>, Query, description = "`member` or `administrator`"),
        ("require_key_address" = Option<String>, Query, description = "`true`: the client's address must be one from which \
            the Web API key of the token is accepted, and the organisation's rules must permit it"),
        ("X-Auth-Require" = Option<String>, Header, description = "The same as a form, without `require_`: \
            `organisation=ACME&role=administrator`. All that is demanded in either way must be met"),
        ("X-Auth-Touch" = Option<String>, Header, description = "`false`: this is no use of the token"),
        ("X-Forwarded-Uri" = Option<String>, Header, description = "The forwarded request's address (Caddy, Traefik)"),
        ("X-Original-URI" = Option<String>, Header, description = "The forwarded request's address (nginx)"),
    ),
    responses(
        (status = 200, description = "The token is valid, and meets what is demanded", headers(
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
        (status = 403, description = "The token is valid and does not meet what is demanded", body = Problem),
        (status = 503, description = "What is demanded could not be looked up", body = Problem),
    )
)]
pub async fn verify(extract::State(state): extract::State<State>, request: Request) -> Response {
    let headers = request.headers();
    let presented = presented(request.uri(), headers);
    // Behind this path stands that of a client's request, with its query.
    let is_own_query = request.uri().path() == PATH;
    let (uri, extensions) = (request.uri(), request.extensions());
    let demanded = || demands::read(headers, uri, is_own_query);
    let is_use = demands::is_use(headers, uri, is_own_query);
    match judge(&state, presented, demanded, is_use, || origin::of(extensions)).await {
        Ok(live) => {
            let mut response = Response::new(Body::empty());
            identify(live.borrow(), response.headers_mut());
            response
        }
        Err(error) => Problem::of(&error),
    }
}

/// Answers at once, if nothing is demanded and nothing needs to be waited for. `None`: [`verify`] answers it, and would have
/// answered this one in the same way.
pub(crate) fn answer_now(state: &State, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    if uri.path() != PATH {
        return None;
    }
    let (token, is_use) = match plain_token(uri, headers) {
        Some(token) => (token, true),
        None => (undemanding_token(uri, headers)?, demands::is_use(headers, uri, true)),
    };
    let found = state.doorkeeper.look_now(&token, is_use, |live| {
        let mut response = Response::new(Body::empty());
        identify(live, response.headers_mut());
        Some(response)
    })?;
    Some(match found {
        Ok(Some(response)) => response,
        Ok(None) => Problem::of(&ApiError::InvalidToken),
        Err(error) => Problem::of(&error.into()),
    })
}

/// The token of almost every question: it is in `Authorization`, and nowhere else is anything to be looked at.
fn plain_token(uri: &Uri, headers: &HeaderMap) -> Option<PlainToken> {
    if uri.query().is_some() {
        return None;
    }
    let mut authorization = None;
    for (name, value) in headers {
        match name.as_str() {
            "authorization" if authorization.is_some() => return None,
            "authorization" => authorization = Some(value),
            "x-forwarded-uri" | "x-original-uri" if value.as_bytes().contains(&b'?') => return None,
            "x-auth-require" | "x-auth-touch" => return None,
            _ => {}
        }
    }
    PlainToken::parse(scheme(authorization?.as_bytes(), "bearer")?)
}

/// The token of a question with which nothing is demanded.
fn undemanding_token(uri: &Uri, headers: &HeaderMap) -> Option<PlainToken> {
    let is_undemanding = demands::read(headers, uri, true).is_ok_and(|demanded| demanded.is_none());
    is_undemanding.then(|| presented(uri, headers).one().ok()).flatten()
}

/// What a question presents, wherever that is.
fn presented(uri: &Uri, headers: &HeaderMap) -> Presented {
    Presented::default().in_authorization(headers).in_forwarded_query(headers).in_query(uri)
}

/// Decides on a request that a proxy asks about: whom its token speaks for, if that is what the proxy demands.
pub(super) async fn judge<E: std::fmt::Display>(
    state: &State,
    presented: Presented,
    demanded: impl FnOnce() -> Result<Requirements, E>,
    is_use: bool,
    origin: impl FnOnce() -> Origin,
) -> Result<Live, ApiError> {
    let Ok(token) = presented.one() else { return Err(ApiError::InvalidToken) };
    let requirements = match demanded() {
        Ok(requirements) => requirements,
        Err(error) => {
            // Whoever reaches this may demand anything; without a token they do not get to write errors into the log.
            if state.doorkeeper.peek(&token).await?.is_none() {
                return Err(ApiError::InvalidToken);
            }
            tracing::error!(%error, "a proxy or a client demands what nobody can meet; mend its configuration");
            return Err(ApiError::Forbidden(MISCONFIGURED));
        }
    };
    let doorkeeper = &state.doorkeeper;
    if requirements.is_none() {
        let found = if is_use { doorkeeper.verify(&token).await? } else { doorkeeper.peek(&token).await? };
        return found.ok_or(ApiError::InvalidToken);
    }
    doorkeeper.check(&token, &requirements, &origin(), is_use).await.map_err(|error| match error {
        CheckError::InvalidToken => ApiError::InvalidToken,
        CheckError::Unmet(unmet) => {
            tracing::info!(session = %token.digest().session(), %unmet, "a token does not meet what its route demands");
            ApiError::Forbidden(unmet_text(unmet))
        }
        CheckError::Unavailable(error) => error.into(),
    })
}

/// Where a proxy asks that does not add the path of the client's request.
const PATH: &str = "/verify";

const MISCONFIGURED: &str =
    "The proxy of this API, or the client, demands something that is unknown here; tell its operator.";

fn unmet_text(unmet: Unmet) -> &'static str {
    match unmet {
        Unmet::Organisation => "The token is valid, and this API is for another organisation.",
        Unmet::Unit => "The token is valid, and this API is for another unit; log in with that unit.",
        Unmet::Method => "The token is valid, and this API is for tokens that were got in another way.",
        Unmet::Role => "The token is valid, and this API is for users of another role.",
        Unmet::KeyAddress => "The token is valid, and this API may not be used with it from this address.",
    }
}

/// What a name must not show as it is: controls and whatever is not ASCII, and the sign of the encoding itself.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// Writes the identity headers, all of them.
pub(super) fn identify(live: LiveRef<'_>, headers: &mut HeaderMap) {
    let identity = live.identity;
    headers.reserve(12);
    headers.insert(ORGANISATION, name(identity.organisation_code));
    headers.insert(ORGANISATION_ID, id(identity.organisation.to_hex()));
    headers.insert(UNIT, name(identity.unit_name));
    headers.insert(UNIT_ID, id(identity.unit.to_hex()));
    headers.insert(USER, name(identity.username));
    headers.insert(USER_ID, id(identity.user.to_hex()));
    headers.insert(METHOD, HeaderValue::from_static(identity.method.as_str()));
    headers.insert(EXPIRES, HeaderValue::from_bytes(&Rfc3339(live.expires_at).text()).unwrap_or(NOTHING));
}

/// What says whom a token speaks for. An answer has all of them.
pub const IDENTITY: [HeaderName; 8] =
    [ORGANISATION, ORGANISATION_ID, UNIT, UNIT_ID, USER, USER_ID, METHOD, EXPIRES];

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
    let is_plain = name.bytes().fold(true, |is, byte| is & matches!(byte, b' '..=b'~') & (byte != b'%'));
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

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "4AD9C84FA60F9FE407140E20F707726A";

    /// The token of a question that is answered at once, and whether all that is looked at for it was `Authorization`.
    fn answered_at_once(headers: &[(&'static str, &str)], uri: &str) -> Option<bool> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let uri = uri.parse().unwrap();
        let (plain, undemanding) = (plain_token(&uri, &map), undemanding_token(&uri, &map));
        let is_the_token = |token: &PlainToken| token.expose() == TOKEN;
        assert!(plain.iter().chain(&undemanding).all(is_the_token));
        assert!(plain.is_none() || undemanding.is_some(), "what is plain demands nothing");
        undemanding.map(|_| plain.is_some())
    }

    #[test]
    fn what_demands_nothing_is_answered_at_once() {
        let bearer = &*format!("Bearer {TOKEN}");
        let in_query = &*format!("/orders?token={TOKEN}");
        for (headers, uri, expected) in [
            (vec![("authorization", bearer)], "/verify", Some(true)),
            (vec![("authorization", bearer), ("x-original-uri", "/orders")], "/verify", Some(true)),
            (vec![("authorization", bearer), ("x-auth-touch", "false")], "/verify", Some(false)),
            (vec![("authorization", bearer)], "/verify?touch=false", Some(false)),
            (vec![("authorization", bearer), ("x-original-uri", in_query)], "/verify", Some(false)),
            (vec![("x-forwarded-uri", in_query)], "/verify", Some(false)),
            (vec![], &*format!("/verify?token={TOKEN}"), Some(false)),
            (vec![("authorization", bearer), ("x-auth-require", "unit=Sales")], "/verify", None),
            (vec![("authorization", bearer), ("x-auth-require", "nonsense")], "/verify", None),
            (vec![("authorization", bearer)], "/verify?require_unit=Sales", None),
            (vec![("authorization", bearer), ("x-original-uri", "/?token=another")], "/verify", None),
            (vec![("authorization", bearer), ("authorization", bearer)], "/verify", None),
            (vec![("authorization", "Bearer another")], "/verify", None),
            (vec![], "/verify", None),
        ] {
            assert_eq!(answered_at_once(&headers, uri), expected, "{headers:?} {uri}");
        }
    }
}
