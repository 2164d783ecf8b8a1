//! The one canonical form of organisation codes, usernames and unit names.
//!
//! Everything that stores, looks up, locks or counts a name uses [`CanonicalName`] (`security.md` M4), so two
//! spellings that a person takes for the same name are the same account everywhere.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// A name without regard to case and Unicode form: compatibility caseless matching as Unicode
/// defines it (D146). White space around it does not count.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalName(String);

impl CanonicalName {
    /// The most characters a name may have before it is made canonical.
    pub const MAX_CHARACTERS: usize = 256;

    /// Makes the canonical form. Refuses an empty name, one that is too long and one with control characters.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        if name.chars().nth(Self::MAX_CHARACTERS).is_some() {
            return Err(InvalidName::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(InvalidName::ControlCharacter);
        }
        let folded = fold(name);
        // After folding, which turns every kind of space into the ordinary one.
        let folded = folded.trim();
        if folded.is_empty() { Err(InvalidName::Empty) } else { Ok(Self(folded.to_owned())) }
    }

    /// The canonical text, as storage keeps it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text without regard to case and Unicode form, as [`CanonicalName`] compares.
pub fn fold(text: &str) -> String {
    let folded = caseless::default_case_fold_str(&text.nfd().collect::<String>());
    let folded = caseless::default_case_fold_str(&folded.nfkd().collect::<String>());
    folded.nfkc().collect()
}

/// A name as it was entered, with its canonical form beside it: what is stored of every organisation, unit and user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    shown: String,
    canonical: CanonicalName,
}

impl Name {
    /// Takes a name without the white space around it. Refuses what [`CanonicalName::new`] refuses.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        Ok(Self { shown: name.trim().to_owned(), canonical: CanonicalName::new(name)? })
    }

    /// The name as it was entered.
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// The form by which it is found.
    pub fn canonical(&self) -> &CanonicalName {
        &self.canonical
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for CanonicalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a text cannot be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// There is nothing in it but white space.
    #[error("is empty")]
    Empty,
    /// Longer than [`CanonicalName::MAX_CHARACTERS`].
    #[error("is longer than {} characters", CanonicalName::MAX_CHARACTERS)]
    TooLong,
    /// It holds a control character, which no keyboard types and which could forge a log line.
    #[error("contains a control character")]
    ControlCharacter,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(name: &str) -> String {
        CanonicalName::new(name).unwrap().0
    }

    #[test]
    fn m4_case_and_form_do_not_matter() {
        assert_eq!(canonical("CRMDEMO"), canonical("crmdemo"));
        assert_eq!(canonical("Zo\u{eb}"), canonical("ZOE\u{308}"));
        assert_eq!(canonical("STRASSE"), canonical("straße"));
        assert_eq!(canonical("ﬁona"), canonical("FIONA"));
        assert_eq!(canonical("ΣΊΣΥΦΟΣ"), canonical("σίσυφος"));
        assert_eq!(canonical(" admin\u{a0}"), canonical("admin"));
        assert_ne!(canonical("zoe"), canonical("zoë"));
    }

    #[test]
    fn refuses_what_cannot_be_a_name() {
        assert_eq!(CanonicalName::new(""), Err(InvalidName::Empty));
        assert_eq!(CanonicalName::new(" \u{a0}"), Err(InvalidName::Empty));
        assert_eq!(CanonicalName::new(&"x".repeat(257)), Err(InvalidName::TooLong));
        assert_eq!(CanonicalName::new("a\nb"), Err(InvalidName::ControlCharacter));
        assert_eq!(CanonicalName::new("a\0b"), Err(InvalidName::ControlCharacter));
        assert!(CanonicalName::new(&"é".repeat(256)).is_ok());
    }

    proptest! {
        #[test]
        fn m4_canonical_form_is_stable_and_ignores_form(name in "\\PC{1,40}") {
            prop_assume!(!name.trim().is_empty());
            let once = canonical(&name);
            prop_assert_eq!(&canonical(&once), &once);
            for other in [name.nfc().collect::<String>(), name.nfd().collect(), name.nfkc().collect()] {
                prop_assert_eq!(canonical(&other), once.clone(), "from {:?}", other);
            }
        }
    }

    /// Every letter of the scripts that have case, up to an age at which the standard library and the folding tables
    /// agree about them. Unicode folds the Turkish dotless i to itself, and the dotted one to an i with a dot.
    #[test]
    fn m4_case_does_not_matter() {
        for letter in ('\u{20}'..'\u{600}').chain('\u{10a0}'..'\u{1100}').chain('\u{1e00}'..'\u{2000}') {
            if letter.is_alphabetic() && !"ıİ".contains(letter) {
                let name = format!("x{letter}");
                for other in [name.to_lowercase(), name.to_uppercase()] {
                    assert_eq!(canonical(&other), canonical(&name), "from {other:?}");
                }
            }
        }
    }
}
