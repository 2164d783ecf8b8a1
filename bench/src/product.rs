//! The product's inside, put together as `crates/cli/src/serve.rs` does it, with the defaults of the configuration: for
//! what is measured without HTTP. Everything else is measured on the real binary.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Instant};

use anyhow::Context;
use doorward_domain::{
    administration::Administration,
    attempts::Attempts,
    clock::Clock,
    doorkeeper::{Doorkeeper, Parts},
    journal::{Journal, JournalThread},
    passwords::{Argon2Cost, HashingLimits, Passwords},
    rules::Rules,
    session_table::SessionTable,
    sessions::Sessions,
};
use doorward_http::metrics::Metrics;
use doorward_storage::SqliteStore;

use crate::system::SystemRandomness;

/// Threads that read the directory.
const READERS: usize = 2;
/// Logins that may wait for a hash.
const HASH_QUEUE: usize = 64;

/// What decides, put together.
pub(crate) struct Product {
    pub(crate) doorkeeper: Arc<Doorkeeper>,
    pub(crate) administration: Arc<Administration>,
    /// Kept for as long as the product is.
    pub(crate) _journal: JournalThread,
}

/// Fills the session table from the database and puts the doorkeeper together.
pub(crate) fn wire(folder: &Path, clock: Clock, metrics: &Arc<Metrics>) -> anyhow::Result<Product> {
    let began = Instant::now();
    let store = SqliteStore::open(folder)?;
    let table = Arc::new(SessionTable::default());
    let sessions = store.load(&table, clock.now())?;
    eprintln!("opened the database and read {sessions} sessions in {:.1?}", began.elapsed());
    let (ledger, directory) = store.start(metrics.clone(), READERS)?;
    let directory = Arc::new(directory);
    let (journal, journal_thread) = Journal::start(ledger, table.clone(), |problem| {
        eprintln!("the journal has stopped: {problem}");
        std::process::exit(1);
    });
    let threads = std::thread::available_parallelism().context("the number of cores is not known")?.get();
    let passwords = Passwords::start(
        HashingLimits { threads, queue: HASH_QUEUE },
        Argon2Cost::FLOOR,
        &SystemRandomness,
        clock.clone(),
        metrics.clone(),
        || {},
    )?;
    let doorkeeper = Doorkeeper::new(Parts {
        clock: clock.clone(),
        random: Box::new(SystemRandomness),
        sessions: Sessions::all_in(table, clock),
        journal,
        directory: directory.clone(),
        passwords,
        attempts: Attempts::new(HASH_QUEUE),
        rules: Rules::default(),
        observer: metrics.clone(),
    })?;
    let doorkeeper = Arc::new(doorkeeper);
    let administration = Administration::new(doorkeeper.clone(), directory, BTreeSet::new());
    Ok(Product { doorkeeper, administration: Arc::new(administration), _journal: journal_thread })
}
