//! How far a start is with reading the store's sessions into the table.
//!
//! On one machine logins are answered while sessions are still being read: what is issued meanwhile has a higher number
//! than all that is read. What is not in the table may then be among what is not read yet, so nothing is known of it. And
//! what ends or renames many sessions waits, for it reaches those in the table alone.

use crate::{
    journal::StoreError,
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// All that is live is in the table, and all that has ended is remembered as such.
const OVER: u32 = 0;
/// All that is live is in the table; what had ended is still among the store's sessions.
const TIDYING: u32 = 1;
/// Sessions are being read.
const UNDER_WAY: u32 = 2;

/// How far the reading is. By default there is nothing to read.
#[derive(Debug, Default)]
pub struct Reading {
    stage: AtomicU32,
    read: AtomicU64,
    percent: AtomicU32,
}

/// How much has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many sessions.
    pub read: u64,
    /// Out of a hundred, about how many of those that there are.
    pub percent: u32,
}

impl Reading {
    /// One that is to be done.
    pub fn begun() -> Self {
        Self { stage: AtomicU32::new(UNDER_WAY), ..Self::default() }
    }

    /// Notes how far it is.
    pub fn advance(&self, Progress { read, percent }: Progress) {
        self.read.store(read, Ordering::Relaxed);
        self.percent.store(percent, Ordering::Relaxed);
    }

    /// Notes that all live sessions are in the table. Those that were found to have ended are to be forgotten
    /// ([`Entry::Forget`](crate::journal::Entry::Forget)).
    pub fn all_read(&self) {
        self.stage.store(TIDYING, Ordering::Release);
    }

    /// Notes that those that had ended are forgotten.
    pub fn all_forgotten(&self) {
        self.stage.store(OVER, Ordering::Release);
    }

    /// How far it is, while sessions are missing in the table.
    pub fn progress(&self) -> Option<Progress> {
        let (read, percent) = (self.read.load(Ordering::Relaxed), self.percent.load(Ordering::Relaxed));
        self.is_under_way().then_some(Progress { read, percent })
    }

    /// Whether sessions are missing in the table. To be asked *before* the table is: what is put there in between would be
    /// missed by a look that came first.
    pub(crate) fn is_under_way(&self) -> bool {
        self.stage.load(Ordering::Acquire) == UNDER_WAY
    }

    /// Fails while sessions are missing in the table.
    pub(crate) fn require_all(&self) -> Result<(), StoreError> {
        if self.is_under_way() { Err(StoreError::Reading) } else { Ok(()) }
    }

    /// Fails while it is not known of each session that has ended.
    pub(crate) fn require_past(&self) -> Result<(), StoreError> {
        if self.stage.load(Ordering::Acquire) == OVER { Ok(()) } else { Err(StoreError::Reading) }
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
