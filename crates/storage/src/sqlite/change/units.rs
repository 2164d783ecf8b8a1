//! Units.

use doorward_domain::{
    id::{OrganisationId, UnitId},
    resource::{Revision, Unit},
};
use rusqlite::{Connection, Result, params};

use super::{Moment, Written, any_or, written};
use crate::sqlite::words;

const REVISION: &str = "SELECT revision FROM unit WHERE organisation = ?1 AND id = ?2";

pub(super) fn create(
    connection: &Connection,
    organisation: OrganisationId,
    new: &Unit,
    moment: Moment,
) -> Result<Written> {
    let sql = "
        INSERT INTO unit (id, organisation, name, canonical, status, created_at, updated_at, ended)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)";
    let (name, canonical) = (new.name.as_str(), new.name.canonical().as_str());
    let (id, organisation, status) = (new.id.to_bytes(), organisation.to_bytes(), words::status(new.status));
    let row = params![id, organisation, name, canonical, status, moment.at, moment.before()];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(Written::Done)
}

pub(super) fn update(
    connection: &Connection,
    organisation: OrganisationId,
    new: &Unit,
    expected: Option<Revision>,
    ends: bool,
    moment: Moment,
) -> Result<Written> {
    let sql = "
        UPDATE unit SET name = ?4, canonical = ?5, status = ?6, ended = coalesce(?7, ended), updated_at = ?8,
                        revision = revision + 1
        WHERE organisation = ?1 AND id = ?2 AND revision = coalesce(?3, revision)";
    let (organisation, id) = (organisation.to_bytes(), new.id.to_bytes());
    let rows = connection.prepare_cached(sql)?.execute(params![
        organisation,
        id,
        any_or(expected),
        new.name.as_str(),
        new.name.canonical().as_str(),
        words::status(new.status),
        ends.then_some(moment.number.0),
        moment.at,
    ])?;
    written(connection, rows, REVISION, [organisation, id])
}

pub(super) fn delete(
    connection: &Connection,
    organisation: OrganisationId,
    id: UnitId,
    expected: Option<Revision>,
) -> Result<Written> {
    let (organisation, id) = (organisation.to_bytes(), id.to_bytes());
    // First those that are nobody's default; the unit itself decides whether they were its own.
    let sql =
        "SELECT EXISTS (SELECT 1 FROM membership WHERE unit = ?2 AND organisation = ?1 AND is_default = 1)";
    if connection.prepare_cached(sql)?.query_row([organisation, id], |row| row.get(0))? {
        return Ok(Written::InUse);
    }
    let sql = "DELETE FROM membership WHERE unit = ?2 AND organisation = ?1";
    connection.prepare_cached(sql)?.execute([organisation, id])?;
    let sql = "DELETE FROM unit WHERE organisation = ?1 AND id = ?2 AND revision = coalesce(?3, revision)";
    let rows = connection.prepare_cached(sql)?.execute(params![organisation, id, any_or(expected)])?;
    written(connection, rows, REVISION, [organisation, id])
}
