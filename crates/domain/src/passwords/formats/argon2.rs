//! Argon2 in its three variants, as PHC strings: `$argon2id$v=19$m=65536,t=3,p=4$salt$digest`.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::phc::{Output, PasswordHash, Salt},
};

use super::{Argon2Cost, Memory, Password, RefusedHash, at_most};

/// The most memory in KiB.
const MAX_MEMORY: u64 = 256 * 1024;
/// The most memory in KiB times passes over it: 16 passes over all that is allowed.
const MAX_WORK: u64 = 16 * MAX_MEMORY;

/// A hash with the parameters to compute it again.
pub(in super::super) struct Argon2Hash {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Salt,
    digest: Output,
}

impl Argon2Hash {
    pub(super) fn parse(text: &str) -> Result<Self, RefusedHash> {
        let damaged = |fault| RefusedHash::Damaged { format: "Argon2", fault };
        let hash = PasswordHash::new(text).map_err(|_| {
            damaged("its parameters, salt (8 to 48 bytes) and digest (10 to 64) cannot be read")
        })?;
        let algorithm =
            Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| damaged("its variant is not known"))?;
        // Hashes of before version 1.3 name none.
        let version = match hash.version {
            None => Version::V0x10,
            Some(version) => Version::try_from(version).map_err(|_| damaged("its version is not known"))?,
        };
        if ["m", "t", "p"].iter().any(|name| hash.params.get(*name).is_none()) {
            return Err(damaged("it does not name its memory, passes and lanes (m, t, p)"));
        }
        if hash.params.get("keyid").is_some() {
            return Err(damaged("it was made with a secret key (keyid), which is not in it"));
        }
        let params =
            Params::try_from(&hash).map_err(|_| damaged("Argon2 refuses its parameters (m, t, p)"))?;
        let (salt, digest) = hash.salt.zip(hash.hash).ok_or(damaged("its digest is missing"))?;
        Ok(Self { algorithm, version, params, salt, digest })
    }

    pub(super) fn check_cost(&self) -> Result<(), RefusedHash> {
        at_most("memory in KiB (m)", self.params.m_cost().into(), MAX_MEMORY)?;
        at_most("memory in KiB times passes (m times t)", self.work(), MAX_WORK)
    }

    pub(super) fn compare(&self, password: &Password, memory: &mut Memory) -> Option<bool> {
        let argon2 = Argon2::new(self.algorithm, self.version, self.params.clone());
        // The comparison is in constant time (`security.md` S3).
        Some(memory.hash(&argon2, password, &self.salt, self.digest.len())? == self.digest)
    }

    /// KiB filled: memory times passes.
    pub(super) fn work(&self) -> u64 {
        u64::from(self.params.m_cost()) * u64::from(self.params.t_cost())
    }

    /// Whether it needs no more memory and no more passes than hashes made today.
    pub(super) fn costs_at_most(&self, today: Argon2Cost) -> bool {
        self.params.m_cost() <= today.memory_kib && self.work() <= today.work()
    }

    /// Whether it is of the newest algorithm, and with as much memory and as many passes as hashes made today.
    pub(super) fn is_as_strong_as(&self, today: Argon2Cost) -> bool {
        let is_newest = self.algorithm == Algorithm::Argon2id && self.version == Version::V0x13;
        is_newest && self.params.m_cost() >= today.memory_kib && self.params.t_cost() >= today.iterations
    }
}
