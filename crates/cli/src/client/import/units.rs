//! The units of the organisation, by name and by id.

use std::collections::{HashMap, HashSet};

use doorward_domain::name::CanonicalName;
use serde_json::{Map, Value};

use super::super::{
    output::plain,
    things::{Paging, UNIT, Work},
};

/// The units that rows may name.
pub(super) struct Units {
    by_name: HashMap<CanonicalName, String>,
    ids: HashSet<String>,
    organisation: String,
}

/// A row that names a unit which is not there.
pub(super) struct UnknownUnit {
    pub(super) member: &'static str,
    pub(super) reason: String,
}

impl Units {
    pub(super) async fn fetch(work: &Work, organisation: &str) -> anyhow::Result<Self> {
        let page = work.fetch(&UNIT, Vec::new(), &Paging::all()).await?;
        let (mut by_name, mut ids) = (HashMap::new(), HashSet::new());
        for unit in &page.items {
            if let (Some(id), Some(name)) = (unit["id"].as_str(), unit["name"].as_str()) {
                ids.insert(id.to_owned());
                if let Ok(name) = CanonicalName::new(name) {
                    by_name.insert(name, id.to_owned());
                }
            }
        }
        Ok(Self { by_name, ids, organisation: organisation.to_owned() })
    }

    /// Puts the ids of units in the place of their names. What is no text is left for the server to judge.
    pub(super) fn resolve(&self, members: &mut Map<String, Value>) -> Result<(), UnknownUnit> {
        if let Some(Value::Array(units)) = members.get_mut("units") {
            for unit in units {
                self.find(unit, "units")?;
            }
        }
        match members.get_mut("default_unit") {
            Some(unit) => self.find(unit, "default_unit"),
            None => Ok(()),
        }
    }

    fn find(&self, unit: &mut Value, member: &'static str) -> Result<(), UnknownUnit> {
        let Value::String(text) = unit else { return Ok(()) };
        let id = text.to_ascii_uppercase();
        let found = self.ids.get(&id).or_else(|| self.by_name.get(&CanonicalName::new(text).ok()?));
        match found {
            Some(found) => {
                text.clone_from(found);
                Ok(())
            }
            None => {
                let reason = format!(
                    "'{member}' names '{}', which is no unit of {}; create it with `doorward unit create`",
                    plain(text),
                    plain(&self.organisation)
                );
                Err(UnknownUnit { member, reason })
            }
        }
    }
}
