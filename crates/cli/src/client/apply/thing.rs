//! What files and servers have in common: kinds of things, and members in the one form in which they are compared.

use std::collections::BTreeMap;

use doorward_domain::{
    address::Network,
    name::fold,
    rules::{Rule, RuleValue},
};
use serde_json::{Value, json};

use crate::client::things;

/// What a step of a plan is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Organisation,
    /// The rules of an organisation, which are one thing; its members are the rules.
    Rules,
    Unit,
    User,
    Key,
}

impl Kind {
    /// The word for it, for people and programs.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Organisation => "organisation",
            Self::Rules => "rules",
            Self::Unit => "unit",
            Self::User => "user",
            Self::Key => "key",
        }
    }

    /// The member that names it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Organisation | Self::Rules => things::ORGANISATION.name,
            Self::Unit => things::UNIT.name,
            Self::User => things::USER.name,
            Self::Key => things::KEY.name,
        }
    }

    /// Its part of a path.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Organisation => things::ORGANISATION.path,
            Self::Rules => "rules",
            Self::Unit => things::UNIT.path,
            Self::User => things::USER.path,
            Self::Key => things::KEY.path,
        }
    }

    /// The members that a file may give, besides those that refer to others in it.
    pub(super) const fn members(self) -> &'static [&'static str] {
        match self {
            Self::Organisation => &["code", "name", "status"],
            Self::Rules => &[],
            Self::Unit => &["name", "status"],
            Self::User => &["username", "person_name", "email", "role", "status", "units", "default_unit"],
            Self::Key => {
                &["name", "user", "classification", "status", "verifier", "allowed_addresses", "expires_at"]
            }
        }
    }
}

/// Members with their values: those of the admin API, with sets in order and times in one form.
pub(super) type Members = BTreeMap<&'static str, Value>;

/// A name as the server compares it.
pub(super) fn canonical(name: &str) -> String {
    fold(name).trim().to_owned()
}

/// An id as the server writes it, if the text is one.
pub(super) fn id(text: &str) -> Option<String> {
    things::is_id(text).then(|| text.to_ascii_uppercase())
}

/// A text that is compared as it is.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A set of texts in order.
pub(super) fn set(mut texts: Vec<String>) -> Value {
    texts.sort_unstable();
    texts.dedup();
    json!(texts)
}

/// A set of networks in order.
pub(super) fn networks(mut networks: Vec<Network>) -> Value {
    networks.sort_unstable();
    networks.dedup();
    networks.iter().map(ToString::to_string).collect()
}

/// A time as the server writes it, to the millisecond in UTC; a date is its beginning.
pub(super) fn time(text: &str) -> Option<String> {
    let text = text.trim();
    let at = match text.parse::<jiff::civil::Date>() {
        Ok(_) if !text.contains(['T', 't', ' ']) => format!("{text}T00:00:00Z").parse(),
        _ => text.parse::<jiff::Timestamp>(),
    };
    let at = at.ok().and_then(|at| jiff::Timestamp::from_millisecond(at.as_millisecond()).ok());
    at.map(|at| format!("{at:.3}"))
}

/// The value of a rule.
pub(super) fn rule_value(value: RuleValue) -> Value {
    match value {
        RuleValue::Number(number) => json!(number),
        RuleValue::Flag(flag) => json!(flag),
        RuleValue::Networks(list) => networks(list),
        RuleValue::Time(_) | RuleValue::Never => json!(value.to_string()),
    }
}

/// The value of a rule from what a server writes. What this program does not understand stays as it is.
pub(super) fn rule_of_server(rule: Rule, value: &Value) -> Value {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    rule.read(&text).map_or_else(|_| value.clone(), rule_value)
}

/// A member as a server writes it, in the form in which it is compared.
pub(super) fn member_of_server(name: &str, value: &Value) -> Value {
    let texts = || value.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(text);
    match name {
        "units" => set(texts().map(str::to_owned).collect()),
        "allowed_addresses" => {
            let read: Result<Vec<Network>, _> = texts().map(str::parse).collect();
            read.map_or_else(|_| value.clone(), networks)
        }
        "expires_at" => value.as_str().and_then(time).map_or(Value::Null, Value::from),
        _ => value.clone(),
    }
}
