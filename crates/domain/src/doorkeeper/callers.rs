//! Who asks about tokens, and who manages: what the holder of a Web API key or of a token may do.
//!
//! Services ask again and again, and programs get token after token, so what was read of the directory is remembered until
//! the directory changes.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use super::{Doorkeeper, LoginError, key_login::KnownKey};
use crate::{
    audit::Origin,
    credential::{KeyDigest, PlainKey, PlainToken},
    directory::{Holder, Role},
    id::{KeyId, OrganisationId, UserId},
    journal::StoreError,
    resource::Classification,
    rules::Overrides,
    session::Identity,
    session_table::Live,
    sync::{RwLock, read, write},
};

/// Somebody who has proved who they are and may ask about tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub(super) user: UserId,
    organisation: OrganisationId,
    is_operator: bool,
    pub(super) may_introspect: bool,
}

/// Why a caller is told nothing of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntrospectError {
    /// They have no right to introspect tokens: a Web API key needs to be a verifier, a user an administrator.
    #[error("the caller may not introspect tokens")]
    MayNot,
    /// Nothing is known of the token.
    #[error("unavailable: {0}")]
    Unavailable(#[from] StoreError),
}

impl Caller {
    /// Whether this caller may learn anything about tokens of an organisation: those of its own, or all for the
    /// operator organisation (`security.md` T8).
    pub(super) fn may_see(&self, organisation: OrganisationId) -> bool {
        self.is_operator || self.organisation == organisation
    }
}

impl Holder {
    /// Whether they may manage. What consumers have in their hands must not, whoever's it is.
    pub(crate) fn is_administrator(&self) -> bool {
        let is_consumers = |(classification, _)| classification == Classification::ConsumerApplicationKey;
        self.role == Role::Administrator && !self.key.is_some_and(is_consumers)
    }

    fn may_introspect(&self) -> bool {
        self.is_administrator() || self.key.is_some_and(|(_, verifier)| verifier)
    }
}

impl KnownKey {
    /// Who calls with it.
    fn caller(&self) -> Caller {
        let Self { key, account, .. } = self;
        let holder = Holder {
            role: account.user.role,
            key: Some((key.classification, key.verifier)),
            allowed_addresses: Vec::new(),
            overrides: Overrides::new(),
        };
        Caller {
            user: account.user.id,
            organisation: account.organisation.id,
            is_operator: account.organisation.is_operator,
            may_introspect: holder.may_introspect(),
        }
    }
}

/// Who is remembered: keys in use and holders who asked.
#[derive(Default)]
pub(super) struct Callers {
    keys: RwLock<Remembered<KeyDigest, Arc<KnownKey>>>,
    holders: RwLock<Remembered<Who, Option<Arc<Holder>>>>,
}

/// How many keys are remembered, and how many holders, before all are forgotten: a few megabytes.
const REMEMBERED: usize = 16_384;

/// Whose token it is, and by which key it was got.
type Who = (UserId, Option<KeyId>);

/// What was read of the directory, all of it at one number of changes.
struct Remembered<K, V> {
    changes: u64,
    known: HashMap<K, V>,
}

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self { changes: 0, known: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> Remembered<K, V> {
    /// What holds at this number of changes.
    fn get(&self, key: &K, changes: u64) -> Option<&V> {
        self.known.get(key).filter(|_| self.changes == changes)
    }

    /// Remembers what was read at this number of changes, or after. What is older than anything here is of no use to anybody.
    fn insert(&mut self, key: K, value: V, changes: u64) {
        if changes > self.changes || self.known.len() >= REMEMBERED {
            self.known.clear();
            self.changes = self.changes.max(changes);
        }
        if changes == self.changes {
            self.known.insert(key, value);
        }
    }
}

impl Callers {
    /// Remembers a key that was read at this number of changes, or after.
    pub(super) fn remember_key(&self, digest: KeyDigest, known: Arc<KnownKey>, changes: u64) {
        write(&self.keys).insert(digest, known, changes);
    }
}

impl Doorkeeper {
    /// Finds out who calls with this Web API key, without issuing a token. Only a refusal is recorded.
    pub async fn identify_caller(&self, key: &PlainKey, origin: &Origin) -> Result<Caller, LoginError> {
        // First, for what is remembered of the directory holds only while the copy does.
        self.parts.sessions.vouch()?;
        let digest = key.digest();
        let remembered = read(&self.callers.keys)
            .get(&digest, self.parts.journal.changes())
            .filter(|known| known.unusable(self.now(), origin).is_none())
            .map(|known| known.caller());
        if let Some(caller) = remembered {
            self.note_key_use(digest, origin);
            return Ok(caller);
        }
        let known = self.read_key(digest, origin).await?;
        self.accept(digest, &known, origin).await?;
        Ok(known.caller())
    }

    /// What is remembered of a key, if nothing has changed since.
    pub(super) fn find_remembered(&self, digest: &KeyDigest) -> Option<Arc<KnownKey>> {
        let changes = self.parts.journal.changes();
        read(&self.callers.keys).get(digest, changes).cloned()
    }

    /// Finds out who calls with this token; `None` if it is not in force. This is a use of the token.
    pub async fn identify_holder(&self, token: &PlainToken) -> Result<Option<Caller>, StoreError> {
        let Some(live) = self.verify(token).await? else { return Ok(None) };
        let Some(holder) = self.find_holder(&live).await? else { return Ok(None) };
        let Identity { user, organisation, is_operator, .. } = live.identity;
        Ok(Some(Caller { user, organisation, is_operator, may_introspect: holder.may_introspect() }))
    }

    /// What the holder of a token may do; `None` if they are not there any more.
    pub(crate) async fn find_holder(&self, live: &Live) -> Result<Option<Arc<Holder>>, StoreError> {
        let identity = &live.identity;
        let (who, changes) = ((identity.user, identity.method.key()), self.parts.journal.changes());
        let known = read(&self.callers.holders).get(&who, changes).cloned();
        if let Some(holder) = known {
            return Ok(holder);
        }
        let holder = self.parts.directory.find_holder(who.0, who.1).await?.map(Arc::new);
        write(&self.callers.holders).insert(who, holder.clone(), changes);
        Ok(holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_holds_until_the_directory_changes() {
        let mut remembered = Remembered::default();
        remembered.insert("zoe", 1, 7);
        remembered.insert("ann", 2, 7);
        assert_eq!((remembered.get(&"zoe", 7), remembered.get(&"zoe", 8)), (Some(&1), None));
        // Who has read before a change is late with it.
        remembered.insert("zoe", 3, 8);
        remembered.insert("ann", 4, 7);
        assert_eq!((remembered.get(&"zoe", 8), remembered.get(&"ann", 8)), (Some(&3), None));
        assert_eq!((remembered.get(&"ann", 7), remembered.known.len()), (None, 1));
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut remembered = Remembered::default();
        for place in 0..=REMEMBERED {
            remembered.insert(place, (), 7);
        }
        assert_eq!((remembered.get(&REMEMBERED, 7), remembered.known.len()), (Some(&()), 1));
    }
}
