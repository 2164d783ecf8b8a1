//! Reading all users of an organisation with their hashes, on the machine itself and beside a server that runs.
//!
//! Nothing else gives hashes away. In WAL mode a reader keeps nobody from writing; what it reads is one snapshot.

use std::{collections::HashMap, path::Path};

use doorward_domain::{
    id::{OrganisationId, UnitId},
    name::{CanonicalName, Name},
    passwords::PasswordHash,
    resource::UserDetails,
};
use rusqlite::{OptionalExtension, Transaction};

use super::{OpenError, catalogue, folder, schema, words};

/// A user with the stored hash of the password.
pub type UserWithHash = (UserDetails, Option<PasswordHash>);

/// How many users are read at a time.
const CHUNK: usize = 1_000;

/// The names of an organisation's units.
pub type UnitNames = HashMap<UnitId, Name>;

/// Reads the users of the organisation of this code in the order of their usernames, and hands each to `user` with the
/// names of the organisation's units. `false` if there is no such organisation. Memory does not grow with them.
pub fn export_users<E: From<OpenError>>(
    folder: &Path,
    organisation: &CanonicalName,
    mut user: impl FnMut(UserWithHash, &UnitNames) -> Result<(), E>,
) -> Result<bool, E> {
    let database = folder::find_database(folder)?;
    let sqlite = |error| OpenError::from_sqlite(&database, error);
    let mut connection = schema::open_beside(&database)?;
    let transaction = connection.transaction().map_err(sqlite)?;
    let found = find(&transaction, organisation).map_err(sqlite)?;
    let Some((organisation, units)) = found else { return Ok(false) };
    let mut after: Option<String> = None;
    loop {
        let some = catalogue::list_with_hashes(&transaction, organisation, after.as_deref(), CHUNK);
        let some = some.map_err(sqlite)?;
        let Some((last, _)) = some.last() else { return Ok(true) };
        after = Some(last.user.value.username.canonical().as_str().to_owned());
        for with_hash in some {
            user(with_hash, &units)?;
        }
    }
}

fn find(
    transaction: &Transaction<'_>,
    code: &CanonicalName,
) -> rusqlite::Result<Option<(OrganisationId, UnitNames)>> {
    let sql = "SELECT id FROM organisation WHERE canonical = ?1";
    let id = transaction.query_row(sql, [code.as_str()], |row| row.get(0)).optional()?;
    let Some(organisation) = id.map(OrganisationId::from_bytes) else { return Ok(None) };
    let mut statement = transaction.prepare("SELECT id, name FROM unit WHERE organisation = ?1")?;
    let units = statement.query_map([organisation.to_bytes()], |row| {
        Ok((UnitId::from_bytes(row.get(0)?), words::read_name(row, 1)?))
    })?;
    Ok(Some((organisation, units.collect::<rusqlite::Result<_>>()?)))
}
