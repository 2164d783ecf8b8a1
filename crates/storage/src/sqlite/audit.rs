//! Audit records: appended by the ledger, each to the chain of its organisation; listed by the directory; removed when
//! their time is over.

use std::collections::{HashMap, hash_map::Entry};

use doorward_domain::{
    audit::{
        AuditRecord,
        chain::{Chain, ChainDigest, Link, RecordFilter, StoredRecord},
    },
    clock::Timestamp,
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
    resource::{Page, PageRequest},
};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

/// The columns of a record, in the order in which [`read`] takes them.
const COLUMNS: &str = "organisation, number, previous, at, event, reason, address, request_id, unit, user, key, claimed, \
                       actor, session, members";

/// How many records a page looks at: a filter that few records pass costs no more than that.
const LOOKED_AT: u64 = 10_000;

/// The ends of the chains that a batch appends to.
#[derive(Debug, Default)]
pub(super) struct Ends(HashMap<Option<OrganisationId>, Link>);

impl Ends {
    /// Appends a record to its chain, as one of `at`: the record's own time, or that of what was appended before it if
    /// that is later. A record may have waited at a gate or for a hash since its time was taken; if its time were kept, the
    /// records of a time would not be those between two numbers, and an export of them would seem to have a hole.
    pub(super) fn append(
        &mut self,
        connection: &Connection,
        record: &AuditRecord,
        at: Timestamp,
    ) -> Result<()> {
        let end = match self.0.entry(record.organisation) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let found = find_chain(connection, record.organisation)?;
                vacant.insert(found.map_or(Link::BEGINNING, |chain| chain.last))
            }
        };
        let stored = store(record, at, *end);
        insert(connection, &stored)?;
        *end = stored.link();
        Ok(())
    }

    /// Writes the ends down.
    pub(super) fn save(&self, connection: &Connection) -> Result<()> {
        let sql = "
            INSERT INTO audit_chain (organisation, number, digest) VALUES (?1, ?2, ?3)
            ON CONFLICT (organisation) DO UPDATE SET number = ?2, digest = ?3";
        let mut statement = connection.prepare_cached(sql)?;
        for (organisation, end) in &self.0 {
            statement.execute(params![chain_id(*organisation), end.number, end.digest.as_bytes()])?;
        }
        Ok(())
    }
}

/// The id of a chain: that of its organisation, or no bytes at all.
pub(super) fn chain_id(organisation: Option<OrganisationId>) -> Vec<u8> {
    organisation.map(OrganisationId::to_bytes).map_or_else(Vec::new, Vec::from)
}

fn read_chain_id(row: &Row<'_>, column: usize) -> Result<Option<OrganisationId>> {
    if row.get_ref(column)?.as_blob()?.is_empty() {
        return Ok(None);
    }
    Ok(Some(OrganisationId::from_bytes(row.get(column)?)))
}

/// A record as the one behind `end`.
fn store(record: &AuditRecord, at: Timestamp, end: Link) -> StoredRecord {
    StoredRecord {
        organisation: record.organisation,
        number: end.number + 1,
        previous: end.digest,
        at,
        event: record.event.as_str().to_owned(),
        reason: record.reason.as_str().to_owned(),
        address: record.origin.address.map(|address| address.to_string()),
        request_id: record.origin.request_id.clone(),
        unit: record.unit,
        user: record.user,
        key: record.key,
        claimed: record.claimed.clone(),
        actor: record.actor,
        session: record.session,
        members: (!record.members.is_empty()).then(|| record.members.join(",")),
    }
}

fn insert(connection: &Connection, record: &StoredRecord) -> Result<()> {
    let sql = "
        INSERT INTO audit (organisation, number, previous, at, event, reason, address, request_id, unit, user, key,
                           claimed, actor, session, members)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    connection.prepare_cached(sql)?.execute(params![
        chain_id(record.organisation),
        record.number,
        record.previous.as_bytes(),
        record.at.as_millis(),
        record.event,
        record.reason,
        record.address,
        record.request_id,
        record.unit.map(UnitId::to_bytes),
        record.user.map(UserId::to_bytes),
        record.key.map(KeyId::to_bytes),
        record.claimed,
        record.actor.map(UserId::to_bytes),
        record.session.map(SessionId::to_bytes),
        record.members,
    ])?;
    Ok(())
}

/// Removes records older than a time, the oldest first, `limit` at most.
pub(super) fn remove(connection: &Connection, before: Timestamp, limit: usize) -> Result<()> {
    let sql = "SELECT place, organisation, number, at FROM audit ORDER BY place LIMIT ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut last_place = None;
    let mut removed: HashMap<Vec<u8>, u64> = HashMap::new();
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(3)? >= before.as_millis() {
            break;
        }
        last_place = Some(row.get::<_, i64>(0)?);
        removed.insert(row.get(1)?, row.get(2)?);
    }
    let Some(last_place) = last_place else { return Ok(()) };
    let next = "SELECT previous FROM audit WHERE organisation = ?1 AND number = ?2 + 1";
    let end = "SELECT digest FROM audit_chain WHERE organisation = ?1 AND number = ?2";
    let note = "UPDATE audit_chain SET removed = ?2, removed_digest = ?3 WHERE organisation = ?1";
    for (chain, number) in removed {
        let carried = connection
            .prepare_cached(next)?
            .query_row(params![chain, number], |row| row.get(0))
            .optional()?;
        let digest: Option<[u8; 32]> = match carried {
            Some(digest) => Some(digest),
            None => {
                let mut end = connection.prepare_cached(end)?;
                end.query_row(params![chain, number], |row| row.get(0)).optional()?
            }
        };
        // A chain with a hole has no digest to note; its check must go on finding the hole.
        if let Some(digest) = digest {
            connection.prepare_cached(note)?.execute(params![chain, number, digest])?;
        }
    }
    connection.prepare_cached("DELETE FROM audit WHERE place <= ?1")?.execute([last_place])?;
    Ok(())
}

/// When the oldest record was made.
pub(super) fn oldest(connection: &Connection) -> Result<Option<Timestamp>> {
    let mut statement =
        connection.prepare_cached("SELECT at FROM audit WHERE place > 0 ORDER BY place LIMIT 1")?;
    statement.query_row([], |row| Ok(Timestamp::from_millis(row.get(0)?))).optional()
}

/// What is kept of a chain beside its records; `None` if nothing was ever recorded in it.
pub(super) fn find_chain(
    connection: &Connection,
    organisation: Option<OrganisationId>,
) -> Result<Option<Chain>> {
    let sql = "
        SELECT organisation, number, digest, removed, removed_digest FROM audit_chain WHERE organisation = ?1";
    connection.prepare_cached(sql)?.query_row([chain_id(organisation)], read_chain).optional()
}

/// The chains, all of them.
pub(super) fn list_chains(connection: &Connection) -> Result<Vec<Chain>> {
    let sql =
        "SELECT organisation, number, digest, removed, removed_digest FROM audit_chain ORDER BY organisation";
    connection.prepare_cached(sql)?.query_map([], read_chain)?.collect()
}

fn read_chain(row: &Row<'_>) -> Result<Chain> {
    let link = |number, digest: [u8; 32]| Link { number, digest: ChainDigest::from_bytes(digest) };
    Ok(Chain {
        organisation: read_chain_id(row, 0)?,
        last: link(row.get(1)?, row.get(2)?),
        removed: link(row.get(3)?, row.get(4)?),
    })
}

/// Lists records of a chain, those that pass the filter among the next [`LOOKED_AT`]; a page may have fewer than its
/// limit, or none, and not be the last.
pub(super) fn list(
    connection: &Connection,
    organisation: Option<OrganisationId>,
    filter: &RecordFilter,
    page: &PageRequest,
) -> Result<Page<StoredRecord>> {
    let after = page.after.as_deref().and_then(|after| after.parse::<u64>().ok());
    let (sql, from) = if filter.oldest_first {
        let sql =
            "SELECT {columns} FROM audit WHERE organisation = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
        (sql, after.unwrap_or(0))
    } else {
        let sql = "SELECT {columns} FROM audit WHERE organisation = ?1 AND number < ?2 ORDER BY number DESC LIMIT ?3";
        (sql, after.unwrap_or(i64::MAX as u64))
    };
    let mut statement = connection.prepare_cached(&sql.replace("{columns}", COLUMNS))?;
    let mut rows = statement.query(params![chain_id(organisation), from, LOOKED_AT + 1])?;
    let (mut items, mut looked_at, mut last) = (Vec::new(), 0, None);
    while let Some(row) = rows.next()? {
        if items.len() == page.limit || looked_at == LOOKED_AT {
            return Ok(Page { items, next: last.map(|number: u64| number.to_string()) });
        }
        let record = read(row)?;
        (looked_at, last) = (looked_at + 1, Some(record.number));
        if filter.admits(&record) {
            items.push(record);
        }
    }
    Ok(Page { items, next: None })
}

/// Reads a chain from its first record to its last, whatever they are.
pub(super) fn read_all(
    connection: &Connection,
    organisation: Option<OrganisationId>,
    mut take: impl FnMut(Result<StoredRecord>) -> bool,
) -> Result<()> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE organisation = ?1 ORDER BY number");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([chain_id(organisation)])?;
    while let Some(row) = rows.next()? {
        if !take(read(row)) {
            break;
        }
    }
    Ok(())
}

/// The newest `limit` records of all chains, the newest last.
pub(super) fn list_newest(connection: &Connection, limit: u32) -> Result<Vec<StoredRecord>> {
    let sql = format!("SELECT {COLUMNS} FROM audit ORDER BY place DESC LIMIT ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query_map([limit], read)?.collect::<Result<Vec<_>>>()?;
    rows.reverse();
    Ok(rows)
}

fn read(row: &Row<'_>) -> Result<StoredRecord> {
    Ok(StoredRecord {
        organisation: read_chain_id(row, 0)?,
        number: row.get(1)?,
        previous: ChainDigest::from_bytes(row.get(2)?),
        at: Timestamp::from_millis(row.get(3)?),
        event: row.get(4)?,
        reason: row.get(5)?,
        address: row.get(6)?,
        request_id: row.get(7)?,
        unit: row.get::<_, Option<_>>(8)?.map(UnitId::from_bytes),
        user: row.get::<_, Option<_>>(9)?.map(UserId::from_bytes),
        key: row.get::<_, Option<_>>(10)?.map(KeyId::from_bytes),
        claimed: row.get(11)?,
        actor: row.get::<_, Option<_>>(12)?.map(UserId::from_bytes),
        session: row.get::<_, Option<_>>(13)?.map(SessionId::from_bytes),
        members: row.get(14)?,
    })
}
