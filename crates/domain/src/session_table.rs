//! The session table: every live session in memory, found by the digest of its token.
//!
//! It is the hot path of the product. A verification hashes the token, reads one 64-byte slot and the subject behind
//! it, compares with the clock and stores the time of use. Nothing is allocated; what is written is the slot's own
//! time, the reader count of its shard and the reference count of its subject. Shards keep requests from meeting at
//! one lock.
//!
//! Three things make it right. A use changes a slot only under the shard's lock and only if the slot is there and
//! live, so a use never creates or revives a session. Expiry is judged at each look, by the caller's clock; sweeping
//! only frees space. And the table changes only in the order in which the journal commits ([`crate::journal`]), so
//! ending everything of a user is one number: sessions with that number or a lower one have ended.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use hashbrown::HashTable;

use crate::{
    clock::Timestamp,
    cluster::StoredSession,
    credential::TokenDigest,
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
    session::{Identity, Method, PastSession, Scope, Session, SessionNumber, expiry},
    sync::{AtomicI64, AtomicU32, AtomicU64, Mutex, Ordering, RwLock, lock, read, write},
};

/// How many parts the table has; the parts are swept and flushed one at a time.
pub const SHARDS: usize = if cfg!(feature = "shuttle") { 2 } else { 256 };

/// About what a session takes with its place in the index and in its subject's list.
const BYTES_A_SESSION: u64 = 128;
/// About what a subject takes with its names, its user and its places in the indexes.
const BYTES_A_SUBJECT: u64 = 640;

/// How many users a list looks at before it lets others have a turn.
const USERS_AT_A_TIME: usize = 1_024;

/// Whom a token speaks for, shared by all sessions of one user in one unit by one method.
pub struct Subject {
    identity: Identity,
    /// Sessions of this subject up to this number have ended: the user's and the key's endings.
    ended: AtomicU64,
    organisation: Arc<AtomicU64>,
    unit: Arc<AtomicU64>,
    /// Its sessions, the oldest first, for lists and renames; some of them may be gone.
    issued: Mutex<Vec<Issued>>,
    /// About how many of them are gone.
    gone: AtomicU32,
}

/// Where a session of a subject lies.
#[derive(Clone, Copy)]
struct Issued {
    number: u64,
    /// In halves, so that it takes no more space than it needs.
    tag: [u64; 2],
}

impl Issued {
    fn new(number: u64, tag: u128) -> Self {
        Self { number, tag: [(tag >> 64) as u64, tag as u64] }
    }

    fn tag(&self) -> u128 {
        u128::from(self.tag[0]) << 64 | u128::from(self.tag[1])
    }
}

impl Subject {
    /// One without sessions, of an organisation and a unit with these marks.
    fn new(identity: Identity, organisation: Arc<AtomicU64>, unit: Arc<AtomicU64>) -> Self {
        let (ended, issued, gone) = (AtomicU64::new(0), Mutex::new(Vec::new()), AtomicU32::new(0));
        Self { identity, ended, organisation, unit, issued, gone }
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    fn has_ended(&self, number: u64) -> bool {
        [&self.ended, &*self.organisation, &*self.unit]
            .iter()
            .any(|mark| number <= mark.load(Ordering::Acquire))
    }

    /// The number up to which its sessions have ended.
    fn ended(&self) -> u64 {
        let marks = [&self.ended, &*self.organisation, &*self.unit];
        marks.iter().map(|mark| mark.load(Ordering::Acquire)).max().unwrap_or_default()
    }

    /// The subject with another name for what `scope` is; `None` if it is another's or has that name already.
    fn renamed(&self, scope: Scope, name: &str) -> Option<Arc<Self>> {
        let known = &self.identity;
        let old = match scope {
            Scope::Organisation(id) if id == known.organisation => &known.organisation_code,
            Scope::Unit(id) if id == known.unit => &known.unit_name,
            Scope::User(id) if id == known.user => &known.username,
            _ => return None,
        };
        if old == name {
            return None;
        }
        let mut identity = known.clone();
        match scope {
            Scope::Organisation(_) => name.clone_into(&mut identity.organisation_code),
            Scope::Unit(_) => name.clone_into(&mut identity.unit_name),
            Scope::User(_) | Scope::Key(..) => name.clone_into(&mut identity.username),
        }
        let renamed = Self::new(identity, self.organisation.clone(), self.unit.clone());
        // Only the journal ends and renames, one after the other.
        renamed.ended.store(self.ended.load(Ordering::Acquire), Ordering::Release);
        Some(Arc::new(renamed))
    }

    /// Where it stands among the subjects of a list.
    fn place(&self) -> SubjectPlace {
        (self.identity.user, self.identity.unit, self.identity.method.key())
    }

    fn is_meant_by(&self, filter: &SessionFilter) -> bool {
        let Identity { user, unit, method, .. } = &self.identity;
        filter.user.is_none_or(|wanted| wanted == *user)
            && filter.unit.is_none_or(|wanted| wanted == *unit)
            && filter.key.is_none_or(|wanted| method.key() == Some(wanted))
            && filter.by_key.is_none_or(|wanted| method.key().is_some() == wanted)
    }
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Subject").field(&self.identity).finish()
    }
}

type SubjectPlace = (UserId, UnitId, Option<KeyId>);

/// Which sessions of an organisation to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionFilter {
    /// Those of this user.
    pub user: Option<UserId>,
    /// Those in this unit.
    pub unit: Option<UnitId>,
    /// Those made with this Web API key.
    pub key: Option<KeyId>,
    /// Those made with any Web API key, or with none.
    pub by_key: Option<bool>,
}

/// Where a session stands in a list: by user, unit and key, then by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionPlace {
    /// Its user.
    pub user: UserId,
    /// Its unit.
    pub unit: UnitId,
    /// The Web API key it was made with.
    pub key: Option<KeyId>,
    /// Its number.
    pub number: SessionNumber,
}

/// A live session as a look found it.
#[derive(Clone, Debug)]
pub struct Live {
    /// Its id.
    pub id: SessionId,
    /// Its number in the journal.
    pub number: SessionNumber,
    /// Whom it speaks for.
    pub subject: Arc<Subject>,
    /// When it was issued, to the second.
    pub issued_at: Timestamp,
    /// When it was last used, this use included.
    pub last_used_at: Timestamp,
    /// When it ends if it is not used again.
    pub expires_at: Timestamp,
}

impl Live {
    /// A session that is in the store and not in memory.
    pub(crate) fn of(StoredSession { number, session, identity }: StoredSession) -> Self {
        Self {
            id: session.digest.session(),
            number,
            subject: Arc::new(Subject::new(identity, Arc::default(), Arc::default())),
            issued_at: session.issued_at,
            last_used_at: session.last_used_at,
            expires_at: session.expires_at(),
        }
    }
}

/// What a look at a token finds where the table is a copy of some of the store's sessions ([`crate::sessions`]).
#[derive(Clone, Debug)]
pub enum Sight {
    /// A live session, and the use to be written before anybody is told of it, if there is one.
    Live(Live, Option<Use>),
    /// A session whose idle time has been over since then, as far as it is known here: it may have been used elsewhere.
    Idle(Timestamp),
    /// A session that has ended whatever happens elsewhere.
    Over,
    /// None that is known here.
    Absent,
}

/// A use to be written to the journal.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    /// The session used.
    pub number: SessionNumber,
    /// When.
    pub last_used_at: Timestamp,
    tag: u128,
}

/// How many sessions the table holds, by kind. Ended ones count until they are swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Issued for a password.
    pub password: u64,
    /// Issued for a Web API key.
    pub web_api_key: u64,
}

/// One session: one cache line.
///
/// The first 128 bits of the digest stand for it, for they are as hard to hit as the token is to guess. They are the
/// session's id.
#[repr(align(64))]
struct Slot {
    tag: u128,
    number: u64,
    subject: Arc<Subject>,
    ends_at: i64,
    /// Written by every use, read by the judge of expiry and by the writer of uses.
    last_used: AtomicI64,
    /// The low bits of the last use that the journal has; written after its commit.
    stored: AtomicU32,
    /// Milliseconds; zero if use does not matter.
    idle: u32,
    issued_second: u32,
}

impl Slot {
    fn idle(&self) -> Option<Duration> {
        (self.idle != 0).then(|| Duration::from_millis(u64::from(self.idle)))
    }

    fn issued_at(&self) -> Timestamp {
        Timestamp::from_millis(i64::from(self.issued_second) * 1000)
    }

    fn last_used(&self) -> Timestamp {
        Timestamp::from_millis(self.last_used.load(Ordering::Relaxed))
    }

    fn expires_at(&self) -> Timestamp {
        expiry(self.last_used(), self.idle(), Timestamp::from_millis(self.ends_at))
    }

    fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at() && !self.subject.has_ended(self.number)
    }

    /// Makes this moment its last use.
    fn slide(&self, now: Timestamp) {
        if now > self.last_used() {
            // Another use, by a later reading of the clock, may have come in between; it must not be undone.
            self.last_used.fetch_max(now.as_millis(), Ordering::Relaxed);
        }
    }

    fn live(&self) -> Live {
        Live {
            id: session_id(self.tag),
            number: SessionNumber(self.number),
            subject: self.subject.clone(),
            issued_at: self.issued_at(),
            last_used_at: self.last_used(),
            expires_at: self.expires_at(),
        }
    }

    fn latest_use(&self) -> Use {
        Use { number: SessionNumber(self.number), last_used_at: self.last_used(), tag: self.tag }
    }

    /// The use that others must be able to read before it is answered: one that comes when half the idle time or more has
    /// passed since the last that they can read. So nobody who reads the store refuses a token whose use was answered,
    /// for later uses are written in time ([`Self::is_due`]).
    fn unwritten_use(&self, now: Timestamp) -> Option<Use> {
        let idle = self.idle()?;
        let age =
            Duration::from_millis(u64::from(low_bits(now).wrapping_sub(self.stored.load(Ordering::Relaxed))));
        (age >= idle / 2).then(|| self.latest_use())
    }

    /// Learns of a use that the store has, and of which it may not know.
    fn learn_of_use(&self, at: Timestamp) {
        if self.last_used.fetch_max(at.as_millis(), Ordering::Relaxed) <= at.as_millis() {
            self.stored.store(low_bits(at), Ordering::Relaxed);
        }
    }

    fn has_unwritten_use(&self) -> bool {
        low_bits(self.last_used()) != self.stored.load(Ordering::Relaxed)
    }

    /// What is known of it, live or not.
    fn past(&self) -> PastSession {
        let Identity { organisation, unit, user, method, .. } = self.subject.identity;
        PastSession {
            number: SessionNumber(self.number),
            organisation: Some(organisation),
            unit,
            user,
            method,
            issued_at: self.issued_at(),
            last_used_at: self.last_used(),
            idle: self.idle(),
            ends_at: Timestamp::from_millis(self.ends_at),
            released: None,
        }
    }

    /// Whether the journal should learn of the last use now: a use that it lacks is written once what it has is
    /// `interval` old, or a quarter of the idle time if that is sooner.
    fn is_due(&self, now: Timestamp, interval: Duration) -> bool {
        let stored = self.stored.load(Ordering::Relaxed);
        let interval = self.idle().map_or(interval, |idle| interval.min(idle / 4));
        let age = Duration::from_millis(u64::from(low_bits(now).wrapping_sub(stored)));
        self.has_unwritten_use() && age >= interval
    }
}

/// 32 bits of milliseconds, enough to tell apart times less than 49 days from each other.
fn low_bits(time: Timestamp) -> u32 {
    time.as_millis() as u32
}

fn tag(digest: &TokenDigest) -> u128 {
    tag_of(digest.session())
}

fn tag_of(session: SessionId) -> u128 {
    u128::from_be_bytes(session.to_bytes())
}

fn session_id(tag: u128) -> SessionId {
    SessionId::from_bytes(tag.to_be_bytes())
}

/// Where a tag lies within its shard; a digest needs no further hashing.
fn hash(tag: u128) -> u64 {
    tag as u64
}

#[repr(align(64))]
struct Shard(RwLock<HashTable<Slot>>);

/// An organisation in the table.
#[derive(Default)]
struct Members {
    /// Its sessions up to this number have ended.
    ended: Arc<AtomicU64>,
    users: BTreeSet<UserId>,
}

/// Who is in the table: looked up when a session is added and when sessions are ended, never by a verification.
#[derive(Default)]
struct Subjects {
    organisations: HashMap<OrganisationId, Members>,
    units: HashMap<UnitId, Arc<AtomicU64>>,
    by_user: HashMap<UserId, Vec<Arc<Subject>>>,
    /// How many subjects there are.
    count: u64,
}

impl Subjects {
    fn intern(&mut self, identity: &Identity) -> Arc<Subject> {
        let of_user = self.by_user.entry(identity.user).or_default();
        if let Some(known) = of_user.iter().find(|subject| subject.identity == *identity) {
            return known.clone();
        }
        let organisation = self.organisations.entry(identity.organisation).or_default();
        organisation.users.insert(identity.user);
        let unit = self.units.entry(identity.unit).or_default().clone();
        let subject = Arc::new(Subject::new(identity.clone(), organisation.ended.clone(), unit));
        of_user.push(subject.clone());
        self.count += 1;
        subject
    }

    fn forget_unused(&mut self) {
        let mut count = 0;
        self.by_user.retain(|_, subjects| {
            subjects.retain(|subject| Arc::strong_count(subject) > 1);
            count += subjects.len() as u64;
            !subjects.is_empty()
        });
        self.count = count;
        self.units.retain(|_, mark| Arc::strong_count(mark) > 1);
        let by_user = &self.by_user;
        self.organisations.retain(|_, organisation| {
            organisation.users.retain(|user| by_user.contains_key(user));
            Arc::strong_count(&organisation.ended) > 1
        });
    }

    /// The subjects whose list of sessions is mostly of such that are gone.
    fn crowded(&self) -> Vec<Arc<Subject>> {
        let is_crowded = |subject: &&Arc<Subject>| {
            let gone = subject.gone.load(Ordering::Relaxed) as usize;
            gone > 0 && gone * 2 >= lock(&subject.issued).len()
        };
        self.by_user.values().flatten().filter(is_crowded).cloned().collect()
    }
}

/// The table. See the module's description.
pub struct SessionTable {
    shards: Box<[Shard]>,
    subjects: Mutex<Subjects>,
    subject_count: AtomicU64,
    held_password: AtomicI64,
    held_web_api_key: AtomicI64,
}

impl Default for SessionTable {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard(RwLock::new(HashTable::new()))).collect(),
            subjects: Mutex::new(Subjects::default()),
            subject_count: AtomicU64::new(0),
            held_password: AtomicI64::new(0),
            held_web_api_key: AtomicI64::new(0),
        }
    }
}

impl SessionTable {
    /// Finds the live session of a token and makes this moment its last use.
    pub fn slide(&self, digest: &TokenDigest, now: Timestamp) -> Option<Live> {
        self.look(tag(digest), now, true)
    }

    /// Finds the live session of a token and leaves it as it is.
    pub fn peek(&self, digest: &TokenDigest, now: Timestamp) -> Option<Live> {
        self.look(tag(digest), now, false)
    }

    fn look(&self, tag: u128, now: Timestamp, is_use: bool) -> Option<Live> {
        let slots = read(&self.shard(tag).0);
        let slot = slots.find(hash(tag), |slot| slot.tag == tag)?;
        if !slot.is_live(now) {
            return None;
        }
        if is_use {
            slot.slide(now);
        }
        Some(slot.live())
    }

    /// As [`Self::slide`] or [`Self::peek`], where the table is a copy: says what is found if it is not a live session,
    /// and what must be written before the answer.
    pub fn sight(&self, digest: &TokenDigest, now: Timestamp, is_use: bool) -> Sight {
        let tag = tag(digest);
        let slots = read(&self.shard(tag).0);
        let Some(slot) = slots.find(hash(tag), |slot| slot.tag == tag) else { return Sight::Absent };
        if slot.is_live(now) {
            if !is_use {
                return Sight::Live(slot.live(), None);
            }
            slot.slide(now);
            return Sight::Live(slot.live(), slot.unwritten_use(now));
        }
        let is_over = slot.subject.has_ended(slot.number) || now.as_millis() >= slot.ends_at;
        if is_over { Sight::Over } else { Sight::Idle(slot.expires_at()) }
    }

    /// Finds the session of a token whether or not it is live: for a release, which must not depend on the moment at
    /// which it looks. A use that began a moment earlier may still find the session live.
    pub fn find(&self, session: SessionId) -> Option<(SessionNumber, Arc<Subject>)> {
        let tag = tag_of(session);
        let slots = read(&self.shard(tag).0);
        let slot = slots.find(hash(tag), |slot| slot.tag == tag)?;
        Some((SessionNumber(slot.number), slot.subject.clone()))
    }

    /// What is known of the session of a token, live or not, without using it: for those who ask how it stands.
    pub fn examine(&self, session: SessionId) -> Option<(PastSession, Arc<Subject>)> {
        let tag = tag_of(session);
        let slots = read(&self.shard(tag).0);
        let slot = slots.find(hash(tag), |slot| slot.tag == tag)?;
        Some((slot.past(), slot.subject.clone()))
    }

    /// Adds a session that the journal has committed. Called by the journal and at start only.
    pub fn insert(&self, number: SessionNumber, session: &Session, identity: &Identity) {
        let tag = tag(&session.digest);
        let subject = {
            let mut subjects = lock(&self.subjects);
            let subject = subjects.intern(identity);
            self.subject_count.store(subjects.count, Ordering::Relaxed);
            subject
        };
        // Until its slot is there too, or it would be tidied away with those that are gone.
        let mut issued = lock(&subject.issued);
        let place = issued.partition_point(|issued| issued.number < number.0);
        match issued.get(place) {
            // It was here before, and left memory alone.
            Some(known) if known.number == number.0 => drop(subject.gone.fetch_sub(1, Ordering::Relaxed)),
            _ => issued.insert(place, Issued::new(number.0, tag)),
        }
        let slot = Slot {
            tag,
            number: number.0,
            subject: subject.clone(),
            ends_at: session.ends_at.as_millis(),
            last_used: AtomicI64::new(session.last_used_at.as_millis()),
            stored: AtomicU32::new(low_bits(session.last_used_at)),
            idle: session.idle.map_or(0, |idle| u32::try_from(idle.as_millis()).unwrap_or(u32::MAX).max(1)),
            issued_second: u32::try_from(session.issued_at.as_millis() / 1000).unwrap_or(0),
        };
        self.held(identity.method).fetch_add(1, Ordering::Relaxed);
        write(&self.shard(tag).0).insert_unique(hash(tag), slot, |slot| hash(slot.tag));
    }

    /// Adds a session as the store has it, or learns of its uses if it is there.
    pub fn learn(&self, number: SessionNumber, session: &Session, identity: &Identity) {
        let tag = tag(&session.digest);
        let known = read(&self.shard(tag).0)
            .find(hash(tag), |slot| slot.tag == tag)
            .map(|slot| slot.learn_of_use(session.last_used_at));
        // Nobody else adds it meanwhile: what is fetched is put here under the lock of the log ([`crate::cluster`]).
        if known.is_none() {
            self.insert(number, session, identity);
        }
    }

    /// Forgets all sessions and whom they speak for: nothing that is here may be relied on any more.
    pub fn forget_all(&self) {
        for shard in &self.shards {
            let mut slots = write(&shard.0);
            slots.drain().for_each(|slot| self.leaves(&slot));
        }
        self.forget_unused_subjects();
    }

    /// Frees memory where the table is a copy: the quarter of a shard's sessions that were used the longest ago. Returns
    /// their uses that are not written.
    pub fn shed(&self, shard: usize) -> Vec<Use> {
        let mut slots = write(&self.shards[shard].0);
        let mut used: Vec<i64> = slots.iter().map(|slot| slot.last_used.load(Ordering::Relaxed)).collect();
        if used.is_empty() {
            return Vec::new();
        }
        let quarter = used.len().div_ceil(4);
        let (_, &mut newest, _) = used.select_nth_unstable(quarter - 1);
        let old = slots.extract_if(|slot| slot.last_used.load(Ordering::Relaxed) <= newest);
        // Many may have been used at the same moment.
        let mut unwritten = Vec::new();
        for slot in old.take(quarter) {
            self.leaves(&slot);
            unwritten.extend(slot.has_unwritten_use().then(|| slot.latest_use()));
        }
        unwritten
    }

    /// About how many bytes the table takes.
    pub fn memory(&self) -> u64 {
        let Held { password, web_api_key } = self.count();
        (password + web_api_key) * BYTES_A_SESSION
            + self.subject_count.load(Ordering::Relaxed) * BYTES_A_SUBJECT
    }

    /// Removes a session whose release the journal has committed.
    pub fn remove(&self, session: SessionId) {
        let tag = tag_of(session);
        let mut slots = write(&self.shard(tag).0);
        if let Ok(entry) = slots.find_entry(hash(tag), |slot| slot.tag == tag) {
            let (slot, _) = entry.remove();
            self.leaves(&slot);
        }
    }

    /// Ends all sessions of a scope up to `through`, an ending that the journal has committed. The cost does not
    /// depend on the number of sessions.
    pub fn end(&self, scope: Scope, through: SessionNumber) {
        let subjects = lock(&self.subjects);
        let raise = |mark: &AtomicU64| mark.fetch_max(through.0, Ordering::Release);
        match scope {
            Scope::Organisation(id) => subjects.organisations.get(&id).map(|known| raise(&known.ended)),
            Scope::Unit(id) => subjects.units.get(&id).map(|mark| raise(mark)),
            Scope::User(user) => subjects
                .by_user
                .get(&user)
                .map(|of_user| of_user.iter().map(|subject| raise(&subject.ended)).max().unwrap_or_default()),
            Scope::Key(user, key) => subjects.by_user.get(&user).and_then(|of_user| {
                let with_key =
                    of_user.iter().filter(|subject| subject.identity.method == Method::WebApiKey(key));
                with_key.map(|subject| raise(&subject.ended)).max()
            }),
        };
    }

    /// The uses in one shard that the journal should learn of now.
    pub fn due_uses(&self, shard: usize, now: Timestamp, interval: Duration) -> Vec<Use> {
        let slots = read(&self.shards[shard].0);
        let due = slots.iter().filter(|slot| slot.is_due(now, interval));
        due.map(Slot::latest_use).collect()
    }

    /// Notes that the journal has committed these uses.
    pub fn mark_stored(&self, uses: &[Use]) {
        for used in uses {
            let slots = read(&self.shard(used.tag).0);
            if let Some(slot) = slots.find(hash(used.tag), |slot| slot.tag == used.tag) {
                slot.stored.store(low_bits(used.last_used_at), Ordering::Relaxed);
            }
        }
    }

    /// Frees the sessions of one shard that have ended, and says which they were.
    pub fn sweep(&self, shard: usize, now: Timestamp) -> Vec<(SessionId, PastSession)> {
        let mut slots = write(&self.shards[shard].0);
        let ended = slots.extract_if(|slot| !slot.is_live(now));
        ended
            .map(|slot| {
                self.leaves(&slot);
                (session_id(slot.tag), slot.past())
            })
            .collect()
    }

    fn leaves(&self, slot: &Slot) {
        self.held(slot.subject.identity.method).fetch_sub(1, Ordering::Relaxed);
        slot.subject.gone.fetch_add(1, Ordering::Relaxed);
    }

    /// Frees the subjects that no session speaks for any more, and what the others remember of sessions that are gone.
    pub fn forget_unused_subjects(&self) {
        let crowded = {
            let mut subjects = lock(&self.subjects);
            subjects.forget_unused();
            self.subject_count.store(subjects.count, Ordering::Relaxed);
            subjects.crowded()
        };
        for subject in crowded {
            let mut issued = lock(&subject.issued);
            let gone = subject.gone.load(Ordering::Relaxed);
            issued.retain(|issued| self.find(session_id(issued.tag())).is_some());
            issued.shrink_to_fit();
            subject.gone.fetch_sub(gone, Ordering::Relaxed);
        }
    }

    /// Lists live sessions of an organisation, `limit` at most, behind a place. Costs what it returns, and a look at
    /// each user who has sessions and is not meant.
    pub fn list(
        &self,
        organisation: OrganisationId,
        filter: &SessionFilter,
        after: Option<SessionPlace>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Live> {
        let mut found = Vec::new();
        let mut from = after.map(|place| place.user);
        while found.len() < limit {
            let (subjects, last) = self.subjects_from(organisation, filter, from, after);
            for subject in subjects {
                self.list_subject(&subject, after, limit, now, &mut found);
                if found.len() == limit {
                    break;
                }
            }
            let Some(last) = last else { break };
            // Users' ids are numbers, so the next one is where the last one's subjects end.
            from = Some(last);
        }
        found
    }

    /// The subjects of the next users who are meant, in order, and the user to go on behind, if there are more.
    fn subjects_from(
        &self,
        organisation: OrganisationId,
        filter: &SessionFilter,
        from: Option<UserId>,
        after: Option<SessionPlace>,
    ) -> (Vec<Arc<Subject>>, Option<UserId>) {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let subjects = lock(&self.subjects);
        let Some(members) = subjects.organisations.get(&organisation) else { return (Vec::new(), None) };
        let start = match (from, filter.user) {
            (_, Some(user)) => Included(user),
            (Some(user), None) if after.is_some_and(|after| after.user == user) => Included(user),
            (Some(user), None) => Excluded(user),
            (None, None) => Unbounded,
        };
        let users: Vec<_> = members.users.range((start, Unbounded)).take(USERS_AT_A_TIME).collect();
        let is_more = users.len() == USERS_AT_A_TIME && filter.user.is_none();
        let last = users.last().map(|last| **last).filter(|_| is_more);
        let mut found = Vec::new();
        for user in users {
            let of_user = subjects.by_user.get(user).into_iter().flatten();
            let is_meant = |subject: &&Arc<Subject>| {
                subject.identity.organisation == organisation && subject.is_meant_by(filter)
            };
            let begin = found.len();
            found.extend(of_user.filter(is_meant).cloned());
            found[begin..].sort_unstable_by_key(|subject: &Arc<Subject>| subject.place());
            if filter.user.is_some() {
                break;
            }
        }
        (found, last)
    }

    fn list_subject(
        &self,
        subject: &Arc<Subject>,
        after: Option<SessionPlace>,
        limit: usize,
        now: Timestamp,
        found: &mut Vec<Live>,
    ) {
        let behind = match after {
            Some(SessionPlace { user, unit, key, number }) => match subject.place().cmp(&(user, unit, key)) {
                std::cmp::Ordering::Less => return,
                std::cmp::Ordering::Equal => number.0,
                std::cmp::Ordering::Greater => 0,
            },
            None => 0,
        };
        let behind = behind.max(subject.ended());
        let issued = lock(&subject.issued);
        let start = issued.partition_point(|issued| issued.number <= behind);
        for issued in &issued[start..] {
            if found.len() == limit {
                return;
            }
            found.extend(self.look(issued.tag(), now, false));
        }
    }

    /// Has the sessions of an organisation speak for it, or for one of its units or users, by another name. Called by
    /// the journal only.
    pub fn rename(&self, organisation: OrganisationId, scope: Scope, name: &str) {
        let renamed: Vec<_> = {
            let mut subjects = lock(&self.subjects);
            let Subjects { organisations, by_user, .. } = &mut *subjects;
            let users: Vec<UserId> = match scope {
                Scope::Organisation(_) | Scope::Unit(_) => {
                    let known = organisations.get(&organisation);
                    known.map_or_else(Vec::new, |known| known.users.iter().copied().collect())
                }
                Scope::User(user) | Scope::Key(user, _) => vec![user],
            };
            let of_users = users.iter().filter_map(|user| Some((*user, by_user.get(user)?)));
            let of_users = of_users.flat_map(|(user, of_user)| of_user.iter().map(move |one| (user, one)));
            let replaced: Vec<_> = of_users
                .filter_map(|(user, subject)| Some((user, subject.clone(), subject.renamed(scope, name)?)))
                .collect();
            for (user, old, new) in &replaced {
                // A list meets the one or the other.
                lock(&new.issued).clone_from(&lock(&old.issued));
                for subject in by_user.get_mut(user).into_iter().flatten() {
                    if Arc::ptr_eq(subject, old) {
                        *subject = new.clone();
                    }
                }
            }
            replaced
        };
        for (_, _, new) in renamed {
            let issued = lock(&new.issued).clone();
            for issued in &issued {
                let tag = issued.tag();
                let mut slots = write(&self.shard(tag).0);
                match slots.find_mut(hash(tag), |slot| slot.tag == tag) {
                    Some(slot) => slot.subject = new.clone(),
                    None => drop(new.gone.fetch_add(1, Ordering::Relaxed)),
                }
            }
        }
    }

    /// How many sessions the table holds.
    pub fn count(&self) -> Held {
        let count = |held: &AtomicI64| u64::try_from(held.load(Ordering::Relaxed)).unwrap_or(0);
        Held { password: count(&self.held_password), web_api_key: count(&self.held_web_api_key) }
    }

    fn shard(&self, tag: u128) -> &Shard {
        &self.shards[(tag >> 64) as usize % SHARDS]
    }

    fn held(&self, method: Method) -> &AtomicI64 {
        match method {
            Method::Password => &self.held_password,
            Method::WebApiKey(_) => &self.held_web_api_key,
        }
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
