//! Units.

use doorward_domain::{
    id::{OrganisationId, UnitId},
    resource::{Page, PageRequest, Stored, Unit, UnitFilter},
};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::{end_of_prefix, first, one_more, query, status_word, stored};
use crate::sqlite::words;

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, name, status, revision, created_at, updated_at FROM unit ", $rest)
    };
}

fn read(row: &Row<'_>) -> Result<Stored<Unit>> {
    let unit = Unit {
        id: UnitId::from_bytes(row.get(0)?),
        name: words::read_name(row, 1)?,
        status: words::read_status(row.get_ref(2)?.as_str()?),
    };
    stored(row, 3, unit)
}

pub(super) fn find(
    connection: &Connection,
    organisation: OrganisationId,
    id: UnitId,
) -> Result<Option<Stored<Unit>>> {
    let mut statement = connection.prepare_cached(select!("WHERE id = ?2 AND +organisation = ?1"))?;
    statement.query_row([organisation.to_bytes(), id.to_bytes()], read).optional()
}

/// Those of these that are there.
pub(super) fn find_some(
    connection: &Connection,
    organisation: OrganisationId,
    ids: &[UnitId],
) -> Result<Vec<UnitId>> {
    let sql = "SELECT EXISTS (SELECT 1 FROM unit WHERE id = ?2 AND +organisation = ?1)";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = Vec::new();
    for id in ids {
        let is_there =
            statement.query_row([organisation.to_bytes(), id.to_bytes()], |row| row.get::<_, bool>(0))?;
        found.extend(is_there.then_some(*id));
    }
    Ok(found)
}

pub(super) fn list(
    connection: &Connection,
    organisation: OrganisationId,
    filter: &UnitFilter,
    page: &PageRequest,
) -> Result<Page<Stored<Unit>>> {
    let sql = select!(
        "WHERE organisation = ?1 AND canonical >= ?2 AND (canonical <> ?2 OR NOT ?3) AND canonical < ?4
           AND (?5 IS NULL OR canonical = ?5) AND (?6 IS NULL OR status = ?6)
         ORDER BY canonical LIMIT ?7"
    );
    let prefix = filter.name.as_ref().or(filter.prefix.as_ref());
    let (first, is_behind) = first(page, prefix);
    let items = query(
        connection,
        sql,
        params![
            organisation.to_bytes(),
            first,
            is_behind,
            end_of_prefix(prefix),
            filter.name,
            status_word(filter.status),
            one_more(page)
        ],
        read,
    )?;
    Ok(Page::of(items, page.limit, |item| item.value.name.canonical().as_str().to_owned()))
}
