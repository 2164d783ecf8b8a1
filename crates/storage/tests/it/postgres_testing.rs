//! What the tests of PostgreSQL share: a database of their own with both companies, and ledgers on it.

use std::sync::Arc;

use doorward_domain::{
    audit::Event,
    id::OrganisationId,
    journal::{Committed, Entry, Ledger, LedgerError, Outcome},
    observer::NoObserver,
    session::SessionNumber,
};
use doorward_storage::{Kind, PostgresLedger, PostgresOptions, PostgresStore};
use doorward_testkit::{
    PostgresServer,
    conformance::company::{audit, both_companies, changed},
};
use tokio::runtime::Runtime;

/// A database with both companies.
pub struct Database {
    pub server: &'static PostgresServer,
    pub options: PostgresOptions,
    pub runtime: Runtime,
}

impl Database {
    /// On the server that all tests share.
    pub fn new() -> Self {
        Self::on(PostgresServer::shared())
    }

    pub fn on(server: &'static PostgresServer) -> Self {
        let runtime = Runtime::new().unwrap();
        let options = PostgresOptions::new(server.create_database());
        let first: Vec<_> = both_companies().into_iter().map(changed).collect();
        runtime.block_on(PostgresStore::create(&options, Kind::Real, &first)).unwrap();
        Self { server, options, runtime }
    }

    pub fn open(&self) -> PostgresStore {
        self.runtime.block_on(PostgresStore::open(&self.options)).unwrap()
    }

    /// A ledger, as each instance has one.
    pub fn ledger(&self) -> PostgresLedger {
        let _on = self.runtime.enter();
        self.open_on_this_thread().start(Arc::new(NoObserver)).unwrap().0
    }

    fn open_on_this_thread(&self) -> PostgresStore {
        self.runtime.handle().block_on(PostgresStore::open(&self.options)).unwrap()
    }

    /// Rows, columns separated by `|`.
    pub fn sql(&self, sql: &str) -> String {
        self.server.sql(&self.options.url, sql)
    }
}

/// Commits one entry, whose number it returns.
pub fn number(ledger: &mut PostgresLedger, entry: Entry) -> SessionNumber {
    let Outcome::Committed(Some(number)) = commit(ledger, entry).unwrap().outcomes[0] else {
        panic!("no number")
    };
    number
}

pub fn commit(ledger: &mut PostgresLedger, entry: Entry) -> Result<Committed, LedgerError> {
    ledger.commit(&[entry])
}

/// A record of this organisation's.
pub fn record(organisation: OrganisationId) -> Entry {
    let mut record = audit(Event::PasswordLogin);
    record.organisation = Some(organisation);
    Entry::Record(record)
}
