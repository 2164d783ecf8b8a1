//! The baseline: what the framework does by itself for an answer like the product's.

use axum::{
    Router,
    body::Body,
    http::{HeaderName, HeaderValue},
    response::Response,
    routing::any,
};

/// The headers of a product's answer, fixed. `bench/run` compares the sizes.
const HEADERS: [(&str, &str); 10] = [
    ("x-auth-organisation", "ACME042"),
    ("x-auth-organisation-id", "019A7F3C52D07A41B6C8E4E02B7D9F10"),
    ("x-auth-unit", "Department 07"),
    ("x-auth-unit-id", "019A7F3C52D17C02A95D3F8B61E0427C"),
    ("x-auth-user", "user012345"),
    ("x-auth-user-id", "019A7F3C52D27B93804E17C6D5FA3B28"),
    ("x-auth-method", "password"),
    ("x-auth-expires", "2026-11-24T03:36:02.120Z"),
    ("cache-control", "no-store"),
    ("x-request-id", "5f2c90e700000001"),
];

/// One route and nothing else.
pub(crate) fn router() -> Router {
    Router::new().route("/verify", any(answer))
}

async fn answer() -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.reserve(HEADERS.len());
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
