//! Organisations and their rules.

use doorward_domain::{
    id::OrganisationId,
    resource::{Organisation, Revision},
    rules::Overrides,
};
use rusqlite::{Connection, Result, params};

use super::{Moment, Written, any_or, written};
use crate::sqlite::words;

const REVISION: &str = "SELECT revision FROM organisation WHERE id = ?1";

pub(super) fn create(connection: &Connection, new: &Organisation, moment: Moment) -> Result<Written> {
    let sql = "
        INSERT INTO organisation (id, code, canonical, name, is_operator, status, created_at, updated_at, ended)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8)";
    let (code, canonical) = (new.code.as_str(), new.code.canonical().as_str());
    let status = words::status(new.status);
    connection.prepare_cached(sql)?.execute(params![
        new.id.to_bytes(),
        code,
        canonical,
        new.name,
        new.is_operator,
        status,
        moment.at,
        moment.before()
    ])?;
    Ok(Written::Done)
}

pub(super) fn update(
    connection: &Connection,
    new: &Organisation,
    expected: Option<Revision>,
    ends: bool,
    moment: Moment,
) -> Result<Written> {
    let sql = "
        UPDATE organisation SET code = ?3, canonical = ?4, name = ?5, status = ?6, ended = coalesce(?7, ended),
                                updated_at = ?8, revision = revision + 1
        WHERE id = ?1 AND revision = coalesce(?2, revision)";
    let id = new.id.to_bytes();
    let rows = connection.prepare_cached(sql)?.execute(params![
        id,
        any_or(expected),
        new.code.as_str(),
        new.code.canonical().as_str(),
        new.name,
        words::status(new.status),
        ends.then_some(moment.number.0),
        moment.at,
    ])?;
    written(connection, rows, REVISION, [id])
}

pub(super) fn delete(
    connection: &Connection,
    id: OrganisationId,
    expected: Option<Revision>,
) -> Result<Written> {
    let id = id.to_bytes();
    let sql = "SELECT count(*) FROM organisation WHERE id = ?1 AND revision = coalesce(?2, revision)";
    let rows = connection.prepare_cached(sql)?.query_row(params![id, any_or(expected)], |row| row.get(0))?;
    let found = written(connection, rows, REVISION, [id])?;
    if matches!(found, Written::Done) {
        // What refers to others goes before them.
        for sql in [
            "DELETE FROM key_secret WHERE key IN (SELECT id FROM web_api_key WHERE organisation = ?1)",
            "DELETE FROM web_api_key WHERE organisation = ?1",
            "DELETE FROM known_address WHERE user IN (SELECT id FROM user WHERE organisation = ?1)",
            "DELETE FROM once WHERE caller IN (SELECT id FROM user WHERE organisation = ?1)",
            "DELETE FROM membership WHERE unit IN (SELECT id FROM unit WHERE organisation = ?1)",
            "DELETE FROM user WHERE organisation = ?1",
            "DELETE FROM unit WHERE organisation = ?1",
            "DELETE FROM organisation_rule WHERE organisation = ?1",
            "DELETE FROM organisation WHERE id = ?1",
        ] {
            connection.prepare_cached(sql)?.execute([id])?;
        }
    }
    Ok(found)
}

pub(super) fn set_rules(
    connection: &Connection,
    id: OrganisationId,
    overrides: &Overrides,
    expected: Option<Revision>,
    moment: Moment,
) -> Result<Written> {
    let id = id.to_bytes();
    let sql = "
        UPDATE organisation SET updated_at = ?3, revision = revision + 1
        WHERE id = ?1 AND revision = coalesce(?2, revision)";
    let rows = connection.prepare_cached(sql)?.execute(params![id, any_or(expected), moment.at])?;
    let found = written(connection, rows, REVISION, [id])?;
    if matches!(found, Written::Done) {
        let sql = "DELETE FROM organisation_rule WHERE organisation = ?1";
        connection.prepare_cached(sql)?.execute([id])?;
        let sql = "INSERT INTO organisation_rule (organisation, rule, value) VALUES (?1, ?2, ?3)";
        let mut statement = connection.prepare_cached(sql)?;
        for (rule, value) in overrides {
            statement.execute(params![id, rule.as_str(), value.to_string()])?;
        }
    }
    Ok(found)
}
