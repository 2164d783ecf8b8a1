//! Finds for each thing that a file names the one on the server that it means: by its id, or else by its name.

use std::collections::HashMap;

use crate::client::{
    apply::{
        file::{Problem, WantedThing},
        state::Present,
        thing::{self, Kind, Members},
    },
    output::plain,
};

/// Who is who, by their places in the two lists.
pub(super) struct Pairs {
    /// Each thing of the file with the one that is there, if one is.
    pub(super) paired: Vec<(usize, Option<usize>)>,
    /// What is there and not named.
    pub(super) rest: Vec<usize>,
}

/// Pairs the things of a file with those that are there. Names count among things of one owner.
pub(super) fn pair(
    kind: Kind,
    wanted: &[&WantedThing],
    present: &[&Present],
    owner: impl Fn(&Members) -> String,
    problems: &mut Vec<Problem>,
) -> Pairs {
    let name_of = |members: &Members| {
        let name = members.get(kind.name()).map(thing::text).unwrap_or_default();
        (owner(members), thing::canonical(name))
    };
    let names: Vec<_> = present.iter().map(|present| name_of(&present.members)).collect();
    let mut by_name: HashMap<_, Vec<usize>> = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        by_name.entry(name).or_default().push(at);
    }
    let by_id: HashMap<_, _> = present.iter().enumerate().map(|(at, each)| (each.id.as_str(), at)).collect();

    // Ids first: what has one is not meant by its name any more.
    let with_id = |thing: &&WantedThing| thing.id.as_deref().and_then(|id| by_id.get(id).copied());
    let found: Vec<_> = wanted.iter().map(with_id).collect();
    let mut is_meant = vec![false; present.len()];
    for at in found.iter().flatten() {
        is_meant[*at] = true;
    }
    let mut problem = |line: usize, text: String| problems.push(Problem { line, text });
    let mut paired = Vec::with_capacity(wanted.len());
    let mut first: HashMap<_, usize> = HashMap::new();
    for (at, (thing, found)) in wanted.iter().zip(found).enumerate() {
        let (word, line) = (kind.word(), thing.line_of(kind.name()));
        let shown = plain(thing.members.get(kind.name()).map(thing::text).unwrap_or_default());
        let name = name_of(&thing.members);
        if let Some(line_before) = first.insert(name.clone(), thing.line) {
            problem(line, format!("the {word} '{shown}' is named twice, first in line {line_before}"));
            continue;
        }
        let named = by_name.get(&name).map(Vec::as_slice).unwrap_or_default();
        // Without an id it is whoever has the name, unless that one is meant by its id and will have another.
        let ids: Vec<_> =
            named.iter().filter(|at| !is_meant[**at]).map(|at| present[*at].id.as_str()).collect();
        let keeps_name = found.is_some_and(|at| names[at] == name);
        match (found, &thing.id, &ids[..]) {
            (Some(found), ..) if keeps_name => paired.push((at, Some(found))),
            (found, _, []) => paired.push((at, found)),
            (None, None, [_]) => paired.push((at, named.iter().copied().find(|at| !is_meant[*at]))),
            (None, None, many) => problem(
                line,
                format!(
                    "there are {} {word}s '{shown}'; give the 'id' of one: {}",
                    many.len(),
                    many.join(", ")
                ),
            ),
            (_, Some(_), [id, ..]) | (Some(_), None, [id, ..]) => problem(
                line,
                format!(
                    "the name '{shown}' is that of another {word}, {id}, which the file does not name; correct 'id', \
                     rename that one, or delete it first"
                ),
            ),
        }
    }
    for at in paired.iter().filter_map(|(_, found)| *found) {
        is_meant[at] = true;
    }
    let rest = (0..present.len()).filter(|at| !is_meant[*at]).collect();
    Pairs { paired, rest }
}
