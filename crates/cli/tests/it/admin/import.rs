//! `POST /admin/v1/organisations/{organisation}/users/import`.

use doorward_domain::{credential::Password, passwords::Argon2Cost};
use doorward_testkit::{Administrator, Answer, Options, SystemRandomness, TestServer};
use serde_json::{Value, json};

use super::{id, text};

const PASSWORD: &str = "correct horse battery staple";

/// A hash of [`PASSWORD`] as an earlier system may have made it.
fn hash() -> String {
    let cost = Argon2Cost { memory_kib: 8, iterations: 1, parallelism: 1 };
    let hash = cost.hash(&Password::parse(PASSWORD).unwrap(), &SystemRandomness).unwrap();
    hash.as_str().to_owned()
}

/// Sends a batch that must be answered; how many were created and were there, and who was not and why.
async fn import(administrator: &Administrator<'_>, users: &[Value]) -> (u64, u64, Vec<Value>) {
    told(&administrator.ok("POST", "/users/import", json!({"users": users})).await)
}

/// As [`import`], under a name of the batch.
async fn import_as(administrator: &Administrator<'_>, key: &str, users: &[Value]) -> (u64, u64, Vec<Value>) {
    let request = administrator.request("POST", "/users/import").header("idempotency-key", key);
    let answer = Answer::of(request.json(&json!({"users": users}))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    told(&answer.json())
}

fn told(answer: &Value) -> (u64, u64, Vec<Value>) {
    let rejected = answer["rejected"].as_array().unwrap().clone();
    (answer["created"].as_u64().unwrap(), answer["present"].as_u64().unwrap(), rejected)
}

async fn usernames(administrator: &Administrator<'_>) -> Vec<String> {
    super::each(&administrator.list("/users?limit=1000").await, "username")
}

#[tokio::test]
async fn users_are_brought_in_and_log_in_with_the_passwords_they_had() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let (unit, second) = (server.demo.unit.to_string(), server.demo.other_unit.to_string());
    let own = "ABCDEF0123456789ABCDEF0123456789";
    let users = [
        json!({"id": own, "username": " Ann ", "password_hash": hash(), "person_name": "Ann Smith",
            "email": "ann@example.com", "role": "administrator", "units": [unit, second], "default_unit": second}),
        json!({"username": "bob", "password_hash": hash(), "units": [unit], "must_change_password": true}),
        json!({"username": "cleo", "password": PASSWORD, "units": [unit], "status": "disabled"}),
        json!({"username": "dan", "units": [unit, second], "default_unit": null, "email": null}),
    ];
    assert_eq!(import(&administrator, &users).await, (4, 0, vec![]));
    let ann = administrator.get(&format!("/users/{own}")).await;
    let mut units = [unit.clone(), second.clone()];
    units.sort();
    for (member, expected) in [
        ("username", json!("Ann")),
        ("person_name", json!("Ann Smith")),
        ("email", json!("ann@example.com")),
        ("role", json!("administrator")),
        ("status", json!("active")),
        ("units", json!(units)),
        ("default_unit", json!(second)),
        ("must_change_password", json!(false)),
    ] {
        assert_eq!(ann[member], expected, "{member}");
    }
    server.try_login("CRMDEMO", "ann", PASSWORD).await.token();
    let bob = server.try_login("CRMDEMO", "bob", PASSWORD).await;
    assert_eq!(bob.code(), "PASSWORD_CHANGE_REQUIRED");
    assert_eq!(server.try_login("CRMDEMO", "cleo", PASSWORD).await.code(), "INVALID_CREDENTIALS");
    let all = administrator.list("/users?limit=10").await;
    let dan = all.iter().find(|user| user["username"] == "dan").unwrap();
    assert_eq!((&dan["default_unit"], dan["units"].as_array().unwrap().len()), (&Value::Null, 2));
    let made: Vec<_> = server
        .audit()
        .await
        .into_iter()
        .filter(|row| row.event == "created" && row.actor.is_some())
        .collect();
    assert_eq!(made.len(), 4, "one record each");
}

#[tokio::test]
async fn what_is_wrong_with_one_says_nothing_of_the_others() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let before = usernames(&administrator).await;
    let unit = server.demo.unit.to_string();
    let wrong = [
        (json!(7), "MALFORMED_REQUEST", None),
        (json!(["zoe"]), "MALFORMED_REQUEST", None),
        (json!({}), "MISSING_PARAMETER", Some("username")),
        (json!({"username": ""}), "INVALID_PARAMETER", Some("username")),
        (json!({"username": "x", "pasword": "y"}), "INVALID_PARAMETER", Some("pasword")),
        (json!({"username": 5}), "INVALID_PARAMETER", Some("username")),
        (json!({"username": "x", "units": [super::nobody()]}), "INVALID_PARAMETER", Some("units")),
        (json!({"username": "x", "default_unit": unit}), "INVALID_PARAMETER", Some("default_unit")),
        (json!({"username": "x", "units": [5]}), "INVALID_PARAMETER", Some("units[0]")),
        (json!({"username": "x", "email": "x"}), "INVALID_PARAMETER", Some("email")),
        (json!({"username": "x", "role": "king"}), "INVALID_PARAMETER", Some("role")),
        (json!({"username": "x", "password": "short"}), "INVALID_PARAMETER", Some("password")),
        (json!({"username": "x", "password_hash": "rot13:k"}), "INVALID_PARAMETER", Some("password_hash")),
        (
            json!({"username": "x", "password_hash": hash(), "password": PASSWORD}),
            "INVALID_PARAMETER",
            Some("password_hash"),
        ),
        (json!({"username": "MPAdministrator"}), "TAKEN", Some("username")),
        (json!({"username": "x", "id": server.demo.user.to_string()}), "TAKEN", Some("id")),
        (json!({"username": "x", "id": server.other.user.to_string()}), "TAKEN", Some("id")),
        (json!({"username": "GOOD-3", "email": "other@example.com"}), "TAKEN", Some("username")),
    ];
    let mut users = Vec::new();
    for (place, (user, ..)) in wrong.iter().enumerate() {
        users.extend([json!({"username": format!("good-{place}")}), user.clone()]);
    }
    let (created, present, rejected) = import(&administrator, &users).await;
    assert_eq!((created, present, rejected.len()), (wrong.len() as u64, 0, wrong.len()), "{rejected:?}");
    for (place, ((user, code, member), told)) in wrong.iter().zip(&rejected).enumerate() {
        assert_eq!(told["index"], 2 * place + 1);
        assert_eq!((text(told, "code"), told["member"].as_str()), (*code, *member), "{user}: {told}");
        assert!(text(told, "detail").ends_with('.'), "{told}");
    }
    let mut expected: Vec<_> = (0..wrong.len()).map(|place| format!("good-{place}")).chain(before).collect();
    let mut found = usernames(&administrator).await;
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    for (body, member) in [
        (json!({}), "users"),
        (json!({"users": {}}), "users"),
        (json!({"users": vec![json!({}); 1001]}), "users"),
        (json!({"users": [], "more": 1}), "more"),
    ] {
        let answer = administrator.send_json("POST", "/users/import", body).await;
        assert_eq!((answer.status, answer.json()["member"].as_str()), (400, Some(member)), "{answer:?}");
    }
}

#[tokio::test]
async fn a_batch_that_is_sent_again_makes_nobody_twice() {
    // Hashes of the earlier system are replaced at the next login.
    let cost = Argon2Cost { memory_kib: 16, iterations: 1, parallelism: 1 };
    let server = TestServer::with(Options { cost, ..Options::default() }).await;
    let administrator = server.administrator(&server.demo).await;
    let (unit, hash) = (server.demo.unit.to_string(), hash());
    let users: Vec<_> = (0..450)
        .map(|n| json!({"username": format!("user-{n:03}"), "password_hash": hash, "units": [unit]}))
        .collect();
    let first = &users[..300];
    assert_eq!(import_as(&administrator, "one", first).await, (300, 0, vec![]));
    // Meanwhile some live: they log in and their hashes are replaced, are renamed, or change their passwords.
    server.try_login("CRMDEMO", "user-000", PASSWORD).await.token();
    let all = administrator.list("/users?limit=1000").await;
    let path = |name: &str| {
        let found = all.iter().find(|user| user["username"] == name).unwrap();
        format!("/users/{}", id(found))
    };
    administrator.patch(&path("user-001"), json!({"username": "renamed"})).await;
    let other = json!({"password": "staple battery horse correct", "must_change": false});
    administrator.ok("POST", &format!("{}/password", path("user-002")), other).await;
    let count = usernames(&administrator).await.len();
    assert_eq!(import_as(&administrator, "one", first).await, (0, 300, vec![]));
    assert_eq!(usernames(&administrator).await.len(), count);
    // Without the name of the batch it is those who are exactly like this that count as present.
    let (created, present, rejected) = import(&administrator, first).await;
    assert_eq!((created, present), (1, 297), "the renamed one's name is free: {rejected:?}");
    let taken: Vec<_> = rejected.iter().map(|told| told["index"].as_u64().unwrap()).collect();
    assert_eq!(taken, [0, 2]);
    // A longer batch, of which a part is there.
    assert_eq!(import(&administrator, &users[3..]).await, (150, 297, vec![]));
    // The same user twice in one batch is one user.
    let twice = [json!({"username": "twin"}), json!({"username": "TWIN"}), json!({"username": "twin"})];
    assert_eq!(import(&administrator, &twice).await, (1, 2, vec![]));
}

/// Both at once, as after a time-out: whoever comes first creates, and nobody is made twice or rejected.
#[tokio::test]
async fn a_batch_that_is_sent_twice_at_once_makes_nobody_twice() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let hash = hash();
    for round in 0..5 {
        let users: Vec<_> =
            (0..400).map(|n| json!({"username": format!("{round}-{n}"), "password_hash": hash})).collect();
        let key = round.to_string();
        let send = || import_as(&administrator, &key, &users);
        let (one, two, three) = tokio::join!(send(), send(), send());
        assert_eq!(one.0 + two.0 + three.0, 400);
        assert_eq!(one.1 + two.1 + three.1, 800);
        assert!(one.2.is_empty() && two.2.is_empty() && three.2.is_empty(), "{one:?} {two:?} {three:?}");
    }
    assert_eq!(usernames(&administrator).await.len(), 2_001);
}

/// H5: the larger bodies of this route are bounded too, before anybody asks who sends them.
#[tokio::test]
async fn h5_a_batch_has_two_mebibytes_at_most() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let body = |bytes: usize| {
        let rest = r#"{"users":[]}"#.len();
        format!(r#"{{"users":[{}]}}"#, " ".repeat(bytes - rest))
    };
    let (limit, path) = (2 * 1024 * 1024, "/users/import");
    let answer = Answer::of(administrator.request("POST", path).body(body(limit))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = Answer::of(administrator.request("POST", path).body(body(limit + 1))).await;
    answer.is_problem(413, "PAYLOAD_TOO_LARGE", "");
    let url = format!("{}{path}", administrator.base);
    let nobody = server.admin_request("POST", &url).body(body(limit + 1));
    Answer::of(nobody).await.is_problem(413, "PAYLOAD_TOO_LARGE", "");
    let nobody = server.admin_request("POST", &url).body(body(limit));
    Answer::of(nobody).await.is_problem(401, "INVALID_TOKEN", "");
    // The others have what they had.
    let answer = Answer::of(administrator.request("POST", "/users").body(body(64 * 1024 + 1))).await;
    answer.is_problem(413, "PAYLOAD_TOO_LARGE", "");
}

/// M2: who is brought in under an id or a name that somebody had inherits nothing.
#[tokio::test]
async fn m2_who_is_brought_in_again_inherits_nothing() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let unit = server.demo.unit.to_string();
    let users = [json!({"username": "zoe", "password_hash": hash(), "units": [unit]})];
    assert_eq!(import_as(&administrator, "x", &users).await.0, 1);
    let token = server.try_login("CRMDEMO", "zoe", PASSWORD).await.token();
    for _ in 0..20 {
        server.try_login("CRMDEMO", "zoe", "wrong").await;
    }
    let zoe = |all: Vec<Value>| id(all.iter().find(|user| user["username"] == "zoe").unwrap());
    let first = zoe(administrator.list("/users?limit=10").await);
    administrator.delete(&format!("/users/{first}")).await;
    assert_eq!(import_as(&administrator, "x", &users).await.0, 1);
    assert_eq!(zoe(administrator.list("/users?limit=10").await), first, "the same batch gives the same id");
    assert!(!server.is_in_force(&token).await);
    server.try_login("CRMDEMO", "zoe", PASSWORD).await.token();
}
