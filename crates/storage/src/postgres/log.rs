//! The release log: what instances must know of each other's commits.

use doorward_domain::{
    cluster::{LogNumber, LogRecord, Notice},
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
    session::{Scope, SessionNumber},
};
use tokio_postgres::{Error, Row, types::ToSql};

use super::values::big;

/// Appends records behind the last, whose row all others wait for until the transaction commits, and gives the number of
/// the last one then.
pub(super) const APPEND: &str = r#"
    WITH moved AS (
        UPDATE journal_state SET head = head + $1 RETURNING head
    ), noted AS (
        INSERT INTO release_log (number, kind, scope, id, "user", through, organisation, name)
        SELECT moved.head - $1 + new.place, new.kind, new.scope, new.id, new."user", new.through, new.organisation,
               new.name
        FROM moved,
             unnest($2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bigint[], $7::bytea[], $8::text[])
             WITH ORDINALITY AS new (kind, scope, id, "user", through, organisation, name, place)
    )
    SELECT head FROM moved"#;

/// Notices as [`APPEND`] takes them.
#[derive(Default)]
pub(super) struct Columns<'a> {
    count: i64,
    kind: Vec<&'static str>,
    scope: Vec<Option<&'static str>>,
    id: Vec<Option<Vec<u8>>>,
    user: Vec<Option<Vec<u8>>>,
    through: Vec<Option<i64>>,
    organisation: Vec<Option<Vec<u8>>>,
    name: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(notices: &'a [Notice]) -> Self {
        let mut columns = Self { count: big(notices.len() as u64), ..Self::default() };
        for notice in notices {
            let (kind, scope, session, through, organisation, name) = match notice {
                Notice::Released(session) => ("released", None, Some(session.to_bytes()), None, None, None),
                Notice::Ended(scope, number) => {
                    ("ended", Some(*scope), None, Some(big(number.0)), None, None)
                }
                Notice::Renamed { organisation, scope, name } => (
                    "renamed",
                    Some(*scope),
                    None,
                    None,
                    Some(organisation.to_bytes().to_vec()),
                    Some(name.as_str()),
                ),
                Notice::Changed => ("changed", None, None, None, None, None),
            };
            let (word, id, user) = match scope {
                None => (None, session, None),
                Some(Scope::Organisation(id)) => (Some("organisation"), Some(id.to_bytes()), None),
                Some(Scope::Unit(id)) => (Some("unit"), Some(id.to_bytes()), None),
                Some(Scope::User(id)) => (Some("user"), Some(id.to_bytes()), None),
                Some(Scope::Key(user, id)) => {
                    (Some("key"), Some(id.to_bytes()), Some(user.to_bytes().to_vec()))
                }
            };
            columns.kind.push(kind);
            columns.scope.push(word);
            columns.id.push(id.map(Vec::from));
            columns.user.push(user);
            columns.through.push(through);
            columns.organisation.push(organisation);
            columns.name.push(name);
        }
        columns
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kind.is_empty()
    }

    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 8] {
        [
            &self.count,
            &self.kind,
            &self.scope,
            &self.id,
            &self.user,
            &self.through,
            &self.organisation,
            &self.name,
        ]
    }
}

/// Reads the log behind a number, as many records as one reading gives.
pub(super) const READ: &str = r#"
    SELECT number, kind, scope, id, "user", through, organisation, name FROM release_log WHERE number > $1
    ORDER BY number LIMIT 1000"#;

/// Reads a record. `None`: it is of a kind that this version does not know, and so must not pass over.
pub(super) fn read(row: &Row) -> Result<Option<LogRecord>, Error> {
    let number = LogNumber(row.try_get::<_, i64>(0)?.unsigned_abs());
    let id = |column| {
        Ok(row.try_get::<_, Option<&[u8]>>(column)?.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()))
    };
    let (id, user, organisation) = (id(3)?, id(4)?, id(6)?);
    let scope = match (row.try_get::<_, Option<&str>>(2)?, id, user) {
        (Some("organisation"), Some(id), _) => Some(Scope::Organisation(OrganisationId::from_bytes(id))),
        (Some("unit"), Some(id), _) => Some(Scope::Unit(UnitId::from_bytes(id))),
        (Some("user"), Some(id), _) => Some(Scope::User(UserId::from_bytes(id))),
        (Some("key"), Some(id), Some(user)) => {
            Some(Scope::Key(UserId::from_bytes(user), KeyId::from_bytes(id)))
        }
        _ => None,
    };
    let through = row.try_get::<_, Option<i64>>(5)?.map(|through| SessionNumber(through.unsigned_abs()));
    let notice = match (row.try_get::<_, &str>(1)?, scope, id, through, organisation) {
        ("released", _, Some(id), _, _) => Notice::Released(SessionId::from_bytes(id)),
        ("ended", Some(scope), _, Some(through), _) => Notice::Ended(scope, through),
        ("renamed", Some(scope), _, _, Some(organisation)) => {
            let name = row.try_get::<_, Option<String>>(7)?.unwrap_or_default();
            Notice::Renamed { organisation: OrganisationId::from_bytes(organisation), scope, name }
        }
        ("changed", ..) => Notice::Changed,
        _ => return Ok(None),
    };
    Ok(Some(LogRecord { number, notice }))
}
