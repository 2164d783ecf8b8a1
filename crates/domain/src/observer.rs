//! What the rules tell whoever counts: metrics are made of it in `http`. Every method has an empty default.

use std::time::Duration;

/// How a login ended, as metrics count it. The true reason goes to the audit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginOutcome {
    /// A token was issued.
    Issued,
    /// The credentials were not accepted.
    InvalidCredentials,
    /// The unit was not one of the user's.
    InvalidUnit,
    /// The password must be changed first.
    PasswordChangeRequired,
    /// The store did not answer or the queue was full.
    Unavailable,
}

/// Somebody who counts. Calls must return at once.
pub trait Observer: Send + Sync {
    /// The journal committed `entries` in one transaction, which took `took`.
    fn committed(&self, entries: usize, took: Duration) {
        let _ = (entries, took);
    }

    /// A password hash waited this long for a thread.
    fn hash_waited(&self, waited: Duration) {
        let _ = waited;
    }

    /// A login by `method` ended.
    fn login(&self, method: &'static str, outcome: LoginOutcome) {
        let _ = (method, outcome);
    }
}

/// An observer that looks away.
#[derive(Clone, Copy, Debug)]
pub struct NoObserver;

impl Observer for NoObserver {}
