//! The directory's threads: each has a connection of its own that only reads, and takes the next question that waits.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use doorward_domain::{
    audit::chain::StoredRecord,
    credential::KeyDigest,
    directory::{Account, Directory, Holder, KeyRecord, NameLookup, StoreFuture},
    id::{KeyId, UserId},
    journal::StoreError,
    name::CanonicalName,
};
use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;

use super::{OpenError, audit, error::unavailable, lookup, schema};

/// How many questions may wait; one more is answered [`StoreError::Busy`].
const QUEUE: usize = 1_024;

type Question = Box<dyn FnOnce(&mut Connection) + Send>;

/// Reads the directory. Dropping it ends its threads.
pub struct SqliteDirectory {
    database: PathBuf,
    pub(super) readers: Readers,
    /// A thread for audit records alone: a search through many of them holds up no login.
    pub(super) record_reader: Readers,
}

/// Threads that answer questions, each with a connection of its own.
pub(super) struct Readers {
    /// `None` only while they are dropped.
    queue: Option<mpsc::SyncSender<Question>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    fn start(database: &Path, count: usize) -> Result<Self, OpenError> {
        let (sender, queue) = mpsc::sync_channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let mut readers = Self { queue: Some(sender), threads: Vec::new() };
        for _ in 0..count {
            let connection =
                schema::open_reader(database).map_err(|error| OpenError::from_sqlite(database, error))?;
            let queue = queue.clone();
            readers.threads.push(thread::spawn(move || answer_all(connection, &queue)));
        }
        Ok(readers)
    }
}

impl Drop for Readers {
    /// Waits for the threads, which finish what they read.
    fn drop(&mut self) {
        self.queue.take();
        for thread in self.threads.drain(..) {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl SqliteDirectory {
    pub(super) fn start(database: PathBuf, readers: usize) -> Result<Self, OpenError> {
        let readers = Readers::start(&database, readers.max(1))?;
        let record_reader = Readers::start(&database, 1)?;
        Ok(Self { database, readers, record_reader })
    }

    /// The newest `limit` audit records of all organisations, the newest last.
    pub fn list_newest_records(&self, limit: u32) -> StoreFuture<'_, Vec<StoredRecord>> {
        self.ask_for_records(move |transaction| audit::list_newest(transaction, limit))
    }

    /// Has a question answered by the next thread that is free, in one snapshot.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.put(&self.readers, |connection| read(&connection.transaction()?))
    }

    /// As [`Self::ask`], by the thread that reads audit records.
    pub(super) fn ask_for_records<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.put(&self.record_reader, |connection| read(&connection.transaction()?))
    }

    /// Has a question answered by one of these readers.
    pub(super) fn put<'a, T: Send + 'static>(
        &'a self,
        readers: &'a Readers,
        read: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let database = self.database.clone();
            let question = Box::new(move |connection: &mut Connection| {
                // A caller that hung up costs no reading.
                if !answer.is_closed() {
                    let _ = answer.send(read(connection).map_err(|error| unavailable(&database, &error)));
                }
            });
            let queue = readers.queue.as_ref().ok_or_else(stopped)?;
            queue.try_send(question).map_err(|error| match error {
                mpsc::TrySendError::Full(_) => StoreError::Busy,
                mpsc::TrySendError::Disconnected(_) => stopped(),
            })?;
            answered.await.unwrap_or_else(|_| Err(stopped()))
        })
    }
}

impl Directory for SqliteDirectory {
    fn find_by_name(
        &self,
        organisation: CanonicalName,
        username: CanonicalName,
    ) -> StoreFuture<'_, NameLookup> {
        self.ask(move |transaction| lookup::find_by_name(transaction, &organisation, &username))
    }

    fn find_by_key(&self, digest: KeyDigest) -> StoreFuture<'_, Option<(KeyRecord, Box<Account>)>> {
        self.ask(move |transaction| lookup::find_by_key(transaction, digest))
    }

    fn find_holder(&self, user: UserId, key: Option<KeyId>) -> StoreFuture<'_, Option<Holder>> {
        self.ask(move |transaction| lookup::find_holder(transaction, user, key))
    }

    fn list_names(&self, user: UserId) -> StoreFuture<'_, Vec<String>> {
        self.ask(move |transaction| lookup::list_names(transaction, user))
    }
}

fn answer_all(mut connection: Connection, queue: &Mutex<mpsc::Receiver<Question>>) {
    loop {
        // One thread waits in the queue, the others for its place.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(question) = next else { return };
        // A defect in one question, of which the panic hook has told, must not take the answers to all others away. Its
        // transaction is rolled back on the way.
        let _ = catch_unwind(AssertUnwindSafe(|| question(&mut connection)));
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the directory has stopped".into())
}
