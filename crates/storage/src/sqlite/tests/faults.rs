//! Full disks, broken disks, killed processes.

use std::{
    fs,
    sync::{Arc, mpsc},
};

use doorward_domain::{
    journal::{Journal, Ledger, LedgerError, StoreError},
    observer::NoObserver,
};
use rusqlite::Connection;

use super::*;
use crate::SqliteLedger;

fn ledger(store: SqliteStore) -> SqliteLedger {
    store.start(Arc::new(NoObserver), 1).unwrap().0
}

/// Lets the database grow to this many pages and no further.
fn limit_pages(ledger: &SqliteLedger, pages: i64) {
    let connection = &ledger.writer.connection;
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
}

#[test]
fn d4_disk_full_stores_nothing_and_goes_on_when_there_is_space() {
    let (folder, mut store) = company();
    apply(&mut store, issue(1));
    let mut ledger = ledger(store);
    limit_pages(&ledger, 1);
    let fill: Vec<_> = (0..200).map(|_| Entry::Record(audit(Event::Release))).collect();
    let full = loop {
        if let Err(error) = ledger.commit(&fill) {
            break error;
        }
    };
    let LedgerError::Full(text) = &full else { panic!("{full}") };
    assert_readable(text, &data(&folder));
    assert!(text.contains("free some space"), "{text}");

    let mut login_and_more = vec![issue(2), release(1), Entry::Tick(at(99))];
    login_and_more.extend(fill);
    assert_eq!(ledger.commit(&login_and_more), Err(full), "the batch is stored as a whole or not at all");
    limit_pages(&ledger, 1_000_000);
    assert_eq!(
        ledger.commit(&[issue(3)]).unwrap().outcomes,
        [numbered(2)],
        "the failed batch took no number"
    );
    drop(ledger);

    let store = SqliteStore::open(&data(&folder)).unwrap();
    assert_eq!(live_tokens(&store, at(0)), [1, 3]);
    assert_eq!(store.latest(), Some(at(0)));
}

#[test]
fn d2_a_commit_that_fails_at_its_very_end_leaves_the_state_as_committed() {
    let (folder, mut store) = company();
    // Lets a unit of no organisation pass until the commit, which then fails.
    store.writer.connection.execute_batch("PRAGMA defer_foreign_keys = ON").unwrap();
    let orphan = create_unit(UnitId::from_bytes(NOBODY), OrganisationId::from_bytes(NOBODY), "orphan");
    let error = store.apply(&[issue(1), Entry::Tick(at(99)), changed(orphan)]).unwrap_err();
    assert!(matches!(error, LedgerError::Broken(_)), "{error}");
    assert_eq!((store.latest(), apply(&mut store, issue(2))), (Some(at(0)), numbered(1)));
    assert_eq!(live_tokens(&reopen(store, &folder), at(0)), [2]);
}

/// A login is judged by what is committed, not by what is remembered of a batch that was not.
#[test]
fn d2_what_was_read_in_a_batch_that_failed_is_not_remembered() {
    let (_folder, mut store) = company();
    store.writer.connection.execute_batch("PRAGMA defer_foreign_keys = ON").unwrap();
    let orphan = create_unit(UnitId::from_bytes(NOBODY), OrganisationId::from_bytes(NOBODY), "orphan");
    let rename = update_user(ACME, user(ZOE, "Zoë Two", &[SALES, LAB]));
    let renamed = |token| {
        let mut entry = issue(token);
        if let Entry::Issue { identity, .. } = &mut entry {
            identity.username = "Zoë Two".into();
        }
        entry
    };
    assert!(store.apply(&[changed(rename.clone()), renamed(1), changed(orphan)]).is_err());
    assert_eq!(apply(&mut store, renamed(1)), Outcome::Refused);
    assert_eq!(apply(&mut store, issue(1)), numbered(1));
    assert_eq!(change(&mut store, rename), Outcome::Committed(None));
    assert_eq!((apply(&mut store, issue(2)), apply(&mut store, renamed(2))), (Outcome::Refused, numbered(2)));
}

#[tokio::test]
async fn d2_a_broken_database_stops_the_journal_with_a_readable_text() {
    let (folder, store) = company();
    let (told, messages) = mpsc::channel();
    let table = Arc::new(SessionTable::default());
    let (journal, thread) =
        Journal::start(ledger(store), table.clone(), move |message| told.send(message).unwrap());
    assert_eq!(journal.submit(issue(1)).await.unwrap(), numbered(1));
    let other = Connection::open(data(&folder).join("doorward.db")).unwrap();
    other.execute_batch("DROP TABLE audit").unwrap();
    for token in 2..4 {
        let answer = journal.submit(issue(token)).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        assert!(table.peek(&digest(token), at(0)).is_none());
    }
    thread.stop();
    let message = messages.recv().unwrap();
    assert_readable(&message, &data(&folder));
    assert!(message.contains("no such table") && message.contains("check the disk"), "{message}");
}

#[test]
fn d2_a_page_garbled_while_running_is_not_written_over() {
    let (folder, mut store) = company();
    store.apply(&(0..200).map(issue).collect::<Vec<_>>()).unwrap();
    let store = reopen(store, &folder);
    let mut ledger = ledger(store);
    let database = data(&folder).join("doorward.db");
    let pages = fs::metadata(&database).unwrap().len() as usize / 4096;
    // All but the first, and before the ledger has read any of them.
    let mut garbled = fs::read(&database).unwrap();
    garbled[4096..].fill(0xA7);
    assert!(pages > 10);
    fs::write(&database, garbled).unwrap();
    let error = ledger.commit(&[issue(1)]).unwrap_err();
    let LedgerError::Broken(text) = &error else { panic!("{error}") };
    assert_readable(text, &data(&folder));
}

#[test]
fn d1_what_is_committed_survives_the_process() {
    let (folder, mut store) = company();
    store.apply(&[issue(1), issue(2)]).unwrap();
    apply(&mut store, release(1));
    // What a killed process leaves: its files as they are, none of them closed.
    let copy = TempDir::new().unwrap();
    for file in fs::read_dir(data(&folder)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let mut survivor = SqliteStore::open(copy.path()).unwrap();
    assert_eq!(live_tokens(&survivor, at(0)), [2]);
    assert_eq!(apply(&mut survivor, issue(3)), numbered(3));
}

#[test]
fn d1_commits_are_synchronous() {
    let (_folder, store) = company();
    let pragma = |name: &str| -> String {
        let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        store.writer.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!((pragma("synchronous"), pragma("journal_mode")), ("2".into(), "wal".into()));
}
