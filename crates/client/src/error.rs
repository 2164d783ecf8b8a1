//! What can go wrong. All errors can be cloned, because one login answers many tasks.

use std::{error::Error as StdError, sync::Arc, time::Duration};

/// A connection cannot be made with these settings.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The address is not one of a server.
    #[error(
        "'{0}' is not the address of a server: write it as in https://auth.acme.example, without user, query or fragment"
    )]
    Address(String),
    /// The certificate cannot be read.
    #[error("the CA certificate cannot be used: {0}")]
    Certificate(String),
    /// TLS cannot be set up on this machine.
    #[error("no connection can be set up: {0}")]
    Tls(String),
}

/// A request that has not been answered with what was asked for.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Doorward refuses: wrong credentials, a unit that is not the user's, a key without the right `verifier`. Asking
    /// again will not help.
    #[error("Doorward refuses with {code} (status {status}): {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The stable code: `INVALID_CREDENTIALS`, `PASSWORD_CHANGE_REQUIRED`…, or OAuth's `invalid_client`.
        code: String,
        /// One sentence that says what to do.
        message: String,
    },
    /// Doorward or a proxy before it cannot serve the request just now. Nothing is known about the token.
    #[error("Doorward is unavailable (status {status}): {message}")]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// What the answer says, or the name of the status.
        message: String,
        /// How long to wait, where the answer says so.
        retry_after: Option<Duration>,
    },
    /// No answer came: no connection, a connection that broke, or no answer in time. Nothing is known about the token.
    #[error("Doorward did not answer: {reason}")]
    Unreachable {
        /// What happened, with its causes.
        reason: String,
        /// Whether it was certain that no request had been sent.
        not_sent: bool,
        /// Whether the time ran out.
        timed_out: bool,
        /// The error of the HTTP library.
        #[source]
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// What answered is not Doorward, or not one that this client understands. Nothing is known about the token.
    #[error(
        "the answer is not one of Doorward's: {0}; check the address, which must be that of the API listener"
    )]
    Unintelligible(String),
    /// The client has been shut down.
    #[error("the client has been shut down and has no token any more")]
    ShutDown,
    /// Only a client that logs in with a password can change it.
    #[error("the client logs in with a Web API key, which has no password to change")]
    NoPassword,
}

impl Error {
    /// The stable code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether this is a refusal of the credentials. A program that gets one should stop and be looked at.
    pub fn is_invalid_credentials(&self) -> bool {
        matches!(self.code(), Some("INVALID_CREDENTIALS" | "invalid_client"))
    }

    /// Whether the request has not been decided on, so that the same may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unreachable { .. })
    }

    /// An error of the HTTP library. Its address is left out, for it may hold more than the caller wants in a log.
    pub(crate) fn unreachable(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let (not_sent, timed_out) = (error.is_connect(), error.is_timeout());
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !reason.ends_with(&text) {
                reason = format!("{reason}: {text}");
            }
            cause = error.source();
        }
        Self::Unreachable { reason, not_sent, timed_out, source: Arc::new(error) }
    }
}

/// A text of somebody else's, made fit for an error or a log: one line, and no longer than a few.
pub(crate) fn plain(text: &str) -> String {
    text.chars().take(400).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
