//! How sessions ended: noted by the ledger, told by the directory, forgotten after a while.

use std::time::Duration;

use doorward_domain::{
    catalogue::Ending,
    change::{Change, EndCause},
    clock::Timestamp,
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
    session::{Departed, Method, PastSession, REMEMBERED_FOR, Scope, SessionNumber},
};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::uses::{self, Vacated};

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

impl Ended {
    /// One that has ended by itself or with others.
    pub(super) fn of(departed: &Departed, at: Timestamp) -> Self {
        let Departed { number, organisation, last_used_at } = *departed;
        Self { number, at, organisation, last_used_at, released: None }
    }
}

/// Deletes a session and remembers it, if it is there. Its last use goes when `vacated` deletes what is empty, and with the
/// log.
pub(super) fn end(connection: &Connection, ended: &Ended, vacated: &mut Vacated) -> Result<()> {
    let sql = "
        INSERT OR IGNORE INTO ended_session (session, number, organisation, unit, user, key, issued_at, last_used_at,
                                             idle_ms, ends_at, at, released_at, released_by)
        SELECT substr(digest, 1, 16), number,
               coalesce(?2, (SELECT organisation FROM user WHERE id = session.user),
                        (SELECT organisation FROM unit WHERE id = session.unit)),
               unit, user, key, issued_at,
               max(doorward_last_use(number, issued_at, session_use_block.last_used_at), ?3),
               idle_ms, ends_at, ?4, CASE WHEN ?5 THEN ?4 END, ?6
        FROM session LEFT JOIN session_use_block ON block = number / 128 WHERE number = ?1";
    connection.prepare_cached(sql)?.execute(params![
        ended.number.0,
        ended.organisation.map(OrganisationId::to_bytes),
        ended.last_used_at.as_millis(),
        ended.at.as_millis(),
        ended.released.is_some(),
        ended.released.flatten().map(UserId::to_bytes),
    ])?;
    let deleted =
        connection.prepare_cached("DELETE FROM session WHERE number = ?1")?.execute([ended.number.0])?;
    if deleted > 0 {
        vacated.add(ended.number);
    }
    Ok(())
}

/// Ends all sessions for good, because the data were restored from a backup, and remembers them. The numbers go on from
/// where they were, so that none is given a second time.
pub(super) fn end_all(connection: &Connection, at: Timestamp) -> Result<()> {
    uses::fold_all(connection)?;
    let remember = "
        INSERT OR IGNORE INTO ended_session (session, number, organisation, unit, user, key, issued_at, last_used_at,
                                             idle_ms, ends_at, at)
        SELECT substr(digest, 1, 16), number, user.organisation, unit, user, key, issued_at,
               doorward_last_use(number, issued_at, session_use_block.last_used_at), idle_ms, ends_at, ?1
        FROM session LEFT JOIN session_use_block ON block = number / 128
             LEFT JOIN user ON user.id = session.user";
    connection.execute(remember, [at.as_millis()])?;
    connection.execute_batch("DELETE FROM session; DELETE FROM session_use_block;")?;
    let end = "
        INSERT INTO ending (number, scope, at, cause)
        SELECT next_number - 1 + row_number() OVER (ORDER BY id), id, ?1, ?2 FROM organisation, journal_state";
    connection.execute(end, params![at.as_millis(), EndCause::Restored.as_str()])?;
    let go_on = "UPDATE journal_state SET next_number = next_number + (SELECT count(*) FROM organisation)";
    connection.execute(go_on, [])?;
    Ok(())
}

/// Notes what ended all sessions of a scope.
pub(super) fn note_ending(
    connection: &Connection,
    change: &Change,
    number: SessionNumber,
    at: Timestamp,
    actor: Option<UserId>,
) -> Result<()> {
    let (Some(scope), Some(cause)) = (change.ends(), change.cause()) else { return Ok(()) };
    let scope = match scope {
        Scope::Organisation(id) => id.to_bytes(),
        Scope::Unit(id) => id.to_bytes(),
        Scope::User(id) => id.to_bytes(),
        Scope::Key(_, id) => id.to_bytes(),
    };
    let sql = "INSERT INTO ending (number, scope, at, cause, actor) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(sql)?.execute(params![
        number.0,
        scope,
        at.as_millis(),
        cause.as_str(),
        actor.map(UserId::to_bytes),
    ])?;
    Ok(())
}

/// Forgets what has been remembered long enough, the oldest first: `limit` sessions and as many endings at most.
///
/// A session is remembered from when it was found to have ended, which is later than its ending if the server was down.
/// So endings are remembered twice as long, and only a server that was down for longer than that has lost the cause.
pub(super) fn forget(connection: &Connection, now: Timestamp, limit: usize) -> Result<()> {
    for (find, delete, time) in [
        (
            "SELECT place, at FROM ended_session ORDER BY place LIMIT ?1",
            "DELETE FROM ended_session WHERE place = ?1",
            REMEMBERED_FOR,
        ),
        (
            "SELECT number, at FROM ending ORDER BY number LIMIT ?1",
            "DELETE FROM ending WHERE number = ?1",
            2 * REMEMBERED_FOR,
        ),
    ] {
        let before = now.minus(time).as_millis();
        let mut statement = connection.prepare_cached(find)?;
        let rows = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })?;
        let mut old = Vec::new();
        for row in rows {
            let (place, at) = row?;
            if at >= before {
                break;
            }
            old.push(place);
        }
        let mut statement = connection.prepare_cached(delete)?;
        for place in old {
            statement.execute([place])?;
        }
    }
    Ok(())
}

/// What is remembered of a session that has ended.
pub(super) fn find(connection: &Connection, session: SessionId) -> Result<Option<PastSession>> {
    let sql = "
        SELECT number, organisation, unit, user, key, issued_at, last_used_at, idle_ms, ends_at, released_at, released_by
        FROM ended_session WHERE session = ?1";
    connection.prepare_cached(sql)?.query_row([session.to_bytes()], read).optional()
}

fn read(row: &Row<'_>) -> Result<PastSession> {
    let released_at: Option<i64> = row.get(9)?;
    let released_by = row.get::<_, Option<_>>(10)?.map(UserId::from_bytes);
    Ok(PastSession {
        number: SessionNumber(row.get(0)?),
        organisation: row.get::<_, Option<_>>(1)?.map(OrganisationId::from_bytes),
        unit: UnitId::from_bytes(row.get(2)?),
        user: UserId::from_bytes(row.get(3)?),
        method: row
            .get::<_, Option<_>>(4)?
            .map_or(Method::Password, |key| Method::WebApiKey(KeyId::from_bytes(key))),
        issued_at: Timestamp::from_millis(row.get(5)?),
        last_used_at: Timestamp::from_millis(row.get(6)?),
        idle: row.get::<_, Option<u64>>(7)?.map(Duration::from_millis),
        ends_at: Timestamp::from_millis(row.get(8)?),
        released: released_at.map(|at| (Timestamp::from_millis(at), released_by)),
    })
}

/// The first ending that reached a session: of its organisation, unit, user or Web API key, with a number that is not
/// below its own.
pub(super) fn find_ending(connection: &Connection, session: &PastSession) -> Result<Option<Ending>> {
    let sql = "
        SELECT number, at, cause, actor FROM ending WHERE scope = ?1 AND number >= ?2 ORDER BY number LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut first: Option<(u64, Ending)> = None;
    let scopes = [
        session.organisation.map(OrganisationId::to_bytes),
        Some(session.unit.to_bytes()),
        Some(session.user.to_bytes()),
        session.method.key().map(KeyId::to_bytes),
    ];
    for scope in scopes.into_iter().flatten() {
        let found = statement.query_row(params![scope, session.number.0], |row| {
            let cause: String = row.get(2)?;
            let ending = Ending {
                at: Timestamp::from_millis(row.get(1)?),
                cause: EndCause::ALL.into_iter().find(|known| known.as_str() == cause),
                actor: row.get::<_, Option<_>>(3)?.map(UserId::from_bytes),
            };
            Ok((row.get::<_, u64>(0)?, ending))
        });
        if let Some((number, ending)) = found.optional()?
            && first.as_ref().is_none_or(|(known, _)| number < *known)
        {
            first = Some((number, ending));
        }
    }
    Ok(first.map(|(_, ending)| ending))
}
