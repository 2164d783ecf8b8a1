//! The orders in which threads may meet, explored with shuttle: the session table and the journal as they are, with
//! shuttle's locks, atomics, channels and threads under them, over a ledger that keeps everything in memory.
//!
//! What a thread has been told is noted in standard atomics and locks, which shuttle does not see: noting it is no
//! further moment at which another thread may run.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use doorward_domain::{
    audit::{AuditRecord, Event, Origin, Reason},
    change::Change,
    clock::{Clock, TimeSource, Timestamp},
    credential::TokenDigest,
    id::{OrganisationId, UnitId, UserId},
    journal::{Committed, Entry, Journal, JournalThread, Ledger, LedgerError, Outcome, Seen},
    session::{Identity, Method, Scope, Session, SessionNumber},
    session_table::{SHARDS, SessionFilter, SessionTable},
    sessions::{Reading, Sessions},
};
use shuttle::{
    Config, Runner,
    future::block_on,
    scheduler::{PctScheduler, RandomScheduler},
    thread,
};

/// How many orders each scenario is run in, by each of the two ways of choosing them.
const ORDERS: usize = 1_500;
/// How many badly placed switches between threads it may take to show a fault.
const DEPTH: usize = 3;

/// Runs a scenario in many orders: any at random, then those with few switches between threads.
fn explore(scenario: impl Fn() + Copy + Send + Sync + 'static) {
    let mut config = Config::new();
    // Shuttle's usual 32 KiB are too few without optimisation.
    config.stack_size = 512 * 1024;
    Runner::new(RandomScheduler::new(ORDERS), config.clone()).run(scenario);
    Runner::new(PctScheduler::new(DEPTH, ORDERS), config).run(scenario);
}

const ORGANISATION: OrganisationId = OrganisationId::from_bytes([1; 16]);
const UNIT: UnitId = UnitId::from_bytes([2; 16]);
const ZOE: UserId = UserId::from_bytes([3; 16]);
const IDLE: Duration = Duration::from_millis(100);

/// A time in milliseconds after the sessions of these tests were issued.
fn after(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

fn digest(token: u8) -> TokenDigest {
    TokenDigest::from_bytes([token; 32])
}

fn session(token: u8) -> Session {
    Session {
        digest: digest(token),
        issued_at: after(0),
        last_used_at: after(0),
        idle: Some(IDLE),
        ends_at: after(1_000_000),
    }
}

fn zoe() -> Identity {
    Identity {
        organisation: ORGANISATION,
        organisation_code: "crm".into(),
        is_operator: false,
        unit: UNIT,
        unit_name: "head office".into(),
        user: ZOE,
        username: "zoe".into(),
        method: Method::Password,
    }
}

fn audit(event: Event) -> AuditRecord {
    AuditRecord::new(after(0), event, Reason::Ok, &Origin::default())
}

fn issue(token: u8, user_mark: SessionNumber) -> Entry {
    let none = SessionNumber(0);
    let seen = Seen { organisation: none, unit: none, user: user_mark, key: None };
    let audit = audit(Event::PasswordLogin);
    Entry::Issue { session: session(token), identity: zoe(), seen, known: None, audit }
}

fn release(token: u8, number: SessionNumber) -> Entry {
    let last_used_at = Timestamp::from_millis(0);
    Entry::Release { number, session: digest(token).session(), last_used_at, audit: audit(Event::Release) }
}

fn end_zoes_sessions() -> Entry {
    let change = Change::EndSessions { organisation: ORGANISATION, scope: Scope::User(ZOE) };
    Entry::change(change, audit(Event::SessionsEnded))
}

fn is_live(table: &SessionTable, token: u8) -> bool {
    table.slide(&digest(token), after(1)).is_some()
}

/// Takes a lock that shuttle does not see.
fn note<T>(notes: &Mutex<T>) -> MutexGuard<'_, T> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a power failure leaves behind.
#[derive(Clone, Default)]
struct Content {
    last_number: u64,
    sessions: Vec<(SessionNumber, Session)>,
    /// Zoe's sessions up to this number have ended.
    ended: SessionNumber,
}

impl Content {
    fn take_number(&mut self) -> SessionNumber {
        self.last_number += 1;
        SessionNumber(self.last_number)
    }

    fn commit(&mut self, entry: &Entry) -> Outcome {
        let number = match entry {
            Entry::Issue { seen, .. } if seen.user != self.ended => return Outcome::Refused,
            Entry::Issue { session, .. } => {
                let number = self.take_number();
                self.sessions.push((number, *session));
                Some(number)
            }
            Entry::Release { number, .. } => {
                self.sessions.retain(|(existing, _)| existing != number);
                None
            }
            Entry::Change { .. } => {
                self.ended = self.take_number();
                Some(self.ended)
            }
            Entry::Uses(uses) => {
                for used in uses {
                    let found = self.sessions.iter_mut().find(|(number, _)| *number == used.number);
                    found.into_iter().for_each(|(_, session)| session.last_used_at = used.last_used_at);
                }
                None
            }
            Entry::Forget { sessions, .. } => {
                self.sessions.retain(|(number, _)| !sessions.iter().any(|gone| gone.number == *number));
                None
            }
            Entry::Rehash { .. }
            | Entry::Record(_)
            | Entry::KeyUses(_)
            | Entry::DeleteUsers { .. }
            | Entry::ForgetRecords { .. }
            | Entry::Tick(_)
            | Entry::ForgetOnce(_) => None,
        };
        Outcome::Committed(number)
    }

    /// The table as it is after a restart.
    fn load(&self) -> SessionTable {
        let table = SessionTable::default();
        for (number, session) in self.sessions.iter().filter(|(number, _)| *number > self.ended) {
            table.insert(*number, session, &zoe());
        }
        table
    }
}

/// The ledger, and the way to read what it made durable. Each commit is one step.
#[derive(Clone, Default)]
struct Disk(Arc<shuttle::sync::Mutex<Content>>);

impl Disk {
    fn content(&self) -> Content {
        self.0.lock().expect("no test panics in a commit").clone()
    }
}

impl Ledger for Disk {
    fn commit(&mut self, batch: &[Entry]) -> Result<Committed, LedgerError> {
        let mut content = self.0.lock().expect("no test panics in a commit");
        Ok(batch.iter().map(|entry| content.commit(entry)).collect::<Vec<_>>().into())
    }
}

/// A running system: table, journal, disk.
struct System {
    table: Arc<SessionTable>,
    journal: Journal,
    thread: JournalThread,
    disk: Disk,
}

impl System {
    fn start() -> Self {
        let (table, disk) = (Arc::new(SessionTable::default()), Disk::default());
        let (journal, thread) = Journal::start(disk.clone(), table.clone(), |message| panic!("{message}"));
        Self { table, journal, thread, disk }
    }

    fn submit(&self, entry: Entry) -> Option<SessionNumber> {
        match block_on(self.journal.submit(entry)) {
            Ok(Outcome::Committed(number)) => number,
            other => panic!("not committed: {other:?}"),
        }
    }

    fn issue(&self, token: u8) -> SessionNumber {
        self.submit(issue(token, self.disk.content().ended)).expect("a session has a number")
    }

    /// Writes the uses that the journal lacks, as `Doorkeeper::flush_uses` does.
    fn flush_uses(&self, now: Timestamp) {
        let uses = (0..SHARDS).flat_map(|shard| self.table.due_uses(shard, now, Duration::ZERO)).collect();
        self.submit(Entry::Uses(uses));
    }
}

#[test]
fn t3_a_use_never_outlives_an_answered_release() {
    explore(|| {
        let system = System::start();
        let number = system.issue(1);
        let is_over = AtomicBool::new(false);
        let slide = |now| system.table.slide(&digest(1), after(now)).is_some();
        // As a batch does it.
        let slide_among_others = |now| {
            let mut found = Vec::new();
            system.table.look_at_all(&[None, Some(digest(1)), Some(digest(2))], after(now), true, |live| {
                found.push(live.is_some());
                true
            });
            found[1]
        };
        let ways: [&(dyn Fn(i64) -> bool + Sync); 2] = [&slide, &slide_among_others];
        thread::scope(|scope| {
            for slide in ways {
                let is_over = &is_over;
                scope.spawn(move || {
                    for now in 1..4 {
                        let was_over = is_over.load(SeqCst);
                        let found = slide(now);
                        assert!(
                            !(was_over && found),
                            "found after its release was answered, or after it was gone"
                        );
                        is_over.fetch_or(!found, SeqCst);
                    }
                });
            }
            scope.spawn(|| system.flush_uses(after(2)));
            scope.spawn(|| {
                system.submit(release(1, number));
                is_over.store(true, SeqCst);
            });
        });
        assert!(!is_live(&system.table, 1));
        assert_eq!(system.table.count().password, 0, "nothing brought it back");
        system.thread.stop();
        assert!(system.disk.content().sessions.is_empty(), "nor did a restart");
    });
}

/// Whoever looks for a session at the moment at which it is read, as the last of all, finds it or learns that it is not known.
#[test]
fn a_session_that_is_being_read_is_never_taken_for_unknown() {
    struct Still;
    impl TimeSource for Still {
        fn wall(&self) -> Timestamp {
            after(1)
        }
        fn steady(&self) -> Duration {
            Duration::ZERO
        }
    }
    explore(|| {
        let system = System::start();
        let reading = Arc::new(Reading::begun());
        let sessions = Sessions::being_read(system.table.clone(), Clock::new(Still), reading.clone());
        thread::scope(|scope| {
            for is_use in [true, false] {
                let (sessions, journal) = (&sessions, &system.journal);
                scope.spawn(move || {
                    for _ in 0..2 {
                        let found = block_on(sessions.find(&digest(1), is_use, journal, |_| Some(())));
                        assert!(!matches!(found, Ok(None)), "it was live all the time");
                        let examined = block_on(sessions.examine(digest(1).session()));
                        assert!(!matches!(examined, Ok(None)), "it was there all the time");
                    }
                });
            }
            scope.spawn(|| {
                system.table.insert(SessionNumber(1), &session(1), &zoe());
                reading.all_read();
            });
        });
        let unknown = block_on(sessions.find(&digest(2), true, &system.journal, |_| Some(())));
        assert!(matches!(unknown, Ok(None)));
        system.thread.stop();
    });
}

#[test]
fn t4_a_use_in_time_is_not_swept_and_a_swept_session_is_not_used() {
    explore(|| {
        let table = SessionTable::default();
        table.insert(SessionNumber(1), &session(1), &zoe());
        let (last_moment, expiry) = (after(99), after(100));
        let (is_found, swept) = thread::scope(|scope| {
            let use_in_time = scope.spawn(|| table.slide(&digest(1), last_moment).is_some());
            let late_looks = scope.spawn(|| [(); 2].map(|()| table.peek(&digest(1), expiry).is_some()));
            let swept = (0..SHARDS).flat_map(|shard| table.sweep(shard, expiry)).count();
            late_looks.join().expect("the look does not panic");
            (use_in_time.join().expect("the use does not panic"), swept)
        });
        assert_eq!(is_found, swept == 0, "found and freed, or neither");
        let found = table.peek(&digest(1), expiry);
        assert_eq!(found.map(|live| live.expires_at), is_found.then_some(after(199)));
        assert_eq!(table.count().password, u64::from(is_found));
    });
}

#[test]
fn t4_a_use_is_never_undone_by_an_older_one() {
    explore(|| {
        let table = SessionTable::default();
        table.insert(SessionNumber(1), &session(1), &zoe());
        thread::scope(|scope| {
            for now in [7, 9, 8] {
                let table = &table;
                scope.spawn(move || {
                    let live = table.slide(&digest(1), after(now)).expect("it is live");
                    assert!(live.expires_at >= after(now + 100));
                    let later = table.peek(&digest(1), after(now)).expect("it is live");
                    assert!(later.expires_at >= live.expires_at, "what was promised is taken back");
                });
            }
        });
        assert_eq!(table.peek(&digest(1), after(10)).map(|live| live.last_used_at), Some(after(9)));
    });
}

/// What the callers have been told before the power failed.
#[derive(Clone, Default)]
struct Told {
    issued: Vec<u8>,
    release_begun: Vec<u8>,
    released: Vec<u8>,
}

#[test]
fn d1_a_restart_neither_loses_what_was_issued_nor_revives_what_was_released() {
    explore(|| {
        let system = System::start();
        let told = Mutex::new(Told::default());
        thread::scope(|scope| {
            for tokens in [[1, 2], [3, 4]] {
                let (system, told) = (&system, &told);
                scope.spawn(move || {
                    for token in tokens {
                        let number = system.issue(token);
                        note(told).issued.push(token);
                        if token % 2 == 0 {
                            continue;
                        }
                        note(told).release_begun.push(token);
                        system.submit(release(token, number));
                        note(told).released.push(token);
                    }
                });
            }
            scope.spawn(|| system.flush_uses(after(1)));
            scope.spawn(|| {
                let told_before = note(&told).clone();
                let content = system.disk.content();
                let begun_by_then = note(&told).release_begun.clone();
                let table = content.load();
                for token in told_before.issued.iter().filter(|token| !begun_by_then.contains(token)) {
                    assert!(is_live(&table, *token), "token {token} was answered and is lost");
                }
                for token in &told_before.released {
                    assert!(!is_live(&table, *token), "token {token} was released and is back");
                }
            });
        });
        system.thread.stop();
        let table = system.disk.content().load();
        assert_eq!([1, 2, 3, 4].map(|token| is_live(&table, token)), [false, true, false, true]);
        assert_eq!([1, 2, 3, 4].map(|token| is_live(&system.table, token)), [false, true, false, true]);
    });
}

#[test]
fn m3_no_session_that_was_decided_on_before_an_ending_outlives_its_answer() {
    explore(|| {
        let system = System::start();
        let is_ended = AtomicBool::new(false);
        let seen = thread::scope(|scope| {
            let logins = [1, 2].map(|token| {
                let (system, is_ended) = (&system, &is_ended);
                scope.spawn(move || {
                    let seen = system.disk.content().ended;
                    let outcome =
                        block_on(system.journal.submit(issue(token, seen))).expect("the journal answers");
                    let was_ended = is_ended.load(SeqCst);
                    if seen == SessionNumber(0) {
                        assert!(
                            !(was_ended && is_live(&system.table, token)),
                            "the ending was answered: {outcome:?}"
                        );
                    } else {
                        assert!(matches!(outcome, Outcome::Committed(_)) && is_live(&system.table, token));
                    }
                    seen
                })
            });
            scope.spawn(|| {
                system.submit(end_zoes_sessions());
                is_ended.store(true, SeqCst);
            });
            logins.map(|login| login.join().expect("the login does not panic"))
        });
        system.thread.stop();
        let restarted = system.disk.content().load();
        for (token, seen) in [1, 2].into_iter().zip(seen) {
            let may_live = seen > SessionNumber(0);
            assert_eq!(is_live(&system.table, token), may_live, "having seen {seen:?}");
            assert_eq!(is_live(&restarted, token), may_live, "having seen {seen:?}, after a restart");
        }
    });
}

#[test]
fn m3_an_ending_reaches_a_session_that_was_issued_while_subjects_were_forgotten() {
    explore(|| {
        let system = System::start();
        let number = system.issue(1);
        system.submit(release(1, number));
        thread::scope(|scope| {
            scope.spawn(|| {
                for shard in 0..SHARDS {
                    system.table.sweep(shard, after(2));
                }
                system.table.forget_unused_subjects();
            });
            scope.spawn(|| {
                system.issue(2);
                assert!(is_live(&system.table, 2));
                system.submit(end_zoes_sessions());
                assert!(!is_live(&system.table, 2), "the ending was answered");
            });
        });
        system.thread.stop();
    });
}

/// What is tidied away while a session is being issued is not that session: it is listed, it is renamed with its user,
/// and so it is ended with its user.
#[test]
fn m3_an_ending_after_a_rename_reaches_a_session_that_was_issued_while_lists_were_tidied() {
    explore(|| {
        let table = SessionTable::default();
        for token in [1, 2] {
            table.insert(SessionNumber(u64::from(token)), &session(token), &zoe());
        }
        table.remove(digest(1).session());
        thread::scope(|scope| {
            scope.spawn(|| table.forget_unused_subjects());
            scope.spawn(|| table.insert(SessionNumber(3), &session(3), &zoe()));
        });
        let listed = table.list(ORGANISATION, &SessionFilter::default(), None, 10, after(1));
        assert_eq!(listed.iter().map(|live| live.number.0).collect::<Vec<_>>(), [2, 3]);
        table.rename(ORGANISATION, Scope::User(ZOE), "zoe2");
        table.end(Scope::User(ZOE), SessionNumber(4));
        assert_eq!([2, 3].map(|token| is_live(&table, token)), [false, false]);
    });
}

/// A list finds every session while its user is renamed.
#[test]
fn a_list_during_a_rename_misses_nothing() {
    explore(|| {
        let table = SessionTable::default();
        for token in [1, 2] {
            table.insert(SessionNumber(u64::from(token)), &session(token), &zoe());
        }
        thread::scope(|scope| {
            scope.spawn(|| table.rename(ORGANISATION, Scope::User(ZOE), "zoe2"));
            scope.spawn(|| {
                let listed = table.list(ORGANISATION, &SessionFilter::default(), None, 10, after(1));
                assert_eq!(listed.iter().map(|live| live.number.0).collect::<Vec<_>>(), [1, 2]);
            });
        });
        let live = table.peek(&digest(1), after(1)).expect("it is live");
        assert_eq!(live.identity.username, "zoe2");
    });
}

#[test]
fn stopping_answers_everybody_and_leaves_nothing_to_be_done() {
    explore(|| {
        let System { table, journal, thread: journal_thread, disk } = System::start();
        let (answers, last_number) = thread::scope(|scope| {
            let callers = [1, 2].map(|token| {
                let journal = &journal;
                scope.spawn(move || (token, block_on(journal.submit(issue(token, SessionNumber(0)))).is_ok()))
            });
            // Not on this thread: in shuttle, one that waits for its scope must not wait for another thread too.
            let stop = scope.spawn(|| {
                journal_thread.stop();
                disk.content().last_number
            });
            let answers = callers.map(|caller| caller.join().expect("the caller does not panic"));
            (answers, stop.join().expect("stopping does not panic"))
        });
        assert_eq!(disk.content().last_number, last_number, "committed after the journal had stopped");
        let restarted = disk.content().load();
        for (token, is_issued) in answers {
            assert_eq!(is_live(&table, token), is_issued);
            assert_eq!(is_live(&restarted, token), is_issued);
        }
    });
}
