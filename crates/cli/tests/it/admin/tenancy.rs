//! M1: what belongs to another organisation is not there.

use std::collections::BTreeSet;

use doorward_testkit::{Administrator, Answer, TestServer};
use serde_json::{Value, json};

use super::{
    id, nobody,
    routes::{self, Ids},
    seen,
};

/// All that an organisation has, with its `ETag`s; not when its sessions were last used.
async fn snapshot(administrator: &Administrator<'_>) -> Vec<String> {
    let mut state = Vec::new();
    let tagged = async |path: &str| {
        let answer = administrator.send("GET", path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        format!("{} {}", answer.header("etag"), answer.text)
    };
    state.push(tagged("").await);
    state.push(tagged("/rules").await);
    for list in ["/units", "/users", "/keys"] {
        for item in administrator.list(&format!("{list}?limit=1000")).await {
            state.push(tagged(&format!("{list}/{}", id(&item))).await);
        }
    }
    for mut session in administrator.list("/sessions?limit=1000").await {
        for member in ["last_used_at", "updated_at", "expires_at"] {
            session[member].take();
        }
        state.push(session.to_string());
    }
    state
}

struct World<'a> {
    server: &'a TestServer,
    demo: Administrator<'a>,
    of_other: Administrator<'a>,
    operator: Administrator<'a>,
    /// Things of the other organisation, made for this test.
    theirs: Ids,
    /// Their tokens: of a password and of a key.
    tokens: Vec<String>,
}

impl<'a> World<'a> {
    async fn new(server: &'a TestServer) -> Self {
        let operator = server.administrator(&server.operator).await.at(&server.other.code);
        let unit = operator.create("/units", json!({"name": "Theirs"})).await;
        let password = "correct horse battery staple";
        let user = json!({"username": "theirs", "password": password, "units": [unit["id"], server.other.unit.to_string()]});
        let user = operator.create("/users", user).await;
        let key = operator.create("/keys", json!({"name": "Theirs", "user": user["id"]})).await;
        let tokens = vec![
            server.try_login("OTHER", "theirs", password).await.token(),
            server.try_key(key["secret"].as_str().unwrap()).await.token(),
            server.log_in_with_key(&server.other).await,
        ];
        let sessions = operator.list(&format!("/sessions?user={}", id(&user))).await;
        let theirs = Ids {
            organisation: server.other.id.to_string(),
            unit: id(&unit),
            user: id(&user),
            key: id(&key),
            session: id(&sessions[0]),
        };
        let demo = server.administrator(&server.demo).await;
        let of_other = server.administrator(&server.other).await;
        Self { server, demo, of_other, operator, theirs, tokens }
    }

    async fn is_as_it_was(&self, before: &[String]) {
        assert_eq!(snapshot(&self.operator).await, before);
        for token in &self.tokens {
            assert!(self.server.is_in_force(token).await);
        }
    }
}

#[tokio::test]
async fn m1_every_admin_route_hides_other_organisations() {
    let server = TestServer::start().await;
    let world = World::new(&server).await;
    let routes = routes::all(&server).await;
    let before = snapshot(&world.operator).await;
    for route in routes.iter().filter(|route| route.is_in_organisation()) {
        let of_nothing = Answer::of(route.request(&world.demo, &Ids::of_nothing(&nobody()))).await;
        assert_eq!(of_nothing.status, 404, "{route:?}");
        of_nothing.is_problem(404, "NOT_FOUND", "");
        for organisation in [&*world.theirs.organisation, "OTHER", "other", "%4fther", "OPERATOR"] {
            let ids = Ids { organisation: organisation.into(), ..world.theirs.clone() };
            let answer = Answer::of(route.request(&world.demo, &ids)).await;
            assert_eq!(seen(&answer), seen(&of_nothing), "{route:?} {organisation}");
        }
        if route.names_a_thing() {
            // Their things in one's own organisation, and no thing at all.
            let own = server.demo.id.to_string();
            let of_nothing = Answer::of(route.request(&world.demo, &Ids::of_nothing(&own))).await;
            assert_eq!(of_nothing.status, 404, "{route:?}");
            let ids = Ids { organisation: own, ..world.theirs.clone() };
            let answer = Answer::of(route.request(&world.demo, &ids)).await;
            assert_eq!(seen(&answer), seen(&of_nothing), "{route:?}");
        }
        world.is_as_it_was(&before).await;
    }
    // What was tried does work for those who may: else nothing was shown.
    // What goes last is what others hang on.
    let last = ["delete_key", "delete_user", "delete_unit", "delete_organisation"];
    let mut routes: Vec<_> = routes.iter().filter(|route| route.is_in_organisation()).collect();
    routes.sort_by_key(|route| last.iter().position(|last| *last == route.operation));
    for route in routes {
        let answer = Answer::of(route.request(&world.of_other, &world.theirs)).await;
        match route.operation.as_str() {
            "delete_organisation" => answer.is_problem(403, "FORBIDDEN", ""),
            _ => assert!((200..300).contains(&answer.status), "{route:?}: {answer:?}"),
        }
    }
}

/// An id of another organisation in a body or a query is one that nothing has. Given as the id of something new it is
/// refused as taken, for ids are unique everywhere; whoever can name it knew it before.
#[tokio::test]
async fn m1_ids_of_other_organisations_in_bodies_and_queries_are_nobodys() {
    let server = TestServer::start().await;
    let world = World::new(&server).await;
    let before = snapshot(&world.operator).await;
    let own = server.demo.user.to_string();
    let unit = server.demo.unit.to_string();
    let calls = |ids: &Ids| -> Vec<(&str, &str, String, Value)> {
        let Ids { unit: theirs, user, key, session, .. } = ids.clone();
        let path = |path: &str| path.to_owned();
        vec![
            ("create_user", "units", path("/users"), json!({"username": "x", "units": [unit, theirs]})),
            (
                "create_user",
                "default_unit",
                path("/users"),
                json!({"username": "x", "units": [unit], "default_unit": theirs}),
            ),
            (
                "import_users",
                "users",
                path("/users/import"),
                json!({"users": [
                    {"username": "x", "units": [unit, theirs]},
                    {"username": "y", "units": [unit], "default_unit": theirs},
                ]}),
            ),
            ("update_user", "units", format!("/users/{own}"), json!({"units": [unit, theirs]})),
            ("update_user", "default_unit", format!("/users/{own}"), json!({"default_unit": theirs})),
            (
                "update_user",
                "units",
                format!("/users/{own}"),
                json!({"units": [theirs], "default_unit": theirs}),
            ),
            ("create_key", "user", path("/keys"), json!({"name": "x", "user": user})),
            ("end_sessions", "session", path("/sessions/end"), json!({"session": session})),
            ("end_sessions", "user", path("/sessions/end"), json!({"user": user})),
            ("end_sessions", "unit", path("/sessions/end"), json!({"unit": theirs})),
            ("end_sessions", "key", path("/sessions/end"), json!({"key": key})),
            ("list_users", "unit", format!("/users?unit={theirs}"), Value::Null),
            ("list_keys", "user", format!("/keys?user={user}"), Value::Null),
            ("list_sessions", "user", format!("/sessions?user={user}"), Value::Null),
            ("list_sessions", "unit", format!("/sessions?unit={theirs}"), Value::Null),
            ("list_sessions", "key", format!("/sessions?key={key}"), Value::Null),
            ("list_records", "user", format!("/audit?user={user}"), Value::Null),
            ("list_records", "unit", format!("/audit?unit={theirs}"), Value::Null),
            ("list_records", "key", format!("/audit?key={key}"), Value::Null),
            ("list_records", "session", format!("/audit?session={session}"), Value::Null),
        ]
    };
    let all = routes::all(&server).await;
    let nothing = Ids::of_nothing("");
    for ((operation, member, path, body), (.., path_of_nothing, body_of_nothing)) in
        calls(&world.theirs).into_iter().zip(calls(&nothing))
    {
        let method = &all.iter().find(|route| route.operation == operation).unwrap().method;
        let send = async |path: &str, body: &Value| {
            let request = world.demo.request(method, path);
            Answer::of(if body.is_null() { request } else { request.json(body) }).await
        };
        let (mut theirs, nothings) =
            (send(&path, &body).await, send(&path_of_nothing, &body_of_nothing).await);
        for id in [&world.theirs.unit, &world.theirs.user] {
            theirs.text = theirs.text.replace(id, &nobody());
        }
        assert_eq!(seen(&theirs), seen(&nothings), "{operation} {member}");
        match operation {
            "end_sessions" => theirs.is_problem(404, "NOT_FOUND", ""),
            "import_users" => {
                let became = theirs.json();
                assert_eq!((&became["created"], &became["present"]), (&json!(0), &json!(0)), "{theirs:?}");
            }
            _ if body.is_null() => assert_eq!(theirs.text, r#"{"items":[],"next":null}"#),
            _ => assert_eq!(theirs.status, 400, "{operation} {member}: {theirs:?}"),
        }
        world.is_as_it_was(&before).await;
    }
    // Nothing that the document knows to be an id was forgotten.
    let tried: BTreeSet<_> =
        calls(&nothing).into_iter().map(|(operation, member, ..)| (operation, member)).collect();
    let ids = ["unit", "units", "default_unit", "user", "users", "key", "keys", "session", "sessions"];
    for route in &all {
        for member in ids.iter().filter(|id| route.takes.iter().any(|takes| takes == *id)) {
            assert!(tried.contains(&(route.operation.as_str(), *member)), "{} {member}", route.operation);
        }
    }
    for (path, body) in [
        ("/units", json!({"name": "x", "id": world.theirs.unit})),
        ("/users", json!({"username": "x", "id": world.theirs.user})),
        ("/keys", json!({"name": "x", "user": own, "id": world.theirs.key})),
    ] {
        world.demo.send_json("POST", path, body).await.is_problem(409, "TAKEN", "id");
        world.is_as_it_was(&before).await;
    }
    let users = json!({"users": [{"username": "x", "id": world.theirs.user}]});
    let became = world.demo.ok("POST", "/users/import", users).await;
    assert_eq!(
        (&became["rejected"][0]["code"], &became["rejected"][0]["member"]),
        (&json!("TAKEN"), &json!("id"))
    );
    world.is_as_it_was(&before).await;
}

/// Lists, with every filter, show what is one's own.
#[tokio::test]
async fn m1_lists_have_nothing_of_others() {
    let server = TestServer::start().await;
    let world = World::new(&server).await;
    let all = world.demo.send("GET", "/admin/v1/organisations").await.json();
    assert_eq!(super::each(all["items"].as_array().unwrap(), "code"), ["CRMDEMO"]);
    for query in ["prefix=OTH", "prefix=OPERATOR", "after=Y3JtZGVtbw", "status=suspended"] {
        let answer = world.demo.get(&format!("/admin/v1/organisations?{query}")).await;
        assert_eq!(answer, json!({"items": [], "next": null}), "{query}");
    }
    for (path, count) in [
        ("/units?limit=1", 2),
        ("/users?limit=1", 1),
        ("/keys?limit=1", 1),
        ("/sessions?limit=1", 1),
        ("/users?limit=1&prefix=theirs", 0),
        ("/users?limit=1&username=theirs", 0),
        ("/units?limit=1&name=Theirs", 0),
    ] {
        assert_eq!(world.demo.list(path).await.len(), count, "{path}");
    }
    let all = world.operator.list("/admin/v1/organisations?limit=1").await;
    assert_eq!(super::each(&all, "code"), ["CRMDEMO", "OPERATOR", "OTHER"]);
}
