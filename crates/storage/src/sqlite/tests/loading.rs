//! What a start does with the sessions that it finds, and the time that it does not start before.

use std::sync::Arc;

use doorward_domain::{catalogue::Catalogue, observer::NoObserver};

use super::*;

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
        apply(&mut store, issue_by(Method::WebApiKey(KEY), 1, KEY_NOT_ENDED));
        assert_eq!(change(&mut store, ending.clone()), numbered(2));
        let store = reopen(store, &folder);
        assert_eq!(live_tokens(&store, at(0)), [0; 0], "{ending:?}");
        assert_eq!((count(&store, "session"), count(&store, "session_use")), (0, 0), "{ending:?}");
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
fn progress_ends_with_all() {
    let (_folder, mut store) = company();
    store.apply(&(0..100).map(issue).collect::<Vec<_>>()).unwrap();
    let mut told = Vec::new();
    store.load(&SessionTable::default(), at(0), &mut |done, total| told.push((done, total))).unwrap();
    assert_eq!(told, [(100, 100)]);
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
