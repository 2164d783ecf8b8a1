//! A copy over a store that the test holds in its hands. How instances agree is simulated in [`crate::cluster`].

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::sync::Semaphore;

use super::*;
use crate::{
    clock::{TimeSource, Timestamp},
    cluster::{
        InstanceId, Introduction, Keeper, KeeperParts, Laggard, LogNumber, LogRecord, Member, Notice, Pace,
        Registered, Renewal, Roster, SessionSource, StoredSession,
    },
    directory::StoreFuture,
    id::{UnitId, UserId},
    journal::{Committed, Entry, Ledger, LedgerError, Outcome},
    observer::NoObserver,
    session::{Method, Scope, Session, SessionNumber},
};

const START: i64 = 1_700_000_000_000;
const IDLE: Duration = Duration::from_secs(3600);
const LEASE: Duration = Duration::from_secs(5);

/// The machine's clocks, which the test sets, in milliseconds since the start.
#[derive(Clone, Default)]
struct Hands(Arc<Mutex<i64>>);

impl TimeSource for Hands {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(START + *self.0.lock().unwrap())
    }
    fn steady(&self) -> Duration {
        Duration::from_millis((*self.0.lock().unwrap()).try_into().unwrap())
    }
}

/// The store: its sessions, how often it was asked for one, and whether it answers.
struct Store {
    sessions: Mutex<HashMap<SessionId, StoredSession>>,
    asked: AtomicUsize,
    answers: Semaphore,
    uses: Mutex<Vec<SessionNumber>>,
}

impl SessionSource for Store {
    fn find_session(&self, session: SessionId) -> StoreFuture<'_, Option<StoredSession>> {
        let found = self.sessions.lock().unwrap().get(&session).cloned();
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let _answer = self.answers.acquire().await.unwrap();
            Ok(found)
        })
    }

    fn list_sessions(
        &self,
        _: OrganisationId,
        _: SessionFilter,
        _: Option<SessionPlace>,
        _: usize,
        _: Timestamp,
    ) -> StoreFuture<'_, Vec<StoredSession>> {
        let all = self.sessions.lock().unwrap().values().cloned().collect();
        Box::pin(async { Ok(all) })
    }
}

/// Nobody but the instance of the test, which is a member by the test's word alone.
struct Alone;

impl Roster for Alone {
    fn register(&self, _: Introduction) -> StoreFuture<'_, Result<Registered, String>> {
        unreachable!("the keeper does not run")
    }
    fn renew(&self, _: InstanceId, _: LogNumber, _: Timestamp) -> StoreFuture<'_, Renewal> {
        unreachable!("the keeper does not run")
    }
    fn read_log(&self, _: LogNumber) -> StoreFuture<'_, Vec<LogRecord>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn acknowledge(&self, _: InstanceId, _: LogNumber) -> StoreFuture<'_, ()> {
        unreachable!("the keeper does not run")
    }
    fn list_laggards(&self, _: LogNumber) -> StoreFuture<'_, Vec<Laggard>> {
        unreachable!("the keeper does not run")
    }
    fn remove(&self, _: InstanceId, _: u64) -> StoreFuture<'_, ()> {
        unreachable!("the keeper does not run")
    }
    fn leave(&self, _: InstanceId) -> StoreFuture<'_, ()> {
        unreachable!("the keeper does not run")
    }
}

/// Commits everything, and has the log say something in the middle of it.
struct Writes {
    store: Arc<Store>,
    member: Arc<Member<Held>>,
    meanwhile: Arc<Mutex<Option<Notice>>>,
}

impl Ledger for Writes {
    fn commit(&mut self, batch: &[Entry]) -> Result<Committed, LedgerError> {
        if let Some(notice) = self.meanwhile.lock().unwrap().take() {
            self.member.apply(&[LogRecord { number: LogNumber(1), notice }]).unwrap();
        }
        let outcome = |entry: &Entry| match entry {
            Entry::Issue { session, .. } => {
                Outcome::Committed(Some(SessionNumber(session.digest.as_bytes()[0].into())))
            }
            Entry::Uses(uses) => {
                self.store.uses.lock().unwrap().extend(uses.iter().map(|used| used.number));
                Outcome::Committed(None)
            }
            other => unreachable!("{other:?}"),
        };
        Ok(batch.iter().map(outcome).collect::<Vec<_>>().into())
    }
}

struct Fixture {
    hands: Hands,
    store: Arc<Store>,
    member: Arc<Member<Held>>,
    sessions: Sessions,
    journal: Journal,
    /// What the log says while the next batch is committed.
    meanwhile: Arc<Mutex<Option<Notice>>>,
}

impl Fixture {
    /// An instance with a lease of five seconds and nothing in its memory.
    fn new(memory: u64) -> Self {
        let hands = Hands::default();
        let clock = Clock::new(hands.clone());
        let store = Arc::new(Store {
            sessions: Mutex::default(),
            asked: AtomicUsize::new(0),
            answers: Semaphore::new(1_000),
            uses: Mutex::default(),
        });
        let member = Arc::new(Member::new(Held::new(clock.clone())));
        member.join(InstanceId(1), LogNumber(0), LEASE);
        let pace = Pace { lease: LEASE, heartbeat: LEASE / 5, poll_interval: LEASE / 50 };
        let keeper = Keeper::new(KeeperParts {
            member: member.clone(),
            roster: Arc::new(Alone),
            clock: clock.clone(),
            pace,
            name: "test".into(),
            observer: Arc::new(NoObserver),
        });
        let copy = Arc::new(SessionCopy::new(SessionCopyParts {
            member: member.clone(),
            keeper: Arc::new(keeper),
            roster: Arc::new(Alone),
            source: store.clone(),
            clock: clock.clone(),
            lease_clock: clock.clone(),
            memory,
            observer: Arc::new(NoObserver),
        }));
        let meanwhile = Arc::default();
        let ledger =
            Writes { store: store.clone(), member: member.clone(), meanwhile: Arc::clone(&meanwhile) };
        let (journal, _ends_with_the_test) =
            Journal::start_copied(ledger, copy.clone(), clock, |problem| panic!("{problem}"));
        Self { hands, store, member, sessions: Sessions::copied(copy), journal, meanwhile }
    }

    fn set_clock(&self, time: Duration) {
        *self.hands.0.lock().unwrap() = time.as_millis().try_into().unwrap();
        self.member.extend(InstanceId(1), LogNumber(0), time + LEASE);
    }

    fn put(&self, token: u8, last_used: Duration) {
        let stored = stored(token, last_used);
        self.store.sessions.lock().unwrap().insert(stored.session.digest.session(), stored);
    }

    fn apply(&self, number: u64, notice: Notice) {
        self.member.apply(&[LogRecord { number: LogNumber(number), notice }]).unwrap();
    }

    async fn is_live(&self, token: u8) -> Result<bool, StoreError> {
        self.sessions.find(&digest(token), true, &self.journal, |_| Some(())).await.map(|live| live.is_some())
    }

    fn asked(&self) -> usize {
        self.store.asked.load(Ordering::SeqCst)
    }

    /// A look that has asked the store and waits for the answer, and what gives it.
    async fn asking(self: &Arc<Self>, token: u8) -> tokio::task::JoinHandle<Result<bool, StoreError>> {
        self.store.answers.forget_permits(1_000);
        let asked = self.asked();
        let fixture = self.clone();
        let look = tokio::spawn(async move { fixture.is_live(token).await });
        while self.asked() == asked {
            tokio::task::yield_now().await;
        }
        look
    }
}

fn digest(token: u8) -> TokenDigest {
    TokenDigest::from_bytes([token; 32])
}

fn user(token: u8) -> UserId {
    UserId::from_bytes([token; 16])
}

fn stored(token: u8, last_used: Duration) -> StoredSession {
    let start = Timestamp::from_millis(START);
    StoredSession {
        number: SessionNumber(u64::from(token)),
        session: Session {
            digest: digest(token),
            issued_at: start,
            last_used_at: start.plus(last_used),
            idle: Some(IDLE),
            ends_at: start.plus(24 * IDLE),
        },
        identity: Identity {
            organisation: OrganisationId::from_bytes([1; 16]),
            organisation_code: "ACME".into(),
            is_operator: false,
            unit: UnitId::from_bytes([1; 16]),
            unit_name: "Sales".into(),
            user: user(token),
            username: format!("user {token}"),
            method: Method::Password,
        },
    }
}

#[tokio::test]
async fn a_session_is_asked_for_once_and_then_known() {
    let fixture = Arc::new(Fixture::new(u64::MAX));
    fixture.put(1, Duration::ZERO);
    let first = fixture.asking(1).await;
    let others: Vec<_> = (0..10)
        .map(|_| {
            let fixture = fixture.clone();
            tokio::spawn(async move { fixture.is_live(1).await })
        })
        .collect();
    tokio::task::yield_now().await;
    fixture.store.answers.add_permits(1_000);
    assert_eq!(first.await.unwrap(), Ok(true));
    for other in others {
        assert_eq!(other.await.unwrap(), Ok(true));
    }
    assert_eq!((fixture.is_live(1).await, fixture.asked()), (Ok(true), 1));
}

#[tokio::test]
async fn what_is_unknown_is_asked_for_once_in_a_while() {
    let fixture = Fixture::new(u64::MAX);
    for _ in 0..10 {
        assert_eq!(fixture.is_live(1).await, Ok(false));
    }
    assert_eq!(fixture.asked(), 1);
    fixture.set_clock(Duration::from_secs(60));
    assert_eq!((fixture.is_live(1).await, fixture.asked()), (Ok(false), 2));
}

/// Row T6: nothing in memory is answered without a lease, in force or not.
#[tokio::test]
async fn without_a_lease_nothing_is_answered() {
    let fixture = Fixture::new(u64::MAX);
    fixture.put(1, Duration::ZERO);
    assert_eq!(fixture.is_live(1).await, Ok(true));
    *fixture.hands.0.lock().unwrap() = 5_000;
    assert_eq!(fixture.is_live(1).await, Err(StoreError::NoLease));
    assert_eq!(fixture.is_live(2).await, Err(StoreError::NoLease));
    assert_eq!(fixture.sessions.vouch(), Err(StoreError::NoLease));
    fixture.set_clock(Duration::from_secs(5));
    assert_eq!(fixture.is_live(1).await, Ok(true));
}

#[tokio::test]
async fn what_is_released_or_ended_while_it_is_fetched_does_not_come_back() {
    let released = Notice::Released(digest(1).session());
    let ended = Notice::Ended(Scope::User(user(1)), SessionNumber(1));
    for notice in [released, ended] {
        let fixture = Arc::new(Fixture::new(u64::MAX));
        fixture.put(1, Duration::ZERO);
        let look = fixture.asking(1).await;
        fixture.store.sessions.lock().unwrap().clear();
        fixture.apply(1, notice);
        fixture.store.answers.add_permits(1_000);
        assert_eq!(look.await.unwrap(), Ok(false));
        assert_eq!(fixture.is_live(1).await, Ok(false));
    }
}

#[tokio::test]
async fn others_endings_do_not_throw_a_fetch_away() {
    let fixture = Arc::new(Fixture::new(u64::MAX));
    fixture.put(1, Duration::ZERO);
    let look = fixture.asking(1).await;
    fixture.apply(1, Notice::Released(digest(2).session()));
    fixture.apply(2, Notice::Ended(Scope::User(user(2)), SessionNumber(9)));
    fixture.store.answers.add_permits(1_000);
    assert_eq!((look.await.unwrap(), fixture.asked()), (Ok(true), 1));
}

#[tokio::test]
async fn what_looks_idle_may_have_been_used_elsewhere() {
    let fixture = Fixture::new(u64::MAX);
    fixture.put(1, Duration::ZERO);
    assert_eq!(fixture.is_live(1).await, Ok(true));
    fixture.put(1, IDLE);
    fixture.set_clock(IDLE + Duration::from_secs(1));
    assert_eq!((fixture.is_live(1).await, fixture.asked()), (Ok(true), 2));
    fixture.set_clock(2 * IDLE + Duration::from_secs(1));
    assert_eq!((fixture.is_live(1).await, fixture.asked()), (Ok(false), 3), "nobody has used it");
    assert_eq!(
        (fixture.is_live(1).await, fixture.asked()),
        (Ok(false), 4),
        "a use may just be being written"
    );
    fixture.set_clock(2 * IDLE + Duration::from_secs(62));
    for _ in 0..3 {
        assert_eq!((fixture.is_live(1).await, fixture.asked()), (Ok(false), 5), "none takes that long");
    }
}

/// A look that joins a question from before it began asks again: a use may have been answered in between.
#[tokio::test]
async fn nobody_is_refused_by_an_answer_from_before_they_asked() {
    let fixture = Arc::new(Fixture::new(u64::MAX));
    fixture.put(1, Duration::ZERO);
    assert_eq!(fixture.is_live(1).await, Ok(true));
    fixture.set_clock(IDLE + Duration::from_secs(1));
    let early = fixture.asking(1).await;
    // Used on another instance, which has written it and answered.
    fixture.put(1, IDLE);
    let late = {
        let fixture = fixture.clone();
        tokio::spawn(async move { fixture.is_live(1).await })
    };
    tokio::task::yield_now().await;
    fixture.store.answers.add_permits(1_000);
    early.await.unwrap().unwrap();
    assert_eq!(late.await.unwrap(), Ok(true));
}

#[tokio::test]
async fn a_use_late_in_the_idle_time_is_written_before_it_is_answered() {
    let fixture = Fixture::new(u64::MAX);
    fixture.put(1, Duration::ZERO);
    let written = || fixture.store.uses.lock().unwrap().len();
    fixture.set_clock(IDLE / 2 - Duration::from_millis(1));
    assert_eq!((fixture.is_live(1).await, written()), (Ok(true), 0), "there is time to write it");
    fixture.set_clock(IDLE / 2);
    assert_eq!((fixture.is_live(1).await, written()), (Ok(true), 1));
    assert_eq!((fixture.is_live(1).await, written()), (Ok(true), 1), "it is written");
}

#[tokio::test]
async fn memory_is_bounded_and_what_was_used_longest_ago_goes_first() {
    const MEMORY: u64 = 32 * 1024;
    let fixture = Fixture::new(MEMORY);
    let all = 1..=255;
    for token in all.clone() {
        fixture.put(token, Duration::ZERO);
    }
    for token in all.clone() {
        fixture.set_clock(Duration::from_millis(u64::from(token)));
        let live = fixture.sessions.find(&digest(token), false, &fixture.journal, |_| Some(())).await;
        assert!(live.unwrap().is_some());
        assert!(fixture.sessions.table().memory() <= MEMORY + 1024);
    }
    for token in all {
        assert_eq!(fixture.is_live(token).await, Ok(true), "what was forgotten is asked for again");
    }
    assert!(fixture.asked() > 255);
}

/// A token whose release another instance has committed is gone for everybody before anybody is told so.
#[tokio::test]
async fn an_unknown_session_is_settled_first() {
    let fixture = Fixture::new(u64::MAX);
    assert_eq!(fixture.sessions.examine(digest(1).session()).await, Ok(None));
    let mut settled = std::pin::pin!(fixture.sessions.settle());
    // Nobody keeps this instance, so nobody says who has acknowledged what: only the lease can answer, and its clock stands.
    for _ in 0..100 {
        let is_pending = poll_fn(|context| Poll::Ready(settled.as_mut().poll(context).is_pending()));
        assert!(is_pending.await);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn lists_are_the_stores_with_the_uses_of_here() {
    let fixture = Fixture::new(u64::MAX);
    fixture.put(1, Duration::ZERO);
    fixture.set_clock(Duration::from_secs(60));
    let list = async || {
        let organisation = OrganisationId::from_bytes([1; 16]);
        let live = fixture.sessions.list(organisation, SessionFilter::default(), None, 10).await.unwrap();
        live.iter().map(|live| live.last_used_at.as_millis() - START).collect::<Vec<_>>()
    };
    assert_eq!(list().await, [0]);
    assert_eq!(fixture.is_live(1).await, Ok(true));
    assert_eq!(list().await, [60_000]);
}

#[tokio::test]
async fn what_was_issued_here_is_known_here_unless_it_has_ended() {
    let fixture = Fixture::new(u64::MAX);
    let issue = |token| {
        let StoredSession { session, identity, .. } = stored(token, Duration::ZERO);
        let zero = SessionNumber(0);
        let seen = crate::journal::Seen { organisation: zero, unit: zero, user: zero, key: None };
        let audit = crate::audit::AuditRecord::new(
            Timestamp::from_millis(START),
            crate::audit::Event::PasswordLogin,
            crate::audit::Reason::Ok,
            &crate::audit::Origin::default(),
        );
        Entry::Issue { session, identity, seen, known: None, audit }
    };
    fixture.journal.submit(issue(1)).await.unwrap();
    assert_eq!((fixture.is_live(1).await, fixture.asked()), (Ok(true), 0));
    *fixture.meanwhile.lock().unwrap() = Some(Notice::Ended(Scope::User(user(2)), SessionNumber(2)));
    fixture.journal.submit(issue(2)).await.unwrap();
    assert_eq!((fixture.is_live(2).await, fixture.asked()), (Ok(false), 1));
}
