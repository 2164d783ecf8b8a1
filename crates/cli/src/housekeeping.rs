//! What goes on beside the requests: uses are written, and what has ended is freed.

use std::{sync::Arc, time::Duration};

use doorward_domain::doorkeeper::Doorkeeper;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

/// How often what has ended is freed. Nothing depends on it but memory and disk.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// The two tasks, and the means to end them.
#[must_use]
pub(crate) struct Housekeeping {
    stop: watch::Sender<()>,
    tasks: [JoinHandle<()>; 2],
}

/// Starts the tasks.
pub(crate) fn start(doorkeeper: &Arc<Doorkeeper>) -> Housekeeping {
    let (stop, stopped) = watch::channel(());
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
        every(SWEEP_PERIOD, stopped, move || {
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
    Housekeeping { stop, tasks: [tokio::spawn(flush), tokio::spawn(sweep)] }
}

impl Housekeeping {
    /// Lets what is under way finish, and returns when both tasks have ended.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        for task in self.tasks {
            // A panic has been reported by the panic hook.
            let _ = task.await;
        }
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
