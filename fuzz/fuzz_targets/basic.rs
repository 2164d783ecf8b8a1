//! `Authorization: Basic`: nothing panics, and a key that is read is read again when it is sent again (H3).
#![no_main]

use base64::{Engine, engine::general_purpose::STANDARD};
use doorward_domain::credential::PlainKey;
use doorward_http::basic::parse_key;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    for value in [value, &[b"Basic ", value].concat()] {
        let Ok(key) = parse_key(Some(value)) else { continue };
        let key = key.expose();
        assert!((1..=PlainKey::MAX_BYTES).contains(&key.len()) && !key.contains(':'), "{key:?} is no key");
        let again = format!("Basic {}", STANDARD.encode(format!("{key}:")));
        assert_eq!(parse_key(Some(again.as_bytes())).expect("it was a key before").expose(), key);
    }
});
