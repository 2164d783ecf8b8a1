//! Counts that all instances have in common.
//!
//! Each step reads the count of a gate, applies the rules, and puts the new count in place of the one it read, if that
//! is still there; otherwise it begins again. So no lock is held while anybody waits or hashes, and an instance that
//! stands still stands in nobody's way. On one instance the steps of one gate go one after the other, so that only
//! instances contend.
//!
//! A step is seen through by a task of its own, whoever asked for it hangs up: what was counted is settled.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Mutex as Turn, Notify, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Barred, Gate, LockoutRules, Waiting,
    count::{AttemptCount, Begun, UnderWay},
};
use crate::{
    clock::{Clock, Timestamp},
    directory::StoreFuture,
    id::UserId,
    journal::StoreError,
};

/// Where instances count together. What a crash of the store loses of it need not be much, and may be something.
pub trait SharedAttempts: Send + Sync {
    /// Finds the count of a gate.
    fn find_count(&self, gate: Gate) -> StoreFuture<'_, Option<AttemptCount>>;

    /// Lists the counts of all gates of these users.
    fn list_counts(&self, users: Vec<UserId>) -> StoreFuture<'_, Vec<(Gate, AttemptCount)>>;

    /// Puts a count in place of another, if that is what is there; `None` stands for no count. `false`: something else is
    /// there, and nothing was done. When `stale_at` is the only difference, it is none.
    fn replace_count(
        &self,
        gate: Gate,
        from: Option<AttemptCount>,
        to: Option<AttemptCount>,
    ) -> StoreFuture<'_, bool>;

    /// Forgets some of the counts that say nothing any more.
    fn forget_counts(&self, now: Timestamp) -> StoreFuture<'_, ()>;

    /// Keeps this key unless there is one already, and returns the one that is kept.
    fn agree_on_key(&self, proposed: [u8; 16]) -> StoreFuture<'_, [u8; 16]>;
}

/// How long an attempt may be under way. Longer than any login that somebody still waits for.
pub(super) const LONGEST_ATTEMPT: Duration = Duration::from_secs(60);

/// How long to wait before looking again whether another instance has settled an attempt; each time twice as long...
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// ...up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How long to wait before trying again to settle an attempt while the store does not answer; each time twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(100);

/// How long a stop waits for attempts to be settled. What is not settled by then counts as failed.
const LONGEST_FINISH: Duration = Duration::from_secs(2);

/// The counts of a store.
pub(super) struct Shared {
    store: Arc<dyn SharedAttempts>,
    /// Of the next attempt. It starts anywhere in 64 bits, so that no two instances come to use the same.
    next_number: AtomicU64,
    /// The gates that somebody is at, and how many are at each.
    lanes: Mutex<BTreeMap<Gate, (Arc<Lane>, usize)>>,
    /// What must be seen through.
    tasks: Mutex<JoinSet<()>>,
    runtime: Handle,
}

/// What this instance has of a gate that somebody is at.
#[derive(Default)]
struct Lane {
    /// Held by the one who waits for room, so that one asks the store for all.
    queue: Turn<()>,
    /// Held for one step. Within is the count as this instance last put it there, for it is probably still there.
    turn: Turn<Option<AttemptCount>>,
    /// An attempt was settled on this instance.
    settled: Notify,
}

/// A place at a gate: its lane is kept while anybody has one.
struct InLane {
    shared: Arc<Shared>,
    gate: Gate,
    lane: Arc<Lane>,
}

impl Clone for InLane {
    fn clone(&self) -> Self {
        self.shared.enter(self.gate)
    }
}

impl Drop for InLane {
    fn drop(&mut self) {
        let mut lanes = locked(&self.shared.lanes);
        if let Some((_, places)) = lanes.get_mut(&self.gate) {
            *places -= 1;
            if *places == 0 {
                lanes.remove(&self.gate);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// To be called on the runtime that is to see things through.
    pub(super) fn new(store: Arc<dyn SharedAttempts>, first_number: u64) -> Arc<Self> {
        Arc::new(Self {
            store,
            next_number: AtomicU64::new(first_number),
            lanes: Mutex::default(),
            tasks: Mutex::default(),
            runtime: Handle::current(),
        })
    }

    pub(super) async fn begin(
        self: &Arc<Self>,
        gate: Gate,
        rules: LockoutRules,
        clock: &Clock,
        waiting: &Waiting,
    ) -> Result<Counted, Barred> {
        let at = self.enter(gate);
        let mut place = None;
        let _first = match at.lane.queue.try_lock() {
            Ok(first) => first,
            Err(_) => {
                place = Some(waiting.enter()?);
                at.lane.queue.lock().await
            }
        };
        let mut pause = FIRST_PAUSE;
        loop {
            let step = at.clone().count(rules, clock.clone());
            let counted = self.see_through(step).await.unwrap_or_else(|| Err(stopping().into()))?;
            if let Some(counted) = counted {
                return Ok(counted);
            }
            if place.is_none() {
                place = Some(waiting.enter()?);
            }
            // What another instance settles is not heard here.
            let _ = timeout(pause, at.lane.settled.notified()).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks the store once, as settling an attempt does: a login that is barred must not be the faster for it.
    pub(super) async fn settle_nothing(&self, gate: Gate) -> Result<(), StoreError> {
        // A count that is nowhere, so that nothing is replaced.
        let nowhere = AttemptCount::new();
        self.store.replace_count(gate, Some(nowhere), None).await.map(drop)
    }

    pub(super) async fn unlock(&self, users: &[UserId]) -> Result<(), StoreError> {
        for (gate, count) in self.store.list_counts(users.to_vec()).await? {
            let mut found = Some(count);
            while let Some(from) = found {
                let mut to = from.clone();
                to.unlock();
                if to == from || self.replace(gate, Some(from), &to).await? {
                    break;
                }
                found = self.store.find_count(gate).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn locked_until(
        &self,
        users: &[UserId],
        now: Timestamp,
    ) -> Result<BTreeMap<UserId, Timestamp>, StoreError> {
        Ok(super::longest_locks(self.store.list_counts(users.to_vec()).await?.iter(), now))
    }

    pub(super) async fn forget_old(&self, now: Timestamp) -> Result<(), StoreError> {
        self.store.forget_counts(now).await
    }

    /// Waits until all is seen through, for a while.
    pub(super) async fn finish(&self) {
        let all = async {
            loop {
                let mut tasks = std::mem::take(&mut *locked(&self.tasks));
                if tasks.is_empty() {
                    return;
                }
                while tasks.join_next().await.is_some() {}
            }
        };
        let _ = timeout(LONGEST_FINISH, all).await;
    }

    #[cfg(test)]
    pub(super) fn lanes_held(&self) -> usize {
        locked(&self.lanes).len()
    }

    fn enter(self: &Arc<Self>, gate: Gate) -> InLane {
        let mut lanes = locked(&self.lanes);
        let (lane, places) = lanes.entry(gate).or_default();
        *places += 1;
        InLane { shared: self.clone(), gate, lane: lane.clone() }
    }

    /// A count that says nothing is not kept.
    async fn replace(
        &self,
        gate: Gate,
        from: Option<AttemptCount>,
        to: &AttemptCount,
    ) -> Result<bool, StoreError> {
        let to = (!to.is_blank()).then(|| to.clone());
        self.store.replace_count(gate, from, to).await
    }

    /// Does all of `work`, even if nobody waits for it. `None`: the runtime is stopping.
    async fn see_through<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        self.spawn(async move {
            // If nobody waits, this drops what was counted, and so settles it.
            let _ = done.send(work.await);
        });
        result.await.ok()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = locked(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }
}

impl InLane {
    /// Counts an attempt. `None`: there is no room.
    async fn count(self, rules: LockoutRules, clock: Clock) -> Result<Option<Counted>, Barred> {
        let mut last = self.lane.turn.lock().await;
        let number = self.shared.next_number.fetch_add(1, Ordering::Relaxed);
        loop {
            let found = self.shared.store.find_count(self.gate).await?;
            let now = clock.now();
            let mut count = found.clone().unwrap_or_else(AttemptCount::new);
            let attempt = UnderWay { number, overdue_at: now.plus(LONGEST_ATTEMPT) };
            match count.begin(attempt, &rules, now) {
                Begun::NoRoom => return Ok(None),
                Begun::Locked(until) if found.as_ref() == Some(&count) => {
                    self.shared.settle_nothing(self.gate).await?;
                    return Err(Barred::Locked(until));
                }
                // What was overdue, or rules that became stricter, have locked it just now.
                Begun::Locked(until) => {
                    if self.shared.replace(self.gate, found, &count).await? {
                        *last = Some(count);
                        return Err(Barred::Locked(until));
                    }
                }
                Begun::Counted => {
                    // If the store does not say whether it has counted it, dropping this makes sure that it has not.
                    let counted = Counted { under_way: Some((self.clone(), number, rules)) };
                    if self.shared.replace(self.gate, found, &count).await? {
                        *last = Some(count);
                        return Ok(Some(counted));
                    }
                    counted.disarm();
                }
            }
        }
    }

    /// Settles an attempt. One that is not found was overdue and has been counted.
    async fn settle(
        &self,
        number: u64,
        failed_at: Option<Timestamp>,
        rules: &LockoutRules,
    ) -> Result<(), StoreError> {
        let mut last = self.lane.turn.lock().await;
        let mut known = last.take();
        loop {
            let is_known = known.is_some();
            let found = match known.take() {
                Some(known) => Some(known),
                None => self.shared.store.find_count(self.gate).await?,
            };
            let Some(from) = found else { return Ok(()) };
            let mut to = from.clone();
            if !to.settle(number, failed_at, rules) {
                if is_known {
                    continue;
                }
                return Ok(());
            }
            if self.shared.replace(self.gate, Some(from), &to).await? {
                *last = Some(to).filter(|to| !to.is_blank());
                return Ok(());
            }
        }
    }

    /// Settles an attempt, and says so to `tried` after the first try. If the store does not answer, it is tried again
    /// until the attempt is overdue.
    async fn settle_at_last(
        self,
        number: u64,
        failed_at: Option<Timestamp>,
        rules: LockoutRules,
        tried: oneshot::Sender<()>,
    ) {
        let mut is_settled = self.settle(number, failed_at, &rules).await.is_ok();
        self.lane.settled.notify_one();
        let _ = tried.send(());
        let mut pause = FIRST_RETRY;
        while !is_settled && pause < LONGEST_ATTEMPT / 2 {
            sleep(pause).await;
            pause *= 2;
            is_settled = self.settle(number, failed_at, &rules).await.is_ok();
        }
    }
}

/// An attempt that the store has counted. Dropped, it is settled without a failure.
pub(super) struct Counted {
    under_way: Option<(InLane, u64, LockoutRules)>,
}

impl Counted {
    /// Settles it, and returns when the store has been told. If it does not answer nothing is gained by that: unsettled,
    /// the attempt counts as a failure before long.
    pub(super) async fn settle(mut self, failed_at: Option<Timestamp>) {
        if let Some(tried) = self.begin_to_settle(failed_at) {
            let _ = tried.await;
        }
    }

    fn begin_to_settle(&mut self, failed_at: Option<Timestamp>) -> Option<oneshot::Receiver<()>> {
        let (at, number, rules) = self.under_way.take()?;
        let (tried, told) = oneshot::channel();
        let shared = at.shared.clone();
        shared.spawn(at.settle_at_last(number, failed_at, rules, tried));
        Some(told)
    }

    /// It was not counted after all.
    fn disarm(mut self) {
        self.under_way = None;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.begin_to_settle(None);
    }
}

fn stopping() -> StoreError {
    StoreError::Unavailable("this server is stopping".into())
}
