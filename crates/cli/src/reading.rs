//! Reading the sessions of SQLite after a start, beside the requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use doorward_domain::{
    clock::Clock,
    journal::{Entry, Journal, StoreError},
    session::Departed,
    session_table::SessionTable,
    sessions::{Progress, Reading},
};
use doorward_storage::SessionReader;
use tokio::runtime::Handle;

/// How many sessions that have ended go into one entry of the journal, so that nobody waits long behind them.
const CHUNK: usize = 1_000;
/// How long it takes until what could not be deleted is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// The thread that reads, and then has what has ended forgotten.
pub(crate) struct ReadingThread {
    is_stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What it works with.
pub(crate) struct Work {
    pub(crate) sessions: SessionReader,
    pub(crate) reading: Arc<Reading>,
    pub(crate) table: Arc<SessionTable>,
    pub(crate) clock: Clock,
    pub(crate) journal: Journal,
    /// Called if sessions cannot be read: then nothing will ever be known of them.
    pub(crate) on_broken: fn(String),
}

impl ReadingThread {
    /// Starts the thread. To be called within the runtime.
    pub(crate) fn start(work: Work) -> Self {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (is_stopping, runtime) = (is_stopping.clone(), Handle::current());
            move || run(work, &is_stopping, &runtime)
        });
        Self { is_stopping, thread }
    }

    /// Ends it wherever it is.
    pub(crate) fn stop(self) {
        self.is_stopping.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // A panic has been reported by the panic hook.
        let _ = self.thread.join();
    }
}

fn run(work: Work, is_stopping: &AtomicBool, runtime: &Handle) {
    let Work { mut sessions, reading, table, clock, journal, on_broken } = work;
    let mut told = 0;
    loop {
        match sessions.read(&table, clock.now()) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return on_broken(error.to_string()),
        }
        let progress = sessions.progress();
        reading.advance(progress);
        let Progress { read, percent } = progress;
        if percent / 10 > told {
            told = percent / 10;
            tracing::info!(sessions = read, percent, "reading sessions");
        }
        if is_stopping.load(Ordering::Acquire) {
            return;
        }
    }
    reading.all_read();
    tracing::info!(sessions = sessions.live(), "sessions read");
    if let Err(error) = sessions.check() {
        return on_broken(error.to_string());
    }
    let ended = sessions.take_ended();
    // With its connection and whom the sessions speak for.
    drop(sessions);
    let mut chunks = ended.chunks(CHUNK);
    let mut next = chunks.next();
    while let Some(chunk) = next
        && !is_stopping.load(Ordering::Acquire)
    {
        match runtime.block_on(forget(&journal, chunk, &clock)) {
            Ok(()) => next = chunks.next(),
            // What has ended is no less ended for taking up space.
            Err(error) => {
                tracing::warn!(%error, "sessions that had ended at the start could not be deleted from the disk");
                thread::park_timeout(RETRY);
            }
        }
    }
    if next.is_none() {
        reading.all_forgotten();
        if !ended.is_empty() {
            tracing::info!(sessions = ended.len(), "sessions that had ended at the start were deleted");
        }
    }
}

async fn forget(journal: &Journal, ended: &[Departed], clock: &Clock) -> Result<(), StoreError> {
    journal.submit(Entry::Forget { sessions: ended.to_vec(), at: clock.now() }).await.map(drop)
}
