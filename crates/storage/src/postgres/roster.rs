//! The roster: what the instances on one database have in common.
//!
//! It has two connections of its own, so that leases are renewed however busy the ledger and the readers are. One renews
//! the lease, by commits that may wait for standbys; the other listens, reads the log and looks after the others. A call
//! that is given up leaves its connection behind in an unknown state, so the next one makes another.

use std::{
    future::Future,
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use doorward_domain::{
    clock::Timestamp,
    cluster::{
        InstanceId, Introduction, Laggard, LogNumber, LogRecord, Registered, Renewal, Roster, StoreTime,
    },
    directory::StoreFuture,
    journal::StoreError,
};
use tokio::{
    sync::{Mutex, Notify},
    time::timeout,
};
use tokio_postgres::{Error, Row, types::ToSql};

use super::{
    connect::{Connection, Readers, Target, prefer},
    error::{timed_out, unavailable},
    log,
    sweep::{self, Swept},
    values::big,
};

/// The roster of a database.
#[derive(Debug)]
pub struct PostgresRoster {
    target: Target,
    lease: Mutex<Option<Connection>>,
    log: Mutex<Option<Connection>>,
    /// Told when there may be something new in the log.
    news: Arc<Notify>,
    /// An instance with another lease, as it was first seen.
    other: std::sync::Mutex<Option<(Other, Instant)>>,
    following: std::sync::Mutex<Following>,
    /// What does not hurry goes over the readers' connections.
    readers: Readers,
}

/// The log that the instance follows: that of the primary it is registered with. A primary that takes over need not have
/// all that was read from the one before, only what was answered; what it writes then has the same numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Following {
    /// Which primary that is.
    timeline: Option<u32>,
    /// A registration that was given up because there is another primary.
    given_up: Option<InstanceId>,
}

/// An instance that has another lease.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Other {
    id: i64,
    name: String,
    lease_ms: i64,
    renewals: i64,
}

/// Why a call did not succeed.
enum Failure {
    Sql(Error),
    /// The transaction is on the primary, and waiting for the standbys was broken off.
    Unreplicated,
    /// A record of the log that this version does not understand.
    NotUnderstood,
    /// It is another primary than the one that the instance is registered with.
    Replaced,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

impl PostgresRoster {
    pub(super) fn new(target: Target, readers: Readers) -> Self {
        let (news, other) = (Arc::default(), std::sync::Mutex::default());
        let following = std::sync::Mutex::default();
        Self { target, lease: Mutex::default(), log: Mutex::default(), news, other, following, readers }
    }

    /// Calls `news` whenever there may be something new in the log, until it is dropped: when another instance says so,
    /// and when the connection that listens was lost or made. It is made by the first call that reads the log.
    pub async fn listen(&self, news: impl Fn()) {
        loop {
            self.news.notified().await;
            news();
        }
    }

    /// Looks at the next sessions, `limit` at most, and moves those that have ended to where it is remembered how. It does
    /// nothing while another instance is at it, or when all have been looked at a moment ago.
    pub fn sweep(&self, limit: usize) -> StoreFuture<'_, Swept> {
        Box::pin(self.readers.write(async move |connection| sweep::sweep(connection, limit).await))
    }

    /// Deletes records of the log that no instance needs any more.
    pub fn prune_log(&self) -> StoreFuture<'_, u64> {
        Box::pin(self.readers.read(async |connection| sweep::prune_log(connection).await))
    }

    /// Calls the database over one of the two connections, which is made if it is not there, within the time that a
    /// statement may take.
    async fn call<T>(
        &self,
        slot: &Mutex<Option<Connection>>,
        connect: impl Future<Output = Result<Connection, Error>>,
        call: impl AsyncFnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let within = async {
            let mut slot = slot.lock().await;
            let mut connection = match slot.take() {
                Some(connection) if !connection.is_closed() => connection,
                _ => connect.await?,
            };
            let answer = call(&mut connection).await?;
            // Only who got an answer leaves the connection as it was found.
            *slot = Some(connection);
            Ok(answer)
        };
        match timeout(self.target.statement_timeout, within).await {
            Ok(answer) => answer.map_err(|failure| match failure {
                Failure::Sql(error) => unavailable(&self.target.name, &error),
                Failure::Unreplicated => StoreError::Unavailable(format!(
                    "{} has not confirmed a write on its standbys; see PostgreSQL's log",
                    self.target.name
                )),
                Failure::Replaced => StoreError::Unavailable(format!(
                    "{} has another primary now, and this instance has not registered with it yet",
                    self.target.name
                )),
                Failure::NotUnderstood => StoreError::Unavailable(format!(
                    "{} has a record in the release log that this version does not know; install the version that \
                     the other instances have",
                    self.target.name
                )),
            }),
            Err(_) => Err(timed_out(&self.target.name)),
        }
    }

    async fn over_lease<T>(
        &self,
        call: impl AsyncFnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.call(&self.lease, self.target.connect(), call).await
    }

    async fn over_log<T>(
        &self,
        call: impl AsyncFnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let connect = async {
            let connection = self.target.connect_hearing(Some(self.news.clone())).await?;
            // Where it is not known, the log is read as often as the instance looks.
            prefer(&connection.client, "LISTEN doorward_log").await?;
            // What was said before it listened was not heard.
            self.news.notify_one();
            Ok(connection)
        };
        self.call(&self.log, connect, call).await
    }

    /// As [`Self::over_log`], for what makes sense only with the log that the instance follows.
    async fn over_followed_log<T>(
        &self,
        call: impl AsyncFnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.over_log(async |connection| {
            if self.following().timeline == Some(connection.timeline) {
                call(connection).await
            } else {
                Err(Failure::Replaced)
            }
        })
        .await
    }

    fn following(&self) -> MutexGuard<'_, Following> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an instance with another lease has been silent for as long as it may answer without a word. Nobody else
    /// may ever ask for it: only who releases a token removes who is silent.
    fn is_over(&self, other: &Other) -> bool {
        let mut known = self.other.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match &*known {
            Some((seen, since)) if seen == other => {
                now.duration_since(*since) >= Duration::from_millis(other.lease_ms.unsigned_abs())
            }
            _ => {
                *known = Some((other.clone(), now));
                false
            }
        }
    }
}

/// The time of the database, in milliseconds, and the latest that any instance has recorded.
const TIME: &str = "
    SELECT journal_state.head, (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
           greatest(journal_state.latest, (SELECT max(instance.latest) FROM instance))
    FROM journal_state";

fn read_time(row: &Row) -> Result<(LogNumber, StoreTime), Error> {
    let head = LogNumber(row.try_get::<_, i64>(0)?.unsigned_abs());
    let now = Timestamp::from_millis(row.try_get(1)?);
    let latest = row.try_get::<_, Option<_>>(2)?.map(Timestamp::from_millis);
    Ok((head, StoreTime { now, latest }))
}

fn read_records(rows: &[Row]) -> Result<Vec<LogRecord>, Failure> {
    rows.iter().map(|row| log::read(row)?.ok_or(Failure::NotUnderstood)).collect()
}

impl Roster for PostgresRoster {
    fn register(&self, introduction: Introduction) -> StoreFuture<'_, Result<Registered, String>> {
        Box::pin(self.over_lease(async move |connection| {
            let lease_ms = i64::try_from(introduction.lease.as_millis()).unwrap_or(i64::MAX);
            // One after the other, so that no two with different leases come in together.
            let client = &connection.client;
            client.batch_execute("BEGIN; SELECT head FROM journal_state FOR UPDATE").await?;
            let sql = "SELECT id, name, lease_ms, renewals FROM instance WHERE lease_ms <> $1 ORDER BY id LIMIT 1";
            while let Some(row) = client.query_opt(sql, &[&lease_ms]).await? {
                let (id, name, lease_ms, renewals) =
                    (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
                let other = Other { id, name, lease_ms, renewals };
                if !self.is_over(&other) {
                    client.batch_execute("ROLLBACK").await?;
                    return Ok(Err(refusal(&introduction, &other)));
                }
                client.execute(REMOVE, &[&other.id, &other.renewals]).await?;
            }
            // Only now, when nothing is answered from what was known under it.
            let given_up = self.following().given_up;
            if let Some(given_up) = given_up {
                client.execute(REMOVE, &[&big(given_up.0), &None::<i64>]).await?;
            }
            let sql = "
                INSERT INTO instance (name, lease_ms, applied, registered_at, renewed_at)
                SELECT $1, $2, head, now, now
                FROM (SELECT head, (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now FROM journal_state)
                     AS state
                RETURNING id";
            let row = client.query_one(sql, &[&introduction.name, &lease_ms]).await?;
            let instance = InstanceId(row.try_get::<_, i64>(0)?.unsigned_abs());
            let (head, time) = read_time(&client.query_one(TIME, &[]).await?)?;
            commit(connection).await?;
            *self.following() = Following { timeline: Some(connection.timeline), given_up: None };
            Ok(Ok(Registered { instance, head, time }))
        }))
    }

    fn renew(&self, instance: InstanceId, applied: LogNumber, latest: Timestamp) -> StoreFuture<'_, Renewal> {
        Box::pin(self.over_lease(async move |connection| {
            {
                let mut following = self.following();
                if following.timeline != Some(connection.timeline) {
                    following.given_up = Some(instance);
                    return Ok(Renewal::Removed);
                }
            }
            let renew = "
                UPDATE instance SET renewals = renewals + 1, applied = greatest(applied, $2),
                                    latest = greatest(latest, $3),
                                    renewed_at = (extract(epoch FROM clock_timestamp()) * 1000)::bigint
                WHERE id = $1";
            let renew = connection.prepare(renew).await?;
            let (time, read) = (connection.prepare(TIME).await?, connection.prepare(log::READ).await?);
            let (id, applied, latest) = (big(instance.0), big(applied.0), latest.as_millis());
            let row: [&(dyn ToSql + Sync); 3] = [&id, &applied, &latest];
            let after: [&(dyn ToSql + Sync); 1] = [&applied];
            let warnings = connection.warnings();
            let client = &connection.client;
            let (_, renewed, time, records, ()) = tokio::try_join!(
                biased;
                client.batch_execute("BEGIN"),
                client.execute(&renew, &row),
                client.query_one(&time, &[]),
                client.query(&read, &after),
                client.batch_execute("COMMIT"),
            )?;
            if connection.warnings() != warnings {
                return Err(Failure::Unreplicated);
            }
            if renewed == 0 {
                return Ok(Renewal::Removed);
            }
            let (head, time) = read_time(&time)?;
            Ok(Renewal::Renewed { head, records: read_records(&records)?, time })
        }))
    }

    fn read_log(&self, after: LogNumber) -> StoreFuture<'_, Vec<LogRecord>> {
        Box::pin(self.over_followed_log(async move |connection| {
            let statement = connection.prepare(log::READ).await?;
            read_records(&connection.client.query(&statement, &[&big(after.0)]).await?)
        }))
    }

    fn acknowledge(&self, instance: InstanceId, applied: LogNumber) -> StoreFuture<'_, ()> {
        Box::pin(self.over_followed_log(async move |connection| {
            let sql = "UPDATE instance SET applied = $2 WHERE id = $1 AND applied < $2";
            let statement = connection.prepare(sql).await?;
            let (id, applied) = (big(instance.0), big(applied.0));
            let row: [&(dyn ToSql + Sync); 2] = [&id, &applied];
            let client = &connection.client;
            tokio::try_join!(
                biased;
                client.batch_execute("BEGIN; SET LOCAL synchronous_commit = off"),
                client.execute(&statement, &row),
                client.batch_execute("COMMIT"),
            )?;
            Ok(())
        }))
    }

    fn list_laggards(&self, number: LogNumber) -> StoreFuture<'_, Vec<Laggard>> {
        Box::pin(self.over_followed_log(async move |connection| {
            let sql = "SELECT id, applied, renewals FROM instance WHERE applied < $1 ORDER BY id";
            let statement = connection.prepare(sql).await?;
            let rows = connection.client.query(&statement, &[&big(number.0)]).await?;
            let laggards = rows.iter().map(|row| {
                let value = |column| Ok::<_, Error>(row.try_get::<_, i64>(column)?.unsigned_abs());
                let (instance, applied) = (InstanceId(value(0)?), LogNumber(value(1)?));
                Ok(Laggard { instance, applied, renewals: value(2)? })
            });
            laggards.collect()
        }))
    }

    fn remove(&self, instance: InstanceId, renewals: u64) -> StoreFuture<'_, ()> {
        Box::pin(self.over_log(async move |connection| {
            let statement = connection.prepare(REMOVE).await?;
            connection.client.execute(&statement, &[&big(instance.0), &big(renewals)]).await?;
            Ok(())
        }))
    }

    fn leave(&self, instance: InstanceId) -> StoreFuture<'_, ()> {
        Box::pin(self.over_log(async move |connection| {
            let statement = connection.prepare(REMOVE).await?;
            connection.client.execute(&statement, &[&big(instance.0), &None::<i64>]).await?;
            Ok(())
        }))
    }
}

/// Removes an instance that was renewed this often and no more, or however often; what it has told stays known.
const REMOVE: &str = "
    WITH gone AS (
        DELETE FROM instance WHERE id = $1 AND renewals = coalesce($2, renewals) RETURNING latest
    )
    UPDATE journal_state SET latest = greatest(journal_state.latest, gone.latest) FROM gone";

async fn commit(connection: &Connection) -> Result<(), Failure> {
    let warnings = connection.warnings();
    connection.client.batch_execute("COMMIT").await?;
    if connection.warnings() == warnings { Ok(()) } else { Err(Failure::Unreplicated) }
}

/// Why an instance may not join while another one has another lease: each waits for the others as long as its own.
fn refusal(introduction: &Introduction, other: &Other) -> String {
    let Introduction { name, lease } = introduction;
    let others = Duration::from_millis(other.lease_ms.unsigned_abs());
    format!(
        "instance {:?} has `cluster.lease` {others:?} and this one, {name:?}, has {lease:?}: give all the same, and stop \
         those that have another first; one that died is forgotten after its lease",
        other.name,
    )
}
