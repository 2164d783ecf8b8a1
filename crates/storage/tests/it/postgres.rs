//! The conformance suite over PostgreSQL: a server for all tests, a database for each.

use std::sync::Arc;

use doorward_domain::{
    clock::Timestamp,
    cluster::{SessionSource, StoredSession},
    credential::TokenDigest,
    id::OrganisationId,
    journal::{Entry, Ledger, LedgerError, Outcome},
    observer::{NoObserver, Observer},
    session_table::{SessionFilter, SessionPlace},
};
use doorward_storage::{Kind, PostgresDirectory, PostgresLedger, PostgresOptions, PostgresStore};
use doorward_testkit::{
    PostgresServer,
    conformance::{Contents, Found, Store},
};
use tokio_postgres::{Client, NoTls};

doorward_testkit::conformance!(
    Postgres,
    #[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
);

/// A database of its own.
pub struct Postgres {
    options: PostgresOptions,
    /// `None` while it is lent.
    ledger: Option<PostgresLedger>,
    directory: PostgresDirectory,
    /// Beside the store's own connections.
    client: Client,
}

impl Postgres {
    async fn open(&mut self, observer: Arc<dyn Observer>) {
        self.ledger = None;
        let store = PostgresStore::open(&self.options).await.unwrap();
        let (ledger, directory, _) = store.start(observer).unwrap();
        (self.ledger, self.directory) = (Some(ledger), directory);
    }
}

impl Store for Postgres {
    type Ledger = PostgresLedger;
    type Reader = PostgresDirectory;

    async fn create() -> Self {
        let options = PostgresOptions::new(PostgresServer::shared().create_database());
        let store = PostgresStore::create(&options, Kind::Real, &[]).await.unwrap();
        let (ledger, directory, _) = store.start(Arc::new(NoObserver)).unwrap();
        let (client, connection) = tokio_postgres::connect(&options.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        Self { options, ledger: Some(ledger), directory, client }
    }

    async fn apply(&mut self, batch: &[Entry]) -> Result<Vec<Outcome>, LedgerError> {
        let (mut ledger, batch) = (self.ledger.take().unwrap(), batch.to_vec());
        // As the journal's thread does, which is none of the runtime's.
        let commit = tokio::task::spawn_blocking(move || (ledger.commit(&batch), ledger));
        let (committed, ledger) = commit.await.unwrap();
        self.ledger = Some(ledger);
        Ok(committed?.outcomes)
    }

    fn directory(&self) -> &PostgresDirectory {
        &self.directory
    }

    async fn lend(&mut self, observer: Arc<dyn Observer>) -> PostgresLedger {
        self.open(observer).await;
        self.ledger.take().unwrap()
    }

    async fn reopen(mut self) -> Self {
        self.open(Arc::new(NoObserver)).await;
        self
    }

    async fn latest(&self) -> Option<Timestamp> {
        PostgresStore::open(&self.options).await.unwrap().latest()
    }

    async fn find_live(&mut self, tokens: &[TokenDigest], now: Timestamp) -> Vec<Option<Found>> {
        let mut live = Vec::new();
        for token in tokens {
            let found = self.directory.find_session(token.session()).await.unwrap();
            assert!(found.as_ref().is_none_or(|found| found.session.digest == *token));
            live.push(found.filter(|found| now < found.session.expires_at()).map(found_of));
        }
        live
    }

    async fn list_live(
        &mut self,
        organisation: OrganisationId,
        filter: SessionFilter,
        after: Option<SessionPlace>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Found> {
        let found = self.directory.list_sessions(organisation, filter, after, limit, now).await.unwrap();
        found.into_iter().map(found_of).collect()
    }

    async fn contents(&self) -> Contents {
        // What instances share beside the data, and chains that were only made to be locked, say nothing of the data.
        let columns = "
            SELECT table_name, string_agg(
                CASE data_type WHEN 'bytea' THEN format('upper(encode(%I, ''hex''))', column_name)
                ELSE format('%I::text', column_name) END, ', ' ORDER BY ordinal_position)
            FROM information_schema.columns
            WHERE table_schema = 'public' AND table_name NOT IN
                ('refinery_schema_history', 'journal_state', 'release_log', 'instance', 'sweep', 'login_attempt',
                 'gate_key')
            GROUP BY table_name";
        let mut contents = Contents::new();
        for row in self.client.query(columns, &[]).await.unwrap() {
            let (table, columns): (String, String) = (row.get(0), row.get(1));
            let is_data = if table == "audit_chain" { "number > 0" } else { "true" };
            let rows = format!("SELECT ARRAY[{columns}] FROM \"{table}\" WHERE {is_data}");
            let rows = self.client.query(&rows, &[]).await.unwrap();
            let text = |value: Option<String>| value.unwrap_or_else(|| "NULL".into());
            let rows =
                rows.iter().map(|row| row.get::<_, Vec<Option<String>>>(0).into_iter().map(text).collect());
            let mut rows: Vec<Vec<String>> = rows.collect();
            // An update moves a row behind the others.
            rows.sort();
            contents.insert(table, rows);
        }
        contents
    }

    async fn tamper(&mut self, sql: &str) {
        let sql = sql.replace('{', "'\\x").replace('}', "'");
        self.client.batch_execute(&sql).await.unwrap();
    }
}

fn found_of(stored: StoredSession) -> Found {
    let StoredSession { number, session, identity } = stored;
    let (issued_at, last_used_at, expires_at) =
        (session.issued_at, session.last_used_at, session.expires_at());
    Found { number, identity, issued_at, last_used_at, expires_at }
}
