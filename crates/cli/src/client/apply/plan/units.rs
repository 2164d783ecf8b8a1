//! The units of an organisation.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    Planner,
    matching::{Pairs, pair},
    renames,
    step::{In, Names, Slot, Step, deletion, ends, push, step_of},
};
use crate::client::apply::{
    file::WantedThing,
    state::Present,
    thing::{self, Kind},
};

impl Planner<'_> {
    pub(super) fn units<'t>(
        &mut self,
        place: &In<'_>,
        wanted: &'t [WantedThing],
        present: &'t [Present],
    ) -> (Vec<Slot<'t>>, Vec<&'t Present>) {
        let (things, there): (Vec<_>, Vec<_>) = (wanted.iter().collect(), present.iter().collect());
        let Pairs { paired, rest } = pair(Kind::Unit, &things, &there, |_| String::new(), &mut self.problems);
        let (mut updates, mut creations, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        for (at, found) in paired {
            let slot = self.slot(things[at], found.map(|at| there[at]), things[at].members.clone());
            let ends = ends(&slot, "disabled");
            if ends && slot.id == self.caller.unit {
                self.would_end_itself(slot.wanted.line_of("status"), "disabling the unit that you work in");
            }
            push(step_of(Kind::Unit, place, &slot, ends, &Names::new()), &mut updates, &mut creations);
            slots.push(slot);
        }
        self.plan.steps.extend(renames::order(Kind::Unit, updates));
        self.plan.steps.extend(creations);
        (slots, rest.into_iter().map(|at| there[at]).collect())
    }

    pub(super) fn names_of_units(&self, units: &[Slot<'_>], present: &[Present]) -> Names {
        let before = present.iter().map(|unit| (unit.id.clone(), unit.text("name").to_owned()));
        let after = units.iter().map(|unit| (unit.id.clone(), thing::text(unit.result("name")).to_owned()));
        before.chain(after).collect()
    }

    /// Plans the deletion of units that nobody needs.
    pub(super) fn leaving_units(
        &mut self,
        place: &In<'_>,
        unnamed: &[&Present],
        users: &[Slot<'_>],
        staying: &[&Present],
    ) {
        let named = users.iter().map(|user| {
            (thing::text(user.result("username")), user.result("units"), user.result("default_unit"))
        });
        let null = &Value::Null;
        let others = staying.iter().map(|user| {
            let member = |name: &str| user.members.get(name).unwrap_or(null);
            (user.text("username"), member("units"), member("default_unit"))
        });
        let (mut defaults, mut members) = (HashMap::new(), HashMap::<&str, Vec<&str>>::new());
        for (name, units, default) in named.chain(others) {
            if let Some(default) = default.as_str() {
                defaults.entry(default).or_insert(name);
            }
            for unit in units.as_array().map(Vec::as_slice).unwrap_or_default() {
                members.entry(thing::text(unit)).or_default().push(name);
            }
        }
        for unit in unnamed {
            let id = unit.id.as_str();
            if id == self.caller.unit {
                self.left(Kind::Unit, place, unit, None, "you work in it");
            } else if let Some(user) = defaults.get(id) {
                let reason = format!("it is the default unit of {user}");
                self.left(Kind::Unit, place, unit, None, &reason);
            } else {
                let note = members.get(id).map(|users| match users[..] {
                    [] => String::new(),
                    [..] if users.len() <= 3 => format!("takes it from {}", users.join(", ")),
                    [..] => format!("takes it from {} users", users.len()),
                });
                let step = deletion(Kind::Unit, place, unit, None);
                self.plan.steps.push(Step { note, ..step });
            }
        }
    }
}
