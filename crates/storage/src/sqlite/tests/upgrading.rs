//! Bringing a database up to date: after a backup, as a whole or not at all, and back again.

use std::fs;

use rusqlite::Connection;

use super::*;
use crate::{OpenError, Restored, Upgraded, restore, sqlite::schema};

/// A folder with data of the first schema.
fn first() -> TempDir {
    let folder = TempDir::new().unwrap();
    super::migrating::first_schema(&folder);
    folder
}

fn version(folder: &TempDir) -> i64 {
    let database = Connection::open(folder.path().join("doorward.db")).unwrap();
    database.query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0)).unwrap()
}

/// The backups in a folder.
fn backups(folder: &TempDir) -> Vec<String> {
    let files =
        fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = files.filter(|name| name.starts_with("before-schema")).collect();
    names.sort();
    names
}

fn name() -> String {
    format!("before-schema-{}-from-1.db", schema::known())
}

#[test]
fn u1_an_upgrade_makes_a_backup_first_that_can_be_restored() {
    let folder = first();
    let mut told = Vec::new();
    let store = SqliteStore::open_telling(folder.path(), &mut |from, to| {
        told.push((from, to, backups(&folder).len()));
    })
    .unwrap();
    assert_eq!(told, [(1, schema::known(), 0)], "before it takes its time");
    let backup = folder.path().join(name());
    let upgraded = Upgraded { from: 1, to: schema::known(), backup: backup.clone() };
    assert_eq!((store.upgraded(), backups(&folder)), (Some(&upgraded), vec![name()]));
    assert_eq!(live_tokens(&store, at(0)), [1, 2], "tokens survive");
    let store = {
        drop(store);
        SqliteStore::open(folder.path()).unwrap()
    };
    assert_eq!(store.upgraded(), None, "once");

    let copy = Connection::open(&backup).unwrap();
    let tokens: i64 = copy.query_row("SELECT count(*) FROM session", [], |row| row.get(0)).unwrap();
    let version: i64 =
        copy.query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0)).unwrap();
    assert_eq!((tokens, version), (2, 1), "as it was");
    let Restored { store, .. } =
        restore(&backup, &folder.path().join("back"), |_| audit(Event::Restored), &mut |_| {}).unwrap();
    assert_eq!(count(&store, "user"), 1);
}

#[test]
fn u1_a_backup_that_is_there_is_not_overwritten() {
    let folder = first();
    fs::write(folder.path().join(name()), "an earlier one").unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let second = name().replace(".db", "-2.db");
    assert_eq!(store.upgraded().unwrap().backup, folder.path().join(&second));
    assert_eq!(backups(&folder), [second, name()]);
    assert_eq!(fs::read_to_string(folder.path().join(name())).unwrap(), "an earlier one");
}

#[test]
fn u1_a_failed_upgrade_changes_nothing_and_names_the_backup() {
    let folder = first();
    let database = folder.path().join("doorward.db");
    // In the way of the second migration, whose first changes would have to be undone.
    Connection::open(&database).unwrap().execute_batch("CREATE TABLE once (id)").unwrap();
    for _ in 0..3 {
        let error = SqliteStore::open(folder.path()).unwrap_err();
        assert_readable(&error.to_string(), folder.path());
        let OpenError::NotUpgraded { found: 1, backup, reason, .. } = &error else { panic!("{error}") };
        assert!(reason.contains("once"), "{error}");
        assert_eq!(*backup, folder.path().join(name()));
    }
    assert_eq!(backups(&folder), [name()], "however often it is tried, the disk does not fill up");
    assert_eq!(version(&folder), 1);

    // What was written by the earlier version meanwhile is backed up too.
    let earlier = Connection::open(&database).unwrap();
    earlier.execute_batch("DROP TABLE once; UPDATE user SET username = 'Zora'").unwrap();
    drop(earlier);
    let store = SqliteStore::open(folder.path()).unwrap();
    assert_eq!(store.upgraded().unwrap().backup, folder.path().join(name().replace(".db", "-2.db")));
    assert_eq!(live_tokens(&store, at(0)), [1, 2]);
}

#[test]
fn u1_without_a_backup_there_is_no_upgrade() {
    let folder = first();
    let in_the_way = folder.path().join(name() + ".unfinished");
    fs::create_dir(&in_the_way).unwrap();
    let error = SqliteStore::open(folder.path()).unwrap_err();
    assert_readable(&error.to_string(), folder.path());
    assert!(matches!(error, OpenError::NoBackup { found: 1, .. }), "{error}");
    assert_eq!((version(&folder), backups(&folder).len()), (1, 1));
    fs::remove_dir(in_the_way).unwrap();
    assert_eq!(live_tokens(&SqliteStore::open(folder.path()).unwrap(), at(0)), [1, 2]);
}

#[test]
fn u1_a_backup_of_damaged_data_is_no_reason_to_go_on() {
    let folder = first();
    let database = folder.path().join("doorward.db");
    let audit = Connection::open(&database).unwrap();
    let record = "INSERT INTO audit (at, event, reason, request_id) VALUES (1, 'release', 'ok', '')";
    audit.execute(record, []).unwrap();
    let page = "SELECT pageno FROM dbstat WHERE name = 'audit'";
    let page: usize = audit.query_row(page, [], |row| row.get(0)).unwrap();
    drop(audit);
    let mut garbled = fs::read(&database).unwrap();
    garbled[(page - 1) * 4096..][..4096].fill(0xA7);
    fs::write(&database, garbled).unwrap();
    // The check at start leaves the audit records out; that of the backup does not.
    let error = SqliteStore::open(folder.path()).unwrap_err();
    assert!(matches!(&error, OpenError::NoBackup { reason, .. } if reason.contains("damaged")), "{error}");
    assert_eq!((version(&folder), backups(&folder)), (1, vec![]));
}

#[test]
fn u1_an_older_version_names_the_backup_that_leads_back() {
    let (folder, store) = company();
    let known = schema::known();
    let named = |from: i64, to: i64| data(&folder).join(format!("before-schema-{to}-from-{from}.db"));
    make_newer(&store.writer.connection);
    drop(store);
    let found = || match SqliteStore::open(&data(&folder)).unwrap_err() {
        error @ OpenError::Newer { .. } => error.to_string(),
        error => panic!("{error}"),
    };
    // One that leads to a schema known here is no way back, and one of a schema not known here is none either.
    for (from, to) in [(1, known), (known + 1, known + 2)] {
        fs::write(named(from, to), "").unwrap();
    }
    fs::write(data(&folder).join("before-schema-x-from-y.db"), "").unwrap();
    assert!(!found().contains("before-schema"), "{}", found());
    for from in [known - 1, known] {
        fs::write(named(from, known + 1), "").unwrap();
        let text = found();
        assert!(text.contains(named(from, known + 1).to_str().unwrap()), "{text}");
        assert!(
            text.contains("doorward restore") && text.contains("install the newer version again"),
            "{text}"
        );
    }
}
