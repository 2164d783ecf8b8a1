//! Secrets out of a recording and into it again.
//!
//! A secret is known by where it stands: what JSON, forms and queries have under a name such as `password`, `newPassword`,
//! `token` or `secret` ([`kind_of`]), and all of `Authorization` but its scheme. Once known, it is replaced wherever it comes
//! up. A body in which places have no names is not written down at all.

use std::collections::HashMap;

use base64::Engine;
use doorward_http::basic::BASE64;
use serde_json::Value;

/// What stands for a secret begins and ends so; no JSON or header of the old API has it.
const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// What stands for a body that is neither JSON nor a form, and its name.
pub(super) const UNREADABLE_BODY: &str = "{{unreadable body}}";
const UNREADABLE_BODY_NAME: &str = "unreadable body";

/// The kind of the names of what could not be decoded, and is sent as it is.
const UNDECODED: &str = "unreadable";

/// The kind of secret that is under a name; `None` if it is none. Rather too much is a secret than too little.
pub(super) fn kind_of(name: &str) -> Option<&'static str> {
    let name: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let is_password = ["password", "passwd", "passphrase", "passcode"].iter().any(|part| name.contains(part))
        || name.ends_with("pwd")
        || matches!(name.as_str(), "pass" | "pin");
    let is_key = name.contains("secret") || name.ends_with("apikey") || name == "key";
    let is_token = name.ends_with("token") || name.ends_with("tokens");
    match (is_password, is_key, is_token) {
        (true, _, _) => Some("password"),
        (_, true, _) => Some("key"),
        (_, _, true) => Some("token"),
        _ => None,
    }
}

/// Replaces the texts and numbers of JSON by what `replace` says; it is told the kind of secret that each is.
fn replace_in(
    json: &mut Value,
    kind: Option<&'static str>,
    replace: &mut dyn FnMut(Option<&'static str>, &str) -> Option<String>,
) {
    let replaced = match json {
        Value::Object(members) => {
            return members
                .iter_mut()
                .for_each(|(name, value)| replace_in(value, kind_of(name).or(kind), replace));
        }
        Value::Array(items) => return items.iter_mut().for_each(|item| replace_in(item, kind, replace)),
        Value::String(text) => replace(kind, text),
        Value::Number(number) if kind.is_some() => replace(kind, &number.to_string()),
        Value::Number(_) | Value::Bool(_) | Value::Null => None,
    };
    if let Some(text) = replaced {
        *json = Value::from(text);
    }
}

/// JSON as it may be shown: whatever is a secret, being of this kind or by a name within, is not in it.
pub(super) fn showable(json: &Value, kind: Option<&'static str>) -> Value {
    let mut json = json.clone();
    replace_in(&mut json, kind, &mut |kind, text| {
        (kind.is_some() && !text.is_empty() && name_of(text).is_none()).then(|| "a secret".to_owned())
    });
    json
}

/// Whether a body is a form: names and values, in the characters of which forms are made.
fn is_form(body: &str) -> bool {
    let is_of_form = |c: char| c.is_ascii_graphic() && !"\"<>{}\\^`|".contains(c);
    body.chars().all(is_of_form) && body.split('&').all(|pair| pair.contains('=') || pair.is_empty())
}

/// How long JSON is without blanks, wherever they are.
fn solid_length(json: &str) -> usize {
    json.chars().filter(|c| !c.is_ascii_whitespace()).count()
}

/// The secrets that have come up, with their names.
#[derive(Default)]
pub(super) struct Names {
    by_secret: HashMap<String, String>,
    counts: HashMap<&'static str, u32>,
    unreadable: u64,
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

    /// How many bodies were not written down.
    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// A body without secrets.
    pub(super) fn conceal_body(&mut self, body: &str) -> String {
        let json = serde_json::from_str::<Value>(body).ok();
        // Alone, a text or a number may be a token.
        if let Some(mut json) = json.filter(|json| json.is_object() || json.is_array()) {
            let before = json.clone();
            self.conceal_json(&mut json);
            let concealed = json.to_string();
            // What has no secret stays as it was written, blanks and all; unless a member was repeated, of which the parser
            // keeps one.
            let is_whole = json == before && solid_length(body) == solid_length(&concealed);
            return if is_whole { self.conceal_known(body) } else { concealed };
        }
        if body.trim().is_empty() || is_form(body) {
            return self.conceal_form(body);
        }
        self.unreadable += 1;
        UNREADABLE_BODY.to_owned()
    }

    fn conceal_json(&mut self, json: &mut Value) {
        replace_in(json, None, &mut |kind, text| match kind {
            _ if text.is_empty() => None,
            Some(kind) => Some(self.name(kind, text)),
            None => Some(self.conceal_known(text)),
        });
    }

    /// A query or a form without secrets.
    pub(super) fn conceal_form(&mut self, text: &str) -> String {
        let pairs: Vec<_> = text.split('&').map(|pair| self.conceal_pair(pair)).collect();
        self.conceal_known(&pairs.join("&"))
    }

    fn conceal_pair(&mut self, pair: &str) -> String {
        let decoded = form_urlencoded::parse(pair.as_bytes()).next();
        let (Some((written, _)), Some((name, value))) = (pair.split_once('='), decoded) else {
            return pair.to_owned();
        };
        match kind_of(&name).filter(|_| !value.is_empty()) {
            Some(kind) => format!("{written}={}", self.name(kind, &value)),
            None => pair.to_owned(),
        }
    }

    /// A value of `Authorization` without secrets.
    pub(super) fn conceal_authorization(&mut self, value: &str) -> String {
        let value = value.trim();
        let Some((scheme, rest)) = value.split_once(' ') else {
            let is_scheme = ["", "basic", "bearer"].iter().any(|known| value.eq_ignore_ascii_case(known));
            return if is_scheme { value.to_owned() } else { self.name("key", value) };
        };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return format!("{scheme} {}", self.name("token", rest));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return format!("{scheme} {}", self.name("credentials", rest));
        }
        let decoded = BASE64.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        // Readable in the recording, and encoded again when it is sent.
        let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
            return format!("{scheme} {}", self.name(UNDECODED, rest));
        };
        let user = if user.is_empty() { String::new() } else { self.name("key", user) };
        let password = if password.is_empty() { String::new() } else { self.name("password", password) };
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
            Some((scheme, rest))
                if scheme.eq_ignore_ascii_case("basic")
                    && !names_in(value).iter().any(|name| is_undecoded(name)) =>
            {
                format!("{scheme} {}", BASE64.encode(rest))
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
            (Value::String(recorded), answered) => match (name_of(recorded), answered) {
                (Some(name), Value::String(text)) => self.set(name, text),
                (Some(name), Value::Number(number)) => self.set(name, &number.to_string()),
                _ => {}
            },
            _ => {}
        }
    }
}

/// The name that a text consists of.
pub(super) fn name_of(text: &str) -> Option<&str> {
    text.strip_prefix(OPEN)?.strip_suffix(CLOSE).filter(|name| !name.contains(OPEN))
}

fn is_undecoded(name: &str) -> bool {
    name.split_once(' ').is_some_and(|(kind, _)| kind == UNDECODED)
}

/// The names in a text; that of a body that was not written down is none.
pub(super) fn names_in(text: &str) -> Vec<&str> {
    let parts = text.split(OPEN).skip(1);
    let names = parts.filter_map(|part| part.split_once(CLOSE).map(|(name, _)| name));
    names.filter(|name| *name != UNREADABLE_BODY_NAME).collect()
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
        let basic = format!("Basic {}", BASE64.encode("CANARY-3:"));
        assert_eq!(names.conceal_authorization(&basic), "Basic {{key 1}}:");
        assert_eq!(names.conceal_known("/orders/CANARY-2"), "/orders/{{token 1}}");
        assert_eq!(names.conceal_authorization("Digest CANARY-4"), "Digest {{credentials 1}}");
        assert_eq!(names.conceal_body("not json CANARY-2"), UNREADABLE_BODY);
    }

    #[test]
    fn s1_secrets_have_names_however_they_are_spelt() {
        let mut names = Names::default();
        for body in [
            r#"{"password":19283746}"#,
            r#"{"newPassword":"19283746"}"#,
            r#"{"p\u0061ssword":"19283746"}"#,
            r#"{"PASS-WORD":["19283746"],"token":{"value":"19283746"}}"#,
            r#"{"password":"19283746","password":{}}"#,
            r#"{"a":{"password":"19283746"},"a":1}"#,
            "old_password=19283746&x=1",
            "p%61ssword=%31928374%36",
        ] {
            let concealed = names.conceal_body(body);
            assert!(!concealed.contains("92837"), "{body}: {concealed}");
        }
        assert_eq!(names.unreadable(), 0);
        for body in [
            "\u{feff}{\"password\":\"19283746\"}",
            "{\u{a0}\"password\":\"19283746\"}",
            "{\"password\":\"19283746\",}",
            "--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n19283746\r\n--x--\r\n",
            "password=192&83746",
            "<password>19283746</password>",
            "19283746",
            "\"19283746\"",
        ] {
            assert_eq!(names.conceal_body(body), UNREADABLE_BODY, "{body}");
        }
        assert_eq!(names.unreadable(), 8);
        assert_eq!(names_in(UNREADABLE_BODY), [""; 0]);
        assert_eq!(names.conceal_form("%74oken=CANARY-5&y"), "%74oken={{token 1}}&y");
        assert_eq!(names.conceal_authorization("CANARY-6"), "{{key 1}}");
        // Without its padding, and what cannot be read.
        let basic = BASE64.encode("CANARY-77:");
        assert_eq!(
            names.conceal_authorization(&format!("Basic {}", basic.trim_end_matches('='))),
            "Basic {{key 2}}:"
        );
        assert_eq!(names.conceal_authorization("Basic CANARY-8"), "Basic {{unreadable 1}}");
        assert_eq!(names.conceal_authorization("Basic CANARY-9"), "Basic {{unreadable 2}}");
        assert_eq!(names.conceal_authorization("Bearer"), "Bearer");
        let mut values = Values::default();
        values.set("unreadable 1", "CANARY-8");
        assert_eq!(values.reveal_authorization("Basic {{unreadable 1}}"), Ok("Basic CANARY-8".into()));
    }

    #[test]
    fn h2_nothing_secret_is_shown() {
        let shown = |kind, json: Value| showable(&json, kind).to_string();
        assert_eq!(shown(Some("token"), json!("EC13")), "\"a secret\"");
        assert_eq!(shown(None, json!({"tokens": ["EC13"], "x": "y"})), r#"{"tokens":["a secret"],"x":"y"}"#);
        assert_eq!(shown(Some("token"), json!(null)), "null");
        assert_eq!(shown(Some("token"), json!("{{token 1}}")), "\"{{token 1}}\"");
    }

    #[test]
    fn what_has_no_secret_stays_as_it_was_written() {
        let mut names = Names::default();
        for body in ["", "\r\n", "{ \"status\" : {} }", "[1, 2]", "a=b&c=", "x=1&"] {
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
        let basic = format!("Basic {}", BASE64.encode("K:"));
        assert_eq!(values.reveal_authorization("Basic {{key 1}}:"), Ok(basic));
        assert_eq!((name_of("{{key 1}}"), name_of("x{{key 1}}")), (Some("key 1"), None));
    }
}
