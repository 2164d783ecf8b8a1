//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand, builder::RangedU64ValueParser};
use doorward_domain::address::Network;
use doorward_gateway::Uri;

use crate::{
    client,
    config::{self, ConfigError, Loaded, LogFormat, LogLevel, Sources},
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
    /// Guard an API: check the token of each request, wherever it is, and hand the request on
    Gateway(Gateway),
    /// Make the data folder with the first organisation, one unit and one administrator
    Init(Init),
    /// Copy the data into one file, while the server goes on
    Backup(Backup),
    /// Make the data folder from a backup; all sessions end
    Restore(Restore),
    /// Move all data to PostgreSQL, live tokens included; the server must be stopped
    Migrate(Migrate),
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
    after_help = "The token is looked for in 'Authorization: Bearer', in the parameter 'token' of the address and in \
                  the member 'token' of a JSON body; it is taken out, and the API learns from the headers X-Auth-* whom it \
                  speaks for. SIGHUP makes the gateway read its TLS certificate and key again. docs/gateway.md has \
                  the file of routes.\n\n\
                  Example: doorward gateway --upstream http://127.0.0.1:3000"
)]
pub(crate) struct Gateway {
    /// The API to be guarded, all of it alike
    #[arg(long, value_name = "URL", required_unless_present = "routes")]
    pub(crate) upstream: Option<String>,
    /// A file with routes to several APIs and what each demands
    #[arg(long, value_name = "FILE", conflicts_with_all = ["upstream", "refuse_with_200"])]
    pub(crate) routes: Option<PathBuf>,
    /// The address that callers reach
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8090")]
    pub(crate) listen: SocketAddr,
    /// The address for operators, with /livez and /readyz [default: none]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen_admin: Option<SocketAddr>,
    /// The API listener of Doorward
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = doorward_address)]
    pub(crate) doorward: Uri,
    /// Addresses of the proxies in front of the gateway whose X-Forwarded-For is believed [default: none]
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    pub(crate) trusted_proxies: Vec<Network>,
    /// PEM file with the certificate chain; together with --tls-key it turns TLS on
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// PEM file with the private key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Trust the APIs and Doorward if their certificates are of this PEM file or signed by one of it
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_certificate: Option<PathBuf>,
    /// Answer refusals with status 200, for clients that look at the code in the envelope only
    #[arg(long)]
    pub(crate) refuse_with_200: bool,
    /// How many bytes of a JSON body are looked at for a token
    #[arg(long, value_name = "BYTES", default_value_t = 65_536, value_parser = RangedU64ValueParser::<usize>::new().range(1_024..=16_777_216))]
    pub(crate) body_limit: usize,
    /// Time for a connection to an API or to Doorward to be made
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub(crate) connect_timeout: humantime::Duration,
    /// Time for Doorward to answer; later the request is answered 503
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub(crate) check_timeout: humantime::Duration,
    /// Time from the end of a request to the beginning of the API's answer; later it is answered 504
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) first_byte_timeout: humantime::Duration,
    /// Longest pause within a body, either way, and of a client that takes nothing of its answer
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(crate) idle_timeout: humantime::Duration,
    /// Time for the head of a request to arrive, and for the beginning of a body in which the token must be
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) header_timeout: humantime::Duration,
    /// Most connections at a time; further ones are closed
    #[arg(long, value_name = "NUMBER", default_value_t = 4_096, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(crate) max_connections: usize,
    /// Most requests at a time; further ones are answered 503
    #[arg(long, value_name = "NUMBER", default_value_t = 1_024, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(crate) max_requests: usize,
    /// Most WebSockets at a time; further ones are answered 503
    #[arg(long, value_name = "NUMBER", default_value_t = 1_024, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(crate) max_websockets: usize,
    /// The form of log lines
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// The least severity that is logged
    #[arg(long, value_enum, default_value = "info")]
    pub(crate) log_level: LogLevel,
}

/// Reads the address of Doorward.
fn doorward_address(text: &str) -> Result<Uri, String> {
    let remedy = "write it as http://host:port or https://host";
    let uri: Uri = text.parse().map_err(|_| format!("it is no address; {remedy}"))?;
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_http || authority.is_empty() || authority.contains('@') || uri.query().is_some() {
        return Err(format!("it is no HTTP address, or has more than host, port and path; {remedy}"));
    }
    Ok(uri)
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
#[command(
    after_help = "Run it on the server's machine, as the server's user. The database must be there, with no data of \
                  Doorward's in it. It has all data, compared row by row, when the command ends well, and none \
                  otherwise. The folder stays as it is.\n\n\
                  Example: doorward migrate --from sqlite:doorward-data --to postgres://doorward@db1/doorward \
                  --password-file /run/secrets/postgres"
)]
pub(crate) struct Migrate {
    /// The data folder [default: the configured one]
    #[arg(long, value_name = "sqlite:FOLDER", conflicts_with = "data")]
    pub(crate) from: Option<String>,
    /// The database, with no password in it [default: `storage.url`, with all that is configured of it]
    #[arg(long, value_name = "postgres://USER@HOST:PORT/DATABASE")]
    pub(crate) to: Option<String>,
    /// A file with the password for --to
    #[arg(long, value_name = "FILE", requires = "to")]
    pub(crate) password_file: Option<PathBuf>,
    /// A PEM file with the certificates that PostgreSQL's must come from [default: those that the system trusts]
    #[arg(long, value_name = "FILE", requires = "to")]
    pub(crate) ca_file: Option<PathBuf>,
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
        let storage = self.set.iter().filter(|pair| pair.starts_with("storage."));
        let storage: String = storage.map(|pair| format!(" --set '{pair}'")).collect();
        config.unwrap_or_default() + &data.unwrap_or_default() + &storage
    }

    /// Loads the configuration with these flags on top.
    pub(crate) fn load(&self) -> anyhow::Result<Loaded> {
        self.load_with(Vec::new())
    }

    /// As [`Self::load`], with flags of the command's own on top of these: text, key and value of each.
    pub(crate) fn load_with(&self, own: Vec<(String, String, String)>) -> anyhow::Result<Loaded> {
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
        flags.extend(own);
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
