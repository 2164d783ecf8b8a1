//! What Envoy asks: the client's request as Envoy describes it, and what the route's configuration says of it.

use std::{collections::HashMap, fmt, net::IpAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use doorward_domain::requirement::{BadDemand, Demands, Requirements};
use envoy_types::pb::envoy::{
    config::core::v3::address::Address,
    service::auth::v3::{
        CheckRequest,
        attribute_context::{HttpRequest, Peer},
    },
};

use super::answer::ours;
use crate::{
    basic::scheme,
    body::Members,
    demands,
    token_source::{Presented, query_of},
};

/// A question, taken apart.
pub struct Question {
    /// The client's token.
    pub presented: Presented,
    /// Those of the client's headers that matter here.
    pub headers: HeaderMap,
    /// What the route's configuration says.
    pub settings: Result<Settings, Misconfigured>,
    /// The address from which Envoy got the request.
    pub source: Option<IpAddr>,
    /// What the upstream must not see of it.
    pub passing: Passing,
}

/// What the client sent that must not reach the upstream if the request is let through.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Passing {
    /// Headers that programs behind Envoy might take for one of ours.
    pub lookalikes: Vec<String>,
    /// Names of query parameters that hold a token, as they are written: Envoy compares them as they are.
    pub token_parameters: Vec<String>,
    /// Whether a token is in `Authorization`.
    pub has_bearer: bool,
}

/// What the context extensions of a route say.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    requirements: Requirements,
    /// Whether a check is a use of the token.
    pub is_use: bool,
    /// Whether the upstream gets the token in `Authorization`.
    pub keeps_authorization: bool,
}

/// Why nobody can be said to meet what a proxy demands; for its operator.
#[derive(Debug, PartialEq, Eq)]
pub enum Misconfigured {
    /// Something demanded is unknown.
    Demand(BadDemand),
    /// A context extension that is yes or no is neither.
    Flag(&'static str),
}

impl fmt::Display for Misconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Demand(bad) => bad.fmt(f),
            Self::Flag(name) => write!(f, "the context extension '{name}' is neither true nor false"),
        }
    }
}

impl From<BadDemand> for Misconfigured {
    fn from(bad: BadDemand) -> Self {
        Self::Demand(bad)
    }
}

/// The headers that are read.
const READ: [HeaderName; 4] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-auth-require"),
    HeaderName::from_static("x-auth-touch"),
];

impl Question {
    /// Takes a question apart; `None` if it is not about an HTTP request. A body of more than `body_bytes` is not looked into.
    pub fn read(asked: CheckRequest, body_bytes: usize) -> Option<Self> {
        let attributes = asked.attributes?;
        let http = attributes.request?.http?;
        let mut headers = HeaderMap::new();
        let mut passing = Passing::default();
        let mut is_readable = true;
        for (name, value) in each_header(&http) {
            if let Some(read) = READ.iter().find(|read| name.eq_ignore_ascii_case(read.as_str())) {
                match HeaderValue::from_bytes(value) {
                    Ok(value) => drop(headers.append(read, value)),
                    Err(_) => is_readable = false,
                }
            }
            if is_lookalike(name) {
                passing.lookalikes.push(name.to_owned());
            }
        }
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| scheme(value.as_bytes(), "bearer"));
        passing.has_bearer = bearer.is_some();
        passing.token_parameters = token_parameters(&http.path);
        let presented = if is_readable {
            let presented = Presented::default().in_authorization(&headers).in_address(http.path.as_bytes());
            in_body(presented, &http, body_bytes)
        } else {
            // No proxy sends it, so nobody knows what it would mean.
            Presented::Several
        };
        let settings = Settings::read(&attributes.context_extensions);
        let source = attributes.source.as_ref().and_then(address);
        Some(Self { presented, headers, settings, source, passing })
    }
}

/// The client's headers, in whichever of its two ways Envoy tells them.
fn each_header(http: &HttpRequest) -> impl Iterator<Item = (&str, &[u8])> {
    let merged = http.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let raw = http.header_map.iter().flat_map(|map| &map.headers).map(|header| {
        let value = if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
        (header.key.as_str(), value)
    });
    merged.chain(raw)
}

fn in_body(presented: Presented, http: &HttpRequest, most: usize) -> Presented {
    let body = if http.raw_body.is_empty() { http.body.as_bytes() } else { &http.raw_body };
    if body.len() > most {
        return presented;
    }
    // What is no JSON object holds no token.
    let Ok(members) = Members::parse(body) else { return presented };
    match members.find_text("token") {
        Ok(Some(token)) => presented.found(token.as_bytes()),
        Ok(None) => presented,
        Err(_) => Presented::Several,
    }
}

fn address(peer: &Peer) -> Option<IpAddr> {
    match peer.address.as_ref()?.address.as_ref()? {
        Address::SocketAddress(socket) => socket.address.parse().ok(),
        Address::Pipe(_) | Address::EnvoyInternalAddress(_) => None,
    }
}

/// The names under which a query has tokens, as they are written there: `token`, and `%74oken` too.
fn token_parameters(path: &str) -> Vec<String> {
    let query = std::str::from_utf8(query_of(path.as_bytes())).unwrap_or_default();
    let mut names = Vec::new();
    for pair in query.split('&') {
        let written = pair.split('=').next().unwrap_or_default();
        let is_token = form_urlencoded::parse(written.as_bytes()).any(|(name, _)| name == "token");
        if is_token && !names.iter().any(|name| name == written) {
            names.push(written.to_owned());
        }
    }
    names
}

/// Whether programs that see headers as variables (CGI and its heirs) might take a name for one of ours. The identity
/// headers themselves are none: they are overwritten.
fn is_lookalike(name: &str) -> bool {
    let is_ours = |ours: HeaderName| {
        let ours = ours.as_str().as_bytes();
        let is_alike = |(byte, our): (u8, &u8)| {
            byte.eq_ignore_ascii_case(our) || !byte.is_ascii_alphanumeric() && *our == b'-'
        };
        name.len() == ours.len() && name.bytes().zip(ours).all(is_alike)
    };
    let is_exact = |ours: HeaderName| name.eq_ignore_ascii_case(ours.as_str());
    ours().any(is_ours) && !ours().any(is_exact)
}

impl Settings {
    /// Reads the context extensions. Envoy has one value for each name, so `|` stands between those of which one will do.
    fn read(extensions: &HashMap<String, String>) -> Result<Self, Misconfigured> {
        let mut settings =
            Self { requirements: Requirements::default(), is_use: true, keeps_authorization: false };
        let mut demanded = Vec::new();
        for (name, value) in extensions {
            match name.as_str() {
                "touch" => settings.is_use = flag("touch", value)?,
                "keep_authorization" => settings.keeps_authorization = flag("keep_authorization", value)?,
                name => demanded.extend(value.split('|').map(|one| (name, one.trim()))),
            }
        }
        settings.requirements.and(Demands::read(demanded)?);
        Ok(settings)
    }
}

fn flag(name: &'static str, value: &str) -> Result<bool, Misconfigured> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Misconfigured::Flag(name)),
    }
}

/// All that is demanded, by the route's configuration and in headers.
pub fn demanded(
    settings: Result<Settings, Misconfigured>,
    headers: &HeaderMap,
) -> Result<Requirements, Misconfigured> {
    let mut requirements = settings?.requirements;
    requirements.and_all(demands::in_headers(headers)?);
    Ok(requirements)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings, Misconfigured> {
        Settings::read(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn context_extensions_demand_and_what_is_unknown_is_an_error() {
        let read = settings(&[("organisation", "A | B"), ("touch", "false"), ("keep_authorization", "true")])
            .unwrap();
        let mut both = Requirements::default();
        both.and(Demands::read([("organisation", "A"), ("organisation", "B")]).unwrap());
        assert_eq!(read.requirements, both);
        assert!(!read.is_use && read.keeps_authorization);
        assert!(settings(&[("key_address", "false")]).unwrap().requirements.is_none());
        for (name, value) in [
            ("touch", "no"),
            ("keep_authorization", ""),
            ("organisation", "A|"),
            ("role", "boss"),
            ("colour", "red"),
            ("Organisation", "A"),
        ] {
            assert!(settings(&[(name, value)]).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn h2_every_spelling_of_the_parameter_is_found() {
        for (path, names) in [
            ("/", &[][..]),
            ("/token=A", &[]),
            ("/?token=A&x=1&token=A", &["token"]),
            ("/?a&%74oken=A&token", &["%74oken", "token"]),
            ("/?Token=A&token%20=A&xtoken=A", &[]),
        ] {
            assert_eq!(token_parameters(path), names, "{path}");
        }
    }

    #[test]
    fn f2_lookalikes_are_known() {
        for name in ["x_auth_user", "x-auth_user", "X_Auth-Organisation_Id", "x.auth.require", "x_auth_touch"]
        {
            assert!(is_lookalike(name), "{name}");
        }
        // Of ours the ones are overwritten and the others always removed, and an upstream's own are its own.
        for name in
            ["x-auth-user", "X-Auth-Require", "x-auth-token", "xxauth-user", "x-auth-user-", "", "x-auth-ü"]
        {
            assert!(!is_lookalike(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_request_is_too_odd(path in "\\PC{0,40}", name in "\\PC{0,20}", value in "\\PC{0,20}", body in "\\PC{0,40}") {
            let http = HttpRequest { path, body, headers: [(name, value)].into(), ..HttpRequest::default() };
            let attributes = envoy_types::pb::envoy::service::auth::v3::AttributeContext {
                request: Some(envoy_types::pb::envoy::service::auth::v3::attribute_context::Request {
                    http: Some(http),
                    time: None,
                }),
                ..Default::default()
            };
            let question = Question::read(CheckRequest { attributes: Some(attributes) }, 100);
            prop_assert!(question.is_some_and(|question| question.presented.one().is_err()));
        }
    }
}
