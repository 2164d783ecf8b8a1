//! The formats of hashes that are read: which one a text is of, and what all of them have to be able to do.
//!
//! Each reads its text whole before anything is computed, and its cost is checked before that too: a text comes from a
//! file that anybody may have written.

mod argon2;
mod bcrypt;
mod others;
mod pbkdf2;
mod scrypt;
mod sha_crypt;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    argon2id::{Argon2Cost, Memory},
    hash::RefusedHash,
};
use crate::credential::Password;

/// The longest text that is looked at; passlib's salts of up to a thousand bytes fit in.
const MAX_LENGTH: usize = 2048;

/// A hash that was read.
pub(super) enum Parsed {
    /// Of the family that we make hashes of.
    Argon2(argon2::Argon2Hash),
    /// Of another.
    Other(Box<dyn Format>),
}

/// What a format other than Argon2 does.
pub(super) trait Format {
    /// Refuses what takes too long or too much memory.
    fn check_cost(&self) -> Result<(), RefusedHash>;

    /// Computes the hash of a password and compares, in constant time (`security.md` S3). `None` if it cannot be
    /// computed; then nothing was. Only for a hash whose cost was checked.
    fn compare(&self, password: &[u8]) -> Option<bool>;

    /// How many KiB Argon2 fills in the time that a comparison takes: rather too few than too many, as on a machine
    /// that computes this format fast (`security.md` C5).
    fn work(&self) -> u64;
}

impl Parsed {
    /// Refuses what takes too long or too much memory.
    pub(super) fn check_cost(&self) -> Result<(), RefusedHash> {
        match self {
            Self::Argon2(hash) => hash.check_cost(),
            Self::Other(hash) => hash.check_cost(),
        }
    }

    /// Whether a comparison may be computed where hashes of `today` are made.
    pub(super) fn is_bearable(&self, today: Argon2Cost) -> bool {
        let is_of_today = matches!(self, Self::Argon2(hash) if hash.costs_at_most(today));
        is_of_today || self.check_cost().is_ok()
    }

    /// Whether it is the password of this hash. `None` if that cannot be computed; then nothing was.
    pub(super) fn compare(&self, password: &Password, memory: &mut Memory) -> Option<bool> {
        match self {
            Self::Argon2(hash) => hash.compare(password, memory),
            Self::Other(hash) => hash.compare(password.expose().as_bytes()),
        }
    }

    /// How many KiB Argon2 fills in the time that a comparison takes.
    pub(super) fn work(&self) -> u64 {
        match self {
            Self::Argon2(hash) => hash.work(),
            Self::Other(hash) => hash.work(),
        }
    }

    /// Whether it is weaker than hashes made today: another format, an older algorithm, less memory or fewer passes. A
    /// stronger one is left alone.
    pub(super) fn is_weaker_than(&self, today: Argon2Cost) -> bool {
        !matches!(self, Self::Argon2(hash) if hash.is_as_strong_as(today))
    }
}

/// Reads a hash of any format.
pub(super) fn parse(text: &str) -> Result<Parsed, RefusedHash> {
    if text.len() > MAX_LENGTH {
        return Err(RefusedHash::Unknown);
    }
    // Django puts a name of its own before the hashes of others.
    let text = match text.split_once('$') {
        Some(("bcrypt", rest)) if rest.starts_with("$2") => rest,
        Some(("argon2", rest)) if rest.starts_with("argon2") => &text["argon2".len()..],
        _ => text,
    };
    let fields: Vec<_> = text.split('$').collect();
    let other = |hash| Ok(Parsed::Other(hash));
    match fields[..] {
        ["", "argon2i" | "argon2d" | "argon2id", ..] => argon2::Argon2Hash::parse(text).map(Parsed::Argon2),
        ["", "2a" | "2b" | "2y", ref rest @ ..] => other(Box::new(bcrypt::Bcrypt::parse(rest)?)),
        ["", "scrypt", ref rest @ ..] => other(Box::new(scrypt::Scrypt::parse_phc(rest)?)),
        ["", "7", ref rest @ ..] => other(Box::new(scrypt::Scrypt::parse_crypt(rest)?)),
        ["scrypt", ref rest @ ..] => other(Box::new(scrypt::Scrypt::parse_django(rest)?)),
        ["", name @ ("5" | "6"), ref rest @ ..] => other(Box::new(sha_crypt::ShaCrypt::parse(name, rest)?)),
        ["", "pbkdf2" | "pbkdf2-sha1", ref rest @ ..] => {
            other(Box::new(pbkdf2::Pbkdf2::parse_phc(pbkdf2::Hmac::Sha1, rest)?))
        }
        ["", "pbkdf2-sha256", ref rest @ ..] => {
            other(Box::new(pbkdf2::Pbkdf2::parse_phc(pbkdf2::Hmac::Sha256, rest)?))
        }
        ["", "pbkdf2-sha512", ref rest @ ..] => {
            other(Box::new(pbkdf2::Pbkdf2::parse_phc(pbkdf2::Hmac::Sha512, rest)?))
        }
        ["pbkdf2_sha1", ref rest @ ..] => {
            other(Box::new(pbkdf2::Pbkdf2::parse_django(pbkdf2::Hmac::Sha1, rest)?))
        }
        ["pbkdf2_sha256", ref rest @ ..] => {
            other(Box::new(pbkdf2::Pbkdf2::parse_django(pbkdf2::Hmac::Sha256, rest)?))
        }
        _ => {
            Err(others::name(text).map_or(RefusedHash::Unknown, |format| RefusedHash::OtherFormat { format }))
        }
    }
}

/// Says what is too much, if it is.
fn at_most(what: &'static str, found: u64, most: u64) -> Result<(), RefusedHash> {
    if found <= most { Ok(()) } else { Err(RefusedHash::TooCostly { what, found, most }) }
}

/// A whole number as programs write them: digits, and no zero before them.
fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}

/// The values of a list like `ln=16,r=8,p=1` in the order of `names`; each is there once and nothing else is.
fn parameters<const N: usize>(text: &str, names: [&str; N]) -> Option<[u64; N]> {
    let mut values = [None; N];
    for parameter in text.split(',') {
        let (name, value) = parameter.split_once('=')?;
        let index = names.iter().position(|known| *known == name)?;
        if values[index].replace(number(value)?).is_some() {
            return None;
        }
    }
    let mut all = [0; N];
    for (value, found) in all.iter_mut().zip(values) {
        *value = found?;
    }
    Some(all)
}

/// Reads base64 with or without padding, and with passlib's `.` for `+`. The unused bits of the last character may be
/// anything: some programs leave them as they come.
fn base64(text: &str) -> Option<Vec<u8>> {
    const FORGIVING: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    FORGIVING.decode(text.replace('.', "+")).ok()
}

/// The digits of crypt(3), which writes the lowest six bits first.
const CRYPT_DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Bytes as crypt(3) writes them: three make four digits, and what is left over makes one digit more than bytes.
fn crypt_digits(bytes: &[u8]) -> String {
    let group = |group: &[u8]| {
        let value = group.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte));
        (0..=group.len()).map(move |digit| char::from(CRYPT_DIGITS[value >> (6 * digit) & 63]))
    };
    bytes.chunks(3).flat_map(group).collect()
}

/// The value of digits of crypt(3), the lowest first.
fn crypt_number(digits: &[u8]) -> Option<u64> {
    digits.iter().rev().try_fold(0, |value: u64, digit| {
        let digit = CRYPT_DIGITS.iter().position(|known| known == digit)?;
        Some(value.checked_mul(64)? + digit as u64)
    })
}

#[cfg(test)]
mod tests;
