//! Moving a whole installation from SQLite to PostgreSQL, and the proof that all of it has arrived.
//!
//! Every row of every table goes over in one transaction, which is committed only when what was written has been read
//! back and is the same. So whatever happens on the way, the database has all of it or nothing. A row is kept nowhere
//! but on its way, however many there are.

mod row;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use self::row::{Digester, Problem, Row};
use crate::{
    Kind, OpenError, PostgresError, PostgresOptions, SqliteStore, postgres::Arrival, sqlite::Departure,
};

/// Why nothing was moved. The folder is as it was, and the database has no data, unless the text says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// What is to be moved cannot be read.
    #[error(transparent)]
    From(#[from] OpenError),
    /// Where it is to be moved cannot be used, or not for this.
    #[error(transparent)]
    To(#[from] PostgresError),
    /// Writing was cut off.
    #[error("nothing was moved, for {reason}; when that is mended, move again")]
    CutOff {
        /// What is wrong with which database.
        reason: PostgresError,
    },
    /// A text that must stay as it is and that PostgreSQL cannot keep.
    #[error(
        "nothing was moved: in the table '{table}', {row}, '{column}' has the character zero, which PostgreSQL does not \
         keep; report this"
    )]
    CharacterZero {
        /// The table.
        table: &'static str,
        /// Which row.
        row: String,
        /// The column.
        column: &'static str,
    },
    /// What was read back is not what was written.
    #[error(
        "nothing was moved: {database} keeps {written} of the table '{table}' otherwise than they were sent, as {found}; \
         look for triggers and rules there, and report this if there are none"
    )]
    Differs {
        /// The database and its hosts.
        database: String,
        /// The table.
        table: &'static str,
        /// What was sent.
        written: Fingerprint,
        /// What was read back.
        found: Fingerprint,
    },
    /// The connection was lost at the last moment.
    #[error(
        "{database} did not say whether it has stored what it was sent ({reason}); move again: if it has, that is refused, \
         and all is there"
    )]
    Unknown {
        /// The database and its hosts.
        database: String,
        /// What happened.
        reason: String,
    },
}

/// A table's contents in brief: the same on both sides if the contents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many rows.
    pub rows: u64,
    /// The SHA-256 of the rows in the order of their primary key, each as PostgreSQL's binary COPY has it.
    pub digest: [u8; 32],
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = if self.rows == 1 { "row" } else { "rows" };
        write!(f, "{} {rows} ({})", self.rows, self.hex())
    }
}

impl Fingerprint {
    /// The digest in hexadecimal.
    pub fn hex(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02X}")).collect()
    }
}

/// How far the moving is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moving {
    /// The table that is at work.
    pub table: &'static str,
    /// Whether it is being read back and compared, after all were written.
    pub is_checked: bool,
    /// How many rows were written or read back.
    pub done: u64,
    /// How many are to be: each row twice.
    pub total: u64,
}

/// What was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The database and its hosts.
    pub database: String,
    /// What the data is for.
    pub kind: Kind,
    /// The tables with what they have on both sides.
    pub tables: Vec<(&'static str, Fingerprint)>,
}

/// What stands beside the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) kind: Kind,
    /// The latest time in the journal, in milliseconds.
    pub(crate) latest: Option<i64>,
    /// The highest number that a session or an ending has taken.
    pub(crate) last_number: i64,
}

/// Moves all that a store has to a database that has no data of Doorward's, compares it there, and only then has it
/// stored. The store is only read. Tells `tell` how far it is. Must be called on a runtime of several threads, for
/// reading SQLite holds up its own.
pub async fn move_to_postgres(
    store: &SqliteStore,
    options: &PostgresOptions,
    tell: &mut dyn FnMut(Moving),
) -> Result<Moved, MoveError> {
    let from = Departure::begin(store)?;
    let to = Arrival::begin(options).await?;
    let mut counts = Vec::new();
    for table in TABLES {
        counts.push(from.count(table)?);
    }
    let total = counts.iter().sum::<u64>() * 2;
    let mut done = 0;
    let mut step = |table: &Table, is_checked, rows| {
        done += rows;
        tell(Moving { table: table.name, is_checked, done, total });
    };

    let mut tables = Vec::new();
    for table in TABLES {
        step(table, false, 0);
        let written = to.write(table, &from, &mut |rows| step(table, false, rows)).await?;
        tables.push((table.name, written));
    }
    let state = from.state()?;
    to.finish(&state).await?;
    for (table, (_, written)) in TABLES.iter().zip(&tables) {
        step(table, true, 0);
        let found = to.read_back(table, &mut |rows| step(table, true, rows)).await?;
        if found != *written {
            let (database, written) = (to.database(), *written);
            return Err(MoveError::Differs { database, table: table.name, written, found });
        }
    }
    let database = to.database();
    to.commit().await?;
    Ok(Moved { database, kind: state.kind, tables })
}

/// A table that is moved. What it has in PostgreSQL and what it has in SQLite have the same names, save that last uses share
/// rows in SQLite.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [Column],
    /// The columns of the primary key, by which rows are ordered.
    pub(crate) key: &'static [&'static str],
}

/// A column that is moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: ColumnKind,
    /// What SQLite works it out from, if it has none of this name.
    pub(crate) made_of: Option<&'static str>,
}

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    /// Bytes, or a text that is kept in bytes.
    Bytes,
    /// A text. The character zero becomes U+FFFD, as in what is written to PostgreSQL anyway.
    Text,
    /// A text that goes into a digest or orders rows, so that it must stay as it is.
    Exact,
    Number,
    Flag,
}

impl Table {
    /// The columns for a statement, in quotes: some have the names of SQL's own words.
    pub(crate) fn list(&self) -> String {
        self.columns.iter().map(|column| format!("\"{}\"", column.name)).collect::<Vec<_>>().join(", ")
    }

    /// The order of the primary key for a statement.
    pub(crate) fn order(&self) -> String {
        let columns = self.key.iter().map(|column| format!("\"{}\".\"{column}\"", self.name));
        columns.collect::<Vec<_>>().join(", ")
    }
}

const fn column(name: &'static str, kind: ColumnKind) -> Column {
    Column { name, kind, made_of: None }
}

const fn bytes(name: &'static str) -> Column {
    column(name, ColumnKind::Bytes)
}

const fn text(name: &'static str) -> Column {
    column(name, ColumnKind::Text)
}

const fn exact(name: &'static str) -> Column {
    column(name, ColumnKind::Exact)
}

const fn number(name: &'static str) -> Column {
    column(name, ColumnKind::Number)
}

const fn flag(name: &'static str) -> Column {
    column(name, ColumnKind::Flag)
}

/// All that is moved, what others refer to first.
pub(crate) const TABLES: &[Table] = &[
    Table {
        name: "organisation",
        columns: &[
            bytes("id"),
            text("code"),
            text("canonical"),
            text("name"),
            flag("is_operator"),
            text("status"),
            number("ended"),
            number("revision"),
            number("created_at"),
            number("updated_at"),
        ],
        key: &["id"],
    },
    Table {
        name: "unit",
        columns: &[
            bytes("id"),
            bytes("organisation"),
            text("name"),
            text("canonical"),
            text("status"),
            number("ended"),
            number("revision"),
            number("created_at"),
            number("updated_at"),
        ],
        key: &["id"],
    },
    Table {
        name: "user",
        columns: &[
            bytes("id"),
            bytes("organisation"),
            text("username"),
            text("canonical"),
            text("person_name"),
            text("email"),
            text("email_canonical"),
            text("role"),
            text("status"),
            text("password_hash"),
            flag("must_change_password"),
            number("password_set_at"),
            number("last_login_at"),
            number("ended"),
            number("revision"),
            number("created_at"),
            number("updated_at"),
        ],
        key: &["id"],
    },
    Table {
        name: "membership",
        columns: &[bytes("user"), bytes("unit"), bytes("organisation"), flag("is_default")],
        key: &["user", "unit"],
    },
    Table {
        name: "web_api_key",
        columns: &[
            bytes("id"),
            bytes("organisation"),
            bytes("user"),
            text("name"),
            text("classification"),
            text("status"),
            flag("verifier"),
            text("allowed_addresses"),
            number("expires_at"),
            number("ended"),
            number("revision"),
            number("created_at"),
            number("updated_at"),
        ],
        key: &["id"],
    },
    Table {
        name: "key_secret",
        columns: &[
            bytes("digest"),
            bytes("key"),
            text("hint"),
            number("created_at"),
            number("ends_at"),
            number("last_used_at"),
            text("last_used_from"),
        ],
        key: &["digest"],
    },
    Table {
        name: "known_address",
        columns: &[bytes("user"), exact("network"), number("succeeded_at")],
        key: &["user", "network"],
    },
    Table {
        name: "organisation_rule",
        columns: &[bytes("organisation"), exact("rule"), text("value")],
        key: &["organisation", "rule"],
    },
    Table {
        name: "once",
        columns: &[bytes("caller"), bytes("key"), bytes("request"), bytes("made"), number("at")],
        key: &["caller", "key"],
    },
    Table {
        name: "session",
        columns: &[
            number("number"),
            bytes("digest"),
            bytes("user"),
            bytes("unit"),
            bytes("key"),
            number("issued_at"),
            number("idle_ms"),
            number("ends_at"),
            text("address"),
        ],
        key: &["number"],
    },
    Table { name: "session_use", columns: &[number("number"), number("last_used_at")], key: &["number"] },
    Table {
        name: "ending",
        columns: &[number("number"), bytes("scope"), number("at"), text("cause"), bytes("actor")],
        key: &["number"],
    },
    Table {
        name: "ended_session",
        columns: &[
            number("place"),
            bytes("session"),
            number("number"),
            bytes("organisation"),
            bytes("unit"),
            bytes("user"),
            bytes("key"),
            number("issued_at"),
            number("last_used_at"),
            number("idle_ms"),
            number("ends_at"),
            number("at"),
            number("released_at"),
            bytes("released_by"),
        ],
        key: &["place"],
    },
    Table {
        name: "audit_chain",
        columns: &[
            bytes("organisation"),
            number("number"),
            bytes("digest"),
            // The time of the last record. If none is kept, all that could follow is later.
            Column {
                name: "at",
                kind: ColumnKind::Number,
                made_of: Some(
                    "coalesce((SELECT audit.at FROM audit WHERE audit.organisation = audit_chain.organisation
                               AND audit.number = audit_chain.number), 0)",
                ),
            },
            number("removed"),
            bytes("removed_digest"),
        ],
        key: &["organisation"],
    },
    Table {
        name: "audit",
        columns: &[
            number("place"),
            bytes("organisation"),
            number("number"),
            bytes("previous"),
            number("at"),
            exact("event"),
            exact("reason"),
            exact("address"),
            exact("request_id"),
            bytes("unit"),
            bytes("user"),
            bytes("key"),
            bytes("claimed"),
            bytes("actor"),
            bytes("session"),
            exact("members"),
        ],
        key: &["place"],
    },
];
