//! A file that gets its name when it is complete, so that nobody ever finds half of one.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::folder::{parent, sync};

/// What SQLite lays beside a database. Left behind by a process that was killed, it would be taken for a part of the
/// next file of that name.
const BESIDE: [&str; 3] = ["-journal", "-wal", "-shm"];

/// An empty file beside the place of the complete one, readable by its owner only. It is removed when this is dropped
/// before it is finished; what a killed process leaves is replaced by the next to start.
#[derive(Debug)]
pub(super) struct Unfinished {
    path: PathBuf,
    complete: PathBuf,
}

impl Unfinished {
    /// Makes the file that is to become `complete`.
    pub(super) fn start(complete: &Path) -> io::Result<Self> {
        let unfinished = Self { path: with_suffix(complete, ".unfinished"), complete: complete.into() };
        unfinished.remove()?;
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(&unfinished.path)?;
        Ok(unfinished)
    }

    /// Where it is until it is finished.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, durably. Nothing may have the file open any more.
    pub(super) fn finish(self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()?;
        fs::rename(&self.path, &self.complete)?;
        sync(parent(&self.complete))
    }

    fn remove(&self) -> io::Result<()> {
        let beside = BESIDE.map(|suffix| with_suffix(&self.path, suffix));
        for path in beside.iter().chain([&self.path]) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // One that cannot be removed is replaced by the next. After `finish` there is none.
        let _ = self.remove();
    }
}

/// A path with something behind its last name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = OsString::from(path);
    text.push(suffix);
    text.into()
}
