//! The question to Doorward: whom a token speaks for, and whether it meets a route's requirements.
//!
//! Whatever is not a complete and clear answer is no answer (`security.md` F1).

use std::{net::IpAddr, time::Duration};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use bytes::Bytes;
use doorward_domain::credential::PlainToken;
use doorward_http::IDENTITY;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use serde::Deserialize;
use tokio::time::timeout;

use crate::{refusal::Refusal, trust::Connector};

/// The most that is read of an answer's body, so that the connection can be used again.
const MOST_BODY: usize = 16 * 1024;

/// A Doorward that runs elsewhere.
pub struct Doorward {
    client: Client<Connector, Empty<Bytes>>,
    plain: Uri,
    demanding: Uri,
    timeout: Duration,
}

impl Doorward {
    /// Asks the API listener at this address; the answer must come within the time.
    pub fn new(
        address: &Uri,
        client: Client<Connector, Empty<Bytes>>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let base = address.to_string();
        let path = |path: &str| {
            format!("{}{path}", base.trim_end_matches('/')).parse::<Uri>().map_err(|error| error.to_string())
        };
        // A Doorward that knows no requirements would let everybody in, and has nothing at the second path.
        Ok(Self { client, plain: path("/verify")?, demanding: path("/verify/at/gateway")?, timeout })
    }

    /// The identity headers of the token's holder, or how the request is refused. This is a use of the token.
    pub async fn verify(
        &self,
        token: &PlainToken,
        requirements: Option<&str>,
        client: IpAddr,
    ) -> Result<HeaderMap, Refusal> {
        let answer = match timeout(self.timeout, self.ask(token, requirements, client)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(reason)) => {
                tracing::warn!(reason, "Doorward does not answer");
                return Err(Refusal::unavailable());
            }
            Err(_) => {
                tracing::warn!(reason = "it takes too long", "Doorward does not answer");
                return Err(Refusal::unavailable());
            }
        };
        match answer {
            (StatusCode::OK, headers, _) => identity(&headers).ok_or_else(|| {
                tracing::error!(
                    "an answer of Doorward lacks identity headers; is --doorward its API listener?"
                );
                Refusal::unavailable()
            }),
            (StatusCode::UNAUTHORIZED, ..) => Err(doorward_http::ApiError::InvalidToken.into()),
            (StatusCode::FORBIDDEN, _, body) => {
                #[derive(Deserialize)]
                struct Problem {
                    detail: String,
                }
                let problem: Option<Problem> = serde_json::from_slice(&body).ok();
                Err(Refusal::forbidden(problem.map(|problem| problem.detail)))
            }
            (status, ..) => {
                tracing::warn!(status = status.as_u16(), "Doorward does not answer the question");
                Err(Refusal::unavailable())
            }
        }
    }

    /// Whether Doorward answers: a question without a token is refused by whoever can answer.
    pub async fn is_there(&self) -> bool {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.plain.clone();
        let answer = timeout(self.timeout, self.client.request(request)).await;
        matches!(answer, Ok(Ok(response)) if response.status() == StatusCode::UNAUTHORIZED)
    }

    async fn ask(
        &self,
        token: &PlainToken,
        requirements: Option<&str>,
        client: IpAddr,
    ) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let mut tries = 0;
        loop {
            let mut request = Request::new(Empty::new());
            *request.uri_mut() = if requirements.is_some() { &self.demanding } else { &self.plain }.clone();
            let headers = request.headers_mut();
            let mut set = |name: HeaderName, text: &str| match HeaderValue::from_str(text) {
                Ok(value) => {
                    headers.insert(name, value);
                    Ok(())
                }
                Err(_) => Err(format!("the header '{name}' cannot be written")),
            };
            set(header::AUTHORIZATION, &format!("Bearer {}", token.expose()))?;
            set(HeaderName::from_static("x-forwarded-for"), &client.to_string())?;
            if let Some(requirements) = requirements {
                set(HeaderName::from_static("x-auth-require"), requirements)?;
            }
            match self.client.request(request).await {
                Ok(response) => {
                    let (parts, body) = response.into_parts();
                    // Read so that the connection can be used again; if it cannot, another is made.
                    let body = Limited::new(body, MOST_BODY).collect().await;
                    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
                    return Ok((parts.status, parts.headers, body));
                }
                // The connection may have been closed as the question was sent, and asking twice does no harm.
                Err(error) if tries == 0 && !error.is_connect() => tries += 1,
                Err(error) => return Err(crate::reason(&error)),
            }
        }
    }
}

fn identity(answer: &HeaderMap) -> Option<HeaderMap> {
    let mut identity = HeaderMap::with_capacity(IDENTITY.len());
    for name in IDENTITY {
        let mut values = answer.get_all(&name).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        identity.insert(name, value.clone());
    }
    Some(identity)
}
