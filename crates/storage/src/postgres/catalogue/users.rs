//! Users with their units.

use deadpool_postgres::Object;
use doorward_domain::{
    id::{OrganisationId, UnitId, UserId},
    name::CanonicalName,
    passwords::PasswordHash,
    resource::{Page, PageRequest, User, UserDetails, UserFilter},
};
use tokio_postgres::{Error, Row};

use super::{
    super::{
        columns::{find as find_column, get, list as list_column, stored},
        directory::{query, query_one},
    },
    Range, one_more, status_word, up_to_zero,
};

macro_rules! select {
    ($rest:literal) => {
        select!("", $rest)
    };
    ($more:literal, $rest:literal) => {
        concat!(
            r#"SELECT "user".id, "user".username, "user".person_name, "user".email, "user".role, "user".status,
                      "user".must_change_password, "user".last_login_at, "user".revision, "user".created_at,
                      "user".updated_at,
                      (SELECT array_agg(unit ORDER BY unit) FROM membership WHERE membership."user" = "user".id),
                      (SELECT unit FROM membership WHERE membership."user" = "user".id AND is_default)"#,
            $more,
            " ",
            $rest
        )
    };
}

fn read(row: &Row) -> Result<UserDetails, Error> {
    let user = User {
        id: get(row, 0)?,
        username: get(row, 1)?,
        person_name: find_column(row, 2)?,
        email: find_column(row, 3)?,
        role: get(row, 4)?,
        status: get(row, 5)?,
        units: list_column(row, 11)?,
        default_unit: find_column(row, 12)?,
    };
    Ok(UserDetails {
        user: stored(row, 8, user)?,
        must_change_password: get(row, 6)?,
        last_login_at: find_column(row, 7)?,
    })
}

fn read_with_hash(row: &Row) -> Result<(UserDetails, Option<PasswordHash>), Error> {
    Ok((read(row)?, find_column(row, 13)?.map(PasswordHash::from_stored)))
}

pub(super) async fn find(
    connection: &Object,
    organisation: OrganisationId,
    id: UserId,
) -> Result<Option<UserDetails>, Error> {
    let (organisation, id) = (organisation.to_bytes(), id.to_bytes());
    let sql = select!(r#"FROM "user" WHERE organisation = $1 AND id = $2"#);
    query_one(connection, sql, &[&organisation.as_slice(), &id.as_slice()], read).await
}

/// Finds those of these usernames, and then those of these ids.
pub(super) async fn find_some(
    connection: &Object,
    organisation: OrganisationId,
    names: &[CanonicalName],
    ids: &[UserId],
) -> Result<Vec<(UserDetails, Option<PasswordHash>)>, Error> {
    let sql = select!(
        r#", "user".password_hash"#,
        r#"FROM (
               SELECT 1 AS part, place, "user".id FROM unnest($2::text[]) WITH ORDINALITY AS wanted (name, place)
               JOIN "user" ON "user".organisation = $1 AND "user".canonical = wanted.name
               UNION ALL
               SELECT 2, place, "user".id FROM unnest($3::bytea[]) WITH ORDINALITY AS wanted (id, place)
               JOIN "user" ON "user".organisation = $1 AND "user".id = wanted.id
           ) AS found
           JOIN "user" ON "user".id = found.id ORDER BY found.part, found.place"#
    );
    let names: Vec<_> = names.iter().map(CanonicalName::as_str).collect();
    let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.to_bytes().to_vec()).collect();
    let rows = query(connection, sql, &[&organisation.to_bytes().as_slice(), &names, &ids]).await?;
    rows.iter().map(read_with_hash).collect()
}

pub(super) async fn list(
    connection: &Object,
    organisation: OrganisationId,
    filter: &UserFilter,
    page: &PageRequest,
) -> Result<Page<UserDetails>, Error> {
    if filter.email.as_deref().is_some_and(|email| email.contains('\0')) {
        // PostgreSQL takes no such text, and nobody has such an address.
        return Ok(Page { items: Vec::new(), next: None });
    }
    let is_by_id = filter.prefix.is_none() && filter.username.is_none() && filter.unit.is_some();
    let rows = if is_by_id {
        list_by_id(connection, organisation, filter, page).await?
    } else {
        list_by_name(connection, organisation, filter, page).await?
    };
    let items = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Page::of(items, page.limit, |item: &UserDetails| {
        let user = &item.user.value;
        if is_by_id { user.id.to_string() } else { user.username.canonical().as_str().to_owned() }
    }))
}

async fn list_by_name(
    connection: &Object,
    organisation: OrganisationId,
    filter: &UserFilter,
    page: &PageRequest,
) -> Result<Vec<Row>, Error> {
    // One text for each index that serves it, so that a plan that is made for all values goes along it.
    let sql = match (&filter.email, filter.status) {
        (Some(_), _) => select!(
            r#"FROM "user" WHERE organisation = $1 AND email_canonical = $7
                 AND canonical >= $2 AND (canonical <> $2 OR NOT $3) AND canonical < $4
                 AND ($5::text IS NULL OR canonical = $5) AND ($6::text IS NULL OR status = $6)
                 AND ($8::bytea IS NULL
                      OR EXISTS (SELECT 1 FROM membership WHERE membership."user" = "user".id AND unit = $8))
               ORDER BY canonical LIMIT $9"#
        ),
        (None, Some(_)) => select!(
            r#"FROM "user" WHERE organisation = $1 AND status = $6
                 AND canonical >= $2 AND (canonical <> $2 OR NOT $3) AND canonical < $4
                 AND ($5::text IS NULL OR canonical = $5) AND $7::text IS NULL
                 AND ($8::bytea IS NULL
                      OR EXISTS (SELECT 1 FROM membership WHERE membership."user" = "user".id AND unit = $8))
               ORDER BY canonical LIMIT $9"#
        ),
        (None, None) => select!(
            r#"FROM "user" WHERE organisation = $1
                 AND canonical >= $2 AND (canonical <> $2 OR NOT $3) AND canonical < $4
                 AND ($5::text IS NULL OR canonical = $5) AND $6::text IS NULL AND $7::text IS NULL
                 AND ($8::bytea IS NULL
                      OR EXISTS (SELECT 1 FROM membership WHERE membership."user" = "user".id AND unit = $8))
               ORDER BY canonical LIMIT $9"#
        ),
    };
    let prefix = filter.username.as_ref().or(filter.prefix.as_ref());
    let Range { first, is_behind, end } = Range::new(page, prefix);
    let organisation = organisation.to_bytes();
    // The range of a name with a zero is empty, whatever is compared within it.
    let username = filter.username.as_deref().map(up_to_zero);
    let (status, email) = (status_word(filter.status), filter.email.as_deref().map(str::to_lowercase));
    let unit = filter.unit.map(|unit| unit.to_bytes().to_vec());
    query(
        connection,
        sql,
        &[
            &organisation.as_slice(),
            &first,
            &is_behind,
            &end,
            &username,
            &status,
            &email,
            &unit,
            &one_more(page),
        ],
    )
    .await
}

/// The users of a unit.
async fn list_by_id(
    connection: &Object,
    organisation: OrganisationId,
    filter: &UserFilter,
    page: &PageRequest,
) -> Result<Vec<Row>, Error> {
    let sql = select!(
        r#"FROM membership JOIN "user" ON "user".id = membership."user"
           WHERE membership.unit = $2 AND membership.organisation = $1 AND membership."user" > $3
             AND ($4::text IS NULL OR "user".status = $4) AND ($5::text IS NULL OR "user".email_canonical = $5)
           ORDER BY membership."user" LIMIT $6"#
    );
    let after = page.after.as_deref().and_then(|after| after.parse::<UserId>().ok());
    let after = after.map_or(Vec::new(), |after| after.to_bytes().to_vec());
    let unit = filter.unit.map(UnitId::to_bytes).unwrap_or_default();
    let (status, email) = (status_word(filter.status), filter.email.as_deref().map(str::to_lowercase));
    query(
        connection,
        sql,
        &[&organisation.to_bytes().as_slice(), &unit.as_slice(), &after, &status, &email, &one_more(page)],
    )
    .await
}
