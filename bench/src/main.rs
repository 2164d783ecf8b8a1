//! What is measured: `serve` is the server that `bench/run` starts, loads and stops; `administration` and `timing`
//! measure by themselves and print a table.
//!
//! `serve` is one process that listens on three ports of the loopback: the product with its table full of sessions, the
//! bare framework with an answer of the same size (the baseline), and a way to have uses written. Whatever is not ours
//! is the same for the first two: runtime, listener, bounds.

mod administration;
mod baseline;
mod population;
mod product;
mod system;
mod timing;

use std::{net::TcpListener, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Router, routing::post};
use axum_server::Handle;
use clap::Parser;
use doorward_domain::{clock::Clock, random::Randomness};
use doorward_http::{
    Limits, Readiness, State,
    listener::{self, Bounds, places::Places},
    metrics::Metrics,
    router,
};
use doorward_storage::{Kind, SqliteStore};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::system::{SystemRandomness, SystemTime};

#[derive(Parser)]
enum Command {
    /// Serve the product and the baseline until killed
    Serve(Args),
    /// Measure lists, look-ups and endings with many users
    Administration(administration::Args),
    /// Compare the time of logins that fail for different reasons
    Timing(timing::Args),
}

#[derive(clap::Args)]
struct Args {
    /// How many live sessions the product has.
    #[arg(long, default_value_t = 1_000_000)]
    sessions: u32,
    /// An empty folder for the product's database.
    #[arg(long)]
    folder: PathBuf,
    /// Do not write uses to the journal while requests come in.
    #[arg(long)]
    keep_uses: bool,
}

/// The defaults of `limits.header_timeout` and `limits.body_timeout`.
const BOUNDS: Bounds = Bounds { header_timeout: Duration::from_secs(30) };

fn main() -> anyhow::Result<()> {
    let command = Command::parse();
    // As `serve` does: what it would not log costs what it costs there.
    let filter = Targets::new().with_default(LevelFilter::WARN).with_target("doorward", LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    tracing_subscriber::registry().with(lines).init();

    match command {
        Command::Serve(args) => run(&args),
        Command::Administration(args) => administration::run(&args),
        Command::Timing(args) => timing::run(&args),
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let clock = Clock::new(SystemTime);
    let mut store = SqliteStore::create(&args.folder, Kind::Real, &[])?;
    population::fill(&mut store, args.sessions, &clock)?;
    drop(store);
    tokio::runtime::Runtime::new()?.block_on(serve(args, clock))
}

async fn serve(args: &Args, clock: Clock) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::default());
    let product = product::wire(&args.folder, clock, &metrics)?;
    let (doorkeeper, administration) = (product.doorkeeper.clone(), product.administration.clone());
    if !args.keep_uses {
        product::write_uses(doorkeeper.clone());
    }
    let readiness = Readiness::default();
    readiness.set(true);
    let (limits, proxies) = (Limits::default(), Arc::default());
    let state = State { doorkeeper: doorkeeper.clone(), administration, metrics, limits, proxies, readiness };

    // What the product's requests have left to do must not be done at the cost of the baseline's.
    let settle = async move || match doorkeeper.flush_uses(true).await {
        Ok(uses) => Ok(uses.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let admin = Router::new().route("/settle", post(settle));
    let seed = u32::from_ne_bytes((&SystemRandomness as &dyn Randomness).bytes()?);
    let (api, baseline) = (router::api_service(state, seed), baseline::router());

    let listen = |name| {
        let listener = TcpListener::bind("127.0.0.1:0").context("the loopback has no free port")?;
        println!("{name} {}", listener.local_addr()?);
        anyhow::Ok(listener)
    };
    let (api_listener, baseline_listener, admin_listener) =
        (listen("product")?, listen("baseline")?, listen("admin")?);
    println!("listening");
    tokio::try_join!(
        listener::serve(api_listener, api, None, BOUNDS, Places::default(), Handle::new()),
        listener::serve(baseline_listener, baseline, None, BOUNDS, Places::default(), Handle::new()),
        listener::serve(admin_listener, admin, None, BOUNDS, Places::default(), Handle::new()),
    )?;
    Ok(())
}
