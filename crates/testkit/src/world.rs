//! Who lives in the tests' world.

use doorward_domain::{
    audit::{AuditRecord, Event, Origin, Reason},
    change::{Change, NewPassword},
    clock::Timestamp,
    credential::{Password, PlainKey},
    directory::{Role, Status},
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::Entry,
    name::Name,
    passwords::{Argon2Cost, PasswordHash},
    resource::{self, Classification, Key, NewSecret, Unit, User},
};

use crate::SystemRandomness;

/// An organisation with two units, a user who works in both, and a Web API key of the user.
#[derive(Clone, Debug)]
pub struct Organisation {
    /// The id.
    pub id: OrganisationId,
    /// The code.
    pub code: String,
    /// The user's default unit.
    pub unit: UnitId,
    /// The user's other unit.
    pub other_unit: UnitId,
    /// The user.
    pub user: UserId,
    /// The username.
    pub username: String,
    /// The password.
    pub password: String,
    /// The id of the key.
    pub key_id: KeyId,
    /// The key.
    pub key: String,
}

/// The values of the reference's examples.
#[derive(Clone, Copy, Debug)]
pub struct Demo;

impl Demo {
    /// Organisation code.
    pub const ORGANISATION: &str = "CRMDEMO";
    /// Default unit.
    pub const UNIT: &str = "EE63A82C4FEBE02FF34E90DD1EBA5ABE";
    /// Username.
    pub const USERNAME: &str = "mpadministrator";
    /// Password.
    pub const PASSWORD: &str = "1234";
    /// Web API key.
    pub const KEY: &str = "EE73C0AE64524371B5DDEFF5F7BB2192";
}

impl Organisation {
    /// The organisation of the reference's examples.
    pub fn demo(now: Timestamp) -> Self {
        Self {
            unit: Demo::UNIT.parse().expect("a unit's id"),
            username: Demo::USERNAME.into(),
            password: Demo::PASSWORD.into(),
            key: Demo::KEY.into(),
            ..Self::new(Demo::ORGANISATION, now)
        }
    }

    /// An organisation with ids, a password and a key of its own.
    pub fn new(code: &str, now: Timestamp) -> Self {
        let random = &SystemRandomness;
        let key = PlainKey::generate(random).expect("randomness");
        Self {
            id: OrganisationId::generate(now, random).expect("randomness"),
            code: code.into(),
            unit: UnitId::generate(now, random).expect("randomness"),
            other_unit: UnitId::generate(now, random).expect("randomness"),
            user: UserId::generate(now, random).expect("randomness"),
            username: format!("user-of-{code}"),
            password: format!("password-of-{code}"),
            key_id: KeyId::generate(now, random).expect("randomness"),
            key: key.expose().to_owned(),
        }
    }

    /// The change that adds a member who works in the first unit and has no password.
    pub fn create_user(&self, username: &str) -> Change {
        self.create_user_with(username, None)
    }

    /// The change that adds a member who works in the first unit, with the hash of a password.
    pub fn create_user_with(&self, username: &str, hash: Option<PasswordHash>) -> Change {
        let user = User {
            id: UserId::generate(Timestamp::from_millis(0), &SystemRandomness).expect("randomness"),
            username: Name::new(username).expect("a name"),
            person_name: None,
            email: None,
            role: Role::Member,
            status: Status::Active,
            units: vec![self.unit],
            default_unit: Some(self.unit),
        };
        let password = hash.map(|hash| NewPassword { hash, must_change: false });
        Change::CreateUser { organisation: self.id, user, password }
    }

    /// The change that adds a Web API key to the user.
    pub fn create_key(&self, id: KeyId, secret: &str, expires_at: Option<Timestamp>) -> Change {
        let secret = PlainKey::parse(secret).expect("a key");
        Change::CreateKey {
            organisation: self.id,
            key: Key {
                id,
                user: self.user,
                name: "Key".into(),
                classification: Classification::SystemicKey,
                status: Status::Active,
                verifier: true,
                allowed_addresses: Vec::new(),
                expires_at,
            },
            secret: NewSecret { digest: secret.digest(), hint: secret.hint() },
        }
    }

    /// The entries that create it.
    pub fn entries(&self, is_operator: bool, cost: Argon2Cost, now: Timestamp) -> Vec<Entry> {
        let name = |text: &str| Name::new(text).expect("a name");
        let unit = |id, text: &str| Change::CreateUnit {
            organisation: self.id,
            unit: Unit { id, name: name(text), status: Status::Active },
        };
        let hash = cost.hash(&Password::parse(&self.password).expect("a password"), &SystemRandomness);
        let changes = [
            Change::CreateOrganisation(resource::Organisation {
                id: self.id,
                code: name(&self.code),
                name: self.code.clone(),
                is_operator,
                status: Status::Active,
            }),
            unit(self.unit, "Markt & Müller 100%"),
            unit(self.other_unit, "Second"),
            Change::CreateUser {
                organisation: self.id,
                user: User {
                    id: self.user,
                    username: name(&self.username),
                    person_name: None,
                    email: None,
                    role: Role::Administrator,
                    status: Status::Active,
                    units: vec![self.unit, self.other_unit],
                    default_unit: Some(self.unit),
                },
                password: Some(NewPassword { hash: hash.expect("a hash"), must_change: false }),
            },
            self.create_key(self.key_id, &self.key, None),
        ];
        changes.map(|change| Entry::change(change, audit(now))).into()
    }
}

/// A record for a change that a test makes.
pub fn audit(now: Timestamp) -> AuditRecord {
    AuditRecord::new(now, Event::Created, Reason::Ok, &Origin::default())
}
