//! Backups: what is copied while others write, what is refused, what a cut leaves.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use rusqlite::{Connection, OpenFlags};

use super::*;
use crate::{BackedUp, BackupError, Contents, OpenError, Step, backup, sqlite::uses};

/// Some megabytes, so that a copy takes several steps.
fn fill(store: &mut SqliteStore) {
    let large = AuditRecord { claimed: Some("x".repeat(10_000)), ..audit(Event::Release) };
    for _ in 0..10 {
        store.apply(&vec![Entry::Record(large.clone()); 60]).unwrap();
    }
}

fn read(file: &Path) -> Connection {
    Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

fn number(connection: &Connection, sql: &str) -> u64 {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn refused(folder: &Path, file: &Path) -> BackupError {
    backup(folder, file, &mut |_| {}).unwrap_err()
}

#[test]
fn u2_a_backup_is_one_moment_however_much_is_written_meanwhile() {
    let (folder, mut store) = company();
    fill(&mut store);
    let file = folder.path().join("backup");
    let mut used = issue(1);
    if let Entry::Issue { session, .. } = &mut used {
        session.last_used_at = at(1);
    }
    let (commits, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = thread::spawn({
        let (commits, stop) = (commits.clone(), stop.clone());
        move || {
            while !stop.load(Ordering::SeqCst) {
                // A session, its use and its record are one commit.
                assert!(matches!(apply(&mut store, used.clone()), Outcome::Committed(Some(_))));
                commits.fetch_add(1, Ordering::SeqCst);
            }
            store
        }
    });
    let (mut steps, mut last, mut is_checked) = (0, 0, false);
    let made = backup(&data(&folder), &file, &mut |step| {
        if let Step::Copying { done, .. } = step {
            // Or it would begin anew for ever, as long as somebody writes.
            assert!(done > last, "it has begun anew: {last}, then {done}");
            (steps, last) = (steps + 1, done);
        } else {
            is_checked = true;
        }
        // Not on before somebody else has written, twice to be sure that the second began after the step.
        let before = commits.load(Ordering::SeqCst);
        while commits.load(Ordering::SeqCst) < before + 2 {
            thread::yield_now();
        }
    });
    stop.store(true, Ordering::SeqCst);
    let store = writer.join().unwrap();
    let BackedUp { bytes, contents } = made.unwrap();
    assert!(steps > 5 && is_checked && last == bytes, "{steps} steps, {last} of {bytes} bytes");

    let copy = read(&file);
    let sessions = number(&copy, "SELECT count(*) FROM session");
    assert_eq!(contents, Contents { latest: Some(at(0)), organisations: 2, users: 2, sessions });
    uses::register(&copy).unwrap();
    let used =
        format!("SELECT count(*) FROM ({}) WHERE last_used_at = {}", uses::SELECT_EACH, at(1).as_millis());
    assert_eq!(number(&copy, &used), sessions);
    assert_eq!(number(&copy, "SELECT count(*) FROM audit WHERE event = 'password_login'"), sessions);
    assert_eq!(number(&copy, "SELECT next_number - 1 FROM journal_state"), sessions);
    assert!(sessions < count(&store, "session") as u64, "what came later is not in it");
    let whole: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    let mode: String = copy.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!((whole.as_str(), mode.as_str()), ("ok", "delete"));
    assert_eq!(names(folder.path()), ["backup", "data"], "one file");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&file).unwrap().len(), bytes);
}

#[test]
fn u2_a_backup_needs_no_server_and_takes_what_a_killed_one_left() {
    let (folder, mut store) = company();
    apply(&mut store, issue(1));
    // What a killed process leaves: its files as they are, the last commit in the WAL alone.
    let killed = TempDir::new().unwrap();
    for file in ["doorward.db", "doorward.db-wal"] {
        fs::copy(data(&folder).join(file), killed.path().join(file)).unwrap();
    }
    drop(store);
    for (number, folder) in [data(&folder), killed.path().into()].into_iter().enumerate() {
        let file = killed.path().join(format!("backup-{number}"));
        assert_eq!(backup(&folder, &file, &mut |_| {}).unwrap().contents.sessions, 1);
    }
}

#[test]
fn u2_a_backup_of_an_earlier_schema_stays_one() {
    let folder = TempDir::new().unwrap();
    super::migrating::first_schema(&folder);
    let file = folder.path().join("backup");
    assert_eq!(backup(folder.path(), &file, &mut |_| {}).unwrap().contents.sessions, 2);
    assert_eq!(number(&read(&file), "SELECT max(version) FROM refinery_schema_history"), 1);
    assert_eq!(SqliteStore::open(folder.path()).unwrap().upgraded().unwrap().from, 1, "it was not touched");
}

#[test]
fn u2_nothing_is_overwritten_and_no_part_of_the_database_is_written() {
    let (folder, store) = company();
    let file = folder.path().join("backup");
    fs::write(&file, "my diary").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    for taken in [&file, &link, &data(&folder).join("doorward.db")] {
        let error = refused(&data(&folder), taken);
        assert!(matches!(error, BackupError::Exists { .. }), "{error}");
        assert_readable(&error.to_string(), taken);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "my diary");
    for no_file in [folder.path().to_owned(), folder.path().join("new/"), "/".into()] {
        let error = refused(&data(&folder), &no_file);
        assert!(matches!(error, BackupError::NotAFile { .. }), "{error}");
    }
    let error = refused(&data(&folder), &folder.path().join("absent/backup"));
    assert!(matches!(error, BackupError::Unwritable { .. }), "{error}");
    drop(store);
    for name in ["doorward.db-journal", "doorward.db-wal", "doorward.db-shm", "doorward.db.unfinished"] {
        let error = refused(&data(&folder), &data(&folder).join(name));
        assert!(matches!(error, BackupError::OwnName { .. }), "{error}");
    }
    assert_eq!(names(folder.path()), ["backup", "data", "link"]);
}

#[test]
fn u2_what_is_no_database_of_ours_is_not_backed_up() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("backup");
    let database = folder.path().join("doorward.db");
    let why = || match refused(folder.path(), &file) {
        BackupError::Database(error) => error,
        error => panic!("{error}"),
    };
    assert!(matches!(why(), OpenError::DatabaseMissing { .. }));
    let absent = refused(&folder.path().join("absent"), &file);
    assert!(matches!(absent, BackupError::Database(OpenError::FolderMissing { .. })), "{absent}");
    for text in ["", "these are the minutes of our meeting. "] {
        fs::write(&database, text.repeat(500)).unwrap();
        assert!(matches!(why(), OpenError::NotDoorward { .. }));
        assert_eq!(fs::read_to_string(&database).unwrap(), text.repeat(500));
    }
    fs::remove_file(&database).unwrap();
    let store = SqliteStore::create(folder.path(), Kind::Real, &[]).unwrap();
    make_newer(&store.writer.connection);
    assert!(matches!(why(), OpenError::Newer { .. }));
    assert!(!names(folder.path()).iter().any(|name| name.starts_with("backup")));
}

/// The copy is checked, audit records and all, and a damaged one is no backup.
#[test]
fn u2_damage_is_found_in_every_page_and_leaves_no_backup() {
    let (folder, mut store) = company();
    store.apply(&(0..200).map(issue).collect::<Vec<_>>()).unwrap();
    drop(store);
    let database = data(&folder).join("doorward.db");
    let whole = fs::read(&database).unwrap();
    let file = folder.path().join("backup");
    for page in 1..whole.len() / 4096 {
        let mut garbled = whole.clone();
        garbled[page * 4096..][..4096].fill(0xA7);
        fs::write(&database, garbled).unwrap();
        let error = refused(&data(&folder), &file);
        let is_damage =
            matches!(error, BackupError::Damaged { .. } | BackupError::Database(OpenError::Damaged { .. }));
        assert!(is_damage, "page {page}: {error}");
        assert_readable(&error.to_string(), &database);
    }
    // What refers to nothing is damage too, though every page is in order.
    fs::write(&database, whole).unwrap();
    let other = Connection::open(&database).unwrap();
    other.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM unit").unwrap();
    let error = refused(&data(&folder), &file);
    assert!(
        matches!(&error, BackupError::Damaged { reason, .. } if reason.contains("membership")),
        "{error}"
    );
    assert_eq!(names(folder.path()), ["data"]);
}

#[test]
fn u2_a_backup_that_was_cut_off_is_replaced() {
    let (folder, store) = company();
    drop(store);
    for name in ["backup.unfinished", "backup.unfinished-journal", "backup.unfinished-wal"] {
        fs::write(folder.path().join(name), "half a page").unwrap();
    }
    backup(&data(&folder), &folder.path().join("backup"), &mut |_| {}).unwrap();
    assert_eq!(names(folder.path()), ["backup", "data"]);
}

#[test]
fn u2_two_backups_at_once_do_not_write_one_file() {
    let (folder, store) = company();
    let other = folder.path().join("other");
    let mut refusals = Vec::new();
    backup(&data(&folder), &folder.path().join("backup"), &mut |_| {
        refusals.push(refused(&data(&folder), &other).to_string());
    })
    .unwrap();
    assert!(!refusals.is_empty());
    assert!(refusals.iter().all(|text| text.contains("another backup")), "{refusals:?}");
    backup(&data(&folder), &other, &mut |_| {}).unwrap();
    drop(store);
}
