//! Storms: what `/verify` and releases are like while something goes wrong on a grand scale, beside what they are like when
//! nothing does.
//!
//! A storm runs against `doorward serve` itself, found beside this program, on data of its own. Quiet and stormy spells
//! take turns, so that whatever else the machine does falls on both. One thread asks `/verify` at a steady pace, a second
//! releases tokens, and the storm is made on the others, with a lower priority: in earnest it comes from other machines.
//! One row of a Markdown table is printed for each storm.

mod client;
mod kinds;
mod probe;
mod server;

use std::{
    fmt::Write as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::time::sleep;

use self::{
    kinds::{Kind, Storm},
    probe::{Probe, Samples},
    server::Server,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which storms; all of them if none is named.
    #[arg(value_enum)]
    kinds: Vec<Kind>,
    /// How often quiet and storm take turns.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each of them lasts, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The program to measure, if it is not beside this one.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Settings of the server beside those of the storm.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// An empty folder for the data; a temporary one if it is not given.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// What the releases of a spell came to.
#[derive(Default)]
struct Released {
    answered: usize,
    refused: usize,
    times: Samples,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let all = <Kind as clap::ValueEnum>::value_variants().to_vec();
    let kinds = if args.kinds.is_empty() { all } else { args.kinds.clone() };
    server::raise_file_limit();
    println!("{HEAD}");
    for kind in kinds {
        match measure(args, kind) {
            Ok(row) => println!("{row}"),
            Err(error) => println!("| {} | could not be measured: {error:#} |", kind.name()),
        }
    }
    Ok(())
}

const HEAD: &str = "\
| storm | verify quiet, p50 / p99 | verify in the storm, p50 / p99 | p99 ratio, median (min–max) | releases answered | \
release p50 / p99 | what the storm got | excess answers, p50 / p99 / max | memory before / peak / after |
|---|---|---|---|---|---|---|---|---|";

fn measure(args: &Args, kind: Kind) -> anyhow::Result<String> {
    let temporary = args.folder.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!(
            "doorward-storm-{}-{}",
            kind.name().replace(' ', "-"),
            std::process::id()
        ))
    });
    std::fs::create_dir_all(&temporary).context("the folder for the data cannot be made")?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("doorward"),
    };
    let row = (|| {
        let ground = kinds::prepare(kind, &temporary)?;
        let settings: Vec<_> = ground.settings.iter().chain(&args.settings).cloned().collect();
        let server = Server::start(&program, &ground.wrapper, &ground.data, &settings)?;
        let row = spells(args, kind, &server);
        drop(server);
        drop(ground);
        row
    })();
    if args.folder.is_none() {
        let _ = std::fs::remove_dir_all(&temporary);
    }
    row
}

fn spells(args: &Args, kind: Kind, server: &Server) -> anyhow::Result<String> {
    let mut generator = tokio::runtime::Builder::new_multi_thread();
    generator.worker_threads(1).enable_all().on_thread_start(|| {
        // What makes the storm has no business on the server's machine.
        let _ = rustix::process::setpriority_process(None, 5);
    });
    let generator = generator.build()?;
    let spell = Duration::from_secs(args.seconds);
    generator.block_on(async {
        let token = client::issue(server.api).await?;
        let mut storm = Storm::new(kind, server).await?;
        let before = server.memory();
        let (mut quiet, mut stormy, mut ratios) = (Samples::default(), Samples::default(), Vec::new());
        let (mut released, mut peak) = (Released::default(), before);
        // A disk is made slow once.
        let rounds = if kind == Kind::Store { 1 } else { args.rounds };
        for _ in 0..rounds {
            let probe = Probe::start(server.api, token.clone());
            sleep(spell).await;
            let calm = probe.stop()?;
            // The storm has a second to gather.
            let over = Arc::new(AtomicBool::new(false));
            let releases = tokio::spawn(release_all_the_time(server.api, over.clone()));
            storm.begin();
            sleep(Duration::from_secs(1)).await;
            let probe = Probe::start(server.api, token.clone());
            for _ in 0..(args.seconds * 10) {
                sleep(Duration::from_millis(100)).await;
                peak = peak.max(server.memory());
            }
            let wild = probe.stop()?;
            storm.end().await;
            over.store(true, Ordering::Relaxed);
            let Released { answered, refused, times } = releases.await?;
            released.answered += answered;
            released.refused += refused;
            released.times.extend(times);
            ratios.push(wild.quantile(0.99) / calm.quantile(0.99));
            quiet.extend(calm);
            stormy.extend(wild);
        }
        sleep(Duration::from_secs(2)).await;
        anyhow::ensure!(server.is_alive(), "the server has ended");
        Ok(row(kind, &quiet, &stormy, &mut ratios, &released, &storm, [before, peak, server.memory()]))
    })
}

/// Gets a token by key and releases it, again and again, on four connections.
async fn release_all_the_time(api: std::net::SocketAddr, over: Arc<AtomicBool>) -> Released {
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let over = over.clone();
            tokio::spawn(async move {
                let (mut client, mut released) = (client::Client::new(api), Released::default());
                while !over.load(Ordering::Relaxed) {
                    sleep(Duration::from_millis(5)).await;
                    let Ok(token) = client::issue_with(&mut client).await else { continue };
                    let began = tokio::time::Instant::now();
                    match client.ask(&client::release(&token)).await {
                        Ok(answer) if answer.status == 200 => {
                            released.answered += 1;
                            released.times.push(began.elapsed());
                        }
                        _ => released.refused += 1,
                    }
                }
                released
            })
        })
        .collect();
    let mut all = Released::default();
    for task in tasks {
        if let Ok(Released { answered, refused, times }) = task.await {
            all.answered += answered;
            all.refused += refused;
            all.times.extend(times);
        }
    }
    all
}

fn row(
    kind: Kind,
    quiet: &Samples,
    stormy: &Samples,
    ratios: &mut [f64],
    released: &Released,
    storm: &Storm,
    memory: [u64; 3],
) -> String {
    ratios.sort_by(f64::total_cmp);
    let two = |samples: &Samples| {
        if samples.is_empty() {
            return "–".to_owned();
        }
        format!("{:.2} / {:.2} ms", samples.quantile(0.5), samples.quantile(0.99))
    };
    let tally = storm.tally();
    let excess = if tally.excess.is_empty() {
        "–".to_owned()
    } else {
        let excess = &tally.excess;
        format!("{:.1} / {:.1} / {:.1} ms", excess.quantile(0.5), excess.quantile(0.99), excess.quantile(1.0))
    };
    let share = 100.0 * released.answered as f64 / (released.answered + released.refused).max(1) as f64;
    let mut row = String::new();
    let _ = write!(
        row,
        "| {} | {} | {} | {:.2} ({:.2}–{:.2}) | {share:.1}% of {} | {} | {} | {excess} | {} / {} / {} MiB |",
        kind.name(),
        two(quiet),
        two(stormy),
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1],
        released.answered + released.refused,
        two(&released.times),
        tally.told,
        memory[0] >> 20,
        memory[1] >> 20,
        memory[2] >> 20,
    );
    row
}
