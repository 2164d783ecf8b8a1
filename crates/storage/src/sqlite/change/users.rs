//! Users, their units and their passwords.

use doorward_domain::{
    change::NewPassword,
    id::{OrganisationId, UserId},
    passwords::PasswordHash,
    resource::{Revision, User},
};
use rusqlite::{Connection, Result, params};

use super::{Moment, Written, any_or, written};
use crate::sqlite::words;

const REVISION: &str = "SELECT revision FROM user WHERE organisation = ?1 AND id = ?2";

pub(super) fn create(
    connection: &Connection,
    organisation: OrganisationId,
    new: &User,
    password: Option<&NewPassword>,
    moment: Moment,
) -> Result<Written> {
    let sql = "
        INSERT INTO user (id, organisation, username, canonical, person_name, email, email_canonical, role, status,
                          password_hash, must_change_password, password_set_at, created_at, updated_at, ended)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14)";
    connection.prepare_cached(sql)?.execute(params![
        new.id.to_bytes(),
        organisation.to_bytes(),
        new.username.as_str(),
        new.username.canonical().as_str(),
        new.person_name,
        new.email,
        new.email.as_deref().map(str::to_lowercase),
        words::role(new.role),
        words::status(new.status),
        password.map(|password| password.hash.as_str()),
        password.is_some_and(|password| password.must_change),
        password.map(|_| moment.at),
        moment.at,
        moment.before(),
    ])?;
    add_to_units(connection, organisation, new)?;
    Ok(Written::Done)
}

fn add_to_units(connection: &Connection, organisation: OrganisationId, user: &User) -> Result<()> {
    let sql = "INSERT INTO membership (user, unit, organisation, is_default) VALUES (?1, ?2, ?3, ?4)";
    let mut statement = connection.prepare_cached(sql)?;
    for unit in &user.units {
        let is_default = user.default_unit == Some(*unit);
        statement.execute(params![
            user.id.to_bytes(),
            unit.to_bytes(),
            organisation.to_bytes(),
            is_default
        ])?;
    }
    Ok(())
}

pub(super) fn update(
    connection: &Connection,
    organisation: OrganisationId,
    new: &User,
    expected: Option<Revision>,
    ends: bool,
    moment: Moment,
) -> Result<Written> {
    let sql = "
        UPDATE user SET username = ?4, canonical = ?5, person_name = ?6, email = ?7, email_canonical = ?8, role = ?9,
                        status = ?10, ended = coalesce(?11, ended), updated_at = ?12, revision = revision + 1
        WHERE organisation = ?1 AND id = ?2 AND revision = coalesce(?3, revision)";
    let key = [organisation.to_bytes(), new.id.to_bytes()];
    let rows = connection.prepare_cached(sql)?.execute(params![
        key[0],
        key[1],
        any_or(expected),
        new.username.as_str(),
        new.username.canonical().as_str(),
        new.person_name,
        new.email,
        new.email.as_deref().map(str::to_lowercase),
        words::role(new.role),
        words::status(new.status),
        ends.then_some(moment.number.0),
        moment.at,
    ])?;
    let found = written(connection, rows, REVISION, key)?;
    if matches!(found, Written::Done) {
        connection.prepare_cached("DELETE FROM membership WHERE user = ?1")?.execute([new.id.to_bytes()])?;
        add_to_units(connection, organisation, new)?;
    }
    Ok(found)
}

pub(super) fn delete(
    connection: &Connection,
    organisation: OrganisationId,
    id: UserId,
    expected: Option<Revision>,
) -> Result<Written> {
    let key = [organisation.to_bytes(), id.to_bytes()];
    let sql = "
        SELECT count(*) FROM user WHERE organisation = ?1 AND id = ?2 AND revision = coalesce(?3, revision)";
    let row = params![key[0], key[1], any_or(expected)];
    let rows = connection.prepare_cached(sql)?.query_row(row, |row| row.get(0))?;
    let found = written(connection, rows, REVISION, key)?;
    if matches!(found, Written::Done) {
        remove(connection, key)?;
    }
    Ok(found)
}

/// Deletes some users of an organisation; whether there were any.
pub(in crate::sqlite) fn delete_some(
    connection: &Connection,
    organisation: OrganisationId,
    limit: usize,
) -> Result<bool> {
    let organisation = organisation.to_bytes();
    let sql = "SELECT id FROM user WHERE organisation = ?1 ORDER BY canonical LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let users = statement.query_map(params![organisation, limit], |row| row.get(0))?;
    let users = users.collect::<Result<Vec<_>>>()?;
    for user in &users {
        remove(connection, [organisation, *user])?;
    }
    Ok(!users.is_empty())
}

/// Deletes a user, named by organisation and id, with all that is theirs.
fn remove(connection: &Connection, key: [[u8; 16]; 2]) -> Result<()> {
    // What refers to others goes before them.
    for sql in [
        "DELETE FROM key_secret
         WHERE key IN (SELECT id FROM web_api_key WHERE organisation = ?1 AND user = ?2)",
        "DELETE FROM web_api_key WHERE organisation = ?1 AND user = ?2",
        "DELETE FROM membership WHERE user = ?2 AND organisation = ?1",
        "DELETE FROM known_address WHERE user = ?2",
        "DELETE FROM once WHERE caller = ?2",
        "DELETE FROM user WHERE organisation = ?1 AND id = ?2",
    ] {
        connection.prepare_cached(sql)?.execute(key)?;
    }
    Ok(())
}

pub(super) fn set_password(
    connection: &Connection,
    organisation: OrganisationId,
    id: UserId,
    password: &NewPassword,
    replaces: Option<&PasswordHash>,
    moment: Moment,
) -> Result<Written> {
    let sql = "
        UPDATE user SET password_hash = ?4, must_change_password = ?5, password_set_at = ?6, ended = ?7
        WHERE organisation = ?1 AND id = ?2 AND (?3 IS NULL OR password_hash = ?3)";
    let rows = connection.prepare_cached(sql)?.execute(params![
        organisation.to_bytes(),
        id.to_bytes(),
        replaces.map(PasswordHash::as_str),
        password.hash.as_str(),
        password.must_change,
        moment.at,
        moment.number.0,
    ])?;
    written(connection, rows, REVISION, [organisation.to_bytes(), id.to_bytes()])
}

/// Replaces a hash that is still the stored one.
pub(in crate::sqlite) fn rehash(
    connection: &Connection,
    organisation: OrganisationId,
    user: UserId,
    from: &PasswordHash,
    to: &PasswordHash,
) -> Result<bool> {
    let sql = "UPDATE user SET password_hash = ?4 WHERE organisation = ?1 AND id = ?2 AND password_hash = ?3";
    let row = params![organisation.to_bytes(), user.to_bytes(), from.as_str(), to.as_str()];
    Ok(connection.prepare_cached(sql)?.execute(row)? == 1)
}
