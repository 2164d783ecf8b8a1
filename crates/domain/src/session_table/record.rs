//! One session in 40 bytes: what a look reads, what a use writes, and nothing that many sessions share.
//!
//! How long a session lives is the same for all that one user got in one unit in one way, until rules change; so that is
//! with the [`Subject`]. Times are milliseconds since the session was issued, in as many bits as they need.

use std::time::Duration;

use super::{Terms, Use, subjects::Subject};
use crate::{
    clock::Timestamp,
    session::{PastSession, SessionNumber, expiry},
    sync::{AtomicU64, Ordering},
};

/// A session. The first 128 bits of the digest stand for it, for they are as hard to hit as the token is to guess. They
/// are the session's id.
pub(super) struct Record {
    tag: [u64; 2],
    usage: Usage,
    subject: u32,
    issued_at: Packed,
    number: Packed,
}

/// A number of 48 bits that needs no room to be aligned: milliseconds for 8,900 years, or numbers for a million sessions a
/// second in nine.
#[derive(Clone, Copy)]
struct Packed([u16; 3]);

impl Packed {
    const MOST: u64 = (1 << 48) - 1;

    fn new(value: u64) -> Self {
        let value = value.min(Self::MOST);
        Self([value as u16, (value >> 16) as u16, (value >> 32) as u16])
    }

    fn get(self) -> u64 {
        let [low, middle, high] = self.0.map(u64::from);
        high << 32 | middle << 16 | low
    }
}

/// When a session was last used, and how much of that the journal knows, in one word that uses and the journal write at
/// the same time: 40 bits for the last use, 23 for the last use that the journal has, in steps of half a second, and one
/// that says whether the journal lacks a use.
struct Usage(AtomicU64);

/// How many bits stand below the time of the last use.
const BELOW: u32 = 24;
/// How many milliseconds a step of what the journal has is, as a power of two.
const STEP: u32 = 9;
const STORED: u64 = (1 << 23) - 1;
/// The longest time between issue and use that fits, a little under 35 years.
const LONGEST: u64 = (1 << 40) - 1;

/// The word for a use that the journal has.
fn stored(since_issue: u64) -> u64 {
    since_issue << BELOW | ((since_issue >> STEP) & STORED) << 1
}

impl Record {
    pub(super) fn new(tag: u128, number: SessionNumber, issued_at: Timestamp, subject: u32) -> Self {
        Self {
            tag: halves(tag),
            usage: Usage(AtomicU64::new(0)),
            subject,
            issued_at: Packed::new(u64::try_from(issued_at.as_millis()).unwrap_or(0)),
            number: Packed::new(number.0),
        }
    }

    /// With a last use that the journal has.
    pub(super) fn last_used(self, at: Timestamp) -> Self {
        Self { usage: Usage(AtomicU64::new(stored(self.since_issue(at)))), ..self }
    }

    pub(super) fn tag(&self) -> u128 {
        u128::from(self.tag[0]) << 64 | u128::from(self.tag[1])
    }

    pub(super) fn is_of(&self, tag: u128) -> bool {
        self.tag == halves(tag)
    }

    /// The place of whom it speaks for.
    pub(super) fn subject(&self) -> u32 {
        self.subject
    }

    pub(super) fn number(&self) -> SessionNumber {
        SessionNumber(self.number.get())
    }

    pub(super) fn issued_at(&self) -> Timestamp {
        Timestamp::from_millis(self.issued_at.get() as i64)
    }

    pub(super) fn last_used_at(&self) -> Timestamp {
        Timestamp::from_millis(
            (self.issued_at.get() + (self.usage.0.load(Ordering::Relaxed) >> BELOW)) as i64,
        )
    }

    pub(super) fn ends_at(&self, terms: &Terms) -> Timestamp {
        self.issued_at().plus(terms.lifetime())
    }

    pub(super) fn expires_at(&self, terms: &Terms) -> Timestamp {
        self.expires_after(self.last_used_at(), terms)
    }

    /// When it ends if it is not used again after a time.
    pub(super) fn expires_after(&self, last_used_at: Timestamp, terms: &Terms) -> Timestamp {
        expiry(last_used_at, terms.idle(), self.ends_at(terms))
    }

    pub(super) fn is_live(&self, subject: &Subject, now: Timestamp) -> bool {
        now < self.expires_at(subject.terms()) && !subject.has_ended(self.number())
    }

    /// Makes this moment its last use.
    pub(super) fn slide(&self, now: Timestamp) {
        let (word, used) = (self.usage.0.load(Ordering::Relaxed), self.since_issue(now));
        if used > word >> BELOW {
            let low = word & ((1 << BELOW) - 1) | 1;
            // Another use, by a later reading of the clock, may have come in between; it must not be undone. If the journal
            // has come in between, it is told again.
            self.usage.0.fetch_max(used << BELOW | low, Ordering::Relaxed);
        }
    }

    /// Learns of a use that the journal has, and of which it may not know.
    pub(super) fn learn_of_use(&self, at: Timestamp) {
        let used = self.since_issue(at);
        let learnt = |word: u64| (used >= word >> BELOW).then(|| stored(used));
        let _ = self.usage.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, learnt);
    }

    /// Notes that the journal has committed this use.
    pub(super) fn mark_stored(&self, at: Timestamp) {
        let used = self.since_issue(at);
        let marked = |word: u64| {
            let is_lacking = u64::from(word >> BELOW != used);
            Some(word >> BELOW << BELOW | ((used >> STEP) & STORED) << 1 | is_lacking)
        };
        let _ = self.usage.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, marked);
    }

    pub(super) fn has_unwritten_use(&self) -> bool {
        self.usage.0.load(Ordering::Relaxed) & 1 == 1
    }

    pub(super) fn latest_use(&self) -> Use {
        Use { number: self.number(), last_used_at: self.last_used_at(), tag: self.tag() }
    }

    /// How long ago the last use was that the journal has: up to half a second too long, and right for times less than 49
    /// days.
    pub(super) fn stored_age(&self, now: Timestamp) -> Duration {
        let stored = (self.usage.0.load(Ordering::Relaxed) >> 1 & STORED) << STEP;
        Duration::from_millis(u64::from((self.since_issue(now) as u32).wrapping_sub(stored as u32)))
    }

    /// The use that others must be able to read before it is answered: one that comes when half the idle time or more has
    /// passed since the last that they can read. So nobody who reads the store refuses a token whose use was answered,
    /// for later uses are written in time ([`Self::is_due`]).
    pub(super) fn unwritten_use(&self, terms: &Terms, now: Timestamp) -> Option<Use> {
        (self.stored_age(now) >= terms.idle()? / 2).then(|| self.latest_use())
    }

    /// Whether the journal should learn of the last use now: a use that it lacks is written once what it has is
    /// `interval` old, or a quarter of the idle time if that is sooner.
    pub(super) fn is_due(&self, terms: &Terms, now: Timestamp, interval: Duration) -> bool {
        let interval = terms.idle().map_or(interval, |idle| interval.min(idle / 4));
        self.has_unwritten_use() && self.stored_age(now) >= interval
    }

    /// What is known of it, live or not.
    pub(super) fn past(&self, subject: &Subject) -> PastSession {
        let place = subject.place();
        PastSession {
            number: self.number(),
            organisation: Some(place.organisation),
            unit: place.unit,
            user: subject.user(),
            method: subject.method(),
            issued_at: self.issued_at(),
            last_used_at: self.last_used_at(),
            idle: subject.terms().idle(),
            ends_at: self.ends_at(subject.terms()),
            released: None,
        }
    }

    fn since_issue(&self, time: Timestamp) -> u64 {
        u64::try_from(time.as_millis()).unwrap_or(0).saturating_sub(self.issued_at.get()).min(LONGEST)
    }
}

fn halves(tag: u128) -> [u64; 2] {
    [(tag >> 64) as u64, tag as u64]
}

#[cfg(not(feature = "shuttle"))]
const _: () = assert!(size_of::<Record>() == 40);
