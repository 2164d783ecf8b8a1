//! What holds for every resource: `ETag` and `If-Match`, `Idempotency-Key`, problem documents, pages.

use doorward_testkit::{Administrator, Answer, TestServer};
use serde_json::{Value, json};

use super::{each, id, text};

/// One of each resource of `demo`, and a change of it.
fn things(server: &TestServer) -> Vec<(String, Value, Value)> {
    let demo = &server.demo;
    let thing = |path: String, one: Value, other: Value| (path, one, other);
    vec![
        thing(String::new(), json!({"name": "One"}), json!({"name": "Two"})),
        thing(format!("/units/{}", demo.unit), json!({"name": "One"}), json!({"name": "Two"})),
        thing(format!("/users/{}", demo.user), json!({"person_name": "One"}), json!({"person_name": "Two"})),
        thing(format!("/keys/{}", demo.key_id), json!({"name": "One"}), json!({"name": "Two"})),
        thing("/rules".into(), json!({"lockout.failures": 8}), json!({"lockout.failures": 9})),
    ]
}

#[tokio::test]
async fn two_administrators_do_not_overwrite_each_other() {
    let server = TestServer::start().await;
    let (ann, bob) = (
        server.administrator(&server.demo).await,
        server.administrator(&server.operator).await.at("CRMDEMO"),
    );
    let patch = async |who: &Administrator<'_>, path: &str, tag: &str, body: &Value| {
        Answer::of(who.request("PATCH", path).header("if-match", tag).json(body)).await
    };
    for (path, one, other) in things(&server) {
        let tag = ann.send("GET", &path).await.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2, "{tag}");
        assert_eq!(bob.send("GET", &path).await.header("etag"), tag);
        let changed = patch(&ann, &path, &tag, &one).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        let now = ann.send("GET", &path).await;
        assert_eq!(changed.header("etag"), now.header("etag"));
        assert_ne!(changed.header("etag"), tag);
        patch(&bob, &path, &tag, &other).await.is_problem(412, "PRECONDITION_FAILED", "");
        assert_eq!(ann.send("GET", &path).await.text, now.text, "nothing was changed");
        for garbage in ["\"nonsense\"", "\"\"", "\"-1\"", "\"99999999999999999999999\""] {
            patch(&bob, &path, garbage, &other).await.is_problem(412, "PRECONDITION_FAILED", "");
        }
        for no_tag in ["7", "W/\"7\"", "", "\"1\", \"2\"", "\""] {
            let answer = patch(&bob, &path, no_tag, &other).await;
            assert!(matches!(answer.status, 400 | 412), "{no_tag}: {answer:?}");
        }
        assert_eq!(ann.send("GET", &path).await.text, now.text, "nothing was changed");
        // A change to what is there already is none.
        let same = patch(&ann, &path, now.header("etag"), &one).await;
        assert_eq!((same.status, same.header("etag")), (200, now.header("etag")));
        assert_eq!(patch(&bob, &path, "*", &other).await.status, 200);
        assert_eq!(bob.send_json("PATCH", &path, one).await.status, 200);
    }
}

#[tokio::test]
async fn what_was_changed_is_not_deleted_or_rotated_unseen() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    let user = operator.create("/users", json!({"username": "ann"})).await;
    let unit = operator.create("/units", json!({"name": "Shop"})).await;
    let key = operator.create("/keys", json!({"name": "Job", "user": user["id"]})).await;
    let with = async |method: &str, path: &str, tag: &str| {
        Answer::of(operator.request(method, path).header("if-match", tag)).await
    };
    for (path, patch, delete) in [
        (format!("/keys/{}", id(&key)), json!({"name": "x"}), String::new()),
        (format!("/users/{}", id(&user)), json!({"person_name": "x"}), String::new()),
        (format!("/units/{}", id(&unit)), json!({"name": "x"}), String::new()),
        (String::new(), json!({"name": "x"}), "?code=CRMDEMO".into()),
    ] {
        let old = operator.send("GET", &path).await.header("etag").to_owned();
        operator.patch(&path, patch).await;
        if path.starts_with("/keys") {
            let rotate = format!("{path}/rotate");
            with("POST", &rotate, &old).await.is_problem(412, "PRECONDITION_FAILED", "");
        }
        let delete = format!("{path}{delete}");
        with("DELETE", &delete, &old).await.is_problem(412, "PRECONDITION_FAILED", "");
        let now = operator.send("GET", &path).await.header("etag").to_owned();
        assert_eq!(with("DELETE", &delete, &now).await.status, 204);
        operator.send("GET", &path).await.is_problem(404, "NOT_FOUND", "");
        with("DELETE", &delete, "*").await.is_problem(404, "NOT_FOUND", "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_with_an_idempotency_key_happens_once() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    let user = server.demo.user.to_string();
    for (path, list, body, other) in [
        (
            "/admin/v1/organisations",
            "/admin/v1/organisations?prefix=new",
            json!({"code": "NEW", "name": "N"}),
            json!({"code": "NEW", "name": "M"}),
        ),
        ("/units", "/units?prefix=new", json!({"name": "New"}), json!({"name": "Newer"})),
        (
            "/users",
            "/users?prefix=new",
            json!({"username": "new", "password": "correct horse battery staple"}),
            json!({"username": "newer", "password": "correct horse battery staple"}),
        ),
        ("/keys", "/keys?x=", json!({"name": "New", "user": user}), json!({"name": "Newer", "user": user})),
    ] {
        let count = operator.list(list).await.len();
        let create = |who: &Administrator<'_>, key: &str, body: &Value| {
            let request = who.request("POST", path).header("idempotency-key", format!("{path} {key}"));
            tokio::spawn(Answer::of(request.json(body)))
        };
        let all: Vec<_> = (0..20).map(|_| create(&operator, "a", &body)).collect();
        let mut answers = Vec::new();
        for answer in all {
            answers.push(answer.await.unwrap());
        }
        answers.push(create(&operator, "a", &body).await.unwrap());
        let mut first = 0;
        for answer in &answers {
            assert_eq!(answer.status, 201, "{answer:?}");
            let place = answer.header("location");
            assert_eq!(place, answers[0].header("location"));
            assert!(place.ends_with(&id(&answer.json())), "{place}");
            assert_eq!(operator.get(place).await["id"], answer.json()["id"]);
            let is_first = answer.header("idempotent-replayed") != "true";
            first += usize::from(is_first);
            if path == "/keys" {
                assert_eq!(answer.json()["secret"].is_string(), is_first, "shown once: {answer:?}");
            }
        }
        assert_eq!(first, 1);
        assert_eq!(operator.list(list).await.len(), count + 1);
        create(&operator, "a", &other).await.unwrap().is_problem(422, "IDEMPOTENCY_KEY_REUSED", "");
        // Another order of the members is the same request, and another caller's key is another key.
        let text = body.to_string();
        let reversed = serde_json::from_str::<serde_json::Map<String, Value>>(&text).unwrap();
        let members: Vec<_> =
            reversed.iter().rev().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let request = operator.request("POST", path).header("idempotency-key", format!("{path} a"));
        let again = Answer::of(request.body(format!(" {{{}}} ", members.join(" , ")))).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (201, "true"), "{again:?}");
        assert_eq!(operator.list(list).await.len(), count + 1);
    }
    let demo = server.administrator(&server.demo).await;
    let request = demo.request("POST", "/units").header("idempotency-key", "/units a");
    let mine = Answer::of(request.json(&json!({"name": "Mine"}))).await;
    assert_eq!((mine.status, mine.header("idempotent-replayed")), (201, ""));
    for wrong in ["", &"x".repeat(256)] {
        let request = demo.request("POST", "/units").header("idempotency-key", wrong);
        let answer = Answer::of(request.json(&json!({"name": "Never"}))).await;
        answer.is_problem(400, "INVALID_PARAMETER", "Idempotency-Key");
    }
    let twice = demo.request("POST", "/units").header("idempotency-key", "a").header("idempotency-key", "b");
    Answer::of(twice.json(&json!({"name": "Never"}))).await.is_problem(
        400,
        "INVALID_PARAMETER",
        "Idempotency-Key",
    );
    assert_eq!(demo.list("/units?prefix=never").await.len(), 0);
}

/// After a crash too, for a day; then the key is as good as new.
#[tokio::test]
async fn a_creation_is_remembered_for_a_day() {
    let server = TestServer::start().await;
    let create = async |server: &TestServer, name: &str| {
        let administrator = server.administrator(&server.demo).await;
        let request = administrator.request("POST", "/units").header("idempotency-key", "again");
        Answer::of(request.json(&json!({"name": name}))).await
    };
    let made = create(&server, "New").await;
    let server = server.crash_and_restart().await;
    let again = create(&server, "New").await;
    assert_eq!(
        (again.json(), again.header("idempotent-replayed"), again.header("etag")),
        (made.json(), "true", made.header("etag"))
    );
    server.clock.advance(std::time::Duration::from_secs(23 * 3600));
    server.sweep().await;
    assert_eq!(create(&server, "New").await.header("idempotent-replayed"), "true");
    server.clock.advance(std::time::Duration::from_secs(25 * 3600));
    server.sweep().await;
    create(&server, "New").await.is_problem(409, "TAKEN", "name");
    assert_eq!(create(&server, "Newer").await.status, 201);
}

#[tokio::test]
async fn problems_name_the_member_at_fault() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.operator).await.at("CRMDEMO");
    let user = server.demo.user.to_string();
    let unit = server.demo.unit.to_string();
    let (missing, invalid) = ("MISSING_PARAMETER", "INVALID_PARAMETER");
    let with = |mut body: Value, member: &str, value: Value| {
        body[member] = value;
        body
    };
    let organisation = |member: &str, value| with(json!({"code": "NEW"}), member, value);
    let new_unit = |member: &str, value| with(json!({"name": "New"}), member, value);
    let new_user = |member: &str, value| with(json!({"username": "new"}), member, value);
    let new_key = |member: &str, value| with(json!({"name": "New", "user": user}), member, value);
    let long = || Value::from("x".repeat(257));
    for (path, body, code, member) in [
        ("/admin/v1/organisations", json!({}), missing, "code"),
        ("/admin/v1/organisations", organisation("code", json!("")), invalid, "code"),
        ("/admin/v1/organisations", organisation("code", json!(" \u{3000}\t")), invalid, "code"),
        ("/admin/v1/organisations", organisation("code", long()), invalid, "code"),
        ("/admin/v1/organisations", organisation("code", json!("a\nb")), invalid, "code"),
        ("/admin/v1/organisations", organisation("code", json!(7)), invalid, "code"),
        ("/admin/v1/organisations", organisation("name", json!("")), invalid, "name"),
        ("/admin/v1/organisations", organisation("id", json!("x")), invalid, "id"),
        ("/admin/v1/organisations", organisation("status", json!("disabled")), invalid, "status"),
        ("/admin/v1/organisations", organisation("operator", json!(true)), invalid, "operator"),
        ("/admin/v1/organisations", organisation("code", json!("other")), "TAKEN", "code"),
        ("/admin/v1/organisations", organisation("id", json!(server.other.id.to_string())), "TAKEN", "id"),
        ("/units", json!({}), missing, "name"),
        ("/units", new_unit("name", json!("")), invalid, "name"),
        ("/units", new_unit("name", long()), invalid, "name"),
        ("/units", new_unit("id", json!("0".repeat(31))), invalid, "id"),
        ("/units", new_unit("id", json!(unit)), "TAKEN", "id"),
        ("/units", new_unit("name", json!("MARKT & MÜLLER 100%")), "TAKEN", "name"),
        ("/units", new_unit("status", json!("suspended")), invalid, "status"),
        ("/units", new_unit("colour", json!("red")), invalid, "colour"),
        ("/users", json!({}), missing, "username"),
        ("/users", new_user("username", long()), invalid, "username"),
        ("/users", new_user("username", json!("a\u{0}b")), invalid, "username"),
        ("/users", new_user("username", json!("MPAdministrator")), "TAKEN", "username"),
        ("/users", new_user("id", json!(user)), "TAKEN", "id"),
        ("/users", new_user("email", json!("no address")), invalid, "email"),
        ("/users", new_user("email", json!(format!("{}@example.com", "x".repeat(250)))), invalid, "email"),
        ("/users", new_user("person_name", long()), invalid, "person_name"),
        ("/users", new_user("role", json!("root")), invalid, "role"),
        ("/users", new_user("status", json!("locked")), invalid, "status"),
        ("/users", new_user("units", json!([unit, "x"])), invalid, "units[1]"),
        ("/users", new_user("units", json!(unit)), invalid, "units"),
        ("/users", new_user("default_unit", json!(unit)), invalid, "default_unit"),
        ("/users", new_user("password", json!("")), invalid, "password"),
        ("/users", new_user("password", json!("short")), invalid, "password"),
        ("/users", new_user("password", json!("x".repeat(5000))), invalid, "password"),
        ("/users", new_user("password", json!(["canary"])), invalid, "password"),
        ("/users", new_user("pasword", json!("canary")), invalid, "pasword"),
        ("/users", new_user("must_change_password", json!("yes")), invalid, "must_change_password"),
        ("/users", new_user("locked_until", json!(null)), invalid, "locked_until"),
        ("/keys", json!({"user": user}), missing, "name"),
        ("/keys", json!({"name": "New"}), missing, "user"),
        ("/keys", new_key("user", json!("x")), invalid, "user"),
        ("/keys", new_key("classification", json!("systemic_key")), invalid, "classification"),
        ("/keys", new_key("allowed_addresses", json!(["10.0.*.1"])), invalid, "allowed_addresses[0]"),
        ("/keys", new_key("allowed_addresses", json!(["10.0.0.1", "x"])), invalid, "allowed_addresses[1]"),
        ("/keys", new_key("allowed_addresses", json!("10.0.0.1")), invalid, "allowed_addresses"),
        ("/keys", new_key("expires_at", json!("tomorrow")), invalid, "expires_at"),
        ("/keys", new_key("expires_at", json!(4711)), invalid, "expires_at"),
        ("/keys", new_key("secret", json!("short")), invalid, "secret"),
        ("/keys", new_key("secret", json!("with:a-colon-in-it-1234")), invalid, "secret"),
        ("/keys", new_key("secret", json!("x".repeat(257))), invalid, "secret"),
        ("/keys", new_key("secret", json!(server.demo.key)), "TAKEN", "secret"),
        ("/keys", new_key("id", json!(server.demo.key_id.to_string())), "TAKEN", "id"),
        ("/sessions/end", json!({}), missing, "session"),
        ("/sessions/end", json!({"all": false}), missing, "session"),
        ("/sessions/end", json!({"user": user, "all": true}), invalid, "session"),
        ("/sessions/end", json!({"session": administrator.token.to_lowercase() + "0"}), invalid, "session"),
        ("/sessions/end", json!({"everything": true}), invalid, "everything"),
    ] {
        let status = if code == "TAKEN" { 409 } else { 400 };
        let answer = administrator.send_json("POST", path, body.clone()).await;
        answer.is_problem(status, code, member);
        assert!(!answer.text.contains("canary"), "{answer:?}");
    }
    for (path, body, member) in [
        ("", json!({"operator": true}), "operator"),
        ("", json!({"name": ""}), "name"),
        (&*format!("/units/{unit}"), json!({"id": unit}), "id"),
        (&*format!("/users/{user}"), json!({"password": "correct horse battery staple"}), "password"),
        (&*format!("/users/{user}"), json!({"email": "x"}), "email"),
        (&*format!("/users/{user}"), json!({"must_change_password": false}), "must_change_password"),
        (&*format!("/keys/{}", server.demo.key_id), json!({"user": user}), "user"),
        (&*format!("/keys/{}", server.demo.key_id), json!({"secret": "0123456789abcdef"}), "secret"),
    ] {
        let answer = administrator.send_json("PATCH", path, body).await;
        answer.is_problem(400, invalid, member);
    }
}

#[tokio::test]
async fn bodies_are_read_as_for_the_contract() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let post =
        async |body: &[u8]| Answer::of(administrator.request("POST", "/units").body(body.to_vec())).await;
    for (name, body) in [("a", &b" {\"name\": \"a\"}\r\n"[..]), ("b", "\u{feff}{\"name\": \"b\"}".as_bytes())]
    {
        let answer = post(body).await;
        assert_eq!((answer.status, answer.json()["name"].as_str()), (201, Some(name)), "{answer:?}");
    }
    for body in [&b""[..], b" ", b"{}", "{\n\u{a0}\n}".as_bytes(), "\u{feff}{}".as_bytes()] {
        post(body).await.is_problem(400, "MISSING_PARAMETER", "name");
    }
    for body in [
        &b"name=x"[..],
        b"[\"x\"]",
        b"null",
        b"\"x\"",
        b"{\"name\": \"\xff\"}",
        "{\u{a0}\"name\": \"x\"}".as_bytes(),
        b"{\"name\": \"x\"",
        b"{\"name\": \"x\"} x",
    ] {
        post(body).await.is_problem(400, "MALFORMED_REQUEST", "");
    }
    post(br#"{"name": "x", "name": "y"}"#).await.is_problem(400, "INVALID_PARAMETER", "name");
    let deep = format!("{{\"name\": {}", "[".repeat(30_000));
    post(deep.as_bytes()).await.is_problem(400, "MALFORMED_REQUEST", "");
    assert_eq!(administrator.list("/units?limit=9").await.len(), 4);
}

#[tokio::test]
async fn lists_refuse_what_they_do_not_know() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    for list in ["/admin/v1/organisations", "/units", "/users", "/keys", "/sessions"] {
        for (query, member) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=x", "limit"),
            ("after=%21", "after"),
            ("after=x", "after"),
            ("pefix=a", "pefix"),
            ("token=a", "token"),
            ("limit=1&limit=2", "limit"),
        ] {
            let answer = administrator.send("GET", &format!("{list}?{query}")).await;
            answer.is_problem(400, "INVALID_PARAMETER", member);
        }
        administrator.get(&format!("{list}?limit=1000&after=")).await;
    }
    for (path, member) in [
        ("/admin/v1/organisations?status=disabled", "status"),
        ("/units?status=suspended", "status"),
        ("/users?status=locked", "status"),
        ("/users?unit=x", "unit"),
        ("/keys?user=x", "user"),
        ("/keys?unused_for=long", "unused_for"),
        ("/keys?expiring_within=soon", "expiring_within"),
        ("/sessions?method=key", "method"),
        ("/sessions?user=x", "user"),
        ("/sessions?key=x", "key"),
    ] {
        administrator.send("GET", path).await.is_problem(400, "INVALID_PARAMETER", member);
    }
    let long = format!("/users?prefix={}", "x".repeat(1025));
    administrator.send("GET", &long).await.is_problem(400, "INVALID_PARAMETER", "prefix");
    for endless in ["unused_for=500000000000y", "expiring_within=500000000000y", "unused_for=1ns"] {
        administrator.get(&format!("/keys?{endless}")).await;
    }
}

/// A cursor of another list is not taken for the beginning: whoever follows it would go round in circles.
#[tokio::test]
async fn a_cursor_is_one_of_its_own_list() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let units = administrator.get("/units?limit=1").await;
    let next = text(&units, "next");
    for list in ["/sessions", "/keys", &*format!("/users?unit={}", server.demo.unit)] {
        let mark = if list.contains('?') { '&' } else { '?' };
        let answer = administrator.send("GET", &format!("{list}{mark}after={next}")).await;
        answer.is_problem(400, "INVALID_PARAMETER", "after");
    }
}

#[tokio::test]
async fn pages_show_each_item_once_in_order() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    let user = server.demo.user.to_string();
    let unit = server.demo.unit.to_string();
    for n in 0..7 {
        operator.create("/admin/v1/organisations", json!({"code": format!("P{n}")})).await;
        operator.create("/units", json!({"name": format!("p{n}")})).await;
        operator.create("/users", json!({"username": format!("p{n}"), "units": [unit]})).await;
        operator.create("/keys", json!({"name": format!("p{n}"), "user": user})).await;
        server.log_in(&server.demo).await;
    }
    for (list, count) in [
        ("/admin/v1/organisations?", 10),
        ("/admin/v1/organisations?prefix=p", 7),
        ("/units?", 9),
        ("/units?prefix=P", 7),
        ("/users?", 8),
        ("/users?prefix=p", 7),
        (&*format!("/users?unit={unit}"), 8),
        (&*format!("/users?prefix=p&unit={unit}"), 7),
        ("/users?status=active", 8),
        ("/keys?", 8),
        (&*format!("/keys?user={user}"), 8),
        ("/keys?status=active", 8),
        ("/sessions?", 7),
        (&*format!("/sessions?user={user}"), 7),
        (&*format!("/sessions?unit={unit}&method=password"), 7),
    ] {
        let whole = operator.list(&format!("{list}&limit=1000")).await;
        assert_eq!(whole.len(), count, "{list}");
        let mut ids = each(&whole, "id");
        for limit in [1, 2, 3, count - 1, count, count + 1] {
            let paged = operator.list(&format!("{list}&limit={limit}")).await;
            assert_eq!(each(&paged, "id"), ids, "{list} {limit}");
        }
        let page = operator.get(&format!("{list}&limit={count}")).await;
        assert_eq!(page["next"], Value::Null, "no empty last page: {list}");
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count, "{list}");
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.operator).await.at("CRMDEMO");
    for path in ["/units/x", "/users/%FF", "/keys/0", "/units/%2e%2e", "/nothing", "/units/", "/users/a/b/c"]
    {
        administrator.send("GET", path).await.is_problem(404, "NOT_FOUND", "");
    }
    let unit = server.demo.unit.to_string();
    assert_eq!(administrator.get(&format!("/units/{}", unit.to_lowercase())).await["id"], unit);
    for organisation in ["%FF", "%00", "%0d%0a", "*", "%20", &"x".repeat(300)] {
        administrator.at(organisation).send("GET", "").await.is_problem(404, "NOT_FOUND", "");
    }
    for (method, path) in
        [("PUT", ""), ("POST", ""), ("DELETE", "/units"), ("PUT", "/rules"), ("GET", "/sessions/end")]
    {
        administrator.send(method, path).await.is_problem(405, "METHOD_NOT_ALLOWED", "");
    }
}
