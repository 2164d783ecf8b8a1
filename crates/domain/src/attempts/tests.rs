//! The limit under one login at a time, and under a thousand at once.

mod shared_counts;

use std::{
    collections::HashSet,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, atomic::AtomicI64},
    task::{Context, Poll, Waker},
};

use tokio::task::{JoinSet, yield_now};

use super::*;
use crate::clock::TimeSource;

/// A clock that stands still until it is moved.
#[derive(Clone, Default)]
struct Hands(Arc<AtomicI64>);

impl Hands {
    fn advance(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as i64, Ordering::Relaxed);
    }
}

impl TimeSource for Hands {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed) as u64)
    }
}

/// Three failures in ten minutes lock for one minute, then for two, then for three.
const RULES: LockoutRules = LockoutRules {
    failures: 3,
    window: Duration::from_secs(600),
    lock: Duration::from_secs(60),
    longest_lock: Duration::from_secs(180),
};
const LONGEST_WAIT: usize = 2;
const MILLISECOND: Duration = Duration::from_millis(1);

const ZOE: UserId = UserId::from_bytes([1; 16]);
const YANNIS: UserId = UserId::from_bytes([2; 16]);

/// From anywhere: the gate of a user who is known from nowhere.
fn of(user: UserId) -> Gate {
    Gate::User(user, None)
}

struct Fixture {
    attempts: Attempts,
    rules: LockoutRules,
    hands: Hands,
    clock: Clock,
}

impl Fixture {
    fn new() -> Self {
        let hands = Hands(Arc::new(AtomicI64::new(1_700_000_000_000)));
        Self { attempts: Attempts::new(LONGEST_WAIT), rules: RULES, clock: Clock::new(hands.clone()), hands }
    }

    /// Begins an attempt that does not have to wait.
    fn begin(&self, user: UserId) -> Result<Attempt<'_>, Barred> {
        self.begin_by(of(user), self.rules)
    }

    fn begin_by(&self, gate: Gate, rules: LockoutRules) -> Result<Attempt<'_>, Barred> {
        match poll_once(pin!(self.attempts.begin(gate, rules, &self.clock))) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("the attempt waits for others"),
        }
    }

    /// An attempt that may have to wait.
    fn begin_patiently(&self, user: UserId) -> impl Future<Output = Result<Attempt<'_>, Barred>> {
        self.attempts.begin(of(user), self.rules, &self.clock)
    }

    /// How an attempt to begin ended that must not succeed.
    fn barred(&self, user: UserId) -> Barred {
        self.begin(user).map(drop).unwrap_err()
    }

    fn fail(&self, times: u32) {
        for _ in 0..times {
            self.fail_at(of(ZOE), self.rules);
        }
    }

    fn fail_at(&self, gate: Gate, rules: LockoutRules) {
        self.settle_failed(self.begin_by(gate, rules).unwrap());
    }

    fn settle_failed(&self, attempt: Attempt<'_>) {
        at_once(attempt.failed(self.clock.now()));
    }

    fn unlock(&self) {
        at_once(self.attempts.unlock(&[ZOE])).unwrap();
    }

    fn locked_until(&self, now: Timestamp) -> Option<Timestamp> {
        at_once(self.attempts.locked_until(&[ZOE], now)).unwrap().remove(&ZOE)
    }

    fn forget_old(&self) {
        at_once(self.attempts.forget_old(self.clock.now())).unwrap();
    }

    /// Fails until the account is locked, and waits until just before the end of the lock, which took `seconds`.
    fn lock_for(&self, seconds: u64) {
        self.fail(RULES.failures);
        let lock = Duration::from_secs(seconds);
        assert_eq!(self.barred(ZOE), Barred::Locked(self.clock.now().plus(lock)));
        self.hands.advance(lock - MILLISECOND);
        assert!(matches!(self.barred(ZOE), Barred::Locked(_)));
        self.hands.advance(MILLISECOND);
    }

    fn counts_held(&self) -> usize {
        let Counts::Own(own) = &self.attempts.counts else { panic!("not in memory") };
        own.counts().len()
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// What waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match poll_once(pin!(future)) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn l1_failures_within_the_window_lock_the_account() {
    let fixture = Fixture::new();
    fixture.fail(2);
    fixture.hands.advance(RULES.window - MILLISECOND);
    fixture.fail(1);
    assert_eq!(fixture.barred(ZOE), Barred::Locked(fixture.clock.now().plus(RULES.lock)));
    assert!(fixture.begin(YANNIS).is_ok(), "another account is another matter");
}

#[test]
fn l1_the_window_forgets() {
    let fixture = Fixture::new();
    fixture.fail(2);
    fixture.hands.advance(RULES.window);
    fixture.fail(2);
    fixture.hands.advance(RULES.window / 2);
    drop(fixture.begin(ZOE).unwrap());
    fixture.fail(1);
    assert!(
        matches!(fixture.barred(ZOE), Barred::Locked(_)),
        "the second window began with its first failure"
    );
}

#[test]
fn l1_the_window_begins_with_the_first_failure_and_no_later_one_moves_it() {
    let fixture = Fixture::new();
    drop(fixture.begin(ZOE).unwrap());
    fixture.hands.advance(RULES.window - MILLISECOND);
    fixture.fail(1);
    fixture.hands.advance(RULES.window - MILLISECOND);
    fixture.fail(1);
    fixture.hands.advance(MILLISECOND);
    fixture.fail(2);
    drop(fixture.begin(ZOE).unwrap());
    fixture.hands.advance(RULES.window - MILLISECOND);
    fixture.fail(1);
    assert!(matches!(fixture.barred(ZOE), Barred::Locked(_)));
}

#[test]
fn l1_locks_in_a_row_double_up_to_the_longest() {
    let fixture = Fixture::new();
    for seconds in [60, 120, 180, 180] {
        fixture.lock_for(seconds);
    }
}

#[test]
fn l1_a_lock_long_past_does_not_lengthen_the_next() {
    let fixture = Fixture::new();
    fixture.lock_for(60);
    fixture.hands.advance(RULES.longest_lock);
    fixture.lock_for(60);
    fixture.hands.advance(RULES.longest_lock - MILLISECOND);
    fixture.lock_for(120);
}

#[test]
fn l1_the_longest_row_of_locks_stays_the_longest_lock() {
    let longest_lock = Duration::from_secs(u64::from(u32::MAX));
    let rules = LockoutRules { failures: 1, longest_lock, ..RULES };
    let fixture = Fixture { attempts: Attempts::new(0), rules, ..Fixture::new() };
    let mut locked_for = Duration::ZERO;
    for _ in 0..70 {
        fixture.fail(1);
        let Barred::Locked(until) = fixture.barred(ZOE) else { panic!("not locked") };
        assert!(until.since(fixture.clock.now()) >= locked_for);
        locked_for = until.since(fixture.clock.now());
        fixture.hands.advance(locked_for);
    }
}

#[test]
fn l1_a_success_forgets_nothing() {
    let fixture = Fixture::new();
    fixture.fail(RULES.failures - 1);
    // A program logs in again and again while somebody guesses.
    at_once(fixture.begin(ZOE).unwrap().succeeded());
    fixture.fail(1);
    assert!(matches!(fixture.barred(ZOE), Barred::Locked(_)));
}

#[test]
fn l1_an_administrator_lifts_a_lock_and_the_failures_before_it() {
    let fixture = Fixture::new();
    fixture.unlock();
    fixture.lock_for(60);
    fixture.fail(RULES.failures);
    fixture.unlock();
    fixture.fail(2);
    drop(fixture.begin(ZOE).unwrap());
    fixture.unlock();
    fixture.lock_for(60);
}

#[test]
fn l2_an_attempt_that_is_dropped_does_not_count() {
    let fixture = Fixture::new();
    for _ in 0..100 {
        drop(fixture.begin(ZOE).unwrap());
    }
    fixture.fail(2);
    for _ in 0..100 {
        drop(fixture.begin(ZOE).unwrap());
    }
}

#[test]
fn l2_as_many_are_under_way_as_failures_are_left_and_the_next_wait() {
    let fixture = Fixture::new();
    fixture.fail(1);
    let (first, second) = (fixture.begin(ZOE).unwrap(), fixture.begin(ZOE).unwrap());
    let mut third = pin!(fixture.begin_patiently(ZOE));
    assert!(poll_once(third.as_mut()).is_pending());

    fixture.settle_failed(first);
    assert!(poll_once(third.as_mut()).is_pending(), "one failure is left, and one attempt is under way");
    drop(second);
    assert!(matches!(poll_once(third), Poll::Ready(Ok(_))));
}

#[test]
fn l2_those_who_wait_are_barred_when_the_account_is_locked() {
    let fixture = Fixture::new();
    let under_way: Vec<_> = (0..RULES.failures).map(|_| fixture.begin(ZOE).unwrap()).collect();
    let mut waiting = pin!(fixture.begin_patiently(ZOE));
    assert!(poll_once(waiting.as_mut()).is_pending());
    under_way.into_iter().for_each(|attempt| fixture.settle_failed(attempt));
    assert!(matches!(poll_once(waiting), Poll::Ready(Err(Barred::Locked(_)))));
}

#[test]
fn l2_a_window_that_ends_leaves_no_room_for_more_attempts_than_failures() {
    let fixture = Fixture::new();
    fixture.fail(1);
    let (_first, _second) = (fixture.begin(ZOE).unwrap(), fixture.begin(ZOE).unwrap());
    fixture.hands.advance(RULES.window);
    let _third = fixture.begin(ZOE).unwrap();
    assert!(poll_once(pin!(fixture.begin_patiently(ZOE))).is_pending());
}

#[test]
fn too_many_who_wait_are_turned_away() {
    let fixture = Fixture::new();
    let under_way: Vec<_> = (0..RULES.failures).map(|_| fixture.begin(ZOE).unwrap()).collect();
    let mut waiting = Vec::new();
    for _ in 0..LONGEST_WAIT {
        waiting.push(Box::pin(fixture.begin_patiently(ZOE)));
        assert!(poll_once(waiting.last_mut().unwrap().as_mut()).is_pending());
    }
    assert_eq!(fixture.barred(ZOE), Barred::Busy);
    assert_eq!(fixture.barred(ZOE), Barred::Busy, "who was turned away takes no place");
    assert!(fixture.begin(YANNIS).is_ok(), "who need not wait is not turned away");

    waiting.pop();
    let mut late = pin!(fixture.begin_patiently(ZOE));
    assert!(poll_once(late.as_mut()).is_pending(), "a place given up is free");
    under_way.into_iter().for_each(|attempt| at_once(attempt.succeeded()));
    assert!(matches!(poll_once(late), Poll::Ready(Ok(_))));
}

/// What a thousand logins at once came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    under_way: u32,
    most_under_way: u32,
    failed: u32,
    succeeded: u32,
    locked: u32,
    busy: u32,
}

impl Tally {
    fn enter(&mut self) {
        self.under_way += 1;
        self.most_under_way = self.most_under_way.max(self.under_way);
    }
}

/// A thousand logins on one account at once, each as long as its number makes it. The numbers in `right` have the
/// right password, those in `hanging_up` lose interest while it is hashed.
async fn a_thousand_at_once(right: HashSet<u32>, hanging_up: HashSet<u32>) -> Tally {
    a_thousand_spread_over(&[Arc::new(Attempts::new(1_000))], right, hanging_up).await
}

/// The same, spread over instances.
async fn a_thousand_spread_over(
    instances: &[Arc<Attempts>],
    right: HashSet<u32>,
    hanging_up: HashSet<u32>,
) -> Tally {
    let clock = Clock::new(Hands::default());
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut logins = JoinSet::new();
    for (number, attempts) in (0..1_000).zip(instances.iter().cycle()) {
        let (attempts, clock, tally) = (attempts.clone(), clock.clone(), tally.clone());
        let (is_right, hangs_up) = (right.contains(&number), hanging_up.contains(&number));
        logins.spawn(async move {
            let begun = attempts.begin(of(ZOE), RULES, &clock).await;
            let tally = || tally.lock().unwrap();
            let attempt = match begun {
                Ok(attempt) => attempt,
                Err(Barred::Locked(_)) => return tally().locked += 1,
                Err(Barred::Busy) => return tally().busy += 1,
                Err(Barred::Unavailable(error)) => panic!("{error}"),
            };
            tally().enter();
            for _ in 0..=number % 7 {
                yield_now().await;
            }
            tally().under_way -= 1;
            if hangs_up {
                drop(attempt);
            } else if is_right {
                tally().succeeded += 1;
                attempt.succeeded().await;
            } else {
                tally().failed += 1;
                attempt.failed(clock.now()).await;
            }
        });
    }
    while let Some(login) = logins.join_next().await {
        login.unwrap();
    }
    std::mem::take(&mut *tally.lock().unwrap())
}

#[tokio::test]
async fn l2_a_thousand_guesses_at_once_get_no_more_tries_than_a_thousand_in_a_row() {
    let tally = a_thousand_at_once(HashSet::new(), HashSet::new()).await;
    assert_eq!(tally, Tally { most_under_way: 3, failed: 3, locked: 997, ..Tally::default() });
}

#[tokio::test]
async fn l2_hanging_up_gains_no_tries() {
    let tally =
        a_thousand_at_once(HashSet::new(), (0..1_000).filter(|number| number % 3 > 0).collect()).await;
    assert!(tally.most_under_way <= 3, "{tally:?}");
    assert_eq!((tally.failed, tally.succeeded, tally.busy), (3, 0, 0), "{tally:?}");
}

#[tokio::test]
async fn l2_many_right_logins_at_once_all_succeed() {
    let tally = a_thousand_at_once((0..1_000).collect(), HashSet::new()).await;
    assert_eq!(tally, Tally { most_under_way: 3, succeeded: 1_000, ..Tally::default() });
}

#[tokio::test]
async fn l2_fewer_wrong_passwords_than_allowed_among_right_ones_bar_nobody() {
    let wrong = [10, 900];
    let tally = a_thousand_at_once((0..1_000).filter(|n| !wrong.contains(n)).collect(), HashSet::new()).await;
    assert!(tally.most_under_way <= 3, "{tally:?}");
    assert_eq!((tally.failed, tally.succeeded, tally.locked, tally.busy), (2, 998, 0, 0), "{tally:?}");
}

#[test]
fn counts_that_say_nothing_are_forgotten() {
    let fixture = Fixture::new();
    let under_way = fixture.begin(ZOE).unwrap();
    fixture.forget_old();
    assert_eq!(fixture.counts_held(), 1, "an attempt is under way");
    at_once(under_way.succeeded());
    fixture.forget_old();
    assert_eq!(fixture.counts_held(), 0);

    fixture.fail(1);
    fixture.hands.advance(RULES.window - MILLISECOND);
    fixture.forget_old();
    assert_eq!(fixture.counts_held(), 1, "a failure is within the window");
    fixture.hands.advance(MILLISECOND);
    fixture.forget_old();
    assert_eq!(fixture.counts_held(), 0);

    fixture.lock_for(60);
    fixture.forget_old();
    assert_eq!(fixture.counts_held(), 1, "a lock lengthens the next");
    fixture.hands.advance(RULES.longest_lock);
    fixture.forget_old();
    assert_eq!(fixture.counts_held(), 0);
}

#[test]
fn l1_each_account_has_the_rules_of_its_organisation() {
    let fixture = Fixture::new();
    let lenient = LockoutRules { failures: 5, lock: Duration::from_secs(7), ..RULES };
    for (user, rules) in [(ZOE, RULES), (YANNIS, lenient)] {
        for _ in 0..rules.failures {
            fixture.fail_at(of(user), rules);
        }
        let barred = fixture.begin_by(of(user), rules).map(drop);
        assert_eq!(barred, Err(Barred::Locked(fixture.clock.now().plus(rules.lock))));
    }
}

/// Stricter rules count what was counted before; and as nothing is under way that could wake an attempt, it does not
/// wait.
#[test]
fn l1_rules_that_become_stricter_lock_at_the_next_attempt() {
    let fixture = Fixture::new();
    let lenient = LockoutRules { failures: 10, ..RULES };
    // The gates of nobody are shared by organisations with other rules.
    for gate in [of(ZOE), Gate::Nobody(1)] {
        for _ in 0..RULES.failures + 2 {
            fixture.fail_at(gate, lenient);
        }
        let barred = fixture.begin_by(gate, RULES).map(drop);
        assert_eq!(barred, Err(Barred::Locked(fixture.clock.now().plus(RULES.lock))));
        fixture.hands.advance(RULES.lock);
        assert!(fixture.begin_by(gate, RULES).is_ok(), "it is a lock like any other");
    }
}

fn from(user: UserId, network: &str) -> Gate {
    Gate::User(user, Some(network.parse().unwrap()))
}

/// Fails until a gate is locked, and returns until when.
fn lock_gate(fixture: &Fixture, gate: Gate) -> Timestamp {
    for _ in 0..RULES.failures {
        fixture.fail_at(gate, RULES);
    }
    let Err(Barred::Locked(until)) = fixture.begin_by(gate, RULES).map(drop) else { panic!("not locked") };
    until
}

#[test]
fn l4_guesses_from_elsewhere_do_not_lock_a_known_client() {
    let fixture = Fixture::new();
    lock_gate(&fixture, of(ZOE));
    let (office, home) = (from(ZOE, "10.0.0.1"), from(ZOE, "2001:db8::/64"));
    assert!([office, home].into_iter().all(|gate| fixture.begin_by(gate, RULES).is_ok()));
    // Nor is a known place a way round the limit.
    lock_gate(&fixture, office);
    assert!(fixture.begin_by(home, RULES).is_ok());
    assert!(fixture.begin_by(from(YANNIS, "10.0.0.1"), RULES).is_ok());
}

#[test]
fn l1_an_administrator_sees_the_longest_lock_of_an_account_and_lifts_all() {
    let fixture = Fixture::new();
    let now = || fixture.clock.now();
    // In the order of the gates: before, of and behind the account.
    let before = UserId::from_bytes([0; 16]);
    let others = [of(before), from(before, "::1"), of(YANNIS), from(YANNIS, "10.0.0.1"), Gate::Nobody(0)];
    let others_until: Vec<_> = others.iter().map(|gate| lock_gate(&fixture, *gate)).collect();
    assert_eq!(fixture.locked_until(now()), None);

    let gates = [of(ZOE), from(ZOE, "10.0.0.1"), from(ZOE, "2001:db8::/64")];
    lock_gate(&fixture, gates[0]);
    fixture.hands.advance(MILLISECOND);
    let longest = lock_gate(&fixture, gates[2]);
    fixture.fail_at(gates[1], RULES);
    assert_eq!(fixture.locked_until(now()), Some(longest));
    assert_eq!(fixture.locked_until(longest), None, "a lock that is over is none");

    fixture.unlock();
    assert_eq!(fixture.locked_until(now()), None);
    for gate in gates {
        for _ in 1..RULES.failures {
            fixture.fail_at(gate, RULES);
        }
        assert!(fixture.begin_by(gate, RULES).is_ok(), "the failures before it are forgotten");
    }
    for (gate, until) in others.into_iter().zip(others_until) {
        assert_eq!(fixture.begin_by(gate, RULES).map(drop), Err(Barred::Locked(until)), "{gate:?}");
    }
}
