//! `doorward audit verify`: the proof that no audit record was altered or removed, of the database on this machine while
//! it is served or not, or of files that `doorward audit export` has written.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use doorward_domain::{
    audit::chain::{ChainCheck, ChainDigest, Link, StoredRecord},
    clock::Timestamp,
    id::OrganisationId,
};
use doorward_storage::{ChainReport, verify_audit};
use serde_json::Value;

use crate::{
    args::{ConfigFlags, WrongUse},
    store,
};

#[derive(Debug, Args)]
#[command(
    after_help = "Each record carries the digest of the one before it. Whoever can write to the database could compute \
                  all digests anew, so keep the output of this command in another place, and give it with --noted the \
                  next time: what was recorded by then can then not be altered unnoticed."
)]
pub(crate) struct Verify {
    /// Files that `doorward audit export` has written, without filters; the database of this machine if none is named
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// An earlier output of this command; the records that it names must still be what they were
    #[arg(long, value_name = "FILE")]
    noted: Option<PathBuf>,
    #[command(flatten)]
    flags: ConfigFlags,
}

/// A record that was noted, and its organisation.
type Noted = (Option<OrganisationId>, Link);

pub(crate) fn run(args: &Verify) -> anyhow::Result<()> {
    let noted = match &args.noted {
        Some(file) => read_noted(file)?,
        None => Vec::new(),
    };
    if args.files.is_empty() {
        return verify_database(&args.flags, &noted);
    }
    let mut lines = String::new();
    for file in &args.files {
        let (organisation, link) = verify_file(file, &noted)?;
        lines += &line(organisation, link, &file.display().to_string());
    }
    crate::print(&(heading() + &lines))
}

fn verify_database(flags: &ConfigFlags, noted: &[Noted]) -> anyhow::Result<()> {
    let config = flags.load()?.config;
    store::only_in_a_folder(&config, "export its records with 'doorward audit export' and verify the files")?;
    let report = verify_audit(&config.data, noted, &mut |_, _| {})?;
    let mut printed = heading();
    let mut problems = Vec::new();
    let mut count = 0;
    for ChainReport { chain, code, sound, problem } in &report.chains {
        let name = match (chain.organisation, code) {
            (None, _) => "(no organisation)".to_owned(),
            (Some(_), Some(code)) => code.clone(),
            (Some(_), None) => "(deleted)".to_owned(),
        };
        count += sound;
        match problem {
            None => printed += &line(chain.organisation, chain.last, &name),
            Some(problem) => problems.push(format!("{} {name}: {problem}", id(chain.organisation))),
        }
    }
    let gone = noted.iter().filter(|(organisation, _)| {
        report.chains.iter().all(|known| known.chain.organisation != *organisation)
    });
    problems
        .extend(gone.map(|(organisation, _)| format!("{}: the whole chain is missing", id(*organisation))));
    problems.extend(report.problems.iter().map(ToString::to_string));
    crate::print(&printed)?;
    if problems.is_empty() {
        eprintln!("{count} records were checked; none was altered or removed.");
        return Ok(());
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    bail!("audit records were altered or removed; keep this database as it is, and compare it with a backup")
}

fn heading() -> String {
    format!("{:32}  {:>9}  {:64}  ORGANISATION\n", "ID", "LAST", "DIGEST")
}

fn line(organisation: Option<OrganisationId>, Link { number, digest }: Link, name: &str) -> String {
    format!("{:32}  {number:>9}  {digest}  {}\n", id(organisation), crate::client::plain(name))
}

fn id(organisation: Option<OrganisationId>) -> String {
    organisation.map_or_else(|| "-".to_owned(), |id| id.to_string())
}

/// Reads what this command printed. Lines of another form, as a heading is, are none of it.
fn read_noted(file: &Path) -> anyhow::Result<Vec<Noted>> {
    let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let noted: Vec<_> = text.lines().filter_map(read_noted_line).collect();
    if noted.is_empty() {
        bail!(WrongUse(format!(
            "{} is no output of `doorward audit verify`: no line has an id, a number and a digest",
            file.display()
        )));
    }
    Ok(noted)
}

fn read_noted_line(line: &str) -> Option<Noted> {
    let mut words = line.split_whitespace();
    let organisation = match words.next()? {
        "-" => None,
        id => Some(id.parse().ok()?),
    };
    let number = words.next()?.parse().ok()?;
    Some((organisation, Link { number, digest: words.next()?.parse().ok()? }))
}

/// Checks an exported file; returns its organisation and its last record.
fn verify_file(path: &Path, noted: &[Noted]) -> anyhow::Result<Noted> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("{shown} cannot be read"))?;
    let mut check: Option<(ChainCheck, (Option<OrganisationId>, u64))> = None;
    for (line, text) in BufReader::new(file).lines().enumerate() {
        let at = || format!("{shown}, line {}", line + 1);
        let text = text.with_context(at)?;
        let json: Value = serde_json::from_str(&text).map_err(|_| anyhow!("{}: it is no JSON", at()))?;
        let record = read_record(&json).ok_or_else(|| anyhow!("{}: it is no audit record", at()))?;
        let (check, _) = check.get_or_insert_with(|| {
            let behind = Link { number: record.number.saturating_sub(1), digest: record.previous };
            let noted = noted.iter().filter(|(of, _)| *of == record.organisation);
            let begin = ChainCheck::begin(record.organisation, behind);
            (noted.fold(begin, |check, (_, link)| check.passes(*link)), (record.organisation, record.number))
        });
        check.next(&record).with_context(at)?;
        // What is shown with a record is what others may have noted.
        if json["digest"].as_str().and_then(|digest| digest.parse().ok()) != Some(check.at().digest) {
            bail!("{}: record {} was altered: its digest is {}", at(), record.number, check.at().digest);
        }
    }
    let (check, (organisation, first)) = check.ok_or_else(|| anyhow!("{shown} has no records"))?;
    // What was noted of records before or behind those of the file says nothing of it.
    let last = check.at();
    let is_in = |(of, link): &&Noted| *of == organisation && (first..=last.number).contains(&link.number);
    let compared: Vec<_> = noted.iter().filter(is_in).map(|(_, link)| link.number.to_string()).collect();
    if !noted.is_empty() {
        let told = if compared.is_empty() { "none".to_owned() } else { compared.join(", ") };
        eprintln!(
            "{shown}: of its records {first} to {}, these were noted and compared: {told}",
            last.number
        );
    }
    Ok((organisation, last))
}

/// Reads a record as the API shows it.
fn read_record(json: &Value) -> Option<StoredRecord> {
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    fn id<T: std::str::FromStr>(value: &Value) -> Option<Option<T>> {
        match value {
            Value::Null => Some(None),
            Value::String(text) => text.parse().ok().map(Some),
            _ => None,
        }
    }
    let at: jiff::Timestamp = json["at"].as_str()?.parse().ok()?;
    let members: Vec<_> = json["members"].as_array()?.iter().filter_map(Value::as_str).collect();
    Some(StoredRecord {
        organisation: id(&json["organisation"])?,
        number: json["number"].as_u64()?,
        previous: json["previous"].as_str()?.parse::<ChainDigest>().ok()?,
        at: Timestamp::from_millis(at.as_millisecond()),
        event: text("event")?,
        reason: text("reason")?,
        address: text("address"),
        request_id: text("request_id")?,
        unit: id(&json["unit"])?,
        user: id(&json["user"])?,
        key: id(&json["key"])?,
        claimed: text("claimed"),
        actor: id(&json["actor"])?,
        session: id(&json["session"])?,
        members: (!members.is_empty()).then(|| members.join(",")),
    })
}
