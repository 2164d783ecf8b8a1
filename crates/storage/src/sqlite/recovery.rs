//! What `recover` looks for: whom it may mean when it is not told.

use doorward_domain::{
    directory::{Status, StoreFuture},
    id::OrganisationId,
    name::Name,
};
use rusqlite::{OptionalExtension, Result, params};

use super::{SqliteDirectory, words};

impl SqliteDirectory {
    /// The operator organisation, if there is one.
    pub fn find_operator(&self) -> StoreFuture<'_, Option<OrganisationId>> {
        self.ask(|transaction| {
            let sql = "SELECT id FROM organisation WHERE is_operator = 1";
            let found = transaction.query_row(sql, [], |row| row.get(0).map(OrganisationId::from_bytes));
            found.optional()
        })
    }

    /// The administrators of an organisation by username, `limit` of them at most. Looks at all of its users.
    pub fn list_administrators(
        &self,
        organisation: OrganisationId,
        limit: usize,
    ) -> StoreFuture<'_, Vec<(Name, Status)>> {
        self.ask(move |transaction| {
            let sql = "
                SELECT username, status FROM user WHERE organisation = ?1 AND role = 'administrator'
                ORDER BY canonical LIMIT ?2";
            let mut statement = transaction.prepare(sql)?;
            let rows = statement.query_map(params![organisation.to_bytes(), limit], |row| {
                Ok((words::read_name(row, 0)?, words::read_status(row.get_ref(1)?.as_str()?)))
            })?;
            rows.collect::<Result<_>>()
        })
    }
}
