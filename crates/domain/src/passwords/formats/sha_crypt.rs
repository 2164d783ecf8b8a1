//! The salted SHA-256 and SHA-512 of crypt(3): `$5$salt$digest` and `$6$rounds=656000$salt$digest`, by mkpasswd,
//! passlib and every Linux.

use sha_crypt::{Params, sha256_crypt, sha512_crypt};
use subtle::ConstantTimeEq;

use super::{Format, RefusedHash, at_most, crypt_digits, number};

/// The most rounds.
const MAX_ROUNDS: u64 = 1_000_000;
/// The longest password in bytes, as libxcrypt has it. Each round reads the password twice, so that a longer one would
/// take beyond measure.
const MAX_PASSWORD: usize = 511;
/// The rounds of a hash that names none.
const DEFAULT_ROUNDS: u64 = 5000;
const FORMAT: &str = "SHA-crypt";

pub(super) struct ShaCrypt {
    is_512: bool,
    rounds: u64,
    salt: Vec<u8>,
    digest: String,
}

impl ShaCrypt {
    /// Reads what follows the name, which is 5 or 6.
    pub(super) fn parse(name: &str, fields: &[&str]) -> Result<Self, RefusedHash> {
        let damaged = |fault| RefusedHash::Damaged { format: FORMAT, fault };
        let (rounds, salt, digest) = match fields[..] {
            [salt, digest] => (Some(DEFAULT_ROUNDS), salt, digest),
            [rounds, salt, digest] => (rounds.strip_prefix("rounds=").and_then(number), salt, digest),
            _ => return Err(damaged("salt and digest, or rounds, salt and digest must follow")),
        };
        let rounds = rounds.filter(|rounds| *rounds >= Params::ROUNDS_MIN.into());
        let rounds = rounds.ok_or(damaged("its rounds are not a number from 1000"))?;
        if salt.len() > 16 {
            return Err(damaged("its salt is longer than 16 characters"));
        }
        let is_512 = name == "6";
        let is_digest = digest.bytes().all(|byte| super::CRYPT_DIGITS.contains(&byte));
        if !is_digest || digest.len() != if is_512 { 86 } else { 43 } {
            return Err(damaged("its digest is not 43 ($5$) or 86 ($6$) characters long"));
        }
        Ok(Self { is_512, rounds, salt: salt.into(), digest: digest.into() })
    }

    /// The digest of a password as text.
    fn digest(&self, password: &[u8], params: Params) -> String {
        // crypt(3) writes the digest's bytes in an order of its own: three thirds side by side, taking turns.
        let (digest, third, turn) = if self.is_512 {
            (sha512_crypt(password, &self.salt, params).to_vec(), 21, 1)
        } else {
            (sha256_crypt(password, &self.salt, params).to_vec(), 10, 2)
        };
        let mut bytes = Vec::with_capacity(digest.len());
        for index in 0..third {
            let mut three = [0, 1, 2].map(|part| digest[index + part * third]);
            three.rotate_left(index * turn % 3);
            three.reverse();
            bytes.extend_from_slice(&three);
        }
        bytes.extend_from_slice(&digest[3 * third..]);
        crypt_digits(&bytes)
    }
}

impl Format for ShaCrypt {
    fn check_cost(&self) -> Result<(), RefusedHash> {
        at_most("number of SHA-crypt rounds", self.rounds, MAX_ROUNDS)
    }

    fn compare(&self, password: &[u8]) -> Option<bool> {
        if password.len() > MAX_PASSWORD {
            return None;
        }
        let params = Params::new(u32::try_from(self.rounds).ok()?).ok()?;
        let digest = self.digest(password, params);
        Some(digest.as_bytes().ct_eq(self.digest.as_bytes()).into())
    }

    fn work(&self) -> u64 {
        // By a processor with instructions of its own for SHA-256, where 0.28 and 1.1 were measured with a password of 28
        // bytes. Longer ones take longer.
        if self.is_512 { self.rounds / 2 } else { self.rounds / 5 }
    }
}
