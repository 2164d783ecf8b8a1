//! The data folder: its files, and the lock by which one process at a time holds it.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    OpenError,
    unfinished::{Unfinished, with_suffix},
};

/// A data folder, held until this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Locked by the operating system for this open file, so another open in the same process is refused as well,
    /// and a killed process leaves nothing locked.
    _lock: File,
}

impl Folder {
    /// Makes the folder unless it is there, and takes it. Refuses one with a database.
    pub(super) fn make(path: &Path) -> Result<Self, OpenError> {
        if !path.exists() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.and_then(|()| sync(parent(path))).map_err(|reason| unusable(path, reason))?;
        }
        let folder = Self::take(path)?;
        if folder.database().exists() {
            return Err(OpenError::AlreadyExists { database: folder.database() });
        }
        // SQLite would take it for a part of the new database.
        let wal = with_suffix(&folder.database(), "-wal");
        if wal.metadata().is_ok_and(|wal| wal.len() > 0) {
            return Err(OpenError::WalLeft { wal });
        }
        Ok(folder)
    }

    /// Takes a folder with a database.
    pub(super) fn find(path: &Path) -> Result<Self, OpenError> {
        find_database(path)?;
        Self::take(path)
    }

    fn take(path: &Path) -> Result<Self, OpenError> {
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join(LOCK));
        let lock = lock.map_err(|reason| unusable(path, reason))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { folder: path.into() }),
            Err(TryLockError::Error(reason)) => Err(unusable(path, reason)),
        }
    }

    /// The path of the database.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Makes an empty file under another name, to become the database when it is complete.
    pub(super) fn start_database(&self) -> Result<Unfinished, OpenError> {
        Unfinished::start(&self.database()).map_err(|reason| unusable(&self.path, reason))
    }

    /// Gives the complete database its name, durably.
    pub(super) fn finish_database(&self, unfinished: Unfinished) -> Result<(), OpenError> {
        unfinished.finish().map_err(|reason| unusable(&self.path, reason))
    }
}

/// Whether a path is one of the names in this data folder that belong to its database.
pub(super) fn is_own_name(folder: &Path, path: &Path) -> bool {
    let is_own =
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(DATABASE.as_bytes()));
    is_own
        && parent(path)
            .canonicalize()
            .ok()
            .is_some_and(|of| folder.canonicalize().is_ok_and(|folder| of == folder))
}

/// The database of a folder, whoever holds it.
pub(super) fn find_database(path: &Path) -> Result<PathBuf, OpenError> {
    let database = path.join(DATABASE);
    match database.try_exists() {
        Ok(true) => Ok(database),
        Ok(false) if path.is_dir() => Err(OpenError::DatabaseMissing { folder: path.into() }),
        Ok(false) => Err(OpenError::FolderMissing { folder: path.into() }),
        Err(reason) => Err(unusable(path, reason)),
    }
}

const DATABASE: &str = "doorward.db";
const LOCK: &str = "doorward.lock";

/// Makes durable which names a folder holds.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder that a path lies in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn unusable(path: &Path, reason: io::Error) -> OpenError {
    let folder = path.into();
    match reason.kind() {
        ErrorKind::NotADirectory => OpenError::NotAFolder { folder },
        _ => OpenError::FolderUnusable { folder, reason },
    }
}
