//! `doorward apply`: makes what is on the server match a file, after showing what that takes.
//!
//! `file` reads the file, `state` what is there, `plan` decides, `print` shows, and `run` carries out what was shown.

mod file;
mod plan;
mod print;
mod run;
mod secrets;
mod state;
mod thing;

use std::{
    collections::{HashMap, HashSet},
    io::Read,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use doorward_domain::id::UnitId;

use self::{
    file::{Problem, Wanted},
    plan::{Action, Plan},
    run::{Stopped, Work},
    secrets::Secrets,
    state::State,
    thing::Kind,
};
use super::{
    connection::{Connection, Flags, NoAnswer, Target},
    output::{self, Format},
    prompt,
    things::Consent,
};
use crate::system::SystemRandomness;

/// Exit code of `--plan` when something would change.
const WOULD_CHANGE: u8 = 2;
/// How many lines an error has of what is done, and of what is not; the plan has them all.
const MOST_LINES: usize = 20;
/// How many times a plan is made again when others change what it is about.
const TRIES: usize = 5;

#[derive(Debug, Args)]
#[command(
    after_help = "A member that the file does not give stays as it is, and what it does not name is left alone \
                        unless --prune is given.\nExit code: 0 when all is as the file says, 2 when --plan shows changes, 1 \
                        for errors.\n\n\
                        Example of a file:\n  \
                        [[organisation]]\n  \
                        code = \"ACME\"\n  \
                        rules.passwords.min_length = 16\n  \
                        [[organisation.unit]]\n  \
                        name = \"Warehouse\"\n  \
                        [[organisation.user]]\n  \
                        username = \"zoe\"\n  \
                        units = [\"Warehouse\"]\n  \
                        [[organisation.key]]\n  \
                        name = \"billing\"\n  \
                        user = \"zoe\"\n\n\
                        Examples:\n  \
                        doorward apply -f tenants.toml --plan\n  \
                        doorward apply -f tenants.toml --secrets new-keys.jsonl"
)]
pub(crate) struct Apply {
    /// The file that names organisations with their rules, units, users and keys (TOML); '-' is standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Only show what would change
    #[arg(long)]
    plan: bool,
    /// Delete what the file does not name: organisations, and in those that it names units, users, keys and own rules
    #[arg(long)]
    prune: bool,
    /// Write the secrets of new keys to this new file, a line of JSON for each
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    flags: Flags,
}

pub(super) async fn run(args: Apply) -> anyhow::Result<ExitCode> {
    if args.flags.organisation.is_some() {
        bail!("the file names its organisations; leave --organisation out");
    }
    let wanted = read_file(&args)?;
    let connection = Target::of(&args.flags)?.connect_with_token()?;
    let mut state = State::read(&connection, &wanted, args.prune).await?;
    let plan = make_plan(&args, &connection, &wanted, &mut state).await?;
    let is_json = args.flags.output == Format::Json;
    if args.plan || plan.steps.is_empty() {
        if is_json {
            output::json(&print::json(&plan, 0).to_string())?;
        } else {
            crate::print(&print::text(&plan))?;
        }
        return Ok(if plan.steps.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(WOULD_CHANGE) });
    }
    if !is_json {
        crate::print(&print::text(&plan))?;
    } else if !args.consent.yes {
        // Nobody can agree to what they do not see.
        eprint!("{}", print::text(&plan));
    }
    let new_keys = new_keys(&plan);
    let secrets = args.secrets.as_deref().filter(|_| new_keys > 0);
    match secrets {
        Some(path) => Secrets::check(path)?,
        None if new_keys > 0 => bail!(
            "{} would be created, whose secret the server shows once; add --secrets FILE for a new file to write it to; \
             nothing was changed",
            counted(new_keys, "key")
        ),
        None => {}
    }
    let changes = counted(plan.steps.len(), "change");
    prompt::confirm(args.consent.yes, &format!("make {changes}"), "yes")?;

    let secrets_file = secrets.map(Secrets::create).transpose()?;
    let mut work = Work { connection: &connection, run: new_id()?, secrets: secrets_file };
    let carried_out = work.carry_out(&plan, state.etags()).await;
    drop(work);
    let done = carried_out.as_ref().map_or_else(|stopped| stopped.done, |()| plan.steps.len());
    if is_json {
        output::json(&print::json(&plan, done).to_string())?;
    }
    let keys_done = plan.steps[..done].iter().filter(|step| is_new_key(step)).count();
    if let Some(path) = secrets.filter(|_| keys_done > 0) {
        let keys = counted(keys_done, "new key");
        eprintln!("Secrets of {keys} are in {} and nowhere else; keep the file safe.", path.display());
    }
    match carried_out {
        Ok(()) if is_json => Ok(ExitCode::SUCCESS),
        Ok(()) => crate::print(&format!("Done: {changes}.\n")).map(|()| ExitCode::SUCCESS),
        Err(stopped) => Err(explain(&plan, stopped, keys_done > 0)),
    }
}

fn read_file(args: &Apply) -> anyhow::Result<Wanted> {
    let unreadable = || format!("{} cannot be read", args.file.display());
    let mut bytes = Vec::new();
    if args.file.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut bytes).with_context(unreadable)?;
    } else {
        bytes = std::fs::read(&args.file).with_context(unreadable)?;
    }
    let text = String::from_utf8(bytes).with_context(unreadable)?;
    let wanted = file::read(&text).map_err(|problems| refused(args, &problems))?;
    if wanted.organisations.is_empty() {
        // A file that was cut short must not delete all there is.
        bail!(
            "{} names no organisation; write the first under a heading [[organisation]]",
            args.file.display()
        );
    }
    Ok(wanted)
}

/// All problems of a file, a line for each.
fn refused(args: &Apply, problems: &[Problem]) -> anyhow::Error {
    let file = args.file.display();
    let lines: Vec<_> =
        problems.iter().map(|Problem { line, text }| format!("{file}:{line}: {text}")).collect();
    anyhow!("the file cannot be applied; nothing was changed\n{}", lines.join("\n"))
}

/// Makes a plan, and reads what it is about alone, so that each step can be made to depend on the state it was planned
/// on. A plan that is only shown depends on nothing.
async fn make_plan(
    args: &Apply,
    connection: &Connection,
    wanted: &Wanted,
    state: &mut State,
) -> anyhow::Result<Plan> {
    for _ in 0..TRIES {
        let mut failed = None;
        let mut fresh_id = || {
            new_id().unwrap_or_else(|error| {
                failed = Some(error);
                String::new()
            })
        };
        let plan = plan::plan(wanted, state, args.prune, &mut fresh_id);
        let plan = plan.map_err(|problems| refused(args, &problems))?;
        if let Some(error) = failed {
            return Err(error);
        }
        let unread: Vec<_> = if args.plan { Vec::new() } else { unread(&plan, &state.etags()) };
        if unread.is_empty() {
            return Ok(plan);
        }
        for (kind, organisation, id) in unread {
            state.read_again(connection, kind, &organisation, &id).await?;
        }
    }
    bail!("others are changing the same things; try again later")
}

/// What a plan changes or deletes and was not read alone: kind, organisation and id.
fn unread(plan: &Plan, etags: &HashMap<String, String>) -> Vec<(Kind, String, String)> {
    let (new, old): (Vec<_>, Vec<_>) = plan.steps.iter().partition(|step| step.action == Action::Create);
    let new: HashSet<_> = new.iter().map(|step| step.id.as_str()).collect();
    let unread =
        old.into_iter().filter(|step| !new.contains(step.id.as_str()) && !etags.contains_key(&step.id));
    unread.map(|step| (step.kind, step.organisation.clone(), step.id.clone())).collect()
}

fn is_new_key(step: &plan::Step) -> bool {
    step.kind == Kind::Key && step.action == Action::Create
}

fn new_keys(plan: &Plan) -> usize {
    plan.steps.iter().filter(|step| is_new_key(step)).count()
}

/// Says what was done and what was not.
fn explain(plan: &Plan, Stopped { done, error }: Stopped, has_secrets: bool) -> anyhow::Error {
    let lines = |steps: &[plan::Step]| {
        let shown: String =
            steps.iter().take(MOST_LINES).map(|step| format!("\n  {}", print::line(step))).collect();
        match steps.len().checked_sub(MOST_LINES) {
            Some(more @ 1..) => format!("{shown}\n  and {more} more"),
            _ => shown,
        }
    };
    let (before, after) = plan.steps.split_at(done);
    let (failed, mut not_done) = (after.first(), after);
    // Whatever was not answered may have been done all the same.
    let is_unknown = error.is::<NoAnswer>();
    let mut error = format!("{error:#}");
    if is_unknown {
        error += "\n  It is not known whether this was done";
        if let Some(key) = failed.filter(|step| is_new_key(step)) {
            error += &format!("; if the key is there, its secret is lost: `doorward key rotate {}`", key.id);
        }
        not_done = not_done.get(1..).unwrap_or_default();
    }
    let failed = failed.map(print::line).unwrap_or_default();
    let another = if has_secrets { ", with another file for --secrets" } else { "" };
    let done = match (before, is_unknown) {
        ([], true) => String::new(),
        ([], false) => "\nNothing was changed".to_owned(),
        _ => format!("\nDone:{}", lines(before)),
    };
    let not_done =
        if not_done.is_empty() { String::new() } else { format!("\nNot done:{}", lines(not_done)) };
    anyhow!("{failed}\n  {error}{done}{not_done}\nApply the file again to do the rest{another}")
}

fn counted(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// An id, or a text that no other run has.
fn new_id() -> anyhow::Result<String> {
    let id = UnitId::generate(output::now(), &SystemRandomness)
        .map_err(|_| anyhow!("the system gives no randomness"))?;
    Ok(id.to_string())
}
