//! Units.

use super::{
    AdminError, Answer, Changes, Created, Idempotency, TRIES, Tenant, deleted, expect, find_made, id_taken,
    moved, name, taken,
};
use crate::{
    audit::{AuditRecord, Event},
    change::Change,
    directory::Status,
    id::UnitId,
    journal::{Outcome, Unique},
    resource::{Page, PageRequest, Revision, Stored, Unit, UnitFilter},
};

/// A unit to be created.
#[derive(Clone, Debug)]
pub struct NewUnit {
    /// Its id; a new one if `None`.
    pub id: Option<UnitId>,
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: Status,
}

/// A change of a unit: what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct UnitPatch {
    /// Its name.
    pub name: Option<String>,
    /// Its status.
    pub status: Option<Status>,
}

fn name_taken(unique: Unique) -> AdminError {
    match unique {
        Unique::Name => taken("name", "is the name of another unit of this organisation"),
        Unique::Id | Unique::Secret => id_taken(),
    }
}

impl Tenant {
    /// Lists units by name.
    pub async fn list_units(&self, filter: UnitFilter, page: PageRequest) -> Answer<Page<Stored<Unit>>> {
        Ok(self.catalogue().list_units(self.id(), filter, page).await?)
    }

    /// A unit.
    pub async fn get_unit(&self, id: UnitId) -> Answer<Stored<Unit>> {
        self.catalogue().find_unit(self.id(), id).await?.ok_or(AdminError::NotFound)
    }

    /// Creates a unit.
    pub async fn create_unit(
        &self,
        new: NewUnit,
        idempotency: Option<Idempotency>,
    ) -> Answer<Created<Stored<Unit>>> {
        if let Some(made) = find_made(&self.administration, self.actor, idempotency).await? {
            return Ok(Created { value: self.get_unit(UnitId::from_bytes(made)).await?, is_repeat: true });
        }
        let id = new.id.map_or_else(|| UnitId::generate(self.now(), self.random()), Ok)?;
        let unit = Unit { id, name: name("name", &new.name)?, status: new.status };
        let change = Change::CreateUnit { organisation: self.id(), unit };
        let audit = AuditRecord { unit: Some(id), ..self.audit(Event::Created) };
        let before = self.create(change, id.to_bytes(), audit, idempotency, name_taken).await?;
        let value = self.get_unit(before.map_or(id, UnitId::from_bytes)).await?;
        Ok(Created { value, is_repeat: before.is_some() })
    }

    /// Changes a unit; disabling it ends its sessions.
    pub async fn update_unit(
        &self,
        id: UnitId,
        patch: &UnitPatch,
        seen: Option<Revision>,
    ) -> Answer<Stored<Unit>> {
        let shown = patch.name.as_deref().map(|text| name("name", text)).transpose()?;
        for _ in 0..TRIES {
            let stored = self.get_unit(id).await?;
            expect(seen, stored.revision)?;
            let mut unit = stored.value.clone();
            let mut changes = Changes(Vec::new());
            changes.set("name", &mut unit.name, shown.clone());
            changes.set("status", &mut unit.status, patch.status);
            if changes.0.is_empty() {
                self.settle().await?;
                return Ok(stored);
            }
            let audit = AuditRecord { unit: Some(id), members: changes.0, ..self.audit(Event::Updated) };
            let expected = Some(stored.revision);
            let change = Change::UpdateUnit { organisation: self.id(), unit, expected };
            match self.submit(change, audit).await? {
                Outcome::Committed(_) => return self.get_unit(id).await,
                Outcome::Taken(unique) => return Err(name_taken(unique)),
                Outcome::Refused => return Err(AdminError::NotFound),
                Outcome::Stale | Outcome::InUse | Outcome::Repeated => {}
            }
        }
        Err(moved())
    }

    /// Deletes a unit that is nobody's default, and ends its sessions.
    pub async fn delete_unit(&self, id: UnitId, seen: Option<Revision>) -> Answer<()> {
        let audit = AuditRecord { unit: Some(id), ..self.audit(Event::Deleted) };
        let change = Change::DeleteUnit { organisation: self.id(), id, expected: seen };
        match self.submit(change, audit).await? {
            Outcome::InUse => Err(AdminError::Conflict(
                "The unit is the default unit of some users; list them with '?unit=' and give them another first."
                    .into(),
            )),
            outcome => deleted(outcome),
        }
    }
}
