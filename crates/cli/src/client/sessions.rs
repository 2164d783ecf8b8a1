//! `doorward session`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    connection::{Call, Flags},
    output::plain,
    prompt,
    things::{Consent, KEY, Kind, Paging, SESSION, UNIT, USER, Work},
};

#[derive(Debug, Args)]
#[command(after_help = "A session is what stands behind a token.\n\n\
    Examples:\n  \
    doorward session list --user zoe\n  \
    doorward session end --user zoe\n  \
    doorward session end --all --yes")]
pub(crate) struct Sessions {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List live sessions
    List {
        /// Those of this user
        #[arg(long, value_name = "NAME|ID")]
        user: Option<String>,
        /// Those in this unit
        #[arg(long, value_name = "NAME|ID")]
        unit: Option<String>,
        /// Those got with this Web API key
        #[arg(long, value_name = "NAME|ID")]
        key: Option<String>,
        /// Those got in this way
        #[arg(long, value_parser = ["password", "web_api_key"])]
        method: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// End sessions: their tokens are accepted no more once this returns
    End {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The session of this id
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// All sessions of this user
    #[arg(long, value_name = "NAME|ID")]
    user: Option<String>,
    /// All sessions in this unit
    #[arg(long, value_name = "NAME|ID")]
    unit: Option<String>,
    /// All sessions got with this Web API key
    #[arg(long, value_name = "NAME|ID")]
    key: Option<String>,
    /// All sessions of the organisation, one's own among them
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(args: Sessions) -> anyhow::Result<()> {
    let work = Work::on(&args.flags).await?;
    match args.command {
        Command::List { user, unit, key, method, paging } => {
            let query = vec![
                ("user", work.find_given(&USER, user.as_ref()).await?),
                ("unit", work.find_given(&UNIT, unit.as_ref()).await?),
                ("key", work.find_given(&KEY, key.as_ref()).await?),
                ("method", method),
            ];
            work.list(&SESSION, query, &paging).await
        }
        Command::End { which, consent } => end(&work, which, &consent).await,
    }
}

async fn end(work: &Work, which: Which, consent: &Consent) -> anyhow::Result<()> {
    let Which { session, user, unit, key, .. } = which;
    let named: Option<(&Kind, String)> = [(&SESSION, session), (&USER, user), (&UNIT, unit), (&KEY, key)]
        .into_iter()
        .find_map(|(kind, thing)| thing.map(|thing| (kind, thing)));
    let Some((kind, thing)) = named else {
        let organisation = plain(&work.organisation);
        prompt::confirm(consent.yes, &format!("end all sessions of {organisation}"), "yes")?;
        let answer = work.send(end_call(work, json!({"all": true}))).await?;
        return work.done(&answer, &format!("all sessions of {organisation} have ended"));
    };
    let id = if kind.path == SESSION.path { thing.clone() } else { work.find(kind, &thing).await? };
    if kind.path == UNIT.path {
        let deed = format!("end all sessions in {}", work.called(kind, &thing));
        prompt::confirm(consent.yes, &deed, "yes")?;
    }
    let answer = work.send_about(kind, &thing, end_call(work, json!({kind.word: id}))).await?;
    let sentence = match kind.path == SESSION.path {
        true => format!("session {} has ended", plain(&thing)),
        false => format!("the sessions of {} {} have ended", kind.word, plain(&thing)),
    };
    work.done(&answer, &sentence)
}

fn end_call(work: &Work, body: serde_json::Value) -> Call<'_> {
    Call::post(work.path(&SESSION, &["end"]), body)
}
