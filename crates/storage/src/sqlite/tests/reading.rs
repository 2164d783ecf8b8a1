//! The directory: accounts, keys, audit records, snapshots, and a queue with an end.

use std::{
    pin::pin,
    sync::{Arc, mpsc},
    task::{Context, Poll, Waker},
    thread,
};

use doorward_domain::{
    audit::chain::{ChainDigest, StoredRecord},
    directory::{Directory, NameLookup, OrganisationRecord},
    journal::{Ledger, StoreError},
    observer::NoObserver,
};

use super::*;
use crate::{SqliteDirectory, SqliteLedger};

fn start(store: SqliteStore) -> (SqliteLedger, SqliteDirectory) {
    store.start(Arc::new(NoObserver), 2).unwrap()
}

#[tokio::test]
async fn finds_a_user_by_any_spelling_of_the_names() {
    let (_folder, mut store) = company();
    change(&mut store, set_status(Scope::Unit(LAB), Status::Disabled));
    let (_ledger, directory) = start(store);
    let found = directory.find_by_name(canonical("acme"), canonical("ZOE\u{308}")).await.unwrap();
    let NameLookup::Found(account) = found else { panic!("{found:?}") };
    assert_eq!((account.organisation.id, account.organisation.code.as_str()), (ACME, "ACME"));
    assert_eq!((account.organisation.status, account.organisation.is_operator), (Status::Active, false));
    assert_eq!((account.user.id, account.user.username.as_str()), (ZOE, "Zoë"));
    assert_eq!((account.user.status, account.user.must_change_password), (Status::Active, false));
    assert_eq!(account.user.password_hash, Some(hash("first")));
    let units: Vec<_> =
        account.units.iter().map(|unit| (unit.id, unit.name.as_str(), unit.is_default)).collect();
    assert_eq!(units, [(SALES, "Sales", true), (LAB, "Lab", false)]);
    let states: Vec<_> = account.units.iter().map(|unit| (unit.status, unit.ended)).collect();
    assert_eq!(states, [(Status::Active, ZERO), (Status::Disabled, SessionNumber(1))]);
}

#[tokio::test]
async fn says_what_is_unknown() {
    let (_folder, store) = company();
    let (_ledger, directory) = start(store);
    let found = directory.find_by_name(canonical("initech"), canonical("zoë")).await.unwrap();
    assert!(matches!(found, NameLookup::UnknownOrganisation));
    let found = directory.find_by_name(canonical("acme"), canonical("zoe")).await.unwrap();
    assert!(matches!(found, NameLookup::UnknownUser(OrganisationRecord { id: ACME, .. })));
    assert!(directory.find_by_key(key_digest(7)).await.unwrap().is_none());
}

#[tokio::test]
async fn finds_a_key_with_its_user() {
    let (_folder, mut store) = company();
    change(&mut store, set_password(ACME, ZOE, "second"));
    change(&mut store, set_status(Scope::Key(ZOE, KEY), Status::Disabled));
    change(&mut store, set_status(Scope::Organisation(ACME), Status::Disabled));
    let (_ledger, directory) = start(store);
    let (key, account) = directory.find_by_key(key_digest(31)).await.unwrap().unwrap();
    assert_eq!((key.id, key.status, key.expires_at), (KEY, Status::Disabled, Some(at(5))));
    assert_eq!((account.user.id, account.user.password_hash), (ZOE, Some(hash("second"))));
    assert_eq!((account.organisation.id, account.organisation.status), (ACME, Status::Disabled));
    let marks = (account.user.ended, key.ended, account.organisation.ended);
    assert_eq!(marks, (SessionNumber(1), SessionNumber(2), SessionNumber(3)));
    assert_eq!(account.units.len(), 2);
}

#[tokio::test]
async fn an_account_is_read_in_one_snapshot() {
    let (_folder, store) = company();
    let (mut ledger, directory) = start(store);
    let writer = thread::spawn(move || {
        for round in 0..200 {
            let status = if round % 2 == 0 { Status::Disabled } else { Status::Active };
            let scopes = [Scope::Organisation(ACME), Scope::User(ZOE), Scope::Unit(SALES)];
            let batch = scopes.map(|scope| changed(set_status(scope, status)));
            ledger.commit(&batch).unwrap();
        }
    });
    while !writer.is_finished() {
        let found = directory.find_by_name(canonical("acme"), canonical("zoë")).await.unwrap();
        let NameLookup::Found(account) = found else { panic!("{found:?}") };
        let sales = account.units.iter().find(|unit| unit.id == SALES).unwrap();
        assert_eq!(
            (account.user.status, sales.status),
            (account.organisation.status, account.organisation.status)
        );
    }
    writer.join().unwrap();
}

#[test]
fn o1_a_full_queue_answers_busy() {
    let (_folder, store) = company();
    let (_ledger, directory) = store.start(Arc::new(NoObserver), 1).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let (started, has_started) = mpsc::channel();
    let (let_go, wait) = mpsc::channel();
    let mut slow = directory.ask(move |_| {
        started.send(()).unwrap();
        wait.recv().unwrap();
        Ok(())
    });
    assert!(slow.as_mut().poll(&mut context).is_pending());
    has_started.recv().unwrap();
    let mut waiting: Vec<_> = (0..1_024).map(|_| directory.list_names(ZOE)).collect();
    assert!(waiting.iter_mut().all(|question| question.as_mut().poll(&mut context).is_pending()));
    let one_more = pin!(directory.list_names(ZOE)).poll(&mut context);
    assert_eq!(one_more, Poll::Ready(Err(StoreError::Busy)));
    let_go.send(()).unwrap();
}

/// A search through audit records, however long it takes, holds up no login.
#[tokio::test]
async fn logins_do_not_wait_for_readers_of_audit_records() {
    let (_folder, store) = company();
    let (_ledger, directory) = start(store);
    let (let_go, wait) = mpsc::channel::<()>();
    let mut slow = directory.ask_for_records(move |_| Ok(wait.recv().is_ok()));
    assert!(slow.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    for _ in 0..3 {
        directory.find_by_name(canonical("acme"), canonical("zoë")).await.unwrap();
    }
    let_go.send(()).unwrap();
    assert!(slow.await.unwrap());
}

#[tokio::test]
async fn s2_audit_records_come_back_as_they_were_whatever_a_caller_sent() {
    let (_folder, mut store) = company();
    let hostile = [
        "'); DROP TABLE audit; --",
        "acme/zoe\n2026-11-24 release ok",
        "\"quoted\" \\ \r\n\t\u{1b}[2J",
        "before\0after",
        "",
        "\u{202e}eoz/emca \u{feff}",
    ];
    let records: Vec<_> = hostile
        .iter()
        .map(|text| AuditRecord {
            at: at(3),
            event: Event::PasswordLogin,
            reason: Reason::UnknownUser,
            origin: Origin { address: Some("2001:db8::7".parse().unwrap()), request_id: (*text).into() },
            organisation: Some(ACME),
            unit: Some(SALES),
            user: Some(ZOE),
            key: Some(KEY),
            actor: Some(GLOBEX_USER),
            session: Some(digest(7).session()),
            members: vec!["units", "default_unit"],
            claimed: Some((*text).into()),
        })
        .collect();
    store.apply(&records.iter().cloned().map(Entry::Record).collect::<Vec<_>>()).unwrap();
    let (_ledger, directory) = start(store);
    let rows = directory.list_newest_records(hostile.len() as u32).await.unwrap();
    let previous = [ChainDigest::BEGINNING].into_iter().chain(rows.iter().map(StoredRecord::digest));
    let expected: Vec<_> = records
        .iter()
        .zip(1..)
        .zip(previous)
        .map(|((record, number), previous)| StoredRecord {
            number,
            previous,
            at: at(3),
            event: "password_login".into(),
            reason: "unknown_user".into(),
            address: Some("2001:db8::7".into()),
            request_id: record.origin.request_id.clone(),
            organisation: Some(ACME),
            unit: Some(SALES),
            user: Some(ZOE),
            key: Some(KEY),
            claimed: record.claimed.clone(),
            actor: Some(GLOBEX_USER),
            session: Some(digest(7).session()),
            members: Some("units,default_unit".into()),
        })
        .collect();
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn s2_every_change_and_every_login_has_its_record() {
    let (_folder, mut store) = company();
    let by_key = issue_by(Method::WebApiKey(KEY), 1, KEY_NOT_ENDED);
    store.apply(&[by_key, release(1), Entry::Record(audit(Event::WebApiKeyLogin))]).unwrap();
    change(&mut store, set_password(ACME, ZOE, "second"));
    let (_ledger, directory) = start(store);
    let rows = directory.list_newest_records(100).await.unwrap();
    let mut expected = vec!["created"; 8];
    expected.extend(["password_login", "release", "web_api_key_login", "updated"]);
    assert_eq!(rows.iter().map(|row| row.event.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(rows.last().unwrap().address, None);
}
