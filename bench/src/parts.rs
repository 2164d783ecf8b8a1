//! The parts of `bench/run`, each a question with its answer as a section of the report.

mod verify;

use std::fs;

use clap::ValueEnum;

use crate::ground::{Args, Ground};

/// A part.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Part {
    /// A verification beside a fixed answer, a bare loop and redis-server
    Verify,
}

impl Part {
    pub(crate) const ALL: [Self; 1] = [Self::Verify];

    /// The file of its section.
    pub(crate) fn file(self) -> String {
        let name = self.to_possible_value().map(|it| it.get_name().to_owned());
        format!("{}.md", name.unwrap_or_default())
    }

    fn measure(self, ground: &Ground) -> anyhow::Result<()> {
        match self {
            Self::Verify => verify::measure(ground),
        }
    }
}

/// Measures the parts that were asked for, or all.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let ground = Ground::prepare(args.clone())?;
    let asked = if args.parts.is_empty() { Part::ALL.to_vec() } else { args.parts.clone() };
    for part in Part::ALL.into_iter().filter(|part| asked.contains(part)) {
        part.measure(&ground)?;
    }
    let report = fs::canonicalize(ground.out.join("report.md"))?;
    println!("The report is {}", report.display());
    Ok(())
}
