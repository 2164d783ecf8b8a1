//! `doorward export users`: the users of an organisation with the hashes of their passwords, in a file that
//! `doorward import users` reads.
//!
//! It reads the data folder and not the server, for no answer of the API has a hash: who may export is who may read
//! the database.

use std::{
    fs::{self, File},
    io::{BufWriter, ErrorKind, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use doorward_domain::{
    directory::{Role, Status},
    id::UnitId,
    name::CanonicalName,
};
use doorward_storage::{OpenError, UnitNames, UserWithHash, export_users};

use crate::{
    args::{ExportCommand, ExportUsers, WrongUse},
    store,
    users_file::{FileUser, Format, Writer},
};

/// Why users are not exported.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Write(#[from] anyhow::Error),
}

pub(crate) fn run(command: &ExportCommand) -> anyhow::Result<()> {
    let ExportCommand::Users(args) = command;
    let config = args.flags.load()?.config;
    store::only_in_a_folder(&config, "its users cannot be exported yet")?;
    let folder = config.data;
    let named = args.file.as_deref().filter(|path| *path != Path::new("-"));
    let format = args.format.or_else(|| named.and_then(Format::of));
    let Some(format) = format.or_else(|| named.is_none().then_some(Format::Jsonl)) else {
        let name = named.unwrap_or(Path::new("-")).display();
        bail!(WrongUse(format!(
            "the name of {name} does not say its form; add --format jsonl or --format csv"
        )));
    };
    let Some(path) = named else {
        let stdout = std::io::stdout();
        if args.file.is_none() && stdout.is_terminal() {
            bail!(WrongUse(
                "the hashes of passwords are not for the eyes of bystanders; name a file, or '-' for standard output"
                    .to_owned()
            ));
        }
        write(args, &folder, format, stdout.lock())?;
        return Ok(());
    };
    let cannot = || format!("{} cannot be written", path.display());
    if path.try_exists().with_context(cannot)? {
        bail!("{} is there already; name another file, or move that one away", path.display());
    }
    let draft = Draft::create(path).with_context(cannot)?;
    let file = draft.file.try_clone().with_context(cannot)?;
    let count = write(args, &folder, format, BufWriter::new(file))?;
    draft.finish(path).with_context(cannot)?;
    eprintln!("{count} users are in {}, with the hashes of their passwords; keep it safe.", path.display());
    Ok(())
}

/// Writes the users; how many they are.
fn write(args: &ExportUsers, folder: &Path, format: Format, output: impl Write) -> anyhow::Result<u64> {
    let code = &args.organisation;
    let organisation = CanonicalName::new(code)
        .map_err(|error| WrongUse(format!("the code '{}' {error}", code.escape_debug())))?;
    let mut writer = Writer::new(format, output)?;
    let mut count = 0;
    let is_there = export_users(folder, &organisation, |user, units| {
        count += 1;
        let written = writer.write(&in_words(user, units)).context("the users cannot be written");
        written.map_err(ExportError::Write)
    });
    if !is_there? {
        bail!("there is no organisation '{}' in {}", code.escape_debug(), folder.display());
    }
    writer.finish()?;
    Ok(count)
}

fn in_words((details, hash): UserWithHash, units: &UnitNames) -> FileUser {
    let user = details.user.value;
    let name = |id: &UnitId| {
        let name = units.get(id).map(ToString::to_string).unwrap_or_default();
        // A name that is the id of another unit would be taken for that one.
        let is_id = name.parse().is_ok_and(|other| units.contains_key(&other));
        if name.is_empty() || is_id { id.to_string() } else { name }
    };
    // In the order of their names, so that it is the same wherever the units have other ids.
    let mut names: Vec<_> = user.units.iter().map(name).collect();
    names.sort_unstable();
    let default_unit = user.default_unit.as_ref().map(|unit| Some(name(unit)));
    FileUser {
        id: user.id.to_string(),
        username: user.username.to_string(),
        person_name: user.person_name,
        email: user.email,
        role: match user.role {
            Role::Member => "member",
            Role::Administrator => "administrator",
        },
        status: match user.status {
            Status::Active => "active",
            Status::Disabled => "disabled",
        },
        default_unit: default_unit.or_else(|| (!user.units.is_empty()).then_some(None)),
        units: names,
        must_change_password: details.must_change_password,
        password_hash: hash.map(|hash| hash.as_str().to_owned()),
    }
}

/// A file that gets its name when it is complete, and is gone if it never is.
pub(crate) struct Draft {
    path: PathBuf,
    pub(crate) file: File,
    is_finished: bool,
}

impl Draft {
    pub(crate) fn create(path: &Path) -> std::io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".unfinished");
        let draft = PathBuf::from(name);
        // One that was cut off; whether somebody else may read it is not known.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
        Ok(Self { path: draft, file, is_finished: false })
    }

    /// Gives the file its name, unless something has it by now.
    pub(crate) fn finish(mut self, path: &Path) -> std::io::Result<()> {
        self.file.sync_all()?;
        fs::hard_link(&self.path, path)?;
        self.is_finished = true;
        fs::remove_file(&self.path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}
