//! How sessions ended: noted by the ledger, told by the directory, forgotten after a while.

use std::collections::HashSet;

use doorward_domain::{
    change::Change,
    clock::Timestamp,
    id::{OrganisationId, UserId},
    session::{REMEMBERED_FOR, Scope, SessionNumber},
};
use tokio_postgres::{Error, types::ToSql};

use super::{connect::Connection, values::big};

/// What ends a session for good, beside its own time.
pub(super) struct Ended {
    pub(super) number: SessionNumber,
    /// When it was found to have ended.
    pub(super) at: Timestamp,
    /// To whom it belonged, where memory knows it.
    pub(super) organisation: Option<OrganisationId>,
    /// Its last use, as far as memory knows of it.
    pub(super) last_used_at: Timestamp,
    /// Whether it was released, and by whom if not by its holder.
    pub(super) released: Option<Option<UserId>>,
}

/// Deletes sessions and remembers them, those that are there. What ends one twice, ends it as it does first.
pub(super) async fn end(connection: &mut Connection, ended: Vec<Ended>) -> Result<(), Error> {
    let mut known = HashSet::new();
    let ended: Vec<_> = ended.into_iter().filter(|ended| known.insert(ended.number)).collect();
    if ended.is_empty() {
        return Ok(());
    }
    let sql = r#"
        WITH gone AS (
            SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::boolean[], $6::bytea[])
                          AS gone (number, organisation, used_at, at, is_released, released_by)
        ), deleted AS (
            DELETE FROM session USING gone WHERE session.number = gone.number RETURNING session.*
        ), unused AS (
            DELETE FROM session_use USING gone WHERE session_use.number = gone.number RETURNING session_use.*
        )
        INSERT INTO ended_session (session, number, organisation, unit, "user", key, issued_at, last_used_at, idle_ms,
                                   ends_at, at, released_at, released_by)
        SELECT substr(deleted.digest, 1, 16), deleted.number,
               coalesce(gone.organisation, "user".organisation, unit.organisation), deleted.unit, deleted."user",
               deleted.key, deleted.issued_at,
               greatest(coalesce(unused.last_used_at, deleted.issued_at), gone.used_at), deleted.idle_ms, deleted.ends_at,
               gone.at, CASE WHEN gone.is_released THEN gone.at END, gone.released_by
        FROM deleted JOIN gone ON gone.number = deleted.number
        LEFT JOIN unused ON unused.number = deleted.number
        LEFT JOIN "user" ON "user".id = deleted."user"
        LEFT JOIN unit ON unit.id = deleted.unit
        ORDER BY deleted.number
        ON CONFLICT ON CONSTRAINT ended_session_session DO NOTHING"#;
    let statement = connection.prepare(sql).await?;
    let numbers: Vec<_> = ended.iter().map(|ended| big(ended.number.0)).collect();
    let organisations: Vec<_> = ended
        .iter()
        .map(|ended| ended.organisation.map(|organisation| organisation.to_bytes().to_vec()))
        .collect();
    let used_at: Vec<_> = ended.iter().map(|ended| ended.last_used_at.as_millis()).collect();
    let at: Vec<_> = ended.iter().map(|ended| ended.at.as_millis()).collect();
    let are_released: Vec<_> = ended.iter().map(|ended| ended.released.is_some()).collect();
    let released_by: Vec<_> =
        ended.iter().map(|ended| ended.released.flatten().map(|user| user.to_bytes().to_vec())).collect();
    let row: [&(dyn ToSql + Sync); 6] =
        [&numbers, &organisations, &used_at, &at, &are_released, &released_by];
    connection.client.execute(&statement, &row).await?;
    Ok(())
}

/// Notes what ended all sessions of a scope.
pub(super) async fn note_ending(
    connection: &mut Connection,
    change: &Change,
    number: SessionNumber,
    at: Timestamp,
    actor: Option<UserId>,
) -> Result<(), Error> {
    let (Some(scope), Some(cause)) = (change.ends(), change.cause()) else { return Ok(()) };
    let scope = match scope {
        Scope::Organisation(id) => id.to_bytes(),
        Scope::Unit(id) => id.to_bytes(),
        Scope::User(id) => id.to_bytes(),
        Scope::Key(_, id) => id.to_bytes(),
    };
    let sql = "INSERT INTO ending (number, scope, at, cause, actor) VALUES ($1, $2, $3, $4, $5)";
    let statement = connection.prepare(sql).await?;
    let actor = actor.map(|user| user.to_bytes().to_vec());
    let row: [&(dyn ToSql + Sync); 5] =
        [&big(number.0), &scope.as_slice(), &at.as_millis(), &cause.as_str(), &actor];
    connection.client.execute(&statement, &row).await?;
    Ok(())
}

/// Before when sessions that were found to have ended are forgotten, and endings.
///
/// A session is remembered from when it was found to have ended, which is later than its ending if no instance ran. So
/// endings are remembered twice as long, and only who was down for longer than that has lost the cause.
pub(super) fn forgotten_before(now: Timestamp) -> (i64, i64) {
    (now.minus(REMEMBERED_FOR).as_millis(), now.minus(2 * REMEMBERED_FOR).as_millis())
}

/// Forgets sessions that have been remembered long enough, among the oldest; what another instance is about to forget is
/// left to that one.
pub(super) const FORGET_SESSIONS: &str = "
    DELETE FROM ended_session WHERE place IN (
        SELECT place FROM ended_session
        WHERE place IN (SELECT place FROM (SELECT place, at FROM ended_session ORDER BY place LIMIT $1) AS first
                        WHERE at < $2)
        FOR UPDATE SKIP LOCKED)";

/// Forgets endings likewise.
pub(super) const FORGET_ENDINGS: &str = "
    DELETE FROM ending WHERE number IN (
        SELECT number FROM ending
        WHERE number IN (SELECT number FROM (SELECT number, at FROM ending ORDER BY number LIMIT $1) AS first
                         WHERE at < $2)
        FOR UPDATE SKIP LOCKED)";
