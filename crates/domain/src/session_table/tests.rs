//! The table by examples, then against a model that keeps its sessions in a list and reckons in plain integers.

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::Index};
use sha2::{Digest, Sha256};

use super::*;
use crate::{
    id::KeyId,
    session::Scope::{Key, Organisation, Unit, User},
};

/// When the tests begin: not on a whole second.
const START: i64 = 1_700_000_000_123;
const HOUR: i64 = 3_600_000;
/// The last moment for which the table tells the last use of a session that was issued when the tests began: in the year
/// 2058.
const LAST: i64 = START + (1 << 40) - 1;

fn after(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

fn ms(millis: i64) -> Duration {
    Duration::from_millis(millis.try_into().unwrap())
}

fn digest(token: u64) -> TokenDigest {
    TokenDigest::from_bytes(Sha256::digest(token.to_be_bytes()).into())
}

fn organisation(n: u8) -> OrganisationId {
    OrganisationId::from_bytes([n; 16])
}

fn unit(n: u8) -> UnitId {
    UnitId::from_bytes([n; 16])
}

fn user(n: u8) -> UserId {
    UserId::from_bytes([n; 16])
}

fn key(n: u8) -> KeyId {
    KeyId::from_bytes([n; 16])
}

fn identity(organisation_n: u8, unit_n: u8, user_n: u8, method: Method) -> Identity {
    Identity {
        organisation: organisation(organisation_n),
        organisation_code: format!("organisation {organisation_n}"),
        is_operator: false,
        unit: unit(unit_n),
        unit_name: format!("unit {unit_n}"),
        user: user(user_n),
        username: format!("user {user_n}"),
        method,
    }
}

fn somebody() -> Identity {
    identity(1, 1, 1, Method::Password)
}

/// A session issued and last used at the start.
fn session(token: u64, idle: Option<Duration>, lifetime: i64) -> Session {
    Session {
        digest: digest(token),
        issued_at: after(0),
        last_used_at: after(0),
        idle,
        ends_at: after(lifetime),
    }
}

/// A table with one session: token 1, ten milliseconds idle, an hour at most.
fn with_one_session() -> SessionTable {
    let table = SessionTable::default();
    table.insert(SessionNumber(1), &session(1, Some(ms(10)), HOUR), &somebody());
    table
}

fn sweep(table: &SessionTable, now: Timestamp) -> Vec<u64> {
    let mut numbers: Vec<_> =
        (0..SHARDS).flat_map(|shard| table.sweep(shard, now)).map(|(_, past)| past.number.0).collect();
    numbers.sort_unstable();
    numbers
}

fn due_uses(table: &SessionTable, now: Timestamp, interval: Duration) -> Vec<Use> {
    let mut uses: Vec<_> = (0..SHARDS).flat_map(|shard| table.due_uses(shard, now, interval)).collect();
    uses.sort_unstable_by_key(|used| used.number);
    uses
}

#[test]
fn finds_what_was_issued() {
    let table = with_one_session();
    let live = table.peek(&digest(1), after(3)).unwrap();
    assert_eq!(live.number, SessionNumber(1));
    assert_eq!(&live.identity, &somebody());
    assert_eq!(live.issued_at, after(0));
    assert_eq!((live.last_used_at, live.expires_at), (after(0), after(10)));
    assert!(table.peek(&digest(2), after(3)).is_none());
}

/// A use that read the clock in time may come after a look that found the session expired; so a release, which must be
/// final, finds the session without asking the time.
#[test]
fn t3_a_release_finds_what_has_expired_and_ends_it_for_late_uses_too() {
    let table = with_one_session();
    assert!(table.peek(&digest(1), after(10)).is_none());
    assert_eq!(table.examine(digest(1).session()).unwrap().0.number, SessionNumber(1));
    table.remove(digest(1).session());
    assert!(table.examine(digest(1).session()).is_none());
    assert!(table.slide(&digest(1), after(9)).is_none());
}

#[test]
fn a_use_restarts_the_idle_time_and_a_look_does_not() {
    let table = with_one_session();
    assert_eq!(table.peek(&digest(1), after(9)).unwrap().expires_at, after(10));
    let live = table.slide(&digest(1), after(9)).unwrap();
    assert_eq!((live.last_used_at, live.expires_at), (after(9), after(19)));
    assert_eq!(table.peek(&digest(1), after(18)).unwrap().last_used_at, after(9));
    assert!(table.peek(&digest(1), after(19)).is_none());
}

/// T8: who may not see a session does not keep it alive.
#[test]
fn t8_what_nothing_is_made_of_is_not_used() {
    let table = with_one_session();
    assert_eq!(table.look(&digest(1), after(5), true, |_| None::<()>), None);
    table.look_at_all(&[Some(digest(1))], after(5), true, |live| {
        // What is told is as it would be.
        assert_eq!(live.unwrap().expires_at, after(15));
        false
    });
    assert!(table.peek(&digest(1), after(10)).is_none(), "it was idle for ten milliseconds");
}

/// Many at once are what one after the other is, more than are looked at under one lock.
#[test]
fn many_looks_at_once_are_as_many_looks() {
    let filled = || {
        let table = SessionTable::default();
        for (token, identity) in (1..=700).zip(people().iter().cycle()) {
            // Some have ended by themselves, and some will.
            let idle = (token % 3 != 0).then(|| ms(1 + token as i64 % 20));
            table.insert(SessionNumber(token), &session(token, idle, 1 + token as i64 % 30), identity);
        }
        table.end(User(people()[0].user), SessionNumber(300));
        (1..50).for_each(|token| table.remove(digest(token).session()));
        table
    };
    let (one_by_one, at_once) = (filled(), filled());
    let asked: Vec<_> = (0..800).map(|token| (token % 7 != 0).then(|| digest(token))).collect();
    for (now, is_use) in [(1, true), (8, true), (12, false), (15, true), (25, true)] {
        let shown = |live: LiveRef<'_>| {
            Some((live.number, live.to_owned().identity, live.expires_at, live.last_used_at))
        };
        let expected: Vec<_> =
            asked.iter().map(|asked| one_by_one.look(asked.as_ref()?, after(now), is_use, shown)).collect();
        let mut found = Vec::new();
        at_once.look_at_all(&asked, after(now), is_use, |live| {
            found.push(live.and_then(shown));
            true
        });
        assert_eq!(found, expected, "at {now}");
        assert!(found.iter().any(Option::is_some) && found.iter().any(Option::is_none));
    }
}

#[test]
fn t3_a_use_never_creates_or_revives() {
    let table = with_one_session();
    assert!(table.slide(&digest(2), after(0)).is_none());
    assert_eq!(table.count().password, 1, "an unknown token left nothing behind");

    table.slide(&digest(1), after(5)).unwrap();
    let uses = due_uses(&table, after(5), Duration::ZERO);
    table.remove(digest(1).session());
    table.mark_stored(&uses);
    assert!(table.slide(&digest(1), after(6)).is_none());
    assert_eq!(table.count().password, 0, "neither did a use written after the release");

    table.insert(SessionNumber(2), &session(3, Some(ms(10)), HOUR), &somebody());
    table.end(User(user(1)), SessionNumber(3));
    assert!(table.slide(&digest(3), after(1)).is_none());
    assert!(table.peek(&digest(3), after(1)).is_none());
    assert!(due_uses(&table, after(1), Duration::ZERO).is_empty(), "a refused use is none");
}

#[test]
fn t4_the_last_millisecond_is_the_last() {
    let table = with_one_session();
    assert_eq!(table.slide(&digest(1), after(9)).unwrap().expires_at, after(19));
    assert!(table.slide(&digest(1), after(19)).is_none());
    assert!(table.slide(&digest(1), after(20)).is_none(), "the use that came too late was none");
}

#[test]
fn t4_an_older_use_takes_nothing_away() {
    let table = with_one_session();
    table.slide(&digest(1), after(9)).unwrap();
    assert_eq!(table.slide(&digest(1), after(4)).unwrap().expires_at, after(19));
}

#[test]
fn t4_no_idle_time_is_so_short_or_so_long_that_use_stops_to_matter() {
    let table = SessionTable::default();
    let longest = i64::from(u32::MAX);
    let cases = [
        (Duration::ZERO, 1),
        (Duration::from_micros(500), 1),
        (Session::LONGEST_IDLE, longest),
        (Session::LONGEST_IDLE + ms(1), longest),
        (Duration::MAX, longest),
    ];
    for (token, (idle, lives)) in (1..).zip(cases) {
        table.insert(SessionNumber(token), &session(token, Some(idle), i64::MAX - START), &somebody());
        assert_eq!(table.peek(&digest(token), after(0)).unwrap().expires_at, after(lives), "{idle:?}");
    }
}

#[test]
fn t5_constant_use_ends_at_the_cap() {
    let table = SessionTable::default();
    table.insert(SessionNumber(1), &session(1, Some(ms(10)), 25), &somebody());
    for now in 0..25 {
        assert_eq!(table.slide(&digest(1), after(now)).unwrap().expires_at, after(25.min(now + 10)));
    }
    assert!(table.slide(&digest(1), after(25)).is_none());
}

#[test]
fn t5_where_use_does_not_matter_the_lifetime_is_fixed() {
    let table = SessionTable::default();
    table.insert(SessionNumber(1), &session(1, None, 25), &somebody());
    assert_eq!(table.slide(&digest(1), after(24)).unwrap().expires_at, after(25));
    assert!(table.slide(&digest(1), after(25)).is_none());
}

#[test]
fn t6_a_release_removes_one_session_and_may_be_repeated() {
    let table = with_one_session();
    table.insert(SessionNumber(2), &session(2, Some(ms(10)), HOUR), &somebody());
    table.remove(digest(1).session());
    table.remove(digest(1).session());
    table.remove(digest(3).session());
    assert!(table.peek(&digest(1), after(0)).is_none());
    assert!(table.peek(&digest(2), after(0)).is_some(), "the same user's other session stays");
    assert_eq!(table.count(), Held { password: 1, web_api_key: 0 });
}

#[test]
fn m3_an_ending_reaches_its_scope_and_nothing_else() {
    let (first_key, second_key) = (Method::WebApiKey(key(1)), Method::WebApiKey(key(2)));
    let people = [
        identity(1, 1, 1, Method::Password),
        identity(1, 1, 1, first_key),
        identity(1, 1, 1, second_key),
        identity(1, 2, 1, Method::Password),
        identity(1, 2, 1, first_key),
        identity(1, 1, 2, Method::Password),
        identity(2, 3, 3, Method::Password),
    ];
    let ended_by = [
        (Organisation(organisation(1)), vec![1, 2, 3, 4, 5, 6]),
        (Organisation(organisation(2)), vec![7]),
        (Unit(unit(1)), vec![1, 2, 3, 6]),
        (Unit(unit(2)), vec![4, 5]),
        (User(user(1)), vec![1, 2, 3, 4, 5]),
        (User(user(2)), vec![6]),
        (Key(user(1), key(1)), vec![2, 5]),
        (Key(user(1), key(2)), vec![3]),
        (Key(user(2), key(1)), vec![]),
        (Organisation(organisation(9)), vec![]),
        (Unit(unit(9)), vec![]),
        (User(user(9)), vec![]),
    ];
    for (scope, expected) in ended_by {
        let table = SessionTable::default();
        let issue_to_all_from = |first: u64| {
            for (token, person) in (first..).zip(&people) {
                table.insert(SessionNumber(token), &session(token, None, HOUR), person);
            }
        };
        let is_live = |token: u64| table.slide(&digest(token), after(0)).is_some();
        issue_to_all_from(1);
        table.end(scope, SessionNumber(8));
        assert_eq!((1..8).filter(|token| !is_live(*token)).collect::<Vec<_>>(), expected, "{scope:?}");
        issue_to_all_from(9);
        assert!((9..16).all(is_live), "{scope:?} ends nothing issued after it");
    }
}

#[test]
fn m3_an_ending_is_never_taken_back_by_an_earlier_one() {
    let table = with_one_session();
    table.end(User(user(1)), SessionNumber(5));
    table.end(User(user(1)), SessionNumber(0));
    assert!(table.peek(&digest(1), after(0)).is_none());
}

#[test]
fn sweeping_frees_what_has_ended_and_says_which() {
    let table = SessionTable::default();
    let with_key = identity(1, 1, 2, Method::WebApiKey(key(1)));
    for (token, lifetime) in [(1, 10), (2, 20), (3, 30)] {
        table.insert(SessionNumber(token), &session(token, None, lifetime), &somebody());
    }
    table.insert(SessionNumber(4), &session(4, None, HOUR), &with_key);
    table.insert(SessionNumber(5), &session(5, None, HOUR), &with_key);
    table.end(Key(user(2), key(1)), SessionNumber(4));
    assert_eq!(table.count(), Held { password: 3, web_api_key: 2 }, "ended ones count until they are swept");

    assert_eq!(sweep(&table, after(9)), [4]);
    assert_eq!(sweep(&table, after(20)), [1, 2]);
    assert_eq!(table.count(), Held { password: 1, web_api_key: 1 });
    assert!(sweep(&table, after(20)).is_empty());
    assert!(table.peek(&digest(3), after(20)).is_some() && table.peek(&digest(5), after(20)).is_some());
}

#[test]
fn memory_is_given_back_after_a_peak_however_it_ends() {
    let capacity = |table: &SessionTable| {
        let shards = table.shards.iter().map(|shard| read(&shard.0));
        shards.map(|shard| shard.records.capacity() + shard.index.capacity()).sum::<usize>()
    };
    for is_released in [true, false] {
        let table = SessionTable::default();
        for token in 1..=20_000 {
            table.insert(SessionNumber(token), &session(token, None, 10), &somebody());
        }
        assert!(capacity(&table) >= 40_000);
        if is_released {
            (1..=20_000).for_each(|token| table.remove(digest(token).session()));
        }
        sweep(&table, after(10));
        assert_eq!((capacity(&table), table.count().password), (0, 0), "released: {is_released}");
    }
}

#[test]
fn a_use_is_due_once_what_is_stored_is_an_interval_old() {
    let table = SessionTable::default();
    table.insert(SessionNumber(1), &session(1, Some(ms(HOUR)), HOUR), &somebody());
    assert!(due_uses(&table, after(500), ms(100)).is_empty(), "there was no use");
    table.slide(&digest(1), after(50)).unwrap();
    assert!(due_uses(&table, after(99), ms(100)).is_empty());
    assert_eq!(due_uses(&table, after(50), Duration::ZERO).len(), 1, "all that is lacking");

    table.slide(&digest(1), after(99)).unwrap();
    let uses = due_uses(&table, after(100), ms(100));
    assert_eq!(
        uses.iter().map(|used| (used.number.0, used.last_used_at)).collect::<Vec<_>>(),
        [(1, after(99))]
    );
    assert_eq!(due_uses(&table, after(100), ms(100)).len(), 1, "it stays due until it is stored");
    table.mark_stored(&uses);
    assert!(due_uses(&table, after(5_000), ms(100)).is_empty());

    table.slide(&digest(1), after(5_000)).unwrap();
    assert_eq!(due_uses(&table, after(5_000), ms(100)).len(), 1, "what is stored is old already");
}

#[test]
fn a_use_is_due_sooner_where_the_idle_time_is_short() {
    let table = SessionTable::default();
    table.insert(SessionNumber(1), &session(1, Some(ms(40)), HOUR), &somebody());
    table.insert(SessionNumber(2), &session(2, None, HOUR), &somebody());
    table.slide(&digest(1), after(1)).unwrap();
    table.slide(&digest(2), after(1)).unwrap();
    let due =
        |now| due_uses(&table, after(now), ms(1_000)).iter().map(|used| used.number.0).collect::<Vec<_>>();
    assert_eq!(due(9), []);
    assert_eq!(due(10), [1], "a quarter of the idle time");
    assert_eq!(due(1_000), [1, 2]);
}

#[test]
fn a_use_during_its_own_commit_is_not_taken_for_stored() {
    let table = with_one_session();
    table.slide(&digest(1), after(3)).unwrap();
    let uses = due_uses(&table, after(3), Duration::ZERO);
    table.slide(&digest(1), after(4)).unwrap();
    table.mark_stored(&uses);
    assert_eq!(due_uses(&table, after(4), Duration::ZERO)[0].last_used_at, after(4));
}

#[test]
fn subjects_are_forgotten_when_no_session_speaks_for_them() {
    let table = with_one_session();
    table.insert(SessionNumber(2), &session(2, None, HOUR), &identity(1, 1, 2, Method::Password));
    let known = || {
        let (users, units, organisations) = table.subjects.known();
        (users.len(), units.len(), organisations.len())
    };
    table.forget_unused_subjects();
    assert_eq!(known(), (2, 1, 1));

    table.remove(digest(1).session());
    table.forget_unused_subjects();
    assert_eq!(known(), (1, 1, 1), "the unit has another user");

    table.remove(digest(2).session());
    table.forget_unused_subjects();
    assert_eq!(known(), (0, 0, 0));

    table.insert(SessionNumber(3), &session(3, None, HOUR), &somebody());
    table.end(User(user(1)), SessionNumber(4));
    assert!(table.peek(&digest(3), after(0)).is_none(), "who comes back can be ended again");
}

/// Who was introduced is there until the introduction is taken back, whatever becomes of the sessions.
#[test]
fn who_was_introduced_is_not_forgotten() {
    let table = SessionTable::default();
    let who = table.introduce(&session(1, None, HOUR), &somebody());
    let known = || table.subjects.known().0.len();
    table.forget_unused_subjects();
    assert_eq!(known(), 1, "before the first session");
    table.insert_for(&who, SessionNumber(1), &session(1, None, HOUR));
    table.insert(SessionNumber(2), &session(2, None, HOUR), &somebody());
    assert_eq!(table.peek(&digest(1), after(0)).unwrap().identity, somebody());
    assert_eq!((known(), table.count().password), (1, 2), "it is the same");
    [1, 2].iter().for_each(|token| table.remove(digest(*token).session()));
    table.forget_unused_subjects();
    assert_eq!(known(), 1, "there may be more");
    table.insert_for(&who, SessionNumber(3), &session(3, None, HOUR));
    table.dismiss(&who);
    table.forget_unused_subjects();
    table.end(User(user(1)), SessionNumber(3));
    assert_eq!((known(), table.peek(&digest(3), after(0)).is_none()), (1, true));
    table.remove(digest(3).session());
    table.forget_unused_subjects();
    assert_eq!(known(), 0);
}

/// The numbers of a list, page by page.
fn listed(table: &SessionTable, of: u8, filter: &SessionFilter, limit: usize, now: Timestamp) -> Vec<u64> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = table.list(organisation(of), filter, after, limit, now);
        let Some(last) = page.last() else { return found };
        after = Some(place(last));
        found.extend(page.iter().map(|live| live.number.0));
    }
}

fn place(live: &Live) -> SessionPlace {
    let Identity { user, unit, method, .. } = &live.identity;
    SessionPlace { user: *user, unit: *unit, key: method.key(), number: live.number }
}

#[test]
fn a_list_goes_by_user_unit_key_and_age() {
    let by_key = Method::WebApiKey(key(1));
    let people = [
        identity(1, 2, 2, Method::Password),
        identity(1, 1, 2, by_key),
        identity(1, 1, 2, Method::Password),
        identity(1, 1, 1, by_key),
        identity(2, 3, 3, Method::Password),
        identity(1, 1, 2, Method::Password),
    ];
    let table = SessionTable::default();
    for (number, person) in (1..).zip(&people) {
        table.insert(SessionNumber(number), &session(number, None, HOUR), person);
    }
    let all = SessionFilter::default();
    for (filter, expected) in [
        (all, vec![4, 3, 6, 2, 1]),
        (SessionFilter { user: Some(user(2)), ..all }, vec![3, 6, 2, 1]),
        (SessionFilter { unit: Some(unit(2)), ..all }, vec![1]),
        (SessionFilter { key: Some(key(1)), ..all }, vec![4, 2]),
        (SessionFilter { by_key: Some(true), ..all }, vec![4, 2]),
        (SessionFilter { by_key: Some(false), ..all }, vec![3, 6, 1]),
        (SessionFilter { user: Some(user(2)), by_key: Some(true), ..all }, vec![2]),
        (SessionFilter { user: Some(user(3)), ..all }, vec![]),
        (SessionFilter { unit: Some(unit(3)), ..all }, vec![]),
    ] {
        for limit in 1..6 {
            assert_eq!(listed(&table, 1, &filter, limit, after(0)), expected, "{filter:?} by {limit}");
        }
    }
    assert!(listed(&table, 9, &all, 5, after(0)).is_empty());
    assert!(table.list(organisation(1), &all, None, 0, after(0)).is_empty());
    assert!(listed(&table, 1, &all, 5, after(HOUR)).is_empty(), "what has expired is not shown");
}

#[test]
fn a_list_of_many_users_is_whole_and_in_order_however_long_its_pages_are() {
    let table = SessionTable::default();
    let many = 2_055;
    let id = |number: u64| {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        UserId::from_bytes(bytes)
    };
    for number in 1..=many {
        let last = number == many;
        let person =
            Identity { user: id(number), ..identity(1, if last { 2 } else { 1 }, 1, Method::Password) };
        table.insert(SessionNumber(number), &session(number, None, HOUR), &person);
    }
    let all = SessionFilter::default();
    for limit in [400, 1_000, 10_000] {
        assert_eq!(listed(&table, 1, &all, limit, after(0)), (1..=many).collect::<Vec<_>>());
    }
    let of_last = SessionFilter { unit: Some(unit(2)), ..all };
    assert_eq!(listed(&table, 1, &of_last, 3, after(0)), [many], "nobody before it is meant");
    let of_one = SessionFilter { user: Some(id(many - 1)), ..all };
    assert_eq!(listed(&table, 1, &of_one, 3, after(0)), [many - 1]);
}

#[test]
fn m3_what_was_renamed_is_ended_and_released_as_before() {
    for scope in [Organisation(organisation(1)), Unit(unit(1)), User(user(1)), Key(user(1), key(1))] {
        let table = SessionTable::default();
        let people = [
            identity(1, 1, 1, Method::Password),
            identity(1, 1, 1, Method::WebApiKey(key(1))),
            identity(1, 1, 2, Method::Password),
            identity(2, 3, 3, Method::Password),
        ];
        for (number, person) in (1..).zip(&people) {
            table.insert(SessionNumber(number), &session(number, None, HOUR), person);
        }
        table.insert(SessionNumber(5), &session(5, None, HOUR), &people[0]);
        table.remove(digest(5).session());
        let old = table.peek(&digest(1), after(0)).unwrap();
        table.rename(organisation(1), User(user(1)), "zoe");
        table.rename(organisation(1), Unit(unit(1)), "branch");
        table.rename(organisation(1), Organisation(organisation(1)), "acme");
        table.rename(organisation(2), User(user(1)), "zoe");
        assert_eq!(old.identity, people[0], "an answer stays as it was given");
        let names = |token: u64| {
            let now = table.peek(&digest(token), after(0)).unwrap().identity;
            (now.organisation_code, now.unit_name, now.username)
        };
        let renamed = |username: &str| ("acme".into(), "branch".into(), username.into());
        assert_eq!([names(1), names(2), names(3)], [renamed("zoe"), renamed("zoe"), renamed("user 2")]);
        assert_eq!(table.peek(&digest(4), after(0)).unwrap().identity, people[3]);
        assert!(table.peek(&digest(5), after(0)).is_none(), "what was released stays gone");

        // Those who come after it share its subject and its marks.
        let now = table.peek(&digest(1), after(0)).unwrap().identity;
        table.insert(SessionNumber(6), &session(6, None, HOUR), &now);
        table.end(scope, SessionNumber(6));
        for (token, person) in
            [(1, &people[0]), (2, &people[1]), (3, &people[2]), (4, &people[3]), (6, &people[0])]
        {
            let is_live = table.peek(&digest(token), after(0)).is_some();
            assert_eq!(is_live, !is_within(person, scope), "{token} after the end of {scope:?}");
        }
    }
}

/// An ending before a rename is one after it: the user's mark goes over to the new subject.
#[test]
fn m3_a_rename_revives_nothing() {
    for scope in [Organisation(organisation(1)), Unit(unit(1)), User(user(1))] {
        let table = with_one_session();
        table.end(scope, SessionNumber(2));
        for renamed in [Organisation(organisation(1)), Unit(unit(1)), User(user(1))] {
            table.rename(organisation(1), renamed, "new");
            assert!(table.peek(&digest(1), after(0)).is_none(), "{scope:?}, then {renamed:?}");
        }
        assert_eq!(sweep(&table, after(0)), [1]);
        table.forget_unused_subjects();
        assert!(table.subjects.known().0.is_empty());
    }
}

/// The people of the model: two organisations, three units, three users, keys.
fn people() -> Vec<Identity> {
    [(1, 1, 1), (1, 2, 1), (1, 1, 2), (2, 3, 3)]
        .into_iter()
        .flat_map(|(o, n, u)| {
            [Method::Password, Method::WebApiKey(key(u))].map(|method| identity(o, n, u, method))
        })
        .collect()
}

fn scopes() -> Vec<Scope> {
    let mut scopes = vec![Organisation(organisation(1)), Organisation(organisation(2))];
    scopes.extend((1..4).flat_map(|n| [Unit(unit(n)), User(user(n)), Key(user(n), key(n))]));
    scopes
}

fn is_within(identity: &Identity, scope: Scope) -> bool {
    match scope {
        Organisation(id) => identity.organisation == id,
        Unit(id) => identity.unit == id,
        User(id) => identity.user == id,
        Key(user, key) => identity.user == user && identity.method == Method::WebApiKey(key),
    }
}

/// What may happen to the table. Sessions are picked among all that were ever issued.
#[derive(Clone, Debug)]
enum Step {
    Issue {
        who: Index,
        idle: Option<i64>,
        lifetime: i64,
    },
    Slide(Index),
    Peek(Index),
    Release(Index),
    End(Index),
    /// Something takes another of two names.
    Rename(Index, bool),
    /// All sessions are listed in pages of this size; between pages, some of them are released.
    List {
        filter: Index,
        limit: usize,
        released: Vec<Index>,
    },
    Advance(i64),
    /// To this many milliseconds after what is now the expiry of a session.
    AdvanceToExpiry(Index, i64),
    /// The journal may or may not learn of what was swept before a crash.
    Sweep {
        is_recorded: bool,
    },
    /// The journal commits the uses that are due, or fails to.
    Flush {
        interval: i64,
        is_committed: bool,
    },
    /// The machine stops; the table is filled anew from what the journal has.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let session = any::<Index>;
    let idle = prop_oneof![
        1 => Just(None),
        4 => prop_oneof![Just(1), 1_i64..30, 30_i64..5_000, Just(i64::from(u32::MAX))].prop_map(Some),
    ];
    let lifetime = prop_oneof![1_i64..60, 60_i64..20_000, 20_000_i64..1 << 45];
    let advance = prop_oneof![2 => Just(0_i64), 6 => 1_i64..40, 4 => 40_i64..4_000, 1 => 4_000_i64..1 << 40];
    let interval = prop_oneof![Just(0_i64), 1_i64..50, 50_i64..30_000];
    let step = prop_oneof![
        6 => (session(), idle, lifetime).prop_map(|(who, idle, lifetime)| Step::Issue { who, idle, lifetime }),
        12 => session().prop_map(Step::Slide),
        3 => session().prop_map(Step::Peek),
        1 => session().prop_map(Step::Release),
        1 => session().prop_map(Step::End),
        1 => (session(), any::<bool>()).prop_map(|(what, is_first)| Step::Rename(what, is_first)),
        2 => (session(), 1_usize..6, prop::collection::vec(session(), 0..3))
            .prop_map(|(filter, limit, released)| Step::List { filter, limit, released }),
        6 => advance.prop_map(Step::Advance),
        3 => (session(), -1_i64..=1).prop_map(|(session, offset)| Step::AdvanceToExpiry(session, offset)),
        1 => any::<bool>().prop_map(|is_recorded| Step::Sweep { is_recorded }),
        3 => (interval, any::<bool>())
            .prop_map(|(interval, is_committed)| Step::Flush { interval, is_committed }),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..120)
}

/// A session as the model has it: every fact on its own, nothing packed.
#[derive(Debug)]
struct Modelled {
    number: u64,
    identity: Identity,
    issued: i64,
    idle: Option<i64>,
    ends: i64,
    last_used: i64,
    /// The last use that the journal has committed.
    stored: i64,
    is_ended: bool,
    is_in_table: bool,
    is_in_journal: bool,
}

impl Modelled {
    fn expires(&self) -> i64 {
        self.idle.map_or(self.ends, |idle| self.ends.min(self.last_used + idle))
    }

    fn is_live(&self, now: i64) -> bool {
        self.is_in_table && !self.is_ended && now < self.expires()
    }

    fn is_due(&self, now: i64, interval: i64) -> bool {
        let patience = self.idle.map_or(interval * 4, |idle| idle.min(interval * 4));
        self.is_in_table && self.last_used != self.stored && (now - self.stored) * 4 >= patience
    }
}

/// The table and the model side by side. A token is the place of its session in the list.
struct Sides {
    table: SessionTable,
    sessions: Vec<Modelled>,
    now: i64,
    next_number: u64,
    people: Vec<Identity>,
}

impl Sides {
    fn new() -> Self {
        let (table, people) = (SessionTable::default(), people());
        Self { table, sessions: Vec::new(), now: START, next_number: 1, people }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    fn pick(&self, index: &Index) -> Option<usize> {
        (!self.sessions.is_empty()).then(|| index.index(self.sessions.len()))
    }

    /// Moves the clock, which never runs backwards.
    fn advance(&mut self, millis: i64) {
        self.now = (self.now + millis.max(0)).min(LAST);
    }

    fn take_number(&mut self) -> SessionNumber {
        self.next_number += 1;
        SessionNumber(self.next_number - 1)
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Issue { who, idle, lifetime } => self.issue(who, *idle, *lifetime),
            Step::Slide(index) => {
                if let Some(token) = self.pick(index) {
                    if self.sessions[token].is_live(self.now) {
                        self.sessions[token].last_used = self.now;
                    }
                    self.compare(token, self.table.slide(&digest(token as u64), self.now()))?;
                }
            }
            Step::Peek(index) => {
                if let Some(token) = self.pick(index) {
                    self.compare(token, self.table.peek(&digest(token as u64), self.now()))?;
                }
            }
            Step::Release(index) => {
                if let Some(token) = self.pick(index) {
                    self.release(token);
                }
            }
            Step::Rename(index, is_first) => self.rename(*index.get(&scopes()), *is_first),
            Step::List { filter, limit, released } => {
                self.list(&self.filter(filter), *limit, released)?;
            }
            Step::End(index) => {
                let scope = *index.get(&scopes());
                let through = self.take_number();
                self.table.end(scope, through);
                self.sessions
                    .iter_mut()
                    .for_each(|session| session.is_ended |= is_within(&session.identity, scope));
            }
            Step::Advance(millis) => self.advance(*millis),
            Step::AdvanceToExpiry(index, offset) => {
                if let Some(token) = self.pick(index) {
                    self.advance(self.sessions[token].expires() + offset - self.now);
                }
            }
            Step::Sweep { is_recorded } => self.sweep(*is_recorded)?,
            Step::Flush { interval, is_committed } => self.flush(*interval, *is_committed)?,
            Step::Crash => self.crash(),
        }
        Ok(())
    }

    fn release(&mut self, token: usize) {
        self.table.remove(digest(token as u64).session());
        let session = &mut self.sessions[token];
        (session.is_ended, session.is_in_table, session.is_in_journal) = (true, false, false);
    }

    fn rename(&mut self, scope: Scope, is_first: bool) {
        let name = format!("name {}", u8::from(is_first));
        let Some(who) = self.people.iter().find(|identity| is_within(identity, scope)).cloned() else {
            return;
        };
        if let Key(..) = scope {
            return;
        }
        self.table.rename(who.organisation, scope, &name);
        let sessions = self.sessions.iter_mut().map(|session| &mut session.identity);
        for identity in sessions.chain(&mut self.people).filter(|identity| is_within(identity, scope)) {
            match scope {
                Organisation(_) => identity.organisation_code.clone_from(&name),
                Unit(_) => identity.unit_name.clone_from(&name),
                User(_) | Key(..) => identity.username.clone_from(&name),
            }
        }
    }

    /// A filter that means some of what a person stands for.
    fn filter(&self, index: &Index) -> SessionFilter {
        let chosen = index.index(self.people.len() * 5);
        let Identity { user, unit, method, .. } = &self.people[chosen / 5];
        match chosen % 5 {
            0 => SessionFilter::default(),
            1 => SessionFilter { user: Some(*user), ..SessionFilter::default() },
            2 => SessionFilter { unit: Some(*unit), ..SessionFilter::default() },
            3 => SessionFilter { key: method.key(), ..SessionFilter::default() },
            _ => SessionFilter { by_key: Some(method.key().is_some()), ..SessionFilter::default() },
        }
    }

    /// Lists an organisation's sessions page by page: each that is live throughout is shown once, in order; none that
    /// is released by then, has ended or is another's.
    fn list(
        &mut self,
        filter: &SessionFilter,
        limit: usize,
        released: &[Index],
    ) -> Result<(), TestCaseError> {
        let (mut found, mut after) = (Vec::new(), None);
        let mut released = released.iter();
        loop {
            let page = self.table.list(organisation(1), filter, after, limit, self.now());
            for live in &page {
                let token = self.sessions.iter().position(|session| session.number == live.number.0);
                self.compare(token.expect("it was issued"), Some(live.clone()))?;
            }
            prop_assert!(page.len() <= limit);
            found.extend(page.iter().map(place));
            let Some(last) = page.last() else { break };
            after = Some(place(last));
            if let Some(token) = released.next().and_then(|index| self.pick(index)) {
                self.release(token);
            }
        }
        prop_assert!(found.is_sorted_by(|a, b| a < b), "in order, each once: {:?}", found);
        let is_meant = |session: &&Modelled| {
            let Identity { organisation: of, user, unit, method, .. } = &session.identity;
            *of == organisation(1)
                && filter.user.is_none_or(|wanted| wanted == *user)
                && filter.unit.is_none_or(|wanted| wanted == *unit)
                && filter.key.is_none_or(|wanted| method.key() == Some(wanted))
                && filter.by_key.is_none_or(|wanted| method.key().is_some() == wanted)
        };
        let live = self.sessions.iter().filter(|session| session.is_live(self.now)).filter(is_meant);
        let live: BTreeSet<_> = live.map(|session| session.number).collect();
        let shown: BTreeSet<_> = found.iter().map(|place| place.number.0).collect();
        prop_assert!(live.is_subset(&shown), "{:?} are live, {:?} are shown", live, shown);
        Ok(())
    }

    /// What the table remembers beside its sessions is what they need, or little more.
    fn is_tidy(&self) -> Result<(), TestCaseError> {
        self.table.forget_unused_subjects();
        let known = self.table.subjects.known();
        let held: Vec<_> = self.sessions.iter().filter(|session| session.is_in_table).collect();
        let users: BTreeSet<_> = held.iter().map(|session| session.identity.user).collect();
        let units: BTreeSet<_> = held.iter().map(|session| session.identity.unit).collect();
        let organisations: BTreeSet<_> = held.iter().map(|session| session.identity.organisation).collect();
        let needed = (
            users.into_iter().collect::<Vec<_>>(),
            units.into_iter().collect::<Vec<_>>(),
            organisations.into_iter().collect::<Vec<_>>(),
        );
        prop_assert_eq!(known, needed);
        Ok(())
    }

    fn issue(&mut self, who: &Index, idle: Option<i64>, lifetime: i64) {
        let session = Modelled {
            number: self.take_number().0,
            identity: who.get(&self.people).clone(),
            issued: self.now,
            idle,
            ends: self.now + lifetime,
            last_used: self.now,
            stored: self.now,
            is_ended: false,
            is_in_table: true,
            is_in_journal: true,
        };
        self.sessions.push(session);
        self.insert(self.sessions.len() - 1);
    }

    /// Inserts what the journal has of a session.
    fn insert(&self, token: usize) {
        let modelled = &self.sessions[token];
        let session = Session {
            digest: digest(token as u64),
            issued_at: Timestamp::from_millis(modelled.issued),
            last_used_at: Timestamp::from_millis(modelled.stored),
            idle: modelled.idle.map(ms),
            ends_at: Timestamp::from_millis(modelled.ends),
        };
        self.table.insert(SessionNumber(modelled.number), &session, &modelled.identity);
    }

    fn sweep(&mut self, is_recorded: bool) -> Result<(), TestCaseError> {
        let mut expected = Vec::new();
        for session in &mut self.sessions {
            if session.is_in_table && !session.is_live(self.now) {
                expected.push(session.number);
                session.is_in_table = false;
                session.is_in_journal &= !is_recorded;
            }
        }
        prop_assert_eq!(sweep(&self.table, self.now()), expected);
        self.table.forget_unused_subjects();
        Ok(())
    }

    fn flush(&mut self, interval: i64, is_committed: bool) -> Result<(), TestCaseError> {
        let uses = due_uses(&self.table, self.now(), ms(interval));
        for session in &mut self.sessions {
            let found = uses.iter().find(|used| used.number.0 == session.number);
            // The table keeps 32 bits of what is stored, the last nine as zeros: beyond their reach it may wait for the next
            // round, and within it take a use for due that soon will be.
            if self.now - session.stored < (1 << 32) - 512 {
                prop_assert!(found.is_some() || !session.is_due(self.now, interval), "{:?}", session);
                prop_assert!(found.is_none() || session.is_due(self.now + 511, interval), "{:?}", session);
            }
            if let Some(used) = found {
                prop_assert_eq!(used.last_used_at.as_millis(), session.last_used);
                session.stored = if is_committed { session.last_used } else { session.stored };
            }
        }
        if is_committed {
            self.table.mark_stored(&uses);
        }
        Ok(())
    }

    fn crash(&mut self) {
        self.table = SessionTable::default();
        for token in 0..self.sessions.len() {
            let session = &mut self.sessions[token];
            session.is_in_table = session.is_in_journal && !session.is_ended;
            session.last_used = session.stored;
            if session.is_in_table {
                self.insert(token);
            }
        }
    }

    /// Whether the table said of a token what the model says.
    fn compare(&self, token: usize, found: Option<Live>) -> Result<(), TestCaseError> {
        let session = &self.sessions[token];
        prop_assert_eq!(found.is_some(), session.is_live(self.now), "at {}: {:?}", self.now, session);
        if let Some(live) = found {
            prop_assert_eq!(live.number.0, session.number);
            prop_assert_eq!(&live.identity, &session.identity);
            prop_assert_eq!(live.issued_at.as_millis(), session.issued);
            prop_assert_eq!(live.last_used_at.as_millis(), session.last_used);
            prop_assert_eq!(live.expires_at.as_millis(), session.expires());
        }
        Ok(())
    }

    fn compare_all(&self) -> Result<(), TestCaseError> {
        for token in 0..self.sessions.len() {
            self.compare(token, self.table.peek(&digest(token as u64), self.now()))?;
        }
        let held = |is_password: bool| {
            let counts =
                |s: &&Modelled| s.is_in_table && (s.identity.method == Method::Password) == is_password;
            self.sessions.iter().filter(counts).count() as u64
        };
        prop_assert_eq!(self.table.count(), Held { password: held(true), web_api_key: held(false) });
        Ok(())
    }
}

proptest! {
    #[test]
    fn t4_t5_expiry_endings_renames_and_lists_agree_with_a_simple_model(steps in steps()) {
        let mut sides = Sides::new();
        for step in &steps {
            let lives_until: Vec<_> =
                sides.sessions.iter().map(|s| (s.is_live(sides.now), s.expires())).collect();
            sides.take(step)?;
            sides.compare_all()?;
            if let Step::Sweep { .. } = step {
                sides.is_tidy()?;
            }
            if let Step::Crash = step {
                for (session, (was_live, until)) in sides.sessions.iter().zip(lives_until) {
                    prop_assert!(session.expires() <= until, "a restart lengthened {session:?}");
                    prop_assert!(was_live || !session.is_live(sides.now), "a restart revived {session:?}");
                }
            }
        }
    }
}

/// A copy sheds sessions and meets them again: they are counted and listed once.
#[test]
fn what_left_a_copy_and_comes_back_is_there_once() {
    let table = SessionTable::default();
    let learn = |last_used: i64| {
        let last_used_at = after(last_used);
        table.learn(
            SessionNumber(3),
            &Session { last_used_at, ..session(1, Some(ms(1_000)), HOUR) },
            &somebody(),
        );
    };
    let listed = || table.list(organisation(1), &SessionFilter::default(), None, 10, after(10)).len();
    learn(5);
    table.insert(SessionNumber(2), &session(2, Some(ms(1_000)), HOUR), &somebody());
    for round in 0..3 {
        let shed: Vec<_> = (0..SHARDS).flat_map(|shard| table.shed(shard)).collect();
        assert!(shed.is_empty(), "there is no use that is not written");
        assert_eq!((table.count().password, listed()), (0, 0));
        learn(5 + round);
        learn(5);
        table.insert(SessionNumber(2), &session(2, Some(ms(1_000)), HOUR), &somebody());
        assert_eq!((table.count().password, listed()), (2, 2));
        assert_eq!(
            table.peek(&digest(1), after(10)).unwrap().last_used_at,
            after(5 + round),
            "the latest use counts"
        );
    }
    table.slide(&digest(1), after(20)).unwrap();
    let shed: Vec<_> = (0..SHARDS).flat_map(|shard| table.shed(shard)).collect();
    assert_eq!(
        shed.iter().map(|used| (used.number.0, used.last_used_at)).collect::<Vec<_>>(),
        [(3, after(20))]
    );
}

#[test]
fn nothing_is_left_of_what_was_forgotten() {
    let table = with_one_session();
    let before = table.memory();
    table.forget_all();
    assert!(matches!(table.sight(&digest(1), after(0), true, |_| Some(())), Sight::Absent));
    assert_eq!((table.count().password, table.memory()), (0, 0));
    table.insert(SessionNumber(1), &session(1, Some(ms(10)), HOUR), &somebody());
    assert_eq!(table.memory(), before);
}
