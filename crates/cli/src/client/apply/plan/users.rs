//! The users of an organisation.

use serde_json::{Value, json};

use super::{
    Planner,
    matching::{Pairs, pair},
    references::References,
    renames,
    step::{Action, Change, In, Names, Slot, Step, deletion, ends, push, step_of},
};
use crate::client::apply::{
    file::{WantedOrganisation, WantedThing},
    state::Present,
    thing::{self, Kind, Members},
};

impl Planner<'_> {
    /// Plans users. Says who is named, whose deletions are to follow, and who stays without being named.
    pub(super) fn users<'t>(
        &mut self,
        place: &In<'_>,
        wanted: &'t WantedOrganisation,
        present: &'t [Present],
        (units, unnamed_units, names): (&[Slot<'_>], &[&Present], &Names),
    ) -> (Vec<Slot<'t>>, Vec<Step>, Vec<&'t Present>) {
        let (things, there): (Vec<_>, Vec<_>) = (wanted.users.iter().collect(), present.iter().collect());
        let Pairs { paired, rest } = pair(Kind::User, &things, &there, |_| String::new(), &mut self.problems);
        let references = References::new(Kind::Unit, units, unnamed_units, &wanted.units, self.prune);
        let (mut updates, mut creations, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        for (at, found) in paired {
            let present = found.map(|at| there[at]);
            let Some(members) = self.user_members(things[at], present, &references) else { continue };
            let slot = self.slot(things[at], present, members);
            let is_less = |present: &Present| {
                let after = slot.result("units").as_array().cloned().unwrap_or_default();
                let before = present.members.get("units").and_then(Value::as_array);
                before.is_some_and(|before| before.iter().any(|unit| !after.contains(unit)))
            };
            let loses_unit = present.is_some_and(is_less);
            let ends = ends(&slot, "disabled") || loses_unit;
            if slot.id == self.caller.user {
                for (member, _, _) in slot
                    .changes(Kind::User)
                    .iter()
                    .filter(|(member, ..)| matches!(*member, "role" | "status"))
                {
                    let text = format!("nobody changes their own {member}; ask another administrator");
                    self.problem(slot.wanted.line_of(member), text);
                }
                if loses_unit {
                    self.would_end_itself(slot.wanted.line_of("units"), "taking a unit from yourself");
                }
            }
            let step = step_of(Kind::User, place, &slot, ends, names);
            let no_default = without_default(things[at], &step);
            push(step, &mut updates, &mut creations);
            creations.extend(no_default);
            slots.push(slot);
        }
        self.plan.steps.extend(renames::order(Kind::User, updates));
        self.plan.steps.extend(creations);
        let (mut leaving, mut staying) = (Vec::new(), Vec::new());
        for user in rest.into_iter().map(|at| there[at]) {
            if !self.prune {
                staying.push(user);
            } else if user.id == self.caller.user {
                self.left(Kind::User, place, user, None, "you are logged in as it");
                staying.push(user);
            } else {
                leaving.push(deletion(Kind::User, place, user, None));
            }
        }
        (slots, leaving, staying)
    }

    /// The members of a user with ids for units, in one form.
    pub(super) fn user_members(
        &mut self,
        wanted: &WantedThing,
        present: Option<&Present>,
        units: &References<'_>,
    ) -> Option<Members> {
        let mut members = wanted.members.clone();
        let mut is_whole = true;
        let mut find = |planner: &mut Self, member: &str, name: &Value| {
            let found = units.find(thing::text(name));
            is_whole &= found.is_ok();
            found.map_err(|problem| planner.cannot_find(wanted, member, problem)).ok()
        };
        let mut first = None;
        if let Some(given) = members.get("units").and_then(Value::as_array) {
            let ids: Vec<_> = given.iter().filter_map(|name| find(self, "units", name)).collect();
            first = ids.first().cloned();
            members.insert("units", thing::set(ids));
        }
        if let Some(given) = members.get("default_unit").filter(|given| !given.is_null()) {
            let id = find(self, "default_unit", given)?;
            members.insert("default_unit", json!(id));
        }
        if !is_whole {
            return None;
        }
        let works_in = |members: &Members, unit: &Value| {
            let units =
                members.get("units").or_else(|| present.and_then(|present| present.members.get("units")));
            units.and_then(Value::as_array).is_some_and(|units| units.contains(unit))
        };
        match members.get("default_unit") {
            Some(Value::Null) if present.is_none() => {
                // The server gives new users one; see `without_default`.
                members.extend(first.map(|first| ("default_unit", json!(first))));
            }
            Some(default) => {
                if !default.is_null() && !works_in(&members, default) {
                    let text = "'default_unit' is not one of the user's units; add it to 'units'";
                    self.problem(wanted.line_of("default_unit"), text);
                    return None;
                }
            }
            // What the server would do by itself is said.
            None => match (present, first) {
                (None, Some(first)) => {
                    members.insert("default_unit", json!(first));
                }
                (Some(present), _) => {
                    let default = present.members.get("default_unit").unwrap_or(&Value::Null);
                    if !default.is_null() && !works_in(&members, default) {
                        members.insert("default_unit", Value::Null);
                    }
                }
                (None, None) => {}
            },
        }
        Some(members)
    }
}

/// The step that takes the default unit from a new user who is to have none, for the server gives new users one.
fn without_default(wanted: &WantedThing, creation: &Step) -> Option<Step> {
    let is_none = wanted.members.get("default_unit").is_some_and(Value::is_null);
    let given = creation.changes.iter().find(|change| change.member == "default_unit");
    let given = given.filter(|_| is_none && creation.action == Action::Create)?;
    let change = Change {
        member: "default_unit",
        from: given.to.clone(),
        to: Value::Null,
        shown: [given.shown[1].clone(), Value::Null],
    };
    Some(Step { action: Action::Update, changes: vec![change], ..creation.clone() })
}
