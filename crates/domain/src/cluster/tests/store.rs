//! The store: a database that does each thing at once and as a whole, and the lines to it, which do not.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, timeout},
};

use super::{Chance, LEASE, instance::Pause, world::BASE};
use crate::{
    clock::{Timestamp, millis},
    cluster::{
        InstanceId, Introduction, Laggard, LogNumber, LogRecord, Notice, Registered, Renewal, Roster,
        SessionSource, StoreTime, StoredSession,
    },
    directory::StoreFuture,
    id::{OrganisationId, SessionId, UserId},
    journal::StoreError,
    session::{Identity, Scope, Session, SessionNumber},
    session_table::{SessionFilter, SessionPlace},
};

/// How many records one reading gives: few, so that it takes several.
const READING: usize = 4;

pub(super) struct Database {
    state: Mutex<State>,
    /// Something was logged. Not a `watch`, which wakes in any order.
    pub(super) logged: Notify,
    start: Instant,
}

#[derive(Default)]
struct State {
    is_down: bool,
    log: Vec<Notice>,
    instances: BTreeMap<InstanceId, Row>,
    registrations: u64,
    sessions: BTreeMap<SessionId, StoredSession>,
    numbers: u64,
}

struct Row {
    applied: LogNumber,
    renewals: u64,
}

impl State {
    fn head(&self) -> LogNumber {
        LogNumber(self.log.len() as u64)
    }

    fn append(&mut self, notice: Notice) -> LogNumber {
        self.log.push(notice);
        self.head()
    }

    fn read_log(&self, after: LogNumber) -> Vec<LogRecord> {
        let numbered = (1..).map(LogNumber).zip(&self.log).skip(after.0 as usize).take(READING);
        numbered.map(|(number, notice)| LogRecord { number, notice: notice.clone() }).collect()
    }
}

impl Database {
    pub(super) fn new(start: Instant) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), logged: Notify::new(), start })
    }

    pub(super) fn set_down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    fn time(&self) -> StoreTime {
        StoreTime { now: Timestamp::from_millis(BASE + millis(self.start.elapsed())), latest: None }
    }
}

/// How a line is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// Nothing is lost, nothing is late.
    Perfect,
    /// Something is, now and then.
    Fine,
    /// Most things arrive, late, or their answers do not.
    Slow,
    /// Nothing arrives, and nobody is told.
    Cut,
}

/// An instance's line to the database.
pub(super) struct Line {
    database: Arc<Database>,
    chance: Chance,
    weather: Mutex<Weather>,
    /// Stops the instance as soon as its lease is renewed, before it hears of it.
    pub(super) trap: Mutex<Option<Arc<Pause>>>,
}

impl Line {
    pub(super) fn new(database: Arc<Database>, chance: Chance, weather: Weather) -> Self {
        Self { database, chance, weather: Mutex::new(weather), trap: Mutex::default() }
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }

    fn trip(&self) -> Duration {
        match *self.weather.lock().unwrap() {
            Weather::Slow => self.chance.leases(70),
            Weather::Fine if self.chance.one_in(50) => self.chance.leases(40),
            _ => self.chance.millis(4),
        }
    }

    /// Whether something is lost on the way.
    fn loses(&self) -> bool {
        match *self.weather.lock().unwrap() {
            Weather::Perfect => false,
            Weather::Fine => self.chance.one_in(200),
            Weather::Slow => self.chance.one_in(5),
            Weather::Cut => true,
        }
    }

    /// Has the database do something, whether or not anybody still waits for the answer when it arrives there.
    fn send<T: Send + 'static>(
        self: &Arc<Self>,
        effect: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> StoreFuture<'static, T> {
        let (answer, answered) = oneshot::channel();
        let line = self.clone();
        tokio::spawn(async move {
            sleep(line.trip()).await;
            if line.loses() {
                return line.fail(answer);
            }
            let done = {
                let mut state = line.database.state.lock().unwrap();
                let head = state.head();
                let done = (!state.is_down).then(|| effect(&mut state));
                if state.head() > head {
                    line.database.logged.notify_waiters();
                }
                done
            };
            sleep(line.trip()).await;
            match done {
                Some(_) if line.loses() => line.fail(answer),
                Some(done) => drop(answer.send(Ok(done))),
                None => drop(answer.send(Err(StoreError::Unavailable("the database is down".into())))),
            }
        });
        Box::pin(async move {
            match answered.await {
                Ok(answer) => answer,
                Err(_) => pending().await,
            }
        })
    }

    /// Sometimes one is told, sometimes not.
    fn fail<T>(&self, answer: oneshot::Sender<Result<T, StoreError>>) {
        if self.chance.one_in(2) {
            let _ = answer.send(Err(StoreError::Unavailable("the line is cut".into())));
        }
    }

    /// As [`Self::send`], but not for ever.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        effect: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let late = |_| StoreError::Unavailable("no answer".into());
        timeout(LEASE * 2, self.send(effect)).await.map_err(late)?
    }

    pub(super) async fn issue(
        self: &Arc<Self>,
        session: Session,
        identity: Identity,
    ) -> Result<StoredSession, StoreError> {
        self.ask(move |state| {
            state.numbers += 1;
            let stored = StoredSession { number: SessionNumber(state.numbers), session, identity };
            state.sessions.insert(session.digest.session(), stored.clone());
            stored
        })
        .await
    }

    /// Releases a session. The number is that of the record; if it has ended before, one that is as late.
    pub(super) async fn release(self: &Arc<Self>, session: SessionId) -> Result<LogNumber, StoreError> {
        self.ask(move |state| match state.sessions.remove(&session) {
            Some(_) => state.append(Notice::Released(session)),
            None => state.head(),
        })
        .await
    }

    /// Ends all sessions of a user.
    pub(super) async fn end_user(
        self: &Arc<Self>,
        user: UserId,
    ) -> Result<(LogNumber, SessionNumber), StoreError> {
        self.ask(move |state| {
            state.numbers += 1;
            let through = SessionNumber(state.numbers);
            state.sessions.retain(|_, stored| stored.identity.user != user);
            (state.append(Notice::Ended(Scope::User(user), through)), through)
        })
        .await
    }

    /// Writes uses, of those sessions that have not ended. Whether that were all.
    pub(super) async fn write_uses(
        self: &Arc<Self>,
        uses: Vec<(SessionId, Timestamp)>,
    ) -> Result<bool, StoreError> {
        self.ask(move |state| {
            let mut are_all = true;
            for (session, at) in uses {
                match state.sessions.get_mut(&session) {
                    Some(StoredSession { session, .. }) => {
                        session.last_used_at = session.last_used_at.max(at)
                    }
                    None => are_all = false,
                }
            }
            are_all
        })
        .await
    }

    pub(super) async fn find(
        self: &Arc<Self>,
        session: SessionId,
    ) -> Result<Option<StoredSession>, StoreError> {
        let late = |_| StoreError::Unavailable("no answer".into());
        timeout(LEASE * 2, LineTo(self.clone()).find_session(session)).await.map_err(late)?
    }
}

/// A line as the store's traits.
pub(super) struct LineTo(pub(super) Arc<Line>);

impl Roster for LineTo {
    fn register(&self, introduction: Introduction) -> StoreFuture<'_, Result<Registered, String>> {
        let database = self.0.database.clone();
        self.0.send(move |state| {
            if introduction.lease != LEASE {
                return Err("another lease".into());
            }
            state.registrations += 1;
            let (instance, head) = (InstanceId(state.registrations), state.head());
            state.instances.insert(instance, Row { applied: head, renewals: 0 });
            Ok(Registered { instance, head, time: database.time() })
        })
    }

    fn renew(&self, instance: InstanceId, applied: LogNumber, _: Timestamp) -> StoreFuture<'_, Renewal> {
        let line = self.0.clone();
        self.0.send(move |state| {
            let (head, records) = (state.head(), state.read_log(applied));
            let Some(row) = state.instances.get_mut(&instance) else { return Renewal::Removed };
            row.renewals += 1;
            row.applied = row.applied.max(applied);
            if let Some(pause) = line.trap.lock().unwrap().take() {
                pause.set(true);
            }
            Renewal::Renewed { head, records, time: line.database.time() }
        })
    }

    fn read_log(&self, after: LogNumber) -> StoreFuture<'_, Vec<LogRecord>> {
        self.0.send(move |state| state.read_log(after))
    }

    fn acknowledge(&self, instance: InstanceId, applied: LogNumber) -> StoreFuture<'_, ()> {
        self.0.send(move |state| {
            if let Some(row) = state.instances.get_mut(&instance) {
                row.applied = row.applied.max(applied);
            }
        })
    }

    fn list_laggards(&self, number: LogNumber) -> StoreFuture<'_, Vec<Laggard>> {
        self.0.send(move |state| {
            let behind = state.instances.iter().filter(|(_, row)| row.applied < number);
            behind
                .map(|(instance, row)| Laggard {
                    instance: *instance,
                    applied: row.applied,
                    renewals: row.renewals,
                })
                .collect()
        })
    }

    fn remove(&self, instance: InstanceId, renewals: u64) -> StoreFuture<'_, ()> {
        self.0.send(move |state| {
            state.instances.retain(|known, row| *known != instance || row.renewals != renewals);
        })
    }

    fn leave(&self, instance: InstanceId) -> StoreFuture<'_, ()> {
        self.0.send(move |state| {
            state.instances.remove(&instance);
        })
    }
}

impl SessionSource for LineTo {
    fn find_session(&self, session: SessionId) -> StoreFuture<'_, Option<StoredSession>> {
        self.0.send(move |state| state.sessions.get(&session).cloned())
    }

    fn list_sessions(
        &self,
        _: OrganisationId,
        _: SessionFilter,
        _: Option<SessionPlace>,
        _: usize,
        _: Timestamp,
    ) -> StoreFuture<'_, Vec<StoredSession>> {
        unreachable!("nobody lists")
    }
}
