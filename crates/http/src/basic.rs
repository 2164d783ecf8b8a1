//! HTTP Basic (RFC 7617) as the Web API key uses it: the key is the username, the password is empty.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use doorward_domain::credential::PlainKey;

use crate::error::ApiError;

/// Standard base64, with its padding or without: old clients leave it out.
pub const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const HOW: &str = "send it as the username of HTTP Basic with an empty password";

/// Reads the key from the value of `Authorization`.
pub fn parse_key(authorization: Option<&[u8]>) -> Result<PlainKey, ApiError> {
    let credentials = authorization
        .and_then(|value| scheme(value, "basic"))
        .ok_or(ApiError::MissingParameter("key".into(), HOW))?;
    let invalid = |problem: &str| ApiError::InvalidParameter("key".into(), format!("{problem}: {HOW}"));
    let decoded =
        BASE64.decode(credentials).map_err(|_| invalid("is not base64 in the header 'Authorization'"))?;
    let text =
        String::from_utf8(decoded).map_err(|_| invalid("is not UTF-8 in the header 'Authorization'"))?;
    let (key, password) =
        text.split_once(':').ok_or_else(|| invalid("has no colon behind it in 'Authorization'"))?;
    if !password.is_empty() {
        return Err(invalid("comes with a password, and there is none"));
    }
    if key.is_empty() {
        return Err(ApiError::MissingParameter("key".into(), HOW));
    }
    PlainKey::parse(key).ok_or_else(|| invalid(&format!("is longer than {} bytes", PlainKey::MAX_BYTES)))
}

/// The value of `Authorization`. More than one is refused: which of them counts would be anybody's guess.
pub fn authorization(headers: &HeaderMap) -> Result<Option<&[u8]>, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => {
            Err(ApiError::MalformedRequest("The header 'Authorization' is repeated; send it once.".into()))
        }
        (first, None) => Ok(first.map(HeaderValue::as_bytes)),
    }
}

/// What follows the name of an authentication scheme, if the value is of that scheme. Names match in either case.
pub fn scheme<'a>(value: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (scheme, rest) = value.split_at_checked(name.len())?;
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    (scheme.eq_ignore_ascii_case(name.as_bytes()) && spaces > 0).then(|| &rest[spaces..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &[u8] = b"Basic RUU3M0MwQUU2NDUyNDM3MUI1RERFRkY1RjdCQjIxOTI6";

    fn parse(value: &[u8]) -> Result<String, &'static str> {
        parse_key(Some(value)).map(|key| key.expose().to_owned()).map_err(|error| error.code().0)
    }

    #[test]
    fn h3_reads_the_reference_and_what_is_harmless() {
        let key = "EE73C0AE64524371B5DDEFF5F7BB2192".to_owned();
        assert_eq!(parse(EXAMPLE), Ok(key.clone()));
        assert_eq!(parse(b"bAsIc  RUU3M0MwQUU2NDUyNDM3MUI1RERFRkY1RjdCQjIxOTI6"), Ok(key));
        assert_eq!(parse(b"Basic YWI6"), Ok("ab".into()));
        assert_eq!(parse(b"Basic YWJjZDo="), Ok("abcd".into()));
        assert_eq!(parse(b"Basic YWJjZDo"), Ok("abcd".into()));
    }

    #[test]
    fn h3_refuses_the_rest_and_says_why() {
        assert_eq!(parse_key(None).unwrap_err().code().0, "MISSING_PARAMETER");
        for (value, code) in [
            (&b"Bearer YWI6"[..], "MISSING_PARAMETER"),
            (b"Basic", "MISSING_PARAMETER"),
            (b"Basic ", "INVALID_PARAMETER"),
            (b"Basic ***", "INVALID_PARAMETER"),
            (b"Basic YWI", "INVALID_PARAMETER"),
            (b"Basic Og==", "MISSING_PARAMETER"),
            (b"Basic YTpi", "INVALID_PARAMETER"),
            (b"Basic /zo=", "INVALID_PARAMETER"),
            (b"Basic\tYWI6", "MISSING_PARAMETER"),
        ] {
            assert_eq!(parse(value), Err(code), "{}", String::from_utf8_lossy(value));
        }
        let long = BASE64.encode(format!("{}:", "x".repeat(257)));
        assert_eq!(parse(format!("Basic {long}").as_bytes()), Err("INVALID_PARAMETER"));
    }

    proptest! {
        #[test]
        fn h3_whatever_is_encoded_comes_back(key in "[^:\\x00-\\x1f]{1,60}") {
            prop_assert_eq!(parse(format!("Basic {}", BASE64.encode(format!("{key}:"))).as_bytes()), Ok(key));
        }

        #[test]
        fn h3_no_bytes_are_too_odd(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_key(Some(&value));
            let _ = parse_key(Some(&[b"Basic ", &value[..]].concat()));
        }
    }
}
