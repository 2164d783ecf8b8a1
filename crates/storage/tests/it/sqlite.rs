//! The conformance suite over SQLite, in a file.

use std::{path::PathBuf, sync::Arc};

use doorward_domain::{
    clock::Timestamp,
    credential::TokenDigest,
    id::OrganisationId,
    journal::{Entry, LedgerError, Outcome},
    observer::Observer,
    session_table::{SessionFilter, SessionPlace, SessionTable},
};
use doorward_storage::{Kind, SqliteDirectory, SqliteLedger, SqliteStore};
use doorward_testkit::conformance::{Contents, Found, Store};
use rusqlite::{Connection, types::Value};
use tempfile::TempDir;

doorward_testkit::conformance!(Sqlite);

/// A database in a folder of its own.
pub struct Sqlite {
    /// `None` while the ledger is lent.
    store: Option<SqliteStore>,
    directory: SqliteDirectory,
    folder: TempDir,
}

impl Sqlite {
    fn open(folder: TempDir, store: SqliteStore) -> Self {
        let directory = store.directory(2).unwrap();
        Self { store: Some(store), directory, folder }
    }

    fn data(folder: &TempDir) -> PathBuf {
        folder.path().join("data")
    }

    /// A connection beside the store's own.
    fn connect(&self) -> Connection {
        Connection::open(Self::data(&self.folder).join("doorward.db")).unwrap()
    }

    /// The sessions that a server would have if it were started at `now`.
    fn load(&self, now: Timestamp) -> SessionTable {
        let table = SessionTable::default();
        self.store.as_ref().unwrap().load(&table, now).unwrap();
        table
    }
}

impl Store for Sqlite {
    type Ledger = SqliteLedger;
    type Reader = SqliteDirectory;

    async fn create() -> Self {
        let folder = TempDir::new().unwrap();
        let store = SqliteStore::create(&Self::data(&folder), Kind::Real, &[]).unwrap();
        Self::open(folder, store)
    }

    async fn apply(&mut self, batch: &[Entry]) -> Result<Vec<Outcome>, LedgerError> {
        self.store.as_mut().unwrap().apply(batch)
    }

    fn directory(&self) -> &SqliteDirectory {
        &self.directory
    }

    async fn lend(&mut self, observer: Arc<dyn Observer>) -> SqliteLedger {
        let (ledger, directory) = self.store.take().unwrap().start(observer, 2).unwrap();
        self.directory = directory;
        ledger
    }

    async fn reopen(self) -> Self {
        let Self { store, directory, folder } = self;
        drop((store, directory));
        let store = SqliteStore::open(&Self::data(&folder)).unwrap();
        Self::open(folder, store)
    }

    async fn latest(&self) -> Option<Timestamp> {
        self.store.as_ref().unwrap().latest()
    }

    async fn find_live(&mut self, tokens: &[TokenDigest], now: Timestamp) -> Vec<Option<Found>> {
        let table = self.load(now);
        tokens.iter().map(|token| table.peek(token, now).map(Found::from)).collect()
    }

    async fn list_live(
        &mut self,
        organisation: OrganisationId,
        filter: SessionFilter,
        after: Option<SessionPlace>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Found> {
        self.load(now).list(organisation, &filter, after, limit, now).into_iter().map(Found::from).collect()
    }

    async fn contents(&self) -> Contents {
        let connection = self.connect();
        let tables =
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'refinery_schema_history'";
        let mut tables = connection.prepare(tables).unwrap();
        let tables = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let rows = |table: &str| {
            let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = statement.column_count();
            let read = statement
                .query_map([], |row| (0..columns).map(|column| Ok(text(row.get(column)?))).collect());
            read.unwrap().collect::<Result<Vec<_>, _>>().unwrap()
        };
        tables.map(Result::unwrap).map(|table| (table.clone(), rows(&table))).collect()
    }

    async fn tamper(&mut self, sql: &str) {
        let sql = sql.replace('{', "x'").replace('}', "'");
        self.connect().execute_batch(&sql).unwrap();
    }
}

fn text(value: Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text,
        Value::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
    }
}
