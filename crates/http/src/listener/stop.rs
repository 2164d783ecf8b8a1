//! Telling a listener to stop.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, futures::OwnedNotified};

/// Tells a listener to stop. Clones are one.
#[derive(Clone, Default)]
pub struct Handle(Arc<Inner>);

#[derive(Default)]
struct Inner {
    is_stopping: AtomicBool,
    patience: Mutex<Duration>,
    told: Arc<Notify>,
}

impl Handle {
    /// A listener that is given this serves until it is told to stop.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes no more connections, and ends those that there are once their requests are answered, or after this time.
    pub fn stop(&self, patience: Duration) {
        *self.0.patience.lock().unwrap_or_else(PoisonError::into_inner) = patience;
        self.0.is_stopping.store(true, Ordering::Release);
        self.0.told.notify_waiters();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.0.is_stopping.load(Ordering::Acquire)
    }

    pub(super) fn patience(&self) -> Duration {
        *self.0.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits for it when [`Self::stop`] is called from now on; whether it has been is to be asked after this.
    pub(super) fn told(&self) -> OwnedNotified {
        Arc::clone(&self.0.told).notified_owned()
    }

    /// Returns when it is told to stop.
    pub(super) async fn stopping(&self) {
        let told = self.told();
        if !self.is_stopping() {
            told.await;
        }
    }
}
