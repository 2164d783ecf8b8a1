//! The JSON bodies of the two mounts: liberal about what is harmless, and exact about what is wrong.
//!
//! Bodies come from old, hand-written clients and from people who copy examples out of web pages. So the content
//! type does not matter, an empty body is an empty object, members nobody asked for are left alone, and an error
//! names the byte, and the no-break space that sits there.

use std::{collections::HashSet, fmt, time::Duration};

use axum::{
    BoxError,
    body::HttpBody,
    extract::{FromRequest, Request},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

use crate::{error::ApiError, state::State};

/// The members of a JSON object, as they came.
#[derive(Default)]
pub struct Members(Vec<(String, Value)>);

impl Members {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        let text = std::str::from_utf8(body).map_err(|error| {
            let at = error.valid_up_to() + 1;
            ApiError::MalformedRequest(format!("The body is not UTF-8 at byte {at}; send JSON in UTF-8."))
        })?;
        // The reference's own example of an empty body is an object with a no-break space in it.
        let mut marks = text.chars().filter(|c| !c.is_whitespace());
        if matches!((marks.next(), marks.next(), marks.next()), (None, ..) | (Some('{'), Some('}'), None)) {
            return Ok(Self::default());
        }
        serde_json::from_str(text).map_err(|error| ApiError::MalformedRequest(explain(text, &error)))
    }

    /// Refuses a member that is given more than once, for it cannot be told which is meant.
    pub fn each_once(&self) -> Result<(), ApiError> {
        let mut names = HashSet::new();
        match self.0.iter().find(|(name, _)| !names.insert(name)) {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                Err(ApiError::InvalidParameter(name.into(), "is given more than once; send it once".into()))
            }
        }
    }

    /// The text of a member. `null` and `""` mean that it was not given.
    pub fn find_text(&self, name: &'static str) -> Result<Option<&str>, ApiError> {
        let mut values = self.0.iter().filter(|(known, _)| known == name);
        let Some((_, value)) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(ApiError::InvalidParameter(
                name.into(),
                "is given more than once; send it once".into(),
            ));
        }
        match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok((!text.is_empty()).then_some(text)),
            other => {
                Err(ApiError::InvalidParameter(name.into(), format!("is {}; send a string", kind(other))))
            }
        }
    }

    /// The text of a member that must be there.
    pub fn get_text(&self, name: &'static str, remedy: &'static str) -> Result<&str, ApiError> {
        self.find_text(name)?.ok_or(ApiError::MissingParameter(name.into(), remedy))
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Says what is wrong with a body, without repeating what is in it: it may hold a password.
fn explain(text: &str, error: &serde_json::Error) -> String {
    if error.is_data() {
        return "The body is JSON but not an object; send an object such as {\"token\": \"...\"}.".into();
    }
    let line_start: usize =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = (line_start + error.column().saturating_sub(1)).min(text.len());
    if error.is_eof() {
        return format!("The body ends at byte {} in the middle of the JSON; send all of it.", text.len());
    }
    let found = text.char_indices().find(|(start, c)| at < start + c.len_utf8()).map(|(_, c)| c);
    let cause = match found {
        Some('\u{a0}') => " a no-break space (U+00A0), as web pages have it: replace it by an ordinary space",
        Some('\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2018}' | '\u{2019}') => {
            " a typographic quotation mark: replace it by an ordinary one (\")"
        }
        Some('\'') => " a single quotation mark: JSON wants double ones (\")",
        _ if error.to_string().starts_with("recursion limit") => " nested too deeply: send a flat object",
        _ => " unexpected here: send one JSON object",
    };
    format!("The body is not JSON: byte {} is{cause}.", at + 1)
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl FromRequest<State> for Members {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &State) -> Result<Self, ApiError> {
        let limits = state.limits;
        Self::parse(&read(request.into_body(), limits.body_bytes, limits.body_timeout).await?)
    }
}

/// Reads a body of at most `limit` bytes that arrives within `timeout`. More is read, up to some point, and thrown
/// away: a client that is still sending would not see the answer.
pub async fn read<B>(mut body: B, limit: usize, timeout: Duration) -> Result<Bytes, ApiError>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let read = async {
        match Limited::new(&mut body, limit).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                let mut rest = Limited::new(&mut body, 4 * 1024 * 1024);
                while let Some(Ok(_)) = rest.frame().await {}
                Err(ApiError::PayloadTooLarge(limit))
            }
            Err(_) => Err(ApiError::MalformedRequest("The body broke off; send all of it.".into())),
        }
    };
    let late = || {
        ApiError::MalformedRequest(format!("The body did not arrive within {timeout:?}; send it at once."))
    };
    tokio::time::timeout(timeout, read).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(body: &[u8]) -> String {
        match Members::parse(body) {
            Err(error) => error.message(),
            Ok(_) => "none".into(),
        }
    }

    #[test]
    fn harmless_bodies_are_read() {
        for body in
            ["", " \r\n", "{}", "{\n \n}", "{\n\u{a0}\n}", "\u{feff}{}", r#"{"else": [1, {"a": null}]}"#]
        {
            assert_eq!(problem(body.as_bytes()), "none", "{body:?}");
        }
        let members =
            Members::parse(br#"{"a": "x", "b": null, "c": "", "d": 1, "e": "1", "e": "1"}"#).unwrap();
        assert_eq!(members.find_text("a").unwrap(), Some("x"));
        assert_eq!(members.find_text("b").unwrap(), None);
        assert_eq!(members.find_text("c").unwrap(), None);
        assert!(members.find_text("d").unwrap_err().message().contains("'d' is a number"));
        assert!(members.find_text("e").unwrap_err().message().contains("more than once"));
        assert_eq!(members.get_text("z", "").unwrap_err().code().0, "MISSING_PARAMETER");
    }

    #[test]
    fn errors_name_the_byte() {
        assert!(
            problem("{\u{a0}\"token\": \"x\"}".as_bytes()).contains("byte 2 is a no-break space (U+00A0)")
        );
        assert!(problem("{\n\u{a0}\u{a0}\"token\": 1}".as_bytes()).contains("byte 3 is a no-break space"));
        assert!(problem("{\"a\":\u{a0}1}".as_bytes()).contains("byte 6 is a no-break space"));
        assert!(problem("{\u{201c}a\": 1}".as_bytes()).contains("byte 2 is a typographic quotation mark"));
        assert!(problem(b"{'a': 1}").contains("byte 2 is a single quotation mark"));
        assert!(problem(b"username=x&password=y").contains("byte 1 is unexpected"));
        assert!(problem(b"{\"a\": 1} x").contains("byte 10 is unexpected"));
        assert!(problem(b"{\"a\": ").contains("ends at byte 6"));
        assert!(problem(b"{\"a\": \"\xff\"}").contains("not UTF-8 at byte 8"));
        assert!(problem(b"[1]").contains("not an object") && problem(b"\"x\"").contains("not an object"));
        assert!(problem("[".repeat(100_000).as_bytes()).contains("not an object"));
        assert!(problem(format!("{{\"a\":{}", "[".repeat(100_000)).as_bytes()).contains("nested too deeply"));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Members::parse(&body);
        }

        #[test]
        fn s1_an_error_repeats_nothing_of_the_body(secret in "[a-z]{12}", cut in 1usize..24) {
            let body = format!(r#"{{"password":"{secret}"}}"#);
            let message = problem(&body.as_bytes()[..cut.min(body.len() - 1)]);
            prop_assert!(!message.contains(&secret));
        }
    }
}
