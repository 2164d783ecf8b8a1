//! Writing a file of users.

use std::io::Write;

use anyhow::Context;

use super::{COLUMNS, FileUser, Format, NONE, escape, join_units};

/// Writes users in one of the forms.
pub(crate) enum Writer<W: Write> {
    /// JSON Lines.
    Jsonl(W),
    /// CSV, whose first line is written.
    Csv(Box<csv::Writer<W>>),
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(format: Format, output: W) -> anyhow::Result<Self> {
        Ok(match format {
            Format::Jsonl => Self::Jsonl(output),
            Format::Csv => {
                let mut csv = Box::new(csv::Writer::from_writer(output));
                // A password is never known, so there is no column for it.
                csv.write_record(COLUMNS.into_iter().filter(|name| *name != "password"))?;
                Self::Csv(csv)
            }
        })
    }

    pub(crate) fn write(&mut self, user: &FileUser) -> anyhow::Result<()> {
        match self {
            Self::Jsonl(output) => {
                serde_json::to_writer(&mut *output, user)?;
                output.write_all(b"\n")?;
            }
            Self::Csv(csv) => {
                let default_unit = match &user.default_unit {
                    None => String::new(),
                    Some(None) => NONE.to_owned(),
                    Some(Some(unit)) => escape(unit),
                };
                csv.write_record([
                    user.id.as_str(),
                    &user.username,
                    user.person_name.as_deref().unwrap_or_default(),
                    user.email.as_deref().unwrap_or_default(),
                    user.role,
                    user.status,
                    &join_units(&user.units),
                    &default_unit,
                    if user.must_change_password { "true" } else { "" },
                    user.password_hash.as_deref().unwrap_or_default(),
                ])?;
            }
        }
        Ok(())
    }

    /// Hands on what is still here, and gives back what was written to.
    pub(crate) fn finish(self) -> anyhow::Result<W> {
        let mut output = match self {
            Self::Jsonl(output) => output,
            Self::Csv(csv) => match csv.into_inner() {
                Ok(output) => output,
                Err(error) => return Err(error.into_error()).context("the users cannot be written"),
            },
        };
        output.flush().context("the users cannot be written")?;
        Ok(output)
    }
}
