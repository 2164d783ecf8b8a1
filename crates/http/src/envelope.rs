//! The envelope of the two mounts, to the letter of the reference: its examples show `null` for the message and the
//! description of one success and `""` for those of the others, and existing clients have been written against both.

use serde::Serialize;
use utoipa::ToSchema;

/// Every answer of the two mounts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Envelope<T> {
    /// How it went.
    pub status: Status,
    /// What was asked for; an empty object with an error.
    pub data: T,
}

/// How a request went.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    /// `OK`, or the stable code of an error.
    pub code: &'static str,
    /// One sentence that says what to do.
    pub message: Option<String>,
    /// More detail, where there is any.
    pub description: Option<String>,
}

/// No data: `{}`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Nothing {}

impl<T> Envelope<T> {
    /// A success whose message and description are `null`.
    pub fn ok(data: T) -> Self {
        Self { status: Status { code: "OK", message: None, description: None }, data }
    }

    /// A success whose message and description are `""`.
    pub fn ok_with_empty_texts(data: T) -> Self {
        let empty = || Some(String::new());
        Self { status: Status { code: "OK", message: empty(), description: empty() }, data }
    }
}

impl Envelope<Nothing> {
    /// An error.
    pub fn error(code: &'static str, message: String) -> Self {
        Self { status: Status { code, message: Some(message), description: None }, data: Nothing {} }
    }
}
