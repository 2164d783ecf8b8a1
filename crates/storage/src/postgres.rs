//! PostgreSQL: one database that the instances of many machines work on.
//!
//! A [`PostgresStore`] is opened and then taken apart: the ledger writes for the journal's thread on a connection of its
//! own, the [`PostgresDirectory`] reads through a pool, the roster renews leases on a third. Each makes its connections
//! anew when they are lost. The SQL has no triggers, no extensions and no functions of its own, so that databases which
//! are compatible with PostgreSQL can run it.

mod attempts;
mod audit;
mod catalogue;
mod change;
mod columns;
mod connect;
mod directory;
mod ended;
mod error;
mod ledger;
mod log;
mod lookup;
mod moving;
mod past;
mod records;
mod roster;
mod schema;
mod sessions;
mod source;
mod sweep;
mod timeline;
mod tls;
mod values;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use doorward_domain::{
    clock::Timestamp,
    journal::{Entry, LedgerError, Outcome},
    observer::Observer,
};
use tokio::runtime::Handle;

pub(crate) use self::moving::Arrival;
pub use self::{
    attempts::PostgresAttempts, connect::PostgresOptions, directory::PostgresDirectory, error::PostgresError,
    ledger::PostgresLedger, roster::PostgresRoster, sweep::Swept,
};
use self::{connect::Target, ledger::Writer, schema::Found};
use crate::{Kind, words};

/// A database of today's schema that this process does not serve yet.
#[derive(Debug)]
pub struct PostgresStore {
    kind: Kind,
    latest: Option<Timestamp>,
    writer: Writer,
}

impl PostgresStore {
    /// Makes Doorward's tables in a database that has none, and has them hold `first`. A creation that fails or is cut
    /// off leaves no data, and can be repeated.
    pub async fn create(
        options: &PostgresOptions,
        kind: Kind,
        first: &[Entry],
    ) -> Result<Self, PostgresError> {
        let target = Target::new(options)?;
        let mut connection = schema::connect_alone(&target).await?;
        let found = schema::identify(&target, &connection.client).await?;
        let database = || target.name.to_string();
        if matches!(found, Found::Tables { has_data: true, .. }) {
            return Err(PostgresError::AlreadyExists { database: database() });
        }
        schema::migrate(&target, &mut connection.client, found).await?;
        let mut writer = Writer { target: target.clone(), connection: None };
        let committed = writer.commit_first(first, kind).await;
        let committed = committed
            .map_err(|error| PostgresError::Unusable { database: database(), reason: error.to_string() })?;
        if committed.is_none() {
            let reason = "what it should hold first contradicts itself".to_owned();
            return Err(PostgresError::Unusable { database: database(), reason });
        }
        Ok(Self { kind, latest: None, writer })
    }

    /// Opens a database and brings its schema up to date, while all others wait who open it. A newer schema is accepted
    /// if it says that this version stands it: then another instance runs the next version already.
    pub async fn open(options: &PostgresOptions) -> Result<Self, PostgresError> {
        let target = Target::new(options)?;
        let mut connection = schema::connect_alone(&target).await?;
        let found = schema::identify(&target, &connection.client).await?;
        if !matches!(found, Found::Tables { has_data: true, .. }) {
            return Err(PostgresError::Empty { database: target.name.to_string() });
        }
        schema::migrate(&target, &mut connection.client, found).await?;
        let sql = "SELECT kind, greatest(latest, (SELECT max(latest) FROM instance)) FROM journal_state";
        let state = connection.client.query_one(sql, &[]).await;
        let state = state.map_err(|error| PostgresError::unusable(&target.name, &error))?;
        let (kind, latest) = (words::read_kind(state.get(0)), state.get::<_, Option<_>>(1));
        let writer = Writer { target, connection: None };
        Ok(Self { kind, latest: latest.map(Timestamp::from_millis), writer })
    }

    /// What the data is for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The latest time known to any instance, for `Clock::not_before`.
    pub fn latest(&self) -> Option<Timestamp> {
        self.latest
    }

    /// Commits entries directly, while there is no journal yet and no session table that would have to follow.
    pub async fn apply(&mut self, batch: &[Entry]) -> Result<Vec<Outcome>, LedgerError> {
        Ok(self.writer.commit(batch).await?.outcomes)
    }

    /// Takes the store apart into the ledger, which tells `observer` of its commits, a directory and the roster. Must be
    /// called on the runtime that is to carry their connections.
    pub fn start(
        self,
        observer: Arc<dyn Observer>,
    ) -> Result<(PostgresLedger, PostgresDirectory, PostgresRoster), PostgresError> {
        let target = self.writer.target;
        let readers = target.readers()?;
        // Another runtime may carry the connection that there is.
        let writer = Writer { target: target.clone(), connection: None };
        let ledger = PostgresLedger { writer, runtime: Handle::current(), observer };
        let roster = PostgresRoster::new(target, readers.clone());
        Ok((ledger, PostgresDirectory::new(readers), roster))
    }
}
