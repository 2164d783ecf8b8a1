//! What is durable: tokens issued by key and released, beside the fixed answer and one `fdatasync`; and logins with a
//! password, beside bare Argon2.

use std::{
    fs::File,
    io::Write,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{
    ground::{Ground, said},
    load::{Contender, Run, Series, rounds, run},
    parts::Part,
    pinning::pinned,
    report::{Section, Table},
    statistics::{Spread, time, whole},
    target::{Target, record_answers},
};

/// How many sessions are there before.
const SESSIONS: u32 = 100_000;
/// How often the disk is asked.
const SYNCS: usize = 200;

pub(super) fn measure(ground: &Ground) -> anyhow::Result<()> {
    let sessions = SESSIONS.min(ground.args.sessions);
    let users = ground.users(sessions).to_string();
    let folder = ground.copied(&ground.filled(sessions)?)?;
    let mut section = Section::new(Part::Issue, "Issue, release and login");
    let syncs = [fsync(ground)?, fsync(ground)?];
    let product = Target::product(ground, &folder, &[])?;
    let answers = ground.scratch.join("answers");
    record_answers(&product, &answers, sessions, &ground.basic())?;
    let fixed = Target::yardstick(ground, "fixed", &answers)?;
    section.heading("By key");
    section.paragraph(&format!(
        "Tokens are issued by the Web API keys of random users and released, by turns: durable and audited. {} sessions \
         were there before.",
        whole(f64::from(sessions))
    ));
    let series = rounds(
        ground,
        &[
            Contender::requests(ground, "plain hyper, fixed answer", &fixed, "verify", sessions),
            Contender {
                script: "pairs.lua",
                arguments: vec!["users".into(), users.clone()],
                path: "",
                ..Contender::requests(ground, "issue and release", &product, "verify", sessions)
            },
        ],
    )?;
    section.compared(&series, 0);
    let syncs = [syncs[0], syncs[1], fsync(ground)?];
    let sync = Spread::of(syncs.map(|(median, _)| median));
    let worst = Spread::of(syncs.map(|(_, p99)| p99));
    let p99 = series[1].spread(|run| run.p99);
    section.paragraph(&format!(
        "One fdatasync of 4 KiB on this disk: {}, p99 {}, before and after. The p99 of issue and release is {:.1} of its \
         medians.",
        sync.show(time),
        worst.show(time),
        p99.median / sync.median
    ));
    drop((product, fixed));

    section.heading("With a password, saturated");
    let cores = ground.cores.both();
    let product = Target::product_on(&cores, ground, &folder, &[])?;
    let contender = Contender {
        script: "logins.lua",
        arguments: vec![users],
        path: "",
        connections: 32.min(ground.args.connections),
        ..Contender::requests(ground, "logins", &product, "verify", sessions)
    };
    let (mut logins, mut bare) = (Vec::new(), Vec::new());
    run(ground, &contender, Duration::from_secs(2))?;
    for _ in 0..ground.args.rounds {
        logins.push(run(ground, &contender, ground.seconds())?);
        product.hold()?;
        let hashes = hashes(ground, &cores);
        product.release()?;
        bare.push(Run { rate: hashes?, ..logins[logins.len() - 1] });
    }
    let logins = Series { label: "logins".into(), runs: logins };
    let bare = Series { label: "bare Argon2".into(), runs: bare };
    let mut table = Table::new(["", "a second", "of bare Argon2", "p50", "p99"]);
    table.row([
        "bare Argon2, all cores".into(),
        bare.spread(|run| run.rate).show(|it| format!("{it:.1}")),
        "1.00".into(),
        "–".into(),
        "–".into(),
    ]);
    table.row([
        "logins, all cores, wrk among them".into(),
        logins.spread(|run| run.rate).show(|it| format!("{it:.1}")),
        logins.ratio(&bare, |run| run.rate).to_string(),
        time(logins.spread(|run| run.p50).median),
        time(logins.spread(|run| run.p99).median),
    ]);
    section.table(&table);
    section.finish(ground)
}

/// Bare hashes a second on these cores.
fn hashes(ground: &Ground, cores: &str) -> anyhow::Result<f64> {
    let mut command: Command = pinned(cores, std::env::current_exe()?);
    let line = said(command.args(["hash", "--seconds", &ground.args.seconds.to_string()]))?;
    let rate = line.split(' ').next().and_then(|it| it.parse().ok());
    rate.with_context(|| format!("doorward-bench hash said: {line}"))
}

/// How long a small write takes until it is on the disk: the median, and what one in a hundred exceeds.
fn fsync(ground: &Ground) -> anyhow::Result<(f64, f64)> {
    let mut file = File::create(ground.scratch.join("fsync"))?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        took.push(began.elapsed().as_secs_f64());
    }
    ensure!(!took.is_empty(), "nothing was written");
    took.sort_unstable_by(f64::total_cmp);
    Ok((took[SYNCS / 2], took[SYNCS * 99 / 100]))
}
