//! What `bench/run` runs: `run` measures and reports, and starts the others of these as processes of their own; `administration`
//! and `timing` measure by themselves and print a table.

mod administration;
mod ask;
mod chart;
mod ground;
mod hash;
mod load;
mod parts;
mod pinning;
mod population;
mod product;
mod report;
mod statistics;
mod storm;
mod system;
mod target;
mod timing;
mod yardstick;

use clap::Parser;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

#[derive(Parser)]
enum Command {
    /// Measure, and write a report
    Run(ground::Args),
    /// Fill a data folder with users and live sessions
    Fill(population::Args),
    /// Serve what the product is set beside, until killed
    Yardstick(yardstick::Args),
    /// Measure lists, look-ups and endings with many users
    Administration(administration::Args),
    /// Compare the time of logins that fail for different reasons
    Timing(timing::Args),
    /// Measure `doorward serve` through floods, full disks and slow ones
    Storm(storm::Args),
    /// Count bare Argon2 hashes on all cores
    Hash(hash::Args),
}

fn main() -> anyhow::Result<()> {
    let command = Command::parse();
    // As `serve` does: what it would not log costs what it costs there.
    let filter = Targets::new().with_default(LevelFilter::WARN).with_target("doorward", LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    tracing_subscriber::registry().with(lines).init();

    match command {
        Command::Run(args) => parts::run(&args),
        Command::Fill(args) => population::run(&args),
        Command::Yardstick(args) => yardstick::run(&args),
        Command::Administration(args) => administration::run(&args),
        Command::Timing(args) => timing::run(&args),
        Command::Storm(args) => storm::run(&args),
        Command::Hash(args) => hash::run(&args),
    }
}
