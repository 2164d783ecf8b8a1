//! A database that an installation is moved to: written to and read back in one transaction.

use std::pin::pin;

use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt};
use tokio_postgres::types::{FromSql, ToSql, Type};

use super::{
    PostgresError, PostgresOptions,
    connect::{Connection, Target, prefer},
    error::describe,
    schema::{self, Found},
};
use crate::{
    moving::{Digester, Fingerprint, MoveError, Row, State, Table},
    sqlite::Departure,
    words,
};

/// After how many rows progress is told.
const STEP: u64 = 1_000;

/// The transaction. Dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Arrival {
    target: Target,
    connection: Connection,
}

impl Arrival {
    /// Makes the tables, if they are not there, and begins. Refuses a database that has data. Nobody else opens it or
    /// makes data there until this is dropped.
    pub(crate) async fn begin(options: &PostgresOptions) -> Result<Self, PostgresError> {
        let target = Target::new(options)?;
        let mut connection = schema::connect_alone(&target).await?;
        let found = schema::identify(&target, &connection.client).await?;
        if matches!(found, Found::Tables { has_data: true, .. }) {
            return Err(PostgresError::AlreadyExists { database: target.name.to_string() });
        }
        schema::migrate(&target, &mut connection.client, found).await?;
        let begin = async {
            // The other side reads, and nobody else waits for what is locked here. If it is gone without a word, that
            // is to be noticed all the same.
            connection.client.batch_execute("SET idle_in_transaction_session_timeout = 0").await?;
            let alive = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";
            prefer(&connection.client, alive).await?;
            // A creation that failed has left the beginnings of chains, with nothing in them.
            connection.client.batch_execute("BEGIN; DELETE FROM audit_chain WHERE number = 0").await
        };
        begin.await.map_err(|error| PostgresError::unusable(&target.name, &error))?;
        Ok(Self { target, connection })
    }

    /// The database and its hosts.
    pub(crate) fn database(&self) -> String {
        self.target.name.to_string()
    }

    /// Writes a table, and says what was written. Tells `tell` of rows that went.
    pub(crate) async fn write(
        &self,
        table: &'static Table,
        from: &Departure<'_>,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Fingerprint, MoveError> {
        let cut_off = |error| self.cut_off(&error);
        let sql = format!("COPY \"{}\" ({}) FROM STDIN (FORMAT binary)", table.name, table.list());
        let mut sink = pin!(self.connection.client.copy_in::<_, Bytes>(&sql).await.map_err(cut_off)?);
        let mut reading = from.prepare(table)?;
        let mut source = reading.rows()?;
        let (mut row, mut digester, mut untold) = (Row::first(), Digester::default(), 0);
        let mut lost = false;
        while !lost && source.next(&mut row)? {
            digester.add(&row);
            untold += 1;
            if let Some(part) = row.take_part() {
                // What is wrong is said at the end.
                lost = sink.send(part.into()).await.is_err();
                tell(untold);
                untold = 0;
            }
        }
        row.end();
        if !lost {
            lost = sink.send(row.take().into()).await.is_err();
        }
        let stored = sink.finish().await.map_err(cut_off)?;
        tell(untold);
        let written = digester.finish();
        if lost || stored != written.rows {
            let reason = format!("it took {stored} rows of '{}' and was sent {}", table.name, written.rows);
            return Err(MoveError::CutOff {
                reason: PostgresError::Unusable { database: self.database(), reason },
            });
        }
        Ok(written)
    }

    /// Notes what stands beside the tables, and what numbers go on from.
    pub(crate) async fn finish(&self, state: &State) -> Result<(), MoveError> {
        self.note(state).await.map_err(|error| self.cut_off(&error))
    }

    async fn note(&self, state: &State) -> Result<(), tokio_postgres::Error> {
        let client = &self.connection.client;
        let sql = "INSERT INTO journal_state (one, latest, kind, oldest_reader) VALUES (1, $1, $2, $3)";
        let oldest_reader = i32::try_from(schema::known()).unwrap_or(i32::MAX);
        client.execute(sql, &[&state.latest, &words::kind(state.kind), &oldest_reader]).await?;
        if state.last_number > 0 {
            // Drawn, it counts as taken: what ends now ends the sessions up to it.
            let restart = format!("ALTER SEQUENCE session_number RESTART WITH {}", state.last_number);
            client.batch_execute(&restart).await?;
            client.query_one("SELECT nextval('session_number')", &[]).await?;
        }
        for table in ["ended_session", "audit"] {
            let last = client.query_one(&format!("SELECT coalesce(max(place), 0) FROM {table}"), &[]).await?;
            let next = last.try_get::<_, i64>(0)?.max(0).saturating_add(1);
            client
                .batch_execute(&format!("ALTER TABLE {table} ALTER COLUMN place RESTART WITH {next}"))
                .await?;
        }
        Ok(())
    }

    /// What a table has now. Tells `tell` of rows that came.
    pub(crate) async fn read_back(
        &self,
        table: &Table,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Fingerprint, MoveError> {
        let sql = format!("SELECT {} FROM \"{}\" ORDER BY {}", table.list(), table.name, table.order());
        let read = async {
            let none: [&(dyn ToSql + Sync); 0] = [];
            let mut rows = pin!(self.connection.client.query_raw(&sql, none).await?);
            let (mut row, mut digester, mut untold) = (Row::first(), Digester::default(), 0);
            while let Some(found) = rows.try_next().await? {
                row.clear();
                row.begin(found.len());
                for place in 0..found.len() {
                    match found.try_get::<_, Option<Raw<'_>>>(place)? {
                        Some(Raw(value)) => row.raw(value),
                        None => row.null(),
                    }
                }
                digester.add(&row);
                untold += 1;
                if untold == STEP {
                    tell(untold);
                    untold = 0;
                }
            }
            tell(untold);
            Ok(digester.finish())
        };
        read.await.map_err(|error| self.cut_off(&error))
    }

    /// Has all of it stored, for good.
    pub(crate) async fn commit(self) -> Result<(), MoveError> {
        let unknown = |reason| MoveError::Unknown { database: self.database(), reason };
        let warnings = self.connection.warnings();
        let client = &self.connection.client;
        client.batch_execute("COMMIT").await.map_err(|error| unknown(describe(&error)))?;
        if self.connection.warnings() != warnings {
            return Err(unknown("its standbys did not confirm it".to_owned()));
        }
        // Without it the server plans for empty tables until it looks at them by itself. It is no harm if it fails.
        let _ = client.batch_execute("ANALYZE").await;
        Ok(())
    }

    fn cut_off(&self, error: &tokio_postgres::Error) -> MoveError {
        MoveError::CutOff { reason: PostgresError::unusable(&self.target.name, error) }
    }
}

/// A value as it is sent, of whatever type.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
