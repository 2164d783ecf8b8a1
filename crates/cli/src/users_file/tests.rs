//! What is written is what is read, in both forms and from every place.

use std::io::Cursor;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{read::Unreadable, *};
use crate::args::WrongUse;

fn rows(format: Format, text: impl AsRef<[u8]>) -> anyhow::Result<Rows> {
    Rows::new(format, Box::new(Cursor::new(text.as_ref().to_vec())))
}

/// All rows with their lines, and the places between them.
fn read(format: Format, text: impl AsRef<[u8]>) -> (Vec<Row>, Vec<Place>) {
    let mut rows = rows(format, text).unwrap();
    let (mut found, mut places) = (Vec::new(), vec![rows.place()]);
    while let Some(row) = rows.next().unwrap() {
        found.push(row);
        places.push(rows.place());
    }
    (found, places)
}

fn members(format: Format, text: impl AsRef<[u8]>) -> Vec<Map<String, Value>> {
    read(format, text).0.into_iter().map(|row| row.members.unwrap()).collect()
}

fn written(format: Format, users: &[FileUser]) -> Vec<u8> {
    let mut writer = Writer::new(format, Vec::new()).unwrap();
    for user in users {
        writer.write(user).unwrap();
    }
    writer.finish().unwrap()
}

/// A text of one line, as names are, full of what means something in one of the forms.
fn text() -> impl Strategy<Value = String> {
    let odd =
        prop::sample::select(vec![",", ";", "|", "\\", "\"", "'", "-", " ", "é", "日", "=", "\u{2028}", "x"]);
    let odd = prop::collection::vec(odd, 1..8).prop_map(|parts| parts.concat());
    prop_oneof![odd, "\\PC{1,12}"]
        .prop_map(|text| text.trim().to_owned())
        .prop_filter("something", |text| !text.is_empty())
}

fn user() -> impl Strategy<Value = FileUser> {
    let units = prop::collection::vec(text(), 0..4);
    let default = prop_oneof![Just(None), Just(Some(None)), text().prop_map(|unit| Some(Some(unit)))];
    (text(), prop::option::of(text()), prop::option::of(text()), units, default, any::<(bool, bool)>())
        .prop_map(
            |(
                username,
                person_name,
                password_hash,
                units,
                default_unit,
                (is_disabled, must_change_password),
            )| {
                FileUser {
                    id: "0123456789ABCDEF0123456789ABCDEF".into(),
                    email: person_name.as_ref().map(|_| "a,\"b\"@example.com".into()),
                    username,
                    person_name,
                    role: "member",
                    status: if is_disabled { "disabled" } else { "active" },
                    units,
                    default_unit,
                    must_change_password,
                    password_hash,
                }
            },
        )
}

proptest! {
    #[test]
    fn what_is_written_is_read(users in prop::collection::vec(user(), 0..6)) {
        for format in [Format::Jsonl, Format::Csv] {
            let text = written(format, &users);
            let expected: Vec<_> = users.iter().map(|user| serde_json::to_value(user).unwrap()).collect();
            let found: Vec<_> = members(format, &text).into_iter().map(Value::Object).collect();
            prop_assert_eq!(found, expected, "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn reading_goes_on_at_any_place(
        users in prop::collection::vec(user(), 1..6),
        ending in prop::sample::select(vec!["\n", "\r\n", "\n\n", "\r\n\r\n"]),
        mark in prop::sample::select(vec!["", "\u{feff}"]),
    ) {
        for format in [Format::Jsonl, Format::Csv] {
            let text = String::from_utf8(written(format, &users)).unwrap().replace('\n', ending);
            let text = format!("{mark}{text}");
            let (whole, places) = read(format, &text);
            let gap = ending.matches('\n').count() as u64;
            for (count, row) in (0..).zip(&whole) {
                let first = if format == Format::Csv { 1 + gap } else { 1 };
                prop_assert_eq!(row.line, first + count * gap);
            }
            for (count, place) in places.iter().enumerate() {
                let rest = text.as_bytes()[usize::try_from(place.byte).unwrap()..].to_vec();
                let mut again = rows(format, &text).unwrap().go_on(*place, Box::new(Cursor::new(rest)));
                for row in &whole[count..] {
                    let found = again.next().unwrap().unwrap();
                    prop_assert_eq!(found.line, row.line);
                    prop_assert_eq!(found.members.unwrap(), row.members.as_ref().unwrap().clone());
                }
                prop_assert!(again.next().unwrap().is_none());
            }
        }
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(Format::Jsonl, &bytes);
        let csv = [b"username,units,default_unit,must_change_password\n", bytes.as_slice()].concat();
        let _ = read(Format::Csv, csv);
        let _ = rows(Format::Csv, &bytes);
    }
}

#[test]
fn cells_become_members() {
    let text = "\u{feff} username ,units,default_unit,must_change_password,email\r\n\
                ann,Sales; Back office |a\\;b,Sales,TRUE,\r\n\
                \r\n\
                bob,,-,no,b@x\n\
                \"c\"\"1\n2\",,\\-,false,";
    let (found, _) = read(Format::Csv, text);
    let lines: Vec<_> = found.iter().map(|row| row.line).collect();
    assert_eq!(lines, [2, 4, 5]);
    let found: Vec<_> = found.into_iter().map(|row| Value::Object(row.members.unwrap())).collect();
    assert_eq!(
        found,
        [
            json!({"username": "ann", "units": ["Sales", "Back office", "a;b"], "default_unit": "Sales",
                   "must_change_password": true}),
            json!({"username": "bob", "default_unit": null, "must_change_password": "no", "email": "b@x"}),
            json!({"username": "c\"1\n2", "default_unit": "-", "must_change_password": false}),
        ]
    );
}

#[test]
fn columns_are_known_or_refused() {
    for (first, part) in [
        ("username,pasword_hash", "'pasword_hash', which is unknown; known are id, username,"),
        ("username;email", "'username;email', which is unknown"),
        ("username,email,username", "'username' twice"),
        ("email", "no column 'username'"),
        ("", "no column 'username'"),
    ] {
        let Err(error) = rows(Format::Csv, format!("{first}\n")) else { panic!("{first}") };
        assert!(error.is::<WrongUse>() && error.to_string().contains(part), "{first}: {error}");
    }
}

#[test]
fn rows_that_cannot_be_read_are_rows() {
    let long = format!("{{\"username\": \"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let lines: [&[u8]; 7] = [
        b"{\"username\": \"a\"",
        b"[1]",
        b"{\"a\": 1, \"a\": 2}",
        b"{\"username\": \"\xff\"}",
        long.as_bytes(),
        br#"{"line": 1, "reason": "x", "row": "y"}"#,
        br#"{"line": 1, "code": "TAKEN", "reason": "x", "row": {"username": "mended"}}"#,
    ];
    let (found, _) = read(Format::Jsonl, lines.join(&b"\n"[..]));
    let found: Vec<_> = found
        .into_iter()
        .map(|row| match row.members {
            Ok(members) => Value::Object(members).to_string(),
            Err(Unreadable { problem, text }) => {
                assert!(text.len() <= 1_000);
                problem
            }
        })
        .collect();
    for (found, part) in found.iter().zip([
        "is no JSON object on one line: EOF",
        "is no JSON object on one line: invalid type",
        "'a' is given twice",
        "is not UTF-8",
        "is longer than 1048576 bytes",
        "a 'row' that is no object",
        r#"{"username":"mended"}"#,
    ]) {
        assert!(found.contains(part), "{part:?} is not in {found:?}");
    }
    let csv = b"username,email\na\nb,c,d\n\xff,x\ngood,\n";
    let (found, _) = read(Format::Csv, csv);
    let problems: Vec<_> =
        found.iter().map(|row| row.members.as_ref().map_err(|error| &*error.problem)).collect();
    assert_eq!(problems[0].unwrap_err(), "has 1 cells where the first line has 2 columns");
    assert_eq!(problems[1].unwrap_err(), "has 3 cells where the first line has 2 columns");
    assert!(problems[2].unwrap_err().contains("'username' that is not UTF-8"));
    assert_eq!(problems[3].unwrap()["username"], "good");
}

/// A quotation mark that nothing closes makes the rest of a file one row, which must not be read into memory.
#[test]
fn a_row_of_csv_has_an_end() {
    let mut rows = rows(Format::Csv, format!("username\nx\n\"{}", "y\n".repeat(2_000_000))).unwrap();
    assert_eq!(rows.next().unwrap().unwrap().line, 2);
    let error = format!("{:#}", rows.next().unwrap_err());
    assert!(error.contains("behind line 3") && error.contains("quotation mark"), "{error}");
}
