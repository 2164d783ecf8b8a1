//! A password's hash as text: one of ours, or one that another program made and that is taken as it is.

use std::fmt;

use super::formats;

/// A password's hash as it is stored: a PHC string of Argon2id, or until its user's next login what another program
/// made of the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a hash as storage has it. Whether it can be read is found out when it is verified.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Takes a hash that another program made, exactly as that wrote it: Argon2, bcrypt, scrypt, PBKDF2 or SHA-crypt
    /// (`docs/moving-in.md` shows how each looks). The text is read whole, so that what this accepts can be compared
    /// with a password, and its cost is bounded, so that the comparison takes a few seconds and 256 MiB at the most.
    ///
    /// At a login the password is compared as [`Password`](crate::credential::Password) has it: UTF-8 in NFC. A hash
    /// that was made of anything else (decomposed accents, Latin-1) stays wrong. After the first login with the right
    /// password the hash is replaced by one of ours.
    ///
    /// # Errors
    /// Says what the hash is instead, what is wrong with it, or which cost is too high.
    pub fn import(text: &str) -> Result<Self, RefusedHash> {
        formats::parse(text)?.check_cost()?;
        Ok(Self(text.to_owned()))
    }

    /// The text to store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Why the hash of another program is not taken. The texts complete "the password hash …" and have nothing in them of
/// which a password could be guessed: no salt, no digest, no part of a text that may be the password itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedHash {
    /// A format that is known and too weak, or that nothing here can compute.
    #[error("is {format}, which is not taken; {TAKEN} are, and the user needs a new password")]
    OtherFormat {
        /// What it is, with an article where it needs one.
        format: &'static str,
    },
    /// No format that is known. It may be the password itself.
    #[error("is of no format that is known; {TAKEN} are taken")]
    Unknown,
    /// The beginning is that of a format, the rest is not.
    #[error("is damaged: it begins as {format} does, but {fault}")]
    Damaged {
        /// The format.
        format: &'static str,
        /// What is wrong with it, as a clause.
        fault: &'static str,
    },
    /// A comparison would take too long or too much memory.
    #[error(
        "costs too much to compare with: its {what} is {found}, and at most {most} is taken; the user needs a new password"
    )]
    TooCostly {
        /// What is too much.
        what: &'static str,
        /// How much it is.
        found: u64,
        /// How much may be.
        most: u64,
    },
}

const TAKEN: &str = "Argon2, bcrypt ($2a$, $2b$, $2y$), scrypt, PBKDF2 and SHA-crypt ($5$, $6$)";
