//! The store against real files. Here: a company to work with, and what the tests have in common.

mod administering;
mod backing_up;
mod chains;
mod committing;
mod ended;
mod endings;
mod exporting;
mod faults;
mod listing;
mod migrating;
mod opening;
mod reading;
mod restoring;
mod upgrading;

use std::{path::Path, time::Duration};

use doorward_domain::{
    audit::{AuditRecord, Event, Origin, Reason},
    change::{Change, NewPassword},
    clock::Timestamp,
    credential::{KeyDigest, TokenDigest},
    directory::{Role, Status},
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::{Entry, Outcome, Seen, Unique},
    name::{CanonicalName, Name},
    passwords::PasswordHash,
    resource::{Classification, Key, NewSecret, Organisation, Unit, User},
    session::{Departed, Identity, Method, Scope, Session, SessionNumber},
    session_table::SessionTable,
};
use tempfile::TempDir;

use super::{Kind, SqliteStore};

const ACME: OrganisationId = OrganisationId::from_bytes([1; 16]);
const GLOBEX: OrganisationId = OrganisationId::from_bytes([2; 16]);
const SALES: UnitId = UnitId::from_bytes([11; 16]);
const LAB: UnitId = UnitId::from_bytes([12; 16]);
const GLOBEX_UNIT: UnitId = UnitId::from_bytes([13; 16]);
const ZOE: UserId = UserId::from_bytes([21; 16]);
const GLOBEX_USER: UserId = UserId::from_bytes([22; 16]);
const KEY: KeyId = KeyId::from_bytes([31; 16]);
const NOBODY: [u8; 16] = [99; 16];

const ZERO: SessionNumber = SessionNumber(0);
const NOTHING_ENDED: Seen = Seen { organisation: ZERO, unit: ZERO, user: ZERO, key: None };
const KEY_NOT_ENDED: Seen = Seen { key: Some(ZERO), ..NOTHING_ENDED };
const HOUR: Duration = Duration::from_secs(3600);

/// A new store with the company ACME (units sales and lab, user zoe, who has a key) and the company Globex.
fn company() -> (TempDir, SqliteStore) {
    let folder = TempDir::new().unwrap();
    let mut store = SqliteStore::create(&folder.path().join("data"), Kind::Real, &[]).unwrap();
    let acme = [
        create_organisation(ACME, "ACME", false),
        create_unit(SALES, ACME, "Sales"),
        create_unit(LAB, ACME, "Lab"),
        create_user(ZOE, ACME, "Zoë", &[SALES, LAB]),
        create_key(KEY, ACME, ZOE, 31),
        create_organisation(GLOBEX, "Globex", false),
        create_unit(GLOBEX_UNIT, GLOBEX, "Sales"),
        create_user(GLOBEX_USER, GLOBEX, "Zoë", &[GLOBEX_UNIT]),
    ];
    assert_eq!(change_all(&mut store, &acme), [Outcome::Committed(None); 8]);
    (folder, store)
}

fn data(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("data")
}

fn reopen(store: SqliteStore, folder: &TempDir) -> SqliteStore {
    drop(store);
    SqliteStore::open(&data(folder)).unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + millis)
}

fn audit(event: Event) -> AuditRecord {
    AuditRecord::new(at(0), event, Reason::Ok, &Origin::default())
}

fn canonical(name: &str) -> CanonicalName {
    CanonicalName::new(name).unwrap()
}

fn hash(text: &str) -> PasswordHash {
    PasswordHash::from_stored(text.into())
}

fn digest(token: u8) -> TokenDigest {
    TokenDigest::from_bytes([token; 32])
}

fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

fn password(text: &str) -> NewPassword {
    NewPassword { hash: hash(text), must_change: false }
}

fn organisation(id: OrganisationId, code: &str) -> Organisation {
    let (code, shown) = (name(code), format!("{code} Ltd"));
    Organisation { id, code, name: shown, is_operator: false, status: Status::Active }
}

fn unit(id: UnitId, shown: &str) -> Unit {
    Unit { id, name: name(shown), status: Status::Active }
}

/// A user whose default unit is the first.
fn user(id: UserId, username: &str, units: &[UnitId]) -> User {
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

fn key(id: KeyId, user: UserId) -> Key {
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

fn key_digest(secret: u8) -> KeyDigest {
    KeyDigest::from_bytes([secret; 32])
}

fn secret(secret: u8) -> NewSecret {
    NewSecret { digest: key_digest(secret), hint: format!("..{secret:02}") }
}

fn create_organisation(id: OrganisationId, code: &str, is_operator: bool) -> Change {
    Change::CreateOrganisation(Organisation { is_operator, ..organisation(id, code) })
}

fn create_unit(id: UnitId, organisation: OrganisationId, name: &str) -> Change {
    Change::CreateUnit { organisation, unit: unit(id, name) }
}

fn create_user(id: UserId, organisation: OrganisationId, name: &str, units: &[UnitId]) -> Change {
    Change::CreateUser { organisation, user: user(id, name, units), password: Some(password("first")) }
}

fn create_key(id: KeyId, organisation: OrganisationId, user: UserId, digest: u8) -> Change {
    Change::CreateKey { organisation, key: key(id, user), secret: secret(digest) }
}

fn update_organisation(organisation: Organisation) -> Change {
    Change::UpdateOrganisation { organisation, expected: None }
}

fn update_unit(organisation: OrganisationId, unit: Unit) -> Change {
    Change::UpdateUnit { organisation, unit, expected: None }
}

fn update_user(organisation: OrganisationId, user: User) -> Change {
    Change::UpdateUser { organisation, user, expected: None, ends_sessions: false }
}

fn update_key(organisation: OrganisationId, key: Key) -> Change {
    Change::UpdateKey { organisation, key, expected: None }
}

fn zoe() -> User {
    user(ZOE, "Zoë", &[SALES, LAB])
}

/// Gives something of ACME's this status and leaves it otherwise as [`company`] made it.
fn set_status(scope: Scope, status: Status) -> Change {
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
fn rotate(overlap_until: Option<Timestamp>) -> Change {
    let (organisation, user, id, secret) = (ACME, ZOE, KEY, secret(41));
    Change::RotateKey { organisation, user, id, secret, overlap_until, expected: None }
}

fn end_sessions(organisation: OrganisationId, scope: Scope) -> Change {
    Change::EndSessions { organisation, scope }
}

fn set_password(organisation: OrganisationId, user: UserId, text: &str) -> Change {
    Change::SetPassword { organisation, user, password: password(text), replaces: None }
}

/// The session of a token of zoe's in the sales unit, by password or by key.
fn issue_by(method: Method, token: u8, seen: Seen) -> Entry {
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

fn issue(token: u8) -> Entry {
    issue_by(Method::Password, token, NOTHING_ENDED)
}

fn release(number: u64) -> Entry {
    let (number, session) = (SessionNumber(number), digest(0).session());
    Entry::Release { number, session, last_used_at: at(0), audit: audit(Event::Release) }
}

fn forget(numbers: &[u64]) -> Entry {
    let departed =
        |number| Departed { number: SessionNumber(number), organisation: ACME, last_used_at: at(0) };
    Entry::Forget { sessions: numbers.iter().copied().map(departed).collect(), at: at(0) }
}

/// The entry of a change; what is new is recorded as such.
fn changed(change: Change) -> Entry {
    let is_new = matches!(
        change,
        Change::CreateOrganisation(_)
            | Change::CreateUnit { .. }
            | Change::CreateUser { .. }
            | Change::CreateKey { .. }
    );
    Entry::change(change, audit(if is_new { Event::Created } else { Event::Updated }))
}

fn apply(store: &mut SqliteStore, entry: Entry) -> Outcome {
    store.apply(&[entry]).unwrap()[0]
}

fn change(store: &mut SqliteStore, change: Change) -> Outcome {
    apply(store, changed(change))
}

fn change_all(store: &mut SqliteStore, changes: &[Change]) -> Vec<Outcome> {
    store.apply(&changes.iter().cloned().map(changed).collect::<Vec<_>>()).unwrap()
}

fn numbered(number: u64) -> Outcome {
    Outcome::Committed(Some(SessionNumber(number)))
}

/// The tokens that would be live if the server were started at `now`.
fn live_tokens(store: &SqliteStore, now: Timestamp) -> Vec<u8> {
    let table = SessionTable::default();
    let loaded = store.load(&table, now, &mut |_, _| {}).unwrap();
    let live: Vec<_> = (0..=255).filter(|token| table.peek(&digest(*token), now).is_some()).collect();
    assert_eq!(loaded, live.len() as u64);
    live
}

/// Gives a database a schema that only the next version knows.
fn make_newer(connection: &rusqlite::Connection) {
    let newer = "INSERT INTO refinery_schema_history SELECT max(version) + 1, name, applied_on, checksum
                 FROM refinery_schema_history";
    connection.execute(newer, []).unwrap();
}

fn count(store: &SqliteStore, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    store.writer.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// A text for the operator: one line, with the path.
fn assert_readable(text: &str, path: &Path) {
    let path = path.to_str().unwrap();
    assert!(text.contains(path) && !text.contains('\n') && !text.contains("  "), "{text}");
}
