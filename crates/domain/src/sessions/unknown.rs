//! Tokens that are not in the store, remembered for a moment, so that asking again costs it nothing.

use std::{collections::HashSet, time::Duration};

use crate::{
    clock::Timestamp,
    id::SessionId,
    sync::{Mutex, lock},
};

/// How long they are remembered at least; twice as long at most. A token that is issued later is not one of them: nobody
/// can ask about it before.
const REMEMBERED_FOR: Duration = Duration::from_secs(10);
/// Half of how many are remembered at most: what comes then pushes out the older half.
const HALF: usize = 32_768;

/// See the module.
pub(super) struct Unknown(Mutex<Halves>);

struct Halves {
    /// When the younger half began.
    since: Timestamp,
    young: HashSet<SessionId>,
    old: HashSet<SessionId>,
}

impl Default for Unknown {
    fn default() -> Self {
        let since = Timestamp::from_millis(0);
        Self(Mutex::new(Halves { since, young: HashSet::new(), old: HashSet::new() }))
    }
}

impl Unknown {
    pub(super) fn contains(&self, session: SessionId, now: Timestamp) -> bool {
        let mut halves = lock(&self.0);
        halves.age(now);
        halves.young.contains(&session) || halves.old.contains(&session)
    }

    pub(super) fn add(&self, session: SessionId, now: Timestamp) {
        let mut halves = lock(&self.0);
        halves.age(now);
        if halves.young.len() == HALF {
            halves.turn(now);
        }
        halves.young.insert(session);
    }
}

impl Halves {
    fn age(&mut self, now: Timestamp) {
        let age = now.since(self.since);
        if age >= REMEMBERED_FOR {
            self.turn(now);
        }
        if age >= 2 * REMEMBERED_FOR {
            self.old.clear();
        }
    }

    fn turn(&mut self, now: Timestamp) {
        self.old = std::mem::take(&mut self.young);
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(n: usize) -> SessionId {
        SessionId::from_bytes((n as u128).to_be_bytes())
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    #[test]
    fn what_is_unknown_is_remembered_for_a_moment() {
        let unknown = Unknown::default();
        assert!(!unknown.contains(session(1), at(0)));
        unknown.add(session(1), at(0));
        assert!(unknown.contains(session(1), at(9_999)));
        assert!(unknown.contains(session(1), at(19_998)));
        assert!(!unknown.contains(session(1), at(29_998)));
        unknown.add(session(2), at(30_000));
        assert!(!unknown.contains(session(2), at(90_000)), "also if nobody has asked meanwhile");
    }

    #[test]
    fn guesses_do_not_grow_it_without_end() {
        let unknown = Unknown::default();
        for n in 0..3 * HALF {
            unknown.add(session(n), at(0));
        }
        let halves = lock(&unknown.0);
        assert!(halves.young.len() + halves.old.len() <= 2 * HALF);
        drop(halves);
        assert!(!unknown.contains(session(0), at(0)));
        assert!(unknown.contains(session(3 * HALF - 1), at(0)));
    }
}
