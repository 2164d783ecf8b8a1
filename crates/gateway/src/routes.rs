//! Which upstream a path leads to and what it demands: read from a file, all that is wrong with it at once, and asked by every request.

use std::{collections::BTreeSet, fmt, ops::Range};

use axum::http::{Method, Uri};
use doorward_domain::requirement::Demands;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use toml::Spanned;

use crate::path::Path;

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The path that it is for, with all below: without a slash at its end, and empty for every path.
    pub prefix: String,
    /// The prefix when it is decoded, which is what paths are compared with.
    pub decoded: String,
    /// The methods that it is for; empty for all. `GET` stands for `HEAD` too.
    pub methods: BTreeSet<String>,
    /// Where requests go; its path, if it has one, is put in front of theirs.
    pub upstream: Uri,
    /// Whether the prefix is taken off the path.
    pub strip_prefix: bool,
    /// Whether no token is needed.
    pub is_public: bool,
    /// Whether refusals have the status 200 and only the envelope tells.
    pub refuses_with_200: bool,
    /// What a token must meet, as the header `X-Auth-Require` says it; none if any token will do.
    pub requirements: Option<String>,
}

/// All routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    /// Those with longer prefixes first.
    all: Vec<Route>,
    by_method: bool,
}

/// Why a request has no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// Nothing is at the path.
    NoPath,
    /// The path has other methods: these.
    NoMethod(String),
    /// The path differs in case from one that other rules hold for, so a server that ignores case would take it for that one.
    OtherCase,
}

/// All that is wrong with a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidRoutes(Vec<Problem>);

/// Something that is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    line: usize,
    text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    route: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: Spanned<String>,
    upstream: Spanned<String>,
    #[serde(default)]
    methods: Vec<Spanned<String>>,
    #[serde(default)]
    strip_prefix: bool,
    #[serde(default)]
    public: bool,
    #[serde(default)]
    refuse_with_200: bool,
    require: Option<Spanned<Require>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Require {
    organisation: Option<Spanned<OneOf>>,
    unit: Option<Spanned<OneOf>>,
    method: Option<Spanned<OneOf>>,
    role: Option<Spanned<OneOf>>,
    key_address: Option<Spanned<bool>>,
}

/// A text, or a list of which one must do.
struct OneOf(Vec<String>);

impl<'de> Deserialize<'de> for OneOf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOf;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOf, E> {
                Ok(OneOf(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOf, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = items.next_element()? {
                    texts.push(text);
                }
                Ok(OneOf(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

impl Routes {
    /// One route for everything.
    pub fn single(upstream: &str, refuses_with_200: bool) -> Result<Self, String> {
        let route = Route {
            prefix: String::new(),
            decoded: String::new(),
            methods: BTreeSet::new(),
            upstream: upstream_address(upstream)?,
            strip_prefix: false,
            is_public: false,
            refuses_with_200,
            requirements: None,
        };
        Ok(Self { all: vec![route], by_method: false })
    }

    /// Reads a file.
    pub fn read(text: &str) -> Result<Self, InvalidRoutes> {
        let line = |span: &Range<usize>| text[..span.start.min(text.len())].matches('\n').count() + 1;
        let file: File = toml::from_str(text).map_err(|error| {
            let text = error.message().lines().next().unwrap_or_default().replace('`', "'");
            InvalidRoutes(vec![Problem { line: line(&error.span().unwrap_or_default()), text }])
        })?;
        let mut problems = Vec::new();
        let mut all: Vec<(Route, usize)> = Vec::new();
        if file.route.is_empty() {
            let text = "there is no [[route]]; write one with 'path' and 'upstream'".to_owned();
            problems.push(Problem { line: 1, text });
        }
        for entry in &file.route {
            let place = line(&entry.span());
            let mut found = Vec::new();
            let route =
                entry.get_ref().read(&mut |span: Range<usize>, text: String| found.push((span, text)));
            problems.extend(found.into_iter().map(|(span, text)| Problem { line: line(&span), text }));
            let Some(route) = route else { continue };
            let rival = all.iter().find(|(known, _)| known.is_rival(&route));
            if let Some((known, first)) = rival {
                let text = format!(
                    "the path '{}' has a route for the same method in line {first} already; take one of them out",
                    known.shown()
                );
                problems.push(Problem { line: place, text });
            }
            all.push((route, place));
        }
        if !problems.is_empty() {
            problems.sort_by_key(|problem| problem.line);
            return Err(InvalidRoutes(problems));
        }
        let mut all: Vec<_> = all.into_iter().map(|(route, _)| route).collect();
        all.sort_by_key(|route| std::cmp::Reverse(route.decoded.len()));
        let by_method = all.iter().any(|route| !route.methods.is_empty());
        Ok(Self { all, by_method })
    }

    /// The routes.
    pub fn all(&self) -> &[Route] {
        &self.all
    }

    /// Whether a route depends on the method.
    pub fn by_method(&self) -> bool {
        self.by_method
    }

    /// The place of the route for a request in [`Self::all`].
    ///
    /// The longest prefix decides, and no other is tried: a shorter one would be laxer.
    pub fn find(&self, path: &Path, method: &Method) -> Result<usize, NoRoute> {
        let path = path.decoded();
        let exact = self.all.iter().find(|route| is_below(path, &route.decoded, str::eq));
        let folded = self.all.iter().find(|route| is_below(path, &route.decoded, str::eq_ignore_ascii_case));
        let prefix = match (exact, folded) {
            (None, None) => return Err(NoRoute::NoPath),
            (Some(exact), Some(folded)) if exact.decoded == folded.decoded => &exact.decoded,
            _ => return Err(NoRoute::OtherCase),
        };
        let mut there = self.all.iter().enumerate().filter(|(_, route)| route.decoded == *prefix);
        if let Some((place, _)) = there.clone().find(|(_, route)| route.takes(method)) {
            return Ok(place);
        }
        // A route for all methods is the last resort beside those that name theirs.
        there.clone().find(|(_, route)| route.methods.is_empty()).map(|(place, _)| place).ok_or_else(|| {
            let methods: BTreeSet<_> = there.by_ref().flat_map(|(_, route)| route.methods.iter()).collect();
            NoRoute::NoMethod(methods.into_iter().map(String::as_str).collect::<Vec<_>>().join(", "))
        })
    }
}

/// Whether a path is the prefix or below it.
fn is_below(path: &str, prefix: &str, is_same: fn(&str, &str) -> bool) -> bool {
    path.get(..prefix.len()).is_some_and(|start| is_same(start, prefix))
        && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
}

impl Route {
    fn takes(&self, method: &Method) -> bool {
        self.methods.contains(method.as_str()) || (method == Method::HEAD && self.methods.contains("GET"))
    }

    /// Whether the two would be for the same requests.
    fn is_rival(&self, other: &Self) -> bool {
        let is_same_method = (self.methods.is_empty() && other.methods.is_empty())
            || self.methods.intersection(&other.methods).next().is_some();
        self.decoded == other.decoded && is_same_method
    }

    /// The prefix as people write it.
    pub fn shown(&self) -> &str {
        if self.prefix.is_empty() { "/" } else { &self.prefix }
    }

    /// The path that the upstream is asked for.
    pub fn forwarded<'a>(&self, path: &'a Path) -> &'a str {
        let path = path.as_str();
        if !self.strip_prefix {
            return path;
        }
        // The client may have encoded what the prefix has not, but no slash.
        let segments = self.prefix.matches('/').count();
        path.match_indices('/').nth(segments).map_or("/", |(place, _)| &path[place..])
    }
}

impl Entry {
    fn read(&self, problem: &mut dyn FnMut(Range<usize>, String)) -> Option<Route> {
        let path = self.path.get_ref();
        let prefix = match Path::new(path) {
            Ok(prefix) if prefix.as_str() == path && (path == "/" || !path.ends_with('/')) => {
                let without_slash = |text: &str| text.trim_end_matches('/').to_owned();
                Some((without_slash(path), without_slash(prefix.decoded())))
            }
            Ok(form) => {
                let form = form.as_str().trim_end_matches('/');
                let form = if form.is_empty() { "/" } else { form };
                problem(self.path.span(), format!("the path '{path}' is written '{form}'; write it so"));
                None
            }
            Err(error) => {
                let text = format!("the path '{}' {error}; write one such as '/api'", plain(path));
                problem(self.path.span(), text);
                None
            }
        };
        let upstream = upstream_address(self.upstream.get_ref());
        if let Err(text) = &upstream {
            problem(self.upstream.span(), format!("the upstream {text}"));
        }
        let mut methods = BTreeSet::new();
        for method in &self.methods {
            let name = method.get_ref();
            let is_word =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
            if !is_word || ["CONNECT", "TRACE"].contains(&name.as_str()) {
                let text = format!(
                    "the method '{}' cannot be handed on; write one such as 'GET', in capitals",
                    plain(name)
                );
                problem(method.span(), text);
            } else if !methods.insert(name.clone()) {
                problem(method.span(), format!("the method '{name}' is named twice; name it once"));
            }
        }
        let mut requirements = None;
        if let Some(require) = &self.require {
            if self.public {
                let text =
                    "a public route cannot require anything; take out 'public' or 'require'".to_owned();
                problem(require.span(), text);
            }
            requirements = require.get_ref().read(problem);
            if requirements.is_none() {
                let text = "'require' demands nothing; name a requirement or take it out".to_owned();
                problem(require.span(), text);
            }
        }
        let (prefix, decoded) = prefix?;
        Some(Route {
            prefix,
            decoded,
            methods,
            upstream: upstream.ok()?,
            strip_prefix: self.strip_prefix,
            is_public: self.public,
            refuses_with_200: self.refuse_with_200,
            requirements,
        })
    }
}

impl Require {
    fn read(&self, problem: &mut dyn FnMut(Range<usize>, String)) -> Option<String> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let lists = [
            ("organisation", &self.organisation),
            ("unit", &self.unit),
            ("method", &self.method),
            ("role", &self.role),
        ];
        for (name, list) in lists {
            let Some(list) = list else { continue };
            if list.get_ref().0.is_empty() {
                let text =
                    format!("the list '{name}' is empty, which no token meets; name one or take it out");
                problem(list.span(), text);
            }
            for text in &list.get_ref().0 {
                if let Err(error) = Demands::read([(name, text)]) {
                    problem(list.span(), error.to_string());
                }
                form.append_pair(name, text);
            }
        }
        if let Some(flag) = &self.key_address {
            if *flag.get_ref() {
                form.append_pair("key_address", "true");
            } else {
                problem(flag.span(), "'key_address' can only be true; take it out".to_owned());
            }
        }
        Some(form.finish()).filter(|form| !form.is_empty())
    }
}

/// The address of an upstream; an error is the end of a sentence.
fn upstream_address(text: &str) -> Result<Uri, String> {
    let remedy = "write it as http://host:port or https://host/path";
    let uri: Uri = text.parse().map_err(|_| format!("'{}' is no address; {remedy}", plain(text)))?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    if !is_http || !has_host {
        return Err(format!("'{}' is no HTTP address; {remedy}", plain(text)));
    }
    // What stands before an '@' may be a password, and is not shown.
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(format!("has a username or password in its address, which is not sent; {remedy}"));
    }
    if uri.query().is_some() {
        return Err(format!("'{}' has a query, which is not sent; {remedy}", plain(text)));
    }
    match Path::new(uri.path()) {
        Ok(path) if path.as_str() == uri.path() => Ok(uri),
        Ok(path) => {
            Err(format!("'{}' has a path that is written '{}'; write it so", plain(text), path.as_str()))
        }
        Err(error) => Err(format!("'{}' has a path that {error}; {remedy}", plain(text))),
    }
}

/// A text from outside, fit for one line.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
