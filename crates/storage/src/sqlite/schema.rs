//! The database file as such: how connections to it are set up, how it is recognised, checked and migrated.

use std::{path::Path, time::Duration};

use doorward_domain::journal::{Entry, Outcome};
use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig, params};

use super::{
    Kind, OpenError, chaining,
    error::one_line,
    ledger::{self, JournalState},
    load,
    upgrade::{self, Upgraded},
    uses, words,
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
    migrate(&mut connection).map_err(|reason| OpenError::Sqlite { database: database.into(), reason })?;
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

/// Opens a database to write to, after making sure that it is ours, whole and of today's schema. One of an earlier
/// schema is brought up to date, after `tell` was told from which to which and a backup was made.
pub(super) fn open(
    database: &Path,
    tell: &mut dyn FnMut(i64, i64),
) -> Result<(Connection, Option<Upgraded>), OpenError> {
    let sqlite = |error| OpenError::from_sqlite(database, error);
    let mut connection = connect(database, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sqlite)?;
    // Before anything is written, for the file may be somebody else's.
    let (found, known) = (identify(database, &connection)?, known());
    let journal_mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(sqlite)?;
    if journal_mode != "wal" {
        let reason =
            format!("the file system does not allow SQLite's WAL (journal_mode stays {journal_mode})");
        return Err(OpenError::Sqlite { database: database.into(), reason });
    }
    // What is written to the WAL again and again, 16 MB of it, goes into the file once: the commit that copies it waits for
    // the disk twice more.
    let setup = "
        PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -65536;
        PRAGMA wal_autocheckpoint = 4000;";
    connection.execute_batch(setup).map_err(sqlite)?;
    check(database, &connection)?;
    if found == known {
        return Ok((connection, None));
    }
    tell(found, known);
    let backup = upgrade::back_up(database, &connection, found, known)
        .map_err(|reason| OpenError::NoBackup { database: database.into(), found, known, reason })?;
    if let Err(reason) = migrate(&mut connection) {
        return Err(OpenError::NotUpgraded { database: database.into(), found, known, reason, backup });
    }
    Ok((connection, Some(Upgraded { from: found, to: known, backup })))
}

/// Opens a database of any schema up to today's to be read as a whole, beside a server that may be at work on it.
pub(super) fn open_to_copy(database: &Path) -> Result<Connection, OpenError> {
    let connection = connect(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(|error| OpenError::from_sqlite(database, error))?;
    identify(database, &connection)?;
    Ok(connection)
}

/// Opens a database to read from, whoever serves it. It must be ours and of today's schema.
pub(super) fn open_beside(database: &Path) -> Result<Connection, OpenError> {
    let connection = open_reader(database).map_err(|error| OpenError::from_sqlite(database, error))?;
    let (found, known) = (identify(database, &connection)?, known());
    if found < known {
        return Err(OpenError::Older { database: database.into(), found, known });
    }
    Ok(connection)
}

/// Opens a file that nobody else knows of, and that is made again if anything goes wrong: nothing of it is kept to roll
/// back, or synchronised before it is complete. Without others there is no need of shared memory either, which some
/// file systems do not have.
pub(super) fn connect_alone(database: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "off")?;
    Ok(connection)
}

/// The newest schema that this version knows.
pub(super) fn known() -> i64 {
    let migrations = migrations::runner();
    let versions = migrations.get_migrations().iter().map(|migration| i64::from(migration.version()));
    versions.max().unwrap_or_default()
}

/// Says which schema a database has. Refuses what is not ours, and a schema that this version does not know.
pub(super) fn identify(database: &Path, connection: &Connection) -> Result<i64, OpenError> {
    let sqlite = |error| OpenError::from_sqlite(database, error);
    let application_id: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(sqlite)?;
    if application_id != APPLICATION_ID {
        return Err(OpenError::NotDoorward { database: database.into() });
    }
    let newest = "SELECT max(version) FROM refinery_schema_history";
    let (found, known) = (connection.query_row(newest, [], |row| row.get(0)).map_err(sqlite)?, known());
    if found > known {
        let backup = upgrade::find_backup(database, known);
        return Err(OpenError::Newer { database: database.into(), found, known, backup });
    }
    Ok(found)
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
    uses::register(&connection)?;
    Ok(connection)
}

/// Looks for damage in every table but the audit records: they only grow, so that checking them would make each start
/// slower than the last, and no login depends on what they say. Sessions, if they are many, are checked when they have
/// been read ([`check_sessions`]), for that takes half as long as reading them.
fn check(database: &Path, connection: &Connection) -> Result<(), OpenError> {
    let few = "SELECT count(*) <= ?1 FROM (SELECT 1 FROM session LIMIT ?1 + 1)";
    let are_few: bool = connection
        .query_row(few, [load::PART], |row| row.get(0))
        .map_err(|error| OpenError::from_sqlite(database, error))?;
    let tables = if are_few { "<> 'audit'" } else { "NOT IN ('audit', 'session', 'session_use_block')" };
    find_damage(database, connection, tables)
}

/// Looks for damage in the tables of the sessions.
pub(super) fn check_sessions(database: &Path, connection: &Connection) -> Result<(), OpenError> {
    find_damage(database, connection, "IN ('session', 'session_use_block')")
}

/// Looks for damage in the tables whose names compare like this.
fn find_damage(database: &Path, connection: &Connection, tables: &str) -> Result<(), OpenError> {
    let damage = format!(
        "SELECT damage.quick_check
         FROM sqlite_schema AS checked, pragma_quick_check(checked.name) AS damage
         WHERE checked.type = 'table' AND checked.name {tables} AND damage.quick_check <> 'ok'
         LIMIT 1"
    );
    match connection.query_row(&damage, [], |row| row.get::<_, String>(0)).optional() {
        Ok(None) => Ok(()),
        Ok(Some(damage)) => Err(OpenError::Damaged { database: database.into(), reason: one_line(damage) }),
        Err(error) => Err(OpenError::from_sqlite(database, error)),
    }
}

/// Brings the schema up to date in one transaction. The error says why not; then nothing was changed.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), String> {
    chaining::register(connection).map_err(one_line)?;
    migrations::runner().set_grouped(true).run(connection).map(drop).map_err(one_line)
}
