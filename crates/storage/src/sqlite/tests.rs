//! The store against real files. Here: a company to work with, and what the tests have in common.

mod committing;
mod endings;
mod faults;
mod opening;
mod reading;

use std::{path::Path, time::Duration};

use doorward_domain::{
    audit::{AuditRecord, Event, Origin, Reason},
    clock::Timestamp,
    credential::{KeyDigest, TokenDigest},
    directory::{Change, Role, Status},
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::{Entry, Outcome, Seen},
    name::CanonicalName,
    passwords::PasswordHash,
    session::{Identity, Method, Scope, Session, SessionNumber},
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

fn create_organisation(id: OrganisationId, code: &str, is_operator: bool) -> Change {
    Change::CreateOrganisation { id, code: code.into(), canonical: canonical(code), is_operator }
}

fn create_unit(id: UnitId, organisation: OrganisationId, name: &str) -> Change {
    Change::CreateUnit { id, organisation, name: name.into(), canonical: canonical(name) }
}

fn create_user(id: UserId, organisation: OrganisationId, name: &str, units: &[UnitId]) -> Change {
    Change::CreateUser {
        id,
        organisation,
        username: name.into(),
        canonical: canonical(name),
        role: Role::Member,
        units: units.into(),
        password_hash: hash("first"),
    }
}

fn create_key(id: KeyId, organisation: OrganisationId, user: UserId, digest: u8) -> Change {
    let digest = KeyDigest::from_bytes([digest; 32]);
    Change::CreateKey { id, organisation, user, name: "billing".into(), digest, expires_at: Some(at(5)) }
}

fn set_status(organisation: OrganisationId, scope: Scope, status: Status) -> Change {
    Change::SetStatus { organisation, scope, status }
}

fn set_password(organisation: OrganisationId, user: UserId, text: &str) -> Change {
    Change::SetPassword { organisation, user, hash: hash(text), must_change: false }
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
        audit: audit(Event::PasswordLogin),
    }
}

fn issue(token: u8) -> Entry {
    issue_by(Method::Password, token, NOTHING_ENDED)
}

fn release(number: u64) -> Entry {
    Entry::Release { number: SessionNumber(number), digest: digest(0), audit: audit(Event::Release) }
}

fn apply(store: &mut SqliteStore, entry: Entry) -> Outcome {
    store.apply(&[entry]).unwrap()[0]
}

fn change(store: &mut SqliteStore, change: Change) -> Outcome {
    apply(store, Entry::Change { change, audit: audit(Event::StatusSet) })
}

fn change_all(store: &mut SqliteStore, changes: &[Change]) -> Vec<Outcome> {
    let entries: Vec<_> = changes
        .iter()
        .map(|change| Entry::Change { change: change.clone(), audit: audit(Event::Created) })
        .collect();
    store.apply(&entries).unwrap()
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

fn count(store: &SqliteStore, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    store.writer.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// A text for the operator: one line, with the path.
fn assert_readable(text: &str, path: &Path) {
    let path = path.to_str().unwrap();
    assert!(text.contains(path) && !text.contains('\n') && !text.contains("  "), "{text}");
}
