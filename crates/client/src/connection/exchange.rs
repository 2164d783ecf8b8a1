//! One request and its answer: within bounds of time and size, and sent again only where that is safe.

use std::time::Duration;

use bytes::BytesMut;
use reqwest::{RequestBuilder, Response};

use super::Connection;
use crate::{Error, error::plain, wire::Answer};

/// The longest wait that an answer may ask for before a request is sent again; the caller waits meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// The first wait after a connection that broke.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// When a request may be sent again.
#[derive(Clone, Copy)]
pub(super) enum Safety {
    /// Doing it twice is doing it once.
    Repeatable,
    /// Only if it was certainly not sent.
    UnlessSent,
}

impl Safety {
    /// How long to wait before a request that failed is sent again; `None` if it may not be.
    fn wait(self, error: &Error, tried: u32) -> Option<Duration> {
        let wait = match (self, error) {
            (_, Error::Unreachable { not_sent: true, .. })
            | (Self::Repeatable, Error::Unreachable { timed_out: false, .. }) => {
                FIRST_WAIT * 2_u32.pow(tried.min(5))
            }
            (Self::Repeatable, Error::Unavailable { status: 503, retry_after: Some(wait), .. })
                if *wait <= LONGEST_WAIT =>
            {
                *wait
            }
            _ => return None,
        };
        // Those who failed together do not come back together.
        Some(wait.mul_f64(1.0 + fastrand::f64() / 2.0))
    }
}

impl Connection {
    /// Sends a request until there is an answer, or it may not be sent again. Answers that say nothing about the
    /// request are errors.
    pub(super) async fn ask(
        &self,
        safety: Safety,
        limit: usize,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Answer, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            let error = match attempt(request(), limit).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match safety.wait(&error, tried) {
                Some(wait) if tried < self.0.tries => {
                    tracing::debug!(%error, ?wait, "a request to Doorward is sent again");
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(error),
            }
        }
    }
}

async fn attempt(request: RequestBuilder, limit: usize) -> Result<Answer, Error> {
    let response = request.send().await.map_err(Error::unreachable)?;
    let answer = read(response, limit).await?;
    let status = answer.status;
    if status.is_redirection() {
        return Err(answer.unintelligible("leads elsewhere, which is not followed"));
    }
    if status.is_server_error() || status.as_u16() == 429 {
        let message = match answer.refusal() {
            Error::Refused { message, .. } => message,
            _ => status.canonical_reason().unwrap_or("no reason").to_owned(),
        };
        return Err(Error::Unavailable {
            status: status.as_u16(),
            message,
            retry_after: answer.retry_after(),
        });
    }
    Ok(answer)
}

/// Reads an answer, and no more of it than the limit.
async fn read(mut response: Response, limit: usize) -> Result<Answer, Error> {
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(Error::unreachable)? {
        if body.len() + chunk.len() > limit {
            let problem = format!("status {} has a body of more than {limit} bytes", status.as_u16());
            return Err(Error::Unintelligible(plain(&problem)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body: body.freeze() })
}
