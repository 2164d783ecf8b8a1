//! Lists and look-ups: each item once, in order, along an index.

use std::collections::BTreeSet;

use doorward_domain::{
    audit::{
        AuditRecord, Event,
        chain::{RecordFilter, StoredRecord},
    },
    catalogue::{Catalogue, OrganisationReference},
    directory::{Role, Status, StoreFuture},
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::Entry,
    name::fold,
    resource::{
        Classification, Key, KeyFilter, Organisation, OrganisationFilter, Page, PageRequest, Stored, Unit,
        UnitFilter, User, UserFilter,
    },
    session::{Method, Scope},
    session_table::{SessionFilter, SessionPlace},
};

use super::{company::*, *};

/// Both companies, and Globex with many users.
async fn crowd<S: Store>() -> S {
    let mut store = company::<S>().await;
    let outcomes = change_all(&mut store, &company::crowd()).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Committed(None)));
    store
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

pub(super) async fn users_are_listed_each_once_whatever_is_asked_for<S: Store>() {
    let store = crowd::<S>().await;
    let everybody = all(
        |page| store.directory().list_users(GLOBEX, UserFilter::default(), page),
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
                    let list = |page| store.directory().list_users(GLOBEX, filter.clone(), page);
                    let found = all(list, |user| user.user.value.id).await;
                    let every = store.directory().list_users(
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
        all(|page| store.directory().list_users(GLOBEX, exact.clone(), page), |user| user.user.value.id)
            .await;
    assert_eq!(found, [UserId::from_bytes([100; 16])], "one, though others begin so");
}

pub(super) async fn units_organisations_and_keys_are_listed_each_once<S: Store>() {
    let store = crowd::<S>().await;
    let filter = |prefix: &str| UnitFilter { prefix: Some(fold(prefix)), ..UnitFilter::default() };
    let units = async |filter: UnitFilter| {
        let name = |unit: &Stored<Unit>| unit.value.name.to_string();
        all(|page| store.directory().list_units(GLOBEX, filter.clone(), page), name).await
    };
    assert_eq!(units(UnitFilter::default()).await.len(), 62);
    assert_eq!(units(filter("ANN")).await.len(), 18);
    assert_eq!(units(filter("zoë")).await.len(), 17);
    assert_eq!(units(filter("%")).await.len(), 0);
    assert_eq!(units(UnitFilter { name: Some(fold("LAB")), ..UnitFilter::default() }).await, ["Lab"]);

    let organisations = async |prefix: Option<&str>| {
        let filter = OrganisationFilter { prefix: prefix.map(fold), status: None };
        let code = |organisation: &Stored<Organisation>| organisation.value.code.to_string();
        all(|page| store.directory().list_organisations(filter.clone(), page), code).await
    };
    assert_eq!(organisations(None).await.len(), 62);
    assert_eq!(organisations(Some("anne-")).await.len(), 9);

    let keys = async |filter: KeyFilter| {
        all(|page| store.directory().list_keys(GLOBEX, filter.clone(), page), |key| key.key.value.id).await
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

pub(super) async fn a_cursor_that_nobody_gave_out_harms_nothing<S: Store>() {
    let store = crowd::<S>().await;
    for after in ["", "x'; DROP TABLE user", "\u{10ffff}", "0", &"f".repeat(32), &"\0".repeat(9)] {
        let page = || PageRequest { after: Some(after.into()), limit: 3 };
        store.directory().list_organisations(OrganisationFilter::default(), page()).await.unwrap();
        store.directory().list_units(GLOBEX, UnitFilter::default(), page()).await.unwrap();
        store.directory().list_users(GLOBEX, UserFilter::default(), page()).await.unwrap();
        let unit = Some(GLOBEX_UNIT);
        store
            .directory()
            .list_users(GLOBEX, UserFilter { unit, ..UserFilter::default() }, page())
            .await
            .unwrap();
        store.directory().list_keys(GLOBEX, KeyFilter::default(), page()).await.unwrap();
    }
}

/// Whatever is asked for, records come in the order of their numbers and each of them once.
pub(super) async fn records_are_listed_each_once_from_either_end<S: Store>() {
    let mut store = company::<S>().await;
    let records = (0..40i64).map(|n| {
        let event = if n % 3 == 0 { Event::Release } else { Event::PasswordLogin };
        let (user, session) = ((n % 2 == 0).then_some(ZOE), (n % 5 == 0).then(|| digest(n as u8).session()));
        let organisation = (n % 4 != 0).then_some(ACME);
        Entry::Record(AuditRecord { at: at(n), organisation, user, session, ..audit(event) })
    });
    store.apply(&records.collect::<Vec<_>>()).await.unwrap();
    for organisation in [None, Some(ACME), Some(GLOBEX)] {
        let list = async |filter: RecordFilter| -> Vec<StoredRecord> {
            let whole = PageRequest { after: None, limit: 1_000 };
            let whole = store.directory().list_records(organisation, filter.clone(), whole).await.unwrap();
            assert_eq!(whole.next, None);
            for limit in [1, 7, 30] {
                let (mut after, mut found) = (None, Vec::new());
                loop {
                    let page = PageRequest { after, limit };
                    let page =
                        store.directory().list_records(organisation, filter.clone(), page).await.unwrap();
                    found.extend(page.items);
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(found, whole.items);
            }
            whole.items
        };
        let mut all = list(RecordFilter { oldest_first: true, ..RecordFilter::default() }).await;
        let count = if organisation == Some(GLOBEX) { 0 } else { all.len() as u64 };
        assert!(all.iter().map(|record| record.number).eq(1..=count), "{all:?}");
        for event in [None, Some(Event::Release.as_str())] {
            for user in [None, Some(ZOE)] {
                for (from, until) in [(None, None), (Some(at(7)), Some(at(30)))] {
                    let filter = RecordFilter { event, user, from, until, ..RecordFilter::default() };
                    let newest_first = list(filter.clone()).await;
                    let wanted: Vec<_> =
                        all.iter().rev().filter(|record| filter.admits(record)).cloned().collect();
                    assert_eq!(newest_first, wanted, "{filter:?}");
                }
            }
        }
        all.reverse();
        assert_eq!(list(RecordFilter::default()).await, all);
    }
    assert_eq!(store.directory().find_oldest_record().await.unwrap(), Some(at(0)));
}

/// Organisations, units, users and keys of one company are found by the other company under no id, and by none twice.
pub(super) async fn m1_what_is_looked_for_is_found_in_its_own_organisation_alone<S: Store>() {
    let store = company::<S>().await;
    let directory = store.directory();
    for (organisation, is_own) in [(ACME, true), (GLOBEX, false), (OrganisationId::from_bytes(NOBODY), false)]
    {
        assert_eq!(directory.find_unit(organisation, SALES).await.unwrap().is_some(), is_own);
        let units = vec![LAB, UnitId::from_bytes(NOBODY), SALES];
        let own: &[UnitId] = if is_own { &[LAB, SALES] } else { &[] };
        assert_eq!(
            directory.find_units(organisation, units).await.unwrap(),
            own,
            "in the order of the question"
        );
        assert_eq!(directory.find_user(organisation, ZOE).await.unwrap().is_some(), is_own);
        let ids = vec![UserId::from_bytes(NOBODY), ZOE];
        let found = directory.find_users(organisation, Vec::new(), ids).await.unwrap();
        assert_eq!(found.len(), usize::from(is_own));
        assert_eq!(directory.find_key(organisation, KEY).await.unwrap().is_some(), is_own);
        let found = directory.find_organisation(OrganisationReference::Id(organisation)).await.unwrap();
        assert_eq!(found.is_some(), organisation != OrganisationId::from_bytes(NOBODY));
    }
    let names = vec![canonical("zoë"), canonical("nobody")];
    let found = directory.find_users(GLOBEX, names, vec![GLOBEX_USER]).await.unwrap();
    let ids: Vec<_> = found.iter().map(|(details, _)| details.user.value.id).collect();
    assert_eq!(ids, [GLOBEX_USER, GLOBEX_USER], "by name, then by id");
    assert_eq!(found[0].1, Some(hash("first")));
    let found = directory.find_organisation(OrganisationReference::Code(canonical("GLOBEX"))).await.unwrap();
    assert_eq!(found.unwrap().value.id, GLOBEX);
}

/// What logins and password changes ask beside the account.
pub(super) async fn holders_and_names_are_found<S: Store>() {
    let mut store = company::<S>().await;
    let key = Key { verifier: true, allowed_addresses: vec!["10.0.0.0/8".parse().unwrap()], ..key(KEY, ZOE) };
    change(&mut store, update_key(ACME, key)).await;
    let named = User { person_name: Some("Zoë Ω".into()), email: Some("zoe@acme.example".into()), ..zoe() };
    change(&mut store, update_user(ACME, named)).await;
    let directory = store.directory();
    let holder = directory.find_holder(ZOE, Some(KEY)).await.unwrap().unwrap();
    assert_eq!((holder.role, holder.key), (Role::Member, Some((Classification::SystemicKey, true))));
    assert_eq!(holder.allowed_addresses, ["10.0.0.0/8".parse().unwrap()]);
    let holder = directory.find_holder(ZOE, None).await.unwrap().unwrap();
    assert_eq!((holder.key, holder.allowed_addresses.len()), (None, 0));
    assert_eq!(directory.find_holder(GLOBEX_USER, Some(KEY)).await.unwrap(), None, "another user's key");
    assert_eq!(directory.find_holder(UserId::from_bytes(NOBODY), None).await.unwrap(), None);
    let names = directory.list_names(ZOE).await.unwrap();
    assert_eq!(names, ["ACME Ltd", "Zoë Ω", "zoe@acme.example"]);
    assert_eq!(directory.list_names(GLOBEX_USER).await.unwrap(), ["Globex Ltd"]);
    assert_eq!(directory.list_names(UserId::from_bytes(NOBODY)).await.unwrap(), [""; 0]);
    let counts = directory.count_keys(at(6), at(1)).await.unwrap();
    assert_eq!((counts.expiring, counts.unused), (1, 1));
    let counts = directory.count_keys(at(5), at(0)).await.unwrap();
    assert_eq!((counts.expiring, counts.unused), (0, 0));
}

/// Live sessions are listed by user, unit and key, those with no key first, then by age.
pub(super) async fn sessions_are_listed_each_once_in_order<S: Store>() {
    let mut store = company::<S>().await;
    let other = UserId::from_bytes([20; 16]);
    let (second, third) = (KeyId::from_bytes([30; 16]), KeyId::from_bytes([32; 16]));
    let changes = [
        create_user(other, ACME, "Yannis", &[LAB]),
        create_key(second, ACME, ZOE, 30),
        create_key(third, ACME, other, 32),
    ];
    assert_eq!(change_all(&mut store, &changes).await, [Outcome::Committed(None); 3]);
    let mut entries = Vec::new();
    for token in 0..48u8 {
        let by_key = [None, Some(KEY), Some(second)][usize::from(token) % 3];
        let method = by_key.map_or(Method::Password, Method::WebApiKey);
        let seen = if by_key.is_some() { KEY_NOT_ENDED } else { NOTHING_ENDED };
        let mut entry = issue_by(method, token, seen);
        if let Entry::Issue { identity, session, .. } = &mut entry {
            if token % 4 == 0 {
                (identity.unit, identity.unit_name) = (LAB, "Lab".into());
            }
            if token % 5 == 0 {
                (identity.user, identity.username) = (other, "Yannis".into());
                (identity.unit, identity.unit_name) = (LAB, "Lab".into());
                if by_key.is_some() {
                    identity.method = Method::WebApiKey(third);
                }
            }
            // Every eleventh is over after an hour.
            session.idle = Some(if token % 11 == 0 { HOUR } else { 3 * HOUR });
        }
        entries.push(entry);
    }
    let outcomes = store.apply(&entries).await.unwrap();
    let now = at(0).plus(2 * HOUR);
    let mut live: Vec<(SessionPlace, u8)> = Vec::new();
    for ((entry, outcome), token) in entries.iter().zip(outcomes).zip(0..) {
        let (Entry::Issue { identity, .. }, number) = (entry, number(outcome)) else { unreachable!() };
        let (user, unit, key) = (identity.user, identity.unit, identity.method.key());
        live.push((SessionPlace { user, unit, key, number }, token));
        if token % 7 == 0 {
            apply(&mut store, release(number, token)).await;
        }
    }
    live.retain(|(_, token)| token % 7 != 0 && token % 11 != 0);
    live.sort();
    let place = |found: &Found| {
        let (user, unit, key) = (found.identity.user, found.identity.unit, found.identity.method.key());
        SessionPlace { user, unit, key, number: found.number }
    };
    for user in [None, Some(ZOE), Some(other), Some(GLOBEX_USER)] {
        for unit in [None, Some(LAB), Some(GLOBEX_UNIT)] {
            for (key, by_key) in [(None, None), (Some(KEY), None), (None, Some(true)), (None, Some(false))] {
                let filter = SessionFilter { user, unit, key, by_key };
                let wanted: Vec<_> = live
                    .iter()
                    .map(|(place, _)| *place)
                    .filter(|place| user.is_none_or(|user| place.user == user))
                    .filter(|place| unit.is_none_or(|unit| place.unit == unit))
                    .filter(|place| key.is_none_or(|key| place.key == Some(key)))
                    .filter(|place| by_key.is_none_or(|by_key| place.key.is_some() == by_key))
                    .collect();
                for limit in [1, 5, 100] {
                    let (mut after, mut found) = (None, Vec::new());
                    loop {
                        let page = store.list_live(ACME, filter, after, limit, now).await;
                        found.extend(page.iter().map(place));
                        if page.len() < limit {
                            break;
                        }
                        after = found.last().copied();
                    }
                    assert_eq!(found, wanted, "{filter:?} in pages of {limit}");
                }
            }
        }
    }
    assert_eq!(store.list_live(GLOBEX, SessionFilter::default(), None, 9, now).await, []);
    // What a mark has ended is not live.
    change(&mut store, end_sessions(ACME, Scope::User(ZOE))).await;
    let found = store.list_live(ACME, SessionFilter::default(), None, 100, now).await;
    let left: Vec<_> = live.iter().map(|(place, _)| *place).filter(|place| place.user == other).collect();
    assert_eq!(found.iter().map(place).collect::<Vec<_>>(), left);
}
