//! Requests to the server: where they go, with what token, and what became of them in words.
//!
//! Flags win over the environment, the environment over the stored login. A stored token goes to the server that it
//! was stored for and nowhere else, and a token of the environment never to a server that only the stored login names.

use std::{error::Error, fs, path::PathBuf, time::Duration};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use reqwest::{Certificate, Client, Method, Url, redirect::Policy};
use serde_json::Value;

use super::{
    output::{Format, plain},
    stored::{self, Stored},
    variable,
};
use crate::args::WrongUse;

/// Where the admin listener is unless somebody says otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8081";
const TIMEOUT: Duration = Duration::from_secs(30);

/// The flags of everything that asks a server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Flags {
    /// The server's admin listener [env: DOORWARD_SERVER] [default: that of the login, or http://127.0.0.1:8081]
    #[arg(long, global = true, value_name = "URL")]
    pub(super) server: Option<String>,
    /// Trust the server if its certificate is one of this PEM file or signed by one
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) ca_certificate: Option<PathBuf>,
    /// The organisation to work on, by code or id [default: that of the login]
    #[arg(long, global = true, value_name = "CODE")]
    pub(super) organisation: Option<String>,
    /// Print tables for people or the server's JSON for programs
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(super) output: Format,
}

/// The server, as it was named.
pub(super) struct Target {
    pub(super) server: Url,
    pub(super) ca_certificate: Option<PathBuf>,
    /// Whether it was named by a flag or the environment.
    is_named: bool,
    /// The stored login, wherever it belongs.
    pub(super) stored: Option<Stored>,
}

impl Target {
    pub(super) fn of(flags: &Flags) -> anyhow::Result<Self> {
        let stored = stored::find()?;
        let named = match &flags.server {
            Some(server) => Some(read_server("--server", server)?),
            None => variable("DOORWARD_SERVER")?
                .map(|server| read_server("DOORWARD_SERVER", &server))
                .transpose()?,
        };
        let is_named = named.is_some();
        let remembered = stored.as_ref().map_or(DEFAULT_SERVER, |stored| &stored.server);
        let server = named.map_or_else(|| read_server("the stored login", remembered), Ok)?;
        let mut target = Self { server, ca_certificate: flags.ca_certificate.clone(), is_named, stored };
        if target.ca_certificate.is_none() {
            target.ca_certificate = target.stored().and_then(|stored| stored.ca_certificate.clone());
        }
        Ok(target)
    }

    /// The stored login, if it belongs to this server.
    pub(super) fn stored(&self) -> Option<&Stored> {
        self.stored.as_ref().filter(|stored| stored.server == self.server.as_str())
    }

    /// The server, with no token to show.
    pub(super) fn connect(&self) -> anyhow::Result<Connection> {
        let mut client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .user_agent(concat!("doorward/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &self.ca_certificate {
            let unusable = || format!("the certificate {} cannot be used", file.display());
            let pem = fs::read(file).with_context(unusable)?;
            let certificates = Certificate::from_pem_bundle(&pem).with_context(unusable)?;
            if certificates.is_empty() {
                bail!("{}: it has no certificate in PEM form", unusable());
            }
            client = client.tls_certs_only(certificates);
        } else if self.server.scheme() == "http" {
            // The machine's certificates need not be read, nor be there.
            client = client.tls_certs_only([]);
        }
        let client = client.build().context("no connection can be made")?;
        Ok(Connection { client, server: self.server.clone(), token: None, origin: TokenOrigin::None })
    }

    /// The server, with the token of the environment or of the stored login.
    pub(super) fn connect_with_token(&self) -> anyhow::Result<Connection> {
        let mut connection = self.connect()?;
        if let Some(token) = variable("DOORWARD_TOKEN")? {
            if !self.is_named && self.stored.is_some() && self.server.as_str() != with_slash(DEFAULT_SERVER) {
                bail!(WrongUse(format!(
                    "DOORWARD_TOKEN is set and DOORWARD_SERVER is not, and the stored login is for {}; set \
                     DOORWARD_SERVER or --server too, or unset DOORWARD_TOKEN to use the stored login",
                    self.server
                )));
            }
            connection.token = Some(token);
            connection.origin = TokenOrigin::Environment;
        } else if let Some(stored) = self.stored() {
            connection.token = Some(stored.token.clone());
            connection.origin = TokenOrigin::Stored;
        } else if let Some(stored) = &self.stored {
            bail!(WrongUse(format!(
                "the stored login is for {} and not for {}; run `doorward login --server {}`, or set DOORWARD_TOKEN",
                stored.server, self.server, self.server
            )));
        } else {
            bail!(WrongUse("nobody is logged in; run `doorward login`, or set DOORWARD_TOKEN".to_owned()));
        }
        Ok(connection)
    }
}

fn with_slash(server: &str) -> String {
    format!("{}/", server.trim_end_matches('/'))
}

/// Reads the address of a server, in the one form that is stored and compared.
fn read_server(origin: &str, text: &str) -> anyhow::Result<Url> {
    let wrong = |problem: &str| {
        WrongUse(format!("{origin}: '{}' {problem}; write it as in {DEFAULT_SERVER}", plain(text)))
    };
    let url = Url::parse(&with_slash(text.trim())).map_err(|_| wrong("is not the URL of a server"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        bail!(wrong("does not begin with http:// or https://"));
    }
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        bail!(WrongUse(format!("{origin}: a server's URL has no user, password, query or fragment")));
    }
    Ok(url)
}

/// Where a token comes from, for the advice when it is refused.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum TokenOrigin {
    None,
    Environment,
    Stored,
}

/// A server that is asked.
pub(super) struct Connection {
    client: Client,
    pub(super) server: Url,
    pub(super) token: Option<String>,
    pub(super) origin: TokenOrigin,
}

/// What a request is about: its path below the server and its query.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: Vec<&'a str>,
    pub(super) query: Vec<(&'a str, String)>,
    pub(super) body: Option<Value>,
    pub(super) if_match: Option<&'a str>,
    /// Makes a creation happen once, however often it is asked for.
    pub(super) idempotency_key: Option<&'a str>,
    /// A Web API key to log in with.
    pub(super) key: Option<&'a str>,
    /// A body that is JSON already.
    pub(super) text: Option<String>,
    /// How long the answer may take.
    pub(super) timeout: Duration,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, path: impl IntoIterator<Item = &'a str>) -> Self {
        let path = path.into_iter().collect();
        Self {
            method,
            path,
            query: Vec::new(),
            body: None,
            if_match: None,
            key: None,
            text: None,
            idempotency_key: None,
            timeout: TIMEOUT,
        }
    }

    pub(super) fn get(path: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post(path: impl IntoIterator<Item = &'a str>, body: Value) -> Self {
        Self::new(Method::POST, path).body(body)
    }

    pub(super) fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(super) fn query(self, query: Vec<(&'a str, String)>) -> Self {
        Self { query, ..self }
    }
}

/// A good answer.
pub(super) struct Answer {
    /// The body as it came.
    pub(super) text: String,
    /// The body; null if there is none.
    pub(super) json: Value,
    pub(super) etag: Option<String>,
}

/// What the server refused, and why.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Refused {
    pub(super) code: String,
    /// As the server says it, with members of bodies and not flags.
    pub(super) detail: String,
    text: String,
}

impl Refused {
    /// The code of a refusal; empty if the error is another one.
    pub(super) fn code(error: &anyhow::Error) -> &str {
        error.downcast_ref::<Self>().map_or("", |refused| &refused.code)
    }
}

/// There is no answer, or none of the server's own: a moment later there may be one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoAnswer(String);

/// Whether another try may succeed.
pub(super) fn may_pass(error: &anyhow::Error) -> bool {
    error.is::<NoAnswer>() || Refused::code(error) == "UNAVAILABLE"
}

impl Connection {
    /// The same server, with no token to show.
    pub(super) fn without_token(&self) -> Self {
        Self {
            client: self.client.clone(),
            server: self.server.clone(),
            token: None,
            origin: TokenOrigin::None,
        }
    }

    pub(super) async fn send(&self, call: Call<'_>) -> anyhow::Result<Answer> {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            for segment in &call.path {
                if matches!(*segment, "" | "." | "..") {
                    bail!(WrongUse(format!("'{segment}' is neither a name nor an id")));
                }
                segments.push(segment);
            }
        }
        let mut request = self.client.request(call.method, url).timeout(call.timeout);
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        if let Some(key) = call.key {
            request = request.basic_auth(key, Some(""));
        } else if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(tag) = call.if_match {
            request = request.header("if-match", tag);
        }
        if let Some(key) = call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        } else if let Some(text) = call.text {
            request = request.header("content-type", "application/json").body(text);
        }
        let response = request.send().await.map_err(|error| self.explain(&error, call.timeout))?;
        let status = response.status();
        let etag = response.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let text = response.text().await.map_err(|error| self.explain(&error, call.timeout))?;
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() && (!json.is_null() || text.is_empty()) {
            return Ok(Answer { text, json, etag });
        }
        Err(self.refused(status.as_u16(), &json))
    }

    /// What an error document says, of either kind, in words of this command line.
    fn refused(&self, status: u16, json: &Value) -> anyhow::Error {
        let at = |pointer: &str| json.pointer(pointer).and_then(Value::as_str);
        let (code, text) = match (at("/code"), at("/status/code")) {
            (Some(code), _) => (code, at("/detail")),
            (None, Some(code)) => (code, at("/status/message")),
            (None, None) => {
                let text = format!(
                    "{} answered with status {status} and not as Doorward does; is it the address of the admin \
                     listener of `doorward serve`? Set --server or DOORWARD_SERVER",
                    self.server
                );
                // So does a proxy whose server is away.
                return if matches!(status, 502..=504) { NoAnswer(text).into() } else { anyhow!(text) };
            }
        };
        // The API listener has the logins too, and nothing to manage.
        if code == "NOT_FOUND" && text.is_some_and(|text| text.starts_with("There is nothing at this path")) {
            return anyhow!(
                "{} is not the address of an admin listener; set --server or DOORWARD_SERVER to it ('listen.admin' of \
                 the server's configuration)",
                self.server
            );
        }
        let detail = plain(text.unwrap_or(code));
        let text = match (code, self.origin) {
            ("INVALID_TOKEN", TokenOrigin::Stored) => {
                "the login has expired or was ended; run `doorward login` again".to_owned()
            }
            ("INVALID_TOKEN", TokenOrigin::Environment) => {
                "the token in DOORWARD_TOKEN is unknown, expired or released; set a new one".to_owned()
            }
            ("PASSWORD_CHANGE_REQUIRED", _) => {
                "the password must be changed first; run `doorward password`".to_owned()
            }
            _ => in_flags(&detail),
        };
        Refused { code: plain(code), detail, text }.into()
    }

    fn explain(&self, error: &reqwest::Error, timeout: Duration) -> anyhow::Error {
        if error.is_timeout() {
            let (server, seconds) = (&self.server, timeout.as_secs());
            return NoAnswer(format!("{server} did not answer within {seconds} s; try again")).into();
        }
        let mut cause: &dyn Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let cause = plain(&cause.to_string());
        let server = &self.server;
        if cause.contains("CaUsedAsEndEntity") {
            return anyhow!(
                "the certificate of {server} is marked as that of an authority (CA:TRUE), which no server may use; give \
                 `doorward serve` one with CA:FALSE"
            );
        }
        if cause.contains("certificate") {
            return anyhow!(
                "{server} is not trusted: {cause}; name the file with its certificate, or with that of who signed it, \
                 with --ca-certificate"
            );
        }
        if !error.is_connect() && server.scheme() == "http" {
            return NoAnswer(format!("{server} does not answer as HTTP ({cause}); is it https://?")).into();
        }
        NoAnswer(format!(
            "cannot reach {server}: {cause}; is `doorward serve` running there? Set --server or DOORWARD_SERVER to the \
             address of its admin listener"
        ))
        .into()
    }
}

/// Says the flag instead of the member of a body, where there is one.
fn in_flags(text: &str) -> String {
    let about = text.strip_prefix("The parameter '").and_then(|rest| rest.split_once('\''));
    let Some((member, problem)) = about else { return text.to_owned() };
    let name = member.split(['[', '.']).next().unwrap_or(member);
    let flag = match name {
        "code" | "name" | "username" | "password" | "secret" | "overlap" if member == name => {
            format!("the {name}")
        }
        "new_password" => "the new password".to_owned(),
        "units" | "unit" => "'--unit'".to_owned(),
        "allowed_addresses" => "'--allow'".to_owned(),
        "expires_at" => "'--expires'".to_owned(),
        "person_name" | "default_unit" | "expiring_within" | "unused_for" | "must_change_password" => {
            format!("'--{}'", name.replace('_', "-"))
        }
        "address" if member == name => "'--address'".to_owned(),
        "event" | "reason" | "from" | "until" | "session" => format!("'--{name}'"),
        "id" | "email" | "role" | "user" | "classification" | "limit" => format!("'--{name}'"),
        _ if member.contains('.') => format!("the rule '{member}'"),
        _ => return text.to_owned(),
    };
    format!("{flag}{problem}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_one_form() {
        let read = |text: &str| read_server("--server", text).map(|url| url.to_string());
        assert_eq!(read(" http://Doors.example:80 ").unwrap(), "http://doors.example/");
        assert_eq!(read("https://a.example/doorward").unwrap(), "https://a.example/doorward/");
        for wrong in ["localhost:8081", "127.0.0.1:8081", "ftp://a", "http://u:p@a", "http://a/?b=c", ""] {
            let error = read(wrong).unwrap_err();
            assert!(error.is::<WrongUse>(), "{wrong}: {error}");
            assert!(!error.to_string().contains("u:p"), "{error}");
        }
    }

    #[test]
    fn members_become_flags() {
        let told = |member: &str| in_flags(&format!("The parameter '{member}' is wrong."));
        assert_eq!(told("expires_at"), "'--expires' is wrong.");
        assert_eq!(told("allowed_addresses[0]"), "'--allow' is wrong.");
        assert_eq!(told("passwords.min_length"), "the rule 'passwords.min_length' is wrong.");
        assert_eq!(told("username"), "the username is wrong.");
        assert_eq!(in_flags("Something else."), "Something else.");
    }
}
