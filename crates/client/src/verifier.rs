//! Asking whom a token speaks for.

use std::{fmt, sync::Arc};

use futures_util::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::{Connection, Error, Identity, Requirements, Token, coalescing::Coalescing};

/// How many tokens one question may be about, and how long they may be together: Doorward reads no more than 64 KiB.
const BATCH: usize = 1000;
const BATCH_TEXT_BYTES: usize = 48 * 1024;
/// The longest answer about so many.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How many questions are under way at once where many tokens are asked about one by one.
const AT_ONCE: usize = 16;

/// Whether a token is in force, and whom it speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "most answers are the large one, and a box would be one more allocation"
)]
pub enum Verdict {
    /// It is in force.
    Active(Identity),
    /// It is unknown, has expired or was released, or it is of an organisation that the asking key may not see.
    Inactive,
}

impl Verdict {
    /// The identity, if the token is in force.
    pub fn identity(self) -> Option<Identity> {
        match self {
            Self::Active(identity) => Some(identity),
            Self::Inactive => None,
        }
    }
}

/// Whether a token is in force and meets what a service demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It does both.
    Granted(Identity),
    /// It is not in force.
    Inactive,
    /// It is in force, and something that is demanded is not met; the text says what.
    Forbidden(String),
}

/// Asks Doorward whom tokens speak for. Clones share the connection.
///
/// **No answer is remembered**: each call asks Doorward, so a token that was released is refused at once. Do not put a
/// cache before it; Doorward answers from memory, and a cache would let released tokens live on.
///
/// An error is an error: nothing is known about the token then. Answer with 503, and let nobody in.
#[derive(Clone)]
pub struct Verifier {
    connection: Connection,
    key: Option<SecretString>,
    coalescing: Option<Arc<Coalescing<Asked, Result<Access, Error>>>>,
}

/// A question, for finding others that are the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Asked {
    token: String,
    touch: bool,
    requirements: Option<Requirements>,
}

impl Verifier {
    /// A verifier that asks with a Web API key (`POST /oauth2/introspect`), which must have the right `verifier`.
    /// It sees the tokens of the key's organisation only (those of all organisations if that is the operator
    /// organisation); all others are inactive. Requirements are a second question.
    ///
    /// ```no_run
    /// # async fn example(connection: doorward_client::Connection, text: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use doorward_client::{Verdict, Verifier};
    /// let verifier = Verifier::with_key(connection, std::env::var("DOORWARD_KEY")?);
    /// match verifier.verify(&text.parse()?).await? {
    ///     Verdict::Active(identity) => println!("{} of {}", identity.user.name, identity.organisation.code),
    ///     Verdict::Inactive => println!("nobody"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_key(connection: Connection, key: impl Into<SecretString>) -> Self {
        Self { connection, key: Some(key.into()), coalescing: None }
    }

    /// A verifier without a credential of its own: it asks `/verify`, as reverse proxies do, and sees the tokens of all
    /// organisations. Where they are not all welcome, look at [`Identity::organisation`] or
    /// [demand one](Requirements::organisation).
    pub fn without_key(connection: Connection) -> Self {
        Self { connection, key: None, coalescing: None }
    }

    /// Lets tasks that ask the same question at the same time share an answer. Each still gets one to a question that
    /// was sent after it asked, so a release is in force at once. A token has one question under way at a time then,
    /// for which those who come meanwhile wait.
    #[must_use]
    pub fn coalescing(self) -> Self {
        Self { coalescing: Some(Arc::new(Coalescing::new())), ..self }
    }

    /// Whom a token speaks for. This is a use of the token: it restarts the idle time.
    ///
    /// # Errors
    ///
    /// See [`Error`]: [`Error::Refused`] if the key may not ask.
    pub async fn verify(&self, token: &Token) -> Result<Verdict, Error> {
        self.ask(token, true).await
    }

    /// Whom a token speaks for, for monitoring and the like. This is no use of the token: its idle time goes on.
    ///
    /// # Errors
    ///
    /// As for [`verify`](Self::verify).
    pub async fn peek(&self, token: &Token) -> Result<Verdict, Error> {
        self.ask(token, false).await
    }

    /// Whom each of these tokens speaks for, in their order. This is a use of each. A thousand tokens are one question if
    /// the verifier has a key, and a thousand questions otherwise.
    ///
    /// # Errors
    ///
    /// As for [`verify`](Self::verify). An error is one for all.
    pub async fn verify_batch(&self, tokens: &[Token]) -> Result<Vec<Verdict>, Error> {
        let Some(key) = &self.key else {
            let asked = stream::iter(tokens).map(|token| self.ask(token, true));
            return asked.buffered(AT_ONCE).try_collect().await;
        };
        let mut verdicts = Vec::with_capacity(tokens.len());
        let mut rest = tokens;
        while !rest.is_empty() {
            let tokens;
            (tokens, rest) = rest.split_at(fitting(rest));
            let texts: Vec<&str> = tokens.iter().map(Token::expose).collect();
            let body = json!({"tokens": texts, "touch": true});
            let request = || authenticate(self.connection.post("/verify/batch"), key).json(&body);
            let answer = self.connection.long_question(BATCH_BYTES, request).await?;
            verdicts.extend(answer.batch(tokens.len())?);
        }
        Ok(verdicts)
    }

    /// Whether a token is in force and meets these requirements. This is a use of the token.
    ///
    /// # Errors
    ///
    /// As for [`verify`](Self::verify).
    pub async fn check(&self, token: &Token, requirements: &Requirements) -> Result<Access, Error> {
        let requirements = Some(requirements).filter(|requirements| !requirements.is_none());
        self.shared(token, true, requirements).await
    }

    async fn ask(&self, token: &Token, touch: bool) -> Result<Verdict, Error> {
        Ok(match self.shared(token, touch, None).await? {
            Access::Granted(identity) => Verdict::Active(identity),
            Access::Inactive | Access::Forbidden(_) => Verdict::Inactive,
        })
    }

    async fn shared(
        &self,
        token: &Token,
        touch: bool,
        requirements: Option<&Requirements>,
    ) -> Result<Access, Error> {
        let Some(coalescing) = &self.coalescing else { return self.access(token, touch, requirements).await };
        let asked = Asked { token: token.expose().to_owned(), touch, requirements: requirements.cloned() };
        coalescing.ask(asked, async || self.access(token, touch, requirements).await).await
    }

    async fn access(
        &self,
        token: &Token,
        touch: bool,
        requirements: Option<&Requirements>,
    ) -> Result<Access, Error> {
        let Some(key) = &self.key else { return self.forward(token, touch, requirements).await };
        let form = [("token", token.expose()), ("touch", if touch { "true" } else { "false" })];
        let request = || authenticate(self.connection.post("/oauth2/introspect"), key).form(&form);
        let Verdict::Active(identity) = self.connection.question(request).await?.introspection()? else {
            return Ok(Access::Inactive);
        };
        if requirements.is_none() {
            return Ok(Access::Granted(identity));
        }
        Ok(match self.forward(token, false, requirements).await? {
            Access::Granted(_) => Access::Granted(identity),
            refused => refused,
        })
    }

    /// Asks as reverse proxies do.
    async fn forward(
        &self,
        token: &Token,
        touch: bool,
        requirements: Option<&Requirements>,
    ) -> Result<Access, Error> {
        let request = || {
            // A server that knows no requirements has nothing at the second path, and so cannot let anybody in.
            let path = if requirements.is_some() { "/verify/at/requirements" } else { "/verify" };
            let request = self.connection.get(path).bearer_auth(token.expose());
            let request = if touch { request } else { request.header("x-auth-touch", "false") };
            requirements.iter().fold(request, |request, requirements| {
                request.header("x-auth-require", requirements.header())
            })
        };
        let answer = self.connection.question(request).await?;
        if answer.is_invalid_token() {
            return Ok(Access::Inactive);
        }
        match answer.refusal_if(StatusCode::FORBIDDEN) {
            Some(Error::Refused { code, message, .. }) if code == "FORBIDDEN" => {
                Ok(Access::Forbidden(message))
            }
            _ => answer.identity().map(Access::Granted),
        }
    }
}

/// How many of these tokens fit into one question.
fn fitting(tokens: &[Token]) -> usize {
    let mut bytes = 0;
    let fits = |token: &&Token| {
        bytes += token.expose().len() + 3;
        bytes <= BATCH_TEXT_BYTES
    };
    tokens.iter().take(BATCH).take_while(fits).count().max(1)
}

fn authenticate(request: RequestBuilder, key: &SecretString) -> RequestBuilder {
    request.basic_auth(key.expose_secret(), Some(""))
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(|_| "[redacted]");
        f.debug_struct("Verifier")
            .field("connection", &self.connection)
            .field("key", &key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_about_many_is_no_longer_than_doorward_reads() {
        let tokens = |length: usize, count| vec!["A".repeat(length).parse::<Token>().unwrap(); count];
        assert_eq!(fitting(&tokens(32, 2500)), 1000);
        assert_eq!(fitting(&tokens(32, 3)), 3);
        let long = tokens(Token::MAX_BYTES, 100);
        assert!((1..=48).contains(&fitting(&long)), "{}", fitting(&long));
    }
}
