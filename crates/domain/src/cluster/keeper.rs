//! What keeps an instance in the cluster: it holds the lease, follows the log, and waits for the others.
//!
//! Three loops share one task. Time that decides anything is the steady clock's; the runtime's timers only say when to
//! look again. Whatever a call of the roster fails with, the loops go on: a lease that cannot be renewed ends by itself.

use std::{
    collections::BTreeMap,
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot, watch},
    time::{sleep, timeout},
};

use super::{
    ClusterObserver, InstanceId, Introduction, Laggard, LogNumber, LogRecord, Member, Renewal, Replica,
    Roster,
};
use crate::{
    clock::Clock,
    directory::StoreFuture,
    journal::StoreError,
    sync::{Mutex, lock},
};

/// How long to wait before looking again whether all have acknowledged; each time twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// How fast a cluster lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long an instance may answer after it sent a renewal. All instances must have the same.
    pub lease: Duration,
    /// How often the lease is renewed; a fraction of it.
    pub heartbeat: Duration,
    /// How often the log is read when nobody says that there is something in it, and what failed is tried again.
    pub poll_interval: Duration,
}

/// What a keeper works with.
pub struct KeeperParts<R> {
    /// The instance.
    pub member: Arc<Member<R>>,
    /// What it has in common with the others.
    pub roster: Arc<dyn Roster>,
    /// Its clock.
    pub clock: Clock,
    /// How fast the cluster lives.
    pub pace: Pace,
    /// What operators know the instance by.
    pub name: String,
    /// Who counts, and keeps the clock.
    pub observer: Arc<dyn ClusterObserver>,
}

/// The keeper of an instance.
pub struct Keeper<R> {
    parts: KeeperParts<R>,
    /// There may be something new in the log.
    news: Notify,
    /// Somebody waits for all.
    asked: Notify,
    waiting: Mutex<BTreeMap<LogNumber, Vec<oneshot::Sender<()>>>>,
    /// How far the log is applied, for who waits for that.
    applied: watch::Sender<LogNumber>,
}

/// Instances that have not acknowledged: how often each has renewed its lease, and since when that is known.
type Silent = BTreeMap<InstanceId, (u64, Duration)>;

impl<R: Replica> Keeper<R> {
    /// A keeper that does nothing until it is [run](Self::run).
    pub fn new(parts: KeeperParts<R>) -> Self {
        Self {
            parts,
            news: Notify::new(),
            asked: Notify::new(),
            waiting: Mutex::default(),
            applied: watch::Sender::default(),
        }
    }

    /// Says that there may be something new in the log. A hint: it is read every `poll_interval` anyway.
    pub fn wake(&self) {
        self.news.notify_one();
    }

    /// Keeps the instance in the cluster until `stop` is ready; then it answers nobody any more and says goodbye.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let loops = async { tokio::join!(self.keep_lease(), self.follow_log(), self.answer_releases()) };
        tokio::select! {
            biased;
            () = stop => {}
            _ = loops => {}
        }
        self.part().await;
    }

    /// Waits until a record is in force everywhere: every registered instance has acknowledged it, or has no lease that
    /// was renewed before it. `committed_at` is a reading of the steady clock after the commit was known.
    pub async fn wait_for_all(&self, number: LogNumber, committed_at: Duration) {
        let (answer, answered) = oneshot::channel();
        lock(&self.waiting).entry(number).or_default().push(answer);
        self.asked.notify_one();
        self.wake();
        let mut by_all = pin!(async {
            if answered.await.is_err() {
                pending::<()>().await;
            }
        });
        let lease_over = committed_at + self.parts.pace.lease;
        let is_by_all = loop {
            let left = lease_over.saturating_sub(self.parts.clock.steady());
            if left.is_zero() {
                break false;
            }
            if timeout(left, by_all.as_mut()).await.is_ok() {
                break true;
            }
        };
        let took = self.parts.clock.steady().saturating_sub(committed_at);
        self.parts.observer.came_into_force(number, is_by_all, took);
    }

    // The lease.

    async fn keep_lease(&self) {
        let Pace { heartbeat, poll_interval, .. } = self.parts.pace;
        loop {
            let kept = match self.parts.member.standing() {
                None => self.register().await,
                Some((instance, applied)) => self.renew(instance, applied).await,
            };
            let is_kept = kept.unwrap_or_else(|error| {
                self.parts.observer.lease_missed();
                self.parts.observer.failed("lease", &error);
                false
            });
            sleep(if is_kept { heartbeat } else { poll_interval }).await;
        }
    }

    async fn register(&self) -> Result<bool, StoreError> {
        let Pace { lease, .. } = self.parts.pace;
        let introduction = Introduction { name: self.parts.name.clone(), lease };
        let sent = self.parts.clock.steady();
        match self.call(self.parts.roster.register(introduction)).await? {
            Ok(registered) => {
                self.parts.observer.told_time(registered.time, sent, self.parts.clock.steady());
                self.parts.member.join(registered.instance, registered.head, sent + lease);
                self.parts.observer.registered(registered.instance);
                self.parts.observer.head_seen(registered.head);
                self.note_applied();
                Ok(true)
            }
            Err(reason) => {
                self.parts.observer.may_not_join(&reason);
                Ok(false)
            }
        }
    }

    async fn renew(&self, instance: InstanceId, applied: LogNumber) -> Result<bool, StoreError> {
        let Pace { lease, .. } = self.parts.pace;
        let KeeperParts { member, observer, clock, roster, .. } = &self.parts;
        // Before it is sent: a releaser counts one lease from a commit that this renewal may just not have seen.
        let sent = clock.steady();
        let renewal = self.call(roster.renew(instance, applied, clock.now())).await?;
        let answered = clock.steady();
        let Renewal::Renewed { head, records, time } = renewal else {
            observer.lost_registration("it did not renew its lease in time");
            self.forget();
            return Ok(false);
        };
        observer.told_time(time, sent, answered);
        observer.head_seen(head);
        if !member.may_answer(answered) {
            observer.lease_missed();
        }
        let sent = if obeyed!(LeaseFromBefore) { sent } else { answered };
        if obeyed!(ApplyThenExtend) && !self.catch_up(head, applied, records).await? {
            return Ok(false);
        }
        Ok(member.extend(instance, head, sent + lease))
    }

    /// Applies the log up to `head`, which was read together with the records after `read_after`.
    async fn catch_up(
        &self,
        head: LogNumber,
        mut read_after: LogNumber,
        mut records: Vec<LogRecord>,
    ) -> Result<bool, StoreError> {
        loop {
            // A log that ends before what was applied, or is silent before its end, is not the log that was followed.
            if head < read_after || (records.is_empty() && read_after < head) {
                self.rejoin("the release log is not the one that was followed").await;
                return Ok(false);
            }
            if !self.apply(&records).await {
                return Ok(false);
            }
            match self.parts.member.standing() {
                Some((_, applied)) if applied < head => read_after = applied,
                standing => return Ok(standing.is_some()),
            }
            records = self.call(self.parts.roster.read_log(read_after)).await?;
        }
    }

    // The log.

    async fn follow_log(&self) {
        let mut acknowledged = None;
        loop {
            let _ = timeout(self.parts.pace.poll_interval, self.news.notified()).await;
            while self.follow(&mut acknowledged).await.unwrap_or_else(|error| {
                self.parts.observer.failed("log", &error);
                false
            }) {}
        }
    }

    /// Reads once, and says how far it is applied. Whether there was anything to read.
    async fn follow(&self, acknowledged: &mut Option<(InstanceId, LogNumber)>) -> Result<bool, StoreError> {
        let Some((_, applied)) = self.parts.member.standing() else { return Ok(false) };
        let records = self.call(self.parts.roster.read_log(applied)).await?;
        if let Some(last) = records.last() {
            self.parts.observer.head_seen(last.number);
        }
        self.apply(&records).await;
        let standing = self.parts.member.standing();
        if let Some((instance, applied)) = standing
            && standing != *acknowledged
        {
            self.call(self.parts.roster.acknowledge(instance, applied)).await?;
            *acknowledged = standing;
        }
        Ok(!records.is_empty())
    }

    async fn apply(&self, records: &[LogRecord]) -> bool {
        let applied = self.parts.member.apply(records);
        self.note_applied();
        if let Err(gap) = applied {
            self.rejoin(&gap.to_string()).await;
        }
        applied.is_ok()
    }

    fn note_applied(&self) {
        let applied = self.parts.member.standing().map(|(_, applied)| applied).unwrap_or_default();
        self.applied.send_replace(applied);
        self.parts.observer.applied(applied);
    }

    /// Gives the registration up, to begin anew.
    async fn rejoin(&self, reason: &str) {
        self.parts.observer.lost_registration(reason);
        self.part().await;
    }

    async fn part(&self) {
        if let Some(instance) = self.forget()
            && let Err(error) = self.call(self.parts.roster.leave(instance)).await
        {
            self.parts.observer.failed("leave", &error);
        }
    }

    fn forget(&self) -> Option<InstanceId> {
        let instance = self.parts.member.part();
        self.note_applied();
        instance
    }

    // The others.

    /// Answers those who wait for all. One loop for all of them, so that many releases ask the store no more than one.
    async fn answer_releases(&self) {
        let poll_interval = self.parts.pace.poll_interval;
        let mut number = LogNumber::default();
        let mut silent = Silent::new();
        loop {
            self.asked.notified().await;
            let mut pause = FIRST_PAUSE;
            loop {
                number = self.greatest_waiting().unwrap_or(number).max(number);
                // Before that there is nothing to see; an instance that cannot read need not be able to look.
                let mut applied = self.applied.subscribe();
                let _ = timeout(poll_interval, applied.wait_for(|applied| *applied >= number)).await;
                if let Err(error) = self.look(number, &mut silent).await {
                    self.parts.observer.failed("acknowledgements", &error);
                }
                // Also when all are answered: the next should not wait for who is silent.
                if self.greatest_waiting().is_none() && silent.is_empty() {
                    break;
                }
                pause = match timeout(pause, self.asked.notified()).await {
                    Ok(()) => FIRST_PAUSE,
                    Err(_) => poll_interval.min(pause * 2),
                };
            }
        }
    }

    fn greatest_waiting(&self) -> Option<LogNumber> {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|_, answers| {
            answers.retain(|answer| !answer.is_closed());
            !answers.is_empty()
        });
        waiting.last_key_value().map(|(number, _)| *number)
    }

    fn answer_up_to(&self, reached: LogNumber) {
        let mut waiting = lock(&self.waiting);
        while let Some(first) = waiting.first_entry()
            && *first.key() <= reached
        {
            for answer in first.remove() {
                // Who does not wait any more was answered by the lease.
                let _ = answer.send(());
            }
        }
    }

    /// Answers those for whose number there is nobody left to wait, and removes who was silent for a lease.
    async fn look(&self, number: LogNumber, silent: &mut Silent) -> Result<(), StoreError> {
        let sent = self.parts.clock.steady();
        let laggards = self.call(self.parts.roster.list_laggards(number)).await?;
        let answered = self.parts.clock.steady();

        let own = self.parts.member.standing();
        let reached = laggards.iter().map(|laggard| match own {
            // The store need not have heard of it yet.
            Some((instance, applied)) if instance == laggard.instance => applied.max(laggard.applied),
            _ => laggard.applied,
        });
        // No further than was asked for: who is not among the laggards need not have acknowledged more.
        self.answer_up_to(reached.fold(number, LogNumber::min));

        silent.retain(|instance, _| laggards.iter().any(|laggard| laggard.instance == *instance));
        for Laggard { instance, renewals, .. } in laggards {
            let (known, since) = silent.entry(instance).or_insert((renewals, answered));
            if *known != renewals {
                (*known, *since) = (renewals, answered);
            } else if sent >= *since + self.parts.pace.lease {
                // Its lease was renewed before the first look at the latest, and is over.
                self.call(self.parts.roster.remove(instance, renewals)).await?;
                self.parts.observer.removed(instance);
            }
        }
        Ok(())
    }

    /// Calls the roster, but not for ever: a connection that is cut need not say so. Half a lease leaves time to try
    /// again before the lease is over.
    async fn call<T>(&self, call: StoreFuture<'_, T>) -> Result<T, StoreError> {
        let limit = self.parts.pace.lease / 2;
        timeout(limit, call).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(format!("no answer within {}", humantime::format_duration(limit))))
        })
    }
}
