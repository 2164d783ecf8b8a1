//! The one binary, `doorward`. It reads the configuration and wires the rooms together; what it prints is for people.

mod args;
mod config;
mod demo;
mod housekeeping;
mod init;
mod logging;
mod serve;
mod system;

use std::process::ExitCode;

use args::{Command, ConfigCommand};
use clap::{CommandFactory, Parser};

/// Exit code of a wrong command line or configuration; 1 is for everything that goes wrong later.
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    let result = match args::Args::parse().command {
        Command::Serve(serve) => serve::run(&serve),
        Command::Init(init) => init::run(&init),
        Command::Config { command } => show_config(&command),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut args::Args::command(), "doorward", &mut std::io::stdout());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("doorward: {error:#}");
            let is_wrong_use = error.is::<config::ConfigError>() || error.is::<args::WrongUse>();
            if is_wrong_use { ExitCode::from(WRONG_USE) } else { ExitCode::FAILURE }
        }
    }
}

fn show_config(command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check(flags) => {
            let loaded = flags.load()?;
            let file = loaded.file.map_or("no file".to_owned(), |file| file.display().to_string());
            println!("The configuration is in order ({file}, the environment and flags were read).");
        }
        ConfigCommand::Show(flags) => {
            let settings = flags.load()?.settings;
            let width =
                |text: fn(&config::Setting) -> &str| settings.iter().map(|s| text(s).chars().count()).max();
            let (keys, values) = (width(|s| s.key).unwrap_or(0), width(|s| &s.value).unwrap_or(0));
            for config::Setting { key, value, origin } in &settings {
                println!("{key:keys$}  {value:values$}  {origin}");
            }
        }
    }
    Ok(())
}
