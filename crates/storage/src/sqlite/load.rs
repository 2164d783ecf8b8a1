//! Reading the sessions into the table after a start.
//!
//! A [`SessionReader`] has a connection of its own and reads a part at a time, so that logins may be answered meanwhile
//! ([`doorward_domain::sessions::Reading`]). It needs no snapshot: those that are issued meanwhile have higher numbers than
//! the last that it reads, only what is in the table is released or forgotten, and what ends or renames many waits.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    path::PathBuf,
    time::Duration,
};

use doorward_domain::{
    clock::Timestamp,
    credential::TokenDigest,
    id::{KeyId, OrganisationId, UnitId, UserId},
    session::{Departed, Identity, Method, Session, SessionNumber},
    session_table::{Introduced, SessionTable},
    sessions::Progress,
};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::{
    OpenError, SqliteStore,
    ended::{self, Ended},
    error::is_full,
    schema,
    uses::{self, Logged, Uses},
};

/// How many sessions are read at once.
pub(super) const PART: u32 = 50_000;
/// How many sessions are deleted in one transaction.
const CHUNK: usize = 10_000;

impl SqliteStore {
    /// What reads the sessions that there are now. Whoever issues more, or ends some, before all are read, does it as
    /// [`doorward_domain::sessions::Reading`] says.
    pub fn sessions(&self) -> std::result::Result<SessionReader, OpenError> {
        let database = self.writer.folder.database();
        let open = || {
            let connection = schema::open_reader(&database)?;
            let first: Option<u64> =
                connection.query_row("SELECT min(number) FROM session", [], |row| row.get(0))?;
            let logged = uses::read_log(&connection)?;
            Ok((connection, first, logged))
        };
        let (connection, first, logged) = open().map_err(|error| OpenError::from_sqlite(&database, error))?;
        let end = self.writer.state.next().0;
        // None are left to be read where there are none.
        let first = first.unwrap_or(end);
        Ok(SessionReader {
            database,
            connection,
            people: People::default(),
            first,
            next: first,
            end,
            read: 0,
            live: 0,
            ended: Vec::new(),
            logged,
        })
    }

    /// Reads all sessions into the table, before anybody works with them, and deletes those that are not live at `now`.
    /// `now` must not be earlier than [`Self::latest`]. Returns how many live.
    pub fn load(&self, table: &SessionTable, now: Timestamp) -> std::result::Result<u64, OpenError> {
        let mut sessions = self.sessions()?;
        while sessions.read(table, now)? {}
        self.forget(&sessions.take_ended(), now)?;
        Ok(sessions.live)
    }

    /// Deletes sessions that have ended, before anybody works with the store.
    pub fn forget(&self, ended: &[Departed], now: Timestamp) -> std::result::Result<(), OpenError> {
        let connection = &self.writer.connection;
        match ended.chunks(CHUNK).try_for_each(|chunk| delete(connection, chunk, now)) {
            // It can wait for the next start: what has ended is no less ended for taking up space.
            Err(error) if is_full(&error) => Ok(()),
            deleted => deleted.map_err(|error| OpenError::from_sqlite(&self.writer.folder.database(), error)),
        }
    }
}

/// Reads sessions into the table in the order of their numbers.
#[derive(Debug)]
pub struct SessionReader {
    database: PathBuf,
    connection: Connection,
    people: People,
    first: u64,
    /// All up to this number are read.
    next: u64,
    /// Those from this number on were not there when this was made.
    end: u64,
    read: u64,
    live: u64,
    ended: Vec<Departed>,
    /// What is not in the blocks of uses yet, in the order of the sessions' numbers.
    logged: Vec<Logged>,
}

type Who = (UserId, UnitId, Option<KeyId>);
/// The idle time and the longest life of sessions, in milliseconds.
type Terms = (Option<u64>, u64);

impl SessionReader {
    /// Reads some more sessions, and puts those that are live at `now` into the table; `false` if there are no more. `now`
    /// must not be earlier than [`SqliteStore::latest`].
    pub fn read(&mut self, table: &SessionTable, now: Timestamp) -> std::result::Result<bool, OpenError> {
        self.read_some(table, now, PART)
    }

    /// As [`Self::read`], but for how many.
    pub(super) fn read_some(
        &mut self,
        table: &SessionTable,
        now: Timestamp,
        limit: u32,
    ) -> std::result::Result<bool, OpenError> {
        let read = fill(self, table, now, limit);
        let is_more = read.map_err(|error| OpenError::from_sqlite(&self.database, error))?;
        if !is_more {
            std::mem::take(&mut self.people).dismiss(table);
            self.logged = Vec::new();
        }
        Ok(is_more)
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let (done, all) = (self.next - self.first, self.end - self.first);
        let percent = done.saturating_mul(100).checked_div(all).unwrap_or(100);
        Progress { read: self.read, percent: u32::try_from(percent).unwrap_or(100) }
    }

    /// Looks for damage that reading does not meet, where there were too many sessions to check them before.
    pub fn check(&self) -> std::result::Result<(), OpenError> {
        schema::check_sessions(&self.database, &self.connection)
    }

    /// How many were live.
    pub fn live(&self) -> u64 {
        self.live
    }

    /// Takes those that were not live, which are to be forgotten.
    pub fn take_ended(&mut self) -> Vec<Departed> {
        std::mem::take(&mut self.ended)
    }
}

fn fill(reader: &mut SessionReader, table: &SessionTable, now: Timestamp, limit: u32) -> Result<bool> {
    let SessionReader { connection, people, next, end, read, live, ended, logged, .. } = reader;
    // Both are in the order of the numbers, so that walking through them side by side does without a search for each.
    let sql = "
        SELECT number, digest, user, unit, key, issued_at, idle_ms, ends_at
        FROM session WHERE number >= ?1 AND number < ?2 ORDER BY number LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let mut sessions = statement.query(params![*next, *end, limit])?;
    let mut statement = uses::prepare(connection)?;
    let mut uses = Uses::begin(&mut statement, logged, SessionNumber(*next))?;
    let mut count = 0;
    while let Some(row) = sessions.next()? {
        let number = SessionNumber(row.get(0)?);
        let session = read_session(row, uses.find(number)?)?;
        let who = (UserId::from_bytes(row.get(2)?), UnitId::from_bytes(row.get(3)?), read_key(row)?);
        match people.find(connection, table, who, &session)? {
            Some((who, mark)) if number > *mark && now < session.expires_at() => {
                table.insert_for(who, number, &session);
                *live += 1;
            }
            _ => ended.push(Departed { number, organisation: None, last_used_at: session.last_used_at }),
        }
        *next = number.0 + 1;
        count += 1;
    }
    *read += u64::from(count);
    let is_more = count == limit;
    if !is_more {
        *next = *end;
    }
    Ok(is_more)
}

fn read_key(row: &Row<'_>) -> Result<Option<KeyId>> {
    Ok(row.get::<_, Option<_>>(4)?.map(KeyId::from_bytes))
}

fn read_session(row: &Row<'_>, used_at: Option<Timestamp>) -> Result<Session> {
    let issued_at = Timestamp::from_millis(row.get(5)?);
    Ok(Session {
        digest: TokenDigest::from_bytes(row.get(1)?),
        issued_at,
        last_used_at: used_at.map_or(issued_at, |used_at| used_at.max(issued_at)),
        idle: row.get::<_, Option<u64>>(6)?.map(Duration::from_millis),
        ends_at: Timestamp::from_millis(row.get(7)?),
    })
}

/// Whom sessions speak for. Each row of the directory is read once, by its id: asking for a subject's four rows together
/// cost more than reading its sessions.
#[derive(Debug, Default)]
struct People {
    /// `None` if one of the rows is gone. With it the number up to which its sessions have ended, by whichever mark is
    /// highest.
    subjects: HashMap<(Who, Terms), Option<(Introduced, SessionNumber)>>,
    organisations: HashMap<[u8; 16], Option<Organisation>>,
    units: HashMap<UnitId, Option<Part>>,
    users: HashMap<UserId, Option<Part>>,
}

#[derive(Debug)]
struct Organisation {
    code: String,
    is_operator: bool,
    ended: u64,
}

/// A unit or a user.
#[derive(Debug)]
struct Part {
    organisation: [u8; 16],
    name: String,
    ended: u64,
}

impl People {
    /// A user in a unit by this key or by password, introduced for sessions like this one, and the number up to which such
    /// have ended.
    fn find(
        &mut self,
        connection: &Connection,
        table: &SessionTable,
        who: Who,
        session: &Session,
    ) -> Result<Option<&(Introduced, SessionNumber)>> {
        let Self { subjects, organisations, units, users } = self;
        let millis = |time: Duration| time.as_millis() as u64;
        let terms = (session.idle.map(millis), millis(session.ends_at.since(session.issued_at)));
        let vacant = match subjects.entry((who, terms)) {
            Entry::Occupied(known) => return Ok(known.into_mut().as_ref()),
            Entry::Vacant(vacant) => vacant,
        };
        let (user, unit, key) = who;
        let by_user = once(users, user, || {
            let sql = "SELECT organisation, username, ended FROM user WHERE id = ?1";
            connection.prepare_cached(sql)?.query_row([user.to_bytes()], read_part).optional()
        })?;
        let by_unit = once(units, unit, || {
            let sql = "SELECT organisation, name, ended FROM unit WHERE id = ?1";
            connection.prepare_cached(sql)?.query_row([unit.to_bytes()], read_part).optional()
        })?;
        let (Some(by_user), Some(by_unit)) = (by_user, by_unit) else {
            return Ok(vacant.insert(None).as_ref());
        };
        let organisation = once(organisations, by_user.organisation, || {
            let sql = "SELECT code, is_operator, ended FROM organisation WHERE id = ?1";
            let read = |row: &Row<'_>| {
                Ok(Organisation { code: row.get(0)?, is_operator: row.get(1)?, ended: row.get(2)? })
            };
            connection.prepare_cached(sql)?.query_row([by_user.organisation], read).optional()
        })?;
        // A key has sessions of its own, so that it is asked for once anyway.
        let key_ended = match key {
            None => Some(0),
            Some(key) => {
                let sql = "SELECT ended FROM web_api_key WHERE id = ?1 AND user = ?2";
                let ids = [key.to_bytes(), user.to_bytes()];
                connection.prepare_cached(sql)?.query_row(ids, |row| row.get::<_, u64>(0)).optional()?
            }
        };
        let found = match (organisation, key_ended) {
            (Some(organisation), Some(key_ended)) if by_unit.organisation == by_user.organisation => {
                let marks = [organisation.ended, by_unit.ended, by_user.ended, key_ended];
                let identity = Identity {
                    organisation: OrganisationId::from_bytes(by_user.organisation),
                    organisation_code: organisation.code.clone(),
                    is_operator: organisation.is_operator,
                    unit,
                    unit_name: by_unit.name.clone(),
                    user,
                    username: by_user.name.clone(),
                    method: key.map_or(Method::Password, Method::WebApiKey),
                };
                let mark = SessionNumber(marks.into_iter().max().unwrap_or_default());
                Some((table.introduce(session, &identity), mark))
            }
            _ => None,
        };
        Ok(vacant.insert(found).as_ref())
    }

    /// Takes all introductions back.
    fn dismiss(self, table: &SessionTable) {
        for (who, _) in self.subjects.into_values().flatten() {
            table.dismiss(&who);
        }
    }
}

/// What is known of an id, read the first time.
fn once<Id: Eq + Hash, Row>(
    known: &mut HashMap<Id, Option<Row>>,
    id: Id,
    read: impl FnOnce() -> Result<Option<Row>>,
) -> Result<Option<&Row>> {
    Ok(match known.entry(id) {
        Entry::Occupied(known) => known.into_mut().as_ref(),
        Entry::Vacant(vacant) => vacant.insert(read()?).as_ref(),
    })
}

fn read_part(row: &Row<'_>) -> Result<Part> {
    Ok(Part { organisation: row.get(0)?, name: row.get(1)?, ended: row.get(2)? })
}

fn delete(connection: &Connection, departed: &[Departed], now: Timestamp) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let mut vacated = uses::Vacated::default();
    for departed in departed {
        ended::end(&transaction, &Ended::of(departed, now), &mut vacated)?;
    }
    vacated.delete_empty(&transaction)?;
    transaction.commit()
}
