//! `doorward unit`.

use clap::{Args, Subcommand};

use super::{
    connection::Flags,
    prompt,
    things::{Body, Consent, Paging, UNIT, Work},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    doorward unit create Warehouse\n  \
    doorward unit list --prefix war --output json\n  \
    doorward unit update Warehouse --name 'Warehouse North'")]
pub(crate) struct Units {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List units
    List {
        /// Those whose name begins so
        #[arg(long, value_name = "TEXT")]
        prefix: Option<String>,
        /// Those of this status
        #[arg(long, value_parser = ["active", "disabled"])]
        status: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a unit
    Show {
        /// Its name or id
        unit: String,
    },
    /// Create a unit
    Create {
        /// Its name
        name: String,
        /// Its id, if it has one elsewhere already
        #[arg(long)]
        id: Option<String>,
    },
    /// Change a unit
    Update {
        /// Its name or id
        unit: String,
        /// Another name
        #[arg(long)]
        name: Option<String>,
    },
    /// Disable a unit: its tokens end, and it gets no new ones
    Disable {
        /// Its name or id
        unit: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Enable a unit again
    Enable {
        /// Its name or id
        unit: String,
    },
    /// Delete a unit
    Delete {
        /// Its name or id
        unit: String,
        #[command(flatten)]
        consent: Consent,
    },
}

pub(super) async fn run(args: Units) -> anyhow::Result<()> {
    let work = Work::on(&args.flags).await?;
    match args.command {
        Command::List { prefix, status, paging } => {
            work.list(&UNIT, vec![("prefix", prefix), ("status", status)], &paging).await
        }
        Command::Show { unit } => work.show(&UNIT, &unit).await,
        Command::Create { name, id } => {
            let body = Body::default().with("name", Some(name)).with("id", id);
            let created = work.create(&UNIT, body.json()).await?;
            work.print(&UNIT, &created)
        }
        Command::Update { unit, name } => {
            work.update(&UNIT, &unit, Body::default().with("name", name).change()?).await
        }
        Command::Disable { unit, consent } => {
            let deed = format!("disable {} and end its tokens", work.called(&UNIT, &unit));
            prompt::confirm(consent.yes, &deed, "yes")?;
            work.set_status(&UNIT, &unit, "disabled").await
        }
        Command::Enable { unit } => work.set_status(&UNIT, &unit, "active").await,
        Command::Delete { unit, consent } => work.delete(&UNIT, &unit, &consent).await,
    }
}
