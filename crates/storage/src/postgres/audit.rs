//! Audit records: appended by the ledger, each to the chain of its organisation; removed when their time is over.

use std::collections::{BTreeMap, BTreeSet};

use doorward_domain::{
    audit::{
        AuditRecord,
        chain::{ChainDigest, Link, StoredRecord},
    },
    clock::Timestamp,
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
};
use tokio_postgres::{Error, Row, types::ToSql};

use super::{
    connect::Connection,
    values::{big, text},
};

/// A record as it is stored.
pub(super) type Record = StoredRecord;

/// The chains that a transaction has locked, and how they end.
pub(super) type Chains = BTreeMap<Option<OrganisationId>, End>;

/// How a chain ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    link: Link,
    /// The time of the last record, which the next one does not fall behind.
    at: Timestamp,
    /// Whether it is other than what is stored.
    is_new: bool,
}

/// Locks chains, in the one order in which everybody does.
pub(super) const LOCK: &str = "
    SELECT organisation, number, digest, at FROM audit_chain WHERE organisation = ANY ($1)
    ORDER BY organisation FOR UPDATE";

/// The id of a chain: that of its organisation, or no bytes at all.
pub(super) fn chain_id(organisation: Option<OrganisationId>) -> Vec<u8> {
    organisation.map(OrganisationId::to_bytes).map_or_else(Vec::new, Vec::from)
}

/// The schema allows no id of another length.
fn read_chain_id(bytes: &[u8]) -> Option<OrganisationId> {
    bytes.try_into().ok().map(OrganisationId::from_bytes)
}

/// Reads what [`LOCK`] gives.
pub(super) fn read_end(row: &Row) -> Result<(Option<OrganisationId>, End), Error> {
    let digest = <[u8; 32]>::try_from(row.try_get::<_, &[u8]>(2)?).unwrap_or_default();
    let link =
        Link { number: row.try_get::<_, i64>(1)?.unsigned_abs(), digest: ChainDigest::from_bytes(digest) };
    Ok((
        read_chain_id(row.try_get(0)?),
        End { link, at: Timestamp::from_millis(row.try_get(3)?), is_new: false },
    ))
}

/// Makes the chains that are not there, outside any transaction.
pub(super) async fn make_chains(
    connection: &mut Connection,
    organisations: &BTreeSet<Option<OrganisationId>>,
) -> Result<(), Error> {
    let sql = "
        INSERT INTO audit_chain (organisation) SELECT id FROM unnest($1::bytea[]) AS new (id) ORDER BY id
        ON CONFLICT DO NOTHING";
    let statement = connection.prepare(sql).await?;
    let ids: Vec<_> = organisations.iter().map(|organisation| chain_id(*organisation)).collect();
    connection.client.execute(&statement, &[&ids]).await?;
    Ok(())
}

/// Makes records the next of their chains. A record may have waited at a gate or for a hash since its time was taken; if
/// its time were kept, the records of a time would not be those between two numbers, and an export of them would seem to
/// have a hole.
pub(super) fn chain(chains: &mut Chains, records: &[&AuditRecord]) -> Vec<Record> {
    let records = records.iter().filter_map(|record| {
        // All were locked.
        let end = chains.get_mut(&record.organisation)?;
        let at = end.at.max(record.at);
        let stored = store(record, at, end.link);
        *end = End { link: stored.link(), at, is_new: true };
        Some(stored)
    });
    records.collect()
}

/// A record as the one behind `end`.
fn store(record: &AuditRecord, at: Timestamp, end: Link) -> Record {
    StoredRecord {
        organisation: record.organisation,
        number: end.number + 1,
        previous: end.digest,
        at,
        event: record.event.as_str().to_owned(),
        reason: record.reason.as_str().to_owned(),
        address: record.origin.address.map(|address| address.to_string()),
        request_id: text(&record.origin.request_id),
        unit: record.unit,
        user: record.user,
        key: record.key,
        claimed: record.claimed.clone(),
        actor: record.actor,
        session: record.session,
        members: (!record.members.is_empty()).then(|| record.members.join(",")),
    }
}

pub(super) const APPEND: &str = r#"
    INSERT INTO audit (organisation, number, previous, at, event, reason, address, request_id, unit, "user", key, claimed,
                       actor, session, members)
    SELECT organisation, number, previous, at, event, reason, address, request_id, unit, "user", key, claimed, actor,
           session, members
    FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::bytea[], $10::bytea[], $11::bytea[], $12::bytea[], $13::bytea[], $14::bytea[], $15::text[])
         WITH ORDINALITY
         AS new (organisation, number, previous, at, event, reason, address, request_id, unit, "user", key, claimed, actor,
                 session, members, place)
    ORDER BY place"#;

/// Records as [`APPEND`] takes them.
pub(super) struct Columns<'a> {
    organisation: Vec<Vec<u8>>,
    number: Vec<i64>,
    previous: Vec<&'a [u8]>,
    at: Vec<i64>,
    event: Vec<&'a str>,
    reason: Vec<&'a str>,
    address: Vec<Option<&'a str>>,
    request_id: Vec<&'a str>,
    unit: Vec<Option<Vec<u8>>>,
    user: Vec<Option<Vec<u8>>>,
    key: Vec<Option<Vec<u8>>>,
    claimed: Vec<Option<&'a [u8]>>,
    actor: Vec<Option<Vec<u8>>>,
    session: Vec<Option<Vec<u8>>>,
    members: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(records: &'a [Record]) -> Self {
        fn each<'a, T>(records: &'a [Record], value: impl Fn(&'a Record) -> T) -> Vec<T> {
            records.iter().map(value).collect()
        }
        Self {
            organisation: each(records, |record| chain_id(record.organisation)),
            number: each(records, |record| big(record.number)),
            previous: each(records, |record| record.previous.as_bytes().as_slice()),
            at: each(records, |record| record.at.as_millis()),
            event: each(records, |record| record.event.as_str()),
            reason: each(records, |record| record.reason.as_str()),
            address: each(records, |record| record.address.as_deref()),
            request_id: each(records, |record| record.request_id.as_str()),
            unit: each(records, |record| record.unit.map(UnitId::to_bytes).map(Vec::from)),
            user: each(records, |record| record.user.map(UserId::to_bytes).map(Vec::from)),
            key: each(records, |record| record.key.map(KeyId::to_bytes).map(Vec::from)),
            claimed: each(records, |record| record.claimed.as_deref().map(str::as_bytes)),
            actor: each(records, |record| record.actor.map(UserId::to_bytes).map(Vec::from)),
            session: each(records, |record| record.session.map(SessionId::to_bytes).map(Vec::from)),
            members: each(records, |record| record.members.as_deref()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.number.is_empty()
    }

    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 15] {
        [
            &self.organisation,
            &self.number,
            &self.previous,
            &self.at,
            &self.event,
            &self.reason,
            &self.address,
            &self.request_id,
            &self.unit,
            &self.user,
            &self.key,
            &self.claimed,
            &self.actor,
            &self.session,
            &self.members,
        ]
    }
}

pub(super) const SAVE: &str = "
    UPDATE audit_chain SET number = new.number, digest = new.digest, at = new.at
    FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::bigint[]) AS new (organisation, number, digest, at)
    WHERE audit_chain.organisation = new.organisation";

/// The new ends of chains as [`SAVE`] takes them.
pub(super) struct Ends {
    organisation: Vec<Vec<u8>>,
    number: Vec<i64>,
    digest: Vec<Vec<u8>>,
    at: Vec<i64>,
}

impl Ends {
    pub(super) fn of(chains: &Chains) -> Self {
        let new: Vec<_> = chains.iter().filter(|(_, end)| end.is_new).collect();
        Self {
            organisation: new.iter().map(|(organisation, _)| chain_id(**organisation)).collect(),
            number: new.iter().map(|(_, end)| big(end.link.number)).collect(),
            digest: new.iter().map(|(_, end)| end.link.digest.as_bytes().to_vec()).collect(),
            at: new.iter().map(|(_, end)| end.at.as_millis()).collect(),
        }
    }

    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.organisation, &self.number, &self.digest, &self.at]
    }
}

/// The chains of the records that [`remove`] would remove now, for them to be locked.
pub(super) async fn list_old(
    connection: &mut Connection,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<Option<OrganisationId>>, Error> {
    let sql = "
        SELECT DISTINCT organisation FROM (SELECT organisation, at FROM audit ORDER BY place LIMIT $1) AS first
        WHERE at < $2";
    let statement = connection.prepare(sql).await?;
    let rows = connection.client.query(&statement, &[&big(limit as u64), &before.as_millis()]).await?;
    rows.iter().map(|row| Ok(read_chain_id(row.try_get(0)?))).collect()
}

/// Removes records older than a time, the oldest first, `limit` at most, those of the chains that are locked. The first
/// record that is not so old ends it, as does the first of another chain: what is removed of a chain is its beginning.
pub(super) async fn remove(
    connection: &mut Connection,
    chains: &Chains,
    before: Timestamp,
    limit: usize,
) -> Result<(), Error> {
    let find = "SELECT place, organisation, number, at FROM audit ORDER BY place LIMIT $1";
    let statement = connection.prepare(find).await?;
    let (mut places, mut removed) = (Vec::new(), BTreeMap::new());
    for row in connection.client.query(&statement, &[&big(limit as u64)]).await? {
        let chain = row.try_get::<_, Vec<u8>>(1)?;
        if row.try_get::<_, i64>(3)? >= before.as_millis() || !chains.contains_key(&read_chain_id(&chain)) {
            break;
        }
        places.push(row.try_get::<_, i64>(0)?);
        removed.insert(chain, row.try_get::<_, i64>(2)?);
    }
    if places.is_empty() {
        return Ok(());
    }
    // A chain with a hole has no digest to note; its check must go on finding the hole.
    let note = "
        UPDATE audit_chain SET removed = gone.number, removed_digest = gone.digest
        FROM (SELECT gone.organisation, gone.number, coalesce(next.previous, chain.digest) AS digest
              FROM unnest($1::bytea[], $2::bigint[]) AS gone (organisation, number)
              LEFT JOIN audit AS next ON next.organisation = gone.organisation AND next.number = gone.number + 1
              LEFT JOIN audit_chain AS chain ON chain.organisation = gone.organisation AND chain.number = gone.number
             ) AS gone
        WHERE audit_chain.organisation = gone.organisation AND gone.digest IS NOT NULL";
    let statement = connection.prepare(note).await?;
    let (organisations, numbers): (Vec<_>, Vec<_>) = removed.into_iter().unzip();
    connection.client.execute(&statement, &[&organisations, &numbers]).await?;
    let statement = connection.prepare("DELETE FROM audit WHERE place = ANY ($1)").await?;
    connection.client.execute(&statement, &[&places]).await?;
    Ok(())
}
