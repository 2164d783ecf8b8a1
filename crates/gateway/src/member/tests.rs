use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Reads a body in parts of this length.
fn scan(body: &[u8], part: usize) -> (Progress, Scan) {
    let mut scan = Scan::default();
    let mut progress = Progress::Unfinished;
    for end in (part..body.len() + part).step_by(part).map(|end| end.min(body.len())) {
        progress = scan.read(&body[..end], end == body.len());
    }
    (progress, scan)
}

fn cut(body: &str) -> (Vec<String>, String) {
    let (progress, scan) = scan(body.as_bytes(), body.len());
    assert_eq!(progress, Progress::Whole, "{body}");
    let rest = scan.without_tokens(body.as_bytes().into());
    let tokens = scan.tokens().iter().map(|token| String::from_utf8(token.clone()).unwrap()).collect();
    (tokens, String::from_utf8(rest.to_vec()).unwrap())
}

#[test]
fn only_the_member_goes() {
    for (body, token, rest) in [
        (r#"{"token":"A"}"#, "A", "{}"),
        (r#"{ "token" : "A" }"#, "A", "{  }"),
        (r#"{"token":"A","x":1}"#, "A", r#"{"x":1}"#),
        (r#"{"token":"A" ,  "x":1}"#, "A", r#"{"x":1}"#),
        (r#"{"x":1,"token":"A"}"#, "A", r#"{"x":1}"#),
        (r#"{"x": 1.50 , "token":"A" }"#, "A", r#"{"x": 1.50 }"#),
        (r#"{"x":true,"token":"A","y":null}"#, "A", r#"{"x":true,"y":null}"#),
        (
            r#"{"x":[{"token":"B"}],"token":"A","y":{"token":"C"}}"#,
            "A",
            r#"{"x":[{"token":"B"}],"y":{"token":"C"}}"#,
        ),
        (r#"{"\u0074oken":"\u0041"}"#, "A", "{}"),
        ("\u{feff}{\"token\":\"A\",\"x\":1}\r\n", "A", "\u{feff}{\"x\":1}\r\n"),
        (r#"{"x":"token\":\"B","token":"A"}"#, "A", r#"{"x":"token\":\"B"}"#),
    ] {
        assert_eq!(cut(body), (vec![token.to_owned()], rest.to_owned()), "{body}");
    }
}

#[test]
fn all_of_several_go_and_are_told() {
    for (body, rest) in [
        (r#"{"token":"A","token":"B"}"#, "{}"),
        (r#"{"token":"A","token":"B","x":1}"#, r#"{"x":1}"#),
        (r#"{"x":1,"token":"A","token":"B","y":2}"#, r#"{"x":1,"y":2}"#),
        (r#"{"token":"A","x":1,"token":"B","y":2}"#, r#"{"x":1,"y":2}"#),
        (r#"{"token":"A","token":"","token":"B"}"#, r#"{"token":""}"#),
        (r#"{"token":null,"token":"A","token":"B"}"#, r#"{"token":null}"#),
    ] {
        assert_eq!(cut(body), (vec!["A".to_owned(), "B".to_owned()], rest.to_owned()), "{body}");
    }
}

#[test]
fn what_is_not_given_stays_and_what_is_no_text_is_no_token() {
    for body in [r#"{"token":null}"#, r#"{"token":""}"#, r#"{"Token":"A"}"#, "{}", r#"{"x":{"token":"A"}}"#] {
        assert_eq!(cut(body), (vec![], body.to_owned()));
    }
    for body in
        [r#"{"token":1}"#, r#"{"token":true}"#, r#"{"token":["A"]}"#, r#"{"token":{"token":"A"},"x":1}"#]
    {
        assert_eq!(cut(body).0, ["\0"], "{body}");
    }
}

#[test]
fn a_broken_body_has_a_place() {
    for (body, place) in [
        ("{\"a\":tru}", 9),
        ("{\u{a0}}", 2),
        ("{\"a\":1,}", 8),
        ("[1]", 1),
        ("{\"a\":1", 6),
        ("{\"a\":1} x", 9),
        ("{\"token\":\"A\"}{\"token\":\"B\"}", 14),
        ("{\"a\":\"\u{1}\"}", 7),
    ] {
        for part in [1, 3, body.len()] {
            assert_eq!(scan(body.as_bytes(), part).0, Progress::Broken(place), "{body}");
        }
    }
    let deep = format!("{{\"a\":{}", "[".repeat(1_000_000));
    assert!(matches!(scan(deep.as_bytes(), 65_536).0, Progress::Broken(_)));
}

#[test]
fn objects_are_told_from_their_first_byte() {
    for (body, expected) in [
        ("", None),
        (" \r\n\t", None),
        (" {", Some(true)),
        ("\u{feff} {", Some(true)),
        ("\u{feff}", None),
        ("[", Some(false)),
        ("a={", Some(false)),
        ("\u{a0}{", Some(false)),
    ] {
        assert_eq!(Beginning::default().may_be_object(body.as_bytes()), expected, "{body:?}");
    }
    let bytes = b"\xef\xbb\xbf \n{";
    let mut beginning = Beginning::default();
    for length in 0..bytes.len() {
        assert_eq!(beginning.may_be_object(&bytes[..length]), None, "{length}");
    }
    assert_eq!(beginning.may_be_object(bytes), Some(true));
}

#[test]
fn a_body_that_goes_on_is_cut_where_it_can_be() {
    for (body, is_settled, rest) in [
        (r#"{"token":"A","x":1,"y"#, true, r#"{"x":1,"y"#),
        (r#"{"x":1,"token":"A" "#, true, r#"{"x":1 "#),
        (r#"{"token":"A","x"#, false, ""),
        (r#"{"token":"A""#, false, ""),
        (r#"{"x":"yyyyyyyyyyyyyyyy"#, true, r#"{"x":"yyyyyyyyyyyyyyyy"#),
    ] {
        let mut scan = Scan::default();
        assert_eq!(scan.read(body.as_bytes(), false), Progress::Unfinished);
        assert_eq!(scan.is_settled(), is_settled, "{body}");
        if is_settled {
            assert_eq!(scan.without_tokens(body.as_bytes().into()), rest);
        }
    }
}

/// JSON of every kind, as a text with white space and escapes as a client may write them.
fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-1.5e+7".to_owned()),
        Just("0".to_owned()),
        "[0-9]{1,18}".prop_map(|digits| format!("1{digits}")),
        text(),
    ];
    scalar.prop_recursive(4, 40, 5, |inner| {
        let members = proptest::collection::vec((name(), space(), inner.clone()), 0..5);
        let items = proptest::collection::vec((space(), inner), 0..5);
        prop_oneof![
            members.prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(n, s, v)| format!("{n}{s}:{v}{s}")).collect();
                format!("{{{}}}", members.join(","))
            }),
            items.prop_map(|items| {
                let items: Vec<_> = items.iter().map(|(s, v)| format!("{s}{v}")).collect();
                format!("[{}]", items.join(","))
            }),
        ]
    })
}

fn space() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,3}"
}

fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap().trim_matches('"').to_owned()),
        Just("\\\"".to_owned()),
        Just("\\\\".to_owned()),
        Just("\\u0074oken".to_owned()),
        Just("\\ud83d\\ude00".to_owned()),
        Just("}{][,:".to_owned()),
    ];
    // Trimming may have left half of an escape.
    proptest::collection::vec(part, 0..3)
        .prop_map(|parts| format!("\"{}\"", parts.concat()))
        .prop_filter("a text", |text| serde_json::from_str::<String>(text).is_ok())
}

/// The name of a member: the token's, in each spelling, more often than chance would have it.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just("\"token\"".to_owned()),
        1 => Just("\"\\u0074ok\\u0065n\"".to_owned()),
        5 => text(),
    ]
}

/// The members of an object in their order, each as its name and its value.
fn members(body: &str) -> Vec<(String, Value)> {
    struct Members(Vec<(String, Value)>);
    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Members;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut members = Vec::new();
                    while let Some(member) = map.next_entry()? {
                        members.push(member);
                    }
                    Ok(Members(members))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    serde_json::from_str::<Members>(body).unwrap_or_else(|error| panic!("{error}: {body}")).0
}

proptest! {
    /// Whatever the object, what is left is the same members in the same order without the tokens, and, with the
    /// members cut out and the commas aside, the same bytes.
    #[test]
    fn what_is_left_is_what_was_there(
        parts in proptest::collection::vec((space(), name(), space(), json(), space()), 0..6),
        around in (space(), space()),
        part in 1_usize..40,
    ) {
        let inside: Vec<_> = parts.iter().map(|(a, n, b, v, c)| format!("{a}{n}{b}:{b}{v}{c}")).collect();
        let body = format!("{}{{{}}}{}", around.0, inside.join(","), around.1);
        let (progress, scan) = scan(body.as_bytes(), part);
        prop_assert_eq!(progress, Progress::Whole, "{}", body);
        let rest = String::from_utf8(scan.without_tokens(body.as_bytes().into()).to_vec()).unwrap();
        let is_given = |value: &Value| !value.is_null() && value.as_str() != Some("");
        let (tokens, kept): (Vec<_>, Vec<_>) =
            members(&body).into_iter().partition(|(name, value)| name == "token" && is_given(value));
        prop_assert_eq!(&members(&rest), &kept, "{} became {}", body, rest);
        let texts: Vec<_> =
            tokens.iter().map(|(_, value)| value.as_str().unwrap_or("\0").as_bytes().to_vec()).collect();
        prop_assert_eq!(scan.tokens(), &texts);
        // Each member that stays is there byte for byte.
        for (_, name, space, value, _) in &parts {
            if members(&format!("{{{name}:{value}}}")).iter().any(|member| kept.contains(member)) {
                let member = format!("{name}{space}:{space}{value}");
                prop_assert!(rest.contains(&member), "{member} of {body} is not in {rest}");
            }
        }
        if tokens.is_empty() {
            prop_assert_eq!(rest, body);
        }
    }

    /// No bytes make it panic, and none that serde refuses as a whole are taken for an object.
    #[test]
    fn any_bytes_are_read(body in proptest::collection::vec(any::<u8>(), 0..200), part in 1_usize..40) {
        let body = [b"{", &*body].concat();
        let (progress, _) = scan(&body, part);
        if progress == Progress::Whole {
            let text = std::str::from_utf8(&body);
            prop_assert!(text.is_err() || serde_json::from_str::<Value>(text.unwrap()).is_ok());
        }
    }
}
