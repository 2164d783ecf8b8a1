//! Web API keys and their secrets.

use doorward_domain::{
    clock::Timestamp,
    id::{KeyId, OrganisationId, UserId},
    resource::{Key, NewSecret, Revision},
};
use tokio_postgres::Error;

use super::{Moment, Written, any_or, execute, written};
use crate::{
    postgres::{connect::Connection, values::text},
    words,
};

const REVISION: &str =
    r#"SELECT revision FROM web_api_key WHERE organisation = $1 AND id = $2 AND "user" = $3"#;

pub(super) async fn create(
    connection: &mut Connection,
    organisation: OrganisationId,
    new: &Key,
    secret: &NewSecret,
    moment: Moment,
) -> Result<Written, Error> {
    let sql = r#"
        INSERT INTO web_api_key (id, organisation, "user", name, classification, status, verifier, allowed_addresses,
                                 expires_at, created_at, updated_at, ended)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11)"#;
    let row: super::Row<'_> = &[
        &new.id.to_bytes().to_vec(),
        &organisation.to_bytes().to_vec(),
        &new.user.to_bytes().to_vec(),
        &text(&new.name),
        &new.classification.as_str(),
        &words::status(new.status),
        &new.verifier,
        &words::networks(&new.allowed_addresses),
        &new.expires_at.map(Timestamp::as_millis),
        &moment.at,
        &moment.before(),
    ];
    execute(connection, sql, row).await?;
    add_secret(connection, new.id, secret, moment).await?;
    Ok(Written::Done)
}

async fn add_secret(
    connection: &mut Connection,
    key: KeyId,
    secret: &NewSecret,
    moment: Moment,
) -> Result<(), Error> {
    let sql = "INSERT INTO key_secret (digest, key, hint, created_at) VALUES ($1, $2, $3, $4)";
    let hint = text(&secret.hint);
    let row: super::Row<'_> =
        &[&secret.digest.as_bytes().as_slice(), &key.to_bytes().to_vec(), &hint, &moment.at];
    execute(connection, sql, row).await.map(drop)
}

pub(super) async fn update(
    connection: &mut Connection,
    organisation: OrganisationId,
    new: &Key,
    expected: Option<Revision>,
    ends: bool,
    moment: Moment,
) -> Result<Written, Error> {
    let sql = r#"
        UPDATE web_api_key SET name = $5, classification = $6, status = $7, verifier = $8, allowed_addresses = $9,
                               expires_at = $10, ended = coalesce($11, ended), updated_at = $12,
                               revision = revision + 1
        WHERE organisation = $1 AND id = $2 AND "user" = $3 AND revision = coalesce($4, revision)"#;
    let key = [organisation.to_bytes(), new.id.to_bytes(), new.user.to_bytes()];
    let [organisation, id, user] = key.each_ref().map(|id| id.as_slice());
    let row: super::Row<'_> = &[
        &organisation,
        &id,
        &user,
        &any_or(expected),
        &text(&new.name),
        &new.classification.as_str(),
        &words::status(new.status),
        &new.verifier,
        &words::networks(&new.allowed_addresses),
        &new.expires_at.map(Timestamp::as_millis),
        &moment.mark(ends),
        &moment.at,
    ];
    let rows = execute(connection, sql, row).await?;
    written(connection, rows > 0, REVISION, &[&organisation, &id, &user]).await
}

/// What replaces the secret of which key.
pub(super) struct Rotation<'a> {
    pub(super) user: UserId,
    pub(super) id: KeyId,
    pub(super) secret: &'a NewSecret,
    pub(super) overlap_until: Option<Timestamp>,
}

pub(super) async fn rotate(
    connection: &mut Connection,
    organisation: OrganisationId,
    rotation: &Rotation<'_>,
    expected: Option<Revision>,
    moment: Moment,
) -> Result<Written, Error> {
    let sql = r#"
        UPDATE web_api_key SET ended = coalesce($5, ended), updated_at = $6, revision = revision + 1
        WHERE organisation = $1 AND id = $2 AND "user" = $3 AND revision = coalesce($4, revision)"#;
    let key = [organisation.to_bytes(), rotation.id.to_bytes(), rotation.user.to_bytes()];
    let [organisation, id, user] = key.each_ref().map(|id| id.as_slice());
    let ended = moment.mark(rotation.overlap_until.is_none());
    let row: super::Row<'_> = &[&organisation, &id, &user, &any_or(expected), &ended, &moment.at];
    let rows = execute(connection, sql, row).await?;
    let found = written(connection, rows > 0, REVISION, &[&organisation, &id, &user]).await?;
    if matches!(found, Written::Done) {
        // Those that were replaced earlier do not live longer by it.
        let sql = "UPDATE key_secret SET ends_at = least(ends_at, $2) WHERE key = $1";
        let ends_at = rotation.overlap_until.map_or(moment.at, Timestamp::as_millis);
        execute(connection, sql, &[&id, &ends_at]).await?;
        let sql = "DELETE FROM key_secret WHERE key = $1 AND ends_at <= $2";
        execute(connection, sql, &[&id, &moment.at]).await?;
        add_secret(connection, rotation.id, rotation.secret, moment).await?;
    }
    Ok(found)
}

pub(super) async fn delete(
    connection: &mut Connection,
    organisation: OrganisationId,
    user: UserId,
    id: KeyId,
    expected: Option<Revision>,
) -> Result<Written, Error> {
    let key = [organisation.to_bytes(), id.to_bytes(), user.to_bytes()];
    let [organisation, id, user] = key.each_ref().map(|id| id.as_slice());
    let sql = r#"
        DELETE FROM web_api_key
        WHERE organisation = $1 AND id = $2 AND "user" = $3 AND revision = coalesce($4, revision)"#;
    let rows = execute(connection, sql, &[&organisation, &id, &user, &any_or(expected)]).await?;
    let found = written(connection, rows > 0, REVISION, &[&organisation, &id, &user]).await?;
    if matches!(found, Written::Done) {
        execute(connection, "DELETE FROM key_secret WHERE key = $1", &[&id]).await?;
    }
    Ok(found)
}
