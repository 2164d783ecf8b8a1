//! Where the data are: opened, made if the demo needs them, and put to work.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, bail};
use doorward_domain::{
    attempts::Attempts,
    catalogue::Catalogue,
    clock::Clock,
    cluster::{Pace, StoreClock},
    directory::Directory,
    instance::{Instance, InstanceParts, Standing},
    journal::{Journal, JournalThread},
    session_table::SessionTable,
    sessions::{Reading, Sessions},
};
use doorward_http::metrics::Metrics;
use doorward_storage::{
    Kind, OpenError, PostgresError, PostgresOptions, PostgresRoster, PostgresStore, SqliteStore, Upgraded,
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::{
    args::WrongUse,
    cluster::{self, Joining, Watcher},
    config::Config,
    demo,
    reading::{ReadingThread, Work},
    system::{SystemRandomness, SystemTime},
};

/// Threads that read an SQLite database.
const READERS: usize = 2;
/// How long a start waits for the lease without which nothing is answered.
const FIRST_LEASE: Duration = Duration::from_secs(60);
/// How long the process waits for its last words to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Data that nobody works with yet.
pub(crate) enum Store {
    Sqlite(Box<SqliteStore>),
    Postgres(Box<PostgresStore>),
}

/// Data at work.
pub(crate) struct Running {
    pub(crate) clock: Clock,
    pub(crate) sessions: Sessions,
    pub(crate) journal: Journal,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) attempts: Attempts,
    /// How this instance stands among the others, if there may be others.
    pub(crate) standing: Option<Standing>,
    /// How far its sessions are read, if all of them are to be.
    pub(crate) reading: Arc<Reading>,
    /// What keeps a shared database tidy.
    pub(crate) roster: Option<Arc<PostgresRoster>>,
    pub(crate) end: End,
}

/// What is left to do when nobody uses the data any more.
pub(crate) enum End {
    Journal(JournalThread, Option<ReadingThread>),
    Instance { instance: Instance, listening: JoinHandle<()> },
}

impl End {
    /// Commits what waits, and says goodbye to the other instances.
    pub(crate) async fn reach(self) -> anyhow::Result<()> {
        match self {
            Self::Journal(journal, reading) => {
                let stop = || {
                    if let Some(reading) = reading {
                        reading.stop();
                    }
                    journal.stop();
                };
                tokio::task::spawn_blocking(stop).await?;
            }
            Self::Instance { instance, listening } => {
                instance.stop().await;
                listening.abort();
            }
        }
        Ok(())
    }
}

/// Where the data are, for people.
pub(crate) fn place(folder: &Path, config: &Config) -> String {
    match &config.storage.url {
        Some(_) => "the PostgreSQL database of 'storage.url'".to_owned(),
        None => folder.display().to_string(),
    }
}

/// Refuses a command that works on a data folder alone where the data are in a database. `instead` says what to do.
pub(crate) fn only_in_a_folder(config: &Config, instead: &str) -> anyhow::Result<()> {
    if config.storage.url.is_some() {
        bail!(WrongUse(format!(
            "this works on a data folder alone, and the data are in {}: {instead}",
            place(&config.data, config)
        )));
    }
    Ok(())
}

/// How the database of the configuration is reached, if it names one.
pub(crate) fn postgres(config: &Config) -> anyhow::Result<Option<PostgresOptions>> {
    let storage = &config.storage;
    let Some(url) = &storage.url else { return Ok(None) };
    Ok(Some(PostgresOptions {
        password: storage.password_file.as_deref().map(read_password).transpose()?,
        ca_file: storage.ca_file.clone(),
        pool: storage.pool,
        connect_timeout: storage.connect_timeout,
        statement_timeout: storage.statement_timeout,
        ..PostgresOptions::new(url)
    }))
}

fn read_password(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| {
        let file = file.display();
        format!("the database's password cannot be read from {file}, which 'storage.password_file' names")
    })?;
    // Editors and `echo` end it with a line.
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!(
            "{} is empty; 'storage.password_file' names the file with the database's password",
            file.display()
        );
    }
    Ok(password.to_owned())
}

impl Store {
    /// Opens the data of the configuration, of the demo or not. The demo's are made if there are none.
    pub(crate) async fn open(is_demo: bool, folder: &Path, config: &Config) -> anyhow::Result<Self> {
        let (store, kind) = match postgres(config)? {
            Some(options) => {
                let store = open_postgres(is_demo, &options, config).await?;
                let kind = store.kind();
                (Self::Postgres(Box::new(store)), kind)
            }
            None => {
                let store = open_sqlite(is_demo, folder, config)?;
                let kind = store.kind();
                (Self::Sqlite(Box::new(store)), kind)
            }
        };
        let place = place(folder, config);
        match (kind, is_demo) {
            (Kind::Demo, true) | (Kind::Real, false) => Ok(store),
            (Kind::Real, true) => bail!(
                "{place} holds real data, not the demo's; name another folder with --data, or another database"
            ),
            (Kind::Demo, false) => bail!(
                "{place} holds the demo's data, whose secrets are public; serve it with --demo, or make other data with \
                 'doorward init'"
            ),
        }
    }

    /// Puts the data to work.
    pub(crate) async fn start(self, config: &Config, metrics: &Arc<Metrics>) -> anyhow::Result<Running> {
        match self {
            Self::Sqlite(store) => start_sqlite(*store, config, metrics),
            Self::Postgres(store) => start_postgres(*store, config, metrics).await,
        }
    }
}

fn open_sqlite(is_demo: bool, folder: &Path, config: &Config) -> anyhow::Result<SqliteStore> {
    let tell = &mut |from, to| tracing::info!(from, to, "bringing data up to date, after a backup");
    let store = match SqliteStore::open_telling(folder, tell) {
        Err(OpenError::DatabaseMissing { .. } | OpenError::FolderMissing { .. }) if is_demo => {
            SqliteStore::create(folder, Kind::Demo, &demo::entries(config.passwords.cost())?)?
        }
        opened => opened?,
    };
    if let Some(Upgraded { from, to, backup }) = store.upgraded() {
        tracing::info!(from, to, backup = %backup.display(), "data brought up to date; the backup is as they were");
    }
    Ok(store)
}

async fn open_postgres(
    is_demo: bool,
    options: &PostgresOptions,
    config: &Config,
) -> anyhow::Result<PostgresStore> {
    match PostgresStore::open(options).await {
        Err(PostgresError::Empty { .. }) if is_demo => {}
        opened => return Ok(opened?),
    }
    match PostgresStore::create(options, Kind::Demo, &demo::entries(config.passwords.cost())?).await {
        // Another instance of the demo was faster.
        Err(PostgresError::AlreadyExists { .. }) => Ok(PostgresStore::open(options).await?),
        created => Ok(created?),
    }
}

fn start_sqlite(store: SqliteStore, config: &Config, metrics: &Arc<Metrics>) -> anyhow::Result<Running> {
    let clock = Clock::new(SystemTime);
    if let Some(latest) = store.latest() {
        let behind = clock.not_before(latest);
        if behind > Duration::from_secs(1) {
            tracing::warn!(
                behind = %humantime::format_duration(behind),
                "this machine's clock is behind the time of the last record; time goes on from that record, so that \
                 no token lives longer. Check the clock"
            );
        }
    }
    let table = Arc::new(SessionTable::default());
    let mut sessions = store.sessions()?;
    // Where there are few, nobody notices that they are read.
    let reading = if sessions.read(&table, clock.now())? {
        let reading = Reading::begun();
        reading.advance(sessions.progress());
        Arc::new(reading)
    } else {
        tracing::info!(sessions = sessions.live(), "sessions read");
        store.forget(&sessions.take_ended(), clock.now())?;
        Arc::default()
    };
    let (ledger, directory) = store.start(metrics.clone(), READERS)?;
    let directory = Arc::new(directory);
    let (journal, thread) = Journal::start_reading(ledger, table.clone(), reading.clone(), stop_at_once);
    let reading_thread = reading.progress().map(|_| {
        ReadingThread::start(Work {
            sessions,
            reading: reading.clone(),
            table: table.clone(),
            clock: clock.clone(),
            journal: journal.clone(),
            on_broken: stop_at_once,
        })
    });
    Ok(Running {
        sessions: Sessions::being_read(table, clock.clone(), reading.clone()),
        clock,
        journal,
        directory: directory.clone(),
        catalogue: directory,
        attempts: Attempts::new(config.passwords.queue),
        standing: None,
        reading,
        roster: None,
        end: End::Journal(thread, reading_thread),
    })
}

/// Whether the last commit is on disk is not known, so nothing more may be answered, even if nobody reads this.
fn stop_at_once(problem: String) {
    std::thread::spawn(move || {
        eprintln!("doorward: {problem}");
        std::process::exit(1);
    });
    std::thread::park_timeout(LAST_WORDS);
    std::process::exit(1);
}

async fn start_postgres(
    store: PostgresStore,
    config: &Config,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Running> {
    let store_clock = StoreClock::new(SystemTime);
    let clock = Clock::new(store_clock.clone());
    let (ledger, directory, roster) = store.start(metrics.clone())?;
    let (directory, roster) = (Arc::new(directory), Arc::new(roster));
    let counts = Arc::new(directory.attempts());
    let attempts = Attempts::share(counts, config.passwords.queue, &SystemRandomness).await?;
    let (joining, mut joined) = watch::channel(Joining::default());
    let cluster = &config.cluster;
    let parts = InstanceParts {
        ledger,
        roster: roster.clone(),
        source: directory.clone(),
        clock: clock.clone(),
        lease_clock: clock.clone(),
        pace: Pace {
            lease: cluster.lease,
            heartbeat: cluster.heartbeat,
            poll_interval: cluster.poll_interval,
        },
        name: cluster::name(config),
        memory: cluster.memory * 1024 * 1024,
        observer: Arc::new(Watcher {
            clock: store_clock,
            metrics: metrics.clone(),
            joining,
            told: Mutex::default(),
        }),
    };
    let (instance, sessions, journal) = Instance::start(parts, stop_at_once);
    let standing = instance.standing();
    let listening = tokio::spawn({
        let (roster, standing) = (roster.clone(), standing.clone());
        async move { roster.listen(move || standing.wake()).await }
    });
    let end = End::Instance { instance, listening };
    let settled = timeout(FIRST_LEASE, joined.wait_for(|joining| *joining != Joining::Waiting)).await;
    let problem = match settled.map(|settled| settled.map(|joining| joining.clone())) {
        Ok(Ok(Joining::Joined)) => None,
        Ok(Ok(Joining::Refused(reason))) => Some(reason),
        _ => Some("the database does not let this instance join the others; see the log".to_owned()),
    };
    if let Some(problem) = problem {
        drop((sessions, journal));
        end.reach().await?;
        bail!(problem);
    }
    Ok(Running {
        clock,
        sessions,
        journal,
        directory: directory.clone(),
        catalogue: directory,
        attempts,
        standing: Some(standing),
        reading: Arc::default(),
        roster: Some(roster),
        end,
    })
}
