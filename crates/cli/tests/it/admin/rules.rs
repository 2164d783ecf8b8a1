//! `/admin/v1/organisations/{organisation}/rules`: what each does, and who is told.

use std::time::Duration;

use doorward_domain::attempts::LockoutRules;
use doorward_testkit::{Answer, Options, TestServer};
use serde_json::{Value, json};

use super::{behind_a_proxy, id, key_from, log_in_from, text};

const PASSWORD: &str = "correct horse battery staple";

#[tokio::test]
async fn rules_say_where_they_come_from() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let rules = administrator.get("/rules").await["rules"].clone();
    let expected = [
        ("passwords.min_length", json!(15), json!(20)),
        ("passwords.require_alphabetic", json!(false), json!(true)),
        ("passwords.require_digit", json!(false), json!(true)),
        ("passwords.require_special", json!(false), json!(true)),
        ("passwords.blocklist", json!(true), json!(false)),
        ("passwords.max_age", json!("never"), json!("90days")),
        ("lockout.failures", json!(10), json!(3)),
        ("lockout.window", json!("15m"), json!("1h")),
        ("lockout.lock", json!("1m"), json!("5m")),
        ("lockout.longest_lock", json!("1h"), json!("2h")),
        ("addresses.allow", json!([]), json!(["127.0.0.0/8"])),
        ("addresses.deny", json!([]), json!(["10.0.0.0/16", "2001:db8::1"])),
        ("tokens.password_idle", json!("1h"), json!("30m")),
        ("tokens.password_cap", json!("30days"), json!("1day")),
        ("tokens.api_key_lifetime", json!("2h"), json!("10m")),
    ];
    assert_eq!(rules.as_object().unwrap().len(), expected.len());
    for (name, default, own) in &expected {
        assert_eq!(rules[name], json!({"value": default, "source": "default"}), "{name}");
        let changed = administrator.patch("/rules", json!({*name: own})).await["rules"].clone();
        assert_eq!(changed[name], json!({"value": own, "source": "organisation"}), "{name}");
    }
    let server = server.crash_and_restart().await;
    let administrator = server.administrator(&server.demo).await;
    let kept = administrator.get("/rules").await["rules"].clone();
    for (name, _, own) in &expected {
        assert_eq!(kept[name]["value"], *own);
    }
    let others = server.administrator(&server.other).await.get("/rules").await;
    assert_eq!(others["rules"], rules, "one's own rules are nobody else's");
    // Null gives back, however often; one's own value that is the default is still one's own.
    let nulls: serde_json::Map<_, _> =
        expected.iter().map(|(name, ..)| ((*name).to_owned(), Value::Null)).collect();
    for _ in 0..2 {
        assert_eq!(administrator.patch("/rules", Value::Object(nulls.clone())).await["rules"], rules);
    }
    let same = administrator.patch("/rules", json!({"lockout.failures": 10})).await;
    assert_eq!(same["rules"]["lockout.failures"], json!({"value": 10, "source": "organisation"}));
    assert_eq!(administrator.patch("/rules", json!({})).await, same);
}

#[tokio::test]
async fn rules_that_cannot_be_are_refused_and_named() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let before = administrator.send("GET", "/rules").await;
    for (body, member) in [
        (json!({"lockout.failure": 3}), "lockout.failure"),
        (json!({"": 3}), ""),
        (json!({"passwords.queue": 3}), "passwords.queue"),
        (json!({"passwords.min_length": 7}), "passwords.min_length"),
        (json!({"passwords.min_length": 15.5}), "passwords.min_length"),
        (json!({"passwords.min_length": [15]}), "passwords.min_length"),
        (json!({"passwords.blocklist": 1}), "passwords.blocklist"),
        (json!({"passwords.blocklist": {}}), "passwords.blocklist"),
        (json!({"lockout.failures": 0}), "lockout.failures"),
        (json!({"lockout.failures": -3}), "lockout.failures"),
        (json!({"lockout.failures": 18446744073709551615_u64}), "lockout.failures"),
        (json!({"lockout.window": "0s"}), "lockout.window"),
        (json!({"lockout.window": 60}), "lockout.window"),
        (json!({"tokens.password_idle": "never"}), "tokens.password_idle"),
        (json!({"tokens.password_idle": "50d"}), "tokens.password_idle"),
        (json!({"tokens.api_key_lifetime": "1s"}), "tokens.api_key_lifetime"),
        (json!({"addresses.allow": "10.0.*.1"}), "addresses.allow"),
        (json!({"addresses.allow": ["10.0.0.0/33"]}), "addresses.allow"),
        (json!({"addresses.allow": [10]}), "addresses.allow"),
        (json!({"addresses.allow": {"10.0.0.1": true}}), "addresses.allow"),
        // Contradictions: with what is given, and with what holds.
        (json!({"lockout.lock": "2h"}), "lockout.lock"),
        (json!({"lockout.longest_lock": "1s"}), "lockout.longest_lock"),
        (json!({"tokens.password_cap": "30m"}), "tokens.password_cap"),
        (json!({"tokens.password_idle": "40d"}), "tokens.password_idle"),
        (json!({"tokens.password_idle": "2h", "tokens.password_cap": "1h"}), "tokens.password_cap"),
        // One that is wrong spoils those that are right.
        (json!({"lockout.failures": 3, "passwords.min_length": 7}), "passwords.min_length"),
    ] {
        let answer = administrator.send_json("PATCH", "/rules", body.clone()).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("INVALID_PARAMETER")), "{body}");
        assert_eq!(answer.json()["member"], member, "{body}");
        assert_eq!(administrator.send("GET", "/rules").await.text, before.text);
    }
    let twice =
        administrator.request("PATCH", "/rules").body(r#"{"lockout.failures": 3, "lockout.failures": 4}"#);
    Answer::of(twice).await.is_problem(400, "INVALID_PARAMETER", "lockout.failures");
    assert_eq!(administrator.send("GET", "/rules").await.header("etag"), before.header("etag"));
    administrator.patch("/rules", json!({"tokens.password_idle": "40d", "tokens.password_cap": "41d"})).await;
    administrator.send_json("PATCH", "/rules", json!({"tokens.password_cap": null})).await.is_problem(
        400,
        "INVALID_PARAMETER",
        "tokens.password_cap",
    );
}

#[tokio::test]
async fn lockout_is_the_organisations_own() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    let rules = json!({"lockout.failures": 2, "lockout.lock": "5m", "lockout.longest_lock": "8m", "lockout.window": "2m"});
    operator.patch("/rules", rules).await;
    // A client that is known has a count of its own.
    server.log_in(&server.demo).await;
    let fail = async |times: usize| {
        for _ in 0..times {
            assert_eq!(server.try_password(&server.demo, "wrong").await.status, 401);
            assert_eq!(server.try_password(&server.other, "wrong").await.status, 401);
        }
    };
    fail(1).await;
    server.clock.advance(Duration::from_secs(120));
    fail(1).await;
    server.log_in(&server.demo).await;
    fail(1).await;
    for (locked, then) in [(300, 2), (480, 2), (480, 0)] {
        server.clock.advance(Duration::from_secs(locked - 1));
        assert_eq!(server.try_password(&server.demo, "1234").await.status, 401, "{locked}");
        server.clock.advance(Duration::from_secs(1));
        fail(then).await;
    }
    server.log_in(&server.demo).await;
}

#[tokio::test]
async fn lifetimes_hold_for_new_tokens() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    let before = (server.log_in(&server.demo).await, server.log_in_with_key(&server.demo).await);
    let rules =
        json!({"tokens.password_idle": "2m", "tokens.password_cap": "5m", "tokens.api_key_lifetime": "3m"});
    operator.patch("/rules", rules).await;
    let after = (server.log_in(&server.demo).await, server.log_in_with_key(&server.demo).await);
    let idle = server.log_in(&server.demo).await;
    let mut lived = [0, 0];
    for minute in 1..=6 {
        server.clock.advance(Duration::from_secs(60));
        for (place, token) in [&after.0, &after.1].into_iter().enumerate() {
            if server.verify(token).await.status == 200 {
                lived[place] = minute;
            }
        }
        assert_eq!(server.is_in_force(&idle).await, minute < 2, "{minute}");
    }
    assert_eq!(lived, [4, 2]);
    assert!(server.is_in_force(&before.0).await && server.is_in_force(&before.1).await);
}

#[tokio::test]
async fn h1_addresses_are_allowed_and_denied() {
    let server = TestServer::with(behind_a_proxy()).await;
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    let log_in = async |address: &str| {
        let by_password = log_in_from(&server, address, "mpadministrator", "1234").await;
        let by_key = key_from(&server, address, &server.demo.key).await;
        assert_eq!(by_password.status, by_key.status, "{address}");
        by_password.status == 200
    };
    let rules = json!({"addresses.allow": ["10.0.*.*", "2001:db8::/32"], "addresses.deny": ["10.0.7.0/24"]});
    let shown = operator.patch("/rules", rules).await;
    assert_eq!(shown["rules"]["addresses.allow"]["value"], json!(["10.0.0.0/16", "2001:db8::/32"]));
    for (address, is_allowed) in [
        ("10.0.0.1", true),
        ("10.0.255.255", true),
        ("10.0.7.1", false),
        ("10.1.0.1", false),
        ("::ffff:10.0.0.1", true),
        ("::ffff:10.0.7.1", false),
        ("2001:db8:1::", true),
        ("2001:db9::", false),
        ("10.0.0.1, 192.0.2.1", false),
        ("192.0.2.1, 10.0.0.1", true),
    ] {
        assert_eq!(log_in(address).await, is_allowed, "{address}");
    }
    assert_eq!(server.try_password(&server.demo, "1234").await.code(), "INVALID_CREDENTIALS");
    assert_eq!(server.audit().await.last().unwrap().reason, "address_denied");
    server.log_in(&server.other).await;
    // Changing a password is refused from there too, with the same answer.
    let body = json!({"organisation": "CRMDEMO", "username": "mpadministrator", "password": "1234", "new_password": PASSWORD});
    assert_eq!(server.post("/authentication/password", body).await.code(), "INVALID_CREDENTIALS");
    operator.patch("/rules", json!({"addresses.allow": null})).await;
    assert!(log_in("192.0.2.1").await && !log_in("10.0.7.1").await);
    operator.patch("/rules", json!({"addresses.deny": []})).await;
    assert!(log_in("10.0.7.1").await);
}

#[tokio::test]
async fn nobody_locks_their_own_address_out() {
    let server = TestServer::start().await;
    let own = server.administrator(&server.demo).await;
    for rules in [json!({"addresses.allow": ["10.0.0.0/8"]}), json!({"addresses.deny": ["127.0.0.0/8"]})] {
        let refused = own.send_json("PATCH", "/rules", rules.clone()).await;
        let member = rules.as_object().unwrap().keys().next().unwrap().clone();
        assert_eq!((refused.status, refused.json()["member"].as_str()), (400, Some(member.as_str())));
        assert!(refused.text.contains("127.0.0.1"), "{refused:?}");
        server.log_in(&server.demo).await;
    }
    own.patch("/rules", json!({"addresses.allow": ["10.0.0.0/8", "127.0.0.1"]})).await;
    // Others may do it, who can undo it too; and then the owner may change other rules still.
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    operator.patch("/rules", json!({"addresses.allow": ["10.0.0.0/8"]})).await;
    own.patch("/rules", json!({"passwords.min_length": 20})).await;
}

#[tokio::test]
async fn password_rules_hold_for_all_who_set_one() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let unit = server.demo.unit.to_string();
    let ann = json!({"username": "ann", "password": PASSWORD, "units": [unit]});
    let ann = administrator.create("/users", ann).await;
    let reset = format!("/users/{}/password", id(&ann));
    for (rules, bad, good) in [
        (
            json!({"passwords.min_length": 30}),
            "vexed cobalt thimble under 9!",
            "vexed cobalt thimble under 99!",
        ),
        (json!({"passwords.require_digit": true}), "vexed cobalt thimble!", "vexed cobalt thimble 7!"),
        (json!({"passwords.require_special": true}), "vexedcobaltthimble7", "vexedcobalt thimble7"),
        (json!({"passwords.require_alphabetic": true}), "80927 51830 4461!", "80927 51830 446x!"),
        (json!({"passwords.min_length": 8, "passwords.blocklist": false}), "passwor", "password"),
    ] {
        administrator.patch("/rules", rules.clone()).await;
        let new = |password: &str| json!({"username": "bob", "password": password});
        let set = |password: &str| json!({"password": password, "must_change": false});
        administrator.send_json("POST", "/users", new(bad)).await.is_problem(
            400,
            "INVALID_PARAMETER",
            "password",
        );
        administrator.send_json("POST", &reset, set(bad)).await.is_problem(
            400,
            "INVALID_PARAMETER",
            "password",
        );
        let bob = administrator.create("/users", new(good)).await;
        administrator.delete(&format!("/users/{}", id(&bob))).await;
        let current = "a start that all rules allow, 1!";
        administrator.ok("POST", &reset, set(current)).await;
        let change = async |new: &str| {
            let body = json!({"organisation": "CRMDEMO", "username": "ann", "password": current, "new_password": new});
            server.post("/authentication/password", body).await.code()
        };
        assert_eq!(change(bad).await, "INVALID_PARAMETER", "{rules}");
        assert_eq!(change(good).await, "OK", "{rules}");
        let nulls: serde_json::Map<_, _> =
            rules.as_object().unwrap().keys().map(|name| (name.clone(), Value::Null)).collect();
        administrator.patch("/rules", Value::Object(nulls)).await;
    }
}

/// L4: whoever guesses from one address locks himself out, and not a client that logged in lately from another.
#[tokio::test]
async fn l4_guesses_from_one_address_do_not_lock_out_a_client_known_from_another() {
    let lockout = LockoutRules { failures: 3, ..LockoutRules::default() };
    let server = TestServer::with(Options { lockout, ..behind_a_proxy() }).await;
    const HOME: &str = "192.0.2.1";
    let log_in = async |server: &TestServer, address: &str, password: &str| {
        log_in_from(server, address, "mpadministrator", password).await.status == 200
    };
    assert!(log_in(&server, HOME, "1234").await);
    assert!(log_in(&server, "2001:db8:0:1::1", "1234").await);
    let guess = async |server: &TestServer| {
        for n in 0..10 {
            assert!(!log_in(server, &format!("198.51.100.{n}"), "wrong").await);
        }
        assert!(!log_in(server, "198.51.100.1", "1234").await, "locked for all who are not known");
        assert!(!log_in(server, "203.0.113.5", "1234").await);
    };
    guess(&server).await;
    assert!(log_in(&server, HOME, "1234").await);
    assert!(log_in(&server, "2001:db8:0:1:ffff::2", "1234").await, "one network, one client");
    assert!(!log_in(&server, "2001:db8:0:2::1", "1234").await);
    // What is known survives a crash.
    let server = server.crash_and_restart().await;
    guess(&server).await;
    assert!(log_in(&server, HOME, "1234").await);
    // A known place has its own limit, and closes neither others nor itself for ever.
    for _ in 0..3 {
        assert!(!log_in(&server, HOME, "wrong").await);
    }
    assert!(!log_in(&server, HOME, "1234").await, "guesses from there count there");
    assert!(log_in(&server, "2001:db8:0:1::1", "1234").await);
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    let path = format!("/users/{}", server.demo.user);
    assert!(operator.get(&path).await["locked_until"].is_string());
    operator.ok("POST", &format!("{path}/unlock"), Value::Null).await;
    for address in [HOME, "198.51.100.1", "203.0.113.5"] {
        assert!(log_in(&server, address, "1234").await, "one unlock lifts all");
    }
    // A claimed address is none: without a trusted proxy everything comes from one place.
    let sessions = operator.list("/sessions?limit=99").await;
    assert!(sessions.iter().any(|session| text(session, "address") == HOME));
}
