//! Copying a database as it is at one moment, page by page, while others may go on writing to it, and checking the copy.
//!
//! SQLite's backup begins anew whenever somebody else writes, unless the connection that it reads from is in a
//! transaction: then it stays with that transaction's snapshot. So a copy always comes to its end, and is what was
//! committed at one moment. Meanwhile the WAL grows by what others write, for a snapshot keeps it from being reused.

use std::path::Path;

use doorward_domain::clock::Timestamp;
use rusqlite::{
    Connection, OptionalExtension, Transaction,
    backup::{Backup, StepResult},
};

use super::{
    error::{is_full, one_line},
    schema,
};

/// How many pages are copied between two reports: one megabyte.
const PAGES: i32 = 256;

/// How far the copying is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is being copied.
    Copying {
        /// Bytes that are copied.
        done: u64,
        /// Bytes that there are.
        total: u64,
    },
    /// The copy is complete and is being checked.
    Checking,
}

/// What is in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The latest time in its journal: of about then it is the state.
    pub latest: Option<Timestamp>,
    /// How many organisations.
    pub organisations: u64,
    /// How many users.
    pub users: u64,
    /// How many sessions, those included that have ended and are not deleted yet.
    pub sessions: u64,
}

/// Why there is no copy. The texts are clauses for longer ones and name no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error("there is no space for the copy")]
    Full,
    #[error("the copy contradicts itself: {0}")]
    Damaged(String),
    #[error("{0}")]
    Failed(String),
}

impl From<rusqlite::Error> for CopyError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match error.sqlite_error_code() {
            _ if is_full(&error) => Self::Full,
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged(one_line(error)),
            _ => Self::Failed(one_line(error)),
        }
    }
}

/// Copies what a transaction sees into an empty file, and makes sure that the copy is whole and one file.
pub(super) fn copy(
    snapshot: &Transaction<'_>,
    to: &Path,
    tell: &mut dyn FnMut(Step),
) -> Result<Contents, CopyError> {
    // A transaction has its snapshot once it has read something.
    let page_bytes: u64 = snapshot.pragma_query_value(None, "page_size", |row| row.get(0))?;
    snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let mut copy = schema::connect_alone(to)?;
    {
        let backup = Backup::new(snapshot, &mut copy)?;
        loop {
            let step = backup.step(PAGES)?;
            let progress = backup.progress();
            let [remaining, total] = [progress.remaining, progress.pagecount]
                .map(|pages| u64::from(pages.unsigned_abs()) * page_bytes);
            tell(Step::Copying { done: total.saturating_sub(remaining), total });
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => return Err(CopyError::Failed("another program holds a lock".to_owned())),
            }
        }
    }
    close(copy)?;
    tell(Step::Checking);
    check(to)
}

/// Makes sure that the copy is whole, and one file: it has come out of WAL mode.
fn check(copy: &Path) -> Result<Contents, CopyError> {
    let connection = schema::connect_alone(copy)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get(0))?;
    if mode != "delete" {
        return Err(CopyError::Failed(format!("the copy stays in SQLite's mode '{mode}'")));
    }
    let damage: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if damage != "ok" {
        return Err(CopyError::Damaged(one_line(damage)));
    }
    let orphan = "SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1";
    if let Some(table) = connection.query_row(orphan, [], |row| row.get::<_, String>(0)).optional()? {
        return Err(CopyError::Damaged(format!("a row of '{table}' refers to one that is not there")));
    }
    schema::identify(copy, &connection).map_err(|error| CopyError::Damaged(error.to_string()))?;
    let contents = contents(&connection)?;
    close(connection)?;
    Ok(contents)
}

fn contents(connection: &Connection) -> rusqlite::Result<Contents> {
    let sql = "
        SELECT latest, (SELECT count(*) FROM organisation), (SELECT count(*) FROM user),
               (SELECT count(*) FROM session)
        FROM journal_state";
    connection.query_row(sql, [], |row| {
        Ok(Contents {
            latest: row.get::<_, Option<_>>(0)?.map(Timestamp::from_millis),
            organisations: row.get(1)?,
            users: row.get(2)?,
            sessions: row.get(3)?,
        })
    })
}

fn close(connection: Connection) -> rusqlite::Result<()> {
    connection.close().map_err(|(_, error)| error)
}
