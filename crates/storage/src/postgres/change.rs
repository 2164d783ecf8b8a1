//! Changes of the directory, written as one entry of a batch each. The modules below have the SQL of one resource each.

mod keys;
mod organisations;
mod units;
mod users;

use doorward_domain::{
    change::{Change, Once},
    clock::Timestamp,
    journal::{Outcome, Unique},
    resource::Revision,
    session::{Scope, SessionNumber},
};
use tokio_postgres::{Error, error::SqlState, types::ToSql};

pub(super) use users::{delete_some as delete_users, rehash};

use super::{connect::Connection, values::big};

/// What came of writing a change.
enum Written {
    Done,
    /// It, or what it hangs on, is not there.
    Missing,
    /// It is there, and at another revision.
    Stale,
    /// Something else needs it.
    InUse,
}

/// The moment of a change.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    at: i64,
    /// The number up to which it ends what it ends.
    number: SessionNumber,
    /// The last number before it.
    before: SessionNumber,
}

impl Moment {
    pub(super) fn new(at: Timestamp, number: SessionNumber, before: SessionNumber) -> Self {
        Self { at: at.as_millis(), number, before }
    }

    /// The mark of what is new: whatever had its id before, its sessions have ended (`security.md` M2).
    fn before(self) -> i64 {
        big(self.before.0)
    }

    /// The mark of what ends; NULL if nothing does.
    fn mark(self, ends: bool) -> Option<i64> {
        ends.then_some(big(self.number.0))
    }
}

type Row<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Makes a change. Says `Committed(None)` when it was made. A change
/// that was not made leaves nothing behind and the transaction usable.
pub(super) async fn apply(
    connection: &mut Connection,
    change: &Change,
    once: Option<&Once>,
    moment: Moment,
) -> Result<Outcome, Error> {
    connection.client.batch_execute("SAVEPOINT change").await?;
    let written = match once {
        Some(once) if !note_once(connection, once, moment.at).await? => {
            connection.client.batch_execute("ROLLBACK TO SAVEPOINT change; RELEASE SAVEPOINT change").await?;
            return Ok(Outcome::Repeated);
        }
        _ => write(connection, change, moment).await,
    };
    let outcome = match written {
        Ok(Written::Done) => {
            connection.client.batch_execute("RELEASE SAVEPOINT change").await?;
            return Ok(Outcome::Committed(None));
        }
        Ok(Written::Missing) => Outcome::Refused,
        Ok(Written::Stale) => Outcome::Stale,
        Ok(Written::InUse) => Outcome::InUse,
        Err(error) => match error.code() {
            Some(code) if *code == SqlState::UNIQUE_VIOLATION => Outcome::Taken(what_is_taken(&error)),
            Some(code) if *code == SqlState::FOREIGN_KEY_VIOLATION => Outcome::Refused,
            _ => return Err(error),
        },
    };
    connection.client.batch_execute("ROLLBACK TO SAVEPOINT change; RELEASE SAVEPOINT change").await?;
    Ok(outcome)
}

/// PostgreSQL names the constraint.
fn what_is_taken(error: &Error) -> Unique {
    match error.as_db_error().and_then(|error| error.constraint()) {
        Some("organisation_canonical" | "unit_canonical" | "user_canonical") => Unique::Name,
        Some("key_secret_digest") => Unique::Secret,
        _ => Unique::Id,
    }
}

async fn write(connection: &mut Connection, change: &Change, moment: Moment) -> Result<Written, Error> {
    let ends = change.ends().is_some();
    match change {
        Change::CreateOrganisation(organisation) => {
            organisations::create(connection, organisation, moment).await
        }
        Change::UpdateOrganisation { organisation, expected } => {
            organisations::update(connection, organisation, *expected, ends, moment).await
        }
        Change::DeleteOrganisation { id, expected } => {
            organisations::delete(connection, *id, *expected).await
        }
        Change::SetRules { organisation, overrides, expected } => {
            organisations::set_rules(connection, *organisation, overrides, *expected, moment).await
        }
        Change::CreateUnit { organisation, unit } => {
            units::create(connection, *organisation, unit, moment).await
        }
        Change::UpdateUnit { organisation, unit, expected } => {
            units::update(connection, *organisation, unit, *expected, ends, moment).await
        }
        Change::DeleteUnit { organisation, id, expected } => {
            units::delete(connection, *organisation, *id, *expected).await
        }
        Change::CreateUser { organisation, user, password } => {
            users::create(connection, *organisation, user, password.as_ref(), moment).await
        }
        Change::UpdateUser { organisation, user, expected, .. } => {
            users::update(connection, *organisation, user, *expected, ends, moment).await
        }
        Change::DeleteUser { organisation, id, expected } => {
            users::delete(connection, *organisation, *id, *expected).await
        }
        Change::SetPassword { organisation, user, password, replaces } => {
            users::set_password(connection, *organisation, *user, password, replaces.as_ref(), moment).await
        }
        Change::CreateKey { organisation, key, secret } => {
            keys::create(connection, *organisation, key, secret, moment).await
        }
        Change::UpdateKey { organisation, key, expected } => {
            keys::update(connection, *organisation, key, *expected, ends, moment).await
        }
        Change::RotateKey { organisation, user, id, secret, overlap_until, expected } => {
            let rotated = keys::Rotation { user: *user, id: *id, secret, overlap_until: *overlap_until };
            keys::rotate(connection, *organisation, &rotated, *expected, moment).await
        }
        Change::DeleteKey { organisation, user, id, expected } => {
            keys::delete(connection, *organisation, *user, *id, *expected).await
        }
        Change::EndSessions { organisation, scope } => {
            let organisation = organisation.to_bytes();
            let organisation = organisation.as_slice();
            let number = big(moment.number.0);
            let rows = match scope {
                Scope::Organisation(id) => {
                    let sql = "UPDATE organisation SET ended = $3 WHERE id = $1 AND id = $2";
                    execute(connection, sql, &[&organisation, &id.to_bytes().as_slice(), &number]).await
                }
                Scope::Unit(id) => {
                    let sql = "UPDATE unit SET ended = $3 WHERE organisation = $1 AND id = $2";
                    execute(connection, sql, &[&organisation, &id.to_bytes().as_slice(), &number]).await
                }
                Scope::User(id) => {
                    let sql = r#"UPDATE "user" SET ended = $3 WHERE organisation = $1 AND id = $2"#;
                    execute(connection, sql, &[&organisation, &id.to_bytes().as_slice(), &number]).await
                }
                Scope::Key(user, id) => {
                    let sql = r#"
                        UPDATE web_api_key SET ended = $3 WHERE organisation = $1 AND id = $2 AND "user" = $4"#;
                    let (id, user) = (id.to_bytes(), user.to_bytes());
                    execute(connection, sql, &[&organisation, &id.as_slice(), &number, &user.as_slice()])
                        .await
                }
            }?;
            Ok(if rows == 1 { Written::Done } else { Written::Missing })
        }
    }
}

/// Notes that something is created for a caller who names a key of their own. `false`: that was noted before.
async fn note_once(connection: &mut Connection, once: &Once, at: i64) -> Result<bool, Error> {
    let sql = "INSERT INTO once (caller, key, request, made, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let caller = once.caller.to_bytes();
    let row: Row<'_> =
        &[&caller.as_slice(), &once.key.as_slice(), &once.request.as_slice(), &once.made.as_slice(), &at];
    Ok(execute(connection, sql, row).await? == 1)
}

/// Forgets what was created once before a time, but what another transaction is at work on.
pub(super) async fn forget_once(connection: &mut Connection, before: Timestamp) -> Result<(), Error> {
    let sql = "
        DELETE FROM once
        WHERE (caller, key) IN (SELECT caller, key FROM once WHERE at < $1 FOR UPDATE SKIP LOCKED)";
    execute(connection, sql, &[&before.as_millis()]).await.map(drop)
}

async fn execute(connection: &mut Connection, sql: &'static str, row: Row<'_>) -> Result<u64, Error> {
    let statement = connection.prepare(sql).await?;
    connection.client.execute(&statement, row).await
}

async fn is_there(connection: &mut Connection, sql: &'static str, row: Row<'_>) -> Result<bool, Error> {
    let statement = connection.prepare(sql).await?;
    Ok(connection.client.query_opt(&statement, row).await?.is_some())
}

/// What it means that an update or a deletion of a row found none to change: `revision` asks for the row's revision.
async fn written(
    connection: &mut Connection,
    is_done: bool,
    revision: &'static str,
    row: Row<'_>,
) -> Result<Written, Error> {
    if is_done {
        return Ok(Written::Done);
    }
    Ok(if is_there(connection, revision, row).await? { Written::Stale } else { Written::Missing })
}

/// A revision as a parameter; NULL for any.
fn any_or(expected: Option<Revision>) -> Option<i64> {
    expected.map(|revision| big(revision.0))
}
