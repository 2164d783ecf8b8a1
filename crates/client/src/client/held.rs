//! A token that is held, and how long it is good.
//!
//! All times are of the client's own clock. Doorward's clock may be set differently, so only differences between two of
//! its times are used: how long a token had left at a moment that is known.

use std::time::{Duration, SystemTime};

use crate::{Identity, Token};

/// The contract's lifetimes, for when Doorward could not be asked: of a key's token, and without use of a password's.
const KEY_LIFETIME: Duration = Duration::from_secs(2 * 3600);
const PASSWORD_IDLE: Duration = Duration::from_secs(3600);

/// A token that is held.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) token: Token,
    /// An API has refused it.
    pub(super) is_suspect: bool,
    is_key: bool,
    /// How long it lived when it was new.
    lifetime: Duration,
    /// When it is renewed, whoever needs it going on meanwhile.
    due: Duration,
    /// Until when it is given to anybody.
    good_until: Duration,
}

impl Held {
    /// A token of a login that was begun then.
    pub(super) fn new(token: Token, is_key: bool, identity: Option<&Identity>, begun: Duration) -> Self {
        let default = if is_key { KEY_LIFETIME } else { PASSWORD_IDLE };
        let lifetime = identity
            .and_then(|identity| left(identity, identity.issued_at))
            .filter(|lifetime| !lifetime.is_zero())
            .unwrap_or(default);
        let new = Self { token, is_suspect: false, is_key, lifetime, due: begun, good_until: begun };
        new.ending_at(begun + lifetime, begun)
    }

    /// The same, after Doorward said that it is in force.
    pub(super) fn cleared(self) -> Self {
        Self { is_suspect: false, ..self }
    }

    /// A password's token that was used after `now`, and looked at after that.
    pub(super) fn used(self, identity: &Identity, now: Duration) -> Self {
        let this = self.cleared();
        match left(identity, identity.last_used_at) {
            Some(left) => this.ending_at(now + left, now),
            None => this,
        }
    }

    fn ending_at(self, end: Duration, now: Duration) -> Self {
        // Programs that were started together do not come together.
        let share = if self.is_key { 0.75 + fastrand::f64() * 0.15 } else { 0.4 + fastrand::f64() * 0.2 };
        let renewed_before = self.lifetime.mul_f64(1.0 - share);
        let due = end.saturating_sub(renewed_before).max(now);
        Self { due, good_until: end.saturating_sub(self.lifetime / 20), ..self }
    }

    pub(super) fn is_due(&self, now: Duration) -> bool {
        now >= self.due
    }

    /// Whether it has ended by itself, as far as is known.
    pub(super) fn has_ended(&self, now: Duration) -> bool {
        now >= self.good_until + self.lifetime / 20
    }

    /// Whether it can be given to somebody.
    pub(super) fn is_good(&self, now: Duration) -> bool {
        !self.is_suspect && now < self.good_until
    }
}

/// How long a token had left at a time that Doorward named together with its end.
fn left(identity: &Identity, since: Option<SystemTime>) -> Option<Duration> {
    identity.expires_at.duration_since(since?).ok()
}
