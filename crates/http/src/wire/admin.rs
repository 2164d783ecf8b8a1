//! What the admin API reads and writes. Names of members are part of the contract.

use std::{collections::BTreeMap, fmt, marker::PhantomData, str::FromStr, time::Duration};

use doorward_domain::{
    address::Network,
    administration::{
        ImportedUser, KeyPatch, NewKey, NewOrganisation, NewUnit, NewUser, OrganisationPatch, PasswordReset,
        RotatedKey, Rotation, RulesInForce, SessionDetails, Source, UnitPatch, UserPatch, WhichSessions,
    },
    clock::Timestamp,
    credential::{Password, PlainKey},
    directory::{Role, Status},
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
    passwords::PasswordHash,
    resource::{Classification, KeyDetails, Organisation, Stored, Unit, UserDetails},
    rules::{Rule, RuleValue},
    session::Method,
};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Rfc3339;
use crate::error::ApiError;

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct List<T> {
    /// The items.
    pub items: Vec<T>,
    /// Send it as `after` to get the next page; null on the last one.
    pub next: Option<String>,
}

/// An id as text.
#[derive(Clone, Copy)]
pub struct IdText<T>(T);

impl<'de, T: FromStr> Deserialize<'de> for IdText<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(PhantomData<T>);
        impl<T: FromStr> de::Visitor<'_> for Text<T> {
            type Value = IdText<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id, which is a string of 32 hexadecimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<IdText<T>, E> {
                text.parse().map(IdText).map_err(|_| E::invalid_value(de::Unexpected::Str(""), &self))
            }
        }
        deserializer.deserialize_str(Text(PhantomData))
    }
}

/// A set of addresses as text.
pub struct NetworkText(Network);

impl<'de> Deserialize<'de> for NetworkText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|error| de::Error::custom(format!("is not usable: '{text}' {error}")))
    }
}

/// A time as text (RFC 3339).
#[derive(Clone, Copy)]
pub struct TimeText(Timestamp);

impl<'de> Deserialize<'de> for TimeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let time = String::deserialize(deserializer)?
            .parse::<jiff::Timestamp>()
            .map_err(|_| de::Error::custom("is not a time of RFC 3339, such as 2027-01-31T12:00:00Z"))?;
        Ok(Self(Timestamp::from_millis(time.as_millisecond())))
    }
}

/// A duration as text.
#[derive(Clone, Copy)]
pub struct DurationText(Duration);

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = humantime::parse_duration(&text);
        read.map(Self).map_err(|_| de::Error::custom("is not a duration such as 24h or 30d"))
    }
}

/// A password as text.
pub struct PasswordText(Password);

impl<'de> Deserialize<'de> for PasswordText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let problem = || de::Error::custom(format!("must have from 1 to {} bytes", Password::MAX_BYTES));
        Password::parse(&text).map(Self).ok_or_else(problem)
    }
}

/// The stored hash of a password as text.
pub struct HashText(PasswordHash);

impl<'de> Deserialize<'de> for HashText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        PasswordHash::import(&text).map(Self).map_err(de::Error::custom)
    }
}

/// The secret of a Web API key as text.
pub struct KeyText(PlainKey);

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let problem = || de::Error::custom(format!("must have from 1 to {} bytes", PlainKey::MAX_BYTES));
        PlainKey::parse(&text).map(Self).ok_or_else(problem)
    }
}

/// Tells a member that is null from one that is absent.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Whether an organisation is in use.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OrganisationStatus {
    /// It is.
    Active,
    /// Its tokens have ended, and its users get no new ones.
    Suspended,
}

/// Whether a unit, a user or a key is in use.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UseStatus {
    /// It is.
    Active,
    /// Its tokens have ended, and it gets no new ones.
    Disabled,
}

/// The words of [`OrganisationStatus`], for filters.
pub const ORGANISATION_STATUSES: [(&str, Status); 2] =
    [("active", Status::Active), ("suspended", Status::Disabled)];
/// The words of [`UseStatus`], for filters.
pub const USE_STATUSES: [(&str, Status); 2] = [("active", Status::Active), ("disabled", Status::Disabled)];

impl From<OrganisationStatus> for Status {
    fn from(status: OrganisationStatus) -> Self {
        match status {
            OrganisationStatus::Active => Self::Active,
            OrganisationStatus::Suspended => Self::Disabled,
        }
    }
}

impl From<Status> for OrganisationStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Disabled => Self::Suspended,
        }
    }
}

impl From<UseStatus> for Status {
    fn from(status: UseStatus) -> Self {
        match status {
            UseStatus::Active => Self::Active,
            UseStatus::Disabled => Self::Disabled,
        }
    }
}

impl From<Status> for UseStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Disabled => Self::Disabled,
        }
    }
}

/// An organisation.
#[derive(Serialize, ToSchema)]
pub struct OrganisationView {
    id: String,
    /// The code that its users log in on.
    #[schema(examples("ACME"))]
    code: String,
    name: String,
    status: OrganisationStatus,
    /// Whether it is the operator organisation, whose administrators manage all organisations.
    operator: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Rfc3339,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Rfc3339,
}

impl From<Stored<Organisation>> for OrganisationView {
    fn from(stored: Stored<Organisation>) -> Self {
        let Organisation { id, code, name, is_operator, status } = stored.value;
        Self {
            id: id.to_string(),
            code: code.to_string(),
            name,
            status: status.into(),
            operator: is_operator,
            created_at: Rfc3339(stored.created_at),
            updated_at: Rfc3339(stored.updated_at),
        }
    }
}

/// An organisation to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrganisationBody {
    /// Its id, if it has one elsewhere already.
    #[schema(value_type = Option<String>)]
    id: Option<IdText<OrganisationId>>,
    /// The code that its users log in on, unique whatever the case.
    #[schema(examples("ACME"))]
    code: String,
    /// What people call it; its code if absent.
    name: Option<String>,
    /// `active` if absent.
    status: Option<OrganisationStatus>,
}

impl From<NewOrganisationBody> for NewOrganisation {
    fn from(body: NewOrganisationBody) -> Self {
        let NewOrganisationBody { id, code, name, status } = body;
        Self { id: id.map(|id| id.0), code, name, status: status.map_or(Status::Active, Into::into) }
    }
}

/// A change of an organisation: what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganisationPatchBody {
    /// The code that its users log in on.
    code: Option<String>,
    /// What people call it.
    name: Option<String>,
    /// `suspended` ends its tokens.
    status: Option<OrganisationStatus>,
}

impl From<OrganisationPatchBody> for OrganisationPatch {
    fn from(body: OrganisationPatchBody) -> Self {
        let OrganisationPatchBody { code, name, status } = body;
        Self { code, name, status: status.map(Into::into) }
    }
}

/// A unit.
#[derive(Serialize, ToSchema)]
pub struct UnitView {
    id: String,
    name: String,
    status: UseStatus,
    #[schema(value_type = String, format = DateTime)]
    created_at: Rfc3339,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Rfc3339,
}

impl From<Stored<Unit>> for UnitView {
    fn from(stored: Stored<Unit>) -> Self {
        let Unit { id, name, status } = stored.value;
        Self {
            id: id.to_string(),
            name: name.to_string(),
            status: status.into(),
            created_at: Rfc3339(stored.created_at),
            updated_at: Rfc3339(stored.updated_at),
        }
    }
}

/// A unit to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUnitBody {
    /// Its id, if it has one elsewhere already.
    #[schema(value_type = Option<String>)]
    id: Option<IdText<UnitId>>,
    /// Its name, unique in the organisation whatever the case.
    name: String,
    /// `active` if absent.
    status: Option<UseStatus>,
}

impl From<NewUnitBody> for NewUnit {
    fn from(body: NewUnitBody) -> Self {
        let NewUnitBody { id, name, status } = body;
        Self { id: id.map(|id| id.0), name, status: status.map_or(Status::Active, Into::into) }
    }
}

/// A change of a unit: what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnitPatchBody {
    /// Its name.
    name: Option<String>,
    /// `disabled` ends its tokens.
    status: Option<UseStatus>,
}

impl From<UnitPatchBody> for UnitPatch {
    fn from(body: UnitPatchBody) -> Self {
        let UnitPatchBody { name, status } = body;
        Self { name, status: status.map(Into::into) }
    }
}

/// What a user may do beside using APIs.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoleWord {
    /// Nothing else.
    Member,
    /// Manage their organisation, and from the operator organisation all of them.
    Administrator,
}

impl From<RoleWord> for Role {
    fn from(role: RoleWord) -> Self {
        match role {
            RoleWord::Member => Self::Member,
            RoleWord::Administrator => Self::Administrator,
        }
    }
}

impl From<Role> for RoleWord {
    fn from(role: Role) -> Self {
        match role {
            Role::Member => Self::Member,
            Role::Administrator => Self::Administrator,
        }
    }
}

/// A user.
#[derive(Serialize, ToSchema)]
pub struct UserView {
    id: String,
    username: String,
    person_name: Option<String>,
    email: Option<String>,
    role: RoleWord,
    status: UseStatus,
    /// The ids of the units the user works in.
    units: Vec<String>,
    /// The id of the unit that a login gets which names none.
    default_unit: Option<String>,
    /// Whether the password must be changed before it gives a token.
    must_change_password: bool,
    /// Until when logins are refused after too many failures.
    #[schema(value_type = Option<String>, format = DateTime)]
    locked_until: Option<Rfc3339>,
    /// When the user last got a token for the password.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_login_at: Option<Rfc3339>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Rfc3339,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Rfc3339,
}

impl UserView {
    /// The user, with the end of a lock.
    pub fn new(details: UserDetails, locked_until: Option<Timestamp>) -> Self {
        let UserDetails { user: stored, must_change_password, last_login_at } = details;
        let user = stored.value;
        Self {
            id: user.id.to_string(),
            username: user.username.to_string(),
            person_name: user.person_name,
            email: user.email,
            role: user.role.into(),
            status: user.status.into(),
            units: user.units.iter().map(ToString::to_string).collect(),
            default_unit: user.default_unit.map(|unit| unit.to_string()),
            must_change_password,
            locked_until: locked_until.map(Rfc3339),
            last_login_at: last_login_at.map(Rfc3339),
            created_at: Rfc3339(stored.created_at),
            updated_at: Rfc3339(stored.updated_at),
        }
    }
}

/// A user to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUserBody {
    /// The id, if the user has one elsewhere already.
    #[schema(value_type = Option<String>)]
    id: Option<IdText<UserId>>,
    /// The username, unique in the organisation whatever the case.
    username: String,
    /// The password; without one the user cannot log in with a password.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<PasswordText>,
    /// Whether it must be changed before it gives a token; false if absent.
    #[serde(default)]
    must_change_password: bool,
    person_name: Option<String>,
    email: Option<String>,
    /// `member` if absent.
    role: Option<RoleWord>,
    /// `active` if absent.
    status: Option<UseStatus>,
    /// The ids of the units the user works in.
    #[schema(value_type = Vec<String>)]
    #[serde(default)]
    units: Vec<IdText<UnitId>>,
    /// The id of one of them; the first if absent.
    #[schema(value_type = Option<String>)]
    default_unit: Option<IdText<UnitId>>,
}

impl From<NewUserBody> for NewUser {
    fn from(body: NewUserBody) -> Self {
        Self {
            id: body.id.map(|id| id.0),
            username: body.username,
            person_name: body.person_name,
            email: body.email,
            role: body.role.map_or(Role::Member, Into::into),
            status: body.status.map_or(Status::Active, Into::into),
            units: body.units.into_iter().map(|unit| unit.0).collect(),
            default_unit: body.default_unit.map(|unit| unit.0),
            password: body.password.map(|password| password.0),
            must_change_password: body.must_change_password,
        }
    }
}

/// A user to be brought in from elsewhere.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportedUserBody {
    /// The id, if the user has one elsewhere already.
    #[schema(value_type = Option<String>)]
    id: Option<IdText<UserId>>,
    /// The username, unique in the organisation whatever the case.
    username: String,
    /// The stored hash of the password; it is replaced by one of Doorward's own when the user logs in.
    #[schema(value_type = Option<String>, format = Password)]
    password_hash: Option<HashText>,
    /// The password, in place of its hash; the rules for new passwords apply.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<PasswordText>,
    /// Whether it must be changed before it gives a token; false if absent.
    must_change_password: Option<bool>,
    person_name: Option<String>,
    email: Option<String>,
    /// `member` if absent.
    role: Option<RoleWord>,
    /// `active` if absent.
    status: Option<UseStatus>,
    /// The ids of the units the user works in.
    #[schema(value_type = Option<Vec<String>>)]
    units: Option<Vec<IdText<UnitId>>>,
    /// The id of one of them; the first if absent; null for none.
    #[schema(value_type = Option<String>)]
    #[serde(default, deserialize_with = "given")]
    default_unit: Option<Option<IdText<UnitId>>>,
}

impl From<ImportedUserBody> for ImportedUser {
    fn from(body: ImportedUserBody) -> Self {
        let user = NewUser {
            id: body.id.map(|id| id.0),
            username: body.username,
            person_name: body.person_name,
            email: body.email,
            role: body.role.map_or(Role::Member, Into::into),
            status: body.status.map_or(Status::Active, Into::into),
            units: body.units.unwrap_or_default().into_iter().map(|unit| unit.0).collect(),
            default_unit: body.default_unit.flatten().map(|unit| unit.0),
            password: body.password.map(|password| password.0),
            must_change_password: body.must_change_password.unwrap_or(false),
        };
        let password_hash = body.password_hash.map(|hash| hash.0);
        Self { user, has_no_default_unit: matches!(body.default_unit, Some(None)), password_hash }
    }
}

/// Users to be brought in.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "the document alone needs it: what is wrong with one user must not harm the others"
)]
pub struct ImportBody {
    /// Up to 1000 users.
    #[schema(max_items = 1000)]
    users: Vec<ImportedUserBody>,
}

/// What became of users who were to be brought in.
#[derive(Serialize, ToSchema)]
pub struct ImportView {
    /// How many were created.
    pub created: usize,
    /// How many were there already.
    pub present: usize,
    /// Those who were not created, in their order.
    pub rejected: Vec<RejectedView>,
}

/// A user who was not created.
#[derive(Serialize, ToSchema)]
pub struct RejectedView {
    /// The place in the body, from 0.
    index: usize,
    /// The stable code, as a problem document has it.
    code: &'static str,
    /// The member at fault, where there is one.
    member: Option<String>,
    /// One sentence that says what to do.
    detail: String,
}

impl RejectedView {
    /// What was wrong with the user at this place.
    pub fn new(index: usize, error: &ApiError) -> Self {
        let member = error.parameter().map(str::to_owned);
        Self { index, code: error.code().0, member, detail: error.message() }
    }

    /// The place in the body.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// A change of a user: what is absent stays. The password has a path of its own.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatchBody {
    username: Option<String>,
    /// Null removes it.
    #[schema(value_type = Option<String>)]
    #[serde(default, deserialize_with = "given")]
    person_name: Option<Option<String>>,
    /// Null removes it.
    #[schema(value_type = Option<String>)]
    #[serde(default, deserialize_with = "given")]
    email: Option<Option<String>>,
    role: Option<RoleWord>,
    /// `disabled` ends the user's tokens.
    status: Option<UseStatus>,
    /// The ids of all units the user works in. Taking one away ends the user's tokens.
    #[schema(value_type = Option<Vec<String>>)]
    units: Option<Vec<IdText<UnitId>>>,
    /// The id of one of the units; null for none.
    #[schema(value_type = Option<String>)]
    #[serde(default, deserialize_with = "given")]
    default_unit: Option<Option<IdText<UnitId>>>,
}

impl From<UserPatchBody> for UserPatch {
    fn from(body: UserPatchBody) -> Self {
        Self {
            username: body.username,
            person_name: body.person_name,
            email: body.email,
            role: body.role.map(Into::into),
            status: body.status.map(Into::into),
            units: body.units.map(|units| units.into_iter().map(|unit| unit.0).collect()),
            default_unit: body.default_unit.map(|unit| unit.map(|unit| unit.0)),
        }
    }
}

/// A new password for a user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordBody {
    /// The password; one is generated and answered if absent.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<PasswordText>,
    /// Whether it must be changed before it gives a token; true if absent.
    must_change: Option<bool>,
}

impl From<PasswordBody> for PasswordReset {
    fn from(body: PasswordBody) -> Self {
        Self {
            password: body.password.map(|password| password.0),
            must_change: body.must_change.unwrap_or(true),
        }
    }
}

/// What became of a password.
#[derive(Serialize, ToSchema)]
pub struct PasswordView {
    /// The password that was generated, shown this once; null if it was given.
    pub password: Option<String>,
}

/// What a Web API key is for.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClassificationWord {
    /// Systems talk to each other with it.
    SystemicKey,
    /// It sits in an application that consumers have in their hands; its tokens never manage anything.
    ConsumerApplicationKey,
}

impl From<ClassificationWord> for Classification {
    fn from(word: ClassificationWord) -> Self {
        match word {
            ClassificationWord::SystemicKey => Self::SystemicKey,
            ClassificationWord::ConsumerApplicationKey => Self::ConsumerApplicationKey,
        }
    }
}

impl From<Classification> for ClassificationWord {
    fn from(classification: Classification) -> Self {
        match classification {
            Classification::SystemicKey => Self::SystemicKey,
            Classification::ConsumerApplicationKey => Self::ConsumerApplicationKey,
        }
    }
}

/// A Web API key.
#[derive(Serialize, ToSchema)]
pub struct KeyView {
    id: String,
    name: String,
    /// The id of the user for whom its tokens speak.
    user: String,
    classification: ClassificationWord,
    status: UseStatus,
    /// Whether it may introspect tokens.
    verifier: bool,
    /// From where it is accepted; from everywhere if empty.
    allowed_addresses: Vec<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Rfc3339>,
    /// When any of its secrets was last used, up to half a minute late.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Rfc3339>,
    /// From where.
    last_used_from: Option<String>,
    /// The secret, shown once: where it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// The last four characters of the secret in use.
    secret_hint: Option<String>,
    /// The secret in use, and those that it replaced.
    secrets: Vec<SecretView>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Rfc3339,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Rfc3339,
}

/// What is known of a secret of a Web API key.
#[derive(Serialize, ToSchema)]
pub struct SecretView {
    /// Its last four characters.
    hint: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Rfc3339,
    /// The time from which it is no longer accepted; null for the one in use.
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Rfc3339>,
    /// When it was last used, up to half a minute late.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Rfc3339>,
    /// From where.
    last_used_from: Option<String>,
}

impl From<KeyDetails> for KeyView {
    fn from(details: KeyDetails) -> Self {
        let KeyDetails { key: stored, secrets } = details;
        let key = stored.value;
        let last_used = secrets.iter().filter(|secret| secret.last_used_at.is_some());
        let last_used = last_used.max_by_key(|secret| secret.last_used_at);
        Self {
            id: key.id.to_string(),
            name: key.name,
            user: key.user.to_string(),
            classification: key.classification.into(),
            status: key.status.into(),
            verifier: key.verifier,
            allowed_addresses: key.allowed_addresses.iter().map(ToString::to_string).collect(),
            expires_at: key.expires_at.map(Rfc3339),
            last_used_at: last_used.and_then(|secret| secret.last_used_at).map(Rfc3339),
            last_used_from: last_used.and_then(|secret| secret.last_used_from).map(|from| from.to_string()),
            secret: None,
            secret_hint: secrets.first().and_then(|secret| secret.hint.clone()),
            secrets: secrets
                .into_iter()
                .map(|secret| SecretView {
                    hint: secret.hint,
                    created_at: Rfc3339(secret.created_at),
                    ends_at: secret.ends_at.map(Rfc3339),
                    last_used_at: secret.last_used_at.map(Rfc3339),
                    last_used_from: secret.last_used_from.map(|from| from.to_string()),
                })
                .collect(),
            created_at: Rfc3339(stored.created_at),
            updated_at: Rfc3339(stored.updated_at),
        }
    }
}

impl From<RotatedKey> for KeyView {
    fn from(rotated: RotatedKey) -> Self {
        let secret = rotated.secret.map(|secret| secret.expose().to_owned());
        Self { secret, ..rotated.details.into() }
    }
}

/// A Web API key to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKeyBody {
    /// Its id, if it has one elsewhere already.
    #[schema(value_type = Option<String>)]
    id: Option<IdText<KeyId>>,
    /// What people call it.
    name: String,
    /// The id of the user for whom its tokens speak.
    #[schema(value_type = String)]
    user: IdText<UserId>,
    /// `SYSTEMIC_KEY` if absent.
    classification: Option<ClassificationWord>,
    /// `active` if absent.
    status: Option<UseStatus>,
    /// Whether it may introspect tokens; false if absent.
    #[serde(default)]
    verifier: bool,
    /// Addresses, networks such as `10.0.0.0/8`, or patterns such as `10.0.*.*`; from everywhere if absent.
    #[schema(value_type = Vec<String>)]
    #[serde(default)]
    allowed_addresses: Vec<NetworkText>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<TimeText>,
    /// The secret, if it is brought in from elsewhere; at least 16 characters.
    #[schema(value_type = Option<String>, format = Password)]
    secret: Option<KeyText>,
}

impl From<NewKeyBody> for NewKey {
    fn from(body: NewKeyBody) -> Self {
        Self {
            id: body.id.map(|id| id.0),
            user: body.user.0,
            name: body.name,
            classification: body.classification.map_or(Classification::SystemicKey, Into::into),
            status: body.status.map_or(Status::Active, Into::into),
            verifier: body.verifier,
            allowed_addresses: body.allowed_addresses.into_iter().map(|network| network.0).collect(),
            expires_at: body.expires_at.map(|time| time.0),
            secret: body.secret.map(|secret| secret.0),
        }
    }
}

/// A change of a Web API key: what is absent stays. Its user stays for good.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyPatchBody {
    name: Option<String>,
    classification: Option<ClassificationWord>,
    /// `disabled` ends its tokens.
    status: Option<UseStatus>,
    verifier: Option<bool>,
    #[schema(value_type = Option<Vec<String>>)]
    allowed_addresses: Option<Vec<NetworkText>>,
    /// Null for none.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "given")]
    expires_at: Option<Option<TimeText>>,
}

impl From<KeyPatchBody> for KeyPatch {
    fn from(body: KeyPatchBody) -> Self {
        let networks = |networks: Vec<NetworkText>| networks.into_iter().map(|network| network.0).collect();
        Self {
            name: body.name,
            classification: body.classification.map(Into::into),
            status: body.status.map(Into::into),
            verifier: body.verifier,
            allowed_addresses: body.allowed_addresses.map(networks),
            expires_at: body.expires_at.map(|time| time.map(|time| time.0)),
        }
    }
}

/// The replacement of a key's secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotationBody {
    /// How long the secret until now is still accepted, such as `24h`, which is what absence means. `0s` ends it, and
    /// the key's tokens with it.
    #[schema(value_type = Option<String>, examples("24h"))]
    overlap: Option<DurationText>,
    /// The new secret, if it is brought in from elsewhere; at least 16 characters.
    #[schema(value_type = Option<String>, format = Password)]
    secret: Option<KeyText>,
}

impl From<RotationBody> for Rotation {
    fn from(body: RotationBody) -> Self {
        const USUALLY: Duration = Duration::from_secs(24 * 3600);
        Self {
            overlap: body.overlap.map_or(USUALLY, |overlap| overlap.0),
            secret: body.secret.map(|secret| secret.0),
        }
    }
}

/// A session: what stands behind a token.
#[derive(Serialize, ToSchema)]
pub struct SessionView {
    /// Half of the token's digest; the token cannot be told from it.
    id: String,
    /// The id of the user.
    user: String,
    username: String,
    /// The id of the unit.
    unit: String,
    unit_name: String,
    /// `password` or `web_api_key`.
    method: &'static str,
    /// The id of the Web API key, if it was got with one.
    key: Option<String>,
    /// From where it was got.
    address: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    issued_at: Rfc3339,
    #[schema(value_type = String, format = DateTime)]
    last_used_at: Rfc3339,
    /// When it ends if it is not used again.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Rfc3339,
    /// As `issued_at`.
    #[schema(value_type = String, format = DateTime)]
    created_at: Rfc3339,
    /// As `last_used_at`.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Rfc3339,
}

impl From<SessionDetails> for SessionView {
    fn from(SessionDetails { live, address }: SessionDetails) -> Self {
        let identity = &live.identity;
        Self {
            id: live.id.to_string(),
            user: identity.user.to_string(),
            username: identity.username.clone(),
            unit: identity.unit.to_string(),
            unit_name: identity.unit_name.clone(),
            method: identity.method.as_str(),
            key: match identity.method {
                Method::Password => None,
                Method::WebApiKey(key) => Some(key.to_string()),
            },
            address: address.map(|address| address.to_string()),
            issued_at: Rfc3339(live.issued_at),
            last_used_at: Rfc3339(live.last_used_at),
            expires_at: Rfc3339(live.expires_at),
            created_at: Rfc3339(live.issued_at),
            updated_at: Rfc3339(live.last_used_at),
        }
    }
}

/// Which sessions to end: exactly one of the members.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndBody {
    /// The id of one session.
    #[schema(value_type = Option<String>)]
    session: Option<IdText<SessionId>>,
    /// The id of a user.
    #[schema(value_type = Option<String>)]
    user: Option<IdText<UserId>>,
    /// The id of a unit.
    #[schema(value_type = Option<String>)]
    unit: Option<IdText<UnitId>>,
    /// The id of a Web API key.
    #[schema(value_type = Option<String>)]
    key: Option<IdText<KeyId>>,
    /// True for all sessions of the organisation.
    all: Option<bool>,
}

impl TryFrom<EndBody> for WhichSessions {
    type Error = ApiError;

    fn try_from(body: EndBody) -> Result<Self, ApiError> {
        let named = [
            body.session.map(|id| Self::Session(id.0)),
            body.user.map(|id| Self::User(id.0)),
            body.unit.map(|id| Self::Unit(id.0)),
            body.key.map(|id| Self::Key(id.0)),
            body.all.filter(|all| *all).map(|_| Self::All),
        ];
        let mut named = named.into_iter().flatten();
        match (named.next(), named.next()) {
            (Some(which), None) => Ok(which),
            (None, _) => Err(ApiError::MissingParameter(
                "session".into(),
                "send one of 'session', 'user', 'unit', 'key' or '\"all\": true'",
            )),
            (Some(_), Some(_)) => Err(ApiError::InvalidParameter(
                "session".into(),
                "is not the only one; send one of 'session', 'user', 'unit', 'key' and 'all'".into(),
            )),
        }
    }
}

/// The rules of an organisation as they hold, by name.
#[derive(Serialize, ToSchema)]
pub struct RulesView {
    rules: BTreeMap<&'static str, RuleView>,
}

/// A rule as it holds.
#[derive(Serialize, ToSchema)]
pub struct RuleView {
    /// A number, a truth value, a duration as text, `never`, or a list of addresses.
    value: Value,
    /// `default`, `configuration` (of the server) or `organisation` (its own).
    source: &'static str,
}

impl From<&RulesInForce> for RulesView {
    fn from(in_force: &RulesInForce) -> Self {
        let view = |value: &RuleValue| match value {
            RuleValue::Number(number) => Value::from(*number),
            RuleValue::Flag(flag) => Value::from(*flag),
            RuleValue::Networks(networks) => networks.iter().map(ToString::to_string).collect(),
            RuleValue::Time(_) | RuleValue::Never => Value::from(value.to_string()),
        };
        let rules = in_force.rules.iter().map(|rule| {
            let source = match rule.source {
                Source::Default => "default",
                Source::Configuration => "configuration",
                Source::Organisation => "organisation",
            };
            (rule.rule.as_str(), RuleView { value: view(&rule.value), source })
        });
        Self { rules: rules.collect() }
    }
}

/// Rules to be overridden, by name; null gives one back to the server's configuration. What is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object, example = json!({"passwords.min_length": 20, "tokens.password_idle": "30m", "addresses.allow": ["10.0.*.*"], "lockout.failures": null}))]
pub struct RulesPatchBody(Map<String, Value>);

impl TryFrom<RulesPatchBody> for BTreeMap<Rule, Option<RuleValue>> {
    type Error = ApiError;

    fn try_from(body: RulesPatchBody) -> Result<Self, ApiError> {
        body.0.into_iter().map(|(name, value)| read_rule(&name, &value)).collect()
    }
}

fn read_rule(name: &str, value: &Value) -> Result<(Rule, Option<RuleValue>), ApiError> {
    let invalid = |problem: String| {
        let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        ApiError::InvalidParameter(name.into(), problem)
    };
    let Some(rule) = Rule::find(name) else {
        let known: Vec<_> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
        return Err(invalid(format!("is no rule; the rules are {}", known.join(", "))));
    };
    let text = match value {
        Value::Null => return Ok((rule, None)),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(items) if rule.is_list() && items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        Value::Array(_) | Value::Object(_) => "[]".to_owned(),
    };
    let value = rule.read(&text).map_err(|error| invalid(format!("is not as it should be: {error}")))?;
    Ok((rule, Some(value)))
}
