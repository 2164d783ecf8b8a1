//! `doorward migrate`: a whole installation from SQLite to PostgreSQL, live tokens included.

use std::{path::PathBuf, time::Duration};

use anyhow::{anyhow, bail};
use doorward_domain::clock::TimeSource;
use doorward_storage::{
    Kind, Moved, Moving, OpenError, PostgresOptions, SqliteStore, Upgraded, move_to_postgres,
};

use crate::{
    args::{Migrate, WrongUse},
    backup::Progress,
    config::Config,
    store,
    system::SystemTime,
};

/// How long the database may be silent while it takes in all that it can. It is not an instance's pace that counts here.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run(args: &Migrate) -> anyhow::Result<()> {
    let config = load(args)?;
    let Some(options) = store::postgres(&config)? else {
        bail!(WrongUse(
            "it is not said where to; add --to postgres://USER@HOST:PORT/DATABASE, or set `storage.url`"
                .to_owned()
        ));
    };
    let options = PostgresOptions { statement_timeout: options.statement_timeout.max(PATIENCE), ..options };
    let began = SystemTime.steady();
    let store = SqliteStore::open(&config.data).map_err(|error| match error {
        OpenError::InUse { folder } => anyhow!(
            "the data folder {folder:?} is in use by a server; stop it first, for what it did from now on would be lost"
        ),
        error => error.into(),
    })?;
    let mut told = String::new();
    if let Some(Upgraded { from, to, backup }) = store.upgraded() {
        let backup = backup.display();
        told += &format!("The data were brought from schema {from} to {to}; {backup} is as they were.\n");
    }

    // Reading keeps one thread busy, and another carries what was read.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let progress = Progress::of_rows();
    let moved = runtime.block_on(move_to_postgres(&store, &options, &mut |step| tell(&progress, step)));
    progress.clear();
    let Moved { database, kind, tables } = moved?;

    // Not to the last digit, which nobody wants to know.
    let took = Duration::from_millis((SystemTime.steady() - began).as_millis().try_into().unwrap_or(0));
    let took = humantime::format_duration(took);
    told += &format!("{} was moved to {database}; took {took}\n\n", config.data.display());
    told += &format!("{:17}  {:>12}  SHA-256\n", "TABLE", "ROWS");
    for (table, fingerprint) in tables {
        told += &format!("{table:17}  {:>12}  {}\n", fingerprint.rows, fingerprint.hex());
    }
    told += "\nChecked: read back, each table has the same rows with the same contents.\n\
             Tokens, passwords and keys are accepted there as they were here. The folder is as it was; do not serve it \
             again: what is released from now on would be in force there.\n";
    let demo = if kind == Kind::Demo { " --demo" } else { "" };
    told += &format!("Next: doorward serve{demo}{}\n", next_flags(args));
    crate::print(&told)
}

/// The configuration, with what the command line says of both sides.
fn load(args: &Migrate) -> anyhow::Result<Config> {
    let mut flags = Vec::new();
    if let Some(from) = &args.from {
        let folder = from.strip_prefix("sqlite:").filter(|folder| !folder.is_empty()).ok_or_else(|| {
            WrongUse(format!(
                "'--from {}' is no folder of SQLite's; write it as --from sqlite:FOLDER",
                from.escape_debug()
            ))
        })?;
        flags.push(("--from".to_owned(), "data".to_owned(), folder.to_owned()));
    }
    if let Some(to) = &args.to {
        flags.push(("--to".to_owned(), "storage.url".to_owned(), to.clone()));
    }
    let mut config = args.flags.load_with(flags)?.config;
    if args.to.is_some() {
        // What is configured belongs to the database that is configured.
        config.storage.password_file = args.password_file.clone();
        config.storage.ca_file = args.ca_file.clone();
    }
    Ok(config)
}

fn tell(progress: &Progress, Moving { table, is_checked, done, total }: Moving) {
    let what = if is_checked { "Checking" } else { "Moving" };
    progress.tell_rows(format!("{what} {table}"), done, total);
}

/// The flags with which `serve` finds the database.
fn next_flags(args: &Migrate) -> String {
    let Some(to) = &args.to else { return args.flags.repeated() };
    let file = |key: &str, file: &Option<PathBuf>| {
        file.as_ref().map(|file| format!(" --set '{key}={}'", file.display())).unwrap_or_default()
    };
    args.flags.repeated()
        + &format!(" --set 'storage.url={to}'")
        + &file("storage.password_file", &args.password_file)
        + &file("storage.ca_file", &args.ca_file)
}
