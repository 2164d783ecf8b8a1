//! What is left of what administrators do.

use doorward_testkit::{Answer, TestServer};
use serde_json::{Value, json};

use super::{id, text};

/// S2: every change leaves a record that says who did what to what, in the transaction of the change.
#[tokio::test]
async fn s2_every_administrative_change_is_recorded() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    const ALL: &str = "/admin/v1/organisations";
    let (own, unit, user, key) = ("A".repeat(32), "B".repeat(32), "C".repeat(32), "D".repeat(32));
    let base = format!("{ALL}/{own}");
    let password = "correct horse battery staple";
    let at = |path: &str| format!("{base}{path}");
    let (a_unit, a_user, a_key) =
        (at(&format!("/units/{unit}")), at(&format!("/users/{user}")), at(&format!("/keys/{key}")));
    let none = Value::Null;
    let (u, p, k) = (Some(&unit), Some(&user), Some(&key));
    // The request; then the event, the members, and the unit, user and key of its record.
    let calls = [
        ("POST", ALL.to_owned(), json!({"code": "ACME", "id": own}), "created", "", (None, None, None)),
        (
            "PATCH",
            at(""),
            json!({"name": "Acme", "code": "acme2"}),
            "updated",
            "code,name",
            (None, None, None),
        ),
        (
            "PATCH",
            at("/rules"),
            json!({"lockout.failures": 9, "passwords.min_length": 16}),
            "rules_set",
            "passwords.min_length,lockout.failures",
            (None, None, None),
        ),
        ("POST", at("/units"), json!({"name": "Shop", "id": unit}), "created", "", (u, None, None)),
        (
            "PATCH",
            a_unit.clone(),
            json!({"name": "Shop 2", "status": "disabled"}),
            "updated",
            "name,status",
            (u, None, None),
        ),
        (
            "POST",
            at("/users"),
            json!({"username": "ann", "id": user, "password": password}),
            "created",
            "",
            (None, p, None),
        ),
        (
            "PATCH",
            a_user.clone(),
            json!({"role": "administrator", "email": "a@b", "units": [unit], "default_unit": unit}),
            "updated",
            "email,role,units,default_unit",
            (None, p, None),
        ),
        ("POST", format!("{a_user}/password"), json!({}), "password_set", "", (None, p, None)),
        ("POST", format!("{a_user}/unlock"), none.clone(), "unlocked", "", (None, p, None)),
        ("POST", at("/keys"), json!({"name": "Job", "user": user, "id": key}), "created", "", (None, p, k)),
        (
            "PATCH",
            a_key.clone(),
            json!({"verifier": true, "expires_at": "2027-01-01T00:00:00Z"}),
            "updated",
            "verifier,expires_at",
            (None, p, k),
        ),
        ("POST", format!("{a_key}/rotate"), json!({}), "key_rotated", "", (None, p, k)),
        ("POST", at("/sessions/end"), json!({"key": key}), "sessions_ended", "", (None, p, k)),
        ("POST", at("/sessions/end"), json!({"user": user}), "sessions_ended", "", (None, p, None)),
        ("POST", at("/sessions/end"), json!({"unit": unit}), "sessions_ended", "", (u, None, None)),
        ("POST", at("/sessions/end"), json!({"all": true}), "sessions_ended", "", (None, None, None)),
        ("DELETE", a_key, none.clone(), "deleted", "", (None, p, k)),
        ("DELETE", a_user, none.clone(), "deleted", "", (None, p, None)),
        ("DELETE", a_unit, none.clone(), "deleted", "", (u, None, None)),
        // A deletion of what is in use suspends it first, with a record of its own.
        ("PATCH", at(""), json!({"status": "suspended"}), "updated", "status", (None, None, None)),
        ("DELETE", at("?code=ACME2"), none, "deleted", "", (None, None, None)),
    ];
    for (method, path, body, event, members, (unit, user, key)) in calls {
        let count = server.audit().await.len();
        let request = operator.request(method, &path);
        let answer = Answer::of(if body.is_null() { request } else { request.json(&body) }).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        let audit = server.audit().await;
        assert_eq!(audit.len(), count + 1, "{method} {path}");
        let row = audit.last().unwrap();
        assert_eq!((row.event.as_str(), row.reason.as_str()), (event, "ok"), "{method} {path}");
        assert_eq!(row.actor, Some(server.operator.user));
        assert_eq!(row.organisation.map(|id| id.to_string()).as_ref(), Some(&own));
        assert_eq!(row.request_id, answer.header("x-request-id"));
        assert_eq!(row.address.as_deref(), Some("127.0.0.1"));
        let text = |id: Option<String>| id.unwrap_or_default();
        let known = |id: Option<&String>| id.cloned().unwrap_or_default();
        assert_eq!(text(row.unit.map(|id| id.to_string())), known(unit), "{method} {path}");
        assert_eq!(text(row.user.map(|id| id.to_string())), known(user), "{method} {path}");
        assert_eq!(text(row.key.map(|id| id.to_string())), known(key), "{method} {path}");
        let mut recorded: Vec<_> = row.members.as_deref().unwrap_or_default().split(',').collect();
        let mut expected: Vec<_> = members.split(',').collect();
        recorded.sort_unstable();
        expected.sort_unstable();
        assert_eq!(recorded, expected, "{method} {path}");
        assert_eq!(row.claimed, None);
    }
    // What changes nothing leaves nothing: reading, refusals, and setting what is so already.
    let demo = operator.at("CRMDEMO");
    let count = server.audit().await.len();
    for path in ["", "/units", "/users", "/keys", "/sessions", "/rules"] {
        demo.get(path).await;
    }
    demo.send_json("POST", "/units", json!({"name": "second"})).await.is_problem(409, "TAKEN", "name");
    demo.patch("", json!({"status": "active"})).await;
    demo.patch("/rules", json!({"lockout.failures": null})).await;
    demo.send("DELETE", &format!("/units/{}", server.demo.unit)).await.is_problem(409, "CONFLICT", "");
    assert_eq!(server.audit().await.len(), count);
    // One session is named by its id.
    let sessions = demo.list("/sessions?limit=1").await;
    assert_eq!(sessions.len(), 0);
    server.log_in(&server.demo).await;
    let session = id(&demo.list("/sessions?limit=1").await[0]);
    demo.ok("POST", "/sessions/end", json!({"session": session})).await;
    let audit = server.audit().await;
    let row = audit.last().unwrap();
    assert_eq!(
        (row.event.as_str(), row.user, row.unit),
        ("sessions_ended", Some(server.demo.user), Some(server.demo.unit))
    );
    assert_eq!(
        (row.session.map(|id| id.to_string()), row.actor),
        (Some(session), Some(server.operator.user))
    );
}

/// S1: of what administrators set and are shown once nothing is found again, wherever one looks. What the program logs
/// and writes to disk is searched in `secrets.rs`.
#[tokio::test]
async fn s1_no_secret_is_shown_again() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let unit = server.demo.unit.to_string();
    let password = "canary horse battery staple";
    let ann = json!({"username": "ann", "password": password, "units": [unit]});
    let ann = administrator.create("/users", ann).await;
    let path = format!("/users/{}", id(&ann));
    let mut secrets = vec![password.to_owned(), server.demo.key.clone(), administrator.token.clone()];
    secrets.push(server.try_login("CRMDEMO", "ann", password).await.token());
    let reset = administrator.ok("POST", &format!("{path}/password"), json!({"must_change": false})).await;
    secrets.push(text(&reset, "password").to_owned());
    secrets.push(server.try_login("CRMDEMO", "ann", &secrets[4]).await.token());
    let key = administrator.create("/keys", json!({"name": "Job", "user": ann["id"]})).await;
    secrets.push(text(&key, "secret").to_owned());
    let key_path = format!("/keys/{}", id(&key));
    let rotated = administrator.ok("POST", &format!("{key_path}/rotate"), json!({})).await;
    secrets.push(text(&rotated, "secret").to_owned());
    secrets.push("CANARY-BROUGHT-IN-0001".into());
    let brought = json!({"name": "In", "user": ann["id"], "secret": secrets.last()});
    let mut shown = vec![administrator.create("/keys", brought.clone()).await.to_string()];
    shown.push(administrator.send_json("POST", "/keys", brought).await.text);
    for secret in &secrets {
        for (path, body) in [
            ("/units", json!({"name": "x", "colour": secret})),
            ("/users", json!({"username": "x", "password": [secret]})),
            ("/users", json!({"username": "x", "must_change_password": secret})),
            ("/keys", json!({"name": "x", "user": ann["id"], "secret": {"x": secret}})),
            ("/keys", json!({"name": "x", "user": ann["id"], "secret": [secret]})),
        ] {
            shown.push(administrator.send_json("POST", path, body).await.text);
        }
    }
    for path in ["", "/units", "/users", "/keys", "/sessions", "/rules", &path, &key_path] {
        shown.push(format!("{:?}", administrator.send("GET", path).await));
    }
    shown.push(server.admin("/metrics").await.text);
    shown.push(format!("{:?}", server.audit().await));
    for shown in shown {
        assert!(secrets.iter().all(|secret| !shown.contains(secret.as_str())), "{shown}");
    }
}
