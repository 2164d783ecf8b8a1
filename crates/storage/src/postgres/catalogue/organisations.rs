//! Organisations and what they override of the rules.

use deadpool_postgres::Object;
use doorward_domain::{
    catalogue::OrganisationReference,
    id::OrganisationId,
    resource::{Organisation, OrganisationFilter, Page, PageRequest, Stored},
    rules::Overrides,
};
use tokio_postgres::{Error, Row};

use super::{
    super::{
        columns::{get, stored},
        directory::{query, query_one},
        lookup::read_overrides,
    },
    Range, one_more, status_word,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, code, name, is_operator, status, revision, created_at, updated_at FROM organisation ",
            $rest
        )
    };
}

fn read(row: &Row) -> Result<Stored<Organisation>, Error> {
    let organisation = Organisation {
        id: get(row, 0)?,
        code: get(row, 1)?,
        name: get(row, 2)?,
        is_operator: get(row, 3)?,
        status: get(row, 4)?,
    };
    stored(row, 5, organisation)
}

pub(super) async fn find(
    connection: &Object,
    organisation: &OrganisationReference,
) -> Result<Option<Stored<Organisation>>, Error> {
    match organisation {
        OrganisationReference::Id(id) => {
            query_one(connection, select!("WHERE id = $1"), &[&id.to_bytes().as_slice()], read).await
        }
        OrganisationReference::Code(code) => {
            query_one(connection, select!("WHERE canonical = $1"), &[&code.as_str()], read).await
        }
    }
}

pub(super) async fn list(
    connection: &Object,
    filter: &OrganisationFilter,
    page: &PageRequest,
) -> Result<Page<Stored<Organisation>>, Error> {
    let sql = select!(
        "WHERE canonical >= $1 AND (canonical <> $1 OR NOT $2) AND canonical < $3
           AND ($4::text IS NULL OR status = $4)
         ORDER BY canonical LIMIT $5"
    );
    let Range { first, is_behind, end } = Range::new(page, filter.prefix.as_ref());
    let rows =
        query(connection, sql, &[&first, &is_behind, &end, &status_word(filter.status), &one_more(page)])
            .await?;
    let items = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Page::of(items, page.limit, |item| item.value.code.canonical().as_str().to_owned()))
}

pub(super) async fn get_overrides(
    connection: &Object,
    organisation: OrganisationId,
) -> Result<Overrides, Error> {
    let sql = "SELECT array_agg(rule ORDER BY rule), array_agg(value ORDER BY rule) FROM organisation_rule
               WHERE organisation = $1";
    let found =
        query_one(connection, sql, &[&organisation.to_bytes().as_slice()], |row| read_overrides(row, 0))
            .await;
    Ok(found?.unwrap_or_default())
}
