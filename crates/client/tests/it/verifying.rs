//! Whom a token speaks for.

use std::time::Duration;

use doorward_client::{Access, Connection, Error, Method, Requirements, Role, Token, Verdict, Verifier};
use doorward_testkit::{Organisation, TestServer};
use serde_json::json;

use crate::{connect, door::Door, key, password, token};

fn with_key(server: &TestServer, organisation: &Organisation) -> Verifier {
    Verifier::with_key(connect(server), &*organisation.key)
}

fn without_key(server: &TestServer) -> Verifier {
    Verifier::without_key(connect(server))
}

#[tokio::test]
async fn every_way_tells_the_same() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.operator).await.at(&server.demo.code);
    let name = "Lager Süd 100 %";
    administrator.patch(&format!("/units/{}", server.demo.unit), json!({"name": name})).await;
    let given = connect(&server).log_in(&password(&server.demo)).await.unwrap();
    let looked = connect(&server).who_am_i(&given).await.unwrap().identity().unwrap();
    assert_eq!(looked.organisation.code, server.demo.code);
    assert_eq!(looked.organisation.id, server.demo.id.to_string());
    assert_eq!((looked.unit.name.as_str(), looked.unit.id), (name, server.demo.unit.to_string()));
    assert_eq!(
        (looked.user.name, looked.user.id),
        (server.demo.username.clone(), server.demo.user.to_string())
    );
    assert_eq!(looked.method, Method::Password);
    let idle = looked.expires_at.duration_since(looked.last_used_at.unwrap()).unwrap();
    assert!(idle.abs_diff(Duration::from_secs(3600)) <= Duration::from_secs(1), "{idle:?}");
    for verifier in [with_key(&server, &server.demo), without_key(&server), without_key(&server).coalescing()]
    {
        let told = verifier.verify(&given).await.unwrap().identity().unwrap();
        assert_eq!((told.unit.name.as_str(), &told.unit.id), (name, &server.demo.unit.to_string()));
        assert_eq!(told.organisation, looked.organisation);
        assert!(told.issued_at.is_none_or(|at| at == looked.issued_at.unwrap()));
        let batch = verifier.verify_batch(&[given.clone(), token("00"), given.clone()]).await.unwrap();
        assert_eq!(batch.len(), 3);
        assert_eq!(batch[1], Verdict::Inactive);
        assert_eq!(batch[0].clone().identity().unwrap().user, told.user);
        assert_eq!(batch[0], batch[2]);
    }
    let by_key = connect(&server).log_in(&key(&server.demo)).await.unwrap();
    let told = without_key(&server).verify(&by_key).await.unwrap().identity().unwrap();
    assert_eq!(told.method, Method::WebApiKey);
}

#[tokio::test]
async fn t6_a_released_token_is_inactive_at_once() {
    let server = TestServer::start().await;
    for verifier in [with_key(&server, &server.demo), without_key(&server), without_key(&server).coalescing()]
    {
        let given = connect(&server).log_in(&key(&server.demo)).await.unwrap();
        assert!(matches!(verifier.verify(&given).await.unwrap(), Verdict::Active(_)));
        connect(&server).release(&given).await.unwrap();
        assert_eq!(verifier.verify(&given).await.unwrap(), Verdict::Inactive);
        assert_eq!(verifier.peek(&given).await.unwrap(), Verdict::Inactive);
        assert_eq!(connect(&server).who_am_i(&given).await.unwrap(), Verdict::Inactive);
        connect(&server).release(&given).await.unwrap();
    }
}

#[tokio::test]
async fn a_peek_is_no_use_and_the_rest_is() {
    let server = TestServer::start().await;
    for verifier in [with_key(&server, &server.demo), without_key(&server)] {
        let given = connect(&server).log_in(&password(&server.demo)).await.unwrap();
        let end = async || connect(&server).who_am_i(&given).await.unwrap().identity().unwrap().expires_at;
        let first = end().await;
        server.clock.advance(Duration::from_secs(600));
        assert!(matches!(verifier.peek(&given).await.unwrap(), Verdict::Active(_)));
        assert_eq!(end().await, first);
        verifier.verify(&given).await.unwrap();
        let second = end().await;
        assert!(second > first);
        server.clock.advance(Duration::from_secs(600));
        verifier.verify_batch(std::slice::from_ref(&given)).await.unwrap();
        let third = end().await;
        assert!(third > second);
        server.clock.advance(Duration::from_secs(600));
        verifier.check(&given, &Requirements::default().organisation("crmdemo")).await.unwrap();
        assert!(end().await > third);
    }
}

#[tokio::test]
async fn t8_a_key_sees_its_own_organisation() {
    let server = TestServer::start().await;
    let foreign = connect(&server).log_in(&key(&server.other)).await.unwrap();
    let requirements = Requirements::default().organisation(&server.other.code);
    let verifier = with_key(&server, &server.demo);
    assert_eq!(verifier.verify(&foreign).await.unwrap(), Verdict::Inactive);
    assert_eq!(verifier.check(&foreign, &requirements).await.unwrap(), Access::Inactive);
    assert_eq!(verifier.verify_batch(std::slice::from_ref(&foreign)).await.unwrap(), [Verdict::Inactive]);
    for verifier in [without_key(&server), with_key(&server, &server.operator)] {
        assert!(matches!(verifier.verify(&foreign).await.unwrap(), Verdict::Active(_)));
        assert!(matches!(verifier.check(&foreign, &requirements).await.unwrap(), Access::Granted(_)));
    }
}

#[tokio::test]
async fn requirements_are_met_or_not() {
    let server = TestServer::start().await;
    let given = connect(&server).log_in(&key(&server.demo)).await.unwrap();
    let none = Requirements::default;
    for verifier in [with_key(&server, &server.demo), without_key(&server), without_key(&server).coalescing()]
    {
        for (requirements, is_met) in [
            (none(), true),
            (none().organisation("crmdemo").unit(server.demo.unit.to_string()), true),
            (none().organisation("OTHER").organisation("CRMDEMO").method(&Method::WebApiKey), true),
            (none().role(Role::Administrator), true),
            (none().organisation("OTHER"), false),
            (none().organisation("CRMDEMO").unit("another & role=administrator"), false),
            (none().method(&Method::Password), false),
            (none().method(&Method::Other("by magic".into())), false),
            (none().role(Role::Member), false),
        ] {
            let access = verifier.check(&given, &requirements).await.unwrap();
            let is_right = match &access {
                Access::Granted(identity) => is_met && identity.organisation.code == server.demo.code,
                Access::Forbidden(reason) => !is_met && !reason.is_empty(),
                Access::Inactive => false,
            };
            assert!(is_right, "{requirements:?}: {access:?}");
        }
        assert_eq!(
            verifier.check(&token("00"), &none().organisation("CRMDEMO")).await.unwrap(),
            Access::Inactive
        );
    }
}

/// What is wrong with the one who asks is an error, and says nothing about the token.
#[tokio::test]
async fn a_key_that_may_not_ask_is_an_error() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.operator).await.at("CRMDEMO");
    administrator.patch(&format!("/keys/{}", server.demo.key_id), json!({"verifier": false})).await;
    // The key of an administrator may ask anyway.
    administrator.patch(&format!("/users/{}", server.demo.user), json!({"role": "member"})).await;
    let member = with_key(&server, &server.demo);
    let unknown = Verifier::with_key(connect(&server), "0".repeat(32));
    let given = token(&administrator.token);
    for (verifier, code) in [(member, "unauthorized_client"), (unknown, "invalid_client")] {
        for error in [
            verifier.verify(&given).await.unwrap_err(),
            verifier.peek(&given).await.unwrap_err(),
            verifier.verify_batch(std::slice::from_ref(&given)).await.unwrap_err(),
            verifier.check(&given, &Requirements::default().unit("x")).await.unwrap_err(),
        ] {
            assert_eq!(error.code(), Some(code), "{error:?}");
            assert!(!format!("{verifier:?} {error:?}").contains("0000000000"), "s1");
        }
    }
}

#[tokio::test]
async fn more_than_one_question_is_asked_about_very_many() {
    let server = TestServer::start().await;
    let given = connect(&server).log_in(&key(&server.demo)).await.unwrap();
    let mut tokens: Vec<Token> = (0..2500).map(|number| token(&format!("{number:032X}"))).collect();
    tokens[0] = given.clone();
    tokens[2499] = given;
    let verdicts = with_key(&server, &server.demo).verify_batch(&tokens).await.unwrap();
    assert_eq!(verdicts.len(), 2500);
    let active: Vec<usize> =
        (0..2500).filter(|place| matches!(verdicts[*place], Verdict::Active(_))).collect();
    assert_eq!(active, [0, 2499]);
    assert!(with_key(&server, &server.demo).verify_batch(&[]).await.unwrap().is_empty());
}

/// F1: without an answer nobody is active and nobody inactive; afterwards all is as before.
#[tokio::test]
async fn f1_an_outage_is_an_error() {
    let server = TestServer::start().await;
    let door = Door::before(server.api).await;
    let connection = Connection::to(format!("http://{}", door.address)).build().unwrap();
    let given = connection.log_in(&key(&server.demo)).await.unwrap();
    let verifiers = [
        Verifier::with_key(connection.clone(), &*server.demo.key),
        Verifier::without_key(connection.clone()),
        Verifier::without_key(connection.clone()).coalescing(),
    ];
    for verifier in &verifiers {
        assert!(matches!(verifier.verify(&given).await.unwrap(), Verdict::Active(_)));
    }
    door.set_open(false);
    for verifier in &verifiers {
        for asked in [&given, &token("00")] {
            for error in [
                verifier.verify(asked).await.unwrap_err(),
                verifier.check(asked, &Requirements::default().unit("x")).await.unwrap_err(),
                verifier.verify_batch(std::slice::from_ref(asked)).await.unwrap_err(),
            ] {
                assert!(matches!(error, Error::Unreachable { .. }) && error.is_temporary(), "{error:?}");
                assert!(!format!("{error} {error:?}").contains(given.expose()), "s1");
            }
        }
    }
    door.set_open(true);
    for verifier in &verifiers {
        assert!(matches!(verifier.verify(&given).await.unwrap(), Verdict::Active(_)));
    }
}

/// A broken connection is made again within one question.
#[tokio::test]
async fn a_connection_that_broke_is_no_outage() {
    let server = TestServer::start().await;
    let door = Door::before(server.api).await;
    let connection = Connection::to(format!("http://{}", door.address)).build().unwrap();
    let verifier = Verifier::without_key(connection);
    let given = connect(&server).log_in(&key(&server.demo)).await.unwrap();
    for _ in 0..20 {
        assert!(matches!(verifier.verify(&given).await.unwrap(), Verdict::Active(_)));
        door.slam().await;
    }
    assert!(door.knocks() >= 20);
}
