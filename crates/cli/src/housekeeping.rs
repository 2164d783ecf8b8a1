//! What goes on beside the requests: uses are written, what has ended is freed, keys that want attention are counted, and
//! audit records are removed when their time is over.

use std::{sync::Arc, time::Duration};

use doorward_domain::{administration::Administration, doorkeeper::Doorkeeper, journal::StoreError};
use doorward_http::metrics::Metrics;
use doorward_storage::PostgresRoster;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

/// How often what has ended is freed. Nothing depends on it but memory and disk.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// How often an instance looks in a shared database for what has ended. All of them do, and each part is looked at by one.
const SHARED_SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// How many sessions are looked at in one transaction.
const SHARED_SWEEP_CHUNK: usize = 5_000;

/// How often keys that want attention are counted, which reads all keys.
const COUNT_PERIOD: Duration = Duration::from_secs(5 * 60);

/// How often audit records whose time is over are looked for.
const FORGET_PERIOD: Duration = Duration::from_secs(60);

/// The tasks, and the means to end them.
#[must_use]
pub(crate) struct Housekeeping {
    stop: watch::Sender<()>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts the tasks.
pub(crate) fn start(
    doorkeeper: &Arc<Doorkeeper>,
    administration: &Arc<Administration>,
    metrics: &Arc<Metrics>,
    retention: Duration,
    roster: Option<Arc<PostgresRoster>>,
) -> Housekeeping {
    let (stop, stopped) = watch::channel(());
    let shared = roster.map(|roster| {
        every(SHARED_SWEEP_PERIOD, stopped.clone(), move || {
            let roster = roster.clone();
            async move { tidy(&roster).await }
        })
    });
    let flush = {
        let doorkeeper = doorkeeper.clone();
        every(doorkeeper.flush_period(), stopped.clone(), move || {
            let doorkeeper = doorkeeper.clone();
            async move {
                if let Err(error) = doorkeeper.flush_uses(false).await {
                    tracing::warn!(%error, "uses of tokens could not be written; they will be tried again");
                }
            }
        })
    };
    let sweep = {
        let doorkeeper = doorkeeper.clone();
        every(SWEEP_PERIOD, stopped.clone(), move || {
            let doorkeeper = doorkeeper.clone();
            async move {
                match doorkeeper.sweep().await {
                    Ok(0) => {}
                    Ok(count) => tracing::debug!(count, "sessions that had ended were freed"),
                    Err(error) => {
                        tracing::warn!(%error, "sessions that had ended could not be deleted from the disk")
                    }
                }
            }
        })
    };
    let count = {
        let (administration, metrics) = (administration.clone(), metrics.clone());
        every(COUNT_PERIOD, stopped.clone(), move || {
            let (administration, metrics) = (administration.clone(), metrics.clone());
            async move {
                match administration.count_keys().await {
                    Ok(counts) => metrics.set_keys(counts),
                    Err(error) => tracing::warn!(%error, "keys could not be counted"),
                }
            }
        })
    };
    let forget = {
        let administration = administration.clone();
        every(FORGET_PERIOD, stopped, move || {
            let administration = administration.clone();
            async move {
                match administration.forget_records(retention).await {
                    Ok(0) => {}
                    Ok(count) => {
                        tracing::info!(about = count, "audit records whose time was over were removed")
                    }
                    Err(error) => {
                        tracing::warn!(%error, "audit records whose time is over could not be removed")
                    }
                }
            }
        })
    };
    let mut tasks = vec![tokio::spawn(flush), tokio::spawn(sweep), tokio::spawn(count), tokio::spawn(forget)];
    tasks.extend(shared.map(tokio::spawn));
    Housekeeping { stop, tasks }
}

impl Housekeeping {
    /// Lets what is under way finish, and returns when the tasks have ended.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        for task in self.tasks {
            // A panic has been reported by the panic hook.
            let _ = task.await;
        }
    }
}

/// Frees space in a shared database: sessions that have ended, and releases that all instances have applied.
async fn tidy(roster: &PostgresRoster) {
    let work = async {
        let mut ended = 0;
        loop {
            let swept = roster.sweep(SHARED_SWEEP_CHUNK).await?;
            ended += swept.ended;
            if !swept.is_more {
                break;
            }
        }
        let pruned = roster.prune_log().await?;
        if ended + pruned > 0 {
            tracing::debug!(ended, pruned, "what had ended was deleted from the database");
        }
        Ok::<_, StoreError>(())
    };
    if let Err(error) = work.await {
        tracing::warn!(%error, "what had ended could not be deleted from the database; it is tried again");
    }
}

async fn every<F: Future<Output = ()>>(
    period: Duration,
    mut stopped: watch::Receiver<()>,
    mut work: impl FnMut() -> F,
) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            _ = ticks.tick() => work().await,
        }
    }
}
