//! The layers above the defaults: the file, the environment, the flags. Each is read and checked on its own, so
//! that a mistake is found also where a later layer covers it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::{fs, io};

use ::config::{FileFormat, Format, Map, Value, ValueKind};

use super::Sources;
use super::error::{ConfigError, one_line};
use super::keys::{KEYS, Key};

/// The file that is read when it is there and no other is named.
const FILE: &str = "doorward.toml";

/// The variable that names another file.
pub(super) const FILE_VARIABLE: &str = "DOORWARD_CONFIG";

/// Variables that are meant for other parts of Doorward and set no key.
const RESERVED: [&str; 2] = ["DOORWARD_SERVER", "DOORWARD_TOKEN"];

/// Checked values by the names of their keys.
type Layer = Vec<(&'static str, Value)>;

/// Reads the file that the flag or else the variable names, which must be there, or else [`FILE`], which need not.
/// Answers with the path of the file that was read.
pub(super) fn read_file(
    sources: &Sources,
    variable: Option<OsString>,
) -> Result<(Option<PathBuf>, Layer), ConfigError> {
    let named = sources.file.clone().or(variable.map(PathBuf::from));
    let is_named = named.is_some();
    let shown = named.as_ref().map_or(FILE.to_owned(), |path| one_line(&path.to_string_lossy()));
    let path = named.unwrap_or_else(|| sources.folder.join(FILE));

    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if !is_named && error.kind() == io::ErrorKind::NotFound => {
            return Ok((None, Layer::new()));
        }
        Err(reason) => return Err(ConfigError::Unreadable { file: shown, reason }),
    };
    let table = FileFormat::Toml
        .parse(Some(&shown), &text)
        .map_err(|error| ConfigError::not_toml(&shown, error.as_ref()))?;
    let mut values = BTreeMap::new();
    flatten("", table, &mut values);
    let layer = values
        .into_iter()
        .map(|(name, value)| find(&shown, &name)?.check(value))
        .collect::<Result<_, _>>()?;
    Ok((Some(path), layer))
}

/// Collects the values of a table under their full names.
fn flatten(section: &str, table: Map<String, Value>, values: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        // A name with a dot in it (`"tokens.password_idle" = ...`) is not the key that looks the same.
        let name = if name.contains('.') { format!("{name:?}") } else { name };
        let name = if section.is_empty() { name } else { format!("{section}.{name}") };
        match value.kind {
            ValueKind::Table(table) if !table.is_empty() => flatten(&name, table, values),
            ValueKind::Table(_) if is_section(&name) => {}
            _ => {
                values.insert(name, value);
            }
        }
    }
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// The variables that begin with `DOORWARD_` and are not reserved, among them [`FILE_VARIABLE`].
pub(super) fn own_variables(
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> BTreeMap<String, OsString> {
    environment
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, _)| name.starts_with("DOORWARD_") && !RESERVED.contains(&name.as_str()))
        .collect()
}

/// Reads variables that each set a key. (`config::Environment` would call every origin "the environment", and an
/// error could not name the variable.)
pub(super) fn read_variables(variables: BTreeMap<String, OsString>) -> Result<Layer, ConfigError> {
    variables
        .into_iter()
        .map(|(variable, value)| {
            let key = KEYS
                .iter()
                .find(|key| key.variable() == variable)
                .ok_or_else(|| ConfigError::unknown_key("environment", &variable, Key::variable))?;
            match value.to_str() {
                Some(text) => key.check(key.read(&variable, text)),
                None => Err(ConfigError::NotUtf8 { variable }),
            }
        })
        .collect()
}

/// Reads flags, given as the flag's own text, its key and its value.
pub(super) fn read_flags(flags: &[(String, String, String)]) -> Result<Layer, ConfigError> {
    flags
        .iter()
        .map(|(flag, name, text)| {
            let key = find(flag, name)?;
            key.check(key.read(flag, text))
        })
        .collect()
}

fn find(origin: &str, name: &str) -> Result<&'static Key, ConfigError> {
    KEYS.iter()
        .find(|key| key.name == name)
        .ok_or_else(|| ConfigError::unknown_key(origin, name, |key| key.name.to_owned()))
}
