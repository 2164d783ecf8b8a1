//! The backup that is made before the schema is changed, and how it is found again.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{
    backup::{self, BackupError},
    folder::parent,
};

/// What was done to a database when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgraded {
    /// The schema that it had.
    pub from: i64,
    /// The schema that it has.
    pub to: i64,
    /// The copy of it as it was, in the data folder.
    pub backup: PathBuf,
}

/// Copies the database, which has the schema `from`, into a file beside it. A copy that is there is never overwritten;
/// one that is the same is the copy, so that a start that fails again and again does not fill the disk. The error says
/// what to do.
pub(super) fn back_up(
    database: &Path,
    connection: &Connection,
    from: i64,
    to: i64,
) -> Result<PathBuf, String> {
    let name = |number: usize| {
        let number = if number == 1 { String::new() } else { format!("-{number}") };
        parent(database).join(format!("before-schema-{to}-from-{from}{number}.db"))
    };
    let number = (1..).find(|number| !name(*number).exists()).unwrap_or(usize::MAX);
    let file = name(number);
    backup::copy_to(database, connection, &file, &mut |_| {}).map_err(|error| match error {
        BackupError::Full { file } => format!("no space for {file:?}; free some"),
        error => error.to_string(),
    })?;
    for earlier in (1..number).rev().map(name) {
        // One that cannot be compared is another.
        if is_same(&earlier, &file).unwrap_or(false) {
            // One too many is no reason not to go on.
            let _ = fs::remove_file(&file);
            return Ok(earlier);
        }
    }
    Ok(file)
}

/// The newest of the copies, made before later upgrades, that has a schema up to `known`.
pub(super) fn find_backup(database: &Path, known: i64) -> Option<PathBuf> {
    let of_file = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_str()?.strip_prefix("before-schema-")?.strip_suffix(".db")?;
        let (to, from) = name.split_once("-from-")?;
        let (to, from) = (to.parse::<i64>().ok()?, from.split('-').next()?.parse::<i64>().ok()?);
        let modified = entry.metadata().ok()?.modified().ok()?;
        (to > known && from <= known).then(|| ((from, modified), entry.path()))
    };
    let files = fs::read_dir(parent(database)).ok()?.flatten();
    files.filter_map(of_file).max().map(|(_, path)| path)
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let [mut one, mut other] = [fs::File::open(one)?, fs::File::open(other)?];
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let mut parts = [vec![0; 1 << 16], vec![0; 1 << 16]];
    loop {
        let length = one.read(&mut parts[0])?;
        other.read_exact(&mut parts[1][..length])?;
        if parts[0][..length] != parts[1][..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
    }
}
