//! The journal over a ledger that tells when it was called and answers when it is told to. What it answers SQLite
//! with is tested in `storage`, in which orders threads may meet in `tests/schedules.rs`.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use super::*;
use crate::{
    audit::{Event, Origin, Reason},
    change::NewPassword,
    credential::TokenDigest,
    directory::{Role, Status},
    id::{OrganisationId, UnitId, UserId},
    name::Name,
    passwords::PasswordHash,
    resource::{Organisation, Unit, User},
    session::{Method, Scope},
    session_table::SHARDS,
};

const ORGANISATION: OrganisationId = OrganisationId::from_bytes([1; 16]);
const UNIT: UnitId = UnitId::from_bytes([2; 16]);
const ZOE: UserId = UserId::from_bytes([3; 16]);
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn digest(token: u8) -> TokenDigest {
    TokenDigest::from_bytes([token; 32])
}

fn audit(event: Event) -> AuditRecord {
    AuditRecord::new(NOW, event, Reason::Ok, &Origin::default())
}

fn issue(token: u8) -> Entry {
    let none = SessionNumber(0);
    Entry::Issue {
        session: Session {
            digest: digest(token),
            issued_at: NOW,
            last_used_at: NOW,
            idle: Some(HOUR),
            ends_at: NOW.plus(HOUR * 24),
        },
        identity: Identity {
            organisation: ORGANISATION,
            organisation_code: "crm".into(),
            is_operator: false,
            unit: UNIT,
            unit_name: "head office".into(),
            user: ZOE,
            username: "zoe".into(),
            method: Method::Password,
        },
        seen: Seen { organisation: none, unit: none, user: none, key: None },
        known: None,
        audit: audit(Event::PasswordLogin),
    }
}

fn release(token: u8, number: u64) -> Entry {
    Entry::Release {
        number: SessionNumber(number),
        session: digest(token).session(),
        last_used_at: Timestamp::from_millis(0),
        audit: audit(Event::Release),
    }
}

fn updated(change: Change) -> Entry {
    Entry::change(change, audit(Event::Updated))
}

fn update_organisation(code: &str, status: Status) -> Entry {
    let (code, name) = (Name::new(code).unwrap(), "CRM Ltd".into());
    let organisation = Organisation { id: ORGANISATION, code, name, is_operator: false, status };
    updated(Change::UpdateOrganisation { organisation, expected: None })
}

fn update_unit(name: &str, status: Status) -> Entry {
    let unit = Unit { id: UNIT, name: Name::new(name).unwrap(), status };
    updated(Change::UpdateUnit { organisation: ORGANISATION, unit, expected: None })
}

fn update_user(username: &str, status: Status, ends_sessions: bool) -> Entry {
    let user = User {
        id: ZOE,
        username: Name::new(username).unwrap(),
        person_name: None,
        email: None,
        role: Role::Member,
        status,
        units: vec![UNIT],
        default_unit: Some(UNIT),
    };
    updated(Change::UpdateUser { organisation: ORGANISATION, user, expected: None, ends_sessions })
}

fn end_sessions(scope: Scope) -> Entry {
    Entry::change(Change::EndSessions { organisation: ORGANISATION, scope }, audit(Event::SessionsEnded))
}

fn committed(number: u64) -> Result<Outcome, StoreError> {
    Ok(Outcome::Committed(Some(SessionNumber(number))))
}

/// What the ledger is to answer for a batch: one outcome for each entry, or why there is none.
type Answer = Result<Vec<Outcome>, LedgerError>;

/// A ledger that shows each batch to the test and waits for the answer.
struct Ledgered {
    batches: Sender<Vec<Entry>>,
    answers: Receiver<Answer>,
}

impl Ledger for Ledgered {
    fn commit(&mut self, batch: &[Entry]) -> Result<Committed, LedgerError> {
        self.batches.send(batch.to_vec()).unwrap();
        self.answers.recv().unwrap().map(Committed::from)
    }
}

/// A journal whose ledger is in the test's hands.
struct Fixture {
    table: Arc<SessionTable>,
    journal: Journal,
    thread: JournalThread,
    batches: Receiver<Vec<Entry>>,
    answers: Sender<Answer>,
    broken: Receiver<String>,
}

impl Fixture {
    fn new() -> Self {
        let (to_test, batches) = channel();
        let (answers, from_test) = channel();
        let (on_broken, broken) = channel();
        let table = Arc::new(SessionTable::default());
        let ledger = Ledgered { batches: to_test, answers: from_test };
        let (journal, thread) =
            Journal::start(ledger, table.clone(), move |message| on_broken.send(message).unwrap());
        Self { table, journal, thread, batches, answers, broken }
    }

    /// Submits an entry and returns once it waits for its commit.
    fn submit(&self, entry: Entry) -> Submitted {
        let mut submitted = Submitted::to(&self.journal, entry);
        assert!(submitted.poll(Waker::noop()).is_pending());
        submitted
    }

    /// Submits an entry when nothing else is waiting, and returns once the ledger has it.
    fn submit_alone(&self, entry: Entry) -> Submitted {
        let submitted = self.submit(entry);
        assert_eq!(self.next_batch(), 1);
        submitted
    }

    /// Waits until the ledger is called, and says with how many entries.
    fn next_batch(&self) -> usize {
        self.batches.recv().unwrap().len()
    }

    fn answer(&self, outcomes: impl Into<Vec<Outcome>>) {
        self.answers.send(Ok(outcomes.into())).unwrap();
    }

    /// Commits an entry, alone, with this number.
    fn commit(&self, entry: Entry, number: Option<u64>) {
        let submitted = self.submit_alone(entry);
        self.answer([Outcome::Committed(number.map(SessionNumber))]);
        assert_eq!(submitted.wait(), Ok(Outcome::Committed(number.map(SessionNumber))));
    }

    fn is_live(&self, token: u8) -> bool {
        self.table.peek(&digest(token), NOW).is_some()
    }

    fn due_uses(&self, now: Timestamp) -> Vec<Use> {
        (0..SHARDS).flat_map(|shard| self.table.due_uses(shard, now, Duration::ZERO)).collect()
    }
}

/// An entry that has been submitted.
struct Submitted(Pin<Box<dyn Future<Output = Result<Outcome, StoreError>>>>);

impl Submitted {
    /// An entry that is about to be submitted: it is by the first poll.
    fn to(journal: &Journal, entry: Entry) -> Self {
        let journal = journal.clone();
        Self(Box::pin(async move { journal.submit(entry).await }))
    }

    fn poll(&mut self, waker: &Waker) -> Poll<Result<Outcome, StoreError>> {
        self.0.as_mut().poll(&mut Context::from_waker(waker))
    }

    fn wait(self) -> Result<Outcome, StoreError> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(self.0)
    }
}

/// Looks into the table at the moment at which a caller is told of a commit, on the thread that tells.
struct Witness {
    table: Arc<SessionTable>,
    tokens: [u8; 2],
    saw_all: AtomicBool,
}

impl Wake for Witness {
    fn wake(self: Arc<Self>) {
        let saw_all = self.tokens.iter().all(|token| self.table.peek(&digest(*token), NOW).is_some());
        self.saw_all.store(saw_all, Ordering::Relaxed);
    }
}

#[test]
fn d1_commits_then_applies_then_answers() {
    let fixture = Fixture::new();
    let mut first = fixture.submit_alone(issue(1));
    assert!(!fixture.is_live(1), "not in force before it is durable");
    assert!(first.poll(Waker::noop()).is_pending(), "nor answered");

    fixture.answer([Outcome::Committed(Some(SessionNumber(1)))]);
    assert_eq!(first.wait(), committed(1));
    assert!(fixture.is_live(1));
    fixture.thread.stop();
}

#[test]
fn d1_the_first_of_a_batch_hears_of_it_when_all_of_it_is_in_force() {
    let fixture = Fixture::new();
    let busy = fixture.submit_alone(Entry::Tick(NOW));
    let (mut first, second) = (fixture.submit(issue(1)), fixture.submit(issue(2)));
    let (table, saw_all) = (fixture.table.clone(), AtomicBool::new(false));
    let witness = Arc::new(Witness { table, tokens: [1, 2], saw_all });
    assert!(first.poll(&witness.clone().into()).is_pending());

    fixture.answer([Outcome::Committed(None)]);
    fixture.answer([1, 2].map(|number| Outcome::Committed(Some(SessionNumber(number)))));
    assert_eq!((second.wait(), busy.wait()), (committed(2), Ok(Outcome::Committed(None))));
    fixture.thread.stop();
    assert!(witness.saw_all.load(Ordering::Relaxed));
    assert!(first.poll(Waker::noop()).is_ready());
}

#[test]
fn entries_that_are_submitted_together_share_a_commit_and_are_told_in_their_order() {
    let fixture = Fixture::new();
    let busy = fixture.submit_alone(Entry::Tick(NOW));
    let (journal, entries) = (fixture.journal.clone(), vec![issue(1), issue(2), issue(3)]);
    let mut together = Box::pin(async move { journal.submit_all(entries).await });
    assert!(together.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    fixture.answer([Outcome::Committed(None)]);
    assert_eq!(fixture.next_batch(), 3);
    let committed = |number| Outcome::Committed(Some(SessionNumber(number)));
    fixture.answer([committed(1), Outcome::Refused, committed(2)]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(together), [Ok(committed(1)), Ok(Outcome::Refused), Ok(committed(2))]);
    assert_eq!(busy.wait(), Ok(Outcome::Committed(None)));
    let journal = fixture.journal.clone();
    fixture.thread.stop();
    let late = runtime.block_on(journal.submit_all(vec![issue(4)]));
    assert!(matches!(late[..], [Err(StoreError::Unavailable(_))]), "{late:?}");
}

#[test]
fn each_caller_gets_the_outcome_of_their_own_entry() {
    let fixture = Fixture::new();
    let busy = fixture.submit_alone(Entry::Tick(NOW));
    let submitted = [issue(1), issue(2), update_unit("head office", Status::Active), issue(3)]
        .map(|entry| fixture.submit(entry));
    fixture.answer([Outcome::Committed(None)]);
    assert_eq!(fixture.next_batch(), 4);
    fixture.answer([
        Outcome::Committed(Some(SessionNumber(1))),
        Outcome::Refused,
        Outcome::Taken(Unique::Name),
        Outcome::Committed(Some(SessionNumber(2))),
    ]);
    let outcomes = submitted.map(Submitted::wait);
    assert_eq!(
        outcomes,
        [committed(1), Ok(Outcome::Refused), Ok(Outcome::Taken(Unique::Name)), committed(2)]
    );
    assert_eq!(
        [1, 2, 3].map(|token| fixture.is_live(token)),
        [true, false, true],
        "what is refused has no effect"
    );
    assert!(busy.wait().is_ok());
    fixture.thread.stop();
}

#[test]
fn t6_a_release_is_in_force_when_it_is_answered() {
    let fixture = Fixture::new();
    fixture.commit(issue(1), Some(1));
    fixture.commit(issue(2), Some(2));
    let submitted = fixture.submit_alone(release(1, 1));
    assert!(fixture.is_live(1), "a release that is not durable is none");
    fixture.answer([Outcome::Committed(None)]);
    assert!(submitted.wait().is_ok());
    assert_eq!([1, 2].map(|token| fixture.is_live(token)), [false, true]);
    fixture.thread.stop();
}

#[test]
fn m3_changes_that_end_sessions_end_them_up_to_their_number() {
    let set_password = || {
        let password = NewPassword { hash: PasswordHash::from_stored("hash".into()), must_change: false };
        let (organisation, user, replaces) = (ORGANISATION, ZOE, None);
        let change = Change::SetPassword { organisation, user, password, replaces };
        Entry::change(change, audit(Event::PasswordSet))
    };
    for change in [
        set_password(),
        update_user("zoe", Status::Disabled, false),
        update_user("zoe", Status::Active, true),
        update_unit("head office", Status::Disabled),
        update_organisation("crm", Status::Disabled),
        end_sessions(Scope::User(ZOE)),
        end_sessions(Scope::Unit(UNIT)),
        end_sessions(Scope::Organisation(ORGANISATION)),
    ] {
        let fixture = Fixture::new();
        fixture.commit(issue(1), Some(1));
        let submitted = fixture.submit_alone(change.clone());
        assert!(fixture.is_live(1));
        fixture.answer([Outcome::Refused]);
        assert_eq!(submitted.wait(), Ok(Outcome::Refused));
        assert!(fixture.is_live(1), "what is refused ends nothing");

        fixture.commit(change, Some(2));
        fixture.commit(issue(2), Some(3));
        assert_eq!([1, 2].map(|token| fixture.is_live(token)), [false, true]);
        fixture.thread.stop();
    }
}

#[test]
fn what_ends_nothing_changes_nothing_in_the_table() {
    let fixture = Fixture::new();
    fixture.commit(issue(1), Some(1));
    let hash = PasswordHash::from_stored("hash".into());
    for entry in [
        update_user("zoe", Status::Active, false),
        update_unit("head office", Status::Active),
        update_organisation("crm", Status::Active),
        Entry::Rehash { organisation: ORGANISATION, user: ZOE, from: hash.clone(), to: hash },
        Entry::Record(audit(Event::PasswordLogin)),
        Entry::Forget {
            sessions: vec![Departed {
                number: SessionNumber(1),
                organisation: Some(ORGANISATION),
                last_used_at: NOW,
            }],
            at: NOW,
        },
        Entry::ForgetRecords { before: NOW, limit: 1 },
        Entry::KeyUses(Vec::new()),
        Entry::ForgetOnce(NOW),
        Entry::Tick(NOW),
    ] {
        fixture.commit(entry, Some(2));
        assert!(fixture.is_live(1));
    }
    fixture.thread.stop();
}

#[test]
fn changes_are_counted_when_they_come_into_force() {
    let fixture = Fixture::new();
    let change = || update_user("zoe", Status::Active, false);
    let submitted = fixture.submit_alone(change());
    assert_eq!(fixture.journal.changes(), 0, "what is not durable is not in force");
    fixture.answer([Outcome::Refused]);
    assert_eq!(submitted.wait(), Ok(Outcome::Refused));
    assert_eq!(fixture.journal.changes(), 0);
    fixture.commit(change(), None);
    assert_eq!(fixture.journal.changes(), 1);
    fixture.commit(issue(1), Some(1));
    fixture.commit(change(), None);
    assert_eq!(fixture.journal.clone().changes(), 2);
    fixture.thread.stop();
}

#[test]
fn uses_are_stored_once_they_are_committed() {
    let fixture = Fixture::new();
    fixture.commit(issue(1), Some(1));
    let now = NOW.plus(Duration::from_secs(1));
    fixture.table.slide(&digest(1), now).unwrap();
    let submitted = fixture.submit_alone(Entry::Uses(fixture.due_uses(now)));
    assert_eq!(fixture.due_uses(now).len(), 1);
    fixture.answers.send(Err(LedgerError::Full("no space".into()))).unwrap();
    assert!(submitted.wait().is_err());
    assert_eq!(fixture.due_uses(now).len(), 1, "they are written again when there is space");
    fixture.commit(Entry::Uses(fixture.due_uses(now)), None);
    assert!(fixture.due_uses(now).is_empty());
    fixture.thread.stop();
}

#[test]
fn many_callers_share_one_commit() {
    let fixture = Fixture::new();
    let first = fixture.submit_alone(Entry::Tick(NOW));
    let waiting: Vec<_> = (0..BATCH + 1).map(|_| fixture.submit(Entry::Tick(NOW))).collect();
    fixture.answer([Outcome::Committed(None)]);
    assert_eq!(fixture.next_batch(), BATCH, "a batch has an end");
    fixture.answer(vec![Outcome::Committed(None); BATCH]);
    assert_eq!(fixture.next_batch(), 1);
    fixture.answer([Outcome::Committed(None)]);
    assert!(first.wait().is_ok());
    assert!(waiting.into_iter().all(|submitted| submitted.wait().is_ok()));
    fixture.thread.stop();
    assert!(fixture.batches.try_recv().is_err(), "three commits in all");
}

/// Those who were answered may never come back, and then nobody waits long for them.
#[test]
fn who_does_not_come_back_is_not_waited_for() {
    let rhythm = Rhythm { expected: 5, took: Duration::from_secs(3_600) };
    let submission = || Submission { entry: Entry::Tick(NOW), answer: super::Answer(oneshot::channel().0) };
    let (sender, queue) = mpsc::sync_channel(QUEUE);
    assert_eq!(rhythm.gather(submission(), &queue).entries.len(), 1);
    (0..2).for_each(|_| sender.try_send(submission()).unwrap());
    assert_eq!(rhythm.gather(submission(), &queue).entries.len(), 3, "those who did");
    (0..BATCH + 1).for_each(|_| sender.try_send(submission()).unwrap());
    assert_eq!(rhythm.gather(submission(), &queue).entries.len(), BATCH, "a batch has an end");
}

#[test]
fn an_entry_is_committed_although_its_caller_hung_up() {
    let fixture = Fixture::new();
    drop(fixture.submit_alone(issue(1)));
    fixture.answer([Outcome::Committed(Some(SessionNumber(1)))]);
    fixture.thread.stop();
    assert!(fixture.table.peek(&digest(1), NOW).is_some());
}

#[test]
fn a_full_queue_is_answered_at_once() {
    let fixture = Fixture::new();
    let first = fixture.submit_alone(Entry::Tick(NOW));
    let waiting: Vec<_> = (0..QUEUE).map(|_| fixture.submit(Entry::Tick(NOW))).collect();
    let mut excess = Submitted::to(&fixture.journal, Entry::Tick(NOW));
    assert_eq!(excess.poll(Waker::noop()), Poll::Ready(Err(StoreError::Busy)));

    fixture.answer([Outcome::Committed(None)]);
    for _ in 0..QUEUE / BATCH {
        assert_eq!(fixture.next_batch(), BATCH);
        fixture.answer(vec![Outcome::Committed(None); BATCH]);
    }
    assert!(first.wait().is_ok());
    assert!(waiting.into_iter().all(|submitted| submitted.wait().is_ok()));
    fixture.commit(Entry::Tick(NOW), None);
    fixture.thread.stop();
}

/// T6: however many logins wait, there is a place for a release.
#[test]
fn t6_logins_do_not_crowd_out_a_release() {
    let fixture = Fixture::new();
    fixture.commit(issue(1), Some(1));
    let first = fixture.submit_alone(Entry::Tick(NOW));
    let logins = QUEUE - RESERVED as usize;
    let waiting: Vec<_> =
        (0..logins).map(|_| fixture.submit(Entry::Record(audit(Event::PasswordLogin)))).collect();
    for entry in [issue(2), Entry::Record(audit(Event::PasswordLogin))] {
        let mut excess = Submitted::to(&fixture.journal, entry);
        assert_eq!(excess.poll(Waker::noop()), Poll::Ready(Err(StoreError::Busy)));
    }
    let released = fixture.submit(release(1, 1));

    fixture.answer([Outcome::Committed(None)]);
    let mut left = logins + 1;
    while left > 0 {
        let batch = fixture.next_batch();
        fixture.answer(vec![Outcome::Committed(None); batch]);
        left -= batch;
    }
    assert!(first.wait().is_ok() && waiting.into_iter().all(|submitted| submitted.wait().is_ok()));
    assert!(released.wait().is_ok());
    assert!(fixture.table.peek(&digest(1), NOW).is_none());
    fixture.commit(issue(3), Some(3));
    fixture.thread.stop();
}

#[test]
fn d4_want_of_space_is_answered_to_the_whole_batch_and_the_next_may_succeed() {
    let fixture = Fixture::new();
    fixture.commit(issue(1), Some(1));
    let busy = fixture.submit_alone(Entry::Tick(NOW));
    let submitted = [issue(2), release(1, 1), issue(3)].map(|entry| fixture.submit(entry));
    fixture.answer([Outcome::Committed(None)]);
    assert_eq!(fixture.next_batch(), 3);
    fixture.answers.send(Err(LedgerError::Full("no space on /data".into()))).unwrap();
    let full = Err(StoreError::Full("no space on /data".into()));
    assert_eq!(submitted.map(Submitted::wait), [full.clone(), full.clone(), full]);
    assert!(busy.wait().is_ok());
    assert_eq!([1, 2, 3].map(|token| fixture.is_live(token)), [true, false, false], "nothing is done of it");

    fixture.commit(issue(2), Some(2));
    assert!(fixture.is_live(2));
    fixture.thread.stop();
    assert!(fixture.broken.recv().is_err(), "want of space is no breakage");
}

#[test]
fn d2_a_broken_ledger_stops_the_journal_for_good() {
    let fixture = Fixture::new();
    fixture.commit(issue(1), Some(1));
    let busy = fixture.submit_alone(release(1, 1));
    let waiting = fixture.submit(issue(2));
    fixture.answers.send(Err(LedgerError::Broken("fsync failed".into()))).unwrap();
    assert!(matches!(busy.wait(), Err(StoreError::Unavailable(_))));
    assert!(matches!(waiting.wait(), Err(StoreError::Unavailable(_))), "and who waited is not kept waiting");
    assert_eq!(fixture.broken.recv().unwrap(), "fsync failed");
    assert_eq!(
        [1, 2].map(|token| fixture.is_live(token)),
        [true, false],
        "what may not be durable is not in force"
    );

    let later = Submitted::to(&fixture.journal, issue(3)).wait();
    assert!(matches!(later, Err(StoreError::Unavailable(_))));
    fixture.thread.stop();
    assert!(fixture.broken.recv().is_err(), "the operator is told once");
    assert!(fixture.batches.try_recv().is_err(), "nothing is tried again");
}

/// Who comes while somebody has given up on the commit under way would wait as long, and is told at once.
#[test]
fn o1_nobody_else_waits_for_a_commit_that_was_given_up() {
    let fixture = Fixture::new();
    fixture.journal.give_up();
    fixture.commit(issue(1), Some(1));
    let stuck = fixture.submit_alone(issue(2));
    let waiting = fixture.submit(issue(3));
    fixture.journal.give_up();
    for _ in 0..2 {
        assert_eq!(Submitted::to(&fixture.journal, issue(4)).wait(), Err(StoreError::Busy));
        assert_eq!(Submitted::to(&fixture.journal, release(1, 1)).wait(), Err(StoreError::Busy));
    }
    assert_eq!(fixture.journal.waiting(), 1, "the refused take no place");
    fixture.answer([Outcome::Committed(Some(SessionNumber(2)))]);
    fixture.answer([Outcome::Committed(Some(SessionNumber(3)))]);
    assert_eq!((stuck.wait(), waiting.wait()), (committed(2), committed(3)), "what was taken is done");
    fixture.commit(issue(4), Some(4));
    fixture.thread.stop();
}

/// A defect of the store must not leave a process behind that looks well and refuses everybody.
#[test]
fn d2_a_ledger_that_panics_is_told_of_like_one_that_breaks() {
    struct Defective;
    impl Ledger for Defective {
        fn commit(&mut self, _: &[Entry]) -> Result<Committed, LedgerError> {
            panic!("a defect, for a test");
        }
    }
    let (tell, told) = channel();
    let table = Arc::new(SessionTable::default());
    let (journal, thread) = Journal::start(Defective, table, move |message| tell.send(message).unwrap());
    let refused = Submitted::to(&journal, issue(1)).wait();
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    assert!(told.recv().unwrap().contains("defect"));
    assert!(told.recv().is_err(), "the operator is told once");
    thread.stop();
}

#[test]
fn stopping_commits_what_waits_and_refuses_what_comes() {
    let fixture = Fixture::new();
    let first = fixture.submit_alone(issue(1));
    let waiting = [issue(2), issue(3)].map(|entry| fixture.submit(entry));
    for numbers in [vec![1], vec![2, 3]] {
        let outcomes: Vec<_> =
            numbers.into_iter().map(|number| Outcome::Committed(Some(SessionNumber(number)))).collect();
        fixture.answer(outcomes);
    }
    fixture.thread.stop();
    assert_eq!(first.wait(), committed(1));
    assert_eq!(waiting.map(Submitted::wait), [committed(2), committed(3)]);
    let late = Submitted::to(&fixture.journal, issue(4)).wait();
    assert!(matches!(late, Err(StoreError::Unavailable(_))));
    assert!((1..4).all(|token| fixture.table.peek(&digest(token), NOW).is_some()));
}

#[test]
fn stopping_ends_a_journal_that_is_broken_already() {
    let fixture = Fixture::new();
    drop(fixture.submit_alone(Entry::Tick(NOW)));
    fixture.answers.send(Err(LedgerError::Broken("fsync failed".into()))).unwrap();
    assert!(fixture.broken.recv().is_ok());
    fixture.thread.stop();
}

#[test]
fn a_rename_is_shown_when_it_is_answered() {
    let fixture = Fixture::new();
    fixture.commit(issue(1), Some(1));
    let identity = || fixture.table.peek(&digest(1), NOW).unwrap().identity;
    let before = identity();
    let submitted = fixture.submit_alone(update_user("zoe2", Status::Active, false));
    fixture.answer([Outcome::Stale]);
    assert_eq!(submitted.wait(), Ok(Outcome::Stale));
    assert_eq!(identity(), before, "what is not committed renames nothing");
    fixture.commit(update_user("zoe2", Status::Active, false), None);
    fixture.commit(update_unit("branch", Status::Active), None);
    fixture.commit(update_organisation("crm2", Status::Active), None);
    let now = identity();
    let names = (now.username.as_str(), now.unit_name.as_str(), now.organisation_code.as_str());
    assert_eq!(names, ("zoe2", "branch", "crm2"));
    fixture.thread.stop();
}
