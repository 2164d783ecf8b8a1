//! The questions of logins: an account with everything a login decides on, by one statement each.

use deadpool_postgres::Object;
use doorward_domain::{
    credential::KeyDigest,
    directory::{
        Account, Holder, KeyRecord, KnownAddress, NameLookup, OrganisationRecord, UnitRecord, UserRecord,
    },
    id::{KeyId, UserId},
    name::CanonicalName,
    passwords::PasswordHash,
    rules::Overrides,
};
use tokio_postgres::{Error, Row};

use super::{
    columns::{find, get, list},
    directory::query_one,
};
use crate::words;

/// The columns of an account, as [`read_organisation`] and [`read_account`] take them from the first.
macro_rules! account {
    () => {
        r#"organisation.id, organisation.code, organisation.is_operator, organisation.status, organisation.ended,
           overrides.rules, overrides.texts,
           "user".id, "user".username, "user".role, "user".status, "user".ended, "user".password_hash,
           "user".must_change_password, "user".password_set_at,
           known.networks, known.times,
           units.ids, units.names, units.statuses, units.marks, units.defaults"#
    };
}

/// How many columns that are.
const ACCOUNT: usize = 22;

/// What lies in other tables than the organisation and the user.
macro_rules! beside {
    () => {
        r#"CROSS JOIN LATERAL (
               SELECT array_agg(rule ORDER BY rule) AS rules, array_agg(value ORDER BY rule) AS texts
               FROM organisation_rule WHERE organisation_rule.organisation = organisation.id
           ) AS overrides
           CROSS JOIN LATERAL (
               SELECT array_agg(network ORDER BY network) AS networks,
                      array_agg(succeeded_at ORDER BY network) AS times
               FROM known_address WHERE known_address."user" = "user".id
           ) AS known
           CROSS JOIN LATERAL (
               SELECT array_agg(unit.id ORDER BY unit.id) AS ids, array_agg(unit.name ORDER BY unit.id) AS names,
                      array_agg(unit.status ORDER BY unit.id) AS statuses,
                      array_agg(unit.ended ORDER BY unit.id) AS marks,
                      array_agg(membership.is_default ORDER BY unit.id) AS defaults
               FROM membership JOIN unit ON unit.id = membership.unit WHERE membership."user" = "user".id
           ) AS units"#
    };
}

pub(super) async fn find_by_name(
    connection: &Object,
    organisation: &CanonicalName,
    username: &CanonicalName,
) -> Result<NameLookup, Error> {
    let sql = concat!(
        "SELECT ",
        account!(),
        r#" FROM organisation
            LEFT JOIN "user" ON "user".organisation = organisation.id AND "user".canonical = $2 "#,
        beside!(),
        " WHERE organisation.canonical = $1"
    );
    let found = query_one(connection, sql, &[&organisation.as_str(), &username.as_str()], |row| {
        Ok(match find::<UserId>(row, 7)? {
            Some(_) => NameLookup::Found(Box::new(read_account(row)?)),
            None => NameLookup::UnknownUser(read_organisation(row)?),
        })
    })
    .await?;
    Ok(found.unwrap_or(NameLookup::UnknownOrganisation))
}

pub(super) async fn find_by_key(
    connection: &Object,
    digest: KeyDigest,
) -> Result<Option<(KeyRecord, Box<Account>)>, Error> {
    let sql = concat!(
        "SELECT ",
        account!(),
        r#", web_api_key.id, web_api_key.classification, web_api_key.status, web_api_key.verifier,
             web_api_key.allowed_addresses, web_api_key.expires_at, key_secret.ends_at, web_api_key.ended
            FROM key_secret
            JOIN web_api_key ON web_api_key.id = key_secret.key
            JOIN organisation ON organisation.id = web_api_key.organisation
            JOIN "user" ON "user".id = web_api_key."user" "#,
        beside!(),
        " WHERE key_secret.digest = $1"
    );
    query_one(connection, sql, &[&digest.as_bytes().as_slice()], |row| {
        let key = KeyRecord {
            id: get(row, ACCOUNT)?,
            classification: get(row, ACCOUNT + 1)?,
            status: get(row, ACCOUNT + 2)?,
            verifier: get(row, ACCOUNT + 3)?,
            allowed_addresses: get(row, ACCOUNT + 4)?,
            expires_at: find(row, ACCOUNT + 5)?,
            secret_ends_at: find(row, ACCOUNT + 6)?,
            ended: get(row, ACCOUNT + 7)?,
        };
        Ok((key, Box::new(read_account(row)?)))
    })
    .await
}

pub(super) async fn find_holder(
    connection: &Object,
    user: UserId,
    key: Option<KeyId>,
) -> Result<Option<Holder>, Error> {
    let sql = r#"
        SELECT "user".role, web_api_key.classification, web_api_key.verifier, web_api_key.allowed_addresses,
               overrides.rules, overrides.texts
        FROM "user"
        LEFT JOIN web_api_key ON web_api_key.id = $2 AND web_api_key."user" = "user".id
        CROSS JOIN LATERAL (
            SELECT array_agg(rule ORDER BY rule) AS rules, array_agg(value ORDER BY rule) AS texts
            FROM organisation_rule WHERE organisation_rule.organisation = "user".organisation
        ) AS overrides
        WHERE "user".id = $1 AND ($2::bytea IS NULL OR web_api_key.id IS NOT NULL)"#;
    let (user, key_id) = (user.to_bytes(), key.map(KeyId::to_bytes));
    let values: [Option<&[u8]>; 2] = [Some(&user), key_id.as_ref().map(<[u8; 16]>::as_slice)];
    query_one(connection, sql, &[&values[0], &values[1]], |row| {
        Ok(Holder {
            role: get(row, 0)?,
            key: key.map(|_| Ok::<_, Error>((get(row, 1)?, get(row, 2)?))).transpose()?,
            allowed_addresses: find(row, 3)?.unwrap_or_default(),
            overrides: read_overrides(row, 4)?,
        })
    })
    .await
}

pub(super) async fn list_names(connection: &Object, user: UserId) -> Result<Vec<String>, Error> {
    let sql = r#"
        SELECT organisation.name, "user".person_name, "user".email
        FROM "user" JOIN organisation ON organisation.id = "user".organisation WHERE "user".id = $1"#;
    let names = query_one(connection, sql, &[&user.to_bytes().as_slice()], |row| {
        Ok([find(row, 0)?, find(row, 1)?, find(row, 2)?])
    })
    .await?;
    Ok(names.into_iter().flatten().flatten().collect())
}

fn read_organisation(row: &Row) -> Result<OrganisationRecord, Error> {
    Ok(OrganisationRecord {
        id: get(row, 0)?,
        code: get(row, 1)?,
        is_operator: get(row, 2)?,
        status: get(row, 3)?,
        ended: get(row, 4)?,
        overrides: read_overrides(row, 5)?,
    })
}

fn read_account(row: &Row) -> Result<Account, Error> {
    let known = list::<String>(row, 15)?.into_iter().zip(list(row, 16)?);
    // One that cannot be read is none; nothing is allowed because of it.
    let known = known.filter_map(|(network, succeeded_at)| {
        Some(KnownAddress { network: network.parse().ok()?, succeeded_at })
    });
    let user = UserRecord {
        id: get(row, 7)?,
        username: get(row, 8)?,
        role: get(row, 9)?,
        status: get(row, 10)?,
        ended: get(row, 11)?,
        password_hash: find(row, 12)?.map(PasswordHash::from_stored),
        must_change_password: get(row, 13)?,
        password_set_at: find(row, 14)?,
        known_addresses: known.collect(),
    };
    let named = list(row, 17)?.into_iter().zip(list(row, 18)?);
    let states = list(row, 19)?.into_iter().zip(list(row, 20)?).zip(list(row, 21)?);
    let units = named.zip(states).map(|((id, name), ((status, ended), is_default))| UnitRecord {
        id,
        name,
        status,
        ended,
        is_default,
    });
    Ok(Account { organisation: read_organisation(row)?, user, units: units.collect() })
}

/// Reads rules and their values from two columns.
pub(super) fn read_overrides(row: &Row, first: usize) -> Result<Overrides, Error> {
    let rules = list::<String>(row, first)?.into_iter().zip(list::<String>(row, first + 1)?);
    Ok(words::read_overrides(rules))
}
