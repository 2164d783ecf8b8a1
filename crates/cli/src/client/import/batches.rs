//! The rows of a file in batches, each as large as the server takes it and the same whenever the file is read again.

use serde_json::Value;

use super::units::Units;
use crate::users_file::{Place, Row, Rows};

/// The most rows of a batch.
const MOST_ROWS: usize = 1_000;
/// The bytes at which a batch is closed; the server takes two mebibytes.
const ENOUGH_BYTES: usize = 768 * 1024;
/// How many hashes a password costs in a batch: the server has to compute one, which takes it milliseconds.
const PASSWORD_WEIGHT: usize = 10;

/// A row that is sent.
pub(super) struct Sent {
    pub(super) line: u64,
    /// As it was given.
    pub(super) row: Value,
}

/// A row that is not sent, for it is known what the server would say.
pub(super) struct Unsent {
    pub(super) line: u64,
    pub(super) code: &'static str,
    pub(super) member: Option<&'static str>,
    pub(super) reason: String,
    /// As it was given.
    pub(super) row: Value,
}

/// Rows that share a request.
pub(super) struct Batch {
    /// Names it to the server.
    pub(super) key: String,
    /// The body of the request, if anything is to be sent.
    pub(super) body: Option<String>,
    pub(super) sent: Vec<Sent>,
    pub(super) unsent: Vec<Unsent>,
    /// The place behind its last row.
    pub(super) end: Place,
}

/// The batches of a file.
pub(super) struct Batches {
    rows: Rows,
    units: Units,
    import: String,
    /// Why the file cannot be read on, until that is told.
    failure: Option<anyhow::Error>,
}

impl Batches {
    /// `import` names the import to the server.
    pub(super) fn new(rows: Rows, units: Units, import: String) -> Self {
        Self { rows, units, import, failure: None }
    }

    /// The next row; none at the end and where the file cannot be read on.
    fn row(&mut self) -> Option<Row> {
        if self.failure.is_some() {
            return None;
        }
        self.rows.next().unwrap_or_else(|error| {
            self.failure = Some(error);
            None
        })
    }

    /// The next batch, if there is a row left. Fails where the file cannot be read on, behind what could be read.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Batch>> {
        let key = format!("{}-{}", self.import, self.rows.place().byte);
        let (mut sent, mut unsent) = (Vec::new(), Vec::new());
        let mut body = r#"{"users":["#.to_owned();
        let mut weight = 0;
        while weight < MOST_ROWS
            && body.len() < ENOUGH_BYTES
            && let Some(row) = self.row()
        {
            let line = row.line;
            weight += 1;
            let members = match row.members {
                Ok(members) => members,
                Err(unreadable) => {
                    let reason = format!("The row {}.", unreadable.problem);
                    let (code, row) = ("MALFORMED_REQUEST", unreadable.text.into());
                    unsent.push(Unsent { line, code, member: None, reason, row });
                    continue;
                }
            };
            let mut resolved = members.clone();
            let row = Value::Object(members);
            if let Err(unknown) = self.units.resolve(&mut resolved) {
                let (code, member) = ("INVALID_PARAMETER", Some(unknown.member));
                unsent.push(Unsent { line, code, member, reason: unknown.reason, row });
                continue;
            }
            if resolved.contains_key("password") {
                weight += PASSWORD_WEIGHT - 1;
            }
            let text = serde_json::to_string(&resolved)?;
            if text.len() > ENOUGH_BYTES {
                let (code, reason) =
                    ("PAYLOAD_TOO_LARGE", format!("The row has {} bytes; shorten it.", text.len()));
                unsent.push(Unsent { line, code, member: None, reason, row });
                continue;
            }
            if !sent.is_empty() {
                body.push(',');
            }
            body.push_str(&text);
            sent.push(Sent { line, row });
        }
        if weight == 0 {
            return self.failure.take().map_or(Ok(None), Err);
        }
        body.push_str("]}");
        let body = (!sent.is_empty()).then_some(body);
        Ok(Some(Batch { key, body, sent, unsent, end: self.rows.place() }))
    }
}
