//! Databases of earlier schemas.

use std::sync::Arc;

use doorward_domain::{
    catalogue::{Catalogue, OrganisationReference},
    directory::{Directory, NameLookup, Role},
    observer::NoObserver,
    resource::{Classification, Revision},
};
use refinery::Target;
use rusqlite::Connection;

use super::*;
use crate::{OpenError, UnitNames, UserWithHash, export_users, sqlite::schema::migrations};

/// A database as the first schema had it: ACME with a unit, a user, a key, and a session by password and one by key.
pub(super) fn first_schema(folder: &TempDir) {
    let mut connection = Connection::open(folder.path().join("doorward.db")).unwrap();
    connection.pragma_update(None, "application_id", 0x446f_6f72).unwrap();
    migrations::runner().set_target(Target::Version(1)).run(&mut connection).unwrap();
    let (acme, sales, zoe, key) = (ACME.to_bytes(), SALES.to_bytes(), ZOE.to_bytes(), KEY.to_bytes());
    let now = at(0).as_millis();
    let insert = |sql: &str, row: &[&dyn rusqlite::ToSql]| {
        assert_eq!(connection.execute(sql, row).unwrap(), 1);
    };
    insert("INSERT INTO journal_state VALUES (1, 3, ?1, 'real')", &[&now]);
    insert("INSERT INTO organisation VALUES (?1, 'ACME', 'acme', 0, 'active', 0, ?2, ?2)", &[&acme, &now]);
    insert("INSERT INTO unit VALUES (?1, ?2, 'Sales', 'sales', 'active', 0, ?3, ?3)", &[&sales, &acme, &now]);
    insert(
        "INSERT INTO user VALUES (?1, ?2, 'Zoë', 'zoë', 'administrator', 'active', 'first', 0, 0, ?3, ?4)",
        &[&zoe, &acme, &now, &(now + 7)],
    );
    insert("INSERT INTO membership VALUES (?1, ?2, ?3, 1)", &[&zoe, &sales, &acme]);
    insert(
        "INSERT INTO web_api_key VALUES (?1, ?2, ?3, 'billing', ?4, 'active', ?5, 0, ?6, ?6)",
        &[&key, &acme, &zoe, &[31; 32], &at(5).as_millis(), &now],
    );
    let end = at(0).plus(24 * HOUR).as_millis();
    for (number, key) in [(1, None), (2, Some(key))] {
        let token = [number as u8; 32];
        insert(
            "INSERT INTO session VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, ?7)",
            &[&number, &token, &zoe, &sales, &key, &now, &end],
        );
        insert("INSERT INTO session_use VALUES (?1, ?2)", &[&number, &now]);
    }
}

#[tokio::test]
async fn u1_data_of_the_first_schema_opens_and_tokens_survive() {
    let folder = TempDir::new().unwrap();
    first_schema(&folder);
    // Whoever only reads beside the server does not migrate.
    let nobody = |_: UserWithHash, _: &UnitNames| Ok::<_, OpenError>(());
    let error = export_users(folder.path(), &canonical("acme"), nobody).unwrap_err();
    assert!(matches!(error, OpenError::Older { found: 1, .. }), "{error}");
    let mut store = SqliteStore::open(folder.path()).unwrap();
    assert_eq!(live_tokens(&store, at(0)), [1, 2]);
    assert_eq!((store.latest(), apply(&mut store, issue(3))), (Some(at(0)), numbered(3)));
    drop(store);
    let store = SqliteStore::open(folder.path()).unwrap();
    assert_eq!(live_tokens(&store, at(0)), [1, 2, 3], "and it opens again");

    let (_ledger, directory) = store.start(Arc::new(NoObserver), 1).unwrap();
    let (key, account) = directory.find_by_key(key_digest(31)).await.unwrap().unwrap();
    assert_eq!((key.id, key.status, key.expires_at), (KEY, Status::Active, Some(at(5))));
    assert!(key.verifier, "keys could introspect before there was a right to it");
    assert_eq!((key.classification, key.secret_ends_at), (Classification::SystemicKey, None));
    assert!(key.allowed_addresses.is_empty() && account.organisation.overrides.is_empty());
    assert_eq!((account.user.id, account.user.role), (ZOE, Role::Administrator));
    let NameLookup::Found(account) =
        directory.find_by_name(canonical("acme"), canonical("zoë")).await.unwrap()
    else {
        panic!("zoe is lost")
    };
    assert_eq!(account.user.password_hash, Some(hash("first")));
    assert_eq!(account.user.password_set_at, Some(at(7)), "not before it was last changed");
    assert_eq!(
        account.units.iter().map(|unit| (unit.id, unit.is_default)).collect::<Vec<_>>(),
        [(SALES, true)]
    );

    let acme = directory.find_organisation(OrganisationReference::Id(ACME)).await.unwrap().unwrap();
    assert_eq!((acme.value.name.as_str(), acme.revision), ("ACME", Revision(1)), "its name is its code");
    let key = directory.find_key(ACME, KEY).await.unwrap().unwrap();
    assert_eq!((key.key.value.user, key.key.revision, key.secrets.len()), (ZOE, Revision(1), 1));
    assert_eq!((key.secrets[0].hint.clone(), key.secrets[0].created_at), (None, at(0)));
    let user = directory.find_user(ACME, ZOE).await.unwrap().unwrap();
    assert_eq!((user.user.value.email, user.last_login_at), (None, Some(at(0))), "by the login above");
}

/// The last uses had a row each before they shared some.
#[test]
fn u1_last_uses_survive() {
    let folder = TempDir::new().unwrap();
    first_schema(&folder);
    let database = folder.path().join("doorward.db");
    let earlier = Connection::open(&database).unwrap();
    // Those of the first schema are 1 and 2. 99 has gone, and 700 with all of its block.
    let used = [(2, 5), (99, 4), (127, 1), (128, 2), (255, 3), (300, 9), (500, 0), (700, 7)];
    for (number, millis) in used {
        let used_at = at(millis).as_millis();
        if ![99, 700].contains(&number) {
            let sql = "INSERT OR IGNORE INTO session
                       SELECT ?1, ?2, user, unit, NULL, issued_at, NULL, ends_at FROM session WHERE number = 1";
            earlier.execute(sql, (number, [number as u8; 32])).unwrap();
        }
        earlier.execute("INSERT OR REPLACE INTO session_use VALUES (?1, ?2)", [number, used_at]).unwrap();
    }
    earlier.execute("UPDATE journal_state SET next_number = 701", []).unwrap();
    drop(earlier);
    let store = SqliteStore::open(folder.path()).unwrap();
    let table = SessionTable::default();
    store.load(&table, at(0)).unwrap();
    let last_used = |token| table.peek(&digest(token), at(0)).map(|live| live.last_used_at);
    // The tokens of 300 and 500 are 44 and 244.
    let found = [1, 2, 99, 127, 128, 255, 44, 244].map(last_used);
    let expected = [Some(0), Some(5), None, Some(1), Some(2), Some(3), Some(9), Some(0)];
    assert_eq!(found, expected.map(|millis| millis.map(at)));
    let connection = Connection::open(&database).unwrap();
    let blocks = "SELECT group_concat(block ORDER BY block) FROM session_use_block";
    let blocks: String = connection.query_row(blocks, [], |row| row.get(0)).unwrap();
    assert_eq!(blocks, "0,1,2", "where there was a use");
    let is_left = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'session_use')";
    assert!(!connection.query_row(is_left, [], |row| row.get::<_, bool>(0)).unwrap());
}
