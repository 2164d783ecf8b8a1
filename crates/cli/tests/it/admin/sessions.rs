//! `/admin/v1/organisations/{organisation}/sessions`.

use doorward_testkit::{Administrator, Answer, TestServer};
use serde_json::{Value, json};

use super::{behind_a_proxy, each, id, key_from, log_in_from, text};

#[tokio::test]
async fn sessions_are_shown_without_their_tokens() {
    let server = TestServer::with(behind_a_proxy()).await;
    let demo = &server.demo;
    let administrator = server.administrator(demo).await;
    server.clock.advance(std::time::Duration::from_secs(1));
    let by_password = log_in_from(&server, "192.0.2.7", "mpadministrator", "1234").await.token();
    let by_key = key_from(&server, "2001:db8::7", &demo.key).await.token();
    server.clock.advance(std::time::Duration::from_secs(1));
    server.verify(&by_password).await;
    server.verify(&by_key).await;
    let list = administrator.send("GET", "/sessions").await;
    for token in [&administrator.token, &by_password, &by_key, &demo.key] {
        assert!(!list.text.contains(token.as_str()));
    }
    let sessions = administrator.list("/sessions?limit=2").await;
    assert_eq!(sessions.len(), 3);
    let from = |address: &str| {
        sessions
            .iter()
            .find(|session| session["address"] == address)
            .unwrap_or_else(|| panic!("{sessions:?}"))
    };
    let time = |second: u32| format!("2026-11-24T03:36:0{second}.000Z");
    let common = |session: &Value| {
        json!({
            "id": session["id"], "user": demo.user.to_string(), "username": "mpadministrator",
            "unit": demo.unit.to_string(), "unit_name": "Markt & Müller 100%", "issued_at": time(3),
            "created_at": time(3), "last_used_at": time(4), "updated_at": time(4),
        })
    };
    let session = from("192.0.2.7");
    let mut expected = common(session);
    expected["method"] = "password".into();
    expected["key"] = Value::Null;
    expected["address"] = "192.0.2.7".into();
    expected["expires_at"] = "2026-11-24T04:36:04.000Z".into();
    assert_eq!(*session, expected);
    let session = from("2001:db8::7");
    let mut expected = common(session);
    expected["method"] = "web_api_key".into();
    expected["key"] = demo.key_id.to_string().into();
    expected["address"] = "2001:db8::7".into();
    expected["expires_at"] = "2026-11-24T05:36:03.000Z".into();
    assert_eq!(*session, expected);
    // Neither looking nor restarting changes them.
    assert_eq!(each(&administrator.list("/sessions?limit=9").await, "id"), each(&sessions, "id"));
    server.flush(true).await;
    let server = server.crash_and_restart().await;
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    let mut ids = each(&operator.list("/sessions?limit=1").await, "id");
    let mut before = each(&sessions, "id");
    ids.sort();
    before.sort();
    assert_eq!(ids, before);
    server.clock.advance(std::time::Duration::from_secs(2 * 3600));
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    assert_eq!(operator.list("/sessions?limit=9").await, [] as [Value; 0], "what has expired is not live");
}

struct Crowd {
    /// Tokens, by what they are of.
    tokens: Vec<(&'static str, String)>,
    user: String,
    unit: String,
    key: String,
}

async fn crowd(server: &TestServer, administrator: &Administrator<'_>) -> Crowd {
    let password = "correct horse battery staple";
    let unit = id(&administrator.create("/units", json!({"name": "Crowd"})).await);
    let body =
        json!({"username": "ann", "password": password, "units": [server.demo.unit.to_string(), unit]});
    let user = id(&administrator.create("/users", body).await);
    let key = administrator.create("/keys", json!({"name": "Job", "user": user})).await;
    let secret = text(&key, "secret");
    let in_unit = json!({"username": "ann", "password": password, "organisation": "CRMDEMO", "unit": unit});
    let key_in_unit =
        server.request("POST", "/authentication/web_api_key/token").basic_auth(secret, Some(""));
    let tokens = vec![
        ("password", server.try_login("CRMDEMO", "ann", password).await.token()),
        ("password unit", server.post("/authentication/token", in_unit).await.token()),
        ("key", server.try_key(secret).await.token()),
        ("key unit", Answer::of(key_in_unit.json(&json!({"unit": unit}))).await.token()),
        ("demo", server.log_in(&server.demo).await),
        ("demo", server.log_in_with_key(&server.demo).await),
        ("other", server.log_in(&server.other).await),
        ("other", server.log_in_with_key(&server.other).await),
    ];
    Crowd { tokens, user, unit, key: id(&key) }
}

#[tokio::test]
async fn sessions_are_found_by_user_unit_key_and_method() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let Crowd { user, unit, key, .. } = crowd(&server, &administrator).await;
    for (query, count) in [
        ("limit=3".to_owned(), 7),
        (format!("user={user}"), 4),
        (format!("unit={unit}"), 2),
        (format!("key={key}"), 2),
        (format!("key={key}&limit=1"), 2),
        ("method=password".into(), 4),
        ("method=web_api_key&limit=1".into(), 3),
        (format!("user={user}&method=password"), 2),
        (format!("user={user}&unit={unit}&method=web_api_key"), 1),
        (format!("user={user}&unit={unit}&key={key}"), 1),
        (format!("key={key}&method=password"), 0),
        (format!("user={}&key={key}", server.demo.user), 0),
        (format!("user={}", super::nobody()), 0),
    ] {
        let sessions = administrator.list(&format!("/sessions?{query}")).await;
        assert_eq!(sessions.len(), count, "{query}");
    }
}

#[tokio::test]
async fn sessions_are_ended_by_what_they_are_of() {
    for (what, ends) in [
        ("user", vec!["password", "password unit", "key", "key unit"]),
        ("unit", vec!["password unit", "key unit"]),
        ("key", vec!["key", "key unit"]),
        ("all", vec!["password", "password unit", "key", "key unit", "demo"]),
        ("session", vec!["password unit"]),
    ] {
        let server = TestServer::start().await;
        let operator = server.administrator(&server.operator).await.at("CRMDEMO");
        let Crowd { tokens, user, unit, key } = crowd(&server, &operator).await;
        let one = operator.list(&format!("/sessions?unit={unit}&method=password")).await;
        let body = match what {
            "user" => json!({"user": user}),
            "unit" => json!({"unit": unit}),
            "key" => json!({"key": key}),
            "all" => json!({"all": true}),
            _ => json!({"session": one[0]["id"]}),
        };
        let before = operator.list("/sessions?limit=99").await.len();
        assert_eq!(operator.send_json("POST", "/sessions/end", body.clone()).await.status, 204);
        let check = async |server: &TestServer| {
            for (name, token) in &tokens {
                assert_eq!(server.is_in_force(token).await, !ends.contains(name), "{what}: {name}");
            }
        };
        check(&server).await;
        let ended = tokens.iter().filter(|(name, _)| ends.contains(name)).count();
        assert_eq!(operator.list("/sessions?limit=99").await.len(), before - ended);
        // Again: a session that is gone is not there, and nobody having any is no mistake.
        let again = operator.send_json("POST", "/sessions/end", body).await;
        if what == "session" {
            again.is_problem(404, "NOT_FOUND", "");
        } else {
            assert_eq!(again.status, 204);
        }
        let server = server.crash_and_restart().await;
        check(&server).await;
        let token = server.log_in(&server.demo).await;
        assert!(
            server.is_in_force(&token).await
                && server.is_in_force(&server.log_in_with_key(&server.demo).await).await
        );
    }
}

/// One's own session may be ended too, and is over with the answer.
#[tokio::test]
async fn one_may_end_ones_own_session() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let answer = administrator.send_json("POST", "/sessions/end", json!({"all": true})).await;
    assert_eq!(answer.status, 204);
    assert_eq!(administrator.send("GET", "/sessions").await.status, 401);
}
