//! `/oauth2/revoke` (RFC 7009): a service ends a token; and what both OAuth endpoints share: who calls, about which
//! token, and how they refuse.

use std::convert::identity;

use axum::{
    BoxError, Json,
    body::{Body, Bytes, HttpBody},
    extract::{self, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use doorward_domain::{
    audit::Origin,
    credential::PlainToken,
    doorkeeper::{Caller, IntrospectError, LoginError},
    journal::StoreError,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    basic,
    error::{ApiError, ErrorCode},
    origin,
    state::State,
    token_source::Presented,
    wire::TokenForm,
};

/// Release a token (RFC 7009).
///
/// The caller authenticates with a Web API key or a token. A token that is unknown, has ended, or belongs to an
/// organisation that the caller may not see is answered in the same way.
#[utoipa::path(
    post,
    operation_id = "revoke_token",
    path = "/oauth2/revoke",
    tag = "oauth2",
    security(("web_api_key" = []), ("token" = [])),
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token is not in force, or not the caller's to know of"),
        (status = 400, description = "`invalid_request`", body = Refusal),
        (status = 401, description = "`invalid_client`: the caller has not authenticated", body = Refusal),
        (status = 503, description = "`temporarily_unavailable`: the token may still be in force", body = Refusal),
    )
)]
pub async fn revoke(
    extract::State(state): extract::State<State>,
    origin: origin::From,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let (head, body) = request.into_parts();
    let token = read_token(&state, body).await?;
    let caller = caller(&state, &head.headers, &origin.0).await?;
    if let Some(token) = token {
        let release = state.doorkeeper.release(&token, Some(caller), &origin.0);
        state.in_time(release, identity).await.map_err(Refusal::from)?;
    }
    Ok(StatusCode::OK)
}

/// An error as OAuth writes it (RFC 6749, section 5.2).
#[derive(Debug, Serialize, ToSchema)]
pub struct Refusal {
    /// The error's code.
    error: &'static str,
    /// One sentence that says what to do.
    error_description: String,
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    code: ErrorCode,
}

impl Refusal {
    pub(super) fn of(error: &ApiError) -> Self {
        let (status, name) = match error {
            ApiError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
            ApiError::PayloadTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
            _ => (StatusCode::BAD_REQUEST, "invalid_request"),
        };
        Self { error: name, error_description: error.message(), status, code: error.code() }
    }

    /// The caller is known and may not ask.
    fn may_not() -> Self {
        let who = "Only Web API keys with the right 'verifier' and administrators may introspect tokens; give the key \
                   that right.";
        let error = ApiError::Forbidden(who);
        Self { error: "unauthorized_client", status: StatusCode::FORBIDDEN, ..Self::of(&error) }
    }

    /// The caller is not who may ask.
    fn of_caller(error: &ApiError) -> Self {
        match error {
            ApiError::Unavailable => Self::of(error),
            _ => Self { error: "invalid_client", status: StatusCode::UNAUTHORIZED, ..Self::of(error) },
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::of(&error.into())
    }
}

impl From<IntrospectError> for Refusal {
    fn from(error: IntrospectError) -> Self {
        match error {
            IntrospectError::MayNot => Self::may_not(),
            IntrospectError::Unavailable(error) => error.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = (self.status, self.code);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.append(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"Doorward\", charset=\"UTF-8\""),
            );
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(code);
        response
    }
}

/// Who calls: the owner of the Web API key or the holder of the token in `Authorization`.
pub(super) async fn caller(state: &State, headers: &HeaderMap, origin: &Origin) -> Result<Caller, Refusal> {
    let authorization = basic::authorization(headers).map_err(|error| Refusal::of_caller(&error))?;
    if authorization.is_some_and(|value| basic::scheme(value, "bearer").is_some()) {
        let token = Presented::default().in_authorization(headers).one();
        let token = token.map_err(|error| Refusal::of_caller(&error))?;
        let caller = state.doorkeeper.identify_holder(&token).await?;
        return caller.ok_or_else(|| Refusal::of_caller(&ApiError::InvalidToken));
    }
    let key = basic::parse_key(authorization).map_err(|error| Refusal::of_caller(&error))?;
    let caller = state.doorkeeper.identify_caller(&key, origin).await;
    caller.map_err(|error: LoginError| Refusal::of_caller(&error.into()))
}

/// The token that a form names; `None` if what it names cannot be one. Read before the caller is looked at: no
/// credential is checked for a body beyond its bounds (`security.md` H5).
pub(super) async fn read_token(state: &State, body: Body) -> Result<Option<PlainToken>, Refusal> {
    read_form(state, body).await.map(|(token, _)| token)
}

/// The same, and whether the question is a use of the token: it is unless the form has `touch=false`.
pub(super) async fn read_form<B>(state: &State, body: B) -> Result<(Option<PlainToken>, bool), Refusal>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let limits = state.limits;
    let read = crate::body::read(body, limits.body_bytes, limits.body_timeout).await;
    let body = read.map_err(|error| Refusal::of(&error))?;
    let named = form_urlencoded::parse(&body).filter(|(name, _)| name == "token");
    let presented =
        named.fold(Presented::default(), |presented, (_, token)| presented.found(token.as_bytes()));
    let is_peek = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
        name == "touch" && value.eq_ignore_ascii_case("false")
    };
    let is_use = !form_urlencoded::parse(&body).any(is_peek);
    match presented.one() {
        Ok(token) => Ok((Some(token), is_use)),
        Err(ApiError::InvalidToken) => Ok((None, is_use)),
        Err(ApiError::MissingParameter(name, _)) => {
            let how = "send it as token=... in a body of application/x-www-form-urlencoded";
            Err(Refusal::of(&ApiError::MissingParameter(name, how)))
        }
        Err(error) => Err(Refusal::of(&error)),
    }
}
