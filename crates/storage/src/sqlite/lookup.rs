//! The questions of logins: an account with everything a login decides on. Each runs in one transaction, which is one
//! snapshot.

use doorward_domain::{
    clock::Timestamp,
    credential::KeyDigest,
    directory::{Account, KeyRecord, NameLookup, OrganisationRecord, UnitRecord, UserRecord},
    id::{KeyId, OrganisationId, UnitId, UserId},
    name::CanonicalName,
    passwords::PasswordHash,
    session::SessionNumber,
};
use rusqlite::{OptionalExtension, Result, Row, Transaction, params};

use super::words;

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
    let sql = "
        SELECT id, username, status, ended, password_hash, must_change_password FROM user
        WHERE organisation = ?1 AND canonical = ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let name = params![organisation.id.to_bytes(), username.as_str()];
    let Some(user) = statement.query_row(name, read_user).optional()? else {
        return Ok(NameLookup::UnknownUser(organisation.id));
    };
    let units = list_units(transaction, user.id)?;
    Ok(NameLookup::Found(Box::new(Account { organisation, user, units })))
}

pub(super) fn find_by_key(
    transaction: &Transaction<'_>,
    digest: KeyDigest,
) -> Result<Option<(KeyRecord, Box<Account>)>> {
    let sql = "SELECT id, status, expires_at, ended, organisation, user FROM web_api_key WHERE digest = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let found = statement.query_row([digest.as_bytes()], |row| {
        Ok((read_key(row)?, row.get::<_, [u8; 16]>(4)?, row.get::<_, [u8; 16]>(5)?))
    });
    let Some((key, organisation, user)) = found.optional()? else {
        return Ok(None);
    };
    // The key's foreign key makes sure that both are there.
    let sql = "SELECT id, code, is_operator, status, ended FROM organisation WHERE id = ?1";
    let organisation = transaction.prepare_cached(sql)?.query_row([organisation], read_organisation)?;
    let sql =
        "SELECT id, username, status, ended, password_hash, must_change_password FROM user WHERE id = ?1";
    let user = transaction.prepare_cached(sql)?.query_row([user], read_user)?;
    let units = list_units(transaction, user.id)?;
    Ok(Some((key, Box::new(Account { organisation, user, units }))))
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
    })
}

fn read_user(row: &Row<'_>) -> Result<UserRecord> {
    Ok(UserRecord {
        id: UserId::from_bytes(row.get(0)?),
        username: row.get(1)?,
        status: words::read_status(row.get_ref(2)?.as_str()?),
        ended: SessionNumber(row.get(3)?),
        password_hash: row.get::<_, Option<_>>(4)?.map(PasswordHash::from_stored),
        must_change_password: row.get(5)?,
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
        status: words::read_status(row.get_ref(1)?.as_str()?),
        expires_at: row.get::<_, Option<_>>(2)?.map(Timestamp::from_millis),
        ended: SessionNumber(row.get(3)?),
    })
}
