//! PostgreSQL: one database that the instances of many machines work on.
//!
//! A [`PostgresStore`] is opened and then taken apart: the ledger writes for the journal's thread on a connection of its
//! own, the [`PostgresDirectory`] reads through a pool, the roster renews leases on a third. Each makes its connections
//! anew when they are lost. The SQL has no triggers, no extensions and no functions of its own, so that databases which
//! are compatible with PostgreSQL can run it.

mod connect;
mod error;
mod schema;
mod tls;

use doorward_domain::clock::Timestamp;

pub use self::{connect::PostgresOptions, error::PostgresError};
use self::{
    connect::{Readers, Target},
    schema::Found,
};
use crate::{Kind, words};

/// A database that is of today's schema, and that this process does not work on yet.
#[derive(Debug)]
pub struct PostgresStore {
    target: Target,
    kind: Kind,
    latest: Option<Timestamp>,
}

/// Reads the directory.
#[derive(Clone, Debug)]
pub struct PostgresDirectory {
    #[expect(dead_code, reason = "read by the directory, which is to come")]
    readers: Readers,
}

impl PostgresStore {
    /// Makes Doorward's tables in a database that has none.
    pub async fn create(options: &PostgresOptions, kind: Kind) -> Result<Self, PostgresError> {
        let target = Target::new(options)?;
        let mut connection = schema::connect_alone(&target).await?;
        let found = schema::identify(&target, &connection.client).await?;
        if matches!(found, Found::Tables { has_data: true, .. }) {
            return Err(PostgresError::AlreadyExists { database: target.name.to_string() });
        }
        schema::migrate(&target, &mut connection.client, found).await?;
        let sql = "INSERT INTO journal_state (one, kind, oldest_reader) VALUES (1, $1, $2)";
        let oldest_reader = i32::try_from(schema::known()).unwrap_or(i32::MAX);
        let row = connection.client.execute(sql, &[&words::kind(kind), &oldest_reader]).await;
        row.map_err(|error| PostgresError::unusable(&target.name, &error))?;
        Ok(Self { target, kind, latest: None })
    }

    /// Opens a database and brings its schema up to date.
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
        Ok(Self { target, kind, latest: latest.map(Timestamp::from_millis) })
    }

    /// What the data is for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The latest time known to any instance, for `Clock::not_before`.
    pub fn latest(&self) -> Option<Timestamp> {
        self.latest
    }

    /// A directory of its own.
    pub fn directory(&self) -> Result<PostgresDirectory, PostgresError> {
        Ok(PostgresDirectory { readers: self.target.readers()? })
    }
}
