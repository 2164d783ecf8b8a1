//! Logging in with a Web API key.

use super::{Doorkeeper, LoginError, outcome, unusable};
use crate::{
    address::Network,
    audit::{AuditRecord, Event, Origin, Reason},
    clock::Timestamp,
    credential::{KeyDigest, PlainKey, PlainToken},
    directory::{Account, KeyRecord, Status},
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

/// A Web API key that was accepted.
pub(super) struct Accepted {
    pub(super) key: KeyRecord,
    pub(super) account: Box<Account>,
    /// The rules of its organisation.
    pub(super) rules: Rules,
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
        let Accepted { key, account, rules } = self.accept_key(key, origin).await?;
        let audit = AuditRecord {
            organisation: Some(account.organisation.id),
            user: Some(account.user.id),
            key: Some(key.id),
            ..AuditRecord::new(self.now(), Event::WebApiKeyLogin, Reason::Ok, origin)
        };
        self.issue(&account, Some(&key), unit, &rules, audit).await
    }

    /// Finds a key and judges it. Only a refusal is recorded.
    pub(super) async fn accept_key(&self, key: &PlainKey, origin: &Origin) -> Result<Accepted, LoginError> {
        let now = self.now();
        let digest = key.digest();
        let record = |reason| AuditRecord::new(now, Event::WebApiKeyLogin, reason, origin);
        let Some((key, account)) = self.parts.directory.find_by_key(digest).await? else {
            if !lock(&self.unknown_keys).admits(now) {
                return Err(LoginError::InvalidCredentials);
            }
            return self.refuse(record(Reason::UnknownKey)).await;
        };
        let rules = self.parts.rules.with(&account.organisation.overrides);
        let is_over = |end: Option<Timestamp>| end.is_some_and(|end| now >= end);
        let reason = if key.status == Status::Disabled {
            Some(Reason::KeyDisabled)
        } else if is_over(key.expires_at) {
            Some(Reason::KeyExpired)
        } else if is_over(key.secret_ends_at) {
            Some(Reason::KeyRotatedOut)
        } else if !is_allowed(&key.allowed_addresses, origin) {
            Some(Reason::AddressDenied)
        } else {
            unusable(&account, &rules, origin)
        };
        match reason {
            None => {
                self.note_key_use(digest, origin);
                Ok(Accepted { key, account, rules })
            }
            Some(reason) => {
                let (organisation, user) = (Some(account.organisation.id), Some(account.user.id));
                self.refuse(AuditRecord { organisation, user, key: Some(key.id), ..record(reason) }).await
            }
        }
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
