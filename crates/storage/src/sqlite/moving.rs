//! A store as it is moved away: all of its tables, as they are at one moment.

use rusqlite::{Rows, Statement, Transaction, types::ValueRef};

use super::{OpenError, SqliteStore, uses, words};
use crate::moving::{MoveError, Problem, Row, State, Table};

/// What is read, in one snapshot.
#[derive(Debug)]
pub(crate) struct Departure<'a> {
    store: &'a SqliteStore,
    snapshot: Transaction<'a>,
}

impl<'a> Departure<'a> {
    pub(crate) fn begin(store: &'a SqliteStore) -> Result<Self, OpenError> {
        let begin = || {
            // What is read of uses is what is in the blocks.
            let snapshot = store.writer.connection.unchecked_transaction()?;
            uses::fold_all(&snapshot)?;
            Ok(snapshot)
        };
        let snapshot = begin().map_err(|error| from_sqlite(store, error))?;
        Ok(Self { store, snapshot })
    }

    /// How many rows a table has.
    pub(crate) fn count(&self, table: &Table) -> Result<u64, OpenError> {
        let sql = format!("SELECT count(*) FROM {}", rows_of(table));
        self.snapshot.query_row(&sql, [], |row| row.get(0)).map_err(|error| self.error(error))
    }

    pub(crate) fn state(&self) -> Result<State, OpenError> {
        let sql = "SELECT kind, latest, next_number - 1 FROM journal_state";
        let state = self.snapshot.query_row(sql, [], |row| {
            let kind = words::read_kind(row.get_ref(0)?.as_str()?);
            Ok(State { kind, latest: row.get(1)?, last_number: row.get(2)? })
        });
        state.map_err(|error| self.error(error))
    }

    /// Makes ready to read a table.
    pub(crate) fn prepare(&self, table: &'static Table) -> Result<Reading<'_>, OpenError> {
        let columns = table.columns.iter().map(|column| match column.made_of {
            Some(sql) => sql.to_owned(),
            // With the table's name before it, no name of a column that is not there is taken for a text.
            None => format!("\"{}\".\"{}\"", table.name, column.name),
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT {columns} FROM {} ORDER BY {}", rows_of(table), table.order());
        let statement = self.snapshot.prepare(&sql).map_err(|error| self.error(error))?;
        Ok(Reading { departure: self, table, statement })
    }

    fn error(&self, error: rusqlite::Error) -> OpenError {
        from_sqlite(self.store, error)
    }

    /// What a problem means with the row of this number, counted from one.
    fn problem(&self, table: &'static Table, number: u64, problem: Problem) -> MoveError {
        let row = format!("row {number} in the order of its key");
        match problem {
            Problem::CharacterZero(column) => MoveError::CharacterZero { table: table.name, row, column },
            Problem::NotOfItsKind(column) => {
                let database = self.store.writer.folder.database();
                let reason = format!("{row} of '{}' has something else for '{column}'", table.name);
                OpenError::Damaged { database, reason }.into()
            }
        }
    }
}

/// Where the rows of a table are: some share one here and have one each where they go.
fn rows_of(table: &Table) -> String {
    match table.name {
        "session_use" => format!("({}) AS session_use", uses::SELECT_EACH),
        name => format!("\"{name}\""),
    }
}

fn from_sqlite(store: &SqliteStore, error: rusqlite::Error) -> OpenError {
    OpenError::from_sqlite(&store.writer.folder.database(), error)
}

/// A table that is being read.
pub(crate) struct Reading<'a> {
    departure: &'a Departure<'a>,
    table: &'static Table,
    statement: Statement<'a>,
}

impl Reading<'_> {
    /// Its rows in the order of their primary key.
    pub(crate) fn rows(&mut self) -> Result<Source<'_>, OpenError> {
        let rows = self.statement.query([]).map_err(|error| self.departure.error(error))?;
        Ok(Source { departure: self.departure, table: self.table, rows, read: 0 })
    }
}

/// The rows of a table, one after the other.
pub(crate) struct Source<'a> {
    departure: &'a Departure<'a>,
    table: &'static Table,
    rows: Rows<'a>,
    read: u64,
}

impl Source<'_> {
    /// Appends the next row; `false` if there is none.
    pub(crate) fn next(&mut self, to: &mut Row) -> Result<bool, MoveError> {
        let (departure, table) = (self.departure, self.table);
        self.read += 1;
        let read = self.read;
        let row = match self.rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(false),
            Err(error) => return Err(departure.error(error).into()),
        };
        to.begin(table.columns.len());
        for (place, column) in table.columns.iter().enumerate() {
            let value = row.get_ref(place).map_err(|error| departure.error(error))?;
            let put = match value {
                ValueRef::Null => {
                    to.null();
                    Ok(())
                }
                ValueRef::Integer(number) => to.number(*column, number),
                ValueRef::Text(text) => to.text(*column, text),
                ValueRef::Blob(bytes) => to.bytes(*column, bytes),
                ValueRef::Real(_) => Err(Problem::NotOfItsKind(column.name)),
            };
            put.map_err(|problem| departure.problem(table, read, problem))?;
        }
        Ok(true)
    }
}
