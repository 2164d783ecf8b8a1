//! `/admin/v1/organisations/{organisation}/keys`.

use std::time::Duration;

use doorward_testkit::{Answer, TestServer};
use serde_json::{Value, json};

use super::{behind_a_proxy, each, id, key_from, text};

const HOUR: Duration = Duration::from_secs(3600);
const OWN: &str = "BROUGHT-IN-FROM-ELSEWHERE-1234";

#[tokio::test]
async fn keys_live() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let (user, own) = (server.demo.user.to_string(), "ABCDEF0123456789ABCDEF0123456789");
    let body = json!({
        "id": own, "name": "Job", "user": user, "classification": "CONSUMER_APPLICATION_KEY", "verifier": true,
        "allowed_addresses": ["10.0.*.*", "127.0.0.1", "2001:db8::/32"], "expires_at": "2027-01-31T13:00:00+01:00",
    });
    let made = administrator.send_json("POST", "/keys", body).await;
    assert_eq!((made.status, made.header("location")), (201, &*format!("{}/keys/{own}", administrator.base)));
    let made = made.json();
    let secret = text(&made, "secret").to_owned();
    assert_eq!(secret.len(), 32);
    let time = "2026-11-24T03:36:02.000Z";
    let hint = &secret[28..];
    let mut key = json!({
        "id": own, "name": "Job", "user": user, "classification": "CONSUMER_APPLICATION_KEY", "status": "active",
        "verifier": true, "allowed_addresses": ["10.0.0.0/16", "127.0.0.1", "2001:db8::/32"],
        "expires_at": "2027-01-31T12:00:00.000Z", "last_used_at": null, "last_used_from": null, "secret": secret,
        "secret_hint": hint, "created_at": time, "updated_at": time,
        "secrets": [
            {"hint": hint, "created_at": time, "ends_at": null, "last_used_at": null, "last_used_from": null},
        ],
    });
    assert_eq!(made, key);
    key.as_object_mut().unwrap().remove("secret");
    let path = format!("/keys/{own}");
    assert_eq!(administrator.get(&path).await, key, "the secret is not shown again");
    assert_eq!(administrator.list("/keys?limit=9").await.iter().filter(|item| **item == key).count(), 1);
    let token = server.try_key(&secret).await.token();

    let plain = administrator.create("/keys", json!({"name": "Job", "user": user})).await;
    for (name, value) in [
        ("classification", json!("SYSTEMIC_KEY")),
        ("status", json!("active")),
        ("verifier", json!(false)),
        ("allowed_addresses", json!([])),
        ("expires_at", Value::Null),
    ] {
        assert_eq!(plain[name], value, "{name}");
    }
    let patch = json!({"expires_at": null, "allowed_addresses": [], "name": "Work"});
    let patched = administrator.patch(&path, patch).await;
    assert_eq!(
        (&patched["expires_at"], &patched["allowed_addresses"], &patched["name"], &patched["verifier"]),
        (&Value::Null, &json!([]), &json!("Work"), &json!(true))
    );
    assert!(server.is_in_force(&token).await);
    administrator.patch(&path, json!({"status": "disabled"})).await;
    assert!(!server.is_in_force(&token).await);
    assert_eq!(server.try_key(&secret).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(each(&administrator.list("/keys?status=disabled").await, "id"), [own]);
    administrator.patch(&path, json!({"status": "active"})).await;
    let token = server.try_key(&secret).await.token();
    administrator.delete(&path).await;
    assert!(!server.is_in_force(&token).await);
    assert_eq!(server.try_key(&secret).await.code(), "INVALID_CREDENTIALS");
}

#[tokio::test]
async fn a_secret_may_be_brought_in() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let user = server.demo.user.to_string();
    let made = administrator.create("/keys", json!({"name": "Old", "user": user, "secret": OWN})).await;
    assert_eq!((&made["secret"], text(&made, "secret_hint")), (&Value::Null, "1234"));
    assert!(!made.to_string().contains(OWN), "whoever brought it knows it");
    server.try_key(OWN).await.token();
    let taken =
        administrator.send_json("POST", "/keys", json!({"name": "x", "user": user, "secret": OWN})).await;
    taken.is_problem(409, "TAKEN", "secret");
    let rotate = format!("/keys/{}/rotate", id(&made));
    for secret in [OWN, &server.demo.key, &server.other.key] {
        let again = administrator.send_json("POST", &rotate, json!({"secret": secret})).await;
        again.is_problem(409, "TAKEN", "secret");
    }
    for secret in ["short", "", "colon:colon:colon:colon", "control\u{7}control-control"] {
        let bad = administrator.send_json("POST", &rotate, json!({"secret": secret})).await;
        bad.is_problem(400, "INVALID_PARAMETER", "secret");
        assert!(secret.is_empty() || !bad.text.contains(secret));
    }
    let new = "ANOTHER-FROM-ELSEWHERE-5678 Ä";
    let rotated = administrator.ok("POST", &rotate, json!({"secret": new, "overlap": "0s"})).await;
    assert!(rotated["secret"].is_null() && !rotated.to_string().contains(new), "{rotated}");
    server.try_key(new).await.token();
    assert_eq!(server.try_key(OWN).await.code(), "INVALID_CREDENTIALS");
}

/// H1: where a key may be used from is decided by the address that trusted proxies saw.
#[tokio::test]
async fn h1_a_key_is_bound_to_addresses() {
    let server = TestServer::with(behind_a_proxy()).await;
    let administrator = server.administrator(&server.demo).await;
    let body = json!({"name": "Job", "user": server.demo.user.to_string(), "allowed_addresses": ["10.0.*.*", "2001:db8::/32"], "verifier": true});
    let key = administrator.create("/keys", body).await;
    let secret = text(&key, "secret");
    for address in ["10.0.1.2", "10.0.255.255", "2001:db8::7", "::ffff:10.0.0.1", "192.0.2.1, 10.0.1.2"] {
        key_from(&server, address, secret).await.token();
    }
    let token = server.log_in(&server.demo).await;
    let introspect = async |address: &str| {
        let request = server.request("POST", "/oauth2/introspect").header("x-forwarded-for", address);
        Answer::of(request.basic_auth(secret, Some("")).form(&[("token", &token)])).await.status
    };
    assert_eq!(introspect("10.0.0.9").await, 200);
    for address in ["10.1.0.1", "192.0.2.1", "10.0.1.2, 192.0.2.1", "2001:db9::1", "garbage"] {
        assert_eq!(key_from(&server, address, secret).await.code(), "INVALID_CREDENTIALS", "{address}");
        assert_eq!(server.audit().await.last().unwrap().reason, "address_denied");
        assert_eq!(introspect(address).await, 401, "{address}");
    }
    administrator.patch(&format!("/keys/{}", id(&key)), json!({"allowed_addresses": []})).await;
    key_from(&server, "192.0.2.1", secret).await.token();
    assert_eq!(introspect("192.0.2.1").await, 200);
}

#[tokio::test]
async fn a_key_expires() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let user = server.demo.user.to_string();
    let body = json!({"name": "Job", "user": user, "expires_at": "2026-11-24T04:00:00Z"});
    let key = administrator.create("/keys", body).await;
    let secret = text(&key, "secret");
    server.try_key(secret).await.token();
    server.clock.advance(Duration::from_secs(24 * 60));
    assert_eq!(server.try_key(secret).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(server.audit().await.last().unwrap().reason, "key_expired");
    let path = format!("/keys/{}", id(&key));
    assert_eq!(
        administrator.patch(&path, json!({"expires_at": "2026-11-25T00:00:00Z"})).await["status"],
        "active"
    );
    server.try_key(secret).await.token();
    for far in ["9999-12-30T21:59:59Z", "0001-01-01T00:00:00Z"] {
        let patched = administrator.patch(&path, json!({"expires_at": far})).await;
        assert_eq!(text(&patched, "expires_at")[..19], far[..19]);
    }
}

/// T7: who may introspect is said by the key's right; anybody's key may revoke.
#[tokio::test]
async fn t7_a_key_needs_the_right_to_introspect() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let member = administrator
        .create("/users", json!({"username": "job", "units": [server.demo.unit.to_string()]}))
        .await;
    let key = administrator.create("/keys", json!({"name": "Job", "user": member["id"]})).await;
    let secret = text(&key, "secret");
    let token = server.log_in(&server.demo).await;
    let ask = async |path: &str, token: &str| {
        let request = server.request("POST", path).basic_auth(secret, Some(""));
        Answer::of(request.form(&[("token", token)])).await
    };
    let refused = ask("/oauth2/introspect", &token).await;
    assert_eq!((refused.status, &refused.json()["error"]), (403, &json!("unauthorized_client")));
    let path = format!("/keys/{}", id(&key));
    administrator.patch(&path, json!({"verifier": true})).await;
    assert_eq!(ask("/oauth2/introspect", &token).await.json()["active"], true);
    administrator.patch(&path, json!({"verifier": false})).await;
    assert_eq!(ask("/oauth2/introspect", &token).await.status, 403, "at once");
    assert_eq!(ask("/oauth2/revoke", &token).await.status, 200);
    assert!(!server.is_in_force(&token).await);
    // T8: of others neither.
    let others = server.log_in(&server.other).await;
    ask("/oauth2/revoke", &others).await;
    assert!(server.is_in_force(&others).await);
}

#[tokio::test]
async fn a_rotation_overlaps_and_tells_who_still_uses_the_old_secret() {
    let server = TestServer::with(behind_a_proxy()).await;
    let administrator = server.administrator(&server.demo).await;
    let made =
        administrator.create("/keys", json!({"name": "Job", "user": server.demo.user.to_string()})).await;
    let path = format!("/keys/{}", id(&made));
    let old = text(&made, "secret").to_owned();
    server.clock.advance(Duration::from_secs(1));
    let token = key_from(&server, "192.0.2.1", &old).await.token();
    let rotate = format!("{path}/rotate");
    let rotated = administrator.ok("POST", &rotate, json!({"overlap": "2h"})).await;
    let new = text(&rotated, "secret").to_owned();
    assert_ne!(new, old);
    assert!(server.is_in_force(&token).await, "a rotation with an overlap ends no session");
    server.clock.advance(Duration::from_secs(1));
    key_from(&server, "192.0.2.2", &new).await.token();
    server.flush(true).await;
    let shown = administrator.get(&path).await;
    assert!(shown["secret"].is_null() && shown["secret_hint"] == new[28..]);
    let time = |second: u32| format!("2026-11-24T03:36:0{second}.000Z");
    assert_eq!(
        shown["secrets"],
        json!([
            {"hint": new[28..], "created_at": time(3), "ends_at": null, "last_used_at": time(4), "last_used_from": "192.0.2.2"},
            {"hint": old[28..], "created_at": time(2), "ends_at": "2026-11-24T05:36:03.000Z", "last_used_at": time(3), "last_used_from": "192.0.2.1"},
        ])
    );
    assert_eq!((text(&shown, "last_used_at"), text(&shown, "last_used_from")), (&*time(4), "192.0.2.2"));
    for text in [&old, &new] {
        assert!(!shown.to_string().contains(text.as_str()));
    }
    // A use of the old one is evidence, after a restart too.
    server.clock.advance(HOUR);
    key_from(&server, "192.0.2.3", &old).await.token();
    server.flush(true).await;
    let server = server.crash_and_restart().await;
    let administrator = server.administrator(&server.demo).await;
    let shown = administrator.get(&path).await;
    assert_eq!(
        (text(&shown["secrets"][1], "last_used_from"), text(&shown, "last_used_from")),
        ("192.0.2.3", "192.0.2.3")
    );
    server.clock.advance(HOUR - Duration::from_secs(2));
    key_from(&server, "192.0.2.3", &old).await.token();
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(key_from(&server, "192.0.2.3", &old).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(server.audit().await.last().unwrap().reason, "key_rotated_out");
    server.try_key(&new).await.token();
}

#[tokio::test]
async fn a_rotation_without_overlap_ends_the_old_secret_and_its_tokens() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let made =
        administrator.create("/keys", json!({"name": "Job", "user": server.demo.user.to_string()})).await;
    let rotate = format!("/keys/{}/rotate", id(&made));
    let mut secrets = vec![text(&made, "secret").to_owned()];
    for overlap in [json!({"overlap": "1h"}), json!({}), json!({"overlap": "0s"})] {
        let administrator = server.administrator(&server.demo).await;
        let rotated = administrator.ok("POST", &rotate, overlap).await;
        secrets.push(text(&rotated, "secret").to_owned());
        if secrets.len() == 4 {
            assert_eq!(rotated["secrets"].as_array().unwrap().len(), 1, "{rotated}");
        }
        let last = secrets.last().unwrap();
        server.try_key(last).await.token();
        if secrets.len() == 3 {
            // Three at once, and a later rotation makes none of them last longer.
            for secret in &secrets {
                server.try_key(secret).await.token();
            }
            server.clock.advance(HOUR);
            assert_eq!(server.try_key(&secrets[0]).await.code(), "INVALID_CREDENTIALS");
            server.try_key(&secrets[1]).await.token();
        }
    }
    let token = server.try_key(&secrets[3]).await.token();
    for secret in &secrets[..3] {
        assert_eq!(server.try_key(secret).await.code(), "INVALID_CREDENTIALS");
    }
    let administrator = server.administrator(&server.demo).await;
    for (overlap, ends) in [("1s", false), ("0s", true), ("0ms", true)] {
        let token = server.try_key(&secrets[3]).await.token();
        let rotated = administrator.ok("POST", &rotate, json!({"overlap": overlap})).await;
        assert_eq!(server.is_in_force(&token).await, !ends, "{overlap}");
        secrets[3] = text(&rotated, "secret").to_owned();
    }
    assert!(!server.is_in_force(&token).await);
    for bad in ["367d", "soon", "-1h", "", "500000000000y"] {
        let refused = administrator.send_json("POST", &rotate, json!({"overlap": bad})).await;
        refused.is_problem(400, "INVALID_PARAMETER", "overlap");
    }
    let token = server.try_key(&secrets[3]).await.token();
    // Less than is counted is nothing: what ends at once ends its tokens too.
    administrator.ok("POST", &rotate, json!({"overlap": "1us"})).await;
    assert_eq!(server.try_key(&secrets[3]).await.code(), "INVALID_CREDENTIALS");
    assert!(!server.is_in_force(&token).await);
    server.try_key(&server.demo.key).await.token();
}

#[tokio::test]
async fn keys_that_want_attention_are_listed_and_counted() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    let user = server.demo.user.to_string();
    let key = async |name: &str, expires_at: Value| {
        let body = json!({"name": name, "user": user, "expires_at": expires_at});
        operator.create("/keys", body).await
    };
    let used = key("used", Value::Null).await;
    key("soon", json!("2026-12-01T00:00:00Z")).await;
    key("later", json!("2027-06-01T00:00:00Z")).await;
    let disabled = key("disabled", json!("2026-12-01T00:00:00Z")).await;
    operator.patch(&format!("/keys/{}", id(&disabled)), json!({"status": "disabled"})).await;
    let names = async |query: &str| {
        let token = server.log_in(&server.operator).await;
        let mut names = each(&server.bearer(&token, "CRMDEMO").list(&format!("/keys?{query}")).await, "name");
        names.sort();
        names
    };
    assert_eq!(names("expiring_within=30d").await, ["disabled", "soon"]);
    assert_eq!(names("expiring_within=30d&status=active").await, ["soon"]);
    assert_eq!(names("expiring_within=1h").await, [] as [&str; 0]);
    assert_eq!(names("expiring_within=300d").await, ["disabled", "later", "soon"]);
    assert_eq!(names("unused_for=1s").await, [] as [&str; 0]);
    let counts = server.count_keys().await;
    assert_eq!((counts.expiring, counts.unused), (1, 0));
    server.clock.advance(Duration::from_secs(91 * 86_400));
    server.try_key(text(&used, "secret")).await.token();
    server.flush(true).await;
    assert_eq!(names("unused_for=90d").await, ["Key", "disabled", "later", "soon"]);
    assert_eq!(names("expiring_within=0s").await, ["disabled", "soon"], "or have expired");
    let counts = server.count_keys().await;
    // Of the three organisations each has a key that was never used.
    assert_eq!((counts.expiring, counts.unused), (1, 5));
}

/// A key that is deleted while it is in use leaves nothing behind that a later use writes.
#[tokio::test]
async fn a_use_of_a_deleted_key_is_not_written() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let made = administrator
        .create("/keys", json!({"name": "x", "user": server.demo.user.to_string(), "secret": OWN}))
        .await;
    server.try_key(OWN).await.token();
    administrator.delete(&format!("/keys/{}", id(&made))).await;
    let again =
        administrator.create("/keys", json!({"name": "x", "user": server.demo.user.to_string()})).await;
    server.flush(true).await;
    assert_eq!(administrator.get(&format!("/keys/{}", id(&again))).await["last_used_at"], Value::Null);
}
