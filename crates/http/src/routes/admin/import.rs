//! `/admin/v1/organisations/{organisation}/users/import`.

use axum::{
    Json as Answer,
    body::Body,
    extract::{self, Request},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use doorward_domain::administration::{AdminError, Imported, ImportedUser};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{In, Refusals, Refused};
use crate::{
    body::{self, Members},
    error::ApiError,
    json::{idempotency_key, read},
    state::State,
    wire::admin::{ImportBody, ImportView, ImportedUserBody, RejectedView},
};

/// The most users of a batch.
const MOST_USERS: usize = 1_000;
/// The largest body of a batch; other bodies are smaller.
const BODY_BYTES: usize = 2 * 1024 * 1024;

/// Reads the body of a batch before anything else is looked at, its credentials least of all (`security.md` H5).
pub async fn read_body(
    extract::State(state): extract::State<State>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let (head, body) = request.into_parts();
    let body = body::read(body, BODY_BYTES, state.limits.body_timeout).await?;
    Ok(next.run(Request::from_parts(head, Body::from(body))).await)
}

/// A batch of which no user has been looked at: what is wrong with one must not harm the others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    users: Vec<&'a RawValue>,
}

impl<'a> Batch<'a> {
    fn read(body: &'a [u8]) -> Result<Self, ApiError> {
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        let batch: Self = match serde_json::from_slice(body) {
            Ok(batch) => batch,
            Err(_) => {
                // Says what is wrong as for other bodies.
                Members::parse(body)?.each_once()?;
                read(if body.trim_ascii().is_empty() { b"{}" } else { body })?
            }
        };
        if batch.users.len() > MOST_USERS {
            let problem = format!("has more than {MOST_USERS} users; send fewer at a time");
            return Err(ApiError::InvalidParameter("users".into(), problem));
        }
        Ok(batch)
    }
}

fn read_user(row: &RawValue) -> Result<ImportedUser, ApiError> {
    // What is derived from a structure would take an array as well.
    if !row.get().starts_with('{') {
        let problem = "This is not a user; send an object with members such as 'username'.";
        return Err(ApiError::MalformedRequest(problem.into()));
    }
    read::<ImportedUserBody>(row.get().as_bytes()).map(Into::into)
}

/// Bring users in.
///
/// Creates up to 1000 users with the hashes of their passwords as they are, each whole or not at all; `rejected` tells
/// of those who were not created. Nobody who is there is changed: one who is exactly like the one in the body counts as
/// `present`. With an `Idempotency-Key` a batch may be sent again at any time: whom it created before counts as
/// `present`, whatever has become of them since. The body may have 2 MiB.
#[utoipa::path(
    post,
    operation_id = "import_users",
    path = "/admin/v1/organisations/{organisation}/users/import",
    tag = "users",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("Idempotency-Key" = Option<String>, Header, description = "Any text, new for each new batch"),
    ),
    request_body = ImportBody,
    responses(
        (status = 200, description = "What became of them", body = ImportView),
        Refusals,
    )
)]
pub async fn import(In(tenant): In, headers: HeaderMap, body: Bytes) -> Result<Answer<ImportView>, Refused> {
    let batch = Batch::read(&body)?;
    let mut view = ImportView { created: 0, present: 0, rejected: Vec::new() };
    let (mut users, mut places) = (Vec::new(), Vec::new());
    for (index, row) in batch.users.iter().enumerate() {
        match read_user(row) {
            Ok(user) => {
                users.push(user);
                places.push(index);
            }
            Err(error) => view.rejected.push(RejectedView::new(index, &error)),
        }
    }
    let became = tenant.import_users(users, idempotency_key(&headers)?).await?;
    for (index, became) in places.into_iter().zip(became) {
        match became {
            Ok(Imported::Created) => view.created += 1,
            Ok(Imported::Present) => view.present += 1,
            Err(error @ AdminError::Unavailable(_)) => return Err(error.into()),
            Err(error) => view.rejected.push(RejectedView::new(index, &error.into())),
        }
    }
    view.rejected.sort_by_key(RejectedView::index);
    Ok(Answer(view))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_whatever_its_users_are() {
        let read = |body: &str| Batch::read(body.as_bytes()).map(|batch| batch.users.len());
        let code = |body: &str| read(body).unwrap_err().code().0;
        assert_eq!(read(r#"{"users": [{}, 5, null, "x", {"a": [1]}]}"#), Ok(5));
        assert_eq!(read("\u{feff}{\"users\":[]}"), Ok(0));
        assert_eq!((code(""), code("{}")), ("MISSING_PARAMETER", "MISSING_PARAMETER"));
        for (body, expected) in [
            (r#"{"users": [{}"#, "MALFORMED_REQUEST"),
            (r#"{"users": [{]}"#, "MALFORMED_REQUEST"),
            ("[]", "MALFORMED_REQUEST"),
            (r#"{"users": {}}"#, "INVALID_PARAMETER"),
            (r#"{"users": [], "user": []}"#, "INVALID_PARAMETER"),
            (r#"{"users": [], "users": []}"#, "INVALID_PARAMETER"),
        ] {
            assert_eq!(code(body), expected, "{body}");
        }
        let many = |count: usize| format!(r#"{{"users": [{}]}}"#, vec!["1"; count].join(","));
        assert_eq!((read(&many(1_000)), code(&many(1_001))), (Ok(1_000), "INVALID_PARAMETER"));
    }

    #[test]
    fn s1_what_is_wrong_with_a_row_repeats_nothing_of_it() {
        for row in [
            r#""canary""#,
            r#"["canary"]"#,
            r#"{"username": ["canary"]}"#,
            r#"{"username": "x", "password": 4711}"#,
            r#"{"username": "x", "password_hash": "canary"}"#,
            r#"{"username": "x", "password_hash": ["canary"]}"#,
        ] {
            let raw: &RawValue = serde_json::from_str(row).unwrap();
            let message = read_user(raw).unwrap_err().message();
            assert!(!message.contains("canary") && !message.contains("4711"), "{row}: {message}");
        }
    }
}
