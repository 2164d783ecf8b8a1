//! Reading a file of users, a row at a time and from any place between two rows. What cannot be read is a row too, so
//! that it can be told of and the others come in. No row takes more memory than [`LONGEST_ROW`].

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
};

use anyhow::{Context, bail};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{COLUMNS, Format, NONE, split_units, unescape};
use crate::args::WrongUse;

/// The most bytes of a row.
pub(super) const LONGEST_ROW: u64 = 1024 * 1024;
/// How much is shown of a row that is longer.
const SHOWN: usize = 1_000;

/// A place between two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Bytes before it.
    pub(crate) byte: u64,
    /// The line that begins there, from 1.
    pub(crate) line: u64,
}

impl Place {
    /// Where files begin.
    pub(crate) const START: Self = Self { byte: 0, line: 1 };
}

/// A row.
#[derive(Debug)]
pub(crate) struct Row {
    /// The line on which it begins, from 1.
    pub(crate) line: u64,
    /// The members.
    pub(crate) members: Result<Map<String, Value>, Unreadable>,
}

/// A row that has no members.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// What is wrong; completes "the row ...".
    pub(crate) problem: String,
    /// The row as it stands in the file.
    pub(crate) text: String,
}

/// The rows of a file.
pub(crate) enum Rows {
    Jsonl(Lines),
    Csv(Box<Csv>),
}

impl Rows {
    /// Reads what `input` has from its beginning.
    pub(crate) fn new(format: Format, input: Box<dyn Read>) -> anyhow::Result<Self> {
        Ok(match format {
            Format::Jsonl => Self::Jsonl(Lines::new(input, Place::START)),
            Format::Csv => Self::Csv(Box::new(Csv::new(input)?)),
        })
    }

    /// Goes on at a place to which a file was read before; `input` has what stands behind it.
    pub(crate) fn go_on(self, place: Place, input: Box<dyn Read>) -> Self {
        match self {
            Self::Jsonl(_) => Self::Jsonl(Lines::new(input, place)),
            Self::Csv(csv) => Self::Csv(Box::new(csv.go_on(input, place))),
        }
    }

    /// The place behind the row that was read last.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Jsonl(lines) => lines.place,
            Self::Csv(csv) => csv.place,
        }
    }

    /// The next row, if there is one.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Row>> {
        match self {
            Self::Jsonl(lines) => lines.next().context("the file cannot be read"),
            Self::Csv(csv) => csv.next(),
        }
    }
}

/// JSON Lines.
pub(crate) struct Lines {
    input: BufReader<Box<dyn Read>>,
    place: Place,
}

impl Lines {
    fn new(input: Box<dyn Read>, place: Place) -> Self {
        Self { input: BufReader::with_capacity(64 * 1024, input), place }
    }

    fn next(&mut self) -> io::Result<Option<Row>> {
        loop {
            let line = self.place.line;
            let mut bytes = Vec::new();
            let mut length = (&mut self.input).take(LONGEST_ROW).read_until(b'\n', &mut bytes)? as u64;
            if length == 0 {
                return Ok(None);
            }
            let is_too_long = length == LONGEST_ROW && !bytes.ends_with(b"\n");
            if is_too_long {
                length += skip_line(&mut self.input)?;
            }
            self.place = Place { byte: self.place.byte + length, line: line + 1 };
            if line == 1
                && let Some(rest) = bytes.strip_prefix("\u{feff}".as_bytes())
            {
                bytes = rest.to_vec();
            }
            if is_too_long {
                bytes.truncate(SHOWN);
                let problem = format!("is longer than {LONGEST_ROW} bytes; shorten it");
                let text = String::from_utf8_lossy(&bytes).into_owned();
                return Ok(Some(Row { line, members: Err(Unreadable { problem, text }) }));
            }
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(Row { line, members: read_object(bytes.trim_ascii()) }));
            }
        }
    }
}

/// Reads to the end of a line and keeps nothing of it.
fn skip_line(input: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let part = input.fill_buf()?;
        let end = part.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(part.len(), |end| end + 1);
        let is_last = end.is_some() || part.is_empty();
        input.consume(length);
        skipped += length as u64;
        if is_last {
            return Ok(skipped);
        }
    }
}

fn read_object(bytes: &[u8]) -> Result<Map<String, Value>, Unreadable> {
    let unreadable = |problem: String| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        Unreadable { problem, text }
    };
    if std::str::from_utf8(bytes).is_err() {
        return Err(unreadable("is not UTF-8; save the file as UTF-8".to_owned()));
    }
    let Object(mut members) = serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let problem = text.split(" at line ").next().unwrap_or_default();
        unreadable(format!("is no JSON object on one line: {problem}, at byte {}", error.column()))
    })?;
    // A line of the file of rejected rows, mended: the row is what counts.
    if members.contains_key("row") && members.contains_key("reason") {
        return match members.remove("row") {
            Some(Value::Object(row)) => Ok(row),
            _ => Err(unreadable("has a 'row' that is no object; write the user's members there".to_owned())),
        };
    }
    Ok(members)
}

/// An object each of whose members is given once.
struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if members.contains_key(&name) {
                        return Err(de::Error::custom(format!("'{name}' is given twice")));
                    }
                    members.insert(name, value);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// CSV.
pub(crate) struct Csv {
    reader: csv::Reader<Watched>,
    watch: Rc<RefCell<Watch>>,
    columns: Vec<&'static str>,
    record: csv::ByteRecord,
    place: Place,
}

/// What is known of the bytes that the reader of CSV has taken, of which it is ahead of its rows.
struct Watch {
    /// Bytes that may still be read for the row: without an end to a quoted cell, a whole file would be one row.
    allowance: u64,
    /// Bytes that were read.
    read: u64,
    /// Where line feeds were, behind the last row. The reader's own count of lines is another one where lines are empty
    /// or end as on Windows.
    line_feeds: VecDeque<u64>,
}

struct Watched {
    input: Box<dyn Read>,
    watch: Rc<RefCell<Watch>>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut watch = self.watch.borrow_mut();
        if watch.allowance == 0 {
            return Err(io::Error::other(format!(
                "a row has more than {LONGEST_ROW} bytes; is there a quotation mark that nothing closes?"
            )));
        }
        let most = buffer.len().min(usize::try_from(watch.allowance).unwrap_or(usize::MAX));
        let length = self.input.read(&mut buffer[..most])?;
        watch.allowance -= length as u64;
        let begin = watch.read;
        let is_line_feed = |(at, byte): (u64, &u8)| (*byte == b'\n').then_some(begin + at);
        watch.line_feeds.extend((0..).zip(&buffer[..length]).filter_map(is_line_feed));
        watch.read += length as u64;
        Ok(length)
    }
}

fn csv_reader(input: Box<dyn Read>, begin: u64) -> (csv::Reader<Watched>, Rc<RefCell<Watch>>) {
    let watch = Watch { allowance: LONGEST_ROW, read: begin, line_feeds: VecDeque::new() };
    let watch = Rc::new(RefCell::new(watch));
    let input = Watched { input, watch: watch.clone() };
    let reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(64 * 1024)
        .from_reader(input);
    (reader, watch)
}

impl Csv {
    fn new(input: Box<dyn Read>) -> anyhow::Result<Self> {
        let (reader, watch) = csv_reader(input, 0);
        let record = csv::ByteRecord::new();
        let mut csv = Self { reader, watch, columns: Vec::new(), record, place: Place::START };
        csv.read()?;
        let mut columns = Vec::new();
        for (place, cell) in csv.record.iter().enumerate() {
            let bom = "\u{feff}".as_bytes();
            let cell = if place == 0 { cell.strip_prefix(bom).unwrap_or(cell) } else { cell };
            let name = String::from_utf8_lossy(cell);
            let name = name.trim();
            let Some(known) = COLUMNS.into_iter().find(|known| *known == name) else {
                bail!(WrongUse(format!(
                    "the first line has the column '{}', which is unknown; known are {}, with commas between them",
                    name.escape_debug(),
                    COLUMNS.join(", ")
                )));
            };
            if columns.contains(&known) {
                bail!(WrongUse(format!(
                    "the first line has the column '{known}' twice; take one of them away"
                )));
            }
            columns.push(known);
        }
        if !columns.contains(&"username") {
            bail!(WrongUse(format!(
                "the first line has no column 'username'; it must name the columns, of which there are {}",
                COLUMNS.join(", ")
            )));
        }
        Ok(Self { columns, ..csv })
    }

    fn go_on(self, input: Box<dyn Read>, place: Place) -> Self {
        let (reader, watch) = csv_reader(input, place.byte);
        Self { reader, watch, place, ..self }
    }

    /// Reads the next record; the line on which it begins, if there is one.
    fn read(&mut self) -> anyhow::Result<Option<u64>> {
        let before = (self.reader.position().byte(), self.place);
        self.watch.borrow_mut().allowance = LONGEST_ROW;
        let read = self.reader.read_byte_record(&mut self.record);
        let is_there =
            read.with_context(|| format!("the row behind line {} cannot be read", before.1.line))?;
        let byte = before.1.byte + self.reader.position().byte() - before.0;
        let (mut line, mut last) = (before.1.line, None);
        let mut watch = self.watch.borrow_mut();
        while let Some(at) = watch.line_feeds.front().copied().filter(|at| *at < byte) {
            watch.line_feeds.pop_front();
            line += 1;
            last = Some(at + 1);
        }
        self.place = Place { byte, line };
        // Behind the record may be the line feed that ends it.
        let ended = u64::from(last == Some(byte));
        let within = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
        Ok(is_there.then(|| line.saturating_sub(ended + within).max(1)))
    }

    fn next(&mut self) -> anyhow::Result<Option<Row>> {
        let line = self.read()?;
        Ok(line.map(|line| Row { line, members: self.members(&self.record) }))
    }

    fn members(&self, record: &csv::ByteRecord) -> Result<Map<String, Value>, Unreadable> {
        let unreadable = |problem: String| {
            let cells: Vec<_> = record.iter().map(String::from_utf8_lossy).collect();
            Unreadable { problem, text: cells.join(",") }
        };
        if record.len() != self.columns.len() {
            let (has, columns) = (record.len(), self.columns.len());
            return Err(unreadable(format!("has {has} cells where the first line has {columns} columns")));
        }
        let mut members = Map::new();
        for (name, cell) in self.columns.iter().zip(record) {
            let Ok(cell) = std::str::from_utf8(cell) else {
                return Err(unreadable(format!("has a '{name}' that is not UTF-8; save the file as UTF-8")));
            };
            if !cell.is_empty() {
                members.insert((*name).to_owned(), value(name, cell));
            }
        }
        Ok(members)
    }
}

/// What a cell says. What is not understood stays a text, which the server refuses and says why.
fn value(name: &str, cell: &str) -> Value {
    match name {
        "units" => split_units(cell).into(),
        "default_unit" if cell.trim() == NONE => Value::Null,
        "default_unit" => unescape(cell).map(|(c, _)| c).collect::<String>().trim().into(),
        "must_change_password" if cell.eq_ignore_ascii_case("true") => true.into(),
        "must_change_password" if cell.eq_ignore_ascii_case("false") => false.into(),
        _ => cell.into(),
    }
}
