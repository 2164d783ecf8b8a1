//! Which cores servers and load have, so that neither takes the other's: one for what is measured, the next for what loads it.

use std::{ffi::OsStr, fs, process::Command};

/// The cores of this run.
pub(crate) struct Cores {
    /// For servers.
    pub(crate) server: String,
    /// For the load.
    pub(crate) load: String,
    /// How many this process may use.
    pub(crate) count: usize,
}

impl Cores {
    /// The first two that this process may use. With one alone everything shares it.
    pub(crate) fn allowed() -> anyhow::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0");
        let cores: Vec<u32> = list.trim().split(',').flat_map(range).collect();
        let at = |place: usize| cores.get(place).or(cores.first()).copied().unwrap_or(0).to_string();
        Ok(Self { server: at(0), load: at(1), count: cores.len() })
    }

    /// All of them, as a list.
    pub(crate) fn both(&self) -> String {
        format!("{},{}", self.server, self.load)
    }
}

fn range(part: &str) -> std::ops::RangeInclusive<u32> {
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    first.parse().unwrap_or(0)..=last.parse().unwrap_or(0)
}

/// A command that runs on these cores and ends with this process, however this one ends.
pub(crate) fn pinned(cores: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "--cpu-list", cores]).arg(program);
    command
}
