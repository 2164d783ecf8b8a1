//! PBKDF2, in three ways to write it: as PHC (`$pbkdf2-sha256$i=600000,l=32$salt$digest`, by RustCrypto), as passlib
//! does (`$pbkdf2-sha256$29000$salt$digest`) and as Django does (`pbkdf2_sha256$870000$salt$digest`).

use ::pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::{Format, RefusedHash, at_most, base64, number, parameters};

/// The most iterations, of all blocks of the digest.
const MAX_ITERATIONS: u64 = 5_000_000;

/// What is iterated.
#[derive(Clone, Copy)]
pub(super) enum Hmac {
    Sha1,
    Sha256,
    Sha512,
}

impl Hmac {
    /// Bytes of a block of the digest.
    fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

pub(super) struct Pbkdf2 {
    hmac: Hmac,
    iterations: u64,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

fn damaged(fault: &'static str) -> RefusedHash {
    RefusedHash::Damaged { format: "PBKDF2", fault }
}

impl Pbkdf2 {
    /// Reads what follows the name: RustCrypto's if the iterations have a name, and else passlib's.
    pub(super) fn parse_phc(hmac: Hmac, fields: &[&str]) -> Result<Self, RefusedHash> {
        let [costs, salt, digest] = fields[..] else {
            return Err(damaged("iterations, salt and digest must follow"));
        };
        let (iterations, length) = if costs.contains('=') {
            let named = parameters(costs, ["i", "l"]);
            let [iterations, length] = named.ok_or(damaged("its parameters are not two numbers i and l"))?;
            (Some(iterations), usize::try_from(length).ok().filter(|length| (16..=64).contains(length)))
        } else {
            (number(costs), Some(hmac.size()))
        };
        let length = length.ok_or(damaged("the length of its digest (l) is not from 16 to 64"))?;
        let salt = base64(salt).ok_or(damaged("its salt cannot be read"))?;
        Self::new(hmac, iterations, salt, base64(digest), length)
    }

    /// Reads what follows the name. The salt is taken as text.
    pub(super) fn parse_django(hmac: Hmac, fields: &[&str]) -> Result<Self, RefusedHash> {
        let [iterations, salt, digest] = fields[..] else {
            return Err(damaged("iterations, salt and digest must follow"));
        };
        Self::new(hmac, number(iterations), salt.as_bytes().to_vec(), base64(digest), hmac.size())
    }

    fn new(
        hmac: Hmac,
        iterations: Option<u64>,
        salt: Vec<u8>,
        digest: Option<Vec<u8>>,
        length: usize,
    ) -> Result<Self, RefusedHash> {
        let iterations = iterations.filter(|iterations| *iterations > 0);
        let iterations = iterations.ok_or(damaged("its iterations are not a number above zero"))?;
        let digest = digest.filter(|digest| digest.len() == length);
        let digest = digest.ok_or(damaged("its digest has not the right length"))?;
        Ok(Self { hmac, iterations, salt, digest })
    }

    /// Iterations of all blocks of the digest.
    fn total(&self) -> u64 {
        self.iterations.saturating_mul(self.digest.len().div_ceil(self.hmac.size()) as u64)
    }
}

impl Format for Pbkdf2 {
    fn check_cost(&self) -> Result<(), RefusedHash> {
        at_most("number of PBKDF2 iterations", self.total(), MAX_ITERATIONS)
    }

    fn compare(&self, password: &[u8]) -> Option<bool> {
        let iterations = u32::try_from(self.iterations).ok()?;
        let mut digest = vec![0; self.digest.len()];
        match self.hmac {
            Hmac::Sha1 => pbkdf2_hmac::<Sha1>(password, &self.salt, iterations, &mut digest),
            Hmac::Sha256 => pbkdf2_hmac::<Sha256>(password, &self.salt, iterations, &mut digest),
            Hmac::Sha512 => pbkdf2_hmac::<Sha512>(password, &self.salt, iterations, &mut digest),
        }
        Some(digest.ct_eq(&self.digest).into())
    }

    fn work(&self) -> u64 {
        // By a processor with instructions of its own for SHA-1 and SHA-256, where 0.24, 0.29 and 1.2 were measured.
        match self.hmac {
            Hmac::Sha1 | Hmac::Sha256 => self.total() / 5,
            Hmac::Sha512 => self.total(),
        }
    }
}
