//! What goes over the wire, as types: the data of answers, and for the API document the bodies of requests.

use doorward_domain::{clock::Timestamp, session_table::Live};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

pub mod admin;
pub mod evidence;

/// A time as RFC 3339 in UTC with milliseconds: `2026-11-24T03:36:02.120Z`.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(pub Timestamp);

impl std::fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = jiff::Timestamp::from_millisecond(self.0.as_millis()).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{time:.3}")
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The body of `POST authentication/token`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body for the API document; `Members` reads it")]
pub struct PasswordLoginBody {
    /// The username that should be used to log in, in either case.
    #[schema(examples("mpadministrator"))]
    username: String,
    /// The password, taken whole.
    #[schema(examples("1234"), format = Password)]
    password: String,
    /// The code of the organisation on which the user logs in, in either case. `organization` is accepted too.
    #[schema(examples("CRMDEMO"))]
    organisation: String,
    /// The id of the unit that the user will work in; the user's default unit if absent.
    #[schema(examples("EE63A82C4FEBE02FF34E90DD1EBA5ABE"))]
    unit: Option<String>,
}

/// The body of `POST authentication/web_api_key/token`, if there is one.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body for the API document; `Members` reads it")]
pub struct KeyLoginBody {
    /// The id of the unit that the user will work in; the user's default unit if absent.
    #[schema(examples("EE63A82C4FEBE02FF34E90DD1EBA5ABE"))]
    unit: Option<String>,
}

/// The body of `POST authentication/password`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body for the API document; `Members` reads it")]
pub struct PasswordChangeBody {
    /// The username.
    #[schema(examples("mpadministrator"))]
    username: String,
    /// The code of the organisation.
    #[schema(examples("CRMDEMO"))]
    organisation: String,
    /// The password until now.
    #[schema(format = Password)]
    password: String,
    /// The password from now on.
    #[schema(format = Password)]
    new_password: String,
}

/// The body of `POST authentication/token/release`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body for the API document; `Members` reads it")]
pub struct ReleaseBody {
    /// The token to be released.
    #[schema(examples("4AD9C84FA60F9FE407140E20F707726A"))]
    token: String,
}

/// The body of the OAuth endpoints, form-encoded.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body for the API document; the routes read it")]
pub struct TokenForm {
    /// The token.
    #[schema(examples("4AD9C84FA60F9FE407140E20F707726A"))]
    token: String,
    /// Accepted and not needed: there is one type.
    token_type_hint: Option<String>,
    /// `false`: an introspection is no use of the token.
    touch: Option<String>,
}

/// A new token.
#[derive(Serialize, ToSchema)]
pub struct IssuedToken {
    /// The token: 32 upper-case hexadecimal digits.
    #[schema(examples("4AD9C84FA60F9FE407140E20F707726A"))]
    pub token: String,
}

/// An id and the name that goes with it.
#[derive(Serialize, ToSchema)]
pub struct Named {
    /// The id: 32 upper-case hexadecimal digits.
    id: String,
    /// The code of an organisation, the name of a unit, the username of a user.
    name: String,
}

/// What a token's holder learns about it.
#[derive(Serialize, ToSchema)]
pub struct TokenDetails {
    organisation: Named,
    unit: Named,
    user: Named,
    /// `password` or `web_api_key`.
    method: &'static str,
    /// When it was issued, to the second.
    #[schema(value_type = String, format = DateTime)]
    issued_at: Rfc3339,
    /// When it was last used.
    #[schema(value_type = String, format = DateTime)]
    last_used_at: Rfc3339,
    /// When it ends if it is not used again.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Rfc3339,
}

impl From<&Live> for TokenDetails {
    fn from(live: &Live) -> Self {
        let identity = live.subject.identity();
        let named = |id: String, name: &str| Named { id, name: name.to_owned() };
        Self {
            organisation: named(identity.organisation.to_string(), &identity.organisation_code),
            unit: named(identity.unit.to_string(), &identity.unit_name),
            user: named(identity.user.to_string(), &identity.username),
            method: identity.method.as_str(),
            issued_at: Rfc3339(live.issued_at),
            last_used_at: Rfc3339(live.last_used_at),
            expires_at: Rfc3339(live.expires_at),
        }
    }
}

/// What a service learns about an active token (RFC 7662, section 2.2).
#[derive(Serialize, ToSchema)]
pub struct Introspection {
    /// True: an inactive token is answered `{"active":false}` and nothing more.
    active: bool,
    token_type: &'static str,
    /// The id of the user.
    sub: String,
    username: String,
    /// Seconds since 1970.
    iat: i64,
    /// Seconds since 1970, if the token is not used again.
    exp: i64,
    organisation: String,
    organisation_id: String,
    unit: String,
    unit_id: String,
    /// `password` or `web_api_key`.
    method: &'static str,
}

impl From<&Live> for Introspection {
    fn from(live: &Live) -> Self {
        let identity = live.subject.identity();
        Self {
            active: true,
            token_type: "Bearer",
            sub: identity.user.to_string(),
            username: identity.username.clone(),
            iat: live.issued_at.as_millis() / 1000,
            exp: live.expires_at.as_millis() / 1000,
            organisation: identity.organisation_code.clone(),
            organisation_id: identity.organisation.to_string(),
            unit: identity.unit_name.clone(),
            unit_id: identity.unit.to_string(),
            method: identity.method.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(
            Rfc3339(Timestamp::from_millis(1_795_491_362_120)).to_string(),
            "2026-11-24T03:36:02.120Z"
        );
        assert_eq!(
            Rfc3339(Timestamp::from_millis(1_795_491_362_000)).to_string(),
            "2026-11-24T03:36:02.000Z"
        );
        assert!(Rfc3339(Timestamp::from_millis(i64::MAX)).to_string().starts_with("9999-12-"));
    }
}
