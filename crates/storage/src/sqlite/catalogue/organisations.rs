//! Organisations and what they override of the rules.

use doorward_domain::{
    catalogue::OrganisationReference,
    id::OrganisationId,
    resource::{Organisation, OrganisationFilter, Page, PageRequest, Stored},
    rules::Overrides,
};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::{end_of_prefix, first, one_more, query, status_word, stored};
use crate::sqlite::words;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, code, name, is_operator, status, revision, created_at, updated_at FROM organisation ",
            $rest
        )
    };
}

fn read(row: &Row<'_>) -> Result<Stored<Organisation>> {
    let organisation = Organisation {
        id: OrganisationId::from_bytes(row.get(0)?),
        code: words::read_name(row, 1)?,
        name: row.get(2)?,
        is_operator: row.get(3)?,
        status: words::read_status(row.get_ref(4)?.as_str()?),
    };
    stored(row, 5, organisation)
}

pub(super) fn find(
    connection: &Connection,
    organisation: &OrganisationReference,
) -> Result<Option<Stored<Organisation>>> {
    match organisation {
        OrganisationReference::Id(id) => {
            let mut statement = connection.prepare_cached(select!("WHERE id = ?1"))?;
            statement.query_row([id.to_bytes()], read).optional()
        }
        OrganisationReference::Code(code) => {
            let mut statement = connection.prepare_cached(select!("WHERE canonical = ?1"))?;
            statement.query_row([code.as_str()], read).optional()
        }
    }
}

pub(super) fn list(
    connection: &Connection,
    filter: &OrganisationFilter,
    page: &PageRequest,
) -> Result<Page<Stored<Organisation>>> {
    let sql = select!(
        "WHERE canonical >= ?1 AND (canonical <> ?1 OR NOT ?2) AND canonical < ?3
           AND (?4 IS NULL OR status = ?4)
         ORDER BY canonical LIMIT ?5"
    );
    let (first, is_behind) = first(page, filter.prefix.as_ref());
    let end = end_of_prefix(filter.prefix.as_ref());
    let row = params![first, is_behind, end, status_word(filter.status), one_more(page)];
    let items = query(connection, sql, row, read)?;
    Ok(Page::of(items, page.limit, |item| item.value.code.canonical().as_str().to_owned()))
}

pub(in crate::sqlite) fn get_overrides(
    connection: &Connection,
    organisation: OrganisationId,
) -> Result<Overrides> {
    let sql = "SELECT rule, value FROM organisation_rule WHERE organisation = ?1";
    let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    Ok(words::read_overrides(query(connection, sql, [organisation.to_bytes()], read)?))
}
