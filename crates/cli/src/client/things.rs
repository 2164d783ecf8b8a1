//! What can be done to all kinds of things alike: find, list, show, create, change, delete.

use anyhow::{anyhow, bail};
use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    connection::{Answer, Call, Connection, Flags, Refused, Target, TokenOrigin},
    output::{self, Format, plain},
};
use crate::args::WrongUse;

/// A kind of thing that the server keeps.
pub(super) struct Kind {
    /// What people call it.
    pub(super) word: &'static str,
    /// Its part of the path.
    pub(super) path: &'static str,
    /// The member that names it.
    pub(super) name: &'static str,
    /// The members that a list shows.
    pub(super) columns: &'static [&'static str],
    /// The members in the order in which one is shown.
    pub(super) members: &'static [&'static str],
}

pub(super) const ORGANISATION: Kind = Kind {
    word: "organisation",
    path: "organisations",
    name: "code",
    columns: &["code", "name", "status", "operator", "created_at", "id"],
    members: &["id", "code", "name", "status", "operator", "created_at", "updated_at"],
};
pub(super) const UNIT: Kind = Kind {
    word: "unit",
    path: "units",
    name: "name",
    columns: &["name", "status", "created_at", "id"],
    members: &["id", "name", "status", "created_at", "updated_at"],
};
pub(super) const USER: Kind = Kind {
    word: "user",
    path: "users",
    name: "username",
    columns: &["username", "person_name", "role", "status", "locked_until", "last_login_at", "id"],
    members: &[
        "id",
        "username",
        "password",
        "person_name",
        "email",
        "role",
        "status",
        "units",
        "default_unit",
        "must_change_password",
        "locked_until",
        "last_login_at",
        "created_at",
        "updated_at",
    ],
};
pub(super) const KEY: Kind = Kind {
    word: "key",
    path: "keys",
    name: "name",
    columns: &["name", "user", "status", "verifier", "secret_hint", "last_used_at", "expires_at", "id"],
    members: &[
        "id",
        "name",
        "user",
        "secret",
        "classification",
        "status",
        "verifier",
        "allowed_addresses",
        "expires_at",
        "last_used_at",
        "last_used_from",
        "created_at",
        "updated_at",
    ],
};
pub(super) const SESSION: Kind = Kind {
    word: "session",
    path: "sessions",
    name: "id",
    columns: &["username", "unit_name", "method", "address", "issued_at", "last_used_at", "expires_at", "id"],
    members: &[],
};

pub(super) const RECORD: Kind =
    Kind { word: "record", path: "audit", name: "number", columns: &[], members: &[] };

/// How much of a list is shown.
#[derive(Debug, Args)]
pub(super) struct Paging {
    /// Show at most so many, from 1 to 1000 [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: Option<u16>,
    /// Show all, however many there are
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

impl Paging {
    /// All of a list.
    pub(super) const fn all() -> Self {
        Self { limit: None, all: true }
    }
}

/// The consent to what cannot be undone.
#[derive(Debug, Args)]
pub(super) struct Consent {
    /// Do it without being asked
    #[arg(long)]
    pub(super) yes: bool,
}

/// A parameter of a query, if it is given.
pub(super) type Parameter = (&'static str, Option<String>);

/// Members of a body of which only those that are given are sent.
#[derive(Default)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    pub(super) fn with<T: Into<Value>>(mut self, name: &str, value: Option<T>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    /// A member that an empty text removes.
    pub(super) fn removable(self, name: &str, value: Option<&String>) -> Self {
        self.with(name, value.map(|text| if text.is_empty() { Value::Null } else { text.as_str().into() }))
    }

    pub(super) fn json(self) -> Value {
        Value::Object(self.0)
    }

    /// The body of a change, which must change something.
    pub(super) fn change(self) -> anyhow::Result<Value> {
        if self.0.is_empty() {
            bail!(WrongUse("nothing to change was given; --help shows what can be".to_owned()));
        }
        Ok(self.json())
    }
}

/// Work on one organisation.
pub(super) struct Work {
    pub(super) connection: Connection,
    /// Its code or id, as it was named.
    pub(super) organisation: String,
    pub(super) format: Format,
}

impl Work {
    /// Finds out the server, the token and the organisation.
    pub(super) async fn on(flags: &Flags) -> anyhow::Result<Self> {
        let target = Target::of(flags)?;
        let connection = target.connect_with_token()?;
        let organisation = match (&flags.organisation, target.stored()) {
            (Some(organisation), _) => organisation.clone(),
            (None, Some(stored)) if connection.origin == TokenOrigin::Stored => stored.organisation.clone(),
            // A token knows where it is at home.
            (None, _) => {
                let looked = connection.send(Call::get(["authentication", "token"])).await?;
                let organisation = looked.json.pointer("/data/organisation/name").and_then(Value::as_str);
                organisation.map(str::to_owned).ok_or_else(|| anyhow!("name it with --organisation"))?
            }
        };
        Ok(Self { connection, organisation, format: flags.output })
    }

    /// The path of a kind of thing, or of one.
    pub(super) fn path<'a>(&'a self, kind: &Kind, rest: &[&'a str]) -> Vec<&'a str> {
        let mut path = vec!["admin", "v1", "organisations"];
        if kind.path != ORGANISATION.path {
            path.extend([self.organisation.as_str(), kind.path]);
        }
        path.extend(rest);
        path
    }

    /// Sends a request that is not about one thing.
    pub(super) async fn send(&self, call: Call<'_>) -> anyhow::Result<Answer> {
        self.connection.send(call).await.map_err(|error| match Refused::code(&error) {
            "NOT_FOUND" => anyhow!(
                "there is no organisation '{}', or none that you may manage; `doorward organisation list` shows them",
                plain(&self.organisation)
            ),
            _ => error,
        })
    }

    /// Sends a request about one thing.
    pub(super) async fn send_about(
        &self,
        kind: &Kind,
        thing: &str,
        call: Call<'_>,
    ) -> anyhow::Result<Answer> {
        self.connection.send(call).await.map_err(|error| match Refused::code(&error) {
            "NOT_FOUND" => self.no_such(kind, thing),
            _ => error,
        })
    }

    fn no_such(&self, kind: &Kind, thing: &str) -> anyhow::Error {
        let (word, thing) = (kind.word, plain(thing));
        let place = match kind.path == ORGANISATION.path {
            true => ", or none that you may manage".to_owned(),
            false => format!(" in {}", plain(&self.organisation)),
        };
        anyhow!("there is no {word} '{thing}'{place}; `doorward {word} list` shows what there is")
    }

    /// The id of a thing that is named by its id or by its name.
    pub(super) async fn find(&self, kind: &Kind, thing: &str) -> anyhow::Result<String> {
        if kind.path == ORGANISATION.path || is_id(thing) {
            return Ok(thing.to_owned());
        }
        let page = if kind.path == KEY.path {
            // Names of keys are neither unique nor a filter.
            self.fetch(kind, Vec::new(), &Paging::all()).await?
        } else {
            self.fetch(
                kind,
                vec![(kind.name, Some(thing.to_owned()))],
                &Paging { limit: Some(2), all: false },
            )
            .await?
        };
        let is_it = |item: &&Value| kind.path != KEY.path || item[kind.name].as_str() == Some(thing);
        let ids: Vec<_> = page.items.iter().filter(is_it).filter_map(|item| item["id"].as_str()).collect();
        match ids[..] {
            [id] => Ok(id.to_owned()),
            [] => Err(self.no_such(kind, thing)),
            _ => Err(WrongUse(format!(
                "there are {} {}s named '{}'; name one by its id: {}",
                ids.len(),
                kind.word,
                plain(thing),
                plain(&ids.join(", "))
            ))
            .into()),
        }
    }

    /// The ids of things that are named by ids or names.
    pub(super) async fn find_all(&self, kind: &Kind, things: &[String]) -> anyhow::Result<Vec<String>> {
        let mut ids = Vec::with_capacity(things.len());
        for thing in things {
            ids.push(self.find(kind, thing).await?);
        }
        Ok(ids)
    }

    /// The id of a thing, if one is named.
    pub(super) async fn find_given(
        &self,
        kind: &Kind,
        thing: Option<&String>,
    ) -> anyhow::Result<Option<String>> {
        match thing {
            Some(thing) => self.find(kind, thing).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn list(
        &self,
        kind: &Kind,
        query: Vec<Parameter>,
        paging: &Paging,
    ) -> anyhow::Result<()> {
        let page = self.fetch(kind, query, paging).await?;
        self.print_page(kind, &page)
    }

    /// Fetches a page, or all of them as one.
    pub(super) async fn fetch(
        &self,
        kind: &Kind,
        query: Vec<Parameter>,
        paging: &Paging,
    ) -> anyhow::Result<Page> {
        let mut query: Vec<_> =
            query.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect();
        let limit = if paging.all { Some(1000) } else { paging.limit };
        query.extend(limit.map(|limit| ("limit", limit.to_string())));
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut query = query.clone();
            query.extend(after.take().map(|after| ("after", after)));
            let Answer { text, mut json, .. } =
                self.send(Call::get(self.path(kind, &[])).query(query)).await?;
            let next = json["next"].as_str().map(str::to_owned);
            let Value::Array(items) = json["items"].take() else { bail!("the server's answer is no list") };
            if !paging.all {
                return Ok(Page { text, items, is_last: next.is_none() });
            }
            all.extend(items);
            if next.is_none() {
                let text = json!({"items": &all, "next": null}).to_string();
                return Ok(Page { text, items: all, is_last: true });
            }
            after = next;
        }
    }

    pub(super) fn print_page(&self, kind: &Kind, page: &Page) -> anyhow::Result<()> {
        if self.format == Format::Json {
            return output::json(&page.text);
        }
        let now = output::now();
        let row = |item: &Value| {
            let cell = |name: &&str| output::member(name, &item[name], now, false);
            kind.columns.iter().map(cell).collect::<Vec<_>>()
        };
        let titles: Vec<_> =
            kind.columns.iter().map(|name| name.strip_suffix("_at").unwrap_or(name)).collect();
        output::table(&titles, page.items.iter().map(row))?;
        if page.items.is_empty() {
            eprintln!("There is no such {}.", kind.word);
        } else if !page.is_last {
            eprintln!("There are more; --all shows all of them.");
        }
        Ok(())
    }

    /// Gets one thing.
    pub(super) async fn get(&self, kind: &Kind, thing: &str) -> anyhow::Result<Answer> {
        let id = self.find(kind, thing).await?;
        self.send_about(kind, thing, Call::get(self.path(kind, &[&id]))).await
    }

    pub(super) async fn show(&self, kind: &Kind, thing: &str) -> anyhow::Result<()> {
        self.print(kind, &self.get(kind, thing).await?)
    }

    pub(super) async fn create(&self, kind: &Kind, body: Value) -> anyhow::Result<Answer> {
        self.send(Call::post(self.path(kind, &[]), body)).await
    }

    /// Prints a thing.
    pub(super) fn print(&self, kind: &Kind, answer: &Answer) -> anyhow::Result<()> {
        match self.format {
            Format::Json => output::json(&answer.text),
            Format::Table => output::record(output::members(&answer.json, kind.members, output::now())),
        }
    }

    /// Changes a thing and prints what it is now.
    pub(super) async fn update(&self, kind: &Kind, thing: &str, body: Value) -> anyhow::Result<()> {
        let id = self.find(kind, thing).await?;
        let call = Call::new(Method::PATCH, self.path(kind, &[&id])).body(body);
        self.print(kind, &self.send_about(kind, thing, call).await?)
    }

    /// Changes the status of a thing and says so.
    pub(super) async fn set_status(&self, kind: &Kind, thing: &str, status: &str) -> anyhow::Result<()> {
        let id = self.find(kind, thing).await?;
        let call = Call::new(Method::PATCH, self.path(kind, &[&id])).body(json!({"status": status}));
        let answer = self.send_about(kind, thing, call).await?;
        self.done(&answer, &format!("{} {} is {status}", kind.word, plain(thing)))
    }

    pub(super) async fn delete(&self, kind: &Kind, thing: &str, consent: &Consent) -> anyhow::Result<()> {
        let id = self.find(kind, thing).await?;
        super::prompt::confirm(consent.yes, &format!("delete {}", self.called(kind, thing)), "yes")?;
        let call = Call::new(Method::DELETE, self.path(kind, &[&id]));
        let answer = self.send_about(kind, thing, call).await?;
        self.done(&answer, &format!("{} {} is deleted", kind.word, plain(thing)))
    }

    /// A thing as a question names it.
    pub(super) fn called(&self, kind: &Kind, thing: &str) -> String {
        format!("{} {} of {}", kind.word, plain(thing), plain(&self.organisation))
    }

    /// Says what was done: a sentence for people, the answer, if there is one, for programs.
    pub(super) fn done(&self, answer: &Answer, sentence: &str) -> anyhow::Result<()> {
        match self.format {
            Format::Json if answer.text.is_empty() => Ok(()),
            Format::Json => output::json(&answer.text),
            Format::Table => crate::print(&format!("{sentence}\n")),
        }
    }
}

/// A page of a list.
pub(super) struct Page {
    /// As the server wrote it.
    text: String,
    pub(super) items: Vec<Value>,
    is_last: bool,
}

/// Whether a text is an id and not a name.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
