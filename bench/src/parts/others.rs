//! Parts that a program of their own measures, of which this reports what it prints.

use std::process::{Command, Stdio};

use anyhow::ensure;

use crate::{
    ground::Ground,
    parts::Part,
    report::Section,
    target::{cluster, scratch_folder},
};

/// What goes wrong on a grand scale.
pub(super) fn storms(ground: &Ground) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["storm", "--rounds", &ground.args.rounds.to_string()]);
    command.args(["--seconds", &ground.args.seconds.to_string()]);
    let about = "Quiet and stormy spells take turns; docs/operations.md says what each storm is.";
    report(ground, Part::Storms, "Storms", about, command)
}

/// Lists, look-ups and endings with many users.
pub(super) fn administration(ground: &Ground) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["administration", "--folder"]).arg(scratch_folder(ground, "administration")?);
    if ground.args.quick {
        command.args(["--users", "20000", "--organisations", "100"]);
    }
    let about = "1,000,000 users in 1,000 organisations, a tenth of them in the one that is asked about, where one user has \
                 100,000 sessions (20,000 in 100 with `--quick`): everything but HTTP.";
    report(ground, Part::Administration, "Administration", about, command)
}

/// Whether time tells why a login fails.
pub(super) fn timing(ground: &Ground) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["timing", "--folder"]).arg(scratch_folder(ground, "timing")?);
    if ground.args.quick {
        command.args(["--logins", "800"]);
    }
    let about = "Logins one by one in random order, the slowest twentieth of each kind left out, each kind against a wrong \
                 password by Welch's t. Row C5 of the security requirements asks for less than 5 over 10,000 logins.";
    report(ground, Part::Timing, "Whether time tells why a login fails", about, command)
}

/// Three instances on PostgreSQL.
pub(super) fn clustered(ground: &Ground) -> anyhow::Result<()> {
    let mut command = Command::new(cluster());
    command.env("PAIRS", ground.args.rounds.to_string()).env("SECONDS_EACH", ground.args.seconds.to_string());
    command.env("TOKENS", "500");
    let about = "Three instances of the demonstration on a PostgreSQL of their own, as Debian configures it, beside one on \
                 SQLite; all of it, and the load, on the same cores.";
    report(ground, Part::Cluster, "Three instances on PostgreSQL", about, command)
}

fn report(ground: &Ground, part: Part, title: &str, about: &str, mut command: Command) -> anyhow::Result<()> {
    let mut section = Section::new(part, title);
    section.paragraph(about);
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{command:?} has failed");
    section.paragraph(String::from_utf8_lossy(&output.stdout).trim());
    section.finish(ground)
}
