//! The last uses of sessions: a log of them, and blocks of 128 sessions, one to a row.
//!
//! Uses come in bursts and from sessions anywhere, so the ledger only appends them to a log, a thousand to a row. When there
//! are many they are put into the blocks, in the order of the sessions' numbers, so that a block is read and written once for
//! many of them: a part with each commit of uses, which therefore never takes long. What was last known of a session is
//! the latest of its issue, its block and the log; whoever reads them in SQL alone calls [`fold_all`] before.
//!
//! Issuing writes none: a session of which nothing is said was last used when it was issued. A block goes with the last of
//! its sessions. Until then what it says of those that are gone harms nobody, for no number is given twice.

use std::collections::BTreeSet;

use doorward_domain::{clock::Timestamp, session::SessionNumber, session_table::Use};
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

/// How many uses the log may have, or rows, before they are put into the blocks.
const LOGGED: u64 = if cfg!(test) { 100 } else { 1_000_000 };
const ROWS: u64 = if cfg!(test) { 20 } else { 10_000 };
/// How much of that is done with one commit: rows that are read, uses that are put into blocks, rows that are deleted.
const READ: usize = if cfg!(test) { 8 } else { 64 };
const FOLDED: usize = if cfg!(test) { 50 } else { 4_000 };
const DELETED: usize = if cfg!(test) { 4 } else { 64 };

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

/// A use in the log.
pub(super) type Logged = (SessionNumber, Timestamp);

/// What stands in a row of the log: a number and a time for each use, of eight bytes, the highest first.
struct Row(Vec<u8>);

impl Row {
    fn of(uses: &[Use]) -> Self {
        let bytes = |used: &Use| {
            let (number, at) = (used.number.0.to_be_bytes(), used.last_used_at.as_millis().to_be_bytes());
            number.into_iter().chain(at)
        };
        Self(uses.iter().flat_map(bytes).collect())
    }

    fn uses(&self) -> impl Iterator<Item = Logged> {
        let (words, _) = self.0.as_chunks();
        let (uses, _) = words.as_chunks();
        uses.iter().map(|[number, at]| {
            (SessionNumber(u64::from_be_bytes(*number)), Timestamp::from_millis(i64::from_be_bytes(*at)))
        })
    }
}

/// Reads the log, in the order of the sessions' numbers.
pub(super) fn read_log(connection: &Connection) -> Result<Vec<Logged>> {
    let mut logged = Vec::new();
    read_rows(connection, i64::MIN, i64::MAX, usize::MAX, &mut logged)?;
    logged.sort_unstable();
    Ok(logged)
}

/// Reads rows of the log after one and up to another; says which was the last, if there was any.
fn read_rows(
    connection: &Connection,
    after: i64,
    through: i64,
    limit: usize,
    logged: &mut Vec<Logged>,
) -> Result<Option<i64>> {
    let sql = "SELECT id, uses FROM session_use_log WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![after, through, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        last = Some(row.get(0)?);
        logged.extend(Row(row.get(1)?).uses());
    }
    Ok(last)
}

/// Puts all of the log into the blocks.
pub(super) fn fold_all(connection: &Connection) -> Result<()> {
    note(connection, read_log(connection)?)?;
    connection.execute("DELETE FROM session_use_log", []).map(drop)
}

/// How much stands in the log, and how far it is put into the blocks.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Rows, and uses in them, behind those that are being put into the blocks.
    rows: u64,
    uses: u64,
    fold: Option<Fold>,
}

/// The rows up to this one are being put into the blocks.
#[derive(Debug)]
struct Fold {
    through: i64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// They are read into memory, up to a row.
    Reading(i64, Vec<Logged>),
    /// So many of these are in the blocks.
    Writing(usize, Vec<Logged>),
    /// They are deleted.
    Deleting,
}

/// What a batch has done with the log, if it is committed.
#[derive(Debug, Default)]
pub(super) struct Written {
    rows: u64,
    uses: u64,
    step: Option<Step>,
}

#[derive(Debug)]
enum Step {
    Begun(i64),
    /// These have been read, up to a row.
    Read(i64, Vec<Logged>),
    AllRead,
    /// So many have been put into blocks.
    Wrote(usize),
    AllDeleted,
}

impl Written {
    /// Appends uses to the log.
    pub(super) fn log(&mut self, connection: &Connection, uses: &[Use]) -> Result<()> {
        if uses.is_empty() {
            return Ok(());
        }
        let sql = "INSERT INTO session_use_log (uses) VALUES (?1)";
        connection.prepare_cached(sql)?.execute([Row::of(uses).0])?;
        self.rows += 1;
        self.uses += uses.len() as u64;
        Ok(())
    }
}

impl Log {
    /// How much stands in the log of a database.
    pub(super) fn read(connection: &Connection) -> Result<Self> {
        let sql = "SELECT count(*), coalesce(sum(length(uses)), 0) / 16 FROM session_use_log";
        let (rows, uses) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self { rows, uses, fold: None })
    }

    /// Goes on with putting the log into the blocks, if the batch logs uses and it is time.
    pub(super) fn fold_some(&self, connection: &Connection, written: &mut Written) -> Result<()> {
        if written.rows == 0 {
            return Ok(());
        }
        let Some(Fold { through, stage }) = &self.fold else {
            if self.rows + written.rows > ROWS || self.uses + written.uses > LOGGED {
                let last = "SELECT max(id) FROM session_use_log";
                written.step = Some(Step::Begun(connection.query_row(last, [], |row| row.get(0))?));
            }
            return Ok(());
        };
        written.step = match stage {
            Stage::Reading(after, _) => {
                let mut logged = Vec::new();
                let last = read_rows(connection, *after, *through, READ, &mut logged)?;
                Some(last.map_or(Step::AllRead, |last| Step::Read(last, logged)))
            }
            Stage::Writing(done, logged) => {
                let some = &logged[*done..logged.len().min(done + FOLDED)];
                note(connection, some.iter().copied())?;
                Some(Step::Wrote(some.len()))
            }
            Stage::Deleting => {
                let sql = "
                    DELETE FROM session_use_log
                    WHERE id IN (SELECT id FROM session_use_log WHERE id <= ?1 ORDER BY id LIMIT ?2)";
                let deleted = connection.prepare_cached(sql)?.execute(params![through, DELETED])?;
                (deleted < DELETED).then_some(Step::AllDeleted)
            }
        };
        Ok(())
    }

    /// Notes what has been committed.
    pub(super) fn advance(&mut self, written: Written) {
        self.rows += written.rows;
        self.uses += written.uses;
        match (written.step, &mut self.fold) {
            (Some(Step::Begun(through)), _) => {
                let stage = Stage::Reading(i64::MIN, Vec::new());
                *self = Self { rows: 0, uses: 0, fold: Some(Fold { through, stage }) };
            }
            (Some(Step::AllDeleted), _) => self.fold = None,
            (Some(step), Some(Fold { stage, .. })) => stage.advance(step),
            _ => {}
        }
    }
}

impl Stage {
    fn advance(&mut self, step: Step) {
        match (step, &mut *self) {
            (Step::Read(last, mut some), Self::Reading(after, logged)) => {
                *after = last;
                logged.append(&mut some);
            }
            (Step::AllRead, Self::Reading(_, logged)) => {
                let mut logged = std::mem::take(logged);
                // They are sorted already, a flush for itself.
                logged.sort();
                *self = Self::Writing(0, logged);
            }
            (Step::Wrote(some), Self::Writing(done, logged)) => {
                *done += some;
                if *done == logged.len() {
                    *self = Self::Deleting;
                }
            }
            _ => {}
        }
    }
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
    /// What stands in the log of this session and those behind it.
    logged: &'a [Logged],
}

impl<'a> Uses<'a> {
    /// Begins with this session, of a statement as [`prepare`] makes it and the log as [`read_log`] read it.
    pub(super) fn begin(
        statement: &'a mut Statement<'_>,
        logged: &'a [Logged],
        first: SessionNumber,
    ) -> Result<Self> {
        let logged = &logged[logged.partition_point(|(number, _)| *number < first)..];
        Ok(Self { rows: statement.query([block_of(first)])?, last: None, logged })
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
        let block = self.last.as_ref().filter(|(block, _)| *block == wanted);
        let mut latest = block.and_then(|(_, times)| times.find(number));
        while let Some(((logged, at), behind)) = self.logged.split_first()
            && *logged <= number
        {
            if *logged == number {
                latest = latest.max(Some(*at));
            }
            self.logged = behind;
        }
        Ok(latest)
    }
}
