//! Where live sessions are looked for.
//!
//! On one machine that is the session table. On many, each instance's table is a copy of some of the store's sessions
//! ([`SessionCopy`]): it answers from there while its lease vouches for it, and asks the store about what it does not know.

mod copy;
mod reading;
#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
mod unknown;

use std::sync::Arc;

pub use self::{
    copy::{Held, SessionCopy, SessionCopyParts},
    reading::{Progress, Reading},
};
use crate::{
    clock::Clock,
    credential::TokenDigest,
    id::{OrganisationId, SessionId},
    journal::{Journal, StoreError},
    session::{Identity, PastSession},
    session_table::{Listing, Live, LiveRef, SessionFilter, SessionPlace, SessionTable, Use},
};

/// The live sessions.
pub struct Sessions(Known);

enum Known {
    /// All there are, but for those that are still to be read, and the clock that judges them.
    All(Arc<SessionTable>, Clock, Arc<Reading>),
    /// Some of them.
    Some(Arc<SessionCopy>),
}

impl Sessions {
    /// Those of a table that has all of them, as `clock` judges them.
    pub fn all_in(table: Arc<SessionTable>, clock: Clock) -> Self {
        Self::being_read(table, clock, Arc::default())
    }

    /// Those of a table that has all of them when `reading` is over, as `clock` judges them. Until then nothing is known of
    /// what is not there.
    pub fn being_read(table: Arc<SessionTable>, clock: Clock, reading: Arc<Reading>) -> Self {
        Self(Known::All(table, clock, reading))
    }

    /// Those of a store, of which `copy` has some.
    pub fn copied(copy: Arc<SessionCopy>) -> Self {
        Self(Known::Some(copy))
    }

    /// Those in memory.
    pub fn table(&self) -> &SessionTable {
        match &self.0 {
            Known::All(table, ..) => table,
            Known::Some(copy) => copy.table(),
        }
    }

    /// Whether what leaves memory has ended, so that the store may forget it. A copy forgets others too.
    pub(crate) fn are_all_known(&self) -> bool {
        matches!(self.0, Known::All(..))
    }

    /// Whether what is in memory may be relied on at this moment, be it sessions or what was read of the directory.
    pub(crate) fn vouch(&self) -> Result<(), StoreError> {
        match &self.0 {
            Known::All(..) => Ok(()),
            Known::Some(copy) => copy.vouch(),
        }
    }

    /// Finds the live session of a token, says what `f` makes of it, and makes this moment its last use if it `is_use` and `f`
    /// makes anything of it. `None` if that takes waiting: for the store, or until the use is written.
    pub fn find_now<T>(
        &self,
        digest: &TokenDigest,
        is_use: bool,
        f: impl FnOnce(LiveRef<'_>) -> Option<T>,
    ) -> Option<Result<Option<T>, StoreError>> {
        match &self.0 {
            Known::All(table, clock, reading) => {
                let are_all_there = reading.require_all();
                Some(match table.look(digest, clock.now(), is_use, f) {
                    None => are_all_there.map(|()| None),
                    found => Ok(found),
                })
            }
            Known::Some(copy) => copy.find_now(digest, is_use, f),
        }
    }

    /// As [`Self::find_now`] for many tokens at once. `f` is told of each in order and says whether that is a use of it; an error
    /// says that nothing is known of some, whatever `f` has been told.
    pub fn find_all_now(
        &self,
        digests: &[Option<TokenDigest>],
        is_use: bool,
        mut f: impl FnMut(Option<LiveRef<'_>>) -> bool,
    ) -> Option<Result<(), StoreError>> {
        let Known::All(table, clock, reading) = &self.0 else { return None };
        let are_all_there = reading.require_all();
        let (mut asked, mut is_one_missing) = (digests.iter(), false);
        table.look_at_all(digests, clock.now(), is_use, |live| {
            let is_token = asked.next().is_some_and(Option::is_some);
            is_one_missing |= is_token && live.is_none();
            f(live)
        });
        Some(if is_one_missing { are_all_there } else { Ok(()) })
    }

    /// As [`Self::find_now`], waiting if need be; then it is a use whatever `f` makes of it.
    pub async fn find<T>(
        &self,
        digest: &TokenDigest,
        is_use: bool,
        journal: &Journal,
        mut f: impl FnMut(LiveRef<'_>) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        match (self.find_now(digest, is_use, &mut f), &self.0) {
            (Some(found), _) => found,
            (None, Known::All(..)) => Ok(None),
            (None, Known::Some(copy)) => {
                let live = copy.find_live(digest, is_use, journal).await?;
                Ok(live.and_then(|live| f(live.borrow())))
            }
        }
    }

    /// Has those of these tokens at hand that are not, so that looking for one after the other does not ask the store one
    /// after the other. What fails here fails again there.
    pub async fn prepare(&self, digests: impl Iterator<Item = TokenDigest>) {
        if let Known::Some(copy) = &self.0 {
            copy.prepare(digests).await;
        }
    }

    /// What is known of a session that is not known to have ended, whether or not its time is over: for a release, which
    /// must not depend on the moment at which it looks, and for those who ask how it stands.
    pub async fn examine(&self, session: SessionId) -> Result<Option<(PastSession, Identity)>, StoreError> {
        match &self.0 {
            Known::All(table, _, reading) => {
                let are_all_there = reading.require_all();
                match table.examine(session) {
                    None => are_all_there.map(|()| None),
                    found => Ok(found),
                }
            }
            Known::Some(copy) => copy.examine(session).await,
        }
    }

    /// Fails while a session may have ended without being remembered as one that has.
    pub(crate) fn require_past(&self) -> Result<(), StoreError> {
        match &self.0 {
            Known::All(_, _, reading) => reading.require_past(),
            Known::Some(_) => Ok(()),
        }
    }

    /// Returns when all that had ended in the store when this was called has ended everywhere: whoever is told that a
    /// session is gone must not find it on another instance.
    pub async fn settle(&self) -> Result<(), StoreError> {
        match &self.0 {
            Known::All(..) => Ok(()),
            Known::Some(copy) => copy.settle().await,
        }
    }

    /// Takes the uses of sessions that have left memory before they were written. What cannot be written is to be
    /// [put back](Self::put_unwritten).
    pub(crate) fn take_unwritten(&self) -> Vec<Use> {
        match &self.0 {
            Known::All(..) => Vec::new(),
            Known::Some(copy) => copy.take_unwritten(),
        }
    }

    /// Keeps uses that could not be written.
    pub(crate) fn put_unwritten(&self, uses: Vec<Use>) {
        if let Known::Some(copy) = &self.0 {
            copy.put_unwritten(uses);
        }
    }

    /// Lists live sessions of an organisation, `limit` at most, behind a place, in the order of [`SessionPlace`].
    pub async fn list(
        &self,
        organisation: OrganisationId,
        filter: SessionFilter,
        after: Option<SessionPlace>,
        limit: usize,
    ) -> Result<Vec<Live>, StoreError> {
        match &self.0 {
            Known::All(table, clock, reading) => {
                reading.require_all()?;
                let mut listing = Listing::new(table, organisation, filter, after, limit, clock.now());
                while listing.look_further() {
                    tokio::task::yield_now().await;
                }
                Ok(listing.finish())
            }
            Known::Some(copy) => copy.list(organisation, filter, after, limit).await,
        }
    }
}
