//! Users and their passwords.

use std::collections::{BTreeMap, HashSet};

use super::{
    AdminError, Answer, Changes, Created, Idempotency, TRIES, Tenant, by_id, deleted, expect, find_made,
    id_taken, invalid, moved, name, taken, text,
};
use crate::{
    audit::{AuditRecord, Event},
    change::{Change, NewPassword},
    clock::Timestamp,
    credential::Password,
    directory::{Role, Status},
    id::{UnitId, UserId},
    journal::{Entry, Outcome, Unique},
    passwords::PasswordHash,
    resource::{Page, PageRequest, Revision, User, UserDetails, UserFilter},
};

/// A user to be created.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The id; a new one if `None`.
    pub id: Option<UserId>,
    /// The username.
    pub username: String,
    /// The person's name.
    pub person_name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// What the user may do.
    pub role: Role,
    /// The status.
    pub status: Status,
    /// The units the user works in.
    pub units: Vec<UnitId>,
    /// The default unit; the first of the units if `None`.
    pub default_unit: Option<UnitId>,
    /// The password; without one the user cannot log in with a password.
    pub password: Option<Password>,
    /// Whether it must be changed before it gives a token.
    pub must_change_password: bool,
}

/// A change of a user: what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct UserPatch {
    /// The username.
    pub username: Option<String>,
    /// The person's name.
    pub person_name: Option<Option<String>>,
    /// The e-mail address.
    pub email: Option<Option<String>>,
    /// What the user may do.
    pub role: Option<Role>,
    /// The status.
    pub status: Option<Status>,
    /// The units the user works in.
    pub units: Option<Vec<UnitId>>,
    /// The default unit.
    pub default_unit: Option<Option<UnitId>>,
}

/// A new password that an administrator gives to a user.
#[derive(Clone, Debug)]
pub struct PasswordReset {
    /// The password; a generated one if `None`.
    pub password: Option<Password>,
    /// Whether it must be changed before it gives a token.
    pub must_change: bool,
}

/// The most units that a user may work in.
const MOST_UNITS: usize = 1_000;
/// The most characters of an e-mail address (RFC 5321).
const LONGEST_EMAIL: usize = 254;

pub(super) fn name_taken(unique: Unique) -> AdminError {
    match unique {
        Unique::Name => taken("username", "is the username of another user of this organisation"),
        Unique::Id | Unique::Secret => id_taken(),
    }
}

/// Looks like an address that mail can be sent to. Whether it can be is found out by sending.
fn email(address: &str) -> Answer<String> {
    let address = text("email", address)?;
    let is_address = address.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
        && !address.contains(char::is_whitespace)
        && address.chars().count() <= LONGEST_EMAIL;
    if is_address {
        Ok(address)
    } else {
        Err(invalid("email", "is not an e-mail address; send one such as ann@example.com"))
    }
}

fn optional(given: Option<&str>, read: impl FnOnce(&str) -> Answer<String>) -> Answer<Option<String>> {
    given.filter(|text| !text.is_empty()).map(read).transpose()
}

impl NewUser {
    /// The user that is asked for, as they would be stored. Whether the units are there is still to be found out.
    pub(super) fn read(&self, id: UserId) -> Answer<User> {
        let mut user = User {
            id,
            username: name("username", &self.username)?,
            person_name: optional(self.person_name.as_deref(), |given| text("person_name", given))?,
            email: optional(self.email.as_deref(), email)?,
            role: self.role,
            status: self.status,
            units: self.units.clone(),
            default_unit: self.default_unit.or(self.units.first().copied()),
        };
        arrange_units(&mut user)?;
        Ok(user)
    }
}

/// Each unit once, the default among them.
fn arrange_units(user: &mut User) -> Answer<()> {
    if user.units.len() > MOST_UNITS {
        return Err(invalid("units", format!("has more than {MOST_UNITS} units; send fewer")));
    }
    user.units.sort_unstable();
    user.units.dedup();
    match user.default_unit {
        Some(default) if !user.units.contains(&default) => {
            Err(invalid("default_unit", format!("is {default}, which is not one of 'units'; add it there")))
        }
        _ => Ok(()),
    }
}

/// All units are among those that the organisation has.
pub(super) fn has_only_units_of(known: &HashSet<UnitId>, user: &User) -> Answer<()> {
    match user.units.iter().find(|unit| !known.contains(unit)) {
        None => Ok(()),
        Some(unit) => {
            let problem = format!("names {unit}, which is no unit of this organisation; create it first");
            Err(invalid("units", problem))
        }
    }
}

impl Tenant {
    pub(super) fn random(&self) -> &dyn crate::random::Randomness {
        &*self.doorkeeper().parts().random
    }

    /// Lists users, by username; those of one unit by their ids.
    pub async fn list_users(&self, filter: UserFilter, page: PageRequest) -> Answer<Page<UserDetails>> {
        if filter.prefix.is_none() && filter.username.is_none() && filter.unit.is_some() {
            by_id::<UserId>(&page)?;
        }
        Ok(self.catalogue().list_users(self.id(), filter, page).await?)
    }

    /// A user.
    pub async fn get_user(&self, id: UserId) -> Answer<UserDetails> {
        self.catalogue().find_user(self.id(), id).await?.ok_or(AdminError::NotFound)
    }

    /// Until when logins of users are refused after too many failures, of those of whom they are.
    pub async fn locked_until(&self, ids: &[UserId]) -> Answer<BTreeMap<UserId, Timestamp>> {
        Ok(self.doorkeeper().parts().attempts.locked_until(ids, self.now()).await?)
    }

    /// Creates a user.
    pub async fn create_user(
        &self,
        new: NewUser,
        idempotency: Option<Idempotency>,
    ) -> Answer<Created<UserDetails>> {
        if let Some(made) = find_made(&self.administration, self.actor, idempotency).await? {
            return Ok(Created { value: self.get_user(UserId::from_bytes(made)).await?, is_repeat: true });
        }
        let id = new.id.map_or_else(|| UserId::generate(self.now(), self.random()), Ok)?;
        let user = new.read(id)?;
        self.check_units(&user).await?;
        let password = match new.password {
            Some(password) => {
                let hash = self.choose(password, &user).await?;
                Some(NewPassword { hash, must_change: new.must_change_password })
            }
            None => None,
        };
        let change = Change::CreateUser { organisation: self.id(), user, password };
        let audit = AuditRecord { user: Some(id), ..self.audit(Event::Created) };
        let before = self.create(change, id.to_bytes(), audit, idempotency, name_taken).await?;
        if before.is_none() {
            // A new user inherits no lock of one who had this id before (`security.md` M2).
            self.doorkeeper().parts().attempts.unlock(&[id]).await?;
        }
        let value = self.get_user(before.map_or(id, UserId::from_bytes)).await?;
        Ok(Created { value, is_repeat: before.is_some() })
    }

    /// Those of these units that the organisation has.
    pub(super) async fn find_units(&self, ids: Vec<UnitId>) -> Answer<HashSet<UnitId>> {
        Ok(self.catalogue().find_units(self.id(), ids).await?.into_iter().collect())
    }

    async fn check_units(&self, user: &User) -> Answer<()> {
        has_only_units_of(&self.find_units(user.units.clone()).await?, user)
    }

    /// Hashes a password that the rules allow for this user.
    pub(super) async fn choose(&self, password: Password, user: &User) -> Answer<PasswordHash> {
        let overrides = self.catalogue().get_overrides(self.id()).await?;
        let parts = self.doorkeeper().parts();
        let rules = parts.rules.with(&overrides).passwords;
        let organisation = &self.organisation.value;
        let mut known =
            vec![user.username.to_string(), organisation.code.to_string(), organisation.name.clone()];
        known.extend(user.email.clone());
        known.extend(user.person_name.clone());
        let chosen = parts.passwords.choose(password, rules, known, self.random().bytes()?).await?;
        chosen.map_err(|weakness| invalid("password", weakness.to_string()))
    }

    /// Changes a user. Disabling them and taking a unit away ends their sessions.
    pub async fn update_user(
        &self,
        id: UserId,
        patch: &UserPatch,
        seen: Option<Revision>,
    ) -> Answer<UserDetails> {
        let username = patch.username.as_deref().map(|text| name("username", text)).transpose()?;
        let person_name = patch.person_name.as_ref();
        let person_name = person_name
            .map(|given| optional(given.as_deref(), |given| text("person_name", given)))
            .transpose()?;
        let address = patch.email.as_ref().map(|given| optional(given.as_deref(), email)).transpose()?;
        for _ in 0..TRIES {
            let stored = self.get_user(id).await?;
            expect(seen, stored.user.revision)?;
            let before = &stored.user.value;
            let mut user = before.clone();
            if let Some(units) = &patch.units {
                user.units.clone_from(units);
                // A default that was taken away is none any more, unless another is given.
                user.default_unit = user.default_unit.filter(|default| units.contains(default));
            }
            if let Some(default_unit) = patch.default_unit {
                user.default_unit = default_unit;
            }
            if user.units != before.units || user.default_unit != before.default_unit {
                arrange_units(&mut user)?;
                self.check_units(&user).await?;
            }
            let mut changes = Changes(Vec::new());
            changes.set("username", &mut user.username, username.clone());
            changes.set("person_name", &mut user.person_name, person_name.clone());
            changes.set("email", &mut user.email, address.clone());
            changes.set("role", &mut user.role, patch.role);
            changes.set("status", &mut user.status, patch.status);
            let mut members = changes.0;
            members.extend((user.units != before.units).then_some("units"));
            members.extend((user.default_unit != before.default_unit).then_some("default_unit"));
            if members.is_empty() {
                self.settle().await?;
                return Ok(stored);
            }
            if members.iter().any(|member| matches!(*member, "role" | "status")) {
                self.not_oneself(id, "change the role or the status of")?;
            }
            let ends_sessions = before.units.iter().any(|unit| !user.units.contains(unit));
            let audit = AuditRecord { user: Some(id), members, ..self.audit(Event::Updated) };
            let expected = Some(stored.user.revision);
            let change = Change::UpdateUser { organisation: self.id(), user, expected, ends_sessions };
            match self.submit(change, audit).await? {
                Outcome::Committed(_) => return self.get_user(id).await,
                Outcome::Taken(unique) => return Err(name_taken(unique)),
                // A unit may have gone; the next look will tell.
                Outcome::Refused | Outcome::Stale | Outcome::InUse | Outcome::Repeated => {}
            }
        }
        Err(moved())
    }

    /// Deletes a user with their keys, and ends their sessions.
    pub async fn delete_user(&self, id: UserId, seen: Option<Revision>) -> Answer<()> {
        self.get_user(id).await?;
        self.not_oneself(id, "delete")?;
        let audit = AuditRecord { user: Some(id), ..self.audit(Event::Deleted) };
        let change = Change::DeleteUser { organisation: self.id(), id, expected: seen };
        deleted(self.submit(change, audit).await?)
    }

    /// Sets a user's password and ends their sessions. Returns the password if it was generated.
    pub async fn reset_password(&self, id: UserId, reset: PasswordReset) -> Answer<Option<Password>> {
        let user = self.get_user(id).await?.user.value;
        if id == self.actor {
            return Err(AdminError::Conflict(
                "Your own password is changed with 'POST /authentication/password', which asks for the current one."
                    .into(),
            ));
        }
        let (hash, generated) = match reset.password {
            Some(password) => (self.choose(password, &user).await?, None),
            // Nobody chose it, so no rule for chosen ones applies.
            None => {
                let (generated, salt) = (Password::generate(self.random())?, self.random().bytes()?);
                let passwords = &self.doorkeeper().parts().passwords;
                (passwords.hash(generated.clone(), salt).await?, Some(generated))
            }
        };
        let password = NewPassword { hash, must_change: reset.must_change };
        let change = Change::SetPassword { organisation: self.id(), user: id, password, replaces: None };
        let audit = AuditRecord { user: Some(id), ..self.audit(Event::PasswordSet) };
        match self.submit(change, audit).await? {
            Outcome::Committed(_) => Ok(generated),
            _ => Err(AdminError::NotFound),
        }
    }

    /// Lifts the lock that failed logins have put on a user (`security.md` L1).
    pub async fn unlock_user(&self, id: UserId) -> Answer<()> {
        self.get_user(id).await?;
        let audit = AuditRecord { user: Some(id), ..self.audit(Event::Unlocked) };
        self.doorkeeper().parts().journal.submit(Entry::Record(audit)).await?;
        self.doorkeeper().parts().attempts.unlock(&[id]).await?;
        Ok(())
    }

    /// An administrator who could do this to themselves might be the last one.
    fn not_oneself(&self, id: UserId, what: &str) -> Answer<()> {
        if id != self.actor {
            return Ok(());
        }
        Err(AdminError::Conflict(format!("You cannot {what} yourself; ask another administrator.")))
    }
}
