//! Web API keys with their secrets.

use doorward_domain::{
    catalogue::KeyCounts,
    clock::Timestamp,
    id::{KeyId, OrganisationId, UserId},
    resource::{Key, KeyDetails, KeyFilter, KeySecret, Page, PageRequest, Stored},
};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::{one_more, query, status_word, stored};
use crate::sqlite::words;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, user, name, classification, status, verifier, allowed_addresses, expires_at, revision,
                    created_at, updated_at FROM web_api_key ",
            $rest
        )
    };
}

fn read(row: &Row<'_>) -> Result<Stored<Key>> {
    let key = Key {
        id: KeyId::from_bytes(row.get(0)?),
        user: UserId::from_bytes(row.get(1)?),
        name: row.get(2)?,
        classification: words::read_classification(row.get_ref(3)?.as_str()?),
        status: words::read_status(row.get_ref(4)?.as_str()?),
        verifier: row.get(5)?,
        allowed_addresses: words::read_networks(row, 6)?,
        expires_at: row.get::<_, Option<_>>(7)?.map(Timestamp::from_millis),
    };
    stored(row, 8, key)
}

fn with_secrets(connection: &Connection, key: Stored<Key>) -> Result<KeyDetails> {
    let sql = "
        SELECT hint, created_at, ends_at, last_used_at, last_used_from FROM key_secret
        WHERE key = ?1 ORDER BY ends_at IS NOT NULL, created_at DESC";
    let secrets = query(connection, sql, [key.value.id.to_bytes()], |row| {
        Ok(KeySecret {
            hint: row.get(0)?,
            created_at: Timestamp::from_millis(row.get(1)?),
            ends_at: row.get::<_, Option<_>>(2)?.map(Timestamp::from_millis),
            last_used_at: row.get::<_, Option<_>>(3)?.map(Timestamp::from_millis),
            last_used_from: row.get::<_, Option<String>>(4)?.and_then(|address| address.parse().ok()),
        })
    })?;
    Ok(KeyDetails { key, secrets })
}

pub(super) fn find(
    connection: &Connection,
    organisation: OrganisationId,
    id: KeyId,
) -> Result<Option<KeyDetails>> {
    let mut statement = connection.prepare_cached(select!("WHERE id = ?2 AND +organisation = ?1"))?;
    let found = statement.query_row([organisation.to_bytes(), id.to_bytes()], read).optional()?;
    found.map(|key| with_secrets(connection, key)).transpose()
}

pub(super) fn list(
    connection: &Connection,
    organisation: OrganisationId,
    filter: &KeyFilter,
    page: &PageRequest,
) -> Result<Page<KeyDetails>> {
    // One text for each index that can serve it: SQLite chooses once, before it knows what is asked for.
    let sql = match filter.user {
        Some(_) => select!(
            "WHERE organisation = ?1 AND user = ?2 AND id > ?3 AND (?4 IS NULL OR status = ?4)
               AND (?5 IS NULL OR expires_at < ?5)
               AND (?6 IS NULL OR created_at < ?6 AND NOT EXISTS (
                    SELECT 1 FROM key_secret WHERE key = web_api_key.id AND last_used_at >= ?6))
             ORDER BY id LIMIT ?7"
        ),
        None => select!(
            "WHERE organisation = ?1 AND ?2 IS NULL AND id > ?3 AND (?4 IS NULL OR status = ?4)
               AND (?5 IS NULL OR expires_at < ?5)
               AND (?6 IS NULL OR created_at < ?6 AND NOT EXISTS (
                    SELECT 1 FROM key_secret WHERE key = web_api_key.id AND last_used_at >= ?6))
             ORDER BY id LIMIT ?7"
        ),
    };
    let after = page.after.as_deref().and_then(|after| after.parse::<KeyId>().ok());
    let row = params![
        organisation.to_bytes(),
        filter.user.map(UserId::to_bytes),
        after.map_or(Vec::new(), |after| after.to_bytes().to_vec()),
        status_word(filter.status),
        filter.expires_before.map(Timestamp::as_millis),
        filter.unused_since.map(Timestamp::as_millis),
        one_more(page)
    ];
    let page = Page::of(query(connection, sql, row, read)?, page.limit, |item| item.value.id.to_string());
    let items: Result<_> = page.items.into_iter().map(|key| with_secrets(connection, key)).collect();
    Ok(Page { items: items?, next: page.next })
}

pub(super) fn count(
    connection: &Connection,
    expires_before: Timestamp,
    unused_since: Timestamp,
) -> Result<KeyCounts> {
    let sql = "
        SELECT count(*) FILTER (WHERE expires_at < ?1),
               count(*) FILTER (WHERE created_at < ?2 AND NOT EXISTS (
                    SELECT 1 FROM key_secret WHERE key = web_api_key.id AND last_used_at >= ?2))
        FROM web_api_key WHERE status = 'active'";
    let row = params![expires_before.as_millis(), unused_since.as_millis()];
    connection
        .prepare_cached(sql)?
        .query_row(row, |row| Ok(KeyCounts { expiring: row.get(0)?, unused: row.get(1)? }))
}
