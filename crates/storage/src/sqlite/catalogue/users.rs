//! Users with their units.

use doorward_domain::{
    clock::Timestamp,
    id::{OrganisationId, UnitId, UserId},
    name::CanonicalName,
    passwords::PasswordHash,
    resource::{Page, PageRequest, User, UserDetails, UserFilter},
};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::{end_of_prefix, first, one_more, query, status_word, stored};
use crate::sqlite::words;

macro_rules! select {
    ($from:literal) => {
        select!($from, " ")
    };
    ($from:literal, $more:literal) => {
        concat!(
            "SELECT user.id, user.username, user.person_name, user.email, user.role, user.status,
                    user.must_change_password, user.last_login_at, user.revision, user.created_at, user.updated_at",
            $more,
            $from
        )
    };
}

/// Reads all but the units.
fn read(row: &Row<'_>) -> Result<UserDetails> {
    let user = User {
        id: UserId::from_bytes(row.get(0)?),
        username: words::read_name(row, 1)?,
        person_name: row.get(2)?,
        email: row.get(3)?,
        role: words::read_role(row.get_ref(4)?.as_str()?),
        status: words::read_status(row.get_ref(5)?.as_str()?),
        units: Vec::new(),
        default_unit: None,
    };
    Ok(UserDetails {
        user: stored(row, 8, user)?,
        must_change_password: row.get(6)?,
        last_login_at: row.get::<_, Option<_>>(7)?.map(Timestamp::from_millis),
    })
}

fn add_units(connection: &Connection, details: &mut UserDetails) -> Result<()> {
    let user = &mut details.user.value;
    let sql = "SELECT unit, is_default FROM membership WHERE user = ?1";
    for (unit, is_default) in query(connection, sql, [user.id.to_bytes()], |row| {
        Ok((UnitId::from_bytes(row.get(0)?), row.get::<_, bool>(1)?))
    })? {
        user.units.push(unit);
        if is_default {
            user.default_unit = Some(unit);
        }
    }
    Ok(())
}

pub(super) fn find(
    connection: &Connection,
    organisation: OrganisationId,
    id: UserId,
) -> Result<Option<UserDetails>> {
    let sql = select!("FROM user WHERE id = ?2 AND +organisation = ?1");
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row([organisation.to_bytes(), id.to_bytes()], read).optional()?;
    let with_units = |mut details| add_units(connection, &mut details).map(|()| details);
    found.map(with_units).transpose()
}

fn read_with_hash(row: &Row<'_>) -> Result<(UserDetails, Option<PasswordHash>)> {
    Ok((read(row)?, row.get::<_, Option<String>>(11)?.map(PasswordHash::from_stored)))
}

/// Lists users by username, behind the one of this canonical name.
pub(in crate::sqlite) fn list_with_hashes(
    connection: &Connection,
    organisation: OrganisationId,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(UserDetails, Option<PasswordHash>)>> {
    let sql = select!(
        "FROM user WHERE organisation = ?1 AND canonical > ?2 ORDER BY canonical LIMIT ?3",
        ", user.password_hash "
    );
    // No name is empty.
    let row = params![organisation.to_bytes(), after.unwrap_or_default(), limit];
    let mut found = query(connection, sql, row, read_with_hash)?;
    for (details, _) in &mut found {
        add_units(connection, details)?;
    }
    Ok(found)
}

/// Finds those of these usernames, and then those of these ids.
pub(super) fn find_some(
    connection: &Connection,
    organisation: OrganisationId,
    names: &[CanonicalName],
    ids: &[UserId],
) -> Result<Vec<(UserDetails, Option<PasswordHash>)>> {
    let mut found = Vec::new();
    let by_name = select!("FROM user WHERE organisation = ?1 AND canonical = ?2", ", user.password_hash ");
    let mut statement = connection.prepare_cached(by_name)?;
    for name in names {
        found.extend(
            statement
                .query_row(params![organisation.to_bytes(), name.as_str()], read_with_hash)
                .optional()?,
        );
    }
    let by_id = select!("FROM user WHERE id = ?2 AND +organisation = ?1", ", user.password_hash ");
    let mut statement = connection.prepare_cached(by_id)?;
    for id in ids {
        found.extend(
            statement.query_row([organisation.to_bytes(), id.to_bytes()], read_with_hash).optional()?,
        );
    }
    for (details, _) in &mut found {
        add_units(connection, details)?;
    }
    Ok(found)
}

pub(super) fn list(
    connection: &Connection,
    organisation: OrganisationId,
    filter: &UserFilter,
    page: &PageRequest,
) -> Result<Page<UserDetails>> {
    let is_by_id = filter.prefix.is_none() && filter.username.is_none() && filter.unit.is_some();
    let items = if is_by_id {
        list_by_id(connection, organisation, filter, page)?
    } else {
        list_by_name(connection, organisation, filter, page)?
    };
    let mut page = Page::of(items, page.limit, |item| {
        let user = &item.user.value;
        if is_by_id { user.id.to_string() } else { user.username.canonical().as_str().to_owned() }
    });
    for details in &mut page.items {
        add_units(connection, details)?;
    }
    Ok(page)
}

fn list_by_name(
    connection: &Connection,
    organisation: OrganisationId,
    filter: &UserFilter,
    page: &PageRequest,
) -> Result<Vec<UserDetails>> {
    // One text for each index that serves it: by itself SQLite takes the unique one, and then looks at every user.
    let sql = match (&filter.email, filter.status) {
        (Some(_), _) => select!(
            "FROM user INDEXED BY user_email WHERE organisation = ?1 AND email_canonical = ?7
               AND canonical >= ?2 AND (canonical <> ?2 OR NOT ?3) AND canonical < ?4
               AND (?5 IS NULL OR canonical = ?5) AND (?6 IS NULL OR status = ?6)
               AND (?8 IS NULL OR EXISTS (SELECT 1 FROM membership WHERE user = user.id AND unit = ?8))
             ORDER BY canonical LIMIT ?9"
        ),
        (None, Some(_)) => select!(
            "FROM user INDEXED BY user_status WHERE organisation = ?1 AND status = ?6
               AND canonical >= ?2 AND (canonical <> ?2 OR NOT ?3) AND canonical < ?4
               AND (?5 IS NULL OR canonical = ?5) AND ?7 IS NULL
               AND (?8 IS NULL OR EXISTS (SELECT 1 FROM membership WHERE user = user.id AND unit = ?8))
             ORDER BY canonical LIMIT ?9"
        ),
        (None, None) => select!(
            "FROM user WHERE organisation = ?1
               AND canonical >= ?2 AND (canonical <> ?2 OR NOT ?3) AND canonical < ?4
               AND (?5 IS NULL OR canonical = ?5) AND ?6 IS NULL AND ?7 IS NULL
               AND (?8 IS NULL OR EXISTS (SELECT 1 FROM membership WHERE user = user.id AND unit = ?8))
             ORDER BY canonical LIMIT ?9"
        ),
    };
    let prefix = filter.username.as_ref().or(filter.prefix.as_ref());
    let (first, is_behind) = first(page, prefix);
    let row = params![
        organisation.to_bytes(),
        first,
        is_behind,
        end_of_prefix(prefix),
        filter.username,
        status_word(filter.status),
        filter.email.as_deref().map(str::to_lowercase),
        filter.unit.map(UnitId::to_bytes),
        one_more(page)
    ];
    query(connection, sql, row, read)
}

/// The users of a unit.
fn list_by_id(
    connection: &Connection,
    organisation: OrganisationId,
    filter: &UserFilter,
    page: &PageRequest,
) -> Result<Vec<UserDetails>> {
    let sql = select!(
        "FROM membership JOIN user ON user.id = membership.user
         WHERE membership.unit = ?2 AND +membership.organisation = ?1 AND membership.user > ?3
           AND (?4 IS NULL OR user.status = ?4) AND (?5 IS NULL OR user.email_canonical = ?5)
         ORDER BY membership.user LIMIT ?6"
    );
    let after = page.after.as_deref().and_then(|after| after.parse::<UserId>().ok());
    let row = params![
        organisation.to_bytes(),
        filter.unit.map(UnitId::to_bytes),
        after.map_or(Vec::new(), |after| after.to_bytes().to_vec()),
        status_word(filter.status),
        filter.email.as_deref().map(str::to_lowercase),
        one_more(page)
    ];
    query(connection, sql, row, read)
}
