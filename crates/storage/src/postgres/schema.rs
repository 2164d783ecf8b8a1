//! The database as such: how it is recognised, made and migrated.

use tokio_postgres::Client;

use super::{
    PostgresError,
    connect::{Connection, Target},
    error::{describe, one_line},
};

refinery::embed_migrations!("migrations/postgres");

/// The advisory lock that who makes or changes tables holds: "Door".
const LOCK: i64 = 0x446f_6f72;

/// What is found in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing of ours.
    Nothing,
    /// Tables of this schema. Without data: making them was cut off.
    Tables { schema: i64, has_data: bool },
}

/// The newest schema that this version knows.
pub(super) fn known() -> i64 {
    let migrations = migrations::runner();
    let versions = migrations.get_migrations().iter().map(|migration| i64::from(migration.version()));
    versions.max().unwrap_or_default()
}

/// Connects, and keeps all others from making or changing tables until the connection is dropped.
pub(super) async fn connect_alone(target: &Target) -> Result<Connection, PostgresError> {
    let unusable = |error| PostgresError::unusable(&target.name, &error);
    let connection = target.connect().await.map_err(unusable)?;
    let encoding = connection.client.query_one("SHOW server_encoding", &[]).await.map_err(unusable)?;
    if encoding.get::<_, &str>(0) != "UTF8" {
        let reason =
            "its encoding is not UTF8; make another with `createdb --encoding=UTF8 --template=template0`";
        return Err(PostgresError::Unusable { database: target.name.to_string(), reason: reason.into() });
    }
    // Whoever changes many data takes their time.
    connection.client.batch_execute("SET statement_timeout = 0").await.map_err(unusable)?;
    connection.client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(unusable)?;
    Ok(connection)
}

/// Says what a database has. Refuses what is not ours, and a schema that this version does not stand.
pub(super) async fn identify(target: &Target, client: &Client) -> Result<Found, PostgresError> {
    let unusable = |error| PostgresError::unusable(&target.name, &error);
    let not_ours = || PostgresError::NotDoorward { database: target.name.to_string() };
    let sql = "
        SELECT table_name::text FROM information_schema.tables
        WHERE table_schema = current_schema() AND table_name IN ('refinery_schema_history', 'journal_state')";
    let tables = client.query(sql, &[]).await.map_err(unusable)?;
    match tables.len() {
        0 => return Ok(Found::Nothing),
        2 => {}
        _ => return Err(not_ours()),
    }
    let sql = "SELECT version, name FROM refinery_schema_history ORDER BY version";
    let applied = client.query(sql, &[]).await.map_err(unusable)?;
    let is_ours = applied.first().is_some_and(|first| first.get::<_, &str>(1) == "directory_and_journal");
    let Some(newest) = applied.last().filter(|_| is_ours) else { return Err(not_ours()) };
    let (schema, known) = (i64::from(newest.get::<_, i32>(0)), known());
    let sql = "SELECT oldest_reader FROM journal_state";
    let state = client.query_opt(sql, &[]).await.map_err(unusable)?;
    let oldest = state.as_ref().map(|state| i64::from(state.get::<_, i32>(0)));
    if schema > known && oldest.is_none_or(|oldest| oldest > known) {
        let (database, oldest) = (target.name.to_string(), oldest.unwrap_or(schema));
        return Err(PostgresError::Newer { database, found: schema, oldest, known });
    }
    Ok(Found::Tables { schema, has_data: state.is_some() })
}

/// Brings the schema up to date in one transaction, if it is older than known. A newer one that this version stands is
/// left alone.
pub(super) async fn migrate(target: &Target, client: &mut Client, found: Found) -> Result<(), PostgresError> {
    let (known, found) = (
        known(),
        match found {
            Found::Nothing => 0,
            Found::Tables { schema, .. } => schema,
        },
    );
    if found >= known {
        return Ok(());
    }
    match migrations::runner().set_grouped(true).run_async(client).await {
        Ok(_) => Ok(()),
        Err(error) => Err(PostgresError::NotUpgraded {
            database: target.name.to_string(),
            found,
            known,
            reason: reason(&error),
        }),
    }
}

/// Why a migration failed: PostgreSQL's own words, where it has said something.
fn reason(error: &refinery::Error) -> String {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<tokio_postgres::Error>() {
            return describe(error);
        }
        source = cause.source();
    }
    one_line(error)
}
