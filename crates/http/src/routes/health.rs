//! The admin listener's health and metrics.

use axum::{
    extract,
    http::header,
    response::{IntoResponse, Response},
};

use crate::{problem::Problem, state::State};

/// The process is alive.
pub async fn live() -> &'static str {
    "alive\n"
}

/// The instance takes requests, or should not be sent any now.
pub async fn ready(extract::State(state): extract::State<State>) -> Response {
    if state.readiness.get() {
        "ready\n".into_response()
    } else {
        Problem::not_ready(state.readiness.reading())
    }
}

/// All metrics, in the text format that Prometheus reads.
pub async fn metrics(extract::State(state): extract::State<State>) -> impl IntoResponse {
    let text = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, text)], state.metrics.encode(&state.doorkeeper, state.readiness.has_lease()))
}
