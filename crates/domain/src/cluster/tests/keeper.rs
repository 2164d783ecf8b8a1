//! The keeper with a roster that says what a test has it say.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{LEASE, PACE, instance::SimulatedTime};
use crate::{
    clock::{Clock, Timestamp},
    cluster::{
        InstanceId, Introduction, Keeper, KeeperParts, Laggard, LogNumber, LogRecord, Member, NoObserver,
        Notice, Registered, Renewal, Replica, Roster, StoreTime,
    },
    directory::StoreFuture,
};

const OWN: InstanceId = InstanceId(1);
const OTHER: InstanceId = InstanceId(2);

struct Nothing;

impl Replica for Nothing {
    fn apply(&self, _: &Notice) {}
    fn forget_all(&self) {}
}

/// A roster of two, the other of which never gets beyond record 1. It has not heard of acknowledgements yet, and the
/// first look at the laggards takes a while.
#[derive(Default)]
struct Script {
    head: AtomicU64,
    looks: AtomicU64,
}

const TIME: StoreTime = StoreTime { now: Timestamp::from_millis(0), latest: None };
const SLOW: Duration = Duration::from_millis(30);

impl Script {
    fn records(&self, after: LogNumber) -> Vec<LogRecord> {
        let numbers = after.0 + 1..=self.head.load(Ordering::Relaxed);
        numbers.map(|number| LogRecord { number: LogNumber(number), notice: Notice::Changed }).collect()
    }
}

impl Roster for Script {
    fn register(&self, _: Introduction) -> StoreFuture<'_, Result<Registered, String>> {
        Box::pin(async { Ok(Ok(Registered { instance: OWN, head: LogNumber(0), time: TIME })) })
    }

    fn renew(&self, _: InstanceId, applied: LogNumber, _: Timestamp) -> StoreFuture<'_, Renewal> {
        let head = LogNumber(self.head.load(Ordering::Relaxed));
        Box::pin(async move { Ok(Renewal::Renewed { head, records: self.records(applied), time: TIME }) })
    }

    fn read_log(&self, after: LogNumber) -> StoreFuture<'_, Vec<LogRecord>> {
        Box::pin(async move { Ok(self.records(after)) })
    }

    fn acknowledge(&self, _: InstanceId, _: LogNumber) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn list_laggards(&self, number: LogNumber) -> StoreFuture<'_, Vec<Laggard>> {
        Box::pin(async move {
            if self.looks.fetch_add(1, Ordering::Relaxed) == 0 {
                sleep(SLOW).await;
            }
            let both = [(OWN, 0), (OTHER, 1)].map(|(instance, applied)| Laggard {
                instance,
                applied: LogNumber(applied),
                renewals: self.looks.load(Ordering::Relaxed),
            });
            Ok(both.into_iter().filter(|laggard| laggard.applied < number).collect())
        })
    }

    fn remove(&self, _: InstanceId, _: u64) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn leave(&self, _: InstanceId) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// What a look says of those behind record 1 says nothing of record 2, which came while it was under way.
#[tokio::test(start_paused = true)]
async fn a_look_answers_no_more_than_it_asked_about() {
    let start = Instant::now();
    let script = Arc::new(Script::default());
    let clock = Clock::new(SimulatedTime { start, offset: Duration::ZERO });
    let keeper = Keeper::new(KeeperParts {
        member: Arc::new(Member::new(Nothing)),
        roster: script.clone(),
        clock: clock.clone(),
        pace: PACE,
        name: "one".into(),
        observer: Arc::new(NoObserver),
    });
    let release = async |number, after| {
        sleep(after).await;
        script.head.store(number, Ordering::Relaxed);
        keeper.wait_for_all(LogNumber(number), clock.steady()).await;
        start.elapsed()
    };
    let first = SLOW / 3;
    let both = async { tokio::join!(release(1, first), release(2, first * 2)) };
    let (one, two) = tokio::select! {
        biased;
        answered = both => answered,
        () = keeper.run(pending()) => unreachable!("nobody stops it"),
    };
    assert!(one < LEASE / 2, "all have acknowledged: {one:?}");
    assert!(two >= first * 2 + LEASE, "the other has not: {two:?}");
}
