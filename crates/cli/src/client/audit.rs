//! `doorward audit`: audit records, and the proof that none was altered or removed.

use std::{
    collections::HashMap,
    io::{BufWriter, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    connection::{Call, Flags, may_pass},
    output::{self, Format, plain},
    things::{KEY, Kind, RECORD, UNIT, USER, Work},
};
use crate::{evidence, export::Draft};

/// The most records of a page.
const PAGE: u32 = 1_000;
/// How many records the server searches for those of a page that it does not fill.
const SEARCHED: u64 = 10_000;

/// How often `tail --follow` looks for more.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    doorward audit list --failed --user zoe\n  \
    doorward audit tail --follow\n  \
    doorward audit export --from 2026-11-01T00:00:00Z november.jsonl\n  \
    doorward audit verify                     (on the server's machine)\n  \
    doorward audit verify > noted.txt         (keep it in another place; then, later:)\n  \
    doorward audit verify --noted noted.txt")]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List records, the newest first
    List {
        #[command(flatten)]
        flags: Flags,
        #[command(flatten)]
        which: Which,
        /// Show at most so many
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show the newest records, the newest last
    Tail {
        #[command(flatten)]
        flags: Flags,
        #[command(flatten)]
        which: Which,
        /// How many
        #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        lines: u32,
        /// Go on with those that come, until Ctrl-C
        #[arg(long, short)]
        follow: bool,
    },
    /// Write records to a file, the oldest first, each on a line of its own as the server's JSON
    Export {
        #[command(flatten)]
        flags: Flags,
        #[command(flatten)]
        which: Which,
        /// The file, which must not be there; standard output without one
        file: Option<PathBuf>,
    },
    /// Prove that no record was altered or removed: of the database on this machine, or of exported files
    Verify(evidence::Verify),
}

#[derive(Debug, Args)]
struct Which {
    /// Those of this event, such as password_login
    #[arg(long, value_name = "WORD")]
    event: Option<String>,
    /// Those of this reason, such as wrong_password
    #[arg(long, value_name = "WORD")]
    reason: Option<String>,
    /// Those of what did not succeed
    #[arg(long)]
    failed: bool,
    /// Those about this user, or done by them; one who was deleted is named by id
    #[arg(long, value_name = "NAME|ID")]
    user: Option<String>,
    /// Those about this unit
    #[arg(long, value_name = "NAME|ID")]
    unit: Option<String>,
    /// Those about this Web API key
    #[arg(long, value_name = "NAME|ID")]
    key: Option<String>,
    /// Those about the session of this id
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Those from this address
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Not before this time
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Those that no organisation can be named for: unknown codes, unknown keys
    #[arg(long, conflicts_with_all = ["user", "unit", "key", "session", "organisation"])]
    unassigned: bool,
}

pub(super) async fn run(args: Audit) -> anyhow::Result<()> {
    match args.command {
        Command::List { flags, which, limit } => list(&Reader::new(&flags, which).await?, limit).await,
        Command::Tail { flags, which, lines, follow } => {
            tail(&Reader::new(&flags, which).await?, lines, follow).await
        }
        Command::Export { flags, which, file } => export(&Reader::new(&flags, which).await?, file).await,
        Command::Verify(verify) => evidence::run(&verify),
    }
}

/// Reads the records that are meant.
struct Reader {
    work: Work,
    query: Vec<(&'static str, String)>,
    is_unassigned: bool,
    /// The organisation of whoever asks: operators act in others.
    own: Option<String>,
}

impl Reader {
    async fn new(flags: &Flags, which: Which) -> anyhow::Result<Self> {
        let work = Work::on(flags).await?;
        let query = [
            ("event", which.event),
            ("reason", which.reason),
            ("failed", which.failed.then(|| "true".to_owned())),
            ("user", work.find_given(&USER, which.user.as_ref()).await?),
            ("unit", work.find_given(&UNIT, which.unit.as_ref()).await?),
            ("key", work.find_given(&KEY, which.key.as_ref()).await?),
            ("session", which.session),
            ("address", which.address),
            ("from", which.from),
            ("until", which.until),
        ];
        let query = query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let looked = work.connection.send(Call::get(["authentication", "token"])).await?;
        let own = looked.json.pointer("/data/organisation/id").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { work, query, is_unassigned: which.unassigned, own })
    }

    fn path(&self) -> Vec<&str> {
        if self.is_unassigned { vec!["admin", "v1", "audit"] } else { self.work.path(&RECORD, &[]) }
    }

    /// A page; where it ends, if there are more.
    async fn page(
        &self,
        order: &str,
        limit: u32,
        after: Option<String>,
    ) -> anyhow::Result<(Vec<Value>, Option<String>)> {
        let mut query = self.query.clone();
        query.extend([("order", order.to_owned()), ("limit", limit.clamp(1, 1000).to_string())]);
        query.extend(after.map(|after| ("after", after)));
        let mut answer = self.work.send(Call::get(self.path()).query(query)).await?;
        let next = answer.json["next"].as_str().map(str::to_owned);
        match answer.json["items"].take() {
            Value::Array(items) => Ok((items, next)),
            _ => bail!("the server's answer is no list"),
        }
    }

    /// The newest records, the newest first, and whether there are more.
    async fn newest(&self, limit: u32) -> anyhow::Result<(Vec<Value>, bool)> {
        let (limit, mut found, mut after) = (limit as usize, Vec::new(), None);
        while found.len() < limit {
            let wanted = u32::try_from(limit - found.len()).unwrap_or(u32::MAX);
            let (items, next) = self.page("newest", wanted, after).await?;
            found.extend(items);
            if next.is_none() {
                return Ok((found, false));
            }
            after = next;
        }
        Ok((found, true))
    }
}

async fn list(reader: &Reader, limit: u32) -> anyhow::Result<()> {
    let (items, is_more) = reader.newest(limit).await?;
    if reader.work.format == Format::Json {
        return output::json(&json!({"items": items}).to_string());
    }
    let mut names = Names::default();
    let mut rows = Vec::new();
    for item in &items {
        rows.push(names.row(reader, item).await);
    }
    output::table(&["at", "event", "reason", "who", "what", "address"], rows)?;
    if items.is_empty() {
        eprintln!("There is no such record.");
    } else if is_more {
        eprintln!("There are more; --limit shows more of them.");
    }
    Ok(())
}

async fn tail(reader: &Reader, lines: u32, follow: bool) -> anyhow::Result<()> {
    let mut names = Names::default();
    let mut last = reader.head().await?;
    let (mut items, _) = reader.newest(lines).await?;
    let mut is_away = false;
    loop {
        last = items.iter().filter_map(number).fold(last, u64::max);
        items.reverse();
        for item in &items {
            let line = match reader.work.format {
                Format::Json => item.to_string(),
                Format::Table => names.row(reader, item).await.join("  ").trim_end().to_owned(),
            };
            crate::print(&format!("{line}\n"))?;
        }
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(LOOK_PERIOD).await;
        match reader.since(last).await {
            Ok((head, new)) => (last, items, is_away) = (head, new, false),
            Err(error) if may_pass(&error) => {
                if !is_away {
                    eprintln!("{error:#}; trying again");
                }
                (items, is_away) = (Vec::new(), true);
            }
            Err(error) => return Err(error),
        }
    }
}

fn number(record: &Value) -> Option<u64> {
    record["number"].as_u64()
}

impl Reader {
    /// The number of the last record, meant or not.
    async fn head(&self) -> anyhow::Result<u64> {
        let mut path = self.path();
        path.push("chain");
        let answer = self.work.send(Call::get(path)).await?;
        answer.json.pointer("/last/number").and_then(Value::as_u64).context("the server's answer is no chain")
    }

    /// The records behind one of this number that are meant, the newest first, and the number of the last one of all.
    async fn since(&self, last: u64) -> anyhow::Result<(u64, Vec<Value>)> {
        let head = self.head().await?;
        let (mut found, mut after, mut searched) = (Vec::new(), None, 0);
        while searched < head.saturating_sub(last) {
            let (items, next) = self.page("newest", PAGE, after).await?;
            searched += if items.len() < PAGE as usize { SEARCHED } else { u64::from(PAGE) };
            found.extend(items.into_iter().filter(|item| number(item).is_some_and(|number| number > last)));
            if next.is_none() {
                break;
            }
            after = next;
        }
        Ok((head, found))
    }
}

async fn export(reader: &Reader, file: Option<PathBuf>) -> anyhow::Result<()> {
    let cannot =
        |path: &PathBuf| format!("{} cannot be made; name a file that is not there yet", path.display());
    let mut draft = None;
    let mut target: Box<dyn Write> = match &file {
        None => Box::new(std::io::stdout().lock()),
        Some(path) => {
            if path.try_exists().with_context(|| cannot(path))? {
                bail!(cannot(path));
            }
            let made = Draft::create(path).with_context(|| cannot(path))?;
            let writer = made.file.try_clone().with_context(|| cannot(path))?;
            draft = Some((made, path));
            Box::new(BufWriter::new(writer))
        }
    };
    let (mut count, mut last, mut after) = (0_u64, None, None);
    loop {
        let (items, next) = reader.page("oldest", 1000, after).await?;
        count += items.len() as u64;
        for item in &items {
            writeln!(target, "{item}").context("the records cannot be written")?;
        }
        last = items.into_iter().next_back().or(last);
        if next.is_none() {
            break;
        }
        after = next;
    }
    target.flush().context("the records cannot be written")?;
    if let Some((draft, path)) = draft {
        draft.finish(path).with_context(|| cannot(path))?;
    }
    if let Some(last) = last {
        let member = |name: &str| last[name].as_str().map(plain).unwrap_or_default();
        eprintln!("{count} records are written; the last is {} {}", last["number"], member("digest"));
    } else {
        eprintln!("There is no such record.");
    }
    Ok(())
}

/// Names of what records tell of by id, asked for once each.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    async fn find(&mut self, reader: &Reader, kind: &Kind, id: &Value) -> Option<String> {
        let id = id.as_str()?.to_owned();
        if !self.0.contains_key(&id) {
            let mut found = reader.work.get(kind, &id).await.ok();
            if let (None, Some(own)) = (&found, &reader.own) {
                let path = ["admin", "v1", "organisations", own, kind.path, &id];
                found = reader.work.connection.send(Call::get(path)).await.ok();
            }
            // What was deleted, or is of an organisation that may not be seen, is called by its id.
            let name = found.and_then(|found| found.json[kind.name].as_str().map(plain));
            self.0.insert(id.clone(), name.unwrap_or_else(|| plain(&id)));
        }
        self.0.get(&id).cloned()
    }

    async fn row(&mut self, reader: &Reader, item: &Value) -> Vec<String> {
        let text = |name: &str| item[name].as_str().map_or_else(|| "-".to_owned(), plain);
        let user = self.find(reader, &USER, &item["user"]).await;
        let actor = self.find(reader, &USER, &item["actor"]).await;
        let mut what = Vec::new();
        if actor.is_some() {
            what.extend(user.as_ref().map(|user| format!("user {user}")));
        }
        if let Some(key) = self.find(reader, &KEY, &item["key"]).await {
            what.push(format!("key {key}"));
        }
        if let Some(unit) = self.find(reader, &UNIT, &item["unit"]).await {
            what.push(format!("unit {unit}"));
        }
        let members: Vec<_> =
            item["members"].as_array().into_iter().flatten().filter_map(Value::as_str).map(plain).collect();
        if !members.is_empty() {
            what.push(members.join(", "));
        }
        what.extend(item["claimed"].as_str().map(|claimed| format!("organisation {:?}", plain(claimed))));
        let who = actor.or(user).unwrap_or_else(|| "-".to_owned());
        let what = if what.is_empty() { "-".to_owned() } else { what.join("; ") };
        vec![text("at"), text("event"), text("reason"), who, what, text("address")]
    }
}
