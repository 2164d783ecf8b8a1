//! Envoy's external authorisation over gRPC, as Envoy asks it.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use doorward_domain::address::TrustedProxies;
use doorward_testkit::{Answer, Options, TestServer};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{
            Address, HeaderMap, HeaderValue, SocketAddress, address, header_value_option::HeaderAppendAction,
        },
        service::auth::v3::{
            AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
            attribute_context::{HttpRequest, Peer, Request},
            authorization_client::AuthorizationClient,
            check_response::HttpResponse,
        },
    },
    google::protobuf::value::Kind,
};
use serde_json::{Value, json};
use tonic::{
    Code,
    transport::{Certificate, Channel, ClientTlsConfig},
};

use crate::{
    binary::{PASSWORD, init},
    program::{Server, run},
};

type Client = AuthorizationClient<Channel>;

async fn connect(address: SocketAddr) -> Client {
    Client::connect(format!("http://{address}")).await.unwrap()
}

/// A question of Envoy's in the making.
#[derive(Clone, Default)]
struct Asked {
    http: HttpRequest,
    extensions: HashMap<String, String>,
    source: Option<&'static str>,
}

fn get(path: &str) -> Asked {
    let http = HttpRequest { method: "GET".into(), path: path.into(), ..HttpRequest::default() };
    Asked { http, ..Asked::default() }.header(":path", path)
}

fn bearer(token: &str) -> Asked {
    get("/orders").header("authorization", &format!("Bearer {token}"))
}

impl Asked {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.http.headers.insert(name.into(), value.into());
        self
    }

    /// As `encode_raw_headers` sends them.
    fn raw(mut self, name: &str, value: &[u8]) -> Self {
        let header = HeaderValue { key: name.into(), raw_value: value.into(), ..HeaderValue::default() };
        self.http.header_map.get_or_insert_with(HeaderMap::default).headers.push(header);
        self
    }

    fn body(mut self, body: &str) -> Self {
        self.http.body = body.into();
        self
    }

    fn extension(mut self, name: &str, value: &str) -> Self {
        self.extensions.insert(name.into(), value.into());
        self
    }

    fn from(mut self, address: &'static str) -> Self {
        self.source = Some(address);
        self
    }

    fn request(self) -> CheckRequest {
        let peer = |text: &str| Peer {
            address: Some(Address {
                address: Some(address::Address::SocketAddress(SocketAddress {
                    address: text.into(),
                    ..SocketAddress::default()
                })),
            }),
            ..Peer::default()
        };
        CheckRequest {
            attributes: Some(AttributeContext {
                source: self.source.map(peer),
                request: Some(Request { http: Some(self.http), time: None }),
                context_extensions: self.extensions,
                ..AttributeContext::default()
            }),
        }
    }

    async fn ask(self, client: &Client) -> CheckResponse {
        client.clone().check(self.request()).await.unwrap().into_inner()
    }

    async fn passes(self, client: &Client) -> OkHttpResponse {
        ok(self.ask(client).await)
    }

    async fn denied_as(self, client: &Client, status: i32, code: &str) -> DeniedHttpResponse {
        denied(self.ask(client).await, status, code)
    }
}

#[track_caller]
fn ok(answer: CheckResponse) -> OkHttpResponse {
    assert_eq!(answer.status.as_ref().map(|status| status.code), Some(0), "{answer:?}");
    match answer.http_response {
        Some(HttpResponse::OkResponse(ok)) => ok,
        other => panic!("{other:?}"),
    }
}

/// F1: a denial is a denial in all its parts, and no error, for Envoy may be told to let errors pass.
#[track_caller]
fn denied(answer: CheckResponse, status: i32, code: &str) -> DeniedHttpResponse {
    let grpc = match status {
        401 => 16,
        503 => 14,
        _ => 7,
    };
    assert_eq!(answer.status.as_ref().map(|status| status.code), Some(grpc), "{answer:?}");
    let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else { panic!("{answer:?}") };
    assert_eq!(denied.status.map(|status| status.code), Some(status), "{denied:?}");
    let envelope: Value = serde_json::from_str(&denied.body).unwrap();
    assert_eq!((&envelope["status"]["code"], &envelope["data"]), (&json!(code), &json!({})), "{denied:?}");
    assert_eq!(value(&denied.headers, "content-type"), "application/json");
    let asks_for_a_token = value(&denied.headers, "www-authenticate").starts_with("Bearer");
    assert_eq!(asks_for_a_token, status == 401, "{denied:?}");
    assert!(!format!("{denied:?}").contains("x-auth-"), "{denied:?}");
    denied
}

type Headers = [envoy_types::pb::envoy::config::core::v3::HeaderValueOption];

fn value<'a>(headers: &'a Headers, name: &str) -> &'a str {
    let mut found =
        headers.iter().filter_map(|option| option.header.as_ref()).filter(|header| header.key == name);
    let value = found.next().map_or("", |header| header.value.as_str());
    assert!(found.next().is_none(), "{name} twice");
    value
}

#[tokio::test]
async fn f2_all_identity_headers_are_set_in_place_of_the_clients() {
    let server = TestServer::start().await;
    let client = connect(server.ext_authz).await;
    let token = server.log_in(&server.demo).await;
    let verified = server.verify(&token).await;
    let answer = bearer(&token).header("x-auth-user", "root").header("accept", "*/*").ask(&client).await;
    let metadata = answer.dynamic_metadata.clone().unwrap().fields;
    let passed = ok(answer);
    let identity: Vec<_> = verified
        .headers
        .keys()
        .map(|name| name.as_str())
        .filter(|name| name.starts_with("x-auth-"))
        .collect();
    assert_eq!((identity.len(), passed.headers.len(), metadata.len()), (8, 8, 8));
    for name in identity {
        assert_eq!(value(&passed.headers, name), verified.header(name), "{name}");
        let member = name.strip_prefix("x-auth-").unwrap().replace('-', "_");
        let told = metadata[&member].kind.clone();
        assert_eq!(told, Some(Kind::StringValue(verified.header(name).to_owned())), "{name}");
        // What would remove the client's copy would remove ours too: Envoy sets first.
        assert!(!passed.headers_to_remove.iter().any(|removed| removed == name), "{name}");
    }
    for option in &passed.headers {
        assert_eq!(option.append_action(), HeaderAppendAction::OverwriteIfExistsOrAdd, "{option:?}");
    }
    for name in ["x-auth-require", "x-auth-touch", "x_auth_user", "x_auth_organisation_id", "authorization"] {
        assert!(passed.headers_to_remove.iter().any(|removed| removed == name), "{name}: {passed:?}");
    }
    assert!(passed.query_parameters_to_remove.is_empty() && passed.response_headers_to_add.is_empty());
    // As metrics count it.
    assert_eq!(server.metric("doorward_requests_total{endpoint=\"ext_authz\",outcome=\"ok\"}").await, 1.0);
    get("/").denied_as(&client, 401, "INVALID_TOKEN").await;
    let refused = "doorward_requests_total{endpoint=\"ext_authz\",outcome=\"INVALID_TOKEN\"}";
    assert_eq!(server.metric(refused).await, 1.0);
}

/// F2, F3: what clients send as if the proxy had sent it is overwritten, removed, or restricts themselves.
#[tokio::test]
async fn f2_f3_spoofed_headers_do_not_pass() {
    let server = TestServer::start().await;
    let client = connect(server.ext_authz).await;
    let token = server.log_in(&server.demo).await;
    for name in [
        "x_auth_user",
        "x-auth_user",
        "x_auth-user_id",
        "x-auth_organisation-id",
        "x.auth.unit",
        "x_auth-require",
        "x-auth_touch",
        "X_Auth_Method",
    ] {
        for asked in [bearer(&token).header(name, "root"), bearer(&token).raw(name, b"root")] {
            let passed = asked.passes(&client).await;
            assert!(passed.headers_to_remove.iter().any(|removed| removed == name), "{name}: {passed:?}");
            assert_eq!(value(&passed.headers, "x-auth-user"), "mpadministrator");
        }
    }
    let passed = bearer(&token).header("x-auth-token", "an upstream's own").passes(&client).await;
    assert!(!passed.headers_to_remove.iter().any(|removed| removed == "x-auth-token"));
    // Without a token of its own nothing that it says of itself helps a client.
    for (name, value) in [
        ("x-auth-user", "mpadministrator"),
        ("x-auth-require", "organisation=CRMDEMO"),
        ("x-forwarded-uri", &format!("/?token={token}")),
        ("x-original-uri", &format!("/?token={token}")),
        ("x-http-method-override", "OPTIONS"),
        ("x-envoy-auth-failure-mode-allowed", "true"),
        ("x-envoy-internal", "true"),
        ("cookie", &format!("token={token}")),
        ("authorization", &format!("Token {token}")),
        ("authorization", &format!("Bearer {}", token.to_lowercase())),
        ("authorization", &format!("Bearer {token},Bearer {token}")),
        ("authorization", "Bearer \u{1}"),
    ] {
        get("/").header(name, value).denied_as(&client, 401, "INVALID_TOKEN").await;
    }
    for method in ["OPTIONS", "HEAD", "PROPFIND", ""] {
        let mut asked = get("/orders/../healthz");
        asked.http.method = method.into();
        asked.denied_as(&client, 401, "INVALID_TOKEN").await;
    }
}

/// H2: the token is found where clients put it, kept from the upstream, and two different ones are refused.
#[tokio::test]
async fn h2_tokens_are_found_and_taken_away() {
    let server = TestServer::start().await;
    let client = connect(server.ext_authz).await;
    let (token, other) = (server.log_in(&server.demo).await, server.log_in(&server.other).await);
    let passed = get(&format!("/orders?page=2&token={token}")).passes(&client).await;
    assert_eq!(passed.query_parameters_to_remove, ["token"]);
    // Envoy compares names as they are written.
    let passed = get(&format!("/orders?%74oken={token}&token={token}")).passes(&client).await;
    assert_eq!(passed.query_parameters_to_remove, ["%74oken", "token"]);
    // Of `Authorization` the upstream's own is left.
    let removes =
        |passed: &OkHttpResponse| passed.headers_to_remove.iter().any(|name| name == "authorization");
    let basic = get(&format!("/?token={token}")).header("authorization", "Basic YTo=").passes(&client).await;
    let kept = bearer(&token).extension("keep_authorization", "true").passes(&client).await;
    let taken = bearer(&token).extension("keep_authorization", "false").passes(&client).await;
    assert_eq!([removes(&basic), removes(&kept), removes(&taken)], [false, false, true]);
    // The body, if Envoy sends it.
    let body = format!(r#"{{"token": "{token}", "id": 1}}"#);
    get("/").body(&body).passes(&client).await;
    let mut bytes = get("/");
    bytes.http.raw_body = body.clone().into();
    bytes.passes(&client).await;
    bearer(&token).body(&body).passes(&client).await;
    bearer(&token).body("\u{0}no JSON").passes(&client).await;
    let large = format!(r#"{{"token": "{token}", "x": "{}"}}"#, "x".repeat(70_000));
    for asked in [
        get(&format!("/?token={other}")).header("authorization", &format!("Bearer {token}")),
        get(&format!("/?token={token}&token={other}")),
        bearer(&other).body(&body),
        get("/").body(&format!(r#"{{"token": "{token}", "token": "{token}"}}"#)),
        get("/").body(&format!(r#"["{token}"]"#)),
        get("/").body(&large),
        bearer(&token).raw("authorization", b"Basic YTo="),
        get("/").raw("authorization", b"Bearer \xff"),
        get(&format!("/#?token={token}")),
        get(""),
    ] {
        asked.denied_as(&client, 401, "INVALID_TOKEN").await;
    }
    get("/").raw("Authorization", format!("Bearer {token}").as_bytes()).passes(&client).await;
    server.release(&token).await;
    bearer(&token).denied_as(&client, 401, "INVALID_TOKEN").await;
}

#[tokio::test]
async fn f3_routes_demand_by_context_extensions_and_headers() {
    let server = TestServer::start().await;
    let client = connect(server.ext_authz).await;
    let token = server.log_in(&server.demo).await;
    let unit = server.demo.unit.to_string();
    for (name, value) in [
        ("organisation", "crmdemo"),
        ("organisation", "OTHER | CRMDEMO"),
        ("unit", &unit),
        ("method", "web_api_key|password"),
        ("role", "administrator"),
        ("key_address", "false"),
    ] {
        bearer(&token).extension(name, value).passes(&client).await;
    }
    for (name, value) in
        [("organisation", "OTHER"), ("unit", "Second"), ("method", "web_api_key"), ("role", "member")]
    {
        let denied = bearer(&token).extension(name, value).denied_as(&client, 403, "FORBIDDEN").await;
        assert!(denied.body.contains("The token is valid"), "{denied:?}");
        // A client's own demands take none of the proxy's away, also where Envoy has joined the two.
        for (own, joined) in [("key_address=false", false), ("unit=x", true)] {
            let asked = bearer(&token).extension("role", "administrator");
            let header = if joined { format!("{own},{name}={value}") } else { own.to_owned() };
            let asked = if joined { asked } else { asked.extension(name, value) };
            asked.header("x-auth-require", &header).denied_as(&client, 403, "FORBIDDEN").await;
        }
    }
    for asked in [
        bearer(&token).extension("colour", "red"),
        bearer(&token).extension("organisation", ""),
        bearer(&token).extension("organisation", "CRMDEMO|"),
        bearer(&token).extension("role", "boss"),
        bearer(&token).extension("touch", "no"),
        bearer(&token).header("x-auth-require", "CRMDEMO"),
    ] {
        let denied = asked.denied_as(&client, 403, "FORBIDDEN").await;
        assert!(denied.body.contains("unknown here"), "{denied:?}");
    }
    bearer(&token).header("x-auth-require", "organisation=CRMDEMO&role=administrator").passes(&client).await;
    bearer(&token).header("x-auth-require", "organisation=OTHER").denied_as(&client, 403, "FORBIDDEN").await;
}

/// H1: what Envoy says of the client's address counts if Envoy is a trusted proxy, and so do the headers behind it.
#[tokio::test]
async fn h1_the_clients_address_is_envoys_word_if_that_is_trusted() {
    let demand = async |server: &TestServer| {
        let token = server.log_in_with_key(&server.demo).await;
        let administrator = server.administrator(&server.operator).await.at("CRMDEMO");
        let key = administrator.list("/keys?limit=9").await[0]["id"].as_str().unwrap().to_owned();
        let allowed = json!({"allowed_addresses": ["192.0.2.0/24", "127.0.0.1"]});
        administrator.patch(&format!("/keys/{key}"), allowed).await;
        bearer(&token).extension("key_address", "true")
    };
    let server = TestServer::start().await;
    let client = connect(server.ext_authz).await;
    let asked = demand(&server).await;
    // Nobody is trusted, and Envoy's own address, which is allowed, is not the client's.
    asked.clone().from("192.0.2.1").denied_as(&client, 403, "FORBIDDEN").await;
    asked.denied_as(&client, 403, "FORBIDDEN").await;

    let proxies = TrustedProxies::new(["127.0.0.1", "10.0.0.0/8"].map(|text| text.parse().unwrap()).into());
    let server = TestServer::with(Options { proxies, ..Options::default() }).await;
    let client = connect(server.ext_authz).await;
    let asked = demand(&server).await;
    let forwarded = |value: &str| asked.clone().header("x-forwarded-for", value);
    asked.clone().from("192.0.2.1").passes(&client).await;
    asked.clone().from("::ffff:192.0.2.1").passes(&client).await;
    forwarded("203.0.113.1").from("192.0.2.1").passes(&client).await;
    forwarded("192.0.2.1").from("10.0.0.1").passes(&client).await;
    forwarded("192.0.2.1, 10.0.0.1").from("10.0.0.1").passes(&client).await;
    for denied in [
        asked.clone(),
        asked.clone().from("203.0.113.1"),
        asked.clone().from("a pipe"),
        forwarded("192.0.2.1"),
        forwarded("192.0.2.1").from("203.0.113.1"),
        forwarded("192.0.2.1, 203.0.113.1").from("10.0.0.1"),
    ] {
        denied.denied_as(&client, 403, "FORBIDDEN").await;
    }
}

#[tokio::test]
async fn a_check_is_a_use_unless_it_is_told_not_to_be() {
    let server = TestServer::start().await;
    let client = connect(server.ext_authz).await;
    let log_in = || server.log_in(&server.demo);
    let (used, by_extension, by_header, refused) =
        (log_in().await, log_in().await, log_in().await, log_in().await);
    server.clock.advance(Duration::from_secs(3_000));
    bearer(&used).extension("touch", "true").passes(&client).await;
    bearer(&by_extension).extension("touch", "false").passes(&client).await;
    bearer(&by_header).header("x-auth-touch", "false").passes(&client).await;
    bearer(&refused).extension("organisation", "OTHER").denied_as(&client, 403, "FORBIDDEN").await;
    server.clock.advance(Duration::from_secs(700));
    bearer(&used).passes(&client).await;
    for token in [by_extension, by_header, refused] {
        bearer(&token).denied_as(&client, 401, "INVALID_TOKEN").await;
    }
}

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// What a client gets that knows no gRPC: the status of HTTP and that of gRPC. Without a body, it never ends.
async fn send(address: SocketAddr, path: &str, body: Option<&'static [u8]>) -> (u16, String) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = tonic::codegen::http::Request::post(format!("http://{address}{path}"));
    let request = request.header("content-type", "application/grpc").body(()).unwrap();
    let (response, mut stream) = client.ready().await.unwrap().send_request(request, false).unwrap();
    if let Some(body) = body {
        // The server may have answered already.
        let _ = stream.send_data(body.into(), true);
    }
    let response = response.await.unwrap();
    let grpc = response.headers().get("grpc-status").map(|value| value.to_str().unwrap().to_owned());
    connection.abort();
    (response.status().as_u16(), grpc.unwrap_or_default())
}

/// F1: whatever is sent, nothing passes and nothing breaks.
#[tokio::test]
async fn f1_odd_questions_are_denied() {
    let server = TestServer::start().await;
    let client = connect(server.ext_authz).await;
    let token = server.log_in(&server.demo).await;
    for request in [
        CheckRequest::default(),
        CheckRequest { attributes: Some(AttributeContext::default()) },
        CheckRequest {
            attributes: Some(AttributeContext {
                request: Some(Request::default()),
                ..AttributeContext::default()
            }),
        },
    ] {
        denied(client.clone().check(request).await.unwrap().into_inner(), 401, "INVALID_TOKEN");
    }
    // Large heads are read, and larger ones than any proxy takes are refused before they are.
    let many =
        (0..500).fold(bearer(&token), |asked, number| asked.header(&format!("x-{number}"), &"x".repeat(100)));
    many.passes(&client).await;
    let long = bearer(&token).header("cookie", &"x".repeat(60_000)).body(&"x".repeat(60_000));
    long.passes(&client).await;
    let huge = bearer(&token).header("cookie", &"x".repeat(300_000)).request();
    assert_eq!(client.clone().check(huge).await.unwrap_err().code(), Code::OutOfRange);
    // What is no message at all, by a client that knows no gRPC.
    let send = async |path: &str, body: &'static [u8]| send(server.ext_authz, path, Some(body)).await;
    for body in [
        &b""[..],
        b"\0",
        b"\0\0\0\0\x05\xff\xff\xff\xff\xff",
        b"\0\xff\xff\xff\xff",
        b"\0\0\0\0\x09\x0a\x01",
        b"\x01\0\0\0\0",
        b"\x07\0\0\0\0",
        b"{\"attributes\":{}}",
    ] {
        let (status, grpc) = send(CHECK, body).await;
        assert!(status == 200 && grpc.parse::<u8>().is_ok_and(|code| code != 0), "{body:?}: {status} {grpc}");
    }
    for path in [
        "/envoy.service.auth.v3.Authorization/Other",
        "/envoy.service.auth.v2.Authorization/Check",
        "/verify",
        "/",
    ] {
        assert_eq!(send(path, b"\0\0\0\0\0").await, (200, "12".into()), "{path}");
    }
    let of =
        |outcome: &str| format!("doorward_requests_total{{endpoint=\"ext_authz\",outcome=\"{outcome}\"}}");
    assert_eq!(server.metric(&of("ok")).await, 2.0, "none of them counts as a success");
    assert_eq!(server.metric(&of("PAYLOAD_TOO_LARGE")).await, 2.0);
    assert_eq!(server.metric(&of("MALFORMED_REQUEST")).await, 7.0);
    bearer(&token).passes(&client).await;
}

/// H5: a question that does not arrive is not waited for.
#[tokio::test]
async fn h5_a_question_that_does_not_arrive_is_cut_off() {
    let mut options = Options::default();
    options.limits.body_timeout = Duration::from_millis(200);
    let server = TestServer::with(options).await;
    assert_eq!(send(server.ext_authz, CHECK, None).await, (200, "4".into()));
}

#[tokio::test]
async fn many_questions_at_once_are_each_answered() {
    let server = TestServer::start().await;
    let client = connect(server.ext_authz).await;
    let (token, by_key) = (server.log_in(&server.demo).await, server.log_in_with_key(&server.other).await);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        let client = client.clone();
        let token = [&token, &by_key, "0123456789ABCDEF0123456789ABCDEF"][number % 3].to_owned();
        tasks.spawn(async move {
            let asked = bearer(&token).extension("role", "administrator|member");
            match number % 3 {
                2 => drop(asked.denied_as(&client, 401, "INVALID_TOKEN").await),
                kind => {
                    let passed = asked.passes(&client).await;
                    assert_eq!(value(&passed.headers, "x-auth-organisation"), ["CRMDEMO", "OTHER"][kind]);
                }
            }
        });
    }
    let mut done = 0;
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
        done += 1;
    }
    assert_eq!(done, 1_000);
}

/// F1: what cannot be looked up is no pass, and no error that Envoy may be told to let pass.
#[tokio::test]
async fn f1_a_check_that_is_unavailable_is_a_denial() {
    let server = TestServer::start().await;
    let client = connect(server.ext_authz).await;
    let token = server.log_in(&server.demo).await;
    let database = rusqlite::Connection::open(server.folder().join("doorward.db")).unwrap();
    let demanding = || bearer(&token).extension("role", "administrator");
    database.execute_batch("ALTER TABLE user RENAME TO away").unwrap();
    for _ in 0..2 {
        let denied = demanding().denied_as(&client, 503, "UNAVAILABLE").await;
        assert_eq!(value(&denied.headers, "retry-after"), "1");
    }
    let counted = "doorward_requests_total{endpoint=\"ext_authz\",outcome=\"UNAVAILABLE\"}";
    assert_eq!(server.metric(counted).await, 2.0);
    // What is in memory needs no database.
    bearer(&token).passes(&client).await;
    database.execute_batch("ALTER TABLE away RENAME TO user").unwrap();
    demanding().passes(&client).await;
}

/// With a certificate the listener speaks HTTP/2 over TLS where it is not on loopback, which a client of gRPC agrees on by ALPN.
#[tokio::test]
#[cfg_attr(missing_openssl, ignore = "needs openssl")]
async fn questions_come_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (config, certificate, key) = (file("openssl.cnf"), file("certificate.pem"), file("key.pem"));
    let text = "[req]\ndistinguished_name = name\nprompt = no\nx509_extensions = more\n[name]\nCN = localhost\n\
                [more]\nbasicConstraints = CA:FALSE\nsubjectAltName = DNS:localhost\n";
    std::fs::write(&config, text).unwrap();
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-config", &config, "-keyout", &key, "-out", &certificate])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let settings = [
        "listen.ext_authz=0.0.0.0:0".to_owned(),
        format!("listen.tls.certificate={certificate}"),
        format!("listen.tls.key={key}"),
    ];
    let (data, mut args) = (folder.path().join("data"), Vec::new());
    init(&data);
    settings.iter().for_each(|setting| args.extend(["--set", setting]));
    let server = Server::start(&data, &args);
    let address = SocketAddr::from(([127, 0, 0, 1], listens_for_envoy(&server).port()));
    let pem = std::fs::read(&certificate).unwrap();
    let trusted = Certificate::from_pem(&pem);
    let tls = ClientTlsConfig::new().ca_certificate(trusted).domain_name("localhost");
    let endpoint = Channel::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    let client = Client::new(endpoint.connect().await.unwrap());
    get("/orders").denied_as(&client, 401, "INVALID_TOKEN").await;
    let trusted = reqwest::Certificate::from_pem(&pem).unwrap();
    let api = reqwest::Client::builder().tls_certs_only([trusted]).build().unwrap();
    let login = json!({"username": "admin", "password": PASSWORD, "organisation": "ACME"});
    let login =
        api.post(format!("https://localhost:{}/authentication/token", server.api.port())).json(&login);
    let token = Answer::of(login).await.token();
    let passed = bearer(&token).passes(&client).await;
    assert_eq!(value(&passed.headers, "x-auth-user"), "admin");
    // In the clear nobody is answered.
    assert!(
        Client::connect(format!("http://{address}")).await.unwrap().check(get("/").request()).await.is_err()
    );
}

/// Where a server says that it listens for Envoy.
fn listens_for_envoy(server: &Server) -> SocketAddr {
    let log = server.log();
    let event = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_default());
    let mut addresses =
        event.filter_map(|event| event["ext_authz"].as_str().and_then(|text| text.parse().ok()));
    addresses.next().unwrap()
}

/// The real binary: a listener of its own if it is configured, and none of its paths elsewhere.
#[tokio::test]
async fn the_program_listens_for_envoy_if_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--demo", "--set", "listen.ext_authz=127.0.0.1:0"]);
    let client = connect(listens_for_envoy(&server)).await;
    let login = json!({"username": "mpadministrator", "password": "1234", "organisation": "CRMDEMO"});
    let answer = server.request("POST", "/authentication/token").json(&login).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let token = answer["data"]["token"].as_str().unwrap();
    let passed = bearer(token).passes(&client).await;
    assert_eq!(value(&passed.headers, "x-auth-user"), "mpadministrator");
    bearer(token).extension("colour", "red").denied_as(&client, 403, "FORBIDDEN").await;
    get(&format!("/?token={}", &token[1..])).denied_as(&client, 401, "INVALID_TOKEN").await;
    // Neither of the other listeners answers Envoy.
    for address in [server.api, server.admin] {
        let status = connect(address).await.check(bearer(token).request()).await.unwrap_err();
        assert_ne!(status.code(), Code::Ok);
    }
    server.signal("TERM");
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("'colour' is no requirement"), "{log}");
    assert!(!log.contains(token) && !log.contains(&token[1..]), "a token is in the log");
    let without = tempfile::tempdir().unwrap();
    assert!(!Server::start(without.path(), &["--demo"]).log().contains("ext_authz"));
    // The demo's secrets are public, here too.
    let refused = [
        "serve",
        "--demo",
        "--data",
        without.path().to_str().unwrap(),
        "--set",
        "listen.ext_authz=0.0.0.0:0",
    ];
    let output = run(&refused, "");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("listen.ext_authz"));
}
