//! What clients of many instances were told about tokens, and whether all of it can be true.
//!
//! Clients write down when each call began and ended, on one clock, and what it said. Nothing is known of the moment in
//! between at which an instance decided; so only calls that do not overlap are in an order, and what they say must fit
//! that order ([`History::violations`]).

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A token, by the order of issuing. The token itself is its clients' secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenNumber(usize);

/// What a verification said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The token is in force.
    Active,
    /// It is not.
    Inactive,
    /// Nobody knows: an outage, a connection that broke, no answer in time.
    Unavailable,
}

/// Something that was asked about a token, and what was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The token was given out.
    Issued,
    /// It was verified, which is a use.
    Verified(Verdict),
    /// It was looked at, which is none.
    Seen(Verdict),
    /// It was released: `true` if that was answered, `false` if it is not known whether it was done.
    Released(bool),
}

impl Deed {
    /// What it said of the token.
    fn verdict(self) -> Option<Verdict> {
        match self {
            Self::Verified(verdict) | Self::Seen(verdict) => Some(verdict),
            Self::Issued | Self::Released(_) => None,
        }
    }

    fn is_use(self) -> bool {
        matches!(self, Self::Issued | Self::Verified(Verdict::Active))
    }

    /// Whether it may have been a use for all that its caller knows.
    fn may_be_use(self) -> bool {
        self.is_use() || self == Self::Verified(Verdict::Unavailable)
    }
}

/// A call to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which token.
    pub token: TokenNumber,
    /// Which instance.
    pub instance: usize,
    /// Before it was sent.
    pub began: Duration,
    /// After it was answered; for a release that has not been, long after all.
    pub ended: Duration,
    /// What was asked and answered.
    pub deed: Deed,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, instance, began, ended, deed } = self;
        let seconds = |time: &Duration| time.as_secs_f64();
        write!(f, "{:9.4} s ", seconds(began))?;
        match *ended {
            Duration::MAX => write!(f, "to the end ")?,
            _ => write!(f, "to {:9.4} s ", seconds(ended))?,
        }
        write!(f, "instance {instance}, token {}: {deed:?}", token.0)
    }
}

/// What instances promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// How long an instance may answer without having heard of what is committed.
    pub lease: Duration,
    /// How long a token lives after its last use, and by how much instances may be wrong about that; `None` if all live
    /// longer than the history lasts.
    pub idle: Option<(Duration, Duration)>,
}

/// A history that cannot be, if instances keep what they promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise is broken.
    pub rule: Rule,
    /// The call that breaks it.
    pub event: Event,
    /// All that was asked about its token, in the order in which it began.
    pub of_token: Vec<Event>,
}

/// What must hold of each token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// No verification that began after a release was answered says that the token is active, on whatever instance.
    ReleasedIsInactive,
    /// A token that was given out, was not released and was used in time is never inactive.
    IssuedIsActive,
    /// An instance that has said that the token is inactive does not say later that it is active; a lease later no
    /// instance does. Before that, one that has not heard of a release may: the release is not answered yet.
    InactiveStaysInactive,
    /// A token that has not been used for its idle time is not active.
    IdleIsInactive,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}: {}", self.rule, self.event)?;
        self.of_token.iter().try_for_each(|event| writeln!(f, "    {event}"))
    }
}

/// A history that is being written.
#[derive(Debug)]
pub struct History {
    start: Instant,
    written: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    tokens: usize,
    events: Vec<Event>,
}

impl Default for History {
    fn default() -> Self {
        Self { start: Instant::now(), written: Mutex::default() }
    }
}

/// A release that is under way, by its place in the history.
#[derive(Debug)]
#[must_use]
pub struct Release(usize);

impl History {
    /// The moment, for a call that is about to begin.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Writes down that an instance has given out a new token.
    pub fn issued(&self, instance: usize, began: Duration) -> TokenNumber {
        let mut written = self.written();
        let token = TokenNumber(written.tokens);
        written.tokens += 1;
        written.events.push(Event { token, instance, began, ended: self.now(), deed: Deed::Issued });
        token
    }

    /// Writes down what an instance has said of a token.
    pub fn verified(&self, token: TokenNumber, instance: usize, began: Duration, verdict: Verdict) {
        self.write(token, instance, began, Deed::Verified(verdict));
    }

    /// As [`Self::verified`], where it was no use.
    pub fn seen(&self, token: TokenNumber, instance: usize, began: Duration, verdict: Verdict) {
        self.write(token, instance, began, Deed::Seen(verdict));
    }

    fn write(&self, token: TokenNumber, instance: usize, began: Duration, deed: Deed) {
        // Read first: waiting for the others must not make the call look longer than it was.
        let ended = self.now();
        self.written().events.push(Event { token, instance, began, ended, deed });
    }

    /// Writes down that a token is about to be released. If nothing more is heard of it, it may have been.
    pub fn begin_release(&self, token: TokenNumber, instance: usize) -> Release {
        let mut written = self.written();
        let deed = Deed::Released(false);
        let ended = Duration::MAX;
        written.events.push(Event { token, instance, began: self.now(), ended, deed });
        Release(written.events.len() - 1)
    }

    /// Writes down what came of a release: whether it was answered that it is done.
    pub fn end_release(&self, Release(place): Release, is_done: bool) {
        let ended = self.now();
        let event = &mut self.written().events[place];
        (event.ended, event.deed) = (ended, Deed::Released(is_done));
    }

    /// All that is written so far.
    pub fn events(&self) -> Vec<Event> {
        self.written().events.clone()
    }

    /// What cannot be true.
    pub fn violations(&self, promises: Promises) -> Vec<Violation> {
        violations(self.events(), promises)
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What cannot be true in a history.
pub fn violations(mut events: Vec<Event>, promises: Promises) -> Vec<Violation> {
    events.sort_by_key(|event| (event.token, event.began));
    let of_tokens = events.chunk_by(|one, other| one.token == other.token);
    of_tokens.flat_map(|of_token| violations_of(of_token, promises)).collect()
}

/// The same of the events of one token, in the order in which they began.
fn violations_of(of_token: &[Event], Promises { lease, idle }: Promises) -> Vec<Violation> {
    let releases = || of_token.iter().filter(|event| matches!(event.deed, Deed::Released(_)));
    let is_done = |event: &&Event| event.deed == Deed::Released(true);
    let released = releases().filter(is_done).map(|event| event.ended).min();
    let first_release = releases().map(|event| event.began).min();
    let denials = || of_token.iter().filter(|event| event.deed.verdict() == Some(Verdict::Inactive));

    let breaks = |event: &Event| match event.deed.verdict()? {
        Verdict::Active => {
            let Event { instance, began, .. } = *event;
            // The last moment at which another call may have been a use of the token.
            let others =
                of_token.iter().filter(|other| !std::ptr::eq(*other, event) && other.began < event.ended);
            let last_use = others.filter(|other| other.deed.may_be_use()).map(|other| other.ended).max();
            if released.is_some_and(|released| began > released) {
                Some(Rule::ReleasedIsInactive)
            } else if denials().any(|denial| {
                let grace = if denial.instance == instance { Duration::ZERO } else { lease };
                began > denial.ended + grace
            }) {
                Some(Rule::InactiveStaysInactive)
            } else if let Some((idle, doubt)) = idle
                && last_use.is_some_and(|last_use| began > last_use + idle + doubt)
            {
                Some(Rule::IdleIsInactive)
            } else {
                None
            }
        }
        Verdict::Inactive => {
            // The token was certainly used at this moment or later.
            let uses = of_token.iter().filter(|other| other.deed.is_use() && other.ended < event.began);
            let used = uses.map(|other| other.began).max()?;
            let is_in_time = idle.is_none_or(|(idle, doubt)| event.ended + doubt < used + idle);
            let is_unreleased = first_release.is_none_or(|began| event.ended < began);
            (is_unreleased && is_in_time).then_some(Rule::IssuedIsActive)
        }
        Verdict::Unavailable => None,
    };
    let broken = of_token.iter().filter_map(|event| Some((breaks(event)?, *event)));
    broken.map(|(rule, event)| Violation { rule, event, of_token: of_token.to_vec() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(100);
    const LASTING: Promises = Promises { lease: LEASE, idle: None };
    const IDLE: Promises =
        Promises { lease: LEASE, idle: Some((Duration::from_millis(1_000), Duration::from_millis(50))) };

    fn event(instance: usize, began: u64, ended: u64, deed: Deed) -> Event {
        let time = Duration::from_millis;
        Event { token: TokenNumber(7), instance, began: time(began), ended: time(ended), deed }
    }

    fn issued() -> Event {
        event(0, 10, 20, Deed::Issued)
    }

    fn says(instance: usize, began: u64, ended: u64, verdict: Verdict) -> Event {
        event(instance, began, ended, Deed::Verified(verdict))
    }

    #[track_caller]
    fn breaks(promises: Promises, events: &[Event], rules: &[Rule]) {
        let found = violations(events.to_vec(), promises);
        assert_eq!(found.iter().map(|violation| violation.rule).collect::<Vec<_>>(), rules, "{found:#?}");
        // Events of other tokens have nothing to do with it.
        let other = |event: &Event| Event { token: TokenNumber(3), ..*event };
        let mut both: Vec<_> = events.to_vec();
        both.extend(events.iter().rev().map(other));
        assert_eq!(violations(both, promises).len(), 2 * rules.len());
    }

    use Rule::{IdleIsInactive, InactiveStaysInactive, IssuedIsActive, ReleasedIsInactive};
    use Verdict::{Active, Inactive, Unavailable};

    #[test]
    fn a_released_token_is_active_nowhere() {
        let release = |is_done| event(1, 30, 40, Deed::Released(is_done));
        for instance in [0, 1] {
            breaks(
                LASTING,
                &[issued(), release(true), says(instance, 41, 50, Active)],
                &[ReleasedIsInactive],
            );
            // It may have looked before the release.
            breaks(LASTING, &[issued(), release(true), says(instance, 39, 50, Active)], &[]);
            breaks(LASTING, &[issued(), release(false), says(instance, 41, 50, Active)], &[]);
            for verdict in [Inactive, Unavailable] {
                breaks(LASTING, &[issued(), release(true), says(instance, 41, 50, verdict)], &[]);
            }
        }
        // The first release that was answered counts, whatever another one says.
        let again = event(0, 32, 90, Deed::Released(true));
        breaks(LASTING, &[issued(), again, release(true), says(0, 60, 70, Active)], &[ReleasedIsInactive]);
    }

    #[test]
    fn a_token_that_was_given_out_is_active_until_somebody_begins_to_release_it() {
        breaks(LASTING, &[issued(), says(1, 21, 29, Inactive)], &[IssuedIsActive]);
        breaks(LASTING, &[issued(), says(1, 21, 29, Unavailable)], &[]);
        for is_done in [true, false] {
            let release = event(1, 30, 40, Deed::Released(is_done));
            breaks(LASTING, &[issued(), release, says(2, 21, 29, Inactive)], &[IssuedIsActive]);
            breaks(LASTING, &[issued(), release, says(2, 21, 31, Inactive)], &[]);
        }
        let lost = Event { ended: Duration::MAX, ..event(1, 30, 40, Deed::Released(false)) };
        breaks(LASTING, &[issued(), lost, says(2, 900, 910, Inactive)], &[]);
    }

    #[test]
    fn what_has_ended_does_not_come_back() {
        let release = event(1, 30, 2_000, Deed::Released(false));
        let said = says(1, 40, 50, Inactive);
        breaks(LASTING, &[issued(), release, said, says(1, 51, 60, Active)], &[InactiveStaysInactive]);
        // Another one may not have heard of it, but not for longer than a lease.
        breaks(LASTING, &[issued(), release, said, says(2, 51, 60, Active)], &[]);
        breaks(LASTING, &[issued(), release, said, says(2, 151, 160, Active)], &[InactiveStaysInactive]);
        breaks(LASTING, &[issued(), release, said, says(1, 49, 60, Active)], &[]);
    }

    #[test]
    fn idle_time_counts_from_the_last_use_anywhere() {
        let used = says(1, 500, 510, Active);
        breaks(IDLE, &[issued(), used, says(2, 1_400, 1_410, Inactive)], &[IssuedIsActive]);
        breaks(IDLE, &[issued(), used, says(2, 1_400, 1_500, Inactive)], &[]);
        breaks(IDLE, &[issued(), used, says(2, 1_500, 1_510, Active)], &[]);
        breaks(IDLE, &[issued(), used, says(2, 1_561, 1_570, Active)], &[IdleIsInactive]);
        // A call without an answer may have been a use; one that is refused was none.
        let lost = says(0, 700, 800, Unavailable);
        breaks(IDLE, &[issued(), used, lost, says(2, 1_561, 1_570, Active)], &[]);
        breaks(IDLE, &[issued(), used, lost, says(2, 1_520, 1_530, Inactive)], &[]);
        // Nor does looking keep a token alive, though what is seen must be true.
        let seen = |began, ended, verdict| event(0, began, ended, Deed::Seen(verdict));
        breaks(
            IDLE,
            &[issued(), used, seen(800, 810, Active), says(2, 1_561, 1_570, Active)],
            &[IdleIsInactive],
        );
        breaks(IDLE, &[issued(), used, seen(1_561, 1_570, Active)], &[IdleIsInactive]);
        breaks(IDLE, &[issued(), used, seen(1_400, 1_410, Inactive)], &[IssuedIsActive]);
    }

    #[test]
    fn a_history_is_written_by_its_clients() {
        let history = History::default();
        let began = history.now();
        let (first, second) = (history.issued(0, began), history.issued(1, began));
        assert_ne!(first, second);
        let release = history.begin_release(first, 1);
        let lost = history.begin_release(second, 1);
        history.verified(first, 2, history.now(), Active);
        history.end_release(release, true);
        assert_eq!(history.violations(LASTING), []);
        let later = history.now() + Duration::from_nanos(1);
        history.verified(first, 2, later, Active);
        history.seen(second, 2, later, Inactive);
        let violations = history.violations(LASTING);
        assert_eq!(
            violations.iter().map(|violation| violation.rule).collect::<Vec<_>>(),
            [ReleasedIsInactive]
        );
        let shown = violations[0].to_string();
        assert!(shown.contains("ReleasedIsInactive") && shown.contains("instance 2, token 0"), "{shown}");
        assert!(history.events().iter().any(|event| event.to_string().contains("to the end")));
        let Release(_) = lost;
    }
}
