//! What does not hurry: moving sessions that have ended out of the way, and shortening the release log.
//!
//! No instance knows all sessions, so which have ended is looked for in the database, some numbers at a time, by whichever
//! instance comes first.

use deadpool_postgres::Object;
use doorward_domain::clock::Timestamp;
use tokio_postgres::Error;

use super::{ended, values::big};

/// What came of a look at some sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many of them had ended.
    pub ended: u64,
    /// Whether there are more to look at now: the last was not reached, and nobody else is at it.
    pub is_more: bool,
}

/// How long after its time a session is still left alone: another instance may know of a use that it has not written
/// yet, and its clock may be behind.
const GRACE_MS: i64 = 60_000;

/// How long nobody looks at any session after all were looked at, however many instances there are; by a clock that may be
/// set to another time.
const PAUSE_MS: i64 = 30_000;

/// Moves sessions between two numbers that have ended: whose time is over, who stand at or below a mark, or whose rows
/// are gone. One that somebody writes at the moment is left to the next time.
const MOVE: &str = r#"
    WITH found AS (
        SELECT session.*, session_use.last_used_at, coalesce("user".organisation, unit.organisation) AS organisation
        FROM session
        JOIN session_use ON session_use.number = session.number
        LEFT JOIN "user" ON "user".id = session."user"
        LEFT JOIN organisation ON organisation.id = "user".organisation
        LEFT JOIN unit ON unit.id = session.unit
        LEFT JOIN web_api_key ON web_api_key.id = session.key
        WHERE session.number > $1 AND session.number <= $2
          AND (least(session.ends_at, session_use.last_used_at + session.idle_ms) <= $3::bigint - $4::bigint
               OR organisation.id IS NULL OR session.number <= organisation.ended
               OR session.number <= "user".ended
               OR unit.id IS NULL OR unit.organisation <> organisation.id OR session.number <= unit.ended
               OR session.key IS NOT NULL
                  AND (web_api_key.id IS NULL OR web_api_key."user" <> session."user"
                       OR session.number <= web_api_key.ended))
        ORDER BY session.number
        FOR UPDATE OF session, session_use SKIP LOCKED
    ), deleted AS (
        DELETE FROM session USING found WHERE session.number = found.number
    ), unused AS (
        DELETE FROM session_use USING found WHERE session_use.number = found.number
    ), remembered AS (
        INSERT INTO ended_session (session, number, organisation, unit, "user", key, issued_at, last_used_at, idle_ms,
                                   ends_at, at)
        SELECT substr(digest, 1, 16), number, organisation, unit, "user", key, issued_at, last_used_at, idle_ms, ends_at,
               $3
        FROM found ORDER BY number
        ON CONFLICT ON CONSTRAINT ended_session_session DO NOTHING
    )
    SELECT count(*) FROM found"#;

pub(super) async fn sweep(connection: &mut Object, limit: usize) -> Result<Swept, Error> {
    let limit = big(limit.max(1) as u64);
    let transaction = connection.transaction().await?;
    let claim = "
        SELECT next FROM sweep
        WHERE next > 0 OR done_at IS NULL
              OR abs((extract(epoch FROM clock_timestamp()) * 1000)::bigint - done_at) >= $1
        FOR UPDATE SKIP LOCKED";
    let claim = transaction.prepare_cached(claim).await?;
    let Some(row) = transaction.query_opt(&claim, &[&PAUSE_MS]).await? else { return Ok(Swept::default()) };
    let next: i64 = row.try_get(0)?;
    let range = "
        SELECT count(*), max(number), (extract(epoch FROM clock_timestamp()) * 1000)::bigint
        FROM (SELECT number FROM session WHERE number > $1 ORDER BY number LIMIT $2) AS next";
    let range = transaction.prepare_cached(range).await?;
    let row = transaction.query_one(&range, &[&next, &limit]).await?;
    let (count, last, now) =
        (row.try_get::<_, i64>(0)?, row.try_get::<_, Option<i64>>(1)?, row.try_get::<_, i64>(2)?);
    let is_more = count == limit;
    let mut ended = 0;
    if let Some(last) = last {
        let found = transaction.prepare_cached(MOVE).await?;
        let row = transaction.query_one(&found, &[&next, &last, &now, &GRACE_MS]).await?;
        ended = row.try_get::<_, i64>(0)?.unsigned_abs();
    }
    let (sessions, endings) = ended::forgotten_before(Timestamp::from_millis(now));
    for (sql, before) in [(ended::FORGET_SESSIONS, sessions), (ended::FORGET_ENDINGS, endings)] {
        let forget = transaction.prepare_cached(sql).await?;
        // Twice as many as come, so that the oldest go however many there are.
        transaction.execute(&forget, &[&(2 * limit), &before]).await?;
    }
    let note = "UPDATE sweep SET next = $1, done_at = coalesce($2, done_at)";
    let note = transaction.prepare_cached(note).await?;
    let (next, done_at) = if is_more { (last, None) } else { (Some(0), Some(now)) };
    transaction.execute(&note, &[&next, &done_at]).await?;
    transaction.commit().await?;
    Ok(Swept { ended, is_more })
}

/// How many records are kept for operators, whoever has applied them.
const KEPT: i64 = 10_000;
/// How many are deleted at once.
const PRUNED: i64 = 10_000;

/// Deletes the oldest records that every instance has applied. Who registers from now on begins behind them.
pub(super) async fn prune_log(connection: &Object) -> Result<u64, Error> {
    let sql = "
        DELETE FROM release_log WHERE number IN (
            SELECT number FROM release_log
            WHERE number <= least((SELECT head - $1 FROM journal_state), (SELECT min(applied) FROM instance))
            ORDER BY number LIMIT $2)";
    let statement = connection.prepare_cached(sql).await?;
    connection.execute(&statement, &[&KEPT, &PRUNED]).await
}
