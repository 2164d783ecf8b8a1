//! Organisations and their rules.

use doorward_domain::{
    id::OrganisationId,
    resource::{Organisation, Revision},
    rules::Overrides,
};
use tokio_postgres::Error;

use super::{Moment, Written, any_or, execute, is_there, written};
use crate::{
    postgres::{connect::Connection, values::text},
    words,
};

const REVISION: &str = "SELECT revision FROM organisation WHERE id = $1";

pub(super) async fn create(
    connection: &mut Connection,
    new: &Organisation,
    moment: Moment,
) -> Result<Written, Error> {
    let sql = "
        INSERT INTO organisation (id, code, canonical, name, is_operator, status, created_at, updated_at, ended)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)";
    let row: super::Row<'_> = &[
        &new.id.to_bytes().to_vec(),
        &new.code.as_str(),
        &new.code.canonical().as_str(),
        &text(&new.name),
        &new.is_operator,
        &words::status(new.status),
        &moment.at,
        &moment.before(),
    ];
    execute(connection, sql, row).await?;
    Ok(Written::Done)
}

pub(super) async fn update(
    connection: &mut Connection,
    new: &Organisation,
    expected: Option<Revision>,
    ends: bool,
    moment: Moment,
) -> Result<Written, Error> {
    let sql = "
        UPDATE organisation SET code = $3, canonical = $4, name = $5, status = $6, ended = coalesce($7, ended),
                                updated_at = $8, revision = revision + 1
        WHERE id = $1 AND revision = coalesce($2, revision)";
    let id = new.id.to_bytes();
    let row: super::Row<'_> = &[
        &id.as_slice(),
        &any_or(expected),
        &new.code.as_str(),
        &new.code.canonical().as_str(),
        &text(&new.name),
        &words::status(new.status),
        &moment.mark(ends),
        &moment.at,
    ];
    let rows = execute(connection, sql, row).await?;
    written(connection, rows > 0, REVISION, &[&id.as_slice()]).await
}

pub(super) async fn delete(
    connection: &mut Connection,
    id: OrganisationId,
    expected: Option<Revision>,
) -> Result<Written, Error> {
    let id = id.to_bytes();
    let id = id.as_slice();
    let sql = "SELECT 1 FROM organisation WHERE id = $1 AND revision = coalesce($2, revision)";
    let is_found = is_there(connection, sql, &[&id, &any_or(expected)]).await?;
    let found = written(connection, is_found, REVISION, &[&id]).await?;
    if matches!(found, Written::Done) {
        // What refers to others goes before them.
        for sql in [
            "DELETE FROM key_secret WHERE key IN (SELECT id FROM web_api_key WHERE organisation = $1)",
            "DELETE FROM web_api_key WHERE organisation = $1",
            r#"DELETE FROM known_address WHERE "user" IN (SELECT id FROM "user" WHERE organisation = $1)"#,
            r#"DELETE FROM once WHERE caller IN (SELECT id FROM "user" WHERE organisation = $1)"#,
            "DELETE FROM membership WHERE unit IN (SELECT id FROM unit WHERE organisation = $1)",
            r#"DELETE FROM "user" WHERE organisation = $1"#,
            "DELETE FROM unit WHERE organisation = $1",
            "DELETE FROM organisation_rule WHERE organisation = $1",
            "DELETE FROM organisation WHERE id = $1",
        ] {
            execute(connection, sql, &[&id]).await?;
        }
    }
    Ok(found)
}

pub(super) async fn set_rules(
    connection: &mut Connection,
    id: OrganisationId,
    overrides: &Overrides,
    expected: Option<Revision>,
    moment: Moment,
) -> Result<Written, Error> {
    let id = id.to_bytes();
    let id = id.as_slice();
    let sql = "
        UPDATE organisation SET updated_at = $3, revision = revision + 1
        WHERE id = $1 AND revision = coalesce($2, revision)";
    let rows = execute(connection, sql, &[&id, &any_or(expected), &moment.at]).await?;
    let found = written(connection, rows > 0, REVISION, &[&id]).await?;
    if matches!(found, Written::Done) {
        execute(connection, "DELETE FROM organisation_rule WHERE organisation = $1", &[&id]).await?;
        let sql = "INSERT INTO organisation_rule (organisation, rule, value) VALUES ($1, $2, $3)";
        for (rule, value) in overrides {
            execute(connection, sql, &[&id, &rule.as_str(), &text(&value.to_string())]).await?;
        }
    }
    Ok(found)
}
