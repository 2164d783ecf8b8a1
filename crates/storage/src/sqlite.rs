//! SQLite: one database file, one process, one connection that writes.
//!
//! A [`SqliteStore`] is opened, fills the session table, and is then taken apart: the [`SqliteLedger`] writes for the
//! journal's thread, the [`SqliteDirectory`] reads on threads of its own. In WAL mode neither waits for the other. A
//! commit is synchronous (`synchronous=FULL`), so what the ledger has committed survives a power failure.

mod audit;
mod backup;
mod catalogue;
mod chaining;
mod change;
mod copy;
mod directory;
mod ended;
mod error;
mod evidence;
mod export;
mod folder;
mod ledger;
mod load;
mod lookup;
mod moving;
mod recovery;
mod restore;
mod schema;
mod unfinished;
mod upgrade;
mod uses;
mod words;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use doorward_domain::{
    clock::Timestamp,
    journal::{Entry, LedgerError, Outcome},
    observer::Observer,
};

pub(crate) use self::moving::Departure;
pub use self::{
    backup::{BackedUp, BackupError, backup},
    copy::{Contents, Step},
    directory::SqliteDirectory,
    error::OpenError,
    evidence::{AuditProblem, AuditReport, ChainReport, verify_audit},
    export::{UnitNames, UserWithHash, export_users},
    ledger::SqliteLedger,
    load::SessionReader,
    restore::{RestoreError, Restored, restore},
    upgrade::Upgraded,
};
use self::{
    folder::Folder,
    ledger::{JournalState, Remembered, Writer},
};
use crate::Kind;

/// An open database that nothing reads or writes yet. It holds the folder: nobody else can open it until the store,
/// or the ledger made of it, is dropped.
#[derive(Debug)]
pub struct SqliteStore {
    kind: Kind,
    upgraded: Option<Upgraded>,
    writer: Writer,
}

impl SqliteStore {
    /// Makes the folder, unless it is there, and a new database in it that holds `first`, readable by its owner only.
    /// Refuses a folder that has a database. A creation that fails or is cut off leaves no database.
    pub fn create(folder: &Path, kind: Kind, first: &[Entry]) -> Result<Self, OpenError> {
        let folder = Folder::make(folder)?;
        let unfinished = folder.start_database()?;
        schema::create(unfinished.path(), kind, first)?;
        folder.finish_database(unfinished)?;
        Self::open_in(folder, &mut |_, _| {})
    }

    /// Opens the database in a folder, checks it for damage and brings its schema up to date, after a backup. The check
    /// reads all but the audit records.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_telling(folder, &mut |_, _| {})
    }

    /// As [`Self::open`], and tells `tell` before the schema is brought up to date, which takes a while where there are
    /// many data, which one it is and which it will be.
    pub fn open_telling(folder: &Path, tell: &mut dyn FnMut(i64, i64)) -> Result<Self, OpenError> {
        Self::open_in(Folder::find(folder)?, tell)
    }

    fn open_in(folder: Folder, tell: &mut dyn FnMut(i64, i64)) -> Result<Self, OpenError> {
        let database = folder.database();
        let (connection, upgraded) = schema::open(&database, tell)?;
        let sqlite = |error| OpenError::from_sqlite(&database, error);
        let (state, kind) = JournalState::read(&connection).map_err(sqlite)?;
        let remembered = Remembered::read(&connection).map_err(sqlite)?;
        let writer = Writer { connection, state, remembered, folder };
        Ok(Self { kind, upgraded, writer })
    }

    /// What the data is for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What was done to bring its schema up to date when it was opened.
    pub fn upgraded(&self) -> Option<&Upgraded> {
        self.upgraded.as_ref()
    }

    /// The latest time known to the journal, for `Clock::not_before`.
    pub fn latest(&self) -> Option<Timestamp> {
        self.writer.state.latest
    }

    /// Commits entries directly, while there is no journal yet and no session table that would have to follow.
    pub fn apply(&mut self, batch: &[Entry]) -> Result<Vec<Outcome>, LedgerError> {
        self.writer.commit(batch)
    }

    /// Starts a directory with this many threads, one at least, which reads what is committed.
    pub fn directory(&self, readers: usize) -> Result<SqliteDirectory, OpenError> {
        SqliteDirectory::start(self.writer.folder.database(), readers)
    }

    /// Takes the store apart into the ledger, which tells `observer` of its commits, and a directory with this many
    /// threads, one at least.
    pub fn start(
        self,
        observer: Arc<dyn Observer>,
        readers: usize,
    ) -> Result<(SqliteLedger, SqliteDirectory), OpenError> {
        let directory = self.directory(readers)?;
        Ok((SqliteLedger { writer: self.writer, observer }, directory))
    }
}
