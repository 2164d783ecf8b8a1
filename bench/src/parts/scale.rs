//! What sessions and connections cost by powers of ten: speed, memory, start, backup.

use std::{process::Command, time::Instant};

use anyhow::ensure;

use crate::{
    chart::{Line, lines},
    ground::Ground,
    load::{Contender, Series, rounds},
    parts::Part,
    pinning::pinned,
    report::{Section, Table},
    statistics::{Spread, time, whole},
    target::{Target, record_answers},
};

const LEAST: u32 = 10_000;
const CONNECTIONS: [u32; 5] = [1, 10, 100, 1_000, 10_000];

pub(super) fn measure(ground: &Ground) -> anyhow::Result<()> {
    let mut section = Section::new(Part::Scale, "Scale");
    section.heading("Sessions");
    section.paragraph(
        "Memory is the server's resident size once it is ready, and of a session what it grows by from the row above, the \
         session's share of its user included, of whom there is one for ten sessions. Start is until `/readyz` says so, with all sessions read; tokens are \
         issued from when it answers at all; \
         the backup is made beside the server, on the other core. All of it in one run each, but for the rates.",
    );
    let mut table = Table::new([
        "live sessions",
        "users",
        "requests/s of plain hyper's",
        "CPU of plain hyper's",
        "memory",
        "a session",
        "answers after",
        "start",
        "backup",
        "folder",
    ]);
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    let mut before: Option<(f64, f64)> = None;
    let powers = std::iter::successors(Some(LEAST), |it| it.checked_mul(10));
    for sessions in powers.take_while(|it| *it <= ground.args.sessions_up_to) {
        let folder = ground.filled(sessions)?;
        let product = Target::product(ground, &folder, &[])?;
        let memory = product.memory()?;
        let answers = ground.scratch.join(format!("answers-{sessions}"));
        record_answers(&product, &answers, sessions, &ground.basic())?;
        let fixed = Target::yardstick(ground, "fixed", &answers)?;
        let series = rounds(
            ground,
            &[
                Contender::requests(ground, "plain hyper", &fixed, "verify", sessions),
                Contender::requests(ground, &format!("{sessions} sessions"), &product, "verify", sessions),
            ],
        )?;
        let backup = ground.scratch.join(format!("backup-{sessions}"));
        let began = Instant::now();
        let mut command = pinned(&ground.cores.load, &ground.doorward);
        command.arg("backup").arg(&backup).arg("--data").arg(&folder);
        let made = command.output()?;
        let took = began.elapsed().as_secs_f64();
        ensure!(made.status.success(), "no backup was made: {}", String::from_utf8_lossy(&made.stderr));
        std::fs::remove_file(&backup)?;
        let count = f64::from(sessions);
        let each = before.map(|(sessions, bytes)| (memory - bytes) / (count - sessions));
        before = Some((count, memory));
        let (rate, cpu) = ratios(&series);
        table.row([
            whole(count),
            whole(ground.users(sessions) as f64),
            rate.to_string(),
            cpu.to_string(),
            format!("{:.0} MiB", memory / f64::from(1 << 20)),
            each.map_or("–".into(), |bytes| format!("{bytes:.0} bytes")),
            time(product.first.as_secs_f64()),
            time(product.start.as_secs_f64()),
            time(took),
            format!("{:.0} MiB", size(&folder)?),
        ]);
        rates.push((count, rate));
        costs.push((count, cpu));
    }
    section.table(&table);
    picture(ground, &mut section, "sessions", "live sessions", rates, costs)?;

    section.heading("Connections");
    let sessions = ground.args.sessions;
    // A round's connections come while the server still learns that those of the round before have gone.
    let flags = ["--set", "limits.connections=25000"];
    let product = Target::product(ground, &ground.filled(sessions)?, &flags)?;
    let answers = ground.scratch.join("answers");
    record_answers(&product, &answers, sessions, &ground.basic())?;
    let fixed = Target::yardstick(ground, "fixed", &answers)?;
    let mut table = Table::new([
        "connections",
        "requests/s",
        "of plain hyper's",
        "CPU of plain hyper's",
        "p50",
        "p99",
        "p99 of plain hyper",
        "memory",
    ]);
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for connections in CONNECTIONS {
        let contender = |label: &str, target| Contender {
            connections,
            ..Contender::requests(ground, label, target, "verify", sessions)
        };
        let label = format!("{connections} connections");
        let series = rounds(ground, &[contender("plain hyper", &fixed), contender(&label, &product)])?;
        let (rate, cpu) = ratios(&series);
        table.row([
            whole(f64::from(connections)),
            series[1].spread(|run| run.rate).show(whole),
            rate.to_string(),
            cpu.to_string(),
            time(series[1].spread(|run| run.p50).median),
            time(series[1].spread(|run| run.p99).median),
            time(series[0].spread(|run| run.p99).median),
            format!("{:.0} MiB", product.memory()? / f64::from(1 << 20)),
        ]);
        rates.push((f64::from(connections), rate));
        costs.push((f64::from(connections), cpu));
    }
    section.paragraph(&format!("{} live sessions.", whole(f64::from(sessions))));
    section.table(&table);
    picture(ground, &mut section, "connections", "connections", rates, costs)?;
    section.finish(ground)
}

/// Of the second's requests and of its CPU, as parts of the first's.
fn ratios(series: &[Series]) -> (Spread, Spread) {
    (series[1].ratio(&series[0], |run| run.rate), series[1].ratio(&series[0], |run| run.cpu))
}

fn picture(
    ground: &Ground,
    section: &mut Section,
    name: &str,
    along: &str,
    rates: Vec<(f64, Spread)>,
    costs: Vec<(f64, Spread)>,
) -> anyhow::Result<()> {
    let title = format!("A verification by {along}, beside plain hyper's fixed answer");
    let drawn = lines(
        &title,
        along,
        &[
            Line { label: "requests per second".into(), points: rates },
            Line { label: "CPU a request".into(), points: costs },
        ],
        |it| format!("{it:.1}"),
    );
    section.picture(ground, name, &title, &drawn)
}

/// The size of a folder in MiB.
fn size(folder: &std::path::Path) -> anyhow::Result<f64> {
    let output = Command::new("du").arg("-sm").arg(folder).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(said.split_whitespace().next().unwrap_or("0").parse()?)
}
