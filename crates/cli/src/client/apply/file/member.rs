//! Values of members: what each must be, in the form in which it is compared.

use doorward_domain::{address::Network, name::Name, rules::Rule};
use serde_json::{Value, json};
use toml::de::DeValue;

use crate::client::{
    apply::thing::{self, Kind},
    output::plain,
};

/// The form of a member.
pub(super) enum Form {
    /// A text that names something.
    Name,
    /// A text; none if it is empty.
    Removable,
    /// An e-mail address; none if it is empty.
    Email,
    /// One of some words.
    Word(&'static [&'static str]),
    Flag,
    /// The name or id of something else; none if it is empty.
    Reference,
    /// Names or ids of others.
    References,
    Addresses,
    /// A time; none if it is `never`.
    Time,
}

const STATUSES: Form = Form::Word(&["active", "disabled"]);

pub(super) fn form(kind: Kind, member: &str) -> Form {
    match (kind, member) {
        (Kind::Organisation, "status") => Form::Word(&["active", "suspended"]),
        (_, "status") => STATUSES,
        (_, "person_name") => Form::Removable,
        (_, "email") => Form::Email,
        (_, "role") => Form::Word(&["member", "administrator"]),
        (_, "units") => Form::References,
        (_, "default_unit" | "user") => Form::Reference,
        (_, "classification") => Form::Word(&["SYSTEMIC_KEY", "CONSUMER_APPLICATION_KEY"]),
        (_, "verifier") => Form::Flag,
        (_, "allowed_addresses") => Form::Addresses,
        (_, "expires_at") => Form::Time,
        _ => Form::Name,
    }
}

/// Reads the value of a member; an error completes "the member ...".
pub(super) fn member_value(form: &Form, value: &DeValue<'_>) -> Result<Value, String> {
    let is_not = |what: &str| format!("is {}; write {what}", called(value));
    let text = || value.as_str().ok_or_else(|| is_not("a text between quotation marks"));
    let name =
        |text: &str| Name::new(text).map(|name| name.as_str().to_owned()).map_err(|error| error.to_string());
    let texts = |example: &str| {
        let list = || is_not(&format!("a list of texts, as in [\"{example}\"]"));
        let items = value.as_array().ok_or_else(list)?.iter();
        items
            .map(|item| item.get_ref().as_str().map(str::to_owned).ok_or_else(list))
            .collect::<Result<Vec<_>, _>>()
    };
    match form {
        Form::Name => name(text()?).map(Value::from),
        Form::Removable | Form::Reference if text()?.trim().is_empty() => Ok(Value::Null),
        Form::Email if text()?.is_empty() => Ok(Value::Null),
        Form::Removable | Form::Reference => name(text()?).map(Value::from),
        Form::Email => {
            let address = name(text()?)?;
            let parts = address.split_once('@').filter(|(name, host)| !name.is_empty() && !host.is_empty());
            match parts {
                Some(_) if !address.contains(char::is_whitespace) => Ok(json!(address)),
                _ => Err("is not an e-mail address, such as ann@example.com".to_owned()),
            }
        }
        Form::Word(words) => {
            let given = text()?;
            let is_known = words.contains(&given);
            is_known
                .then(|| json!(given))
                .ok_or_else(|| format!("is '{}'; write {}", plain(given), words.join(" or ")))
        }
        Form::Flag => value.as_bool().map(Value::from).ok_or_else(|| is_not("true or false")),
        Form::References => {
            let names: Result<Vec<_>, _> = texts("Warehouse")?.iter().map(|text| name(text)).collect();
            names.map(|names| json!(names)).map_err(|problem| format!("has an item that {problem}"))
        }
        Form::Addresses => {
            let read = |text: &String| {
                text.parse::<Network>().map_err(|error| format!("is not usable: '{}' {error}", plain(text)))
            };
            texts("10.0.0.0/8")?.iter().map(read).collect::<Result<_, _>>().map(thing::networks)
        }
        Form::Time => {
            let text =
                value.as_datetime().map(ToString::to_string).map_or_else(|| text().map(str::to_owned), Ok)?;
            if text == "never" {
                return Ok(Value::Null);
            }
            let wrong = || {
                let examples = "a date such as 2027-01-31, a time such as 2027-01-31T12:00:00Z, or \"never\"";
                format!("is '{}', which is no time; write {examples}", plain(&text))
            };
            thing::time(&text).map(Value::from).ok_or_else(wrong)
        }
    }
}

/// The value of a rule as a text that a rule reads.
pub(super) fn rule_text(rule: Rule, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Boolean(flag) => Ok(flag.to_string()),
        DeValue::Array(items) if rule.is_list() => {
            let texts: Option<Vec<_>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            texts.map(|texts| texts.join(",")).ok_or_else(|| "has an item that is not a text".to_owned())
        }
        other => Err(format!("is {}", called(other))),
    }
}

/// A value by its kind and not by its text, which may be a secret in the wrong place.
pub(super) fn called(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
