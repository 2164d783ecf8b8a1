//! How questions are answered: along which index, and how many at once.

use std::{sync::Arc, time::Duration};

use doorward_domain::{
    attempts::{AttemptCount, Gate, SharedAttempts},
    audit::chain::RecordFilter,
    catalogue::{Catalogue, OrganisationReference},
    cluster::SessionSource,
    directory::{Directory, Status},
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::StoreError,
    observer::NoObserver,
    resource::{KeyFilter, OrganisationFilter, PageRequest, UnitFilter, UserFilter},
    session::{Method, PastSession, SessionNumber},
    session_table::{SessionFilter, SessionPlace},
};
use doorward_testkit::{PostgresServer, conformance::company::*};
use tokio_postgres::Error;

use super::{PostgresDirectory, PostgresOptions, PostgresStore};
use crate::Kind;

/// Opens a database with both companies to read from.
async fn directory(options: &PostgresOptions) -> PostgresDirectory {
    let first: Vec<_> = both_companies().into_iter().map(changed).collect();
    let store = PostgresStore::create(options, Kind::Real, &first).await.unwrap();
    store.start(Arc::new(NoObserver)).unwrap().1
}

fn options(pool: usize) -> PostgresOptions {
    PostgresOptions { pool, ..PostgresOptions::new(PostgresServer::shared().create_database()) }
}

/// The one query that reads a whole table: it counts keys, every few minutes, for a metric.
const READS_ALL: &str = "count(*) FILTER";

/// Ten thousand users of ACME and a hundred thousand sessions, of which half are one user's; and what else there is of
/// things in such a company.
const CROWD: &str = r#"
    INSERT INTO organisation (id, code, canonical, name, is_operator, status, created_at, updated_at)
    SELECT decode(md5('o' || n), 'hex'), 'o' || n, 'o' || n, 'o', false, 'active', 0, 0
    FROM generate_series(1, 2000) AS n;
    INSERT INTO unit (id, organisation, name, canonical, status, created_at, updated_at)
    SELECT decode(md5('u' || n), 'hex'), decode(repeat('01', 16), 'hex'), 'u' || n, 'u' || n, 'active', 0, 0
    FROM generate_series(1, 2000) AS n;
    INSERT INTO "user" (id, organisation, username, canonical, email, email_canonical, role, status,
                        must_change_password, created_at, updated_at)
    SELECT decode(md5('p' || n), 'hex'), decode(repeat('01', 16), 'hex'), 'p' || n, 'p' || n, 'p' || n, 'p' || n,
           'member', CASE WHEN n % 10 = 0 THEN 'disabled' ELSE 'active' END, false, 0, 0
    FROM generate_series(1, 10000) AS n;
    INSERT INTO membership ("user", unit, organisation, is_default)
    SELECT decode(md5('p' || n), 'hex'), decode(md5('u' || (n % 2000 + 1)), 'hex'), decode(repeat('01', 16), 'hex'), true
    FROM generate_series(1, 10000) AS n;
    INSERT INTO web_api_key (id, organisation, "user", name, classification, status, verifier, allowed_addresses,
                             created_at, updated_at)
    SELECT decode(md5('k' || n), 'hex'), decode(repeat('01', 16), 'hex'), decode(md5('p' || n), 'hex'), 'k',
           'SYSTEMIC_KEY', 'active', false, '', 0, 0
    FROM generate_series(1, 5000) AS n;
    INSERT INTO key_secret (digest, key, created_at)
    SELECT sha256(('k' || n)::bytea), decode(md5('k' || n), 'hex'), 0 FROM generate_series(1, 5000) AS n;
    INSERT INTO known_address ("user", network, succeeded_at)
    SELECT decode(md5('p' || n), 'hex'), '10.0.0.' || n % 200, 0 FROM generate_series(1, 5000) AS n;
    INSERT INTO organisation_rule (organisation, rule, value)
    SELECT decode(md5('o' || n), 'hex'), 'passwords.min_length', '20' FROM generate_series(1, 2000) AS n;
    INSERT INTO session (number, digest, "user", unit, key, issued_at, idle_ms, ends_at)
    SELECT n, sha256(('s' || n)::bytea),
           CASE WHEN n % 2 = 0 THEN decode(md5('p1'), 'hex') ELSE decode(md5('p' || n % 10000), 'hex') END,
           decode(md5('u' || (n % 2000 + 1)), 'hex'),
           CASE WHEN n % 6 = 0 THEN decode(md5('k1'), 'hex') END, 1800000000000, 3600000, 1900000000000
    FROM generate_series(1, 100000) AS n;
    INSERT INTO session_use (number, last_used_at) SELECT number, issued_at FROM session;
    INSERT INTO audit (organisation, number, previous, at, event, reason, request_id)
    SELECT decode(repeat('01', 16), 'hex'), n, sha256('r'), 0, 'release', 'ok', '' FROM generate_series(1, 20000) AS n;
    INSERT INTO audit_chain (organisation, number)
    SELECT decode(md5('o' || n), 'hex'), 1 FROM generate_series(1, 2000) AS n;
    INSERT INTO ending (number, scope, at, cause)
    SELECT n, decode(md5('p' || n), 'hex'), 0, 'user_disabled' FROM generate_series(1, 5000) AS n;
    INSERT INTO ended_session (session, number, unit, "user", issued_at, last_used_at, ends_at, at)
    SELECT decode(md5('e' || n), 'hex'), n, decode(md5('u' || n), 'hex'), decode(md5('p' || n), 'hex'), 0, 0, 0, 0
    FROM generate_series(1, 5000) AS n;
    INSERT INTO once (caller, key, request, made, at)
    SELECT decode(md5('p' || n), 'hex'), sha256('k'), sha256('r'), '', 0 FROM generate_series(1, 5000) AS n;
    INSERT INTO login_attempt (gate, failures, window_ends, locked_until, locks, under_way, overdue_at, stale_at)
    SELECT decode(md5('p' || n), 'hex'), 1, 0, 0, 0, '{}', '{}', 5 + n FROM generate_series(1, 5000) AS n;
    ANALYZE"#;

/// Every statement of look-ups and lists goes along an index, whatever its values are, and sorts nothing without bound.
#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn no_query_is_without_an_index() {
    let options = options(1);
    let directory = directory(&options).await;
    PostgresServer::shared().sql(&options.url, CROWD);
    ask_everything(&directory).await;
    let plans = directory.ask(async |connection| {
        // One plan for all values, as the server makes it when a statement is executed often.
        connection.batch_execute("SET plan_cache_mode = force_generic_plan").await?;
        let statements = "SELECT name, statement, cardinality(parameter_types) FROM pg_prepared_statements";
        let mut plans = Vec::new();
        for row in connection.query(statements, &[]).await? {
            let (name, sql, values): (String, String, i32) = (row.get(0), row.get(1), row.get(2));
            if sql.contains("pg_prepared_statements") {
                continue;
            }
            let values = vec!["NULL"; usize::try_from(values).unwrap()].join(", ");
            let values = if values.is_empty() { values } else { format!("({values})") };
            let plan = connection.query(&format!("EXPLAIN (COSTS OFF) EXECUTE {name}{values}"), &[]).await?;
            let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
            plans.push((sql, plan));
        }
        Ok::<_, Error>(plans)
    });
    let plans = plans.await.unwrap();
    assert!(plans.len() >= 28, "{}", plans.len());
    for (sql, plan) in plans {
        let plan = plan.join("\n");
        assert!(!plan.contains("Seq Scan") || sql.contains(READS_ALL), "{sql}\n{plan}");
        assert!(!plan.contains("Bitmap"), "{sql}\n{plan}");
        // Sorted are a few rows: of a list of ids, of a page, or of one user's part of it.
        let is_bounded = ["unnest(", "AS edges", "AS owner"].iter().any(|bound| sql.contains(bound));
        assert!(!plan.contains("Sort") || is_bounded, "{sql}\n{plan}");
        assert!(
            !sql.contains("JOIN login_attempt") || plan.contains("Index Cond: ((gate >="),
            "{sql}\n{plan}"
        );
        assert!(!sql.contains("ORDER BY session.unit") || plan.contains("session_place"), "{sql}\n{plan}");
    }
}

async fn ask_everything(directory: &PostgresDirectory) {
    let page = || PageRequest { after: None, limit: 2 };
    directory.find_by_name(canonical("acme"), canonical("zoë")).await.unwrap();
    directory.find_by_key(key_digest(31)).await.unwrap();
    directory.find_holder(ZOE, Some(KEY)).await.unwrap();
    directory.list_names(ZOE).await.unwrap();
    directory.find_organisation(OrganisationReference::Id(ACME)).await.unwrap();
    directory.find_organisation(OrganisationReference::Code(canonical("acme"))).await.unwrap();
    directory.list_organisations(OrganisationFilter::default(), page()).await.unwrap();
    directory.get_overrides(ACME).await.unwrap();
    directory.find_unit(ACME, SALES).await.unwrap();
    directory.find_units(ACME, vec![SALES]).await.unwrap();
    directory.list_units(ACME, UnitFilter::default(), page()).await.unwrap();
    directory.find_user(ACME, ZOE).await.unwrap();
    directory.find_users(ACME, vec![canonical("zoë")], vec![ZOE]).await.unwrap();
    let (unit, status, email) = (Some(SALES), Some(Status::Active), Some("x@y".to_owned()));
    for filter in [
        UserFilter::default(),
        UserFilter { unit, ..UserFilter::default() },
        UserFilter { status, ..UserFilter::default() },
        UserFilter { email, ..UserFilter::default() },
    ] {
        directory.list_users(ACME, filter, page()).await.unwrap();
    }
    directory.find_key(ACME, KEY).await.unwrap();
    for user in [None, Some(ZOE)] {
        directory.list_keys(ACME, KeyFilter { user, ..KeyFilter::default() }, page()).await.unwrap();
    }
    directory.count_keys(at(0), at(0)).await.unwrap();
    directory.list_session_addresses(vec![SessionNumber(1)]).await.unwrap();
    directory.find_once(ZOE, [0; 32]).await.unwrap();
    for oldest_first in [false, true] {
        let filter = RecordFilter { oldest_first, ..RecordFilter::default() };
        directory.list_records(Some(ACME), filter, page()).await.unwrap();
    }
    directory.find_chain(None).await.unwrap();
    directory.find_oldest_record().await.unwrap();
    directory.find_ended_session(digest(200).session()).await.unwrap();
    let past = PastSession {
        number: SessionNumber(1),
        organisation: Some(ACME),
        unit: SALES,
        user: ZOE,
        method: Method::Password,
        issued_at: at(0),
        last_used_at: at(0),
        idle: None,
        ends_at: at(0),
        released: None,
    };
    directory.find_ending(past).await.unwrap();
    directory.find_session(digest(1).session()).await.unwrap();
    let after = SessionPlace { user: ZOE, unit: SALES, key: None, number: SessionNumber(1) };
    directory.list_sessions(ACME, SessionFilter::default(), Some(after), 2, at(0)).await.unwrap();
    let (attempts, gate) = (directory.attempts(), Gate::User(ZOE, None));
    let never = at(0);
    let count = AttemptCount {
        failures: 1,
        window_ends: never,
        locked_until: never,
        locks: 0,
        under_way: Vec::new(),
        stale_at: never,
    };
    assert!(attempts.replace_count(gate, None, Some(count.clone())).await.unwrap());
    assert!(attempts.replace_count(gate, Some(count.clone()), Some(count.clone())).await.unwrap());
    assert_eq!(attempts.list_counts(vec![ZOE]).await.unwrap(), [(gate, count.clone())]);
    assert!(attempts.replace_count(gate, Some(count), None).await.unwrap());
    assert_eq!(attempts.find_count(gate).await.unwrap(), None);
    attempts.forget_counts(never).await.unwrap();
    attempts.agree_on_key([1; 16]).await.unwrap();
}

/// A page of an organisation's sessions costs what stands on it, whoever has how many.
#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn pages_of_sessions_have_each_session_once() {
    let options = options(2);
    let directory = directory(&options).await;
    PostgresServer::shared().sql(&options.url, CROWD);
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = directory.list_sessions(ACME, SessionFilter::default(), after, 997, at(1)).await.unwrap();
        found.extend(page.iter().map(|stored| SessionPlace {
            user: stored.identity.user,
            unit: stored.identity.unit,
            key: stored.identity.method.key(),
            number: stored.number,
        }));
        if page.len() < 997 {
            break;
        }
        after = found.last().copied();
    }
    // A key is its own user's alone, and user 0 is nobody.
    let wanted = r#"SELECT count(*) FROM session JOIN "user" ON "user".id = session."user"
                    WHERE key IS NULL OR "user".id = decode(md5('p1'), 'hex')"#;
    let wanted = PostgresServer::shared().sql(&options.url, wanted);
    assert_eq!(found.len().to_string(), wanted);
    assert!(found.is_sorted_by(|one, next| one < next));
    let nobody = OrganisationId::from_bytes(NOBODY);
    assert_eq!(directory.list_sessions(nobody, SessionFilter::default(), None, 9, at(1)).await.unwrap(), []);
    let filter = SessionFilter {
        user: Some(UserId::from_bytes(NOBODY)),
        unit: Some(UnitId::from_bytes(NOBODY)),
        key: Some(KeyId::from_bytes(NOBODY)),
        by_key: None,
    };
    assert_eq!(directory.list_sessions(ACME, filter, None, 9, at(1)).await.unwrap(), []);
}

/// A search through audit records, however long it takes, holds up no login, and the next search is told to come again.
#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn logins_do_not_wait_for_readers_of_audit_records() {
    // One of four connections may search.
    let options = PostgresOptions { statement_timeout: Duration::from_secs(10), ..options(4) };
    let directory = directory(&options).await;
    let (began, has_begun) = tokio::sync::oneshot::channel();
    let (let_go, wait) = tokio::sync::oneshot::channel::<()>();
    let searcher = directory.clone();
    let slow = tokio::spawn(async move {
        let search = searcher.ask_for_records(async |connection| {
            connection.batch_execute("SELECT").await?;
            began.send(()).unwrap();
            Ok(wait.await.is_ok())
        });
        search.await
    });
    has_begun.await.unwrap();
    let page = PageRequest { after: None, limit: 1 };
    let (search, login) = tokio::join!(
        directory.list_records(None, RecordFilter::default(), page.clone()),
        directory.find_by_name(canonical("acme"), canonical("zoë")),
    );
    assert_eq!(search, Err(StoreError::Busy));
    login.unwrap();
    let_go.send(()).unwrap();
    assert_eq!(slow.await.unwrap(), Ok(true));
    directory.list_records(None, RecordFilter::default(), page).await.unwrap();
}

#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn o1_questions_that_wait_too_long_for_a_connection_are_told_so() {
    let options = PostgresOptions { statement_timeout: Duration::from_secs(2), ..options(1) };
    let directory = directory(&options).await;
    directory.list_names(ZOE).await.unwrap();
    let (began, has_begun) = tokio::sync::oneshot::channel();
    let holder = directory.clone();
    // Until it is given up itself.
    let slow = tokio::spawn(async move {
        holder
            .ask(async |_| {
                began.send(()).unwrap();
                std::future::pending().await
            })
            .await
    });
    has_begun.await.unwrap();
    assert_eq!(directory.list_names(ZOE).await, Err(StoreError::Busy));
    let slow: Result<(), _> = slow.await.unwrap();
    assert!(matches!(slow, Err(StoreError::Unavailable(_))), "{slow:?}");
    directory.list_names(ZOE).await.unwrap();
}

/// Texts for operators say where and what to do, and no secret.
#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn o1_a_database_that_is_gone_is_unavailable_and_comes_back() {
    let server = PostgresServer::start();
    let url = server.create_database().replace("postgres@", "guarded@");
    let options = PostgresOptions { password: Some("open sesame".into()), ..PostgresOptions::new(url) };
    let directory = directory(&options).await;
    directory.list_names(ZOE).await.unwrap();
    server.kill();
    for _ in 0..2 {
        let Err(StoreError::Unavailable(text)) = directory.list_names(ZOE).await else {
            panic!("it answered")
        };
        assert!(text.contains("test_0") && text.contains(&format!("127.0.0.1:{}", server.port())), "{text}");
        assert!(!text.contains("sesame") && !text.contains('\n') && text.contains("; "), "{text}");
    }
    server.run();
    directory.list_names(ZOE).await.unwrap();
}
