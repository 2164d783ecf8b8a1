//! What a start does with the sessions that it finds, and the time that it does not start before.

use std::{fs, os::unix::fs::FileExt, sync::Arc};

use doorward_domain::{catalogue::Catalogue, observer::NoObserver, session::Departed, sessions::Progress};

use super::*;
use crate::OpenError;

#[test]
fn t4_what_has_expired_is_not_loaded_and_is_deleted() {
    let (_folder, mut store) = company();
    let mut longer = issue(2);
    if let Entry::Issue { session, .. } = &mut longer {
        session.idle = Some(2 * HOUR);
    }
    store.apply(&[issue(1), longer]).unwrap();
    assert_eq!(live_tokens(&store, at(0).plus(HOUR)), [2]);
    assert_eq!(count(&store, "session"), 1);
    assert_eq!(live_tokens(&store, at(0)), [2]);
}

/// Whatever ended sessions, they do not take up space for ever.
#[test]
fn what_has_ended_is_deleted_at_the_next_start() {
    let delete_user = Change::DeleteUser { organisation: ACME, id: ZOE, expected: None };
    let delete_key = Change::DeleteKey { organisation: ACME, user: ZOE, id: KEY, expected: None };
    let disable = |scope| set_status(scope, Status::Disabled);
    for ending in [
        disable(Scope::Organisation(ACME)),
        disable(Scope::Unit(SALES)),
        disable(Scope::User(ZOE)),
        disable(Scope::Key(ZOE, KEY)),
        end_sessions(ACME, Scope::User(ZOE)),
        delete_user,
        delete_key,
        Change::DeleteOrganisation { id: ACME, expected: None },
    ] {
        let (folder, mut store) = company();
        store.apply(&[issue_by(Method::WebApiKey(KEY), 1, KEY_NOT_ENDED), uses_of(&[(1, 1)])]).unwrap();
        assert_eq!(change(&mut store, ending.clone()), numbered(2));
        let store = reopen(store, &folder);
        assert_eq!(live_tokens(&store, at(0)), [0; 0], "{ending:?}");
        assert_eq!((count(&store, "session"), count(&store, "session_use_block")), (0, 0), "{ending:?}");
    }
}

#[tokio::test]
async fn what_ended_while_the_server_was_down_is_remembered_too() {
    let (folder, mut store) = company();
    store.apply(&[issue(1)]).unwrap();
    let store = reopen(store, &folder);
    assert!(live_tokens(&store, at(0).plus(25 * HOUR)).is_empty());
    let (_ledger, directory) = store.start(Arc::new(NoObserver), 1).unwrap();
    let past = directory.find_ended_session(digest(1).session()).await.unwrap().unwrap();
    assert_eq!((past.organisation, past.expires_at()), (Some(ACME), at(0).plus(HOUR)));
    assert_eq!(directory.find_ending(past).await.unwrap(), None);
}

#[test]
fn sessions_are_read_a_part_at_a_time() {
    let (_folder, mut store) = company();
    store.apply(&(0..10).map(issue).collect::<Vec<_>>()).unwrap();
    // Gaps, at both ends and at the seam of two parts.
    store.apply(&[1, 4, 5, 10].map(release)).unwrap();
    let table = SessionTable::default();
    let live = || (0..10).filter(|token| table.peek(&digest(*token), at(0)).is_some()).collect::<Vec<_>>();
    let mut reader = store.sessions().unwrap();
    assert_eq!(reader.progress(), Progress { read: 0, percent: 0 });
    assert!(reader.read_some(&table, at(0), 2).unwrap());
    assert_eq!(live(), [1, 2]);
    assert!(reader.read_some(&table, at(0), 2).unwrap());
    assert_eq!((live(), reader.progress()), (vec![1, 2, 5, 6], Progress { read: 4, percent: 66 }));
    assert!(reader.read_some(&table, at(0), 2).unwrap(), "there may be more");
    assert!(!reader.read_some(&table, at(0), 2).unwrap());
    assert_eq!((live(), reader.progress()), (vec![1, 2, 5, 6, 7, 8], Progress { read: 6, percent: 100 }));
    assert_eq!((reader.live(), reader.take_ended()), (6, Vec::new()));
}

/// What the journal may commit meanwhile ([`doorward_domain::sessions::Reading`]).
#[test]
fn what_is_done_while_sessions_are_read_is_neither_undone_nor_done_twice() {
    let (_folder, mut store) = company();
    let mut short = issue(3);
    if let Entry::Issue { session, .. } = &mut short {
        session.idle = Some(HOUR / 2);
    }
    store.apply(&[issue(0), issue(1), issue(2), short, issue(4)]).unwrap();
    let (table, now) = (SessionTable::default(), at(0).plus(HOUR * 3 / 4));
    let mut reader = store.sessions().unwrap();
    assert!(reader.read_some(&table, now, 2).unwrap());
    // Released and forgotten is what is in the table; what is issued goes there as it is committed.
    store.apply(&[release(1), forget(&[SessionNumber(2)]), issue(5)]).unwrap();
    assert!(reader.read_some(&table, now, 2).unwrap());
    apply(&mut store, issue(6));
    assert!(!reader.read_some(&table, now, 2).unwrap());
    let read: Vec<_> = (0..10).filter(|token| table.peek(&digest(*token), now).is_some()).collect();
    assert_eq!(read, [0, 1, 2, 4], "0 and 1 had been read, 5 and 6 are not its business");
    let ended = Departed { number: SessionNumber(4), organisation: None, last_used_at: at(0) };
    assert_eq!(reader.take_ended(), [ended]);
    assert_eq!(reader.progress(), Progress { read: 5, percent: 100 });
}

/// They are not checked before the start goes on.
#[test]
fn damage_among_many_sessions_is_found_when_they_are_read() {
    let (folder, mut store) = company();
    apply(&mut store, issue(0));
    let many = "
        WITH RECURSIVE added (number) AS (SELECT 2 UNION ALL SELECT number + 1 FROM added LIMIT 60000)
        INSERT INTO session (number, digest, user, unit, key, issued_at, idle_ms, ends_at)
        SELECT added.number, randomblob(32), user, unit, key, issued_at, idle_ms, ends_at FROM added, session;
        INSERT INTO session_use_block SELECT DISTINCT number / 128, zeroblob(1024) FROM session;
        UPDATE journal_state SET next_number = 60002;";
    store.writer.connection.execute_batch(many).unwrap();
    let pages = |table: &str| -> Vec<u64> {
        let mut pages = store.writer.connection.prepare("SELECT pageno FROM dbstat WHERE name = ?1").unwrap();
        pages.query_map([table], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let (sessions, uses) = (pages("session"), pages("session_use_block"));
    drop(store);
    let read = || {
        let store = SqliteStore::open(&data(&folder))?;
        let mut reader = store.sessions()?;
        while reader.read(&SessionTable::default(), at(0))? {}
        reader.check()?;
        Ok::<_, OpenError>(reader.progress().read)
    };
    assert_eq!(read().unwrap(), 60_001);
    let database = data(&folder).join("doorward.db");
    let whole = fs::read(&database).unwrap();
    for number in [sessions[0], sessions[sessions.len() / 2], uses[0], uses[uses.len() - 1]] {
        let file = fs::File::options().write(true).open(&database).unwrap();
        file.write_all_at(&[0xA7; 4096], (number - 1) * 4096).unwrap();
        let error = read().unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "page {number}: {error}");
        fs::write(&database, &whole).unwrap();
    }
}

#[test]
fn a_store_without_sessions_has_been_read() {
    let (_folder, mut store) = company();
    store.apply(&[issue(0), release(1)]).unwrap();
    let mut reader = store.sessions().unwrap();
    assert!(!reader.read(&SessionTable::default(), at(0)).unwrap());
    assert_eq!((reader.live(), reader.progress()), (0, Progress { read: 0, percent: 100 }));
}

#[test]
fn t4_the_latest_time_is_kept() {
    let (folder, mut store) = company();
    assert_eq!(store.latest(), Some(at(0)));
    let later = AuditRecord { at: at(30), ..audit(Event::Release) };
    store.apply(&[Entry::Tick(at(20)), Entry::Record(later), Entry::Tick(at(10))]).unwrap();
    assert_eq!(store.latest(), Some(at(30)));
    apply(&mut store, Entry::Tick(at(5)));
    assert_eq!(reopen(store, &folder).latest(), Some(at(30)));

    let empty = TempDir::new().unwrap();
    assert_eq!(SqliteStore::create(empty.path(), Kind::Real, &[]).unwrap().latest(), None);
}
