//! The file that the secrets of new keys are written to: a new one, for its owner's eyes only, a line of JSON for each
//! key, on disk before anything else is done.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde_json::Value;

/// The file. One that nothing was written to is deleted when it is dropped.
pub(super) struct Secrets {
    path: PathBuf,
    file: File,
    lines: usize,
}

impl Secrets {
    /// Refuses a place where a file could not be made.
    pub(super) fn check(path: &Path) -> anyhow::Result<()> {
        match path.symlink_metadata() {
            Ok(_) => bail!(taken(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| unusable(path)),
        }
        let folder = folder(path);
        if !folder.is_dir() {
            bail!("{}: there is no folder {}", unusable(path), folder.display());
        }
        Ok(())
    }

    /// Makes the file, which must not be there.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(taken(path)),
            made => made.with_context(|| unusable(path))?,
        };
        let secrets = Self { path: path.to_owned(), file, lines: 0 };
        // The name must last as the contents do.
        File::open(folder(path)).and_then(|folder| folder.sync_all()).with_context(|| unusable(path))?;
        Ok(secrets)
    }

    /// Writes a line, and waits until it is on disk.
    pub(super) fn write(&mut self, line: &Value) -> anyhow::Result<()> {
        // Counted first: half a line is to be kept too.
        self.lines += 1;
        let written = self.file.write_all(format!("{line}\n").as_bytes()).and_then(|()| self.file.sync_all());
        written.with_context(|| unusable(&self.path))
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        if self.lines == 0 {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn taken(path: &Path) -> String {
    format!(
        "{} is there already, and secrets are never written over it; give --secrets a new file",
        path.display()
    )
}

fn unusable(path: &Path) -> String {
    format!("the secrets cannot be written to {}", path.display())
}
