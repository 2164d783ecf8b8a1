//! What a stored hash and a password come to, and how much hashing goes on at once. Costs are tiny here: what is
//! tested is which hash is computed, not how slow it is.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc};

use super::{formats::parse, *};
use crate::{clock::TimeSource, random::NoRandomness};

const COST: Argon2Cost = Argon2Cost { memory_kib: 8, iterations: 1, parallelism: 1 };
const RAISED: Argon2Cost = Argon2Cost { memory_kib: 16, iterations: 2, parallelism: 1 };
const LIMITS: HashingLimits = HashingLimits { threads: 1, queue: 2 };
const SALT: [u8; 16] = [9; 16];

/// Counts up, so that no two reads agree.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Randomness for Counter {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        bytes.fill_with(|| self.0.fetch_add(1, Ordering::Relaxed) as u8);
        Ok(())
    }
}

struct Stopped;

impl TimeSource for Stopped {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    fn steady(&self) -> Duration {
        Duration::ZERO
    }
}

/// Counts the jobs that a thread took.
#[derive(Default)]
struct Jobs(AtomicUsize);

impl Observer for Jobs {
    fn hash_waited(&self, waited: Duration) {
        assert_eq!(waited, Duration::ZERO, "the clock stands still");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn start(cost: Argon2Cost) -> (Passwords, Arc<Jobs>) {
    let jobs = Arc::new(Jobs::default());
    let clock = Clock::new(Stopped);
    let passwords = Passwords::start(LIMITS, cost, &Counter::default(), clock, jobs.clone(), || ()).unwrap();
    (passwords, jobs)
}

fn password(text: &str) -> Password {
    Password::parse(text).unwrap()
}

fn stored(text: &str) -> Option<PasswordHash> {
    Some(PasswordHash::from_stored(text.into()))
}

/// A hash of "right" by any algorithm and version that Argon2 has.
fn made_with(algorithm: Algorithm, version: Version) -> PasswordHash {
    let params = Params::new(COST.memory_kib, COST.iterations, COST.parallelism, None).unwrap();
    let hash: phc::PasswordHash =
        Argon2::new(algorithm, version, params).hash_password_with_salt(b"right", &SALT).unwrap();
    PasswordHash::from_stored(hash.to_string())
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Keeps the one thread busy until `let_go` is sent or dropped.
struct Blockade<'a> {
    let_go: mpsc::Sender<()>,
    job: Pin<Box<dyn Future<Output = Result<(), HashError>> + 'a>>,
}

impl<'a> Blockade<'a> {
    fn of(passwords: &'a Passwords) -> Self {
        let (started, has_started) = mpsc::channel();
        let (let_go, go) = mpsc::channel::<()>();
        let mut job = Box::pin(passwords.run(move |_| {
            started.send(()).unwrap();
            let _ = go.recv();
        }));
        assert!(poll_once(job.as_mut()).is_pending());
        has_started.recv().unwrap();
        Self { let_go, job }
    }

    async fn lift(self) {
        drop(self.let_go);
        self.job.await.unwrap();
    }
}

#[tokio::test]
async fn tells_the_right_password_from_the_wrong_one() {
    let (passwords, _) = start(COST);
    let hash = passwords.hash(password("right"), SALT).await.unwrap();
    let verdict = passwords.verify(password("right"), Some(hash.clone()), SALT).await;
    assert_eq!(verdict, Ok(Verdict::Right { upgrade: None }));
    assert_eq!(passwords.verify(password("wrong"), Some(hash), SALT).await, Ok(Verdict::Wrong));
}

#[tokio::test]
async fn c2_byte_73_matters() {
    let (passwords, _) = start(COST);
    let long = "x".repeat(72);
    let hash = passwords.hash(password(&format!("{long}a")), SALT).await.unwrap();
    assert_eq!(passwords.verify(password(&format!("{long}b")), Some(hash), SALT).await, Ok(Verdict::Wrong));
}

#[tokio::test]
async fn c4_raised_parameters_give_an_upgrade_that_needs_none() {
    let hash = COST.hash(&password("right"), &Counter::default()).unwrap();
    let (passwords, _) = start(RAISED);
    assert_eq!(passwords.verify(password("wrong"), Some(hash.clone()), SALT).await, Ok(Verdict::Wrong));
    let Ok(Verdict::Right { upgrade: Some(upgrade) }) =
        passwords.verify(password("right"), Some(hash), SALT).await
    else {
        panic!("no upgrade")
    };
    assert!(upgrade.as_str().starts_with("$argon2id$v=19$m=16,t=2,p=1$"));
    let verdict = passwords.verify(password("right"), Some(upgrade.clone()), SALT).await;
    assert_eq!(verdict, Ok(Verdict::Right { upgrade: None }));
    assert_eq!(passwords.verify(password("wrong"), Some(upgrade), SALT).await, Ok(Verdict::Wrong));
}

#[tokio::test]
async fn c4_a_stronger_hash_is_left_alone() {
    let hash = RAISED.hash(&password("right"), &Counter::default()).unwrap();
    let (passwords, _) = start(COST);
    let verdict = passwords.verify(password("right"), Some(hash), SALT).await;
    assert_eq!(verdict, Ok(Verdict::Right { upgrade: None }));
}

#[tokio::test]
async fn c4_other_algorithms_and_versions_of_argon2_are_right_and_upgraded() {
    let (passwords, _) = start(COST);
    let today = made_with(Algorithm::Argon2id, Version::V0x13);
    for (algorithm, version) in [
        (Algorithm::Argon2i, Version::V0x13),
        (Algorithm::Argon2d, Version::V0x13),
        (Algorithm::Argon2id, Version::V0x10),
    ] {
        let hash = made_with(algorithm, version);
        let verdict = passwords.verify(password("right"), Some(hash.clone()), SALT).await;
        assert_eq!(verdict, Ok(Verdict::Right { upgrade: Some(today.clone()) }), "{}", hash.as_str());
        assert_eq!(passwords.verify(password("wrong"), Some(hash), SALT).await, Ok(Verdict::Wrong));
    }
}

#[tokio::test]
async fn c5_where_nothing_can_be_compared_one_hash_of_todays_parameters_is_computed() {
    let (passwords, jobs) = start(COST);
    let whole = made_with(Algorithm::Argon2id, Version::V0x13);
    let without_output = whole.as_str().rsplit_once('$').unwrap().0;
    let without_salt = without_output.rsplit_once('$').unwrap().0;
    let unusable = [
        None,
        stored(""),
        stored("garbage"),
        stored("right"),
        stored("$"),
        stored("$argon2id"),
        stored(without_output),
        stored(without_salt),
        stored(&whole.as_str()[..whole.as_str().len() - 40]),
        stored(&whole.as_str().replace("argon2id", "scrypt")),
        stored(&whole.as_str().replace("v=19", "v=20")),
        stored(&whole.as_str().replace("m=8,", "m=7,")),
        stored(&whole.as_str().replace("t=1,", "t=0,")),
        stored(&whole.as_str().replace("m=8,", "m=8,x=1,")),
        stored("$2b$12$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9"),
        stored("$2b$17$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q"),
        stored("$1$salt$qJH7.N4xYta3aEG/dfqo/0"),
    ];
    for (index, hash) in unusable.into_iter().enumerate() {
        let text = hash.as_ref().map(|hash| hash.as_str().to_owned());
        let verdict = passwords.verify(password("right"), hash, SALT).await;
        assert_eq!(verdict, Ok(Verdict::Unusable), "{text:?}");
        assert_eq!(jobs.0.load(Ordering::Relaxed), index + 1, "one job for {text:?}");
    }
}

#[tokio::test]
async fn c5_no_part_of_a_hash_is_right() {
    let (passwords, _) = start(COST);
    let whole = made_with(Algorithm::Argon2id, Version::V0x13);
    for length in 0..whole.as_str().len() {
        let part = &whole.as_str()[..length];
        let verdict = passwords.verify(password("right"), stored(part), SALT).await.unwrap();
        assert!(matches!(verdict, Verdict::Wrong | Verdict::Unusable), "{part}");
    }
}

#[test]
fn c5_the_stand_in_is_a_whole_hash_of_the_same_parameters() {
    for cost in [COST, RAISED] {
        let (passwords, _) = start(cost);
        let stand_in = phc::PasswordHash::new(passwords.stand_in.as_str()).unwrap();
        let real = COST.hash(&password("right"), &Counter::default()).unwrap();
        let real = phc::PasswordHash::new(real.as_str()).unwrap();
        assert!(!parse(passwords.stand_in.as_str()).unwrap().is_weaker_than(cost));
        assert_eq!(stand_in.version, real.version);
        assert_eq!(stand_in.salt.unwrap().len(), real.salt.unwrap().len());
        assert_eq!(stand_in.hash.unwrap().len(), real.hash.unwrap().len());
        assert_eq!(
            parse(passwords.stand_in.as_str()).unwrap().compare(&password("right"), &mut Memory::default()),
            Some(false),
            "a comparison with it is computed"
        );
    }
}

#[test]
fn c5_nobody_knows_the_password_of_the_stand_in_and_it_would_not_do() {
    let (passwords, _) = start(COST);
    let known = COST.hash(&password("known"), &Counter::default()).unwrap();
    assert_eq!(
        verify(&password("known"), None, &known, COST, SALT, &mut Memory::default()),
        Verdict::Unusable
    );
    assert_ne!(passwords.stand_in, known);
}

#[tokio::test]
async fn o1_the_queue_has_an_end_and_excess_is_turned_away_at_once() {
    let (passwords, _) = start(COST);
    let blockade = Blockade::of(&passwords);
    let (mut first, mut second) =
        (pin!(passwords.verify(password("a"), None, SALT)), pin!(passwords.hash(password("b"), SALT)));
    assert!(poll_once(first.as_mut()).is_pending() && poll_once(second.as_mut()).is_pending());
    assert_eq!(passwords.waiting(), 2);
    for _ in 0..3 {
        let excess = poll_once(pin!(passwords.verify(password("c"), None, SALT)));
        assert_eq!(excess, Poll::Ready(Err(HashError::QueueFull)));
    }
    assert_eq!(passwords.waiting(), 2);
    assert_eq!(passwords.admit(), Err(HashError::QueueFull));

    blockade.lift().await;
    assert_eq!(first.await, Ok(Verdict::Unusable));
    assert!(second.await.is_ok());
    assert_eq!(passwords.waiting(), 0);
    assert_eq!(
        passwords.verify(password("c"), None, SALT).await,
        Ok(Verdict::Unusable),
        "there is room again"
    );
}

/// There are few threads, and a server without them would refuse everybody for as long as it runs.
#[tokio::test]
async fn o1_a_hash_that_panics_takes_no_thread_with_it() {
    let (passwords, _) = start(COST);
    for _ in 0..3 {
        let failed = passwords.run(|_| panic!("a defect, for a test")).await;
        assert_eq!(failed, Err::<(), _>(HashError::Stopped));
        assert_eq!(passwords.verify(password("a"), None, SALT).await, Ok(Verdict::Unusable));
    }
}

#[tokio::test]
async fn o1_who_hangs_up_frees_their_place_and_is_not_hashed_for() {
    let (passwords, jobs) = start(COST);
    let blockade = Blockade::of(&passwords);
    let was_run = Arc::new(AtomicBool::new(false));
    let mut gone = Box::pin(passwords.run({
        let was_run = was_run.clone();
        move |_| was_run.store(true, Ordering::Relaxed)
    }));
    let mut stays = pin!(passwords.verify(password("a"), None, SALT));
    assert!(poll_once(stays.as_mut()).is_pending() && poll_once(gone.as_mut()).is_pending());
    drop(gone);
    assert_eq!(passwords.waiting(), 1);
    assert_eq!(Arc::strong_count(&was_run), 1, "the password is not kept waiting for a thread");
    let mut late = pin!(passwords.verify(password("b"), None, SALT));
    assert!(poll_once(late.as_mut()).is_pending(), "the place is free");

    blockade.lift().await;
    assert_eq!(stays.await, Ok(Verdict::Unusable));
    assert_eq!(late.await, Ok(Verdict::Unusable));
    assert!(!was_run.load(Ordering::Relaxed));
    assert_eq!(jobs.0.load(Ordering::Relaxed), 3, "the blockade, the one who stayed and the one who came");
}

#[tokio::test]
async fn o1_who_waits_longest_is_served_first() {
    let (passwords, _) = start(COST);
    let blockade = Blockade::of(&passwords);
    let (tell, served) = mpsc::channel();
    let mut waiting = ["first", "second"].map(|who| {
        let tell = tell.clone();
        Box::pin(passwords.run(move |_| tell.send(who).unwrap()))
    });
    assert!(waiting.iter_mut().all(|job| poll_once(job.as_mut()).is_pending()));
    blockade.lift().await;
    for job in waiting {
        job.await.unwrap();
    }
    assert_eq!(served.try_iter().collect::<Vec<_>>(), ["first", "second"]);
}

#[tokio::test]
async fn o1_who_hangs_up_while_their_hash_is_computed_disturbs_nobody() {
    let (passwords, _) = start(COST);
    let blockade = Blockade::of(&passwords);
    let mut waiting = pin!(passwords.verify(password("a"), None, SALT));
    assert!(poll_once(waiting.as_mut()).is_pending());
    drop(blockade);
    assert_eq!(waiting.await, Ok(Verdict::Unusable));
}

#[tokio::test]
async fn o1_as_many_hashes_are_computed_at_once_as_there_are_threads() {
    let limits = HashingLimits { threads: 2, queue: 1 };
    let (random, clock) = (Counter::default(), Clock::new(Stopped));
    let passwords = Passwords::start(limits, COST, &random, clock, Arc::new(Jobs::default()), || ()).unwrap();
    let (first, second) = (Blockade::of(&passwords), Blockade::of(&passwords));
    let mut third = pin!(passwords.verify(password("a"), None, SALT));
    assert!(poll_once(third.as_mut()).is_pending());
    assert_eq!(passwords.waiting(), 1);
    second.lift().await;
    assert_eq!(third.await, Ok(Verdict::Unusable));
    first.lift().await;
}

#[test]
fn dropping_waits_for_the_hash_under_way_and_ends_the_threads() {
    let (passwords, _) = start(COST);
    let (let_go, go) = mpsc::channel::<()>();
    let (started, has_started) = mpsc::channel();
    let is_finished = Arc::new(AtomicBool::new(false));
    let finish = is_finished.clone();
    let mut job = Box::pin(passwords.run(move |_| {
        started.send(()).unwrap();
        let _ = go.recv();
        finish.store(true, Ordering::Relaxed);
    }));
    assert!(poll_once(job.as_mut()).is_pending());
    has_started.recv().unwrap();
    drop(job);
    let shared = Arc::downgrade(&passwords.shared);
    drop(let_go);
    drop(passwords);
    assert!(is_finished.load(Ordering::Relaxed));
    assert!(shared.upgrade().is_none(), "no thread is left that could hold it");
}

#[test]
fn the_hook_runs_on_each_thread_before_its_first_hash() {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    let limits = HashingLimits { threads: 3, queue: 0 };
    let hook = || {
        THREADS.fetch_add(1, Ordering::Relaxed);
    };
    let clock = Clock::new(Stopped);
    drop(
        Passwords::start(limits, COST, &Counter::default(), clock, Arc::new(Jobs::default()), hook).unwrap(),
    );
    assert_eq!(THREADS.load(Ordering::Relaxed), 3);
}

#[test]
fn what_argon2_refuses_is_refused_at_the_start() {
    let cost = Argon2Cost { memory_kib: 1, ..COST };
    let started = Passwords::start(
        LIMITS,
        cost,
        &Counter::default(),
        Clock::new(Stopped),
        Arc::new(Jobs::default()),
        || (),
    );
    assert_eq!(started.map(drop).unwrap_err(), HashError::Cost(InvalidCost));
}

#[test]
fn s1_debug_shows_nothing_of_a_hash() {
    let hash = COST.hash(&password("canary"), &Counter::default()).unwrap();
    assert_eq!(format!("{hash:?}"), "PasswordHash(…)");
    let verdict = Verdict::Right { upgrade: Some(hash) };
    assert_eq!(format!("{verdict:?}"), "Right { upgrade: Some(PasswordHash(…)) }");
}

#[test]
fn c5_what_an_old_hash_lacks_of_todays_work_is_made_up_for() {
    let work = |cost: Argon2Cost| u64::from(cost.memory_kib) * u64::from(cost.iterations);
    let today = Argon2Cost::FLOOR;
    for (memory_kib, iterations, parallelism) in
        [(8, 1, 1), (4 * 1024, 3, 1), (64, 1, 4), (19 * 1024, 1, 1), (12 * 1024, 3, 1), (19 * 1024 - 9, 2, 1)]
    {
        let old = Argon2Cost { memory_kib, iterations, parallelism };
        let hash = old.hash(&password("right"), &Counter::default()).unwrap();
        let rest = today.beyond(parse(hash.as_str()).unwrap().work()).unwrap();
        assert!(
            rest.hash_with_salt(&password("wrong"), SALT, &mut Memory::default()).is_ok(),
            "{rest:?} is possible"
        );
        let done = work(old) + work(rest);
        assert!(work(today) - done <= u64::from(today.iterations), "{old:?} with {rest:?}");
    }
    for (memory_kib, iterations) in [(19 * 1024, 2), (19 * 1024 - 7, 2), (38 * 1024, 1), (20 * 1024, 3)] {
        let enough = Argon2Cost { memory_kib, iterations, parallelism: 1 };
        let hash = enough.hash(&password("right"), &Counter::default()).unwrap();
        assert_eq!(today.beyond(parse(hash.as_str()).unwrap().work()), None, "{enough:?}");
    }
}

/// A list of leaked passwords that has one, and cannot be read where it should have another.
struct Leaked;

impl BreachedPasswords for Leaked {
    fn contains(&self, password: &Password) -> Result<bool, String> {
        match password.expose() {
            "hinter pluto abend kran" => Ok(true),
            "torn page of the list" => Err("cannot read /leaked: no such file".into()),
            _ => Ok(false),
        }
    }
}

#[tokio::test]
async fn c3_a_chosen_password_is_judged_and_hashed() {
    let (passwords, _) = start(COST);
    let passwords = passwords.with_breached(Some(Arc::new(Leaked)));
    let rules = PasswordRules::default;
    let choose = async |text: &str, rules: PasswordRules| {
        passwords.choose(password(text), rules, vec!["zoe.smith".into(), "ACME".into()], SALT).await
    };
    let short = choose("kranich", rules()).await;
    assert_eq!(short, Ok(Err(Weakness::TooShort { has: 7, needs: 15 })));
    assert_eq!(choose("zoe.smith zoe.smith", rules()).await, Ok(Err(Weakness::Common)));
    assert_eq!(choose("hinter pluto abend kran", rules()).await, Ok(Err(Weakness::Breached)));
    let unreadable = Err(HashError::BreachedPasswords("cannot read /leaked: no such file".into()));
    assert_eq!(choose("torn page of the list", rules()).await, unreadable, "it is not let pass unseen");
    let hash = choose("wolke sieben traegt kran", rules()).await.unwrap().unwrap();
    let verdict = passwords.verify(password("wolke sieben traegt kran"), Some(hash), SALT).await;
    assert_eq!(verdict, Ok(Verdict::Right { upgrade: None }));
    // Where an organisation does without the blocklist, nothing is looked up.
    let without = || PasswordRules { blocklist: false, ..rules() };
    assert!(choose("hinter pluto abend kran", without()).await.unwrap().is_ok());
    assert!(choose("torn page of the list", without()).await.unwrap().is_ok());
}

/// The memory that one hash has filled makes no difference to the next, whichever of them is larger.
#[test]
fn c4_memory_that_was_used_gives_the_hashes_that_fresh_memory_gives() {
    let mut memory = Memory::keeping(RAISED);
    for (n, cost) in [RAISED, COST, RAISED, COST, COST].into_iter().enumerate() {
        let right = password(&format!("password {n}"));
        let hash = cost.hash_with_salt(&right, SALT, &mut memory).unwrap();
        let parsed = phc::PasswordHash::new(hash.as_str()).unwrap();
        let text = right.expose().as_bytes();
        assert!(Argon2::default().verify_password(text, &parsed).is_ok(), "by the crate's own memory");
        let parsed = parse(hash.as_str()).unwrap();
        assert_eq!(parsed.compare(&right, &mut memory), Some(true));
        assert_eq!(parsed.compare(&password("other"), &mut memory), Some(false));
    }
}

/// What a larger hash needs is given back after it; what today's needs is kept.
#[test]
fn the_memory_of_a_larger_hash_is_given_back() {
    let mut memory = Memory::keeping(RAISED);
    let right = password("right");
    let larger = Argon2Cost { memory_kib: 4096, iterations: 1, parallelism: 1 };
    for (cost, held) in [(COST, 8), (RAISED, 16), (larger, 16), (COST, 16), (larger, 16)] {
        let hash = cost.hash_with_salt(&right, SALT, &mut memory).unwrap();
        assert_eq!(memory.held(), held, "after {cost:?}");
        assert_eq!(parse(hash.as_str()).unwrap().compare(&right, &mut memory), Some(true));
        assert_eq!(memory.held(), held, "after {cost:?}");
    }
}

/// Hashes of "right" by other programs, of little cost.
const OF_OTHERS: [&str; 5] = [
    "$2b$04$P/6/VpynCeGmot3le5PKF.C0XIgLFzluUj2ENP1eanvKkUI5RmXmG",
    "$scrypt$ln=3,r=1,p=1$wphzLiVkTMk5Z4yxVqqVUg$ulJkgijZEayeYJy+wrX5q7nuEOBA4Y5uIhldGWF8ur0",
    "$pbkdf2-sha512$10$VsoZg7DW2rvX2hvDeA.hVA$ZJKzuPO0sCFaE598dsf80xR9fQPAmO/3tvHq4z5UjHdH/rf9cGxgdljyd7XY5U2TH.BbNM9DANKVb5dFZ5.y1w",
    "pbkdf2_sha256$10$ykmkYkBRcaaT$cH4gEmBHffMMGjaUdQsV0ylfse/BKIedgxnWet+3EEE=",
    "$5$rounds=1000$D.R1ZyYD3msaXo./$WB5Q9vY87dv773Z/l6UH5kHxoAZsgdG/BoJMZPSCyL8",
];

#[tokio::test]
async fn c4_hashes_of_other_programs_are_right_once_and_then_ours() {
    let (passwords, _) = start(COST);
    let today = made_with(Algorithm::Argon2id, Version::V0x13);
    for hash in OF_OTHERS {
        let hash = PasswordHash::import(hash).unwrap();
        assert_eq!(passwords.verify(password("wrong"), Some(hash.clone()), SALT).await, Ok(Verdict::Wrong));
        let verdict = passwords.verify(password("right"), Some(hash.clone()), SALT).await;
        assert_eq!(verdict, Ok(Verdict::Right { upgrade: Some(today.clone()) }), "{}", hash.as_str());
    }
}

/// C5: what is made up for never exceeds one hash of ours, and is all of it where the other cost next to nothing.
#[test]
fn c5_what_a_hash_of_another_program_lacks_is_made_up_for() {
    for hash in OF_OTHERS {
        let done = parse(hash).unwrap().work();
        let rest = Argon2Cost::FLOOR.beyond(done).unwrap();
        let total = done + rest.work();
        assert!(done > 0 && done < Argon2Cost::FLOOR.work() / 20, "{hash}: {done}");
        assert!(
            Argon2Cost::FLOOR.work() - total <= 2 && total <= Argon2Cost::FLOOR.work(),
            "{hash}: {rest:?}"
        );
    }
    let costly = format!("$2b$12${}", "A".repeat(53));
    assert_eq!(Argon2Cost::FLOOR.beyond(parse(&costly).unwrap().work()), None);
}

/// C5: a hash that costs too much is not computed; a hash of ours is, as where there is none.
#[tokio::test]
async fn c5_a_hash_beyond_all_bounds_is_of_no_use_and_takes_no_longer() {
    let (passwords, jobs) = start(COST);
    let digest = "A".repeat(43);
    let costly = [
        format!("$argon2id$v=19$m=4294967295,t=4294967295,p=1$c29tZXNhbHQ${digest}"),
        format!("$2b$31${digest}AAAAAAAAAA"),
        format!("$scrypt$ln=63,r=4294967295,p=4294967295$c29tZXNhbHQ${digest}"),
        format!("pbkdf2_sha256$18446744073709551615$salt${digest}="),
        format!("$5$rounds=999999999$salt${digest}"),
    ];
    for (index, hash) in costly.into_iter().enumerate() {
        assert_eq!(
            passwords.verify(password("x"), stored(&hash), SALT).await,
            Ok(Verdict::Unusable),
            "{hash}"
        );
        assert_eq!(jobs.0.load(Ordering::Relaxed), index + 1);
    }
}
