//! How far an import has come, in a file beside the one that is imported, so that it can go on from there.
//!
//! A place that is too early does no harm: what stands behind it is sent again, and the server finds whom it has
//! created. A place that is too late would lose rows, so it is noted only when their answers are there and their
//! rejections are on disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use doorward_domain::random::Randomness;
use serde::{Deserialize, Serialize};

use super::{
    super::things::Work,
    source::{Source, with},
};
use crate::{
    system::SystemRandomness,
    users_file::{Format, Place},
};

/// As the file has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    /// Names this import to the server.
    pub(super) import: String,
    server: String,
    /// The id of the organisation.
    organisation: String,
    /// The SHA-256 of the file that is imported.
    digest: String,
    format: Format,
    /// Up to where the rows are answered.
    pub(super) place: Place,
    pub(super) created: u64,
    pub(super) present: u64,
    pub(super) rejected: u64,
    /// Where rejected rows are.
    rejected_file: PathBuf,
    /// How much of that file belongs to the rows that are answered.
    pub(super) rejected_bytes: u64,
    #[serde(skip)]
    pub(super) is_resumed: bool,
}

impl Progress {
    /// Goes on with the import that was cut off, if there is one and it is of the same file to the same place.
    pub(super) fn find_or_begin(source: &Source, work: &Work, restart: bool) -> anyhow::Result<Self> {
        if restart {
            forget(source)?;
        }
        let new = Self::new(source, work)?;
        let found = if source.can_be_resumed() { find(&source.progress())? } else { None };
        let Some(found) = found else { return Ok(new) };
        // Before anything is answered, it may as well become another import.
        if found.place == Place::START {
            let is_resumed = found.rejected_file == new.rejected_file;
            let begun = if found.is_of(&new) { found } else { new };
            return Ok(Self { is_resumed, ..begun });
        }
        let file = source.path().display();
        let wrong = if found.digest != new.digest {
            format!("{file} was changed since a part of it was imported")
        } else if found.format != new.format {
            format!("a part of {file} was imported in another --format")
        } else if !found.is_of(&new) {
            let Self { organisation, server, .. } = &found;
            format!("a part of {file} was imported to organisation {organisation} of {server}")
        } else if found.rejected_file != new.rejected_file {
            format!("a part of {file} was imported with --rejected {}", found.rejected_file.display())
        } else {
            return Ok(Self { is_resumed: true, ..found });
        };
        bail!(
            "{wrong} ({}); with --restart all of it is imported from the beginning: who is there already is not made \
             twice",
            found.told()
        );
    }

    fn new(source: &Source, work: &Work) -> anyhow::Result<Self> {
        let random: &dyn Randomness = &SystemRandomness;
        let import: [u8; 16] = random.bytes()?;
        Ok(Self {
            import: import.iter().map(|byte| format!("{byte:02x}")).collect(),
            server: work.connection.server.to_string(),
            organisation: work.organisation.clone(),
            digest: source.digest().to_owned(),
            format: source.format(),
            rejected_file: std::path::absolute(source.rejected()).context("the working folder is gone")?,
            place: Place::START,
            created: 0,
            present: 0,
            rejected: 0,
            rejected_bytes: 0,
            is_resumed: false,
        })
    }

    /// Whether it is the import of the same file to the same place.
    fn is_of(&self, new: &Self) -> bool {
        let of = |this: &Self| {
            let Self { digest, format, organisation, server, .. } = this;
            (digest.clone(), *format, organisation.clone(), server.clone())
        };
        of(self) == of(new)
    }

    /// The rows that are answered.
    pub(super) fn rows(&self) -> u64 {
        self.created + self.present + self.rejected
    }

    /// What became of them, for people.
    pub(super) fn told(&self) -> String {
        let Self { created, present, rejected, .. } = self;
        format!("{created} users created, {present} present already, {rejected} rejected")
    }

    /// Notes it, whole or not at all, and on disk when this returns.
    pub(super) fn save(&self, source: &Source) -> anyhow::Result<()> {
        if !source.can_be_resumed() {
            return Ok(());
        }
        let path = source.progress();
        let draft = with(&path, ".new");
        let write = || -> std::io::Result<()> {
            let mut file = private().write(true).create(true).truncate(true).open(&draft)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().with_context(|| {
            format!("the progress cannot be noted in {}; make room there and run it again", path.display())
        })
    }
}

/// There is nothing to go on with any more.
pub(super) fn forget(source: &Source) -> anyhow::Result<()> {
    if !source.can_be_resumed() {
        return Ok(());
    }
    let path = source.progress();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be deleted", path.display()))
        }
        _ => Ok(()),
    }
}

/// Options under which nobody else can read a file that is made.
pub(super) fn private() -> OpenOptions {
    let mut options = File::options();
    options.mode(0o600);
    options
}

fn find(path: &Path) -> anyhow::Result<Option<Progress>> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).with_context(|| {
            format!("{} is no progress of an import; with --restart it is made anew", path.display())
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}
