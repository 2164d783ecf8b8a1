//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::{
    client,
    config::{self, ConfigError, Loaded, Sources},
    users_file,
};

/// The doorkeeper of a company's Web APIs: issues tokens, says whom a token speaks for, and ends tokens.
#[derive(Debug, Parser)]
#[command(
    name = "doorward",
    version,
    after_help = "To try it:         doorward serve --demo\n\
                  To start for real: doorward init --organisation ACME --username admin\n\
                  \x20                  doorward serve\n\
                  To manage it:      doorward login\n\
                  \x20                  doorward user list"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server until it is told to stop (SIGTERM or Ctrl-C)
    Serve(Serve),
    /// Make the data folder with the first organisation, one unit and one administrator
    Init(Init),
    /// Copy the data into one file, while the server goes on
    Backup(Backup),
    /// Make the data folder from a backup; all sessions end
    Restore(Restore),
    /// Give an administrator a new password when everybody is locked out; the server must be stopped
    Recover(Recover),
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Write what is in the data folder to a file, also while a server runs on it
    Export {
        #[command(subcommand)]
        command: ExportCommand,
    },
    /// Record what clients of an old server send and get, and compare how Doorward answers
    Compat(crate::compat::Compat),
    /// What works on a running server.
    #[command(flatten)]
    Client(client::Command),
    /// Print a completion script for a shell, to be sourced by it
    Completions {
        /// The shell to complete in
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "SIGHUP makes the server read its TLS certificate and key again.\n\
                        `doorward config show` lists every key that --set takes.")]
pub(crate) struct Serve {
    /// Serve the examples of CRM.COM's documentation: an organisation, a unit, a user and a Web API key with well-known
    /// secrets, in a data folder of their own, on loopback addresses only
    #[arg(long)]
    pub(crate) demo: bool,
    #[command(flatten)]
    pub(crate) flags: ConfigFlags,
}

#[derive(Debug, ClapArgs)]
#[command(
    after_help = "The first organisation is the operator organisation: its administrators may manage every\n\
                        organisation. Without --password-stdin a password is generated and printed once.\n\n\
                        Example: doorward init --organisation ACME --username admin --password-stdin < password.txt"
)]
pub(crate) struct Init {
    /// The code of the organisation, which its users log in on
    #[arg(long, value_name = "CODE")]
    pub(crate) organisation: String,
    /// The username of the administrator
    #[arg(long, value_name = "NAME")]
    pub(crate) username: String,
    /// The name of the first unit
    #[arg(long, value_name = "NAME", default_value = "Main")]
    pub(crate) unit: String,
    /// Read the administrator's password from the first line of standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    #[command(flatten)]
    pub(crate) flags: ConfigFlags,
}

#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Run it on the server's machine, as the server's user. The server may be running or not. The \
                  file is complete, checked and on disk when the command ends well, and is not there otherwise. Only \
                  its owner may read it.\n\n\
                  Example: doorward backup /backup/doorward-$(date +%F)"
)]
pub(crate) struct Backup {
    /// The file to write; it must not be there yet
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) flags: ConfigFlags,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Run it on the server's machine, as the server's user. The data folder must have no \
                  database: nothing is overwritten. All sessions of the backup end, for one that was released since \
                  would be in force again. Passwords, keys and who is disabled are as they were when the backup was \
                  made.\n\n\
                  Example: doorward restore /backup/doorward-2026-11-24")]
pub(crate) struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) flags: ConfigFlags,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Run it on the server's machine, as the server's user. Whatever else refuses the \
                  login is undone and told: a suspended organisation, a disabled user or unit. The user's sessions \
                  end. Without --password-stdin a password is generated and printed once.\n\n\
                  Example: doorward recover --username admin")]
pub(crate) struct Recover {
    /// The code of the organisation [default: the operator organisation]
    #[arg(long, value_name = "CODE")]
    pub(crate) organisation: Option<String>,
    /// The username [default: the administrator, if there is only one]
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Make the user an administrator, and create one who is not there
    #[arg(long, requires = "username")]
    pub(crate) make_administrator: bool,
    /// Take away the organisation's own rules of addresses, from which nobody may log in any more
    #[arg(long)]
    pub(crate) reset_addresses: bool,
    /// Read the new password from the first line of standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    #[command(flatten)]
    pub(crate) flags: ConfigFlags,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether the configuration is in order, and what is wrong if not
    Check(ConfigFlags),
    /// Print every key with its value and where the value comes from
    Show(ConfigFlags),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExportCommand {
    /// Write the users of an organisation, with the hashes of their passwords, as `doorward import users` reads them
    Users(ExportUsers),
}

#[derive(Debug, ClapArgs)]
#[command(
    after_help = "It reads the data folder on the server's own machine, for the API gives no hash away.\n\n\
                        Example: doorward export users acme.jsonl --organisation ACME"
)]
pub(crate) struct ExportUsers {
    /// The file to be written, readable for its owner only; standard output if absent or '-'
    pub(crate) file: Option<PathBuf>,
    /// The code of the organisation
    #[arg(long, value_name = "CODE")]
    pub(crate) organisation: String,
    /// The form of the file [default: what its name says; jsonl for standard output]
    #[arg(long, value_enum)]
    pub(crate) format: Option<users_file::Format>,
    #[command(flatten)]
    pub(crate) flags: ConfigFlags,
}

/// Flags that set configuration keys; they win over the environment and `doorward.toml`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ConfigFlags {
    /// The configuration file [default: doorward.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder [key: data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// The address that callers reach [key: listen.api]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen_api: Option<String>,
    /// The address for operators: health, metrics, API document [key: listen.admin]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen_admin: Option<String>,
    /// Set any key, such as --set tokens.password_idle=30m; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// A command line that clap lets pass and that cannot be carried out all the same.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUse(pub(crate) String);

impl ConfigFlags {
    /// The flags that the next command needs as well, to find the same data.
    pub(crate) fn repeated(&self) -> String {
        let config = self.config.as_ref().map(|file| format!(" --config {}", file.display()));
        let data = self.data.as_ref().map(|folder| format!(" --data {folder}"));
        config.unwrap_or_default() + &data.unwrap_or_default()
    }

    /// Loads the configuration with these flags on top.
    pub(crate) fn load(&self) -> anyhow::Result<Loaded> {
        let mut flags = Vec::new();
        for pair in &self.set {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                WrongUse(format!(
                    "'--set {pair}' has no '='; write --set KEY=VALUE, as in --set tokens.password_idle=30m"
                ))
            })?;
            flags.push((format!("--set {key}"), key.to_owned(), value.to_owned()));
        }
        let named =
            [("data", &self.data), ("listen.api", &self.listen_api), ("listen.admin", &self.listen_admin)];
        for (key, value) in named {
            if let Some(value) = value {
                flags.push((format!("--{}", key.replace('.', "-")), key.to_owned(), value.clone()));
            }
        }
        let sources = Sources { file: self.config.clone(), folder: PathBuf::new(), flags };
        Ok(config::load(&sources, std::env::vars_os()).map_err(|error: ConfigError| error)?)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }
}
