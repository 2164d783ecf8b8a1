//! The chains of audit records: whatever is done to them behind our back is found.

use std::net::{IpAddr, Ipv6Addr};

use doorward_domain::audit::chain::{Broken, ChainDigest, Link};
use proptest::{prelude::*, sample::Index};
use rusqlite::{Connection, types::Value};

use super::*;
use crate::{
    AuditProblem, AuditReport,
    sqlite::{
        chaining, evidence,
        ledger::{self, JournalState},
        schema::migrations,
    },
    verify_audit,
};

/// A database in memory, as the ledger writes it.
fn database() -> (Connection, JournalState) {
    let mut connection = Connection::open_in_memory().unwrap();
    chaining::register(&connection).unwrap();
    migrations::runner().run(&mut connection).unwrap();
    connection
        .execute("INSERT INTO journal_state (one, next_number, latest, kind) VALUES (1, 1, NULL, 'real')", [])
        .unwrap();
    let (state, _) = JournalState::read(&connection).unwrap();
    (connection, state)
}

fn verify(connection: &Connection) -> AuditReport {
    evidence::verify(connection, &[], &mut |_, _| {}).unwrap()
}

fn records() -> impl Strategy<Value = Vec<AuditRecord>> {
    let id = || prop::option::of(any::<[u8; 16]>());
    let record = (
        prop_oneof![Just(None), Just(Some(ACME)), Just(Some(GLOBEX))],
        (0..Event::ALL.len(), 0..Reason::ALL.len()),
        (id(), id(), id(), id(), id()),
        (prop::option::of(any::<u128>()), "\\PC{0,20}", prop::option::of("\\PC{0,20}"), any::<bool>()),
    );
    let record = record.prop_map(
        |(
            organisation,
            (event, reason),
            (unit, user, key, actor, session),
            (address, request_id, claimed, members),
        )| {
            AuditRecord {
                organisation,
                unit: unit.map(UnitId::from_bytes),
                user: user.map(UserId::from_bytes),
                key: key.map(KeyId::from_bytes),
                actor: actor.map(UserId::from_bytes),
                session: session.map(doorward_domain::id::SessionId::from_bytes),
                claimed,
                members: if members { vec!["name", "status"] } else { Vec::new() },
                ..AuditRecord::new(
                    at(0),
                    Event::ALL[event],
                    Reason::ALL[reason],
                    &Origin { address: address.map(|bits| IpAddr::V6(Ipv6Addr::from(bits))), request_id },
                )
            }
        },
    );
    prop::collection::vec(record, 2..24)
}

/// Writes records a millisecond apart, in batches.
fn write(connection: &mut Connection, state: &mut JournalState, records: Vec<AuditRecord>) {
    let entries: Vec<_> = records
        .into_iter()
        .zip(0..)
        .map(|(record, time)| Entry::Record(AuditRecord { at: at(time), ..record }))
        .collect();
    for batch in entries.chunks(5) {
        ledger::commit(connection, state, batch).unwrap();
    }
}

const COLUMNS: [&str; 15] = [
    "organisation",
    "number",
    "previous",
    "at",
    "event",
    "reason",
    "address",
    "request_id",
    "unit",
    "user",
    "key",
    "claimed",
    "actor",
    "session",
    "members",
];

/// Turns one bit over in a value of some row. `false`: there is no bit in it.
fn flip(connection: &Connection, table: &str, column: &str, row: Index, bit: Index) -> bool {
    let rows: Vec<(Vec<u8>, Value)> = {
        // Rows are told apart by their whole contents: one of the tables has no number of its own.
        let order = if table == "audit" {
            "place"
        } else if table == "audit_chain" {
            "organisation"
        } else {
            "one"
        };
        let sql = format!("SELECT CAST({order} AS BLOB), {column} FROM {table} ORDER BY {order}");
        let mut statement = connection.prepare(&sql).unwrap();
        let read = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        read.collect::<rusqlite::Result<_>>().unwrap()
    };
    let (key, value) = row.get(&rows).clone();
    let turned = |mut bytes: Vec<u8>| {
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    let (value, cast) = match value {
        Value::Integer(number) => (Value::Integer(number ^ (1 << bit.index(63))), "INTEGER"),
        Value::Text(text) if !text.is_empty() => (Value::Blob(turned(text.into_bytes())), "TEXT"),
        Value::Blob(bytes) if !bytes.is_empty() => (Value::Blob(turned(bytes)), "BLOB"),
        _ => return false,
    };
    let order = if table == "audit" {
        "place"
    } else if table == "audit_chain" {
        "organisation"
    } else {
        "one"
    };
    let sql = format!("UPDATE {table} SET {column} = CAST(?2 AS {cast}) WHERE CAST({order} AS BLOB) = ?1");
    match connection.execute(&sql, (key, value)) {
        Ok(rows) => rows == 1,
        // Two of a number: SQLite has none of it.
        Err(error) => {
            assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::ConstraintViolation), "{error}");
            false
        }
    }
}

/// What somebody does to the records behind our back.
#[derive(Clone, Debug)]
enum Tampering {
    Flip { column: usize, row: Index, bit: Index },
    FlipKept { column: usize, row: Index, bit: Index },
    Remove { first: Index, count: usize },
    CutOff { from: Index },
    Swap { one: Index, other: Index },
    Append { chained: bool },
    RemoveChain { row: Index, with_records: bool },
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let place = any::<Index>;
    prop_oneof![
        6 => (0..COLUMNS.len(), place(), place()).prop_map(|(column, row, bit)| Tampering::Flip { column, row, bit }),
        2 => (0..6_usize, place(), place()).prop_map(|(column, row, bit)| Tampering::FlipKept { column, row, bit }),
        2 => (place(), 1..4_usize).prop_map(|(first, count)| Tampering::Remove { first, count }),
        1 => place().prop_map(|from| Tampering::CutOff { from }),
        2 => (place(), place()).prop_map(|(one, other)| Tampering::Swap { one, other }),
        1 => any::<bool>().prop_map(|chained| Tampering::Append { chained }),
        1 => (place(), any::<bool>()).prop_map(|(row, with_records)| Tampering::RemoveChain { row, with_records }),
    ]
}

fn places(connection: &Connection) -> Vec<i64> {
    let mut statement = connection.prepare("SELECT place FROM audit ORDER BY place").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// What a row says beside its number.
fn contents(connection: &Connection, place: i64) -> Vec<Value> {
    let sql = format!("SELECT {} FROM audit WHERE place = ?1", COLUMNS[2..].join(", "));
    let read = |row: &rusqlite::Row<'_>| (0..COLUMNS.len() - 2).map(|column| row.get(column)).collect();
    connection.query_row(&sql, [place], read).unwrap()
}

/// Does it. `false`: it came to nothing.
fn tamper(connection: &Connection, how: &Tampering) -> bool {
    let places = places(connection);
    if places.is_empty() {
        return false;
    }
    match how {
        Tampering::Flip { column, row, bit } => flip(connection, "audit", COLUMNS[*column], *row, *bit),
        Tampering::FlipKept { column, row, bit } => {
            // A chain with no records left may be called what it likes: it says nothing of anybody.
            let empty = "SELECT EXISTS (SELECT 1 FROM audit_chain
                         WHERE organisation NOT IN (SELECT organisation FROM audit))";
            let is_any_empty: bool = connection.query_row(empty, [], |row| row.get(0)).unwrap();
            if is_any_empty && *column == 0 {
                return false;
            }
            let kept = ["organisation", "number", "digest", "removed", "removed_digest"];
            match kept.get(*column) {
                Some(column) => flip(connection, "audit_chain", column, *row, *bit),
                None => flip(connection, "journal_state", "records", *row, *bit),
            }
        }
        Tampering::Remove { first, count } => {
            let first = first.index(places.len());
            let removed = &places[first..places.len().min(first + count)];
            removed
                .iter()
                .all(|place| connection.execute("DELETE FROM audit WHERE place = ?1", [place]).unwrap() == 1)
        }
        Tampering::CutOff { from } => {
            connection.execute("DELETE FROM audit WHERE place >= ?1", [from.get(&places)]).unwrap() > 0
        }
        Tampering::Swap { one, other } => {
            let (one, other) = (*one.get(&places), *other.get(&places));
            if contents(connection, one) == contents(connection, other) {
                return false;
            }
            // Where a row lies says nothing, so its number stays and all else goes to the other.
            let assign: Vec<_> =
                COLUMNS[2..].iter().map(|column| format!("{column} = kept.{column}")).collect();
            let assign = assign.join(", ");
            let sql = format!(
                "CREATE TEMP TABLE kept AS SELECT * FROM audit WHERE place IN ({one}, {other});
                 UPDATE audit SET {assign} FROM kept WHERE audit.place = {one} AND kept.place = {other};
                 UPDATE audit SET {assign} FROM kept WHERE audit.place = {other} AND kept.place = {one};
                 DROP TABLE kept;"
            );
            connection.execute_batch(&sql).unwrap();
            true
        }
        Tampering::Append { chained } => {
            let previous = if *chained {
                "(SELECT digest FROM audit_chain ORDER BY organisation LIMIT 1)"
            } else {
                "zeroblob(32)"
            };
            let sql = format!(
                "INSERT INTO audit (organisation, number, previous, at, event, reason, request_id)
                 SELECT organisation, number + 1, {previous}, 1, 'release', 'ok', '' FROM audit_chain
                 ORDER BY organisation LIMIT 1"
            );
            connection.execute(&sql, []).unwrap() == 1
        }
        Tampering::RemoveChain { row, with_records } => {
            let chains: Vec<Vec<u8>> = {
                let mut statement =
                    connection.prepare("SELECT organisation FROM audit_chain ORDER BY 1").unwrap();
                statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
            };
            let chain = row.get(&chains);
            if *with_records {
                connection.execute("DELETE FROM audit WHERE organisation = ?1", [chain]).unwrap();
            }
            connection.execute("DELETE FROM audit_chain WHERE organisation = ?1", [chain]).unwrap() == 1
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// S2: a bit turned over, records removed, put in another order or cut off, whole chains taken away: all is found.
    #[test]
    fn s2_whatever_is_done_to_the_records_is_found(
        records in records(),
        removed in 0..12_i64,
        how in tampering(),
    ) {
        let (mut connection, mut state) = database();
        write(&mut connection, &mut state, records);
        ledger::commit(&mut connection, &mut state, &[Entry::ForgetRecords { before: at(removed), limit: 8 }]).unwrap();
        prop_assert!(verify(&connection).is_sound(), "{:?}", verify(&connection));
        if tamper(&connection, &how) {
            prop_assert!(!verify(&connection).is_sound(), "{how:?}");
        }
    }

    /// S2: digests tell apart what members say and where one ends, for no two records are written to be digested alike.
    #[test]
    fn s2_members_that_run_into_each_other_have_another_digest(text in "\\PC{1,12}", place in any::<Index>()) {
        let (mut connection, mut state) = database();
        let split = text.char_indices().map(|(place, _)| place).collect::<Vec<_>>();
        let (before, behind) = text.split_at(*place.get(&split));
        let origin = Origin { address: None, request_id: before.to_owned() };
        let record = AuditRecord {
            claimed: Some(behind.to_owned()),
            ..AuditRecord::new(at(0), Event::PasswordLogin, Reason::UnknownOrganisation, &origin)
        };
        write(&mut connection, &mut state, vec![record]);
        connection.execute("UPDATE audit SET request_id = request_id || claimed, claimed = ''", []).unwrap();
        let is_same = behind.is_empty();
        prop_assert_eq!(verify(&connection).is_sound(), is_same);
    }
}

#[test]
fn s2_a_report_says_which_record_is_wrong() {
    let (mut connection, mut state) = database();
    let of = |organisation| AuditRecord { organisation, ..audit(Event::Release) };
    write(
        &mut connection,
        &mut state,
        [Some(ACME), None, Some(ACME), Some(ACME), Some(GLOBEX), None].map(of).into(),
    );
    let problems = |connection: &Connection| -> Vec<_> {
        verify(connection).chains.into_iter().map(|chain| (chain.sound, chain.problem)).collect()
    };
    assert_eq!(problems(&connection), [(2, None), (3, None), (1, None)]);
    connection
        .execute(
            "UPDATE audit SET reason = 'locked' WHERE organisation = ?1 AND number = 2",
            [ACME.to_bytes()],
        )
        .unwrap();
    let altered = AuditProblem::Broken(Broken::Altered { number: 3 });
    assert_eq!(
        altered.to_string(),
        "record 2 or 3 was altered: the one does not carry the digest of the other"
    );
    assert_eq!(problems(&connection), [(2, None), (2, Some(altered)), (1, None)]);
    connection
        .execute("DELETE FROM audit WHERE organisation = ?1 AND number < 3", [ACME.to_bytes()])
        .unwrap();
    let missing = AuditProblem::Broken(Broken::Missing { from: 1, to: 2 });
    assert_eq!(missing.to_string(), "records 1 to 2 are missing");
    assert_eq!(problems(&connection)[1], (0, Some(missing)));
    connection.execute("UPDATE audit SET at = 7 WHERE organisation = ?1", [GLOBEX.to_bytes()]).unwrap();
    assert_eq!(problems(&connection)[2].1, Some(AuditProblem::Broken(Broken::LastAltered { number: 1 })));
}

/// Whoever rewrites a whole chain can make it sound in itself, but not have the digest that was noted elsewhere.
#[test]
fn s2_a_chain_that_was_written_anew_is_not_as_noted() {
    let (mut connection, mut state) = database();
    let record = |reason| AuditRecord { reason, organisation: Some(ACME), ..audit(Event::PasswordLogin) };
    write(&mut connection, &mut state, vec![record(Reason::WrongPassword), record(Reason::Ok)]);
    let noted = verify(&connection).chains[0].chain.last;
    let (mut forged, mut state) = database();
    write(&mut forged, &mut state, vec![record(Reason::Ok), record(Reason::Ok)]);
    let report = |noted: Link| evidence::verify(&forged, &[(Some(ACME), noted)], &mut |_, _| {}).unwrap();
    assert!(matches!(
        report(noted).chains[0].problem,
        Some(AuditProblem::Broken(Broken::NotAsNoted { number: 2, .. }))
    ));
    let behind = Link { number: 3, digest: ChainDigest::BEGINNING };
    assert!(!report(behind).is_sound(), "a record that was noted is not there");
}

/// What waited, at a gate or for a hash, is written behind what came later: the records of a time lie together all the same.
#[test]
fn times_of_records_never_go_back() {
    let (mut connection, mut state) = database();
    let of = |organisation, time| {
        Entry::Record(AuditRecord { organisation, at: at(time), ..audit(Event::PasswordLogin) })
    };
    ledger::commit(&mut connection, &mut state, &[of(Some(ACME), 5), of(Some(ACME), 3), of(None, 7)])
        .unwrap();
    ledger::commit(&mut connection, &mut state, &[of(Some(ACME), 6), of(Some(ACME), 9)]).unwrap();
    let mut statement = connection.prepare("SELECT at FROM audit ORDER BY place").unwrap();
    let times: Vec<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(times, [5, 5, 7, 7, 9].map(|time| at(time).as_millis()));
    assert!(verify(&connection).is_sound());
}

#[test]
fn u1_records_of_earlier_versions_are_chained() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrations::runner().set_target(refinery::Target::Version(2)).run(&mut connection).unwrap();
    connection.execute_batch(
        "INSERT INTO journal_state VALUES (1, 1, NULL, 'real');
         INSERT INTO audit (number, at, event, reason, request_id, organisation, claimed) VALUES
             (3, 1, 'created', 'ok', '', NULL, NULL), (4, 2, 'password_login', 'ok', 'a', x'01010101010101010101010101010101', NULL),
             (7, 3, 'password_login', 'unknown_organisation', 'b', NULL, 'Initech'),
             (8, 4, 'release', 'ok', 'c', x'01010101010101010101010101010101', NULL);",
    ).unwrap();
    chaining::register(&connection).unwrap();
    migrations::runner().run(&mut connection).unwrap();
    let report = verify(&connection);
    assert!(report.is_sound(), "{report:?}");
    let chains: Vec<_> =
        report.chains.iter().map(|chain| (chain.chain.organisation, chain.chain.last.number)).collect();
    assert_eq!(chains, [(None, 2), (Some(ACME), 2)]);
    // And they go on.
    let (mut state, _) = JournalState::read(&connection).unwrap();
    let of = |organisation| AuditRecord { organisation, ..audit(Event::Release) };
    write(&mut connection, &mut state, [Some(ACME), None].map(of).into());
    assert!(verify(&connection).is_sound());
    assert_eq!(places(&connection), [3, 4, 7, 8, 9, 10]);
}

/// The command that checks reads beside the server, and sees what is committed while it does not look.
#[test]
fn records_are_checked_while_they_are_written() {
    let (folder, mut store) = company();
    for token in 1..=20 {
        store.apply(&[issue(token), release(u64::from(token))]).unwrap();
        let report = verify_audit(&data(&folder), &[], &mut |_, _| {}).unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
}
