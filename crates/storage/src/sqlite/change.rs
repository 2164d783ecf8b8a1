//! Changes of the directory, written as one entry of a batch each.

use doorward_domain::{
    clock::Timestamp,
    directory::{Change, Status},
    id::{OrganisationId, UserId},
    journal::Outcome,
    passwords::PasswordHash,
    session::{Scope, SessionNumber},
};
use rusqlite::{Connection, Result, Transaction, ffi, params};

use super::words;

/// Makes a change at a time; what it ends, it ends up to `number`. Says `Committed(None)` when it was made. A change
/// that was not made leaves nothing behind and the transaction usable.
pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    change: &Change,
    at: Timestamp,
    number: SessionNumber,
) -> Result<Outcome> {
    let savepoint = transaction.savepoint()?;
    let outcome = match write(&savepoint, change, at, number) {
        Ok(true) => {
            savepoint.commit()?;
            return Ok(Outcome::Committed(None));
        }
        Ok(false) => Outcome::Refused,
        Err(error) => match error.sqlite_extended_error_code() {
            Some(ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => Outcome::Taken,
            Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Outcome::Refused,
            _ => return Err(error),
        },
    };
    savepoint.finish()?;
    Ok(outcome)
}

/// Says whether what was to be changed is there.
fn write(connection: &Connection, change: &Change, at: Timestamp, number: SessionNumber) -> Result<bool> {
    let at = at.as_millis();
    let rows = match change {
        Change::CreateOrganisation { id, code, canonical, is_operator } => {
            let sql = "
                INSERT INTO organisation (id, code, canonical, is_operator, status, created_at, updated_at)
                VALUES (?1, ?2, ?3, ?4, 'active', ?5, ?5)";
            let row = params![id.to_bytes(), code, canonical.as_str(), is_operator, at];
            connection.prepare_cached(sql)?.execute(row)?
        }
        Change::CreateUnit { id, organisation, name, canonical } => {
            let sql = "
                INSERT INTO unit (id, organisation, name, canonical, status, created_at, updated_at)
                VALUES (?1, ?2, ?3, ?4, 'active', ?5, ?5)";
            let row = params![id.to_bytes(), organisation.to_bytes(), name, canonical.as_str(), at];
            connection.prepare_cached(sql)?.execute(row)?
        }
        Change::CreateUser { id, organisation, username, canonical, role, units, password_hash } => {
            let sql = "
                INSERT INTO user (id, organisation, username, canonical, role, status, password_hash,
                                  must_change_password, created_at, updated_at)
                VALUES (?1, ?2, ?3, ?4, ?5, 'active', ?6, 0, ?7, ?7)";
            let (id, organisation, role) = (id.to_bytes(), organisation.to_bytes(), words::role(*role));
            let row =
                params![id, organisation, username, canonical.as_str(), role, password_hash.as_str(), at];
            let rows = connection.prepare_cached(sql)?.execute(row)?;
            let sql = "INSERT INTO membership (user, unit, organisation, is_default) VALUES (?1, ?2, ?3, ?4)";
            for (place, unit) in units.iter().enumerate() {
                let row = params![id, unit.to_bytes(), organisation, place == 0];
                connection.prepare_cached(sql)?.execute(row)?;
            }
            rows
        }
        Change::CreateKey { id, organisation, user, name, digest, expires_at } => {
            let sql = "
                INSERT INTO web_api_key (id, organisation, user, name, digest, status, expires_at, created_at,
                                         updated_at)
                VALUES (?1, ?2, ?3, ?4, ?5, 'active', ?6, ?7, ?7)";
            let (id, organisation, user) = (id.to_bytes(), organisation.to_bytes(), user.to_bytes());
            let expires_at = expires_at.map(Timestamp::as_millis);
            let row = params![id, organisation, user, name, digest.as_bytes(), expires_at, at];
            connection.prepare_cached(sql)?.execute(row)?
        }
        Change::SetStatus { organisation, scope, status } => {
            let ended = (*status == Status::Disabled).then_some(number);
            set_status(connection, *organisation, *scope, *status, ended, at)?
        }
        Change::SetPassword { organisation, user, hash, must_change } => {
            let sql = "
                UPDATE user SET password_hash = ?3, must_change_password = ?4, ended = ?5, updated_at = ?6
                WHERE organisation = ?1 AND id = ?2";
            let (organisation, user) = (organisation.to_bytes(), user.to_bytes());
            let row = params![organisation, user, hash.as_str(), must_change, number.0, at];
            connection.prepare_cached(sql)?.execute(row)?
        }
    };
    Ok(rows == 1)
}

fn set_status(
    connection: &Connection,
    organisation: OrganisationId,
    scope: Scope,
    status: Status,
    ended: Option<SessionNumber>,
    at: i64,
) -> Result<usize> {
    let (organisation, status, ended) =
        (organisation.to_bytes(), words::status(status), ended.map(|mark| mark.0));
    match scope {
        Scope::Organisation(id) => {
            let sql = "
                UPDATE organisation SET status = ?3, ended = coalesce(?4, ended), updated_at = ?5
                WHERE id = ?1 AND id = ?2";
            connection.prepare_cached(sql)?.execute(params![organisation, id.to_bytes(), status, ended, at])
        }
        Scope::Unit(id) => {
            let sql = "
                UPDATE unit SET status = ?3, ended = coalesce(?4, ended), updated_at = ?5
                WHERE organisation = ?1 AND id = ?2";
            connection.prepare_cached(sql)?.execute(params![organisation, id.to_bytes(), status, ended, at])
        }
        Scope::User(id) => {
            let sql = "
                UPDATE user SET status = ?3, ended = coalesce(?4, ended), updated_at = ?5
                WHERE organisation = ?1 AND id = ?2";
            connection.prepare_cached(sql)?.execute(params![organisation, id.to_bytes(), status, ended, at])
        }
        Scope::Key(user, id) => {
            let sql = "
                UPDATE web_api_key SET status = ?3, ended = coalesce(?4, ended), updated_at = ?5
                WHERE organisation = ?1 AND id = ?2 AND user = ?6";
            let row = params![organisation, id.to_bytes(), status, ended, at, user.to_bytes()];
            connection.prepare_cached(sql)?.execute(row)
        }
    }
}

/// Replaces a hash that is still the stored one.
pub(super) fn rehash(
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
