//! Users read beside whoever holds the folder.

use super::*;
use crate::{OpenError, UnitNames, UserWithHash, export_users};

/// A username, the user, and how many units there are.
type Exported = (String, UserWithHash, usize);

/// The users of an organisation.
fn exported(folder: &Path, code: &str) -> Result<Option<Vec<Exported>>, OpenError> {
    let mut found = Vec::new();
    let is_there = export_users(folder, &canonical(code), |user, units: &UnitNames| {
        let name = user.0.user.value.username.to_string();
        found.push((name, user, units.len()));
        Ok::<_, OpenError>(())
    })?;
    Ok(is_there.then_some(found))
}

#[test]
fn all_of_an_organisation_and_nobody_else_comes_in_order() {
    let (folder, mut store) = company();
    let mut expected = vec!["Zo\u{eb}".to_owned()];
    let mut changes = Vec::new();
    for n in 0..2_500u16 {
        let mut id = [77; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        let name = format!("user {:04}", u32::from(n) * 7 % 2_500);
        let units: &[UnitId] = if n % 2 == 0 { &[SALES, LAB] } else { &[] };
        changes.push(create_user(UserId::from_bytes(id), ACME, &name, units));
        expected.push(name);
    }
    assert!(change_all(&mut store, &changes).iter().all(|outcome| *outcome == Outcome::Committed(None)));
    expected.sort_by_key(|name| canonical(name));
    // The store holds the folder and has written to the WAL alone.
    let found = exported(&data(&folder), "acme").unwrap().unwrap();
    let names: Vec<_> = found.iter().map(|(name, ..)| name.clone()).collect();
    assert_eq!(names, expected);
    assert!(found.iter().all(|(.., units)| *units == 2), "the units of ACME");
    let (_, (zoe, hash), _) = found.iter().find(|(name, ..)| name == "Zo\u{eb}").unwrap();
    assert_eq!((zoe.user.value.id, hash.is_some()), (ZOE, true));
    let with_units = found.iter().filter(|(_, (user, _), _)| user.user.value.units.len() == 2).count();
    assert!(with_units >= 1_250, "{with_units}");
    assert!(exported(&data(&folder), "nobody").unwrap().is_none());
    // And when nobody holds it.
    drop(store);
    assert_eq!(exported(&data(&folder), "ACME").unwrap().unwrap().len(), 2_501);
}

#[test]
fn what_is_no_database_of_ours_is_refused() {
    let folder = TempDir::new().unwrap();
    let refused = |folder: &Path| exported(folder, "acme").unwrap_err();
    assert!(matches!(refused(&folder.path().join("none")), OpenError::FolderMissing { .. }));
    assert!(matches!(refused(folder.path()), OpenError::DatabaseMissing { .. }));
    let database = folder.path().join("doorward.db");
    std::fs::write(&database, "x".repeat(5_000)).unwrap();
    assert!(matches!(refused(folder.path()), OpenError::NotDoorward { .. }));
    std::fs::remove_file(&database).unwrap();
    rusqlite::Connection::open(&database).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(refused(folder.path()), OpenError::NotDoorward { .. }));
}
