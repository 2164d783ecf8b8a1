//! Organisations.

use super::{
    AdminError, Administrator, Answer, Changes, Created, Idempotency, TRIES, Tenant, audit, create, deleted,
    expect, find_made, id_taken, invalid, moved, name, only_operators, taken, text,
};
use crate::{
    audit::{AuditRecord, Event},
    catalogue::OrganisationReference,
    change::Change,
    directory::Status,
    id::OrganisationId,
    journal::{Entry, Outcome, Unique},
    name::Name,
    resource::{Organisation, OrganisationFilter, Page, PageRequest, Revision, Stored, UserFilter},
};

/// An organisation to be created.
#[derive(Clone, Debug)]
pub struct NewOrganisation {
    /// Its id; a new one if `None`.
    pub id: Option<OrganisationId>,
    /// Its code.
    pub code: String,
    /// What people call it; its code if `None`.
    pub name: Option<String>,
    /// Its status.
    pub status: Status,
}

/// A change of an organisation: what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct OrganisationPatch {
    /// Its code.
    pub code: Option<String>,
    /// What people call it.
    pub name: Option<String>,
    /// Its status.
    pub status: Option<Status>,
}

/// How many users are deleted in one transaction: about twenty milliseconds of it.
const USERS_AT_A_TIME: usize = 200;

fn code_taken(unique: Unique) -> AdminError {
    match unique {
        Unique::Name => taken("code", "is the code of another organisation"),
        Unique::Id | Unique::Secret => id_taken(),
    }
}

impl Administrator {
    /// Lists the organisations that this administrator may see.
    pub async fn list_organisations(
        &self,
        filter: OrganisationFilter,
        page: PageRequest,
    ) -> Answer<Page<Stored<Organisation>>> {
        if self.is_operator {
            return Ok(self.administration.catalogue.list_organisations(filter, page).await?);
        }
        let own = OrganisationReference::Id(self.organisation);
        let own = self.administration.catalogue.find_organisation(own).await?;
        let is_meant = |own: &Stored<Organisation>| {
            let code = own.value.code.canonical().as_str();
            filter.prefix.as_deref().is_none_or(|prefix| code.starts_with(prefix))
                && filter.status.is_none_or(|status| status == own.value.status)
                && page.after.as_deref().is_none_or(|after| code > after)
        };
        Ok(Page { items: own.filter(is_meant).into_iter().collect(), next: None })
    }

    /// Creates an organisation. For administrators of the operator organisation.
    pub async fn create_organisation(
        &self,
        new: NewOrganisation,
        idempotency: Option<Idempotency>,
    ) -> Answer<Created<Stored<Organisation>>> {
        only_operators(self.is_operator)?;
        let administration = &self.administration;
        if let Some(made) = find_made(administration, self.user, idempotency).await? {
            return self.created(made, true).await;
        }
        let parts = administration.doorkeeper.parts();
        let now = parts.clock.now();
        let id = new.id.map_or_else(|| OrganisationId::generate(now, &*parts.random), Ok)?;
        let code = name("code", &new.code)?;
        let organisation = Organisation {
            id,
            name: new.name.map_or_else(|| Ok(code.to_string()), |name| text("name", &name))?,
            code,
            is_operator: false,
            status: new.status,
        };
        let change = Change::CreateOrganisation(organisation);
        let audit = audit(self.user, id, now, &self.origin, Event::Created);
        let made = id.to_bytes();
        let before = create(administration, self.user, change, made, audit, idempotency, code_taken).await?;
        self.created(before.unwrap_or(made), before.is_some()).await
    }

    async fn created(&self, id: [u8; 16], is_repeat: bool) -> Answer<Created<Stored<Organisation>>> {
        let id = OrganisationReference::Id(OrganisationId::from_bytes(id));
        let value = self.administration.catalogue.find_organisation(id).await?;
        Ok(Created { value: value.ok_or(AdminError::NotFound)?, is_repeat })
    }
}

impl Tenant {
    /// The organisation as it was when it was entered.
    pub fn organisation(&self) -> &Stored<Organisation> {
        &self.organisation
    }

    pub(super) async fn read_again(&self) -> Answer<Stored<Organisation>> {
        let found = self.catalogue().find_organisation(OrganisationReference::Id(self.id())).await?;
        found.ok_or(AdminError::NotFound)
    }

    /// Changes the organisation; suspending it ends its sessions. An organisation's own administrators may change its
    /// name and nothing else.
    pub async fn update_organisation(
        &self,
        patch: &OrganisationPatch,
        seen: Option<Revision>,
    ) -> Answer<Stored<Organisation>> {
        let code = patch.code.as_deref().map(|code| name("code", code)).transpose()?;
        let shown = patch.name.as_deref().map(|name| text("name", name)).transpose()?;
        for _ in 0..TRIES {
            let stored = self.read_again().await?;
            expect(seen, stored.revision)?;
            let mut organisation = stored.value.clone();
            let mut changes = Changes(Vec::new());
            changes.set("code", &mut organisation.code, code.clone());
            changes.set("name", &mut organisation.name, shown.clone());
            changes.set("status", &mut organisation.status, patch.status);
            if changes.0.is_empty() {
                self.settle().await?;
                return Ok(stored);
            }
            if changes.0.iter().any(|member| *member != "name") {
                only_operators(self.is_operator)?;
            }
            if organisation.is_operator && organisation.status == Status::Disabled {
                return Err(keeps_working("suspended"));
            }
            let mut audit = self.audit(Event::Updated);
            audit.members = changes.0;
            let change = Change::UpdateOrganisation { organisation, expected: Some(stored.revision) };
            match self.submit(change, audit).await? {
                Outcome::Committed(_) => return self.read_again().await,
                Outcome::Taken(unique) => return Err(code_taken(unique)),
                Outcome::Refused => return Err(AdminError::NotFound),
                Outcome::Stale | Outcome::InUse | Outcome::Repeated => {}
            }
        }
        Err(moved())
    }

    /// Deletes the organisation with all that belongs to it, and ends its sessions. Its code must be said again. It is
    /// suspended first, and its users go before it does. For administrators of the operator organisation.
    pub async fn delete_organisation(&self, code: &str, seen: Option<Revision>) -> Answer<()> {
        only_operators(self.is_operator)?;
        let Organisation { code: own, is_operator, id, .. } = &self.organisation.value;
        if Name::new(code).ok().is_none_or(|code| code.canonical() != own.canonical()) {
            let problem =
                format!("is not the organisation's code; to delete it with all it has, send '{own}'");
            return Err(invalid("code", problem));
        }
        if *is_operator {
            return Err(keeps_working("deleted"));
        }
        // Nobody gets in from here on, and if this is cut off, it stays so until it is done again.
        let suspended = OrganisationPatch { status: Some(Status::Disabled), ..OrganisationPatch::default() };
        self.update_organisation(&suspended, seen).await?;
        // A few at a time, for whatever else waits for the journal: a release must not wait for a hundred thousand.
        let one = || PageRequest { after: None, limit: 1 };
        while !self.catalogue().list_users(*id, UserFilter::default(), one()).await?.items.is_empty() {
            // Recorded each time: if this is cut off, these users are gone and the organisation is not.
            let audit = AuditRecord { members: vec!["users"], ..self.audit(Event::Deleted) };
            let some = Entry::DeleteUsers { organisation: *id, limit: USERS_AT_A_TIME, audit };
            self.doorkeeper().parts().journal.submit(some).await?;
        }
        let change = Change::DeleteOrganisation { id: *id, expected: None };
        deleted(self.submit(change, self.audit(Event::Deleted)).await?)
    }
}

/// Without the operator organisation nobody could put anything right again.
fn keeps_working(what: &str) -> AdminError {
    AdminError::Conflict(format!(
        "The operator organisation cannot be {what}: nobody could manage anything any more."
    ))
}
