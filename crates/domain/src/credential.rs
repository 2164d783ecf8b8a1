//! What callers prove themselves with: tokens, Web API keys, passwords.
//!
//! The plain forms are shown to their owner once and live only as long as a request. Their `Debug` is redacted, they
//! do not serialise, and only digests are stored, compared, logged or sent (`security.md` T1, S1).

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;

use crate::{
    hex::upper_hex,
    id::SessionId,
    random::{NoRandomness, Randomness},
};

/// A token as its holder has it: exactly 32 upper-case hexadecimal digits, 128 bits from the operating system.
#[derive(Clone)]
pub struct PlainToken([u8; 32]);

impl PlainToken {
    /// Makes a new token.
    pub fn generate(random: &dyn Randomness) -> Result<Self, NoRandomness> {
        Ok(Self(upper_hex(random.bytes()?)))
    }

    /// Reads a token. Only the exact canonical text is one: no other case, no white space, nothing cut off or added
    /// (`security.md` T2).
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digits: [u8; 32] = text.try_into().ok()?;
        // All are looked at, which is one step for the processor; to stop at the first that is wrong would be 32.
        let are_digits = digits.iter().fold(true, |are, b| are & matches!(b, b'0'..=b'9' | b'A'..=b'F'));
        are_digits.then_some(Self(digits))
    }

    /// The text, to be shown to the holder and to nobody else.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }

    /// The digest under which the token's session is kept.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest(Sha256::digest(self.0).into())
    }
}

impl PartialEq for PlainToken {
    /// Takes the same time wherever the two differ (`security.md` S3).
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for PlainToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainToken(…)")
    }
}

/// The SHA-256 of a token. The only form that is stored and searched for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest with these bytes, as storage keeps it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of the token's session.
    pub fn session(&self) -> SessionId {
        let mut first = [0; 16];
        first.copy_from_slice(&self.0[..16]);
        SessionId::from_bytes(first)
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

/// A Web API key as its owner has it.
pub struct PlainKey(SecretString);

impl PlainKey {
    /// The most bytes a key may have.
    pub const MAX_BYTES: usize = 256;

    /// Makes a new key: 32 upper-case hexadecimal digits, as CRM.COM's keys are.
    pub fn generate(random: &dyn Randomness) -> Result<Self, NoRandomness> {
        Ok(Self(String::from_utf8_lossy(&upper_hex(random.bytes()?)).into_owned().into()))
    }

    /// Takes a key as it came. Keys brought in from another system may have any form, but not be empty or longer
    /// than [`Self::MAX_BYTES`].
    pub fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= Self::MAX_BYTES).then(|| Self(text.into()))
    }

    /// The text, to be shown to the owner once.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The last four characters, by which its owner tells it from others. A short one shows fewer: at most a quarter.
    pub fn hint(&self) -> String {
        let count = self.expose().chars().count();
        self.expose().chars().skip(count - 4.min(count / 4)).collect()
    }

    /// The digest under which the key is kept. No salt and no slow hash: a key is random, not chosen by a person.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(Sha256::digest(self.0.expose_secret()).into())
    }
}

impl fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainKey(…)")
    }
}

/// The SHA-256 of a Web API key. The only form that is stored and searched for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest with these bytes, as storage keeps it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

/// A password as a person typed it, in NFC so that the keyboard's way of composing accents does not matter; every
/// byte of it counts (`security.md` C2).
#[derive(Clone)]
pub struct Password(SecretString);

impl Password {
    /// The most bytes a password may have: far above what a person or a password manager uses.
    pub const MAX_BYTES: usize = 1024;

    /// Takes a password as typed; `None` if it is empty or longer than [`Self::MAX_BYTES`].
    pub fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= Self::MAX_BYTES)
            .then(|| Self(text.nfc().collect::<String>().into()))
    }

    /// A password that a person can type and nobody can guess: 128 bits as 32 characters in groups of four.
    pub fn generate(random: &dyn Randomness) -> Result<Self, NoRandomness> {
        let digits = upper_hex(random.bytes()?).to_ascii_lowercase();
        let groups: Vec<_> = digits.chunks(4).map(String::from_utf8_lossy).collect();
        Ok(Self(groups.join("-").into()))
    }

    /// The text, to be hashed, or to be shown once where it was generated.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Fixed(u8);

    impl Randomness for Fixed {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn t1_a_token_is_128_bits_and_only_its_digest_is_kept() {
        let token = PlainToken::generate(&Fixed(0xA7)).unwrap();
        assert_eq!(token.expose(), "A7".repeat(16));
        assert_eq!(token.digest().as_bytes()[..], Sha256::digest("A7".repeat(16))[..]);
    }

    #[test]
    fn t2_only_the_exact_text_is_a_token() {
        let good = "4AD9C84FA60F9FE407140E20F707726A";
        assert!(PlainToken::parse(good.as_bytes()).is_some());
        let (lower, long, padded) = (good.to_lowercase(), format!("{good}0"), format!("{good} "));
        for bad in [
            "",
            "1351195444",
            &good[..31],
            &lower,
            &long,
            &padded,
            &format!(" {good}"),
            "4AD9C84FA60F9FE407140E20F707726G",
        ] {
            assert!(PlainToken::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    /// S3: tokens are looked up by digest, which tells nothing of how near a guess came; where two are compared, each
    /// byte counts, wherever they differ.
    #[test]
    fn s3_tokens_differ_whichever_digit_differs() {
        let token = |text: &str| PlainToken::parse(text.as_bytes()).unwrap();
        let text = "4AD9C84FA60F9FE407140E20F707726A";
        assert!(token(text) == token(text));
        for place in 0..32 {
            let mut other = text.to_owned();
            other.replace_range(place..=place, if &text[place..=place] == "B" { "C" } else { "B" });
            assert!(token(text) != token(&other), "{place}");
        }
    }

    #[test]
    fn s1_debug_shows_no_secret() {
        let shown = format!(
            "{:?} {:?} {:?} {:?} {:?}",
            PlainToken::parse(b"4AD9C84FA60F9FE407140E20F707726A"),
            PlainToken::parse(b"4AD9C84FA60F9FE407140E20F707726A").unwrap().digest(),
            PlainKey::parse("canary-key"),
            PlainKey::parse("canary-key").unwrap().digest(),
            Password::parse("canary-password"),
        );
        assert!(!shown.contains("4AD9") && !shown.contains("canary") && !shown.contains("82, "), "{shown}");
    }

    #[test]
    fn s1_a_hint_shows_the_last_four_characters_and_at_most_a_quarter() {
        let hint = |text: &str| PlainKey::parse(text).unwrap().hint();
        assert_eq!(hint("4AD9C84FA60F9FE407140E20F707726A"), "726A");
        assert_eq!(hint("0123456789abcdef"), "cdef");
        assert_eq!(hint("0123456789abcde"), "cde");
        assert_eq!((hint("abcd").as_str(), hint("abc").as_str()), ("d", ""));
        assert_eq!(hint("äöüßÄÖÜẞäöüßÄÖÜẞ"), "ÄÖÜẞ", "whole characters");
    }

    #[test]
    fn c2_composition_does_not_matter_and_byte_73_does() {
        assert_eq!(
            Password::parse("Zoe\u{308}").unwrap().expose(),
            Password::parse("Zo\u{eb}").unwrap().expose()
        );
        let long = "x".repeat(72);
        assert_ne!(
            Password::parse(&format!("{long}a")).unwrap().expose(),
            Password::parse(&format!("{long}b")).unwrap().expose()
        );
        assert!(Password::parse(&"x".repeat(1025)).is_none());
    }

    proptest! {
        #[test]
        fn t2_whatever_parses_is_shown_as_it_was(text in "[0-9A-F]{32}|[0-9A-Fa-f ]{30,34}|\\PC{0,40}") {
            match PlainToken::parse(text.as_bytes()) {
                Some(token) => prop_assert_eq!(token.expose(), text),
                None => prop_assert!(text.len() != 32 || text.bytes().any(|b| !b"0123456789ABCDEF".contains(&b))),
            }
        }
    }
}
