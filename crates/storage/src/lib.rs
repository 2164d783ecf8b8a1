//! Storage: the directory and the journal of `doorward-domain` on a disk.
//!
//! This room knows SQL and files and no rule: what a change means, which session has ended and who may log in is
//! decided in `domain`. Each database has a module of its own with its own SQL; SQLite for one machine,
//! PostgreSQL for many.

mod moving;
mod postgres;
mod sqlite;
mod words;

pub use moving::{Fingerprint, MoveError, Moved, Moving, move_to_postgres};
pub use postgres::{
    PostgresAttempts, PostgresDirectory, PostgresError, PostgresLedger, PostgresOptions, PostgresRoster,
    PostgresStore, Swept,
};
pub use sqlite::{
    AuditProblem, AuditReport, BackedUp, BackupError, ChainReport, Contents, OpenError, RestoreError,
    Restored, SessionReader, SqliteDirectory, SqliteLedger, SqliteStore, Step, UnitNames, Upgraded,
    UserWithHash, backup, export_users, restore, verify_audit,
};

/// What the data in a database is for. It is stored with them, so that `serve` and `serve --demo` never open each
/// other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Made by `serve --demo`, with accounts that everybody knows.
    Demo,
    /// Made by `init`.
    Real,
}
