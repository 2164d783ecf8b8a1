//! Steps, and how one is made of a thing as it is to be and as it is.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::client::apply::{
    file::WantedThing,
    state::Present,
    thing::{self, Kind, Members},
};

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client::apply) enum Action {
    Create,
    Update,
    Delete,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::client::apply) struct Step {
    pub(in crate::client::apply) action: Action,
    pub(in crate::client::apply) kind: Kind,
    /// The id of the organisation that it is about or in.
    pub(in crate::client::apply) organisation: String,
    /// Its code.
    pub(in crate::client::apply) code: String,
    /// The name of what it is about, as it is before.
    pub(in crate::client::apply) name: String,
    /// The user of a key.
    pub(in crate::client::apply) user: Option<String>,
    pub(in crate::client::apply) id: String,
    /// Whether the id was made for this plan.
    pub(in crate::client::apply) is_new_id: bool,
    pub(in crate::client::apply) changes: Vec<Change>,
    pub(in crate::client::apply) ends_tokens: bool,
    /// What else there is to say.
    pub(in crate::client::apply) note: Option<String>,
}

/// A member that becomes another. Of rules, null is what the server's configuration says.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::client::apply) struct Change {
    pub(in crate::client::apply) member: &'static str,
    pub(in crate::client::apply) from: Value,
    pub(in crate::client::apply) to: Value,
    /// As people name it: names instead of ids.
    pub(in crate::client::apply) shown: [Value; 2],
}

/// The organisation that steps are in.
pub(super) struct In<'a> {
    pub(super) id: &'a str,
    pub(super) code: &'a str,
    pub(super) is_new_id: bool,
}

/// The names of things by their ids, for what is shown.
pub(super) type Names = HashMap<String, String>;

/// What is to come of a thing that is named.
pub(super) struct Slot<'a> {
    pub(super) wanted: &'a WantedThing,
    pub(super) present: Option<&'a Present>,
    pub(super) id: String,
    pub(super) is_new_id: bool,
    pub(super) members: Members,
}

impl Slot<'_> {
    /// The value that a member will have.
    pub(super) fn result(&self, member: &str) -> &Value {
        let kept = || self.present.and_then(|present| present.members.get(member));
        self.members.get(member).or_else(kept).unwrap_or(&Value::Null)
    }

    /// The members that change, and from what; of a new thing all that are given.
    pub(super) fn changes(&self, kind: Kind) -> Vec<(&'static str, Value, Value)> {
        let changed = kind.members().iter().filter_map(|member| {
            let to = self.members.get(member)?;
            let from = self.present.and_then(|present| present.members.get(member)).unwrap_or(&Value::Null);
            (from != to).then(|| (*member, from.clone(), to.clone()))
        });
        changed.collect()
    }
}

/// The step that makes a thing what it is to be; without changes if it is that already.
pub(super) fn step(
    kind: Kind,
    place: &In<'_>,
    name: &str,
    slot: &Slot<'_>,
    ends_tokens: bool,
    names: &Names,
) -> Step {
    let show = |value: &Value| match value {
        Value::Array(items) => {
            let mut shown: Vec<_> = items.iter().map(|item| show_text(item, names)).collect();
            shown.sort_by_key(Value::to_string);
            Value::Array(shown)
        }
        one => show_text(one, names),
    };
    let is_named = |member: &str| matches!(member, "units" | "default_unit" | "user");
    let change = |(member, from, to): (&'static str, Value, Value)| {
        let shown = if is_named(member) { [show(&from), show(&to)] } else { [from.clone(), to.clone()] };
        Change { member, from, to, shown }
    };
    Step {
        action: if slot.present.is_some() { Action::Update } else { Action::Create },
        kind,
        organisation: place.id.to_owned(),
        code: place.code.to_owned(),
        name: name.to_owned(),
        user: None,
        id: slot.id.clone(),
        is_new_id: slot.is_new_id,
        changes: slot.changes(kind).into_iter().map(change).collect(),
        ends_tokens,
        note: None,
    }
}

pub(super) fn step_of(kind: Kind, place: &In<'_>, slot: &Slot<'_>, ends_tokens: bool, names: &Names) -> Step {
    let after = || thing::text(slot.result(kind.name()));
    let name = slot.present.map_or_else(after, |present| present.text(kind.name())).to_owned();
    step(kind, place, &name, slot, ends_tokens, names)
}

pub(super) fn show_text(value: &Value, names: &Names) -> Value {
    value.as_str().and_then(|id| names.get(id)).map_or_else(|| value.clone(), |name| json!(name))
}

/// Whether a status becomes the one that ends tokens.
pub(super) fn ends(slot: &Slot<'_>, status: &str) -> bool {
    let is_in_use = slot.present.is_some_and(|present| present.text("status") != status);
    is_in_use && slot.members.get("status").is_some_and(|to| to == status)
}

pub(super) fn push(step: Step, updates: &mut Vec<Step>, creations: &mut Vec<Step>) {
    if step.action == Action::Create { creations.push(step) } else { updates.push(step) }
}

pub(super) fn deletion(kind: Kind, place: &In<'_>, present: &Present, user: Option<String>) -> Step {
    Step {
        action: Action::Delete,
        kind,
        organisation: place.id.to_owned(),
        code: place.code.to_owned(),
        name: present.text(kind.name()).to_owned(),
        user,
        id: present.id.clone(),
        is_new_id: false,
        changes: Vec::new(),
        ends_tokens: true,
        note: None,
    }
}
