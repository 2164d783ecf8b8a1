//! Problem documents (RFC 9457): errors outside the two mounts and the OAuth endpoints.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use doorward_domain::sessions::Progress;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;

/// A problem document.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// What kind of problem it is, in a few words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// The stable code, as in the envelope.
    code: &'static str,
    /// One sentence that says what to do.
    detail: String,
    /// The member of the body, the parameter of the query or the header at fault, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<String>,
}

impl Problem {
    /// The problem document of an error of the table.
    pub fn of(error: &ApiError) -> Response {
        let problem = Self::new(error.status(), error.code().0, error.message());
        let member = error.parameter().map(str::to_owned);
        error.dress(Self { member, ..problem }.into_response())
    }

    fn new(status: StatusCode, code: &'static str, detail: String) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Self { title, status: status.as_u16(), code, detail, member: None }
    }

    /// A 503 that says that this instance should not be sent requests now: it is starting or stopping, or `reading`
    /// sessions after a start.
    pub fn not_ready(reading: Option<Progress>) -> Response {
        let detail = match reading {
            None => "This instance is starting or stopping and takes no requests.".to_owned(),
            Some(Progress { read, percent }) => format!(
                "This instance is reading sessions, {read} so far, about {percent}%: it issues tokens, and answers for \
                 those that it has read."
            ),
        };
        let unavailable = ApiError::Unavailable;
        unavailable.dress(Self::new(unavailable.status(), unavailable.code().0, detail).into_response())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = HeaderValue::from_static("application/problem+json");
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, json)], body).into_response()
    }
}
