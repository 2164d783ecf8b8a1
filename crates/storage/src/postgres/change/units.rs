//! Units.

use doorward_domain::{
    id::{OrganisationId, UnitId},
    resource::{Revision, Unit},
};
use tokio_postgres::Error;

use super::{Moment, Written, any_or, execute, is_there, written};
use crate::{postgres::connect::Connection, words};

const REVISION: &str = "SELECT revision FROM unit WHERE organisation = $1 AND id = $2";

pub(super) async fn create(
    connection: &mut Connection,
    organisation: OrganisationId,
    new: &Unit,
    moment: Moment,
) -> Result<Written, Error> {
    let sql = "
        INSERT INTO unit (id, organisation, name, canonical, status, created_at, updated_at, ended)
        VALUES ($1, $2, $3, $4, $5, $6, $6, $7)";
    let row: super::Row<'_> = &[
        &new.id.to_bytes().to_vec(),
        &organisation.to_bytes().to_vec(),
        &new.name.as_str(),
        &new.name.canonical().as_str(),
        &words::status(new.status),
        &moment.at,
        &moment.before(),
    ];
    execute(connection, sql, row).await?;
    Ok(Written::Done)
}

pub(super) async fn update(
    connection: &mut Connection,
    organisation: OrganisationId,
    new: &Unit,
    expected: Option<Revision>,
    ends: bool,
    moment: Moment,
) -> Result<Written, Error> {
    let sql = "
        UPDATE unit SET name = $4, canonical = $5, status = $6, ended = coalesce($7, ended), updated_at = $8,
                        revision = revision + 1
        WHERE organisation = $1 AND id = $2 AND revision = coalesce($3, revision)";
    let (organisation, id) = (organisation.to_bytes(), new.id.to_bytes());
    let row: super::Row<'_> = &[
        &organisation.as_slice(),
        &id.as_slice(),
        &any_or(expected),
        &new.name.as_str(),
        &new.name.canonical().as_str(),
        &words::status(new.status),
        &moment.mark(ends),
        &moment.at,
    ];
    let rows = execute(connection, sql, row).await?;
    written(connection, rows > 0, REVISION, &[&organisation.as_slice(), &id.as_slice()]).await
}

pub(super) async fn delete(
    connection: &mut Connection,
    organisation: OrganisationId,
    id: UnitId,
    expected: Option<Revision>,
) -> Result<Written, Error> {
    let (organisation, id) = (organisation.to_bytes(), id.to_bytes());
    let (organisation, id) = (organisation.as_slice(), id.as_slice());
    // First those that are nobody's default; the unit itself decides whether they were its own.
    let sql = "SELECT 1 FROM membership WHERE unit = $2 AND organisation = $1 AND is_default LIMIT 1";
    if is_there(connection, sql, &[&organisation, &id]).await? {
        return Ok(Written::InUse);
    }
    let sql = "DELETE FROM membership WHERE unit = $2 AND organisation = $1";
    execute(connection, sql, &[&organisation, &id]).await?;
    let sql = "DELETE FROM unit WHERE organisation = $1 AND id = $2 AND revision = coalesce($3, revision)";
    let rows = execute(connection, sql, &[&organisation, &id, &any_or(expected)]).await?;
    written(connection, rows > 0, REVISION, &[&organisation, &id]).await
}
