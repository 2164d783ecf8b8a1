//! What Envoy is answered: who asks, as headers to set and metadata for its access log, and what the upstream must not
//! see; or a denial as the client gets it.

use axum::http::{HeaderMap, HeaderName, header};
use doorward_domain::session_table::LiveRef;
use envoy_types::pb::{
    envoy::{
        config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
        service::auth::v3::{
            CheckResponse, DeniedHttpResponse, OkHttpResponse, check_response::HttpResponse,
        },
        r#type::v3::HttpStatus,
    },
    google::{
        protobuf::{Struct, Value, value::Kind},
        rpc,
    },
};
use tonic::Code;

use super::question::Passing;
use crate::{
    envelope::Envelope,
    error::ApiError,
    routes::verify::{IDENTITY, identify},
};

const REQUIRE: &str = "x-auth-require";
const TOUCH: &str = "x-auth-touch";

/// The headers of which the upstream gets no copy of the client's.
pub fn ours() -> impl Iterator<Item = HeaderName> {
    IDENTITY.into_iter().chain([REQUIRE, TOUCH].map(HeaderName::from_static))
}

/// Lets a request through, with all identity headers in place of the client's copies (`security.md` F2).
pub fn ok(live: LiveRef<'_>, passing: Passing, keeps_authorization: bool) -> CheckResponse {
    let mut identity = HeaderMap::new();
    identify(live, &mut identity);
    let pairs = || identity.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
    let Passing { lookalikes, token_parameters, has_bearer } = passing;
    // Envoy may be told to tell us only some of the headers, so those with underscores alone are removed unseen.
    let unseen = ours().map(|name| name.as_str().replace('-', "_"));
    let mut headers_to_remove = vec![REQUIRE.to_owned(), TOUCH.to_owned()];
    headers_to_remove.extend(unseen);
    headers_to_remove.extend(lookalikes);
    headers_to_remove.sort_unstable();
    headers_to_remove.dedup();
    if has_bearer && !keeps_authorization {
        headers_to_remove.push(header::AUTHORIZATION.as_str().to_owned());
    }
    let told = pairs().map(|(name, value)| (name.trim_start_matches("x-auth-").replace('-', "_"), value));
    CheckResponse {
        status: Some(status(Code::Ok, String::new())),
        dynamic_metadata: Some(metadata(told)),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
            headers: pairs().map(|(name, value)| set(name, value)).collect(),
            headers_to_remove,
            // Envoy writes the query anew when there is anything in this list, with its parameters in another order.
            query_parameters_to_remove: token_parameters,
            ..OkHttpResponse::default()
        })),
    }
}

/// Answers the client in Envoy's place, with the envelope.
pub fn denied(error: &ApiError) -> CheckResponse {
    let (http, code) = (error.status().as_u16(), error.code().0);
    let grpc = match http {
        401 => Code::Unauthenticated,
        503 => Code::Unavailable,
        _ => Code::PermissionDenied,
    };
    let envelope = Envelope::error(code, error.message());
    let more = error.header();
    let more = more.as_ref().map(|(name, value)| set(name.as_str(), value.to_str().unwrap_or_default()));
    let mut headers = vec![set("content-type", "application/json"), set("cache-control", "no-store")];
    headers.extend(more);
    CheckResponse {
        status: Some(status(grpc, code.to_owned())),
        dynamic_metadata: Some(metadata([("code".to_owned(), code)])),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code: http.into() }),
            headers,
            // Texts alone: there is nothing that could not be written.
            body: serde_json::to_string(&envelope).unwrap_or_default(),
        })),
    }
}

fn status(code: Code, message: String) -> rpc::Status {
    rpc::Status { code: code.into(), message, details: Vec::new() }
}

/// A header in place of all that have its name.
fn set(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value: value.to_owned(), raw_value: Vec::new() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

fn metadata<'a>(pairs: impl IntoIterator<Item = (String, &'a str)>) -> Struct {
    let value = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    Struct { fields: pairs.into_iter().map(|(name, text)| (name, value(text))).collect() }
}
