//! The state machine alone.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::world::identity;
use crate::{
    clock::Timestamp,
    cluster::{Gap, InstanceId, LogNumber, LogRecord, Member, Notice, Replica, StoredSession},
    credential::TokenDigest,
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
    session::{Method, Scope, Session, SessionNumber},
};

const ZOE: UserId = UserId::from_bytes([3; 16]);
const ACME: OrganisationId = OrganisationId::from_bytes([1; 16]);

/// Counts what is applied and forgotten.
#[derive(Default)]
struct Counter {
    applied: AtomicU32,
    forgotten: AtomicU32,
}

impl Replica for Counter {
    fn apply(&self, _: &Notice) {
        self.applied.fetch_add(1, Ordering::Relaxed);
    }

    fn forget_all(&self) {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A member that is registered as the instance 1 at the place 10 of the log, with a lease until 5.
fn joined() -> Member<Counter> {
    let member = Member::new(Counter::default());
    member.join(InstanceId(1), LogNumber(10), at(5));
    member
}

fn records(from: u64, notices: impl IntoIterator<Item = Notice>) -> Vec<LogRecord> {
    (from..).map(LogNumber).zip(notices).map(|(number, notice)| LogRecord { number, notice }).collect()
}

fn fetched() -> StoredSession {
    let time = Timestamp::from_millis(0);
    let digest = TokenDigest::from_bytes([7; 32]);
    StoredSession {
        number: SessionNumber(40),
        session: Session { digest, issued_at: time, last_used_at: time, idle: None, ends_at: time },
        identity: identity(ZOE),
    }
}

/// Whether a fetch during which this is applied may be used.
fn survives(notice: Notice) -> bool {
    let member = joined();
    let ticket = member.begin_fetch().unwrap();
    member.apply(&records(11, [Notice::Changed, notice, Notice::Changed])).unwrap();
    let mut is_put = false;
    let may = member.finish_fetch(ticket, &fetched(), |_| is_put = true);
    assert_eq!(may, is_put);
    may
}

#[test]
fn a_fetch_is_thrown_away_for_what_concerns_it_and_for_nothing_else() {
    let released = |byte| Notice::Released(SessionId::from_bytes([byte; 16]));
    assert!(!survives(released(7)));
    assert!(survives(released(8)));

    let ended = |scope, number| Notice::Ended(scope, SessionNumber(number));
    let unit = UnitId::from_bytes([2; 16]);
    for scope in [Scope::Organisation(ACME), Scope::Unit(unit), Scope::User(ZOE)] {
        assert!(!survives(ended(scope, 40)), "{scope:?}");
        assert!(survives(ended(scope, 39)), "{scope:?}, before it was issued");
    }
    assert!(survives(ended(Scope::User(UserId::from_bytes([4; 16])), 50)));
    assert!(survives(ended(Scope::Key(ZOE, KeyId::from_bytes([5; 16])), 50)), "it was got with a password");

    let renamed = |scope| Notice::Renamed { organisation: ACME, scope, name: "new".into() };
    assert!(!survives(renamed(Scope::User(ZOE))));
    assert!(survives(renamed(Scope::Unit(UnitId::from_bytes([9; 16])))));
    assert!(survives(Notice::Changed));
}

#[test]
fn an_ending_of_a_key_concerns_what_was_got_with_it() {
    let key = KeyId::from_bytes([5; 16]);
    let mut session = fetched();
    session.identity.method = Method::WebApiKey(key);
    let member = joined();
    let ticket = member.begin_fetch().unwrap();
    member.apply(&records(11, [Notice::Ended(Scope::Key(ZOE, key), SessionNumber(40))])).unwrap();
    assert!(!member.finish_fetch(ticket, &session, |_| ()));
}

#[test]
fn what_was_applied_before_a_fetch_does_not_concern_it() {
    let member = joined();
    member.apply(&records(11, [Notice::Ended(Scope::User(ZOE), SessionNumber(50))])).unwrap();
    let ticket = member.begin_fetch().unwrap();
    assert!(member.finish_fetch(ticket, &fetched(), |_| ()));
}

#[test]
fn a_fetch_that_is_slower_than_what_is_remembered_is_thrown_away() {
    for (applied, may) in [(4_096, true), (4_097, false)] {
        let member = joined();
        let ticket = member.begin_fetch().unwrap();
        member.apply(&records(11, std::iter::repeat_n(Notice::Changed, applied))).unwrap();
        assert_eq!(member.finish_fetch(ticket, &fetched(), |_| ()), may, "{applied}");
    }
}

#[test]
fn a_fetch_does_not_outlive_its_registration() {
    let member = joined();
    let ticket = member.begin_fetch().unwrap();
    assert_eq!(member.part(), Some(InstanceId(1)));
    assert!(member.begin_fetch().is_none());
    assert!(!member.finish_fetch(ticket, &fetched(), |_| ()));
    member.join(InstanceId(2), LogNumber(10), at(5));
    assert!(!member.finish_fetch(ticket, &fetched(), |_| ()));
}

#[test]
fn records_are_applied_once_in_order_and_without_a_gap() {
    let member = joined();
    let changes = |from, count| records(from, std::iter::repeat_n(Notice::Changed, count));
    assert_eq!(member.apply(&changes(9, 4)), Ok(()));
    assert_eq!(member.apply(&changes(11, 3)), Ok(()));
    assert_eq!(member.standing(), Some((InstanceId(1), LogNumber(13))));
    let count = || member.admit(at(0)).unwrap().replica().applied.load(Ordering::Relaxed);
    assert_eq!(count(), 3);
    assert_eq!(member.apply(&changes(15, 1)), Err(Gap(LogNumber(13))));
    assert_eq!(count(), 3);
}

#[test]
fn a_lease_ends_and_comes_back_when_what_it_vouches_for_is_applied() {
    let member = joined();
    assert!(member.admit(at(4)).is_some());
    assert!(member.admit(at(5)).is_none());
    assert!(!member.extend(InstanceId(1), LogNumber(11), at(9)), "the record 11 is still to be applied");
    assert!(!member.may_answer(at(6)));
    member.apply(&records(11, [Notice::Changed])).unwrap();
    assert!(!member.extend(InstanceId(2), LogNumber(11), at(9)), "another's");
    assert!(member.extend(InstanceId(1), LogNumber(11), at(9)));
    assert!(member.may_answer(at(8)));
    assert!(member.extend(InstanceId(1), LogNumber(11), at(7)));
    assert!(member.may_answer(at(8)), "a late answer takes nothing away");
}

#[test]
fn without_a_registration_there_is_no_lease_and_nothing_is_remembered() {
    let member = joined();
    member.part();
    assert!(!member.may_answer(at(0)));
    assert!(!member.extend(InstanceId(1), LogNumber(0), at(9)));
    member.join(InstanceId(2), LogNumber(20), at(9));
    let forgotten = &member.admit(at(0)).unwrap().replica().forgotten;
    assert_eq!(forgotten.load(Ordering::Relaxed), 1);
}
