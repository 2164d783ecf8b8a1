//! Logging in with a Web API key.

use std::sync::Arc;

use super::{Doorkeeper, LoginError, outcome, unusable};
use crate::{
    address::Network,
    audit::{AuditRecord, Event, Origin, Reason},
    clock::Timestamp,
    credential::{KeyDigest, PlainKey, PlainToken},
    directory::{Account, KeyRecord, Status, UserRecord},
    id::UnitId,
    journal::KeyUse,
    rules::Rules,
    sync::lock,
};

/// How many refusals of unknown keys are recorded in a minute. They cost the caller nothing and name nobody; recorded
/// without end they would fill the disk, and then nothing could be released. The metric of logins counts them all. Each
/// instance records so many: that is bounded too, and a key is too long to be guessed, however many may try.
const UNKNOWN_KEYS_A_MINUTE: u32 = 1_000;

/// Counts the records of unknown keys, minute by minute.
#[derive(Default)]
pub(super) struct UnknownKeys {
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

/// A Web API key as it was found in the directory, whether or not it may be used.
pub(super) struct KnownKey {
    pub(super) key: KeyRecord,
    /// Its user's account, without what only logins with a password ask for.
    pub(super) account: Account,
    /// The rules of its organisation.
    pub(super) rules: Rules,
}

impl KnownKey {
    /// Why it may not be used now and from there, if so.
    pub(super) fn unusable(&self, now: Timestamp, origin: &Origin) -> Option<Reason> {
        let key = &self.key;
        let is_over = |end: Option<Timestamp>| end.is_some_and(|end| now >= end);
        if key.status == Status::Disabled {
            Some(Reason::KeyDisabled)
        } else if is_over(key.expires_at) {
            Some(Reason::KeyExpired)
        } else if is_over(key.secret_ends_at) {
            Some(Reason::KeyRotatedOut)
        } else if !is_allowed(&key.allowed_addresses, origin) {
            Some(Reason::AddressDenied)
        } else {
            unusable(&self.account, &self.rules, origin)
        }
    }
}

impl Doorkeeper {
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
        let digest = key.digest();
        // What is remembered of the directory holds only while the copy does; without it the directory says.
        let remembered = self.parts.sessions.vouch().is_ok().then(|| self.find_remembered(&digest)).flatten();
        if let Some(known) = remembered {
            let audit = self.accept(digest, &known, origin).await?;
            if let Some(token) =
                self.try_issue(&known.account, Some(&known.key), unit, &known.rules, &audit).await?
            {
                return Ok(token);
            }
            // It was changed in this moment, perhaps by another instance; how it is now decides.
        }
        let known = self.read_key(digest, origin).await?;
        let audit = self.accept(digest, &known, origin).await?;
        self.issue(&known.account, Some(&known.key), unit, &known.rules, audit).await
    }

    /// Reads a key in the directory, to be remembered until that changes. That there is none is recorded and an error.
    pub(super) async fn read_key(
        &self,
        digest: KeyDigest,
        origin: &Origin,
    ) -> Result<Arc<KnownKey>, LoginError> {
        let changes = self.parts.journal.changes();
        let Some((key, account)) = self.parts.directory.find_by_key(digest).await? else {
            let now = self.now();
            if !lock(&self.unknown_keys).admits(now) {
                return Err(LoginError::InvalidCredentials);
            }
            let record = AuditRecord::new(now, Event::WebApiKeyLogin, Reason::UnknownKey, origin);
            return self.refuse(record).await;
        };
        let rules = self.parts.rules.with(&account.organisation.overrides);
        let user = UserRecord { password_hash: None, known_addresses: Vec::new(), ..account.user };
        let known = Arc::new(KnownKey { key, account: Account { user, ..*account }, rules });
        self.callers.remember_key(digest, known.clone(), changes);
        Ok(known)
    }

    /// Judges a key. What is returned is the record of its use so far; only a refusal is written.
    pub(super) async fn accept(
        &self,
        digest: KeyDigest,
        known: &KnownKey,
        origin: &Origin,
    ) -> Result<AuditRecord, LoginError> {
        let now = self.now();
        let reason = known.unusable(now, origin);
        let audit = AuditRecord {
            organisation: Some(known.account.organisation.id),
            user: Some(known.account.user.id),
            key: Some(known.key.id),
            ..AuditRecord::new(now, Event::WebApiKeyLogin, reason.unwrap_or(Reason::Ok), origin)
        };
        if reason.is_some() {
            return self.refuse(audit).await;
        }
        self.note_key_use(digest, origin);
        Ok(audit)
    }

    /// Remembers that a key was used, to be written with the next uses of tokens.
    pub(super) fn note_key_use(&self, secret: KeyDigest, origin: &Origin) {
        let used = KeyUse { secret, at: self.now(), from: origin.address };
        lock(&self.key_uses).insert(secret, used);
    }
}

/// Whether a key may be used from there.
pub(crate) fn is_allowed(allowed: &[Network], origin: &Origin) -> bool {
    let is_in = |network: &Network| origin.address.is_some_and(|address| network.contains(address));
    allowed.is_empty() || allowed.iter().any(is_in)
}
