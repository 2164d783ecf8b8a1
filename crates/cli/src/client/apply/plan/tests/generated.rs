//! Generated states and files, and what a file means, said once more and in another way.

use std::{collections::HashSet, fmt::Write};

use serde_json::{Value, json};

use super::{
    super::{Action, Plan},
    model::{Model, id},
};
use crate::client::apply::{
    file::{Wanted, WantedThing},
    state::{Present, PresentOrganisation, PresentRule, State},
    thing::{self, Kind},
};

/// Choices, one after the other.
pub(super) struct Tape {
    bytes: Vec<u8>,
    at: usize,
}

impl Tape {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn pick(&mut self, choices: usize) -> usize {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte) % choices
    }

    fn one<'t, T: ?Sized>(&mut self, of: &[&'t T]) -> &'t T {
        of[self.pick(of.len())]
    }

    fn some<'t>(&mut self, of: &[&'t str]) -> Vec<&'t str> {
        of.iter().copied().filter(|_| self.pick(2) == 1).collect()
    }
}

const CODES: [&str; 4] = ["A", "B", "C", "Straße"];
const UNITS: [&str; 4] = ["North", "South", "East", "Zoë"];
const USERS: [&str; 4] = ["ann", "bob", "cy", "dan"];
const KEYS: [&str; 2] = ["billing", "shop"];

pub(super) fn state(tape: &mut Tape) -> State {
    let mut model = Model::new(State::default());
    model.found("OPS", "Main", "admin");
    for code in tape.some(&CODES) {
        let units = tape.some(&UNITS);
        let users: Vec<_> = tape.some(&USERS);
        let users: Vec<_> = users
            .into_iter()
            .map(|user| {
                let of: Vec<_> = tape.some(&units);
                let default = if of.is_empty() || tape.pick(3) == 0 { None } else { Some(tape.one(&of)) };
                (user, of, default)
            })
            .collect();
        let users: Vec<_> = users.iter().map(|(user, of, default)| (*user, &of[..], *default)).collect();
        model.organisation(code, &units, &users);
        for (user, ..) in &users {
            for name in tape.some(&["billing", "shop", "Shop"]) {
                model.key(code, user, name);
            }
        }
    }
    for organisation in &mut model.state.organisations {
        if tape.pick(3) == 0 {
            let own = PresentRule { value: json!(20), source: "organisation".into() };
            organisation.rules.insert("passwords.min_length", own);
        }
        for unit in &mut organisation.units {
            if tape.pick(4) == 1 && unit.text("name") != "Main" {
                unit.members.insert("status", json!("disabled"));
            }
        }
    }
    model.state
}

fn line(text: &mut String, member: &str, value: &Value) {
    let _ = writeln!(text, "{member} = {value}");
}

/// The name of a thing in one of its spellings, and an id, which may be that of another thing.
fn named(tape: &mut Tape, text: &mut String, kind: Kind, name: &str, there: &[Present]) {
    let name = if tape.pick(6) == 1 { name.to_uppercase() } else { name.to_owned() };
    line(text, kind.name(), &json!(name));
    match tape.pick(8) {
        1 | 2 if !there.is_empty() => line(text, "id", &json!(there[tape.pick(there.len())].id)),
        3 => {
            let at =
                there.iter().find(|each| thing::canonical(each.text(kind.name())) == thing::canonical(&name));
            line(
                text,
                "id",
                &json!(at.map_or_else(
                    || id(500_000 + u32::try_from(tape.at).unwrap_or(0)),
                    |at| at.id.to_lowercase()
                )),
            );
        }
        _ => {}
    }
}

pub(super) fn file(tape: &mut Tape, state: &State) -> String {
    let mut text = String::new();
    let codes = [&["OPS"][..], &CODES].concat();
    let organisations: Vec<_> = state.organisations.iter().map(|each| each.thing.clone()).collect();
    let none = PresentOrganisation::default();
    for code in tape.some(&codes) {
        text += "[[organisation]]\n";
        named(tape, &mut text, Kind::Organisation, code, &organisations);
        let there = state.organisations.iter().find(|each| each.thing.text("code") == code).unwrap_or(&none);
        match tape.pick(4) {
            1 => line(&mut text, "name", &json!("Called")),
            2 if code != "OPS" => line(&mut text, "status", &json!(tape.one(&["active", "suspended"]))),
            3 => text += "rules.passwords.min_length = 17\nrules.\"addresses.deny\" = ['10.0.*.*', '::1']\n",
            _ => {}
        }
        let units = tape.some(&UNITS);
        for unit in &units {
            text += "[[organisation.unit]]\n";
            named(tape, &mut text, Kind::Unit, unit, &there.units);
            if tape.pick(2) == 1 {
                line(&mut text, "status", &json!(tape.one(&["active", "disabled"])));
            }
        }
        let users = tape.some(&USERS);
        for user in &users {
            text += "[[organisation.user]]\n";
            named(tape, &mut text, Kind::User, user, &there.users);
            if tape.pick(2) == 1 {
                let mut of = tape.some(&units);
                if tape.pick(2) == 1 {
                    of.reverse();
                }
                line(&mut text, "units", &json!(of));
                match tape.pick(3) {
                    1 if !of.is_empty() => line(&mut text, "default_unit", &json!(tape.one(&of))),
                    2 => line(&mut text, "default_unit", &json!("")),
                    _ => {}
                }
            }
            match tape.pick(4) {
                1 => line(&mut text, "email", &json!("a@b.example")),
                2 => line(&mut text, "role", &json!("administrator")),
                3 => line(&mut text, "status", &json!(tape.one(&["active", "disabled"]))),
                _ => {}
            }
        }
        for user in &users {
            for key in tape.some(&KEYS) {
                text += "[[organisation.key]]\n";
                named(tape, &mut text, Kind::Key, key, &[]);
                line(&mut text, "user", &json!(user));
                match tape.pick(4) {
                    1 => text += "expires_at = 2030-01-01\n",
                    2 => line(&mut text, "allowed_addresses", &json!(["10.0.0.9", "10.0.*.*"])),
                    3 => line(&mut text, "status", &json!("disabled")),
                    _ => {}
                }
            }
        }
    }
    text
}

/// The thing that is meant: by its id where that is there, else by its name.
fn find<'s>(kind: Kind, wanted: &WantedThing, things: &'s [Present]) -> Option<&'s Present> {
    let name = |value: &Value| thing::canonical(thing::text(value));
    let by_id = things.iter().find(|each| Some(&each.id) == wanted.id.as_ref());
    let by_name =
        || things.iter().find(|each| name(&each.members[kind.name()]) == name(&wanted.members[kind.name()]));
    by_id.or_else(by_name)
}

fn must(is_so: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what()) }
}

/// Checks that all that is named is as it was to be, and all else as it was.
pub(super) fn check(
    wanted: &Wanted,
    before: &State,
    after: &State,
    plan: &Plan,
    prune: bool,
) -> Result<(), String> {
    let things: Vec<_> = after.organisations.iter().map(|each| each.thing.clone()).collect();
    let mut named = HashSet::new();
    for organisation in &wanted.organisations {
        let present = find(Kind::Organisation, &organisation.thing, &things).ok_or("no organisation")?;
        let there =
            after.organisations.iter().find(|each| each.thing.id == present.id).ok_or("it is there")?;
        let was = before.organisations.iter().find(|each| each.thing.id == present.id);
        named.insert(present.id.clone());
        same(&organisation.thing, &there.thing, was.map(|was| &was.thing), &[], &[])?;
        for (rule, now) in &there.rules {
            let own = now.source == "organisation";
            match organisation.rules.get(rule) {
                Some(value) => must(own && now.value == *value, || format!("{rule} is {now:?}"))?,
                None if prune => must(!own, || format!("{rule} is the organisation's own"))?,
                None => {
                    must(was.is_none_or(|was| was.rules[rule] == *now), || format!("{rule} has changed"))?
                }
            }
        }
        for (kind, list) in [
            (Kind::Unit, &organisation.units),
            (Kind::User, &organisation.users),
            (Kind::Key, &organisation.keys),
        ] {
            let mut here = HashSet::new();
            for one in list {
                // Keys are the user's.
                let things = there.things(kind).iter().filter(|each| {
                    let user = there.users.iter().find(|user| user.id == each.text("user"));
                    kind != Kind::Key
                        || user.is_some_and(|user| {
                            thing::canonical(user.text("username"))
                                == thing::canonical(thing::text(&one.members["user"]))
                        })
                });
                let things: Vec<_> = things.cloned().collect();
                let present = find(kind, one, &things).ok_or_else(|| format!("no {kind:?} {one:?}"))?;
                must(here.insert(present.id.clone()), || format!("two names of {present:?}"))?;
                let was = was.and_then(|was| was.things(kind).iter().find(|each| each.id == present.id));
                same(one, present, was, &there.units, &there.users)?;
            }
            for each in there.things(kind) {
                if here.contains(&each.id) {
                    continue;
                }
                let is_left = plan.left.iter().any(|left| left.kind == kind && left.id == each.id);
                must(!prune || is_left, || format!("{each:?} was to go"))?;
                let was = was.and_then(|was| was.things(kind).iter().find(|one| one.id == each.id));
                let mut was = was.ok_or_else(|| format!("where does {each:?} come from?"))?.clone();
                // A unit that goes is taken from whoever works in it.
                if prune && kind == Kind::User {
                    was.members.insert("units", each.members["units"].clone());
                }
                must(was == *each, || format!("{was:?} became {each:?}"))?;
            }
        }
    }
    for each in &before.organisations {
        if named.contains(&each.thing.id) {
            continue;
        }
        let is_there =
            after.organisations.iter().any(|one| one.thing == each.thing && one.users == each.users);
        must(is_there != prune || (prune && each.is_operator), || format!("{:?}", each.thing))?;
        let is_told = plan.steps.iter().any(|step| step.action == Action::Delete && step.id == each.thing.id);
        must(is_there != is_told, || "untold".into())?;
    }
    Ok(())
}

/// Checks the members of a thing.
fn same(
    wanted: &WantedThing,
    is: &Present,
    was: Option<&Present>,
    units: &[Present],
    users: &[Present],
) -> Result<(), String> {
    let name_of = |id: &Value, things: &[Present], name: &str| {
        let found = things.iter().find(|each| json!(each.id) == *id);
        found.map_or(Value::Null, |found| json!(thing::canonical(found.text(name))))
    };
    let canonical = |value: &Value| {
        if value.is_null() { Value::Null } else { json!(thing::canonical(thing::text(value))) }
    };
    for (member, value) in &is.members {
        let wrong = || format!("{member} of {is:?} is not as in {wanted:?}, before {was:?}");
        match wanted.members.get(member) {
            Some(given) => {
                let names = |value: &Value| value.as_array().cloned().unwrap_or_default();
                let is_right = match *member {
                    "units" => {
                        let (mut now, mut given): (Vec<_>, Vec<_>) = (
                            names(value).iter().map(|id| name_of(id, units, "name").to_string()).collect(),
                            names(given).iter().map(|name| canonical(name).to_string()).collect(),
                        );
                        now.sort();
                        given.sort();
                        now == given
                    }
                    "default_unit" => name_of(value, units, "name") == canonical(given),
                    "user" => name_of(value, users, "username") == canonical(given),
                    _ => value == given,
                };
                must(is_right, wrong)?;
            }
            // A default that is no unit of theirs any more, or the first one of a new user.
            None if *member == "default_unit" && wanted.members.contains_key("units") => {
                let is_kept = was.is_some_and(|was| was.members[member] == *value);
                let has = is.members["units"].as_array().cloned().unwrap_or_default();
                let is_dropped = value.is_null() && was.is_none_or(|was| !has.contains(&was.members[member]));
                must(is_kept || is_dropped || (was.is_none() && has.contains(value)), wrong)?;
            }
            // A unit that goes is taken from whoever works in it.
            None if *member == "units" => {
                let had = was.map(|was| was.members["units"].as_array().cloned().unwrap_or_default());
                let has = value.as_array().cloned().unwrap_or_default();
                let is_less = had
                    .unwrap_or_default()
                    .iter()
                    .filter(|unit| units.iter().any(|each| json!(each.id) == **unit))
                    .eq(has.iter());
                must(is_less, wrong)?;
            }
            None => must(was.is_none_or(|was| was.members[member] == *value), wrong)?,
        }
    }
    Ok(())
}
