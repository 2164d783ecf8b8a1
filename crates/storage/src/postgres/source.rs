//! Sessions, for instances that hold some of them in memory: one by its token, or a page of an organisation's.

use std::time::Duration;

use deadpool_postgres::Object;
use doorward_domain::{
    clock::Timestamp,
    cluster::{SessionSource, StoredSession},
    credential::TokenDigest,
    directory::StoreFuture,
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
    session::{Identity, Method, Session, SessionNumber},
    session_table::{SessionFilter, SessionPlace},
};
use tokio_postgres::{Error, Row};

use super::{
    PostgresDirectory,
    columns::{find, get},
    directory::{query, query_one},
    values::big,
};

/// A session with whom it speaks for, as [`read`] takes it. One is not there if a row that it hangs on is gone, or if it
/// is not younger than all of their marks.
macro_rules! select {
    ($from:expr, $rest:expr) => {
        concat!(
            r#"SELECT session.number, session.digest, session."user", session.unit, session.key, session.issued_at,
                      coalesce(session_use.last_used_at, session.issued_at), session.idle_ms, session.ends_at,
                      organisation.id, organisation.code, organisation.is_operator, unit.name, "user".username "#,
            $from,
            r#" LEFT JOIN session_use ON session_use.number = session.number
               LEFT JOIN web_api_key ON web_api_key.id = session.key AND web_api_key."user" = session."user"
               WHERE session.number > "user".ended AND session.number > organisation.ended
                 AND session.number > unit.ended
                 AND (session.key IS NULL OR session.number > web_api_key.ended) "#,
            $rest
        )
    };
}

/// The tables of sessions.
macro_rules! from_session {
    () => {
        from_session!("session")
    };
    ($session:literal) => {
        concat!(
            "FROM ",
            $session,
            r#"
           JOIN "user" ON "user".id = session."user"
           JOIN organisation ON organisation.id = "user".organisation
           JOIN unit ON unit.id = session.unit AND unit.organisation = "user".organisation"#
        )
    };
}

/// What a list asks of a session beside its place: `$2` to `$5`.
macro_rules! is_meant {
    () => {
        "AND ($2::bytea IS NULL OR session.unit = $2) AND ($3::bytea IS NULL OR session.key = $3)
         AND ($4::boolean IS NULL OR (session.key IS NOT NULL) = $4)
         AND session.ends_at > $5
         AND (session.idle_ms IS NULL
              OR coalesce(session_use.last_used_at, session.issued_at) + session.idle_ms > $5)"
    };
}

/// The sessions of one user, `$7`, or of the key's, behind a place: along the index `session_place`.
const OF_USER: &str = select!(
    from_session!(),
    concat!(
        is_meant!(),
        r#" AND "user".organisation = $1
            AND session."user" = coalesce($7::bytea, (SELECT "user" FROM web_api_key WHERE id = $3))
            AND (session.unit, coalesce(session.key, ''), session.number) > ($8::bytea, $9::bytea, $10::bigint)
            ORDER BY session.unit, coalesce(session.key, ''), session.number LIMIT $6"#
    )
);

/// The sessions of the users behind one, `$7`: of each user those that may stand on the page, along the same index.
const OF_USERS: &str = concat!(
    r#"SELECT found.* FROM (SELECT id FROM "user" WHERE organisation = $1 AND id > $7 ORDER BY id) AS owner
       CROSS JOIN LATERAL ("#,
    select!(
        from_session!(),
        concat!(
            is_meant!(),
            r#" AND session."user" = owner.id
                ORDER BY session.unit, coalesce(session.key, ''), session.number LIMIT $6"#
        )
    ),
    r#") AS found (number, digest, "user", unit, key, issued_at, last_used_at, idle_ms, ends_at, organisation, code,
                   is_operator, unit_name, username)
       ORDER BY owner.id, found.unit, coalesce(found.key, ''), found.number LIMIT $6"#
);

impl SessionSource for PostgresDirectory {
    fn find_session(&self, session: SessionId) -> StoreFuture<'_, Option<StoredSession>> {
        Box::pin(self.ask(async move |connection| find_session(connection, session).await))
    }

    fn list_sessions(
        &self,
        organisation: OrganisationId,
        filter: SessionFilter,
        after: Option<SessionPlace>,
        limit: usize,
        now: Timestamp,
    ) -> StoreFuture<'_, Vec<StoredSession>> {
        Box::pin(self.ask(async move |connection| {
            list_sessions(connection, organisation, filter, after, limit, now).await
        }))
    }
}

async fn find_session(connection: &Object, session: SessionId) -> Result<Option<StoredSession>, Error> {
    // A session's id is the first half of its digest. The limit says that there is one at most, which the range does not.
    let sql = select!(
        from_session!(
            "(SELECT * FROM session WHERE digest >= $1 AND digest <= $2 ORDER BY digest LIMIT 1) AS session"
        ),
        ""
    );
    let half = |rest: u8| [session.to_bytes(), [rest; 16]].concat();
    query_one(connection, sql, &[&half(0), &half(0xff)], read).await
}

async fn list_sessions(
    connection: &Object,
    organisation: OrganisationId,
    filter: SessionFilter,
    after: Option<SessionPlace>,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<StoredSession>, Error> {
    let organisation = organisation.to_bytes();
    let unit = filter.unit.map(|unit| unit.to_bytes().to_vec());
    let key = filter.key.map(|key| key.to_bytes().to_vec());
    let one_user = filter.user.is_some() || filter.key.is_some();
    let mut found = Vec::new();
    if one_user || after.is_some() {
        let user = filter.user.or(after.map(|after| after.user).filter(|_| filter.key.is_none()));
        // Behind another user of the list nothing is left, or all.
        let place = match (after, user) {
            (Some(after), Some(user)) if after.user > user => return Ok(found),
            (Some(after), Some(user)) if after.user < user => None,
            (after, _) => after,
        };
        let (unit_of, key_of, number) = place.map_or((Vec::new(), Vec::new(), 0), |place| {
            let key = place.key.map_or_else(Vec::new, |key| key.to_bytes().to_vec());
            (place.unit.to_bytes().to_vec(), key, big(place.number.0))
        });
        let user = user.map(|user| user.to_bytes().to_vec());
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 10] = [
            &organisation.as_slice(),
            &unit,
            &key,
            &filter.by_key,
            &now.as_millis(),
            &big(limit as u64),
            &user,
            &unit_of,
            &key_of,
            &number,
        ];
        for row in query(connection, OF_USER, &values).await? {
            found.push(read(&row)?);
        }
    }
    let left = limit - found.len();
    if !one_user && left > 0 {
        let after = after.map_or_else(Vec::new, |after| after.user.to_bytes().to_vec());
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
            &organisation.as_slice(),
            &unit,
            &key,
            &filter.by_key,
            &now.as_millis(),
            &big(left as u64),
            &after,
        ];
        for row in query(connection, OF_USERS, &values).await? {
            found.push(read(&row)?);
        }
    }
    Ok(found)
}

fn read(row: &Row) -> Result<StoredSession, Error> {
    let method = find::<KeyId>(row, 4)?.map_or(Method::Password, Method::WebApiKey);
    let session = Session {
        digest: TokenDigest::from_bytes(get(row, 1)?),
        issued_at: get(row, 5)?,
        last_used_at: get(row, 6)?,
        idle: find(row, 7)?.map(Duration::from_millis),
        ends_at: get(row, 8)?,
    };
    let identity = Identity {
        organisation: get(row, 9)?,
        organisation_code: get(row, 10)?,
        is_operator: get(row, 11)?,
        unit: get::<UnitId>(row, 3)?,
        unit_name: get(row, 12)?,
        user: get::<UserId>(row, 2)?,
        username: get(row, 13)?,
        method,
    };
    Ok(StoredSession { number: get::<SessionNumber>(row, 0)?, session, identity })
}
