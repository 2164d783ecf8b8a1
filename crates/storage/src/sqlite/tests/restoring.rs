//! Restoring: what is in the folder afterwards, what is refused, what a cut leaves.

use std::{fs, path::PathBuf};

use rusqlite::Connection;

use super::*;
use crate::{
    OpenError, RestoreError, Restored, backup, restore,
    sqlite::{evidence, schema},
};

fn record(latest: Option<Timestamp>) -> AuditRecord {
    AuditRecord { at: at(0).max(latest.unwrap_or(at(0))), ..audit(Event::Restored) }
}

fn restore_to(file: &Path, folder: &Path) -> Result<Restored, RestoreError> {
    restore(file, folder, record, &mut |_| {})
}

/// Whether no audit record was altered or removed.
fn is_sound(store: &SqliteStore) -> bool {
    evidence::verify(&store.writer.connection, &[], &mut |_, _| {}).unwrap().is_sound()
}

/// A company with a released token and live ones, and its backup.
fn backed_up() -> (TempDir, SqliteStore, PathBuf) {
    let (folder, mut store) = company();
    store.apply(&[issue(1), issue(2), issue_by(Method::WebApiKey(KEY), 3, KEY_NOT_ENDED)]).unwrap();
    store.apply(&[uses_of(&[(2, 5), (3, 6)]), release(1)]).unwrap();
    let file = folder.path().join("backup");
    backup(&data(&folder), &file, &mut |_| {}).unwrap();
    (folder, store, file)
}

#[test]
fn u2_a_restore_ends_all_sessions_and_keeps_the_rest() {
    let (folder, mut store, file) = backed_up();
    // Released after the backup was made: it must not come back.
    apply(&mut store, release(2));
    let restored = folder.path().join("a/b/restored");
    let Restored { mut store, contents, from_schema } = restore_to(&file, &restored).unwrap();
    assert_eq!((contents.sessions, contents.users, from_schema), (2, 2, None));
    assert_eq!(live_tokens(&store, at(0)), [0; 0]);
    assert_eq!((count(&store, "session"), count(&store, "session_use_block")), (0, 0));
    let remembered = "SELECT group_concat(last_used_at ORDER BY number) FROM ended_session";
    let remembered: String = store.writer.connection.query_row(remembered, [], |row| row.get(0)).unwrap();
    assert_eq!(remembered, [0, 5, 6].map(|time| at(time).as_millis().to_string()).join(","));
    assert_eq!((count(&store, "user"), count(&store, "web_api_key"), store.kind()), (2, 1, Kind::Real));
    let last = "SELECT event FROM audit ORDER BY place DESC LIMIT 1";
    let last: String = store.writer.connection.query_row(last, [], |row| row.get(0)).unwrap();
    assert_eq!(last, "restored");
    assert!(is_sound(&store), "its record is in a chain like any other");
    assert_eq!(
        apply(&mut store, issue(4)),
        numbered(6),
        "numbers go on, behind an ending of each organisation"
    );
    let error = SqliteStore::open(&restored).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "it is open: {error}");
    drop(store);
    let store = SqliteStore::open(&restored).unwrap();
    assert_eq!(live_tokens(&store, at(0)), [4]);
}

#[test]
fn u2_a_backup_of_an_earlier_schema_is_restored_and_brought_up_to_date() {
    let folder = TempDir::new().unwrap();
    super::migrating::first_schema(&folder);
    let file = folder.path().join("backup");
    backup(folder.path(), &file, &mut |_| {}).unwrap();
    let restored = folder.path().join("restored");
    let Restored { store, from_schema, .. } = restore_to(&file, &restored).unwrap();
    assert_eq!((from_schema, store.upgraded()), (Some(1), None), "with no other backup of it");
    assert_eq!((live_tokens(&store, at(0)), count(&store, "user")), (vec![], 1));
    assert!(is_sound(&store));
    let version = "SELECT max(version) FROM refinery_schema_history";
    let version: i64 = store.writer.connection.query_row(version, [], |row| row.get(0)).unwrap();
    assert_eq!(version, schema::known());
}

#[test]
fn u2_a_restore_overwrites_nothing() {
    let (folder, store, file) = backed_up();
    drop(store);
    let before = fs::read(data(&folder).join("doorward.db")).unwrap();
    let error = restore_to(&file, &data(&folder)).unwrap_err();
    assert!(matches!(error, RestoreError::DatabaseExists { .. }), "{error}");
    assert_readable(&error.to_string(), &data(&folder));
    assert_eq!(fs::read(data(&folder).join("doorward.db")).unwrap(), before);

    // Moved away without what lies beside it, which would become a part of what is restored.
    let mut store = SqliteStore::open(&data(&folder)).unwrap();
    apply(&mut store, issue(9));
    let wal = fs::read(data(&folder).join("doorward.db-wal")).unwrap();
    drop(store);
    fs::rename(data(&folder).join("doorward.db"), folder.path().join("moved.db")).unwrap();
    fs::write(data(&folder).join("doorward.db-wal"), wal).unwrap();
    let error = restore_to(&file, &data(&folder)).unwrap_err();
    assert!(matches!(error, RestoreError::Folder(OpenError::WalLeft { .. })), "{error}");
    fs::remove_file(data(&folder).join("doorward.db-wal")).unwrap();
    drop(restore_to(&file, &data(&folder)).unwrap());

    // A folder that is a server's.
    let held = folder.path().join("held");
    let store = SqliteStore::create(&held, Kind::Real, &[]).unwrap();
    let error = restore_to(&file, &held).unwrap_err();
    assert!(matches!(error, RestoreError::Folder(OpenError::InUse { .. })), "{error}");
    drop(store);
}

#[test]
fn u2_what_is_no_whole_backup_of_ours_is_refused_and_makes_no_database() {
    let (folder, store, file) = backed_up();
    drop(store);
    let restored = folder.path().join("restored");
    let refused = |file: &Path| {
        let error = restore_to(file, &restored).unwrap_err();
        assert_readable(&error.to_string(), file);
        let left = fs::read_dir(&restored).map(|files| files.count()).unwrap_or_default();
        assert!(left <= 1 && !restored.join("doorward.db").exists(), "the lock alone is left");
        error
    };
    let other = folder.path().join("other");
    assert!(matches!(refused(&other), RestoreError::Unreadable { .. }));
    assert!(matches!(refused(folder.path()), RestoreError::Unreadable { .. }));
    for text in ["", "these are the minutes of our meeting. "] {
        fs::write(&other, text.repeat(500)).unwrap();
        assert!(matches!(refused(&other), RestoreError::NotABackup { .. }));
        assert_eq!(fs::read_to_string(&other).unwrap(), text.repeat(500));
    }
    fs::remove_file(&other).unwrap();
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE organisation (id)").unwrap();
    assert!(matches!(refused(&other), RestoreError::NotABackup { .. }));

    let whole = fs::read(&file).unwrap();
    for page in 1..whole.len() / 4096 {
        let mut garbled = whole.clone();
        garbled[page * 4096..][..4096].fill(0xA7);
        fs::write(&other, garbled).unwrap();
        let error = refused(&other);
        assert!(matches!(error, RestoreError::Damaged { .. }), "page {page}: {error}");
    }
    fs::write(&other, &whole[..whole.len() / 2]).unwrap();
    let error = refused(&other);
    assert!(matches!(error, RestoreError::Damaged { .. }), "{error}");

    fs::write(&other, &whole).unwrap();
    make_newer(&Connection::open(&other).unwrap());
    let error = refused(&other);
    assert!(matches!(error, RestoreError::Newer { .. }), "{error}");

    let unfinished = restored.join("doorward.db.unfinished");
    fs::write(&unfinished, &whole).unwrap();
    let error = restore_to(&unfinished, &restored).unwrap_err();
    assert!(matches!(error, RestoreError::Unfinished { .. }), "{error}");
    assert_eq!(fs::read(&unfinished).unwrap(), whole, "it might be all that somebody has");
    drop(restore_to(&file, &restored).unwrap());
}
