//! The use cases: log in, use, release. Everything a route does, it does by one call of [`Doorkeeper`].
//!
//! A login reads the account, judges it, and submits a session to the journal together with its audit record. A use
//! is a look into the session table and nothing else. What administrators do is in [`crate::administration`].

mod callers;
mod key_login;
mod password_change;
mod password_login;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

pub(crate) use self::key_login::is_allowed;
use self::{callers::Callers, key_login::UnknownKeys};
pub use self::{
    callers::{Caller, IntrospectError},
    password_change::{ChangePasswordError, PasswordChange},
    password_login::PasswordLogin,
};
use crate::{
    address::client_network,
    attempts::Attempts,
    audit::{AuditRecord, Event, Origin, Reason},
    clock::{Clock, Timestamp},
    credential::{KeyDigest, PlainToken},
    directory::{Account, Directory, KeyRecord, Status, UnitRecord},
    id::{SessionId, UnitId},
    journal::{Entry, Journal, KeyUse, Outcome, Seen, StoreError},
    observer::{LoginOutcome, Observer},
    passwords::{HashError, Passwords},
    random::{NoRandomness, Randomness},
    requirement::{Requirements, Unmet},
    rules::{Rules, SHORTEST_OWN_LIFETIME},
    session::{Departed, Identity, Method, PastSession, Session},
    session_table::{Held, Live, LiveRef, SHARDS},
    sessions::Sessions,
    sync::{AtomicI64, AtomicU64, Mutex, Ordering, lock},
};

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

/// Why a token is not accepted at a route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// It is unknown, expired or released.
    #[error("the token is unknown, expired or released")]
    InvalidToken,
    /// It is in force and does not meet this.
    #[error("the route demands another {0}")]
    Unmet(Unmet),
    /// What is demanded could not be looked up.
    #[error("unavailable: {0}")]
    Unavailable(#[from] StoreError),
}

/// What a doorkeeper works with.
pub struct Parts {
    /// The clock of every expiry.
    pub clock: Clock,
    /// Where tokens come from.
    pub random: Box<dyn Randomness>,
    /// The live sessions.
    pub sessions: Sessions,
    /// Where sessions and changes are made durable.
    pub journal: Journal,
    /// Where accounts are read.
    pub directory: Arc<dyn Directory>,
    /// The hashing threads.
    pub passwords: Passwords,
    /// The counts of failed logins.
    pub attempts: Attempts,
    /// The rules that hold where an organisation has none of its own.
    pub rules: Rules,
    /// Who counts.
    pub observer: Arc<dyn Observer>,
}

/// The doorkeeper. One per process, shared by all requests.
pub struct Doorkeeper {
    parts: Parts,
    callers: Callers,
    /// Sessions that have left memory and not yet the disk, so that it can be told of each how it ended.
    unswept: Mutex<VecDeque<(SessionId, PastSession)>>,
    unknown_keys: Mutex<UnknownKeys>,
    /// The latest use of each Web API key's secret, until it is written.
    key_uses: Mutex<HashMap<KeyDigest, KeyUse>>,
    /// Chooses the gates of names with no account. New with each start, unless instances have agreed on one.
    gate_key: [u8; 16],
    /// Uses that were due when they were last looked for, and are not written.
    uses_waiting: AtomicU64,
    /// When the journal last learnt what time it is.
    ticked_at: AtomicI64,
    /// When what makes creations happen once was last forgotten.
    forgot_at: AtomicI64,
}

/// How long, at least, a creation may be repeated under the same `Idempotency-Key` without being done again.
const ONCE_FOR: Duration = Duration::from_secs(24 * 3600);

/// How many uses or endings go into one entry, so that a release never waits long behind them.
const CHUNK: usize = 1_000;

/// How many uses are put in order together, which bounds the memory that it takes.
const USES_SORTED: usize = 250_000;

impl Doorkeeper {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Result<Self, NoRandomness> {
        let now = parts.clock.now();
        Ok(Self {
            gate_key: match parts.attempts.gate_key() {
                Some(agreed) => agreed,
                None => parts.random.bytes()?,
            },
            parts,
            callers: Callers::default(),
            unswept: Mutex::default(),
            unknown_keys: Mutex::default(),
            key_uses: Mutex::default(),
            uses_waiting: AtomicU64::new(0),
            ticked_at: AtomicI64::new(i64::MIN),
            forgot_at: AtomicI64::new(now.as_millis()),
        })
    }

    /// What administration works with too.
    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Uses a token: says whom it speaks for and restarts its idle time. `None`: it is not in force. An error says that
    /// nothing is known of it.
    pub async fn verify(&self, token: &PlainToken) -> Result<Option<Live>, StoreError> {
        self.look(token, true, |live| Some(live.to_owned())).await
    }

    /// Uses a token, or only looks at it, and says what `f` makes of its session, of which nothing is copied. `f` must not
    /// wait for anything, and make something of every session.
    pub async fn look<T>(
        &self,
        token: &PlainToken,
        is_use: bool,
        f: impl FnMut(LiveRef<'_>) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        self.parts.sessions.find(&token.digest(), is_use, &self.parts.journal, f).await
    }

    /// As [`Self::look`], if nothing needs to be waited for, as for almost every verification. `None`: something does.
    pub fn look_now<T>(
        &self,
        token: &PlainToken,
        is_use: bool,
        f: impl FnOnce(LiveRef<'_>) -> Option<T>,
    ) -> Option<Result<Option<T>, StoreError>> {
        self.parts.sessions.find_now(&token.digest(), is_use, f)
    }

    /// Verifies a token at a route that demands something beside. What does not meet it is no use of the token.
    pub async fn check(
        &self,
        token: &PlainToken,
        requirements: &Requirements,
        origin: &Origin,
        is_use: bool,
    ) -> Result<Live, CheckError> {
        let live = self.peek(token).await?.ok_or(CheckError::InvalidToken)?;
        if let Some(unmet) = requirements.unmet_by(&live.identity) {
            return Err(CheckError::Unmet(unmet));
        }
        if requirements.asks_for_role() || requirements.asks_for_address() {
            let holder = self.find_holder(&live).await?.ok_or(CheckError::InvalidToken)?;
            if !requirements.admits_role(holder.role) {
                return Err(CheckError::Unmet(Unmet::Role));
            }
            let rules = self.parts.rules.with(&holder.overrides);
            let is_permitted =
                rules.addresses.permits(origin.address) && is_allowed(&holder.allowed_addresses, origin);
            if requirements.asks_for_address() && !is_permitted {
                return Err(CheckError::Unmet(Unmet::KeyAddress));
            }
        }
        if is_use { self.verify(token).await?.ok_or(CheckError::InvalidToken) } else { Ok(live) }
    }

    /// Looks at a token without using it.
    pub async fn peek(&self, token: &PlainToken) -> Result<Option<Live>, StoreError> {
        self.look(token, false, |live| Some(live.to_owned())).await
    }

    /// Uses a token on behalf of a service that asks about it, or only looks at it, and says what `f` makes of its session. A
    /// caller who may not see the token neither learns of it nor keeps it alive (`security.md` T8).
    pub async fn introspect<T>(
        &self,
        token: &PlainToken,
        caller: Caller,
        is_use: bool,
        mut f: impl FnMut(LiveRef<'_>) -> T,
    ) -> Result<Option<T>, IntrospectError> {
        if !caller.may_introspect {
            return Err(IntrospectError::MayNot);
        }
        let mut tell = |live: LiveRef<'_>| caller.may_see(live.identity.organisation).then(|| f(live));
        if let Some(found) = self.look_now(token, is_use, &mut tell) {
            return Ok(found?);
        }
        // What has to be waited for is used whatever is made of it, so first it is only looked at.
        match self.look(token, false, &mut tell).await? {
            Some(_) if is_use => Ok(self.look(token, true, tell).await?),
            told => Ok(told),
        }
    }

    /// As [`Self::introspect`] for many tokens, of which `tell` is told in order: `None` is not in force, not the caller's to know
    /// of, or no token at all. Who gets an error must not rely on what `tell` was told.
    pub async fn introspect_all(
        &self,
        tokens: &[Option<PlainToken>],
        caller: Caller,
        is_use: bool,
        mut tell: impl FnMut(Option<LiveRef<'_>>),
    ) -> Result<(), IntrospectError> {
        if !caller.may_introspect {
            return Err(IntrospectError::MayNot);
        }
        let digests: Vec<_> = tokens.iter().map(|token| token.as_ref().map(PlainToken::digest)).collect();
        let found = self.parts.sessions.find_all_now(&digests, is_use, |live| {
            let seen = live.filter(|live| caller.may_see(live.identity.organisation));
            tell(seen);
            seen.is_some()
        });
        if let Some(found) = found {
            return Ok(found?);
        }
        // At hand together, so that looking for one after the other does not ask the store one after the other.
        self.parts.sessions.prepare(digests.into_iter().flatten()).await;
        for token in tokens {
            let told = match token {
                // A copy: what has to be waited for may be looked at more than once, and is to be told once.
                Some(token) => self.introspect(token, caller, is_use, |live| live.to_owned()).await?,
                None => None,
            };
            tell(told.as_ref().map(Live::borrow));
        }
        Ok(())
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
        let session = token.digest().session();
        let Some((known, identity)) = self.parts.sessions.examine(session).await? else {
            return self.parts.sessions.settle().await;
        };
        if caller.is_some_and(|caller| !caller.may_see(identity.organisation)) {
            return Ok(());
        }
        let audit = AuditRecord {
            organisation: Some(identity.organisation),
            unit: Some(identity.unit),
            user: Some(identity.user),
            key: identity.method.key(),
            actor: caller.map(|caller| caller.user).filter(|user| *user != identity.user),
            session: Some(session),
            ..AuditRecord::new(self.now(), Event::Release, Reason::Ok, origin)
        };
        let PastSession { number, last_used_at, .. } = known;
        let entry = Entry::Release { number, session, last_used_at, audit };
        self.parts.journal.submit(entry).await.map(drop)
    }

    /// Writes the uses that are due, or all that the journal lacks, and returns how many. To be called every
    /// [`Self::flush_period`].
    pub async fn flush_uses(&self, all: bool) -> Result<usize, StoreError> {
        let now = self.now();
        let interval = if all {
            Duration::ZERO
        } else {
            self.parts.rules.lifetimes.touch_interval - self.flush_period()
        };
        let mut count = self.flush_shed_uses().await?;
        let mut uses = Vec::new();
        for shard in 0..SHARDS {
            uses.extend(self.parts.sessions.table().due_uses(shard, now, interval));
            if uses.len() >= USES_SORTED || shard == SHARDS - 1 {
                count += uses.len();
                // In the order in which they lie on the disk, so that each page is written once.
                uses.sort_unstable_by_key(|used| used.number);
                self.uses_waiting.store(uses.len() as u64, Ordering::Relaxed);
                for chunk in uses.chunks(CHUNK) {
                    self.parts.journal.submit(Entry::Uses(chunk.to_vec())).await?;
                    self.uses_waiting.fetch_sub(chunk.len() as u64, Ordering::Relaxed);
                }
                uses.clear();
            }
            tokio::task::yield_now().await;
        }
        self.flush_key_uses().await?;
        let ticked_at = Timestamp::from_millis(self.ticked_at.load(Ordering::Relaxed));
        if all || now >= ticked_at.plus(self.parts.rules.lifetimes.touch_interval) {
            self.parts.journal.submit(Entry::Tick(now)).await?;
            self.ticked_at.store(now.as_millis(), Ordering::Relaxed);
        }
        Ok(count)
    }

    /// Writes the uses of sessions that have left memory.
    async fn flush_shed_uses(&self) -> Result<usize, StoreError> {
        let uses = self.parts.sessions.take_unwritten();
        for (place, chunk) in uses.chunks(CHUNK).enumerate() {
            if let Err(error) = self.parts.journal.submit(Entry::Uses(chunk.to_vec())).await {
                self.parts.sessions.put_unwritten(uses[place * CHUNK..].to_vec());
                return Err(error);
            }
        }
        Ok(uses.len())
    }

    async fn flush_key_uses(&self) -> Result<(), StoreError> {
        let uses: Vec<_> = std::mem::take(&mut *lock(&self.key_uses)).into_values().collect();
        for (place, chunk) in uses.chunks(CHUNK).enumerate() {
            if let Err(error) = self.parts.journal.submit(Entry::KeyUses(chunk.to_vec())).await {
                // What was not written is tried again, unless there is a later use by now.
                let mut waiting = lock(&self.key_uses);
                for unwritten in &uses[place * CHUNK..] {
                    waiting.entry(unwritten.secret).or_insert(*unwritten);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// How often [`Self::flush_uses`] must run so that no use is written later than promised.
    pub fn flush_period(&self) -> Duration {
        let lifetimes = &self.parts.rules.lifetimes;
        // An organisation's own idle times may be shorter than that of the configuration.
        let idle = lifetimes.password_idle.min(SHORTEST_OWN_LIFETIME);
        let period = lifetimes.touch_interval.min(idle) / 8;
        period.clamp(Duration::from_millis(1), Duration::from_secs(5)).min(lifetimes.touch_interval)
    }

    /// Frees what has ended: sessions in memory and on disk, and counts of failures long past. To be called by one task.
    pub async fn sweep(&self) -> Result<usize, StoreError> {
        let now = self.now();
        if now >= Timestamp::from_millis(self.forgot_at.load(Ordering::Relaxed)).plus(ONCE_FOR) {
            self.parts.journal.submit(Entry::ForgetOnce(now.minus(ONCE_FOR))).await?;
            self.forgot_at.store(now.as_millis(), Ordering::Relaxed);
        }
        let mut count = 0;
        for shard in 0..SHARDS {
            {
                let mut unswept = lock(&self.unswept);
                let swept = self.parts.sessions.table().sweep(shard, now);
                count += swept.len();
                if self.parts.sessions.are_all_known() {
                    unswept.extend(swept);
                }
            }
            // Between two shards others may run on this thread.
            tokio::task::yield_now().await;
        }
        self.parts.sessions.table().forget_unused_subjects();
        self.parts.attempts.forget_old(now).await?;
        loop {
            let departed = |(_, past): &(SessionId, PastSession)| {
                let PastSession { number, organisation, last_used_at, .. } = *past;
                organisation.is_some().then_some(Departed { number, organisation, last_used_at })
            };
            let (sessions, some): (Vec<_>, usize) = {
                let unswept = lock(&self.unswept);
                let some = unswept.len().min(CHUNK);
                (unswept.range(..some).filter_map(departed).collect(), some)
            };
            if some == 0 {
                *lock(&self.unswept) = VecDeque::new();
                return Ok(count);
            }
            self.parts.journal.submit(Entry::Forget { sessions, at: now }).await?;
            lock(&self.unswept).drain(..some);
        }
    }

    /// Settles the attempts of logins whose clients hung up. To be called when a stopping server takes no more logins.
    pub async fn finish_attempts(&self) {
        self.parts.attempts.finish().await;
    }

    /// What is known of a session that has left memory and not yet the disk.
    pub(crate) fn find_unswept(&self, session: SessionId) -> Option<PastSession> {
        let unswept = lock(&self.unswept);
        unswept.iter().find(|(id, _)| *id == session).map(|(_, past)| past.clone())
    }

    /// How many sessions are held.
    pub fn sessions_held(&self) -> Held {
        self.parts.sessions.table().count()
    }

    /// Whoever waited for the store has given up, so nobody else waits for the commit that is under way.
    pub fn give_up_waiting(&self) {
        self.parts.journal.give_up();
    }

    /// How many entries wait for a commit of the journal.
    pub fn entries_waiting(&self) -> u64 {
        self.parts.journal.waiting()
    }

    /// How many uses were due to be written when they were last looked for, and are not written.
    pub fn uses_waiting(&self) -> u64 {
        self.uses_waiting.load(Ordering::Relaxed)
    }

    /// How many logins wait for a hashing thread.
    pub fn logins_waiting(&self) -> usize {
        self.parts.passwords.waiting()
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Issues a token for an account whose credentials are right.
    async fn issue(
        &self,
        account: &Account,
        key: Option<&KeyRecord>,
        unit: Option<UnitId>,
        rules: &Rules,
        audit: AuditRecord,
    ) -> Result<PlainToken, LoginError> {
        match self.try_issue(account, key, unit, rules, &audit).await? {
            Some(token) => Ok(token),
            None => self.refuse(AuditRecord { reason: Reason::AccountChanged, ..audit }).await,
        }
    }

    /// As [`Self::issue`]; `None` if the account was changed since it was read, of which nothing is recorded.
    async fn try_issue(
        &self,
        account: &Account,
        key: Option<&KeyRecord>,
        unit: Option<UnitId>,
        rules: &Rules,
        audit: &AuditRecord,
    ) -> Result<Option<PlainToken>, LoginError> {
        let Some(unit) = choose_unit(account, unit) else {
            self.record(AuditRecord { reason: Reason::InvalidUnit, ..audit.clone() }).await?;
            return Err(LoginError::InvalidUnit);
        };
        let lifetimes = &rules.lifetimes;
        let (idle, lifetime) = match key {
            None => (Some(lifetimes.password_idle), lifetimes.password_cap),
            Some(_) => (None, lifetimes.api_key_lifetime),
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
            known: audit.origin.address.filter(|_| key.is_none()).map(client_network),
            audit: AuditRecord {
                unit: Some(unit.id),
                session: Some(token.digest().session()),
                ..audit.clone()
            },
        };
        match self.parts.journal.submit(entry).await? {
            Outcome::Committed(_) => Ok(Some(token)),
            Outcome::Refused | Outcome::Taken(_) | Outcome::Stale | Outcome::InUse | Outcome::Repeated => {
                Ok(None)
            }
        }
    }

    /// Records a refusal and answers it, with one answer for every reason.
    async fn refuse<T>(&self, audit: AuditRecord) -> Result<T, LoginError> {
        self.record(audit).await?;
        Err(LoginError::InvalidCredentials)
    }

    async fn record(&self, audit: AuditRecord) -> Result<(), StoreError> {
        self.parts.journal.submit(Entry::Record(audit)).await.map(drop)
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

/// Why nobody can log in to this account from there, if so.
fn unusable(account: &Account, rules: &Rules, origin: &Origin) -> Option<Reason> {
    match (account.organisation.status, account.user.status) {
        (Status::Disabled, _) => Some(Reason::OrganisationSuspended),
        (_, Status::Disabled) => Some(Reason::UserDisabled),
        (Status::Active, Status::Active) => {
            (!rules.addresses.permits(origin.address)).then_some(Reason::AddressDenied)
        }
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
