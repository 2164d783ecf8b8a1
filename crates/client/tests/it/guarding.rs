//! The guard before services of axum, of tonic and of nobody in particular.

use std::{net::SocketAddr, time::Duration};

use axum::{Extension, Router, routing::get};
use doorward_client::{Connection, GuardLayer, Identity, Requirements, Role, Token, Verifier};
use doorward_testkit::{Answer, TestServer};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use tokio::net::TcpListener;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Layer, ServiceExt};

use crate::{connect, door::Door, key, password, token};

async fn listen(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Tells what reaches the service.
async fn echo(
    identity: Identity,
    Extension(token): Extension<Token>,
    uri: Uri,
    headers: HeaderMap,
) -> String {
    let mut names: Vec<&str> =
        headers.keys().map(|name| name.as_str()).filter(|name| name.contains("auth")).collect();
    names.sort_unstable();
    format!(
        "{} of {}; {}; {uri}; {names:?}",
        identity.user.name,
        identity.organisation.code,
        token.expose().len()
    )
}

fn ask(address: SocketAddr, path: &str) -> reqwest::RequestBuilder {
    reqwest::Client::new().get(format!("http://{address}{path}"))
}

#[tokio::test]
async fn f2_axum_gets_the_identity_and_nothing_that_callers_claim() {
    let server = TestServer::start().await;
    let verifier = Verifier::with_key(connect(&server), &*server.demo.key);
    let app = Router::new().route("/orders", get(echo)).layer(GuardLayer::new(verifier.clone()));
    let query =
        Router::new().route("/old", get(echo)).layer(GuardLayer::new(verifier).with_query_parameter());
    let address = listen(app.merge(query)).await;
    let given = connect(&server).log_in(&password(&server.demo)).await.unwrap();
    let request = ask(address, "/orders?token=x&y").bearer_auth(given.expose());
    let request = ["X-Auth-User", "x-auth-organisation-id", "x_auth_user", "X-AUTH_ROLE", "x-auth-anything"]
        .iter()
        .fold(request, |request, name| request.header(*name, "root").header(*name, "boss"));
    let answer = Answer::of(request.header("x-authentic", "1")).await;
    let expected = r#"mpadministrator of CRMDEMO; 32; /orders?token=x&y; ["authorization", "x-authentic"]"#;
    assert_eq!((answer.status, &*answer.text), (200, expected));
    let answer = Answer::of(ask(address, &format!("/old?a=1&token={}&b=%20", given.expose()))).await;
    assert_eq!((answer.status, &*answer.text), (200, "mpadministrator of CRMDEMO; 32; /old?a=1&b=%20; []"));
}

#[tokio::test]
async fn those_without_a_good_token_are_answered_in_the_envelope() {
    let server = TestServer::start().await;
    let verifier = Verifier::without_key(connect(&server));
    let members = GuardLayer::new(verifier.clone()).require(Requirements::default().role(Role::Member));
    let app = Router::new().route("/members", get(echo)).layer(members);
    let app = app.merge(Router::new().route("/orders", get(echo)).layer(GuardLayer::new(verifier)));
    let address = listen(app).await;
    let good = connect(&server).log_in(&key(&server.demo)).await.unwrap();
    let released = connect(&server).log_in(&key(&server.demo)).await.unwrap();
    connect(&server).release(&released).await.unwrap();
    let orders = || ask(address, "/orders");
    for (request, status, code, challenge) in [
        (orders(), 401, "INVALID_TOKEN", "Bearer"),
        (orders().basic_auth(&server.demo.key, Some("")), 401, "INVALID_TOKEN", "Bearer"),
        (ask(address, &format!("/orders?token={}", good.expose())), 401, "INVALID_TOKEN", "Bearer"),
        (orders().bearer_auth(released.expose()), 401, "INVALID_TOKEN", "Bearer error=\"invalid_token\""),
        (orders().bearer_auth("a b"), 401, "INVALID_TOKEN", "Bearer error=\"invalid_token\""),
        (
            orders().bearer_auth(good.expose()).bearer_auth(good.expose()),
            401,
            "INVALID_TOKEN",
            "Bearer error=\"invalid_token\"",
        ),
        (
            ask(address, "/members").bearer_auth(good.expose()),
            403,
            "FORBIDDEN",
            "Bearer error=\"insufficient_scope\"",
        ),
    ] {
        let answer = Answer::of(request).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
        assert_eq!(answer.header("www-authenticate"), challenge);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.json()["data"], serde_json::json!({}));
    }
    assert_eq!(Answer::of(orders().bearer_auth(good.expose())).await.status, 200);
}

/// F1: the service is not reached while nobody can say who calls, whether the token is good or not.
#[tokio::test]
async fn f1_an_outage_lets_nobody_in_and_calls_nobody_a_liar() {
    let server = TestServer::start().await;
    let door = Door::before(server.api).await;
    let connection = Connection::to(format!("http://{}", door.address)).retries(0).build().unwrap();
    let verifier = Verifier::with_key(connection, &*server.demo.key);
    let address = listen(Router::new().route("/orders", get(echo)).layer(GuardLayer::new(verifier))).await;
    let good = connect(&server).log_in(&key(&server.demo)).await.unwrap();
    let orders = async |token: &str| Answer::of(ask(address, "/orders").bearer_auth(token)).await;
    assert_eq!(orders(good.expose()).await.status, 200);
    door.set_open(false);
    for text in [good.expose(), "00"] {
        let answer = orders(text).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "UNAVAILABLE"), "{answer:?}");
        assert_eq!(answer.header("retry-after"), "1");
    }
    door.set_open(true);
    assert_eq!(orders(good.expose()).await.status, 200);
    // A key that may not ask is the service's fault, and not the caller's.
    let verifier = Verifier::with_key(connect(&server), "no key");
    let address = listen(Router::new().route("/orders", get(echo)).layer(GuardLayer::new(verifier))).await;
    assert_eq!(Answer::of(ask(address, "/orders").bearer_auth(good.expose())).await.status, 503);
}

#[tokio::test]
async fn a_handler_without_a_guard_is_an_error_of_the_program() {
    let address = listen(
        Router::new().route("/", get(async |_: Identity| "in")).route("/t", get(async |_: Token| "in")),
    )
    .await;
    assert_eq!(Answer::of(ask(address, "/").header("x-auth-user", "root")).await.status, 500);
    assert_eq!(Answer::of(ask(address, "/t").bearer_auth("A")).await.status, 500);
}

#[tokio::test]
async fn tonic_is_guarded_with_statuses_of_its_own() {
    let server = TestServer::start().await;
    let door = Door::before(server.api).await;
    let connection = Connection::to(format!("http://{}", door.address)).retries(0).build().unwrap();
    let layer = GuardLayer::new(Verifier::without_key(connection))
        .require(Requirements::default().organisation(&server.demo.code));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(
        tonic::transport::Server::builder().layer(layer).add_service(health).serve_with_incoming(incoming),
    );
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let call = async |token: &str| {
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        if !token.is_empty() {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        HealthClient::new(channel.clone()).check(request).await.map(|_| ())
    };
    let good = connect(&server).log_in(&key(&server.demo)).await.unwrap();
    let foreign = connect(&server).log_in(&key(&server.other)).await.unwrap();
    call(good.expose()).await.unwrap();
    for (text, code, message) in [
        ("", tonic::Code::Unauthenticated, "There is no token"),
        ("00", tonic::Code::Unauthenticated, "log in again"),
        (foreign.expose(), tonic::Code::PermissionDenied, "another organisation"),
    ] {
        let status = call(text).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(message), "{status:?}");
    }
    door.set_open(false);
    assert_eq!(call(good.expose()).await.unwrap_err().code(), tonic::Code::Unavailable);
}

/// Any service over HTTP will do, and the answers may be one's own.
#[tokio::test]
async fn a_bare_service_is_guarded_and_answers_in_its_own_words() {
    let server = TestServer::start().await;
    let layer = GuardLayer::new(Verifier::without_key(connect(&server))).answer_with(|refusal, headers| {
        let asked = headers.get("x-language").map_or("none", |value| value.to_str().unwrap());
        let mut answer = Response::new(format!("{}: {asked}", refusal.code()).into());
        *answer.status_mut() = refusal.status();
        answer
    });
    let service = tower::service_fn(async |request: Request<String>| {
        let identity = request.extensions().get::<Identity>().unwrap();
        Ok::<_, std::convert::Infallible>(Response::new(identity.user.name.clone()))
    });
    let service = layer.layer(service);
    let good = connect(&server).log_in(&key(&server.demo)).await.unwrap();
    let request = |token: &Token| {
        Request::builder()
            .header("authorization", format!("Bearer {}", token.expose()))
            .header("x-language", "el")
    };
    let answer = service.clone().oneshot(request(&good).body(String::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    assert_eq!(body, server.demo.username);
    let answer = service.oneshot(request(&token("00")).body(String::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    assert_eq!(body, "INVALID_TOKEN: el");
}

/// A use of the guarded service keeps the token alive, and its release shuts it out at once.
#[tokio::test]
async fn t6_each_request_is_a_question() {
    let server = TestServer::start().await;
    let verifier = Verifier::with_key(connect(&server), &*server.demo.key).coalescing();
    let address = listen(Router::new().route("/", get(echo)).layer(GuardLayer::new(verifier))).await;
    let good = connect(&server).log_in(&password(&server.demo)).await.unwrap();
    for _ in 0..3 {
        server.clock.advance(Duration::from_secs(59 * 60));
        assert_eq!(Answer::of(ask(address, "/").bearer_auth(good.expose())).await.status, 200);
    }
    connect(&server).release(&good).await.unwrap();
    assert_eq!(Answer::of(ask(address, "/").bearer_auth(good.expose())).await.status, 401);
}
