//! An instance: its table, its keeper, and what it does for clients. It can be stopped in mid-sentence.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    task::AbortHandle,
    time::{Instant, sleep},
};

use super::{
    Chance, PACE, Rule, Tally,
    history::IDLE,
    store::{Database, Line, LineTo},
    world::BASE,
};
use crate::{
    clock::{Clock, TimeSource, Timestamp, millis},
    cluster::{
        ClusterObserver, InstanceId, Keeper, KeeperParts, LogNumber, Member, Notice, Replica, StoredSession,
        member::covers,
    },
    id::{SessionId, UserId},
    journal::StoreError,
    session::{Identity, Session, SessionNumber, expiry},
};

/// How often a verification looks before it gives up.
const LOOKS: usize = 4;

/// A steady clock that counts from a moment of its own.
pub(super) struct SimulatedTime {
    pub(super) start: Instant,
    pub(super) offset: Duration,
}

impl TimeSource for SimulatedTime {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(BASE + millis(self.start.elapsed()))
    }

    fn steady(&self) -> Duration {
        self.start.elapsed() + self.offset
    }
}

/// What an instance has in memory of a session.
struct Held {
    stored: StoredSession,
    /// The last use, of which the store need not know.
    last_used_at: Timestamp,
}

impl Held {
    fn expires_at(&self) -> Timestamp {
        expiry(self.last_used_at, self.stored.session.idle, self.stored.session.ends_at)
    }
}

#[derive(Default)]
struct Table(Mutex<BTreeMap<SessionId, Held>>);

enum Look {
    Missing,
    LooksExpired,
    Active,
    /// It is live; the use must be written before it is answered.
    MustWrite,
}

impl Table {
    fn held(&self) -> MutexGuard<'_, BTreeMap<SessionId, Held>> {
        self.0.lock().unwrap()
    }

    fn look(&self, session: SessionId, now: Timestamp) -> Look {
        match self.held().get_mut(&session) {
            None => Look::Missing,
            Some(held) if now >= held.expires_at() => Look::LooksExpired,
            // Nobody who asks the store may find it more than half as idle as it is.
            Some(Held { stored: StoredSession { session, .. }, .. })
                if session.idle.is_some_and(|idle| now.since(session.last_used_at) >= idle / 2) =>
            {
                Look::MustWrite
            }
            Some(held) => {
                held.last_used_at = held.last_used_at.max(now);
                Look::Active
            }
        }
    }

    fn put(&self, stored: StoredSession) {
        let mut held = self.held();
        let used = stored.session.last_used_at;
        let known =
            held.entry(stored.session.digest.session()).or_insert(Held { stored, last_used_at: used });
        known.last_used_at = known.last_used_at.max(used);
        known.stored.session.last_used_at = known.stored.session.last_used_at.max(used);
    }

    fn mark_written(&self, uses: &[(SessionId, Timestamp)]) {
        for (session, at) in uses {
            if let Some(Held { stored, last_used_at }) = self.held().get_mut(session) {
                stored.session.last_used_at = stored.session.last_used_at.max(*at);
                *last_used_at = (*last_used_at).max(*at);
            }
        }
    }

    fn unwritten(&self) -> Vec<(SessionId, Timestamp)> {
        let held = self.held();
        let unwritten = held.iter().filter(|(_, held)| held.last_used_at > held.stored.session.last_used_at);
        unwritten.map(|(session, held)| (*session, held.last_used_at)).collect()
    }

    /// Makes room, at the cost of those whose uses are written.
    fn evict(&self, chance: &Chance) {
        self.held()
            .retain(|_, held| held.last_used_at > held.stored.session.last_used_at || !chance.one_in(20));
    }
}

impl Replica for Table {
    fn apply(&self, notice: &Notice) {
        match notice {
            Notice::Released(session) => drop(self.held().remove(session)),
            Notice::Ended(scope, through) => self
                .held()
                .retain(|_, held| held.stored.number > *through || !covers(*scope, &held.stored.identity)),
            Notice::Renamed { .. } | Notice::Changed => {}
        }
    }

    fn forget_all(&self) {
        self.held().clear();
    }
}

/// How a verification ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Active,
    Refused,
    Unavailable,
}

/// Whether an instance is stopped (SIGSTOP), and who must be woken when it is not any more.
#[derive(Default)]
pub(super) struct Pause(Mutex<(bool, Vec<Waker>)>);

impl Pause {
    pub(super) fn set(&self, is_paused: bool) {
        let mut pause = self.0.lock().unwrap();
        pause.0 = is_paused;
        pause.1.drain(..).for_each(Waker::wake);
    }
}

/// A task of an instance, which does not run while that is stopped.
struct Pausable<F>(Pin<Box<F>>, Arc<Pause>);

impl<F: Future> Future for Pausable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        {
            let mut pause = self.1.0.lock().unwrap();
            if pause.0 {
                pause.1.push(context.waker().clone());
                return Poll::Pending;
            }
        }
        self.0.as_mut().poll(context)
    }
}

/// A running process.
pub(super) struct Instance {
    table: Arc<Table>,
    member: Arc<Member<Arc<Table>>>,
    keeper: Keeper<Arc<Table>>,
    clock: Clock,
    chance: Chance,
    tally: Tally,
    pub(super) line: Arc<Line>,
    pub(super) pause: Arc<Pause>,
    tasks: Mutex<Vec<AbortHandle>>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

impl Instance {
    pub(super) fn start(
        database: &Arc<Database>,
        line: Line,
        start: Instant,
        chance: Chance,
        tally: Tally,
    ) -> Arc<Self> {
        let table = Arc::new(Table::default());
        let line = Arc::new(line);
        let member = Arc::new(Member::new(table.clone()));
        let clock = Clock::new(SimulatedTime { start, offset: chance.millis(1_000_000) });
        let keeper = Keeper::new(KeeperParts {
            member: member.clone(),
            roster: Arc::new(LineTo(line.clone())),
            clock: clock.clone(),
            pace: PACE,
            name: "simulated".into(),
            observer: Arc::new(tally.clone()),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let (pause, tasks) = Default::default();
        let stop = Mutex::new(Some(stop));
        let instance =
            Arc::new(Self { table, member, keeper, clock, chance, tally, line, pause, tasks, stop });
        let this = instance.clone();
        instance.spawn(async move { this.keeper.run(async { drop(stopped.await) }).await });
        let (this, database) = (instance.clone(), database.clone());
        instance.spawn(async move {
            loop {
                database.logged.notified().await;
                sleep(this.chance.millis(4)).await;
                if !this.chance.one_in(5) {
                    this.keeper.wake();
                }
            }
        });
        let this = instance.clone();
        instance.spawn(async move { this.write_uses().await });
        instance
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(Pausable(Box::pin(task), self.pause.clone()));
        self.tasks.lock().unwrap().push(task.abort_handle());
    }

    /// Ends all that it does, wherever it is (SIGKILL).
    pub(super) fn crash(&self) {
        self.tasks.lock().unwrap().drain(..).for_each(|task| task.abort());
    }

    /// Has the keeper say goodbye.
    pub(super) fn stop(&self) {
        drop(self.stop.lock().unwrap().take());
    }

    pub(super) fn may_answer(&self) -> bool {
        self.member.may_answer(self.clock.steady())
    }

    /// A moment in which anything may happen elsewhere.
    async fn step(&self) {
        match self.chance.below(8) {
            0 => sleep(self.chance.millis(20)).await,
            1 | 2 => tokio::task::yield_now().await,
            _ => {}
        }
    }

    async fn look(&self, session: SessionId) -> Option<Look> {
        let steady = self.clock.steady();
        if !Rule::LeaseBeforeTable.is_obeyed() {
            let look = self.table.look(session, self.clock.now());
            // Nothing keeps a thread from being stopped here.
            sleep(self.chance.leases(20)).await;
            return self.member.admit(self.clock.steady()).map(|_| look);
        }
        self.step().await;
        let admitted = self.member.admit(steady)?;
        self.step().await;
        Some(admitted.replica().look(session, self.clock.now()))
    }

    pub(super) async fn verify(&self, session: SessionId) -> Verdict {
        for _ in 0..LOOKS {
            self.step().await;
            match self.look(session).await {
                None => return Verdict::Unavailable,
                Some(Look::Active) => return Verdict::Active,
                Some(Look::MustWrite) => {
                    self.tally.count("use written first");
                    let used = [(session, self.clock.now())];
                    return match self.line.write_uses(used.to_vec()).await {
                        Ok(true) => {
                            self.table.mark_written(&used);
                            Verdict::Active
                        }
                        Ok(false) => Verdict::Refused,
                        Err(_) => Verdict::Unavailable,
                    };
                }
                Some(Look::LooksExpired) if !Rule::RefetchBeforeIdleRefusal.is_obeyed() => {
                    return Verdict::Refused;
                }
                Some(Look::LooksExpired) => self.tally.count("refetched"),
                Some(Look::Missing) => self.tally.count("fetched"),
            }
            // From before the fetch: what the store does not know of may have happened since.
            let now = self.clock.now();
            let Some(ticket) = self.member.begin_fetch() else { return Verdict::Unavailable };
            let stored = match self.line.find(session).await {
                Err(_) => return Verdict::Unavailable,
                Ok(None) => return Verdict::Refused,
                Ok(Some(stored)) if now >= stored.session.expires_at() => return Verdict::Refused,
                Ok(Some(stored)) => stored,
            };
            self.step().await;
            if !self.member.finish_fetch(ticket, &stored, |table| table.put(stored.clone())) {
                self.tally.count("spoilt");
            }
        }
        Verdict::Unavailable
    }

    pub(super) async fn issue(
        &self,
        session: Session,
        identity: Identity,
    ) -> Result<SessionNumber, StoreError> {
        let ticket = self.member.begin_fetch();
        let stored = self.line.issue(session, identity).await?;
        self.step().await;
        if let Some(ticket) = ticket {
            self.member.finish_fetch(ticket, &stored, |table| table.put(stored.clone()));
        }
        Ok(stored.number)
    }

    pub(super) async fn release(&self, session: SessionId) -> Result<(), StoreError> {
        let number = self.line.release(session).await?;
        self.wait_for_all(number).await;
        Ok(())
    }

    pub(super) async fn end_user(&self, user: UserId) -> Result<SessionNumber, StoreError> {
        let (number, through) = self.line.end_user(user).await?;
        self.wait_for_all(number).await;
        Ok(through)
    }

    async fn wait_for_all(&self, number: LogNumber) {
        let committed_at = self.clock.steady();
        if Rule::WaitForAll.is_obeyed() {
            self.keeper.wait_for_all(number, committed_at).await;
        }
    }

    async fn write_uses(&self) {
        loop {
            sleep(IDLE[0] / 8).await;
            let uses = self.table.unwritten();
            if !uses.is_empty() && self.line.write_uses(uses.clone()).await.is_ok() {
                self.table.mark_written(&uses);
            }
            self.table.evict(&self.chance);
        }
    }
}

impl ClusterObserver for Tally {
    fn registered(&self, _: InstanceId) {
        self.count("registered");
    }

    fn lost_registration(&self, _: &str) {
        self.count("lost registration");
    }

    fn lease_missed(&self) {
        self.count("lease missed");
    }

    fn came_into_force(&self, _: LogNumber, is_by_all: bool, _: Duration) {
        self.count(if is_by_all { "in force by all" } else { "in force by lease" });
    }

    fn removed(&self, _: InstanceId) {
        self.count("removed");
    }
}
