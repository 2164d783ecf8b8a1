//! The ledger over PostgreSQL, in what SQLite's has not: other ledgers beside it, and connections that break.

use std::{collections::BTreeMap, sync::mpsc, thread, time::Duration};

use doorward_domain::{
    audit::{Event, chain::StoredRecord},
    directory::Status,
    id::{OrganisationId, UserId},
    journal::{Entry, Ledger, LedgerError, Outcome},
    session::{Identity, Method, Scope},
};
use doorward_storage::PostgresOptions;
use doorward_testkit::{PostgresServer, conformance::company::*};

use crate::postgres_testing::*;

/// A login in the other company.
fn issue_at_globex(token: u8) -> Entry {
    let mut entry = issue(token);
    if let Entry::Issue { identity, audit, .. } = &mut entry {
        audit.organisation = Some(GLOBEX);
        *identity = Identity {
            organisation: GLOBEX,
            organisation_code: "Globex".into(),
            is_operator: false,
            unit: GLOBEX_UNIT,
            unit_name: "Sales".into(),
            user: GLOBEX_USER,
            username: "Zoë".into(),
            method: Method::Password,
        };
    }
    entry
}

/// The same entry, recorded of an organisation.
fn of(organisation: OrganisationId, mut entry: Entry) -> Entry {
    if let Entry::Issue { audit, .. } | Entry::Release { audit, .. } | Entry::Change { audit, .. } =
        &mut entry
    {
        audit.organisation = Some(organisation);
    }
    entry
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn ledgers_at_work_together_leave_no_gap_and_do_not_lock_each_other_out() {
    const LEDGERS: u8 = 4;
    const ROUNDS: u8 = 12;
    let database = Database::new();
    let mut ledgers: Vec<_> = (0..LEDGERS).map(|_| database.ledger()).collect();
    thread::scope(|scope| {
        for (place, ledger) in (0..LEDGERS).zip(&mut ledgers) {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let token = 2 * (place * ROUNDS + round);
                    // Each begins with another organisation than its neighbours.
                    let mut batch = [of(ACME, issue(token)), issue_at_globex(token + 1)];
                    if place % 2 == 1 {
                        batch.reverse();
                    }
                    let outcomes = ledger.commit(&batch).unwrap().outcomes;
                    let numbers = outcomes.iter().map(|outcome| match outcome {
                        Outcome::Committed(Some(number)) => *number,
                        _ => panic!("{outcome:?}"),
                    });
                    let mut releases = Vec::new();
                    for (number, entry) in numbers.zip(&batch) {
                        let Entry::Issue { session, identity, .. } = entry else { unreachable!() };
                        let session = session.digest.session();
                        let release = Entry::Release {
                            number,
                            session,
                            last_used_at: at(1),
                            audit: audit(Event::Release),
                        };
                        releases.push(of(identity.organisation, release));
                    }
                    releases.reverse();
                    releases.push(Entry::Uses(Vec::new()));
                    assert!(ledger.commit(&releases).unwrap().logged.is_some());
                }
            });
        }
    });
    let released = 2 * u64::from(LEDGERS) * u64::from(ROUNDS);
    let log =
        "SELECT count(*), count(DISTINCT id), min(number), max(number) FROM release_log WHERE number > 8";
    assert_eq!(database.sql(log), format!("{released}|{released}|9|{}", 8 + released));
    assert_eq!(database.sql("SELECT head FROM journal_state"), (8 + released).to_string());
    assert_eq!(database.sql("SELECT count(*) FROM session"), "0");
    assert_eq!(
        database.sql("SELECT count(*) FROM ended_session WHERE released_at IS NOT NULL"),
        released.to_string()
    );
    // What an organisation was issued stands in its chain in the order of the numbers.
    for organisation in [ACME, GLOBEX] {
        let id = hex(&organisation.to_bytes());
        let chain = database.sql(&format!(
            "SELECT count(*), min(number), max(number) FROM audit WHERE organisation = '{id}'"
        ));
        assert_eq!(chain, format!("{released}|1|{released}"));
        let broken = database.sql(&format!(
            "SELECT count(*) FROM audit JOIN audit AS later ON later.number > audit.number
             AND later.organisation = audit.organisation AND later.at < audit.at WHERE audit.organisation = '{id}'"
        ));
        assert_eq!(broken, "0");
    }
    assert_eq!(sound_chains(&database), 3);
    // Each tells what it has counted when its connection ends.
    drop(ledgers);
    assert_eq!(
        database.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"),
        "0"
    );
}

/// Checks that each record carries the digest of the one before it, and each chain the digest of its last. Returns how
/// many chains there are.
fn sound_chains(database: &Database<'_>) -> usize {
    use doorward_domain::{
        audit::chain::{ChainDigest, Link},
        clock::Timestamp,
    };
    let mut ends: BTreeMap<String, Link> = BTreeMap::new();
    let rows = database.sql(
        "
        SELECT organisation, number, encode(previous, 'hex'), at, event, reason, request_id FROM audit
        ORDER BY organisation, number",
    );
    for row in rows.lines() {
        let columns: Vec<_> = row.split('|').collect();
        let end = ends.entry(columns[0].to_owned()).or_insert(Link::BEGINNING);
        let organisation = match columns[0] {
            "\\x" => None,
            id if id.ends_with("01") => Some(ACME),
            _ => Some(GLOBEX),
        };
        let record = StoredRecord {
            organisation,
            number: columns[1].parse().unwrap(),
            previous: columns[2].parse::<ChainDigest>().unwrap(),
            at: Timestamp::from_millis(columns[3].parse().unwrap()),
            event: columns[4].to_owned(),
            reason: columns[5].to_owned(),
            address: None,
            request_id: columns[6].to_owned(),
            unit: None,
            user: None,
            key: None,
            claimed: None,
            actor: None,
            session: None,
            members: None,
        };
        assert_eq!((record.number, record.previous), (end.number + 1, end.digest));
        *end = record.link();
    }
    for (organisation, end) in &ends {
        let kept = database.sql(&format!(
            "SELECT number, upper(encode(digest, 'hex')) FROM audit_chain WHERE organisation = '{organisation}'"
        ));
        assert_eq!(kept, format!("{}|{}", end.number, end.digest));
    }
    ends.len()
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\\x{digits}")
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn marks_that_another_ledger_moves_are_seen() {
    let database = Database::new();
    let (mut one, mut two) = (database.ledger(), database.ledger());
    let before = number(&mut one, of(ACME, issue(1)));
    let ended = number(&mut two, of(ACME, changed(end_sessions(ACME, Scope::User(ZOE)))));
    assert!(ended > before);
    assert_eq!(commit(&mut one, of(ACME, issue(2))), Outcome::Refused);
    assert_eq!(
        commit(&mut one, of(ACME, changed(set_status(Scope::User(ZOE), Status::Active)))),
        Outcome::Committed(None)
    );
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn a_batch_waits_for_another_of_its_organisation_and_for_no_other() {
    let database = Database::new();
    let mut one = database.ledger();
    let mut two = database.ledger();
    number(&mut one, of(ACME, issue(1)));
    number(&mut two, issue_at_globex(2));
    // Somebody holds ACME's chain.
    let holder = database.block_on(async {
        let (holder, connection) =
            tokio_postgres::connect(&database.options.url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let lock = format!(
            "BEGIN; SELECT 1 FROM audit_chain WHERE organisation = '{}' FOR UPDATE",
            hex(&ACME.to_bytes())
        );
        holder.batch_execute(&lock).await.unwrap();
        holder
    });
    let (done, is_done) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            number(&mut one, of(ACME, issue(3)));
            done.send(()).unwrap();
        });
        number(&mut two, issue_at_globex(4));
        assert!(is_done.try_recv().is_err());
        database.block_on(holder.batch_execute("COMMIT")).unwrap();
        is_done.recv_timeout(Duration::from_secs(60)).unwrap();
    });
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn what_a_text_of_postgresql_cannot_hold_does_not_fail_its_batch() {
    let database = Database::new();
    let mut ledger = database.ledger();
    let mut claimed = audit(Event::PasswordLogin);
    claimed.claimed = Some("ac\0me".into());
    let mut named = user(UserId::from_bytes([77; 16]), "new", &[]);
    (named.person_name, named.email) = (Some("a\0b".into()), Some("a\0@b".into()));
    let create =
        doorward_domain::change::Change::CreateUser { organisation: ACME, user: named, password: None };
    let outcomes = ledger.commit(&[issue(1), Entry::Record(claimed), changed(create)]).unwrap().outcomes;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed(_))), "{outcomes:?}");
    let kept = database.sql("SELECT encode(claimed, 'escape') FROM audit WHERE claimed IS NOT NULL");
    assert_eq!(kept, r"ac\000me", "and a record is kept as it was");
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn a_connection_that_was_cut_is_made_again_unseen() {
    let database = Database::new();
    let mut ledger = database.ledger();
    number(&mut ledger, issue(1));
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_ne!(database.sql(cut), "0");
    number(&mut ledger, issue(2));
    assert_eq!(database.sql("SELECT count(*) FROM session"), "2");
}

/// What a commit says that nobody can confirm.
fn is_lost(committed: Result<doorward_domain::journal::Committed, LedgerError>) -> String {
    let Err(LedgerError::Lost(text)) = committed else { panic!("{committed:?}") };
    text
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn a_commit_that_no_standby_confirms_is_not_known() {
    let server = PostgresServer::start();
    let database = Database::on(&server);
    let mut ledger = database.ledger();
    let session = number(&mut ledger, issue(1));
    server.wait_for_standbys("nobody");
    // Wait until the server has read that.
    let waits = "SELECT current_setting('synchronous_standby_names')";
    while database.sql(waits) != "nobody" {}

    for end in ["pg_cancel_backend", "pg_terminate_backend"] {
        thread::scope(|scope| {
            let release = scope.spawn(|| is_lost(ledger.commit(&[release(session, 1)])));
            let end = format!("SELECT count({end}(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
            // As soon as it waits it is ended.
            while database.sql(&end) == "0" {}
            let text = release.join().unwrap();
            assert!(text.contains("whether"), "{text}");
        });
    }
    // It was stored all the same.
    assert_eq!(database.sql("SELECT count(*) FROM session"), "0");
    server.wait_for_standbys("");
    number(&mut ledger, issue(2));
    assert_eq!(sound_chains(&database), 1);
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn a_server_that_is_gone_is_missed_and_found_again() {
    let server = PostgresServer::start();
    let mut options = PostgresOptions::new(server.create_database());
    options.statement_timeout = Duration::from_secs(1);
    let database = Database::with(&server, options);
    let mut ledger = database.ledger();
    number(&mut ledger, issue(1));
    server.kill();
    let text = is_lost(ledger.commit(&[issue(2)]));
    assert!(text.contains("nothing was stored") && text.contains(&server.port().to_string()), "{text}");
    server.run();
    number(&mut ledger, issue(3));

    server.pause();
    let text = is_lost(ledger.commit(&[issue(4)]));
    assert!(text.contains("in time"), "{text}");
    server.resume();
    number(&mut ledger, issue(5));
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn the_server_that_takes_writes_is_found_after_a_failover() {
    let primary = PostgresServer::start();
    let url = primary.create_database();
    let standby = primary.start_standby("second");
    primary.wait_for_standbys("second");
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", standby.port(), primary.port());
    let url = url.replace(&format!("127.0.0.1:{}", primary.port()), &hosts);
    let database = Database::with(&primary, PostgresOptions::new(url.clone()));
    let mut ledger = database.ledger();
    let session = number(&mut ledger, issue(1));
    let logged = ledger.commit(&[release(session, 1)]).unwrap().logged;
    primary.kill();
    is_lost(ledger.commit(&[issue(2)]));
    standby.promote();
    standby.wait_for_standbys("");
    let next = number(&mut ledger, issue(3));
    assert!(next > session);
    let name = url.rsplit('/').next().unwrap();
    assert_eq!(standby.sql(name, "SELECT head FROM journal_state"), logged.unwrap().0.to_string());
}

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn a_table_that_has_grown_is_not_read_whole() {
    let database = Database::new();
    let mut ledger = database.ledger();
    let issue_and_release = |ledger: &mut _, tokens: std::ops::Range<u8>| {
        for token in tokens {
            let session = number(ledger, of(ACME, issue(token)));
            commit(ledger, of(ACME, release(session, token)));
        }
    };
    database.sql(
        "ALTER TABLE session SET (autovacuum_enabled = off);
         ALTER TABLE session_use SET (autovacuum_enabled = off)",
    );
    number(&mut ledger, of(ACME, issue(1)));
    database.sql("ANALYZE");
    // Often enough for the server to keep its plans, if it is let.
    issue_and_release(&mut ledger, 2..12);
    database.sql(
        "INSERT INTO session (number, digest, \"user\", unit, issued_at, ends_at)
         SELECT number, sha256(number::text::bytea), '', '', 0, 0 FROM generate_series(1000000, 1020000) AS number;
         INSERT INTO session_use (number, last_used_at) SELECT number, 0 FROM generate_series(1000000, 1020000) AS number",
    );
    let read = "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables
                WHERE relname IN ('session', 'session_use')";
    let before: u64 = database.sql(read).parse().unwrap();
    issue_and_release(&mut ledger, 12..22);
    // The server has counted all that a connection did when that has ended.
    drop(ledger);
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while database.sql(others) != "0" {}
    let after: u64 = database.sql(read).parse().unwrap();
    assert!(after - before < 2_000, "{} rows were read", after - before);
}
