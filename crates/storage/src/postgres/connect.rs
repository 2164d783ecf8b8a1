//! Connections to PostgreSQL: to the host that takes writes, whichever that is now, and gone soon after the other side is.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    path::PathBuf,
    pin::Pin,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{
    Connect, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType, Timeouts,
};
use doorward_domain::journal::StoreError;
use tokio::{sync::Notify, task::JoinHandle, time::timeout};
use tokio_postgres::{
    AsyncMessage, Client, Config, Error, Statement,
    config::{Host, LoadBalanceHosts, TargetSessionAttrs},
};

use super::{
    error::{PostgresError, is_of_the_connection, is_undone, one_line, timed_out, unavailable},
    timeline::{self, Timelines},
    tls::Tls,
};

/// Where the database is and how it is reached.
#[derive(Clone)]
pub struct PostgresOptions {
    /// A URL as `libpq` takes it, of several hosts perhaps: the one that takes writes is worked with. Whatever its
    /// `sslmode`, where there is TLS the server's certificate is checked.
    pub url: String,
    /// The password, which the URL need not have.
    pub password: Option<String>,
    /// A PEM file with the certificates that the server's must come from; those that the system trusts without one.
    pub ca_file: Option<PathBuf>,
    /// What the server shows to its operators as the name of these connections.
    pub name: String,
    /// How many connections read at once.
    pub pool: usize,
    /// How long connecting to a host may take.
    pub connect_timeout: Duration,
    /// How long a statement may take.
    pub statement_timeout: Duration,
}

impl PostgresOptions {
    /// Usual options for a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            ca_file: None,
            name: "doorward".into(),
            pool: 8,
            connect_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for PostgresOptions {
    /// Without the URL and the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// Options that were read: where connections lead.
#[derive(Clone)]
pub(super) struct Target {
    config: Config,
    tls: Tls,
    /// The database and its hosts, for texts.
    pub(super) name: Arc<str>,
    pub(super) statement_timeout: Duration,
    pool: usize,
    timelines: Timelines,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.name)
    }
}

impl Target {
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, PostgresError> {
        let wrong = |reason: String| PostgresError::Options { reason };
        // What `libpq` calls so is what is done here with every TLS.
        let url = ["verify-full", "verify-ca"].iter().fold(options.url.clone(), |url, mode| {
            url.replace(&format!("sslmode={mode}"), "sslmode=require")
        });
        let mut config = Config::from_str(&url).map_err(|error| {
            // The error names what is wrong, not its value.
            let reason = super::error::describe(&error);
            wrong(format!("{reason}; write `storage.url` as postgres://USER@HOST:PORT/DATABASE"))
        })?;
        if config.get_hosts().is_empty() {
            return Err(wrong("`storage.url` names no host".into()));
        }
        if let Some(password) = &options.password {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name(&options.name);
        }
        config
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            // Who waits for hosts that are gone may be out of patience before the one that is there has its turn; then
            // it is another's turn the next time.
            .load_balance_hosts(LoadBalanceHosts::Random)
            .connect_timeout(options.connect_timeout)
            // Connections whose other side is gone without a word end about as fast as statements may take.
            .keepalives_idle(options.statement_timeout)
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(3)
            .tcp_user_timeout(options.statement_timeout);
        let tls = Tls::new(options.ca_file.as_deref()).map_err(wrong)?;
        let name = name(&config).into();
        let (statement_timeout, pool) = (options.statement_timeout, options.pool);
        Ok(Self { config, tls, name, statement_timeout, pool, timelines: Timelines::default() })
    }

    /// Connects. A driver of its own carries what is said; it ends with the connection.
    pub(super) async fn connect(&self) -> Result<Connection, Error> {
        self.connect_hearing(None).await
    }

    /// As [`Self::connect`], and tells `heard` of every notification and of the end of the connection.
    pub(super) async fn connect_hearing(&self, heard: Option<Arc<Notify>>) -> Result<Connection, Error> {
        let (client, mut connection) = self.config.connect(self.tls.clone()).await?;
        let warnings = Arc::new(AtomicU64::new(0));
        let counted = warnings.clone();
        let driver = tokio::spawn(async move {
            loop {
                match std::future::poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notice(_))) => {
                        counted.fetch_add(1, Ordering::Release);
                    }
                    Some(Ok(AsyncMessage::Notification(_))) => {
                        if let Some(heard) = &heard {
                            heard.notify_one();
                        }
                    }
                    Some(Ok(_)) => {}
                    // Whoever waits for an answer is told.
                    Some(Err(_)) | None => break,
                }
            }
            if let Some(heard) = &heard {
                heard.notify_one();
            }
        });
        let statements = HashMap::new();
        let mut connection = Connection { client, timeline: 0, warnings, driver, statements };
        self.set_up(&connection.client).await?;
        connection.timeline = self.admit(&connection.client, &mut connection.driver).await?;
        Ok(connection)
    }

    /// Fails if the connection leads to a primary that was replaced; gives the primary's timeline otherwise.
    async fn admit(&self, client: &Client, driver: &mut JoinHandle<()>) -> Result<u32, Error> {
        let timeline = timeline::read(client).await?;
        if !self.timelines.admit(timeline, driver.abort_handle()) {
            driver.abort();
            let _ = driver.await;
            // Now it is closed, and says so.
            client.batch_execute("").await?;
        }
        Ok(timeline)
    }

    /// What a connection is told first. An instance that stands still in the midst of a transaction must not hold its
    /// locks, for which others wait, longer than a statement may take.
    async fn set_up(&self, client: &Client) -> Result<(), Error> {
        let timeout = self.statement_timeout.as_millis();
        let sql = format!(
            "SET statement_timeout = {timeout}; SET idle_in_transaction_session_timeout = {timeout}; \
             SET client_min_messages = warning"
        );
        client.batch_execute(&sql).await?;
        // A plan is kept that was made when a table was small, and what is found fastest in a small table is read whole.
        // No question is so large that its plan is worth being compiled.
        prefer(client, "SET enable_seqscan = off; SET jit = off").await
    }

    /// Connections to read with, made when they are needed.
    pub(super) fn readers(&self) -> Result<Readers, PostgresError> {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(self.config.clone(), self.clone(), config);
        let pool = Pool::builder(manager)
            .max_size(self.pool.max(1))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| PostgresError::Options { reason: error.to_string() })?;
        Ok(Readers { pool, database: self.name.clone(), timeout: self.statement_timeout })
    }
}

/// What readers ask for stands behind an index, in its order, and is a page at most. The planner goes by averages: it would
/// rather sort what a user has, which is cheap for most of them, and read the whole of a table that was small when it
/// looked. Off is what it does only where there is no other way; that seems so expensive to it that it would compile the
/// plan.
const ALONG_INDEXES: &str = "SET enable_bitmapscan = off; SET enable_sort = off; SET enable_hashjoin = off; \
                             SET enable_mergejoin = off";

impl Connect for Target {
    fn connect(
        &self,
        _config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(async {
            let (client, connection) = self.config.connect(self.tls.clone()).await?;
            let mut driver = tokio::spawn(async move {
                // Whoever waits for an answer is told.
                let _ = connection.await;
            });
            self.set_up(&client).await?;
            prefer(&client, ALONG_INDEXES).await?;
            self.admit(&client, &mut driver).await?;
            Ok((client, driver))
        })
    }
}

/// Tells the server what makes things faster, if it knows how to.
pub(super) async fn prefer(client: &Client, sql: &str) -> Result<(), Error> {
    match client.batch_execute(sql).await {
        Err(error) if !is_undone(&error) => Err(error),
        _ => Ok(()),
    }
}

/// The database and its hosts, as operators know them.
fn name(config: &Config) -> String {
    let (hosts, ports) = (config.get_hosts(), config.get_ports());
    let hosts = hosts.iter().enumerate().map(|(place, host)| {
        // One port for all, or one for each.
        let port = ports.get(place).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(host) => format!("{host}:{port}"),
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    });
    let hosts = hosts.collect::<Vec<_>>().join(",");
    let database = config.get_dbname().or(config.get_user()).unwrap_or("postgres");
    one_line(format!("the PostgreSQL database {database:?} on {hosts}"))
}

/// A connection that one task at a time works with. Dropping it ends it at once, whatever is under way.
pub(super) struct Connection {
    pub(super) client: Client,
    /// Which primary it leads to.
    pub(super) timeline: u32,
    /// How often the server warned of something.
    warnings: Arc<AtomicU64>,
    driver: JoinHandle<()>,
    /// What was prepared, by its text.
    statements: HashMap<&'static str, Statement>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// The prepared form of a statement, made once for each connection.
    pub(super) async fn prepare(&mut self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// How often the server warned of something so far. A warning that comes with COMMIT says that the transaction was
    /// committed on this server, and that waiting for its standbys was broken off.
    pub(super) fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::Acquire)
    }

    /// Whether the other side is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connections that only read.
#[derive(Clone)]
pub(super) struct Readers {
    pool: Pool,
    /// For texts.
    pub(super) database: Arc<str>,
    timeout: Duration,
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Readers({})", self.database)
    }
}

impl Readers {
    /// How many connections there are at most.
    pub(super) fn most(&self) -> usize {
        self.pool.status().max_size
    }

    /// How long a question waits for its turn: half of the time that it has, so that the rest is left for the answer.
    pub(super) fn patience(&self) -> Duration {
        self.timeout / 2
    }

    /// Reads with a connection that is free, or makes one change by one statement. All of it, with waiting for the
    /// connection, takes no longer than a statement may; a connection that did not answer in that time is not used
    /// again.
    pub(super) async fn read<T>(
        &self,
        read: impl AsyncFnOnce(&Object) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        self.write(async |connection| read(connection).await).await
    }

    /// As [`Self::read`], for what needs a transaction.
    pub(super) async fn write<T>(
        &self,
        write: impl AsyncFnOnce(&mut Object) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        let within = async {
            let patience = Timeouts { wait: Some(self.patience()), ..Timeouts::default() };
            let connection = match self.pool.timeout_get(&patience).await {
                Ok(connection) => connection,
                Err(PoolError::Timeout(TimeoutType::Wait)) => return Err(StoreError::Busy),
                Err(PoolError::Backend(error)) => return Err(unavailable(&self.database, &error)),
                Err(_) => return Err(timed_out(&self.database)),
            };
            let mut used = Used(Some(connection));
            let answer = match &mut used.0 {
                Some(connection) => write(connection).await,
                None => return Err(timed_out(&self.database)),
            };
            // It answered, so it goes back to the others, unless it leads to a server that is no primary any more.
            if !answer.as_ref().is_err_and(is_of_the_connection) {
                drop(used.0.take());
            }
            answer.map_err(|error| unavailable(&self.database, &error))
        };
        timeout(self.timeout, within).await.unwrap_or_else(|_| Err(timed_out(&self.database)))
    }
}

/// A connection whose answer is waited for. Dropped before the answer came, it is given up: what comes of it later would
/// keep others waiting.
struct Used(Option<Object>);

impl Drop for Used {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}
