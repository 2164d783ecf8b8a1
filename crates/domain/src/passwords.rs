//! Password hashes: ours are Argon2id, those of other programs are taken and replaced. They are computed on threads of
//! their own, behind a bounded queue.
//!
//! Hashing is slow on purpose; here it cannot make anything else slow. The threads are few and (by the `on_thread`
//! hook of whoever starts them) of low priority, the queue has an end, and a caller who gives up frees their place.

mod argon2id;
mod formats;
mod hash;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use tokio::sync::oneshot;

use argon2id::Memory;
pub use argon2id::{Argon2Cost, InvalidCost};
pub use hash::{PasswordHash, RefusedHash};

use crate::{
    clock::{Clock, Timestamp},
    credential::Password,
    observer::Observer,
    policy::{BreachedPasswords, PasswordRules, Weakness},
    random::{NoRandomness, Randomness},
};

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
    /// It is the password. If the stored hash is weaker than today's or of another program, here is a new one.
    Right {
        /// The replacement of the stored hash.
        upgrade: Option<PasswordHash>,
    },
    /// It is not.
    Wrong,
    /// There was no hash, or not one that can be read and computed within bounds; a real hash was computed all the
    /// same.
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

    fn work(&self, mut memory: Memory) {
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
            // A defect in one hash, of which the panic hook has told, must not end the thread: there are few.
            let _ = catch_unwind(AssertUnwindSafe(|| (next.job)(&mut memory)));
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
                    shared.work(Memory::keeping(cost));
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

    /// Refuses who would be refused by the queue anyhow, before anything else is done for them.
    pub fn admit(&self) -> Result<(), HashError> {
        if self.waiting() < self.limits.queue { Ok(()) } else { Err(HashError::QueueFull) }
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
    let hash = stored.and_then(|stored| formats::parse(stored.as_str()).ok());
    let hash = hash.filter(|hash| hash.is_bearable(cost));
    match hash.as_ref().and_then(|hash| Some((hash, hash.compare(password, memory)?))) {
        Some((hash, true)) => {
            let upgrade =
                hash.is_weaker_than(cost).then(|| cost.hash_with_salt(password, salt, memory).ok()).flatten();
            Verdict::Right { upgrade }
        }
        Some((hash, false)) => {
            cost.make_up_for(hash.work(), password, salt, memory);
            Verdict::Wrong
        }
        None => {
            if let Ok(stand_in) = formats::parse(stand_in.as_str()) {
                std::hint::black_box(stand_in.compare(password, memory));
            }
            Verdict::Unusable
        }
    }
}

#[cfg(test)]
mod tests;
