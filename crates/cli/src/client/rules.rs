//! `doorward rules`.

use anyhow::bail;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value};

use super::{
    connection::{Answer, Call, Flags},
    output::{self, Format, plain},
    things::Work,
};
use crate::args::WrongUse;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    doorward rules show\n  \
    doorward rules set passwords.min_length=20 addresses.allow='10.0.*.*,10.1.0.0/16'\n  \
    doorward rules reset passwords.min_length")]
pub(crate) struct Rules {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the rules of an organisation, and where each comes from
    Show,
    /// Give an organisation rules of its own
    Set {
        /// A rule with its value
        #[arg(required = true, value_name = "NAME=VALUE")]
        rules: Vec<String>,
    },
    /// Give rules back to the server's configuration
    Reset {
        /// The name of a rule
        #[arg(required = true, value_name = "NAME")]
        rules: Vec<String>,
    },
}

pub(super) async fn run(args: Rules) -> anyhow::Result<()> {
    let mut body = Map::new();
    match args.command {
        Command::Show => {}
        Command::Set { rules } => {
            for rule in rules {
                let Some((name, value)) = rule.split_once('=') else {
                    let rule = plain(&rule);
                    bail!(WrongUse(format!("'{rule}' has no '='; write it as in passwords.min_length=20")));
                };
                // The server reads numbers, times and lists from their texts.
                body.insert(name.trim().to_owned(), Value::from(value.trim()));
            }
        }
        Command::Reset { rules } => body.extend(rules.into_iter().map(|name| (name, Value::Null))),
    }
    let work = Work::on(&args.flags).await?;
    let path = ["admin", "v1", "organisations", &work.organisation, "rules"];
    let call = match body.is_empty() {
        true => Call::get(path),
        false => Call::new(Method::PATCH, path).body(Value::Object(body)),
    };
    let answer = work.send(call).await?;
    print(&work, &answer)
}

fn print(work: &Work, answer: &Answer) -> anyhow::Result<()> {
    if work.format == Format::Json {
        return output::json(&answer.text);
    }
    let now = output::now();
    let rules = answer.json["rules"].as_object().cloned().unwrap_or_default();
    let row = |(name, rule): (String, Value)| {
        let member = |name: &str| output::member(name, &rule[name], now, false);
        let value = match &rule["value"] {
            Value::Bool(flag) => flag.to_string(),
            _ => member("value"),
        };
        vec![plain(&name), value, member("source")]
    };
    output::table(&["rule", "value", "from"], rules.into_iter().map(row))
}
