//! The limit over instances that count together in a store.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU8},
};

use super::*;
use crate::{directory::StoreFuture, journal::StoreError, random::NoRandomness};

/// A store in memory that does not answer at once.
#[derive(Default)]
struct Board {
    counts: Mutex<BTreeMap<Gate, AttemptCount>>,
    key: Mutex<Option<[u8; 16]>>,
    /// It answers nothing.
    is_down: AtomicBool,
    /// It does what it is told, and does not say so.
    is_mute: AtomicBool,
    calls: Mutex<Vec<&'static str>>,
}

impl Board {
    /// What happens between a question and its answer: it is `work`, some time after the question and some time before
    /// the answer.
    fn answer<'a, T: Send + 'a>(
        &'a self,
        call: &'static str,
        work: impl FnOnce() -> T + Send + 'a,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move {
            let down = || StoreError::Unavailable("down".into());
            self.calls.lock().unwrap().push(call);
            yield_now().await;
            if self.is_down.load(Ordering::Relaxed) {
                return Err(down());
            }
            let answer = work();
            yield_now().await;
            if self.is_mute.load(Ordering::Relaxed) { Err(down()) } else { Ok(answer) }
        })
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<Gate, AttemptCount>> {
        self.counts.lock().unwrap()
    }

    /// The failures and the attempts under way of Zoe's.
    fn zoe(&self) -> (u32, usize) {
        self.counts().get(&of(ZOE)).map_or((0, 0), |count| (count.failures, count.under_way.len()))
    }

    fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

impl SharedAttempts for Board {
    fn find_count(&self, gate: Gate) -> StoreFuture<'_, Option<AttemptCount>> {
        self.answer("find", move || self.counts().get(&gate).cloned())
    }

    fn list_counts(&self, users: Vec<UserId>) -> StoreFuture<'_, Vec<(Gate, AttemptCount)>> {
        self.answer("list", move || {
            let is_theirs = |gate: &Gate| matches!(gate, Gate::User(user, _) if users.contains(user));
            let counts = self.counts();
            counts
                .iter()
                .filter(|(gate, _)| is_theirs(gate))
                .map(|(gate, count)| (*gate, count.clone()))
                .collect()
        })
    }

    fn replace_count(
        &self,
        gate: Gate,
        from: Option<AttemptCount>,
        to: Option<AttemptCount>,
    ) -> StoreFuture<'_, bool> {
        self.answer("replace", move || {
            let mut counts = self.counts();
            if counts.get(&gate) != from.as_ref() {
                return false;
            }
            match to {
                Some(to) => counts.insert(gate, to),
                None => counts.remove(&gate),
            };
            true
        })
    }

    fn forget_counts(&self, now: Timestamp) -> StoreFuture<'_, ()> {
        self.answer("forget", move || self.counts().retain(|_, count| now < count.stale_at))
    }

    fn agree_on_key(&self, proposed: [u8; 16]) -> StoreFuture<'_, [u8; 16]> {
        self.answer("agree", move || *self.key.lock().unwrap().get_or_insert(proposed))
    }
}

/// Never the same twice.
#[derive(Default)]
struct Counting(AtomicU8);

impl Randomness for Counting {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }
}

/// Instances over one store, and a clock that all of them have.
struct Cluster<const N: usize> {
    board: Arc<Board>,
    instances: [Arc<Attempts>; N],
    hands: Hands,
    clock: Clock,
}

impl<const N: usize> Cluster<N> {
    async fn start() -> Self {
        Self::start_with(1_000).await
    }

    async fn start_with(longest_wait: usize) -> Self {
        let (board, random) = (Arc::new(Board::default()), Counting::default());
        let mut instances = Vec::new();
        for _ in 0..N {
            instances.push(Arc::new(Attempts::share(board.clone(), longest_wait, &random).await.unwrap()));
        }
        board.take_calls();
        let hands = Hands(Arc::new(AtomicI64::new(1_700_000_000_000)));
        let clock = Clock::new(hands.clone());
        Self { board, instances: instances.try_into().unwrap_or_else(|_| panic!("so many")), hands, clock }
    }

    /// An attempt of Zoe's on an instance.
    async fn begin(&self, instance: usize) -> Result<Attempt<'_>, Barred> {
        self.instances[instance].begin(of(ZOE), RULES, &self.clock).await
    }

    async fn fail(&self, instance: usize) {
        self.begin(instance).await.unwrap().failed(self.clock.now()).await;
    }

    /// How an attempt ended that must not succeed.
    async fn barred(&self, instance: usize) -> Barred {
        self.begin(instance).await.map(drop).unwrap_err()
    }

    async fn finish(&self) {
        for instance in &self.instances {
            instance.finish().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn l2_a_thousand_guesses_spread_over_instances_get_no_more_tries() {
    let cluster = Cluster::<3>::start().await;
    let tally = a_thousand_spread_over(&cluster.instances, HashSet::new(), HashSet::new()).await;
    assert!(tally.most_under_way <= 3, "{tally:?}");
    assert_eq!((tally.failed, tally.locked, tally.busy), (3, 997, 0), "{tally:?}");
}

#[tokio::test(start_paused = true)]
async fn l2_hanging_up_gains_no_tries_on_many_instances() {
    let cluster = Cluster::<3>::start().await;
    let hanging_up = (0..1_000).filter(|number| number % 4 > 0).collect();
    let tally = a_thousand_spread_over(&cluster.instances, HashSet::new(), hanging_up).await;
    assert!(tally.most_under_way <= 3, "{tally:?}");
    assert_eq!((tally.failed, tally.succeeded, tally.busy), (3, 0, 0), "{tally:?}");
}

#[tokio::test(start_paused = true)]
async fn l2_many_right_logins_on_many_instances_all_succeed_and_leave_nothing() {
    let cluster = Cluster::<3>::start().await;
    let right = (0..1_000).collect();
    let tally = a_thousand_spread_over(&cluster.instances, right, HashSet::new()).await;
    assert!(tally.most_under_way <= 3, "{tally:?}");
    assert_eq!(tally.succeeded, 1_000, "{tally:?}");
    assert!(cluster.board.counts().is_empty());
    for instance in &cluster.instances {
        let Counts::Shared(shared, _) = &instance.counts else { panic!("not shared") };
        cluster.finish().await;
        assert_eq!(shared.lanes_held(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_waits_for_those_of_other_instances() {
    let cluster = Cluster::<2>::start_with(1).await;
    let (first, second) = (cluster.begin(0).await.unwrap(), cluster.begin(1).await.unwrap());
    let _third = cluster.begin(0).await.unwrap();
    let mut waiting = Box::pin(cluster.begin(1));
    assert!(tokio::time::timeout(Duration::from_secs(3_600), &mut waiting).await.is_err());
    assert_eq!(cluster.barred(1).await, Barred::Busy);
    // One that comes later has its turn later, be there room or not: nobody waits for ever.
    drop(second);
    let fourth = waiting.await.unwrap();
    let mut waiting = Box::pin(cluster.begin(1));
    assert!(tokio::time::timeout(Duration::from_secs(3_600), &mut waiting).await.is_err());
    first.failed(cluster.clock.now()).await;
    assert!(tokio::time::timeout(Duration::from_secs(3_600), &mut waiting).await.is_err(), "none is left");
    drop(fourth);
    assert!(waiting.await.is_ok());
}

/// Wherever a client hangs up, its attempt is settled.
#[tokio::test]
async fn hanging_up_at_any_moment_leaves_nothing_under_way() {
    let mut is_begun = false;
    for polls in 0.. {
        let cluster = Cluster::<1>::start().await;
        cluster.fail(0).await;
        let mut login = Box::pin(async { cluster.begin(0).await.unwrap().failed(cluster.clock.now()).await });
        let mut is_over = false;
        for _ in 0..polls {
            is_over = is_over || poll_once(login.as_mut()).is_ready();
            is_begun |= cluster.board.zoe().1 == 1;
            yield_now().await;
        }
        drop(login);
        // A task that is under way may leave another behind.
        cluster.finish().await;
        let (failures, under_way) = cluster.board.zoe();
        assert_eq!(under_way, 0, "after {polls} polls");
        assert!(failures == 1 || failures == 2);
        if is_over {
            assert_eq!(failures, 2);
            break;
        }
    }
    assert!(is_begun);
}

#[tokio::test]
async fn l2_what_an_instance_that_died_left_under_way_counts_as_failed_after_its_time() {
    let cluster = Cluster::<2>::start().await;
    for _ in 0..RULES.failures {
        std::mem::forget(cluster.begin(0).await.unwrap());
    }
    let died = cluster.clock.now();
    cluster.hands.advance(shared::LONGEST_ATTEMPT - MILLISECOND);
    assert!(tokio::time::timeout(Duration::ZERO, cluster.begin(1)).await.is_err(), "there is no room");
    cluster.hands.advance(MILLISECOND);
    let until = died.plus(shared::LONGEST_ATTEMPT).plus(RULES.lock);
    assert_eq!(cluster.barred(1).await, Barred::Locked(until));
    cluster.hands.advance(RULES.lock);
    assert!(cluster.begin(1).await.is_ok(), "not for ever");
}

/// As when an instance was stopped for minutes and goes on.
#[tokio::test]
async fn l2_an_attempt_that_is_settled_too_late_counts_once() {
    let cluster = Cluster::<2>::start().await;
    let (wrong, right) = (cluster.begin(0).await.unwrap(), cluster.begin(0).await.unwrap());
    cluster.hands.advance(shared::LONGEST_ATTEMPT);
    let third = cluster.begin(1).await.unwrap();
    assert_eq!(cluster.board.zoe(), (2, 1));
    wrong.failed(cluster.clock.now()).await;
    right.succeeded().await;
    assert_eq!(cluster.board.zoe(), (2, 1));
    third.succeeded().await;
    assert_eq!(cluster.board.zoe(), (2, 0));
}

#[tokio::test]
async fn l2_what_is_overdue_counts_alike_whenever_it_is_looked_at() {
    let attempt =
        |number, seconds: i64| UnderWay { number, overdue_at: Timestamp::from_millis(seconds * 1_000) };
    let mut abandoned = AttemptCount::new();
    for (number, seconds) in [(1, 30), (2, 20), (3, 10)] {
        assert_eq!(
            abandoned.begin(attempt(number, seconds), &RULES, Timestamp::from_millis(0)),
            Begun::Counted
        );
    }
    let look = |count: &mut AttemptCount, seconds: i64| {
        let now = Timestamp::from_millis(seconds * 1_000);
        let begun = count.begin(attempt(9, 10_000), &RULES, now);
        count.settle(9, None, &RULES);
        begun
    };
    let mut often = abandoned.clone();
    for seconds in 0..90 {
        look(&mut often, seconds);
    }
    let locked = Begun::Locked(Timestamp::from_millis(90_000));
    assert_eq!((look(&mut often, 89), look(&mut abandoned, 89)), (locked, locked));
    assert_eq!(often, abandoned);
    assert_eq!(look(&mut often, 90), Begun::Counted);
}

#[tokio::test]
async fn l1_locks_double_whichever_instances_failures_are_counted_on() {
    let cluster = Cluster::<3>::start().await;
    for (round, seconds) in [60, 120, 180, 180].into_iter().enumerate() {
        for failure in 0..3 {
            cluster.fail((round + failure) % 3).await;
        }
        let until = cluster.clock.now().plus(Duration::from_secs(seconds));
        for instance in 0..3 {
            assert_eq!(cluster.barred(instance).await, Barred::Locked(until));
        }
        cluster.hands.advance(Duration::from_secs(seconds));
    }
}

#[tokio::test]
async fn l1_rules_that_became_stricter_lock_once_for_all_instances() {
    let cluster = Cluster::<2>::start().await;
    let lenient = LockoutRules { failures: 10, ..RULES };
    for _ in 0..RULES.failures {
        let attempt = cluster.instances[0].begin(of(ZOE), lenient, &cluster.clock).await.unwrap();
        attempt.failed(cluster.clock.now()).await;
    }
    let until = cluster.clock.now().plus(RULES.lock);
    assert_eq!(cluster.barred(0).await, Barred::Locked(until));
    cluster.hands.advance(MILLISECOND);
    assert_eq!(cluster.barred(1).await, Barred::Locked(until), "it does not begin anew with each look");
}

#[tokio::test]
async fn l1_an_unlock_on_one_instance_holds_on_all() {
    let cluster = Cluster::<2>::start().await;
    let office = from(ZOE, "10.0.0.1");
    for gate in [of(ZOE), office, of(YANNIS)] {
        for _ in 0..RULES.failures {
            let attempt = cluster.instances[0].begin(gate, RULES, &cluster.clock).await.unwrap();
            attempt.failed(cluster.clock.now()).await;
        }
    }
    let (now, users) = (cluster.clock.now(), [ZOE, YANNIS]);
    let until = now.plus(RULES.lock);
    let locked = cluster.instances[1].locked_until(&users, now).await.unwrap();
    assert_eq!(locked, BTreeMap::from([(ZOE, until), (YANNIS, until)]));
    cluster.instances[1].unlock(&[ZOE]).await.unwrap();
    let locked = cluster.instances[0].locked_until(&users, now).await.unwrap();
    assert_eq!(locked, BTreeMap::from([(YANNIS, until)]));
    assert!(cluster.begin(0).await.is_ok());
    assert!(cluster.instances[0].begin(office, RULES, &cluster.clock).await.is_ok());
    cluster.finish().await;
    assert_eq!(cluster.board.counts().keys().collect::<Vec<_>>(), [&of(YANNIS)]);
}

#[tokio::test]
async fn l1_an_unlock_keeps_what_is_under_way() {
    let cluster = Cluster::<2>::start().await;
    cluster.fail(0).await;
    let attempts = [cluster.begin(0).await.unwrap(), cluster.begin(1).await.unwrap()];
    cluster.instances[1].unlock(&[ZOE]).await.unwrap();
    assert_eq!(cluster.board.zoe(), (0, 2));
    for attempt in attempts {
        attempt.failed(cluster.clock.now()).await;
    }
    assert_eq!(cluster.board.zoe(), (2, 0));
}

/// Or else how long a login takes would tell which of them it was.
#[tokio::test]
async fn c5_l5_the_store_is_asked_as_often_whatever_comes_of_a_login() {
    let cluster = Cluster::<1>::start().await;
    let attempts = &cluster.instances[0];
    for gate in [of(ZOE), Gate::Nobody(7)] {
        for _ in 0..RULES.failures {
            let attempt = attempts.begin(gate, RULES, &cluster.clock).await.unwrap();
            assert_eq!(cluster.board.take_calls(), ["find", "replace"]);
            attempt.failed(cluster.clock.now()).await;
            assert_eq!(cluster.board.take_calls(), ["replace"]);
        }
        assert!(attempts.begin(gate, RULES, &cluster.clock).await.is_err());
        assert_eq!(cluster.board.take_calls(), ["find", "replace"]);
        let before = cluster.board.counts().clone();
        attempts.settle_nothing(gate).await.unwrap();
        assert_eq!(cluster.board.take_calls(), ["replace"]);
        assert_eq!(*cluster.board.counts(), before, "what it costs, and nothing else");
    }
}

#[tokio::test]
async fn c5_instances_agree_on_what_chooses_the_gates_of_nobody() {
    let cluster = Cluster::<2>::start().await;
    let [one, other] = cluster.instances.each_ref().map(|attempts| attempts.gate_key());
    assert!(one.is_some());
    assert_eq!(one, other);
}

#[tokio::test]
async fn without_the_store_no_attempt_is_made_and_no_lock_is_known() {
    let cluster = Cluster::<1>::start().await;
    cluster.board.is_down.store(true, Ordering::Relaxed);
    for _ in 0..10 {
        assert!(matches!(cluster.barred(0).await, Barred::Unavailable(_)));
    }
    let attempts = &cluster.instances[0];
    assert!(attempts.locked_until(&[ZOE], cluster.clock.now()).await.is_err());
    assert!(attempts.unlock(&[ZOE]).await.is_err());
    assert!(attempts.settle_nothing(of(ZOE)).await.is_err());
    cluster.board.is_down.store(false, Ordering::Relaxed);
    assert!(cluster.begin(0).await.is_ok(), "nothing was counted");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_of_which_it_is_not_known_whether_it_was_counted_is_not() {
    let cluster = Cluster::<1>::start().await;
    for _ in 0..10 {
        let begin = cluster.begin(0);
        let fails = async {
            while cluster.board.zoe().1 == 0 {
                yield_now().await;
            }
            cluster.board.is_mute.store(true, Ordering::Relaxed);
        };
        let (begun, ()) = tokio::join!(begin, fails);
        assert!(matches!(begun.map(drop), Err(Barred::Unavailable(_))));
        assert_eq!(cluster.board.zoe().1, 1);
        cluster.board.is_mute.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(cluster.board.zoe(), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_settled_is_settled_when_the_store_is_back() {
    let cluster = Cluster::<1>::start().await;
    let (wrong, right) = (cluster.begin(0).await.unwrap(), cluster.begin(0).await.unwrap());
    cluster.board.is_down.store(true, Ordering::Relaxed);
    wrong.failed(cluster.clock.now()).await;
    right.succeeded().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(cluster.board.zoe(), (0, 2), "they stay counted meanwhile");
    cluster.board.is_down.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(cluster.board.zoe(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_can_be_settled_and_not_for_ever() {
    let cluster = Cluster::<1>::start().await;
    drop(cluster.begin(0).await.unwrap());
    cluster.finish().await;
    assert_eq!(cluster.board.zoe(), (0, 0));
    let attempt = cluster.begin(0).await.unwrap();
    cluster.board.is_down.store(true, Ordering::Relaxed);
    drop(attempt);
    cluster.finish().await;
    assert_eq!(cluster.board.zoe(), (0, 1));
}

#[tokio::test]
async fn shared_counts_that_say_nothing_are_forgotten() {
    let cluster = Cluster::<1>::start().await;
    let forget = || cluster.instances[0].forget_old(cluster.clock.now());
    cluster.fail(0).await;
    cluster.hands.advance(RULES.window - MILLISECOND);
    forget().await.unwrap();
    assert_eq!(cluster.board.zoe(), (1, 0));
    cluster.hands.advance(MILLISECOND);
    forget().await.unwrap();
    assert!(cluster.board.counts().is_empty());

    // What was abandoned says something until it has counted as a failure, and that is forgotten.
    for _ in 0..RULES.failures {
        std::mem::forget(cluster.begin(0).await.unwrap());
    }
    cluster.hands.advance(shared::LONGEST_ATTEMPT + RULES.lock + RULES.longest_lock - MILLISECOND);
    forget().await.unwrap();
    for _ in 0..RULES.failures {
        cluster.fail(0).await;
    }
    let until = cluster.clock.now().plus(RULES.lock * 2);
    assert_eq!(cluster.barred(0).await, Barred::Locked(until));
}
