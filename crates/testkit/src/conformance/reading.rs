//! The directory: accounts, keys, audit records, snapshots, and a queue with an end.

use std::{sync::Arc, thread};

use doorward_domain::{
    audit::{
        AuditRecord, Event, Origin, Reason,
        chain::{ChainDigest, RecordFilter, StoredRecord},
    },
    catalogue::Catalogue,
    directory::{Directory, NameLookup, OrganisationRecord, Status},
    journal::{Entry, Ledger},
    observer::NoObserver,
    resource::PageRequest,
    session::{Method, Scope},
};

use super::{company::*, *};

/// The records of a chain, the oldest first.
async fn list_records<S: Store>(store: &S, organisation: Option<OrganisationId>) -> Vec<StoredRecord> {
    let filter = RecordFilter { oldest_first: true, ..RecordFilter::default() };
    let page = PageRequest { after: None, limit: 100 };
    let page = store.directory().list_records(organisation, filter, page).await.unwrap();
    assert_eq!(page.next, None);
    page.items
}

pub(super) async fn finds_a_user_by_any_spelling_of_the_names<S: Store>() {
    let mut store = company::<S>().await;
    let lab = number(change(&mut store, set_status(Scope::Unit(LAB), Status::Disabled)).await);
    let found = store.directory().find_by_name(canonical("acme"), canonical("ZOE\u{308}")).await.unwrap();
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
    assert_eq!(states, [(Status::Active, ZERO), (Status::Disabled, lab)]);
}

pub(super) async fn says_what_is_unknown<S: Store>() {
    let store = company::<S>().await;
    let found = store.directory().find_by_name(canonical("initech"), canonical("zoë")).await.unwrap();
    assert!(matches!(found, NameLookup::UnknownOrganisation));
    let found = store.directory().find_by_name(canonical("acme"), canonical("zoe")).await.unwrap();
    assert!(matches!(found, NameLookup::UnknownUser(OrganisationRecord { id: ACME, .. })));
    assert!(store.directory().find_by_key(key_digest(7)).await.unwrap().is_none());
}

pub(super) async fn finds_a_key_with_its_user<S: Store>() {
    let mut store = company::<S>().await;
    let changes = [
        set_password(ACME, ZOE, "second"),
        set_status(Scope::Key(ZOE, KEY), Status::Disabled),
        set_status(Scope::Organisation(ACME), Status::Disabled),
    ];
    let ends: [_; 3] = numbers(change_all(&mut store, &changes).await);
    let (key, account) = store.directory().find_by_key(key_digest(31)).await.unwrap().unwrap();
    assert_eq!((key.id, key.status, key.expires_at), (KEY, Status::Disabled, Some(at(5))));
    assert_eq!((account.user.id, account.user.password_hash), (ZOE, Some(hash("second"))));
    assert_eq!((account.organisation.id, account.organisation.status), (ACME, Status::Disabled));
    assert_eq!([account.user.ended, key.ended, account.organisation.ended], ends);
    assert_eq!(account.units.len(), 2);
}

pub(super) async fn an_account_is_read_in_one_snapshot<S: Store>() {
    let mut store = company::<S>().await;
    let mut ledger = store.lend(Arc::new(NoObserver)).await;
    let writer = thread::spawn(move || {
        for round in 0..200 {
            let status = if round % 2 == 0 { Status::Disabled } else { Status::Active };
            let scopes = [Scope::Organisation(ACME), Scope::User(ZOE), Scope::Unit(SALES)];
            let batch = scopes.map(|scope| changed(set_status(scope, status)));
            ledger.commit(&batch).unwrap();
        }
    });
    while !writer.is_finished() {
        let found = store.directory().find_by_name(canonical("acme"), canonical("zoë")).await.unwrap();
        let NameLookup::Found(account) = found else { panic!("{found:?}") };
        let sales = account.units.iter().find(|unit| unit.id == SALES).unwrap();
        assert_eq!(
            (account.user.status, sales.status),
            (account.organisation.status, account.organisation.status)
        );
    }
    writer.join().unwrap();
}

pub(super) async fn s2_audit_records_come_back_as_they_were_whatever_a_caller_sent<S: Store>() {
    let mut store = company::<S>().await;
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
        // Ids of requests come from headers, where no zero can be.
        .map(|text| AuditRecord {
            at: at(3),
            event: Event::PasswordLogin,
            reason: Reason::UnknownUser,
            origin: Origin {
                address: Some("2001:db8::7".parse().unwrap()),
                request_id: text.replace('\0', ""),
            },
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
    store.apply(&records.iter().cloned().map(Entry::Record).collect::<Vec<_>>()).await.unwrap();
    let rows = list_records(&store, Some(ACME)).await;
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

pub(super) async fn s2_every_change_and_every_login_has_its_record<S: Store>() {
    let mut store = company::<S>().await;
    let by_key = issue_by(Method::WebApiKey(KEY), 1, KEY_NOT_ENDED);
    let issued = number(apply(&mut store, by_key).await);
    store.apply(&[release(issued, 1), Entry::Record(audit(Event::WebApiKeyLogin))]).await.unwrap();
    change(&mut store, set_password(ACME, ZOE, "second")).await;
    let rows = list_records(&store, None).await;
    let mut expected = vec!["created"; 8];
    expected.extend(["password_login", "release", "web_api_key_login", "updated"]);
    assert_eq!(rows.iter().map(|row| row.event.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(rows.last().unwrap().address, None);
}
