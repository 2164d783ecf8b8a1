//! What `doorward` does on a running server, over its admin API.
//!
//! One command is one file here. What all kinds of things have in common is in [`things`]; where requests go, and that
//! no token goes anywhere else, is [`connection`]'s.

mod apply;
mod audit;
mod connection;
mod import;
mod keys;
mod login;
mod organisations;
mod output;
mod prompt;
mod rules;
mod sessions;
mod stored;
mod things;
mod tokens;
mod units;
mod users;

use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::Subcommand;

pub(crate) use self::output::plain;
use crate::args::WrongUse;

/// A command that asks a server.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Log in to a server; the login is stored for the commands below
    Login(login::Login),
    /// Release the token of the stored login and forget it
    Logout(login::Logout),
    /// Change one's own password
    Password(login::ChangePassword),
    /// Manage organisations
    #[command(alias = "organisations", alias = "organization", alias = "organizations")]
    Organisation(organisations::Organisations),
    /// Manage the units of an organisation
    #[command(alias = "units")]
    Unit(units::Units),
    /// Manage the users of an organisation
    #[command(alias = "users")]
    User(users::Users),
    /// Manage the Web API keys of an organisation
    #[command(alias = "keys")]
    Key(keys::Keys),
    /// See who has a token, and end sessions
    #[command(alias = "sessions")]
    Session(sessions::Sessions),
    /// Manage the rules of an organisation: passwords, lockout, addresses, lifetimes
    #[command(alias = "rule")]
    Rules(rules::Rules),
    /// Read the audit records, and prove that none was altered or removed
    Audit(audit::Audit),
    /// Issue, look at, explain and release a token
    Token(tokens::Tokens),
    /// Make organisations, units, users, keys and rules match a file
    Apply(apply::Apply),
    /// Bring users in from elsewhere, with the hashes of their passwords
    Import(import::Import),
}

/// Runs a command. Its exit code is a failure's only where that says something else than that it failed.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no connection can be made")?;
    runtime.block_on(async {
        match command {
            // Here the exit code of wrong use means something else.
            Command::Apply(args) => return apply::run(args).await.map_err(|error| anyhow!("{error:#}")),
            Command::Login(args) => login::log_in(args).await,
            Command::Logout(args) => login::log_out(args).await,
            Command::Password(args) => login::change_password(args).await,
            Command::Organisation(args) => organisations::run(args).await,
            Command::Unit(args) => units::run(args).await,
            Command::User(args) => users::run(args).await,
            Command::Key(args) => keys::run(args).await,
            Command::Session(args) => sessions::run(args).await,
            Command::Rules(args) => rules::run(args).await,
            Command::Audit(args) => audit::run(args).await,
            Command::Token(args) => tokens::run(args).await,
            Command::Import(args) => import::run(args).await,
        }
        .map(|()| ExitCode::SUCCESS)
    })
}

/// A variable of the environment; an empty one is not set. No value is repeated in an error, for it may be a token.
fn variable(name: &str) -> anyhow::Result<Option<String>> {
    match std::env::var_os(name).map(std::ffi::OsString::into_string) {
        Some(Err(_)) => bail!(WrongUse(format!("{name} is not UTF-8"))),
        Some(Ok(value)) => Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty())),
        None => Ok(None),
    }
}
