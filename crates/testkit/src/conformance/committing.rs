//! What becomes of entries: every outcome, numbers, times, and that what is not committed leaves nothing behind.

use doorward_domain::{
    audit::Event,
    directory::{Directory, NameLookup, Status},
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::{Entry, Outcome, Seen, Unique},
    resource::{Key, Unit, User},
    session::{Method, Scope},
};

use super::{company::*, *};

const DONE: Outcome = Outcome::Committed(None);

/// How many rows each of these tables has.
async fn rows<S: Store>(store: &S) -> [usize; 3] {
    let contents = store.contents().await;
    ["audit", "user", "membership"].map(|table| contents[table].len())
}

pub(super) async fn numbers_are_taken_by_issues_and_endings_alone<S: Store>() {
    let mut store = company::<S>().await;
    let before = count(&store, "audit").await;
    let outcomes = store.apply(&[issue(1), changed(set_password(ACME, ZOE, "second"))]).await.unwrap();
    let [first, user] = numbers(outcomes);
    let entries = [
        issue(2),
        issue_by(Method::Password, 3, Seen { user, ..NOTHING_ENDED }),
        release(first, 1),
        Entry::Record(audit(Event::WebApiKeyLogin)),
        Entry::Tick(at(7)),
        changed(set_status(Scope::Unit(LAB), Status::Active)),
        changed(set_status(Scope::Unit(LAB), Status::Disabled)),
    ];
    let outcomes = store.apply(&entries).await.unwrap();
    assert_eq!([outcomes[0], outcomes[2], outcomes[3]], [Outcome::Refused, DONE, DONE]);
    assert_eq!(outcomes[4..6], [DONE, DONE]);
    let [_, third, _] = numbers(vec![Outcome::Committed(Some(user)), outcomes[1], outcomes[6]]);
    assert_eq!(apply(&mut store, forget(&[third, SessionNumber(third.0 + 77)])).await, DONE);
    let records = count(&store, "audit").await - before;
    assert_eq!(records, 7, "a refused login is recorded by whoever was refused");
    assert_eq!(count(&store, "session").await, 0);
}

/// A login that saw a mark before a change of the same batch is as late as one of a later batch.
pub(super) async fn entries_see_what_stands_before_them_in_their_batch<S: Store>() {
    let mut store = company::<S>().await;
    let batch = [
        issue(1),
        changed(set_status(Scope::User(ZOE), Status::Disabled)),
        issue(2),
        changed(create_user(UserId::from_bytes(NOBODY), ACME, "new", &[LAB])),
        changed(create_user(UserId::from_bytes([98; 16]), ACME, "new", &[LAB])),
        changed(update_unit(ACME, unit(LAB, "Laboratory"))),
        changed(create_unit(UnitId::from_bytes(NOBODY), ACME, "Lab")),
    ];
    let outcomes = store.apply(&batch).await.unwrap();
    let [_, _] = numbers(outcomes[..2].to_vec());
    assert_eq!(outcomes[2..], [Outcome::Refused, DONE, Outcome::Taken(Unique::Name), DONE, DONE]);
    assert_eq!(live_tokens(&mut store, at(0)).await, [0; 0]);
}

pub(super) async fn numbers_are_not_reused_when_the_newest_sessions_are_gone<S: Store>() {
    let mut store = company::<S>().await;
    let [first, second] = numbers(store.apply(&[issue(1), issue(2)]).await.unwrap());
    store.apply(&[release(second, 2), release(first, 1)]).await.unwrap();
    let mut store = store.reopen().await;
    assert!(number(apply(&mut store, issue(3)).await) > second);
}

pub(super) async fn what_is_taken_is_refused_and_leaves_nothing<S: Store>() {
    let mut store = company::<S>().await;
    let operator = create_organisation(OrganisationId::from_bytes([3; 16]), "Operator", true);
    assert_eq!(change(&mut store, operator).await, Outcome::Committed(None));
    let before = rows(&store).await;
    let (organisation, unit) = (OrganisationId::from_bytes(NOBODY), UnitId::from_bytes(NOBODY));
    let (user, key) = (UserId::from_bytes(NOBODY), KeyId::from_bytes(NOBODY));
    let taken = [
        create_organisation(organisation, "acme", false),
        create_organisation(ACME, "new", false),
        create_organisation(organisation, "second operator", true),
        create_unit(unit, ACME, "SALES"),
        create_unit(SALES, GLOBEX, "new"),
        create_user(user, ACME, "ZOE\u{308}", &[]),
        create_user(ZOE, GLOBEX, "new", &[]),
        create_user(user, ACME, "new", &[LAB, LAB]),
        create_key(key, GLOBEX, GLOBEX_USER, 31),
        create_key(KEY, ACME, ZOE, 32),
    ];
    let outcomes = change_all(&mut store, &taken).await;
    use Unique::{Id, Name, Secret};
    let taken = [Name, Id, Id, Name, Id, Name, Id, Id, Secret, Id].map(Outcome::Taken);
    assert_eq!(outcomes, taken);
    assert_eq!(rows(&store).await, before);
}

pub(super) async fn what_hangs_on_nothing_is_refused_and_leaves_nothing<S: Store>() {
    let mut store = company::<S>().await;
    let before = rows(&store).await;
    let organisation = OrganisationId::from_bytes(NOBODY);
    let (unit, user, key) =
        (UnitId::from_bytes(NOBODY), UserId::from_bytes(NOBODY), KeyId::from_bytes(NOBODY));
    let refused = [
        create_unit(unit, organisation, "new"),
        create_user(user, organisation, "new", &[]),
        create_user(user, ACME, "new", &[SALES, unit]),
        create_key(key, ACME, user, 32),
        set_status(Scope::Organisation(organisation), Status::Disabled),
        set_status(Scope::Unit(unit), Status::Disabled),
        update_user(ACME, User { status: Status::Disabled, ..company::user(user, "new", &[]) }),
        set_status(Scope::Key(ZOE, key), Status::Disabled),
        end_sessions(organisation, Scope::Organisation(organisation)),
        end_sessions(ACME, Scope::Unit(unit)),
        end_sessions(ACME, Scope::User(user)),
        end_sessions(ACME, Scope::Key(ZOE, key)),
        set_password(ACME, user, "new"),
    ];
    assert_eq!(change_all(&mut store, &refused).await, [Outcome::Refused; 13]);
    assert_eq!(rows(&store).await, before);
    number(apply(&mut store, issue(1)).await);
}

pub(super) async fn m1_another_organisations_ids_are_as_good_as_none<S: Store>() {
    let mut store = company::<S>().await;
    let (new, key) = (UserId::from_bytes(NOBODY), KeyId::from_bytes(NOBODY));
    let refused = [
        create_user(new, ACME, "new", &[SALES, GLOBEX_UNIT]),
        create_key(key, GLOBEX, ZOE, 32),
        update_unit(GLOBEX, Unit { status: Status::Disabled, ..unit(SALES, "Sales") }),
        update_user(GLOBEX, User { status: Status::Disabled, ..user(ZOE, "Zoë", &[]) }),
        update_key(GLOBEX, Key { status: Status::Disabled, ..company::key(KEY, ZOE) }),
        update_key(ACME, Key { status: Status::Disabled, ..company::key(KEY, GLOBEX_USER) }),
        end_sessions(GLOBEX, Scope::Organisation(ACME)),
        end_sessions(GLOBEX, Scope::Unit(SALES)),
        end_sessions(GLOBEX, Scope::User(ZOE)),
        end_sessions(GLOBEX, Scope::Key(ZOE, KEY)),
        end_sessions(ACME, Scope::Key(GLOBEX_USER, KEY)),
        set_password(GLOBEX, ZOE, "new"),
    ];
    assert_eq!(change_all(&mut store, &refused).await, [Outcome::Refused; 12]);
    let rehash = Entry::Rehash { organisation: GLOBEX, user: ZOE, from: hash("first"), to: hash("new") };
    assert_eq!(apply(&mut store, rehash).await, Outcome::Refused);
    number(apply(&mut store, issue_by(Method::WebApiKey(KEY), 1, KEY_NOT_ENDED)).await);
}

pub(super) async fn entries_that_fail_do_not_fail_their_batch<S: Store>() {
    let mut store = company::<S>().await;
    let new = UserId::from_bytes(NOBODY);
    let batch = [
        issue(1),
        changed(create_unit(SALES, ACME, "new")),
        changed(create_user(new, ACME, "new", &[SALES, GLOBEX_UNIT])),
        changed(create_user(new, ACME, "new", &[SALES])),
        issue(2),
    ];
    let outcomes = store.apply(&batch).await.unwrap();
    let [_, _] = numbers(vec![outcomes[0], outcomes[4]]);
    assert_eq!(outcomes[1..4], [Outcome::Taken(Unique::Id), Outcome::Refused, DONE]);
    assert_eq!(live_tokens(&mut store, at(0)).await, [1, 2]);
}

pub(super) async fn a_rehash_replaces_only_the_hash_that_was_verified<S: Store>() {
    let mut store = company::<S>().await;
    let rehash = |from: &str, to: &str| {
        let (from, to) = (hash(from), hash(to));
        Entry::Rehash { organisation: ACME, user: ZOE, from, to }
    };
    let before = count(&store, "audit").await;
    assert_eq!(apply(&mut store, rehash("first", "better")).await, Outcome::Committed(None));
    assert_eq!(apply(&mut store, rehash("first", "late")).await, Outcome::Refused);
    let found = store.directory().find_by_name(canonical("acme"), canonical("zoë")).await.unwrap();
    let NameLookup::Found(account) = found else { panic!("{found:?}") };
    assert_eq!(account.user.password_hash, Some(hash("better")));
    assert_eq!(count(&store, "audit").await, before);
}

pub(super) async fn t3_a_use_never_creates_and_never_goes_back<S: Store>() {
    let mut store = company::<S>().await;
    let [first, second] = numbers(store.apply(&[issue(1), issue(2)]).await.unwrap());
    let uses = |now| [uses_of(first, 1, at(now)), uses_of(second, 2, at(now))];
    let entries: Vec<_> = [release(first, 1)].into_iter().chain(uses(2_000)).chain(uses(1_000)).collect();
    store.apply(&entries).await.unwrap();
    assert_eq!(live_tokens(&mut store, at(2_000)).await, [2]);
    let found = store.find_live(&[digest(2)], at(2_000)).await.remove(0).unwrap();
    assert_eq!(found.last_used_at, at(2_000));
}

pub(super) async fn t4_the_latest_time_is_kept<S: Store>() {
    let mut store = S::create().await;
    assert_eq!(store.latest().await, None);
    store.apply(&[Entry::Tick(at(20)), Entry::Tick(at(10))]).await.unwrap();
    assert_eq!(store.latest().await, Some(at(20)));
    apply(&mut store, Entry::Tick(at(5))).await;
    assert_eq!(store.reopen().await.latest().await, Some(at(20)));
}
