//! `doorward backup`: the data in one file, while the server goes on.

use std::{io::IsTerminal, path::Path, time::Duration};

use anyhow::bail;
use doorward_domain::clock::{TimeSource, Timestamp};
use doorward_storage::{BackedUp, Contents, Step};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::{
    args::{Backup, WrongUse},
    store,
    system::SystemTime,
};

pub(crate) fn run(args: &Backup) -> anyhow::Result<()> {
    let config = args.flags.load()?.config;
    store::only_in_a_folder(
        &config,
        "back it up as you do other databases, with pg_dump or with base backups",
    )?;
    check_path(&args.file)?;
    let began = SystemTime.steady();
    let progress = Progress::new("Copying");
    let made = doorward_storage::backup(&config.data, &args.file, &mut |step| progress.tell(step));
    progress.clear();
    let BackedUp { bytes, contents } = made?;
    // Not to the last digit, which nobody wants to know.
    let took = Duration::from_millis((SystemTime.steady() - began).as_millis().try_into().unwrap_or(0));
    crate::print(&format!(
        "{} is a backup of {}: {}, {}; checked; took {}\n",
        args.file.display(),
        config.data.display(),
        HumanBytes(bytes),
        what_is_in_it(&contents),
        humantime::format_duration(took),
    ))
}

/// A path that a command line is likely to have by mistake.
fn check_path(file: &Path) -> anyhow::Result<()> {
    if file == Path::new("-") {
        bail!(WrongUse(
            "a backup is checked when it is complete and cannot be written to standard output; name a file"
                .to_owned()
        ));
    }
    Ok(())
}

/// The contents in numbers.
pub(crate) fn what_is_in_it(contents: &Contents) -> String {
    let Contents { organisations, users, sessions, .. } = contents;
    let count = |number: u64, one: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    };
    let [organisations, users, sessions] =
        [count(*organisations, "organisation"), count(*users, "user"), count(*sessions, "session")];
    format!("{organisations}, {users}, {sessions}")
}

/// A time as people read it.
pub(crate) fn time(at: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A bar on a terminal; nothing where nobody watches.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(what: &'static str) -> Self {
        let progress = Self::with("{msg} [{wide_bar}] {bytes} of {total_bytes}");
        progress.0.set_message(what);
        progress
    }

    /// One that counts rows.
    pub(crate) fn of_rows() -> Self {
        Self::with("{msg} [{wide_bar}] {human_pos} of {human_len}")
    }

    fn with(template: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        Self(bar)
    }

    pub(crate) fn tell(&self, step: Step) {
        match step {
            Step::Copying { done, total } => {
                self.0.set_length(total);
                self.0.set_position(done);
            }
            Step::Checking => self.0.set_message("Checking"),
        }
    }

    pub(crate) fn tell_rows(&self, what: String, done: u64, total: u64) {
        self.0.set_message(what);
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// Leaves the terminal as it was.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
