//! For axum: who calls, as an argument of a handler.

use axum_core::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};

use crate::{Identity, Token};

/// The route has no [`GuardLayer`](crate::GuardLayer), so nobody knows who calls: answered with 500, for it is an error
/// of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the route is not behind a GuardLayer")]
pub struct NotGuarded;

impl IntoResponse for NotGuarded {
    fn into_response(self) -> Response {
        tracing::error!("a handler asks who calls, and its route is not behind a GuardLayer");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = NotGuarded;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotGuarded> {
        parts.extensions.get().cloned().ok_or(NotGuarded)
    }
}

impl<S: Sync> FromRequestParts<S> for Token {
    type Rejection = NotGuarded;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotGuarded> {
        parts.extensions.get().cloned().ok_or(NotGuarded)
    }
}
