//! Whom a token speaks for.

use std::time::SystemTime;

/// Whom a token speaks for, as Doorward said at the moment it was asked.
///
/// Decide by ids where a decision must outlive a rename.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The organisation.
    pub organisation: Organisation,
    /// The unit that the user works in.
    pub unit: Unit,
    /// The user. A Web API key speaks for the user whom it belongs to.
    pub user: User,
    /// How the token was got.
    pub method: Method,
    /// When the token ends if it is not used again, by Doorward's clock.
    pub expires_at: SystemTime,
    /// When the token was issued, to the second; a question by way of `/verify` does not tell.
    pub issued_at: Option<SystemTime>,
    /// When the token was last used; only [`who_am_i`](crate::Connection::who_am_i) tells.
    pub last_used_at: Option<SystemTime>,
}

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Organisation {
    /// The id: 32 upper-case hexadecimal digits.
    pub id: String,
    /// The code.
    pub code: String,
}

/// A unit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unit {
    /// The id: 32 upper-case hexadecimal digits.
    pub id: String,
    /// The name.
    pub name: String,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct User {
    /// The id: 32 upper-case hexadecimal digits.
    pub id: String,
    /// The username.
    pub name: String,
}

/// How a token was got.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// By a username and a password.
    Password,
    /// By a Web API key.
    WebApiKey,
    /// In a way that this version does not know.
    Other(String),
}

impl Method {
    /// The name on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Password => "password",
            Self::WebApiKey => "web_api_key",
            Self::Other(name) => name,
        }
    }

    pub(crate) fn of(name: String) -> Self {
        match &*name {
            "password" => Self::Password,
            "web_api_key" => Self::WebApiKey,
            _ => Self::Other(name),
        }
    }
}
