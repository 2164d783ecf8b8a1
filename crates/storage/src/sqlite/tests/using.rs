//! Last uses: what is noted of them, and what goes with the sessions.

use super::*;
use crate::{
    OpenError,
    sqlite::{Departure, ended, uses},
};

/// A company with sessions 1 to 255, of the tokens with the same numbers: blocks 0 and 1.
fn crowded() -> (TempDir, SqliteStore) {
    let (folder, mut store) = company();
    store.apply(&(1..=255).map(issue).collect::<Vec<_>>()).unwrap();
    (folder, store)
}

/// The last uses of sessions, as the next start would find them.
fn last_uses<const N: usize>(store: &SqliteStore, tokens: [u8; N]) -> [Option<i64>; N] {
    let table = SessionTable::default();
    store.load(&table, at(0)).unwrap();
    let since = |time: Timestamp| time.as_millis() - at(0).as_millis();
    tokens.map(|token| table.peek(&digest(token), at(0)).map(|live| since(live.last_used_at)))
}

/// Puts all uses where they are when there are many.
fn fold(store: &SqliteStore) {
    uses::fold_all(&store.writer.connection).unwrap();
    assert_eq!(count(store, "session_use_log"), 0);
}

/// The blocks that there are.
fn blocks(store: &SqliteStore) -> Vec<i64> {
    let mut blocks =
        store.writer.connection.prepare("SELECT block FROM session_use_block ORDER BY block").unwrap();
    blocks.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn uses_of_several_blocks_are_kept_in_whatever_order_they_come() {
    let (folder, mut store) = crowded();
    assert_eq!(blocks(&store), [0; 0], "issuing writes none");
    let used = [(200, 3), (1, 4), (127, 5), (255, 6), (128, 7), (2, 8)];
    assert_eq!(apply(&mut store, uses_of(&used)), Outcome::Committed(None));
    let expected = [Some(4), Some(8), Some(0), Some(5), Some(7), Some(0), Some(3), Some(6)];
    let tokens = [1, 2, 3, 127, 128, 129, 200, 255];
    assert_eq!(last_uses(&store, tokens), expected);
    let store = reopen(store, &folder);
    assert_eq!(last_uses(&store, tokens), expected, "and survive reopening");
    fold(&store);
    assert_eq!((blocks(&store), last_uses(&store, tokens)), (vec![0, 1], expected));
}

#[test]
fn an_older_use_does_not_replace_a_later_one() {
    let (_folder, mut store) = crowded();
    store
        .apply(&[uses_of(&[(1, 9), (1, 4), (2, 5)]), uses_of(&[(2, 9), (1, 8)]), uses_of(&[(2, 1)])])
        .unwrap();
    assert_eq!(last_uses(&store, [1, 2, 3]), [Some(9), Some(9), Some(0)]);
    fold(&store);
    apply(&mut store, uses_of(&[(1, 8), (2, 10)]));
    assert_eq!(last_uses(&store, [1, 2, 3]), [Some(9), Some(10), Some(0)]);
}

/// One that is brought from elsewhere has been used since.
#[test]
fn a_session_may_be_issued_with_a_later_use() {
    let (_folder, mut store) = company();
    let used = |token, millis| {
        let mut entry = issue(token);
        if let Entry::Issue { session, .. } = &mut entry {
            session.last_used_at = at(millis);
        }
        entry
    };
    store.apply(&[used(1, 7), used(2, -7), uses_of(&[(1, 3)])]).unwrap();
    assert_eq!(last_uses(&store, [1, 2]), [Some(7), Some(0)], "not before it was issued");
}

#[test]
fn a_block_goes_with_its_last_session() {
    let (_folder, mut store) = crowded();
    store
        .apply(&[
            uses_of(&[(1, 1), (127, 2), (128, 3), (255, 4)]),
            forget(&(2..127).map(SessionNumber).collect::<Vec<_>>()),
        ])
        .unwrap();
    fold(&store);
    assert_eq!(blocks(&store), [0, 1]);
    apply(&mut store, release(127));
    assert_eq!((blocks(&store), last_uses(&store, [1, 127])), (vec![0, 1], [Some(1), None]));
    // A use that comes late, in the same batch.
    store.apply(&[release(1), uses_of(&[(1, 9)])]).unwrap();
    fold(&store);
    assert_eq!(blocks(&store), [1]);
    assert_eq!(
        apply(&mut store, forget(&(128..255).map(SessionNumber).collect::<Vec<_>>())),
        Outcome::Committed(None)
    );
    assert_eq!((blocks(&store), last_uses(&store, [255])), (vec![1], [Some(4)]));
    // What has expired goes at a start.
    assert!(live_tokens(&store, at(0).plus(2 * HOUR)).is_empty());
    assert_eq!(blocks(&store), [0; 0]);
}

#[test]
fn a_use_of_a_session_that_has_gone_leaves_nothing() {
    let (_folder, mut store) = company();
    store.apply(&[issue(1), release(1)]).unwrap();
    store.apply(&[uses_of(&[(1, 1), (2, 2), (700, 3)])]).unwrap();
    fold(&store);
    assert_eq!(blocks(&store), [0; 0]);
    // What is issued afterwards has none of it.
    store.apply(&[issue(2), uses_of(&[(1, 5)])]).unwrap();
    assert_eq!((last_uses(&store, [1, 2]), count(&store, "session")), ([None, Some(0)], 1));
}

#[test]
fn the_last_use_is_remembered_of_what_has_ended() {
    let (_folder, mut store) = crowded();
    store.apply(&[uses_of(&[(1, 5), (200, 6)])]).unwrap();
    fold(&store);
    // Of which memory knows no later use.
    store.apply(&[release(1), release(2), forget(&[SessionNumber(200)])]).unwrap();
    let mut last =
        store.writer.connection.prepare("SELECT last_used_at FROM ended_session ORDER BY number").unwrap();
    let last: Vec<i64> = last.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(last, [5, 0, 6].map(|millis| at(millis).as_millis()));
}

#[test]
fn a_block_of_another_length_is_damage() {
    let (folder, mut store) = crowded();
    apply(&mut store, uses_of(&[(1, 5), (200, 6)]));
    fold(&store);
    let cut = "UPDATE session_use_block SET last_used_at = substr(last_used_at, 2) WHERE block = 1";
    let connection = &store.writer.connection;
    connection.execute(cut, []).unwrap_err();
    connection.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
    connection.execute(cut, []).unwrap();
    let error = store.load(&SessionTable::default(), at(0)).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    let each = store.writer.connection.query_row(
        &format!("SELECT max(last_used_at) FROM ({})", uses::SELECT_EACH),
        [],
        |row| row.get::<_, i64>(0),
    );
    let error = OpenError::from_sqlite(&data(&folder), each.unwrap_err());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    apply(&mut store, uses_of(&[(200, 7)]));
    uses::fold_all(&store.writer.connection).unwrap_err();
    let error = store.apply(&[release(200)]).unwrap_err();
    assert_readable(&error.to_string(), &data(&folder));
    drop(store);
    let error = SqliteStore::open(&data(&folder)).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

/// One look-up for each session, in their order.
#[test]
fn last_uses_are_read_along_the_sessions() {
    let (_folder, store) = company();
    let sql =
        format!("EXPLAIN QUERY PLAN SELECT * FROM ({}) AS each ORDER BY each.number", uses::SELECT_EACH);
    let mut plan = store.writer.connection.prepare(&sql).unwrap();
    let steps: Vec<String> = plan.query_map([], |row| row.get(3)).unwrap().collect::<Result<_, _>>().unwrap();
    let search = "SEARCH session_use_block USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN";
    assert_eq!(steps, ["SCAN session", search]);
}

/// What is moved away has the uses of the log, and the store stays as it was.
#[test]
fn what_is_in_the_log_moves_too() {
    let (_folder, mut store) = crowded();
    apply(&mut store, uses_of(&[(1, 5), (200, 6)]));
    let each = format!("SELECT last_used_at FROM ({}) WHERE number IN (1, 2, 200)", uses::SELECT_EACH);
    let departure = Departure::begin(&store).unwrap();
    let mut moved = store.writer.connection.prepare(&each).unwrap();
    let moved: Vec<i64> = moved.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(moved, [5, 0, 6].map(|millis| at(millis).as_millis()));
    drop(departure);
    assert_eq!((count(&store, "session_use_log"), blocks(&store)), (1, vec![]));
}

/// A restored backup tells of its sessions when they were last used, whether or not that was still in the log.
#[test]
fn what_ends_all_sessions_remembers_what_is_in_the_log() {
    let (_folder, mut store) = crowded();
    apply(&mut store, uses_of(&[(1, 5), (200, 6)]));
    ended::end_all(&store.writer.connection, at(9)).unwrap();
    let last = "SELECT last_used_at FROM ended_session WHERE number IN (1, 2, 200) ORDER BY number";
    let mut last = store.writer.connection.prepare(last).unwrap();
    let last: Vec<i64> = last.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(last, [5, 0, 6].map(|millis| at(millis).as_millis()));
    assert_eq!(
        (count(&store, "session_use_log"), blocks(&store)),
        (0, vec![]),
        "no number's use outlives it"
    );
}

/// Whatever is in the log, on its way into the blocks or there: a start finds the last uses, and the log has an end.
#[test]
fn the_log_is_put_into_the_blocks_a_part_with_each_commit() {
    let (folder, mut store) = crowded();
    let mut expected = [0_i64; 256];
    let (mut most, mut least, mut folds) = (0, i64::MAX, 0);
    for time in 10..1_000_i64 {
        // Some of them in the wrong order, and of sessions anywhere.
        let used: Vec<_> = (0..1 + time % 7)
            .map(|place| (1 + (time * 89 + place * 31).unsigned_abs() % 255, time - place % 3))
            .collect();
        for (number, at) in &used {
            let latest = &mut expected[*number as usize];
            *latest = (*latest).max(*at);
        }
        store.apply(&[uses_of(&used), Entry::Tick(at(0))]).unwrap();
        let rows = count(&store, "session_use_log");
        folds += i64::from(rows < least);
        (most, least) = (most.max(rows), rows);
        if time % 83 == 0 {
            store = reopen(store, &folder);
        }
        if time % 29 == 0 {
            let tokens: [u8; 255] = std::array::from_fn(|place| place as u8 + 1);
            assert_eq!(last_uses(&store, tokens).map(Option::unwrap)[..], expected[1..], "after {time}");
        }
    }
    assert!(most < 100 && folds > 10, "{most} rows at most, {folds} times fewer than before");
    assert_eq!(blocks(&store), [0, 1]);
    // Without uses nothing goes on.
    let rows = count(&store, "session_use_log");
    (0..100).for_each(|_| assert_eq!(apply(&mut store, Entry::Tick(at(0))), Outcome::Committed(None)));
    assert_eq!(count(&store, "session_use_log"), rows);
}
