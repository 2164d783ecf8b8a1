//! How sessions ended, as it is remembered.

use std::time::Duration;

use deadpool_postgres::Object;
use doorward_domain::{
    catalogue::Ending,
    change::EndCause,
    id::{KeyId, OrganisationId, SessionId},
    session::{Method, PastSession},
};
use tokio_postgres::{Error, Row};

use super::{
    columns::{find, get},
    directory::query_one,
    values::big,
};

/// What is remembered of a session that has ended, also of one that an ending reached and that still takes up space.
pub(super) async fn find_session(
    connection: &Object,
    session: SessionId,
) -> Result<Option<PastSession>, Error> {
    let sql = r#"
        SELECT number, organisation, unit, "user", key, issued_at, last_used_at, idle_ms, ends_at, released_at,
               released_by
        FROM ended_session WHERE session = $1
        UNION ALL
        SELECT number, coalesce("user".organisation, unit.organisation), session.unit, session."user", session.key,
               session.issued_at, coalesce(last_used_at, session.issued_at), idle_ms, ends_at, NULL, NULL
        FROM session
        LEFT JOIN session_use USING (number)
        LEFT JOIN "user" ON "user".id = session."user"
        LEFT JOIN unit ON unit.id = session.unit
        LEFT JOIN organisation ON organisation.id = "user".organisation
        LEFT JOIN web_api_key ON web_api_key.id = session.key
        WHERE digest BETWEEN $2 AND $3
          AND number <= CASE WHEN organisation.id IS NULL OR unit.id IS NULL
                               OR session.key IS NOT NULL AND web_api_key.id IS NULL THEN number
                             ELSE greatest(organisation.ended, unit.ended, "user".ended, web_api_key.ended) END
        LIMIT 1"#;
    // A session's id is the first half of its digest.
    let id = session.to_bytes().to_vec();
    let half = |rest: u8| [session.to_bytes(), [rest; 16]].concat();
    query_one(connection, sql, &[&id, &half(0), &half(0xff)], read).await
}

fn read(row: &Row) -> Result<PastSession, Error> {
    let released_by = find(row, 10)?;
    Ok(PastSession {
        number: get(row, 0)?,
        organisation: find(row, 1)?,
        unit: get(row, 2)?,
        user: get(row, 3)?,
        method: find(row, 4)?.map_or(Method::Password, Method::WebApiKey),
        issued_at: get(row, 5)?,
        last_used_at: get(row, 6)?,
        idle: find(row, 7)?.map(Duration::from_millis),
        ends_at: get(row, 8)?,
        released: find(row, 9)?.map(|at| (at, released_by)),
    })
}

/// The first ending that reached a session: of its organisation, unit, user or Web API key, with a number that is not
/// below its own.
pub(super) async fn find_ending(connection: &Object, session: &PastSession) -> Result<Option<Ending>, Error> {
    let sql = "
        SELECT first.at, first.cause, first.actor
        FROM unnest($1::bytea[]) AS scope (id)
        CROSS JOIN LATERAL (
            SELECT number, at, cause, actor FROM ending
            WHERE ending.scope = scope.id AND ending.number >= $2 ORDER BY ending.number LIMIT 1
        ) AS first
        ORDER BY first.number LIMIT 1";
    let scopes = [
        session.organisation.map(OrganisationId::to_bytes),
        Some(session.unit.to_bytes()),
        Some(session.user.to_bytes()),
        session.method.key().map(KeyId::to_bytes),
    ];
    let scopes: Vec<Vec<u8>> = scopes.into_iter().flatten().map(Vec::from).collect();
    query_one(connection, sql, &[&scopes, &big(session.number.0)], |row| {
        let cause: String = get(row, 1)?;
        Ok(Ending {
            at: get(row, 0)?,
            cause: EndCause::ALL.into_iter().find(|known| known.as_str() == cause),
            actor: find(row, 2)?,
        })
    })
    .await
}
