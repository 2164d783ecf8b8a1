//! The last uses of sessions, 128 to a row.
//!
//! Most uses come in the order of the sessions' numbers, and then a row, a block, is read and written once for many of
//! them. Issuing writes none: a session of which a block says nothing was last used when it was issued. A block goes with
//! the last of its sessions. Until then what it says of those that are gone harms nobody, for no number is given twice.

use std::collections::BTreeSet;

use doorward_domain::{clock::Timestamp, session::SessionNumber};
use rusqlite::{
    Connection, Error, OptionalExtension, Result, Rows, Statement, ffi,
    functions::FunctionFlags,
    params,
    types::{FromSql, FromSqlResult, ValueRef},
};

/// How many sessions share a block.
const SESSIONS: u64 = 128;
/// What their times take, eight bytes each.
const BYTES: usize = 1024;

/// The last use of each session in the order of their numbers, as `doorward_last_use` knows it.
pub(super) const SELECT_EACH: &str = "
    SELECT number, doorward_last_use(number, issued_at, session_use_block.last_used_at) AS last_used_at
    FROM session LEFT JOIN session_use_block ON block = number / 128";

fn block_of(number: SessionNumber) -> u64 {
    number.0 / SESSIONS
}

/// What stands in a row.
struct Times([u8; BYTES]);

impl Times {
    /// No use of any session.
    const NONE: Self = Self([0; BYTES]);

    fn place(number: SessionNumber) -> usize {
        (number.0 % SESSIONS) as usize
    }

    fn find(&self, number: SessionNumber) -> Option<Timestamp> {
        let (times, _) = self.0.as_chunks();
        let time = i64::from_be_bytes(times[Self::place(number)]);
        (time != 0).then_some(Timestamp::from_millis(time))
    }

    /// Notes a use, and says whether it is later than what was known.
    fn note(&mut self, number: SessionNumber, at: Timestamp) -> bool {
        let is_later = self.find(number).is_none_or(|known| known < at);
        if is_later {
            let (times, _) = self.0.as_chunks_mut();
            times[Self::place(number)] = at.as_millis().to_be_bytes();
        }
        is_later
    }
}

impl FromSql for Times {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        FromSql::column_result(value).map(Self)
    }
}

/// Adds the function `doorward_last_use` to a connection: of a session's number, its time of issue, and what stands in its
/// block, if that is there.
pub(super) fn register(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("doorward_last_use", 3, flags, |context| {
        let last_use = || {
            let (number, issued_at) = (SessionNumber(context.get(0)?), context.get(1)?);
            let used_at = context.get::<Option<Times>>(2)?.and_then(|times| times.find(number));
            Ok::<i64, Error>(used_at.map_or(issued_at, |used_at| used_at.as_millis().max(issued_at)))
        };
        // What is stored is not what was written. With a text of our own SQLite would not take it for damage.
        last_use().map_err(|_| Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), None))
    })
}

/// Notes later uses. A block in which there is no session any more stays away.
pub(super) fn note(
    connection: &Connection,
    uses: impl IntoIterator<Item = (SessionNumber, Timestamp)>,
) -> Result<()> {
    let sql = "SELECT last_used_at FROM session_use_block WHERE block = ?1";
    let mut read = connection.prepare_cached(sql)?;
    let sql = "INSERT OR REPLACE INTO session_use_block (block, last_used_at) VALUES (?1, ?2)";
    let mut write = connection.prepare_cached(sql)?;
    let mut uses = uses.into_iter().peekable();
    while let Some((number, _)) = uses.peek() {
        let block = block_of(*number);
        let known = read.query_row([block], |row| row.get(0)).optional()?;
        let has_sessions = known.is_some() || has_sessions(connection, block)?;
        let (mut times, mut is_later) = (known.unwrap_or(Times::NONE), false);
        while let Some((number, at)) = uses.next_if(|(number, _)| block_of(*number) == block) {
            is_later |= times.note(number, at);
        }
        if is_later && has_sessions {
            write.execute(params![block, times.0])?;
        }
    }
    Ok(())
}

fn has_sessions(connection: &Connection, block: u64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM session WHERE number BETWEEN ?1 * 128 AND ?1 * 128 + 127)";
    connection.prepare_cached(sql)?.query_row([block], |row| row.get(0))
}

/// The blocks that deleted sessions were in.
#[derive(Debug, Default)]
pub(super) struct Vacated(BTreeSet<u64>);

impl Vacated {
    /// Notes that a session was deleted.
    pub(super) fn add(&mut self, number: SessionNumber) {
        self.0.insert(block_of(number));
    }

    /// Deletes those blocks in which there is no session any more.
    pub(super) fn delete_empty(self, connection: &Connection) -> Result<()> {
        let mut delete = connection.prepare_cached("DELETE FROM session_use_block WHERE block = ?1")?;
        for block in self.0 {
            if !has_sessions(connection, block)? {
                delete.execute([block])?;
            }
        }
        Ok(())
    }
}

/// Makes ready to read uses in the order of the sessions' numbers.
pub(super) fn prepare(connection: &Connection) -> Result<Statement<'_>> {
    connection.prepare("SELECT block, last_used_at FROM session_use_block WHERE block >= ?1 ORDER BY block")
}

/// Uses in the order of the sessions' numbers. Each block is read once.
pub(super) struct Uses<'a> {
    rows: Rows<'a>,
    /// The block that was read last.
    last: Option<(u64, Times)>,
}

impl<'a> Uses<'a> {
    /// Begins with this session, of a statement as [`prepare`] makes it.
    pub(super) fn begin(statement: &'a mut Statement<'_>, first: SessionNumber) -> Result<Self> {
        Ok(Self { rows: statement.query([block_of(first)])?, last: None })
    }

    /// The last use of a session since it was issued, if there was one. Sessions must be asked for in their order.
    pub(super) fn find(&mut self, number: SessionNumber) -> Result<Option<Timestamp>> {
        let wanted = block_of(number);
        while self.last.as_ref().is_none_or(|(block, _)| *block < wanted) {
            self.last = Some(match self.rows.next()? {
                Some(row) => (row.get(0)?, row.get(1)?),
                None => (u64::MAX, Times::NONE),
            });
        }
        Ok(self.last.as_ref().filter(|(block, _)| *block == wanted).and_then(|(_, times)| times.find(number)))
    }
}
