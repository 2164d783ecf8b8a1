//! Lists and look-ups go along an index.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use doorward_domain::{
    audit::chain::RecordFilter,
    catalogue::{Catalogue, OrganisationReference},
    directory::Directory,
    resource::{KeyFilter, OrganisationFilter, PageRequest, UnitFilter, UserFilter},
};
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::*;
use crate::{SqliteDirectory, sqlite::catalogue::list_with_hashes};

/// The one query that reads a whole table: it counts keys, every few minutes, for a metric.
const READS_ALL: &str = "count(*) FILTER";

/// Every statement of look-ups and lists searches by an index and sorts nothing that has no bound.
#[tokio::test]
async fn no_query_is_without_an_index() {
    let (_folder, mut store) = company();
    change_all(&mut store, &crowd());
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
