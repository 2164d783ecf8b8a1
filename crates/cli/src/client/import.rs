//! `doorward import users`: a file of users, sent to the server in batches.
//!
//! Nothing is lost and nobody made twice, however often this is cut off: what was answered is noted before the next
//! answer is awaited ([`progress`]), and what was sent without an answer is sent again under the same name, by which
//! the server finds whom it has created.

mod batches;
mod display;
mod progress;
mod rejected;
mod source;
mod units;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use tokio::time::Instant;

use self::{
    batches::{Batch, Batches},
    display::Display,
    progress::Progress,
    rejected::RejectedFile,
    source::Source,
    units::Units,
};
use super::{
    connection::{Answer, Call, Flags, Refused, may_pass},
    output::{self, Format as Output, plain},
    things::{ORGANISATION, USER, Work},
};
use crate::users_file;

#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create the users of a file; those who are there already stay as they are
    #[command(after_help = "\
        The file is JSON Lines (.jsonl, .json, .ndjson) or CSV (.csv) whose first line names the columns:\n\
        username, password_hash, person_name, email, role, status, units, default_unit, must_change_password,\n\
        id, password. Units are names or ids, in CSV with ';' between them.\n\n\
        What is cut off goes on where it was when the same command is run again. Rows that are rejected are in\n\
        FILE.rejected.jsonl with the reasons; mend them there and import that file.\n\n\
        Example: doorward import users users.csv --organisation ACME")]
    Users(Box<ImportUsers>),
}

#[derive(Debug, Args)]
struct ImportUsers {
    /// The file; '-' for standard input, which cannot be resumed
    file: PathBuf,
    /// The form of the file [default: what its name says]
    #[arg(long, value_enum)]
    format: Option<users_file::Format>,
    /// Where rejected rows are written [default: FILE.rejected.jsonl]
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,
    /// Begin at the beginning, whatever was imported of the file before
    #[arg(long)]
    restart: bool,
    /// How long to wait for a server that does not answer
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    patience: Duration,
}

/// How long an answer may take. A batch of passwords takes the server seconds.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The longest wait before a batch is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

pub(crate) async fn run(args: Import) -> anyhow::Result<()> {
    let Command::Users(command) = args.command;
    import_users(&args.flags, &command).await
}

async fn import_users(flags: &Flags, args: &ImportUsers) -> anyhow::Result<()> {
    let mut source = Source::open(&args.file, args.format, args.rejected.as_deref())?;
    let mut work = Work::on(flags).await?;
    let organisation = work.get(&ORGANISATION, &work.organisation).await?;
    let code = organisation.json["code"].as_str().unwrap_or(&work.organisation).to_owned();
    // From here on by its id, which is nobody else's whatever becomes of the code.
    work.organisation = organisation.json["id"].as_str().context("the server's answer has no id")?.to_owned();
    let units = Units::fetch(&work, &code).await?;

    let mut progress = Progress::find_or_begin(&source, &work, args.restart)?;
    let mut rejected = RejectedFile::open(&source, &progress, args.restart)?;
    let rows = source.rows(progress.place)?;
    // Only now, for what was wrong before has begun nothing. And before anything is sent, so that there is something to
    // go on with.
    progress.save(&source)?;
    if progress.rows() > 0 {
        eprintln!("Going on at line {}: {}.", progress.place.line, progress.told());
    }
    let mut display = Display::new(source.length(), &progress);
    let mut batches = Batches::new(rows, units, progress.import.clone());
    let unreadable = loop {
        let batch = match batches.next() {
            Ok(Some(batch)) => batch,
            Ok(None) => break None,
            Err(error) => break Some(error),
        };
        // One at a time: two were measured to be hardly faster, and to make logins and releases wait three times as long.
        let answer = match &batch.body {
            Some(body) => Some(send(&work, &batch.key, body, args.patience).await.map_err(|error| {
                display.end();
                cut_off(&error, &source, &progress)
            })?),
            None => None,
        };
        settle(batch, answer.as_ref(), &mut progress, &mut rejected)?;
        progress.save(&source)?;
        display.show(&progress);
    };
    display.end();
    if let Some(error) = unreadable {
        bail!(
            "{error:#}. Imported up to line {}: {}; mend the file and import it again with --restart: who is there \
             already is not made twice",
            progress.place.line,
            progress.told()
        );
    }
    rejected.finish()?;
    progress::forget(&source)?;
    if work.format == Output::Json {
        let (created, present) = (progress.created, progress.present);
        let counts = json!({"created": created, "present": present, "rejected": progress.rejected});
        output::json(&counts.to_string())?;
    } else {
        crate::print(&format!("{} in {}\n", progress.told(), plain(&code)))?;
    }
    if progress.rejected > 0 {
        bail!(
            "{} of the rows were rejected; {} has them with the reasons: mend them there and import that file",
            progress.rejected,
            rejected.path().display()
        );
    }
    Ok(())
}

/// Notes what became of a batch.
fn settle(
    batch: Batch,
    answer: Option<&Answer>,
    progress: &mut Progress,
    rejected: &mut RejectedFile,
) -> anyhow::Result<()> {
    if let Some(answer) = answer {
        let count = |name: &str| answer.json[name].as_u64();
        let refused = answer.json["rejected"].as_array();
        let (Some(created), Some(present), Some(refused)) = (count("created"), count("present"), refused)
        else {
            bail!("the server's answer does not say what became of the users; is it of another version?");
        };
        if created + present + refused.len() as u64 != batch.sent.len() as u64 {
            bail!("the server's answer does not tell of all users that were sent; is it of another version?");
        }
        progress.created += created;
        progress.present += present;
        for refusal in refused {
            let index = refusal["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            let row =
                index.and_then(|index| batch.sent.get(index)).context("the server's answer is no answer")?;
            rejected.add_refused(row, refusal)?;
        }
        progress.rejected += refused.len() as u64;
    }
    progress.rejected += batch.unsent.len() as u64;
    for row in &batch.unsent {
        rejected.add(row)?;
    }
    progress.rejected_bytes = rejected.keep()?;
    progress.place = batch.end;
    Ok(())
}

/// Sends a batch until it is answered or patience ends.
async fn send(work: &Work, key: &str, body: &str, patience: Duration) -> anyhow::Result<Answer> {
    let began = Instant::now();
    let mut wait = Duration::from_millis(250);
    loop {
        let call = Call {
            text: Some(body.to_owned()),
            idempotency_key: Some(key),
            timeout: TIMEOUT,
            ..Call::new(reqwest::Method::POST, work.path(&USER, &["import"]))
        };
        match work.connection.send(call).await {
            Err(error) if may_pass(&error) && began.elapsed() < patience => {
                tokio::time::sleep(wait.min(patience.saturating_sub(began.elapsed()))).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            answer => return answer,
        }
    }
}

/// Why it cannot go on now, and how it can later.
fn cut_off(error: &anyhow::Error, source: &Source, progress: &Progress) -> anyhow::Error {
    let advice = match (Refused::code(error), source.can_be_resumed()) {
        ("NOT_FOUND", _) => "the organisation is not there any more, or you may not manage it any more",
        (_, true) => "run the same command again to go on from there",
        (_, false) => {
            "standard input cannot be resumed; import it again: who is there already is not made twice"
        }
    };
    anyhow!("{error:#}. Imported up to line {}: {}; {advice}", progress.place.line, progress.told())
}
