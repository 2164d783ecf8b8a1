//! Audit records: appended by the ledger, listed by the directory.

use std::net::IpAddr;

use doorward_domain::{
    audit::AuditRecord,
    clock::Timestamp,
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
};
use rusqlite::{Connection, Result, Row, params};

/// An audit record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place in the order of records.
    pub number: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened: the word of an `audit::Event`, of this version or another.
    pub event: String,
    /// Why it ended as it did: the word of an `audit::Reason`.
    pub reason: String,
    /// The client's address; `None` for what the operator did on the machine itself.
    pub address: Option<IpAddr>,
    /// The id of the request.
    pub request_id: String,
    /// The organisation, as far as it was known.
    pub organisation: Option<OrganisationId>,
    /// The unit, as far as it was known.
    pub unit: Option<UnitId>,
    /// The user, as far as it was known.
    pub user: Option<UserId>,
    /// The Web API key, as far as it was known.
    pub key: Option<KeyId>,
    /// The organisation code and the username as they were given; whatever a caller sent, line breaks and NUL too.
    pub claimed: Option<String>,
    /// Who did it, where that is somebody else than whom it was done to.
    pub actor: Option<UserId>,
    /// The session, where it is about one.
    pub session: Option<SessionId>,
    /// The names of the members that were changed, with commas between them.
    pub members: Option<String>,
}

pub(super) fn insert(connection: &Connection, record: &AuditRecord) -> Result<()> {
    let sql = "
        INSERT INTO audit (at, event, reason, address, request_id, organisation, unit, user, key, claimed, actor,
                           session, members)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    connection.prepare_cached(sql)?.execute(params![
        record.at.as_millis(),
        record.event.as_str(),
        record.reason.as_str(),
        record.origin.address.map(|address| address.to_string()),
        record.origin.request_id,
        record.organisation.map(OrganisationId::to_bytes),
        record.unit.map(UnitId::to_bytes),
        record.user.map(UserId::to_bytes),
        record.key.map(KeyId::to_bytes),
        record.claimed,
        record.actor.map(UserId::to_bytes),
        record.session.map(SessionId::to_bytes),
        (!record.members.is_empty()).then(|| record.members.join(",")),
    ])?;
    Ok(())
}

/// The newest `limit` records, the newest last.
pub(super) fn list(connection: &Connection, limit: u32) -> Result<Vec<AuditRow>> {
    let sql = "
        SELECT number, at, event, reason, address, request_id, organisation, unit, user, key, claimed, actor, session,
               members
        FROM audit ORDER BY number DESC LIMIT ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query_map([limit], read)?.collect::<Result<Vec<_>>>()?;
    rows.reverse();
    Ok(rows)
}

fn read(row: &Row<'_>) -> Result<AuditRow> {
    Ok(AuditRow {
        number: row.get(0)?,
        at: Timestamp::from_millis(row.get(1)?),
        event: row.get(2)?,
        reason: row.get(3)?,
        address: row.get::<_, Option<String>>(4)?.and_then(|address| address.parse().ok()),
        request_id: row.get(5)?,
        organisation: row.get::<_, Option<_>>(6)?.map(OrganisationId::from_bytes),
        unit: row.get::<_, Option<_>>(7)?.map(UnitId::from_bytes),
        user: row.get::<_, Option<_>>(8)?.map(UserId::from_bytes),
        key: row.get::<_, Option<_>>(9)?.map(KeyId::from_bytes),
        claimed: row.get(10)?,
        actor: row.get::<_, Option<_>>(11)?.map(UserId::from_bytes),
        session: row.get::<_, Option<_>>(12)?.map(SessionId::from_bytes),
        members: row.get(13)?,
    })
}
