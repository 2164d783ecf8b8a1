//! Web API keys with their secrets.

use std::net::IpAddr;

use deadpool_postgres::Object;
use doorward_domain::{
    catalogue::KeyCounts,
    clock::Timestamp,
    id::{KeyId, OrganisationId},
    resource::{Key, KeyDetails, KeyFilter, KeySecret, Page, PageRequest},
};
use tokio_postgres::{Error, Row};

use super::{
    super::{
        columns::{find as find_column, get, list as list_column, list_some, stored},
        directory::{query, query_one},
    },
    one_more, status_word,
};

macro_rules! newest_first {
    ($column:literal) => {
        concat!("array_agg(", $column, " ORDER BY ends_at IS NOT NULL, created_at DESC, digest)")
    };
}

/// Keys, and arrays of what their secrets have, the newest first.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            r#"SELECT web_api_key.id, web_api_key."user", web_api_key.name, web_api_key.classification,
                      web_api_key.status, web_api_key.verifier, web_api_key.allowed_addresses,
                      web_api_key.expires_at, web_api_key.revision, web_api_key.created_at, web_api_key.updated_at,
                      secrets.hints, secrets.made, secrets.ends, secrets.used, secrets.used_from
               FROM web_api_key
               CROSS JOIN LATERAL (
                   SELECT "#,
            newest_first!("hint"), " AS hints, ",
            newest_first!("created_at"), " AS made, ",
            newest_first!("ends_at"), " AS ends, ",
            newest_first!("last_used_at"), " AS used, ",
            newest_first!("last_used_from"), " AS used_from
                   FROM key_secret WHERE key_secret.key = web_api_key.id
               ) AS secrets ",
            $rest
        )
    };
}

fn read(row: &Row) -> Result<KeyDetails, Error> {
    let key = Key {
        id: get(row, 0)?,
        user: get(row, 1)?,
        name: get(row, 2)?,
        classification: get(row, 3)?,
        status: get(row, 4)?,
        verifier: get(row, 5)?,
        allowed_addresses: get(row, 6)?,
        expires_at: find_column(row, 7)?,
    };
    let made = list_some::<String>(row, 11)?.into_iter().zip(list_column(row, 12)?);
    let ends = list_some(row, 13)?.into_iter();
    let used = list_some(row, 14)?.into_iter().zip(list_some::<Option<IpAddr>>(row, 15)?);
    let secrets = made.zip(ends).zip(used).map(|(((hint, created_at), ends_at), (last_used_at, from))| {
        KeySecret { hint, created_at, ends_at, last_used_at, last_used_from: from.flatten() }
    });
    Ok(KeyDetails { key: stored(row, 8, key)?, secrets: secrets.collect() })
}

pub(super) async fn find(
    connection: &Object,
    organisation: OrganisationId,
    id: KeyId,
) -> Result<Option<KeyDetails>, Error> {
    let (organisation, id) = (organisation.to_bytes(), id.to_bytes());
    let sql = select!("WHERE web_api_key.organisation = $1 AND web_api_key.id = $2");
    query_one(connection, sql, &[&organisation.as_slice(), &id.as_slice()], read).await
}

pub(super) async fn list(
    connection: &Object,
    organisation: OrganisationId,
    filter: &KeyFilter,
    page: &PageRequest,
) -> Result<Page<KeyDetails>, Error> {
    // One text for each index that serves it, so that a plan that is made for all values goes along it.
    let sql = match filter.user {
        Some(_) => select!(
            r#"WHERE organisation = $1 AND "user" = $2 AND id > $3 AND ($4::text IS NULL OR status = $4)
                 AND ($5::bigint IS NULL OR expires_at < $5)
                 AND ($6::bigint IS NULL OR created_at < $6 AND NOT coalesce((
                      SELECT max(last_used_at) >= $6 FROM key_secret WHERE key = web_api_key.id), false))
               ORDER BY id LIMIT $7"#
        ),
        None => select!(
            r#"WHERE organisation = $1 AND $2::bytea IS NULL AND id > $3 AND ($4::text IS NULL OR status = $4)
                 AND ($5::bigint IS NULL OR expires_at < $5)
                 AND ($6::bigint IS NULL OR created_at < $6 AND NOT coalesce((
                      SELECT max(last_used_at) >= $6 FROM key_secret WHERE key = web_api_key.id), false))
               ORDER BY id LIMIT $7"#
        ),
    };
    let after = page.after.as_deref().and_then(|after| after.parse::<KeyId>().ok());
    let after = after.map_or(Vec::new(), |after| after.to_bytes().to_vec());
    let user = filter.user.map(|user| user.to_bytes().to_vec());
    let (expires_before, unused_since) =
        (filter.expires_before.map(Timestamp::as_millis), filter.unused_since.map(Timestamp::as_millis));
    let rows = query(
        connection,
        sql,
        &[
            &organisation.to_bytes().as_slice(),
            &user,
            &after,
            &status_word(filter.status),
            &expires_before,
            &unused_since,
            &one_more(page),
        ],
    )
    .await?;
    let items = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Page::of(items, page.limit, |item: &KeyDetails| item.key.value.id.to_string()))
}

pub(super) async fn count(
    connection: &Object,
    expires_before: Timestamp,
    unused_since: Timestamp,
) -> Result<KeyCounts, Error> {
    let sql = "
        SELECT count(*) FILTER (WHERE expires_at < $1),
               count(*) FILTER (WHERE created_at < $2 AND NOT EXISTS (
                    SELECT 1 FROM key_secret WHERE key = web_api_key.id AND last_used_at >= $2))
        FROM web_api_key WHERE status = 'active'";
    let counts =
        query_one(connection, sql, &[&expires_before.as_millis(), &unused_since.as_millis()], |row| {
            Ok(KeyCounts { expiring: get(row, 0)?, unused: get(row, 1)? })
        })
        .await?;
    Ok(counts.unwrap_or_default())
}
