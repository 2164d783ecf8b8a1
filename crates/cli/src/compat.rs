//! `doorward compat`: what clients of an old server send and get is recorded, and replayed against Doorward, so that a
//! move is a measurement and not a hope.
//!
//! Secrets that stand where the old API or its like has them, [`secrets`] says where, are not in a recording: each has a name
//! instead, the same wherever it comes up again. To replay it, the passwords and keys are given their values again; tokens are
//! those that the new server gives.

mod exchange;
mod record;
mod replay;
mod secrets;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    doorward compat record --upstream https://old.example --listen 127.0.0.1:9000 old.jsonl\n  \
    doorward compat secrets old.jsonl > secrets.toml      (fill in the values)\n  \
    doorward compat replay old.jsonl --server http://127.0.0.1:8080 --secrets secrets.toml")]
pub(crate) struct Compat {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stand before the old server and write down what its clients send and get, until Ctrl-C
    Record(record::Record),
    /// List the passwords and keys of a recording, as a file to be filled in for `replay`
    Secrets(replay::Secrets),
    /// Send what was recorded to another server and show where it answers differently; exit code 1 if it does
    Replay(replay::Replay),
}

pub(crate) fn run(args: &Compat) -> anyhow::Result<std::process::ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match &args.command {
        Command::Record(args) => {
            runtime.block_on(record::run(args)).map(|()| std::process::ExitCode::SUCCESS)
        }
        Command::Secrets(args) => replay::list_secrets(args).map(|()| std::process::ExitCode::SUCCESS),
        Command::Replay(args) => runtime.block_on(replay::run(args)),
    }
}
