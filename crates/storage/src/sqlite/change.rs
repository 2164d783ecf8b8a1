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
use rusqlite::{Connection, OptionalExtension, Params, Result, Transaction, ffi, params};

pub(super) use users::{delete_some as delete_users, rehash};

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

/// The moment of a change: its time, and the number up to which it ends what it ends.
#[derive(Clone, Copy)]
struct Moment {
    at: i64,
    number: SessionNumber,
}

impl Moment {
    /// The mark of what is new: whatever had its id before, its sessions have ended (`security.md` M2).
    fn before(self) -> u64 {
        self.number.0.saturating_sub(1)
    }
}

/// Makes a change at a time; what it ends, it ends up to `number`. Says `Committed(None)` when it was made. A change
/// that was not made leaves nothing behind and the transaction usable.
pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    change: &Change,
    once: Option<&Once>,
    at: Timestamp,
    number: SessionNumber,
) -> Result<Outcome> {
    let savepoint = transaction.savepoint()?;
    let moment = Moment { at: at.as_millis(), number };
    if let Some(once) = once
        && !note_once(&savepoint, once, moment.at)?
    {
        return Ok(Outcome::Repeated);
    }
    let outcome = match write(&savepoint, change, moment) {
        Ok(Written::Done) => {
            savepoint.commit()?;
            return Ok(Outcome::Committed(None));
        }
        Ok(Written::Missing) => Outcome::Refused,
        Ok(Written::Stale) => Outcome::Stale,
        Ok(Written::InUse) => Outcome::InUse,
        Err(error) => match error.sqlite_extended_error_code() {
            Some(ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => {
                Outcome::Taken(what_is_taken(&error))
            }
            Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Outcome::Refused,
            _ => return Err(error),
        },
    };
    savepoint.finish()?;
    Ok(outcome)
}

/// SQLite names the columns that must be unique.
fn what_is_taken(error: &rusqlite::Error) -> Unique {
    let text = error.to_string();
    if text.contains(".canonical") {
        Unique::Name
    } else if text.contains("key_secret.digest") {
        Unique::Secret
    } else {
        Unique::Id
    }
}

fn write(connection: &Connection, change: &Change, moment: Moment) -> Result<Written> {
    match change {
        Change::CreateOrganisation(organisation) => organisations::create(connection, organisation, moment),
        Change::UpdateOrganisation { organisation, expected } => {
            organisations::update(connection, organisation, *expected, change.ends().is_some(), moment)
        }
        Change::DeleteOrganisation { id, expected } => organisations::delete(connection, *id, *expected),
        Change::SetRules { organisation, overrides, expected } => {
            organisations::set_rules(connection, *organisation, overrides, *expected, moment)
        }
        Change::CreateUnit { organisation, unit } => units::create(connection, *organisation, unit, moment),
        Change::UpdateUnit { organisation, unit, expected } => {
            units::update(connection, *organisation, unit, *expected, change.ends().is_some(), moment)
        }
        Change::DeleteUnit { organisation, id, expected } => {
            units::delete(connection, *organisation, *id, *expected)
        }
        Change::CreateUser { organisation, user, password } => {
            users::create(connection, *organisation, user, password.as_ref(), moment)
        }
        Change::UpdateUser { organisation, user, expected, .. } => {
            users::update(connection, *organisation, user, *expected, change.ends().is_some(), moment)
        }
        Change::DeleteUser { organisation, id, expected } => {
            users::delete(connection, *organisation, *id, *expected)
        }
        Change::SetPassword { organisation, user, password, replaces } => {
            users::set_password(connection, *organisation, *user, password, replaces.as_ref(), moment)
        }
        Change::CreateKey { organisation, key, secret } => {
            keys::create(connection, *organisation, key, secret, moment)
        }
        Change::UpdateKey { organisation, key, expected } => {
            keys::update(connection, *organisation, key, *expected, change.ends().is_some(), moment)
        }
        Change::RotateKey { organisation, user, id, secret, overlap_until, expected } => {
            let rotated = keys::Rotation { user: *user, id: *id, secret, overlap_until: *overlap_until };
            keys::rotate(connection, *organisation, &rotated, *expected, moment)
        }
        Change::DeleteKey { organisation, user, id, expected } => {
            keys::delete(connection, *organisation, *user, *id, *expected)
        }
        Change::EndSessions { organisation, scope } => {
            let organisation = organisation.to_bytes();
            let number = moment.number.0;
            let rows = match scope {
                Scope::Organisation(id) => {
                    let sql = "UPDATE organisation SET ended = ?3 WHERE id = ?1 AND id = ?2";
                    connection.prepare_cached(sql)?.execute(params![organisation, id.to_bytes(), number])
                }
                Scope::Unit(id) => {
                    let sql = "UPDATE unit SET ended = ?3 WHERE organisation = ?1 AND id = ?2";
                    connection.prepare_cached(sql)?.execute(params![organisation, id.to_bytes(), number])
                }
                Scope::User(id) => {
                    let sql = "UPDATE user SET ended = ?3 WHERE organisation = ?1 AND id = ?2";
                    connection.prepare_cached(sql)?.execute(params![organisation, id.to_bytes(), number])
                }
                Scope::Key(user, id) => {
                    let sql = "
                        UPDATE web_api_key SET ended = ?3 WHERE organisation = ?1 AND id = ?2 AND user = ?4";
                    let row = params![organisation, id.to_bytes(), number, user.to_bytes()];
                    connection.prepare_cached(sql)?.execute(row)
                }
            }?;
            Ok(if rows == 1 { Written::Done } else { Written::Missing })
        }
    }
}

/// Notes that something is created for a caller who names a key of their own. `false`: that was noted before.
fn note_once(connection: &Connection, once: &Once, at: i64) -> Result<bool> {
    let sql = "INSERT OR IGNORE INTO once (caller, key, request, made, at) VALUES (?1, ?2, ?3, ?4, ?5)";
    let row = params![once.caller.to_bytes(), once.key, once.request, once.made, at];
    Ok(connection.prepare_cached(sql)?.execute(row)? == 1)
}

/// What it means that an update or a deletion of a row found none to change: `revision` asks for the row's revision.
fn written(connection: &Connection, rows: usize, revision: &str, row: impl Params) -> Result<Written> {
    if rows > 0 {
        return Ok(Written::Done);
    }
    let found = connection.prepare_cached(revision)?.query_row(row, |row| row.get::<_, u64>(0)).optional()?;
    Ok(if found.is_some() { Written::Stale } else { Written::Missing })
}

/// A revision as a parameter; NULL for any.
fn any_or(expected: Option<Revision>) -> Option<u64> {
    expected.map(|revision| revision.0)
}
