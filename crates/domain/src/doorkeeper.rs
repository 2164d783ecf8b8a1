//! The use cases: log in, use, release. Everything a route does, it does by one call of [`Doorkeeper`].
//!
//! A login reads the account, judges it, and submits a session to the journal together with its audit record. A use
//! is a look into the session table and nothing else.

use std::{collections::HashMap, sync::Arc, time::Duration};

use sha2::{Digest, Sha256};

use crate::{
    attempts::{Attempts, Barred, Gate},
    audit::{AuditRecord, Event, Origin, Reason},
    clock::{Clock, Timestamp},
    credential::{KeyDigest, Password, PlainKey, PlainToken},
    directory::{Account, Change, Directory, KeyRecord, NameLookup, Status, UnitRecord},
    id::{OrganisationId, UnitId, UserId},
    journal::{Entry, Journal, Outcome, Seen, StoreError},
    lifetimes::Lifetimes,
    name::{CanonicalName, InvalidName},
    observer::{LoginOutcome, Observer},
    passwords::{HashError, Passwords, Verdict},
    random::{NoRandomness, Randomness},
    session::{Identity, Method, Session, SessionNumber},
    session_table::{Held, Live, SHARDS, SessionTable},
    sync::{AtomicI64, Mutex, Ordering, RwLock, lock, read, write},
};

/// A login with a password, as it came.
#[derive(Clone, Debug)]
pub struct PasswordLogin {
    /// The code of the organisation.
    pub organisation: String,
    /// The username.
    pub username: String,
    /// The password.
    pub password: Password,
    /// The unit to work in; the user's default unit if `None`.
    pub unit: Option<UnitId>,
}

/// Why a login gave no token. What it does not say is in the audit record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// One answer for every way in which credentials can fail.
    #[error("the credentials are not accepted")]
    InvalidCredentials,
    /// The credentials are right, the unit is not one of the user's.
    #[error("the unit is not one of this user's")]
    InvalidUnit,
    /// The credentials are right, the password must be changed first.
    #[error("the password must be changed first")]
    PasswordChangeRequired,
    /// Nothing is known about the credentials: the text, for the operator, says why.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl From<StoreError> for LoginError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<HashError> for LoginError {
    fn from(error: HashError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<NoRandomness> for LoginError {
    fn from(error: NoRandomness) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Somebody who has proved who they are and may ask about tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    organisation: OrganisationId,
    is_operator: bool,
}

impl Caller {
    /// Whether this caller may learn anything about this token: those of its own organisation, or all for the
    /// operator organisation (`security.md` T8).
    fn may_see(&self, identity: &Identity) -> bool {
        self.is_operator || self.organisation == identity.organisation
    }
}

impl From<&Identity> for Caller {
    fn from(identity: &Identity) -> Self {
        Self { organisation: identity.organisation, is_operator: identity.is_operator }
    }
}

/// The callers who lately proved themselves with a Web API key: as many as there are keys in use, at most.
#[derive(Default)]
struct Callers(RwLock<HashMap<KeyDigest, KnownCaller>>);

struct KnownCaller {
    caller: Caller,
    key_expires_at: Option<Timestamp>,
    /// The number of changes of the directory before it was read.
    changes: u64,
}

impl Callers {
    fn find(&self, digest: &KeyDigest, changes: u64, now: Timestamp) -> Option<Caller> {
        let callers = read(&self.0);
        let known = callers.get(digest).filter(|known| known.changes == changes)?;
        known.key_expires_at.is_none_or(|end| now < end).then_some(known.caller)
    }

    fn remember(&self, digest: KeyDigest, caller: Caller, key_expires_at: Option<Timestamp>, changes: u64) {
        let mut callers = write(&self.0);
        callers.retain(|_, known| known.changes == changes);
        callers.insert(digest, KnownCaller { caller, key_expires_at, changes });
    }
}

/// What a doorkeeper works with.
pub struct Parts {
    /// The clock of every expiry.
    pub clock: Clock,
    /// Where tokens come from.
    pub random: Box<dyn Randomness>,
    /// The live sessions.
    pub table: Arc<SessionTable>,
    /// Where sessions and changes are made durable.
    pub journal: Journal,
    /// Where accounts are read.
    pub directory: Arc<dyn Directory>,
    /// The hashing threads.
    pub passwords: Passwords,
    /// The counts of failed logins.
    pub attempts: Attempts,
    /// The lifetimes of new sessions.
    pub lifetimes: Lifetimes,
    /// Who counts.
    pub observer: Arc<dyn Observer>,
}

/// The doorkeeper. One per process, shared by all requests.
pub struct Doorkeeper {
    parts: Parts,
    callers: Callers,
    /// Sessions that have left memory and not yet the disk.
    unswept: Mutex<Vec<SessionNumber>>,
    unknown_keys: Mutex<UnknownKeys>,
    /// Chooses the gates of names with no account; new with each start.
    gate_key: [u8; 16],
    /// When the journal last learnt what time it is.
    ticked_at: AtomicI64,
}

/// How many refusals of unknown keys are recorded in a minute. They cost the caller nothing and name nobody; recorded
/// without end they would fill the disk, and then nothing could be released. The metric of logins counts them all.
const UNKNOWN_KEYS_A_MINUTE: u32 = 1_000;

/// Counts the records of unknown keys, minute by minute.
#[derive(Default)]
struct UnknownKeys {
    minute: i64,
    recorded: u32,
}

impl UnknownKeys {
    fn admits(&mut self, now: Timestamp) -> bool {
        let minute = now.as_millis() / 60_000;
        if minute != self.minute {
            *self = Self { minute, recorded: 0 };
        }
        self.recorded = self.recorded.saturating_add(1);
        self.recorded <= UNKNOWN_KEYS_A_MINUTE
    }
}

/// The canonical forms of an organisation code and a username, if they have one.
type MaybeNames = (Result<CanonicalName, InvalidName>, Result<CanonicalName, InvalidName>);

/// How many uses or endings go into one entry, so that a release never waits long behind them.
const CHUNK: usize = 1_000;

/// How many uses are put in order together, which bounds the memory that it takes.
const USES_SORTED: usize = 250_000;

impl Doorkeeper {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Result<Self, NoRandomness> {
        Ok(Self {
            gate_key: parts.random.bytes()?,
            parts,
            callers: Callers::default(),
            unswept: Mutex::default(),
            unknown_keys: Mutex::default(),
            ticked_at: AtomicI64::new(i64::MIN),
        })
    }

    /// Logs a user in with a password and issues a token, durable when this returns.
    pub async fn log_in_with_password(
        &self,
        login: PasswordLogin,
        origin: &Origin,
    ) -> Result<PlainToken, LoginError> {
        let result = self.judge_password(login, origin).await;
        self.parts.observer.login(Method::Password.as_str(), outcome(&result));
        result
    }

    async fn judge_password(&self, login: PasswordLogin, origin: &Origin) -> Result<PlainToken, LoginError> {
        let record = |reason| AuditRecord::new(self.now(), Event::PasswordLogin, reason, origin);
        let names = (CanonicalName::new(&login.organisation), CanonicalName::new(&login.username));
        let gate_of_nobody = gate_of_nobody(&self.gate_key, &names);
        let lookup = match names {
            (Ok(organisation), Ok(username)) => {
                self.parts.directory.find_by_name(organisation, username).await?
            }
            // What cannot be a name is nobody's.
            _ => NameLookup::UnknownOrganisation,
        };
        let record_of = |account: &Account, reason| AuditRecord {
            organisation: Some(account.organisation.id),
            user: Some(account.user.id),
            ..record(reason)
        };
        let account = match lookup {
            NameLookup::Found(account) => match unusable(&account) {
                None => Ok(account),
                Some(reason) => Err(record_of(&account, reason)),
            },
            NameLookup::UnknownUser(id) => {
                Err(AuditRecord { organisation: Some(id), ..record(Reason::UnknownUser) })
            }
            NameLookup::UnknownOrganisation => {
                let claimed = Some(login.organisation.clone());
                Err(AuditRecord { claimed, ..record(Reason::UnknownOrganisation) })
            }
        };
        // From here to the verdict every login goes the same way, whoever is or is not behind it.
        let gate = account.as_ref().map_or(gate_of_nobody, |account| account.user.id.into());
        let attempt = match self.parts.attempts.begin(gate, &self.parts.clock).await {
            Ok(attempt) => Some(attempt),
            Err(Barred::Locked(_)) => None,
            Err(Barred::Busy) => return Err(HashError::QueueFull.into()),
        };
        let stored = match (&account, &attempt) {
            (Ok(account), Some(_)) => account.user.password_hash.clone(),
            _ => None,
        };
        let verdict = self.parts.passwords.verify(login.password, stored, self.parts.random.bytes()?).await?;
        let (account, attempt) = match (account, attempt) {
            (Ok(account), Some(attempt)) => (account, attempt),
            (Ok(account), None) => return self.refuse(record_of(&account, Reason::Locked)).await,
            (Err(refusal), attempt) => {
                if let Some(attempt) = attempt {
                    attempt.failed(self.now());
                }
                return self.refuse(refusal).await;
            }
        };
        let record = |reason| record_of(&account, reason);
        let upgrade = match verdict {
            Verdict::Right { upgrade } => upgrade,
            Verdict::Wrong | Verdict::Unusable => {
                attempt.failed(self.now());
                let is_wrong = verdict == Verdict::Wrong;
                let reason = if is_wrong { Reason::WrongPassword } else { Reason::NoUsablePassword };
                return self.refuse(record(reason)).await;
            }
        };
        attempt.succeeded();
        if let (Some(from), Some(to)) = (account.user.password_hash.clone(), upgrade) {
            let (organisation, user) = (account.organisation.id, account.user.id);
            self.parts.journal.submit(Entry::Rehash { organisation, user, from, to }).await?;
        }
        if account.user.must_change_password {
            self.record(record(Reason::PasswordChangeRequired)).await?;
            return Err(LoginError::PasswordChangeRequired);
        }
        let lifetimes = &self.parts.lifetimes;
        let life = (Some(lifetimes.password_idle), lifetimes.password_cap);
        self.issue(&account, None, login.unit, life, record(Reason::Ok)).await
    }

    /// Logs a program in with a Web API key and issues a token, durable when this returns.
    pub async fn log_in_with_key(
        &self,
        key: &PlainKey,
        unit: Option<UnitId>,
        origin: &Origin,
    ) -> Result<PlainToken, LoginError> {
        let result = self.judge_key(key, unit, origin).await;
        self.parts.observer.login("web_api_key", outcome(&result));
        result
    }

    async fn judge_key(
        &self,
        key: &PlainKey,
        unit: Option<UnitId>,
        origin: &Origin,
    ) -> Result<PlainToken, LoginError> {
        let (key, account) = self.authenticate(key, origin).await?;
        let audit = AuditRecord {
            organisation: Some(account.organisation.id),
            user: Some(account.user.id),
            key: Some(key.id),
            ..AuditRecord::new(self.now(), Event::WebApiKeyLogin, Reason::Ok, origin)
        };
        let life = (None, self.parts.lifetimes.api_key_lifetime);
        self.issue(&account, Some(&key), unit, life, audit).await
    }

    /// Finds out who calls with this Web API key, without issuing a token. Only a refusal is recorded. A key that was
    /// accepted is remembered until the directory changes, for services call with it again and again.
    pub async fn identify_caller(&self, key: &PlainKey, origin: &Origin) -> Result<Caller, LoginError> {
        let (digest, changes) = (key.digest(), self.parts.journal.changes());
        if let Some(caller) = self.callers.find(&digest, changes, self.now()) {
            return Ok(caller);
        }
        let (key, account) = self.authenticate(key, origin).await?;
        let caller =
            Caller { organisation: account.organisation.id, is_operator: account.organisation.is_operator };
        self.callers.remember(digest, caller, key.expires_at, changes);
        Ok(caller)
    }

    async fn authenticate(
        &self,
        key: &PlainKey,
        origin: &Origin,
    ) -> Result<(KeyRecord, Box<Account>), LoginError> {
        let now = self.now();
        let record = |reason| AuditRecord::new(now, Event::WebApiKeyLogin, reason, origin);
        let Some((key, account)) = self.parts.directory.find_by_key(key.digest()).await? else {
            if !lock(&self.unknown_keys).admits(now) {
                return Err(LoginError::InvalidCredentials);
            }
            return self.refuse(record(Reason::UnknownKey)).await;
        };
        let reason = if key.status == Status::Disabled {
            Some(Reason::KeyDisabled)
        } else if key.expires_at.is_some_and(|end| now >= end) {
            Some(Reason::KeyExpired)
        } else {
            unusable(&account)
        };
        match reason {
            None => Ok((key, account)),
            Some(reason) => {
                let (organisation, user) = (Some(account.organisation.id), Some(account.user.id));
                self.refuse(AuditRecord { organisation, user, key: Some(key.id), ..record(reason) }).await
            }
        }
    }

    /// Issues a token for an account whose credentials are right.
    async fn issue(
        &self,
        account: &Account,
        key: Option<&KeyRecord>,
        unit: Option<UnitId>,
        (idle, lifetime): (Option<Duration>, Duration),
        audit: AuditRecord,
    ) -> Result<PlainToken, LoginError> {
        let Some(unit) = choose_unit(account, unit) else {
            self.record(AuditRecord { reason: Reason::InvalidUnit, ..audit }).await?;
            return Err(LoginError::InvalidUnit);
        };
        let token = PlainToken::generate(&*self.parts.random)?;
        let now = self.now();
        let entry = Entry::Issue {
            session: Session {
                digest: token.digest(),
                issued_at: now,
                last_used_at: now,
                idle,
                ends_at: now.plus(lifetime),
            },
            identity: Identity {
                organisation: account.organisation.id,
                organisation_code: account.organisation.code.clone(),
                is_operator: account.organisation.is_operator,
                unit: unit.id,
                unit_name: unit.name.clone(),
                user: account.user.id,
                username: account.user.username.clone(),
                method: key.map_or(Method::Password, |key| Method::WebApiKey(key.id)),
            },
            seen: Seen {
                organisation: account.organisation.ended,
                unit: unit.ended,
                user: account.user.ended,
                key: key.map(|key| key.ended),
            },
            audit: AuditRecord { unit: Some(unit.id), ..audit.clone() },
        };
        match self.parts.journal.submit(entry).await? {
            Outcome::Committed(_) => Ok(token),
            Outcome::Refused | Outcome::Taken => {
                self.refuse(AuditRecord { reason: Reason::AccountChanged, ..audit }).await
            }
        }
    }

    /// Uses a token: says whom it speaks for and restarts its idle time.
    pub fn verify(&self, token: &PlainToken) -> Option<Live> {
        self.parts.table.slide(&token.digest(), self.now())
    }

    /// Looks at a token without using it.
    pub fn peek(&self, token: &PlainToken) -> Option<Live> {
        self.parts.table.peek(&token.digest(), self.now())
    }

    /// Uses a token on behalf of a service that asks about it. A caller who may not see the token neither learns of it
    /// nor keeps it alive (`security.md` T8).
    pub fn introspect(&self, token: &PlainToken, caller: Caller) -> Option<Live> {
        let (_, subject) = self.parts.table.find(&token.digest())?;
        if caller.may_see(subject.identity()) { self.verify(token) } else { None }
    }

    /// Releases a token, durable and in force when this returns. A token that is unknown or was released before is
    /// released already (`contract.md`). A `caller` who may not see the token changes nothing and learns nothing;
    /// `None` is the holder.
    pub async fn release(
        &self,
        token: &PlainToken,
        caller: Option<Caller>,
        origin: &Origin,
    ) -> Result<(), StoreError> {
        let digest = token.digest();
        let Some((number, subject)) = self.parts.table.find(&digest) else { return Ok(()) };
        let identity = subject.identity();
        if caller.is_some_and(|caller| !caller.may_see(identity)) {
            return Ok(());
        }
        let audit = AuditRecord {
            organisation: Some(identity.organisation),
            unit: Some(identity.unit),
            user: Some(identity.user),
            key: identity.method.key(),
            ..AuditRecord::new(self.now(), Event::Release, Reason::Ok, origin)
        };
        let entry = Entry::Release { number, digest, audit };
        self.parts.journal.submit(entry).await.map(drop)
    }

    /// Changes the directory; the endings that the change causes are in force when this returns.
    pub async fn change(&self, change: Change, audit: AuditRecord) -> Result<Outcome, StoreError> {
        self.parts.journal.submit(Entry::Change { change, audit }).await
    }

    /// Writes the uses that are due, or all that the journal lacks, and returns how many. To be called every
    /// [`Self::flush_period`].
    pub async fn flush_uses(&self, all: bool) -> Result<usize, StoreError> {
        let now = self.now();
        let interval =
            if all { Duration::ZERO } else { self.parts.lifetimes.touch_interval - self.flush_period() };
        let mut count = 0;
        let mut uses = Vec::new();
        for shard in 0..SHARDS {
            uses.extend(self.parts.table.due_uses(shard, now, interval));
            if uses.len() >= USES_SORTED || shard == SHARDS - 1 {
                count += uses.len();
                // In the order in which they lie on the disk, so that each page is written once.
                uses.sort_unstable_by_key(|used| used.number);
                for chunk in uses.chunks(CHUNK) {
                    self.parts.journal.submit(Entry::Uses(chunk.to_vec())).await?;
                }
                uses.clear();
            }
            tokio::task::yield_now().await;
        }
        let ticked_at = Timestamp::from_millis(self.ticked_at.load(Ordering::Relaxed));
        if all || now >= ticked_at.plus(self.parts.lifetimes.touch_interval) {
            self.parts.journal.submit(Entry::Tick(now)).await?;
            self.ticked_at.store(now.as_millis(), Ordering::Relaxed);
        }
        Ok(count)
    }

    /// How often [`Self::flush_uses`] must run so that no use is written later than promised.
    pub fn flush_period(&self) -> Duration {
        let lifetimes = &self.parts.lifetimes;
        let period = lifetimes.touch_interval.min(lifetimes.password_idle) / 8;
        period.clamp(Duration::from_millis(1), Duration::from_secs(5)).min(lifetimes.touch_interval)
    }

    /// Frees what has ended: sessions in memory and on disk, and counts of failures long past.
    pub async fn sweep(&self) -> Result<usize, StoreError> {
        let now = self.now();
        self.parts.attempts.forget_old(now);
        let mut count = 0;
        for shard in 0..SHARDS {
            let ended = self.parts.table.sweep(shard, now);
            count += ended.len();
            lock(&self.unswept).extend(ended);
            // Between two shards others may run on this thread.
            tokio::task::yield_now().await;
        }
        self.parts.table.forget_unused_subjects();
        loop {
            let chunk: Vec<_> = {
                let mut unswept = lock(&self.unswept);
                let rest = unswept.len().saturating_sub(CHUNK);
                unswept.split_off(rest)
            };
            if chunk.is_empty() {
                return Ok(count);
            }
            if let Err(error) = self.parts.journal.submit(Entry::Forget(chunk.clone())).await {
                lock(&self.unswept).extend(chunk);
                return Err(error);
            }
        }
    }

    /// How many sessions are held.
    pub fn sessions_held(&self) -> Held {
        self.parts.table.count()
    }

    /// How many logins wait for a hashing thread.
    pub fn logins_waiting(&self) -> usize {
        self.parts.passwords.waiting()
    }

    /// Lifts the lock of an account.
    pub fn unlock(&self, user: UserId) {
        self.parts.attempts.unlock(user);
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Records a refusal and answers it, with one answer for every reason.
    async fn refuse<T>(&self, audit: AuditRecord) -> Result<T, LoginError> {
        self.record(audit).await?;
        Err(LoginError::InvalidCredentials)
    }

    async fn record(&self, audit: AuditRecord) -> Result<(), LoginError> {
        self.parts.journal.submit(Entry::Record(audit)).await?;
        Ok(())
    }
}

fn outcome(result: &Result<PlainToken, LoginError>) -> LoginOutcome {
    match result {
        Ok(_) => LoginOutcome::Issued,
        Err(LoginError::InvalidCredentials) => LoginOutcome::InvalidCredentials,
        Err(LoginError::InvalidUnit) => LoginOutcome::InvalidUnit,
        Err(LoginError::PasswordChangeRequired) => LoginOutcome::PasswordChangeRequired,
        Err(LoginError::Unavailable(_)) => LoginOutcome::Unavailable,
    }
}

/// The gate of names that may have no account behind them. Which names share one is secret, or else a name that is
/// locked by guesses at another would be known to be nobody's.
fn gate_of_nobody(key: &[u8; 16], (organisation, username): &MaybeNames) -> Gate {
    let text = |name: &Result<CanonicalName, InvalidName>| {
        name.as_ref().map_or(String::new(), |name| name.as_str().to_owned())
    };
    let mut digest = Sha256::new_with_prefix(key);
    // No name has a control character in it.
    digest.update(format!("{}\0{}", text(organisation), text(username)));
    let digest = digest.finalize();
    Gate::Nobody(u16::from_be_bytes([digest[0], digest[1]]))
}

/// Why nobody can log in to this account, if so.
fn unusable(account: &Account) -> Option<Reason> {
    match (account.organisation.status, account.user.status) {
        (Status::Disabled, _) => Some(Reason::OrganisationSuspended),
        (_, Status::Disabled) => Some(Reason::UserDisabled),
        (Status::Active, Status::Active) => None,
    }
}

fn choose_unit(account: &Account, wanted: Option<UnitId>) -> Option<&UnitRecord> {
    let is_chosen = |unit: &&UnitRecord| match wanted {
        Some(id) => unit.id == id,
        None => unit.is_default,
    };
    account.units.iter().filter(|unit| unit.status == Status::Active).find(is_chosen)
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
