//! The steady asker of `/verify`, on a thread of its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::anyhow;
use tokio::time::{Instant, sleep};

use super::client::{self, Client};

/// Connections that ask.
const CONNECTIONS: usize = 8;
/// How long each of them waits between two questions.
const PAUSE: Duration = Duration::from_millis(3);

/// Times, in milliseconds.
#[derive(Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn push(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1e3);
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(place).copied().unwrap_or(f64::NAN)
    }
}

/// Asks until it is stopped.
pub(super) struct Probe {
    over: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Samples>>,
}

impl Probe {
    pub(super) fn start(api: SocketAddr, token: String) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let thread = std::thread::spawn(move || {
            // What is measured is how long the server takes, not how long the measuring thread waits for a core.
            let _ = rustix::process::setpriority_process(None, -5);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, async {
                let askers: Vec<_> = (0..CONNECTIONS)
                    .map(|_| tokio::task::spawn_local(ask(api, token.clone(), told.clone())))
                    .collect();
                let mut all = Samples::default();
                for asker in askers {
                    all.extend(asker.await??);
                }
                Ok(all)
            })
        });
        Self { over, thread }
    }

    /// What was measured. Every question must have been answered with yes.
    pub(super) fn stop(self) -> anyhow::Result<Samples> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the measuring thread has failed"))?
    }
}

async fn ask(api: SocketAddr, token: String, over: Arc<AtomicBool>) -> anyhow::Result<Samples> {
    let (mut client, mut samples) = (Client::new(api), Samples::default());
    let question = client::verify(&token);
    // The first makes the connection.
    client.ask(&question).await?;
    while !over.load(Ordering::Relaxed) {
        sleep(PAUSE).await;
        let began = Instant::now();
        let answer = client.ask(&question).await?;
        anyhow::ensure!(answer.status == 200, "/verify answered {}", answer.status);
        samples.push(began.elapsed());
    }
    Ok(samples)
}
