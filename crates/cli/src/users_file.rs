//! A file of users, as `doorward export users` writes it and `doorward import users` reads it: JSON Lines, an object on
//! each line, or CSV, whose first line names the columns. The members are those of the admin API, with units by name.

mod read;
mod write;

use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    read::{Place, Row, Rows},
    write::Writer,
};

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// JSON Lines: one object on each line
    #[value(alias = "json", alias = "ndjson")]
    Jsonl,
    /// Comma-separated values; the first line names the columns
    Csv,
}

impl Format {
    /// The form that the name of a file tells.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "csv" => Some(Self::Csv),
            "jsonl" | "json" | "ndjson" => Some(Self::Jsonl),
            _ => None,
        }
    }
}

/// All columns that a CSV file may have, in the order in which they are written.
const COLUMNS: [&str; 11] = [
    "id",
    "username",
    "person_name",
    "email",
    "role",
    "status",
    "units",
    "default_unit",
    "must_change_password",
    "password_hash",
    "password",
];

/// A user of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FileUser {
    pub(crate) id: String,
    pub(crate) username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) person_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    pub(crate) role: &'static str,
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) units: Vec<String>,
    /// Null where there are units and none of them is the default: absent would be the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default_unit: Option<Option<String>>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) must_change_password: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password_hash: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The cell that says that no unit is the default.
const NONE: &str = "-";

/// Units in one cell, with `;` between them. A backslash takes the meaning from what follows it.
fn join_units(units: &[String]) -> String {
    units.iter().map(|unit| escape(unit)).collect::<Vec<_>>().join(";")
}

/// The name of a unit in a cell.
fn escape(unit: &str) -> String {
    let mut cell = String::with_capacity(unit.len());
    for c in unit.chars() {
        if matches!(c, ';' | '|' | '\\') || (c == '-' && unit == NONE) {
            cell.push('\\');
        }
        cell.push(c);
    }
    cell
}

/// Takes a cell of units apart: `;` or `|` stands between them.
fn split_units(cell: &str) -> Vec<String> {
    let mut units = vec![String::new()];
    for (c, is_escaped) in unescape(cell) {
        match units.last_mut() {
            Some(unit) if is_escaped || !matches!(c, ';' | '|') => unit.push(c),
            _ => units.push(String::new()),
        }
    }
    units.into_iter().map(|unit| unit.trim().to_owned()).filter(|unit| !unit.is_empty()).collect()
}

/// The characters of a cell, and whether a backslash has taken their meaning from them.
fn unescape(cell: &str) -> impl Iterator<Item = (char, bool)> {
    let mut characters = cell.chars().peekable();
    std::iter::from_fn(move || {
        let c = characters.next()?;
        let meant = (c == '\\').then(|| characters.next_if(|next| matches!(next, ';' | '|' | '\\' | '-')));
        Some(meant.flatten().map_or((c, false), |meant| (meant, true)))
    })
}

#[cfg(test)]
mod tests;
