//! What was promised to clients, and the judgement of every answer by it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use super::{Tally, instance::Verdict};
use crate::{
    clock::Timestamp,
    id::{SessionId, UserId},
    session::{Session, SessionNumber},
};

/// The idle times of the tokens: the one ends while somebody is away, the other does not.
pub(super) const IDLE: [Duration; 2] = [Duration::from_millis(2_000), Duration::from_millis(20_000)];

#[derive(Clone)]
pub(super) struct History(Arc<Mutex<State>>);

struct State {
    tokens: BTreeMap<SessionId, Token>,
    /// Users whose sessions somebody began to end.
    ending: BTreeSet<UserId>,
    /// Users whose sessions have ended up to a number, which was answered.
    ended: BTreeMap<UserId, SessionNumber>,
    violation: Option<String>,
    has_faults: bool,
    tally: Tally,
}

struct Token {
    user: UserId,
    idle: Duration,
    number: SessionNumber,
    /// Somebody began to release it.
    releasing: bool,
    /// A release was answered.
    released: bool,
    /// When the last use began that was answered.
    used_at: Timestamp,
    /// When the last attempt to use it ended, however it ended.
    tried_at: Timestamp,
    trying: u32,
}

/// A verification under way.
pub(super) struct Attempt {
    history: History,
    session: SessionId,
    began_at: Timestamp,
    was_released: bool,
    used_at: Timestamp,
    /// It had not been used for so long that no use could keep it.
    was_dead: bool,
    now: Box<dyn Fn() -> Timestamp + Send>,
}

impl History {
    pub(super) fn new(has_faults: bool, tally: Tally) -> Self {
        Self(Arc::new(Mutex::new(State {
            tokens: BTreeMap::new(),
            ending: BTreeSet::new(),
            ended: BTreeMap::new(),
            violation: None,
            has_faults,
            tally,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn violation(&self) -> Option<String> {
        self.state().violation.clone()
    }

    pub(super) fn accuse(&self, what: String) {
        self.state().violation.get_or_insert(what);
    }

    /// A token was answered.
    pub(super) fn issued(&self, session: &Session, user: UserId, number: SessionNumber, now: Timestamp) {
        let token = Token {
            user,
            idle: session.idle.unwrap(),
            number,
            releasing: false,
            released: false,
            used_at: session.issued_at,
            tried_at: now,
            trying: 0,
        };
        self.state().tokens.insert(session.digest.session(), token);
    }

    pub(super) fn releasing(&self, session: SessionId) {
        if let Some(token) = self.state().tokens.get_mut(&session) {
            token.releasing = true;
        }
    }

    pub(super) fn released(&self, session: SessionId) {
        if let Some(token) = self.state().tokens.get_mut(&session) {
            token.released = true;
        }
    }

    pub(super) fn ending(&self, user: UserId) {
        self.state().ending.insert(user);
    }

    pub(super) fn ended(&self, user: UserId, through: SessionNumber) {
        let mut state = self.state();
        let known = state.ended.entry(user).or_default();
        *known = through.max(*known);
    }

    /// A verification begins.
    pub(super) fn begin(
        &self,
        session: SessionId,
        now: impl Fn() -> Timestamp + Send + 'static,
    ) -> Option<Attempt> {
        let mut state = self.state();
        let State { tokens, ended, .. } = &mut *state;
        let token = tokens.get_mut(&session)?;
        let began_at = now();
        let was_dead = token.trying == 0 && began_at.since(token.tried_at) >= token.idle;
        token.trying += 1;
        Some(Attempt {
            history: self.clone(),
            session,
            began_at,
            was_released: token.released
                || ended.get(&token.user).is_some_and(|through| token.number <= *through),
            used_at: token.used_at,
            was_dead,
            now: Box::new(now),
        })
    }
}

impl Attempt {
    /// The verification was answered.
    pub(super) fn answered(self, verdict: Verdict) {
        let now = (self.now)();
        let mut state = self.history.state();
        let State { tokens, ending, violation, has_faults, tally, .. } = &mut *state;
        let Some(token) = tokens.get_mut(&self.session) else { return };
        let times = format!(
            "{} at {}..{}, last used at {}",
            self.session,
            self.began_at.as_millis(),
            now.as_millis(),
            self.used_at.as_millis()
        );
        match verdict {
            Verdict::Active => {
                tally.count("active");
                if self.was_released {
                    violation.get_or_insert(format!("active after the release was answered: {times}"));
                } else if self.was_dead {
                    violation.get_or_insert(format!("active after its idle time: {times}"));
                }
                token.used_at = token.used_at.max(self.began_at);
            }
            Verdict::Refused => {
                tally.count("refused");
                let may_be_gone = token.releasing || ending.contains(&token.user);
                // An instance that dies takes with it the uses that it has not written; half the time is always left.
                let least = if *has_faults { token.idle / 2 } else { token.idle };
                if !may_be_gone && now.since(self.used_at) < least {
                    violation.get_or_insert(format!("refused while it is live: {times}"));
                }
            }
            Verdict::Unavailable => tally.count("unavailable"),
        }
    }
}

impl Drop for Attempt {
    /// Also when nobody was answered, for the instance died.
    fn drop(&mut self) {
        let now = (self.now)();
        if let Some(token) = self.history.state().tokens.get_mut(&self.session) {
            token.trying -= 1;
            token.tried_at = token.tried_at.max(now);
        }
    }
}
