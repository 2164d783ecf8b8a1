//! Argon2id on threads of its own, behind a bounded queue.
//!
//! Hashing is slow on purpose; here it cannot make anything else slow. The threads are few and (by the `on_thread`
//! hook of whoever starts them) of low priority, the queue has an end, and a caller who gives up frees their place.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{self, Output, ParamsString, Salt},
};
use tokio::sync::oneshot;

use crate::{
    clock::{Clock, Timestamp},
    credential::Password,
    observer::Observer,
    policy::{BreachedPasswords, PasswordRules, Weakness},
    random::{NoRandomness, Randomness},
};

/// A password's hash as it is stored: a PHC string.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a hash as storage has it. Whether it can be read is found out when it is verified.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text to store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// What one Argon2id hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

impl Argon2Cost {
    /// The least that `security.md` C4 allows, and the default.
    pub const FLOOR: Self = Self { memory_kib: 19 * 1024, iterations: 2, parallelism: 1 };

    /// Hashes on the calling thread. For set-up; the server hashes through [`Passwords`].
    pub fn hash(self, password: &Password, random: &dyn Randomness) -> Result<PasswordHash, HashError> {
        Ok(self.hash_with_salt(password, random.bytes()?, &mut Memory::default())?)
    }

    fn hash_with_salt(
        self,
        password: &Password,
        salt: [u8; 16],
        memory: &mut Memory,
    ) -> Result<PasswordHash, InvalidCost> {
        let params =
            Params::new(self.memory_kib, self.iterations, self.parallelism, None).map_err(|_| InvalidCost)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(argon2.params()).map_err(|_| InvalidCost)?,
            salt: Some(Salt::new(&salt).map_err(|_| InvalidCost)?),
            hash: memory.hash(&argon2, password, &salt, Params::DEFAULT_OUTPUT_LEN),
        };
        hash.hash.ok_or(InvalidCost)?;
        Ok(PasswordHash(hash.to_string()))
    }

    /// Does the work by which this cost exceeds that of a hash made earlier, so that a wrong password takes as long
    /// where the hash is old as where there is none (`security.md` C5).
    fn make_up_for(self, hash: &phc::PasswordHash, password: &Password, salt: [u8; 16], memory: &mut Memory) {
        if let Some(rest) = self.beyond(hash) {
            let _ = std::hint::black_box(rest.hash_with_salt(password, salt, memory));
        }
    }

    /// The cost that a hash made earlier lacks; `None` if there is no such. The work is memory times passes.
    fn beyond(self, hash: &phc::PasswordHash) -> Option<Self> {
        let work = |memory: u32, iterations: u32| u64::from(memory) * u64::from(iterations);
        let done = Params::try_from(hash).map_or(0, |made| work(made.m_cost(), made.t_cost()));
        let missing =
            work(self.memory_kib, self.iterations).saturating_sub(done) / u64::from(self.iterations);
        let memory_kib = u32::try_from(missing).unwrap_or(self.memory_kib);
        // Less is no work worth the name, and not possible either.
        (memory_kib >= Params::MIN_M_COST * self.parallelism).then_some(Self { memory_kib, ..self })
    }

    /// Whether `hash` is weaker than hashes made today: an older algorithm, less memory or fewer passes. A stronger
    /// one is left alone.
    fn exceeds(self, hash: &phc::PasswordHash) -> bool {
        let is_newest = hash.algorithm.as_str() == "argon2id" && hash.version == Some(Version::V0x13.into());
        let is_enough = Params::try_from(hash)
            .is_ok_and(|made| made.m_cost() >= self.memory_kib && made.t_cost() >= self.iterations);
        !(is_newest && is_enough)
    }
}

/// Argon2 does not accept these parameters, or has not got the memory for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Argon2 refuses these parameters or cannot have the memory for them")]
pub struct InvalidCost;

/// Why a password was not hashed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// As many are waiting as may.
    #[error("the queue of logins is full")]
    QueueFull,
    /// The threads are gone: the server is stopping.
    #[error("password hashing has stopped")]
    Stopped,
    /// See [`InvalidCost`].
    #[error(transparent)]
    Cost(#[from] InvalidCost),
    /// See [`NoRandomness`].
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The list of leaked passwords cannot be read.
    #[error("{0}")]
    BreachedPasswords(String),
}

/// What came of comparing a password with a stored hash.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the password. If the stored hash was made with other parameters than today's, here is a new one.
    Right {
        /// The replacement of the stored hash.
        upgrade: Option<PasswordHash>,
    },
    /// It is not.
    Wrong,
    /// There was no hash, or not one that can be read; a real hash was computed all the same.
    Unusable,
}

/// How much hashing may go on.
#[derive(Clone, Copy, Debug)]
pub struct HashingLimits {
    /// Threads, and so hashes at a time.
    pub threads: usize,
    /// Hashes that may wait for a thread.
    pub queue: usize,
}

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// The memory that hashes fill, kept by each thread from one to the next: to get as much anew from the operating system
/// takes up to half as long again as the hash, and how much depends on what else goes on.
#[derive(Default)]
struct Memory(Vec<Block>);

impl Memory {
    /// Computes a hash; `None` if Argon2 refuses what it is given or the memory is not to be had.
    fn hash(
        &mut self,
        argon2: &Argon2<'_>,
        password: &Password,
        salt: &[u8],
        length: usize,
    ) -> Option<Output> {
        let count = argon2.params().block_count();
        if let Some(missing) = count.checked_sub(self.0.len()) {
            self.0.try_reserve_exact(missing).ok()?;
            self.0.resize(count, Block::new());
        }
        let mut output = [0; Output::MAX_LENGTH];
        let output = output.get_mut(..length)?;
        let password = password.expose().as_bytes();
        argon2.hash_password_into_with_memory(password, salt, output, &mut self.0[..count]).ok()?;
        Output::new(output).ok()
    }
}

struct Waiting {
    ticket: u64,
    since: Timestamp,
    job: Job,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    next_ticket: u64,
    is_closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    observer: Arc<dyn Observer>,
    clock: Clock,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut memory = Memory::default();
        loop {
            let mut queue = self.queue();
            let next = loop {
                if let Some(next) = queue.waiting.pop_front() {
                    break next;
                }
                if queue.is_closed {
                    return;
                }
                queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
            };
            drop(queue);
            self.observer.hash_waited(self.clock.now().since(next.since));
            (next.job)(&mut memory);
        }
    }
}

/// A caller's place in the queue; giving it up takes the job out if no thread has it yet.
struct Place<'a> {
    shared: &'a Shared,
    ticket: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.queue().waiting.retain(|waiting| waiting.ticket != self.ticket);
    }
}

/// The hashing threads. Dropping this waits for the hashes under way and ends the threads.
pub struct Passwords {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    limits: HashingLimits,
    cost: Argon2Cost,
    stand_in: PasswordHash,
    breached: Option<Arc<dyn BreachedPasswords>>,
}

impl Passwords {
    /// Starts the threads. `on_thread` runs first on each of them, to lower its priority.
    ///
    /// Computes one hash: the stand-in that is compared with where there is no account, so that an unknown user
    /// costs what a known one does (`security.md` C5).
    pub fn start(
        limits: HashingLimits,
        cost: Argon2Cost,
        random: &dyn Randomness,
        clock: Clock,
        observer: Arc<dyn Observer>,
        on_thread: fn(),
    ) -> Result<Self, HashError> {
        let stand_in = cost.hash(&Password::generate(random)?, random)?;
        let shared = Arc::new(Shared { queue: Mutex::default(), arrived: Condvar::new(), observer, clock });
        let threads = (0..limits.threads.max(1))
            .map(|_| {
                let shared = shared.clone();
                std::thread::spawn(move || {
                    on_thread();
                    shared.work();
                })
            })
            .collect();
        Ok(Self { shared, threads, limits, cost, stand_in, breached: None })
    }

    /// Refuses passwords of this list too.
    #[must_use]
    pub fn with_breached(mut self, breached: Option<Arc<dyn BreachedPasswords>>) -> Self {
        self.breached = breached;
        self
    }

    /// Compares a password with a stored hash, or with a stand-in of the same cost if there is none. `salt` is for
    /// the new hash, should the stored one turn out to be of older parameters.
    pub async fn verify(
        &self,
        password: Password,
        stored: Option<PasswordHash>,
        salt: [u8; 16],
    ) -> Result<Verdict, HashError> {
        let (cost, stand_in) = (self.cost, self.stand_in.clone());
        self.run(move |memory| verify(&password, stored.as_ref(), &stand_in, cost, salt, memory)).await
    }

    /// Hashes a new password with today's parameters.
    pub async fn hash(&self, password: Password, salt: [u8; 16]) -> Result<PasswordHash, HashError> {
        let cost = self.cost;
        Ok(self.run(move |memory| cost.hash_with_salt(&password, salt, memory)).await??)
    }

    /// Judges a new password by the rules and the list of leaked ones, and hashes it. `known` is what an attacker knows
    /// of the account.
    pub async fn choose(
        &self,
        password: Password,
        rules: PasswordRules,
        known: Vec<String>,
        salt: [u8; 16],
    ) -> Result<Result<PasswordHash, Weakness>, HashError> {
        let (cost, breached) = (self.cost, self.breached.clone());
        let choose = move |memory: &mut Memory| {
            let known: Vec<_> = known.iter().map(String::as_str).collect();
            if let Err(weakness) = rules.check(&password, &known) {
                return Ok(Err(weakness));
            }
            let is_breached = match breached.filter(|_| rules.blocklist) {
                Some(breached) => breached.contains(&password).map_err(HashError::BreachedPasswords)?,
                None => false,
            };
            if is_breached {
                return Ok(Err(Weakness::Breached));
            }
            Ok(Ok(cost.hash_with_salt(&password, salt, memory)?))
        };
        self.run(choose).await?
    }

    /// How many hashes wait for a thread.
    pub fn waiting(&self) -> usize {
        self.shared.queue().waiting.len()
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let (answer, answered) = oneshot::channel();
        // The caller may have gone; then nobody wants the result.
        let _place = self.enter(Box::new(move |memory| drop(answer.send(work(memory)))))?;
        answered.await.map_err(|_| HashError::Stopped)
    }

    fn enter(&self, job: Job) -> Result<Place<'_>, HashError> {
        let since = self.shared.clock.now();
        let mut queue = self.shared.queue();
        if queue.waiting.len() >= self.limits.queue {
            return Err(HashError::QueueFull);
        }
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiting.push_back(Waiting { ticket, since, job });
        drop(queue);
        self.shared.arrived.notify_one();
        Ok(Place { shared: &self.shared, ticket })
    }
}

impl Drop for Passwords {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.is_closed = true;
        queue.waiting.clear();
        drop(queue);
        self.shared.arrived.notify_all();
        for thread in self.threads.drain(..) {
            // A panic has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

fn verify(
    password: &Password,
    stored: Option<&PasswordHash>,
    stand_in: &PasswordHash,
    cost: Argon2Cost,
    salt: [u8; 16],
    memory: &mut Memory,
) -> Verdict {
    let hash = stored.and_then(|stored| phc::PasswordHash::new(&stored.0).ok());
    match hash.as_ref().and_then(|hash| Some((hash, compare(password, hash, memory)?))) {
        Some((hash, true)) => {
            let upgrade =
                cost.exceeds(hash).then(|| cost.hash_with_salt(password, salt, memory).ok()).flatten();
            Verdict::Right { upgrade }
        }
        Some((hash, false)) => {
            cost.make_up_for(hash, password, salt, memory);
            Verdict::Wrong
        }
        None => {
            if let Ok(stand_in) = phc::PasswordHash::new(&stand_in.0) {
                std::hint::black_box(compare(password, &stand_in, memory));
            }
            Verdict::Unusable
        }
    }
}

/// Whether it is the password of this hash. `None` if Argon2 cannot tell: what is stored is only a part of a hash,
/// or of another algorithm. It then returns without having computed anything.
fn compare(password: &Password, hash: &phc::PasswordHash, memory: &mut Memory) -> Option<bool> {
    let (salt, stored) = hash.salt.zip(hash.hash)?;
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = hash.version.map_or(Some(Version::default()), |version| Version::try_from(version).ok())?;
    let argon2 = Argon2::new(algorithm, version, Params::try_from(hash).ok()?);
    // In constant time (`security.md` S3).
    Some(memory.hash(&argon2, password, &salt, stored.len())? == stored)
}

#[cfg(test)]
mod tests;
