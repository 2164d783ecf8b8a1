//! Recovery: what it takes until somebody who is locked out can log in again as an administrator.
//!
//! It is for the operator on the server's machine, who can read and write all data anyway. [`recover`] looks at
//! everything that a login is refused for and undoes what it finds, so that the new password is enough.

use std::{fmt, net::IpAddr};

use crate::{
    audit::{AuditRecord, Event, Origin, Reason},
    change::{Change, NewPassword},
    clock::Timestamp,
    directory::{Role, Status},
    id::{OrganisationId, UserId},
    journal::Entry,
    name::Name,
    resource::{Organisation, Unit, User},
    rules::{Overrides, Rule, Rules},
};

/// Somebody who is locked out, as they are stored.
#[derive(Clone, Debug)]
pub struct LockedOut {
    /// Their organisation.
    pub organisation: Organisation,
    /// What it overrides of the rules.
    pub overrides: Overrides,
    /// The user, or who is to be one.
    pub user: User,
    /// Whether the user is to be created.
    pub is_new: bool,
    /// The units that the user works in.
    pub units: Vec<Unit>,
    /// Where somebody works who works nowhere: a unit of the organisation, or one that is to be created.
    pub spare: Unit,
    /// Whether the spare unit is to be created.
    pub is_spare_new: bool,
}

/// Something that would have refused the login, and does no more. The text says what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The organisation was suspended.
    OrganisationResumed(Name),
    /// There was no such user.
    UserCreated(Name),
    /// The user was disabled.
    UserEnabled(Name),
    /// The user was a member.
    MadeAdministrator(Name),
    /// There was no unit at all.
    UnitCreated(Name),
    /// The unit was disabled.
    UnitEnabled(Name),
    /// The user had no unit, or no default unit that can be used.
    UnitMadeDefault(Name),
    /// The organisation's own rules said from where one may log in.
    AddressesReset,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OrganisationResumed(code) => write!(f, "organisation {code} is no longer suspended"),
            Self::UserCreated(name) => write!(f, "user {name} was created"),
            Self::UserEnabled(name) => write!(f, "user {name} is no longer disabled"),
            Self::MadeAdministrator(name) => write!(f, "user {name} is an administrator now"),
            Self::UnitCreated(name) => write!(f, "unit {name} was created"),
            Self::UnitEnabled(name) => write!(f, "unit {name} is no longer disabled"),
            Self::UnitMadeDefault(name) => write!(f, "unit {name} is the user's default unit now"),
            Self::AddressesReset => {
                write!(f, "the organisation's own address rules are gone; those of the configuration hold")
            }
        }
    }
}

/// What is to be committed, as one, so that the user can log in.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// The changes with their audit records, which have no address, for they were made on the machine itself.
    pub entries: Vec<Entry>,
    /// What was in the way.
    pub repairs: Vec<Repair>,
}

/// Works out how a user who is locked out becomes an administrator who can log in with `password`. Their sessions end.
pub fn recover(found: LockedOut, password: NewPassword, reset_addresses: bool, now: Timestamp) -> Recovery {
    let LockedOut { mut organisation, overrides, mut user, is_new, units, mut spare, is_spare_new } = found;
    let id = organisation.id;
    let mut work = Work { organisation: id, user: user.id, now, entries: Vec::new(), repairs: Vec::new() };

    if organisation.status == Status::Disabled {
        organisation.status = Status::Active;
        work.repairs.push(Repair::OrganisationResumed(organisation.code.clone()));
        let change = Change::UpdateOrganisation { organisation, expected: None };
        work.change(Event::Updated, vec!["status"], change);
    }
    if reset_addresses {
        work.reset_addresses(overrides);
    }

    let is_usable = |unit: &&Unit| unit.status == Status::Active;
    let is_default = |unit: &&Unit| Some(unit.id) == user.default_unit;
    let default = units.iter().find(is_default);
    let unit =
        default.filter(is_usable).or_else(|| units.iter().find(is_usable)).or(default).or(units.first());
    let unit = match unit {
        Some(unit) => unit.clone(),
        None if is_spare_new => {
            work.repairs.push(Repair::UnitCreated(spare.name.clone()));
            spare.status = Status::Active;
            let change = Change::CreateUnit { organisation: id, unit: spare.clone() };
            work.change(Event::Created, vec![], change);
            spare
        }
        None => spare,
    };
    let (unit_id, unit_name) = (unit.id, unit.name.clone());
    if unit.status == Status::Disabled {
        work.repairs.push(Repair::UnitEnabled(unit.name.clone()));
        let unit = Unit { status: Status::Active, ..unit };
        work.change(
            Event::Updated,
            vec!["status"],
            Change::UpdateUnit { organisation: id, unit, expected: None },
        );
    }

    let mut members = Vec::new();
    if !user.units.contains(&unit_id) {
        user.units.push(unit_id);
        members.push("units");
    }
    if user.default_unit != Some(unit_id) {
        user.default_unit = Some(unit_id);
        members.push("default_unit");
        if !is_new {
            work.repairs.push(Repair::UnitMadeDefault(unit_name));
        }
    }
    if user.role != Role::Administrator {
        user.role = Role::Administrator;
        members.push("role");
        work.repairs.push(Repair::MadeAdministrator(user.username.clone()));
    }
    if user.status == Status::Disabled {
        user.status = Status::Active;
        members.push("status");
        work.repairs.push(Repair::UserEnabled(user.username.clone()));
    }
    if is_new {
        work.repairs.push(Repair::UserCreated(user.username.clone()));
        let change = Change::CreateUser { organisation: id, user, password: Some(password) };
        work.change(Event::Recovered, vec![], change);
    } else {
        let user_id = user.id;
        if !members.is_empty() {
            let change = Change::UpdateUser { organisation: id, user, expected: None, ends_sessions: false };
            work.change(Event::Updated, members, change);
        }
        let change = Change::SetPassword { organisation: id, user: user_id, password, replaces: None };
        work.change(Event::Recovered, vec![], change);
    }
    Recovery { entries: work.entries, repairs: work.repairs }
}

/// Whose address rules refuse logins from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusing {
    /// The organisation's own; [`recover`] can take them away.
    Organisation,
    /// Those of the configuration.
    Configuration,
}

/// Whose rules refuse logins from this address, if any do.
pub fn refusing(configured: &Rules, overrides: &Overrides, address: IpAddr) -> Option<Refusing> {
    let is_refused = |rules: &Rules| !rules.addresses.permits(Some(address));
    if !is_refused(&configured.with(overrides)) {
        None
    } else if is_refused(configured) {
        Some(Refusing::Configuration)
    } else {
        Some(Refusing::Organisation)
    }
}

struct Work {
    organisation: OrganisationId,
    user: UserId,
    now: Timestamp,
    entries: Vec<Entry>,
    repairs: Vec<Repair>,
}

impl Work {
    fn change(&mut self, event: Event, members: Vec<&'static str>, change: Change) {
        let unit = match &change {
            Change::CreateUnit { unit, .. } | Change::UpdateUnit { unit, .. } => Some(unit.id),
            _ => None,
        };
        let is_of_user = matches!(
            change,
            Change::CreateUser { .. } | Change::UpdateUser { .. } | Change::SetPassword { .. }
        );
        let audit = AuditRecord {
            organisation: Some(self.organisation),
            unit,
            user: is_of_user.then_some(self.user),
            members,
            ..AuditRecord::new(self.now, event, Reason::Ok, &Origin::default())
        };
        self.entries.push(Entry::change(change, audit));
    }

    fn reset_addresses(&mut self, mut overrides: Overrides) {
        let rules = [Rule::AddressesAllow, Rule::AddressesDeny];
        let removed: Vec<_> = rules.into_iter().filter(|rule| overrides.remove(rule).is_some()).collect();
        if !removed.is_empty() {
            self.repairs.push(Repair::AddressesReset);
            let members = removed.into_iter().map(Rule::as_str).collect();
            let change = Change::SetRules { organisation: self.organisation, overrides, expected: None };
            self.change(Event::RulesSet, members, change);
        }
    }
}

#[cfg(test)]
mod tests;
