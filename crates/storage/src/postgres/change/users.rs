//! Users, their units and their passwords.

use doorward_domain::{
    change::NewPassword,
    id::{OrganisationId, UserId},
    passwords::PasswordHash,
    resource::{Revision, User},
};
use tokio_postgres::Error;

use super::{Moment, Written, any_or, execute, is_there, written};
use crate::{
    postgres::{
        connect::Connection,
        values::{big, text},
    },
    words,
};

const REVISION: &str = r#"SELECT revision FROM "user" WHERE organisation = $1 AND id = $2"#;

pub(super) async fn create(
    connection: &mut Connection,
    organisation: OrganisationId,
    new: &User,
    password: Option<&NewPassword>,
    moment: Moment,
) -> Result<Written, Error> {
    let sql = r#"
        INSERT INTO "user" (id, organisation, username, canonical, person_name, email, email_canonical, role, status,
                            password_hash, must_change_password, password_set_at, created_at, updated_at, ended)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14)"#;
    let row: super::Row<'_> = &[
        &new.id.to_bytes().to_vec(),
        &organisation.to_bytes().to_vec(),
        &new.username.as_str(),
        &new.username.canonical().as_str(),
        &new.person_name.as_deref().map(text),
        &new.email.as_deref().map(text),
        &new.email.as_deref().map(|email| text(&email.to_lowercase())),
        &words::role(new.role),
        &words::status(new.status),
        &password.map(|password| password.hash.as_str()),
        &password.is_some_and(|password| password.must_change),
        &password.map(|_| moment.at),
        &moment.at,
        &moment.before(),
    ];
    execute(connection, sql, row).await?;
    add_to_units(connection, organisation, new).await?;
    Ok(Written::Done)
}

async fn add_to_units(
    connection: &mut Connection,
    organisation: OrganisationId,
    user: &User,
) -> Result<(), Error> {
    let sql = r#"
        INSERT INTO membership ("user", unit, organisation, is_default)
        SELECT $1, unit, $2, is_default FROM unnest($3::bytea[], $4::boolean[]) AS new (unit, is_default)"#;
    let units: Vec<_> = user.units.iter().map(|unit| unit.to_bytes().to_vec()).collect();
    let are_default: Vec<_> = user.units.iter().map(|unit| user.default_unit == Some(*unit)).collect();
    let (id, organisation) = (user.id.to_bytes(), organisation.to_bytes());
    execute(connection, sql, &[&id.as_slice(), &organisation.as_slice(), &units, &are_default])
        .await
        .map(drop)
}

pub(super) async fn update(
    connection: &mut Connection,
    organisation: OrganisationId,
    new: &User,
    expected: Option<Revision>,
    ends: bool,
    moment: Moment,
) -> Result<Written, Error> {
    let sql = r#"
        UPDATE "user" SET username = $4, canonical = $5, person_name = $6, email = $7, email_canonical = $8, role = $9,
                          status = $10, ended = coalesce($11, ended), updated_at = $12, revision = revision + 1
        WHERE organisation = $1 AND id = $2 AND revision = coalesce($3, revision)"#;
    let key = [organisation.to_bytes(), new.id.to_bytes()];
    let [organisation_id, id] = key.each_ref().map(|id| id.as_slice());
    let row: super::Row<'_> = &[
        &organisation_id,
        &id,
        &any_or(expected),
        &new.username.as_str(),
        &new.username.canonical().as_str(),
        &new.person_name.as_deref().map(text),
        &new.email.as_deref().map(text),
        &new.email.as_deref().map(|email| text(&email.to_lowercase())),
        &words::role(new.role),
        &words::status(new.status),
        &moment.mark(ends),
        &moment.at,
    ];
    let rows = execute(connection, sql, row).await?;
    let found = written(connection, rows > 0, REVISION, &[&organisation_id, &id]).await?;
    if matches!(found, Written::Done) {
        execute(connection, r#"DELETE FROM membership WHERE "user" = $1"#, &[&id]).await?;
        add_to_units(connection, organisation, new).await?;
    }
    Ok(found)
}

pub(super) async fn delete(
    connection: &mut Connection,
    organisation: OrganisationId,
    id: UserId,
    expected: Option<Revision>,
) -> Result<Written, Error> {
    let key = [organisation.to_bytes(), id.to_bytes()];
    let [organisation, id] = key.each_ref().map(|id| id.as_slice());
    let sql =
        r#"SELECT 1 FROM "user" WHERE organisation = $1 AND id = $2 AND revision = coalesce($3, revision)"#;
    let is_found = is_there(connection, sql, &[&organisation, &id, &any_or(expected)]).await?;
    let found = written(connection, is_found, REVISION, &[&organisation, &id]).await?;
    if matches!(found, Written::Done) {
        remove(connection, organisation, vec![id.to_vec()]).await?;
    }
    Ok(found)
}

/// Deletes some users of an organisation; whether there were any.
pub(in crate::postgres) async fn delete_some(
    connection: &mut Connection,
    organisation: OrganisationId,
    limit: usize,
) -> Result<bool, Error> {
    let organisation = organisation.to_bytes();
    let organisation = organisation.as_slice();
    let sql = r#"SELECT id FROM "user" WHERE organisation = $1 ORDER BY canonical LIMIT $2"#;
    let statement = connection.prepare(sql).await?;
    let rows = connection.client.query(&statement, &[&organisation, &big(limit as u64)]).await?;
    let users = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<Vec<u8>>, _>>()?;
    let are_some = !users.is_empty();
    if are_some {
        remove(connection, organisation, users).await?;
    }
    Ok(are_some)
}

/// Deletes users of an organisation with all that is theirs.
async fn remove(connection: &mut Connection, organisation: &[u8], users: Vec<Vec<u8>>) -> Result<(), Error> {
    // What refers to others goes before them.
    for sql in [
        r#"DELETE FROM key_secret
           WHERE key IN (SELECT id FROM web_api_key WHERE organisation = $1 AND "user" = ANY ($2))"#,
        r#"DELETE FROM web_api_key WHERE organisation = $1 AND "user" = ANY ($2)"#,
        r#"DELETE FROM membership WHERE "user" = ANY ($2) AND organisation = $1"#,
    ] {
        execute(connection, sql, &[&organisation, &users]).await?;
    }
    execute(connection, r#"DELETE FROM known_address WHERE "user" = ANY ($1)"#, &[&users]).await?;
    execute(connection, "DELETE FROM once WHERE caller = ANY ($1)", &[&users]).await?;
    let sql = r#"DELETE FROM "user" WHERE organisation = $1 AND id = ANY ($2)"#;
    execute(connection, sql, &[&organisation, &users]).await.map(drop)
}

pub(super) async fn set_password(
    connection: &mut Connection,
    organisation: OrganisationId,
    id: UserId,
    password: &NewPassword,
    replaces: Option<&PasswordHash>,
    moment: Moment,
) -> Result<Written, Error> {
    let sql = r#"
        UPDATE "user" SET password_hash = $4, must_change_password = $5, password_set_at = $6, ended = $7
        WHERE organisation = $1 AND id = $2 AND ($3::text IS NULL OR password_hash = $3)"#;
    let key = [organisation.to_bytes(), id.to_bytes()];
    let [organisation, id] = key.each_ref().map(|id| id.as_slice());
    let row: super::Row<'_> = &[
        &organisation,
        &id,
        &replaces.map(PasswordHash::as_str),
        &password.hash.as_str(),
        &password.must_change,
        &moment.at,
        &big(moment.number.0),
    ];
    let rows = execute(connection, sql, row).await?;
    written(connection, rows > 0, REVISION, &[&organisation, &id]).await
}

/// Replaces a hash that is still the stored one.
pub(in crate::postgres) async fn rehash(
    connection: &mut Connection,
    organisation: OrganisationId,
    user: UserId,
    from: &PasswordHash,
    to: &PasswordHash,
) -> Result<bool, Error> {
    let sql = r#"
        UPDATE "user" SET password_hash = $4 WHERE organisation = $1 AND id = $2 AND password_hash = $3"#;
    let (organisation, user) = (organisation.to_bytes(), user.to_bytes());
    let row: super::Row<'_> = &[&organisation.as_slice(), &user.as_slice(), &from.as_str(), &to.as_str()];
    Ok(execute(connection, sql, row).await? == 1)
}
