//! The admin API. Who calls, and on which organisation, is found out here; the modules below have the handlers.
//!
//! Errors are problem documents. What changes has an `ETag`; `If-Match` makes a change depend on it.

pub mod import;
pub mod keys;
pub mod organisations;
pub mod records;
pub mod rules;
pub mod sessions;
pub mod tokens;
pub mod units;
pub mod users;

use std::{collections::BTreeMap, str::FromStr};

use axum::{
    Json,
    body::Body,
    extract::{self, FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use doorward_domain::{
    administration::{AdminError, Administrator, Tenant},
    resource::{Page, Revision},
};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder},
};

use crate::{
    body, error::ApiError, filters::write_cursor, origin, problem::Problem, state::State,
    token_source::Presented, wire::admin::List,
};

/// An error as the admin API writes it.
pub struct Refused(ApiError);

impl<E: Into<ApiError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        Problem::of(&self.0)
    }
}

/// The errors of the admin API, for the document.
pub struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let problem = |description: &str| {
            let schema = Ref::from_schema_name(Problem::name());
            let content = ContentBuilder::new().schema(Some(schema)).build();
            ResponseBuilder::new()
                .description(description)
                .content("application/problem+json", content)
                .build()
        };
        let refusals = [
            (
                "400",
                "`MALFORMED_REQUEST`, `MISSING_PARAMETER` or `INVALID_PARAMETER`; `member` names the part at fault",
            ),
            ("401", "`INVALID_TOKEN`"),
            ("403", "`FORBIDDEN`"),
            ("404", "`NOT_FOUND`: there is no such thing, or none that the caller may see"),
            ("409", "`TAKEN` or `CONFLICT`"),
            ("412", "`PRECONDITION_FAILED`: it was changed since it was read"),
            ("413", "`PAYLOAD_TOO_LARGE`"),
            ("422", "`IDEMPOTENCY_KEY_REUSED`"),
            ("503", "`UNAVAILABLE`; `Retry-After` says when to try again"),
        ];
        refusals.map(|(status, text)| (status.to_owned(), RefOr::T(problem(text)))).into()
    }
}

/// Reads the body of a request before anything else is looked at, its credentials least of all (`security.md` H5).
pub async fn read_body(
    extract::State(state): extract::State<State>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let (head, body) = request.into_parts();
    let body = body::read(body, state.limits.body_bytes, state.limits.body_timeout).await?;
    Ok(next.run(Request::from_parts(head, Body::from(body))).await)
}

/// An administrator, who has shown a token.
pub struct Admin(pub Administrator);

impl FromRequestParts<State> for Admin {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Refused> {
        let Ok(origin) = origin::From::from_request_parts(parts, state).await;
        let token = match Presented::default().in_authorization(&parts.headers).one() {
            Ok(token) => token,
            Err(ApiError::MissingParameter(..)) => return Err(AdminError::InvalidToken.into()),
            Err(error) => return Err(error.into()),
        };
        Ok(Self(state.administration.admit(&token, &origin.0).await?))
    }
}

/// The organisation that the path names, for an administrator who may see it.
pub struct In(pub Tenant);

impl FromRequestParts<State> for In {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Refused> {
        let Admin(administrator) = Admin::from_request_parts(parts, state).await?;
        let organisation = parameter(parts, state, "organisation").await?;
        Ok(Self(administrator.enter(&organisation).await?))
    }
}

/// The id at the end of a path. What cannot be one is nobody's.
pub struct Id<T>(pub T);

/// The names that paths have for ids.
const IDS: [&str; 3] = ["unit", "user", "key"];

impl<T: FromStr> FromRequestParts<State> for Id<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Refused> {
        for name in IDS {
            if let Ok(text) = parameter(parts, state, name).await {
                return Ok(Self(text.parse().map_err(|_| ApiError::NoSuchThing)?));
            }
        }
        Err(ApiError::NoSuchThing.into())
    }
}

async fn parameter(parts: &mut Parts, state: &State, name: &str) -> Result<String, Refused> {
    let parameters =
        RawPathParams::from_request_parts(parts, state).await.map_err(|_| ApiError::NoSuchThing)?;
    let found = parameters.iter().find(|(known, _)| *known == name);
    Ok(found.map(|(_, value)| value.to_owned()).ok_or(ApiError::NoSuchThing)?)
}

/// The state that a caller has seen: `If-Match`. `*` and no header at all are any state.
pub struct IfMatch(pub Option<Revision>);

impl FromRequestParts<State> for IfMatch {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Refused> {
        read_if_match(&parts.headers).map(Self).map_err(Refused)
    }
}

fn read_if_match(headers: &HeaderMap) -> Result<Option<Revision>, ApiError> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(header::IF_MATCH) { Err(not_an_etag()) } else { Ok(None) };
    };
    let text = value.to_str().map_err(|_| not_an_etag())?.trim();
    if text == "*" {
        return Ok(None);
    }
    let tag = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(not_an_etag)?;
    // A tag that nobody gave out is no state at all.
    let revision = tag.parse().ok().filter(|revision: &u64| revision.to_string() == tag);
    revision.map(|revision| Some(Revision(revision))).ok_or(ApiError::PreconditionFailed)
}

fn not_an_etag() -> ApiError {
    let problem = "must be one ETag as it was answered, such as \"7\", with its quotation marks";
    ApiError::InvalidParameter("If-Match".into(), problem.into())
}

/// Something with its `ETag`.
pub fn tagged<T: Serialize>(status: StatusCode, revision: Revision, body: T) -> Response {
    let mut response = (status, Json(body)).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", revision.0)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Something that was created, now or earlier at the same request, and where it is.
pub fn created<T: Serialize>(place: String, is_repeat: bool, revision: Revision, body: T) -> Response {
    let mut response = tagged(StatusCode::CREATED, revision, body);
    if let Ok(place) = HeaderValue::from_str(&place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    if is_repeat {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// A page of a list.
pub fn listed<T, V: Serialize>(page: Page<T>, view: impl FnMut(T) -> V) -> Json<List<V>> {
    let next = page.next.as_deref().map(write_cursor);
    Json(List { items: page.items.into_iter().map(view).collect(), next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_is_one_etag() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, HeaderValue::from_static(value));
            read_if_match(&headers).map_err(|error| error.code().0)
        };
        assert_eq!(read_if_match(&HeaderMap::new()), Ok(None));
        assert_eq!((read("*"), read("\"7\"")), (Ok(None), Ok(Some(Revision(7)))));
        for never_given in ["\"x\"", "\"007\"", "\"+7\"", "\"\""] {
            assert_eq!(read(never_given), Err("PRECONDITION_FAILED"), "{never_given}");
        }
        for bad in ["7", "W/\"7\"", "\"7\", \"8\"", ""] {
            assert!(matches!(read(bad), Err("INVALID_PARAMETER" | "PRECONDITION_FAILED")), "{bad}");
        }
    }
}
