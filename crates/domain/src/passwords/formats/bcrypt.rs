//! bcrypt in modular crypt format, `$2b$12$` and 53 digits: what OpenBSD, PHP, htpasswd and Python's bcrypt write.
//!
//! As all of them do, it takes the first 72 bytes of a password and no more; the hash that replaces it takes all.

use base64::{
    Engine,
    alphabet::BCRYPT,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use secrecy::zeroize::Zeroizing;
use subtle::ConstantTimeEq;

use super::{Format, RefusedHash, at_most};

/// The most rounds as a power of two: some four seconds.
const MAX_COST: u64 = 16;
/// What counts of a password.
const KEY_LENGTH: usize = 72;
/// The unused bits of the last digits are ignored: some programs make salts with such.
const DIGITS: GeneralPurpose = GeneralPurpose::new(
    &BCRYPT,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

pub(super) struct Bcrypt {
    cost: u8,
    salt: [u8; 16],
    digest: [u8; 23],
}

impl Bcrypt {
    /// Reads what follows `$2b`.
    pub(super) fn parse(fields: &[&str]) -> Result<Self, RefusedHash> {
        let damaged = |fault| RefusedHash::Damaged { format: "bcrypt", fault };
        let [cost, rest] = fields[..] else { return Err(damaged("a cost and one field must follow")) };
        let is_cost = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
        let cost = cost.parse().ok().filter(|cost| is_cost && (4..32).contains(cost));
        let cost = cost.ok_or(damaged("its cost is not a number of two digits from 04 to 31"))?;
        if !rest.is_ascii() || rest.len() != 53 {
            return Err(damaged("salt and digest are not 22 and 31 characters long"));
        }
        let (mut salt, mut digest) = ([0; 16], [0; 23]);
        DIGITS.decode_slice(&rest[..22], &mut salt).map_err(|_| damaged("its salt cannot be read"))?;
        DIGITS.decode_slice(&rest[22..], &mut digest).map_err(|_| damaged("its digest cannot be read"))?;
        Ok(Self { cost, salt, digest })
    }
}

impl Format for Bcrypt {
    fn check_cost(&self) -> Result<(), RefusedHash> {
        at_most("bcrypt cost", self.cost.into(), MAX_COST)
    }

    fn compare(&self, password: &[u8]) -> Option<bool> {
        let mut key = Zeroizing::new([0; KEY_LENGTH]);
        let length = password.len().min(KEY_LENGTH);
        key[..length].copy_from_slice(&password[..length]);
        // A zero ends the key, if there is room for it.
        let digest = ::bcrypt::bcrypt(self.cost.into(), self.salt, &key[..KEY_LENGTH.min(length + 1)]);
        // The key is repeated, so that "a" and "a\0a" give one digest. No program that makes these hashes takes a zero.
        Some(bool::from(digest[..self.digest.len()].ct_eq(&self.digest)) & !password.contains(&0))
    }

    fn work(&self) -> u64 {
        // Of 140 that were measured.
        100 << self.cost
    }
}
