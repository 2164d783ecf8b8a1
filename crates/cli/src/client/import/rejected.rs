//! The rows that were not imported, each with its line and the reason, in a form that can be mended and imported: the
//! file is JSON Lines, and of an object with a `reason` and a `row` it is the row that is imported.

use std::{
    fs::{self, File},
    io::{BufWriter, ErrorKind, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::Value;

use super::{
    batches::{Sent, Unsent},
    progress::{Progress, private},
    source::Source,
};

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    line: u64,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<&'a str>,
    reason: &'a str,
    /// The row as it was given: an object, or a text if it could not be read.
    row: &'a Value,
}

/// The file; it is made when there is something to write.
pub(super) struct RejectedFile {
    path: PathBuf,
    output: Option<BufWriter<File>>,
    is_changed: bool,
    bytes: u64,
}

impl RejectedFile {
    /// Goes on behind what is known to belong to rows that are answered, or begins anew.
    pub(super) fn open(source: &Source, progress: &Progress, restart: bool) -> anyhow::Result<Self> {
        let path = source.rejected().to_owned();
        let cannot = || format!("the file of rejected rows {} cannot be written", path.display());
        let mut output = None;
        let bytes = progress.rejected_bytes;
        if progress.is_resumed {
            match private().write(true).open(&path) {
                Ok(mut file) => {
                    let has = file.metadata().with_context(cannot)?.len();
                    if has < bytes {
                        bail!(
                            "{} has {has} bytes where the import that was cut off had written {bytes}; put it back, or \
                             begin anew with --restart",
                            path.display()
                        );
                    }
                    // What was written behind belongs to rows that are sent again.
                    file.set_len(bytes)
                        .and_then(|()| file.seek(SeekFrom::Start(bytes)))
                        .with_context(cannot)?;
                    output = Some(BufWriter::new(file));
                }
                Err(error) if error.kind() == ErrorKind::NotFound && bytes == 0 => {}
                Err(error) => return Err(error).with_context(cannot),
            }
        } else if path.try_exists().with_context(cannot)? {
            if !restart {
                bail!(
                    "{} has the rows that an earlier import rejected; import or delete it, or have it made anew with \
                     --restart",
                    path.display()
                );
            }
            fs::remove_file(&path).with_context(cannot)?;
        }
        Ok(Self { path, output, is_changed: false, bytes })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a row that the server refused.
    pub(super) fn add_refused(&mut self, row: &Sent, refusal: &Value) -> anyhow::Result<()> {
        self.write(&Line {
            line: row.line,
            code: refusal["code"].as_str().unwrap_or_default(),
            member: refusal["member"].as_str(),
            reason: refusal["detail"].as_str().unwrap_or_default(),
            row: &row.row,
        })
    }

    /// Adds a row that was not sent.
    pub(super) fn add(&mut self, row: &Unsent) -> anyhow::Result<()> {
        self.write(&Line {
            line: row.line,
            code: row.code,
            member: row.member,
            reason: &row.reason,
            row: &row.row,
        })
    }

    fn write(&mut self, line: &Line<'_>) -> anyhow::Result<()> {
        let cannot = || format!("the file of rejected rows {} cannot be written", self.path.display());
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let output = match &mut self.output {
            Some(output) => output,
            None => {
                let file = private().write(true).create_new(true).open(&self.path).with_context(cannot)?;
                self.output.insert(BufWriter::new(file))
            }
        };
        output.write_all(&text).with_context(cannot)?;
        self.bytes += text.len() as u64;
        self.is_changed = true;
        Ok(())
    }

    /// Has on disk what was added; how long the file is then.
    pub(super) fn keep(&mut self) -> anyhow::Result<u64> {
        if let Some(output) = &mut self.output
            && self.is_changed
        {
            let kept = output.flush().and_then(|()| output.get_ref().sync_data());
            kept.with_context(|| {
                format!("the file of rejected rows {} cannot be written", self.path.display())
            })?;
            self.is_changed = false;
        }
        Ok(self.bytes)
    }

    /// Leaves no empty file behind.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        if self.output.take().is_some() && self.bytes == 0 {
            fs::remove_file(&self.path)
                .with_context(|| format!("{} is empty and cannot be deleted", self.path.display()))?;
        }
        Ok(())
    }
}
