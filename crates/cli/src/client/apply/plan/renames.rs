//! The order of renames. A name is free once whoever has it has another; where names go round in a circle, one of the
//! circle takes a name of its own for a moment.

use std::collections::{HashSet, VecDeque};

use serde_json::json;

use super::{Change, Step};
use crate::client::apply::thing::{self, Kind};

/// Puts updates of one kind of thing in one place in an order that works. Those without changes are left out.
pub(super) fn order(kind: Kind, updates: Vec<Step>) -> Vec<Step> {
    let name = |step: &Step| step.changes.iter().position(|change| change.member == kind.name());
    let names = |step: &Step| {
        let change = &step.changes[name(step)?];
        let canonical = |value| thing::canonical(thing::text(value));
        Some((canonical(&change.from), canonical(&change.to))).filter(|(from, to)| from != to)
    };
    let mut held: HashSet<String> = updates.iter().filter_map(names).map(|(from, _)| from).collect();
    let (mut ordered, mut waiting) = (Vec::new(), VecDeque::new());
    waiting.extend(updates.into_iter().filter(|step| !step.changes.is_empty()));
    let mut waited = 0;
    while let Some(mut step) = waiting.pop_front() {
        let Some((from, to)) = names(&step) else {
            ordered.push(step);
            continue;
        };
        if !held.contains(&to) {
            held.remove(&from);
            ordered.push(step);
            waited = 0;
        } else if waited <= waiting.len() {
            waited += 1;
            waiting.push_back(step);
        } else {
            // All wait for each other.
            let Some(at) = name(&step) else { continue };
            let meanwhile = json!(format!("renaming-{}", step.id));
            let before = step.changes[at].from.clone();
            let change = Change {
                member: kind.name(),
                from: before.clone(),
                to: meanwhile.clone(),
                shown: [before, meanwhile.clone()],
            };
            ordered.push(Step {
                changes: vec![change],
                ends_tokens: false,
                note: Some("for a moment, so that names can change places".to_owned()),
                ..step.clone()
            });
            held.remove(&from);
            step.changes[at].from = meanwhile.clone();
            step.changes[at].shown[0] = meanwhile.clone();
            step.name = thing::text(&meanwhile).to_owned();
            waiting.push_back(step);
            waited = 0;
        }
    }
    ordered
}
