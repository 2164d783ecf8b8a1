//! Units.

use deadpool_postgres::Object;
use doorward_domain::{
    id::{OrganisationId, UnitId},
    resource::{Page, PageRequest, Stored, Unit, UnitFilter},
};
use tokio_postgres::{Error, Row};

use super::{
    super::{
        columns::{get, stored},
        directory::{query, query_one},
    },
    Range, one_more, status_word, up_to_zero,
};

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, name, status, revision, created_at, updated_at FROM unit ", $rest)
    };
}

fn read(row: &Row) -> Result<Stored<Unit>, Error> {
    let unit = Unit { id: get(row, 0)?, name: get(row, 1)?, status: get(row, 2)? };
    stored(row, 3, unit)
}

pub(super) async fn find(
    connection: &Object,
    organisation: OrganisationId,
    id: UnitId,
) -> Result<Option<Stored<Unit>>, Error> {
    let (organisation, id) = (organisation.to_bytes(), id.to_bytes());
    let sql = select!("WHERE organisation = $1 AND id = $2");
    query_one(connection, sql, &[&organisation.as_slice(), &id.as_slice()], read).await
}

/// Those of these that are there.
pub(super) async fn find_some(
    connection: &Object,
    organisation: OrganisationId,
    ids: &[UnitId],
) -> Result<Vec<UnitId>, Error> {
    let sql = "
        SELECT unit.id FROM unnest($2::bytea[]) WITH ORDINALITY AS wanted (id, place)
        JOIN unit ON unit.id = wanted.id AND unit.organisation = $1 ORDER BY wanted.place";
    let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.to_bytes().to_vec()).collect();
    let rows = query(connection, sql, &[&organisation.to_bytes().as_slice(), &ids]).await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

pub(super) async fn list(
    connection: &Object,
    organisation: OrganisationId,
    filter: &UnitFilter,
    page: &PageRequest,
) -> Result<Page<Stored<Unit>>, Error> {
    let sql = select!(
        "WHERE organisation = $1 AND canonical >= $2 AND (canonical <> $2 OR NOT $3) AND canonical < $4
           AND ($5::text IS NULL OR canonical = $5) AND ($6::text IS NULL OR status = $6)
         ORDER BY canonical LIMIT $7"
    );
    // The range of a name with a zero is empty, whatever is compared within it.
    let name = filter.name.as_deref().map(up_to_zero);
    let Range { first, is_behind, end } = Range::new(page, filter.name.as_ref().or(filter.prefix.as_ref()));
    let (organisation, status) = (organisation.to_bytes(), status_word(filter.status));
    let rows = query(
        connection,
        sql,
        &[&organisation.as_slice(), &first, &is_behind, &end, &name, &status, &one_more(page)],
    )
    .await?;
    let items = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Page::of(items, page.limit, |item| item.value.name.canonical().as_str().to_owned()))
}
