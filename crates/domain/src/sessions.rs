//! Where live sessions are looked for: in the session table, which is all there is on one machine.

use std::sync::Arc;

use crate::{
    clock::Clock,
    credential::TokenDigest,
    id::{OrganisationId, SessionId},
    journal::StoreError,
    session::{Identity, PastSession},
    session_table::{Live, SessionFilter, SessionPlace, SessionTable},
};

/// The live sessions.
pub struct Sessions {
    table: Arc<SessionTable>,
    clock: Clock,
}

impl Sessions {
    /// Those of a table that has all of them, as `clock` judges them.
    pub fn all_in(table: Arc<SessionTable>, clock: Clock) -> Self {
        Self { table, clock }
    }

    /// Those in memory.
    pub fn table(&self) -> &SessionTable {
        &self.table
    }

    /// Finds the live session of a token, and makes this moment its last use if it `is_use`.
    pub async fn find_live(&self, digest: &TokenDigest, is_use: bool) -> Result<Option<Live>, StoreError> {
        let now = self.clock.now();
        Ok(if is_use { self.table.slide(digest, now) } else { self.table.peek(digest, now) })
    }

    /// What is known of a session that is not known to have ended, whether or not its time is over: for a release, which
    /// must not depend on the moment at which it looks, and for those who ask how it stands.
    pub async fn examine(&self, session: SessionId) -> Result<Option<(PastSession, Identity)>, StoreError> {
        let found = self.table.examine(session);
        Ok(found.map(|(past, subject)| (past, subject.identity().clone())))
    }

    /// Lists live sessions of an organisation, `limit` at most, behind a place, in the order of [`SessionPlace`].
    pub async fn list(
        &self,
        organisation: OrganisationId,
        filter: SessionFilter,
        after: Option<SessionPlace>,
        limit: usize,
    ) -> Result<Vec<Live>, StoreError> {
        Ok(self.table.list(organisation, &filter, after, limit, self.clock.now()))
    }
}
