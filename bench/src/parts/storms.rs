//! What goes wrong on a grand scale: `doorward-bench storm` measures, this reports.

use std::process::{Command, Stdio};

use anyhow::ensure;

use crate::{ground::Ground, parts::Part, report::Section};

pub(super) fn measure(ground: &Ground) -> anyhow::Result<()> {
    let mut section = Section::new(Part::Storms, "Storms");
    section.paragraph("Quiet and stormy spells take turns; docs/operations.md says what each storm is.");
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["storm", "--rounds", &ground.args.rounds.to_string()]);
    command.args(["--seconds", &ground.args.seconds.to_string()]);
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the storms could not be measured");
    section.paragraph(String::from_utf8_lossy(&output.stdout).trim());
    section.finish(ground)
}
