//! Where unguessable bytes come from: injected, so that this crate has no randomness of its own.

/// A source of bytes that nobody can predict. Implemented over the operating system's generator in `cli`.
pub trait Randomness: Send + Sync {
    /// Fills `bytes`, or fails as a whole when the generator does not answer.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness>;
}

impl dyn Randomness + '_ {
    /// `N` fresh bytes.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], NoRandomness> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}

/// The generator did not answer; nothing secret may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random number generator does not answer")]
pub struct NoRandomness;
