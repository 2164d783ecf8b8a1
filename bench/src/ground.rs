//! Where a run stands: its arguments, its cores, its folders.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    load::{RESULT, SCRIPTS},
    parts::Part,
    pinning::{Cores, pinned},
    population::{self, OPERATOR_KEY},
};

/// What a filled folder holds; a new number when `population` fills it otherwise.
const POPULATION: u32 = 2;
/// How many organisations there are, where nothing else is said.
const ORGANISATIONS: u32 = 100;
/// A filled folder is not used for longer than this: its sessions end.
const STALE: Duration = Duration::from_hours(20 * 24);

#[derive(Clone, clap::Args)]
#[command(
    bin_name = "bench/run",
    after_help = "Each part writes its tables to target/bench/PART.md with pictures beside it, and all that are there \
                  to target/bench/report.md. Filled data folders stay in target/bench/folders for the next time.\n\n\
                  Example: bench/run verify --rounds 3"
)]
pub(crate) struct Args {
    /// What to measure; everything if nothing is named
    #[arg(value_enum, value_name = "PART")]
    pub(crate) parts: Vec<Part>,
    /// Fewer and shorter rounds with fewer sessions, to see whether it works: 2 rounds of 2 s, 100,000 sessions
    #[arg(long)]
    pub(crate) quick: bool,
    /// How often everything is measured
    #[arg(long, default_value_t = 5, default_value_if("quick", "true", "2"), value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// How long one run lasts
    #[arg(long, default_value_t = 5, default_value_if("quick", "true", "2"), value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// How many connections ask at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// How many sessions are live
    #[arg(long, default_value_t = 1_000_000, default_value_if("quick", "true", "100000"), value_parser = clap::value_parser!(u32).range(1_000..))]
    pub(crate) sessions: u32,
    /// Up to how many sessions `scale` goes
    #[arg(long, default_value_t = 1_000_000, default_value_if("quick", "true", "100000"), value_parser = clap::value_parser!(u32).range(10_000..))]
    pub(crate) sessions_up_to: u32,
    /// The folder for the report
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
}

/// A run of `bench/run`.
pub(crate) struct Ground {
    pub(crate) args: Args,
    pub(crate) cores: Cores,
    /// The product.
    pub(crate) doorward: PathBuf,
    /// For what lasts no longer than the run.
    pub(crate) scratch: PathBuf,
    /// For the report.
    pub(crate) out: PathBuf,
    /// For filled folders.
    folders: PathBuf,
}

impl Ground {
    pub(crate) fn prepare(args: Args) -> anyhow::Result<Self> {
        let here = std::env::current_exe()?;
        let built = here.parent().context("the program is in a folder")?;
        let doorward = built.join("doorward");
        ensure!(doorward.exists(), "{} is not built: run bench/run, which does", doorward.display());
        let kept = built.parent().context("target")?.join("bench");
        let scratch = kept.join(format!("scratch-{}", std::process::id()));
        fs::create_dir_all(&scratch)?;
        for (name, text) in SCRIPTS {
            fs::write(scratch.join(name), format!("{text}{RESULT}"))?;
        }
        let out = args.out.clone().unwrap_or_else(|| kept.clone());
        fs::create_dir_all(&out).with_context(|| format!("{} cannot be made", out.display()))?;
        Ok(Self { args, cores: Cores::allowed()?, doorward, scratch, out, folders: kept.join("folders") })
    }

    /// How long a run lasts.
    pub(crate) fn seconds(&self) -> Duration {
        Duration::from_secs(self.args.seconds)
    }

    /// A folder that `doorward-bench fill` has filled, now or in another run.
    pub(crate) fn filled(&self, sessions: u32) -> anyhow::Result<PathBuf> {
        self.filled_with(sessions, ORGANISATIONS)
    }

    /// As [`Self::filled`], with so many organisations.
    pub(crate) fn filled_with(&self, sessions: u32, organisations: u32) -> anyhow::Result<PathBuf> {
        let mut folder = self.folders.join(format!("sessions-{sessions}"));
        if organisations != ORGANISATIONS {
            folder.set_file_name(format!("sessions-{sessions}-organisations-{organisations}"));
        }
        let (data, seal) = (folder.join("data"), folder.join("filled"));
        // The product is in it too: what another version has stored is not what this one would.
        let expected = format!("population {POPULATION}, {}", self.version()?);
        let age = fs::metadata(&seal).and_then(|it| it.modified()).ok().and_then(|it| it.elapsed().ok());
        let is_fresh = age.is_some_and(|age| age < STALE);
        if is_fresh && fs::read_to_string(&seal).is_ok_and(|it| it == expected) {
            return Ok(data);
        }
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        eprintln!("filling {} with {sessions} sessions", data.display());
        let mut command = pinned(&self.cores.both(), std::env::current_exe()?);
        command.args(["fill", "--sessions", &sessions.to_string()]);
        command.args(["--organisations", &organisations.to_string(), "--folder"]).arg(&data);
        ensure!(command.status()?.success(), "the folder could not be filled");
        fs::write(&seal, expected)?;
        Ok(data)
    }

    /// A copy of a filled folder, for what changes it.
    pub(crate) fn copied(&self, filled: &Path) -> anyhow::Result<PathBuf> {
        let to = self.scratch.join("copy");
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        let copied = Command::new("cp").arg("-a").arg(filled).arg(&to).status()?;
        ensure!(copied.success(), "the folder could not be copied");
        Ok(to)
    }

    /// What several runs may share.
    pub(crate) fn kept(&self) -> PathBuf {
        self.folders.with_file_name("kept")
    }

    fn version(&self) -> anyhow::Result<String> {
        said(Command::new(&self.doorward).arg("--version"))
    }

    /// The credentials of the operator organisation's key, for HTTP.
    pub(crate) fn basic(&self) -> String {
        BASE64_STANDARD.encode(format!("{OPERATOR_KEY}:"))
    }

    /// How many users a filled folder has.
    pub(crate) fn users(&self, sessions: u32) -> usize {
        population::users(sessions)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // What is left there is only in the way.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// What a program says, in one line.
pub(crate) fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?} cannot be started"))?;
    let text = [output.stdout, output.stderr].concat();
    match String::from_utf8_lossy(&text).lines().next() {
        Some(line) => Ok(line.trim().to_owned()),
        None => bail!("{command:?} said nothing"),
    }
}

/// The load of the last minute.
pub(crate) fn machine_load() -> String {
    let all = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    all.split(' ').next().unwrap_or("unknown").to_owned()
}

/// What the processor calls itself.
pub(crate) fn processor() -> String {
    let all = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = all.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("a processor");
    name.trim_start_matches([' ', '\t', ':']).to_owned()
}
