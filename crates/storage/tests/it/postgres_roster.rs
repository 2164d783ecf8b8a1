//! The roster over PostgreSQL.

use std::time::Duration;

use doorward_domain::{
    cluster::{Laggard, LogNumber, Notice, Renewal, Roster},
    directory::Status,
    id::UnitId,
    journal::{Entry, Ledger, Outcome},
    session::Scope,
};
use doorward_storage::Swept;
use doorward_testkit::conformance::company::*;

use crate::postgres_testing::*;

/// How long a test waits for what must come, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn a_renewal_counts_acknowledges_and_reads_what_is_new() {
    let database = Database::new();
    let (mut ledger, roster) = database.instance();
    let joined = database.register(&roster);
    assert_eq!(joined.head, LogNumber(8), "the changes that made the companies");
    assert_eq!(joined.time.latest, None);

    let session = number(&mut ledger, issue(1));
    let logged = ledger.commit(&[release(session, 1)]).unwrap().logged;
    assert_eq!(logged, Some(LogNumber(9)));
    let renew =
        |applied| database.block_on(roster.renew(joined.instance, LogNumber(applied), at(3))).unwrap();
    let Renewal::Renewed { head, records, time } = renew(8) else { panic!("it was removed") };
    assert_eq!(head, LogNumber(9));
    assert_eq!((records.len(), records[0].number), (1, LogNumber(9)));
    assert_eq!(records[0].notice, Notice::Released(digest(1).session()));
    assert_eq!(time.latest, Some(at(3)));
    assert!(time.now >= joined.time.now);

    let laggards = || database.block_on(roster.list_laggards(LogNumber(9))).unwrap();
    let own = Laggard { instance: joined.instance, applied: LogNumber(8), renewals: 1 };
    assert_eq!(laggards(), [own]);
    let Renewal::Renewed { records, .. } = renew(9) else { panic!("it was removed") };
    assert_eq!(records, []);
    assert_eq!(laggards(), []);
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn who_is_removed_hears_of_it_and_no_id_is_given_twice() {
    let database = Database::new();
    let (one, two) = (database.roster(), database.roster());
    let (first, second) = (database.register(&one), database.register(&two));
    let renewed = database.block_on(one.renew(first.instance, first.head, at(5))).unwrap();
    assert!(matches!(renewed, Renewal::Renewed { .. }));

    let ids = || database.sql("SELECT id FROM instance ORDER BY id").replace('\n', " ");
    let both = ids();
    database.block_on(two.remove(first.instance, 0)).unwrap();
    assert_eq!(ids(), both, "it was renewed once more");
    database.block_on(two.remove(first.instance, 1)).unwrap();
    assert_eq!(ids(), second.instance.0.to_string());
    let renewed = database.block_on(one.renew(first.instance, first.head, at(6))).unwrap();
    assert_eq!(renewed, Renewal::Removed);
    database.block_on(one.acknowledge(first.instance, LogNumber(99))).unwrap();

    let again = database.register(&one);
    assert!(again.instance > second.instance);
    assert_eq!(again.time.latest, Some(at(5)), "what it told is known without it");
    database.block_on(one.leave(again.instance)).unwrap();
    database.block_on(two.leave(second.instance)).unwrap();
    assert_eq!(ids(), "");
    assert!(database.register(&one).instance > again.instance);
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn only_instances_with_one_lease_work_together() {
    let database = Database::new();
    let (one, two) = (database.roster(), database.roster());
    let first = database.register(&one);
    let refused = database.block_on(two.register(introduction(9))).unwrap().unwrap_err();
    for part in ["\"with 5\"", "\"with 9\"", "5s", "9s", "cluster.lease", "stop"] {
        assert!(refused.contains(part), "{part} is not in {refused}");
    }
    database.block_on(one.leave(first.instance)).unwrap();
    database.block_on(two.register(introduction(9))).unwrap().unwrap();

    // One that died is in nobody's way for ever.
    database.sql("UPDATE instance SET lease_ms = 1");
    let joined = std::iter::repeat_with(|| database.block_on(one.register(introduction(7))).unwrap());
    joined.take(100_000).find_map(Result::ok).unwrap();
    assert_eq!(database.sql("SELECT lease_ms FROM instance"), "7000");
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn the_log_says_what_was_done() {
    let database = Database::new();
    let (mut ledger, roster) = database.instance();
    let begin = database.register(&roster).head;
    let session = number(&mut ledger, issue(1));
    let batch = [
        release(session, 1),
        changed(set_status(Scope::Unit(LAB), Status::Disabled)),
        changed(end_sessions(ACME, Scope::Key(ZOE, KEY))),
        changed(update_organisation(organisation(GLOBEX, "Globe"))),
        changed(create_unit(LAB, ACME, "Lab")),
        changed(rotate(Some(at(9)))),
        Entry::Rehash { organisation: ACME, user: ZOE, from: hash("first"), to: hash("second") },
        changed(end_sessions(ACME, Scope::Organisation(ACME))),
        Entry::Tick(at(1)),
    ];
    let committed = ledger.commit(&batch).unwrap();
    let numbers = committed.outcomes.iter().map(|outcome| match outcome {
        Outcome::Committed(number) => *number,
        _ => None,
    });
    let numbers: Vec<_> = numbers.collect();
    let ended = |scope, place: usize| Notice::Ended(scope, numbers[place].unwrap());
    let renamed =
        |organisation, scope, name: &str| Notice::Renamed { organisation, scope, name: name.into() };
    let expected = [
        Notice::Released(digest(1).session()),
        ended(Scope::Unit(LAB), 1),
        renamed(ACME, Scope::Unit(LAB), "Lab"),
        ended(Scope::Key(ZOE, KEY), 2),
        renamed(GLOBEX, Scope::Organisation(GLOBEX), "Globe"),
        Notice::Changed,
        ended(Scope::Organisation(ACME), 7),
    ];
    assert_eq!(database.log(&roster, begin), expected);
    assert_eq!(committed.logged, Some(LogNumber(begin.0 + expected.len() as u64)));
    assert_eq!(ledger.commit(&[issue(2)]).unwrap().logged, None);
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn a_record_that_is_not_understood_is_not_passed_over() {
    let database = Database::new();
    let roster = database.roster();
    let joined = database.register(&roster);
    database.sql("ALTER TABLE release_log DROP CONSTRAINT release_log_kind_check");
    database.sql("INSERT INTO release_log (number, kind) VALUES (9, 'reversed')");
    let error = database.block_on(roster.renew(joined.instance, joined.head, at(0))).unwrap_err().to_string();
    assert!(error.contains("a record in the release log that this version does not know"), "{error}");
    database.block_on(roster.read_log(joined.head)).unwrap_err();
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn who_listens_hears_of_others_and_of_a_connection_made_again() {
    let database = Database::new();
    let (mut ledger, roster) = (database.ledger(), database.roster());
    let head = database.register(&roster).head;
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    database.block_on(async {
        let mut hear = async || tokio::time::timeout(PATIENCE, hears.recv()).await.unwrap();
        let listening = roster.listen(move || heard.send(()).unwrap());
        let told = async {
            roster.read_log(head).await.unwrap();
            hear().await;
            // The commit waits on a thread of its own. A ledger that is dropped at once need not have told anybody.
            let commit = tokio::task::spawn_blocking(move || {
                ledger.commit(&[changed(create_unit(UnitId::from_bytes(NOBODY), ACME, "x"))]).unwrap();
                ledger
            });
            let _kept = commit.await.unwrap();
            hear().await;
        };
        tokio::select! { () = listening => unreachable!(), () = told => {} }
    });
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn sessions_that_have_ended_are_moved_a_few_at_a_time() {
    let database = Database::new();
    let (mut ledger, roster) = database.instance();
    let numbers: Vec<_> = (1..=6).map(|token| number(&mut ledger, issue(token)).0).collect();
    commit(&mut ledger, changed(set_status(Scope::Unit(LAB), Status::Disabled)));
    // The second has expired long ago, the third only just, the fourth was ended with its unit, the fifth has no user.
    database.sql(&format!(
        "UPDATE session SET ends_at = 9e15, idle_ms = NULL;
         UPDATE session SET ends_at = 1 WHERE number = {};
         UPDATE session SET ends_at = extract(epoch FROM clock_timestamp()) * 1000 - 1000 WHERE number = {};
         UPDATE session SET unit = '{LAB_BYTES}' WHERE number = {};
         UPDATE session SET \"user\" = '{NOBODY_BYTES}' WHERE number = {}",
        numbers[1], numbers[2], numbers[3], numbers[4]
    ));
    let sweep = || database.block_on(roster.sweep(4)).unwrap();
    assert_eq!(sweep(), Swept { ended: 2, is_more: true });
    assert_eq!(database.sql("SELECT done_at IS NULL FROM sweep"), "t");
    assert_eq!(sweep(), Swept { ended: 1, is_more: false });
    assert_eq!(database.sql("SELECT next, done_at > 0 FROM sweep"), "0|t");
    let left = [numbers[0], numbers[2], numbers[5]].map(|number| number.to_string()).join("\n");
    assert_eq!(database.sql("SELECT number FROM session ORDER BY number"), left);
    assert_eq!(database.sql("SELECT number FROM session_use ORDER BY number"), left);
    let ended = "SELECT number, organisation IS NULL, released_at IS NULL FROM ended_session ORDER BY number";
    let expected = format!("{}|f|t\n{}|f|t\n{}|f|t", numbers[1], numbers[3], numbers[4]);
    assert_eq!(database.sql(ended), expected, "the unit tells whose it was");

    // Another instance, or this one, does not begin again at once.
    database.sql("UPDATE session SET ends_at = 1");
    assert_eq!(sweep(), Swept { ended: 0, is_more: false });
    database.sql("UPDATE sweep SET done_at = done_at - 60000");
    assert_eq!(sweep(), Swept { ended: 3, is_more: false });
}

const LAB_BYTES: &str = "\\x0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c";
const NOBODY_BYTES: &str = "\\x63636363636363636363636363636363";

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn a_session_that_is_in_use_is_left_to_the_next_sweep() {
    let database = Database::new();
    let (mut ledger, roster) = database.instance();
    number(&mut ledger, issue(1));
    database.sql("UPDATE session SET ends_at = 1");
    let mut client = database.block_on(async {
        let (client, connection) =
            tokio_postgres::connect(&database.options.url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    });
    database.block_on(async {
        let writing = client.transaction().await.unwrap();
        writing.execute("UPDATE session_use SET last_used_at = 2", &[]).await.unwrap();
        assert_eq!(roster.sweep(9).await.unwrap(), Swept { ended: 0, is_more: false });
        writing.execute("UPDATE sweep SET done_at = NULL", &[]).await.unwrap();
        writing.commit().await.unwrap();
        assert_eq!(roster.sweep(9).await.unwrap(), Swept { ended: 1, is_more: false });
    });
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn the_log_is_shortened_by_what_all_have_applied_and_keeps_its_end() {
    let database = Database::new();
    let roster = database.roster();
    database.sql(
        "INSERT INTO release_log (number, kind) SELECT number, 'changed' FROM generate_series(9, 10110) AS number;
         UPDATE journal_state SET head = 10110",
    );
    let joined = database.register(&roster);
    let prune = || database.block_on(roster.prune_log()).unwrap();
    database.sql("UPDATE instance SET applied = 50");
    assert_eq!(prune(), 50);
    database.block_on(roster.acknowledge(joined.instance, LogNumber(10_110))).unwrap();
    assert_eq!(prune(), 60);
    assert_eq!(database.sql("SELECT min(number), max(number) FROM release_log"), "111|10110");
    database.block_on(roster.leave(joined.instance)).unwrap();
    assert_eq!(prune(), 0);
}
