//! JSON bodies: nothing panics, and a member has the text that serde_json's own map has for it, or is refused.
#![no_main]

use doorward_http::body::Members;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

const MEMBERS: [&str; 6] = ["username", "password", "organisation", "organization", "unit", "token"];

fuzz_target!(|body: &[u8]| {
    let members = Members::parse(body).map_err(|error| error.message());
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    let map = serde_json::from_slice::<Map<String, Value>>(body).or_else(|error| {
        // Nothing, or an empty object with white space in it that JSON does not know.
        let marks: String = String::from_utf8_lossy(body).split_whitespace().collect();
        if matches!(&*marks, "" | "{}") { Ok(Map::new()) } else { Err(error) }
    });
    let (members, map) = match (members, map) {
        (Ok(members), Ok(map)) => (members, map),
        (Err(_), Err(_)) => return,
        (Ok(_), Err(error)) => panic!("serde_json refuses it: {error}"),
        (Err(message), Ok(_)) => panic!("an object is refused: {message}"),
    };
    for name in MEMBERS {
        match (members.find_text(name), map.get(name)) {
            (Ok(Some(found)), Some(Value::String(text))) => assert!(found == text && !found.is_empty()),
            (Ok(None), None | Some(Value::Null)) => {}
            (Ok(None), Some(Value::String(text))) => assert!(text.is_empty()),
            // Of another kind, or given twice, which the map does not show.
            (Err(error), Some(_)) => assert_eq!(error.code().0, "INVALID_PARAMETER"),
            (found, expected) => panic!("{name}: {found:?}, not {expected:?}"),
        }
    }
});
