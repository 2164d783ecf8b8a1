//! Who the stores' tests are about: the company ACME with the units sales and lab, where zoe works, who has a Web API
//! key; and the company Globex, which is another. The changes that make them, and the entries of their logins.

#![expect(missing_docs, reason = "the names say it, and only tests read them")]

use std::time::Duration;

use doorward_domain::{
    audit::{AuditRecord, Event, Origin, Reason},
    change::{Change, NewPassword},
    clock::Timestamp,
    credential::{KeyDigest, TokenDigest},
    directory::{Role, Status},
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::{Entry, Seen},
    name::{CanonicalName, Name},
    passwords::PasswordHash,
    resource::{Classification, Key, NewSecret, Organisation, Unit, User},
    session::{Departed, Identity, Method, Scope, Session, SessionNumber},
    session_table::{SHARDS, SessionTable},
};

pub const ACME: OrganisationId = OrganisationId::from_bytes([1; 16]);
pub const GLOBEX: OrganisationId = OrganisationId::from_bytes([2; 16]);
pub const SALES: UnitId = UnitId::from_bytes([11; 16]);
pub const LAB: UnitId = UnitId::from_bytes([12; 16]);
pub const GLOBEX_UNIT: UnitId = UnitId::from_bytes([13; 16]);
pub const ZOE: UserId = UserId::from_bytes([21; 16]);
pub const GLOBEX_USER: UserId = UserId::from_bytes([22; 16]);
pub const KEY: KeyId = KeyId::from_bytes([31; 16]);
pub const NOBODY: [u8; 16] = [99; 16];

pub const ZERO: SessionNumber = SessionNumber(0);
pub const NOTHING_ENDED: Seen = Seen { organisation: ZERO, unit: ZERO, user: ZERO, key: None };
pub const KEY_NOT_ENDED: Seen = Seen { key: Some(ZERO), ..NOTHING_ENDED };
pub const HOUR: Duration = Duration::from_secs(3600);

/// The changes that make both companies.
pub fn both_companies() -> [Change; 8] {
    [
        create_organisation(ACME, "ACME", false),
        create_unit(SALES, ACME, "Sales"),
        create_unit(LAB, ACME, "Lab"),
        create_user(ZOE, ACME, "Zoë", &[SALES, LAB]),
        create_key(KEY, ACME, ZOE, 31),
        create_organisation(GLOBEX, "Globex", false),
        create_unit(GLOBEX_UNIT, GLOBEX, "Sales"),
        create_user(GLOBEX_USER, GLOBEX, "Zoë", &[GLOBEX_UNIT]),
    ]
}

pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + millis)
}

pub fn audit(event: Event) -> AuditRecord {
    AuditRecord::new(at(0), event, Reason::Ok, &Origin::default())
}

pub fn canonical(name: &str) -> CanonicalName {
    CanonicalName::new(name).unwrap()
}

pub fn hash(text: &str) -> PasswordHash {
    PasswordHash::from_stored(text.into())
}

pub fn digest(token: u8) -> TokenDigest {
    TokenDigest::from_bytes([token; 32])
}

pub fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

pub fn password(text: &str) -> NewPassword {
    NewPassword { hash: hash(text), must_change: false }
}

pub fn organisation(id: OrganisationId, code: &str) -> Organisation {
    let (code, shown) = (name(code), format!("{code} Ltd"));
    Organisation { id, code, name: shown, is_operator: false, status: Status::Active }
}

pub fn unit(id: UnitId, shown: &str) -> Unit {
    Unit { id, name: name(shown), status: Status::Active }
}

/// A user whose default unit is the first.
pub fn user(id: UserId, username: &str, units: &[UnitId]) -> User {
    User {
        id,
        username: name(username),
        person_name: None,
        email: None,
        role: Role::Member,
        status: Status::Active,
        units: units.into(),
        default_unit: units.first().copied(),
    }
}

pub fn key(id: KeyId, user: UserId) -> Key {
    Key {
        id,
        user,
        name: "billing".into(),
        classification: Classification::SystemicKey,
        status: Status::Active,
        verifier: false,
        allowed_addresses: Vec::new(),
        expires_at: Some(at(5)),
    }
}

pub fn key_digest(secret: u8) -> KeyDigest {
    KeyDigest::from_bytes([secret; 32])
}

pub fn secret(secret: u8) -> NewSecret {
    NewSecret { digest: key_digest(secret), hint: format!("..{secret:02}") }
}

pub fn create_organisation(id: OrganisationId, code: &str, is_operator: bool) -> Change {
    Change::CreateOrganisation(Organisation { is_operator, ..organisation(id, code) })
}

pub fn create_unit(id: UnitId, organisation: OrganisationId, name: &str) -> Change {
    Change::CreateUnit { organisation, unit: unit(id, name) }
}

pub fn create_user(id: UserId, organisation: OrganisationId, name: &str, units: &[UnitId]) -> Change {
    Change::CreateUser { organisation, user: user(id, name, units), password: Some(password("first")) }
}

pub fn create_key(id: KeyId, organisation: OrganisationId, user: UserId, digest: u8) -> Change {
    Change::CreateKey { organisation, key: key(id, user), secret: secret(digest) }
}

pub fn update_organisation(organisation: Organisation) -> Change {
    Change::UpdateOrganisation { organisation, expected: None }
}

pub fn update_unit(organisation: OrganisationId, unit: Unit) -> Change {
    Change::UpdateUnit { organisation, unit, expected: None }
}

pub fn update_user(organisation: OrganisationId, user: User) -> Change {
    Change::UpdateUser { organisation, user, expected: None, ends_sessions: false }
}

pub fn update_key(organisation: OrganisationId, key: Key) -> Change {
    Change::UpdateKey { organisation, key, expected: None }
}

pub fn zoe() -> User {
    user(ZOE, "Zoë", &[SALES, LAB])
}

/// Gives something of ACME's this status and leaves it otherwise as `company` made it.
pub fn set_status(scope: Scope, status: Status) -> Change {
    match scope {
        Scope::Organisation(id) => update_organisation(Organisation { status, ..organisation(id, "ACME") }),
        Scope::Unit(id) => {
            update_unit(ACME, Unit { status, ..unit(id, if id == LAB { "Lab" } else { "Sales" }) })
        }
        Scope::User(_) => update_user(ACME, User { status, ..zoe() }),
        Scope::Key(user, id) => update_key(ACME, Key { status, ..key(id, user) }),
    }
}

/// Replaces the secret of zoe's key by 41.
pub fn rotate(overlap_until: Option<Timestamp>) -> Change {
    let (organisation, user, id, secret) = (ACME, ZOE, KEY, secret(41));
    Change::RotateKey { organisation, user, id, secret, overlap_until, expected: None }
}

pub fn end_sessions(organisation: OrganisationId, scope: Scope) -> Change {
    Change::EndSessions { organisation, scope }
}

pub fn set_password(organisation: OrganisationId, user: UserId, text: &str) -> Change {
    Change::SetPassword { organisation, user, password: password(text), replaces: None }
}

/// The session of a token of zoe's in the sales unit, by password or by key.
pub fn issue_by(method: Method, token: u8, seen: Seen) -> Entry {
    Entry::Issue {
        session: Session {
            digest: digest(token),
            issued_at: at(0),
            last_used_at: at(0),
            idle: Some(HOUR),
            ends_at: at(0).plus(24 * HOUR),
        },
        identity: Identity {
            organisation: ACME,
            organisation_code: "ACME".into(),
            is_operator: false,
            unit: SALES,
            unit_name: "Sales".into(),
            user: ZOE,
            username: "Zoë".into(),
            method,
        },
        seen,
        known: None,
        audit: audit(Event::PasswordLogin),
    }
}

pub fn issue(token: u8) -> Entry {
    issue_by(Method::Password, token, NOTHING_ENDED)
}

/// The use of a session, as the table tells the journal of it.
pub fn uses_of(number: SessionNumber, token: u8, time: Timestamp) -> Entry {
    let Entry::Issue { session, identity, .. } = issue(token) else { unreachable!() };
    let table = SessionTable::default();
    table.insert(number, &session, &identity);
    assert!(table.slide(&session.digest, time).is_some());
    Entry::Uses((0..SHARDS).flat_map(|shard| table.due_uses(shard, time, Duration::ZERO)).collect())
}

pub fn release(number: SessionNumber, token: u8) -> Entry {
    let session = digest(token).session();
    Entry::Release { number, session, last_used_at: at(0), audit: audit(Event::Release) }
}

pub fn forget(numbers: &[SessionNumber]) -> Entry {
    let departed = |number| Departed { number, organisation: Some(ACME), last_used_at: at(0) };
    Entry::Forget { sessions: numbers.iter().copied().map(departed).collect(), at: at(0) }
}

/// The entry of a change; what is new is recorded as such.
pub fn changed(change: Change) -> Entry {
    let is_new = matches!(
        change,
        Change::CreateOrganisation(_)
            | Change::CreateUnit { .. }
            | Change::CreateUser { .. }
            | Change::CreateKey { .. }
    );
    Entry::change(change, audit(if is_new { Event::Created } else { Event::Updated }))
}

/// The changes that give Globex many users, of whom every third is disabled and every fifth works in the lab too, and
/// their keys.
pub fn crowd() -> Vec<Change> {
    let lab = UnitId::from_bytes([14; 16]);
    let mut changes = vec![create_unit(lab, GLOBEX, "Lab")];
    for n in 0..60u8 {
        let prefix = ["ann", "ANNE", "bob", "Zo\u{eb}", "zoe\u{308}y", "50%", "a_b"][usize::from(n) % 7];
        let id = UserId::from_bytes([100 + n; 16]);
        let units: &[UnitId] = if n % 5 == 0 { &[GLOBEX_UNIT, lab] } else { &[GLOBEX_UNIT] };
        let mut change = create_user(id, GLOBEX, &format!("{prefix}{n:02}"), units);
        if let Change::CreateUser { user, .. } = &mut change {
            user.status = if n % 3 == 0 { Status::Disabled } else { Status::Active };
            user.email = Some(format!("Person{}@globex.example", n % 4));
        }
        changes.push(change);
        let key = KeyId::from_bytes([100 + n; 16]);
        changes.push(create_key(key, GLOBEX, id, 100 + n));
        let unit = UnitId::from_bytes([200 - n; 16]);
        changes.push(create_unit(unit, GLOBEX, &format!("{prefix} {n:02}")));
        let organisation = OrganisationId::from_bytes([200 - n; 16]);
        changes.push(create_organisation(organisation, &format!("{prefix}-{n:02}"), false));
    }
    changes
}
