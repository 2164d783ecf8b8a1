//! What becomes of entries: every outcome, numbers, times, and that what is not committed leaves nothing behind.

use super::*;

fn audit_records(store: &SqliteStore) -> i64 {
    count(store, "audit")
}

#[test]
fn numbers_are_taken_by_issues_and_endings_alone() {
    let (_folder, mut store) = company();
    let entries = [
        issue(1),
        changed(set_password(ACME, ZOE, "second")),
        issue(2),
        issue_by(Method::Password, 3, Seen { user: SessionNumber(2), ..NOTHING_ENDED }),
        release(1),
        Entry::Record(audit(Event::WebApiKeyLogin)),
        Entry::Tick(at(7)),
        changed(set_status(Scope::Unit(LAB), Status::Active)),
        changed(set_status(Scope::Unit(LAB), Status::Disabled)),
        forget(&[3, 77]),
    ];
    let before = audit_records(&store);
    let committed = Outcome::Committed(None);
    assert_eq!(
        store.apply(&entries).unwrap(),
        [
            numbered(1),
            numbered(2),
            Outcome::Refused,
            numbered(3),
            committed,
            committed,
            committed,
            committed,
            numbered(4),
            committed
        ]
    );
    assert_eq!(audit_records(&store) - before, 7, "a refused login is recorded by whoever was refused");
    assert_eq!(count(&store, "session"), 0);
}

#[test]
fn numbers_are_not_reused_when_the_newest_sessions_are_gone() {
    let (folder, mut store) = company();
    assert_eq!(store.apply(&[issue(1), issue(2)]).unwrap(), [numbered(1), numbered(2)]);
    store.apply(&[release(2), release(1)]).unwrap();
    let mut store = reopen(store, &folder);
    assert_eq!(apply(&mut store, issue(3)), numbered(3));
}

#[test]
fn what_is_taken_is_refused_and_leaves_nothing() {
    let (_folder, mut store) = company();
    let operator = create_organisation(OrganisationId::from_bytes([3; 16]), "Operator", true);
    assert_eq!(change(&mut store, operator), Outcome::Committed(None));
    let before = (audit_records(&store), count(&store, "user"), count(&store, "membership"));
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
    let outcomes = change_all(&mut store, &taken);
    use Unique::{Id, Name, Secret};
    let taken = [Name, Id, Id, Name, Id, Name, Id, Id, Secret, Id].map(Outcome::Taken);
    assert_eq!(outcomes, taken);
    assert_eq!((audit_records(&store), count(&store, "user"), count(&store, "membership")), before);
}

#[test]
fn what_hangs_on_nothing_is_refused_and_leaves_nothing() {
    let (_folder, mut store) = company();
    let before = (audit_records(&store), count(&store, "user"), count(&store, "membership"));
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
        update_user(ACME, User { status: Status::Disabled, ..super::user(user, "new", &[]) }),
        set_status(Scope::Key(ZOE, key), Status::Disabled),
        end_sessions(organisation, Scope::Organisation(organisation)),
        end_sessions(ACME, Scope::Unit(unit)),
        end_sessions(ACME, Scope::User(user)),
        end_sessions(ACME, Scope::Key(ZOE, key)),
        set_password(ACME, user, "new"),
    ];
    assert_eq!(change_all(&mut store, &refused), [Outcome::Refused; 13]);
    assert_eq!((audit_records(&store), count(&store, "user"), count(&store, "membership")), before);
    assert_eq!(apply(&mut store, issue(1)), numbered(1), "no number was taken");
}

#[test]
fn m1_another_organisations_ids_are_as_good_as_none() {
    let (_folder, mut store) = company();
    let (new, key) = (UserId::from_bytes(NOBODY), KeyId::from_bytes(NOBODY));
    let refused = [
        create_user(new, ACME, "new", &[SALES, GLOBEX_UNIT]),
        create_key(key, GLOBEX, ZOE, 32),
        update_unit(GLOBEX, Unit { status: Status::Disabled, ..unit(SALES, "Sales") }),
        update_user(GLOBEX, User { status: Status::Disabled, ..user(ZOE, "Zoë", &[]) }),
        update_key(GLOBEX, Key { status: Status::Disabled, ..super::key(KEY, ZOE) }),
        update_key(ACME, Key { status: Status::Disabled, ..super::key(KEY, GLOBEX_USER) }),
        end_sessions(GLOBEX, Scope::Organisation(ACME)),
        end_sessions(GLOBEX, Scope::Unit(SALES)),
        end_sessions(GLOBEX, Scope::User(ZOE)),
        end_sessions(GLOBEX, Scope::Key(ZOE, KEY)),
        end_sessions(ACME, Scope::Key(GLOBEX_USER, KEY)),
        set_password(GLOBEX, ZOE, "new"),
    ];
    assert_eq!(change_all(&mut store, &refused), [Outcome::Refused; 12]);
    let rehash = Entry::Rehash { organisation: GLOBEX, user: ZOE, from: hash("first"), to: hash("new") };
    assert_eq!(apply(&mut store, rehash), Outcome::Refused);
    assert_eq!(apply(&mut store, issue_by(Method::WebApiKey(KEY), 1, KEY_NOT_ENDED)), numbered(1));
}

#[test]
fn entries_that_fail_do_not_fail_their_batch() {
    let (_folder, mut store) = company();
    let new = UserId::from_bytes(NOBODY);
    let batch = [
        issue(1),
        changed(create_unit(SALES, ACME, "new")),
        changed(create_user(new, ACME, "new", &[SALES, GLOBEX_UNIT])),
        changed(create_user(new, ACME, "new", &[SALES])),
        issue(2),
    ];
    let committed = Outcome::Committed(None);
    let outcomes = [numbered(1), Outcome::Taken(Unique::Id), Outcome::Refused, committed, numbered(2)];
    assert_eq!(store.apply(&batch).unwrap(), outcomes);
    assert_eq!(live_tokens(&store, at(0)), [1, 2]);
}

#[test]
fn a_rehash_replaces_only_the_hash_that_was_verified() {
    let (_folder, mut store) = company();
    let stored = |store: &SqliteStore| -> String {
        let sql = "SELECT password_hash FROM user WHERE id = ?1";
        store.writer.connection.query_row(sql, [ZOE.to_bytes()], |row| row.get(0)).unwrap()
    };
    let rehash = |from: &str, to: &str| {
        let (from, to) = (hash(from), hash(to));
        Entry::Rehash { organisation: ACME, user: ZOE, from, to }
    };
    let before = audit_records(&store);
    assert_eq!(apply(&mut store, rehash("first", "better")), Outcome::Committed(None));
    assert_eq!(apply(&mut store, rehash("first", "late")), Outcome::Refused);
    assert_eq!(stored(&store), "better");
    assert_eq!((stored(&store).as_str(), audit_records(&store)), ("better", before));
}

#[test]
fn t3_a_use_never_creates_and_never_goes_back() {
    let (_folder, mut store) = company();
    store.apply(&[issue(1), issue(2)]).unwrap();
    let used = SessionTable::default();
    store.load(&used, at(0), &mut |_, _| {}).unwrap();
    let uses = |now: i64| {
        [1, 2].iter().for_each(|token| assert!(used.slide(&digest(*token), at(now)).is_some()));
        let shards = 0..doorward_domain::session_table::SHARDS;
        Entry::Uses(shards.flat_map(|shard| used.due_uses(shard, at(now), Duration::ZERO)).collect())
    };
    let (early, late) = (uses(1_000), uses(2_000));
    store.apply(&[release(1), late, early]).unwrap();
    let table = SessionTable::default();
    assert_eq!(store.load(&table, at(2_000), &mut |_, _| {}).unwrap(), 1);
    assert_eq!(table.peek(&digest(2), at(2_000)).unwrap().last_used_at, at(2_000));
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
