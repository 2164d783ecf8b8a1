//! What administrators change: revisions, secrets, rules, what happens once, and what a deletion leaves.

use doorward_domain::{
    address::Network,
    audit::{AuditRecord, Event},
    catalogue::{Catalogue, OrganisationReference},
    change::{Change, Once},
    clock::Timestamp,
    directory::{Directory, NameLookup, Role, Status},
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::{Entry, KeyUse, Outcome, Unique},
    resource::{Classification, Key, KeyDetails, Organisation, Revision, Stored, Unit, User, UserDetails},
    rules::{Overrides, Rule},
    session::{Method, Scope},
};

use super::{company::*, *};

const DONE: Outcome = Outcome::Committed(None);

async fn acme<S: Store>(store: &S) -> Stored<Organisation> {
    store.directory().find_organisation(OrganisationReference::Id(ACME)).await.unwrap().unwrap()
}

async fn zoe_details<S: Store>(store: &S) -> UserDetails {
    store.directory().find_user(ACME, ZOE).await.unwrap().unwrap()
}

async fn key_details<S: Store>(store: &S) -> KeyDetails {
    store.directory().find_key(ACME, KEY).await.unwrap().unwrap()
}

async fn change_at<S: Store>(store: &mut S, millis: i64, change: Change) -> Outcome {
    apply(store, Entry::change(change, AuditRecord { at: at(millis), ..audit(Event::Updated) })).await
}

fn expecting(change: Change, revision: u64) -> Change {
    let revision = Some(Revision(revision));
    let mut change = change;
    match &mut change {
        Change::UpdateOrganisation { expected, .. }
        | Change::DeleteOrganisation { expected, .. }
        | Change::SetRules { expected, .. }
        | Change::UpdateUnit { expected, .. }
        | Change::DeleteUnit { expected, .. }
        | Change::UpdateUser { expected, .. }
        | Change::DeleteUser { expected, .. }
        | Change::UpdateKey { expected, .. }
        | Change::RotateKey { expected, .. }
        | Change::DeleteKey { expected, .. } => *expected = revision,
        _ => panic!("{change:?} expects nothing"),
    }
    change
}

fn overrides(rules: &[(Rule, &str)]) -> Overrides {
    rules.iter().map(|(rule, text)| (*rule, rule.read(text).unwrap())).collect()
}

fn set_rules(organisation: OrganisationId, rules: &[(Rule, &str)]) -> Change {
    Change::SetRules { organisation, overrides: overrides(rules), expected: None }
}

fn delete_organisation(id: OrganisationId) -> Change {
    Change::DeleteOrganisation { id, expected: None }
}

fn delete_unit(organisation: OrganisationId, id: UnitId) -> Change {
    Change::DeleteUnit { organisation, id, expected: None }
}

fn delete_user(organisation: OrganisationId, id: UserId) -> Change {
    Change::DeleteUser { organisation, id, expected: None }
}

fn delete_key(organisation: OrganisationId, user: UserId, id: KeyId) -> Change {
    Change::DeleteKey { organisation, user, id, expected: None }
}

/// Everything that can be changed of what `company` made, each with the revision counted.
fn updates() -> Vec<Change> {
    vec![
        update_organisation(organisation(ACME, "ACME")),
        set_rules(ACME, &[]),
        update_unit(ACME, unit(SALES, "Sales")),
        update_user(ACME, zoe()),
        update_key(ACME, key(KEY, ZOE)),
        rotate(Some(at(50))),
    ]
}

fn deletions() -> Vec<Change> {
    vec![
        delete_organisation(ACME),
        delete_unit(ACME, LAB),
        delete_user(ACME, ZOE),
        delete_key(ACME, ZOE, KEY),
    ]
}

pub(super) async fn what_is_created_and_updated_is_shown_whole<S: Store>() {
    let mut store = company::<S>().await;
    let organisation = Organisation { name: "Acme & Söhne".into(), ..organisation(ACME, "Acme2") };
    let unit = Unit { status: Status::Disabled, ..unit(LAB, "Laboratory") };
    let user = User {
        person_name: Some("Zoë Ω".into()),
        email: Some("Zoe@Example.COM".into()),
        role: Role::Administrator,
        default_unit: None,
        ..user(ZOE, "zoe2", &[LAB])
    };
    let key = Key {
        name: "invoices".into(),
        classification: Classification::ConsumerApplicationKey,
        verifier: true,
        allowed_addresses: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        expires_at: None,
        ..key(KEY, ZOE)
    };
    let before = (acme(&store).await, zoe_details(&store).await, key_details(&store).await);
    assert_eq!((before.0.value, before.0.revision), (company::organisation(ACME, "ACME"), Revision(1)));
    assert_eq!((before.1.user.value, before.1.user.revision), (zoe(), Revision(1)));
    assert_eq!((before.2.key.value, before.2.key.revision), (company::key(KEY, ZOE), Revision(1)));

    for change in [
        update_organisation(Organisation { is_operator: true, ..organisation.clone() }),
        update_unit(ACME, unit.clone()),
        update_user(ACME, user.clone()),
        update_key(ACME, key.clone()),
    ] {
        let outcome = change_at(&mut store, 9, change.clone()).await;
        assert!(matches!(outcome, Outcome::Committed(number) if number.is_some() == change.ends().is_some()));
    }
    let (acme, zoe, found) = (acme(&store).await, zoe_details(&store).await, key_details(&store).await);
    let lab = store.directory().find_unit(ACME, LAB).await.unwrap().unwrap();
    assert_eq!(acme.value, organisation, "and whether it is the operator's stays");
    assert_eq!((lab.value, zoe.user.value, found.key.value), (unit, user, key));
    for (revision, created_at, updated_at) in [
        (acme.revision, acme.created_at, acme.updated_at),
        (lab.revision, lab.created_at, lab.updated_at),
        (zoe.user.revision, zoe.user.created_at, zoe.user.updated_at),
        (found.key.revision, found.key.created_at, found.key.updated_at),
    ] {
        assert_eq!((revision, created_at, updated_at), (Revision(2), at(0), at(9)));
    }
}

pub(super) async fn a_change_decided_on_an_older_revision_is_stale_and_leaves_nothing<S: Store>() {
    for change in updates() {
        let mut store = company::<S>().await;
        let first = super::change(&mut store, expecting(change.clone(), 1)).await;
        assert!(matches!(first, Outcome::Committed(_)), "{change:?}");
        let before = store.contents().await;
        for revision in [0, 1, 3] {
            let stale = super::change(&mut store, expecting(change.clone(), revision)).await;
            assert_eq!(stale, Outcome::Stale, "{change:?}");
        }
        assert_eq!(store.contents().await, before, "{change:?}");
    }
    for change in deletions() {
        let mut store = company::<S>().await;
        let before = store.contents().await;
        assert_eq!(
            super::change(&mut store, expecting(change.clone(), 2)).await,
            Outcome::Stale,
            "{change:?}"
        );
        assert_eq!(store.contents().await, before, "{change:?}");
        let deleted = super::change(&mut store, expecting(change.clone(), 1)).await;
        assert!(matches!(deleted, Outcome::Committed(Some(_))), "{change:?}");
        assert_eq!(
            super::change(&mut store, expecting(change, 1)).await,
            Outcome::Refused,
            "it is not there any more"
        );
    }
}

pub(super) async fn m1_no_change_reaches_another_organisation_or_leaves_anything<S: Store>() {
    let mut store = company::<S>().await;
    let (nobody, new_unit) = (OrganisationId::from_bytes(NOBODY), UnitId::from_bytes(NOBODY));
    let before = store.contents().await;
    for organisation in [GLOBEX, nobody] {
        let foreign = [
            update_unit(organisation, unit(SALES, "x")),
            delete_unit(organisation, SALES),
            delete_unit(organisation, LAB),
            update_user(organisation, user(ZOE, "x", &[])),
            delete_user(organisation, ZOE),
            set_password(organisation, ZOE, "x"),
            create_key(KeyId::from_bytes(NOBODY), organisation, ZOE, 77),
            update_key(organisation, key(KEY, ZOE)),
            delete_key(organisation, ZOE, KEY),
            Change::RotateKey {
                organisation,
                user: ZOE,
                id: KEY,
                secret: secret(77),
                overlap_until: None,
                expected: None,
            },
            end_sessions(organisation, Scope::Organisation(ACME)),
            end_sessions(organisation, Scope::Unit(SALES)),
            end_sessions(organisation, Scope::User(ZOE)),
            end_sessions(organisation, Scope::Key(ZOE, KEY)),
        ];
        for change in foreign {
            assert_eq!(super::change(&mut store, change.clone()).await, Outcome::Refused, "{change:?}");
        }
    }
    // Nor does a change of one's own organisation take hold of another's units, users or keys.
    for change in [
        create_unit(new_unit, nobody, "x"),
        update_organisation(organisation(nobody, "x")),
        set_rules(nobody, &[(Rule::PasswordsMinLength, "20")]),
        delete_organisation(nobody),
        update_user(ACME, user(ZOE, "x", &[SALES, GLOBEX_UNIT])),
        update_key(ACME, key(KEY, GLOBEX_USER)),
        delete_key(ACME, GLOBEX_USER, KEY),
    ] {
        assert_eq!(super::change(&mut store, change.clone()).await, Outcome::Refused, "{change:?}");
    }
    assert_eq!(store.contents().await, before);
}

pub(super) async fn names_that_are_taken_are_refused_to_updates_too<S: Store>() {
    let mut store = company::<S>().await;
    let yannis = UserId::from_bytes([23; 16]);
    assert_eq!(change(&mut store, create_user(yannis, ACME, "yannis", &[])).await, DONE);
    let before = store.contents().await;
    for change in [
        update_organisation(organisation(ACME, "GLOBEX")),
        update_unit(ACME, unit(LAB, "SALES")),
        update_user(ACME, user(ZOE, "Yannis", &[])),
    ] {
        assert_eq!(super::change(&mut store, change).await, Outcome::Taken(Unique::Name));
    }
    let twice = Change::RotateKey {
        organisation: ACME,
        user: ZOE,
        id: KEY,
        secret: secret(31),
        overlap_until: Some(at(9)),
        expected: None,
    };
    assert_eq!(change(&mut store, twice).await, Outcome::Taken(Unique::Secret));
    assert_eq!(store.contents().await, before);
    // One's own name in another case is one's own.
    assert_eq!(change(&mut store, update_unit(ACME, unit(LAB, "LAB"))).await, DONE);
}

pub(super) async fn a_units_default_users_keep_it_from_being_deleted<S: Store>() {
    let mut store = company::<S>().await;
    let before = store.contents().await;
    assert_eq!(change(&mut store, delete_unit(ACME, SALES)).await, Outcome::InUse);
    assert_eq!(store.contents().await, before);
    assert!(matches!(change(&mut store, delete_unit(ACME, LAB)).await, Outcome::Committed(Some(_))));
    assert_eq!(zoe_details(&store).await.user.value.units, [SALES], "who worked there works there no more");
    change(&mut store, update_user(ACME, User { default_unit: None, ..user(ZOE, "Zoë", &[SALES]) })).await;
    assert!(matches!(change(&mut store, delete_unit(ACME, SALES)).await, Outcome::Committed(Some(_))));
}

async fn accepted<S: Store>(store: &S, secret: u8) -> Option<Option<Timestamp>> {
    let found = store.directory().find_by_key(key_digest(secret)).await.unwrap();
    found.map(|(key, _)| key.secret_ends_at)
}

pub(super) async fn a_rotation_without_overlap_deletes_the_old_secret_and_ends_sessions<S: Store>() {
    let mut store = company::<S>().await;
    let by_key = issue_by(Method::WebApiKey(KEY), 1, KEY_NOT_ENDED);
    store.apply(&[by_key, issue(2)]).await.unwrap();
    number(change(&mut store, rotate(None)).await);
    assert_eq!((accepted(&store, 31).await, accepted(&store, 41).await), (None, Some(None)));
    assert_eq!(live_tokens(&mut store, at(0)).await, [2], "the key's sessions, and no others");
}

pub(super) async fn a_rotation_with_overlap_keeps_the_old_secrets_for_their_time_and_no_longer<S: Store>() {
    let mut store = company::<S>().await;
    let by_key = issue_by(Method::WebApiKey(KEY), 1, KEY_NOT_ENDED);
    apply(&mut store, by_key).await;
    let to = |new: u8, until: i64| {
        let (secret, overlap_until) = (secret(new), Some(at(until)));
        Change::RotateKey { organisation: ACME, user: ZOE, id: KEY, secret, overlap_until, expected: None }
    };
    assert_eq!(change_at(&mut store, 10, to(41, 100)).await, DONE);
    assert_eq!(accepted(&store, 31).await, Some(Some(at(100))));
    assert_eq!(change_at(&mut store, 20, to(42, 200)).await, DONE);
    assert_eq!(accepted(&store, 31).await, Some(Some(at(100))), "the earlier end stands");
    assert_eq!(accepted(&store, 41).await, Some(Some(at(200))));
    let details = key_details(&store).await;
    let shown: Vec<_> = details.secrets.iter().map(|one| (one.hint.as_deref(), one.ends_at)).collect();
    let (newest, middle, oldest) = (Some("..42"), Some("..41"), Some("..31"));
    assert_eq!(shown, [(newest, None), (middle, Some(at(200))), (oldest, Some(at(100)))], "the newest first");
    assert_eq!(details.key.revision, Revision(3));

    assert_eq!(change_at(&mut store, 30, to(43, 40)).await, DONE);
    let ends = (accepted(&store, 31).await, accepted(&store, 41).await, accepted(&store, 42).await);
    assert_eq!(ends, (Some(Some(at(40))), Some(Some(at(40))), Some(Some(at(40)))), "a shorter one shortens");
    assert_eq!(change_at(&mut store, 40, to(44, 400)).await, DONE);
    assert_eq!(accepted(&store, 42).await, None, "what is over is deleted");
    assert_eq!(accepted(&store, 43).await, Some(Some(at(400))));
    assert_eq!(count(&store, "key_secret").await, 2);
    assert_eq!(live_tokens(&mut store, at(0)).await, [1], "none of it ended a session");
}

pub(super) async fn rules_come_back_as_they_were_set_and_unknown_ones_are_left_out<S: Store>() {
    let mut store = company::<S>().await;
    let rules = [
        (Rule::PasswordsMinLength, "20"),
        (Rule::PasswordsMaxAge, "never"),
        (Rule::AddressesDeny, "10.0.0.0/8,::1"),
        (Rule::TokensPasswordIdle, "1h 30m"),
    ];
    assert_eq!(change_at(&mut store, 9, set_rules(ACME, &rules)).await, DONE);
    assert_eq!(store.directory().get_overrides(ACME).await.unwrap(), overrides(&rules));
    assert!(store.directory().get_overrides(GLOBEX).await.unwrap().is_empty());
    let found = store.directory().find_by_name(canonical("acme"), canonical("zoë")).await.unwrap();
    let NameLookup::Found(account) = found else { panic!("{found:?}") };
    assert_eq!(account.organisation.overrides, overrides(&rules), "and a login sees them");
    let found = store.directory().find_by_name(canonical("acme"), canonical("nobody")).await.unwrap();
    let NameLookup::UnknownUser(organisation) = found else { panic!("{found:?}") };
    assert_eq!(organisation.overrides, overrides(&rules), "also one of nobody");
    assert_eq!((acme(&store).await.revision, acme(&store).await.updated_at), (Revision(2), at(9)));

    let newer =
        "INSERT INTO organisation_rule VALUES (?1, 'tokens.colour', 'red'), (?1, 'lockout.failures', 'x')";
    store.tamper(&newer.replace("?1", &format!("{{{ACME}}}"))).await;
    assert_eq!(store.directory().get_overrides(ACME).await.unwrap(), overrides(&rules));
    assert_eq!(change(&mut store, set_rules(ACME, &rules[..1])).await, DONE);
    assert_eq!(
        store.directory().get_overrides(ACME).await.unwrap(),
        overrides(&rules[..1]),
        "all are replaced"
    );
    assert_eq!(count(&store, "organisation_rule").await, 1);
}

pub(super) async fn what_is_created_once_is_repeated_until_it_is_forgotten<S: Store>() {
    let mut store = company::<S>().await;
    let new = UnitId::from_bytes([14; 16]);
    let once = Once { caller: ZOE, key: [1; 32], request: [2; 32], made: new.to_bytes() };
    let create = |id: UnitId, shown: &str, once: Once, millis: i64| Entry::Change {
        change: create_unit(id, ACME, shown),
        once: Some(once),
        audit: AuditRecord { at: at(millis), ..audit(Event::Created) },
    };
    let before = store.contents().await;
    assert_eq!(apply(&mut store, create(new, "Sales", once, 10)).await, Outcome::Taken(Unique::Name));
    assert_eq!(store.contents().await, before, "what failed may be tried again");
    assert_eq!(apply(&mut store, create(new, "Stock", once, 10)).await, DONE);
    let before = store.contents().await;
    let other = UnitId::from_bytes([15; 16]);
    assert_eq!(
        apply(&mut store, create(other, "Other", Once { request: [3; 32], ..once }, 11)).await,
        Outcome::Repeated
    );
    assert_eq!(store.contents().await, before);
    assert_eq!(store.directory().find_once(ZOE, [1; 32]).await.unwrap(), Some(once));
    assert_eq!(
        store.directory().find_once(GLOBEX_USER, [1; 32]).await.unwrap(),
        None,
        "keys are their callers' own"
    );
    assert_eq!(
        apply(&mut store, create(other, "Other", Once { caller: GLOBEX_USER, ..once }, 20)).await,
        DONE
    );

    assert_eq!(apply(&mut store, Entry::ForgetOnce(at(10))).await, DONE);
    assert_eq!(count(&store, "once").await, 2, "before that time");
    assert_eq!(apply(&mut store, Entry::ForgetOnce(at(11))).await, DONE);
    assert_eq!(store.directory().find_once(ZOE, [1; 32]).await.unwrap(), None);
    assert_eq!(count(&store, "once").await, 1);
}

pub(super) async fn m3_a_password_is_replaced_only_if_it_is_still_the_one_that_was_proved<S: Store>() {
    let mut store = company::<S>().await;
    let replace = |old: &str| {
        let (organisation, user, password, replaces) = (ACME, ZOE, password("second"), Some(hash(old)));
        Change::SetPassword { organisation, user, password, replaces }
    };
    let before = store.contents().await;
    assert_eq!(change(&mut store, replace("other")).await, Outcome::Stale);
    assert_eq!(store.contents().await, before);
    number(change(&mut store, replace("first")).await);
    assert_eq!(change(&mut store, replace("first")).await, Outcome::Stale);
}

/// A login with a password from a place, at a time.
fn login(token: u8, network: &str, millis: i64) -> Entry {
    let mut entry = issue(token);
    if let Entry::Issue { session, known, .. } = &mut entry {
        (session.issued_at, session.last_used_at) = (at(millis), at(millis));
        *known = Some(network.parse().unwrap());
    }
    entry
}

pub(super) async fn l4_a_user_is_known_from_the_latest_sixteen_places<S: Store>() {
    let mut store = company::<S>().await;
    let known = async |store: &S| -> Vec<(Network, Timestamp)> {
        let found = store.directory().find_by_name(canonical("acme"), canonical("zoë")).await.unwrap();
        let NameLookup::Found(account) = found else { panic!("{found:?}") };
        let mut known = account.user.known_addresses;
        known.sort_by_key(|known| known.succeeded_at);
        known.into_iter().map(|known| (known.network, known.succeeded_at)).collect()
    };
    for place in 0..20 {
        apply(&mut store, login(place, &format!("10.0.0.{place}"), i64::from(place))).await;
    }
    let expected: Vec<_> =
        (4..20).map(|place| (format!("10.0.0.{place}").parse().unwrap(), at(place))).collect();
    assert_eq!(known(&store).await, expected);
    // The oldest of them comes back, and a late entry does not make it older.
    store
        .apply(&[login(20, "10.0.0.4", 50), login(21, "10.0.0.4", 40), login(22, "2001:db8::/64", 60)])
        .await
        .unwrap();
    let now = known(&store).await;
    assert_eq!(now.len(), 16);
    assert_eq!(
        now[14..],
        [("10.0.0.4".parse().unwrap(), at(50)), ("2001:db8::/64".parse().unwrap(), at(60))]
    );
    assert_eq!(now[0].1, at(6), "10.0.0.5 had to go");
    assert_eq!(zoe_details(&store).await.last_login_at, Some(at(60)));
}

pub(super) async fn a_login_with_a_key_is_no_login_of_the_user<S: Store>() {
    let mut store = company::<S>().await;
    apply(&mut store, issue_by(Method::WebApiKey(KEY), 1, KEY_NOT_ENDED)).await;
    assert_eq!(zoe_details(&store).await.last_login_at, None);
    store.apply(&[login(2, "10.0.0.1", 70), login(3, "10.0.0.1", 30)]).await.unwrap();
    assert_eq!(zoe_details(&store).await.last_login_at, Some(at(70)), "it never goes back");
}

pub(super) async fn the_use_of_a_secret_never_goes_back_and_creates_none<S: Store>() {
    let mut store = company::<S>().await;
    let used = |secret: u8, millis: i64, from: &str| KeyUse {
        secret: key_digest(secret),
        at: at(millis),
        from: Some(from.parse().unwrap()),
    };
    let last = async |store: &S| {
        let secret = key_details(store).await.secrets.remove(0);
        (secret.last_used_at, secret.last_used_from.map(|from| from.to_string()))
    };
    assert_eq!(last(&store).await, (None, None));
    apply(&mut store, Entry::KeyUses(vec![used(31, 5, "::1"), used(77, 5, "::1")])).await;
    assert_eq!(last(&store).await, (Some(at(5)), Some("::1".into())));
    apply(&mut store, Entry::KeyUses(vec![used(31, 9, "10.0.0.1"), used(31, 4, "10.0.0.2")])).await;
    assert_eq!(last(&store).await, (Some(at(9)), Some("10.0.0.1".into())));
    assert_eq!(count(&store, "key_secret").await, 1);
}

/// ACME with a row in every table that may have one.
async fn full_company<S: Store>() -> S {
    let mut store = company::<S>().await;
    let once = Once { caller: ZOE, key: [1; 32], request: [2; 32], made: [14; 16] };
    let create = Entry::Change {
        change: create_unit(UnitId::from_bytes([14; 16]), ACME, "Stock"),
        once: Some(once),
        audit: audit(Event::Created),
    };
    let by_key = issue_by(Method::WebApiKey(KEY), 2, KEY_NOT_ENDED);
    let rules = changed(set_rules(ACME, &[(Rule::PasswordsMinLength, "20")]));
    let end = Change::EndSessions { organisation: GLOBEX, scope: Scope::Organisation(GLOBEX) };
    let rotate = changed(rotate(Some(at(99))));
    let mut used = login(1, "10.0.0.1", 1);
    if let Entry::Issue { session, .. } = &mut used {
        session.last_used_at = at(2);
    }
    let entries = [create, rules, rotate, used, by_key, issue(3)];
    let mut outcomes = store.apply(&entries).await.unwrap();
    let more = [release(number(outcomes[5]), 3), uses_of(number(outcomes[3]), 1, at(3)), changed(end)];
    outcomes.extend(store.apply(&more).await.unwrap());
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed(_))), "{outcomes:?}");
    let tables = store.contents().await;
    assert!(tables.values().all(|rows| !rows.is_empty()), "a table is empty: {tables:?}");
    store
}

/// Where it may stand what was there once: sessions until they are swept, and what is told of the past.
const TOLD_AFTERWARDS: [&str; 5] = ["session", "ended_session", "ending", "audit", "audit_chain"];

/// The tables in which one of these ids stands.
async fn tables_with<S: Store>(store: &S, ids: &[[u8; 16]]) -> Vec<String> {
    let ids: Vec<_> = ids.iter().map(|id| UnitId::from_bytes(*id).to_string()).collect();
    let contents = store.contents().await.into_iter();
    let found = contents.filter(|(_, rows)| rows.iter().flatten().any(|value| ids.contains(value)));
    found.map(|(table, _)| table).collect()
}

pub(super) async fn m2_a_deletion_leaves_no_row_but_in_sessions_and_records<S: Store>() {
    let units = [SALES.to_bytes(), LAB.to_bytes(), [14; 16]];
    let (acme, zoe, key) = (ACME.to_bytes(), ZOE.to_bytes(), KEY.to_bytes());
    let all = [&[acme, zoe, key], &units[..]].concat();
    for (deletion, ids) in [
        (delete_organisation(ACME), &all[..]),
        (delete_user(ACME, ZOE), &[zoe, key]),
        (delete_key(ACME, ZOE, KEY), &[key]),
        (delete_unit(ACME, LAB), &[LAB.to_bytes()]),
    ] {
        let mut store = full_company::<S>().await;
        number(change(&mut store, deletion.clone()).await);
        let left = tables_with(&store, ids).await;
        assert!(left.iter().all(|table| TOLD_AFTERWARDS.contains(&table.as_str())), "{deletion:?}: {left:?}");
        let globex = store.directory().find_user(GLOBEX, GLOBEX_USER).await.unwrap();
        assert!(globex.is_some(), "the other organisation has lost nothing");
    }
}

/// Same ids, same names; and sessions, secrets, memberships, known places, rules and repeats of before stay gone.
pub(super) async fn m2_users_are_deleted_a_few_at_a_time_with_all_that_is_theirs_and_nobody_elses<
    S: Store,
>() {
    let mut store = full_company::<S>().await;
    let others = [GLOBEX_USER.to_bytes()];
    let before = tables_with(&store, &others).await;
    let more: Vec<_> = (0..5u8)
        .map(|n| create_user(UserId::from_bytes([60 + n; 16]), ACME, &format!("user{n}"), &[SALES]))
        .collect();
    assert_eq!(change_all(&mut store, &more).await, [DONE; 5]);
    let (users, records) = (count(&store, "user").await, count(&store, "audit").await);
    let audit = AuditRecord { organisation: Some(ACME), ..audit(Event::Deleted) };
    let some = |limit| Entry::DeleteUsers { organisation: ACME, limit, audit: audit.clone() };
    for gone in [2, 4] {
        assert_eq!(apply(&mut store, some(2)).await, DONE);
        assert_eq!(count(&store, "user").await, users - gone);
    }
    assert_eq!(apply(&mut store, some(100)).await, DONE);
    assert_eq!(apply(&mut store, some(100)).await, DONE, "nobody is left");
    let left = tables_with(&store, &[ZOE.to_bytes(), KEY.to_bytes()]).await;
    assert!(left.iter().all(|table| TOLD_AFTERWARDS.contains(&table.as_str())), "{left:?}");
    assert_eq!(tables_with(&store, &others).await, before);
    assert_eq!(count(&store, "audit").await, records + 3, "one for each time when there was somebody");
    number(change(&mut store, delete_organisation(ACME)).await);
}

pub(super) async fn m2_what_is_deleted_and_created_again_inherits_nothing<S: Store>() {
    let create_all = || {
        vec![
            create_organisation(ACME, "ACME", false),
            create_unit(SALES, ACME, "Sales"),
            create_unit(LAB, ACME, "Lab"),
            create_user(ZOE, ACME, "Zoë", &[SALES]),
            create_key(KEY, ACME, ZOE, 51),
        ]
    };
    let cases = [
        (vec![delete_organisation(ACME)], create_all()),
        (vec![delete_user(ACME, ZOE)], create_all().split_off(3)),
        (vec![delete_key(ACME, ZOE, KEY)], create_all().split_off(4)),
        (
            vec![update_user(ACME, User { default_unit: None, ..zoe() }), delete_unit(ACME, SALES)],
            vec![create_unit(SALES, ACME, "Sales"), update_user(ACME, user(ZOE, "Zoë", &[SALES]))],
        ),
    ];
    for (deletions, creations) in cases {
        let mut store = full_company::<S>().await;
        let deleted = deletions.last().unwrap().clone();
        assert!(
            change_all(&mut store, &deletions).await.iter().all(|one| matches!(one, Outcome::Committed(_)))
        );
        assert_eq!(change_all(&mut store, &creations).await, vec![DONE; creations.len()], "{deleted:?}");
        let is_key = matches!(deleted, Change::DeleteKey { .. });
        let is_unit = matches!(deleted, Change::DeleteUnit { .. });
        let lives_on: &[u8] = if is_key { &[1] } else { &[] };
        let mut store = store.reopen().await;
        assert_eq!(live_tokens(&mut store, at(1)).await, lives_on, "{deleted:?}");
        // What was decided on before the deletion is not accepted after it.
        let late = issue_by(Method::WebApiKey(KEY), 5, KEY_NOT_ENDED);
        assert_eq!(apply(&mut store, late).await, Outcome::Refused, "{deleted:?}");

        let found = store.directory().find_by_name(canonical("acme"), canonical("zoë")).await.unwrap();
        let NameLookup::Found(account) = found else { panic!("{found:?}") };
        if is_unit {
            continue;
        }
        assert_eq!((accepted(&store, 31).await, accepted(&store, 41).await), (None, None), "{deleted:?}");
        assert_eq!(accepted(&store, 51).await, Some(None));
        if is_key {
            continue;
        }
        assert!(account.user.known_addresses.is_empty(), "{deleted:?}");
        assert_eq!(account.units.iter().map(|unit| unit.id).collect::<Vec<_>>(), [SALES], "{deleted:?}");
        assert_eq!(zoe_details(&store).await.last_login_at, None);
        assert_eq!(store.directory().find_once(ZOE, [1; 32]).await.unwrap(), None, "{deleted:?}");
        let is_organisation = matches!(deleted, Change::DeleteOrganisation { .. });
        assert_eq!(account.organisation.overrides.is_empty(), is_organisation);
    }
}

pub(super) async fn addresses_of_sessions_are_kept<S: Store>() {
    let mut store = company::<S>().await;
    let mut from_somewhere = issue(1);
    if let Entry::Issue { audit, .. } = &mut from_somewhere {
        audit.origin.address = Some("2001:db8::7".parse().unwrap());
    }
    let [first, second] = numbers(store.apply(&[from_somewhere, issue(2)]).await.unwrap());
    let numbers = vec![second, first, SessionNumber(second.0 + 77)];
    let found = store.directory().list_session_addresses(numbers).await.unwrap();
    assert_eq!(found, [(first, "2001:db8::7".parse().unwrap())]);
}
