//! The gateway: a reverse proxy for APIs whose clients send their token wherever they please.
//!
//! It finds the token (in `Authorization: Bearer`, in the query or in a JSON body), asks Doorward about it, takes it out,
//! says in headers whom it speaks for, and hands the request on. It has no store: all it knows it asks of a Doorward
//! that runs elsewhere. [`gateway`] walks a request through; each other room has one part of the way.

pub mod body;
pub mod doorward;
pub mod gateway;
pub mod handover;
pub mod headers;
pub mod listener;
pub mod member;
pub mod path;
pub mod query;
pub mod refusal;
pub mod routes;
pub mod trust;
pub mod upstream;

pub use axum::http::Uri;

/// An error with what caused it.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
