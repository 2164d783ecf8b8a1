//! Secrets out of a recording and into it again.
//!
//! A secret is known by where it stands: the members `password`, `new_password`, `token` and `secret` of JSON, the query
//! parameter `token`, the user of HTTP Basic, a Bearer token. Once known, it is replaced wherever it comes up.

use std::collections::HashMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

/// What stands for a secret begins and ends so; no JSON or header of the old API has it.
const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// The kinds of secrets, by the members that hold them.
const MEMBERS: [(&str, &str); 4] =
    [("password", "password"), ("new_password", "password"), ("token", "token"), ("secret", "key")];

/// The secrets that have come up, with their names.
#[derive(Default)]
pub(super) struct Names {
    by_secret: HashMap<String, String>,
    counts: HashMap<&'static str, u32>,
}

impl Names {
    /// The placeholder of a secret, the same each time.
    fn name(&mut self, kind: &'static str, secret: &str) -> String {
        if let Some(known) = self.by_secret.get(secret) {
            return known.clone();
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let name = format!("{OPEN}{kind} {count}{CLOSE}");
        self.by_secret.insert(secret.to_owned(), name.clone());
        name
    }

    /// A body without secrets.
    pub(super) fn conceal_body(&mut self, body: &str) -> String {
        match serde_json::from_str::<Value>(body) {
            Ok(mut json) => {
                let before = json.clone();
                self.conceal_json(&mut json);
                // What has no secret stays as it was written, blanks and all.
                if json == before { self.conceal_known(body) } else { json.to_string() }
            }
            Err(_) => self.conceal_form(body),
        }
    }

    fn conceal_json(&mut self, json: &mut Value) {
        match json {
            Value::Object(members) => {
                for (name, value) in members {
                    let kind = MEMBERS.iter().find(|(member, _)| member.eq_ignore_ascii_case(name));
                    match (kind, &value) {
                        (Some((_, kind)), Value::String(secret)) if !secret.is_empty() => {
                            *value = Value::from(self.name(kind, &secret.clone()));
                        }
                        _ => self.conceal_json(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.conceal_json(item)),
            Value::String(text) => *text = self.conceal_known(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A query or a form without secrets.
    pub(super) fn conceal_form(&mut self, text: &str) -> String {
        let pairs: Vec<_> = text.split('&').map(|pair| self.conceal_pair(pair)).collect();
        self.conceal_known(&pairs.join("&"))
    }

    fn conceal_pair(&mut self, pair: &str) -> String {
        let Some((name, value)) = pair.split_once('=') else { return pair.to_owned() };
        let kind = MEMBERS.iter().find(|(member, _)| member.eq_ignore_ascii_case(name));
        let Some((_, kind)) = kind.filter(|_| !value.is_empty()) else { return pair.to_owned() };
        let decoded = form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
        format!("{name}={}", self.name(kind, &decoded.unwrap_or_else(|| value.to_owned())))
    }

    /// A value of `Authorization` without secrets.
    pub(super) fn conceal_authorization(&mut self, value: &str) -> String {
        let Some((scheme, rest)) = value.trim().split_once(' ') else { return self.conceal_known(value) };
        if scheme.eq_ignore_ascii_case("bearer") {
            return format!("{scheme} {}", self.name("token", rest.trim()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return format!("{scheme} {OPEN}other{CLOSE}");
        }
        let decoded =
            BASE64_STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(decoded) = decoded else { return format!("{scheme} {OPEN}unreadable{CLOSE}") };
        let (user, password) = decoded.split_once(':').unwrap_or((&decoded, ""));
        let user = if user.is_empty() { String::new() } else { self.name("key", user) };
        let password = if password.is_empty() { String::new() } else { self.name("password", password) };
        // Readable in the recording; it is encoded again when it is sent.
        format!("{scheme} {user}:{password}")
    }

    /// A text in which known secrets have their names: a token of an answer that comes up in a path, say.
    pub(super) fn conceal_known(&self, text: &str) -> String {
        let mut concealed = text.to_owned();
        for (secret, name) in &self.by_secret {
            // A password of few characters stands in many texts by chance.
            if secret.len() >= 8 && concealed.contains(secret.as_str()) {
                concealed = concealed.replace(secret.as_str(), name);
            }
        }
        concealed
    }
}

/// The values of the names of a recording.
#[derive(Default)]
pub(super) struct Values(HashMap<String, String>);

impl Values {
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// A text with the values of its names; the name of one that has none is the error.
    pub(super) fn reveal(&self, text: &str, encode: fn(&str) -> String) -> Result<String, String> {
        let mut revealed = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once(OPEN) {
            let Some((name, behind)) = behind.split_once(CLOSE) else { break };
            let value = self.0.get(name).ok_or_else(|| name.to_owned())?;
            revealed += before;
            revealed += &encode(value);
            rest = behind;
        }
        revealed += rest;
        Ok(revealed)
    }

    /// The value of `Authorization` that a recorded one stands for.
    pub(super) fn reveal_authorization(&self, value: &str) -> Result<String, String> {
        let revealed = self.reveal(value, str::to_owned)?;
        Ok(match revealed.split_once(' ') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("basic") => {
                format!("{scheme} {}", BASE64_STANDARD.encode(rest))
            }
            _ => revealed,
        })
    }

    /// Takes from an answer the values of the names that stand at the same places of the recorded one.
    pub(super) fn learn(&mut self, recorded: &Value, answered: &Value) {
        match (recorded, answered) {
            (Value::Object(recorded), Value::Object(answered)) => {
                for (name, value) in recorded {
                    if let Some(answered) = answered.get(name) {
                        self.learn(value, answered);
                    }
                }
            }
            (Value::Array(recorded), Value::Array(answered)) => {
                recorded.iter().zip(answered).for_each(|(one, other)| self.learn(one, other));
            }
            (Value::String(recorded), Value::String(answered)) => {
                if let Some(name) = name_of(recorded) {
                    self.set(name, answered);
                }
            }
            _ => {}
        }
    }
}

/// The name that a text consists of.
pub(super) fn name_of(text: &str) -> Option<&str> {
    text.strip_prefix(OPEN)?.strip_suffix(CLOSE).filter(|name| !name.contains(OPEN))
}

/// The names in a text.
pub(super) fn names_in(text: &str) -> Vec<&str> {
    let parts = text.split(OPEN).skip(1);
    parts.filter_map(|part| part.split_once(CLOSE).map(|(name, _)| name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn s1_secrets_have_names_wherever_they_stand() {
        let mut names = Names::default();
        let body = r#"{"username":"zoe","password":"canary-1","organisation":"ACME"}"#;
        assert_eq!(
            serde_json::from_str::<Value>(&names.conceal_body(body)).unwrap(),
            json!({"username": "zoe", "password": "{{password 1}}", "organisation": "ACME"})
        );
        let answer = names.conceal_body(r#"{"data":{"token":"CANARY-2"},"status":{"code":"OK"}}"#);
        assert!(answer.contains("{{token 1}}") && !answer.contains("CANARY"), "{answer}");
        assert_eq!(names.conceal_form("x=1&token=CANARY-2&y"), "x=1&token={{token 1}}&y");
        assert_eq!(names.conceal_authorization("Bearer CANARY-2"), "Bearer {{token 1}}");
        let basic = format!("Basic {}", BASE64_STANDARD.encode("CANARY-3:"));
        assert_eq!(names.conceal_authorization(&basic), "Basic {{key 1}}:");
        assert_eq!(names.conceal_known("/orders/CANARY-2"), "/orders/{{token 1}}");
        assert_eq!(names.conceal_authorization("Digest CANARY-4"), "Digest {{other}}");
        assert_eq!(names.conceal_body("not json CANARY-2"), "not json {{token 1}}");
    }

    #[test]
    fn what_has_no_secret_stays_as_it_was_written() {
        let mut names = Names::default();
        for body in ["", "{ \"status\" : {} }", "[1, 2]", "plain text", "a=b&c"] {
            assert_eq!(names.conceal_body(body), body);
        }
    }

    #[test]
    fn names_get_their_values_again() {
        let mut values = Values::default();
        values.set("key 1", "K");
        values.learn(
            &json!({"data": {"token": "{{token 1}}"}, "list": ["{{token 2}}"]}),
            &json!({"data": {"token": "T", "more": 1}, "list": ["U"]}),
        );
        let plain = |text: &str| values.reveal(text, str::to_owned);
        assert_eq!(plain("a {{token 1}} b {{token 2}}"), Ok("a T b U".into()));
        assert_eq!(plain("{{password 1}}"), Err("password 1".into()));
        assert_eq!(plain("{{"), Ok("{{".into()));
        let basic = format!("Basic {}", BASE64_STANDARD.encode("K:"));
        assert_eq!(values.reveal_authorization("Basic {{key 1}}:"), Ok(basic));
        assert_eq!((name_of("{{key 1}}"), name_of("x{{key 1}}")), (Some("key 1"), None));
    }
}
