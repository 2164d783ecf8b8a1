//! The directory's threads: each has a connection of its own that only reads, and takes the next question that waits.

use std::{
    path::PathBuf,
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
    /// `None` only while it is dropped.
    queue: Option<mpsc::SyncSender<Question>>,
    threads: Vec<JoinHandle<()>>,
}

impl SqliteDirectory {
    pub(super) fn start(database: PathBuf, readers: usize) -> Result<Self, OpenError> {
        let (sender, queue) = mpsc::sync_channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let mut directory = Self { database, queue: Some(sender), threads: Vec::new() };
        for _ in 0..readers.max(1) {
            let connection = schema::open_reader(&directory.database)
                .map_err(|error| OpenError::from_sqlite(&directory.database, error))?;
            let queue = queue.clone();
            directory.threads.push(thread::spawn(move || answer_all(connection, &queue)));
        }
        Ok(directory)
    }

    /// The newest `limit` audit records of all organisations, the newest last.
    pub fn list_newest_records(&self, limit: u32) -> StoreFuture<'_, Vec<StoredRecord>> {
        self.ask(move |transaction| audit::list_newest(transaction, limit))
    }

    /// Has a question answered by the next thread that is free, in one snapshot.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.ask_connection(|connection| read(&connection.transaction()?))
    }

    pub(super) fn ask_connection<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let database = self.database.clone();
            let question = Box::new(move |connection: &mut Connection| {
                // A caller that hung up costs no reading.
                if !answer.is_closed() {
                    let _ = answer.send(read(connection).map_err(|error| unavailable(&database, &error)));
                }
            });
            let queue = self.queue.as_ref().ok_or_else(stopped)?;
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

impl Drop for SqliteDirectory {
    /// Waits for the threads, which finish what they read.
    fn drop(&mut self) {
        self.queue.take();
        for thread in self.threads.drain(..) {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

fn answer_all(mut connection: Connection, queue: &Mutex<mpsc::Receiver<Question>>) {
    loop {
        // One thread waits in the queue, the others for its place.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(question) = next else { return };
        question(&mut connection);
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the directory has stopped".into())
}
