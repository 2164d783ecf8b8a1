//! What PostgreSQL's errors mean to the operator, to the journal and to a login. Every text is one line with the
//! database and the remedy; none holds a password, or a value from the database.

use std::{error::Error as _, fmt::Display};

use doorward_domain::journal::{LedgerError, StoreError};
use tokio_postgres::{
    Error,
    error::{DbError, Severity, SqlState},
};

/// Why a database was not opened.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// What was configured does not say where the database is, or not as it must.
    #[error("`storage` does not lead to PostgreSQL: {reason}")]
    Options {
        /// What is wrong and what to do.
        reason: String,
    },
    /// No host of the database does what it should.
    #[error("{database} cannot be used: {reason}")]
    Unusable {
        /// The database and its hosts.
        database: String,
        /// What PostgreSQL or the network says, and what to do.
        reason: String,
    },
    /// There is a database, and nothing in it.
    #[error("{database} has no data of Doorward's; make them with `doorward init`")]
    Empty {
        /// The database and its hosts.
        database: String,
    },
    /// What was to be created is there.
    #[error(
        "{database} has data of Doorward's already; start it with `doorward serve`, or name another database by \
         `storage.url`"
    )]
    AlreadyExists {
        /// The database and its hosts.
        database: String,
    },
    /// What is there is somebody else's.
    #[error("{database} has tables that are not Doorward's; name a database of its own by `storage.url`")]
    NotDoorward {
        /// The database and its hosts.
        database: String,
    },
    /// A later version has changed the database in a way that this one does not stand.
    #[error(
        "{database} has schema {found}, which needs a Doorward that knows schema {oldest} or later, and this one knows \
         {known}; install the newer version again"
    )]
    Newer {
        /// The database and its hosts.
        database: String,
        /// The schema it has.
        found: i64,
        /// The oldest schema whose program may still work with it.
        oldest: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// The schema could not be changed.
    #[error(
        "{database} could not be brought from schema {found} to {known}: {reason}; it is as it was: go on with the \
         earlier version, and report this"
    )]
    NotUpgraded {
        /// The database and its hosts.
        database: String,
        /// The schema it has.
        found: i64,
        /// The schema it should have.
        known: i64,
        /// What PostgreSQL says.
        reason: String,
    },
}

impl PostgresError {
    pub(super) fn unusable(database: &str, error: &Error) -> Self {
        Self::Unusable {
            database: database.into(),
            reason: format!("{}; {}", describe(error), remedy(error)),
        }
    }
}

/// What to do about an error.
fn remedy(error: &Error) -> &'static str {
    let Some(code) = error.code() else {
        return "check that PostgreSQL runs there, and what `storage.url` and `storage.ca_file` say";
    };
    match *code {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "check the user in `storage.url`, `storage.password_file` and the server's pg_hba.conf"
        }
        SqlState::INVALID_CATALOG_NAME => "make it with `createdb`, or name another by `storage.url`",
        SqlState::INSUFFICIENT_PRIVILEGE => "make the user in `storage.url` the owner of the database",
        SqlState::TOO_MANY_CONNECTIONS => "raise the server's max_connections, or lower `storage.pool`",
        _ => "see PostgreSQL's log",
    }
}

/// An error with all that it comes of, but not with details, in which PostgreSQL quotes values.
pub(super) fn describe(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        return one_line(format!("{} ({})", error.message(), error.code().code()));
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    one_line(text)
}

/// Whether the server has said that it did not do what it was told to do, and has undone all of the transaction.
/// `false`: it may have done it.
pub(super) fn is_undone(error: &Error) -> bool {
    // Worse errors end the connection, and COMMIT may be done when one of them comes.
    error.as_db_error().and_then(DbError::parsed_severity) == Some(Severity::Error)
}

/// Whether the same may be tried again at once, because only others were in the way.
pub(super) fn is_conflict(error: &Error) -> bool {
    let code = error.code();
    code == Some(&SqlState::T_R_SERIALIZATION_FAILURE) || code == Some(&SqlState::T_R_DEADLOCK_DETECTED)
}

/// Whether another connection may do better: this one is gone, or leads to a server that is stopping or no primary.
pub(super) fn is_of_the_connection(error: &Error) -> bool {
    let Some(error) = error.as_db_error() else { return true };
    // Whatever is worse than an error ends the connection.
    error.parsed_severity() != Some(Severity::Error)
        || *error.code() == SqlState::READ_ONLY_SQL_TRANSACTION
        // What was prepared does not fit what is there now.
        || *error.code() == SqlState::FEATURE_NOT_SUPPORTED
}

/// Says what an error means for a batch of the journal, where nothing of it was stored.
pub(super) fn nothing_stored(database: &str, error: &Error) -> LedgerError {
    if error.code() == Some(&SqlState::DISK_FULL) {
        let reason = describe(error);
        return LedgerError::Full(format!(
            "no space to write {database}: {reason}; free some space and it goes on"
        ));
    }
    LedgerError::Lost(format!(
        "{database} cannot be written, and nothing was stored: {}; {}",
        describe(error),
        remedy(error)
    ))
}

/// Says what it means for a batch of the journal that it is not known whether it was stored.
pub(super) fn unknown(database: &str, reason: impl Display) -> LedgerError {
    LedgerError::Lost(format!("{database} did not say whether it has stored what it was sent: {reason}"))
}

/// Says what an error means for a question.
pub(super) fn unavailable(database: &str, error: &Error) -> StoreError {
    StoreError::Unavailable(format!("{database}: {}; {}", describe(error), remedy(error)))
}

/// Says what it means for a question that there was no answer in time.
pub(super) fn timed_out(database: &str) -> StoreError {
    StoreError::Unavailable(format!("{database} does not answer in time; see PostgreSQL's log"))
}

/// PostgreSQL's texts may have several lines.
pub(super) fn one_line(text: impl Display) -> String {
    text.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Says what it means for a batch of the journal that there was no answer in time, and that it was not to be committed yet.
pub(super) fn not_in_time(database: &str) -> LedgerError {
    LedgerError::Lost(format!(
        "{database} does not answer in time, and nothing was stored; see PostgreSQL's log"
    ))
}
