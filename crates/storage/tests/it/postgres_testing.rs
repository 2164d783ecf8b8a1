//! What the tests of PostgreSQL share: a database of their own with both companies, and instances on it.

use std::{future::Future, sync::Arc, time::Duration};

use doorward_domain::{
    cluster::{Introduction, LogNumber, Notice, Registered, Roster},
    journal::{Entry, Ledger, Outcome},
    observer::NoObserver,
    session::SessionNumber,
};
use doorward_storage::{Kind, PostgresLedger, PostgresOptions, PostgresRoster, PostgresStore};
use doorward_testkit::{
    PostgresServer,
    conformance::company::{both_companies, changed},
};
use tokio::runtime::Runtime;

/// A database with both companies.
pub struct Database<'a> {
    pub server: &'a PostgresServer,
    pub options: PostgresOptions,
    runtime: Runtime,
}

impl Database<'static> {
    /// On the server that all tests share.
    pub fn new() -> Self {
        Self::on(PostgresServer::shared())
    }
}

impl<'a> Database<'a> {
    pub fn on(server: &'a PostgresServer) -> Self {
        Self::with(server, PostgresOptions::new(server.create_database()))
    }

    pub fn with(server: &'a PostgresServer, options: PostgresOptions) -> Self {
        let runtime = Runtime::new().unwrap();
        let first: Vec<_> = both_companies().into_iter().map(changed).collect();
        runtime.block_on(PostgresStore::create(&options, Kind::Real, &first)).unwrap();
        Self { server, options, runtime }
    }

    /// A ledger and a roster, as each instance has them.
    pub fn instance(&self) -> (PostgresLedger, PostgresRoster) {
        self.block_on(async {
            let store = PostgresStore::open(&self.options).await.unwrap();
            let (ledger, _, roster) = store.start(Arc::new(NoObserver)).unwrap();
            (ledger, roster)
        })
    }

    pub fn ledger(&self) -> PostgresLedger {
        self.instance().0
    }

    pub fn roster(&self) -> PostgresRoster {
        self.instance().1
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Rows, columns separated by `|`.
    pub fn sql(&self, sql: &str) -> String {
        self.server.sql(&self.options.url, sql)
    }

    /// Registers an instance.
    pub fn register(&self, roster: &PostgresRoster) -> Registered {
        self.block_on(roster.register(introduction(5))).unwrap().unwrap()
    }

    /// What the log says behind a number.
    pub fn log(&self, roster: &PostgresRoster, after: LogNumber) -> Vec<Notice> {
        let records = self.block_on(roster.read_log(after)).unwrap();
        for (place, record) in (after.0 + 1..).zip(&records) {
            assert_eq!(record.number, LogNumber(place));
        }
        records.into_iter().map(|record| record.notice).collect()
    }
}

/// An instance with a lease of some seconds.
pub fn introduction(lease: u64) -> Introduction {
    Introduction { name: format!("with {lease}"), lease: Duration::from_secs(lease) }
}

/// Commits one entry.
#[track_caller]
pub fn commit(ledger: &mut PostgresLedger, entry: Entry) -> Outcome {
    ledger.commit(&[entry]).unwrap().outcomes[0]
}

/// Commits one entry, whose number it returns.
#[track_caller]
pub fn number(ledger: &mut PostgresLedger, entry: Entry) -> SessionNumber {
    let Outcome::Committed(Some(number)) = commit(ledger, entry) else { panic!("it took no number") };
    number
}
