//! What SQLite's errors mean to the operator, to the journal and to a login. Every text is one line with the path and
//! the remedy; none holds a value from the database.

use std::{fmt::Display, io, path::Path, path::PathBuf};

use doorward_domain::journal::{LedgerError, StoreError};
use rusqlite::{Error, ErrorCode, ffi};

/// Why a data folder was not opened, or not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such folder.
    #[error(
        "the data folder {folder:?} does not exist; make it with `doorward init`, or try `doorward serve --demo`"
    )]
    FolderMissing {
        /// The folder.
        folder: PathBuf,
    },
    /// The path leads to something else than a folder.
    #[error("{folder:?} is not a folder; name another by `data`")]
    NotAFolder {
        /// The path.
        folder: PathBuf,
    },
    /// The operating system does not let us use the folder.
    #[error(
        "the data folder {folder:?} cannot be used: {reason}; check that Doorward's user may read and write it"
    )]
    FolderUnusable {
        /// The folder.
        folder: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
    /// The folder is there and has no database.
    #[error(
        "there is no database in {folder:?}; make one with `doorward init`, or try `doorward serve --demo`"
    )]
    DatabaseMissing {
        /// The folder.
        folder: PathBuf,
    },
    /// What was to be created is there.
    #[error("{database:?} exists already; start it with `doorward serve`, or name another folder by `data`")]
    AlreadyExists {
        /// The database.
        database: PathBuf,
    },
    /// Another process, or another store in this one, holds the folder.
    #[error(
        "the data folder {folder:?} is in use by another process; stop that one, or name another folder by `data`"
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The file was not made by Doorward.
    #[error("{database:?} is not a Doorward database; move it away, or name another folder by `data`")]
    NotDoorward {
        /// The file.
        database: PathBuf,
    },
    /// The contents of the file contradict themselves.
    #[error(
        "{database:?} is damaged: {reason}; check the disk, then move it away and restore a backup with `doorward restore`"
    )]
    Damaged {
        /// The database.
        database: PathBuf,
        /// The first contradiction.
        reason: String,
    },
    /// What SQLite laid beside a database is there without it.
    #[error(
        "{wal:?} belongs to a database that was moved away without it and may hold the last that was written there; \
         move it there too"
    )]
    WalLeft {
        /// The file.
        wal: PathBuf,
    },
    /// There is no backup, without which the schema is not changed.
    #[error(
        "{database:?} has schema {found} and needs {known}, and the backup that is made before an upgrade failed, so \
         nothing was changed: {reason}"
    )]
    NoBackup {
        /// The database.
        database: PathBuf,
        /// The schema it has.
        found: i64,
        /// The schema it should have.
        known: i64,
        /// Why there is no backup, and what to do.
        reason: String,
    },
    /// The schema could not be changed.
    #[error(
        "{database:?} could not be brought from schema {found} to {known}: {reason}; it is as it was, and {backup:?} \
         is a copy of it: go on with the earlier version, and report this"
    )]
    NotUpgraded {
        /// The database.
        database: PathBuf,
        /// The schema it has.
        found: i64,
        /// The schema it should have.
        known: i64,
        /// What SQLite says.
        reason: String,
        /// A copy of it.
        backup: PathBuf,
    },
    /// Its schema has migrations that this version does not know.
    #[error("{database:?} has schema {found}, this Doorward knows {known}; {}", way_back(database, backup.as_deref()))]
    Newer {
        /// The database.
        database: PathBuf,
        /// The schema it has.
        found: i64,
        /// The newest schema known here.
        known: i64,
        /// The copy that was made before it was brought to a schema that is not known here, if it is there.
        backup: Option<PathBuf>,
    },
    /// Its schema is of an earlier version, and it is only to be read.
    #[error(
        "{database:?} has schema {found}, this Doorward needs {known}; `doorward serve` brings it up to date"
    )]
    Older {
        /// The database.
        database: PathBuf,
        /// The schema it has.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// Anything else.
    #[error(
        "{database:?} cannot be opened: {reason}; check the disk and that Doorward's user may write there"
    )]
    Sqlite {
        /// The database.
        database: PathBuf,
        /// What SQLite says.
        reason: String,
    },
}

impl OpenError {
    /// Says what an error of SQLite means for a database that is being opened or loaded.
    pub(super) fn from_sqlite(database: &Path, error: Error) -> Self {
        let (database, reason) = (database.into(), one_line(&error));
        match (error.sqlite_error_code(), error) {
            (Some(ErrorCode::NotADatabase), _) => Self::NotDoorward { database },
            (Some(ErrorCode::DatabaseCorrupt), _)
            // What is stored is not what was written: a value of another type or size, a row that must be there.
            | (
                _,
                Error::FromSqlConversionFailure(..)
                | Error::IntegralValueOutOfRange(..)
                | Error::InvalidColumnType(..)
                | Error::Utf8Error(..)
                | Error::QueryReturnedNoRows,
            ) => Self::Damaged { database, reason },
            _ => Self::Sqlite { database, reason },
        }
    }
}

/// What to do about a schema that is too new.
fn way_back(database: &Path, backup: Option<&Path>) -> String {
    let newer = "install the newer version again";
    match backup {
        Some(backup) => format!(
            "{newer}, or lose what was done since the upgrade: move {database:?} away and run `doorward restore` with \
             {backup:?}"
        ),
        None => format!("{newer}, or restore a backup that was made before the upgrade"),
    }
}

/// Whether an error says that there is no space and that nothing was stored.
///
/// `SQLITE_IOERR_SHMSIZE` is a full disk met by the index of the WAL. If that happens at the very end of a commit, the
/// next commit overwrites what stands in the WAL, but a crash before that would find it complete. That harms nobody:
/// the callers were told that it is not known to be done, and a token that was not answered has no holder.
pub(super) fn is_full(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_extended_error_code() == Some(ffi::SQLITE_IOERR_SHMSIZE)
}

/// Says what an error of SQLite means for a batch of the journal.
pub(super) fn ledger_error(database: &Path, error: Error) -> LedgerError {
    let reason = one_line(&error);
    if is_full(&error) {
        LedgerError::Full(format!("no space to write {database:?}: {reason}; free some space and it goes on"))
    } else if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) {
        // The lock is taken when the transaction begins, so nothing of it is stored.
        LedgerError::Full(format!(
            "somebody else writes to {database:?}: {reason}; let them finish and it goes on"
        ))
    } else {
        LedgerError::Broken(format!(
            "{database:?} cannot be written: {reason}; check the disk, then start Doorward again"
        ))
    }
}

/// Says what an error of SQLite means for a question to the directory.
pub(super) fn unavailable(database: &Path, error: &Error) -> StoreError {
    StoreError::Unavailable(format!("{database:?} cannot be read: {}; check the disk", one_line(error)))
}

/// SQLite quotes the statement at fault, which may have several lines.
pub(super) fn one_line(text: impl Display) -> String {
    text.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
