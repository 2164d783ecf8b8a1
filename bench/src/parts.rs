//! The parts of `bench/run`, each a question with its answer as a section of the report.

mod growth;
mod inside;
mod issue;
mod others;
mod peers;
mod scale;
mod verify;

use std::fs;

use clap::ValueEnum;

use crate::ground::{Args, Ground};

/// A part.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Part {
    /// A verification beside a fixed answer, a bare loop and redis-server
    Verify,
    /// What is inside a verification, without HTTP
    Inside,
    /// Sessions, connections, memory, start and backup by powers of ten
    Scale,
    /// The products of others that do the same job
    Peers,
    /// Tokens issued and released, and logins with a password
    Issue,
    /// More organisations, users and keys
    Growth,
    /// Floods, and disks that are full or slow
    Storms,
    /// Lists, look-ups and endings with a million users
    Administration,
    /// Whether the time of a login tells why it fails
    Timing,
    /// Three instances on PostgreSQL
    Cluster,
}

impl Part {
    pub(crate) const ALL: [Self; 10] = [
        Self::Verify,
        Self::Inside,
        Self::Scale,
        Self::Peers,
        Self::Issue,
        Self::Growth,
        Self::Storms,
        Self::Administration,
        Self::Timing,
        Self::Cluster,
    ];

    /// The file of its section.
    pub(crate) fn file(self) -> String {
        let name = self.to_possible_value().map(|it| it.get_name().to_owned());
        format!("{}.md", name.unwrap_or_default())
    }

    fn measure(self, ground: &Ground) -> anyhow::Result<()> {
        match self {
            Self::Verify => verify::measure(ground),
            Self::Inside => inside::measure(ground),
            Self::Scale => scale::measure(ground),
            Self::Peers => peers::measure(ground),
            Self::Issue => issue::measure(ground),
            Self::Growth => growth::measure(ground),
            Self::Storms => others::storms(ground),
            Self::Administration => others::administration(ground),
            Self::Timing => others::timing(ground),
            Self::Cluster => others::clustered(ground),
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
