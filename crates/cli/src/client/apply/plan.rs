//! Decides what is to be done so that what is there becomes what a file names.
//!
//! A plan is a list of steps, each one request, in an order that works: organisations, then of each its rules, units,
//! users and keys, then what goes, the last made first. Nothing here asks the server, and what carries a plan out
//! decides nothing any more: what was shown is what is done.

mod keys;
mod matching;
mod references;
mod renames;
mod rules;
mod step;
mod units;
mod users;

pub(super) use self::step::{Action, Change, Step};
use self::{
    matching::{Pairs, pair},
    step::{In, Names, Slot, deletion, ends, step},
};
use super::{
    file::{Problem, Wanted, WantedOrganisation, WantedThing},
    state::{Caller, Present, PresentOrganisation, State},
    thing::{self, Kind, Members},
};
use crate::client::output::plain;

/// Something that the file does not name and that is not deleted all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) kind: Kind,
    pub(super) code: String,
    pub(super) name: String,
    pub(super) user: Option<String>,
    pub(super) id: String,
    /// Completes "it is left: ...".
    pub(super) reason: String,
}

/// What is to be done.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) left: Vec<Left>,
}

/// Plans how what is there becomes what is wanted; with `prune` what is not named goes.
pub(super) fn plan(
    wanted: &Wanted,
    state: &State,
    prune: bool,
    new_id: &mut dyn FnMut() -> String,
) -> Result<Plan, Vec<Problem>> {
    let mut planner =
        Planner { caller: &state.caller, prune, new_id, plan: Plan::default(), problems: Vec::new() };
    planner.organisations(wanted, state);
    if planner.problems.is_empty() {
        return Ok(planner.plan);
    }
    planner.problems.sort();
    planner.problems.dedup();
    Err(planner.problems)
}

struct Planner<'a> {
    caller: &'a Caller,
    prune: bool,
    new_id: &'a mut dyn FnMut() -> String,
    plan: Plan,
    problems: Vec<Problem>,
}

impl<'a> Planner<'a> {
    fn problem(&mut self, line: usize, text: impl Into<String>) {
        self.problems.push(Problem { line, text: text.into() });
    }

    fn organisations(&mut self, wanted: &'a Wanted, state: &'a State) {
        let things: Vec<_> = wanted.organisations.iter().map(|organisation| &organisation.thing).collect();
        let present: Vec<_> = state.organisations.iter().map(|organisation| &organisation.thing).collect();
        let no_owner = |_: &Members| String::new();
        let Pairs { paired, rest } =
            pair(Kind::Organisation, &things, &present, no_owner, &mut self.problems);
        let (mut updates, mut creations, mut inner) = (Vec::new(), Vec::new(), Vec::new());
        for (at, found) in &paired {
            let (wanted, present) = (&wanted.organisations[*at], found.map(|at| &state.organisations[at]));
            let slot =
                self.slot(&wanted.thing, present.map(|present| &present.thing), wanted.thing.members.clone());
            self.check_organisation(&slot, present);
            let (id, code) = (slot.id.clone(), thing::text(slot.result("code")).to_owned());
            let (name, ends) = match present {
                Some(present) => (present.thing.text("code").to_owned(), ends(&slot, "suspended")),
                None => (code.clone(), false),
            };
            let shown_code = if present.is_some() { &name } else { &code };
            let place = In { id: &id, code: shown_code, is_new_id: slot.is_new_id };
            let step = step(Kind::Organisation, &place, &name, &slot, ends, &Names::new());
            if present.is_some() {
                updates.push(step)
            } else {
                creations.push(step)
            };
            inner.push((id, code, slot.is_new_id, wanted, present));
        }
        self.plan.steps.extend(renames::order(Kind::Organisation, updates));
        self.plan.steps.extend(creations);
        for (id, code, is_new_id, wanted, present) in inner {
            self.parts(&In { id: &id, code: &code, is_new_id }, wanted, present);
        }
        for at in rest {
            self.unnamed_organisation(&state.organisations[at]);
        }
    }

    fn slot<'t>(
        &mut self,
        wanted: &'t WantedThing,
        present: Option<&'t Present>,
        members: Members,
    ) -> Slot<'t> {
        let known = present.map(|present| present.id.clone()).or_else(|| wanted.id.clone());
        let is_new_id = known.is_none();
        let id = known.unwrap_or_else(|| (self.new_id)());
        Slot { wanted, present, id, is_new_id, members }
    }

    /// What the server would refuse, or what would end this very work.
    fn check_organisation(&mut self, slot: &Slot<'_>, present: Option<&PresentOrganisation>) {
        let line = slot.wanted.line;
        let code = plain(thing::text(slot.result("code")));
        let Some(present) = present else {
            if !self.caller.is_operator {
                self.problem(
                    line,
                    format!(
                        "there is no organisation '{code}', or none that you may manage; only administrators of the \
                         operator organisation create organisations"
                    ),
                );
            }
            return;
        };
        for (member, _, to) in slot.changes(Kind::Organisation) {
            let line = slot.wanted.line_of(member);
            if member != "name" && !self.caller.is_operator {
                let text =
                    format!("'{member}' is changed by administrators of the operator organisation only");
                self.problem(line, text);
            } else if to == "suspended" && present.is_operator {
                self.problem(line, "the operator organisation cannot be suspended");
            }
        }
    }

    fn unnamed_organisation(&mut self, present: &PresentOrganisation) {
        let (id, code) = (&present.thing.id, present.thing.text("code"));
        if !self.prune {
            return;
        }
        let place = In { id, code, is_new_id: false };
        let reason = if present.is_operator {
            Some("it is the operator organisation")
        } else if *id == self.caller.organisation {
            Some("it is your own")
        } else {
            None
        };
        if let Some(reason) = reason {
            self.left(Kind::Organisation, &place, &present.thing, None, reason);
            return;
        }
        let count = |things: &[Present], word: &str| match things.len() {
            0 => None,
            1 => Some(format!("1 {word}")),
            many => Some(format!("{many} {word}s")),
        };
        let holds = [(&present.units, "unit"), (&present.users, "user"), (&present.keys, "key")];
        let holds: Vec<_> = holds.into_iter().filter_map(|(things, word)| count(things, word)).collect();
        let note = (!holds.is_empty()).then(|| format!("with {}", holds.join(", ")));
        let step = deletion(Kind::Organisation, &place, &present.thing, None);
        self.plan.steps.push(Step { note, ..step });
    }

    fn left(&mut self, kind: Kind, place: &In<'_>, present: &Present, user: Option<String>, reason: &str) {
        self.plan.left.push(Left {
            kind,
            code: place.code.to_owned(),
            name: present.text(kind.name()).to_owned(),
            user,
            id: present.id.clone(),
            reason: reason.to_owned(),
        });
    }

    /// The rules, units, users and keys of an organisation.
    fn parts(
        &mut self,
        place: &In<'_>,
        wanted: &'a WantedOrganisation,
        present: Option<&'a PresentOrganisation>,
    ) {
        self.rules(place, &wanted.rules, present);
        let none = Vec::new();
        let there = |kind: Kind| present.map_or(&none[..], |present| present.things(kind));
        let (units, unnamed_units) = self.units(place, &wanted.units, there(Kind::Unit));
        let names = self.names_of_units(&units, there(Kind::Unit));
        let (users, mut leaving_users, staying_users) =
            self.users(place, wanted, there(Kind::User), (&units, &unnamed_units, &names));
        let leaving_keys =
            self.keys(place, &wanted.keys, there(Kind::Key), (&users, &wanted.users, there(Kind::User)));
        self.plan.steps.extend(leaving_keys);
        self.plan.steps.append(&mut leaving_users);
        if self.prune {
            self.leaving_units(place, &unnamed_units, &users, &staying_users);
        }
    }

    fn would_end_itself(&mut self, line: usize, what: &str) {
        let text = format!(
            "{what} would end your own token before all is done; log in another way, or let another administrator do it"
        );
        self.problem(line, text);
    }
}

#[cfg(test)]
mod tests;
