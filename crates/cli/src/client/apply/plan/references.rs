//! What a name or an id in a file refers to: something that will be there.

use std::collections::{HashMap, HashSet};

use super::{Planner, step::Slot};
use crate::client::{
    apply::{
        file::WantedThing,
        state::Present,
        thing::{self, Kind},
    },
    output::plain,
};

/// The things that others may refer to, as they will be.
pub(super) struct References<'a> {
    kind: Kind,
    ids: HashSet<&'a str>,
    names: HashMap<String, &'a str>,
    /// Those that --prune may delete, by name and by id.
    going: HashSet<String>,
    /// Those that the file names, by name and by id: where one of them is none of the above, its problem is told.
    told: HashSet<String>,
}

impl<'a> References<'a> {
    pub(super) fn new(
        kind: Kind,
        named: &'a [Slot<'_>],
        unnamed: &[&'a Present],
        wanted: &[WantedThing],
        prune: bool,
    ) -> Self {
        let (going, mut told) = (HashSet::new(), HashSet::new());
        for thing in wanted {
            told.extend(thing.members.get(kind.name()).map(|name| thing::canonical(thing::text(name))));
            told.extend(thing.id.clone());
        }
        let mut all = Self { kind, ids: HashSet::new(), names: HashMap::new(), going, told };
        for slot in named {
            all.ids.insert(&slot.id);
            all.names.insert(thing::canonical(thing::text(slot.result(kind.name()))), &slot.id);
        }
        for present in unnamed {
            let name = thing::canonical(present.text(kind.name()));
            if prune {
                all.going.extend([name, present.id.clone()]);
            } else {
                all.ids.insert(&present.id);
                all.names.entry(name).or_insert(&present.id);
            }
        }
        all
    }

    /// The id of what a text names. An error is what is wrong with the text, if that is not told elsewhere.
    pub(super) fn find(&self, text: &str) -> Result<String, Option<String>> {
        let (id, name) = (thing::id(text), thing::canonical(text));
        if let Some(id) = id.as_deref().filter(|id| self.ids.contains(id)) {
            return Ok(id.to_owned());
        }
        if let Some(id) = self.names.get(&name) {
            return Ok((*id).to_owned());
        }
        let (word, shown) = (self.kind.word(), plain(text));
        let is_in =
            |set: &HashSet<String>| set.contains(&name) || id.as_ref().is_some_and(|id| set.contains(id));
        if is_in(&self.told) {
            return Err(None);
        }
        Err(Some(match is_in(&self.going) {
            true => format!(
                "the {word} '{shown}' is not named in the file by itself, so --prune would delete it; add it as \
                 [[organisation.{word}]]"
            ),
            false => format!(
                "there is no {word} '{shown}', neither in the file nor on the server; add it as [[organisation.{word}]]"
            ),
        }))
    }
}

impl Planner<'_> {
    pub(super) fn cannot_find(&mut self, thing: &WantedThing, member: &str, problem: Option<String>) {
        if let Some(problem) = problem {
            self.problem(thing.line_of(member), format!("'{member}': {problem}"));
        } else if self.problems.is_empty() {
            self.problem(thing.line_of(member), format!("'{member}' names something that cannot be planned"));
        }
    }
}
