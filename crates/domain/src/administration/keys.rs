//! Web API keys.

use std::time::Duration;

use super::{
    AdminError, Administration, Answer, Changes, Created, Idempotency, TRIES, Tenant, by_id, deleted, expect,
    find_made, id_taken, invalid, moved, taken, text,
};
use crate::{
    address::Network,
    audit::{AuditRecord, Event},
    catalogue::KeyCounts,
    change::Change,
    clock::Timestamp,
    credential::PlainKey,
    directory::Status,
    id::{KeyId, UserId},
    journal::{Outcome, Unique},
    resource::{Classification, Key, KeyDetails, KeyFilter, NewSecret, Page, PageRequest, Revision},
};

/// A Web API key to be created.
#[derive(Debug)]
pub struct NewKey {
    /// Its id; a new one if `None`.
    pub id: Option<KeyId>,
    /// Its user.
    pub user: UserId,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub classification: Classification,
    /// Its status.
    pub status: Status,
    /// Whether it may introspect tokens.
    pub verifier: bool,
    /// From where it is accepted; from everywhere if there is none.
    pub allowed_addresses: Vec<Network>,
    /// The time from which it is no longer accepted.
    pub expires_at: Option<Timestamp>,
    /// Its secret, if it is brought in from elsewhere; a new one if `None`.
    pub secret: Option<PlainKey>,
}

/// A change of a Web API key: what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct KeyPatch {
    /// What people call it.
    pub name: Option<String>,
    /// What it is for.
    pub classification: Option<Classification>,
    /// Its status.
    pub status: Option<Status>,
    /// Whether it may introspect tokens.
    pub verifier: Option<bool>,
    /// From where it is accepted.
    pub allowed_addresses: Option<Vec<Network>>,
    /// The time from which it is no longer accepted.
    pub expires_at: Option<Option<Timestamp>>,
}

/// The replacement of a key's secret.
#[derive(Debug)]
pub struct Rotation {
    /// How long the secrets before it are still accepted; if not at all, the key's sessions end too.
    pub overlap: Duration,
    /// The new secret, if it is brought in from elsewhere; a new one if `None`.
    pub secret: Option<PlainKey>,
}

/// A key with a secret that is shown this once.
#[derive(Debug)]
pub struct RotatedKey {
    /// The key.
    pub details: KeyDetails,
    /// The secret; `None` where it was shown before, or brought in by the caller.
    pub secret: Option<PlainKey>,
}

/// The fewest characters of a secret that is brought in: with fewer it could be guessed, for keys are not hashed slowly.
const SHORTEST_SECRET: usize = 16;
/// The most addresses that a key may be bound to.
const MOST_ADDRESSES: usize = 1_000;
/// The longest overlap of two secrets of one key.
const LONGEST_OVERLAP: Duration = Duration::from_secs(366 * 24 * 3600);
/// A key that expires within this time wants attention.
const EXPIRES_SOON: Duration = Duration::from_secs(30 * 24 * 3600);
/// A key that was not used for this time may not be needed.
const LONG_UNUSED: Duration = Duration::from_secs(90 * 24 * 3600);

fn secret_taken(unique: Unique) -> AdminError {
    match unique {
        Unique::Secret => taken("secret", "is the secret of another key"),
        Unique::Id | Unique::Name => id_taken(),
    }
}

fn new_secret(key: &PlainKey) -> NewSecret {
    NewSecret { digest: key.digest(), hint: key.hint() }
}

/// Judges a secret that was brought in: it must fit into the username of HTTP Basic and be hard to guess.
fn check_secret(secret: &PlainKey) -> Answer<()> {
    let text = secret.expose();
    if text.chars().count() < SHORTEST_SECRET {
        let problem = format!("has fewer than {SHORTEST_SECRET} characters, which can be guessed");
        return Err(invalid("secret", problem));
    }
    if text.contains(|c: char| c == ':' || c.is_control()) {
        return Err(invalid("secret", "has a colon or a control character, which HTTP Basic cannot send"));
    }
    Ok(())
}

fn check_addresses(addresses: &[Network]) -> Answer<()> {
    if addresses.len() <= MOST_ADDRESSES {
        return Ok(());
    }
    Err(invalid(
        "allowed_addresses",
        format!("has more than {MOST_ADDRESSES} entries; name networks instead"),
    ))
}

impl Administration {
    /// Counts the keys of all organisations that expire within thirty days, and those unused for ninety.
    pub async fn count_keys(&self) -> Answer<KeyCounts> {
        let now = self.now();
        Ok(self.catalogue.count_keys(now.plus(EXPIRES_SOON), now.minus(LONG_UNUSED)).await?)
    }
}

impl Tenant {
    /// Lists keys by their ids.
    pub async fn list_keys(&self, filter: KeyFilter, page: PageRequest) -> Answer<Page<KeyDetails>> {
        by_id::<KeyId>(&page)?;
        Ok(self.catalogue().list_keys(self.id(), filter, page).await?)
    }

    /// A key.
    pub async fn get_key(&self, id: KeyId) -> Answer<KeyDetails> {
        self.catalogue().find_key(self.id(), id).await?.ok_or(AdminError::NotFound)
    }

    /// The time that is so long ago, for a [`KeyFilter`].
    pub fn ago(&self, duration: Duration) -> Timestamp {
        self.now().minus(duration)
    }

    /// The time that is so far ahead, for a [`KeyFilter`].
    pub fn ahead(&self, duration: Duration) -> Timestamp {
        self.now().plus(duration)
    }

    /// The secret that was brought in, or a new one, and whether it is new.
    fn secret(&self, brought_in: Option<PlainKey>) -> Answer<(PlainKey, bool)> {
        match brought_in {
            Some(secret) => check_secret(&secret).map(|()| (secret, false)),
            None => Ok((PlainKey::generate(self.random())?, true)),
        }
    }

    /// Creates a key, whose secret is shown this once.
    pub async fn create_key(
        &self,
        new: NewKey,
        idempotency: Option<Idempotency>,
    ) -> Answer<Created<RotatedKey>> {
        let shown_before = async |made| {
            let details = self.get_key(KeyId::from_bytes(made)).await?;
            Ok(Created { value: RotatedKey { details, secret: None }, is_repeat: true })
        };
        if let Some(made) = find_made(&self.administration, self.actor, idempotency).await? {
            return shown_before(made).await;
        }
        if self.catalogue().find_user(self.id(), new.user).await?.is_none() {
            let problem = format!("is {}, which is no user of this organisation", new.user);
            return Err(invalid("user", problem));
        }
        check_addresses(&new.allowed_addresses)?;
        let id = new.id.map_or_else(|| KeyId::generate(self.now(), self.random()), Ok)?;
        let (secret, is_new) = self.secret(new.secret)?;
        let key = Key {
            id,
            user: new.user,
            name: text("name", &new.name)?,
            classification: new.classification,
            status: new.status,
            verifier: new.verifier,
            allowed_addresses: new.allowed_addresses,
            expires_at: new.expires_at,
        };
        let change = Change::CreateKey { organisation: self.id(), key, secret: new_secret(&secret) };
        let audit = AuditRecord { user: Some(new.user), key: Some(id), ..self.audit(Event::Created) };
        match self.create(change, id.to_bytes(), audit, idempotency, secret_taken).await? {
            Some(made) => shown_before(made).await,
            None => {
                let details = self.get_key(id).await?;
                Ok(Created {
                    value: RotatedKey { details, secret: is_new.then_some(secret) },
                    is_repeat: false,
                })
            }
        }
    }

    /// Changes a key; disabling it ends its sessions.
    pub async fn update_key(
        &self,
        id: KeyId,
        patch: &KeyPatch,
        seen: Option<Revision>,
    ) -> Answer<KeyDetails> {
        let name = patch.name.as_deref().map(|given| text("name", given)).transpose()?;
        check_addresses(patch.allowed_addresses.as_deref().unwrap_or_default())?;
        for _ in 0..TRIES {
            let stored = self.get_key(id).await?;
            expect(seen, stored.key.revision)?;
            let mut key = stored.key.value.clone();
            let mut changes = Changes(Vec::new());
            changes.set("name", &mut key.name, name.clone());
            changes.set("classification", &mut key.classification, patch.classification);
            changes.set("status", &mut key.status, patch.status);
            changes.set("verifier", &mut key.verifier, patch.verifier);
            changes.set("allowed_addresses", &mut key.allowed_addresses, patch.allowed_addresses.clone());
            changes.set("expires_at", &mut key.expires_at, patch.expires_at);
            if changes.0.is_empty() {
                self.settle().await?;
                return Ok(stored);
            }
            let user = Some(key.user);
            let audit = AuditRecord { user, key: Some(id), members: changes.0, ..self.audit(Event::Updated) };
            let change =
                Change::UpdateKey { organisation: self.id(), key, expected: Some(stored.key.revision) };
            match self.submit(change, audit).await? {
                Outcome::Committed(_) => return self.get_key(id).await,
                Outcome::Refused => return Err(AdminError::NotFound),
                Outcome::Taken(_) | Outcome::Stale | Outcome::InUse | Outcome::Repeated => {}
            }
        }
        Err(moved())
    }

    /// Gives a key another secret, which is shown this once.
    pub async fn rotate_key(
        &self,
        id: KeyId,
        rotation: Rotation,
        seen: Option<Revision>,
    ) -> Answer<RotatedKey> {
        if rotation.overlap > LONGEST_OVERLAP {
            return Err(invalid("overlap", "is longer than 366 days; send a shorter one, such as 24h"));
        }
        let (secret, is_new) = self.secret(rotation.secret)?;
        let user = self.get_key(id).await?.key.value.user;
        let audit = AuditRecord { user: Some(user), key: Some(id), ..self.audit(Event::KeyRotated) };
        // By the time of the change. Less than the clock counts is no overlap, and ends the sessions too.
        let until = audit.at.plus(rotation.overlap);
        let overlap_until = (until > audit.at).then_some(until);
        let change = Change::RotateKey {
            organisation: self.id(),
            user,
            id,
            secret: new_secret(&secret),
            overlap_until,
            expected: seen,
        };
        match self.submit(change, audit).await? {
            Outcome::Committed(_) => {
                Ok(RotatedKey { details: self.get_key(id).await?, secret: is_new.then_some(secret) })
            }
            Outcome::Taken(unique) => Err(secret_taken(unique)),
            Outcome::Refused => Err(AdminError::NotFound),
            Outcome::Stale => Err(AdminError::Stale),
            Outcome::InUse | Outcome::Repeated => Err(moved()),
        }
    }

    /// Deletes a key, and ends its sessions.
    pub async fn delete_key(&self, id: KeyId, seen: Option<Revision>) -> Answer<()> {
        let user = self.get_key(id).await?.key.value.user;
        let audit = AuditRecord { user: Some(user), key: Some(id), ..self.audit(Event::Deleted) };
        let change = Change::DeleteKey { organisation: self.id(), user, id, expected: seen };
        deleted(self.submit(change, audit).await?)
    }
}
