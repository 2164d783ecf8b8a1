//! Creating and opening: files, lock, and what is refused.

use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use doorward_domain::observer::NoObserver;
use rusqlite::Connection;

use super::*;
use crate::{OpenError, sqlite::schema};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Opens, expecting to be refused in words an operator can use.
fn refusal(folder: &Path) -> OpenError {
    let error = SqliteStore::open(folder).unwrap_err();
    assert_readable(&error.to_string(), folder);
    error
}

#[test]
fn files_are_their_owners_only() {
    let (folder, mut store) = company();
    apply(&mut store, issue(1));
    assert_eq!(mode(&data(&folder)), 0o700);
    for file in fs::read_dir(data(&folder)).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
    }
}

#[test]
fn kind_is_kept() {
    let folder = TempDir::new().unwrap();
    for (name, kind) in [("real", Kind::Real), ("demo", Kind::Demo)] {
        let folder = folder.path().join(name);
        assert_eq!(SqliteStore::create(&folder, kind, &[]).unwrap().kind(), kind);
        assert_eq!(SqliteStore::open(&folder).unwrap().kind(), kind);
    }
}

#[test]
fn creates_in_a_folder_that_is_there_and_in_folders_that_are_not() {
    let folder = TempDir::new().unwrap();
    SqliteStore::create(folder.path(), Kind::Real, &[]).unwrap();
    SqliteStore::create(&folder.path().join("a/b"), Kind::Real, &[]).unwrap();
}

#[test]
fn creates_only_once() {
    let (folder, store) = company();
    drop(store);
    let error = SqliteStore::create(&data(&folder), Kind::Real, &[]).unwrap_err();
    assert!(matches!(error, OpenError::AlreadyExists { .. }), "{error}");
    assert_readable(&error.to_string(), &data(&folder));
    assert_eq!(count(&SqliteStore::open(&data(&folder)).unwrap(), "organisation"), 2);
}

#[test]
fn a_creation_that_was_cut_off_can_be_repeated() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("doorward.db.unfinished"), "half a header").unwrap();
    assert!(matches!(refusal(folder.path()), OpenError::DatabaseMissing { .. }));
    SqliteStore::create(folder.path(), Kind::Real, &[]).unwrap();
    assert!(!folder.path().join("doorward.db.unfinished").exists());
}

#[test]
fn what_is_missing_is_named_with_the_remedy() {
    let folder = TempDir::new().unwrap();
    let error = refusal(folder.path());
    assert!(
        matches!(error, OpenError::DatabaseMissing { .. }) && error.to_string().contains("doorward init")
    );
    let error = refusal(&folder.path().join("absent"));
    assert!(matches!(error, OpenError::FolderMissing { .. }) && error.to_string().contains("doorward init"));
}

#[test]
fn a_file_is_no_folder() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(refusal(&file), OpenError::NotAFolder { .. }));
    let error = SqliteStore::create(&file, Kind::Real, &[]).unwrap_err();
    assert!(matches!(error, OpenError::NotAFolder { .. }), "{error}");
}

#[test]
fn a_second_open_is_refused_while_the_first_lives() {
    let (folder, store) = company();
    assert!(matches!(refusal(&data(&folder)), OpenError::InUse { .. }));
    let error = SqliteStore::create(&data(&folder), Kind::Real, &[]).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    let (ledger, directory) = store.start(Arc::new(NoObserver), 1).unwrap();
    assert!(matches!(refusal(&data(&folder)), OpenError::InUse { .. }), "the ledger goes on holding it");
    drop((ledger, directory));
    SqliteStore::open(&data(&folder)).unwrap();
}

#[test]
fn a_foreign_file_is_refused_and_not_touched() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("doorward.db");
    let refused = || {
        let before = fs::read(&database).unwrap();
        assert!(matches!(refusal(folder.path()), OpenError::NotDoorward { .. }));
        assert_eq!(fs::read(&database).unwrap(), before);
    };
    fs::write(&database, "").unwrap();
    refused();
    fs::write(&database, "these are the minutes of our meeting. ".repeat(500)).unwrap();
    refused();
    fs::remove_file(&database).unwrap();
    Connection::open(&database).unwrap().execute_batch("CREATE TABLE organisation (id)").unwrap();
    refused();
}

#[test]
fn a_newer_schema_is_refused() {
    let (folder, store) = company();
    make_newer(&store.writer.connection);
    drop(store);
    let refused = refusal(&data(&folder));
    let OpenError::Newer { found, known, backup: None, .. } = refused else { panic!("{refused}") };
    assert_eq!((found, known), (schema::known() + 1, schema::known()));
    assert!(refused.to_string().contains("install the newer version again, or restore"), "{refused}");
}

#[test]
fn nothing_is_created_beside_a_wal_that_was_left_behind() {
    let (folder, mut store) = company();
    apply(&mut store, issue(1));
    let wal = fs::read(data(&folder).join("doorward.db-wal")).unwrap();
    assert!(!wal.is_empty());
    drop(store);
    fs::rename(data(&folder).join("doorward.db"), folder.path().join("moved.db")).unwrap();
    fs::write(data(&folder).join("doorward.db-wal"), wal).unwrap();
    let error = SqliteStore::create(&data(&folder), Kind::Real, &[]).unwrap_err();
    assert!(matches!(error, OpenError::WalLeft { .. }), "{error}");
    assert_readable(&error.to_string(), &data(&folder));
    fs::write(data(&folder).join("doorward.db-wal"), "").unwrap();
    SqliteStore::create(&data(&folder), Kind::Real, &[]).unwrap();
}

#[test]
fn a_truncated_database_is_damaged() {
    let (folder, store) = company();
    drop(store);
    let file = fs::File::options().write(true).open(data(&folder).join("doorward.db")).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    assert!(matches!(refusal(&data(&folder)), OpenError::Damaged { .. }));
}

#[test]
fn every_garbled_page_is_damage() {
    let (folder, mut store) = company();
    let tokens: Vec<_> = (0..200).map(issue).collect();
    store.apply(&tokens).unwrap();
    let audit = "SELECT pageno FROM dbstat WHERE name IN ('audit', 'sqlite_autoindex_audit_1')";
    let audit: Vec<u64> = {
        let mut pages = store.writer.connection.prepare(audit).unwrap();
        pages.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    drop(store);
    let database = data(&folder).join("doorward.db");
    let whole = fs::read(&database).unwrap();
    let (page, mut garbled) = (4096, 0);
    for number in 2..=(whole.len() / page) as u64 {
        if audit.contains(&number) {
            continue;
        }
        let file = fs::File::options().write(true).open(&database).unwrap();
        file.write_all_at(&[0xA7; 4096], (number - 1) * page as u64).unwrap();
        let error = refusal(&data(&folder));
        assert!(matches!(error, OpenError::Damaged { .. }), "page {number}: {error}");
        fs::write(&database, &whole).unwrap();
        garbled += 1;
    }
    assert!(garbled > 10, "{garbled}");
    SqliteStore::open(&data(&folder)).unwrap();
}

#[test]
fn a_row_of_nonsense_is_damage_when_it_is_loaded() {
    let (_folder, mut store) = company();
    apply(&mut store, issue(1));
    store.writer.connection.execute("UPDATE session SET digest = x'00'", []).unwrap();
    let error = store.load(&SessionTable::default(), at(0)).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}
