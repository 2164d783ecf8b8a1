//! An instance's copy of some of the store's sessions.
//!
//! A look asks for the lease first and then for the session: what is found under a lease is in force. What is not found,
//! or looks idle, is asked of the store, once for all who want to know at the same moment; what the store gives enters
//! the copy unless the release log has overtaken it ([`Member::finish_fetch`]), and the look begins anew. So there is
//! one place that decides, and one way to "active".
//!
//! Nobody is refused too early either. A use that others must know of is written before it is answered
//! ([`Sight::Live`]), so a session that is idle by the store's account, asked after the look began, is idle.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::sync::OnceCell;

use super::unknown::Unknown;
use crate::{
    clock::Clock,
    cluster::{
        ClusterObserver, Keeper, LogNumber, Member, Notice, Replica, Roster, SessionSource, StoredSession,
        Ticket,
    },
    credential::TokenDigest,
    id::{OrganisationId, SessionId},
    journal::{Entry, Journal, StoreError},
    session::{Identity, PastSession},
    session_table::{Live, LiveRef, SHARDS, SessionFilter, SessionPlace, SessionTable, Sight, Use},
    sync::{AtomicU64, Mutex, Ordering, lock},
};

/// How often a look begins anew because the log has overtaken what was fetched.
const TRIES: usize = 16;
/// The longest that a use in time may take to be written and answered.
const USE_UNDER_WAY: Duration = Duration::from_secs(60);
/// How many shards shed sessions together. After them it is looked at all subjects, which is not to be done for each.
const SHED_TOGETHER: usize = if SHARDS < 8 { SHARDS } else { SHARDS / 8 };
/// How many sessions are asked for at a time for one caller.
const AT_A_TIME: usize = 32;

/// What an instance holds in memory of the store: sessions, what is known not to be one, and what number of changes
/// the directory has seen.
pub struct Held {
    table: Arc<SessionTable>,
    unknown: Unknown,
    /// Raised by each change of the directory.
    changes: Arc<AtomicU64>,
    clock: Clock,
}

impl Held {
    /// Nothing yet.
    pub fn new(clock: Clock) -> Self {
        Self { table: Arc::default(), unknown: Unknown::default(), changes: Arc::default(), clock }
    }
}

impl Replica for Held {
    fn apply(&self, notice: &Notice) {
        match notice {
            Notice::Released(session) => {
                self.table.remove(*session);
                self.unknown.add(*session, self.clock.now());
                return;
            }
            Notice::Ended(scope, through) => self.table.end(*scope, *through),
            Notice::Renamed { organisation, scope, name } => self.table.rename(*organisation, *scope, name),
            Notice::Changed => {}
        }
        self.changes.fetch_add(1, Ordering::Release);
    }

    fn forget_all(&self) {
        self.table.forget_all();
        self.changes.fetch_add(1, Ordering::Release);
    }
}

/// What a copy works with.
pub struct SessionCopyParts {
    /// The instance.
    pub member: Arc<Member<Held>>,
    /// What keeps it in the cluster.
    pub keeper: Arc<Keeper<Held>>,
    /// The release log.
    pub roster: Arc<dyn Roster>,
    /// The store's sessions.
    pub source: Arc<dyn SessionSource>,
    /// The clock of every expiry.
    pub clock: Clock,
    /// The clock of the lease.
    pub lease_clock: Clock,
    /// About how many bytes of sessions may be held.
    pub memory: u64,
    /// Who counts.
    pub observer: Arc<dyn ClusterObserver>,
}

/// The copy. See the module's description.
pub struct SessionCopy {
    parts: SessionCopyParts,
    table: Arc<SessionTable>,
    changes: Arc<AtomicU64>,
    /// What is being asked of the store.
    fetches: Mutex<HashMap<SessionId, Arc<Fetch>>>,
    /// The uses of sessions that have left memory before they were written.
    unwritten: Mutex<Vec<Use>>,
    /// The part of the table that sheds next.
    shed_next: AtomicUsize,
}

/// A question to the store, and its answer when there is one.
type Fetch = OnceCell<Result<Fetched, StoreError>>;

/// What came of asking the store about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetched {
    /// It is in the copy now.
    Learnt,
    /// It has ended, or never was.
    Nothing,
    /// It may have ended meanwhile.
    Overtaken,
}

impl SessionCopy {
    /// Puts the parts together.
    pub fn new(parts: SessionCopyParts) -> Self {
        let Held { table, changes, .. } = parts.member.replica();
        let (table, changes) = (table.clone(), changes.clone());
        let (fetches, unwritten, shed_next) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
        Self { parts, table, changes, fetches, unwritten, shed_next }
    }

    pub(super) fn table(&self) -> &SessionTable {
        &self.table
    }

    /// The number of changes of the directory that this instance has heard of, for the journal.
    pub(crate) fn changes(&self) -> Arc<AtomicU64> {
        self.changes.clone()
    }

    pub(super) fn vouch(&self) -> Result<(), StoreError> {
        self.parts.member.may_answer(self.parts.lease_clock.steady()).then_some(()).ok_or(StoreError::NoLease)
    }

    /// What can be said of a token without asking the store or waiting for the journal.
    pub(super) fn find_now<T>(
        &self,
        digest: &TokenDigest,
        is_use: bool,
        f: impl FnOnce(LiveRef<'_>) -> Option<T>,
    ) -> Option<Result<Option<T>, StoreError>> {
        let Some(admitted) = self.parts.member.admit(self.parts.lease_clock.steady()) else {
            return Some(Err(StoreError::NoLease));
        };
        match admitted.replica().table.sight(digest, self.parts.clock.now(), is_use, f) {
            Sight::Live(found, None) => Some(Ok(found)),
            Sight::Over => Some(Ok(None)),
            Sight::Live(_, Some(_)) | Sight::Idle(_) | Sight::Absent => None,
        }
    }

    pub(super) async fn find_live(
        &self,
        digest: &TokenDigest,
        is_use: bool,
        journal: &Journal,
    ) -> Result<Option<Live>, StoreError> {
        let session = digest.session();
        // When the store was asked, if that was after this began: what others had begun to ask is only the first that is met.
        let (mut has_joined, mut asked_at) = (false, None);
        for _ in 0..TRIES {
            let Some(admitted) = self.parts.member.admit(self.parts.lease_clock.steady()) else {
                return Err(StoreError::NoLease);
            };
            let Held { table, unknown, .. } = admitted.replica();
            let now = self.parts.clock.now();
            match table.sight(digest, now, is_use, |live| Some(live.to_owned())) {
                Sight::Live(live, None) => return Ok(live),
                Sight::Live(live, Some(used)) => {
                    journal.submit(Entry::Uses(vec![used])).await?;
                    return Ok(live);
                }
                Sight::Over => return Ok(None),
                // It must have been idle when the store was asked: it may have been used elsewhere since.
                Sight::Idle(since) if asked_at.is_some_and(|asked_at| asked_at >= since) => {
                    if now >= since.plus(USE_UNDER_WAY) {
                        unknown.add(session, now);
                    }
                    return Ok(None);
                }
                Sight::Idle(_) | Sight::Absent => {}
            }
            if unknown.contains(session, now) {
                return Ok(None);
            }
            let (fetched, is_others) = self.fetch(session).await?;
            asked_at = (!is_others || has_joined).then_some(now);
            has_joined |= is_others;
            if fetched == Fetched::Nothing && asked_at.is_some() {
                unknown.add(session, now);
                return Ok(None);
            }
        }
        Err(StoreError::Busy)
    }

    /// Asks the store about a session, together with whoever asks at the same moment. Says whether somebody else had begun
    /// to ask: then the store may have answered before this was called.
    async fn fetch(&self, session: SessionId) -> Result<(Fetched, bool), StoreError> {
        let (fetch, is_others) = {
            let mut fetches = lock(&self.fetches);
            let is_others = fetches.contains_key(&session);
            (fetches.entry(session).or_default().clone(), is_others)
        };
        // If whoever began hangs up, the next one begins again.
        let fetched = fetch.get_or_init(|| self.ask(session)).await.clone();
        let mut fetches = lock(&self.fetches);
        if fetches.get(&session).is_some_and(|known| Arc::ptr_eq(known, &fetch)) {
            fetches.remove(&session);
        }
        Ok((fetched?, is_others))
    }

    async fn ask(&self, session: SessionId) -> Result<Fetched, StoreError> {
        let SessionCopyParts { member, source, observer, lease_clock: clock, .. } = &self.parts;
        let ticket = member.begin_fetch().ok_or(StoreError::NoLease)?;
        let asked = clock.steady();
        let found = source.find_session(session).await;
        observer.fetched(found.as_ref().map(Option::is_some), clock.steady().saturating_sub(asked));
        let Some(stored) = found? else { return Ok(Fetched::Nothing) };
        Ok(if self.learn(ticket, &stored) { Fetched::Learnt } else { Fetched::Overtaken })
    }

    /// Puts what the store has into the copy, if the log has not overtaken it since `ticket`.
    pub(crate) fn learn(&self, ticket: Ticket, stored: &StoredSession) -> bool {
        let StoredSession { number, session, identity } = stored;
        // Before, for what is learnt is wanted.
        self.make_room();
        let put = |held: &Held| held.table.learn(*number, session, identity);
        self.parts.member.finish_fetch(ticket, stored, put)
    }

    /// Frees memory until there is no more of it in use than is allowed, or none can be freed.
    fn make_room(&self) {
        for _ in 0..SHARDS / SHED_TOGETHER {
            if self.table.memory() <= self.parts.memory {
                return;
            }
            let first = self.shed_next.fetch_add(SHED_TOGETHER, Ordering::Relaxed);
            for shard in first..first + SHED_TOGETHER {
                let unwritten = self.table.shed(shard % SHARDS);
                lock(&self.unwritten).extend(unwritten);
            }
            self.table.forget_unused_subjects();
        }
    }

    pub(super) async fn prepare(&self, digests: impl Iterator<Item = TokenDigest>) {
        let now = self.parts.clock.now();
        let Held { unknown, .. } = self.parts.member.replica();
        let is_missing = |digest: &TokenDigest| {
            matches!(self.table.sight(digest, now, false, |_| None::<()>), Sight::Idle(_) | Sight::Absent)
                && !unknown.contains(digest.session(), now)
        };
        let missing = digests.filter(is_missing).map(|digest| digest.session());
        let fetches = stream::iter(missing).for_each_concurrent(AT_A_TIME, async |session| {
            // It is asked again by whoever looks for it.
            if let Ok((Fetched::Nothing, false)) = self.fetch(session).await {
                unknown.add(session, now);
            }
        });
        fetches.await;
    }

    pub(super) async fn examine(
        &self,
        session: SessionId,
    ) -> Result<Option<(PastSession, Identity)>, StoreError> {
        if let Some(found) = self.table.examine(session) {
            return Ok(Some(found));
        }
        let found = self.parts.source.find_session(session).await?;
        Ok(found.map(|stored| (stored.past(), stored.identity)))
    }

    pub(super) async fn settle(&self) -> Result<(), StoreError> {
        let SessionCopyParts { member, roster, .. } = &self.parts;
        let (_, mut head) = member.standing().ok_or(StoreError::NoLease)?;
        while let Some(last) = roster.read_log(head).await?.last() {
            head = last.number;
        }
        self.wait_for_all(head, self.parts.lease_clock.steady()).await;
        Ok(())
    }

    /// As [`Keeper::wait_for_all`].
    pub(crate) async fn wait_for_all(&self, number: LogNumber, committed_at: Duration) {
        self.parts.keeper.wait_for_all(number, committed_at).await;
    }

    pub(super) async fn list(
        &self,
        organisation: OrganisationId,
        filter: SessionFilter,
        after: Option<SessionPlace>,
        limit: usize,
    ) -> Result<Vec<Live>, StoreError> {
        let now = self.parts.clock.now();
        let stored = self.parts.source.list_sessions(organisation, filter, after, limit, now).await?;
        // Uses of here may not be written yet.
        let live = |stored: StoredSession| {
            self.table.peek(&stored.session.digest, now).unwrap_or_else(|| Live::of(stored))
        };
        Ok(stored.into_iter().map(live).collect())
    }

    pub(super) fn take_unwritten(&self) -> Vec<Use> {
        std::mem::take(&mut *lock(&self.unwritten))
    }

    pub(super) fn put_unwritten(&self, uses: Vec<Use>) {
        lock(&self.unwritten).extend(uses);
    }

    pub(crate) fn begin_fetch(&self) -> Option<Ticket> {
        self.parts.member.begin_fetch()
    }

    pub(crate) fn mark_stored(&self, uses: &[Use]) {
        self.table.mark_stored(uses);
    }
}
