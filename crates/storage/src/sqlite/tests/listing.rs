//! Lists and look-ups: each item once, in order, along an index.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use doorward_domain::{
    audit::chain::RecordFilter,
    catalogue::{Catalogue, OrganisationReference},
    directory::{Directory, StoreFuture},
    name::fold,
    resource::{KeyFilter, OrganisationFilter, Page, PageRequest, UnitFilter, UserFilter},
};
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::*;
use crate::{SqliteDirectory, sqlite::catalogue::list_with_hashes};

/// Globex with many users, of whom every third is disabled and every fifth works in the lab too, and their keys.
fn crowd() -> (TempDir, SqliteStore) {
    let (folder, mut store) = company();
    let lab = UnitId::from_bytes([14; 16]);
    let mut changes = vec![create_unit(lab, GLOBEX, "Lab")];
    for n in 0..60u8 {
        let prefix = ["ann", "ANNE", "bob", "Zo\u{eb}", "zoe\u{308}y", "50%", "a_b"][usize::from(n) % 7];
        let id = UserId::from_bytes([100 + n; 16]);
        let units: &[UnitId] = if n % 5 == 0 { &[GLOBEX_UNIT, lab] } else { &[GLOBEX_UNIT] };
        let mut change = create_user(id, GLOBEX, &format!("{prefix}{n:02}"), units);
        if let Change::CreateUser { user, .. } = &mut change {
            user.status = if n % 3 == 0 { Status::Disabled } else { Status::Active };
            user.email = Some(format!("Person{}@globex.example", n % 4));
        }
        changes.push(change);
        let key = KeyId::from_bytes([100 + n; 16]);
        changes.push(create_key(key, GLOBEX, id, 100 + n));
        let unit = UnitId::from_bytes([200 - n; 16]);
        changes.push(create_unit(unit, GLOBEX, &format!("{prefix} {n:02}")));
        let organisation = OrganisationId::from_bytes([200 - n; 16]);
        changes.push(create_organisation(organisation, &format!("{prefix}-{n:02}"), false));
    }
    assert!(change_all(&mut store, &changes).iter().all(|outcome| *outcome == Outcome::Committed(None)));
    (folder, store)
}

/// Goes through a list page by page, with pages of every size, and checks that each time it is the same.
async fn all<'a, T, K: Ord + Clone + std::fmt::Debug>(
    list: impl Fn(PageRequest) -> StoreFuture<'a, Page<T>>,
    key: impl Fn(&T) -> K,
) -> Vec<K> {
    let whole = list(PageRequest { after: None, limit: 1_000 }).await.unwrap();
    assert_eq!(whole.next, None);
    let whole: Vec<_> = whole.items.iter().map(&key).collect();
    assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), whole.len(), "each once");
    for limit in 1..=7 {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = list(PageRequest { after, limit }).await.unwrap();
            assert!(page.items.len() == limit || page.next.is_none());
            found.extend(page.items.iter().map(&key));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, whole, "in pages of {limit}");
    }
    whole
}

#[tokio::test]
async fn users_are_listed_each_once_whatever_is_asked_for() {
    let (_folder, store) = crowd();
    let (_ledger, directory) = store.start(Arc::new(doorward_domain::observer::NoObserver), 1).unwrap();
    let everybody = all(
        |page| directory.list_users(GLOBEX, UserFilter::default(), page),
        |user| user.user.value.username.canonical().as_str().to_owned(),
    )
    .await;
    assert_eq!(everybody.len(), 61, "and nobody of another organisation");
    assert!(everybody.is_sorted());
    let (lab, nobodys) = (UnitId::from_bytes([14; 16]), UnitId::from_bytes(NOBODY));
    let prefixes = ["", "ann", "ANN", "zoë", "ZOE\u{308}", "50%", "%", "_", "a_", "zz", "\u{10ffff}"];
    for prefix in prefixes.map(Some).into_iter().chain([None]) {
        for status in [None, Some(Status::Active), Some(Status::Disabled)] {
            for unit in [None, Some(lab), Some(GLOBEX_UNIT), Some(SALES), Some(nobodys)] {
                for email in [None, Some("PERSON1@globex.example"), Some("x")] {
                    let filter = UserFilter {
                        prefix: prefix.map(fold),
                        username: None,
                        email: email.map(str::to_owned),
                        status,
                        unit,
                    };
                    let list = |page| directory.list_users(GLOBEX, filter.clone(), page);
                    let found = all(list, |user| user.user.value.id).await;
                    let every = directory.list_users(
                        GLOBEX,
                        UserFilter::default(),
                        PageRequest { after: None, limit: 1_000 },
                    );
                    let wanted: BTreeSet<_> = every
                        .await
                        .unwrap()
                        .items
                        .into_iter()
                        .map(|user| user.user.value)
                        .filter(|user| {
                            let name = user.username.canonical().as_str();
                            prefix.is_none_or(|prefix| name.starts_with(&fold(prefix)))
                                && status.is_none_or(|status| user.status == status)
                                && unit.is_none_or(|unit| user.units.contains(&unit))
                                && email.is_none_or(|email| {
                                    user.email.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(email))
                                })
                        })
                        .map(|user| user.id)
                        .collect();
                    assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), wanted, "{filter:?}");
                }
            }
        }
    }
    let exact = UserFilter { username: Some(fold("ANN00")), ..UserFilter::default() };
    let found =
        all(|page| directory.list_users(GLOBEX, exact.clone(), page), |user| user.user.value.id).await;
    assert_eq!(found, [UserId::from_bytes([100; 16])], "one, though others begin so");
}

#[tokio::test]
async fn units_organisations_and_keys_are_listed_each_once() {
    let (_folder, store) = crowd();
    let (_ledger, directory) = store.start(Arc::new(doorward_domain::observer::NoObserver), 1).unwrap();
    let filter = |prefix: &str| UnitFilter { prefix: Some(fold(prefix)), ..UnitFilter::default() };
    let units = async |filter: UnitFilter| {
        let name = |unit: &doorward_domain::resource::Stored<Unit>| unit.value.name.to_string();
        all(|page| directory.list_units(GLOBEX, filter.clone(), page), name).await
    };
    assert_eq!(units(UnitFilter::default()).await.len(), 62);
    assert_eq!(units(filter("ANN")).await.len(), 18);
    assert_eq!(units(filter("zoë")).await.len(), 17);
    assert_eq!(units(filter("%")).await.len(), 0);
    assert_eq!(units(UnitFilter { name: Some(fold("LAB")), ..UnitFilter::default() }).await, ["Lab"]);

    let organisations = async |prefix: Option<&str>| {
        let filter = OrganisationFilter { prefix: prefix.map(fold), status: None };
        let code = |organisation: &doorward_domain::resource::Stored<Organisation>| {
            organisation.value.code.to_string()
        };
        all(|page| directory.list_organisations(filter.clone(), page), code).await
    };
    assert_eq!(organisations(None).await.len(), 62);
    assert_eq!(organisations(Some("anne-")).await.len(), 9);

    let keys = async |filter: KeyFilter| {
        all(|page| directory.list_keys(GLOBEX, filter.clone(), page), |key| key.key.value.id).await
    };
    assert_eq!(keys(KeyFilter::default()).await.len(), 60);
    let user = Some(UserId::from_bytes([107; 16]));
    assert_eq!(keys(KeyFilter { user, ..KeyFilter::default() }).await, [KeyId::from_bytes([107; 16])]);
    assert_eq!(
        keys(KeyFilter { user: Some(ZOE), ..KeyFilter::default() }).await,
        [],
        "another organisation's"
    );
    let expires_before = Some(at(5));
    assert_eq!(keys(KeyFilter { expires_before, ..KeyFilter::default() }).await, [], "not before");
    let expires_before = Some(at(6));
    assert_eq!(keys(KeyFilter { expires_before, ..KeyFilter::default() }).await.len(), 60);
    let unused_since = Some(at(1));
    assert_eq!(keys(KeyFilter { unused_since, ..KeyFilter::default() }).await.len(), 60);
    let status = Some(Status::Disabled);
    assert_eq!(keys(KeyFilter { status, ..KeyFilter::default() }).await, []);
}

#[tokio::test]
async fn a_cursor_that_nobody_gave_out_harms_nothing() {
    let (_folder, store) = crowd();
    let (_ledger, directory) = store.start(Arc::new(doorward_domain::observer::NoObserver), 1).unwrap();
    for after in ["", "x'; DROP TABLE user", "\u{10ffff}", "0", &"f".repeat(32), &"\0".repeat(9)] {
        let page = || PageRequest { after: Some(after.into()), limit: 3 };
        directory.list_organisations(OrganisationFilter::default(), page()).await.unwrap();
        directory.list_units(GLOBEX, UnitFilter::default(), page()).await.unwrap();
        directory.list_users(GLOBEX, UserFilter::default(), page()).await.unwrap();
        let unit = Some(GLOBEX_UNIT);
        directory.list_users(GLOBEX, UserFilter { unit, ..UserFilter::default() }, page()).await.unwrap();
        directory.list_keys(GLOBEX, KeyFilter::default(), page()).await.unwrap();
    }
}

/// The one query that reads a whole table: it counts keys, every few minutes, for a metric.
const READS_ALL: &str = "count(*) FILTER";

/// Every statement of look-ups and lists searches by an index and sorts nothing that has no bound.
#[tokio::test]
async fn no_query_is_without_an_index() {
    let (_folder, mut store) = crowd();
    store.apply(&[issue(200), release(1)]).unwrap();
    let (_ledger, directory) = store.start(Arc::new(doorward_domain::observer::NoObserver), 1).unwrap();
    static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let watch = |connection: &mut rusqlite::Connection| {
        let note = |event: TraceEvent<'_>| {
            if let TraceEvent::Stmt(_, sql) = event {
                SEEN.lock().unwrap().insert(sql.to_owned());
            }
        };
        connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note))
    };
    for readers in [&directory.readers, &directory.record_reader] {
        directory.put(readers, watch).await.unwrap();
    }
    ask_everything(&directory).await;
    let explained = directory.put(&directory.readers, |connection| {
        let statements: Vec<_> = SEEN.lock().unwrap().iter().cloned().collect();
        let mut plans = Vec::new();
        for sql in statements.into_iter().filter(|sql| sql.trim_start().starts_with("SELECT")) {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let steps =
                statement.raw_query().mapped(|row| row.get::<_, String>(3)).collect::<Result<Vec<_>, _>>()?;
            plans.push((sql, steps));
        }
        Ok(plans)
    });
    let plans = explained.await.unwrap();
    assert!(plans.len() >= 26, "{}", plans.len());
    for (sql, steps) in plans {
        let is_bounded = sql.contains("FROM key_secret");
        for step in steps {
            let is_scan = step.starts_with("SCAN ") && !step.contains("CONSTANT ROW");
            assert!(!is_scan || sql.contains(READS_ALL), "{step}\n{sql}");
            assert!(!step.contains("TEMP B-TREE FOR ORDER BY") || is_bounded, "{step}\n{sql}");
            // The first column alone leaves all of an organisation's rows to look at.
            let is_by_organisation_alone = step.ends_with("(organisation=?)");
            let is_meant = sql.contains("organisation_rule") || sql.contains("audit_chain");
            assert!(!is_by_organisation_alone || is_meant, "{step}\n{sql}");
        }
    }
}

async fn ask_everything(directory: &SqliteDirectory) {
    let page = || PageRequest { after: None, limit: 2 };
    directory.find_by_name(canonical("acme"), canonical("zoë")).await.unwrap();
    directory.find_by_name(canonical("acme"), canonical("nobody")).await.unwrap();
    directory.find_by_key(doorward_domain::credential::KeyDigest::from_bytes([31; 32])).await.unwrap();
    directory.find_holder(ZOE, Some(KEY)).await.unwrap();
    directory.list_names(ZOE).await.unwrap();
    directory.find_organisation(OrganisationReference::Id(ACME)).await.unwrap();
    directory.find_organisation(OrganisationReference::Code(canonical("acme"))).await.unwrap();
    directory.list_organisations(OrganisationFilter::default(), page()).await.unwrap();
    directory.find_unit(ACME, SALES).await.unwrap();
    directory.find_units(ACME, vec![SALES]).await.unwrap();
    directory.list_units(ACME, UnitFilter::default(), page()).await.unwrap();
    directory.find_user(ACME, ZOE).await.unwrap();
    directory.find_users(ACME, vec![canonical("zoë")], vec![ZOE]).await.unwrap();
    let (unit, status, email) = (Some(SALES), Some(Status::Active), Some("x@y".to_owned()));
    for filter in [
        UserFilter::default(),
        UserFilter { unit, ..UserFilter::default() },
        UserFilter { status, ..UserFilter::default() },
        UserFilter { email: email.clone(), ..UserFilter::default() },
        UserFilter { unit, status, email, prefix: Some("z".into()), username: None },
    ] {
        directory.list_users(ACME, filter, page()).await.unwrap();
    }
    let with_hashes = directory.ask(|transaction| list_with_hashes(transaction, ACME, Some("a"), 2));
    with_hashes.await.unwrap();
    directory.find_key(ACME, KEY).await.unwrap();
    for user in [None, Some(ZOE)] {
        directory.list_keys(ACME, KeyFilter { user, ..KeyFilter::default() }, page()).await.unwrap();
    }
    directory.count_keys(at(0), at(0)).await.unwrap();
    directory.list_session_addresses(vec![SessionNumber(1)]).await.unwrap();
    directory.find_once(ZOE, [0; 32]).await.unwrap();
    for oldest_first in [false, true] {
        let filter = RecordFilter { oldest_first, user: Some(ZOE), ..RecordFilter::default() };
        directory.list_records(Some(ACME), filter, page()).await.unwrap();
    }
    directory.find_chain(None).await.unwrap();
    directory.find_oldest_record().await.unwrap();
    let past = directory.find_ended_session(digest(200).session()).await.unwrap();
    directory.find_ending(past.unwrap()).await.unwrap();
}
