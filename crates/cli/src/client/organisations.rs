//! `doorward organisation`.

use clap::{Args, Subcommand};
use reqwest::Method;

use super::{
    connection::{Call, Flags},
    output::plain,
    prompt,
    things::{Body, Consent, ORGANISATION, Paging, Work, is_id},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    doorward organisation create ACME --name 'Acme Ltd'\n  \
    doorward organisation list --status suspended\n  \
    doorward organisation suspend ACME --yes")]
pub(crate) struct Organisations {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List organisations
    List {
        /// Those whose code begins so
        #[arg(long, value_name = "TEXT")]
        prefix: Option<String>,
        /// Those of this status
        #[arg(long, value_parser = ["active", "suspended"])]
        status: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show an organisation
    Show {
        /// Its code or id
        code: String,
    },
    /// Create an organisation
    Create {
        /// The code that its users log in on
        code: String,
        /// What people call it [default: its code]
        #[arg(long)]
        name: Option<String>,
        /// Its id, if it has one elsewhere already
        #[arg(long)]
        id: Option<String>,
    },
    /// Change an organisation
    Update {
        /// Its code or id
        code: String,
        /// Another code
        #[arg(long, value_name = "CODE")]
        new_code: Option<String>,
        /// Another name
        #[arg(long)]
        name: Option<String>,
    },
    /// Suspend an organisation: its tokens end, and it gets no new ones
    Suspend {
        /// Its code or id
        code: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// End the suspension of an organisation
    Activate {
        /// Its code or id
        code: String,
    },
    /// Delete an organisation with all it has
    Delete {
        /// Its code or id
        code: String,
        #[command(flatten)]
        consent: Consent,
    },
}

pub(super) async fn run(args: Organisations) -> anyhow::Result<()> {
    let mut work = Work::on(&args.flags).await?;
    match args.command {
        Command::List { prefix, status, paging } => {
            work.list(&ORGANISATION, vec![("prefix", prefix), ("status", status)], &paging).await
        }
        Command::Show { code } => work.show(&ORGANISATION, &code).await,
        Command::Create { code, name, id } => {
            let body = Body::default().with("code", Some(code)).with("name", name).with("id", id);
            let created = work.create(&ORGANISATION, body.json()).await?;
            work.print(&ORGANISATION, &created)
        }
        Command::Update { code, new_code, name } => {
            let body = Body::default().with("code", new_code).with("name", name).change()?;
            work.update(&ORGANISATION, &code, body).await
        }
        Command::Suspend { code, consent } => {
            let deed = format!("suspend the organisation {} and end all its tokens", plain(&code));
            prompt::confirm(consent.yes, &deed, "yes")?;
            work.set_status(&ORGANISATION, &code, "suspended").await
        }
        Command::Activate { code } => work.set_status(&ORGANISATION, &code, "active").await,
        Command::Delete { code, consent } => {
            // The server wants the code besides the id, for the same reason as the question.
            let known = if is_id(&code) {
                let found = work.get(&ORGANISATION, &code).await?;
                found.json["code"].as_str().unwrap_or_default().to_owned()
            } else {
                code.clone()
            };
            let deed = format!(
                "delete the organisation {} with all its units, users, keys and tokens, for good",
                plain(&known)
            );
            prompt::confirm(consent.yes, &deed, &known)?;
            work.organisation.clone_from(&code);
            let call = Call::new(Method::DELETE, work.path(&ORGANISATION, &[&code]));
            let answer = work.send_about(&ORGANISATION, &code, call.query(vec![("code", known)])).await?;
            work.done(&answer, &format!("organisation {} is deleted", plain(&code)))
        }
    }
}
