//! `restore`: a data folder out of a backup.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use doorward_domain::{audit::AuditRecord, clock::Timestamp, journal::Entry};
use rusqlite::Connection;

use super::{
    OpenError, SqliteStore,
    copy::{self, Contents, CopyError, Step},
    ended,
    error::one_line,
    folder::Folder,
    ledger::{self, JournalState},
    schema,
};

/// Why nothing was restored. The data folder has no database then, as before.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be read.
    #[error("the backup {file:?} cannot be read: {reason}; check the path and whose file it is")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the operating system or SQLite says.
        reason: String,
    },
    /// The file is a backup that was cut off.
    #[error("{file:?} is a backup that was not finished; name one that was")]
    Unfinished {
        /// The file.
        file: PathBuf,
    },
    /// The file is something else.
    #[error("{file:?} is not a backup of Doorward; name a file that `doorward backup` has made")]
    NotABackup {
        /// The file.
        file: PathBuf,
    },
    /// The contents of the backup contradict themselves.
    #[error("the backup {file:?} is damaged: {reason}; nothing was restored, take an earlier backup")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The first contradiction.
        reason: String,
    },
    /// A newer version has made it.
    #[error(
        "the backup {file:?} has schema {found}, this Doorward knows {known}; restore it with the version that made it, \
         or a newer one"
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// The schema it has.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// The data folder has a database.
    #[error(
        "{database:?} exists already and is not overwritten; stop the server and move it away with the files beside \
         it whose names begin so, or name another folder with --data"
    )]
    DatabaseExists {
        /// The database.
        database: PathBuf,
    },
    /// The disk is full.
    #[error("no space to restore in {folder:?}; free some there, or name another folder with --data")]
    Full {
        /// The data folder.
        folder: PathBuf,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] OpenError),
    /// Anything else.
    #[error("{file:?} cannot be restored in {folder:?}: {reason}; check both disks")]
    Failed {
        /// The backup.
        file: PathBuf,
        /// The data folder.
        folder: PathBuf,
        /// What SQLite says.
        reason: String,
    },
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// The database, open.
    pub store: SqliteStore,
    /// What was in the backup. All its sessions have ended.
    pub contents: Contents,
    /// The schema of the backup, where it was brought up to date.
    pub from_schema: Option<i64>,
}

/// Makes a data folder, or fills one that has no database, from a backup: a copy that is checked, brought up to date
/// and has all sessions ended gets the database's name at the end, so that whatever happens there is all of it or
/// nothing. `record` makes the audit record of it, not before the time that it is given. Tells `tell` how far it is.
///
/// Sessions end because a token that was released after the backup was made would be in force again.
pub fn restore(
    backup: &Path,
    folder: &Path,
    record: impl FnOnce(Option<Timestamp>) -> AuditRecord,
    tell: &mut dyn FnMut(Step),
) -> Result<Restored, RestoreError> {
    let source = open_backup(backup)?;
    let folder_path = folder;
    let folder = Folder::make(folder).map_err(|error| match error {
        OpenError::AlreadyExists { database } => RestoreError::DatabaseExists { database },
        error => error.into(),
    })?;
    let failed = |reason| RestoreError::Failed { file: backup.into(), folder: folder_path.into(), reason };
    let unfinished = folder.start_database()?;
    let copied = source
        .unchecked_transaction()
        .map_err(CopyError::from)
        .and_then(|snapshot| copy::copy(&snapshot, unfinished.path(), tell));
    let contents = copied.map_err(|error| match error {
        CopyError::Full => RestoreError::Full { folder: folder_path.into() },
        CopyError::Damaged(reason) => RestoreError::Damaged { file: backup.into(), reason },
        CopyError::Failed(reason) => failed(reason),
    })?;
    let mut connection = schema::connect_alone(unfinished.path()).map_err(|error| failed(one_line(error)))?;
    let found = schema::identify(unfinished.path(), &connection)?;
    schema::migrate(&mut connection).map_err(failed)?;
    end_sessions(&mut connection, record(contents.latest)).map_err(|error| match CopyError::from(error) {
        CopyError::Full => RestoreError::Full { folder: folder_path.into() },
        error => failed(error.to_string()),
    })?;
    connection.close().map_err(|(_, error)| failed(one_line(error)))?;
    folder.finish_database(unfinished)?;
    let store = SqliteStore::open_in(folder, &mut |_, _| {})?;
    Ok(Restored { store, contents, from_schema: (found < schema::known()).then_some(found) })
}

fn open_backup(file: &Path) -> Result<Connection, RestoreError> {
    let unreadable = |reason: String| RestoreError::Unreadable { file: file.into(), reason };
    let metadata = fs::metadata(file).map_err(|error: io::Error| match error.kind() {
        ErrorKind::NotFound => unreadable("there is no such file".to_owned()),
        _ => unreadable(error.to_string()),
    })?;
    if !metadata.is_file() {
        return Err(unreadable("it is not a file".to_owned()));
    }
    if file.extension().is_some_and(|extension| extension == "unfinished") {
        return Err(RestoreError::Unfinished { file: file.into() });
    }
    schema::open_to_copy(file).map_err(|error| match error {
        OpenError::NotDoorward { .. } => RestoreError::NotABackup { file: file.into() },
        OpenError::Damaged { reason, .. } => RestoreError::Damaged { file: file.into(), reason },
        OpenError::Newer { found, known, .. } => RestoreError::Newer { file: file.into(), found, known },
        OpenError::Sqlite { reason, .. } => unreadable(reason),
        error => error.into(),
    })
}

fn end_sessions(connection: &mut Connection, record: AuditRecord) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    ended::end_all(&transaction, record.at)?;
    transaction.commit()?;
    let (mut state, _) = JournalState::read(connection)?;
    ledger::commit(connection, &mut state, &[Entry::Record(record)]).map(drop)
}
