//! `doorward token`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    connection::{Call, Connection, Flags, Target, TokenOrigin},
    login::{self, Credentials},
    output::{self, Format},
    prompt, stored,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    TOKEN=$(doorward token issue --organisation ACME --username zoe)\n  \
    doorward token issue --key-stdin < key.txt\n  \
    doorward token show\n  \
    doorward token explain\n  \
    echo $TOKEN | doorward token release --token-stdin")]
pub(crate) struct Tokens {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Log in and print the token, and nothing else; nothing is stored
    Issue(Credentials),
    /// Show whom a token speaks for and when it ends; this is not a use of it
    Show(Which),
    /// Tell why a token is or is not in force, who ended it and when; for administrators
    Explain {
        /// Read the token from the first line of standard input instead of asking for it
        #[arg(long)]
        token_stdin: bool,
        /// Tell also whether the rules give tokens like it to this address
        #[arg(long, value_name = "ADDRESS")]
        address: Option<String>,
    },
    /// End a token
    Release(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// Read the token from the first line of standard input [default: DOORWARD_TOKEN, or the stored login]
    #[arg(long)]
    token_stdin: bool,
}

impl Which {
    fn connect(&self, target: &Target) -> anyhow::Result<Connection> {
        if !self.token_stdin {
            return target.connect_with_token();
        }
        let mut connection = target.connect()?;
        connection.token = Some(prompt::secret_line("token")?);
        Ok(connection)
    }
}

pub(super) async fn run(args: Tokens) -> anyhow::Result<()> {
    let target = Target::of(&args.flags)?;
    match args.command {
        Command::Issue(credentials) => {
            let answer = login::issue(&target, &target.connect()?, &args.flags, &credentials).await?;
            match args.flags.output {
                Format::Json => output::json(&answer.text),
                Format::Table => crate::print(&format!("{}\n", output::plain(&login::token(&answer)?))),
            }
        }
        Command::Show(which) => {
            let answer = which.connect(&target)?.send(Call::get(["authentication", "token"])).await?;
            if args.flags.output == Format::Json {
                return output::json(&answer.text);
            }
            let mut data = answer.json["data"].clone();
            for named in ["organisation", "unit", "user"] {
                let text = |member: &str| data[named][member].as_str().unwrap_or_default().to_owned();
                data[named] = Value::from(format!("{} ({})", text("name"), text("id")));
            }
            let order = ["organisation", "unit", "user", "method", "issued_at", "last_used_at", "expires_at"];
            output::record(output::members(&data, &order, output::now()))
        }
        Command::Explain { token_stdin, address } => {
            let token = if token_stdin {
                prompt::secret_line("token")?
            } else {
                prompt::secret("Token", "--token-stdin")?
            };
            let mut body = json!({"token": token});
            if let Some(address) = address {
                body["address"] = address.into();
            }
            let call = Call::post(["admin", "v1", "tokens", "explain"], body);
            let answer = target.connect_with_token()?.send(call).await?;
            if args.flags.output == Format::Json {
                return output::json(&answer.text);
            }
            let mut explanation = answer.json;
            for named in ["organisation", "unit", "user", "key", "ended_by"] {
                let text = |member: &str| explanation[named][member].as_str().map(str::to_owned);
                if let Some(id) = text("id") {
                    let name = text("name").map_or_else(|| id.clone(), |name| format!("{name} ({id})"));
                    explanation[named] = name.into();
                }
            }
            if let Some(members) = explanation.as_object_mut() {
                members.retain(|_, value| !value.is_null());
            }
            let order = [
                "valid",
                "reason",
                "detail",
                "ended_at",
                "ended_by",
                "organisation",
                "unit",
                "user",
                "method",
                "key",
                "issued_at",
                "last_used_at",
                "expires_at",
            ];
            output::record(output::members(&explanation, &order, output::now()))
        }
        Command::Release(which) => {
            let connection = which.connect(&target)?;
            let token = connection.token.clone().unwrap_or_default();
            let answer = login::release(&connection, &token).await?;
            let is_stored = connection.origin == TokenOrigin::Stored
                || target.stored().is_some_and(|login| login.token == token);
            if is_stored {
                stored::forget()?;
            }
            match args.flags.output {
                Format::Json => output::json(&answer.text),
                Format::Table => crate::print("The token is released.\n"),
            }
        }
    }
}
