//! Who lives in the tests' world.

use doorward_domain::{
    audit::{AuditRecord, Event, Origin, Reason},
    clock::Timestamp,
    credential::{Password, PlainKey},
    directory::{Change, Role},
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::Entry,
    name::CanonicalName,
    passwords::Argon2Cost,
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

    /// The entries that create it.
    pub fn entries(&self, is_operator: bool, cost: Argon2Cost, now: Timestamp) -> Vec<Entry> {
        let canonical = |name: &str| CanonicalName::new(name).expect("a name");
        let unit = |id, name: &str| Change::CreateUnit {
            id,
            organisation: self.id,
            name: name.into(),
            canonical: canonical(name),
        };
        let hash = cost.hash(&Password::parse(&self.password).expect("a password"), &SystemRandomness);
        let changes = [
            Change::CreateOrganisation {
                id: self.id,
                code: self.code.clone(),
                canonical: canonical(&self.code),
                is_operator,
            },
            unit(self.unit, "Markt & Müller 100%"),
            unit(self.other_unit, "Second"),
            Change::CreateUser {
                id: self.user,
                organisation: self.id,
                username: self.username.clone(),
                canonical: canonical(&self.username),
                role: Role::Administrator,
                units: vec![self.unit, self.other_unit],
                password_hash: hash.expect("a hash"),
            },
            Change::CreateKey {
                id: self.key_id,
                organisation: self.id,
                user: self.user,
                name: "Key".into(),
                digest: PlainKey::parse(&self.key).expect("a key").digest(),
                expires_at: None,
            },
        ];
        changes.map(|change| Entry::Change { change, audit: audit(now) }).into()
    }
}

/// A record for a change that a test makes.
pub fn audit(now: Timestamp) -> AuditRecord {
    AuditRecord::new(now, Event::Created, Reason::Ok, &Origin::default())
}
