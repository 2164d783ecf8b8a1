//! The counts of failed logins, which all instances change: each change replaces a row by another in one statement, if
//! the row is as it was read. So no instance holds a row that others wait for longer than that statement takes.

use deadpool_postgres::Object;
use doorward_domain::{
    attempts::{AttemptCount, Gate, SharedAttempts, UnderWay},
    clock::Timestamp,
    directory::StoreFuture,
    id::UserId,
};
use tokio_postgres::{Error, Row};

use super::{
    columns::{Column, Read, get},
    connect::Readers,
    directory::{Values, query, query_one},
    error::is_conflict,
};

/// How many rows are forgotten at once.
const FORGOTTEN_AT_ONCE: i64 = 1_000;

/// Counts failed logins for all instances on a database.
#[derive(Clone, Debug)]
pub struct PostgresAttempts {
    connections: Readers,
}

impl PostgresAttempts {
    pub(super) fn new(connections: Readers) -> Self {
        Self { connections }
    }
}

impl SharedAttempts for PostgresAttempts {
    fn find_count(&self, gate: Gate) -> StoreFuture<'_, Option<AttemptCount>> {
        let sql = "
            SELECT failures, window_ends, locked_until, locks, under_way, overdue_at, stale_at
            FROM login_attempt WHERE gate = $1";
        Box::pin(self.connections.read(async move |connection| {
            query_one(connection, sql, &[&key(gate)], |row| count(row, 0)).await
        }))
    }

    fn list_counts(&self, users: Vec<UserId>) -> StoreFuture<'_, Vec<(Gate, AttemptCount)>> {
        // Behind the id of a user there is nothing, or a text, which has no such byte. In no order, which would be got by
        // reading all that there is.
        let sql = r"
            SELECT gate, failures, window_ends, locked_until, locks, under_way, overdue_at, stale_at
            FROM unnest($1::bytea[]) AS wanted (id)
            JOIN login_attempt ON gate BETWEEN wanted.id AND wanted.id || '\xff'::bytea";
        Box::pin(self.connections.read(async move |connection| {
            let ids: Vec<_> = users.iter().map(|user| user.to_bytes().to_vec()).collect();
            let rows = query(connection, sql, &[&ids]).await?;
            rows.iter().map(|row| Ok((get(row, 0)?, count(row, 1)?))).collect()
        }))
    }

    fn replace_count(
        &self,
        gate: Gate,
        from: Option<AttemptCount>,
        to: Option<AttemptCount>,
    ) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let (from, to) = match (from, to) {
                (None, None) => return Ok(self.find_count(gate).await?.is_none()),
                (from, to) => (from.map(Columns::of), to.map(Columns::of)),
            };
            self.connections
                .write(async move |connection| {
                    let replaced = replace(connection, &key(gate), from.as_ref(), to.as_ref()).await;
                    match replaced {
                        // Others were in the way: what they have done is to be read.
                        Err(error) if is_conflict(&error) => Ok(false),
                        replaced => replaced,
                    }
                })
                .await
        })
    }

    fn forget_counts(&self, now: Timestamp) -> StoreFuture<'_, ()> {
        // The time is compared again outside, for then it is that of the row that is deleted.
        let sql = "
            DELETE FROM login_attempt WHERE stale_at <= $1 AND gate IN (
                SELECT gate FROM login_attempt WHERE stale_at <= $1 ORDER BY stale_at LIMIT $2
            )";
        Box::pin(self.connections.write(async move |connection| {
            match execute(connection, sql, &[&now.as_millis(), &FORGOTTEN_AT_ONCE]).await {
                // Another instance forgets the same.
                Err(error) if is_conflict(&error) => Ok(()),
                forgotten => forgotten.map(drop),
            }
        }))
    }

    fn agree_on_key(&self, proposed: [u8; 16]) -> StoreFuture<'_, [u8; 16]> {
        Box::pin(self.connections.read(async move |connection| {
            let sql = "INSERT INTO gate_key (one, key) VALUES (1, $1) ON CONFLICT (one) DO NOTHING";
            // Committed for good: a database that forgets it in a crash would tell the next instance another.
            query(connection, sql, &[&proposed.as_slice()]).await?;
            let kept = query(connection, "SELECT key FROM gate_key WHERE one = 1", &[]).await?;
            kept.first().map_or(Ok(proposed), |row| get(row, 0))
        }))
    }
}

/// A count as it is stored.
struct Columns {
    failures: i64,
    window_ends: i64,
    locked_until: i64,
    locks: i64,
    under_way: Vec<i64>,
    overdue_at: Vec<i64>,
    stale_at: i64,
}

impl Columns {
    fn of(count: AttemptCount) -> Self {
        let AttemptCount { failures, window_ends, locked_until, locks, under_way, stale_at } = count;
        Self {
            failures: failures.into(),
            window_ends: window_ends.as_millis(),
            locked_until: locked_until.as_millis(),
            locks: locks.into(),
            // Any 64 bits.
            under_way: under_way.iter().map(|attempt| attempt.number.cast_signed()).collect(),
            overdue_at: under_way.iter().map(|attempt| attempt.overdue_at.as_millis()).collect(),
            stale_at: stale_at.as_millis(),
        }
    }
}

/// Replaces the row of a gate, if it is as it was read. `stale_at` follows from the rest and from rules that say nothing
/// of what was counted, so it is not compared.
async fn replace(
    connection: &Object,
    gate: &[u8],
    from: Option<&Columns>,
    to: Option<&Columns>,
) -> Result<bool, Error> {
    let changed = match (from, to) {
        (Some(from), Some(to)) => {
            let sql = "
                UPDATE login_attempt
                SET failures = $8, window_ends = $9, locked_until = $10, locks = $11, under_way = $12,
                    overdue_at = $13, stale_at = $14
                WHERE gate = $1 AND failures = $2 AND window_ends = $3 AND locked_until = $4 AND locks = $5
                    AND under_way = $6 AND overdue_at = $7";
            let values: Values<'_> = &[
                &gate,
                &from.failures,
                &from.window_ends,
                &from.locked_until,
                &from.locks,
                &from.under_way,
                &from.overdue_at,
                &to.failures,
                &to.window_ends,
                &to.locked_until,
                &to.locks,
                &to.under_way,
                &to.overdue_at,
                &to.stale_at,
            ];
            execute(connection, sql, values).await?
        }
        (None, Some(to)) => {
            let sql = "
                INSERT INTO login_attempt
                    (gate, failures, window_ends, locked_until, locks, under_way, overdue_at, stale_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                ON CONFLICT (gate) DO NOTHING";
            let values: Values<'_> = &[
                &gate,
                &to.failures,
                &to.window_ends,
                &to.locked_until,
                &to.locks,
                &to.under_way,
                &to.overdue_at,
                &to.stale_at,
            ];
            execute(connection, sql, values).await?
        }
        (Some(from), None) => {
            let sql = "
                DELETE FROM login_attempt
                WHERE gate = $1 AND failures = $2 AND window_ends = $3 AND locked_until = $4 AND locks = $5
                    AND under_way = $6 AND overdue_at = $7";
            let values: Values<'_> = &[
                &gate,
                &from.failures,
                &from.window_ends,
                &from.locked_until,
                &from.locks,
                &from.under_way,
                &from.overdue_at,
            ];
            execute(connection, sql, values).await?
        }
        (None, None) => 0,
    };
    Ok(changed > 0)
}

/// Executes a statement as a transaction that does not wait for disks and standbys. Instances see it at once. A crash of
/// the database, or a standby that takes over, may lose the counts of less than a second: a few more guesses, and no
/// lock of longer ago.
async fn execute(connection: &Object, sql: &'static str, values: Values<'_>) -> Result<u64, Error> {
    let statement = connection.prepare_cached(sql).await?;
    // In one go. If the statement fails, COMMIT undoes what is left of the transaction.
    let (begun, changed, ended) = tokio::join!(
        connection.batch_execute("BEGIN; SET LOCAL synchronous_commit = off"),
        connection.execute(&statement, values),
        connection.batch_execute("COMMIT"),
    );
    begun?;
    let changed = changed?;
    ended.map(|()| changed)
}

/// A gate as it is stored.
fn key(gate: Gate) -> Vec<u8> {
    match gate {
        Gate::Nobody(number) => number.to_be_bytes().to_vec(),
        Gate::User(user, network) => {
            let mut key = user.to_bytes().to_vec();
            key.extend(network.map(|network| network.to_string()).unwrap_or_default().bytes());
            key
        }
    }
}

impl<'a> Read<'a> for Gate {
    type Raw = &'a [u8];

    fn read(key: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match key.split_first_chunk() {
            Some((user, [])) => Self::User(UserId::from_bytes(*user), None),
            Some((user, network)) => {
                Self::User(UserId::from_bytes(*user), Some(std::str::from_utf8(network)?.parse()?))
            }
            None => Self::Nobody(u16::from_be_bytes(key.try_into()?)),
        })
    }
}

/// Reads a count from the columns that begin at `first`.
fn count(row: &Row, first: usize) -> Result<AttemptCount, Error> {
    let numbers: Vec<i64> = row.try_get(first + 4)?;
    let overdue_at: Vec<Column<Timestamp>> = row.try_get(first + 5)?;
    let under_way = numbers.into_iter().zip(overdue_at);
    Ok(AttemptCount {
        failures: get(row, first)?,
        window_ends: get(row, first + 1)?,
        locked_until: get(row, first + 2)?,
        locks: get(row, first + 3)?,
        under_way: under_way
            .map(|(number, overdue_at)| UnderWay { number: number.cast_unsigned(), overdue_at: overdue_at.0 })
            .collect(),
        stale_at: get(row, first + 6)?,
    })
}
