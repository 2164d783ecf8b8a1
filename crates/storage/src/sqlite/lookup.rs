//! The questions of logins: an account with everything a login decides on. Each runs in one transaction, which is one
//! snapshot.

use doorward_domain::{
    clock::Timestamp,
    credential::KeyDigest,
    directory::{
        Account, Holder, KeyRecord, KnownAddress, NameLookup, OrganisationRecord, UnitRecord, UserRecord,
    },
    id::{KeyId, OrganisationId, UnitId, UserId},
    name::CanonicalName,
    passwords::PasswordHash,
    rules::Overrides,
    session::SessionNumber,
};
use rusqlite::{OptionalExtension, Result, Row, Transaction, params};

use super::{catalogue::get_overrides, words};

macro_rules! select_user {
    ($rest:literal) => {
        concat!(
            "SELECT id, username, role, status, ended, password_hash, must_change_password, password_set_at
             FROM user ",
            $rest
        )
    };
}

pub(super) fn find_by_name(
    transaction: &Transaction<'_>,
    organisation: &CanonicalName,
    username: &CanonicalName,
) -> Result<NameLookup> {
    let sql = "SELECT id, code, is_operator, status, ended FROM organisation WHERE canonical = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let Some(organisation) = statement.query_row([organisation.as_str()], read_organisation).optional()?
    else {
        return Ok(NameLookup::UnknownOrganisation);
    };
    let mut statement =
        transaction.prepare_cached(select_user!("WHERE organisation = ?1 AND canonical = ?2"))?;
    let name = params![organisation.id.to_bytes(), username.as_str()];
    let Some(user) = statement.query_row(name, read_user).optional()? else {
        let overrides = get_overrides(transaction, organisation.id)?;
        return Ok(NameLookup::UnknownUser(OrganisationRecord { overrides, ..organisation }));
    };
    Ok(NameLookup::Found(Box::new(complete(transaction, organisation, user)?)))
}

pub(super) fn find_by_key(
    transaction: &Transaction<'_>,
    digest: KeyDigest,
) -> Result<Option<(KeyRecord, Box<Account>)>> {
    let sql = "
        SELECT web_api_key.id, classification, status, verifier, allowed_addresses, expires_at, ends_at, ended,
               organisation, user
        FROM key_secret JOIN web_api_key ON web_api_key.id = key_secret.key WHERE digest = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let found = statement.query_row([digest.as_bytes()], |row| {
        Ok((read_key(row)?, row.get::<_, [u8; 16]>(8)?, row.get::<_, [u8; 16]>(9)?))
    });
    let Some((key, organisation, user)) = found.optional()? else {
        return Ok(None);
    };
    // The key's foreign key makes sure that both are there.
    let sql = "SELECT id, code, is_operator, status, ended FROM organisation WHERE id = ?1";
    let organisation = transaction.prepare_cached(sql)?.query_row([organisation], read_organisation)?;
    let user = transaction.prepare_cached(select_user!("WHERE id = ?1"))?.query_row([user], read_user)?;
    Ok(Some((key, Box::new(complete(transaction, organisation, user)?))))
}

pub(super) fn find_holder(
    transaction: &Transaction<'_>,
    user: UserId,
    key: Option<KeyId>,
) -> Result<Option<Holder>> {
    let sql = "
        SELECT role, classification, verifier, allowed_addresses, user.organisation FROM user
        LEFT JOIN web_api_key ON web_api_key.id = ?2 AND web_api_key.user = user.id
        WHERE user.id = ?1 AND (?2 IS NULL OR web_api_key.id IS NOT NULL)";
    let mut statement = transaction.prepare_cached(sql)?;
    let found = statement.query_row(params![user.to_bytes(), key.map(KeyId::to_bytes)], |row| {
        let allowed_addresses = match key {
            Some(_) => words::read_networks(row, 3)?,
            None => Vec::new(),
        };
        let overrides = get_overrides(transaction, OrganisationId::from_bytes(row.get(4)?))?;
        let role = words::read_role(row.get_ref(0)?.as_str()?);
        let key = match key {
            Some(_) => Some((words::read_classification(row.get_ref(1)?.as_str()?), row.get(2)?)),
            None => None,
        };
        Ok(Holder { role, key, allowed_addresses, overrides })
    });
    found.optional()
}

pub(super) fn list_names(transaction: &Transaction<'_>, user: UserId) -> Result<Vec<String>> {
    let sql = "
        SELECT organisation.name, person_name, email
        FROM user JOIN organisation ON organisation.id = user.organisation WHERE user.id = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let names = statement
        .query_row([user.to_bytes()], |row| Ok([row.get::<_, Option<String>>(0)?, row.get(1)?, row.get(2)?]));
    Ok(names.optional()?.into_iter().flatten().flatten().collect())
}

/// Adds what lies in other tables.
fn complete(
    transaction: &Transaction<'_>,
    mut organisation: OrganisationRecord,
    mut user: UserRecord,
) -> Result<Account> {
    organisation.overrides = get_overrides(transaction, organisation.id)?;
    let sql = "SELECT network, succeeded_at FROM known_address WHERE user = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query([user.id.to_bytes()])?;
    while let Some(row) = rows.next()? {
        // One that cannot be read is none; nothing is allowed because of it.
        if let Ok(network) = row.get_ref(0)?.as_str()?.parse() {
            let succeeded_at = Timestamp::from_millis(row.get(1)?);
            user.known_addresses.push(KnownAddress { network, succeeded_at });
        }
    }
    let units = list_units(transaction, user.id)?;
    Ok(Account { organisation, user, units })
}

fn list_units(transaction: &Transaction<'_>, user: UserId) -> Result<Vec<UnitRecord>> {
    let sql = "
        SELECT unit.id, unit.name, unit.status, unit.ended, membership.is_default
        FROM membership JOIN unit ON unit.id = membership.unit
        WHERE membership.user = ?1";
    transaction.prepare_cached(sql)?.query_map([user.to_bytes()], read_unit)?.collect()
}

fn read_organisation(row: &Row<'_>) -> Result<OrganisationRecord> {
    Ok(OrganisationRecord {
        id: OrganisationId::from_bytes(row.get(0)?),
        code: row.get(1)?,
        is_operator: row.get(2)?,
        status: words::read_status(row.get_ref(3)?.as_str()?),
        ended: SessionNumber(row.get(4)?),
        overrides: Overrides::new(),
    })
}

fn read_user(row: &Row<'_>) -> Result<UserRecord> {
    Ok(UserRecord {
        id: UserId::from_bytes(row.get(0)?),
        username: row.get(1)?,
        role: words::read_role(row.get_ref(2)?.as_str()?),
        status: words::read_status(row.get_ref(3)?.as_str()?),
        ended: SessionNumber(row.get(4)?),
        password_hash: row.get::<_, Option<_>>(5)?.map(PasswordHash::from_stored),
        must_change_password: row.get(6)?,
        password_set_at: row.get::<_, Option<_>>(7)?.map(Timestamp::from_millis),
        known_addresses: Vec::new(),
    })
}

fn read_unit(row: &Row<'_>) -> Result<UnitRecord> {
    Ok(UnitRecord {
        id: UnitId::from_bytes(row.get(0)?),
        name: row.get(1)?,
        status: words::read_status(row.get_ref(2)?.as_str()?),
        ended: SessionNumber(row.get(3)?),
        is_default: row.get(4)?,
    })
}

fn read_key(row: &Row<'_>) -> Result<KeyRecord> {
    Ok(KeyRecord {
        id: KeyId::from_bytes(row.get(0)?),
        classification: words::read_classification(row.get_ref(1)?.as_str()?),
        status: words::read_status(row.get_ref(2)?.as_str()?),
        verifier: row.get(3)?,
        allowed_addresses: words::read_networks(row, 4)?,
        expires_at: row.get::<_, Option<_>>(5)?.map(Timestamp::from_millis),
        secret_ends_at: row.get::<_, Option<_>>(6)?.map(Timestamp::from_millis),
        ended: SessionNumber(row.get(7)?),
    })
}
