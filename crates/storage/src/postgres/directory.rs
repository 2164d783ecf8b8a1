//! The directory: each question is one statement, which is one snapshot and one round trip, on a connection of the pool.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::Object;
use doorward_domain::{
    audit::chain::Chain,
    credential::KeyDigest,
    directory::{Account, Directory, Holder, KeyRecord, NameLookup, StoreFuture},
    id::{KeyId, UserId},
    journal::StoreError,
    name::CanonicalName,
};
use tokio::{sync::Semaphore, time::timeout};
use tokio_postgres::{Error, Row, types::ToSql};

use super::{attempts::PostgresAttempts, connect::Readers, lookup, records};

/// Reads the directory, what administrators see, and sessions. Clones share the connections.
#[derive(Clone, Debug)]
pub struct PostgresDirectory {
    readers: Readers,
    /// How many connections may search through audit records at once: a few, so that logins always find one.
    searches: Arc<Semaphore>,
}

/// The values of a statement.
pub(super) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

impl PostgresDirectory {
    pub(super) fn new(readers: Readers) -> Self {
        // With one connection alone, searches and logins wait for each other.
        let searches = Arc::new(Semaphore::new((readers.most() / 4).max(1)));
        Self { readers, searches }
    }

    /// The counts of failed logins, on the same connections.
    pub fn attempts(&self) -> PostgresAttempts {
        PostgresAttempts::new(self.readers.clone())
    }

    /// What is kept of all chains of audit records, beside the records.
    pub fn list_chains(&self) -> StoreFuture<'_, Vec<Chain>> {
        Box::pin(self.ask(async move |connection| records::list_chains(connection).await))
    }

    /// Has a question answered on the next connection that is free.
    pub(super) async fn ask<T>(
        &self,
        read: impl AsyncFnOnce(&Object) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        self.readers.read(read).await
    }

    /// As [`Self::ask`], when a search through audit records may begin.
    pub(super) async fn ask_for_records<T>(
        &self,
        read: impl AsyncFnOnce(&Object) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        let waited = timeout(self.patience(), self.searches.acquire()).await;
        // Nobody closes the semaphore.
        let Ok(Ok(_turn)) = waited else { return Err(StoreError::Busy) };
        self.readers.read(read).await
    }

    fn patience(&self) -> Duration {
        self.readers.patience()
    }
}

/// Executes a statement that is prepared once for each connection, and returns its rows.
pub(super) async fn query(
    connection: &Object,
    sql: &'static str,
    values: Values<'_>,
) -> Result<Vec<Row>, Error> {
    let statement = connection.prepare_cached(sql).await?;
    connection.query(&statement, values).await
}

/// As [`query`], of a statement that has one row at most.
pub(super) async fn query_one<T>(
    connection: &Object,
    sql: &'static str,
    values: Values<'_>,
    read: impl FnOnce(&Row) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let statement = connection.prepare_cached(sql).await?;
    connection.query_opt(&statement, values).await?.as_ref().map(read).transpose()
}

impl Directory for PostgresDirectory {
    fn find_by_name(
        &self,
        organisation: CanonicalName,
        username: CanonicalName,
    ) -> StoreFuture<'_, NameLookup> {
        Box::pin(
            self.ask(async move |connection| {
                lookup::find_by_name(connection, &organisation, &username).await
            }),
        )
    }

    fn find_by_key(&self, digest: KeyDigest) -> StoreFuture<'_, Option<(KeyRecord, Box<Account>)>> {
        Box::pin(self.ask(async move |connection| lookup::find_by_key(connection, digest).await))
    }

    fn find_holder(&self, user: UserId, key: Option<KeyId>) -> StoreFuture<'_, Option<Holder>> {
        Box::pin(self.ask(async move |connection| lookup::find_holder(connection, user, key).await))
    }

    fn list_names(&self, user: UserId) -> StoreFuture<'_, Vec<String>> {
        Box::pin(self.ask(async move |connection| lookup::list_names(connection, user).await))
    }
}
