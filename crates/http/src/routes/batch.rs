//! `/verify/batch`: a service asks about many tokens at once.

use axum::{
    body::Body,
    extract::{self, Request},
    http::{HeaderValue, header},
    response::Response,
};
use doorward_domain::{credential::PlainToken, session_table::LiveRef};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use utoipa::ToSchema;

use super::{
    introspect::INACTIVE,
    revoke::{Refusal, caller},
};
use crate::{error::ApiError, origin, state::State, wire::Introspection};

/// The most tokens of one question.
const MOST: usize = 1_000;

/// Tokens that are asked about.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    /// Up to 1000 tokens.
    #[schema(value_type = Vec<String>, max_items = 1000)]
    tokens: Vec<Asked>,
    /// False: this is no use of them.
    touch: Option<bool>,
}

/// A text that may be a token, read without a copy of it.
struct Asked(Option<PlainToken>);

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Asked;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Asked, E> {
                Ok(Asked(PlainToken::parse(text.as_bytes())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// What a service learns about many tokens.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes an answer for the API document; it is written by hand")]
pub struct BatchView {
    /// One for each token, in order: as `/oauth2/introspect` answers.
    results: Vec<Introspection>,
}

/// Ask about many tokens.
///
/// The caller authenticates as for `/oauth2/introspect` and sees what it would see there, token by token; what is not in
/// force, or not the caller's to know of, is `{"active":false}`.
#[utoipa::path(
    post,
    operation_id = "verify_batch",
    path = "/verify/batch",
    tag = "verification",
    security(("web_api_key" = []), ("token" = [])),
    request_body = BatchBody,
    responses(
        (status = 200, description = "The tokens' states", body = BatchView),
        (status = 400, description = "`invalid_request`", body = Refusal),
        (status = 401, description = "`invalid_client`: the caller has not authenticated", body = Refusal),
        (status = 403, description = "`unauthorized_client`: the caller may not introspect", body = Refusal),
        (status = 413, description = "`invalid_request`: the body is too large", body = Refusal),
        (status = 503, description = "`temporarily_unavailable`", body = Refusal),
    )
)]
pub async fn verify(
    extract::State(state): extract::State<State>,
    origin: origin::From,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let limits = state.limits;
    let body = crate::body::read(body, limits.body_bytes, limits.body_timeout).await;
    let body = body.map_err(|error| Refusal::of(&error))?;
    let asked: BatchBody = crate::json::read(&body).map_err(|error| Refusal::of(&error))?;
    if asked.tokens.len() > MOST {
        let problem = format!("has {} tokens, and {MOST} at most are answered at once", asked.tokens.len());
        return Err(Refusal::of(&ApiError::InvalidParameter("tokens".into(), problem)));
    }
    let caller = caller(&state, &head.headers, &origin.0).await?;
    state.doorkeeper.prepare(asked.tokens.iter().filter_map(|asked| asked.0.clone())).await;
    let is_use = asked.touch.unwrap_or(true);
    let mut answer = Vec::with_capacity(64 + 384 * asked.tokens.len());
    answer.extend_from_slice(b"{\"results\":[");
    for (place, token) in asked.tokens.iter().enumerate() {
        if place > 0 {
            answer.push(b',');
        }
        let told = match token {
            Asked(Some(token)) => {
                let tell = |live: LiveRef<'_>| Introspection::write(live, &mut answer);
                state.doorkeeper.introspect(token, caller, is_use, tell).await?
            }
            Asked(None) => None,
        };
        if told.is_none() {
            answer.extend_from_slice(INACTIVE.as_bytes());
        }
    }
    answer.extend_from_slice(b"]}");
    let mut response = Response::new(Body::from(answer));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
