//! Argon2id as we make it: what one hash costs, the memory that it fills, and the work by which it exceeds another.

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{self, Output, ParamsString, Salt},
};

use super::{HashError, PasswordHash};
use crate::{credential::Password, random::Randomness};

/// What one Argon2id hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

impl Argon2Cost {
    /// The least that `security.md` C4 allows, and the default.
    pub const FLOOR: Self = Self { memory_kib: 19 * 1024, iterations: 2, parallelism: 1 };

    /// Hashes on the calling thread. For set-up; the server hashes through [`Passwords`](super::Passwords).
    pub fn hash(self, password: &Password, random: &dyn Randomness) -> Result<PasswordHash, HashError> {
        Ok(self.hash_with_salt(password, random.bytes()?, &mut Memory::default())?)
    }

    pub(super) fn hash_with_salt(
        self,
        password: &Password,
        salt: [u8; 16],
        memory: &mut Memory,
    ) -> Result<PasswordHash, InvalidCost> {
        let params =
            Params::new(self.memory_kib, self.iterations, self.parallelism, None).map_err(|_| InvalidCost)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(argon2.params()).map_err(|_| InvalidCost)?,
            salt: Some(Salt::new(&salt).map_err(|_| InvalidCost)?),
            hash: memory.hash(&argon2, password, &salt, Params::DEFAULT_OUTPUT_LEN),
        };
        hash.hash.ok_or(InvalidCost)?;
        Ok(PasswordHash::from_stored(hash.to_string()))
    }

    /// KiB filled: memory times passes.
    pub(super) fn work(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.iterations)
    }

    /// Does the work by which this cost exceeds what a comparison with another hash took, so that a wrong password
    /// takes as long where the hash is old as where there is none (`security.md` C5).
    ///
    /// What is left: the work of other formats is a low estimate, so that it may take somewhat longer; and what costs
    /// more than a hash of ours tells itself by that until its user logs in.
    pub(super) fn make_up_for(self, done: u64, password: &Password, salt: [u8; 16], memory: &mut Memory) {
        if let Some(rest) = self.beyond(done) {
            let _ = std::hint::black_box(rest.hash_with_salt(password, salt, memory));
        }
    }

    /// The cost that is left of this one where some of the work is done; `None` if nothing is.
    pub(super) fn beyond(self, done: u64) -> Option<Self> {
        let missing = self.work().saturating_sub(done) / u64::from(self.iterations);
        let memory_kib = u32::try_from(missing).unwrap_or(self.memory_kib);
        // Less is no work worth the name, and not possible either.
        (memory_kib >= Params::MIN_M_COST * self.parallelism).then_some(Self { memory_kib, ..self })
    }
}

/// Argon2 does not accept these parameters, or has not got the memory for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Argon2 refuses these parameters or cannot have the memory for them")]
pub struct InvalidCost;

/// The memory that hashes fill, kept by each thread from one to the next: to get as much anew from the operating system
/// takes up to half as long again as the hash, and how much depends on what else goes on.
#[derive(Default)]
pub(super) struct Memory {
    blocks: Vec<Block>,
    /// What is kept at the most, in blocks of 1 KiB.
    kept: usize,
}

impl Memory {
    /// Memory that keeps what hashes of this cost fill. What another hash takes beyond that is given back after it.
    pub(super) fn keeping(cost: Argon2Cost) -> Self {
        let params = Params::new(cost.memory_kib, cost.iterations, cost.parallelism, None);
        Self { blocks: Vec::new(), kept: params.map_or(0, |params| params.block_count()) }
    }

    /// Computes a hash; `None` if Argon2 refuses what it is given or the memory is not to be had.
    pub(super) fn hash(
        &mut self,
        argon2: &Argon2<'_>,
        password: &Password,
        salt: &[u8],
        length: usize,
    ) -> Option<Output> {
        let count = argon2.params().block_count();
        if let Some(missing) = count.checked_sub(self.blocks.len()) {
            self.blocks.try_reserve_exact(missing).ok()?;
            self.blocks.resize(count, Block::new());
        }
        let mut output = [0; Output::MAX_LENGTH];
        let output = output.get_mut(..length)?;
        let password = password.expose().as_bytes();
        let done = argon2.hash_password_into_with_memory(password, salt, output, &mut self.blocks[..count]);
        if self.blocks.len() > self.kept {
            self.blocks.truncate(self.kept);
            self.blocks.shrink_to_fit();
        }
        done.ok()?;
        Output::new(output).ok()
    }

    /// KiB that are kept at the moment.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.blocks.capacity()
    }
}
