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

use std::{collections::HashMap, sync::Arc, time::Duration};

use hashbrown::HashTable;

use crate::{
    clock::Timestamp,
    credential::TokenDigest,
    id::{OrganisationId, UnitId, UserId},
    session::{Identity, Method, Scope, Session, SessionNumber, expiry},
    sync::{AtomicI64, AtomicU32, AtomicU64, Mutex, Ordering, RwLock, lock, read, write},
};

/// How many parts the table has; the parts are swept and flushed one at a time.
pub const SHARDS: usize = if cfg!(feature = "shuttle") { 2 } else { 256 };

/// Whom a token speaks for, shared by all sessions of one user in one unit by one method.
#[derive(Debug)]
pub struct Subject {
    identity: Identity,
    /// Sessions of this subject up to this number have ended: the user's and the key's endings.
    ended: AtomicU64,
    organisation: Arc<AtomicU64>,
    unit: Arc<AtomicU64>,
}

impl Subject {
    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    fn has_ended(&self, number: u64) -> bool {
        [&self.ended, &*self.organisation, &*self.unit]
            .iter()
            .any(|mark| number <= mark.load(Ordering::Acquire))
    }
}

/// A live session as a look found it.
#[derive(Clone, Debug)]
pub struct Live {
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
/// The first 128 bits of the digest stand for it, for they are as hard to hit as the token is to guess.
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

    fn last_used(&self) -> Timestamp {
        Timestamp::from_millis(self.last_used.load(Ordering::Relaxed))
    }

    fn expires_at(&self) -> Timestamp {
        expiry(self.last_used(), self.idle(), Timestamp::from_millis(self.ends_at))
    }

    fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at() && !self.subject.has_ended(self.number)
    }

    /// Whether the journal should learn of the last use now: a use that it lacks is written once what it has is
    /// `interval` old, or a quarter of the idle time if that is sooner.
    fn is_due(&self, now: Timestamp, interval: Duration) -> bool {
        let stored = self.stored.load(Ordering::Relaxed);
        let interval = self.idle().map_or(interval, |idle| interval.min(idle / 4));
        let age = Duration::from_millis(u64::from(low_bits(now).wrapping_sub(stored)));
        low_bits(self.last_used()) != stored && age >= interval
    }
}

/// 32 bits of milliseconds, enough to tell apart times less than 49 days from each other.
fn low_bits(time: Timestamp) -> u32 {
    time.as_millis() as u32
}

fn tag(digest: &TokenDigest) -> u128 {
    let mut first = [0; 16];
    first.copy_from_slice(&digest.as_bytes()[..16]);
    u128::from_be_bytes(first)
}

/// Where a tag lies within its shard; a digest needs no further hashing.
fn hash(tag: u128) -> u64 {
    tag as u64
}

#[repr(align(64))]
struct Shard(RwLock<HashTable<Slot>>);

/// Who is in the table: looked up when a session is added and when sessions are ended, never by a verification.
#[derive(Default)]
struct Subjects {
    organisations: HashMap<OrganisationId, Arc<AtomicU64>>,
    units: HashMap<UnitId, Arc<AtomicU64>>,
    by_user: HashMap<UserId, Vec<Arc<Subject>>>,
}

impl Subjects {
    fn intern(&mut self, identity: &Identity) -> Arc<Subject> {
        let of_user = self.by_user.entry(identity.user).or_default();
        if let Some(known) = of_user.iter().find(|subject| subject.identity == *identity) {
            return known.clone();
        }
        let subject = Arc::new(Subject {
            identity: identity.clone(),
            ended: AtomicU64::new(0),
            organisation: self.organisations.entry(identity.organisation).or_default().clone(),
            unit: self.units.entry(identity.unit).or_default().clone(),
        });
        of_user.push(subject.clone());
        subject
    }

    fn forget_unused(&mut self) {
        self.by_user.retain(|_, subjects| {
            subjects.retain(|subject| Arc::strong_count(subject) > 1);
            !subjects.is_empty()
        });
        self.units.retain(|_, mark| Arc::strong_count(mark) > 1);
        self.organisations.retain(|_, mark| Arc::strong_count(mark) > 1);
    }
}

/// The table. See the module's description.
pub struct SessionTable {
    shards: Box<[Shard]>,
    subjects: Mutex<Subjects>,
    held_password: AtomicI64,
    held_web_api_key: AtomicI64,
}

impl Default for SessionTable {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard(RwLock::new(HashTable::new()))).collect(),
            subjects: Mutex::new(Subjects::default()),
            held_password: AtomicI64::new(0),
            held_web_api_key: AtomicI64::new(0),
        }
    }
}

impl SessionTable {
    /// Finds the live session of a token and makes this moment its last use.
    pub fn slide(&self, digest: &TokenDigest, now: Timestamp) -> Option<Live> {
        self.look(digest, now, true)
    }

    /// Finds the live session of a token and leaves it as it is.
    pub fn peek(&self, digest: &TokenDigest, now: Timestamp) -> Option<Live> {
        self.look(digest, now, false)
    }

    fn look(&self, digest: &TokenDigest, now: Timestamp, is_use: bool) -> Option<Live> {
        let tag = tag(digest);
        let slots = read(&self.shard(tag).0);
        let slot = slots.find(hash(tag), |slot| slot.tag == tag)?;
        if !slot.is_live(now) {
            return None;
        }
        if is_use && now > slot.last_used() {
            // Another use, by a later reading of the clock, may have come in between; it must not be undone.
            slot.last_used.fetch_max(now.as_millis(), Ordering::Relaxed);
        }
        Some(Live {
            number: SessionNumber(slot.number),
            subject: slot.subject.clone(),
            issued_at: Timestamp::from_millis(i64::from(slot.issued_second) * 1000),
            last_used_at: slot.last_used(),
            expires_at: slot.expires_at(),
        })
    }

    /// Finds the session of a token whether or not it is live: for a release, which must not depend on the moment at
    /// which it looks. A use that began a moment earlier may still find the session live.
    pub fn find(&self, digest: &TokenDigest) -> Option<(SessionNumber, Arc<Subject>)> {
        let tag = tag(digest);
        let slots = read(&self.shard(tag).0);
        let slot = slots.find(hash(tag), |slot| slot.tag == tag)?;
        Some((SessionNumber(slot.number), slot.subject.clone()))
    }

    /// Adds a session that the journal has committed. Called by the journal and at start only.
    pub fn insert(&self, number: SessionNumber, session: &Session, identity: &Identity) {
        let tag = tag(&session.digest);
        let slot = Slot {
            tag,
            number: number.0,
            subject: lock(&self.subjects).intern(identity),
            ends_at: session.ends_at.as_millis(),
            last_used: AtomicI64::new(session.last_used_at.as_millis()),
            stored: AtomicU32::new(low_bits(session.last_used_at)),
            idle: session.idle.map_or(0, |idle| u32::try_from(idle.as_millis()).unwrap_or(u32::MAX).max(1)),
            issued_second: u32::try_from(session.issued_at.as_millis() / 1000).unwrap_or(0),
        };
        self.held(identity.method).fetch_add(1, Ordering::Relaxed);
        write(&self.shard(tag).0).insert_unique(hash(tag), slot, |slot| hash(slot.tag));
    }

    /// Removes a session whose release the journal has committed.
    pub fn remove(&self, digest: &TokenDigest) {
        let tag = tag(digest);
        let mut slots = write(&self.shard(tag).0);
        if let Ok(entry) = slots.find_entry(hash(tag), |slot| slot.tag == tag) {
            let (slot, _) = entry.remove();
            self.held(slot.subject.identity.method).fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Ends all sessions of a scope up to `through`, an ending that the journal has committed. The cost does not
    /// depend on the number of sessions.
    pub fn end(&self, scope: Scope, through: SessionNumber) {
        let subjects = lock(&self.subjects);
        let raise = |mark: &AtomicU64| mark.fetch_max(through.0, Ordering::Release);
        match scope {
            Scope::Organisation(id) => subjects.organisations.get(&id).map(|mark| raise(mark)),
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
        due.map(|slot| Use {
            number: SessionNumber(slot.number),
            last_used_at: slot.last_used(),
            tag: slot.tag,
        })
        .collect()
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
    pub fn sweep(&self, shard: usize, now: Timestamp) -> Vec<SessionNumber> {
        let mut slots = write(&self.shards[shard].0);
        let ended = slots.extract_if(|slot| !slot.is_live(now));
        ended
            .map(|slot| {
                self.held(slot.subject.identity.method).fetch_sub(1, Ordering::Relaxed);
                SessionNumber(slot.number)
            })
            .collect()
    }

    /// Frees the subjects that no session speaks for any more.
    pub fn forget_unused_subjects(&self) {
        lock(&self.subjects).forget_unused();
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
