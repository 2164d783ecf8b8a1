//! The file that is imported, and the files beside it.

use std::{
    ffi::OsString,
    fs::{File, TryLockError},
    io::{ErrorKind, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::{
    args::WrongUse,
    users_file::{Format, Place, Rows},
};

/// What is imported.
pub(super) struct Source {
    path: PathBuf,
    format: Format,
    /// The file, unless it can only be read once, as standard input.
    file: Option<Kept>,
    /// What can only be read once, until it is.
    stream: Option<Box<dyn Read>>,
    rejected: PathBuf,
}

/// A file that is there for another time.
struct Kept {
    /// Locked while this is open: two imports of one file would write one file of progress.
    file: File,
    length: u64,
    digest: String,
}

impl Source {
    pub(super) fn open(path: &Path, format: Option<Format>, rejected: Option<&Path>) -> anyhow::Result<Self> {
        let Some(format) = format.or_else(|| Format::of(path)) else {
            bail!(WrongUse(format!(
                "the name of {} does not say what is in it; add --format jsonl or --format csv",
                path.display()
            )));
        };
        let rejected = rejected.map(Path::to_owned);
        let stream = |stream: Box<dyn Read>, rejected: Option<PathBuf>| {
            let Some(rejected) = rejected else {
                bail!(WrongUse("say with --rejected FILE where rejected rows are to be written".to_owned()));
            };
            Ok(Self { path: path.to_owned(), format, file: None, stream: Some(stream), rejected })
        };
        if path == Path::new("-") {
            return stream(Box::new(std::io::stdin()), rejected);
        }
        let cannot = || format!("{} cannot be read", path.display());
        let mut file = File::open(path).with_context(cannot)?;
        let metadata = file.metadata().with_context(cannot)?;
        if metadata.is_dir() {
            bail!(WrongUse(format!("{} is a folder; name a file of users", path.display())));
        }
        if !metadata.is_file() {
            return stream(Box::new(file), rejected);
        }
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            bail!("{} is being imported already; wait for that to end", path.display());
        }
        let mut digest = Sha256::new();
        let mut part = vec![0; 1024 * 1024];
        let mut length = 0;
        loop {
            match file.read(&mut part) {
                Ok(0) => break,
                Ok(count) => {
                    digest.update(&part[..count]);
                    length += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).with_context(cannot),
            }
        }
        let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let rejected = rejected.unwrap_or_else(|| with(path, ".rejected.jsonl"));
        let file = Some(Kept { file, length, digest });
        Ok(Self { path: path.to_owned(), format, file, stream: None, rejected })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Where rejected rows go.
    pub(super) fn rejected(&self) -> &Path {
        &self.rejected
    }

    /// Where it is noted how far the import has come.
    pub(super) fn progress(&self) -> PathBuf {
        with(&self.path, ".progress")
    }

    pub(super) fn can_be_resumed(&self) -> bool {
        self.file.is_some()
    }

    /// The bytes, as far as they are known.
    pub(super) fn length(&self) -> Option<u64> {
        self.file.as_ref().map(|kept| kept.length)
    }

    /// The SHA-256 of the file; nothing of what can only be read once.
    pub(super) fn digest(&self) -> &str {
        self.file.as_ref().map_or("", |kept| &kept.digest)
    }

    /// The rows from a place on.
    pub(super) fn rows(&mut self, place: Place) -> anyhow::Result<Rows> {
        let cannot = || format!("{} cannot be read", self.path.display());
        let Some(kept) = &mut self.file else {
            let stream = self.stream.take().context("it was read already")?;
            return Rows::new(self.format, stream);
        };
        let mut from = |byte: u64| -> anyhow::Result<Box<dyn Read>> {
            kept.file.seek(SeekFrom::Start(byte)).with_context(cannot)?;
            Ok(Box::new(kept.file.try_clone().with_context(cannot)?))
        };
        let rows = Rows::new(self.format, from(0)?)?;
        if place == Place::START { Ok(rows) } else { Ok(rows.go_on(place, from(place.byte)?)) }
    }
}

/// A path with something behind it.
pub(super) fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}
