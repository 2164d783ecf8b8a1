//! The stored login: where it is, and that nobody else can read it.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::variable;
use crate::args::WrongUse;

/// A login as the file has it. The token is only ever sent to `server`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) server: String,
    /// The code of the organisation that commands work on.
    pub(super) organisation: String,
    pub(super) username: String,
    pub(super) token: String,
    /// The certificate that the server's is checked against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ca_certificate: Option<PathBuf>,
}

fn path() -> anyhow::Result<PathBuf> {
    let config = variable("XDG_CONFIG_HOME")?.map(PathBuf::from).filter(|path| path.is_absolute());
    let home = variable("HOME")?.map(|home| PathBuf::from(home).join(".config"));
    match config.or(home) {
        Some(folder) => Ok(folder.join("doorward/login.json")),
        None => {
            bail!(WrongUse("there is no place for the login: neither HOME nor XDG_CONFIG_HOME is set".into()))
        }
    }
}

/// The stored login, if there is one.
pub(super) fn find() -> anyhow::Result<Option<Stored>> {
    // Without a home there can be no login, and DOORWARD_TOKEN may serve.
    let Ok(path) = path() else { return Ok(None) };
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map(Some).with_context(|| {
            format!("{} is not a stored login; delete it and run `doorward login`", path.display())
        }),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("the login in {} cannot be read", path.display())),
    }
}

/// Stores a login in place of the one before, whole or not at all. Answers with where it is.
pub(super) fn store(login: &Stored) -> anyhow::Result<PathBuf> {
    let path = path()?;
    let write = || -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        // A name of its own: two logins at a time must not write one file.
        let draft = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let written = file.write_all(&serde_json::to_vec_pretty(login)?).and_then(|()| file.sync_all());
        written.and_then(|()| fs::rename(&draft, &path)).inspect_err(|_| drop(fs::remove_file(&draft)))
    };
    write().with_context(|| format!("the login cannot be stored in {}", path.display()))?;
    Ok(path)
}

/// Forgets the stored login, if there is one.
pub(super) fn forget() -> anyhow::Result<()> {
    let path = path()?;
    match fs::remove_file(&path) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(error).with_context(|| format!("the login in {} cannot be deleted", path.display()))
        }
        _ => Ok(()),
    }
}
