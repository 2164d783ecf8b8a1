//! How sessions ended: what is remembered, for how long, and which ending was the first to reach one.

use std::sync::Arc;

use doorward_domain::{
    catalogue::{Catalogue, Ending},
    change::EndCause,
    id::SessionId,
    observer::NoObserver,
    session::{PastSession, REMEMBERED_FOR},
};

use super::*;

fn session_of(token: u8) -> SessionId {
    digest(token).session()
}

/// Asks what became of sessions, in a store that is then gone.
fn ask(store: SqliteStore, tokens: &[u8]) -> Vec<Option<(PastSession, Option<Ending>)>> {
    let (_ledger, directory) = store.start(Arc::new(NoObserver), 1).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut found = Vec::new();
        for token in tokens {
            let past = directory.find_ended_session(session_of(*token)).await.unwrap();
            found.push(match past {
                Some(past) => Some((past.clone(), directory.find_ending(past).await.unwrap())),
                None => None,
            });
        }
        found
    })
}

#[test]
fn a_release_is_remembered_with_who_did_it() {
    let (_folder, mut store) = company();
    store.apply(&[issue(1), issue(2), issue(3), release(1)]).unwrap();
    let Entry::Release { number, session, audit, .. } = release(2) else { panic!() };
    let audit = AuditRecord { actor: Some(GLOBEX_USER), organisation: Some(ACME), at: at(7), ..audit };
    store.apply(&[Entry::Release { number, session, last_used_at: at(6), audit }, release(2)]).unwrap();
    let found = ask(store, &[1, 2, 3]);
    let released = |found: &Option<(PastSession, Option<Ending>)>| found.as_ref().unwrap().0.released;
    assert_eq!(
        (released(&found[0]), released(&found[1])),
        (Some((at(0), None)), Some((at(7), Some(GLOBEX_USER))))
    );
    let last_used = |found: &Option<(PastSession, Option<Ending>)>| found.as_ref().unwrap().0.last_used_at;
    assert_eq!((last_used(&found[0]), last_used(&found[1])), (at(0), at(6)), "memory knows the last use");
    assert_eq!(found[2], None, "it is live");
    let (past, ending) = found[0].clone().unwrap();
    assert_eq!(
        (past.organisation, past.user, past.unit, past.method),
        (Some(ACME), ZOE, SALES, Method::Password)
    );
    assert_eq!((past.issued_at, past.idle, past.ends_at), (at(0), Some(HOUR), at(0).plus(24 * HOUR)));
    assert_eq!(ending, None);
}

#[test]
fn the_first_ending_that_reached_a_session_is_found() {
    let (_folder, mut store) = company();
    // 1: by password; 2: by key; 3: the key is rotated; 4: the user is disabled; 5: issued afterwards.
    let by_key = issue_by(Method::WebApiKey(KEY), 2, KEY_NOT_ENDED);
    store.apply(&[issue(1), by_key]).unwrap();
    let rotate = Change::RotateKey {
        organisation: ACME,
        user: ZOE,
        id: KEY,
        secret: secret(32),
        overlap_until: None,
        expected: None,
    };
    let by_admin = AuditRecord { actor: Some(GLOBEX_USER), at: at(3), ..audit(Event::KeyRotated) };
    store.apply(&[Entry::change(rotate, by_admin)]).unwrap();
    change(&mut store, set_status(Scope::User(ZOE), Status::Disabled));
    let seen = Seen { user: SessionNumber(4), ..NOTHING_ENDED };
    store.apply(&[issue_by(Method::Password, 5, seen), forget(&[1, 2])]).unwrap();
    let found = ask(store, &[1, 2, 5]);
    let ending = |found: &Option<(PastSession, Option<Ending>)>| found.as_ref().unwrap().1.unwrap();
    let disabled = Ending { at: at(0), cause: Some(EndCause::UserDisabled), actor: None };
    let rotated = Ending { at: at(3), cause: Some(EndCause::KeyRotated), actor: Some(GLOBEX_USER) };
    assert_eq!((ending(&found[0]), ending(&found[1]), &found[2]), (disabled, rotated, &None));
}

#[test]
fn a_session_whose_user_is_deleted_is_remembered_by_what_memory_knew() {
    let (_folder, mut store) = company();
    store.apply(&[issue(1)]).unwrap();
    change(&mut store, Change::DeleteUser { organisation: ACME, id: ZOE, expected: None });
    store.apply(&[forget(&[1])]).unwrap();
    let (past, ending) = ask(store, &[1]).remove(0).unwrap();
    assert_eq!((past.organisation, past.user), (Some(ACME), ZOE));
    assert_eq!(ending.unwrap().cause, Some(EndCause::UserDeleted));
}

#[test]
fn what_ended_while_the_server_was_down_is_remembered_too() {
    let (folder, mut store) = company();
    store.apply(&[issue(1)]).unwrap();
    let store = reopen(store, &folder);
    assert!(live_tokens(&store, at(0).plus(25 * HOUR)).is_empty());
    let (past, ending) = ask(store, &[1]).remove(0).unwrap();
    assert_eq!((past.organisation, past.expires_at(), ending), (Some(ACME), at(0).plus(HOUR), None));
}

#[test]
fn what_ended_is_forgotten_after_seven_days() {
    let (_folder, mut store) = company();
    store.apply(&[issue(1), issue(2), release(1)]).unwrap();
    change(&mut store, set_status(Scope::User(GLOBEX_USER), Status::Disabled));
    let count = |store: &SqliteStore| -> (u64, u64) {
        let count = |table| {
            let sql = format!("SELECT count(*) FROM {table}");
            store.writer.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        (count("ended_session"), count("ending"))
    };
    store.apply(&[Entry::Tick(at(0).plus(REMEMBERED_FOR))]).unwrap();
    assert_eq!(count(&store), (1, 1));
    store.apply(&[Entry::Tick(at(1).plus(REMEMBERED_FOR))]).unwrap();
    assert_eq!(count(&store), (0, 1));
    // A release makes room too.
    store.apply(&[release(2)]).unwrap();
    let Entry::Release { number, session, audit, .. } = release(9) else { panic!() };
    let audit = AuditRecord { at: at(1).plus(REMEMBERED_FOR), ..audit };
    assert_eq!(count(&store), (1, 1));
    store.apply(&[Entry::Release { number, session, last_used_at: at(0), audit }]).unwrap();
    assert_eq!(count(&store), (0, 1));
    // What ended is remembered for as long again: its sessions may be found later, when the server was down.
    store.apply(&[Entry::Tick(at(1).plus(2 * REMEMBERED_FOR))]).unwrap();
    assert_eq!(count(&store), (0, 0));
}
