//! The one binary, `doorward`. It reads the configuration and wires the rooms together; what it prints is for people.

mod args;
mod backup;
mod breached;
mod client;
mod cluster;
mod compat;
mod config;
mod demo;
mod descriptors;
mod evidence;
mod export;
mod gateway;
mod housekeeping;
mod init;
mod logging;
mod migrate;
mod reading;
mod recover;
mod restore;
mod serve;
mod store;
mod system;
mod users_file;

use std::{
    io::{ErrorKind, Write},
    process::ExitCode,
};

use anyhow::Context;
use args::{Command, ConfigCommand};
use clap::{CommandFactory, Parser};

/// A request costs a dozen allocations, which this makes cheaper; and it asks the kernel for large pages, without which a
/// third of what a look into a table of a million sessions takes is the search for pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a wrong command line or configuration; 1 is for everything that goes wrong later.
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    let command = match args::Args::try_parse() {
        Ok(args) => args.command,
        Err(error) => return wrong_line(&error),
    };
    let result = match command {
        Command::Client(command) => client::run(command),
        Command::Serve(serve) => serve::run(&serve).map(success),
        Command::Gateway(gateway) => gateway::run(&gateway).map(success),
        Command::Init(init) => init::run(&init).map(success),
        Command::Backup(backup) => backup::run(&backup).map(success),
        Command::Restore(restore) => restore::run(&restore).map(success),
        Command::Migrate(migrate) => migrate::run(&migrate).map(success),
        Command::Compat(compat) => compat::run(&compat),
        Command::Export { command } => export::run(&command).map(success),
        Command::Recover(recover) => recover::run(&recover).map(success),
        Command::Config { command } => show_config(&command).map(success),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut args::Args::command(), "doorward", &mut script);
            print(&String::from_utf8_lossy(&script)).map(success)
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("doorward: {error:#}");
            let is_wrong_use = error.is::<config::ConfigError>() || error.is::<args::WrongUse>();
            if is_wrong_use { ExitCode::from(WRONG_USE) } else { ExitCode::FAILURE }
        }
    }
}

fn success((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

/// Says what is wrong with a command line, or what was asked for, as `--help`.
fn wrong_line(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    let is_apply = std::env::args_os().nth(1).is_some_and(|command| command == "apply");
    match (error.use_stderr(), is_apply) {
        (false, _) => ExitCode::SUCCESS,
        // `apply --plan` says with the other code that something would change.
        (true, true) => ExitCode::FAILURE,
        (true, false) => ExitCode::from(WRONG_USE),
    }
}

/// Prints to standard output. A reader who has seen enough, as `head` has, is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

fn show_config(command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check(flags) => {
            let loaded = flags.load()?;
            let file = loaded.file.map_or("no file".to_owned(), |file| file.display().to_string());
            print(&format!("The configuration is in order ({file}, the environment and flags were read).\n"))
        }
        ConfigCommand::Show(flags) => {
            let settings = flags.load()?.settings;
            let width =
                |text: fn(&config::Setting) -> &str| settings.iter().map(|s| text(s).chars().count()).max();
            let (keys, values) = (width(|s| s.key).unwrap_or(0), width(|s| &s.value).unwrap_or(0));
            let line = |config::Setting { key, value, origin }: &config::Setting| {
                format!("{key:keys$}  {value:values$}  {origin}\n")
            };
            print(&settings.iter().map(line).collect::<String>())
        }
    }
}
