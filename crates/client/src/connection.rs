//! Where Doorward is, and the requests of those who hold tokens, one at a time.

mod exchange;

use std::{fmt, sync::Arc, time::Duration};

use reqwest::{Certificate, RequestBuilder, Url, redirect::Policy};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use self::exchange::Safety;
use crate::{BuildError, Credentials, Error, Token, Verdict, credentials::Kind, error::plain, wire::Answer};

/// The longest answer that is read, unless it is about many tokens.
const ANSWER_BYTES: usize = 64 * 1024;

/// Where Doorward is and how long to wait for it, with a pool of connections. Clones share the pool.
///
/// ```
/// use std::time::Duration;
/// use doorward_client::Connection;
///
/// let connection = Connection::to("https://auth.acme.example")
///     .request_timeout(Duration::from_secs(3))
///     .build()?;
/// # Ok::<(), doorward_client::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    base: String,
    tries: u32,
}

/// Settings of a [`Connection`].
#[derive(Clone)]
#[must_use = "a connection is there when it is built"]
pub struct ConnectionBuilder {
    address: String,
    ca_certificates: Option<Vec<u8>>,
    connect_timeout: Duration,
    request_timeout: Duration,
    retries: u32,
    pool: usize,
}

impl ConnectionBuilder {
    /// Trusts servers whose certificate is one of these or signed by one, and no others. The bytes are PEM.
    /// By default the machine's certificates are trusted.
    pub fn ca_certificate_pem(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { ca_certificates: Some(pem.into()), ..self }
    }

    /// How long to wait for a connection: 2 seconds unless set.
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// How long to wait for one answer, from connecting to its last byte: 5 seconds unless set.
    pub fn request_timeout(self, request_timeout: Duration) -> Self {
        Self { request_timeout, ..self }
    }

    /// How many times more a request is sent that is safe to repeat: 2 unless set.
    pub fn retries(self, retries: u32) -> Self {
        Self { retries: retries.min(10), ..self }
    }

    /// How many idle connections are kept: 32 unless set.
    pub fn pool_max_idle(self, pool: usize) -> Self {
        Self { pool, ..self }
    }

    /// Makes the connection. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// The address is none, or the certificate cannot be read.
    pub fn build(self) -> Result<Connection, BuildError> {
        let wrong = || BuildError::Address(plain(&without_user(&self.address)));
        let url = Url::parse(self.address.trim()).map_err(|_| wrong())?;
        let has_more = !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || has_more {
            return Err(wrong());
        }
        // A redirect would take the credential elsewhere, and so would a proxy of the environment's.
        let mut http = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(self.connect_timeout)
            .timeout(self.request_timeout)
            .pool_max_idle_per_host(self.pool)
            .user_agent(concat!("doorward-client/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &self.ca_certificates {
            let unusable = |error: &dyn fmt::Display| BuildError::Certificate(error.to_string());
            let certificates = Certificate::from_pem_bundle(pem).map_err(|error| unusable(&error))?;
            if certificates.is_empty() {
                return Err(unusable(&"there is no certificate in PEM form in it"));
            }
            http = http.tls_certs_only(certificates);
        } else if url.scheme() == "http" {
            // The machine's certificates need not be read, nor be there.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|error| BuildError::Tls(error.to_string()))?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Connection(Arc::new(Inner { http, base, tries: 1 + self.retries })))
    }
}

impl fmt::Debug for ConnectionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = without_user(&self.address);
        f.debug_struct("ConnectionBuilder").field("address", &address).finish_non_exhaustive()
    }
}

/// An address as it may be shown: whatever could be a password is left out.
fn without_user(address: &str) -> String {
    match (address.find("://"), address.rfind('@')) {
        (Some(start), Some(end)) if start + 3 <= end => {
            format!("{}[…]{}", &address[..start + 3], &address[end..])
        }
        _ => address.to_owned(),
    }
}

impl Connection {
    /// A connection to the API listener of Doorward at this address; a path in it is kept. With `http://` everything,
    /// passwords included, is readable on the way: use it within one machine.
    pub fn to(address: impl Into<String>) -> ConnectionBuilder {
        ConnectionBuilder {
            address: address.into(),
            ca_certificates: None,
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            retries: 2,
            pool: 32,
        }
    }

    /// The address, without a slash at its end.
    pub fn address(&self) -> &str {
        &self.0.base
    }

    /// Logs in and returns the token, which the caller should release in the end. A [`Client`](crate::Client) does all
    /// this for a program.
    ///
    /// ```no_run
    /// # async fn example(connection: doorward_client::Connection) -> Result<(), doorward_client::Error> {
    /// use doorward_client::Credentials;
    /// let token = connection.log_in(&Credentials::password("ACME", "zoe", "a secret")).await?;
    /// connection.release(&token).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `INVALID_CREDENTIALS`, `INVALID_UNIT` or `PASSWORD_CHANGE_REQUIRED`. A login is sent
    /// again only if no connection came about: whether one that broke was counted cannot be known.
    pub async fn log_in(&self, credentials: &Credentials) -> Result<Token, Error> {
        let unit = credentials.unit.as_deref();
        let answer = match &credentials.kind {
            Kind::Key(key) => {
                let body = unit.map(|unit| json!({"unit": unit}));
                let request = || {
                    let request = self
                        .post("/authentication/web_api_key/token")
                        .basic_auth(key.expose_secret(), Some(""));
                    body.iter().fold(request, RequestBuilder::json)
                };
                self.ask(Safety::UnlessSent, ANSWER_BYTES, request).await?
            }
            Kind::Password { organisation, username, password } => {
                let mut body = json!({
                    "organisation": organisation, "username": username, "password": password.expose_secret(),
                });
                if let Some(unit) = unit {
                    body["unit"] = unit.into();
                }
                self.ask(Safety::UnlessSent, ANSWER_BYTES, || self.post("/authentication/token").json(&body))
                    .await?
            }
        };
        answer.token()
    }

    /// Releases a token: when this returns without an error, no service accepts it any more. A token that has ended is
    /// released already.
    ///
    /// # Errors
    ///
    /// Whatever the error, the token may still be in force.
    pub async fn release(&self, token: &Token) -> Result<(), Error> {
        let body = json!({"token": token.expose()});
        let request = || self.post("/authentication/token/release").json(&body);
        let answer = self.ask(Safety::Repeatable, ANSWER_BYTES, request).await?;
        answer.data::<serde::de::IgnoredAny>().map(|_| ())
    }

    /// Whom a token speaks for and when it ends. This is no use of the token: its idle time goes on.
    ///
    /// # Errors
    ///
    /// See [`Error`]; that the token is not in force is no error.
    pub async fn who_am_i(&self, token: &Token) -> Result<Verdict, Error> {
        let request = || self.get("/authentication/token").bearer_auth(token.expose());
        self.ask(Safety::Repeatable, ANSWER_BYTES, request).await?.details()
    }

    /// Changes a password. All sessions of the user end.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `INVALID_CREDENTIALS` if the current password is wrong, which counts as a failed login,
    /// or with `INVALID_PARAMETER`, whose message says what is wrong with the new one. [`Error::Unreachable`] leaves
    /// open which of the two is in force.
    pub async fn change_password(
        &self,
        organisation: &str,
        username: &str,
        current: &SecretString,
        new: &SecretString,
    ) -> Result<(), Error> {
        let body = json!({
            "organisation": organisation, "username": username,
            "password": current.expose_secret(), "new_password": new.expose_secret(),
        });
        let request = || self.post("/authentication/password").json(&body);
        let answer = self.ask(Safety::UnlessSent, ANSWER_BYTES, request).await?;
        answer.data::<serde::de::IgnoredAny>().map(|_| ())
    }

    /// Asks something that may be asked again.
    pub(crate) async fn question(&self, request: impl Fn() -> RequestBuilder) -> Result<Answer, Error> {
        self.ask(Safety::Repeatable, ANSWER_BYTES, request).await
    }

    /// Asks something about many tokens that may be asked again.
    pub(crate) async fn long_question(
        &self,
        limit: usize,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Answer, Error> {
        self.ask(Safety::Repeatable, limit, request).await
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.0.http.get(format!("{}{path}", self.0.base))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.0.http.post(format!("{}{path}", self.0.base))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("address", &self.0.base).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_none_are_refused_without_their_passwords() {
        for address in [
            "",
            "auth.acme.example",
            "ftp://a",
            "http://",
            "https://me:canary@a/",
            "https://a/?x=1",
            "https://a/#x",
        ] {
            let error = Connection::to(address).build().unwrap_err();
            assert!(matches!(error, BuildError::Address(_)), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
        assert_eq!(Connection::to(" https://a:8443/auth/ ").build().unwrap().0.base, "https://a:8443/auth");
        let error = Connection::to("https://a").ca_certificate_pem("nothing").build().unwrap_err();
        assert!(matches!(error, BuildError::Certificate(_)), "{error:?}");
    }
}
