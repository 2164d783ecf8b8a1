//! A server in a few lines, as strict as the real one about what it refuses.

use serde_json::{Value, json};

use super::super::{Action, Step};
use crate::client::apply::{
    state::{Caller, Present, PresentOrganisation, PresentRule, State},
    thing::{self, Kind, Members},
};

pub(super) fn id(number: u32) -> String {
    format!("{number:032X}")
}

pub(super) struct Model {
    pub(super) state: State,
    next: u32,
}

type Done = Result<(), String>;

fn refuse(is_wrong: bool, why: &str) -> Done {
    if is_wrong { Err(why.to_owned()) } else { Ok(()) }
}

impl Model {
    pub(super) fn new(state: State) -> Self {
        let all = state.organisations.iter().flat_map(|each| {
            [Kind::Organisation, Kind::Unit, Kind::User, Kind::Key]
                .into_iter()
                .flat_map(|kind| each.things(kind))
        });
        let next = all.filter_map(|each| u32::from_str_radix(&each.id, 16).ok()).max().unwrap_or(0);
        Self { state, next }
    }

    fn new_id(&mut self) -> String {
        self.next += 1;
        id(self.next)
    }

    /// The operator organisation with the caller in it.
    pub(super) fn found(&mut self, code: &str, unit: &str, user: &str) {
        self.organisation(code, &[unit], &[(user, &[unit], Some(unit))]);
        let founded = self.state.organisations.last_mut().unwrap();
        founded.is_operator = true;
        founded.users[0].members.insert("role", json!("administrator"));
        self.state.caller = Caller {
            organisation: founded.thing.id.clone(),
            unit: founded.units[0].id.clone(),
            user: founded.users[0].id.clone(),
            is_operator: true,
            has_key: false,
        };
    }

    pub(super) fn organisation(
        &mut self,
        code: &str,
        units: &[&str],
        users: &[(&str, &[&str], Option<&str>)],
    ) {
        let mut made = PresentOrganisation {
            thing: Present { id: self.new_id(), members: defaults(Kind::Organisation, code), etag: None },
            ..PresentOrganisation::default()
        };
        for name in units {
            made.units.push(Present { id: self.new_id(), members: defaults(Kind::Unit, name), etag: None });
        }
        let unit = |name: &str| made.units.iter().find(|unit| unit.text("name") == name).unwrap().id.clone();
        let mut present = Vec::new();
        for (name, units, default) in users {
            let mut members = defaults(Kind::User, name);
            members.insert("units", thing::set(units.iter().map(|name| unit(name)).collect()));
            members.insert("default_unit", default.map_or(Value::Null, |name| json!(unit(name))));
            present.push(Present { id: self.new_id(), members, etag: None });
        }
        made.users = present;
        made.rules = standing();
        self.state.organisations.push(made);
    }

    pub(super) fn key(&mut self, code: &str, user: &str, name: &str) {
        let id = self.new_id();
        let there = self.state.organisations.iter_mut().find(|each| each.thing.text("code") == code).unwrap();
        let user = there.users.iter().find(|each| each.text("username") == user).unwrap().id.clone();
        let mut members = defaults(Kind::Key, name);
        members.insert("user", json!(user));
        there.keys.push(Present { id, members, etag: None });
    }

    /// Does what a request does, or says why it is refused.
    pub(super) fn step(&mut self, step: &Step) -> Done {
        let caller = self.state.caller.clone();
        if step.kind == Kind::Organisation {
            return self.organisation_step(step);
        }
        let there = self.state.organisations.iter_mut().find(|each| each.thing.id == step.organisation);
        let there = there.ok_or("no such organisation")?;
        refuse(there.thing.text("code") != step.code, "the plan has another code")?;
        if step.kind == Kind::Rules {
            for change in &step.changes {
                let rule = there.rules.get_mut(change.member).ok_or("no such rule")?;
                let own = if rule.source == "organisation" { rule.value.clone() } else { Value::Null };
                refuse(own != change.from || own == change.to, "a rule was another")?;
                *rule = match change.to.is_null() {
                    true => standing().remove(change.member).ok_or("no such rule")?,
                    false => PresentRule { value: change.to.clone(), source: "organisation".into() },
                };
            }
            return refuse(step.ends_tokens, "rules end no tokens");
        }
        let (mut units, mut users, mut keys) = (there.units.clone(), there.users.clone(), there.keys.clone());
        let things = match step.kind {
            Kind::Unit => &mut units,
            Kind::User => &mut users,
            Kind::Key => &mut keys,
            Kind::Organisation | Kind::Rules => unreachable!(),
        };
        let before = things.iter().find(|each| each.id == step.id).cloned();
        let mut after = changed(step, before.as_ref())?;
        if step.action != Action::Delete && step.kind != Kind::Key {
            let name = thing::canonical(after.text(step.kind.name()));
            let is_taken =
                |each: &Present| each.id != after.id && thing::canonical(each.text(step.kind.name())) == name;
            refuse(things.iter().any(is_taken), "the name is taken")?;
        }
        let mut ends = step.action == Action::Delete || becomes(before.as_ref(), &after, "disabled");
        match step.kind {
            Kind::User if step.action == Action::Delete => {
                refuse(step.id == caller.user, "nobody deletes themselves")?;
                refuse(there.keys.iter().any(|key| key.text("user") == step.id), "keys would go untold")?;
            }
            Kind::User => {
                let list =
                    |present: &Present| present.members["units"].as_array().cloned().unwrap_or_default();
                let (mut has, default) = (list(&after), after.members["default_unit"].clone());
                has.sort_by_key(Value::to_string);
                after.members.insert("units", Value::Array(has.clone()));
                let known = |unit: &Value| there.units.iter().any(|each| json!(each.id) == *unit);
                refuse(!has.iter().all(known), "no such unit")?;
                let is_new = before.is_none();
                if default.is_null() && is_new {
                    after.members.insert("default_unit", has.first().cloned().unwrap_or_default());
                }
                let is_given = step.changes.iter().any(|change| change.member == "default_unit");
                if !default.is_null() && !has.contains(&default) {
                    refuse(is_given, "the default is none of the units")?;
                    return Err("the server would take the default away untold".into());
                }
                if let Some(before) = &before {
                    ends |= list(before).iter().any(|unit| !has.contains(unit));
                    let is_oneself =
                        |name: &str| step.id == caller.user && before.members[name] != after.members[name];
                    refuse(is_oneself("role") || is_oneself("status"), "nobody changes this of themselves")?;
                    refuse(step.id == caller.user && ends, "the caller's token would end")?;
                }
            }
            Kind::Key => {
                let user = after.text("user");
                refuse(!there.users.iter().any(|each| each.id == user), "no such user")?;
                refuse(
                    before.is_some_and(|before| before.text("user") != user),
                    "a key stays with its user",
                )?;
                refuse(ends && caller.has_key && user == caller.user, "the caller's token would end")?;
            }
            _ => refuse(ends && step.id == caller.unit, "the caller's token would end")?,
        }
        refuse(ends != step.ends_tokens, "the plan is wrong about tokens")?;
        if step.kind == Kind::Unit && step.action == Action::Delete {
            let unit = json!(step.id);
            refuse(users.iter().any(|user| user.members["default_unit"] == unit), "it is a default unit")?;
            for user in &mut users {
                let kept = user.members["units"].as_array().into_iter().flatten();
                let kept: Vec<_> = kept.filter(|each| **each != unit).cloned().collect();
                user.members.insert("units", Value::Array(kept));
            }
        }
        let things = match step.kind {
            Kind::Unit => &mut units,
            Kind::User => &mut users,
            _ => &mut keys,
        };
        put(things, step, after);
        (there.units, there.users, there.keys) = (units, users, keys);
        Ok(())
    }

    fn organisation_step(&mut self, step: &Step) -> Done {
        let all = &mut self.state.organisations;
        let before = all.iter().find(|each| each.thing.id == step.id).cloned();
        let after = changed(step, before.as_ref().map(|before| &before.thing))?;
        let code = thing::canonical(after.text("code"));
        let ends = step.action == Action::Delete
            || becomes(before.as_ref().map(|before| &before.thing), &after, "suspended");
        refuse(ends != step.ends_tokens, "the plan is wrong about tokens")?;
        refuse(
            ends && before.as_ref().is_some_and(|before| before.is_operator),
            "the operator's must go on",
        )?;
        if step.action == Action::Delete {
            refuse(step.code != after.text("code"), "another code")?;
            all.retain(|each| each.thing.id != step.id);
            return Ok(());
        }
        let is_taken = |each: &PresentOrganisation| {
            each.thing.id != step.id && thing::canonical(each.thing.text("code")) == code
        };
        refuse(all.iter().any(is_taken), "the code is taken")?;
        match all.iter_mut().find(|each| each.thing.id == step.id) {
            Some(each) => each.thing = after,
            None => all.push(PresentOrganisation {
                thing: after,
                rules: standing(),
                ..PresentOrganisation::default()
            }),
        }
        Ok(())
    }
}

fn put(things: &mut Vec<Present>, step: &Step, after: Present) {
    things.retain(|each| each.id != step.id);
    if step.action != Action::Delete {
        things.push(after);
    }
}

/// The thing with the changes of a step, which must be true about what was before.
fn changed(step: &Step, before: Option<&Present>) -> Result<Present, String> {
    refuse(before.is_some() == (step.action == Action::Create), "it is there, or it is not")?;
    if let Some(before) = before {
        refuse(before.text(step.kind.name()) != step.name, "the plan has another name")?;
    }
    refuse(step.action != Action::Delete && step.changes.is_empty(), "a step that changes nothing")?;
    let new = || Present { id: step.id.clone(), members: defaults(step.kind, ""), etag: None };
    let mut after = before.cloned().unwrap_or_else(new);
    for change in &step.changes {
        if step.action == Action::Update {
            refuse(after.members[change.member] != change.from, "the plan is wrong about what was")?;
        }
        after.members.insert(change.member, change.to.clone());
    }
    Ok(after)
}

fn becomes(before: Option<&Present>, after: &Present, status: &str) -> bool {
    before.is_some_and(|before| before.text("status") != status) && after.text("status") == status
}

/// What is created without saying anything.
fn defaults(kind: Kind, name: &str) -> Members {
    let members = kind.members().iter().map(|member| {
        let value = match *member {
            member if member == kind.name() => json!(name),
            "name" => json!(name),
            "status" => json!("active"),
            "role" => json!("member"),
            "units" | "allowed_addresses" => json!([]),
            "classification" => json!("SYSTEMIC_KEY"),
            "verifier" => json!(false),
            _ => Value::Null,
        };
        (*member, value)
    });
    members.collect()
}

/// Rules of which the server's configuration says one.
pub(super) fn standing() -> std::collections::BTreeMap<&'static str, PresentRule> {
    let rule = |value: Value, source: &str| PresentRule { value, source: source.into() };
    [
        ("passwords.min_length", rule(json!(15), "default")),
        ("lockout.failures", rule(json!(5), "configuration")),
        ("addresses.deny", rule(json!([]), "default")),
    ]
    .into()
}
