use proptest::prelude::*;

use super::*;
use crate::random::{NoRandomness, Randomness};

fn password(text: &str) -> Password {
    Password::parse(text).unwrap()
}

/// Checks by the default rules, for an account of which these names are known.
fn check(text: &str, known: &[&str]) -> Result<(), Weakness> {
    PasswordRules::default().check(&password(text), known)
}

/// Checks nothing but whether the password is easily guessed.
fn check_guessing(text: &str, known: &[&str]) -> Result<(), Weakness> {
    PasswordRules { min_length: 1, ..PasswordRules::default() }.check(&password(text), known)
}

const COMMON: [&str; 18] = [
    "password",
    "Password1",
    "P@ssw0rd",
    "Passw0rd!",
    "123456",
    "123456789",
    "111111",
    "qwerty",
    "QWERTYUIOP",
    "1q2w3e4r",
    "zaq12wsx",
    "letmein",
    "iloveyou",
    "admin",
    "Welcome1",
    "football",
    "01.02.1990",
    "trustno1",
];

#[test]
fn c1_length_is_counted_in_characters_and_is_15_at_least() {
    assert_eq!(check("Kq7#vTz2mWx9pL", &[]), Err(Weakness::TooShort { has: 14, needs: 15 }));
    assert_eq!(check("Kq7#vTz2mWx9pLs", &[]), Ok(()));
    // 14 characters of two bytes each; and 15 that are composed of two code points each until NFC joins them.
    assert_eq!(check("жяшлцбфгынюхэъ", &[]), Err(Weakness::TooShort { has: 14, needs: 15 }));
    assert_eq!(check("e\u{301}a\u{301}o\u{301}", &[]), Err(Weakness::TooShort { has: 3, needs: 15 }));
    let rules = PasswordRules { min_length: 8, ..PasswordRules::default() };
    assert_eq!(rules.check(&password("kq7vtz2"), &[]), Err(Weakness::TooShort { has: 7, needs: 8 }));
    assert_eq!(rules.check(&password("Kq7#vTz2mW"), &[]), Ok(()));
}

#[test]
fn c1_no_kind_of_character_is_asked_for_unless_it_is_set() {
    let of = |set: fn(&mut PasswordRules)| {
        let mut rules = PasswordRules::default();
        set(&mut rules);
        move |text: &str| rules.check(&password(text), &[])
    };
    let (letters, digits, both) = ("kqvtzwmxplsnhjc", "718281828459045", "kq7vtz2mwx9pls4");
    for text in [letters, digits, both, "#%/=&~;:+)(*-_?'"] {
        assert_eq!(check(text, &[]), Ok(()), "{text}");
    }
    let alphabetic = of(|rules| rules.require_alphabetic = true);
    assert_eq!((alphabetic(digits), alphabetic(letters)), (Err(Weakness::NoLetter), Ok(())));
    assert_eq!(alphabetic("7182818284590ж5"), Ok(()));
    let digit = of(|rules| rules.require_digit = true);
    assert_eq!((digit(letters), digit(both)), (Err(Weakness::NoDigit), Ok(())));
    assert_eq!(digit("kqvtzwmxplsnh٣c"), Ok(()));
    let special = of(|rules| rules.require_special = true);
    assert_eq!((special(both), special("kq7vtz2 mwx9pls4")), (Err(Weakness::NoSpecial), Ok(())));
    assert_eq!(special("kq7vtz2mwx9pls4é"), Err(Weakness::NoSpecial));
}

#[test]
fn c1_64_characters_and_more_are_accepted() {
    let passphrase = "seven violins cross the harbour while nobody counts lemons in april or paints the station \
                      clock a shade of green that only sailors know and bakers never would admit to having seen";
    for length in [64, 65, 100, 101, passphrase.len()] {
        assert_eq!(check(&passphrase[..length], &[]), Ok(()), "{length}");
    }
    let mut state = 1_u64;
    let random: String = (0..Password::MAX_BYTES)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(33 + u8::try_from((state >> 33) % 94).unwrap())
        })
        .collect();
    for length in [64, 200, Password::MAX_BYTES] {
        assert_eq!(check(&random[..length], &[]), Ok(()), "{length}");
    }
    // Weak beginnings and ends take nothing away.
    let strong = &random[..32];
    for weak in ["password".repeat(20), "a".repeat(300), "1234567890".repeat(12), "aB3".repeat(100)] {
        for text in [format!("{weak}{strong}"), format!("{strong}{weak}"), format!("{weak}{strong}{weak}")] {
            assert_eq!(check(&text, &[]), Ok(()), "{text}");
        }
    }
}

/// Sixteen bytes that differ, as those of a generator do.
struct Scattered(u8);

impl Randomness for Scattered {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        for (place, byte) in (0..).zip(bytes) {
            *byte = (self.0 ^ place).wrapping_mul(167).wrapping_add(59);
        }
        Ok(())
    }
}

#[test]
fn c3_good_passwords_are_accepted() {
    for text in [
        "correct horse battery staple",
        "correcthorsebatterystaple",
        "Correct-Horse-Battery-Staple",
        "η γάτα μου κοιμάται στο παράθυρο",
        "Die Straßenbahn fährt um zehn nach Köpenick",
        "мой дедушка любит крепкий чай",
        "我家的猫喜欢在窗台上晒太阳看下雨天气",
        "the cat slept on a warm radiator",
        // As password managers make them.
        "x9$Vq!m2Lr&8TzWe",
        "Zm3vQ7tKp9RwXc2NbYhL",
        "gubhyc-myvbyb-9qyqPi",
        "hazelnut.paradox.trident.oatmeal",
        "f2d1c6f0-8a3b-4e57-9c1d-0b7a6e5f4d32",
    ] {
        assert_eq!(check(text, &["admin", "ACME", "ann.smith@example.com"]), Ok(()), "{text}");
    }
    for seed in 0..=255 {
        let generated = Password::generate(&Scattered(seed)).unwrap();
        assert_eq!(PasswordRules::default().check(&generated, &["admin"]), Ok(()), "{}", generated.expose());
    }
}

#[test]
fn c3_common_passwords_are_refused() {
    for text in COMMON {
        assert_eq!(check_guessing(text, &[]), Err(Weakness::Common), "{text}");
        assert_eq!(check_guessing(&text.to_uppercase(), &[]), Err(Weakness::Common), "{text}");
    }
    for text in [
        "passwordpassword",
        "PasswordpasswordPASSWORD",
        "password12345678",
        "p@$$w0rdp@$$w0rd",
        "ｐａｓｓｗｏｒｄｐａｓｓｗｏｒｄ",
        "123456789012345",
        "987654321987654321",
        "aaaaaaaaaaaaaaaaaaaa",
        "abcdefghijklmnopqrstuvwxyz",
        "αβγδεζηθικλμνξοπ",
        "qwertyuiopasdfghjkl",
        "1qaz2wsx3edc4rfv5tgb",
        "iloveyouiloveyou!",
        "administrator2024",
        "drowssapdrowssap",
        "football31.12.1999",
        "Password12345678!",
        "qwerty123456password!",
        "!password!password!password!",
        "xpasswordpasswordpasswordpass",
    ] {
        assert_eq!(check(text, &[]), Err(Weakness::Common), "{text}");
    }
    assert_eq!(check(&"password".repeat(20), &[]), Err(Weakness::Common));
    assert_eq!(check(&"x".repeat(Password::MAX_BYTES), &[]), Err(Weakness::Common));
}

#[test]
fn c3_the_blocklist_can_be_turned_off() {
    let rules = PasswordRules { blocklist: false, ..PasswordRules::default() };
    assert_eq!(rules.check(&password("passwordpassword"), &[]), Ok(()));
    assert_eq!(rules.check(&password("doorwarddoorward"), &["doorward"]), Ok(()));
}

#[test]
fn c3_names_are_no_passwords() {
    let known = ["Zoë.Papadaki@example.com", "CRMDEMO", "mpadministrator", "IBM"];
    for text in [
        "mpadministrator",
        "MPADMINISTRATOR",
        "mpadministratormpadministrator",
        "MpAdministrator2024",
        "mpadministrator123456789",
        "mp@dm1n1str@t0r",
        "rotartsinimdapm",
        "crmdemocrmdemo",
        "CRMDEMO-CRMDEMO-2025",
        "crmdemo1990-2024!!",
        "crmdemo.doorward",
        "ｃｒｍｄｅｍｏ ｃｒｍｄｅｍｏ",
        "Doorward2024!!!",
        "d00rward-d00rward",
        "2024doorward2025",
        "doorward1234567890",
        "zoe\u{308}.papadaki@example.com",
        "ZO\u{cb}.PAPADAKI",
        "papadakipapadaki1985",
        "Papadaki@CRMDEMO_1",
        "ibmibmibmibmibm",
        "IBM crmdemo 12345",
    ] {
        assert_eq!(check_guessing(text, &known), Err(Weakness::Common), "{text}");
    }
    let repeated = "CRMDEMO".repeat(Password::MAX_BYTES / 7);
    assert_eq!(check(&repeated, &known), Err(Weakness::Common));
    // A name in a password that would be good without it does no harm, and neither do names that are odd.
    for text in
        ["doorward tastes of violet thunder", "crmdemo x9$Vq!m2Lr&8", "calibmarble violins hum softly"]
    {
        assert_eq!(check(text, &known), Ok(()), "{text}");
    }
    let long = "n".repeat(256);
    assert_eq!(check("seven violins cross the harbour", &["", " ", "e", "vi", "\0", "@", &long]), Ok(()));
}

#[test]
fn c3_what_is_wrong_is_said_without_the_password() {
    assert_eq!(
        Weakness::TooShort { has: 9, needs: 15 }.to_string(),
        "has 9 of at least 15 characters; make it longer, with another word for example"
    );
    for weakness in
        [Weakness::NoLetter, Weakness::NoDigit, Weakness::NoSpecial, Weakness::Common, Weakness::Breached]
    {
        let text = weakness.to_string();
        assert!((text.starts_with("has ") || text.starts_with("is ")) && text.contains("; "), "{text}");
    }
}

/// Every stand-in of every letter in each window, where `zxcvbn` takes longest and where sums would overflow if the
/// windows were longer.
#[test]
fn c3_what_is_made_to_take_long_has_an_end() {
    let stand_ins = "4@8({[<369!|1$5+7%20";
    let shifted: String = "!@#$%^&*()_+".repeat(86).chars().take(Password::MAX_BYTES).collect();
    let steps: String = (1..=5_u32)
        .flat_map(|step| (0..16).map(move |at| char::from_u32(33 + at * step).unwrap()))
        .cycle()
        .take(Password::MAX_BYTES)
        .collect();
    for text in [stand_ins.repeat(51), shifted, steps, "aA".repeat(512), "@".repeat(1024), "ﷺ".repeat(341)]
    {
        let _ = check(&text, &[stand_ins, "aAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaA"]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn c3_random_passwords_are_accepted(text in "[A-Za-z0-9]{20,200}") {
        prop_assert_eq!(check(&text, &["admin", "ACME"]), Ok(()));
    }

    #[test]
    fn c3_common_passwords_are_not_improved_by_repeating_them(
        common in proptest::sample::select(&COMMON[..]),
        length in 15_usize..=Password::MAX_BYTES,
    ) {
        let text: String = common.chars().cycle().take(length).collect();
        prop_assert_eq!(check(&text, &[]), Err(Weakness::Common));
    }

    #[test]
    fn c3_names_are_not_improved_by_repeating_them_or_a_number(
        name in "[a-zA-Z]{3,20}",
        times in 1_usize..6,
        year in 1950..2050,
    ) {
        for text in [name.repeat(times), format!("{}{year}", name.repeat(times)), format!("{year}{name}")] {
            prop_assert_eq!(check_guessing(&text, &[&name.to_lowercase()]), Err(Weakness::Common));
        }
    }

    #[test]
    fn c3_no_text_is_too_much(text in "\\PC{1,60}|[0-9٠-٩./ -]{1,60}|[a4@!1|(A\n]{1,90}", known in "\\PC{0,20}") {
        let _ = check_guessing(&text, &[&known]);
    }

    #[test]
    fn c3_repetitions_collapse_to_what_was_repeated(word in "[a-c]{1,6}", times in 1_usize..20, cut in 0_usize..6) {
        let collapsed = |text: String| {
            let mut characters: Vec<char> = text.chars().collect();
            collapse_repetitions(&mut characters);
            characters
        };
        let whole: Vec<char> = word.repeat(times + 1).chars().collect();
        let text: String = whole[..whole.len() - cut.min(word.len())].iter().collect();
        prop_assert!(collapsed(text).len() <= word.len());
        let framed = collapsed(format!("x{}y", word.repeat(times)));
        prop_assert!(framed.len() <= 2 + 4.max(2 * word.len()));
        prop_assert!(framed[0] == 'x' && framed[framed.len() - 1] == 'y');
    }
}
