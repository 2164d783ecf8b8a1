//! What routes demand of tokens, questions that are no use of them, and many questions at once.

use std::time::Duration;

use doorward_testkit::{Answer, TestServer};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

/// Asks as a proxy does that is configured with this query and these headers.
async fn ask(server: &TestServer, token: &str, query: &str, headers: &[(&str, &str)]) -> Answer {
    let request = server.request("GET", &format!("/verify{query}")).bearer_auth(token);
    let add = |request: RequestBuilder, (name, value): &(&str, &str)| request.header(*name, *value);
    Answer::of(headers.iter().fold(request, add)).await
}

fn is_forbidden(answer: &Answer, text: &str) {
    answer.is_problem(403, "FORBIDDEN", "");
    assert!(answer.text.contains(text), "{answer:?}");
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("x-auth-")), "{answer:?}");
}

#[tokio::test]
async fn a_route_demands_organisation_unit_method_and_role() {
    let server = TestServer::start().await;
    let (token, by_key) = (server.log_in(&server.demo).await, server.log_in_with_key(&server.demo).await);
    let (organisation, unit) = (server.demo.id.to_string(), server.demo.unit.to_string());
    for met in [
        "?require_organisation=crmdemo",
        &format!("?require_organisation={organisation}&require_unit={unit}"),
        "?require_organisation=OTHER&require_organisation=CRMDEMO",
        "?require_method=password",
        "?require_role=administrator&require_role=member",
    ] {
        let answer = ask(&server, &token, met, &[]).await;
        assert_eq!(
            (answer.status, answer.header("x-auth-organisation")),
            (200, "CRMDEMO"),
            "{met}: {answer:?}"
        );
    }
    is_forbidden(&ask(&server, &token, "?require_organisation=OTHER", &[]).await, "another organisation");
    is_forbidden(&ask(&server, &token, "?require_unit=Nowhere", &[]).await, "another unit");
    is_forbidden(&ask(&server, &by_key, "?require_method=password", &[]).await, "another way");
    // The role is the one that the user has now.
    let administrator = server.administrator(&server.operator).await.at("CRMDEMO");
    let path = format!("/users/{}", server.demo.user);
    for (role, other) in [("member", "administrator"), ("administrator", "member")] {
        administrator.patch(&path, json!({"role": role})).await;
        assert_eq!(ask(&server, &token, &format!("?require_role={role}"), &[]).await.status, 200);
        is_forbidden(&ask(&server, &token, &format!("?require_role={other}"), &[]).await, "another role");
    }
    // What is not in force meets nothing.
    server.release(&token).await;
    assert_eq!(ask(&server, &token, "?require_organisation=OTHER", &[]).await.status, 401);
    assert_eq!(ask(&server, &token, "?require_role=member", &[]).await.status, 401);
}

#[tokio::test]
async fn a_route_demands_an_address_of_the_key() {
    let server = TestServer::start().await;
    let token = server.log_in_with_key(&server.demo).await;
    let administrator = server.administrator(&server.operator).await.at("CRMDEMO");
    let key = administrator.list("/keys?limit=9").await[0]["id"].as_str().unwrap().to_owned();
    let demand = "?require_key_address=true";
    assert_eq!(ask(&server, &token, demand, &[]).await.status, 200);
    administrator.patch(&format!("/keys/{key}"), json!({"allowed_addresses": ["192.0.2.0/24"]})).await;
    is_forbidden(&ask(&server, &token, demand, &[]).await, "from this address");
    assert_eq!(ask(&server, &token, "", &[]).await.status, 200, "it was not demanded");
    administrator.patch(&format!("/keys/{key}"), json!({"allowed_addresses": []})).await;
    administrator.patch("/rules", json!({"addresses.deny": ["127.0.0.0/8"]})).await;
    is_forbidden(&ask(&server, &token, demand, &[]).await, "from this address");
}

/// F3: what a client sends beside what the proxy demands can only shut itself out.
#[tokio::test]
async fn f3_demands_add_up_and_what_is_unknown_is_no_pass() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    let other = "organisation=OTHER";
    for (query, headers) in [
        ("?require_organisation=OTHER", &[("X-Auth-Require", "organisation=CRMDEMO")][..]),
        ("?require_organisation=CRMDEMO", &[("X-Auth-Require", other)]),
        ("", &[("X-Auth-Require", other), ("X-Auth-Require", "organisation=CRMDEMO")]),
        ("", &[("X-Auth-Require", "organisation=CRMDEMO"), ("x-auth-require", other)]),
    ] {
        is_forbidden(&ask(&server, &token, query, headers).await, "another organisation");
    }
    for (query, headers) in [
        ("?require_colour=red", &[][..]),
        ("?require_role=boss", &[]),
        ("?require_organisation=", &[]),
        ("", &[("X-Auth-Require", "CRMDEMO")]),
        ("", &[("X-Auth-Require", "key_address=maybe")]),
    ] {
        is_forbidden(&ask(&server, &token, query, headers).await, "unknown here");
        // Nobody but the holder of a token writes errors into the log with it.
        let ended = "4AD9C84FA60F9FE407140E20F707726A";
        ask(&server, ended, query, headers).await.is_problem(401, "INVALID_TOKEN", "");
    }
    // Behind the client's own path its query demands nothing, and the proxy's header still does.
    for path in ["/at/orders?require_colour=red", "/at/", "/at", "/at/batch", "/at/a%2Fb"] {
        assert_eq!(ask(&server, &token, path, &[]).await.status, 200, "{path}");
        is_forbidden(&ask(&server, &token, path, &[("X-Auth-Require", other)]).await, "another organisation");
    }
    assert_eq!(ask(&server, "", "/at/orders", &[]).await.status, 401);
    let in_query = Answer::of(server.request("GET", &format!("/verify/at/orders?x=1&token={token}"))).await;
    assert_eq!(in_query.status, 200);
    assert_eq!(ask(&server, &token, "/orders", &[]).await.status, 404, "no other path is one");
    // As it stands, for clients of tests tidy paths up.
    for path in ["/verify/at/../batch", "/verify/at/../../admin", "/verify/at//batch", "/VERIFY/AT/./"] {
        let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
        let answer = crate::http::exchange(&server, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("x-auth-user-id"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_question_that_is_no_use_keeps_no_token_alive() {
    let server = TestServer::start().await;
    let log_in = || server.log_in(&server.demo);
    let (by_query, by_header, introspected, used) =
        (log_in().await, log_in().await, log_in().await, log_in().await);
    server.clock.advance(Duration::from_secs(3_000));
    assert_eq!(ask(&server, &by_query, "?touch=false", &[]).await.status, 200);
    assert_eq!(ask(&server, &by_query, "?touch=false&require_method=password", &[]).await.status, 200);
    assert_eq!(ask(&server, &by_header, "", &[("X-Auth-Touch", "false")]).await.status, 200);
    // A refusal is no use either.
    is_forbidden(&ask(&server, &by_header, "?require_method=web_api_key", &[]).await, "another way");
    let form = [("token", introspected.as_str()), ("touch", "false")];
    let request = server.request("POST", "/oauth2/introspect").basic_auth(&server.demo.key, Some(""));
    assert_eq!(Answer::of(request.form(&form)).await.json()["active"], json!(true));
    assert_eq!(ask(&server, &used, "?touch=true", &[]).await.status, 200);
    server.clock.advance(Duration::from_secs(700));
    for (token, status) in [(&by_query, 401), (&by_header, 401), (&introspected, 401), (&used, 200)] {
        assert_eq!(ask(&server, token, "?touch=false", &[]).await.status, status);
    }
}

async fn batch(server: &TestServer, key: &str, body: Value) -> Answer {
    Answer::of(server.request("POST", "/verify/batch").basic_auth(key, Some("")).json(&body)).await
}

/// T8: token by token as an introspection answers.
#[tokio::test]
async fn t8_many_tokens_are_answered_as_one_is() {
    let server = TestServer::start().await;
    let (one, two) = (server.log_in(&server.demo).await, server.log_in_with_key(&server.demo).await);
    let (theirs, released) = (server.log_in(&server.other).await, server.log_in(&server.demo).await);
    server.release(&released).await;
    let tokens = [&one, &theirs, &released, "nonsense", &two, &one];
    let answer = batch(&server, &server.demo.key, json!({"tokens": tokens})).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let results = answer.json()["results"].clone();
    let introspect = async |token: &str| {
        let request = server.request("POST", "/oauth2/introspect").basic_auth(&server.demo.key, Some(""));
        Answer::of(request.form(&[("token", token)])).await.json()
    };
    for (token, result) in tokens.iter().zip(results.as_array().unwrap()) {
        assert_eq!(*result, introspect(token).await, "{token}");
    }
    assert_eq!(results[1], json!({"active": false}), "another organisation's");
    assert_eq!(batch(&server, &server.demo.key, json!({"tokens": []})).await.text, r#"{"results":[]}"#);
    // A question that is no use.
    server.clock.advance(Duration::from_secs(3_000));
    batch(&server, &server.demo.key, json!({"tokens": [one], "touch": false})).await;
    server.clock.advance(Duration::from_secs(700));
    assert_eq!(introspect(&one).await, json!({"active": false}));
}

#[tokio::test]
async fn wrong_questions_about_many_tokens_are_refused() {
    let server = TestServer::start().await;
    let key = &server.demo.key;
    let refused = |answer: Answer, status: u16, error: &str, text: &str| {
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(error)), "{answer:?}");
        assert!(answer.text.contains(text), "{answer:?}");
    };
    let many = vec!["0123456789ABCDEF0123456789ABCDEF"; 1_001];
    refused(batch(&server, key, json!({"tokens": many})).await, 400, "invalid_request", "1001 tokens");
    assert_eq!(batch(&server, key, json!({"tokens": &many[1..]})).await.status, 200);
    for body in
        [json!({}), json!({"tokens": "x"}), json!({"tokens": [1]}), json!({"tokens": [], "x": 1}), json!([])]
    {
        let answer = batch(&server, key, body).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{answer:?}");
    }
    refused(batch(&server, "nobody's", json!({"tokens": []})).await, 401, "invalid_client", "");
    let token = server.log_in(&server.demo).await;
    let administrator = server.administrator(&server.operator).await.at("CRMDEMO");
    administrator.patch(&format!("/users/{}", server.demo.user), json!({"role": "member"})).await;
    let request = server.request("POST", "/verify/batch").bearer_auth(&token);
    let answer = Answer::of(request.json(&json!({"tokens": [token]}))).await;
    refused(answer, 403, "unauthorized_client", "verifier");
}
