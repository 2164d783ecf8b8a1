//! Load by wrk on the core for load, and rounds of it: each round asks every contender once, in turn, and lets none of the
//! others run meanwhile.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail, ensure};

use crate::{ground::Ground, pinning::pinned, statistics::Spread, target::Target};

/// The scripts for wrk, each with what reports its result.
pub(crate) const SCRIPTS: [(&str, &str); 3] = [
    ("requests.lua", include_str!("../requests.lua")),
    ("pairs.lua", include_str!("../pairs.lua")),
    ("logins.lua", include_str!("../logins.lua")),
];
pub(crate) const RESULT: &str = include_str!("../result.lua");

/// What is sent to whom.
pub(crate) struct Contender<'a> {
    /// What the report calls it.
    pub(crate) label: String,
    pub(crate) target: &'a Target,
    pub(crate) path: &'a str,
    /// A script, of ours or by its whole path, and its arguments.
    pub(crate) script: &'a str,
    pub(crate) arguments: Vec<String>,
    pub(crate) connections: u32,
    /// Whether every answer must be a refusal, or none.
    pub(crate) is_refused: bool,
    pub(crate) tool: Tool,
}

/// What sends it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Tool {
    /// HTTP/1.1, by a script.
    Wrk,
    /// HTTP/2, the same request again and again: `arguments` say which.
    H2load,
}

impl<'a> Contender<'a> {
    /// Requests of one kind, as `requests.lua` knows it, with random ones of so many tokens.
    pub(crate) fn requests(
        ground: &Ground,
        label: &str,
        target: &'a Target,
        kind: &str,
        sessions: u32,
    ) -> Self {
        Self {
            label: label.to_owned(),
            target,
            path: "/verify",
            script: "requests.lua",
            arguments: vec![kind.to_owned(), sessions.to_string()],
            connections: ground.args.connections,
            is_refused: kind == "unknown",
            tool: Tool::Wrk,
        }
    }
}

/// What came of one run.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Latencies in seconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// Seconds of the server's processor for a request.
    pub(crate) cpu: f64,
    /// Which part of the time the server had a processor.
    pub(crate) busy: f64,
}

/// The runs of one contender, one a round.
pub(crate) struct Series {
    pub(crate) label: String,
    pub(crate) runs: Vec<Run>,
}

impl Series {
    pub(crate) fn spread(&self, value: impl Fn(&Run) -> f64) -> Spread {
        Spread::of(self.runs.iter().map(value))
    }

    /// A value as a part of another's, round by round.
    pub(crate) fn ratio(&self, other: &Self, value: impl Fn(&Run) -> f64) -> Spread {
        Spread::of(self.runs.iter().zip(&other.runs).map(|(own, theirs)| value(own) / value(theirs)))
    }
}

/// Asks all contenders in turn, a round after the other.
pub(crate) fn rounds(ground: &Ground, contenders: &[Contender<'_>]) -> anyhow::Result<Vec<Series>> {
    let mut series: Vec<Series> =
        contenders.iter().map(|it| Series { label: it.label.clone(), runs: Vec::new() }).collect();
    for contender in contenders {
        contender.target.hold()?;
    }
    for round in 0..=ground.args.rounds {
        for (contender, series) in contenders.iter().zip(&mut series) {
            // The first round warms them up; that many connections are not made at once.
            let warm = Duration::from_secs(2 + u64::from(contender.connections) / 1_000);
            let time = if round == 0 { warm } else { ground.seconds() };
            contender.target.release()?;
            let run = run(ground, contender, time);
            contender.target.hold()?;
            let run = run.with_context(|| contender.label.clone())?;
            if round > 0 {
                eprintln!("  {round} {:<40} {:>8.0}/s {:>6.1} µs", contender.label, run.rate, run.cpu * 1e6);
                series.runs.push(run);
            }
        }
    }
    for contender in contenders {
        contender.target.release()?;
    }
    Ok(series)
}

/// One run of wrk.
pub(crate) fn run(ground: &Ground, contender: &Contender<'_>, time: Duration) -> anyhow::Result<Run> {
    if contender.tool == Tool::H2load {
        return run_h2load(ground, contender, time);
    }
    let Contender { target, path, script, arguments, connections, .. } = contender;
    let script: PathBuf = ground.scratch.join(script); // a whole path stays as it is
    let mut command = pinned(&ground.cores.load, "wrk");
    command.args(["-t", "1", "-c", &connections.to_string(), "-d", &format!("{}s", time.as_secs())]);
    command.arg("--timeout").arg("10s").arg("-s").arg(script).arg(format!("http://{}{path}", target.address));
    let before = target.cpu()?;
    let output = command.arg("--").args(arguments).output().context("wrk cannot be started")?;
    let cpu = target.cpu()?.saturating_sub(before).as_secs_f64();
    let said = String::from_utf8_lossy(&output.stdout);
    let result = said.lines().find_map(|line| line.strip_prefix("result "));
    let Some(result) = result else {
        bail!("wrk said: {said}{}", String::from_utf8_lossy(&output.stderr));
    };
    let numbers = result.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let [requests, microseconds, refused, lost, p50, p99, ref rest @ ..] = numbers[..] else {
        bail!("wrk said: {said}");
    };
    // A script of somebody else's may not tell it.
    let p999 = rest.first().copied().unwrap_or(f64::NAN);
    ensure!(requests > 0.0, "it answered nothing");
    ensure!(lost == 0.0, "{lost} of {requests} requests had no answer");
    let expected = if contender.is_refused { requests } else { 0.0 };
    ensure!(refused == expected, "{refused} of {requests} answers were refusals, and {expected} should be");
    let seconds = microseconds / 1e6;
    let [p50, p99, p999] = [p50, p99, p999].map(|microseconds| microseconds / 1e6);
    Ok(Run { rate: requests / seconds, p50, p99, p999, cpu: cpu / requests, busy: cpu / seconds })
}

/// One run of h2load, which tells no percentiles.
fn run_h2load(ground: &Ground, contender: &Contender<'_>, time: Duration) -> anyhow::Result<Run> {
    let mut command = pinned(&ground.cores.load, "h2load");
    command.args(["-t", "1", "-m", "1", "-c", &contender.connections.to_string()]);
    command.arg("-D").arg(time.as_secs().to_string()).args(&contender.arguments);
    let before = contender.target.cpu()?;
    let output = command.arg(contender.path).output().context("h2load cannot be started")?;
    let cpu = contender.target.cpu()?.saturating_sub(before).as_secs_f64();
    let said = String::from_utf8_lossy(&output.stdout);
    // requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout
    let number = |what: &str| {
        let line = said.lines().find(|line| line.starts_with("requests: "))?;
        let part = line.trim_start_matches("requests: ").split(", ").find(|part| part.ends_with(what))?;
        part.split(' ').next()?.parse::<f64>().ok()
    };
    let (Some(succeeded), Some(failed)) = (number(" succeeded"), number(" failed")) else {
        bail!("h2load said: {said}{}", String::from_utf8_lossy(&output.stderr));
    };
    ensure!(succeeded > 0.0 && failed == 0.0, "{failed} requests failed and {succeeded} did not");
    let (seconds, nan) = (time.as_secs_f64(), f64::NAN);
    Ok(Run {
        rate: succeeded / seconds,
        p50: nan,
        p99: nan,
        p999: nan,
        cpu: cpu / succeeded,
        busy: cpu / seconds,
    })
}
