//! Reads the file: what it names, and all that is wrong with it at once, each with its line.
//!
//! Nothing here asks the server. Whether a unit that a user is to work in will exist is the plan's to find out.

mod member;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use doorward_domain::rules::Rule;
use serde_json::Value;
use toml::de::DeTable;

use self::member::{form, member_value, rule_text};
use super::thing::{self, Kind, Members};
use crate::client::output::plain;

/// All that a file names.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) organisations: Vec<WantedOrganisation>,
}

/// An organisation with what is to be in it.
#[derive(Debug, Default)]
pub(super) struct WantedOrganisation {
    pub(super) thing: WantedThing,
    /// The rules that it is to have of its own, by name.
    pub(super) rules: Members,
    pub(super) units: Vec<WantedThing>,
    pub(super) users: Vec<WantedThing>,
    pub(super) keys: Vec<WantedThing>,
}

/// A thing as it is to be. A member that is not given is to stay as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct WantedThing {
    pub(super) line: usize,
    pub(super) id: Option<String>,
    /// `units`, `default_unit` and `user` are names or ids, as they were written.
    pub(super) members: Members,
    lines: BTreeMap<&'static str, usize>,
}

impl WantedThing {
    /// The line of a member, or that of the thing.
    pub(super) fn line_of(&self, member: &str) -> usize {
        self.lines.get(member).copied().unwrap_or(self.line)
    }
}

/// Something wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    pub(super) line: usize,
    pub(super) text: String,
}

/// Reads a file.
pub(super) fn read(text: &str) -> Result<Wanted, Vec<Problem>> {
    let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
    let mut reader = Reader { ends, problems: Vec::new() };
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = reader.line(&error.span().unwrap_or_default());
        reader.problems.push(Problem { line, text: plain(error.message()) });
    }
    // Half a table would only bring up what the first problem has caused.
    let wanted = if reader.problems.is_empty() { reader.wanted(root.get_ref()) } else { Wanted::default() };
    if reader.problems.is_empty() {
        return Ok(wanted);
    }
    reader.problems.sort();
    reader.problems.dedup();
    Err(reader.problems)
}

struct Reader {
    /// Where lines end.
    ends: Vec<usize>,
    problems: Vec<Problem>,
}

impl Reader {
    fn line(&self, span: &Range<usize>) -> usize {
        1 + self.ends.partition_point(|end| *end < span.start)
    }

    fn problem(&mut self, span: &Range<usize>, text: impl Into<String>) {
        let line = self.line(span);
        self.problems.push(Problem { line, text: text.into() });
    }

    fn wanted(&mut self, root: &DeTable<'_>) -> Wanted {
        self.refuse_unknown(root, "the file", &["organisation"]);
        let mut organisations: Vec<WantedOrganisation> = Vec::new();
        for (table, span) in self.tables(root, "organisation", "organisation") {
            organisations.push(self.organisation(table, &span));
        }
        self.refuse_doubles(Kind::Organisation, organisations.iter().map(|each| &each.thing));
        let mut ids: HashMap<&str, usize> = HashMap::new();
        for each in &organisations {
            for thing in std::iter::once(&each.thing).chain(&each.units).chain(&each.users).chain(&each.keys)
            {
                let Some(id) = &thing.id else { continue };
                if let Some(first) = ids.insert(id, thing.line) {
                    let text = format!("the id {id} is given twice, first in line {first}");
                    self.problems.push(Problem { line: thing.line_of("id"), text });
                }
            }
        }
        Wanted { organisations }
    }

    /// The tables of an array of tables, which may not be there.
    fn tables<'t, 'a>(
        &mut self,
        table: &'t DeTable<'a>,
        name: &str,
        heading: &str,
    ) -> Vec<(&'t DeTable<'a>, Range<usize>)> {
        let Some(value) = table.get(name) else { return Vec::new() };
        let advice = || format!("write each {name} under a heading [[{heading}]], with two brackets");
        let Some(items) = value.get_ref().as_array() else {
            self.problem(&value.span(), format!("'{name}' is not a list; {}", advice()));
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in items.iter() {
            match item.get_ref().as_table() {
                Some(table) => tables.push((table, item.span())),
                None => {
                    self.problem(&item.span(), format!("'{name}' has an item that is none; {}", advice()))
                }
            }
        }
        tables
    }

    fn organisation(&mut self, table: &DeTable<'_>, span: &Range<usize>) -> WantedOrganisation {
        let parts = ["rules", "unit", "user", "key"];
        let thing = self.thing(Kind::Organisation, table, span, &parts);
        let mut organisation = WantedOrganisation { thing, ..WantedOrganisation::default() };
        if let Some(rules) = table.get("rules") {
            match rules.get_ref().as_table() {
                Some(rules) => self.rules("", rules, &mut organisation.rules),
                None => self.problem(
                    &rules.span(),
                    "'rules' is not a table; write the rules under a heading [organisation.rules]",
                ),
            }
        }
        for (kind, into) in [
            (Kind::Unit, &mut organisation.units),
            (Kind::User, &mut organisation.users),
            (Kind::Key, &mut organisation.keys),
        ] {
            for (table, span) in self.tables(table, kind.word(), &format!("organisation.{}", kind.word())) {
                into.push(self.thing(kind, table, &span, &[]));
            }
            self.refuse_doubles(kind, into.iter());
        }
        organisation
    }

    fn refuse_unknown(&mut self, table: &DeTable<'_>, place: &str, known: &[&str]) {
        for (name, _) in table {
            let (name, span) = (name.get_ref().as_ref(), name.span());
            if known.contains(&name) {
                continue;
            }
            let near = known.iter().map(|known| (strsim::jaro_winkler(known, name), known));
            let near =
                near.filter(|(likeness, _)| *likeness > 0.8).max_by(|one, other| one.0.total_cmp(&other.0));
            let advice = match (name, near) {
                ("password" | "password_hash", _) if place == "a user" => {
                    "passwords do not stand in this file; give one with `doorward user password`".to_owned()
                }
                ("secret", _) if place == "a key" => {
                    "secrets do not stand in this file; new keys get theirs from the server, see --secrets"
                        .to_owned()
                }
                ("units" | "users" | "keys", _) if place == "an organisation" => {
                    let one = name.trim_end_matches('s');
                    format!("write each {one} under a heading [[organisation.{one}]]")
                }
                (_, Some((_, near))) => format!("did you mean '{near}'?"),
                _ => format!("{place} has {}", known.join(", ")),
            };
            self.problem(&span, format!("'{}' is unknown; {advice}", plain(name)));
        }
    }

    fn thing(
        &mut self,
        kind: Kind,
        table: &DeTable<'_>,
        span: &Range<usize>,
        parts: &[&'static str],
    ) -> WantedThing {
        let place = match kind {
            Kind::Organisation => "an organisation",
            _ => &format!("a {}", kind.word()),
        };
        let known: Vec<_> = ["id"].iter().chain(kind.members()).chain(parts).copied().collect();
        self.refuse_unknown(table, place, &known);
        let mut thing = WantedThing { line: self.line(span), ..WantedThing::default() };
        if let Some(value) = table.get("id") {
            thing.lines.insert("id", self.line(&value.span()));
            thing.id = value.get_ref().as_str().and_then(thing::id);
            if thing.id.is_none() {
                self.problem(&value.span(), "'id' is not an id, which is a text of 32 hexadecimal digits");
            }
        }
        for member in kind.members() {
            let Some(value) = table.get(*member) else { continue };
            thing.lines.insert(member, self.line(&value.span()));
            match member_value(&form(kind, member), value.get_ref()) {
                Ok(read) => {
                    thing.members.insert(member, read);
                }
                Err(problem) => self.problem(&value.span(), format!("'{member}' {problem}")),
            }
        }
        let needed = [kind.name(), "user"].into_iter().take(if kind == Kind::Key { 2 } else { 1 });
        for member in needed {
            if table.get(member).is_none() {
                self.problem(span, format!("{place} needs '{member}'"));
            } else if thing.members.get(member).is_some_and(Value::is_null) {
                self.problem(span, format!("'{member}' is empty"));
            }
        }
        thing
    }

    /// Reads rules, which are named with dots, in one text or in tables within tables.
    fn rules(&mut self, above: &str, table: &DeTable<'_>, into: &mut Members) {
        for (name, value) in table {
            let full = format!("{above}{}", name.get_ref());
            let Some(rule) = Rule::find(&full) else {
                let is_group = Rule::ALL.iter().any(|rule| rule.as_str().starts_with(&format!("{full}.")));
                match value.get_ref().as_table() {
                    Some(inner) if is_group => self.rules(&format!("{full}."), inner, into),
                    _ => {
                        let known: Vec<_> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
                        let text =
                            format!("'{}' is no rule; the rules are {}", plain(&full), known.join(", "));
                        self.problem(&name.span(), text);
                    }
                }
                continue;
            };
            let read = rule_text(rule, value.get_ref()).and_then(|text| {
                rule.read(&text).map_err(|error| format!("is not as it should be: {error}"))
            });
            match read {
                Ok(value) if !into.contains_key(rule.as_str()) => {
                    into.insert(rule.as_str(), thing::rule_value(value));
                }
                Ok(_) => self.problem(&name.span(), format!("the rule '{full}' is given twice")),
                Err(problem) => self.problem(&value.span(), format!("the rule '{full}' {problem}")),
            }
        }
    }

    /// Refuses two things of one name. Keys have theirs among those of one user.
    fn refuse_doubles<'t>(&mut self, kind: Kind, things: impl Iterator<Item = &'t WantedThing>) {
        let mut first: HashMap<(String, String), usize> = HashMap::new();
        for each in things {
            let member = |name: &str| each.members.get(name).map(thing::text).unwrap_or_default();
            let name = member(kind.name());
            if name.is_empty() {
                continue;
            }
            let owner = if kind == Kind::Key { thing::canonical(member("user")) } else { String::new() };
            if let Some(line) = first.insert((owner, thing::canonical(name)), each.line) {
                let text =
                    format!("the {} '{}' is named twice, first in line {line}", kind.word(), plain(name));
                self.problems.push(Problem { line: each.line_of(kind.name()), text });
            }
        }
    }
}

#[cfg(test)]
mod tests;
