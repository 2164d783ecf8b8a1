//! Storage: the directory and the journal of `doorward-domain` on a disk.
//!
//! This room knows SQL and files and no rule: what a change means, which session has ended and who may log in is
//! decided in `domain`. Each database has a module of its own with its own SQL; so far there is SQLite, for one
//! machine.

mod sqlite;

pub use sqlite::{
    AuditProblem, AuditReport, BackedUp, BackupError, ChainReport, Contents, Kind, OpenError, RestoreError,
    Restored, SqliteDirectory, SqliteLedger, SqliteStore, Step, UnitNames, Upgraded, UserWithHash, backup,
    export_users, restore, verify_audit,
};
