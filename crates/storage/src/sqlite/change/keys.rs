//! Web API keys and their secrets.

use doorward_domain::{
    clock::Timestamp,
    id::{KeyId, OrganisationId, UserId},
    resource::{Key, NewSecret, Revision},
};
use rusqlite::{Connection, Result, params};

use super::{Moment, Written, any_or, written};
use crate::sqlite::words;

const REVISION: &str = "SELECT revision FROM web_api_key WHERE organisation = ?1 AND id = ?2 AND user = ?3";

pub(super) fn create(
    connection: &Connection,
    organisation: OrganisationId,
    new: &Key,
    secret: &NewSecret,
    moment: Moment,
) -> Result<Written> {
    let sql = "
        INSERT INTO web_api_key (id, organisation, user, name, classification, status, verifier, allowed_addresses,
                                 expires_at, created_at, updated_at, ended)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11)";
    connection.prepare_cached(sql)?.execute(params![
        new.id.to_bytes(),
        organisation.to_bytes(),
        new.user.to_bytes(),
        new.name,
        new.classification.as_str(),
        words::status(new.status),
        new.verifier,
        words::networks(&new.allowed_addresses),
        new.expires_at.map(Timestamp::as_millis),
        moment.at,
        moment.before(),
    ])?;
    add_secret(connection, new.id, secret, moment)?;
    Ok(Written::Done)
}

fn add_secret(connection: &Connection, key: KeyId, secret: &NewSecret, moment: Moment) -> Result<()> {
    let sql = "INSERT INTO key_secret (digest, key, hint, created_at) VALUES (?1, ?2, ?3, ?4)";
    let row = params![secret.digest.as_bytes(), key.to_bytes(), secret.hint, moment.at];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

pub(super) fn update(
    connection: &Connection,
    organisation: OrganisationId,
    new: &Key,
    expected: Option<Revision>,
    ends: bool,
    moment: Moment,
) -> Result<Written> {
    let sql = "
        UPDATE web_api_key SET name = ?5, classification = ?6, status = ?7, verifier = ?8, allowed_addresses = ?9,
                               expires_at = ?10, ended = coalesce(?11, ended), updated_at = ?12,
                               revision = revision + 1
        WHERE organisation = ?1 AND id = ?2 AND user = ?3 AND revision = coalesce(?4, revision)";
    let key = [organisation.to_bytes(), new.id.to_bytes(), new.user.to_bytes()];
    let rows = connection.prepare_cached(sql)?.execute(params![
        key[0],
        key[1],
        key[2],
        any_or(expected),
        new.name,
        new.classification.as_str(),
        words::status(new.status),
        new.verifier,
        words::networks(&new.allowed_addresses),
        new.expires_at.map(Timestamp::as_millis),
        ends.then_some(moment.number.0),
        moment.at,
    ])?;
    written(connection, rows, REVISION, key)
}

/// What replaces the secret of which key.
pub(super) struct Rotation<'a> {
    pub(super) user: UserId,
    pub(super) id: KeyId,
    pub(super) secret: &'a NewSecret,
    pub(super) overlap_until: Option<Timestamp>,
}

pub(super) fn rotate(
    connection: &Connection,
    organisation: OrganisationId,
    rotation: &Rotation<'_>,
    expected: Option<Revision>,
    moment: Moment,
) -> Result<Written> {
    let sql = "
        UPDATE web_api_key SET ended = coalesce(?5, ended), updated_at = ?6, revision = revision + 1
        WHERE organisation = ?1 AND id = ?2 AND user = ?3 AND revision = coalesce(?4, revision)";
    let key = [organisation.to_bytes(), rotation.id.to_bytes(), rotation.user.to_bytes()];
    let ended = rotation.overlap_until.is_none().then_some(moment.number.0);
    let row = params![key[0], key[1], key[2], any_or(expected), ended, moment.at];
    let rows = connection.prepare_cached(sql)?.execute(row)?;
    let found = written(connection, rows, REVISION, key)?;
    if matches!(found, Written::Done) {
        // Those that were replaced earlier do not live longer by it.
        let sql = "UPDATE key_secret SET ends_at = min(coalesce(ends_at, ?2), ?2) WHERE key = ?1";
        let ends_at = rotation.overlap_until.map_or(moment.at, Timestamp::as_millis);
        connection.prepare_cached(sql)?.execute(params![key[1], ends_at])?;
        let sql = "DELETE FROM key_secret WHERE key = ?1 AND ends_at <= ?2";
        connection.prepare_cached(sql)?.execute(params![key[1], moment.at])?;
        add_secret(connection, rotation.id, rotation.secret, moment)?;
    }
    Ok(found)
}

pub(super) fn delete(
    connection: &Connection,
    organisation: OrganisationId,
    user: UserId,
    id: KeyId,
    expected: Option<Revision>,
) -> Result<Written> {
    let key = [organisation.to_bytes(), id.to_bytes(), user.to_bytes()];
    let sql = "
        DELETE FROM web_api_key
        WHERE organisation = ?1 AND id = ?2 AND user = ?3 AND revision = coalesce(?4, revision)";
    let rows = connection.prepare_cached(sql)?.execute(params![key[0], key[1], key[2], any_or(expected)])?;
    let found = written(connection, rows, REVISION, key)?;
    if matches!(found, Written::Done) {
        connection.prepare_cached("DELETE FROM key_secret WHERE key = ?1")?.execute([key[1]])?;
    }
    Ok(found)
}
