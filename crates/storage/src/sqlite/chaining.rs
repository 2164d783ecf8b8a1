//! What migration V3 needs beside SQL: functions that chain the audit records of earlier versions.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use doorward_domain::{
    audit::chain::{Link, StoredRecord},
    clock::Timestamp,
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
};
use rusqlite::{
    Connection, Result,
    functions::{Context, FunctionFlags},
};

/// The last record of each chain, by the id that the chain is stored with.
type Ends = Arc<Mutex<HashMap<Vec<u8>, Link>>>;

/// Adds the functions `doorward_chain` and `doorward_chain_end` to a connection.
pub(super) fn register(connection: &Connection) -> Result<()> {
    let ends = Ends::default();
    let known = ends.clone();
    connection.create_scalar_function("doorward_chain", 14, FunctionFlags::SQLITE_UTF8, move |context| {
        let mut ends = known.lock().unwrap_or_else(PoisonError::into_inner);
        let end = ends.entry(context.get(0)?).or_insert(Link::BEGINNING);
        let record = read(context, *end)?;
        *end = record.link();
        Ok(record.previous.as_bytes().to_vec())
    })?;
    connection.create_scalar_function("doorward_chain_end", 1, FunctionFlags::SQLITE_UTF8, move |context| {
        let ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
        let end = ends.get(&context.get::<Vec<u8>>(0)?);
        Ok(end.map(|end| end.digest.as_bytes().to_vec()))
    })
}

fn read(context: &Context<'_>, end: Link) -> Result<StoredRecord> {
    let chain: Vec<u8> = context.get(0)?;
    Ok(StoredRecord {
        organisation: <[u8; 16]>::try_from(chain).ok().map(OrganisationId::from_bytes),
        number: context.get(1)?,
        previous: end.digest,
        at: Timestamp::from_millis(context.get(2)?),
        event: context.get(3)?,
        reason: context.get(4)?,
        address: context.get(5)?,
        request_id: context.get(6)?,
        unit: context.get::<Option<_>>(7)?.map(UnitId::from_bytes),
        user: context.get::<Option<_>>(8)?.map(UserId::from_bytes),
        key: context.get::<Option<_>>(9)?.map(KeyId::from_bytes),
        claimed: context.get(10)?,
        actor: context.get::<Option<_>>(11)?.map(UserId::from_bytes),
        session: context.get::<Option<_>>(12)?.map(SessionId::from_bytes),
        members: context.get(13)?,
    })
}
