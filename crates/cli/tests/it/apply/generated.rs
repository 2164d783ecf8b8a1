//! Generated files, and what a plan must mean for what a server shows before and after it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use doorward_domain::audit::chain::StoredRecord;
use doorward_testkit::Administrator;
use serde_json::{Map, Value, json};

/// Choices that a seed decides.
pub struct Choices(pub u64);

impl Choices {
    fn pick(&mut self, choices: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 40).unwrap() % choices
    }

    fn some<'t>(&mut self, of: &[&'t str]) -> Vec<&'t str> {
        of.iter().copied().filter(|_| self.pick(3) > 0).collect()
    }
}

const CODES: [&str; 3] = ["A", "B", "OTHER"];
const UNITS: [&str; 3] = ["North", "South", "Zoë"];
const USERS: [&str; 3] = ["ann", "bob", "cy"];

/// Everything that a server shows, by ids. Members that no file gives are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    things: BTreeMap<String, Thing>,
}

/// A thing of a server.
#[derive(Clone, Debug, PartialEq)]
struct Thing {
    kind: &'static str,
    /// The id of its organisation.
    of: String,
    members: Map<String, Value>,
}

impl Snapshot {
    pub async fn take(operator: &Administrator<'_>) -> Self {
        let mut things = BTreeMap::new();
        for organisation in operator.list("/admin/v1/organisations?limit=100").await {
            let of = organisation["id"].as_str().unwrap().to_owned();
            let there = operator.at(&of);
            let rules = there.get("/rules").await["rules"].as_object().unwrap().clone();
            let own = rules.into_iter().filter(|(_, rule)| rule["source"] == "organisation");
            let own: Map<_, _> = own.map(|(name, rule)| (name, rule["value"].clone())).collect();
            let mut organisation = organisation;
            organisation["rules"] = Value::Object(own);
            let mut add = |kind, members: &[&str], thing: &Value| {
                let members =
                    members.iter().map(|member| ((*member).to_owned(), thing[*member].clone())).collect();
                things.insert(
                    thing["id"].as_str().unwrap().to_owned(),
                    Thing { kind, of: of.clone(), members },
                );
            };
            add("organisation", &["code", "name", "status", "rules"], &organisation);
            for unit in there.list("/units?limit=100").await {
                add("unit", &["name", "status"], &unit);
            }
            for user in there.list("/users?limit=100").await {
                let members = ["username", "person_name", "email", "role", "status", "units", "default_unit"];
                add("user", &members, &user);
            }
            for key in there.list("/keys?limit=100").await {
                let members = [
                    "name",
                    "user",
                    "classification",
                    "status",
                    "verifier",
                    "allowed_addresses",
                    "expires_at",
                ];
                add("key", &members, &key);
            }
        }
        Self { things }
    }

    fn of<'s>(&'s self, kind: &'s str, code: &'s str) -> impl Iterator<Item = (&'s String, &'s Thing)> {
        let is_in =
            move |thing: &Thing| self.things.get(&thing.of).is_some_and(|of| of.members["code"] == code);
        self.things.iter().filter(move |(_, thing)| thing.kind == kind && is_in(thing))
    }

    fn name(&self, id: &Value) -> Option<Value> {
        let thing = self.things.get(id.as_str()?)?;
        Some(thing.members[if thing.kind == "user" { "username" } else { "name" }].clone())
    }
}

fn line(text: &mut String, member: &str, value: &Value) {
    let _ = writeln!(text, "{member} = {value}");
}

/// Headings with names, and at times with ids: each its own, or that of the next name, so that names change places.
fn named(choices: &mut Choices, kind: &str, names: &[&str], now: &[(&String, &Thing)]) -> Vec<String> {
    let member = if kind == "user" { "username" } else { "name" };
    let step = [0, 0, 1, 9][choices.pick(4)];
    let head = |(at, name): (usize, &&str)| {
        let mut text = format!("[[organisation.{kind}]]\n");
        line(&mut text, member, &json!(name));
        let meant = names[(at + step) % names.len()];
        let thing = now.iter().find(|(_, thing)| step < 9 && thing.members[member] == meant);
        if let Some((id, _)) = thing {
            line(&mut text, "id", &json!(id));
        }
        text
    };
    names.iter().enumerate().map(head).collect()
}

/// A file about some of what there is and some that is not.
pub fn file(choices: &mut Choices, now: &Snapshot) -> String {
    let mut text = String::new();
    let status = |choices: &mut Choices| json!(["active", "disabled"][choices.pick(2)]);
    for code in ["OPERATOR"].into_iter().chain(choices.some(&CODES)) {
        text += "[[organisation]]\n";
        line(&mut text, "code", &json!(code));
        match choices.pick(5) {
            0 => line(&mut text, "name", &json!(format!("Called {}", choices.pick(3)))),
            1 if code != "OPERATOR" => {
                line(&mut text, "status", &json!(["active", "suspended"][choices.pick(2)]));
            }
            2 => line(&mut text, "rules.lockout.failures", &json!(5 + choices.pick(3))),
            3 => line(&mut text, "rules.\"addresses.deny\"", &json!(["192.0.2.*", "198.51.100.7"])),
            _ => {}
        }
        let there: Vec<_> = now.of("unit", code).collect();
        let units = choices.some(&UNITS);
        for head in named(choices, "unit", &units, &there) {
            text += &head;
            if choices.pick(3) == 0 {
                line(&mut text, "status", &status(choices));
            }
        }
        let there: Vec<_> = now.of("user", code).collect();
        let users = choices.some(&USERS);
        for head in named(choices, "user", &users, &there) {
            text += &head;
            if choices.pick(2) == 0 {
                let mut of = choices.some(&units);
                if choices.pick(2) == 0 {
                    of.reverse();
                }
                line(&mut text, "units", &json!(of));
                match choices.pick(3) {
                    0 if !of.is_empty() => {
                        line(&mut text, "default_unit", &json!(of[choices.pick(of.len())]))
                    }
                    1 => line(&mut text, "default_unit", &json!("")),
                    _ => {}
                }
            }
            match choices.pick(4) {
                0 => line(&mut text, "email", &json!(format!("a{}@b.example", choices.pick(3)))),
                1 => line(&mut text, "role", &json!(["member", "administrator"][choices.pick(2)])),
                2 => line(&mut text, "status", &status(choices)),
                _ => {}
            }
        }
        for user in &users {
            for key in choices.some(&["billing", "shop"]) {
                text += "[[organisation.key]]\n";
                line(&mut text, "name", &json!(key));
                line(&mut text, "user", &json!(user));
                match choices.pick(5) {
                    0 => {
                        text += ["expires_at = 2030-01-31T12:00:00+01:00\n", "expires_at = 2040-01-31\n"]
                            [choices.pick(2)]
                    }
                    1 => line(&mut text, "allowed_addresses", &json!(["10.0.0.9", "10.0.*.*"])),
                    2 => line(&mut text, "status", &status(choices)),
                    3 => text += "verifier = true\nclassification = 'CONSUMER_APPLICATION_KEY'\n",
                    _ => {}
                }
            }
        }
    }
    text
}

/// A member as a plan names it: names instead of ids, sets in order.
fn shown(member: &str, value: &Value, names: &impl Fn(&Value) -> Value) -> Value {
    match (member, value) {
        ("default_unit" | "user", Value::String(_)) => names(value),
        ("units", Value::Array(units)) => {
            let mut units: Vec<_> = units.iter().map(names).collect();
            units.sort_by_key(Value::to_string);
            Value::Array(units)
        }
        ("allowed_addresses" | "addresses.deny", Value::Array(items)) => {
            let mut items = items.clone();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        _ => value.clone(),
    }
}

/// The kind, organisation, name and user of a thing, which name it where it has no id yet.
type Called = [Value; 4];

/// Checks that the difference between two snapshots is what a plan says, no more and no less.
pub fn check(before: &Snapshot, after: &Snapshot, steps: &[Value]) -> Result<(), String> {
    let names = |id: &Value| after.name(id).or_else(|| before.name(id)).unwrap_or_else(|| id.clone());
    let is = |step: &Value, action: &str| step["action"] == action;
    let id = |step: &Value| step["id"].as_str().unwrap_or_default().to_owned();
    let text = |value: &Value| value.to_string();

    // What is new.
    let called = |thing: &Thing| -> Called {
        let code = &after.things[&thing.of].members["code"];
        let name = match thing.kind {
            "organisation" => code,
            "user" => &thing.members["username"],
            _ => &thing.members["name"],
        };
        let user = thing.members.get("user").map_or(Value::Null, names);
        [json!(thing.kind), code.clone(), name.clone(), user]
    };
    let new = after.things.iter().filter(|(id, _)| !before.things.contains_key(*id));
    let new: BTreeMap<String, &Thing> = new.map(|(_, thing)| (text(&json!(called(thing))), thing)).collect();
    let said = |step: &Value| text(&json!([step["kind"], step["organisation"], step["name"], step["user"]]));
    let told: BTreeSet<_> = steps.iter().filter(|step| is(step, "create")).map(said).collect();
    let there: BTreeSet<_> = new.keys().cloned().collect();
    if told != there {
        return Err(format!("new is {there:?}, told was {told:?}"));
    }
    for (thing, step) in steps.iter().filter(|step| is(step, "create")).map(|step| (new[&said(step)], step)) {
        for change in step["changes"].as_array().unwrap() {
            let member = change["member"].as_str().unwrap();
            // The default unit is taken from a new user in a step of its own.
            let is_later = steps.iter().any(|later| {
                is(later, "update") && said(later) == said(step) && later["changes"][0]["member"] == member
            });
            let now = shown(member, &thing.members[member], &names);
            if now != change["to"] && !is_later {
                return Err(format!("{member} of {thing:?} is {now}, told was {change}"));
            }
        }
    }

    // What is gone.
    let gone: BTreeSet<_> =
        before.things.keys().filter(|id| !after.things.contains_key(*id)).cloned().collect();
    let deleted: BTreeSet<_> = steps.iter().filter(|step| is(step, "delete")).map(id).collect();
    let within =
        before.things.iter().filter(|(_, thing)| deleted.contains(&thing.of)).map(|(id, _)| id.clone());
    let told: BTreeSet<_> = deleted.iter().cloned().chain(within).collect();
    if gone != told {
        return Err(format!("gone is {gone:?}, told was {told:?}"));
    }

    // What is another.
    let mut told: BTreeMap<(String, String), (Value, Value)> = BTreeMap::new();
    for step in steps.iter().filter(|step| is(step, "update") && before.things.contains_key(&id(step))) {
        for change in step["changes"].as_array().unwrap() {
            let key = (id(step), change["member"].as_str().unwrap().to_owned());
            // Names may change twice.
            told.entry(key).or_insert_with(|| (change["from"].clone(), Value::Null)).1 = change["to"].clone();
        }
    }
    let mut found = BTreeMap::new();
    for (id, now) in &after.things {
        let Some(was) = before.things.get(id) else { continue };
        for (member, value) in &now.members {
            let mut old = was.members[member].clone();
            if member == "rules" {
                let all: BTreeSet<_> =
                    [value, &old].into_iter().flat_map(|rules| rules.as_object().unwrap().keys()).collect();
                for rule in all {
                    let (old, new) = (shown(rule, &old[rule], &names), shown(rule, &value[rule], &names));
                    if old != new {
                        found.insert((id.clone(), rule.clone()), (old, new));
                    }
                }
                continue;
            }
            // Units that go are taken from whoever works in them.
            if let (true, Value::Array(units)) = (member == "units", &mut old) {
                let is_told = told.contains_key(&(id.clone(), member.clone()));
                units.retain(|unit| is_told || !deleted.contains(unit.as_str().unwrap()));
            }
            let (old, new) = (shown(member, &old, &names), shown(member, value, &names));
            if old != new {
                found.insert((id.clone(), member.clone()), (old, new));
            }
        }
    }
    if found == told { Ok(()) } else { Err(format!("changed is {found:#?}\ntold was {told:#?}")) }
}

/// Checks that the records of a plan are its steps, one after the other.
pub fn check_records(records: &[StoredRecord], steps: &[Value]) -> Result<(), String> {
    let mut records = records.iter();
    for step in steps {
        let mut record = records.next().ok_or_else(|| format!("no record of {step}"))?;
        let event = match (step["action"].as_str().unwrap(), step["kind"].as_str().unwrap()) {
            (_, "rules") => "rules_set",
            ("create", _) => "created",
            ("update", _) => "updated",
            _ => "deleted",
        };
        // Organisations are suspended before they go.
        if event == "deleted" && step["kind"] == "organisation" && record.event == "updated" {
            record = records.next().ok_or("no second record")?;
        }
        // Its users go before it does, some at a time.
        while record.event == "deleted" && record.members.as_deref() == Some("users") {
            record = records.next().ok_or("no record of the organisation itself")?;
        }
        let id = match step["kind"].as_str().unwrap() {
            "unit" => record.unit.map(|id| id.to_string()),
            "user" => record.user.map(|id| id.to_string()),
            "key" => record.key.map(|id| id.to_string()),
            _ => record.organisation.map(|id| id.to_string()),
        };
        let is_it = id.is_some() && (step["id"].is_null() || json!(id) == step["id"]);
        let changes = step["changes"].as_array().unwrap().iter();
        let told: BTreeSet<_> = changes.map(|change| change["member"].as_str().unwrap()).collect();
        let members = record.members.as_deref().unwrap_or_default();
        let members: BTreeSet<_> = members.split(',').filter(|member| !member.is_empty()).collect();
        let is_same = event == "created" || event == "deleted" || members == told;
        if record.event != event || !is_it || !is_same {
            return Err(format!("{record:?} is not {step}"));
        }
    }
    match records.next() {
        None => Ok(()),
        Some(record) => Err(format!("{record:?} was not told")),
    }
}
