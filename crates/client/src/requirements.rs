//! What a service demands of a token beside being in force.

use crate::Method;

/// What a service demands of a token beside being in force. Doorward decides; the names match as it says, regardless of
/// case.
///
/// Naming a thing again means "one of these"; things of different kinds must all be met.
///
/// ```
/// use doorward_client::{Requirements, Role};
/// let requirements = Requirements::default().organisation("ACME").unit("Warehouse").unit("Shop").role(Role::Administrator);
/// assert!(!requirements.is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Requirements(Vec<(&'static str, String)>);

/// A user's role in an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// May administer the organisation.
    Administrator,
    /// Anybody else.
    Member,
}

impl Requirements {
    /// The token is of the organisation with this code or id.
    #[must_use]
    pub fn organisation(self, code_or_id: impl Into<String>) -> Self {
        self.with("organisation", code_or_id.into())
    }

    /// The token is for work in the unit with this name or id.
    #[must_use]
    pub fn unit(self, name_or_id: impl Into<String>) -> Self {
        self.with("unit", name_or_id.into())
    }

    /// The token was got in this way.
    #[must_use]
    pub fn method(self, method: &Method) -> Self {
        self.with("method", method.as_str().to_owned())
    }

    /// The user has this role now, whatever it was at login.
    #[must_use]
    pub fn role(self, role: Role) -> Self {
        let name = match role {
            Role::Administrator => "administrator",
            Role::Member => "member",
        };
        self.with("role", name.to_owned())
    }

    /// Whether nothing is demanded.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.0.push((name, value));
        self
    }

    /// The value of the header `X-Auth-Require`.
    pub(crate) fn header(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_become_another_requirement() {
        let requirements = Requirements::default().unit("a&role=member\r\nX: y").method(&Method::WebApiKey);
        assert_eq!(requirements.header(), "unit=a%26role%3Dmember%0D%0AX%3A+y&method=web_api_key");
    }
}
