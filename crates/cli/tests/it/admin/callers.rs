//! Who may use the admin API.

use std::time::Duration;

use doorward_domain::{directory::Status, session::Scope};
use doorward_testkit::{Answer, Options, TestServer};
use serde_json::{Value, json};

use super::{
    id,
    routes::{self, Ids},
    seen,
};

const PASSWORD: &str = "correct horse battery staple";

#[tokio::test]
async fn without_a_token_in_force_every_route_answers_401() {
    let server = TestServer::start().await;
    let expired = server.log_in(&server.operator).await;
    server.clock.advance(Duration::from_secs(3600));
    let released = server.log_in(&server.operator).await;
    server.release(&released).await;
    let live = server.log_in(&server.operator).await;
    let ids = Ids {
        organisation: server.demo.id.to_string(),
        unit: server.demo.unit.to_string(),
        user: server.demo.user.to_string(),
        key: server.demo.key_id.to_string(),
        session: super::nobody(),
    };
    let records = server.audit().await.len();
    for route in routes::all(&server).await {
        let path = route.path_of(&ids);
        let plain = || server.admin_request(&route.method, &path);
        let in_query = format!("{path}{}token={live}", if path.contains('?') { '&' } else { '?' });
        let mut body = route.body(&ids).unwrap_or_else(|| json!({}));
        body["token"] = live.as_str().into();
        let expected = Answer::of(plain()).await;
        expected.is_problem(401, "INVALID_TOKEN", "");
        assert_eq!(expected.header("www-authenticate"), "Bearer error=\"invalid_token\"");
        for request in [
            plain().bearer_auth(&expired),
            plain().bearer_auth(&released),
            plain().bearer_auth("garbage"),
            plain().bearer_auth(live.to_lowercase()),
            plain().bearer_auth(format!("{live}0")),
            plain().bearer_auth(&server.operator.key),
            plain().header("authorization", &live),
            plain().header("authorization", "Bearer "),
            plain().basic_auth(&server.operator.key, Some("")),
            plain().header("cookie", format!("token={live}")),
            server.admin_request(&route.method, &in_query),
            plain().header("x-original-uri", format!("/?token={live}")),
            plain().json(&body),
            plain().body("no JSON"),
        ] {
            let answer = Answer::of(request).await;
            assert_eq!(seen(&answer), seen(&expected), "{route:?}");
        }
        // H4.
        let twice = plain().bearer_auth(&live).bearer_auth(&live);
        Answer::of(twice).await.is_problem(400, "INVALID_PARAMETER", "token");
    }
    assert_eq!(server.audit().await.len(), records, "nothing was done");
    assert!(server.is_in_force(&live).await);
}

#[tokio::test]
async fn only_administrators_are_admitted() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let unit = server.demo.unit.to_string();
    let member = json!({"username": "member", "password": PASSWORD, "units": [unit]});
    let member = administrator.create("/users", member).await;
    let user = server.demo.user.to_string();
    let consumer = json!({"name": "App", "user": user, "classification": "CONSUMER_APPLICATION_KEY"});
    let consumer = administrator.create("/keys", consumer).await;
    let members = administrator.create("/keys", json!({"name": "Job", "user": member["id"]})).await;
    let verifier = json!({"name": "Job", "user": member["id"], "verifier": true});
    let verifier = administrator.create("/keys", verifier).await;
    let login = async |key: &Value| server.try_key(super::text(key, "secret")).await.token();
    let ids = Ids {
        organisation: server.demo.id.to_string(),
        unit,
        user,
        key: id(&consumer),
        session: super::nobody(),
    };
    for token in [
        server.try_login("CRMDEMO", "member", PASSWORD).await.token(),
        login(&consumer).await,
        login(&members).await,
        login(&verifier).await,
    ] {
        for route in routes::all(&server).await {
            let answer = Answer::of(route.request(&server.bearer(&token, ""), &ids)).await;
            answer.is_problem(403, "FORBIDDEN", "");
        }
    }
    // An administrator's systemic key works, until it is made one for consumers.
    let systemic = administrator.create("/keys", json!({"name": "Job", "user": ids.user})).await;
    let token = login(&systemic).await;
    let job = server.bearer(&token, "CRMDEMO");
    job.create("/units", json!({"name": "Made by a job"})).await;
    let path = format!("/keys/{}", id(&systemic));
    administrator.patch(&path, json!({"classification": "CONSUMER_APPLICATION_KEY"})).await;
    job.send("GET", "/units").await.is_problem(403, "FORBIDDEN", "");
}

#[tokio::test]
async fn access_is_lost_at_once() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    let unit = server.demo.unit.to_string();
    let second =
        json!({"username": "second", "password": PASSWORD, "role": "administrator", "units": [unit]});
    let second = operator.create("/users", second).await;
    let path = format!("/users/{}", id(&second));
    let log_in = async || {
        let token = server.try_login("CRMDEMO", "second", PASSWORD).await.token();
        let administrator = server.bearer(&token, "CRMDEMO");
        administrator.get("").await;
        administrator
    };
    let administrator = log_in().await;
    operator.patch(&path, json!({"role": "member"})).await;
    administrator.send("GET", "").await.is_problem(403, "FORBIDDEN", "");
    operator.patch(&path, json!({"role": "administrator"})).await;
    administrator.get("").await;
    operator.patch(&path, json!({"status": "disabled"})).await;
    administrator.send("GET", "").await.is_problem(401, "INVALID_TOKEN", "");
    operator.patch(&path, json!({"status": "active"})).await;
    administrator.send("GET", "").await.is_problem(401, "INVALID_TOKEN", "");

    let administrator = log_in().await;
    operator.patch("", json!({"status": "suspended"})).await;
    administrator.send("GET", "").await.is_problem(401, "INVALID_TOKEN", "");
    assert_eq!(server.try_login("CRMDEMO", "second", PASSWORD).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(server.try_key(&server.demo.key).await.code(), "INVALID_CREDENTIALS");
    operator.patch("", json!({"status": "active"})).await;

    let administrator = log_in().await;
    operator.ok("POST", &format!("{path}/password"), json!({})).await;
    administrator.send("GET", "").await.is_problem(401, "INVALID_TOKEN", "");
    operator.delete(&path).await;
    assert_eq!(server.try_login("CRMDEMO", "second", PASSWORD).await.code(), "INVALID_CREDENTIALS");
}

#[tokio::test]
async fn only_the_operator_manages_organisations_themselves() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let new = json!({"code": "NEW"});
    let refused = administrator.send_json("POST", "/admin/v1/organisations", new.clone()).await;
    refused.is_problem(403, "FORBIDDEN", "");
    for patch in [json!({"status": "suspended"}), json!({"code": "MINE"}), json!({"code": "M", "name": "M"})]
    {
        administrator.send_json("PATCH", "", patch).await.is_problem(403, "FORBIDDEN", "");
    }
    administrator.send("DELETE", "?code=CRMDEMO").await.is_problem(403, "FORBIDDEN", "");
    let renamed = administrator.patch("", json!({"name": "Demonstration", "status": "active"})).await;
    assert_eq!(renamed["name"], "Demonstration");
    let operator = server.administrator(&server.operator).await;
    operator.create("/admin/v1/organisations", new).await;
    operator.at("NEW").patch("", json!({"code": "NEWER", "status": "suspended"})).await;
    operator.at("NEWER").delete("?code=newer").await;

    // A member of the operator organisation is a member.
    let unit = server.operator.unit.to_string();
    let member = json!({"username": "member", "password": PASSWORD, "units": [unit]});
    operator.create("/users", member).await;
    let token = server.try_login("OPERATOR", "member", PASSWORD).await.token();
    server.bearer(&token, "CRMDEMO").send("GET", "").await.is_problem(403, "FORBIDDEN", "");
}

/// The operator organisation is never suspended or deleted, and nobody takes away their own rights.
#[tokio::test]
async fn nobody_locks_themselves_out() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    operator.send_json("PATCH", "", json!({"status": "suspended"})).await.is_problem(409, "CONFLICT", "");
    operator.send("DELETE", "?code=OPERATOR").await.is_problem(409, "CONFLICT", "");
    for (administrator, organisation) in
        [(operator, &server.operator), (server.administrator(&server.demo).await, &server.demo)]
    {
        let own = format!("/users/{}", organisation.user);
        for patch in [json!({"role": "member"}), json!({"status": "disabled"})] {
            administrator.send_json("PATCH", &own, patch).await.is_problem(409, "CONFLICT", "");
        }
        administrator.send("DELETE", &own).await.is_problem(409, "CONFLICT", "");
        let reset = administrator.send_json("POST", &format!("{own}/password"), json!({})).await;
        reset.is_problem(409, "CONFLICT", "");
        administrator.patch(&own, json!({"person_name": "Me", "role": "administrator"})).await;
        server.log_in(organisation).await;
    }
}

/// M3: what is disabled ends the tokens below it, and they stay ended.
#[tokio::test]
async fn m3_what_is_disabled_over_http_ends_what_is_below_it() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    let demo = &server.demo;
    let mut ended = Vec::new();
    for (path, word, by_password, by_key) in [
        (String::new(), "suspended", true, true),
        (format!("/units/{}", demo.unit), "disabled", true, true),
        (format!("/users/{}", demo.user), "disabled", true, true),
        (format!("/keys/{}", demo.key_id), "disabled", false, true),
    ] {
        let (password, key) = (server.log_in(demo).await, server.log_in_with_key(demo).await);
        let others = server.log_in(&server.other).await;
        assert_eq!(operator.patch(&path, json!({"status": word})).await["status"], word);
        assert_eq!(server.is_in_force(&password).await, !by_password, "{path}");
        assert_eq!(server.is_in_force(&key).await, !by_key, "{path}");
        assert!(server.is_in_force(&others).await);
        assert_eq!(server.try_key(&demo.key).await.status == 200, !by_key, "{path}");
        operator.patch(&path, json!({"status": "active"})).await;
        ended.extend([(by_password, password), (by_key, key)].into_iter().filter(|(ends, _)| *ends));
    }
    let server = server.crash_and_restart().await;
    for (_, token) in ended {
        assert!(!server.is_in_force(&token).await);
    }
    server.set_status(&server.demo, Scope::Organisation(server.demo.id), Status::Active).await;
    server.log_in_with_key(&server.demo).await;
}

/// H5: neither size nor slowness is borne with for the sake of a token.
#[tokio::test]
async fn h5_admin_bodies_are_bounded_before_a_token_is_looked_at() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.operator).await;
    let ids = Ids::of_nothing(&server.demo.id.to_string());
    for route in routes::all(&server).await {
        let size = if route.operation == "import_users" { 2 * 1024 * 1024 + 1 } else { 70_000 };
        let large = || "x".repeat(size);
        let path = route.path_of(&ids);
        let stranger = server.admin_request(&route.method, &path).bearer_auth("garbage").body(large());
        Answer::of(stranger).await.is_problem(413, "PAYLOAD_TOO_LARGE", "");
        let known = administrator.request(&route.method, &path).body(large());
        Answer::of(known).await.is_problem(413, "PAYLOAD_TOO_LARGE", "");
    }
    let limits = doorward_http::Limits { body_timeout: Duration::from_millis(100), ..Default::default() };
    let server = TestServer::with(Options { limits, ..Options::default() }).await;
    let token = server.log_in(&server.operator).await;
    for token in [token.as_str(), "garbage"] {
        let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
        let slow = server.bearer(token, "CRMDEMO").request("POST", "/units");
        let answer = Answer::of(slow.body(reqwest::Body::wrap_stream(never))).await;
        answer.is_problem(400, "MALFORMED_REQUEST", "");
    }
}

/// H6: nothing of the admin API is kept in a cache.
#[tokio::test]
async fn h6_admin_answers_are_not_cached() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.operator).await;
    let ids = Ids {
        organisation: "CRMDEMO".into(),
        unit: server.demo.unit.to_string(),
        user: server.demo.user.to_string(),
        key: server.demo.key_id.to_string(),
        session: super::nobody(),
    };
    for route in routes::all(&server).await {
        for token in [administrator.token.as_str(), "garbage"] {
            let answer = Answer::of(route.request(&server.bearer(token, ""), &ids)).await;
            assert_eq!(answer.header("cache-control"), "no-store", "{route:?}");
            assert_eq!(answer.header("x-request-id").len(), 16);
            assert!(answer.status < 500);
        }
    }
}
