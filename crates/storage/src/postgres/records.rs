//! Audit records and their chains, as they are listed.

use deadpool_postgres::Object;
use doorward_domain::{
    audit::chain::{Chain, Link, RecordFilter, StoredRecord},
    clock::Timestamp,
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
    resource::{Page, PageRequest},
};
use tokio_postgres::{Error, Row};

use super::{
    columns::{Claimed, find, get},
    directory::{query, query_one},
    values::big,
};

/// How many records a page looks at: a filter that few records pass costs no more than that.
const LOOKED_AT: i64 = 10_000;

/// Lists the records that pass a filter among the [`LOOKED_AT`] numbers from the first that there is behind a number,
/// with that first and the last of the chain in every row, and in one if no record passes.
macro_rules! page {
    ($is_behind:literal, $is_within:literal, $order:literal, $from_the_end:literal) => {
        concat!(
            r#"SELECT edges.first, edges.last, found.*
               FROM (SELECT (SELECT number FROM audit WHERE organisation = $1 AND number "#, $is_behind, " $2 ",
            "               ORDER BY number ", $order, " LIMIT 1) AS first,
                            (SELECT number FROM audit WHERE organisation = $1
                             ORDER BY number ", $from_the_end, r#" LIMIT 1) AS last) AS edges
               LEFT JOIN LATERAL (
                   SELECT organisation, number, previous, at, event, reason, address, request_id, unit, "user", key,
                          claimed, actor, session, members
                   FROM audit
                   WHERE organisation = $1 AND "#, $is_within, r#"
                     AND ($5::text IS NULL OR event = $5) AND ($6::text IS NULL OR reason = $6)
                     AND ($7::boolean IS NULL OR (reason <> 'ok') = $7)
                     AND ($8::bytea IS NULL OR "user" = $8 OR actor = $8) AND ($9::bytea IS NULL OR key = $9)
                     AND ($10::bytea IS NULL OR unit = $10) AND ($11::bytea IS NULL OR session = $11)
                     AND ($12::text IS NULL OR address = $12)
                     AND ($13::bigint IS NULL OR at >= $13) AND ($14::bigint IS NULL OR at < $14)
                   ORDER BY number "#, $order, " LIMIT $4
               ) AS found ON true
               ORDER BY found.number ", $order
        )
    };
}

/// The id of a chain: that of its organisation, or no bytes at all.
fn chain_id(organisation: Option<OrganisationId>) -> Vec<u8> {
    organisation.map_or_else(Vec::new, |organisation| organisation.to_bytes().to_vec())
}

fn read_chain_id(row: &Row, column: usize) -> Result<Option<OrganisationId>, Error> {
    let is_nobodys = row.try_get::<_, &[u8]>(column)?.is_empty();
    if is_nobodys { Ok(None) } else { get(row, column).map(Some) }
}

/// Lists records of a chain, those that pass the filter among the next [`LOOKED_AT`]; a page may have fewer than its
/// limit, or none, and not be the last.
pub(super) async fn list(
    connection: &Object,
    organisation: Option<OrganisationId>,
    filter: &RecordFilter,
    page: &PageRequest,
) -> Result<Page<StoredRecord>, Error> {
    let after = page.after.as_deref().and_then(|after| after.parse::<u64>().ok()).map(big);
    let (sql, after) = if filter.oldest_first {
        let sql = page!(">", "number >= edges.first AND number < edges.first + $3", "ASC", "DESC");
        (sql, after.unwrap_or(0))
    } else {
        let sql = page!("<", "number <= edges.first AND number > edges.first - $3", "DESC", "ASC");
        (sql, after.unwrap_or(i64::MAX))
    };
    let id = |bytes: Option<[u8; 16]>| bytes.map(|bytes| bytes.to_vec());
    let rows = query(
        connection,
        sql,
        &[
            &chain_id(organisation),
            &after,
            &LOOKED_AT,
            &big(page.limit as u64),
            &filter.event,
            &filter.reason,
            &filter.failed,
            &id(filter.user.map(UserId::to_bytes)),
            &id(filter.key.map(KeyId::to_bytes)),
            &id(filter.unit.map(UnitId::to_bytes)),
            &id(filter.session.map(SessionId::to_bytes)),
            &filter.address.map(|address| address.to_string()),
            &filter.from.map(Timestamp::as_millis),
            &filter.until.map(Timestamp::as_millis),
        ],
    )
    .await?;
    let Some(edges) = rows.first() else { return Ok(Page { items: Vec::new(), next: None }) };
    let (first, last): (Option<i64>, Option<i64>) = (edges.try_get(0)?, edges.try_get(1)?);
    let (Some(first), Some(last)) = (first, last) else { return Ok(Page { items: Vec::new(), next: None }) };
    let is_any = edges.try_get::<_, Option<i64>>(3)?.is_some();
    let items: Vec<_> = rows.iter().filter(|_| is_any).map(read).collect::<Result<_, _>>()?;
    // Where the search ended: at the last record of a full page, or at the last that it looks at.
    let (step, ended) = (if filter.oldest_first { 1 } else { -1 }, items.last().map(|item| big(item.number)));
    let ended = match ended {
        Some(ended) if items.len() == page.limit => ended,
        _ => first + step * (LOOKED_AT - 1),
    };
    let is_more = if filter.oldest_first { ended < last } else { ended > last };
    Ok(Page { items, next: is_more.then(|| ended.to_string()) })
}

fn read(row: &Row) -> Result<StoredRecord, Error> {
    Ok(StoredRecord {
        organisation: read_chain_id(row, 2)?,
        number: get(row, 3)?,
        previous: get(row, 4)?,
        at: get(row, 5)?,
        event: get(row, 6)?,
        reason: get(row, 7)?,
        address: find(row, 8)?,
        request_id: get(row, 9)?,
        unit: find(row, 10)?,
        user: find(row, 11)?,
        key: find(row, 12)?,
        claimed: find::<Claimed>(row, 13)?.map(|claimed| claimed.0),
        actor: find(row, 14)?,
        session: find(row, 15)?,
        members: find(row, 16)?,
    })
}

/// When the oldest record was made.
pub(super) async fn oldest(connection: &Object) -> Result<Option<Timestamp>, Error> {
    let sql = "SELECT at FROM audit ORDER BY place LIMIT 1";
    query_one(connection, sql, &[], |row| get(row, 0)).await
}

/// What is kept of a chain beside its records; `None` if nothing was ever recorded in it.
pub(super) async fn find_chain(
    connection: &Object,
    organisation: Option<OrganisationId>,
) -> Result<Option<Chain>, Error> {
    let sql = "SELECT organisation, number, digest, removed, removed_digest FROM audit_chain
               WHERE organisation = $1 AND number > 0";
    query_one(connection, sql, &[&chain_id(organisation)], read_chain).await
}

/// The chains, all of them.
pub(super) async fn list_chains(connection: &Object) -> Result<Vec<Chain>, Error> {
    let sql = "SELECT organisation, number, digest, removed, removed_digest FROM audit_chain
               WHERE number > 0 ORDER BY organisation";
    query(connection, sql, &[]).await?.iter().map(read_chain).collect()
}

fn read_chain(row: &Row) -> Result<Chain, Error> {
    Ok(Chain {
        organisation: read_chain_id(row, 0)?,
        last: Link { number: get(row, 1)?, digest: get(row, 2)? },
        removed: Link { number: get(row, 3)?, digest: get(row, 4)? },
    })
}
