//! `doorward restore`: the data folder out of a backup.

use doorward_domain::{
    audit::{AuditRecord, Event, Origin, Reason},
    clock::Clock,
};
use doorward_storage::{Kind, Restored};

use crate::{
    args::Restore,
    backup::{Progress, time, what_is_in_it},
    store,
    system::SystemTime,
};

pub(crate) fn run(args: &Restore) -> anyhow::Result<()> {
    let config = args.flags.load()?.config;
    store::only_in_a_folder(
        &config,
        "restore it with PostgreSQL's own tools, and then end all sessions with 'doorward session end --all' in each \
         organisation, for what was released since the backup would be in force again",
    )?;
    let clock = Clock::new(SystemTime);
    let progress = Progress::new("Restoring");
    let record = |latest: Option<_>| {
        if let Some(latest) = latest {
            clock.not_before(latest);
        }
        AuditRecord::new(clock.now(), Event::Restored, Reason::Ok, &Origin::default())
    };
    let restored =
        doorward_storage::restore(&args.file, &config.data, record, &mut |step| progress.tell(step));
    progress.clear();
    let Restored { store, contents, from_schema } = restored?;

    let mut told = format!("{} holds {}", config.data.display(), what_is_in_it(&contents));
    if let Some(latest) = contents.latest {
        told += &format!(", as they were at about {}", time(latest));
    }
    told += &format!(
        ".\nAll sessions were ended ({}): a token that was released after the backup was made would be in force again.\n\
         Passwords, keys and who is disabled are as they were then; disable again whom you have disabled since.\n",
        contents.sessions
    );
    if let Some(from) = from_schema {
        told += &format!("The data were brought up to date from schema {from}.\n");
    }
    let demo = if store.kind() == Kind::Demo { " --demo" } else { "" };
    told += &format!("Next: doorward serve{demo}{}\n", args.flags.repeated());
    crate::print(&told)
}
