//! How long tokens live.

use std::time::Duration;

/// The lifetimes given to new sessions (`contract.md`). A session keeps what it was issued with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// A password session ends after this long without a use.
    pub password_idle: Duration,
    /// A password session ends this long after issue, even in constant use.
    pub password_cap: Duration,
    /// A Web API key session ends this long after issue, used or not.
    pub api_key_lifetime: Duration,
    /// A use is written to the journal at most this late; a crash may cost a token that much of its idle time.
    pub touch_interval: Duration,
}

impl Default for Lifetimes {
    /// The contract's: one hour idle, thirty days at most; two hours for Web API keys.
    fn default() -> Self {
        Self {
            password_idle: Duration::from_secs(3600),
            password_cap: Duration::from_secs(30 * 24 * 3600),
            api_key_lifetime: Duration::from_secs(2 * 3600),
            touch_interval: Duration::from_secs(30),
        }
    }
}
