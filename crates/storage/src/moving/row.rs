//! Rows as PostgreSQL's binary COPY has them: on the way to it, and to be digested on both sides.

use std::mem;

use sha2::{Digest, Sha256};

use super::{Column, ColumnKind, Fingerprint};

/// What a binary COPY begins with: a signature, no flags, no extension.
const BEGIN: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
const END: [u8; 2] = (-1_i16).to_be_bytes();
/// How many bytes are collected before they are sent.
const PART: usize = 64 * 1024;

/// What a value is that cannot be moved as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It is not what stands in columns of its kind.
    NotOfItsKind(&'static str),
    /// A text that must stay as it is has the character zero.
    CharacterZero(&'static str),
}

/// The bytes of a row, and of those before it that were not taken yet.
#[derive(Debug)]
pub(crate) struct Row {
    bytes: Vec<u8>,
    /// Where the last row begins.
    begin: usize,
}

impl Row {
    /// The beginning of a COPY.
    pub(crate) fn first() -> Self {
        Self { bytes: BEGIN.to_vec(), begin: BEGIN.len() }
    }

    /// Begins a row of this many values.
    pub(crate) fn begin(&mut self, values: usize) {
        self.begin = self.bytes.len();
        self.bytes.extend(i16::try_from(values).unwrap_or(i16::MAX).to_be_bytes());
    }

    /// Ends the COPY.
    pub(crate) fn end(&mut self) {
        self.bytes.extend(END);
    }

    pub(crate) fn null(&mut self) {
        self.bytes.extend((-1_i32).to_be_bytes());
    }

    pub(crate) fn raw(&mut self, value: &[u8]) {
        self.bytes.extend(i32::try_from(value.len()).unwrap_or(i32::MAX).to_be_bytes());
        self.bytes.extend(value);
    }

    pub(crate) fn number(&mut self, column: Column, value: i64) -> Result<(), Problem> {
        match (column.kind, value) {
            (ColumnKind::Number, _) => self.raw(&value.to_be_bytes()),
            (ColumnKind::Flag, 0 | 1) => self.raw(&[u8::from(value == 1)]),
            _ => return Err(Problem::NotOfItsKind(column.name)),
        }
        Ok(())
    }

    pub(crate) fn text(&mut self, column: Column, value: &[u8]) -> Result<(), Problem> {
        let has_zero = value.contains(&0);
        match column.kind {
            ColumnKind::Text if has_zero => {
                let text = String::from_utf8_lossy(value).replace('\0', "\u{fffd}");
                self.raw(text.as_bytes());
            }
            ColumnKind::Exact if has_zero => return Err(Problem::CharacterZero(column.name)),
            ColumnKind::Text | ColumnKind::Exact | ColumnKind::Bytes => self.raw(value),
            ColumnKind::Number | ColumnKind::Flag => return Err(Problem::NotOfItsKind(column.name)),
        }
        Ok(())
    }

    pub(crate) fn bytes(&mut self, column: Column, value: &[u8]) -> Result<(), Problem> {
        match column.kind {
            ColumnKind::Bytes => self.raw(value),
            _ => return Err(Problem::NotOfItsKind(column.name)),
        }
        Ok(())
    }

    /// The last row.
    pub(crate) fn last(&self) -> &[u8] {
        &self.bytes[self.begin..]
    }

    /// Takes what was collected, if that is worth being sent.
    pub(crate) fn take_part(&mut self) -> Option<Vec<u8>> {
        (self.bytes.len() >= PART).then(|| self.take())
    }

    /// Takes what was collected.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.begin = 0;
        mem::replace(&mut self.bytes, Vec::with_capacity(PART + PART / 4))
    }

    /// Forgets what was collected.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.begin = 0;
    }
}

/// Makes the fingerprint of a table, row by row.
#[derive(Debug, Default)]
pub(crate) struct Digester {
    rows: u64,
    digest: Sha256,
}

impl Digester {
    pub(crate) fn add(&mut self, row: &Row) {
        self.rows += 1;
        self.digest.update(row.last());
    }

    pub(crate) fn finish(self) -> Fingerprint {
        Fingerprint { rows: self.rows, digest: self.digest.finalize().into() }
    }
}
