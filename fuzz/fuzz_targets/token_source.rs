//! Where a request carries its token. The lines of the input are the values of `Authorization`, `X-Forwarded-Uri` and
//! `X-Original-Uri` and the query; a further line is a second `Authorization`.
//!
//! Nothing panics; a token that is found has the one form of a token (T2) and stands in the input, perhaps
//! percent-encoded; the order in which the places are looked at does not matter.
#![no_main]

use axum::http::{HeaderMap, HeaderValue, Uri};
use doorward_http::token_source::Presented;
use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode;

fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    let mut uri = Uri::from_static("/");
    let names = ["authorization", "x-forwarded-uri", "x-original-uri", "", "authorization"];
    for (name, value) in names.into_iter().zip(input.split(|b| *b == b'\n')) {
        if name.is_empty() {
            uri = Uri::try_from([b"/?", value].concat()).unwrap_or_default();
        } else if !value.is_empty()
            && let Ok(value) = HeaderValue::from_bytes(value)
        {
            headers.append(name, value);
        }
    }
    let found =
        Presented::default().in_authorization(&headers).in_forwarded_query(&headers).in_query(&uri).one();
    let otherwise =
        Presented::default().in_query(&uri).in_forwarded_query(&headers).in_authorization(&headers).one();
    let Ok(token) = found else {
        assert_eq!(found.err(), otherwise.err());
        return;
    };
    let token = token.expose();
    assert_eq!(otherwise.expect("a token either way").expose(), token);
    assert!(token.len() == 32 && token.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)));
    let stands_in = |text: &[u8]| text.windows(32).any(|part| part == token.as_bytes());
    assert!(
        stands_in(input) || stands_in(&percent_decode(input).collect::<Vec<_>>()),
        "a token from nowhere"
    );
});
