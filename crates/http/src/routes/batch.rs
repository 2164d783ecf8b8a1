//! `/verify/batch`: a service asks about many tokens at once.

use std::fmt;

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    extract::{self, Request},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use doorward_domain::{audit::Origin, credential::PlainToken, session_table::LiveRef};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, SeqAccess, Visitor},
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
    #[serde(deserialize_with = "read_tokens")]
    tokens: Vec<Option<PlainToken>>,
    /// False: this is no use of them.
    touch: Option<bool>,
}

/// Reads texts that may be tokens, without a copy of any. `None` is a text that is none.
fn read_tokens<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Option<PlainToken>>, D::Error> {
    struct Text;
    impl<'de> DeserializeSeed<'de> for Text {
        type Value = Option<PlainToken>;

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_str(self)
        }
    }
    impl Visitor<'_> for Text {
        type Value = Option<PlainToken>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(PlainToken::parse(text.as_bytes()))
        }
    }
    struct Texts;
    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<Option<PlainToken>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of strings")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<Self::Value, A::Error> {
            let mut tokens = Vec::new();
            while let Some(token) = texts.next_element_seed(Text)? {
                tokens.push(token);
            }
            Ok(tokens)
        }
    }
    deserializer.deserialize_seq(Texts)
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
    answer(&state, &head.headers, body, &origin.0).await
}

/// Where it is asked.
pub(crate) const PATH: &str = "/verify/batch";

/// What [`verify`] answers, for whoever has taken the request apart already.
pub(crate) async fn answer<B>(
    state: &State,
    headers: &HeaderMap,
    body: B,
    origin: &Origin,
) -> Result<Response, Refusal>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let limits = state.limits;
    let body = crate::body::read(body, limits.body_bytes, limits.body_timeout).await;
    let body = body.map_err(|error| Refusal::of(&error))?;
    let asked: BatchBody = crate::json::read(&body).map_err(|error| Refusal::of(&error))?;
    if asked.tokens.len() > MOST {
        let problem = format!("has {} tokens, and {MOST} at most are answered at once", asked.tokens.len());
        return Err(Refusal::of(&ApiError::InvalidParameter("tokens".into(), problem)));
    }
    let caller = caller(state, headers, origin).await?;
    let mut answer = Vec::with_capacity(64 + 384 * asked.tokens.len());
    answer.extend_from_slice(b"{\"results\":[");
    let tell = |live: Option<LiveRef<'_>>| {
        match live {
            Some(live) => Introspection::write(live, &mut answer),
            None => answer.extend_from_slice(INACTIVE.as_bytes()),
        }
        answer.push(b',');
    };
    state.doorkeeper.introspect_all(&asked.tokens, caller, asked.touch.unwrap_or(true), tell).await?;
    if !asked.tokens.is_empty() {
        answer.pop();
    }
    answer.extend_from_slice(b"]}");
    let mut response = Response::new(Body::from(answer));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
