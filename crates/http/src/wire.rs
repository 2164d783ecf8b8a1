//! What goes over the wire, as types: the data of answers, and for the API document the bodies of requests.

use doorward_domain::{
    clock::Timestamp,
    session_table::{Live, LiveRef},
};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

pub mod admin;
pub mod evidence;

/// A time as RFC 3339 in UTC with milliseconds: `2026-11-24T03:36:02.120Z`.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(pub Timestamp);

impl Rfc3339 {
    /// The first time that has a year of four digits.
    const FIRST: i64 = -62_135_596_800_000;
    /// The last one.
    const LAST: i64 = 253_402_300_799_999;

    /// The text, without the cost of formatting. Times before the year 1 or after 9999 are shown as its first or last moment.
    pub fn text(self) -> [u8; 24] {
        let millis = self.0.as_millis().clamp(Self::FIRST, Self::LAST);
        let (days, of_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
        let date = jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(days));
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut write = |place: usize, digits: usize, mut value: i64| {
            for digit in text[place..place + digits].iter_mut().rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        write(0, 4, date.year().into());
        write(5, 2, date.month().into());
        write(8, 2, date.day().into());
        write(11, 2, of_day / 3_600_000);
        write(14, 2, of_day / 60_000 % 60);
        write(17, 2, of_day / 1_000 % 60);
        write(20, 3, of_day % 1_000);
        text
    }
}

impl std::fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
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
    /// When it was issued.
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
        let identity = &live.identity;
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
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes an answer for the API document; it is written by hand")]
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

impl Introspection {
    /// Writes the answer for a live session as JSON. By hand, for services ask about every call that they get.
    pub fn write(live: LiveRef<'_>, json: &mut Vec<u8>) {
        let identity = live.identity;
        json.extend_from_slice(br#"{"active":true,"token_type":"Bearer","sub":""#);
        json.extend_from_slice(&identity.user.to_hex());
        json.extend_from_slice(br#"","username":"#);
        write_text(json, identity.username);
        json.extend_from_slice(br#","iat":"#);
        write_value(json, live.issued_at.as_millis() / 1000);
        json.extend_from_slice(br#","exp":"#);
        write_value(json, live.expires_at.as_millis() / 1000);
        json.extend_from_slice(br#","organisation":"#);
        write_text(json, identity.organisation_code);
        json.extend_from_slice(br#","organisation_id":""#);
        json.extend_from_slice(&identity.organisation.to_hex());
        json.extend_from_slice(br#"","unit":"#);
        write_text(json, identity.unit_name);
        json.extend_from_slice(br#","unit_id":""#);
        json.extend_from_slice(&identity.unit.to_hex());
        json.extend_from_slice(br#"","method":""#);
        json.extend_from_slice(identity.method.as_str().as_bytes());
        json.extend_from_slice(br#""}"#);
    }
}

/// Writes a text. Most have nothing in them that JSON writes otherwise, which is found out for all of it at once.
fn write_text(json: &mut Vec<u8>, text: &str) {
    let is_plain = text.bytes().fold(true, |is, byte| is & (byte >= b' ') & (byte != b'"') & (byte != b'\\'));
    if is_plain {
        json.push(b'"');
        json.extend_from_slice(text.as_bytes());
        json.push(b'"');
    } else {
        write_value(json, text);
    }
}

/// Writes a number or a text, which does not fail.
fn write_value(json: &mut Vec<u8>, value: impl Serialize) {
    let _ = serde_json::to_writer(json, &value);
}

#[cfg(test)]
mod tests {
    use doorward_domain::{
        id::{OrganisationId, SessionId, UnitId, UserId},
        session::{Method, SessionNumber},
        session_table::IdentityRef,
    };

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
        assert_eq!(Rfc3339(Timestamp::from_millis(i64::MAX)).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Rfc3339(Timestamp::from_millis(i64::MIN)).to_string(), "0001-01-01T00:00:00.000Z");
        for days in (Rfc3339::FIRST / 86_400_000)..(Rfc3339::LAST / 86_400_000) {
            let millis = days * 86_400_000 + days.rem_euclid(86_400_000);
            let time = jiff::Timestamp::from_millisecond(millis).unwrap();
            assert_eq!(Rfc3339(Timestamp::from_millis(millis)).to_string(), format!("{time:.3}"));
        }
    }

    #[test]
    fn an_introspection_is_json_whatever_the_names() {
        let [organisation, unit, user] = [1, 2, 3].map(|n| [n; 16]);
        let identity = IdentityRef {
            organisation: OrganisationId::from_bytes(organisation),
            organisation_code: "AC\"ME\\",
            is_operator: false,
            unit: UnitId::from_bytes(unit),
            unit_name: "Zoë\n\u{1}",
            user: UserId::from_bytes(user),
            username: "",
            method: Method::Password,
        };
        let at = Timestamp::from_millis;
        let live = LiveRef {
            id: SessionId::from_bytes(user),
            number: SessionNumber(1),
            identity,
            issued_at: at(1_999),
            last_used_at: at(2_000),
            expires_at: at(3_001),
        };
        let mut json = Vec::new();
        Introspection::write(live, &mut json);
        let read: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let id = |digits: &str| digits.repeat(16);
        let expected = serde_json::json!({
            "active": true, "token_type": "Bearer", "sub": id("03"), "username": "", "iat": 1, "exp": 3,
            "organisation": "AC\"ME\\", "organisation_id": id("01"), "unit": "Zoë\n\u{1}", "unit_id": id("02"),
            "method": "password",
        });
        assert_eq!(read, expected);
    }
}
