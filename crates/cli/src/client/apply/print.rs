//! A plan as people and programs read it.

use serde_json::{Map, Value, json};

use super::{
    plan::{Action, Change, Left, Plan, Step},
    thing::{self, Kind},
};
use crate::client::output::plain;

/// A plan, a line for each step, and how many there are.
pub(super) fn text(plan: &Plan) -> String {
    let mut told: String = plan.steps.iter().map(|step| line(step) + "\n").collect();
    let count = |action: Action| plan.steps.iter().filter(|step| step.action == action).count();
    if plan.steps.is_empty() {
        told += "Nothing to change.\n";
    } else {
        let counts = [(Action::Create, "create"), (Action::Update, "change"), (Action::Delete, "delete")];
        let counts = counts.map(|(action, word)| format!("{} to {word}", count(action)));
        told += &format!("{}.\n", counts.join(", "));
    }
    for left in &plan.left {
        let Left { kind, code, name, user, reason, .. } = left;
        let thing = called(*kind, code, name, user.as_deref());
        told += &format!("Not named in the file and left all the same: {thing}; {}.\n", plain(reason));
    }
    told
}

/// A step in a line.
pub(super) fn line(step: &Step) -> String {
    let sign = match step.action {
        Action::Create => '+',
        Action::Update => '~',
        Action::Delete => '-',
    };
    let mut parts: Vec<_> = step.changes.iter().filter_map(|change| told(step, change)).collect();
    parts.extend(step.note.as_deref().map(plain));
    if step.ends_tokens {
        parts.push(if step.kind == Kind::User { "ends their tokens" } else { "ends its tokens" }.to_owned());
    }
    let thing = called(step.kind, &step.code, &step.name, step.user.as_deref());
    match parts.is_empty() {
        true => format!("{sign} {thing}"),
        false => format!("{sign} {thing}: {}", parts.join(", ")),
    }
}

fn called(kind: Kind, code: &str, name: &str, user: Option<&str>) -> String {
    let (word, code, name) = (kind.word(), plain(code), plain(name));
    match (kind, user) {
        (Kind::Organisation, _) => format!("organisation {name}"),
        (Kind::Rules, _) => format!("rules of {code}"),
        (Kind::Key, Some(user)) => format!("key {name} of {} ({code})", plain(user)),
        _ => format!("{word} {name} of {code}"),
    }
}

/// What becomes of a member. What the name says already is not said again.
fn told(step: &Step, Change { member, shown: [from, to], .. }: &Change) -> Option<String> {
    let shown = |value: &Value| show(step.kind, value);
    if step.action != Action::Create {
        return Some(format!("{member} {} -> {}", shown(from), shown(to)));
    }
    let is_told = *member == step.kind.name() || *member == "user";
    (!is_told).then(|| format!("{member} {}", shown(to)))
}

fn show(kind: Kind, value: &Value) -> String {
    match value {
        Value::Null if kind == Kind::Rules => "the server's".to_owned(),
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "''".to_owned(),
        Value::String(text) => plain(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| plain(thing::text(item))).collect();
            format!("[{}]", items.join(", "))
        }
        // A rule that is not the organisation's own.
        Value::Object(rule) => {
            format!("{} ({})", show(kind, &rule["value"]), plain(thing::text(&rule["source"])))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// A plan as JSON, with how many of its steps are done.
pub(super) fn json(plan: &Plan, done: usize) -> Value {
    json!({
        "changes": plan.steps.iter().map(step_json).collect::<Vec<_>>(),
        "left": plan.left.iter().map(|left| json!({
            "kind": left.kind.word(),
            "organisation": left.code,
            "name": left.name,
            "user": left.user,
            "id": left.id,
            "reason": left.reason,
        })).collect::<Vec<_>>(),
        "done": done,
    })
}

fn step_json(step: &Step) -> Value {
    let change = |change: &Change| {
        // Programs read of rules what an organisation has of its own, and of all else names instead of ids.
        let [from, to] = if step.kind == Kind::Rules {
            [&change.from, &change.to]
        } else {
            [&change.shown[0], &change.shown[1]]
        };
        json!({"member": change.member, "from": from, "to": to})
    };
    let mut members = Map::new();
    let action = match step.action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Delete => "delete",
    };
    members.insert("action".into(), json!(action));
    members.insert("kind".into(), json!(step.kind.word()));
    members.insert("organisation".into(), json!(step.code));
    members.insert("name".into(), json!(step.name));
    if step.kind == Kind::Key {
        members.insert("user".into(), json!(step.user));
    }
    members.insert("id".into(), if step.is_new_id { Value::Null } else { json!(step.id) });
    members.insert("changes".into(), step.changes.iter().map(change).collect());
    members.insert("ends_tokens".into(), json!(step.ends_tokens));
    members.insert("note".into(), json!(step.note));
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(action: Action, kind: Kind) -> Step {
        Step {
            action,
            kind,
            organisation: "1".repeat(32),
            code: "ACME".into(),
            name: "zoe".into(),
            user: None,
            id: "2".repeat(32),
            is_new_id: action == Action::Create,
            changes: Vec::new(),
            ends_tokens: false,
            note: None,
        }
    }

    fn change(member: &'static str, from: Value, to: Value) -> Change {
        Change { member, from: from.clone(), to: to.clone(), shown: [from, to] }
    }

    #[test]
    fn lines_say_what_happens() {
        let disable = Step {
            changes: vec![
                change("role", json!("member"), json!("administrator")),
                change("email", json!("a@b"), Value::Null),
            ],
            ends_tokens: true,
            ..step(Action::Update, Kind::User)
        };
        assert_eq!(
            line(&disable),
            "~ user zoe of ACME: role member -> administrator, email a@b -> none, ends their tokens"
        );
        let key =
            Step { user: Some("zoe".into()), name: "billing".into(), ..step(Action::Delete, Kind::Key) };
        assert_eq!(line(&key), "- key billing of zoe (ACME)");
        let organisation = Step {
            name: "ACME".into(),
            changes: vec![change("code", Value::Null, json!("ACME"))],
            ..step(Action::Create, Kind::Organisation)
        };
        assert_eq!(line(&organisation), "+ organisation ACME");
        let server = json!({"value": 15, "source": "default"});
        let rule =
            Change { shown: [server, json!(16)], ..change("passwords.min_length", Value::Null, json!(16)) };
        let rules = Step { changes: vec![rule], ..step(Action::Update, Kind::Rules) };
        assert_eq!(line(&rules), "~ rules of ACME: passwords.min_length 15 (default) -> 16");
        assert_eq!(
            json(&Plan { steps: vec![rules], left: Vec::new() }, 0)["changes"][0]["changes"][0]["from"],
            Value::Null
        );
    }

    /// Names come from users, and a terminal obeys what it is sent.
    #[test]
    fn s1_names_do_not_reach_the_terminal_as_commands() {
        let name = "z\u{1b}[2Joe\u{202e}";
        let changes = vec![change("person_name", json!(name), json!([name]))];
        let plan = Plan {
            steps: vec![Step {
                name: name.into(),
                code: name.into(),
                note: Some(name.into()),
                changes,
                ..step(Action::Update, Kind::User)
            }],
            left: vec![Left {
                kind: Kind::Key,
                code: name.into(),
                name: name.into(),
                user: Some(name.into()),
                id: name.into(),
                reason: name.into(),
            }],
        };
        assert!(!text(&plan).contains(['\u{1b}', '\u{202e}']), "{}", text(&plan));
    }
}
