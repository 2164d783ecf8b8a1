//! The database file as such: how connections to it are set up, how it is recognised, checked and migrated.

use std::{path::Path, time::Duration};

use doorward_domain::journal::{Entry, Outcome};
use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig, params};

use super::{
    Kind, OpenError, chaining,
    error::one_line,
    ledger::{self, JournalState},
    words,
};

refinery::embed_migrations!("migrations/sqlite");

/// Stands in the file's header and says that it is ours: "Door".
const APPLICATION_ID: i32 = 0x446f_6f72;

/// How long a statement waits for a lock. The folder is ours alone, so only an operator's own `sqlite3` can hold one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// More than this room has statements, so that each is prepared once per connection.
const STATEMENTS: usize = 128;

/// Makes an empty file a database that holds `first`, all of it.
pub(super) fn create(database: &Path, kind: Kind, first: &[Entry]) -> Result<(), OpenError> {
    let sqlite = |error| OpenError::from_sqlite(database, error);
    let mut connection = connect(database, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sqlite)?;
    // One file until it is complete, then synchronised: that is all a file needs that can be made again.
    connection.pragma_update_and_check(None, "journal_mode", "memory", |_| Ok(())).map_err(sqlite)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(sqlite)?;
    migrate(database, &mut connection)?;
    let state = "INSERT INTO journal_state (one, next_number, latest, kind) VALUES (1, 1, NULL, ?1)";
    connection.execute(state, params![words::kind(kind)]).map_err(sqlite)?;
    let (mut state, _) = JournalState::read(&connection).map_err(sqlite)?;
    let outcomes = ledger::commit(&mut connection, &mut state, first).map_err(sqlite)?;
    if outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Committed(_))) {
        let reason = "what it should hold first contradicts itself".to_owned();
        return Err(OpenError::Sqlite { database: database.into(), reason });
    }
    connection.close().map_err(|(_, error)| sqlite(error))
}

/// Opens a database to write to, after making sure that it is ours, whole and of today's schema.
pub(super) fn open(database: &Path) -> Result<Connection, OpenError> {
    let sqlite = |error| OpenError::from_sqlite(database, error);
    let mut connection = connect(database, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sqlite)?;
    // Before anything is written, for the file may be somebody else's.
    recognise(database, &connection)?;
    let journal_mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(sqlite)?;
    if journal_mode != "wal" {
        let reason =
            format!("the file system does not allow SQLite's WAL (journal_mode stays {journal_mode})");
        return Err(OpenError::Sqlite { database: database.into(), reason });
    }
    let setup = "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -65536;";
    connection.execute_batch(setup).map_err(sqlite)?;

    let (found, known) = versions(database, &connection)?;
    if found > known {
        return Err(OpenError::Newer { database: database.into(), found, known });
    }
    check(database, &connection)?;
    if found < known {
        migrate(database, &mut connection)?;
    }
    Ok(connection)
}

/// Refuses a file that is not one of ours.
fn recognise(database: &Path, connection: &Connection) -> Result<(), OpenError> {
    let application_id: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|error| OpenError::from_sqlite(database, error))?;
    if application_id == APPLICATION_ID {
        Ok(())
    } else {
        Err(OpenError::NotDoorward { database: database.into() })
    }
}

/// The version of a database's schema, and the newest that is known here.
fn versions(database: &Path, connection: &Connection) -> Result<(i64, i64), OpenError> {
    let found = connection
        .query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0))
        .map_err(|error| OpenError::from_sqlite(database, error))?;
    let migrations = migrations::runner();
    let known = migrations.get_migrations().iter().map(|migration| i64::from(migration.version())).max();
    Ok((found, known.unwrap_or_default()))
}

/// Opens a database to read from, whoever serves it. It must be ours and of today's schema.
pub(super) fn open_beside(database: &Path) -> Result<Connection, OpenError> {
    let connection = open_reader(database).map_err(|error| OpenError::from_sqlite(database, error))?;
    recognise(database, &connection)?;
    match versions(database, &connection)? {
        (found, known) if found > known => Err(OpenError::Newer { database: database.into(), found, known }),
        (found, known) if found < known => Err(OpenError::Older { database: database.into(), found, known }),
        _ => Ok(connection),
    }
}

/// Opens a database to read from.
pub(super) fn open_reader(database: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.execute_batch("PRAGMA cache_size = -16384;")?;
    Ok(connection)
}

fn connect(database: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time, which the compiler sees to.
    let connection = Connection::open_with_flags(database, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Or SQLite plans a statement anew, at ten times its cost, whenever a value is bound that might change the plan.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// Looks for damage in every table but the audit records: they only grow, so that checking them would make each start
/// slower than the last, and no login depends on what they say.
fn check(database: &Path, connection: &Connection) -> Result<(), OpenError> {
    let damage = "SELECT damage.quick_check
        FROM sqlite_schema AS checked, pragma_quick_check(checked.name) AS damage
        WHERE checked.type = 'table' AND checked.name <> 'audit' AND damage.quick_check <> 'ok'
        LIMIT 1";
    match connection.query_row(damage, [], |row| row.get::<_, String>(0)).optional() {
        Ok(None) => Ok(()),
        Ok(Some(damage)) => Err(OpenError::Damaged { database: database.into(), reason: one_line(damage) }),
        Err(error) => Err(OpenError::from_sqlite(database, error)),
    }
}

/// Brings the schema up to date in one transaction.
fn migrate(database: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    chaining::register(connection).map_err(|error| OpenError::from_sqlite(database, error))?;
    let migrated = migrations::runner().set_grouped(true).run(connection);
    migrated
        .map(drop)
        .map_err(|error| OpenError::Sqlite { database: database.into(), reason: one_line(error) })
}
