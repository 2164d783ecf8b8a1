//! Filling the session table at start.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use doorward_domain::{
    clock::Timestamp,
    credential::TokenDigest,
    id::{KeyId, OrganisationId, UnitId, UserId},
    session::{Identity, Method, Session, SessionNumber},
    session_table::SessionTable,
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Result, Row, params};

use super::{
    OpenError, SqliteStore,
    ended::{self, Ended},
    error::is_full,
};

/// After how many sessions progress is told.
const STEP: u64 = 50_000;
/// How many sessions are deleted in one transaction.
const CHUNK: usize = 10_000;

impl SqliteStore {
    /// Fills the table with the sessions that are live at `now`, and deletes the others. `now` must not be earlier
    /// than [`Self::latest`]. Tells `progress` how many of how many sessions have been read. Returns how many live.
    pub fn load(
        &self,
        table: &SessionTable,
        now: Timestamp,
        progress: &mut dyn FnMut(u64, u64),
    ) -> std::result::Result<u64, OpenError> {
        let connection = &self.writer.connection;
        let loaded = fill(connection, table, now, progress).and_then(|(live, ended)| {
            match ended.chunks(CHUNK).try_for_each(|chunk| delete(connection, chunk, now)) {
                // It can wait for the next start: what has ended is no less ended for taking up space.
                Err(error) if is_full(&error) => Ok(live),
                deleted => deleted.map(|()| live),
            }
        });
        loaded.map_err(|error| OpenError::from_sqlite(&self.writer.folder.database(), error))
    }
}

/// Returns the number of live sessions, and those that have ended.
fn fill(
    connection: &Connection,
    table: &SessionTable,
    now: Timestamp,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(u64, Vec<SessionNumber>)> {
    let total = connection.query_row("SELECT count(*) FROM session", [], |row| row.get(0))?;
    let mut subjects = Subjects::new(connection)?;
    let (mut live, mut ended) = (0, Vec::new());
    let sql = "
        SELECT number, digest, user, unit, key, issued_at, last_used_at, idle_ms, ends_at
        FROM session JOIN session_use USING (number) ORDER BY number";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number = SessionNumber(row.get(0)?);
        let session = read_session(row)?;
        let user = UserId::from_bytes(row.get(2)?);
        let unit = UnitId::from_bytes(row.get(3)?);
        let key = row.get::<_, Option<_>>(4)?.map(KeyId::from_bytes);
        match subjects.get((user, unit, key))? {
            Some((identity, mark)) if number > *mark && now < session.expires_at() => {
                table.insert(number, &session, identity);
                live += 1;
            }
            _ => ended.push(number),
        }
        let done = live + ended.len() as u64;
        if done.is_multiple_of(STEP) || done == total {
            progress(done, total);
        }
    }
    Ok((live, ended))
}

fn read_session(row: &Row<'_>) -> Result<Session> {
    Ok(Session {
        digest: TokenDigest::from_bytes(row.get(1)?),
        issued_at: Timestamp::from_millis(row.get(5)?),
        last_used_at: Timestamp::from_millis(row.get(6)?),
        idle: row.get::<_, Option<u64>>(7)?.map(Duration::from_millis),
        ends_at: Timestamp::from_millis(row.get(8)?),
    })
}

fn delete(connection: &Connection, numbers: &[SessionNumber], now: Timestamp) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    for number in numbers {
        ended::end(&transaction, &Ended { number: *number, at: now, known: None, released: None })?;
    }
    transaction.commit()
}

type Who = (UserId, UnitId, Option<KeyId>);

/// Whom sessions speak for, each read once.
struct Subjects<'a> {
    statement: CachedStatement<'a>,
    known: HashMap<Who, Option<(Identity, SessionNumber)>>,
}

impl<'a> Subjects<'a> {
    fn new(connection: &'a Connection) -> Result<Self> {
        let sql = "
            SELECT organisation.id, organisation.code, organisation.is_operator, unit.name, user.username,
                   max(organisation.ended, unit.ended, user.ended, coalesce(web_api_key.ended, 0))
            FROM user
            JOIN organisation ON organisation.id = user.organisation
            JOIN unit ON unit.id = ?2 AND unit.organisation = user.organisation
            LEFT JOIN web_api_key ON web_api_key.id = ?3 AND web_api_key.user = user.id
            WHERE user.id = ?1 AND (?3 IS NULL OR web_api_key.id IS NOT NULL)";
        Ok(Self { statement: connection.prepare_cached(sql)?, known: HashMap::new() })
    }

    /// The identity of a user in a unit by this key or by password, and the number up to which its sessions have
    /// ended, by whichever mark is highest. `None` if one of the rows is gone.
    fn get(&mut self, who: Who) -> Result<Option<&(Identity, SessionNumber)>> {
        let vacant = match self.known.entry(who) {
            Entry::Occupied(known) => return Ok(known.into_mut().as_ref()),
            Entry::Vacant(vacant) => vacant,
        };
        let (user, unit, key) = who;
        let ids = params![user.to_bytes(), unit.to_bytes(), key.map(KeyId::to_bytes)];
        let read = self.statement.query_row(ids, |row| {
            let identity = Identity {
                organisation: OrganisationId::from_bytes(row.get(0)?),
                organisation_code: row.get(1)?,
                is_operator: row.get(2)?,
                unit,
                unit_name: row.get(3)?,
                user,
                username: row.get(4)?,
                method: key.map_or(Method::Password, Method::WebApiKey),
            };
            Ok((identity, SessionNumber(row.get(5)?)))
        });
        Ok(vacant.insert(read.optional()?).as_ref())
    }
}
