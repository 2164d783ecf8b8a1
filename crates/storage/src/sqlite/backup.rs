//! `backup`: a copy of a data folder's database in one file, taken while a server may be at work on it.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::{
    OpenError,
    copy::{self, Contents, CopyError, Step},
    folder, schema,
    unfinished::Unfinished,
};

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The data folder, or the database in it, cannot be read.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// Another backup of this folder is at work.
    #[error("another backup of {folder:?} is under way; wait until it is done, or stop it")]
    UnderWay {
        /// The data folder.
        folder: PathBuf,
    },
    /// The file is there already.
    #[error("{file:?} exists already and is not overwritten; move it away, or name another file")]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// The path is none of a file.
    #[error("{file:?} is a folder; name a file in it, such as {example:?}")]
    NotAFile {
        /// The path.
        file: PathBuf,
        /// A better one.
        example: PathBuf,
    },
    /// The file would be taken for a part of the database.
    #[error("{file:?} is a name that belongs to the database; choose another, best on another disk")]
    OwnName {
        /// The file.
        file: PathBuf,
    },
    /// The operating system does not let us write the file.
    #[error(
        "the backup {file:?} cannot be written: {reason}; check that its folder is there and may be written to"
    )]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
    /// The disk is full.
    #[error("no space for the backup {file:?}; free some there, or name a file on another disk")]
    Full {
        /// The file.
        file: PathBuf,
    },
    /// The copy is not whole, and with it perhaps the database itself.
    #[error(
        "the copy of {database:?} is damaged ({reason}) and was removed; check both disks: if the database itself is \
         damaged, keep the backups that you have"
    )]
    Damaged {
        /// The database.
        database: PathBuf,
        /// The first contradiction.
        reason: String,
    },
    /// Anything else.
    #[error("{database:?} cannot be copied to {file:?}: {reason}; check both disks")]
    Failed {
        /// The database.
        database: PathBuf,
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        reason: String,
    },
}

/// A backup that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// The size of the file.
    pub bytes: u64,
    /// What is in it.
    pub contents: Contents,
}

/// Copies the database of a data folder to a file that must not be there yet, checks the copy, and only then gives it
/// its name. Neither waits for a server that is at work on the folder nor keeps it waiting. Tells `tell` how far it is.
pub fn backup(folder: &Path, file: &Path, tell: &mut dyn FnMut(Step)) -> Result<BackedUp, BackupError> {
    let database = folder::find_database(folder)?;
    refuse_taken(file)?;
    if folder::is_own_name(folder, file) {
        return Err(BackupError::OwnName { file: file.into() });
    }
    let _lock = only_one(folder)?;
    let connection = schema::open_to_copy(&database)?;
    let bytes = |contents| {
        let reason = |reason| BackupError::Unwritable { file: file.into(), reason };
        Ok(BackedUp { bytes: fs::metadata(file).map_err(reason)?.len(), contents })
    };
    copy_to(&database, &connection, file, tell).and_then(bytes)
}

/// Copies what a connection sees to a file that is not there yet.
pub(super) fn copy_to(
    database: &Path,
    connection: &rusqlite::Connection,
    file: &Path,
    tell: &mut dyn FnMut(Step),
) -> Result<Contents, BackupError> {
    let unwritable = |reason: io::Error| match reason.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BackupError::Full { file: file.into() },
        _ => BackupError::Unwritable { file: file.into(), reason },
    };
    let unfinished = Unfinished::start(file).map_err(unwritable)?;
    let copied = connection
        .unchecked_transaction()
        .map_err(CopyError::from)
        .and_then(|snapshot| copy::copy(&snapshot, unfinished.path(), tell));
    let contents = copied.map_err(|error| match error {
        CopyError::Full => BackupError::Full { file: file.into() },
        CopyError::Damaged(reason) => BackupError::Damaged { database: database.into(), reason },
        CopyError::Failed(reason) => {
            BackupError::Failed { database: database.into(), file: file.into(), reason }
        }
    })?;
    // It was free when this began, and still is unless somebody else has taken it meanwhile.
    refuse_taken(file)?;
    unfinished.finish().map_err(unwritable)?;
    Ok(contents)
}

fn refuse_taken(file: &Path) -> Result<(), BackupError> {
    let is_folder = file.is_dir() || file.file_name().is_none();
    if is_folder || file.as_os_str().as_encoded_bytes().ends_with(b"/") {
        let example = file.join("doorward.backup");
        return Err(BackupError::NotAFile { file: file.into(), example });
    }
    match fs::symlink_metadata(file) {
        Ok(_) => Err(BackupError::Exists { file: file.into() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(reason) => Err(BackupError::Unwritable { file: file.into(), reason }),
    }
}

/// Makes sure that no two backups of a folder write the same file. The lock is one on the folder itself, for the
/// server holds that on the file in it.
fn only_one(folder: &Path) -> Result<File, BackupError> {
    let unusable = |reason| OpenError::FolderUnusable { folder: folder.into(), reason };
    let lock = File::open(folder).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(BackupError::UnderWay { folder: folder.into() }),
        Err(TryLockError::Error(reason)) => Err(unusable(reason).into()),
    }
}
