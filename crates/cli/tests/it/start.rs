//! A start with many sessions: tokens are issued while sessions are read, and nobody is told that a token is not in force
//! because it is not read yet.

use std::path::Path;

use doorward_testkit::{Answer, Demo};
use rusqlite::{Connection, params};
use serde_json::json;

use crate::program::Server;

/// Enough that the server listens before it has read them all.
const MANY: u64 = 150_000;
/// Among them, those that have ended.
const ENDED: u64 = 20_000;

async fn log_in(server: &Server) -> String {
    let login = server.request("POST", "/authentication/web_api_key/token").basic_auth(Demo::KEY, Some(""));
    Answer::of(login).await.token()
}

async fn readiness(server: &Server) -> Answer {
    Answer::of(reqwest::Client::new().get(format!("http://{}/readyz", server.admin))).await
}

/// Adds sessions, live ones and such as have ended, behind those that there are.
fn multiply(folder: &Path) {
    let mut database = Connection::open(folder.join("doorward.db")).unwrap();
    let transaction = database.transaction().unwrap();
    let first: u64 =
        transaction.query_row("SELECT next_number FROM journal_state", [], |row| row.get(0)).unwrap();
    let sql = "
        WITH RECURSIVE added (number) AS (SELECT ?1 UNION ALL SELECT number + 1 FROM added LIMIT ?2)
        INSERT INTO session (number, digest, user, unit, key, issued_at, idle_ms, ends_at)
        SELECT added.number, randomblob(32), user, unit, key, issued_at, idle_ms,
               CASE WHEN added.number < ?1 + ?3 THEN issued_at ELSE ends_at END
        FROM added, (SELECT * FROM session LIMIT 1)";
    transaction.execute(sql, params![first, MANY, ENDED]).unwrap();
    transaction.execute("UPDATE journal_state SET next_number = ?1", [first + MANY]).unwrap();
    transaction.commit().unwrap();
}

/// Says how a token stands, by whichever door: in force, not in force, or not known.
async fn ask(server: &Server, token: &str) -> Option<bool> {
    let verified = Answer::of(server.request("GET", "/verify").bearer_auth(token)).await;
    let introspect = server.request("POST", "/oauth2/introspect").basic_auth(Demo::KEY, Some(""));
    let introspected = Answer::of(introspect.form(&[("token", token)])).await;
    let batch = server.request("POST", "/verify/batch").basic_auth(Demo::KEY, Some(""));
    let batched = Answer::of(batch.json(&json!({"tokens": [token]}))).await;
    let mut said = Vec::new();
    for answer in [&verified, &introspected, &batched] {
        said.push(match answer.status {
            503 => {
                assert_eq!(answer.header("retry-after"), "1", "{answer:?}");
                None
            }
            401 => Some(false),
            200 => Some(!answer.text.contains(r#""active":false"#)),
            _ => panic!("{answer:?}"),
        });
    }
    // Each was asked later than the one before it: what was known stays known.
    assert!(said.is_sorted_by_key(|said| said.is_some()), "{said:?}");
    let known: Vec<_> = said.iter().flatten().collect();
    assert!(known.windows(2).all(|pair| pair[0] == pair[1]), "{said:?}");
    said.last().copied().flatten()
}

/// Asks about tokens until all sessions are read, and once more.
async fn follow(server: &Server, live: &[&str], dead: &[&str]) {
    loop {
        let before = readiness(server).await;
        for token in live {
            assert_ne!(ask(server, token).await, Some(false), "a live token");
        }
        for token in dead {
            assert_ne!(ask(server, token).await, Some(true), "a dead token");
        }
        if before.status == 200 {
            break;
        }
        before.is_problem(503, "UNAVAILABLE", "");
        assert!(before.text.contains("reading sessions"), "{before:?}");
    }
    for token in live {
        assert_eq!(ask(server, token).await, Some(true));
    }
    for token in dead {
        assert_eq!(ask(server, token).await, Some(false));
    }
}

#[tokio::test]
async fn sessions_are_read_while_tokens_are_issued() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Server::start(folder.path(), &["--demo"]);
    let server = start();
    let oldest = log_in(&server).await;
    server.signal("TERM");
    server.wait();
    multiply(folder.path());

    // Among the first that are read, and among the last.
    let server = start();
    let newest = log_in(&server).await;
    assert_eq!(ask(&server, &newest).await, Some(true), "what was issued meanwhile is known");
    let released = log_in(&server).await;
    let release = || server.request("POST", "/authentication/token/release");
    assert_eq!(Answer::of(release().json(&json!({"token": released}))).await.code(), "OK");
    let (live, dead) = ([oldest.as_str(), &newest], [released.as_str(), "0123456789ABCDEF0123456789ABCDEF"]);
    follow(&server, &live, &dead).await;
    server.kill();

    // However it ends while it reads.
    let server = start();
    let before_kill = log_in(&server).await;
    server.kill();
    let server = start();
    let before_stop = log_in(&server).await;
    server.signal("TERM");
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");

    let server = start();
    // What is not known yet cannot be released yet.
    let answer =
        Answer::of(server.request("POST", "/authentication/token/release").json(&json!({"token": newest})))
            .await;
    let (live, dead) = if answer.status == 200 {
        (vec![oldest.as_str(), &before_kill, &before_stop], vec![released.as_str(), newest.as_str()])
    } else {
        assert_eq!((answer.status, answer.code().as_str()), (503, "UNAVAILABLE"));
        (vec![oldest.as_str(), &newest, &before_kill, &before_stop], vec![released.as_str()])
    };
    follow(&server, &live, &dead).await;

    // What had ended goes when all has been read.
    let database = Connection::open(folder.path().join("doorward.db")).unwrap();
    let count = |rows: &str| -> u64 {
        let sql = format!("SELECT count(*) FROM {rows}");
        database.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    while count("ended_session WHERE released_at IS NULL") < ENDED {
        tokio::task::yield_now().await;
    }
    server.signal("TERM");
    assert_eq!(server.wait().0, Some(0));
    assert_eq!(count("session"), MANY - ENDED + live.len() as u64);
}
