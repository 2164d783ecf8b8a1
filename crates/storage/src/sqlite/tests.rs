//! The store against real files. Here: a company to work with, and what the tests have in common.
//!
//! What any store must do is tested by the suite of `doorward_testkit::conformance`; here is what is SQLite's own.

mod backing_up;
mod chains;
mod exporting;
mod faults;
mod listing;
mod loading;
mod migrating;
mod opening;
mod reading;
mod restoring;
mod upgrading;
mod using;

use std::path::Path;

use doorward_domain::{
    audit::{AuditRecord, Event, Origin, Reason},
    change::Change,
    clock::Timestamp,
    directory::Status,
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::{Entry, Outcome},
    session::{Method, Scope, SessionNumber},
    session_table::SessionTable,
};
use doorward_testkit::conformance::company::*;
use tempfile::TempDir;

use super::{Kind, SqliteStore};

/// A new store with both companies.
fn company() -> (TempDir, SqliteStore) {
    let folder = TempDir::new().unwrap();
    let mut store = SqliteStore::create(&folder.path().join("data"), Kind::Real, &[]).unwrap();
    assert_eq!(change_all(&mut store, &both_companies()), [Outcome::Committed(None); 8]);
    (folder, store)
}

fn data(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("data")
}

fn reopen(store: SqliteStore, folder: &TempDir) -> SqliteStore {
    drop(store);
    SqliteStore::open(&data(folder)).unwrap()
}

/// The release of a session of whichever token: SQLite looks at its number alone.
fn release(number: u64) -> Entry {
    doorward_testkit::conformance::company::release(SessionNumber(number), 0)
}

/// Uses of sessions, by number and time.
fn uses_of(uses: &[(u64, i64)]) -> Entry {
    let used = |(number, millis): &(u64, i64)| {
        let entry = doorward_testkit::conformance::company::uses_of(SessionNumber(*number), 0, at(*millis));
        let Entry::Uses(uses) = entry else { unreachable!() };
        uses
    };
    Entry::Uses(uses.iter().flat_map(used).collect())
}

fn apply(store: &mut SqliteStore, entry: Entry) -> Outcome {
    store.apply(&[entry]).unwrap()[0]
}

fn change(store: &mut SqliteStore, change: Change) -> Outcome {
    apply(store, changed(change))
}

fn change_all(store: &mut SqliteStore, changes: &[Change]) -> Vec<Outcome> {
    store.apply(&changes.iter().cloned().map(changed).collect::<Vec<_>>()).unwrap()
}

fn numbered(number: u64) -> Outcome {
    Outcome::Committed(Some(SessionNumber(number)))
}

/// The tokens that would be live if the server were started at `now`.
fn live_tokens(store: &SqliteStore, now: Timestamp) -> Vec<u8> {
    let table = SessionTable::default();
    let loaded = store.load(&table, now).unwrap();
    let live: Vec<_> = (0..=255).filter(|token| table.peek(&digest(*token), now).is_some()).collect();
    assert_eq!(loaded, live.len() as u64);
    live
}

/// Gives a database a schema that only the next version knows.
fn make_newer(connection: &rusqlite::Connection) {
    let newer = "INSERT INTO refinery_schema_history SELECT max(version) + 1, name, applied_on, checksum
                 FROM refinery_schema_history";
    connection.execute(newer, []).unwrap();
}

fn count(store: &SqliteStore, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    store.writer.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// A text for the operator: one line, with the path.
fn assert_readable(text: &str, path: &Path) {
    let path = path.to_str().unwrap();
    assert!(text.contains(path) && !text.contains('\n') && !text.contains("  "), "{text}");
}
