//! Failed logins, counted together by instances on one PostgreSQL database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use doorward_domain::{
    attempts::{Attempt, AttemptCount, Attempts, Barred, Gate, LockoutRules, SharedAttempts, UnderWay},
    clock::{Clock, Timestamp},
    id::UserId,
    observer::NoObserver,
    random::{NoRandomness, Randomness},
};
use doorward_storage::{PostgresAttempts, PostgresStore};
use doorward_testkit::{
    PostgresServer, TestClock,
    conformance::company::{GLOBEX_USER, ZOE},
};
use tokio::task::{JoinSet, yield_now};

use crate::postgres_testing::Database;

const RULES: LockoutRules = LockoutRules {
    failures: 3,
    window: Duration::from_secs(600),
    lock: Duration::from_secs(60),
    longest_lock: Duration::from_secs(180),
};
/// How long an attempt may be under way.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(60);
const ANYWHERE: Gate = Gate::User(ZOE, None);

/// Never the same twice.
struct Counting(AtomicU8);

impl Randomness for Counting {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }
}

/// Two instances, each with connections of its own, and the clock that both follow.
struct Pair {
    instances: [Arc<Attempts>; 2],
    hands: TestClock,
    clock: Clock,
}

impl Pair {
    async fn on(database: &Database<'_>) -> Self {
        let random = Counting(AtomicU8::new(200));
        let mut instances = Vec::new();
        for _ in 0..2 {
            let store = Arc::new(store(database).await);
            instances.push(Arc::new(Attempts::share(store, 1_000, &random).await.unwrap()));
        }
        let hands = TestClock::default();
        let clock = Clock::new(hands.clone());
        Self { instances: instances.try_into().unwrap_or_else(|_| unreachable!()), hands, clock }
    }

    async fn begin(&self, instance: usize) -> Result<Attempt<'_>, Barred> {
        self.instances[instance].begin(ANYWHERE, RULES, &self.clock).await
    }

    async fn fail(&self, instance: usize) {
        self.begin(instance).await.unwrap().failed(self.clock.now()).await;
    }

    /// How an attempt ended that must not succeed.
    async fn barred(&self, instance: usize) -> Barred {
        self.begin(instance).await.map(drop).unwrap_err()
    }

    /// Many logins at once on each instance, all of them with the right password or all with a wrong one.
    async fn many_at_once(&self, logins: u32, are_right: bool) -> Tally {
        let tally = Arc::new(Tally::default());
        let mut tasks = JoinSet::new();
        for number in 0..logins {
            for attempts in &self.instances {
                let (attempts, clock, tally) = (attempts.clone(), self.clock.clone(), tally.clone());
                tasks.spawn(async move {
                    let attempt = match attempts.begin(ANYWHERE, RULES, &clock).await {
                        Ok(attempt) => attempt,
                        Err(Barred::Locked(_)) => {
                            tally.locked.fetch_add(1, Ordering::SeqCst);
                            return;
                        }
                        Err(barred) => panic!("{barred:?}"),
                    };
                    let under_way = tally.under_way.fetch_add(1, Ordering::SeqCst) + 1;
                    tally.most_under_way.fetch_max(under_way, Ordering::SeqCst);
                    for _ in 0..number % 5 {
                        yield_now().await;
                    }
                    tally.under_way.fetch_sub(1, Ordering::SeqCst);
                    tally.made.fetch_add(1, Ordering::SeqCst);
                    if are_right {
                        attempt.succeeded().await;
                    } else {
                        attempt.failed(clock.now()).await;
                    }
                });
            }
        }
        while let Some(login) = tasks.join_next().await {
            login.unwrap();
        }
        Arc::into_inner(tally).unwrap()
    }
}

#[derive(Debug, Default)]
struct Tally {
    under_way: AtomicU32,
    most_under_way: AtomicU32,
    made: AtomicU32,
    locked: AtomicU32,
}

async fn store(database: &Database<'_>) -> PostgresAttempts {
    let store = PostgresStore::open(&database.options).await.unwrap();
    store.start(Arc::new(NoObserver)).unwrap().1.attempts()
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn l2_guesses_spread_over_instances_get_no_more_tries_than_at_one() {
    let database = Database::new();
    database.block_on(async {
        let pair = Pair::on(&database).await;
        let tally = pair.many_at_once(200, false).await;
        assert!(tally.most_under_way.load(Ordering::SeqCst) <= RULES.failures, "{tally:?}");
        assert_eq!(tally.made.load(Ordering::SeqCst), RULES.failures);
        assert_eq!(tally.locked.load(Ordering::SeqCst), 400 - RULES.failures);
        for round in 1..3 {
            let locked_for = pair.instances[0].locked_until(&[ZOE], pair.clock.now()).await.unwrap();
            assert_eq!(locked_for[&ZOE], pair.clock.now().plus(RULES.lock * round));
            pair.hands.advance(RULES.lock * round);
            let tally = pair.many_at_once(20, false).await;
            assert_eq!(tally.made.load(Ordering::SeqCst), RULES.failures, "after a lock");
        }
    });
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn l2_right_logins_at_once_all_succeed_and_leave_nothing() {
    let database = Database::new();
    database.block_on(async {
        let pair = Pair::on(&database).await;
        let tally = pair.many_at_once(100, true).await;
        assert!(tally.most_under_way.load(Ordering::SeqCst) <= RULES.failures, "{tally:?}");
        assert_eq!(tally.made.load(Ordering::SeqCst), 200);
    });
    assert_eq!(database.sql("SELECT count(*) FROM login_attempt"), "0");
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn l2_what_an_instance_left_under_way_counts_as_failed_after_its_time() {
    let database = Database::new();
    database.block_on(async {
        let pair = Pair::on(&database).await;
        for _ in 0..RULES.failures {
            std::mem::forget(pair.begin(0).await.unwrap());
        }
        let until = pair.clock.now().plus(LONGEST_ATTEMPT).plus(RULES.lock);
        pair.hands.advance(LONGEST_ATTEMPT - Duration::from_millis(1));
        assert!(tokio::time::timeout(Duration::from_millis(100), pair.begin(1)).await.is_err(), "no room");
        pair.hands.advance(Duration::from_millis(1));
        assert_eq!(pair.barred(1).await, Barred::Locked(until));
        pair.hands.advance(RULES.lock);
        pair.begin(1).await.unwrap().succeeded().await;
    });
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn l2_clients_that_hang_up_leave_nothing_under_way() {
    let database = Database::new();
    database.block_on(async {
        let pair = Pair::on(&database).await;
        for yields in 0..100 {
            let (attempts, clock) = (pair.instances[yields % 2].clone(), pair.clock.clone());
            let login = tokio::spawn(async move {
                let attempt = attempts.begin(ANYWHERE, RULES, &clock).await.unwrap();
                yield_now().await;
                attempt.succeeded().await;
            });
            for _ in 0..yields {
                yield_now().await;
            }
            login.abort();
            let _ = login.await;
        }
        for instance in &pair.instances {
            instance.finish().await;
        }
    });
    assert_eq!(database.sql("SELECT count(*) FROM login_attempt"), "0");
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn l1_locks_double_across_instances() {
    let database = Database::new();
    database.block_on(async {
        let pair = Pair::on(&database).await;
        for (round, seconds) in [60, 120, 180, 180].into_iter().enumerate() {
            for failure in 0..3 {
                pair.fail((round + failure) % 2).await;
            }
            let lock = Duration::from_secs(seconds);
            let until = pair.clock.now().plus(lock);
            assert_eq!([pair.barred(0).await, pair.barred(1).await], [(); 2].map(|()| Barred::Locked(until)));
            pair.hands.advance(lock);
        }
    });
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn l1_an_unlock_on_one_instance_is_seen_by_the_other() {
    let database = Database::new();
    database.block_on(async {
        let pair = Pair::on(&database).await;
        for _ in 0..RULES.failures {
            pair.fail(0).await;
        }
        let now = pair.clock.now();
        assert_eq!(pair.barred(1).await, Barred::Locked(now.plus(RULES.lock)));
        pair.instances[1].unlock(&[GLOBEX_USER, ZOE]).await.unwrap();
        assert!(pair.instances[0].locked_until(&[ZOE], now).await.unwrap().is_empty());
        pair.fail(0).await;
        pair.fail(1).await;
        pair.begin(0).await.unwrap().succeeded().await;
    });
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn without_the_database_no_attempt_is_made_and_nobody_is_locked() {
    let server = PostgresServer::start();
    let database = Database::on(&server);
    database.block_on(async {
        let pair = Pair::on(&database).await;
        pair.fail(0).await;
        server.kill();
        for instance in [0, 1] {
            assert!(matches!(pair.barred(instance).await, Barred::Unavailable(_)));
        }
        assert!(pair.instances[0].locked_until(&[ZOE], pair.clock.now()).await.is_err());
        server.run();
        let begun = async {
            loop {
                match pair.begin(0).await {
                    Ok(attempt) => return attempt,
                    Err(Barred::Unavailable(_)) => yield_now().await,
                    Err(barred) => panic!("{barred:?}"),
                }
            }
        };
        begun.await.succeeded().await;
    });
}

/// A count that differs from others in each of its parts.
fn count(number: u32) -> AttemptCount {
    let at = |seconds: u32| Timestamp::from_millis(i64::from(number + seconds) * 1_000);
    AttemptCount {
        failures: number,
        window_ends: at(10),
        locked_until: at(20),
        locks: number + 30,
        // Of all 64 bits.
        under_way: [u64::MAX, 1_000]
            .map(|end| UnderWay { number: end - u64::from(number), overdue_at: at(40) })
            .to_vec(),
        stale_at: at(50),
    }
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn a_count_is_replaced_if_it_is_as_it_was_read() {
    let database = Database::new();
    database.block_on(async {
        let store = store(&database).await;
        let replace = |from: Option<&AttemptCount>, to: Option<&AttemptCount>| {
            store.replace_count(ANYWHERE, from.cloned(), to.cloned())
        };
        let (zero, one) = (count(0), count(1));
        assert_eq!(store.find_count(ANYWHERE).await.unwrap(), None);
        assert!(!replace(Some(&zero), Some(&one)).await.unwrap());
        assert!(!replace(Some(&zero), None).await.unwrap());
        assert!(replace(None, None).await.unwrap());
        assert!(replace(None, Some(&zero)).await.unwrap());
        assert_eq!(store.find_count(ANYWHERE).await.unwrap().as_ref(), Some(&zero));
        assert!(!replace(None, Some(&one)).await.unwrap());
        assert!(!replace(None, None).await.unwrap());

        let mut others = vec![zero.clone(); 6];
        others[0].failures += 1;
        others[1].window_ends = one.window_ends;
        others[2].locked_until = one.locked_until;
        others[3].locks += 1;
        others[4].under_way.pop();
        others[5].under_way[1].overdue_at = one.window_ends;
        for other in &others {
            assert!(!replace(Some(other), Some(&one)).await.unwrap(), "{other:?}");
            assert!(!replace(Some(other), None).await.unwrap(), "{other:?}");
        }
        let sooner_stale = AttemptCount { stale_at: one.stale_at, ..zero.clone() };
        assert!(replace(Some(&sooner_stale), Some(&one)).await.unwrap());
        assert_eq!(store.find_count(ANYWHERE).await.unwrap().as_ref(), Some(&one));
        assert!(replace(Some(&one), None).await.unwrap());
        assert_eq!(store.find_count(ANYWHERE).await.unwrap(), None);
    });
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn the_counts_of_users_are_those_of_their_gates() {
    let database = Database::new();
    database.block_on(async {
        let store = store(&database).await;
        let user = |last: u8| {
            let mut id = [0xff; 16];
            id[15] = last;
            UserId::from_bytes(id)
        };
        let from = |last, network: &str| Gate::User(user(last), Some(network.parse().unwrap()));
        let wanted = [
            Gate::User(user(1), None),
            from(1, "10.0.0.1"),
            from(1, "2001:db8::/64"),
            from(1, "ff00::/64"),
            Gate::User(user(255), None),
            from(255, "::1"),
        ];
        let others =
            [Gate::User(user(0), None), from(0, "ff00::/64"), Gate::User(user(2), None), from(254, "::1")];
        let nobodys = [0, 0xff00, 0xffff].map(Gate::Nobody);
        for (number, gate) in (0..).zip(wanted.iter().chain(&others).chain(&nobodys)) {
            assert!(store.replace_count(*gate, None, Some(count(number))).await.unwrap());
            assert_eq!(store.find_count(*gate).await.unwrap(), Some(count(number)));
        }
        let mut found = store.list_counts(vec![user(255), user(1), ZOE]).await.unwrap();
        found.sort_unstable_by_key(|(_, count)| count.failures);
        let expected: Vec<_> = wanted.iter().copied().zip((0..).map(count)).collect();
        assert_eq!(found, expected);
        assert_eq!(store.list_counts(Vec::new()).await.unwrap(), []);
    });
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn what_says_nothing_any_more_is_forgotten() {
    let database = Database::new();
    let rows = || database.sql("SELECT count(*) FROM login_attempt");
    let store = database.block_on(store(&database));
    for number in 0..3 {
        let gate = Gate::Nobody(u16::try_from(number).unwrap());
        assert!(database.block_on(store.replace_count(gate, None, Some(count(number)))).unwrap());
    }
    let second = count(1).stale_at;
    database.block_on(store.forget_counts(second.minus(Duration::from_millis(1)))).unwrap();
    assert_eq!(rows(), "2");
    database.block_on(store.forget_counts(second)).unwrap();
    assert_eq!(rows(), "1");

    // Not all of very many at once.
    database.sql(
        "INSERT INTO login_attempt SELECT int4send(1000000 + n), 1, 0, 0, 0, '{}', '{}', n FROM generate_series(1, 1500) n",
    );
    database.block_on(store.forget_counts(second)).unwrap();
    assert_eq!(rows(), "501");
    database.block_on(store.forget_counts(second)).unwrap();
    assert_eq!(rows(), "1");
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn c5_instances_agree_on_one_key() {
    let database = Database::new();
    let keys = database.block_on(async {
        let (one, two) = (store(&database).await, store(&database).await);
        let mut tasks = JoinSet::new();
        for number in 0..20 {
            let store = if number % 2 == 0 { one.clone() } else { two.clone() };
            tasks.spawn(async move { store.agree_on_key([number; 16]).await.unwrap() });
        }
        tasks.join_all().await
    });
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    let kept = database.sql("SELECT encode(key, 'hex') FROM gate_key");
    assert_eq!(kept, keys[0].map(|byte| format!("{byte:02x}")).concat());
}
