//! The protocol under attack: instances, a store and clients in simulated time, with everything that can go wrong
//! drawn from a seed. What fails with a seed fails with it again.

mod history;
mod instance;
mod keeper;
mod member;
mod store;
mod world;

use std::{
    cell::Cell,
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use self::world::World;
use super::Pace;

/// The rules that make the protocol safe. Each can be broken, to show that the simulation finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// A lease counts from before its renewal was sent.
    LeaseFromBefore,
    /// A lease is extended after what its renewal read is applied.
    ApplyThenExtend,
    /// Nothing is answered from memory without a lease.
    NoAnswerWithoutLease,
    /// The lease is looked at before the table is.
    LeaseBeforeTable,
    /// A release is answered when all have acknowledged it or a lease has passed.
    WaitForAll,
    /// What was fetched while it changed is thrown away.
    NoStaleFetch,
    /// An instance whose registration is gone forgets its table.
    ForgetWhenRemoved,
    /// What looks expired for want of use is fetched again before it is refused.
    RefetchBeforeIdleRefusal,
}

thread_local! {
    static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
}

impl Rule {
    /// Whether it is obeyed in the simulation that this thread runs.
    pub(super) fn is_obeyed(self) -> bool {
        BROKEN.get() != Some(self)
    }
}

const LEASE: Duration = Duration::from_millis(1_000);
const PACE: Pace =
    Pace { lease: LEASE, heartbeat: Duration::from_millis(200), poll_interval: Duration::from_millis(40) };

/// Where all that is random comes from: the same from the same seed (SplitMix64).
#[derive(Clone)]
struct Chance(Arc<Mutex<u64>>);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))))
    }

    fn below(&self, end: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    fn one_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn millis(&self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }

    fn leases(&self, percent: u64) -> Duration {
        LEASE * u32::try_from(self.below(percent)).unwrap() / 100
    }
}

/// How often things happened, so that it can be told that they did.
#[derive(Clone, Default)]
struct Tally(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Tally {
    fn count(&self, what: &'static str) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }

    fn of(&self, what: &'static str) -> u64 {
        self.0.lock().unwrap().get(what).copied().unwrap_or(0)
    }
}

/// Runs one history. `Err` says what went wrong in it.
fn simulate(seed: u64, broken: Option<Rule>, has_faults: bool, tally: &Tally) -> Result<(), String> {
    BROKEN.set(broken);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let result = runtime.block_on(World::run(seed, has_faults, tally.clone()));
    BROKEN.set(None);
    result
}

/// The first ones, or those of `SIMULATED_SEEDS=from..to`, to look longer.
fn seeds(first: u64) -> Range<u64> {
    let read = |text: String| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    };
    std::env::var("SIMULATED_SEEDS").ok().and_then(read).unwrap_or(0..first)
}

#[test]
fn no_fault_makes_a_wrong_answer() {
    let tally = Tally::default();
    for seed in seeds(50) {
        assert_eq!(simulate(seed, None, true, &tally), Ok(()), "seed {seed}");
    }
    // Otherwise the simulation would show nothing.
    for what in [
        "active",
        "refused",
        "unavailable",
        "fetched",
        "spoilt",
        "refetched",
        "use written first",
        "in force by all",
        "in force by lease",
        "removed",
        "registered",
        "lost registration",
        "lease missed",
    ] {
        assert!(tally.of(what) >= 20, "{what}: {}", tally.of(what));
    }
}

#[test]
fn without_faults_a_token_lives_to_the_end_of_its_idle_time() {
    let tally = Tally::default();
    for seed in seeds(60) {
        assert_eq!(simulate(seed, None, false, &tally), Ok(()), "seed {seed}");
    }
    for what in ["active", "refused", "refetched", "in force by all"] {
        assert!(tally.of(what) >= 20, "{what}: {}", tally.of(what));
    }
    for what in ["in force by lease", "removed", "lease missed", "unavailable"] {
        assert_eq!(tally.of(what), 0, "{what}");
    }
}

/// A seed for each rule with which its absence shows; [`find_seed`] finds them.
const NEEDED: [(Rule, u64); 8] = [
    (Rule::LeaseFromBefore, 2),
    (Rule::ApplyThenExtend, 2),
    (Rule::NoAnswerWithoutLease, 2),
    (Rule::LeaseBeforeTable, 7),
    (Rule::WaitForAll, 0),
    (Rule::NoStaleFetch, 4),
    (Rule::ForgetWhenRemoved, 60),
    (Rule::RefetchBeforeIdleRefusal, 0),
];

/// Names the seed to write down when the simulation has changed.
fn find_seed(rule: Rule) -> String {
    let shows = |seed: &u64| simulate(*seed, Some(rule), true, &Tally::default()).is_err();
    (0..5_000).find(shows).map_or("which no seed shows".into(), |seed| format!("which seed {seed} shows now"))
}

#[test]
fn every_rule_is_needed() {
    let tally = Tally::default();
    for (rule, seed) in NEEDED {
        let wrong = if rule == Rule::RefetchBeforeIdleRefusal { "refused" } else { "active" };
        let found =
            simulate(seed, Some(rule), true, &tally).expect_err(&format!("{rule:?}, {}", find_seed(rule)));
        assert!(found.starts_with(wrong), "{rule:?}: {found}");
        assert_eq!(simulate(seed, None, true, &tally), Ok(()), "{rule:?} obeyed, seed {seed}");
    }
}
