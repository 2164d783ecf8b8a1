//! One token for many tasks.

use std::time::Duration;

use doorward_client::{Client, Connection, Credentials, Error, Token, Verdict};
use doorward_domain::lifetimes::Lifetimes;
use doorward_testkit::{Options, TestServer};
use serde_json::json;

use crate::{connect, door::Door, key, logins, password, token};

const MINUTE: Duration = Duration::from_secs(60);

/// A client that lives by the clock of the server's machine.
fn client(server: &TestServer, credentials: Credentials) -> Client {
    client_at(server, connect(server), credentials)
}

fn client_at(server: &TestServer, connection: Connection, credentials: Credentials) -> Client {
    use doorward_domain::clock::TimeSource;
    let clock = server.clock.clone();
    Client::with_clock(connection, credentials, move || clock.steady())
}

/// A hundred tasks ask for a token at once.
async fn hundred(client: &Client) -> Vec<Token> {
    let tasks = (0..100).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.token().await.unwrap() })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut tokens = Vec::new();
    for task in tasks {
        tokens.push(task.await.unwrap());
    }
    tokens
}

/// Waits until the client gives another token than this.
async fn renewed(client: &Client, old: &Token) -> Token {
    loop {
        let token = client.token().await.unwrap();
        if token != *old {
            return token;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_hundred_tasks_share_one_login() {
    let server = TestServer::start().await;
    for credentials in [key(&server.demo), password(&server.demo)] {
        let before = logins(&server).await;
        let client = client(&server, credentials);
        let tokens = hundred(&client).await;
        assert!(tokens.iter().all(|token| *token == tokens[0]));
        assert_eq!(logins(&server).await, before + 1);
        assert!(matches!(client.who_am_i().await.unwrap(), Verdict::Active(_)));
    }
}

#[tokio::test]
async fn a_keys_token_is_renewed_ahead_of_its_end_while_others_go_on() {
    let server = TestServer::start().await;
    let client = client(&server, key(&server.demo));
    let first = client.token().await.unwrap();
    server.clock.advance(85 * MINUTE);
    assert_eq!(client.token().await.unwrap(), first, "there is no need yet");
    assert_eq!(logins(&server).await, 1);
    server.clock.advance(25 * MINUTE);
    assert!(hundred(&client).await.contains(&first), "nobody waits");
    assert!(server.is_in_force(first.expose()).await, "ahead of its end");
    let second = renewed(&client, &first).await;
    assert!(hundred(&client).await.iter().all(|token| *token == second));
    assert_eq!(logins(&server).await, 2);
    // What has ended is not given to anybody.
    server.clock.advance(180 * MINUTE);
    let third = hundred(&client).await;
    assert!(third.iter().all(|token| *token == third[0]));
    assert!(server.is_in_force(third[0].expose()).await);
    assert_eq!(logins(&server).await, 3);
}

/// What an organisation has set counts, and not what the contract says.
#[tokio::test]
async fn lifetimes_are_asked_for() {
    let lifetimes = Lifetimes { api_key_lifetime: 10 * MINUTE, ..Lifetimes::default() };
    let server = TestServer::with(Options { lifetimes, ..Options::default() }).await;
    let client = client(&server, key(&server.demo));
    let first = client.token().await.unwrap();
    server.clock.advance(10 * MINUTE - Duration::from_secs(1));
    let second = client.token().await.unwrap();
    assert_ne!(second, first, "a second is no time to work with a token");
    assert!(server.is_in_force(second.expose()).await);
}

#[tokio::test]
async fn a_passwords_token_is_kept_alive_by_using_it() {
    let server = TestServer::start().await;
    let client = client(&server, password(&server.demo));
    let first = client.token().await.unwrap();
    for _ in 0..4 {
        server.clock.advance(40 * MINUTE);
        let used = async || match client.connection().who_am_i(&first).await.unwrap() {
            Verdict::Active(identity) => identity.last_used_at.unwrap(),
            Verdict::Inactive => panic!("it has ended"),
        };
        let before = used().await;
        assert_eq!(client.token().await.unwrap(), first);
        while used().await == before {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(logins(&server).await, 1, "after two hours and forty minutes");
    server.clock.advance(61 * MINUTE);
    assert_ne!(client.token().await.unwrap(), first);
    assert_eq!(logins(&server).await, 2);
}

#[tokio::test]
async fn a_passwords_token_that_no_use_keeps_alive_is_renewed() {
    let lifetimes = Lifetimes { password_cap: 100 * MINUTE, ..Lifetimes::default() };
    let server = TestServer::with(Options { lifetimes, ..Options::default() }).await;
    let client = client(&server, password(&server.demo));
    let first = client.token().await.unwrap();
    server.clock.advance(40 * MINUTE);
    let used = async || {
        let identity = client.connection().who_am_i(&first).await.unwrap().identity().unwrap();
        identity.last_used_at > identity.issued_at
    };
    assert_eq!(client.token().await.unwrap(), first);
    while !used().await {
        tokio::task::yield_now().await;
    }
    server.clock.advance(40 * MINUTE);
    let second = renewed(&client, &first).await;
    assert!(server.is_in_force(second.expose()).await && server.is_in_force(first.expose()).await);
    assert_eq!(logins(&server).await, 2);
}

/// Doorward is asked about a token that an API refuses: a hundred refusals of one that has ended are one login.
#[tokio::test]
async fn t6_a_released_token_is_replaced_once() {
    let server = TestServer::start().await;
    for credentials in [key(&server.demo), password(&server.demo)] {
        let client = client(&server, credentials);
        let first = client.token().await.unwrap();
        let before = logins(&server).await;
        server.release(first.expose()).await;
        let tasks = (0..100).map(|_| {
            let client = client.clone();
            let (api, http) = (format!("http://{}/verify", server.api), reqwest());
            tokio::spawn(async move {
                let call = |token: Token| {
                    let request = http.get(&api).bearer_auth(token.expose());
                    async { request.send().await.unwrap().status().as_u16() }
                };
                client.with_token(call, |status| *status == 401).await.unwrap()
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            assert_eq!(task.await.unwrap(), 200);
        }
        assert_ne!(client.token().await.unwrap(), first);
        assert_eq!(logins(&server).await, before + 1);
    }
}

fn reqwest() -> reqwest::Client {
    reqwest::Client::new()
}

/// An API that refuses a token which is in force has another reason: a login would change nothing.
#[tokio::test]
async fn refusals_of_a_good_token_are_no_reason_to_log_in() {
    let server = TestServer::start().await;
    for credentials in [key(&server.demo), password(&server.demo)] {
        let client = client(&server, credentials);
        let first = client.token().await.unwrap();
        let before = logins(&server).await;
        for _ in 0..10 {
            let mut calls = 0;
            let call = |_| {
                calls += 1;
                async { 401 }
            };
            assert_eq!(client.with_token(call, |status| *status == 401).await.unwrap(), 401);
            assert_eq!(calls, 1);
        }
        client.reject(&token("0000"));
        assert_eq!(client.token().await.unwrap(), first);
        assert_eq!(logins(&server).await, before);
    }
}

/// A wrong password in a loop does not lock an account: within a second it is tried once.
#[tokio::test]
async fn l1_a_refused_login_is_not_repeated_at_once() {
    let server = TestServer::start().await;
    let wrong = Credentials::password(&server.demo.code, &server.demo.username, "wrong");
    let client = client(&server, wrong);
    for _ in 0..100 {
        let error = client.token().await.unwrap_err();
        assert!(error.is_invalid_credentials() && !error.is_temporary(), "{error:?}");
    }
    assert_eq!(logins(&server).await, 1);
    server.clock.advance(Duration::from_secs(1));
    client.token().await.unwrap_err();
    server.clock.advance(Duration::from_secs(1));
    client.token().await.unwrap_err();
    assert_eq!(logins(&server).await, 2, "the second pause is longer");
}

#[tokio::test]
async fn a_shutdown_releases_and_ends() {
    let server = TestServer::start().await;
    let client = client(&server, key(&server.demo));
    let given = client.token().await.unwrap();
    client.shutdown().await.unwrap();
    assert!(!server.is_in_force(given.expose()).await);
    assert!(matches!(client.token().await, Err(Error::ShutDown)));
    client.shutdown().await.unwrap();
    assert_eq!(logins(&server).await, 1);
    // One that was never used has nothing to release.
    self::client(&server, key(&server.demo)).shutdown().await.unwrap();
    assert_eq!(logins(&server).await, 1);
}

/// A login that is under way when the client is shut down leaves no token behind.
#[tokio::test]
async fn a_shutdown_waits_for_a_login_under_way() {
    let server = TestServer::start().await;
    let client = client(&server, password(&server.demo));
    let asking = {
        let client = client.clone();
        tokio::spawn(async move { client.token().await })
    };
    tokio::task::yield_now().await;
    client.shutdown().await.unwrap();
    if let Ok(given) = asking.await.unwrap() {
        assert!(!server.is_in_force(given.expose()).await);
    }
}

#[tokio::test]
async fn the_last_that_is_dropped_releases() {
    let server = TestServer::start().await;
    let client = client(&server, key(&server.demo));
    let given = client.token().await.unwrap();
    let other = client.clone();
    drop(client);
    assert_eq!(other.token().await.unwrap(), given);
    drop(other);
    while server.is_in_force(given.expose()).await {
        tokio::task::yield_now().await;
    }
}

/// Ahead of the end of a key's token there is another, and both are in force for a while.
#[tokio::test]
async fn tokens_before_the_last_are_released_too() {
    for is_dropped in [false, true] {
        let server = TestServer::start().await;
        let client = client(&server, key(&server.demo));
        let first = client.token().await.unwrap();
        server.clock.advance(110 * MINUTE);
        let second = renewed(&client, &first).await;
        assert!(server.is_in_force(first.expose()).await && server.is_in_force(second.expose()).await);
        if is_dropped {
            drop(client);
        } else {
            client.shutdown().await.unwrap();
            assert!(!server.is_in_force(first.expose()).await && !server.is_in_force(second.expose()).await);
        }
        while server.is_in_force(first.expose()).await || server.is_in_force(second.expose()).await {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn c6_a_changed_password_is_used_from_then_on() {
    let server = TestServer::start().await;
    let client = client(&server, password(&server.demo));
    let first = client.token().await.unwrap();
    let error = client.change_password("short").await.unwrap_err();
    assert_eq!(error.code(), Some("INVALID_PARAMETER"), "{error:?}");
    assert_eq!(client.token().await.unwrap(), first);
    client.change_password("a plover sleeps on the moor").await.unwrap();
    assert!(!server.is_in_force(first.expose()).await);
    let second = client.token().await.unwrap();
    assert!(server.is_in_force(second.expose()).await);
    let client = self::client(&server, key(&server.demo));
    assert!(matches!(client.change_password("whatever it is").await, Err(Error::NoPassword)));
}

#[tokio::test]
async fn another_unit_can_be_worked_in() {
    let server = TestServer::start().await;
    let unit = server.demo.other_unit.to_string();
    for credentials in [key(&server.demo), password(&server.demo)] {
        let client = client(&server, credentials.clone().in_unit(&unit));
        let identity = client.who_am_i().await.unwrap().identity().unwrap();
        assert_eq!(identity.unit.id, unit);
        let error = self::client(&server, credentials.in_unit(server.other.unit.to_string()))
            .token()
            .await
            .unwrap_err();
        assert_eq!(error.code(), Some("INVALID_UNIT"), "{error:?}");
    }
}

/// While Doorward is away a token that is good is good; after that there are errors, and then tokens again.
#[tokio::test]
async fn an_outage_is_an_outage_and_passes() {
    let server = TestServer::start().await;
    let door = Door::before(server.api).await;
    // Each request knocks at the door.
    let connection = Connection::to(format!("http://{}", door.address)).retries(0).pool_max_idle(0);
    let connection = connection.build().unwrap();
    let client = client_at(&server, connection, key(&server.demo));
    let first = client.token().await.unwrap();
    door.set_open(false);
    server.clock.advance(110 * MINUTE);
    let knocks = door.knocks();
    assert_eq!(client.token().await.unwrap(), first);
    while door.knocks() == knocks {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.token().await.unwrap(), first);
    server.clock.advance(20 * MINUTE);
    let error = client.token().await.unwrap_err();
    assert!(error.is_temporary() && matches!(error, Error::Unreachable { .. }), "{error:?}");
    let knocks = door.knocks();
    for _ in 0..100 {
        client.token().await.unwrap_err();
    }
    assert_eq!(door.knocks(), knocks, "it is not asked at each call");
    door.set_open(true);
    server.clock.advance(MINUTE);
    let second = client.token().await.unwrap();
    assert!(second != first && server.is_in_force(second.expose()).await);
}

#[tokio::test]
async fn s1_nothing_shows_a_secret() {
    let server = TestServer::start().await;
    let client = client(&server, password(&server.demo));
    let given = client.token().await.unwrap();
    let shown = format!("{client:?} {:?} {given:?} {:?}", client.connection(), key(&server.demo));
    assert!(!shown.contains(given.expose()) && !shown.contains(&server.demo.key), "{shown}");
    assert!(!shown.contains(&json!(server.demo.password).to_string()), "{shown}");
}
