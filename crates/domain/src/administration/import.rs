//! Users who are brought in from elsewhere, many at a time, with the hashes of their passwords.
//!
//! Each is created whole or not at all, and what is wrong with one says nothing of the others. Nobody who is there is
//! changed. A batch can be sent again after its answer was lost: whom it created before is found and not made twice.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::{
    AdminError, Answer, NewUser, Tenant, id_taken, invalid, moved,
    users::{has_only_units_of, name_taken},
};
use crate::{
    audit::{AuditRecord, Event},
    change::{Change, NewPassword},
    credential::Password,
    id::{UnitId, UserId},
    journal::{Entry, Outcome, Unique},
    name::CanonicalName,
    passwords::PasswordHash,
    resource::{User, UserDetails},
};

/// A user to be brought in.
#[derive(Clone, Debug)]
pub struct ImportedUser {
    /// The user, as one who is created.
    pub user: NewUser,
    /// Whether no unit is the default, not even the first.
    pub has_no_default_unit: bool,
    /// The hash of the password, in place of the password.
    pub password_hash: Option<PasswordHash>,
}

/// What became of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// They were created.
    Created,
    /// They were there, created by the same batch before or exactly like this.
    Present,
}

/// How many users are submitted together: others who wait for the journal get their turn in between.
const USERS_AT_A_TIME: usize = 200;

/// Where the id of a user comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IdOrigin {
    /// It was given.
    Given,
    /// It follows from the batch, so that a repetition finds the user, whatever has become of them since.
    Batch,
    /// It is new.
    New,
}

/// A user in the form in which they would be stored.
struct Candidate {
    user: User,
    id_origin: IdOrigin,
    password: Given,
    must_change: bool,
}

/// What a user is to log in with.
enum Given {
    Nothing,
    Plain(Password),
    Hash(PasswordHash),
}

/// Users who are there.
struct Known {
    by_name: HashMap<CanonicalName, (UserDetails, Option<PasswordHash>)>,
    ids: HashSet<UserId>,
}

impl Tenant {
    /// Creates those users who are not there yet. Says of each, in order, what became of them or why nothing did; an
    /// error is one of the whole, by which some may have been created. `batch` is the caller's own name of this batch,
    /// by which it can be repeated.
    pub async fn import_users(
        &self,
        users: Vec<ImportedUser>,
        batch: Option<&[u8]>,
    ) -> Answer<Vec<Answer<Imported>>> {
        let named: HashSet<UnitId> = users.iter().flat_map(|new| new.user.units.iter().copied()).collect();
        let units = self.find_units(named.into_iter().collect()).await?;
        let batch = batch.map(|batch| self.batch_digest(batch));
        let mut became = Vec::with_capacity(users.len());
        let mut users = users.into_iter();
        loop {
            let some: Vec<_> = users.by_ref().take(USERS_AT_A_TIME).collect();
            if some.is_empty() {
                return Ok(became);
            }
            let candidates = some.into_iter().map(|new| self.read(new, &units, batch.as_ref())).collect();
            became.extend(self.import_some(candidates).await?);
        }
    }

    async fn import_some(&self, candidates: Vec<Answer<Candidate>>) -> Answer<Vec<Answer<Imported>>> {
        let known = self.find_known(candidates.iter().flatten()).await?;
        let mut became = Vec::with_capacity(candidates.len());
        let (mut entries, mut entered) = (Vec::new(), Vec::new());
        for (place, candidate) in candidates.iter().enumerate() {
            let judged = match candidate {
                Err(error) => Some(Err(error.clone())),
                Ok(candidate) => candidate.judge(&known),
            };
            became.push(match (judged, candidate) {
                (Some(judged), _) => judged,
                (None, Err(error)) => Err(error.clone()),
                (None, Ok(candidate)) => match self.entry(candidate).await {
                    Ok(entry) => {
                        entries.push(entry);
                        entered.push((place, candidate));
                        Ok(Imported::Created)
                    }
                    Err(error @ AdminError::Unavailable(_)) => return Err(error),
                    Err(error) => Err(error),
                },
            });
        }
        let outcomes = self.doorkeeper().parts().journal.submit_all(entries).await;
        let (mut late, mut failed) = (Vec::new(), None);
        let mut created = Vec::new();
        for ((place, candidate), outcome) in entered.into_iter().zip(outcomes) {
            match outcome {
                Ok(Outcome::Committed(_)) => created.push(candidate.user.id),
                Ok(Outcome::Taken(unique)) => late.push((place, candidate, unique)),
                Ok(Outcome::Refused | Outcome::Stale | Outcome::InUse | Outcome::Repeated) => {
                    became[place] = Err(moved());
                }
                Err(error) => failed = Some(error),
            }
        }
        // A new user inherits no lock of one who had this id before (`security.md` M2).
        let unlocked = self.doorkeeper().parts().attempts.unlock(&created).await;
        if let Some(failed) = failed {
            return Err(failed.into());
        }
        unlocked?;
        if !late.is_empty() {
            // Somebody was faster: a row before of the same name, or the same batch, sent again too soon.
            let known = self.find_known(late.iter().map(|(_, candidate, _)| *candidate)).await?;
            for (place, candidate, unique) in late {
                became[place] = candidate.judge(&known).unwrap_or_else(|| Err(name_taken(unique)));
            }
        }
        Ok(became)
    }

    fn read(
        &self,
        new: ImportedUser,
        units: &HashSet<UnitId>,
        batch: Option<&[u8; 32]>,
    ) -> Answer<Candidate> {
        let ImportedUser { user: new, has_no_default_unit, password_hash } = new;
        let id = new.id.map_or_else(|| UserId::generate(self.now(), self.random()), Ok)?;
        let mut user = new.read(id)?;
        if has_no_default_unit {
            user.default_unit = None;
        }
        has_only_units_of(units, &user)?;
        let id_origin = match (new.id, batch) {
            (Some(_), _) => IdOrigin::Given,
            (None, Some(batch)) => {
                user.id = id_of(batch, user.username.canonical());
                IdOrigin::Batch
            }
            (None, None) => IdOrigin::New,
        };
        let password = match (new.password, password_hash) {
            (None, None) => Given::Nothing,
            (Some(password), None) => Given::Plain(password),
            (None, Some(hash)) => Given::Hash(hash),
            (Some(_), Some(_)) => {
                return Err(invalid("password_hash", "is given together with 'password'; send one of them"));
            }
        };
        Ok(Candidate { user, id_origin, password, must_change: new.must_change_password })
    }

    async fn find_known(&self, candidates: impl Iterator<Item = &Candidate>) -> Answer<Known> {
        let (names, ids) = candidates
            .map(|candidate| (candidate.user.username.canonical().clone(), candidate.user.id))
            .unzip();
        let found = self.catalogue().find_users(self.id(), names, ids).await?;
        let mut known = Known { by_name: HashMap::new(), ids: HashSet::new() };
        for found in found {
            let user = &found.0.user.value;
            known.ids.insert(user.id);
            known.by_name.insert(user.username.canonical().clone(), found);
        }
        Ok(known)
    }

    /// What creates a user.
    async fn entry(&self, candidate: &Candidate) -> Answer<Entry> {
        let user = candidate.user.clone();
        let hash = match &candidate.password {
            Given::Nothing => None,
            Given::Hash(hash) => Some(hash.clone()),
            // One after the other, so that an import has one thread of those that logins share.
            Given::Plain(password) => Some(self.choose(password.clone(), &user).await?),
        };
        let password = hash.map(|hash| NewPassword { hash, must_change: candidate.must_change });
        let audit = AuditRecord { user: Some(user.id), ..self.audit(Event::Created) };
        Ok(Entry::change(Change::CreateUser { organisation: self.id(), user, password }, audit))
    }

    fn batch_digest(&self, batch: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.id().to_bytes()).chain_update(batch).finalize().into()
    }
}

impl Candidate {
    /// What becomes of this one because of who is there; nothing if nobody stands in the way.
    fn judge(&self, known: &Known) -> Option<Answer<Imported>> {
        if self.id_origin == IdOrigin::Batch && known.ids.contains(&self.user.id) {
            return Some(Ok(Imported::Present));
        }
        match known.by_name.get(self.user.username.canonical()) {
            Some(found) if self.is_exactly(found) => Some(Ok(Imported::Present)),
            Some((found, _)) if self.id_origin == IdOrigin::Given && found.user.value.id == self.user.id => {
                let problem = "is the username of this very user, who is not like this; nothing was changed";
                Some(Err(AdminError::Taken { member: "username", problem: problem.to_owned() }))
            }
            Some(_) => Some(Err(name_taken(Unique::Name))),
            None if known.ids.contains(&self.user.id) => Some(Err(id_taken())),
            None => None,
        }
    }

    /// Whether somebody has the same members and the same stored hash. A password is not compared: that would be a
    /// place to guess at passwords where no failure is counted (`security.md` L3).
    fn is_exactly(&self, (found, hash): &(UserDetails, Option<PasswordHash>)) -> bool {
        let (is, wanted) = (&found.user.value, &self.user);
        let is_same_password = match &self.password {
            Given::Nothing => hash.is_none(),
            Given::Plain(_) => false,
            Given::Hash(wanted) => {
                hash.as_ref() == Some(wanted) && found.must_change_password == self.must_change
            }
        };
        is_same_password
            && (self.id_origin != IdOrigin::Given || is.id == wanted.id)
            && is.person_name == wanted.person_name
            && is.email == wanted.email
            && is.role == wanted.role
            && is.status == wanted.status
            && is.default_unit == wanted.default_unit
            && is.units.len() == wanted.units.len()
            && is.units.iter().all(|unit| wanted.units.contains(unit))
    }
}

/// The id of a user of a batch. Those of one batch lie side by side, which is less work for the store.
fn id_of(batch: &[u8; 32], name: &CanonicalName) -> UserId {
    let own: [u8; 32] = Sha256::new().chain_update(batch).chain_update(name.as_str()).finalize().into();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&batch[..8]);
    id[8..].copy_from_slice(&own[..8]);
    UserId::from_bytes(id)
}
