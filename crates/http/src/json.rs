//! The JSON bodies of the admin API: exact, so that a misspelt member is no silent nothing, and an error names the
//! member at fault without repeating its value, which may be a secret.

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue},
};
use doorward_domain::administration::Idempotency;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    body::{self, Members},
    error::ApiError,
    state::State,
};

/// A JSON object that was read into a type; an empty body is an empty object.
pub struct Json<T> {
    /// What was read.
    pub value: T,
    /// What makes this request happen once, if the caller sent an `Idempotency-Key`.
    pub idempotency: Option<Idempotency>,
}

/// Members whose values are secret: which they are does not make another request, and nothing must be kept of them.
const SECRETS: [&str; 2] = ["password", "secret"];
/// The most bytes of an `Idempotency-Key`.
const LONGEST_KEY: usize = 255;

impl<T: DeserializeOwned> FromRequest<State> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &State) -> Result<Self, ApiError> {
        let limits = state.limits;
        let (head, body) = request.into_parts();
        let body = body::read(body, limits.body_bytes, limits.body_timeout).await?;
        // Reads what is harmless and says what is wrong as for the contract.
        Members::parse(&body)?.each_once()?;
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&body);
        let marks = String::from_utf8_lossy(body).replace(char::is_whitespace, "");
        let body: &[u8] = if matches!(marks.as_str(), "" | "{}") { b"{}" } else { body };
        let value = read(body)?;
        let idempotency = idempotency_key(&head.headers)?.map(|key| {
            let asked = format!("{} {}\n{}", head.method, head.uri, without_secrets(body));
            Idempotency::new(key, asked.as_bytes())
        });
        Ok(Self { value, idempotency })
    }
}

/// The `Idempotency-Key` of a request, if it has one.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&[u8]>, ApiError> {
    let mut keys = headers.get_all("idempotency-key").iter();
    match (keys.next().map(HeaderValue::as_bytes), keys.next()) {
        (None, _) => Ok(None),
        (Some(key), None) if (1..=LONGEST_KEY).contains(&key.len()) => Ok(Some(key)),
        _ => {
            let problem = format!("must be one text of 1 to {LONGEST_KEY} bytes");
            Err(ApiError::InvalidParameter("Idempotency-Key".into(), problem))
        }
    }
}

/// The body in one form whatever the order of its members, without the values that are secret.
fn without_secrets(body: &[u8]) -> String {
    let mut value: Value = serde_json::from_slice(body).unwrap_or_default();
    for secret in SECRETS {
        if let Some(member) = value.get_mut(secret).filter(|member| !member.is_null()) {
            *member = Value::from("...");
        }
    }
    value.to_string()
}

/// Reads JSON that is exactly of a type.
pub fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    // Where a mistake is, is looked for once there is one: to keep track of it costs as much as reading.
    serde_json::from_slice(body).or_else(|_| {
        let mut json = serde_json::Deserializer::from_slice(body);
        serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            explain(&path, &error.into_inner().to_string())
        })
    })
}

/// Says what is wrong with a member, from what serde says, which quotes values.
fn explain(path: &str, error: &str) -> ApiError {
    let error = error.rfind(" at line ").map_or(error, |place| &error[..place]);
    let quoted = |text: &str| text.split('`').nth(1).unwrap_or_default().to_owned();
    // serde names the object around a member that it misses or does not know, or the member itself.
    let member = |name: String| match path.trim_end_matches(&name).trim_end_matches('.') {
        "" => name,
        around => format!("{around}.{name}"),
    };
    let invalid = |problem: String| ApiError::InvalidParameter(path.to_owned().into(), problem);
    if error.starts_with("missing field") {
        return ApiError::MissingParameter(member(quoted(error)).into(), "send it as a member of the body");
    }
    if error.starts_with("unknown field") {
        let known = error.split_once(", expected ").map_or("none", |(_, known)| known);
        let problem = format!("is unknown; known is {}", known.replace('`', "'"));
        return ApiError::InvalidParameter(member(quoted(error)).into(), problem);
    }
    if error.starts_with("duplicate field") {
        let problem = "is given more than once; send it once".to_owned();
        return ApiError::InvalidParameter(member(quoted(error)).into(), problem);
    }
    if let Some((kind, expected)) = error.split_once(", expected ")
        && ["invalid type", "invalid value", "invalid length", "unknown variant"]
            .iter()
            .any(|known| kind.starts_with(known))
    {
        return invalid(format!("is not as it must be; send {}", expected.replace('`', "'")));
    }
    // Our own texts complete "the parameter ...".
    invalid(error.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only reading it is tried")]
    struct Body {
        name: String,
        password: Option<String>,
        #[serde(default)]
        units: Vec<u8>,
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
        Two,
    }

    #[test]
    fn errors_name_the_member_and_not_its_value() {
        for (body, code, member, part) in [
            (r#"{}"#, "MISSING_PARAMETER", "name", "'name' is missing"),
            (r#"{"name": 5}"#, "INVALID_PARAMETER", "name", "send a string"),
            (
                r#"{"name": "x", "pasword": "canary"}"#,
                "INVALID_PARAMETER",
                "pasword",
                "known is one of 'name'",
            ),
            (r#"{"name": "x", "password": ["canary"]}"#, "INVALID_PARAMETER", "password", "send a string"),
            (r#"{"name": "x", "password": 4711}"#, "INVALID_PARAMETER", "password", "send a string"),
            (r#"{"name": "x", "units": [1, "canary"]}"#, "INVALID_PARAMETER", "units[1]", "send u8"),
            (r#"{"name": "x", "kind": "canary"}"#, "INVALID_PARAMETER", "kind", "send 'one' or 'two'"),
            (r#"{"name": "x", "name": "canary"}"#, "INVALID_PARAMETER", "name", "more than once"),
        ] {
            let error = read::<Body>(body.as_bytes()).unwrap_err();
            let message = error.message();
            assert_eq!((error.code().0, error.parameter()), (code, Some(member)), "{body}");
            assert!(
                message.contains(part) && !message.contains("canary") && !message.contains("4711"),
                "{message}"
            );
        }
    }

    #[test]
    fn s1_of_a_secret_nothing_is_kept() {
        let asked = without_secrets(br#"{"b": 1, "a": 2, "password": "canary", "secret": null}"#);
        assert_eq!(asked, r#"{"a":2,"b":1,"password":"...","secret":null}"#);
    }
}
