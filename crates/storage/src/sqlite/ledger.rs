//! The ledger: batches of the journal, each one transaction.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Instant};

use doorward_domain::{
    address::Network,
    clock::Timestamp,
    id::{KeyId, UnitId, UserId},
    journal::{Committed, Entry, KeyUse, Ledger, LedgerError, Outcome, Seen},
    observer::Observer,
    session::{Identity, Method, Session, SessionNumber},
};
use rusqlite::{Connection, Result, Transaction, TransactionBehavior, params};

use super::{
    Kind, audit, change,
    ended::{self, Ended},
    error::ledger_error,
    folder::Folder,
    uses, words,
};

/// Where the journal's batches are made durable.
pub struct SqliteLedger {
    pub(super) writer: Writer,
    pub(super) observer: Arc<dyn Observer>,
}

impl Ledger for SqliteLedger {
    fn commit(&mut self, batch: &[Entry]) -> std::result::Result<Committed, LedgerError> {
        let started = Instant::now();
        let outcomes = self.writer.commit(batch)?;
        let took = started.elapsed();
        self.observer.committed(batch.len(), took);
        Ok(Committed { took, ..outcomes.into() })
    }
}

/// The one connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Connection,
    /// As committed.
    pub(super) state: JournalState,
    pub(super) remembered: Remembered,
    /// Last, so that the lock outlives the connection.
    pub(super) folder: Folder,
}

impl Writer {
    pub(super) fn commit(&mut self, batch: &[Entry]) -> std::result::Result<Vec<Outcome>, LedgerError> {
        let Self { connection, state, remembered, .. } = self;
        let committed = commit_remembering(connection, state, remembered, batch);
        committed.map_err(|error| ledger_error(&self.folder.database(), error))
    }
}

/// Commits a batch as one transaction. Whatever fails, dropping the transaction rolls it back, and the state stays as
/// committed.
pub(super) fn commit(
    connection: &mut Connection,
    state: &mut JournalState,
    batch: &[Entry],
) -> Result<Vec<Outcome>> {
    commit_remembering(connection, state, &mut Remembered::default(), batch)
}

/// As [`commit`], by a writer that goes on.
fn commit_remembering(
    connection: &mut Connection,
    committed: &mut JournalState,
    remembered: &mut Remembered,
    batch: &[Entry],
) -> Result<Vec<Outcome>> {
    // Only what was committed may be remembered.
    let mut accounts = std::mem::take(&mut remembered.accounts);
    let mut state = *committed;
    let (mut ends, mut vacated) = (audit::Ends::default(), uses::Vacated::default());
    let mut written = uses::Written::default();
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcomes = batch
        .iter()
        .map(|entry| {
            state.write(&mut transaction, &mut ends, &mut vacated, &mut written, &mut accounts, entry)
        })
        .collect::<Result<Vec<_>>>()?;
    forget_ended(&transaction, batch)?;
    remembered.log.fold_some(&transaction, &mut written)?;
    vacated.delete_empty(&transaction)?;
    ends.save(&transaction)?;
    if state != *committed {
        state.save(&transaction)?;
    }
    transaction.commit()?;
    (*committed, remembered.accounts) = (state, accounts);
    remembered.log.advance(written);
    Ok(outcomes)
}

/// Forgets two sessions that ended long ago for each that is released, so that the oldest go however many there are.
fn forget_ended(connection: &Connection, batch: &[Entry]) -> Result<()> {
    let released_at = |entry: &Entry| match entry {
        Entry::Release { audit, .. } => Some(audit.at),
        _ => None,
    };
    let released = batch.iter().filter_map(released_at);
    match released.clone().max() {
        Some(latest) => ended::forget(connection, latest, 2 * released.count()),
        None => Ok(()),
    }
}

/// What the writer has read and knows to be so still, for nobody else writes.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    accounts: Accounts,
    log: uses::Log,
}

impl Remembered {
    pub(super) fn read(connection: &Connection) -> Result<Self> {
        Ok(Self { accounts: Accounts::default(), log: uses::Log::read(connection)? })
    }
}

/// Accounts that are as a login saw them, until the directory changes.
#[derive(Debug, Default)]
struct Accounts(HashMap<(UserId, UnitId, Option<KeyId>), (Identity, Seen)>);

impl Accounts {
    /// How many are remembered before all are forgotten: a few megabytes.
    const MOST: usize = 16_384;

    /// Says whether all marks and names are as a login saw them.
    fn are_as_seen(&mut self, connection: &Connection, identity: &Identity, seen: &Seen) -> Result<bool> {
        let who = (identity.user, identity.unit, identity.method.key());
        if self.0.get(&who).is_some_and(|(known, marks)| known == identity && marks == seen) {
            return Ok(true);
        }
        let are_as_seen = are_as_seen(connection, identity, seen)?;
        if are_as_seen {
            if self.0.len() >= Self::MOST {
                self.0.clear();
            }
            self.0.insert(who, (identity.clone(), *seen));
        }
        Ok(are_as_seen)
    }

    /// Forgets all, for the directory changes.
    fn forget(&mut self) {
        self.0.clear();
    }
}

/// What the journal carries from batch to batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JournalState {
    /// The number that the next session or ending takes.
    next: SessionNumber,
    /// The latest time known to the journal.
    pub(super) latest: Option<Timestamp>,
    /// How many audit records there ever were.
    records: u64,
}

impl JournalState {
    pub(super) fn read(connection: &Connection) -> Result<(Self, Kind)> {
        connection.query_row("SELECT next_number, latest, kind, records FROM journal_state", [], |row| {
            let latest = row.get::<_, Option<_>>(1)?.map(Timestamp::from_millis);
            let state = Self { next: SessionNumber(row.get(0)?), latest, records: row.get(3)? };
            Ok((state, words::read_kind(row.get_ref(2)?.as_str()?)))
        })
    }

    fn save(&self, connection: &Connection) -> Result<()> {
        let sql = "UPDATE journal_state SET next_number = ?1, latest = ?2, records = ?3";
        let latest = self.latest.map(Timestamp::as_millis);
        connection.prepare_cached(sql)?.execute(params![self.next.0, latest, self.records])?;
        Ok(())
    }

    /// The number that the next session or ending takes.
    pub(super) fn next(&self) -> SessionNumber {
        self.next
    }

    /// Takes the next number for good.
    fn take(&mut self) -> SessionNumber {
        let taken = self.next;
        self.next.0 += 1;
        taken
    }

    /// Notes that it is this late, and says how late it is.
    fn saw(&mut self, time: Timestamp) -> Timestamp {
        let latest = self.latest.map_or(time, |latest| latest.max(time));
        self.latest = Some(latest);
        latest
    }

    /// Writes one entry. An entry that is not committed leaves nothing behind.
    fn write(
        &mut self,
        transaction: &mut Transaction<'_>,
        ends: &mut audit::Ends,
        vacated: &mut uses::Vacated,
        written: &mut uses::Written,
        accounts: &mut Accounts,
        entry: &Entry,
    ) -> Result<Outcome> {
        let mut number = None;
        let audit = match entry {
            Entry::Issue { session, identity, seen, known, audit } => {
                if !accounts.are_as_seen(transaction, identity, seen)? {
                    return Ok(Outcome::Refused);
                }
                add(transaction, self.next, session, identity, audit.origin.address)?;
                if identity.method == Method::Password {
                    note_login(transaction, identity.user, *known, session.issued_at)?;
                }
                number = Some(self.take());
                Some(audit)
            }
            Entry::Release { number, last_used_at, audit, .. } => {
                // A session that is gone already has ended too.
                let ended = Ended {
                    number: *number,
                    at: audit.at,
                    organisation: audit.organisation,
                    last_used_at: *last_used_at,
                    released: Some(audit.actor),
                };
                ended::end(transaction, &ended, vacated)?;
                Some(audit)
            }
            Entry::Change { change, once, audit } => {
                accounts.forget();
                let outcome = change::apply(transaction, change, once.as_ref(), audit.at, self.next)?;
                if outcome != Outcome::Committed(None) {
                    return Ok(outcome);
                }
                number = change.ends().map(|_| self.take());
                if let Some(number) = number {
                    ended::note_ending(transaction, change, number, audit.at, audit.actor)?;
                }
                Some(audit)
            }
            Entry::Rehash { organisation, user, from, to } => {
                if !change::rehash(transaction, *organisation, *user, from, to)? {
                    return Ok(Outcome::Refused);
                }
                None
            }
            Entry::Record(audit) => Some(audit),
            Entry::Uses(uses) => {
                written.log(transaction, uses)?;
                None
            }
            Entry::KeyUses(uses) => {
                note_key_uses(transaction, uses)?;
                None
            }
            Entry::ForgetOnce(before) => {
                let sql = "DELETE FROM once WHERE at < ?1";
                transaction.prepare_cached(sql)?.execute([before.as_millis()])?;
                None
            }
            Entry::DeleteUsers { organisation, limit, audit } => {
                accounts.forget();
                change::delete_users(transaction, *organisation, *limit)?.then_some(audit)
            }
            Entry::Forget { sessions, at } => {
                for departed in sessions {
                    ended::end(transaction, &Ended::of(departed, *at), vacated)?;
                }
                // Twice as many as come, so that the oldest go however many there are.
                ended::forget(transaction, *at, 2 * sessions.len())?;
                None
            }
            Entry::ForgetRecords { before, limit } => {
                audit::remove(transaction, *before, *limit)?;
                None
            }
            Entry::Tick(time) => {
                ended::forget(transaction, *time, FORGOTTEN_A_TICK)?;
                self.saw(*time);
                None
            }
        };
        if let Some(audit) = audit {
            let at = self.saw(audit.at);
            ends.append(transaction, audit, at)?;
            self.records += 1;
        }
        Ok(Outcome::Committed(number))
    }
}

/// Says whether all marks and names are as a login saw them. A row that is not there, or is another organisation's, has
/// neither. A session under an old name would keep it, for a rename reaches the sessions before it alone.
fn are_as_seen(connection: &Connection, identity: &Identity, seen: &Seen) -> Result<bool> {
    // The pluses keep SQLite to the primary keys: the indexes that begin with the organisation are a detour.
    let sql = "
        SELECT EXISTS (SELECT 1 FROM organisation WHERE id = ?1 AND ended = ?2 AND code = ?9)
           AND EXISTS (SELECT 1 FROM unit WHERE id = ?3 AND +organisation = ?1 AND ended = ?4 AND name = ?10)
           AND EXISTS (SELECT 1 FROM user WHERE id = ?5 AND +organisation = ?1 AND ended = ?6 AND username = ?11)
           AND (?7 IS NULL AND ?8 IS NULL
                OR EXISTS (SELECT 1 FROM web_api_key
                           WHERE id = ?7 AND user = ?5 AND organisation = ?1 AND ended = ?8))";
    let marks = params![
        identity.organisation.to_bytes(),
        seen.organisation.0,
        identity.unit.to_bytes(),
        seen.unit.0,
        identity.user.to_bytes(),
        seen.user.0,
        identity.method.key().map(KeyId::to_bytes),
        seen.key.map(|mark| mark.0),
        identity.organisation_code,
        identity.unit_name,
        identity.username,
    ];
    connection.prepare_cached(sql)?.query_row(marks, |row| row.get(0))
}

fn add(
    connection: &Connection,
    number: SessionNumber,
    session: &Session,
    identity: &Identity,
    address: Option<IpAddr>,
) -> Result<()> {
    let sql = "
        INSERT INTO session (number, digest, user, unit, key, issued_at, idle_ms, ends_at, address)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    connection.prepare_cached(sql)?.execute(params![
        number.0,
        session.digest.as_bytes(),
        identity.user.to_bytes(),
        identity.unit.to_bytes(),
        identity.method.key().map(KeyId::to_bytes),
        session.issued_at.as_millis(),
        session.idle.map(|idle| idle.as_millis() as i64),
        session.ends_at.as_millis(),
        address.map(|address| address.to_string()),
    ])?;
    if session.last_used_at > session.issued_at {
        uses::note(connection, [(number, session.last_used_at)])?;
    }
    Ok(())
}

/// How many sessions that ended long ago are forgotten with each tick, when nothing else ends.
const FORGOTTEN_A_TICK: usize = 500;

/// From how many places a user is known at most, the latest of them.
const KNOWN_ADDRESSES: u32 = 16;

/// Notes that a user has logged in with the password, and from where.
fn note_login(connection: &Connection, user: UserId, known: Option<Network>, at: Timestamp) -> Result<()> {
    let (user, at) = (user.to_bytes(), at.as_millis());
    let sql = "UPDATE user SET last_login_at = max(coalesce(last_login_at, ?2), ?2) WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![user, at])?;
    if let Some(network) = known {
        let sql = "
            INSERT INTO known_address (user, network, succeeded_at) VALUES (?1, ?2, ?3)
            ON CONFLICT (user, network) DO UPDATE SET succeeded_at = max(succeeded_at, ?3)";
        connection.prepare_cached(sql)?.execute(params![user, network.to_string(), at])?;
        let sql = "
            DELETE FROM known_address WHERE user = ?1 AND network NOT IN (
                SELECT network FROM known_address WHERE user = ?1 ORDER BY succeeded_at DESC LIMIT ?2)";
        connection.prepare_cached(sql)?.execute(params![user, KNOWN_ADDRESSES])?;
    }
    Ok(())
}

/// Notes later uses of secrets. One that is not there stays away.
fn note_key_uses(connection: &Connection, uses: &[KeyUse]) -> Result<()> {
    let sql = "
        UPDATE key_secret SET last_used_at = ?2, last_used_from = ?3
        WHERE digest = ?1 AND coalesce(last_used_at, ?2) <= ?2";
    let mut statement = connection.prepare_cached(sql)?;
    for used in uses {
        let from = used.from.map(|address| address.to_string());
        statement.execute(params![used.secret.as_bytes(), used.at.as_millis(), from])?;
    }
    Ok(())
}
