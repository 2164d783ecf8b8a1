//! What is on the server now, as far as a file is about it.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, bail};
use doorward_domain::rules::Rule;
use serde_json::Value;

use super::{
    file::Wanted,
    thing::{self, Kind, Members},
};
use crate::client::connection::{Call, Connection, Refused};

/// What is on the server now.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) caller: Caller,
    pub(super) organisations: Vec<PresentOrganisation>,
}

/// Whose token it is, by ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller {
    pub(super) organisation: String,
    pub(super) unit: String,
    pub(super) user: String,
    /// Whether they may manage all organisations.
    pub(super) is_operator: bool,
    /// Whether they are logged in with a Web API key.
    pub(super) has_key: bool,
}

/// An organisation with what is in it. Of one that nobody asks about only the members are known.
#[derive(Clone, Debug, Default)]
pub(super) struct PresentOrganisation {
    pub(super) thing: Present,
    pub(super) is_operator: bool,
    /// All rules as they hold.
    pub(super) rules: BTreeMap<&'static str, PresentRule>,
    pub(super) units: Vec<Present>,
    pub(super) users: Vec<Present>,
    pub(super) keys: Vec<Present>,
}

/// A thing as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Present {
    pub(super) id: String,
    pub(super) members: Members,
    /// Names this state, where it was read alone.
    pub(super) etag: Option<String>,
}

/// A rule as it holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PresentRule {
    pub(super) value: Value,
    /// `organisation` if it is the organisation's own.
    pub(super) source: String,
}

impl Present {
    pub(super) fn text(&self, member: &str) -> &str {
        self.members.get(member).map(thing::text).unwrap_or_default()
    }
}

impl PresentOrganisation {
    pub(super) fn things(&self, kind: Kind) -> &[Present] {
        match kind {
            Kind::Organisation | Kind::Rules => std::slice::from_ref(&self.thing),
            Kind::Unit => &self.units,
            Kind::User => &self.users,
            Kind::Key => &self.keys,
        }
    }

    fn things_mut(&mut self, kind: Kind) -> Option<&mut Vec<Present>> {
        match kind {
            Kind::Organisation | Kind::Rules => None,
            Kind::Unit => Some(&mut self.units),
            Kind::User => Some(&mut self.users),
            Kind::Key => Some(&mut self.keys),
        }
    }
}

/// The path of a kind of thing, or of one.
pub(super) fn path<'a>(kind: Kind, organisation: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    let mut path = vec!["admin", "v1", "organisations"];
    if kind != Kind::Organisation {
        path.extend([organisation, kind.path()]);
    }
    path.extend(rest);
    path
}

impl State {
    /// Reads what a file is about: the list of organisations, and of those that it names what it is about; with `all`
    /// everything.
    pub(super) async fn read(connection: &Connection, wanted: &Wanted, all: bool) -> anyhow::Result<Self> {
        let looked = connection.send(Call::get(["authentication", "token"])).await?;
        let id = |of: &str| thing::text(&looked.json["data"][of]["id"]).to_owned();
        let caller = Caller {
            organisation: id("organisation"),
            unit: id("unit"),
            user: id("user"),
            is_operator: false,
            has_key: looked.json["data"]["method"] == "web_api_key",
        };
        let mut state = Self { caller, organisations: Vec::new() };
        list(connection, Kind::Organisation, "", |present, item| {
            let is_operator = item["operator"] == true;
            state.caller.is_operator |= is_operator && present.id == state.caller.organisation;
            let thing = PresentOrganisation { thing: present, is_operator, ..PresentOrganisation::default() };
            state.organisations.push(thing);
        })
        .await?;
        let codes: HashSet<_> = wanted
            .organisations
            .iter()
            .filter_map(|organisation| organisation.thing.members.get("code"))
            .map(|code| thing::canonical(thing::text(code)))
            .collect();
        let ids: HashSet<_> =
            wanted.organisations.iter().filter_map(|each| each.thing.id.as_deref()).collect();
        for organisation in &mut state.organisations {
            let code = thing::canonical(organisation.thing.text("code"));
            let is_named = codes.contains(&code) || ids.contains(organisation.thing.id.as_str());
            if is_named {
                organisation.read_itself(connection).await?;
            }
            let parts = wanted.organisations.iter().filter(|_| is_named);
            let needs = |kind: Kind| {
                all || parts.clone().any(|wanted| match kind {
                    Kind::Organisation | Kind::Rules => true,
                    Kind::Unit => !wanted.units.is_empty() || !wanted.users.is_empty(),
                    Kind::User => !wanted.users.is_empty() || !wanted.keys.is_empty(),
                    Kind::Key => !wanted.keys.is_empty(),
                })
            };
            for kind in [Kind::Unit, Kind::User, Kind::Key] {
                if needs(kind) {
                    let id = organisation.thing.id.clone();
                    let mut things = Vec::new();
                    list(connection, kind, &id, |present, _| things.push(present)).await?;
                    if let Some(place) = organisation.things_mut(kind) {
                        *place = things;
                    }
                }
            }
        }
        Ok(state)
    }

    /// The ETags of what was read alone, by ids.
    pub(super) fn etags(&self) -> HashMap<String, String> {
        let kinds = [Kind::Organisation, Kind::Unit, Kind::User, Kind::Key];
        let things =
            self.organisations.iter().flat_map(|each| kinds.into_iter().flat_map(|kind| each.things(kind)));
        things.filter_map(|each| each.etag.clone().map(|etag| (each.id.clone(), etag))).collect()
    }

    /// Reads a thing again, alone.
    pub(super) async fn read_again(
        &mut self,
        connection: &Connection,
        kind: Kind,
        organisation: &str,
        id: &str,
    ) -> anyhow::Result<()> {
        let Some(at) = self.organisations.iter().position(|each| each.thing.id == organisation) else {
            return Ok(());
        };
        let there = &mut self.organisations[at];
        let Some(things) = there.things_mut(kind) else {
            return match there.read_itself(connection).await {
                Err(error) if Refused::code(&error) == "NOT_FOUND" => {
                    self.organisations.remove(at);
                    Ok(())
                }
                read => read,
            };
        };
        let found = connection.send(Call::get(path(kind, organisation, &[id]))).await;
        let at = things.iter().position(|each| each.id == id);
        match (found, at) {
            (Ok(answer), Some(at)) => {
                let (json, etag) = (answer.json, answer.etag);
                things[at] = Present { etag, ..present(kind, &json)? };
            }
            (Err(error), Some(at)) if Refused::code(&error) == "NOT_FOUND" => {
                things.remove(at);
            }
            (found, _) => drop(found?),
        }
        Ok(())
    }
}

impl PresentOrganisation {
    /// Reads the organisation's members and rules, both of one state.
    async fn read_itself(&mut self, connection: &Connection) -> anyhow::Result<()> {
        const TRIES: usize = 5;
        let id = self.thing.id.clone();
        for _ in 0..TRIES {
            let found = connection.send(Call::get(path(Kind::Organisation, "", &[&id]))).await?;
            let rules = connection.send(Call::get(path(Kind::Rules, &id, &[]))).await?;
            if found.etag != rules.etag {
                continue;
            }
            self.thing = Present { etag: found.etag, ..present(Kind::Organisation, &found.json)? };
            let known = Rule::ALL.into_iter().filter_map(|rule| {
                let found = rules.json["rules"].get(rule.as_str())?;
                let value = thing::rule_of_server(rule, &found["value"]);
                let source = thing::text(&found["source"]).to_owned();
                Some((rule.as_str(), PresentRule { value, source }))
            });
            self.rules = known.collect();
            return Ok(());
        }
        bail!("organisation {} is changed all the time; try again later", self.thing.text("code"))
    }
}

/// Reads a whole list, page by page.
async fn list(
    connection: &Connection,
    kind: Kind,
    organisation: &str,
    mut take: impl FnMut(Present, &Value),
) -> anyhow::Result<()> {
    let mut after: Option<String> = None;
    loop {
        let mut query = vec![("limit", "1000".to_owned())];
        query.extend(after.take().map(|after| ("after", after)));
        let answer = connection.send(Call::get(path(kind, organisation, &[])).query(query)).await?;
        for item in answer.json["items"].as_array().context("the server's answer is no list")? {
            take(present(kind, item)?, item);
        }
        match answer.json["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(()),
        }
    }
}

/// Takes what a file can be about out of what a server writes.
fn present(kind: Kind, json: &Value) -> anyhow::Result<Present> {
    let id = json["id"].as_str().context("the server's answer has a thing without an id")?.to_owned();
    let member = |name: &&'static str| (*name, thing::member_of_server(name, &json[*name]));
    Ok(Present { id, members: kind.members().iter().map(member).collect(), etag: None })
}
