//! The journal: what must survive is committed before it is answered, many callers sharing one commit.
//!
//! One thread takes what callers submit, commits it as one transaction, applies it to the session table *in that
//! order*, and only then answers. So the table never shows what is not durable, a caller never hears of what is not in
//! force, and two changes of one user take effect in memory in the order in which they stand on disk.
//!
//! A commit that is refused for want of space leaves nothing behind and is answered [`StoreError::Full`]; any other
//! failure leaves the state of the disk unknown, and the journal stops for good (`security.md` D2, D4).

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    address::Network,
    audit::AuditRecord,
    change::{Change, Once},
    clock::{Clock, Timestamp},
    cluster::{LogNumber, StoredSession, Ticket},
    credential::KeyDigest,
    id::{OrganisationId, SessionId, UserId},
    passwords::PasswordHash,
    session::{Departed, Identity, Session, SessionNumber},
    session_table::{SessionTable, Use},
    sessions::{Reading, SessionCopy},
    sync::{AtomicU64, Mutex, Ordering, lock, mpsc, thread},
};

/// How many entries may wait for a commit; one more is answered [`StoreError::Busy`].
const QUEUE: usize = if cfg!(feature = "shuttle") { 16 } else { 16_384 };
/// How many of those places logins may not take, so that a flood of them never crowds out a release.
const RESERVED: u64 = QUEUE as u64 / 4;
/// How many entries share one commit at most.
const BATCH: usize = 2_048;
/// How often it is looked whether those have come back who were answered with the last commit.
const NAPS: u32 = 4;
/// The longest of these moments, however slow the disk is.
const LONGEST_NAP: Duration = Duration::from_millis(1);

/// What a login saw of the marks that end sessions. If any has moved when the session is committed, or a name that the
/// session would show, the account was changed meanwhile and the session is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The organisation's mark.
    pub organisation: SessionNumber,
    /// The unit's mark.
    pub unit: SessionNumber,
    /// The user's mark.
    pub user: SessionNumber,
    /// The Web API key's mark, where one was used.
    pub key: Option<SessionNumber>,
}

/// Something to commit.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A new session, if its account is still as `seen`.
    Issue {
        /// The session.
        session: Session,
        /// Whom it speaks for.
        identity: Identity,
        /// The marks on which the login was decided.
        seen: Seen,
        /// From where the user is known from now on: that of a login with a password.
        known: Option<Network>,
        /// The record of the login.
        audit: AuditRecord,
    },
    /// The end of one session.
    Release {
        /// Its number.
        number: SessionNumber,
        /// Its id.
        session: SessionId,
        /// When it was last used, of which the store may not know yet.
        last_used_at: Timestamp,
        /// The record of the release.
        audit: AuditRecord,
    },
    /// A change of the directory, with the endings it causes.
    Change {
        /// The change.
        change: Change,
        /// What makes it happen once, however often it is submitted.
        once: Option<Once>,
        /// The record of it.
        audit: AuditRecord,
    },
    /// The replacement of the hash of an unchanged password by one of today's parameters. No session ends by it, and
    /// nobody needs to be told.
    Rehash {
        /// The user's organisation.
        organisation: OrganisationId,
        /// The user.
        user: UserId,
        /// The hash that was verified; nothing happens if it is no longer the stored one.
        from: PasswordHash,
        /// The hash of the same password with today's parameters.
        to: PasswordHash,
    },
    /// A record of something that changed nothing.
    Record(AuditRecord),
    /// Uses, written lazily.
    Uses(Vec<Use>),
    /// Uses of Web API keys, written lazily.
    KeyUses(Vec<KeyUse>),
    /// The deletion of some users of an organisation that is about to be deleted, with all that is theirs: no more than
    /// others can wait for. Their sessions must have ended.
    DeleteUsers {
        /// The organisation.
        organisation: OrganisationId,
        /// How many users at most.
        limit: usize,
        /// The record of it, if any were there.
        audit: AuditRecord,
    },
    /// Sessions that have ended anyway and need no space any more, but for what is remembered of them
    /// ([`REMEMBERED_FOR`](crate::session::REMEMBERED_FOR)).
    Forget {
        /// The sessions.
        sessions: Vec<Departed>,
        /// When they left memory.
        at: Timestamp,
    },
    /// The removal of some audit records whose time is over, the oldest first.
    ForgetRecords {
        /// Only what is older than this.
        before: Timestamp,
        /// How many records at most.
        limit: usize,
    },
    /// The time, so that a restart with a clock that was set back does not revive what has expired.
    Tick(Timestamp),
    /// Creations before this time may not be repeated any more: what made them happen once is forgotten.
    ForgetOnce(Timestamp),
}

/// A use of a Web API key: of one of its secrets, so that it can be told when nobody uses an old one any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The digest of the secret.
    pub secret: KeyDigest,
    /// When.
    pub at: Timestamp,
    /// From where.
    pub from: Option<IpAddr>,
}

impl Entry {
    /// A change that is made as often as it is submitted.
    pub fn change(change: Change, audit: AuditRecord) -> Self {
        Self::Change { change, once: None, audit }
    }

    /// Whether it comes of a login, of which anybody can send as many as they like.
    fn is_of_a_login(&self) -> bool {
        matches!(self, Self::Issue { .. } | Self::Record(_) | Self::Rehash { .. })
    }

    /// Whether it may reach any session, in memory too.
    fn concerns_all_sessions(&self) -> bool {
        matches!(self, Self::Change { .. } | Self::DeleteUsers { .. })
    }
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Committed; the entry took this number, if it is of a kind that takes one.
    Committed(Option<SessionNumber>),
    /// Not committed: the account was changed while the login was under way, or what was to be changed is not there.
    Refused,
    /// Not committed: something that must be unique is taken.
    Taken(Unique),
    /// Not committed: it was changed since the revision on which the change was decided.
    Stale,
    /// Not committed: something else needs what was to be deleted.
    InUse,
    /// Not committed: it was done before, at the request of a caller who asks for it once.
    Repeated,
}

/// What must be unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// A code, a username or the name of a unit.
    Name,
    /// The secret of a Web API key.
    Secret,
    /// An id.
    Id,
}

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too much is waiting already.
    #[error("the journal's queue is full")]
    Busy,
    /// There is no space left; nothing was stored.
    #[error("the store is out of space: {0}")]
    Full(String),
    /// This instance has no lease, so nothing that it remembers may be answered ([`crate::cluster`]).
    #[error("this instance has not heard from the store for a lease")]
    NoLease,
    /// Not all sessions have been read since the start, so nothing is known of this one.
    #[error("not all sessions have been read since the start")]
    Reading,
    /// The store does not answer, or is stopping.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
}

/// Where entries are made durable. Implemented over SQLite in `storage`.
pub trait Ledger: Send + 'static {
    /// Commits all of `batch` and says what became of each. When it returns `Ok`, that survives a power failure.
    fn commit(&mut self, batch: &[Entry]) -> Result<Committed, LedgerError>;
}

/// A batch that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// What became of each entry, in order.
    pub outcomes: Vec<Outcome>,
    /// The last record of the release log that tells other instances of the batch, if there are others and there is
    /// anything to tell.
    pub logged: Option<LogNumber>,
    /// How long it took. For a part of that the next commit waits for those who come back.
    pub took: Duration,
}

impl From<Vec<Outcome>> for Committed {
    /// What a store answers that nobody else works on.
    fn from(outcomes: Vec<Outcome>) -> Self {
        Self { outcomes, logged: None, took: Duration::ZERO }
    }
}

/// Why a batch was not committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// No space, or somebody else's lock: nothing of the batch is answered for, and a later one may succeed.
    #[error("{0}")]
    Full(String),
    /// Whether the batch is stored is not known. The journal must stop.
    #[error("{0}")]
    Broken(String),
    /// Whether the batch is stored is not known, and a later one may succeed: the store is elsewhere, and what is in
    /// memory only a copy.
    #[error("{0}")]
    Lost(String),
}

/// On many instances what ends sessions, or changes what is remembered of the directory, comes into force with the release
/// log, here as elsewhere; what was issued here is known here.
struct Everywhere {
    copy: Arc<SessionCopy>,
    clock: Clock,
    runtime: Handle,
    /// Taken before the commit: what was issued may have been ended right after it.
    ticket: Option<Ticket>,
}

impl Force for Everywhere {
    fn prepare(&mut self) {
        self.ticket = self.copy.begin_fetch();
    }

    fn enforce(&mut self, entries: &[Entry], answers: Vec<Answer>, committed: Committed) {
        let Committed { outcomes, logged, .. } = committed;
        let mut waiting = Vec::new();
        for ((entry, outcome), answer) in entries.iter().zip(outcomes).zip(answers) {
            match (entry, outcome) {
                (Entry::Issue { session, identity, .. }, Outcome::Committed(Some(number))) => {
                    if let Some(ticket) = self.ticket {
                        let (session, identity) = (*session, identity.clone());
                        self.copy.learn(ticket, &StoredSession { number, session, identity });
                    }
                }
                (Entry::Uses(uses), Outcome::Committed(_)) => self.copy.mark_stored(uses),
                (Entry::Release { .. } | Entry::Change { .. }, Outcome::Committed(_)) => {
                    waiting.push((answer, outcome));
                    continue;
                }
                _ => {}
            }
            answer.give(Ok(outcome));
        }
        let Some(logged) = logged.filter(|_| !waiting.is_empty()) else {
            return waiting.into_iter().for_each(|(answer, outcome)| answer.give(Ok(outcome)));
        };
        let (copy, committed_at) = (self.copy.clone(), self.clock.steady());
        self.runtime.spawn(async move {
            copy.wait_for_all(logged, committed_at).await;
            waiting.into_iter().for_each(|(answer, outcome)| answer.give(Ok(outcome)));
        });
    }
}

struct Submission {
    entry: Entry,
    answer: Answer,
}

/// Where it is said what became of an entry.
struct Answer(oneshot::Sender<Result<Outcome, StoreError>>);

impl Answer {
    fn give(self, outcome: Result<Outcome, StoreError>) {
        // A caller that hung up has no use for it.
        let _ = self.0.send(outcome);
    }
}

/// How what is committed comes into force, and is then answered.
trait Force: Send + 'static {
    /// A batch is about to be committed.
    fn prepare(&mut self) {}

    /// Puts the entries of a committed batch into force, in their order, and answers each when it is.
    fn enforce(&mut self, entries: &[Entry], answers: Vec<Answer>, committed: Committed);
}

/// In one process the table is in force as soon as it is changed.
struct Here {
    table: Arc<SessionTable>,
    changes: Arc<AtomicU64>,
}

impl Force for Here {
    fn enforce(&mut self, entries: &[Entry], answers: Vec<Answer>, Committed { outcomes, .. }: Committed) {
        for (entry, outcome) in entries.iter().zip(&outcomes) {
            apply(&self.table, &self.changes, entry, *outcome);
        }
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            answer.give(Ok(outcome));
        }
    }
}

/// The way into the journal. Clones lead to the same one.
#[derive(Clone)]
pub struct Journal {
    queue: Arc<Mutex<Option<mpsc::SyncSender<Submission>>>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Entries that wait for a commit.
    waiting: AtomicU64,
    /// Changes of the directory that have come into force.
    changes: Arc<AtomicU64>,
    /// Whether sessions are still being read into the table.
    reading: Arc<Reading>,
    /// Commits that have begun and commits that have ended, which are as many or one less.
    began: AtomicU64,
    ended: AtomicU64,
    /// The commit at which somebody gave up waiting.
    given_up: AtomicU64,
}

impl Counts {
    /// Whether a commit is under way at which somebody has given up waiting.
    fn is_stuck(&self) -> bool {
        let given_up = self.given_up.load(Ordering::Relaxed);
        given_up != 0 && given_up > self.ended.load(Ordering::Relaxed)
    }
}

/// The journal's thread; stopping the journal means waiting for it.
#[must_use]
pub struct JournalThread {
    journal: Journal,
    thread: thread::JoinHandle<()>,
}

impl Journal {
    /// Starts the journal's thread. `on_broken` is called once, from that thread, with the message for the operator
    /// if the ledger breaks or panics; nothing is committed after that.
    pub fn start(
        ledger: impl Ledger,
        table: Arc<SessionTable>,
        on_broken: impl FnOnce(String) + Send + 'static,
    ) -> (Self, JournalThread) {
        Self::start_reading(ledger, table, Arc::default(), on_broken)
    }

    /// As [`Self::start`], while sessions are still being read into the table. Until `reading` is over, what ends or
    /// renames many of them is answered [`StoreError::Reading`].
    pub fn start_reading(
        ledger: impl Ledger,
        table: Arc<SessionTable>,
        reading: Arc<Reading>,
        on_broken: impl FnOnce(String) + Send + 'static,
    ) -> (Self, JournalThread) {
        let counts = Counts { reading, ..Counts::default() };
        let here = Here { table, changes: counts.changes.clone() };
        Self::start_with(ledger, here, counts, on_broken)
    }

    /// As [`Self::start`], on a store that other instances work on too: what is committed is in force, and answered, when
    /// it is in force on all of them. To be called within the runtime that waits for them; `clock` is the copy's.
    pub fn start_copied(
        ledger: impl Ledger,
        copy: Arc<SessionCopy>,
        clock: Clock,
        on_broken: impl FnOnce(String) + Send + 'static,
    ) -> (Self, JournalThread) {
        let counts = Counts { changes: copy.changes(), ..Counts::default() };
        let everywhere = Everywhere { copy, clock, runtime: Handle::current(), ticket: None };
        Self::start_with(ledger, everywhere, counts, on_broken)
    }

    fn start_with(
        ledger: impl Ledger,
        force: impl Force,
        counts: Counts,
        on_broken: impl FnOnce(String) + Send + 'static,
    ) -> (Self, JournalThread) {
        let (sender, queue) = mpsc::sync_channel(QUEUE);
        let counts = Arc::new(counts);
        let journal = Self { queue: Arc::new(Mutex::new(Some(sender))), counts: counts.clone() };
        let thread = thread::spawn(move || {
            let mut last_words = LastWords(Some(on_broken));
            let ended = commit_all(ledger, force, &counts, &queue);
            let on_broken = last_words.0.take();
            if let (Err(message), Some(on_broken)) = (ended, on_broken) {
                on_broken(message);
            }
        });
        (journal.clone(), JournalThread { journal, thread })
    }

    /// Commits an entry. When this returns [`Outcome::Committed`], the entry is durable and in force. An error says
    /// that it was not answered for, which for [`StoreError::Unavailable`] does not mean that it was not stored.
    pub async fn submit(&self, entry: Entry) -> Result<Outcome, StoreError> {
        self.enter(entry)?.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Commits entries that may share a commit; what became of each, in their order, as [`Self::submit`] says it.
    pub async fn submit_all(&self, entries: Vec<Entry>) -> Vec<Result<Outcome, StoreError>> {
        let entered: Vec<_> = entries.into_iter().map(|entry| self.enter(entry)).collect();
        let mut outcomes = Vec::with_capacity(entered.len());
        for answered in entered {
            outcomes.push(match answered {
                Ok(answered) => answered.await.unwrap_or_else(|_| Err(stopped())),
                Err(error) => Err(error),
            });
        }
        outcomes
    }

    fn enter(&self, entry: Entry) -> Result<oneshot::Receiver<Result<Outcome, StoreError>>, StoreError> {
        if entry.concerns_all_sessions() {
            self.counts.reading.require_all()?;
        }
        let (answer, answered) = oneshot::channel();
        let queue = lock(&self.queue);
        let queue = queue.as_ref().ok_or_else(stopped)?;
        if self.counts.is_stuck() {
            return Err(StoreError::Busy);
        }
        if entry.is_of_a_login() && self.counts.waiting.load(Ordering::Relaxed) >= QUEUE as u64 - RESERVED {
            return Err(StoreError::Busy);
        }
        // Before the thread can have taken the entry and subtracted it.
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        queue.try_send(Submission { entry, answer: Answer(answer) }).map_err(|error| {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            match error {
                mpsc::TrySendError::Full(_) => StoreError::Busy,
                mpsc::TrySendError::Disconnected(_) => stopped(),
            }
        })?;
        Ok(answered)
    }

    /// To be called by whoever has waited too long. As long as the commit that is under way now does not end, further
    /// entries are refused at once: they would wait as long, and be told late what can be told at once.
    pub fn give_up(&self) {
        // If none is under way it has ended already, and this says nothing.
        self.counts.given_up.fetch_max(self.counts.began.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// How many entries wait for a commit.
    pub fn waiting(&self) -> u64 {
        self.counts.waiting.load(Ordering::Relaxed)
    }

    /// How many changes of the directory have come into force. What was read of the directory while this stood at
    /// one number holds as long as it does.
    pub fn changes(&self) -> u64 {
        self.counts.changes.load(Ordering::Acquire)
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the journal has stopped".into())
}

impl JournalThread {
    /// Refuses new entries, commits those that wait, and returns when the thread has ended.
    pub fn stop(self) {
        lock(&self.journal.queue).take();
        // A panic of the thread has been reported by the panic hook; there is nothing to add.
        let _ = self.thread.join();
    }
}

/// Tells of the journal's end when it is a panic. Without that the process would look well, and refuse everybody who
/// logs in or releases for as long as it runs.
struct LastWords<F: FnOnce(String)>(Option<F>);

impl<F: FnOnce(String)> Drop for LastWords<F> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(on_broken) = self.0.take()
        {
            on_broken("the journal has failed by a defect, of which the log tells; whether its last commit is stored is not known".into());
        }
    }
}

/// Entries that share a commit.
struct Batch {
    entries: Vec<Entry>,
    answers: Vec<Answer>,
}

impl Batch {
    fn push(&mut self, Submission { entry, answer }: Submission) {
        self.entries.push(entry);
        self.answers.push(answer);
    }

    /// Takes what waits, as much as there is room for.
    fn take(&mut self, queue: &mpsc::Receiver<Submission>) {
        while self.entries.len() < BATCH
            && let Ok(next) = queue.try_recv()
        {
            self.push(next);
        }
    }
}

/// What the last commit lets expect of the next.
///
/// Callers that ask again as soon as they are answered would fall into two groups, one of which waits while the other's
/// commit is under way: two commits where one could do. So a commit waits a moment for those whom the last has answered: a
/// quarter of what that took if they go on coming, a sixteenth if nobody comes.
#[derive(Clone, Copy, Default)]
struct Rhythm {
    /// How many were answered, or waited meanwhile.
    expected: usize,
    took: Duration,
}

impl Rhythm {
    fn gather(self, first: Submission, queue: &mpsc::Receiver<Submission>) -> Batch {
        let mut batch = Batch { entries: Vec::new(), answers: Vec::new() };
        batch.push(first);
        batch.take(queue);
        let nap = (self.took / (4 * NAPS)).min(LONGEST_NAP);
        for _ in 0..if nap.is_zero() { 0 } else { NAPS } {
            let so_far = batch.entries.len();
            if so_far >= self.expected.min(BATCH) {
                break;
            }
            rest(nap);
            batch.take(queue);
            if batch.entries.len() == so_far {
                break;
            }
        }
        batch
    }
}

#[cfg_attr(
    not(feature = "shuttle"),
    expect(
        clippy::disallowed_methods,
        reason = "there is no event to wait for: those who come are not known"
    )
)]
fn rest(nap: Duration) {
    thread::sleep(nap);
}

/// Commits what is submitted until the last sender is gone. Fails when the ledger breaks.
fn commit_all(
    mut ledger: impl Ledger,
    mut force: impl Force,
    counts: &Counts,
    queue: &mpsc::Receiver<Submission>,
) -> Result<(), String> {
    let mut rhythm = Rhythm::default();
    while let Ok(first) = queue.recv() {
        let Batch { entries, answers } = rhythm.gather(first, queue);
        counts.waiting.fetch_sub(entries.len() as u64, Ordering::Relaxed);
        force.prepare();
        counts.began.fetch_add(1, Ordering::Relaxed);
        let committed = ledger.commit(&entries);
        counts.ended.fetch_add(1, Ordering::Relaxed);
        let error = match committed {
            Ok(committed) => {
                let waiting = counts.waiting.load(Ordering::Relaxed) as usize;
                rhythm = Rhythm { expected: entries.len() + waiting, took: committed.took };
                force.enforce(&entries, answers, committed);
                continue;
            }
            Err(LedgerError::Full(message)) => StoreError::Full(message),
            Err(LedgerError::Lost(message)) => StoreError::Unavailable(message),
            Err(LedgerError::Broken(message)) => return Err(message),
        };
        for answer in answers {
            answer.give(Err(error.clone()));
        }
    }
    Ok(())
}

/// Puts a committed entry into force.
fn apply(table: &SessionTable, changes: &AtomicU64, entry: &Entry, outcome: Outcome) {
    let Outcome::Committed(number) = outcome else { return };
    match entry {
        Entry::Issue { session, identity, .. } => {
            if let Some(number) = number {
                table.insert(number, session, identity);
            }
        }
        Entry::Release { session, .. } => table.remove(*session),
        Entry::Change { change, .. } => {
            if let (Some(scope), Some(number)) = (change.ends(), number) {
                table.end(scope, number);
            }
            if let Some((organisation, scope, name)) = change.renames() {
                table.rename(organisation, scope, name);
            }
            changes.fetch_add(1, Ordering::Release);
        }
        Entry::Uses(uses) => table.mark_stored(uses),
        Entry::Rehash { .. }
        | Entry::Record(_)
        | Entry::KeyUses(_)
        | Entry::DeleteUsers { .. }
        | Entry::Forget { .. }
        | Entry::ForgetRecords { .. }
        | Entry::Tick(_)
        | Entry::ForgetOnce(_) => {}
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
