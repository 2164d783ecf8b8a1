//! How sessions ended: what is remembered, for how long, and which ending was the first to reach one.

use doorward_domain::{
    audit::{AuditRecord, Event},
    catalogue::{Catalogue, Ending},
    change::{Change, EndCause},
    directory::Status,
    journal::{Entry, Seen},
    session::{Method, PastSession, REMEMBERED_FOR, Scope},
};

use super::{company::*, *};

/// Asks what became of sessions.
async fn ask<S: Store>(store: &S, tokens: &[u8]) -> Vec<Option<(PastSession, Option<Ending>)>> {
    let mut found = Vec::new();
    for token in tokens {
        let past = store.directory().find_ended_session(digest(*token).session()).await.unwrap();
        found.push(match past {
            Some(past) => Some((past.clone(), store.directory().find_ending(past).await.unwrap())),
            None => None,
        });
    }
    found
}

pub(super) async fn a_release_is_remembered_with_who_did_it<S: Store>() {
    let mut store = company::<S>().await;
    let [first, second, _] = numbers(store.apply(&[issue(1), issue(2), issue(3)]).await.unwrap());
    store.apply(&[release(first, 1)]).await.unwrap();
    let Entry::Release { number, session, audit, .. } = release(second, 2) else { panic!() };
    let audit = AuditRecord { actor: Some(GLOBEX_USER), organisation: Some(ACME), at: at(7), ..audit };
    let by_admin = Entry::Release { number, session, last_used_at: at(6), audit };
    store.apply(&[by_admin, release(second, 2)]).await.unwrap();
    let found = ask(&store, &[1, 2, 3]).await;
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

pub(super) async fn the_first_ending_that_reached_a_session_is_found<S: Store>() {
    let mut store = company::<S>().await;
    // 1: by password; 2: by key; 3: the key is rotated; 4: the user is disabled; 5: issued afterwards.
    let by_key = issue_by(Method::WebApiKey(KEY), 2, KEY_NOT_ENDED);
    let [first, second] = numbers(store.apply(&[issue(1), by_key]).await.unwrap());
    let rotate = Change::RotateKey {
        organisation: ACME,
        user: ZOE,
        id: KEY,
        secret: secret(32),
        overlap_until: None,
        expected: None,
    };
    let by_admin = AuditRecord { actor: Some(GLOBEX_USER), at: at(3), ..audit(Event::KeyRotated) };
    store.apply(&[Entry::change(rotate, by_admin)]).await.unwrap();
    let user = number(change(&mut store, set_status(Scope::User(ZOE), Status::Disabled)).await);
    let seen = Seen { user, ..NOTHING_ENDED };
    store.apply(&[issue_by(Method::Password, 5, seen), forget(&[first, second])]).await.unwrap();
    let found = ask(&store, &[1, 2, 5]).await;
    let ending = |found: &Option<(PastSession, Option<Ending>)>| found.as_ref().unwrap().1.unwrap();
    let disabled = Ending { at: at(0), cause: Some(EndCause::UserDisabled), actor: None };
    let rotated = Ending { at: at(3), cause: Some(EndCause::KeyRotated), actor: Some(GLOBEX_USER) };
    assert_eq!((ending(&found[0]), ending(&found[1]), &found[2]), (disabled, rotated, &None));
}

pub(super) async fn a_session_whose_user_is_deleted_is_remembered_by_what_memory_knew<S: Store>() {
    let mut store = company::<S>().await;
    let issued = number(apply(&mut store, issue(1)).await);
    change(&mut store, Change::DeleteUser { organisation: ACME, id: ZOE, expected: None }).await;
    store.apply(&[forget(&[issued])]).await.unwrap();
    let (past, ending) = ask(&store, &[1]).await.remove(0).unwrap();
    assert_eq!((past.organisation, past.user), (Some(ACME), ZOE));
    assert_eq!(ending.unwrap().cause, Some(EndCause::UserDeleted));
}

pub(super) async fn what_ended_is_forgotten_after_seven_days<S: Store>() {
    let mut store = company::<S>().await;
    let [first, second] = numbers(store.apply(&[issue(1), issue(2)]).await.unwrap());
    store.apply(&[release(first, 1)]).await.unwrap();
    change(&mut store, set_status(Scope::User(GLOBEX_USER), Status::Disabled)).await;
    let remembered = async |store: &S| {
        let contents = store.contents().await;
        (contents["ended_session"].len(), contents["ending"].len())
    };
    store.apply(&[Entry::Tick(at(0).plus(REMEMBERED_FOR))]).await.unwrap();
    assert_eq!(remembered(&store).await, (1, 1));
    store.apply(&[Entry::Tick(at(1).plus(REMEMBERED_FOR))]).await.unwrap();
    assert_eq!(remembered(&store).await, (0, 1));
    // A release makes room too.
    store.apply(&[release(second, 2)]).await.unwrap();
    assert_eq!(remembered(&store).await, (1, 1));
    let late = at(1).plus(REMEMBERED_FOR);
    let mut nobodys = release(SessionNumber(second.0 + 77), 9);
    if let Entry::Release { audit, .. } = &mut nobodys {
        audit.at = late;
    }
    store.apply(&[nobodys]).await.unwrap();
    assert_eq!(remembered(&store).await, (0, 1));
    // What ended is remembered for as long again: its sessions may be found later, when the server was down.
    store.apply(&[Entry::Tick(late.plus(REMEMBERED_FOR))]).await.unwrap();
    assert_eq!(remembered(&store).await, (0, 0));
}
