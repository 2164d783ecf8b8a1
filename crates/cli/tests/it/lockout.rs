//! Failed logins lock an account.

use std::time::Duration;

use doorward_domain::{attempts::LockoutRules, passwords::HashingLimits};
use doorward_testkit::{Answer, Options, TestServer};
use serde_json::json;

fn options(failures: u32, queue: usize) -> Options {
    let lockout = LockoutRules { failures, ..LockoutRules::default() };
    Options { lockout, hashing: HashingLimits { threads: 2, queue }, ..Options::default() }
}

#[tokio::test]
async fn l1_failures_lock_waits_grow_and_an_administrator_can_unlock() {
    let server = TestServer::with(options(3, 64)).await;
    let fail = async || {
        for _ in 0..3 {
            assert_eq!(server.try_password(&server.demo, "wrong").await.code(), "INVALID_CREDENTIALS");
        }
    };
    for minutes in [1u64, 2, 4] {
        fail().await;
        server.clock.advance(Duration::from_secs(minutes * 60 - 1));
        assert_eq!(
            server.try_password(&server.demo, "1234").await.status,
            401,
            "locked for {minutes} minutes"
        );
        server.clock.advance(Duration::from_secs(1));
    }
    server.log_in(&server.demo).await;
    fail().await;
    assert_eq!(server.try_password(&server.demo, "1234").await.status, 401);
    server.log_in(&server.other).await;
    server.log_in_with_key(&server.demo).await;
    let administrator = server.administrator(&server.operator).await;
    let unlock = format!("/admin/v1/organisations/CRMDEMO/users/{}/unlock", server.demo.user);
    administrator.ok("POST", &unlock, serde_json::Value::Null).await;
    server.log_in(&server.demo).await;
}

#[tokio::test]
async fn l1_old_failures_are_forgotten() {
    let server = TestServer::with(options(3, 64)).await;
    for _ in 0..2 {
        server.try_password(&server.demo, "wrong").await;
    }
    server.clock.advance(Duration::from_secs(15 * 60));
    for _ in 0..2 {
        server.try_password(&server.demo, "wrong").await;
    }
    server.log_in(&server.demo).await;
}

/// L2: a thousand guesses at once get no more tries than a thousand in a row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_a_thousand_guesses_at_once_are_ten_tries() {
    let server = TestServer::with(options(10, 2000)).await;
    let guess = |n: u32| {
        let body = json!({"username": "MPAdministrator", "password": format!("guess {n}"), "organisation": "crmdemo"});
        tokio::spawn(Answer::of(server.request("POST", "/authentication/token").json(&body)))
    };
    let guesses: Vec<_> = (0..1000).map(guess).collect();
    for guess in guesses {
        assert_eq!(guess.await.unwrap().code(), "INVALID_CREDENTIALS");
    }
    let reasons: Vec<_> = server.audit().await.into_iter().map(|row| row.reason).collect();
    let count = |wanted: &str| reasons.iter().filter(|reason| *reason == wanted).count();
    assert_eq!((count("wrong_password"), count("locked")), (10, 990));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_right_logins_at_once_all_succeed() {
    let server = TestServer::with(options(2, 200)).await;
    let body = json!({"username": "mpadministrator", "password": "1234", "organisation": "CRMDEMO"});
    let log_in = |_| tokio::spawn(Answer::of(server.request("POST", "/authentication/token").json(&body)));
    let logins: Vec<_> = (0..100).map(log_in).collect();
    for login in logins {
        login.await.unwrap().token();
    }
}

/// L5: a locked account answers its own password as any account answers a wrong one.
#[tokio::test]
async fn l5_locked_looks_like_a_wrong_password() {
    let server = TestServer::with(options(2, 64)).await;
    let wrong = server.try_password(&server.demo, "wrong").await;
    server.try_password(&server.demo, "wrong").await;
    for password in ["1234", "wrong"] {
        let locked = server.try_password(&server.demo, password).await;
        assert_eq!((locked.status, &locked.text), (wrong.status, &wrong.text));
        let names = |answer: &Answer| answer.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&locked), names(&wrong));
    }
    assert_eq!(server.audit().await.last().unwrap().reason, "locked");
}
