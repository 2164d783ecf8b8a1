//! Hashes as other programs made them, what comes of texts that nobody made, and that nothing costs beyond its bounds.

use proptest::prelude::*;

use super::*;
use crate::passwords::PasswordHash;

/// One row of `hashes.tsv`.
struct Made {
    by: String,
    password: &'static str,
    hash: &'static str,
}

/// Hashes that other programs made.
fn made() -> Vec<Made> {
    let rows = include_str!("hashes.tsv").lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| {
        let [program, command, password, hash] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("four fields: {line}")
        };
        Made { by: format!("{program}: {command}"), password, hash }
    };
    rows.map(row).collect()
}

fn password(text: &str) -> Password {
    Password::parse(text).unwrap()
}

fn compare(hash: &str, text: &str) -> Option<bool> {
    parse(hash).unwrap().compare(&password(text), &mut Memory::default())
}

fn refusal(text: &str) -> String {
    format!("the password hash {}", PasswordHash::import(text).unwrap_err())
}

/// Which format the beginning of a hash says it is.
fn format(hash: &str) -> &'static str {
    const BEGINNINGS: [(&str, &[&str]); 5] = [
        ("Argon2", &["$argon2", "argon2$argon2"]),
        ("bcrypt", &["$2a$", "$2b$", "$2y$", "bcrypt$$2b$"]),
        ("scrypt", &["$scrypt$", "scrypt$", "$7$"]),
        ("PBKDF2", &["$pbkdf2$", "$pbkdf2-sha256$", "$pbkdf2-sha512$", "pbkdf2_sha1$", "pbkdf2_sha256$"]),
        ("SHA-crypt", &["$5$", "$6$"]),
    ];
    let is_of = |(_, beginnings): &&(&str, &[&str])| beginnings.iter().any(|start| hash.starts_with(start));
    BEGINNINGS.iter().find(is_of).unwrap_or_else(|| panic!("{hash} begins as nothing does")).0
}

/// Checks the hashes of a format, of which there are `count`.
fn c4_hashes_verify(name: &str, count: usize) {
    let made: Vec<_> = made().into_iter().filter(|made| format(made.hash) == name).collect();
    assert_eq!(made.len(), count, "{name}");
    for Made { by, password, hash } in made {
        assert!(PasswordHash::import(hash).is_ok_and(|taken| taken.as_str() == hash), "{by}: {hash}");
        assert_eq!(compare(hash, password), Some(true), "{password:?} by {by}: {hash}");
        // Differs in a place that counts in every format.
        let wrong = format!("?{}", &password.chars().skip(1).collect::<String>());
        assert_eq!(compare(hash, &wrong), Some(false), "{wrong:?} by {by}: {hash}");
    }
}

#[test]
fn c4_hashes_of_argon2_by_other_programs_verify() {
    c4_hashes_verify("Argon2", 25);
}

#[test]
fn c4_hashes_of_bcrypt_by_other_programs_verify() {
    c4_hashes_verify("bcrypt", 50);
}

#[test]
fn c4_hashes_of_scrypt_by_other_programs_verify() {
    c4_hashes_verify("scrypt", 24);
}

#[test]
fn c4_hashes_of_pbkdf2_by_other_programs_verify() {
    c4_hashes_verify("PBKDF2", 43);
}

#[test]
fn c4_hashes_of_sha_crypt_by_other_programs_verify() {
    c4_hashes_verify("SHA-crypt", 62);
}

#[test]
fn c4_hashes_as_rustcrypto_writes_them_verify() {
    // The examples of the crates' own documentation and tests.
    let hash = "$pbkdf2-sha256$i=4096,l=40$c2FsdFNBTFRzYWx0U0FMVHNhbHRTQUxUc2FsdFNBTFRzYWx0\
                $NIyJ28vTKy8y2BS4EW6EzysXNH68GAAYHE4qH7jdU+HGNVGMfaxH6Q";
    assert_eq!(compare(hash, "passwordPASSWORDpassword"), Some(true));
    assert_eq!(compare(hash, "passwordPASSWORDpassw0rd"), Some(false));
    let hash = "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E";
    assert_eq!(compare(hash, "password"), Some(true));
    assert_eq!(compare(hash, "Password"), Some(false));
}

/// bcrypt has always taken 72 bytes; whose password is longer logs in as before.
#[test]
fn c2_bcrypt_takes_72_bytes_as_it_always_did() {
    let long = "x".repeat(72);
    let hash =
        made().into_iter().find(|made| made.by.contains("-nbB") && made.password == long).unwrap().hash;
    assert_eq!(compare(hash, &long), Some(true));
    assert_eq!(compare(hash, &format!("{long}y")), Some(true));
    assert_eq!(compare(hash, &long[..71]), Some(false));
}

#[test]
fn no_password_with_a_zero_in_it_is_that_of_a_hash_that_could_not_be_made_of_it() {
    for Made { by, password, hash } in made().into_iter().filter(|made| made.password == "a") {
        if hash.starts_with("$2") || hash.starts_with("$5") || hash.starts_with("$6") {
            for zeros in ["a\0a", "a\0", "a\0b", "\0", "\0a"] {
                assert_eq!(compare(hash, zeros), Some(false), "{zeros:?} is not {password} by {by}");
            }
        }
    }
}

/// Some programs make salts whose last character has bits that nobody reads.
#[test]
fn unused_bits_of_a_salt_and_a_digest_are_ignored() {
    let made = made().into_iter().find(|made| made.by.contains("-nbB") && made.password.len() < 72).unwrap();
    let next = |character: char| char::from(character as u8 + 1);
    let salt_end = made.hash.as_bytes()[28] as char;
    assert!(".Oeu".contains(salt_end), "this program leaves them empty: {}", made.hash);
    let other = format!("{}{}{}", &made.hash[..28], next(salt_end), &made.hash[29..]);
    assert_eq!(compare(&other, made.password), Some(true), "{other}");
    let other = format!("{}A{}", &made.hash[..27], &made.hash[28..]);
    assert_eq!(compare(&other, made.password), Some(false), "the others count: {other}");
}

#[test]
fn sha_crypt_takes_no_password_that_its_programs_do_not_take() {
    let hash = made().into_iter().find(|made| made.password.len() == 511).unwrap().hash;
    assert_eq!(compare(hash, &"p".repeat(511)), Some(true));
    assert_eq!(compare(hash, &"p".repeat(512)), None);
}

#[test]
fn what_is_not_taken_is_called_by_its_name() {
    for (text, name) in [
        ("$1$salt$qJH7.N4xYta3aEG/dfqo/0", "is MD5-crypt ($1$), which is not taken"),
        ("$apr1$salt$Xxd1irWT9ycqoYxGFn4cb.", "is Apache's MD5 ($apr1$), which"),
        (
            "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
            "is yescrypt ($y$), which",
        ),
        (
            "$2x$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
            "is bcrypt of a faulty kind ($2x$), ",
        ),
        (
            "$bcrypt-sha256$v=2,t=2b,r=12$n79VH.0Q2TMWmt3Oqt9uku$Kq4Noyk3094Y2QlB8NdRT8SvGiI4ft2",
            "is bcrypt of a ",
        ),
        (
            "bcrypt_sha256$$2b$12$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
            "is bcrypt of a digest as",
        ),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "is SHA as LDAP writes it ({SHA}), which"),
        ("{SSHA}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3", "is salted SHA as LDAP writes it ({SSHA}), which"),
        ("{CRYPT}$6$salt$digest", "is a hash with its kind in braces before it, which"),
        ("5f4dcc3b5aa765d61d8327deb882cf99", "is a digest without salt, which"),
        ("abJnggxhB/yWI", "is DES-crypt or a plain password, which"),
        ("_J9..rasmBYk8r9AiWNc", "is DES-crypt of BSDI (_), which"),
        ("scrypt:32768:8:1$salt$digest", "is scrypt as Werkzeug writes it (scrypt:), which"),
        ("!", "is the mark of an account without a password (!), which"),
        ("", "is empty, which is not taken"),
        ("hunter2", "is of no format that is known; Argon2, bcrypt"),
        ("$", "is of no format that is known; "),
        ("$9$salt$digest", "is of no format that is known; "),
        ("pässwörd", "is of no format that is known; "),
    ] {
        let refusal = refusal(text);
        assert!(refusal.starts_with(&format!("the password hash {name}")), "{text}: {refusal}");
        assert!(
            refusal.contains("Argon2, bcrypt ($2a$, $2b$, $2y$), scrypt, PBKDF2 and SHA-crypt ($5$, $6$)")
        );
    }
}

#[test]
fn damage_is_said() {
    let d43 = "A".repeat(43);
    for (text, fault) in [
        ("$2b$12$short".into(), "bcrypt does, but salt and digest are not 22 and 31 characters long"),
        (
            "$2b$5$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui".into(),
            "bcrypt does, but its cost is not a ",
        ),
        ("$2b$05$abcdefghijklmnopqrstuü5s2v8.iXieOjg/.AySBTTZIIVFJeBu".into(), "bcrypt does, but salt and "),
        (format!("$2b$05$abcdefghijklmnopqrst=u{}", &d43[..31]), "bcrypt does, but its salt cannot be read"),
        (
            "$2b$03$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui".into(),
            "bcrypt does, but its cost is not a ",
        ),
        ("$2b".into(), "bcrypt does, but a cost and one field must follow"),
        (
            format!("$argon2id$v=19$m=8,t=1$c29tZXNhbHQ${d43}"),
            "Argon2 does, but it does not name its memory, ",
        ),
        (
            format!("$argon2id$v=19$m=7,t=1,p=1$c29tZXNhbHQ${d43}"),
            "Argon2 does, but Argon2 refuses its parameters",
        ),
        (
            format!("$argon2id$v=18$m=8,t=1,p=1$c29tZXNhbHQ${d43}"),
            "Argon2 does, but its version is not known",
        ),
        (format!("$argon2x$v=19$m=8,t=1,p=1$c29tZXNhbHQ${d43}"), ""),
        (
            format!("$argon2id$v=19$m=8,t=1,p=1,keyid=AAAA$c29tZXNhbHQ${d43}"),
            "Argon2 does, but it was made with a secret",
        ),
        ("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ".into(), "Argon2 does, but its digest is missing"),
        (
            format!("$scrypt$ln=14,r=8$c29tZXNhbHQ${d43}"),
            "scrypt does, but its parameters are not three numbers",
        ),
        (
            format!("$scrypt$ln=14,r=8,p=1,r=8$c29tZXNhbHQ${d43}"),
            "scrypt does, but its parameters are not three",
        ),
        (
            format!("$scrypt$ln=014,r=8,p=1$c29tZXNhbHQ${d43}"),
            "scrypt does, but its parameters are not three",
        ),
        (format!("$scrypt$ln=0,r=8,p=1$c29tZXNhbHQ${d43}"), "scrypt does, but N is not between"),
        (format!("$scrypt$ln=64,r=8,p=1$c29tZXNhbHQ${d43}"), "scrypt does, but N is not between"),
        (format!("$scrypt$ln=14,r=0,p=1$c29tZXNhbHQ${d43}"), "scrypt does, but r or p is zero"),
        (
            format!("$scrypt$ln=14,r=8,p=1$c29tZXNhbHQ${}", &d43[1..]),
            "scrypt does, but its digest is not 32 or 64",
        ),
        (format!("scrypt$1000$salt$8$1${d43}"), "scrypt does, but N is not a power of two"),
        ("$7$BU".into(), "scrypt does, but its settings and its digest must follow"),
        (format!("$7$BU$x{d43}"), "scrypt does, but its cost (eleven characters after $7$) cannot be read"),
        (
            format!("$pbkdf2-sha256$i=1000$c29tZXNhbHQ${d43}"),
            "PBKDF2 does, but its parameters are not two numbers",
        ),
        (
            format!("$pbkdf2-sha256$i=1000,l=33$c29tZXNhbHQ${d43}"),
            "PBKDF2 does, but its digest has not the right",
        ),
        (
            format!("$pbkdf2-sha256$i=1000,l=10$c29tZXNhbHQ${}", &d43[..14]),
            "PBKDF2 does, but the length of its ",
        ),
        (
            format!("$pbkdf2-sha256$0$c29tZXNhbHQ${d43}"),
            "PBKDF2 does, but its iterations are not a number above",
        ),
        (
            format!("$pbkdf2-sha256$1000$c29t!$${d43}"),
            "PBKDF2 does, but iterations, salt and digest must follow",
        ),
        (format!("$pbkdf2-sha256$1000$c29t!${d43}"), "PBKDF2 does, but its salt cannot be read"),
        (format!("pbkdf2_sha256$+1000$salt${d43}="), "PBKDF2 does, but its iterations are not a number"),
        (format!("$5$rounds=999$salt${d43}"), "SHA-crypt does, but its rounds are not a number from 1000"),
        (format!("$5$rounds=5e4$salt${d43}"), "SHA-crypt does, but its rounds are not a number from 1000"),
        (format!("$5$saltsaltsaltsalts${d43}"), "SHA-crypt does, but its salt is longer than 16 characters"),
        (
            format!("$6$salt${d43}"),
            "SHA-crypt does, but its digest is not 43 ($5$) or 86 ($6$) characters long",
        ),
        (format!("$5$salt${}!", &d43[1..]), "SHA-crypt does, but its digest is not 43"),
        ("$6$salt".into(), "SHA-crypt does, but salt and digest, or rounds, salt and digest must follow"),
    ] {
        let refusal = refusal(&text);
        if fault.is_empty() {
            assert!(
                refusal.starts_with("the password hash is of no format that is known"),
                "{text}: {refusal}"
            );
            continue;
        }
        let expected = format!("the password hash is damaged: it begins as {fault}");
        assert!(refusal.starts_with(&expected), "{text}: {refusal}");
    }
}

/// A hash that may just be taken, one that may just not, and what is said of it. A is 43 digits.
const BOUNDS: [(&str, &str, &str); 12] = [
    (
        "$argon2id$v=19$m=262144,t=16,p=4$c29tZXNhbHQ$A",
        "$argon2id$v=19$m=262145,t=1,p=4$c29tZXNhbHQ$A",
        "memory in KiB (m) is 262145, and at most 262144 is taken",
    ),
    (
        "$argon2i$v=16$m=65536,t=64,p=4$c29tZXNhbHQ$A",
        "$argon2i$v=16$m=65536,t=65,p=4$c29tZXNhbHQ$A",
        "memory in KiB times passes (m times t) is 4259840, and at most 4194304 is taken",
    ),
    ("$2y$16$A5s2v8iXieO", "$2y$17$A5s2v8iXieO", "bcrypt cost is 17, and at most 16 is taken"),
    (
        "$scrypt$ln=18,r=8,p=1$c29tZXNhbHQ$A",
        "$scrypt$ln=19,r=8,p=1$c29tZXNhbHQ$A",
        "memory in bytes (128 times r times N) is 536870912, and at most 268435456 is taken",
    ),
    (
        "$scrypt$ln=18,r=8,p=4$c29tZXNhbHQ$A",
        "$scrypt$ln=18,r=8,p=5$c29tZXNhbHQ$A",
        "work (128 times r times N times p) is 1342177280, and at most 1073741824 is taken",
    ),
    (
        "scrypt$2$salt$8$1024$A=",
        "scrypt$2$salt$8$1025$A=",
        "memory in bytes of its lanes (128 times r times p) is 1049600, and at most 1048576 is taken",
    ),
    (
        "$7$G6..../....salt$A",
        "$7$zzzzz1zzzz1salt$A",
        "memory in bytes (128 times r times N) is 18446744073709551615, and at most 268435456 is taken",
    ),
    (
        "pbkdf2_sha256$5000000$salt$A=",
        "pbkdf2_sha256$5000001$salt$A=",
        "number of PBKDF2 iterations is 5000001, and at most 5000000 is taken",
    ),
    (
        "$pbkdf2$i=2500000,l=32$c29tZXNhbHQ$A",
        "$pbkdf2$i=2500001,l=32$c29tZXNhbHQ$A",
        "number of PBKDF2 iterations is 5000002, and at most 5000000 is taken",
    ),
    (
        "$pbkdf2-sha256$5000000$c29tZXNhbHQ$A",
        "$pbkdf2-sha256$18446744073709551615$c29tZXNhbHQ$A",
        "number of PBKDF2 iterations is 18446744073709551615, and at most 5000000 is taken",
    ),
    (
        "$5$rounds=1000000$salt$A",
        "$5$rounds=1000001$salt$A",
        "number of SHA-crypt rounds is 1000001, and at most 1000000 is taken",
    ),
    (
        "$6$rounds=1000000$salt$AA",
        "$6$rounds=999999999$salt$AA",
        "number of SHA-crypt rounds is 999999999, and at most 1000000 is taken",
    ),
];

/// What costs too much is refused with its value, and is not computed if storage has it all the same.
#[test]
fn what_costs_too_much_is_refused_with_its_value() {
    let whole = |text: &str| text.replace('A', &"A".repeat(43));
    for (good, bad, error) in BOUNDS {
        assert!(PasswordHash::import(&whole(good)).is_ok(), "{good}");
        let expected =
            format!("the password hash costs too much to compare with: its {error}; the user needs");
        let refusal = refusal(&whole(bad));
        assert!(refusal.starts_with(&expected), "{bad}: {refusal}");
        assert!(!parse(&whole(bad)).unwrap().is_bearable(Argon2Cost::FLOOR), "{bad}");
    }
}

/// Whoever has configured hashes that cost more than what is taken from others can read their own.
#[test]
fn our_own_hashes_are_read_whatever_they_cost() {
    let hash = format!("$argon2id$v=19$m=524288,t=20,p=1$c29tZXNhbHQ${}", "A".repeat(43));
    let hash = parse(&hash).unwrap();
    let today = Argon2Cost { memory_kib: 524_288, iterations: 20, parallelism: 1 };
    assert!(hash.check_cost().is_err() && hash.is_bearable(today));
    assert!(!hash.is_bearable(Argon2Cost { iterations: 19, ..today }));
    assert!(!hash.is_bearable(Argon2Cost { memory_kib: 524_287, iterations: 99, ..today }));
}

/// C4: a hash of another format is weaker than ours at any cost; one of Argon2id is left alone if it is stronger.
#[test]
fn c4_every_other_format_is_weaker_than_ours() {
    let is_weaker = |hash: &str| parse(hash).unwrap().is_weaker_than(Argon2Cost::FLOOR);
    for Made { hash, by, .. } in made().into_iter().filter(|made| format(made.hash) != "Argon2") {
        assert!(is_weaker(hash), "{by}");
    }
    for (good, _, _) in BOUNDS.into_iter().filter(|(good, _, _)| !good.starts_with("$argon2id")) {
        assert!(is_weaker(&good.replace('A', &"A".repeat(43))), "{good}");
    }
    let by_cffi = made().into_iter().find(|made| made.by.ends_with("argon2.PasswordHasher().hash(password)"));
    assert!(!is_weaker(by_cffi.unwrap().hash));
}

fn cut(text: &str, at: usize) -> &str {
    &text[..(0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap()]
}

/// A text near to a hash: one that was made, with a part cut out and something else put there.
fn mutated() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[$./A-Za-z0-9+=,]{0,4}",
        "\\PC{0,3}",
        "[0-9]{0,20}",
        Just("$".to_owned()),
        Just("\0".to_owned()),
        Just("rounds=".to_owned()),
    ];
    (0..made().len(), 0..160_usize, 0..8_usize, part).prop_map(|(index, at, length, part)| {
        let hash = made()[index].hash;
        let start = cut(hash, at);
        let end = start.len() + cut(&hash[start.len()..], length).len();
        format!("{start}{part}{}", &hash[end..])
    })
}

/// Hashes of any cost that can be written.
fn of_any_cost() -> impl Strategy<Value = String> {
    let number = || {
        prop_oneof![
            any::<u64>(),
            any::<u32>().prop_map(u64::from),
            0..2_000_000_u64,
            (0..64_u32).prop_map(|bits| 1 << bits),
            0..40_u64,
        ]
    };
    (0..8, number(), number(), number()).prop_map(|(format, a, b, c)| {
        let digest = "A".repeat(43);
        match format {
            0 => format!("$argon2id$v=19$m={a},t={b},p={c}$c29tZXNhbHQ${digest}"),
            1 => format!("$2b${a:02}${digest}AAAAAAAAAA"),
            2 => format!("$scrypt$ln={a},r={b},p={c}$c29tZXNhbHQ${digest}"),
            3 => format!("scrypt${a}$salt${b}${c}${digest}="),
            4 => format!("$pbkdf2-sha256$i={a},l=32$c29tZXNhbHQ${digest}"),
            5 => format!("pbkdf2_sha256${a}$salt${digest}="),
            6 => format!("$5$rounds={a}$salt${digest}"),
            _ => format!("$6$rounds={a}$salt${digest}{digest}"),
        }
    })
}

/// KiB of Argon2 that any comparison may take: seconds.
const MOST: u64 = 7_000_000;
/// As many that take no time in a test.
const LITTLE: u64 = 1000;

proptest! {
    #[test]
    fn no_text_is_too_much_for_reading(text in prop_oneof!["\\PC{0,200}", "[$./A-Za-z0-9+=,-]{0,120}", mutated()]) {
        match PasswordHash::import(&text) {
            Ok(hash) => prop_assert_eq!(hash.as_str(), &text),
            // S1: nothing of the text is in the error, beyond numbers and names of formats.
            Err(refusal) => {
                let refusal = refusal.to_string();
                for part in text.split('$').filter(|part| part.len() > 14) {
                    prop_assert!(!refusal.contains(part), "{}: {}", text, refusal);
                }
            }
        }
    }

    #[test]
    fn what_is_taken_is_computed_within_bounds(text in prop_oneof![of_any_cost(), mutated()], typed in "\\PC{1,20}|.{1,80}") {
        let Ok(hash) = PasswordHash::import(&text) else { return Ok(()) };
        let hash = parse(hash.as_str()).unwrap();
        prop_assert!(hash.is_bearable(Argon2Cost::FLOOR));
        prop_assert!(hash.work() <= MOST, "{}: {}", text, hash.work());
        if hash.work() <= LITTLE {
            prop_assert_eq!(hash.compare(&password(&typed), &mut Memory::default()), Some(false), "{}", text);
        }
    }

    #[test]
    fn numbers_are_read_as_they_are_written(value in any::<u64>()) {
        prop_assert_eq!(number(&value.to_string()), Some(value));
        prop_assert_eq!(number(&format!("0{value}")), None);
        prop_assert_eq!(number(&format!("+{value}")), None);
    }

    #[test]
    fn crypt_digits_keep_all_bits(bytes in proptest::collection::vec(any::<u8>(), 0..9)) {
        let digits = crypt_digits(&bytes);
        let back: Vec<_> = digits.as_bytes().chunks(4)
            .flat_map(|group| crypt_number(group).unwrap().to_le_bytes()[..group.len() - 1].to_vec())
            .collect();
        prop_assert_eq!(back, bytes);
    }
}
