//! The Web API keys of an organisation.

use std::collections::HashSet;

use serde_json::json;

use super::{
    Planner,
    matching::{Pairs, pair},
    references::References,
    step::{In, Names, Slot, Step, deletion, ends, push, step_of},
};
use crate::client::apply::{
    file::WantedThing,
    state::Present,
    thing::{self, Kind, Members},
};

impl Planner<'_> {
    /// Plans keys. Says whose deletions are to follow.
    pub(super) fn keys(
        &mut self,
        place: &In<'_>,
        wanted: &[WantedThing],
        present: &[Present],
        (users, wanted_users, present_users): (&[Slot<'_>], &[WantedThing], &[Present]),
    ) -> Vec<Step> {
        let named: HashSet<_> = users.iter().map(|user| user.id.as_str()).collect();
        let unnamed: Vec<_> = present_users.iter().filter(|user| !named.contains(user.id.as_str())).collect();
        let references = References::new(Kind::User, users, &unnamed, wanted_users, self.prune);
        let mut names: Names =
            present_users.iter().map(|user| (user.id.clone(), user.text("username").to_owned())).collect();
        names.extend(
            users.iter().map(|user| (user.id.clone(), thing::text(user.result("username")).to_owned())),
        );
        let name_of = |id: &str| names.get(id).cloned().unwrap_or_else(|| id.to_owned());

        let mut things = Vec::new();
        for key in wanted {
            let user = key.members.get("user").map(thing::text).unwrap_or_default();
            match references.find(user) {
                Ok(id) => {
                    let mut key = key.clone();
                    key.members.insert("user", json!(id));
                    things.push(key);
                }
                Err(problem) => self.cannot_find(key, "user", problem),
            }
        }
        let (things, there): (Vec<_>, Vec<_>) = (things.iter().collect(), present.iter().collect());
        let owner = |members: &Members| members.get("user").map(thing::text).unwrap_or_default().to_owned();
        let Pairs { paired, rest } = pair(Kind::Key, &things, &there, owner, &mut self.problems);
        let (mut updates, mut creations) = (Vec::new(), Vec::new());
        for (at, found) in paired {
            let slot = self.slot(things[at], found.map(|at| there[at]), things[at].members.clone());
            let user = thing::text(slot.result("user")).to_owned();
            if slot.present.is_some_and(|present| present.text("user") != user) {
                let problem =
                    "a key stays with its user; delete it and create another, or correct 'user' or 'id'";
                self.problem(slot.wanted.line_of("user"), problem);
                continue;
            }
            let ends = ends(&slot, "disabled");
            if ends && self.caller.has_key && user == self.caller.user {
                self.would_end_itself(
                    slot.wanted.line_of("status"),
                    "disabling a key of the user that you are",
                );
            }
            let step = step_of(Kind::Key, place, &slot, ends, &names);
            push(Step { user: Some(name_of(&user)), ..step }, &mut updates, &mut creations);
        }
        self.plan.steps.extend(updates.into_iter().filter(|step| !step.changes.is_empty()));
        self.plan.steps.extend(creations);
        let mut leaving = Vec::new();
        let unnamed = if self.prune { rest } else { Vec::new() };
        for key in unnamed.into_iter().map(|at| there[at]) {
            let user = key.text("user");
            if self.caller.has_key && user == self.caller.user {
                let reason = "you are logged in with a key of this user";
                self.left(Kind::Key, place, key, Some(name_of(user)), reason);
            } else {
                leaving.push(deletion(Kind::Key, place, key, Some(name_of(user))));
            }
        }
        leaving
    }
}
