//! The session table: every live session in memory, found by the digest of its token.
//!
//! It is the hot path of the product. A verification hashes the token, finds the session's record, reads the
//! subject that it speaks for, compares with the clock and stores the time of use. Nothing is allocated; what is
//! written is the time of use and the reader counts of two locks, each of which few requests meet at.
//!
//! Three things make it right. A use changes a record only under the shard's lock and only if the record is there and
//! live, so a use never creates or revives a session. Expiry is judged at each look, by the caller's clock; sweeping
//! only frees space. And the table changes only in the order in which the journal commits ([`crate::journal`]), so
//! ending everything of a user is one number: sessions with that number or a lower one have ended.

mod index;
mod listing;
mod record;
mod subjects;

use std::time::Duration;

pub(crate) use self::listing::Listing;
pub use self::listing::{SessionFilter, SessionPlace};
use self::{
    index::Index,
    record::Record,
    subjects::{Subject, Subjects, Terms},
};
use crate::{
    clock::Timestamp,
    cluster::StoredSession,
    credential::TokenDigest,
    id::{OrganisationId, SessionId, UnitId, UserId},
    session::{Identity, Method, PastSession, Scope, Session, SessionNumber},
    sync::{AtomicI64, Ordering, RwLock, RwLockReadGuard, read, write},
};

/// How many parts the table has; the parts are swept and flushed one at a time.
pub const SHARDS: usize = if cfg!(feature = "shuttle") { 2 } else { 256 };

/// About what a session takes with its place in the index.
const BYTES_A_SESSION: u64 = 56;
/// About what a subject takes with its place in the index.
const BYTES_A_SUBJECT: u64 = 128;

/// How many sessions are looked at, or removed, before others have a turn with their part of the table.
const AT_A_TIME: usize = 256;

/// Whom a token speaks for, as it stands in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityRef<'a> {
    /// The organisation.
    pub organisation: OrganisationId,
    /// Its code, as it was entered.
    pub organisation_code: &'a str,
    /// Whether it is the operator organisation.
    pub is_operator: bool,
    /// The unit the user works in with this token.
    pub unit: UnitId,
    /// Its name.
    pub unit_name: &'a str,
    /// The user.
    pub user: UserId,
    /// Their username, as it was entered.
    pub username: &'a str,
    /// How they logged in.
    pub method: Method,
}

impl IdentityRef<'_> {
    /// A copy that lasts.
    pub fn to_owned(&self) -> Identity {
        Identity {
            organisation: self.organisation,
            organisation_code: self.organisation_code.to_owned(),
            is_operator: self.is_operator,
            unit: self.unit,
            unit_name: self.unit_name.to_owned(),
            user: self.user,
            username: self.username.to_owned(),
            method: self.method,
        }
    }
}

impl<'a> From<&'a Identity> for IdentityRef<'a> {
    fn from(identity: &'a Identity) -> Self {
        Self {
            organisation: identity.organisation,
            organisation_code: &identity.organisation_code,
            is_operator: identity.is_operator,
            unit: identity.unit,
            unit_name: &identity.unit_name,
            user: identity.user,
            username: &identity.username,
            method: identity.method,
        }
    }
}

/// A live session as a look finds it: while the look lasts, and without a copy of anything.
#[derive(Clone, Copy, Debug)]
pub struct LiveRef<'a> {
    /// Its id.
    pub id: SessionId,
    /// Its number in the journal.
    pub number: SessionNumber,
    /// Whom it speaks for.
    pub identity: IdentityRef<'a>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it was last used, this use included.
    pub last_used_at: Timestamp,
    /// When it ends if it is not used again.
    pub expires_at: Timestamp,
}

impl<'a> LiveRef<'a> {
    /// A session as it is, or as it will be when it has been used at a time.
    fn new(record: &Record, subject: &'a Subject, used_at: Option<Timestamp>) -> Self {
        let last_used_at = record.last_used_at().max(used_at.unwrap_or(record.issued_at()));
        Self {
            id: session_id(record.tag()),
            number: record.number(),
            identity: subject.identity(),
            issued_at: record.issued_at(),
            last_used_at,
            expires_at: record.expires_after(last_used_at, subject.terms()),
        }
    }

    /// A copy that lasts.
    pub fn to_owned(&self) -> Live {
        let Self { id, number, issued_at, last_used_at, expires_at, .. } = *self;
        Live { id, number, identity: self.identity.to_owned(), issued_at, last_used_at, expires_at }
    }
}

/// A live session as a look found it.
#[derive(Clone, Debug)]
pub struct Live {
    /// Its id.
    pub id: SessionId,
    /// Its number in the journal.
    pub number: SessionNumber,
    /// Whom it speaks for.
    pub identity: Identity,
    /// When it was issued.
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
            identity,
            issued_at: session.issued_at,
            last_used_at: session.last_used_at,
            expires_at: session.expires_at(),
        }
    }

    /// The session for whoever takes it from the table or from here.
    pub fn borrow(&self) -> LiveRef<'_> {
        let Self { id, number, issued_at, last_used_at, expires_at, .. } = *self;
        LiveRef { id, number, identity: (&self.identity).into(), issued_at, last_used_at, expires_at }
    }
}

/// What a look at a token finds where the table is a copy of some of the store's sessions ([`crate::sessions`]).
#[derive(Clone, Debug)]
pub enum Sight<T> {
    /// A live session, unless nothing was made of it, and the use to be written before anybody is told of it, if there is one.
    Live(Option<T>, Option<Use>),
    /// A session whose idle time has been over since then, as far as it is known here: it may have been used elsewhere.
    Idle(Timestamp),
    /// A session that has ended whatever happens elsewhere.
    Over,
    /// None that is known here.
    Absent,
}

/// Somebody whom the table knows and does not forget ([`SessionTable::introduce`]).
#[derive(Debug)]
pub struct Introduced {
    subject: u32,
    method: Method,
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

/// The part of the table that has it.
fn shard_of(tag: u128) -> usize {
    (tag >> 64) as usize % SHARDS
}

/// Makes room for one more without taking as much again for those that may come.
fn make_room<T>(things: &mut Vec<T>) {
    if things.len() == things.capacity() {
        things.reserve_exact((things.len() / 8).max(16));
    }
}

/// Some of the sessions: records without gaps, and where the record of a tag is.
#[derive(Default)]
struct Shard {
    records: Vec<Record>,
    index: Index,
}

impl Shard {
    fn find(&self, tag: u128) -> Option<&Record> {
        let place = self.index.find(hash(tag), |place| self.records[place as usize].is_of(tag))?;
        Some(&self.records[place as usize])
    }

    fn insert(&mut self, record: Record) {
        make_room(&mut self.records);
        let place = self.records.len() as u32;
        self.records.push(record);
        self.index.add(place, |place| hash(self.records[place as usize].tag()));
    }

    fn remove(&mut self, tag: u128) -> Option<Record> {
        let place = self.index.remove(hash(tag), |place| self.records[place as usize].is_of(tag))?;
        let last = self.records.len() as u32 - 1;
        if place != last {
            self.index.moved(hash(self.records[last as usize].tag()), last, place);
        }
        Some(self.records.swap_remove(place as usize))
    }

    /// Gives memory back once half of it is not needed any more.
    fn shrink(&mut self) {
        if self.records.capacity() / 2 > self.records.len() {
            self.records.shrink_to(self.records.len() + self.records.len() / 16);
            let records = &self.records;
            self.index.shrink(records.len() as u32, |place| hash(records[place as usize].tag()));
        }
    }
}

#[repr(align(64))]
#[derive(Default)]
struct Aligned(RwLock<Shard>);

/// The table. See the module's description.
pub struct SessionTable {
    shards: Box<[Aligned]>,
    subjects: Subjects,
    held_password: AtomicI64,
    held_web_api_key: AtomicI64,
}

impl Default for SessionTable {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Aligned::default()).collect(),
            subjects: Subjects::default(),
            held_password: AtomicI64::new(0),
            held_web_api_key: AtomicI64::new(0),
        }
    }
}

impl SessionTable {
    /// Finds the live session of a token and makes this moment its last use.
    pub fn slide(&self, digest: &TokenDigest, now: Timestamp) -> Option<Live> {
        self.look(digest, now, true, |live| Some(live.to_owned()))
    }

    /// Finds the live session of a token and leaves it as it is.
    pub fn peek(&self, digest: &TokenDigest, now: Timestamp) -> Option<Live> {
        self.look(digest, now, false, |live| Some(live.to_owned()))
    }

    /// Finds the live session of a token, says what `f` makes of it, and makes this moment its last use if it `is_use`. What `f`
    /// makes nothing of is not used. Whoever changes this part of the table waits for `f`, which therefore must not wait.
    pub fn look<T>(
        &self,
        digest: &TokenDigest,
        now: Timestamp,
        is_use: bool,
        f: impl FnOnce(LiveRef<'_>) -> Option<T>,
    ) -> Option<T> {
        let tag = tag(digest);
        let shard = read(self.shard(tag));
        let record = shard.find(tag)?;
        let found = self.subjects.with(record.subject(), |subject| {
            if !record.is_live(subject, now) {
                return None;
            }
            let told = f(LiveRef::new(record, subject, is_use.then_some(now)))?;
            if is_use {
                record.slide(now);
            }
            Some(told)
        });
        found.flatten()
    }

    /// As [`Self::look`], for many tokens. `f` is told of each in order, and says whether it is used; `None` has no live
    /// session.
    pub fn look_at_all(
        &self,
        digests: &[Option<TokenDigest>],
        now: Timestamp,
        is_use: bool,
        mut f: impl FnMut(Option<LiveRef<'_>>) -> bool,
    ) {
        for some in digests.chunks(AT_A_TIME) {
            let shards = self.hold_all();
            let subjects = self.subjects.hold_all();
            // Each step is made for all of them before the next, with no lock in between: so the processor fetches what many
            // need from memory at the same time, instead of waiting for one after the other.
            let tags: Vec<_> = some.iter().map(|digest| digest.as_ref().map(tag)).collect();
            let touch = |tag: &u128| shards[shard_of(*tag)].index.touch(hash(*tag));
            std::hint::black_box(tags.iter().flatten().map(touch).fold(0, std::ops::BitXor::bitxor));
            let find = |tag: &Option<u128>| tag.and_then(|tag| shards[shard_of(tag)].find(tag));
            let records: Vec<_> = tags.iter().map(find).collect();
            let with_subject = |record: &'_ Record| subjects.get(record.subject());
            let subjects: Vec<_> = records.iter().map(|record| record.and_then(with_subject)).collect();
            let known = records.into_iter().zip(subjects).map(|(record, subject)| record.zip(subject));
            let live: Vec<_> =
                known.map(|it| it.filter(|(record, subject)| record.is_live(subject, now))).collect();
            for live in live {
                let told = live.map(|(record, subject)| LiveRef::new(record, subject, is_use.then_some(now)));
                let is_used = f(told) && is_use;
                if is_used && let Some((record, _)) = live {
                    record.slide(now);
                }
            }
        }
    }

    /// As [`Self::look`], where the table is a copy: says what is found if it is not a live session, and what must be written
    /// before the answer.
    pub fn sight<T>(
        &self,
        digest: &TokenDigest,
        now: Timestamp,
        is_use: bool,
        f: impl FnOnce(LiveRef<'_>) -> Option<T>,
    ) -> Sight<T> {
        let tag = tag(digest);
        let shard = read(self.shard(tag));
        let Some(record) = shard.find(tag) else { return Sight::Absent };
        let sight = self.subjects.with(record.subject(), |subject| {
            if record.is_live(subject, now) {
                let told = f(LiveRef::new(record, subject, is_use.then_some(now)));
                if !is_use || told.is_none() {
                    return Sight::Live(told, None);
                }
                record.slide(now);
                return Sight::Live(told, record.unwritten_use(subject.terms(), now));
            }
            let is_over = subject.has_ended(record.number()) || now >= record.ends_at(subject.terms());
            if is_over { Sight::Over } else { Sight::Idle(record.expires_at(subject.terms())) }
        });
        sight.unwrap_or(Sight::Absent)
    }

    /// What is known of a session, live or not, without using it: for a release, which must not depend on the moment at which it
    /// looks, and for those who ask how it stands. A use that began a moment earlier may still find the session live.
    pub fn examine(&self, session: SessionId) -> Option<(PastSession, Identity)> {
        let tag = tag_of(session);
        let shard = read(self.shard(tag));
        let record = shard.find(tag)?;
        self.subjects.with(record.subject(), |subject| (record.past(subject), subject.identity().to_owned()))
    }

    /// Adds a session that the journal has committed. Called by the journal only, or before there is one.
    pub fn insert(&self, number: SessionNumber, session: &Session, identity: &Identity) {
        let subject = self.subjects.join(identity, Terms::of(session));
        self.add(number, session, subject, identity.method);
    }

    /// Introduces somebody for whom sessions are going to be read that live as long as this one: to find out who that is costs
    /// more than to add a session. To be taken back ([`Self::dismiss`]) when all are read.
    pub fn introduce(&self, session: &Session, identity: &Identity) -> Introduced {
        Introduced { subject: self.subjects.join(identity, Terms::of(session)), method: identity.method }
    }

    /// Adds a session of somebody who was introduced, that the store has. Called at start only.
    pub fn insert_for(&self, who: &Introduced, number: SessionNumber, session: &Session) {
        self.subjects.join_again(who.subject);
        self.add(number, session, who.subject, who.method);
    }

    /// Takes an introduction back: somebody without sessions may be forgotten again.
    pub fn dismiss(&self, who: &Introduced) {
        self.subjects.leave(who.subject);
    }

    fn add(&self, number: SessionNumber, session: &Session, subject: u32, method: Method) {
        let tag = tag(&session.digest);
        let record = Record::new(tag, number, session.issued_at, subject).last_used(session.last_used_at);
        self.held(method).fetch_add(1, Ordering::Relaxed);
        write(self.shard(tag)).insert(record);
    }

    /// Adds a session as the store has it, or learns of its uses if it is there.
    pub fn learn(&self, number: SessionNumber, session: &Session, identity: &Identity) {
        let tag = tag(&session.digest);
        let known = read(self.shard(tag)).find(tag).map(|record| record.learn_of_use(session.last_used_at));
        // Nobody else adds it meanwhile: what is fetched is put here under the lock of the log ([`crate::cluster`]).
        if known.is_none() {
            self.insert(number, session, identity);
        }
    }

    /// Forgets all sessions and whom they speak for: nothing that is here may be relied on any more.
    pub fn forget_all(&self) {
        for shard in &self.shards {
            let forgotten = std::mem::take(&mut *write(&shard.0));
            forgotten.records.iter().for_each(|record| self.leaves(record));
        }
        self.forget_unused_subjects();
    }

    /// Frees memory where the table is a copy: the quarter of a shard's sessions that were used the longest ago. Returns
    /// their uses that are not written.
    pub fn shed(&self, shard: usize) -> Vec<Use> {
        let mut shard = write(&self.shards[shard].0);
        let mut used: Vec<_> =
            shard.records.iter().map(|record| (record.last_used_at(), record.tag())).collect();
        if used.is_empty() {
            return Vec::new();
        }
        let quarter = used.len().div_ceil(4);
        used.select_nth_unstable(quarter - 1);
        let removed = used[..quarter].iter().filter_map(|(_, tag)| shard.remove(*tag));
        let mut unwritten = Vec::new();
        for record in removed {
            self.leaves(&record);
            unwritten.extend(record.has_unwritten_use().then(|| record.latest_use()));
        }
        shard.shrink();
        unwritten
    }

    /// About how many bytes the table takes.
    pub fn memory(&self) -> u64 {
        let Held { password, web_api_key } = self.count();
        (password + web_api_key) * BYTES_A_SESSION + self.subjects.count() * BYTES_A_SUBJECT
    }

    /// Removes a session whose release the journal has committed.
    pub fn remove(&self, session: SessionId) {
        let tag = tag_of(session);
        let removed = write(self.shard(tag)).remove(tag);
        if let Some(record) = removed {
            self.leaves(&record);
        }
    }

    /// Ends all sessions of a scope up to `through`, an ending that the journal has committed. The cost does not
    /// depend on the number of sessions.
    pub fn end(&self, scope: Scope, through: SessionNumber) {
        self.subjects.end(scope, through);
    }

    /// The uses in one shard that the journal should learn of now.
    pub fn due_uses(&self, shard: usize, now: Timestamp, interval: Duration) -> Vec<Use> {
        let (mut due, mut from) = (Vec::new(), 0);
        // Those that are used wait for none of this; whoever comes or goes does, so not for long.
        loop {
            let shard = read(&self.shards[shard].0);
            let subjects = self.subjects.hold_all();
            let some = shard.records.iter().skip(from).take(AT_A_TIME * 4);
            from += AT_A_TIME * 4;
            let unwritten = some.filter(|record| record.has_unwritten_use());
            due.extend(unwritten.filter_map(|record| {
                let is_due = subjects.get(record.subject())?.terms();
                record.is_due(is_due, now, interval).then(|| record.latest_use())
            }));
            if from >= shard.records.len() {
                return due;
            }
        }
    }

    /// Notes that the journal has committed these uses.
    pub fn mark_stored(&self, uses: &[Use]) {
        for some in uses.chunks(AT_A_TIME) {
            let shards = self.hold_all();
            // As in `look_at_all`: all are found before the first is changed.
            let records: Vec<_> = some.iter().map(|used| shards[shard_of(used.tag)].find(used.tag)).collect();
            for (record, used) in records.into_iter().zip(some) {
                if let Some(record) = record {
                    record.mark_stored(used.last_used_at);
                }
            }
        }
    }

    /// Frees the sessions of one shard that have ended, and says which they were.
    pub fn sweep(&self, shard: usize, now: Timestamp) -> Vec<(SessionId, PastSession)> {
        let shard = &self.shards[shard].0;
        let (mut ended, mut from) = (Vec::new(), 0);
        loop {
            let shard = read(shard);
            let subjects = self.subjects.hold_all();
            let some = shard.records.iter().skip(from).take(AT_A_TIME * 4);
            from += AT_A_TIME * 4;
            let is_over = |record: &&Record| {
                subjects.get(record.subject()).is_some_and(|subject| !record.is_live(subject, now))
            };
            ended.extend(some.filter(is_over).map(Record::tag));
            if from >= shard.records.len() {
                break;
            }
        }
        let mut swept = Vec::with_capacity(ended.len());
        for tags in ended.chunks(AT_A_TIME) {
            let mut shard = write(shard);
            for tag in tags {
                // A use that read the clock in time may have come in between.
                let past = shard.find(*tag).and_then(|record| {
                    let past =
                        |subject: &Subject| (!record.is_live(subject, now)).then(|| record.past(subject));
                    self.subjects.with(record.subject(), past).flatten()
                });
                let Some(past) = past else { continue };
                if let Some(record) = shard.remove(*tag) {
                    self.leaves(&record);
                    swept.push((session_id(*tag), past));
                }
            }
        }
        // Releases make room too.
        write(shard).shrink();
        swept
    }

    fn leaves(&self, record: &Record) {
        if let Some(method) = self.subjects.leave(record.subject()) {
            self.held(method).fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Frees the subjects that no session speaks for any more.
    pub fn forget_unused_subjects(&self) {
        self.subjects.forget_unused();
    }

    /// Lists live sessions of an organisation, `limit` at most, behind a place. Costs a look at every session there is.
    pub fn list(
        &self,
        organisation: OrganisationId,
        filter: &SessionFilter,
        after: Option<SessionPlace>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Live> {
        let mut listing = Listing::new(self, organisation, *filter, after, limit, now);
        while listing.look_further() {}
        listing.finish()
    }

    /// Has the sessions of an organisation speak for it, or for one of its units or users, by another name. Called by
    /// the journal only.
    pub fn rename(&self, organisation: OrganisationId, scope: Scope, name: &str) {
        self.subjects.rename(organisation, scope, name);
    }

    /// How many sessions the table holds.
    pub fn count(&self) -> Held {
        let count = |held: &AtomicI64| u64::try_from(held.load(Ordering::Relaxed)).unwrap_or(0);
        Held { password: count(&self.held_password), web_api_key: count(&self.held_web_api_key) }
    }

    /// Holds all parts as they are, for whoever looks at many sessions. Not for long.
    fn hold_all(&self) -> Vec<RwLockReadGuard<'_, Shard>> {
        self.shards.iter().map(|shard| read(&shard.0)).collect()
    }

    fn shard(&self, tag: u128) -> &RwLock<Shard> {
        &self.shards[shard_of(tag)].0
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
