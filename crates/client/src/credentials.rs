//! What a program logs in with.

use std::fmt;

use secrecy::SecretString;

/// What a program logs in with: a Web API key, or a username and a password.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) kind: Kind,
    /// The id of the unit to work in; the user's default unit if there is none.
    pub(crate) unit: Option<String>,
}

#[derive(Clone)]
pub(crate) enum Kind {
    Key(SecretString),
    Password { organisation: String, username: String, password: SecretString },
}

impl Credentials {
    /// A Web API key. This is what programs should use: its tokens last two hours, and nobody is locked out by it.
    pub fn key(key: impl Into<SecretString>) -> Self {
        Self { kind: Kind::Key(key.into()), unit: None }
    }

    /// The code of an organisation, a username and a password.
    pub fn password(
        organisation: impl Into<String>,
        username: impl Into<String>,
        password: impl Into<SecretString>,
    ) -> Self {
        let (organisation, username, password) = (organisation.into(), username.into(), password.into());
        Self { kind: Kind::Password { organisation, username, password }, unit: None }
    }

    /// The same, to work in another unit than the user's default unit. The unit is named by its id.
    ///
    /// ```
    /// use doorward_client::Credentials;
    /// let credentials = Credentials::password("ACME", "zoe", "a secret").in_unit("EE63A82C4FEBE02FF34E90DD1EBA5ABE");
    /// assert!(!format!("{credentials:?}").contains("a secret"));
    /// ```
    #[must_use]
    pub fn in_unit(self, unit: impl Into<String>) -> Self {
        Self { unit: Some(unit.into()), ..self }
    }

    pub(crate) fn is_key(&self) -> bool {
        matches!(self.kind, Kind::Key(_))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Credentials");
        match &self.kind {
            Kind::Key(_) => debug.field("key", &"[redacted]"),
            Kind::Password { organisation, username, .. } => debug
                .field("organisation", organisation)
                .field("username", username)
                .field("password", &"[redacted]"),
        };
        debug.field("unit", &self.unit).finish()
    }
}
