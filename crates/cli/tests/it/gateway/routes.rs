//! Several APIs behind one gateway, each with demands of its own.

use doorward_testkit::{Answer, TestServer};

use super::{Api, Gateway};

/// Starts a gateway with routes, in which API stands for the address of an API.
fn start(server: &TestServer, api: &Api, routes: &str) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, routes.replace("API", &format!("http://{}", api.address))).unwrap();
    Gateway::start(server.api, &["--routes", file.to_str().unwrap()])
}

#[tokio::test]
async fn routes_demand_what_they_say() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let gateway = start(
        &server,
        &api,
        r#"
[[route]]
path = "/demo"
upstream = "API/base"
strip_prefix = true
require = { organisation = ["CRMDEMO", "Zoë"], method = "password" }

[[route]]
path = "/keys"
methods = ["GET"]
upstream = "API"
require.method = "web_api_key"
require.key_address = true

[[route]]
path = "/public"
upstream = "API"
public = true

[[route]]
path = "/crmapi"
upstream = "API"
refuse_with_200 = true
require.organisation = "CRMDEMO"
"#,
    );
    let (demo, other) = (server.log_in(&server.demo).await, server.log_in(&server.other).await);
    let by_key = server.log_in_with_key(&server.demo).await;
    for (method, path, token, status, code, reached) in [
        ("GET", "/demo/x?y=1", &demo, 200, "", "/base/x?y=1"),
        ("GET", "/demo", &demo, 200, "", "/base/"),
        ("POST", "/demo/x", &other, 403, "FORBIDDEN", ""),
        ("GET", "/demo/x", &by_key, 403, "FORBIDDEN", ""),
        ("GET", "/keys", &by_key, 200, "", "/keys"),
        ("HEAD", "/keys", &by_key, 200, "", "/keys"),
        ("GET", "/keys", &demo, 403, "FORBIDDEN", ""),
        ("POST", "/keys", &by_key, 405, "METHOD_NOT_ALLOWED", ""),
        ("GET", "/crmapi/x", &demo, 200, "", "/crmapi/x"),
        ("GET", "/crmapi/x", &other, 200, "FORBIDDEN", ""),
        ("GET", "/elsewhere", &demo, 404, "NOT_FOUND", ""),
        ("GET", "/demonstration", &demo, 404, "NOT_FOUND", ""),
        ("GET", "/public/x", &demo, 200, "", "/public/x"),
    ] {
        let answer = Answer::of(gateway.request(method, path).bearer_auth(token)).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        if code.is_empty() {
            let reached_uri = api.one();
            assert_eq!(reached_uri.uri.to_string(), reached);
            assert_eq!(reached_uri.header("authorization"), "");
            assert_eq!(reached_uri.header("x-http-method-override"), "");
        } else {
            assert_eq!(answer.code(), code, "{method} {path}");
            api.nothing();
        }
    }
    let answer = Answer::of(gateway.request("GET", "/demo").bearer_auth(&other)).await;
    assert!(answer.text.contains("another organisation"), "{answer:?}");
    // Without a token, with a client's own word for who it is, and with a token that must not go on.
    let request = gateway.request("GET", &format!("/public?token={demo}&a")).header("X-Auth-User", "admin");
    assert_eq!(Answer::of(request.header("X-HTTP-Method-Override", "DELETE")).await.status, 200);
    let reached = api.one();
    assert_eq!((reached.uri.to_string().as_str(), reached.header("x-auth-user")), ("/public?a", ""));
    assert_eq!(reached.header("x-http-method-override"), "");
    assert_eq!(Answer::of(gateway.request("GET", "/public")).await.status, 200);
    api.one();
    // What only bears the name is the API's own: the link of an e-mail, say.
    let link = "/public/confirm?token=abc123&x=1";
    assert_eq!(Answer::of(gateway.request("GET", link)).await.status, 200);
    assert_eq!(api.one().uri.to_string(), link);
}

/// F3: to servers that take `delete` for `DELETE` it would be what another route is for.
#[tokio::test]
async fn f3_no_spelling_of_a_method_leads_to_a_laxer_route() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let gateway = start(
        &server,
        &api,
        "[[route]]\npath = '/prices'\nmethods = ['PUT', 'DELETE']\nupstream = 'API'\nrequire.organisation = 'OTHER'\n\
         [[route]]\npath = '/prices'\nupstream = 'API'\n",
    );
    let token = server.log_in(&server.demo).await;
    for (method, status) in [
        ("DELETE", 403),
        ("PUT", 403),
        ("delete", 400),
        ("Put", 400),
        ("get", 400),
        ("PURGE", 200),
        ("GET", 200),
    ] {
        let answer = Answer::of(gateway.request(method, "/prices").bearer_auth(&token)).await;
        assert_eq!(answer.status, status, "{method}: {answer:?}");
        if status == 200 { drop(api.one()) } else { api.nothing() }
    }
}

/// F3: the path that is compared is the path that is handed on.
#[tokio::test]
async fn f3_no_path_of_a_client_leads_to_a_laxer_route() {
    let (server, api) = (TestServer::start().await, Api::start().await);
    let gateway = start(
        &server,
        &api,
        "[[route]]\npath = '/public'\nupstream = 'API'\npublic = true\n\
         [[route]]\npath = '/'\nupstream = 'API'\n\
         [[route]]\npath = '/admin'\nupstream = 'API'\nrequire.organisation = 'OTHER'\n\
         [[route]]\npath = '/v1/items:purge'\nupstream = 'API'\nrequire.organisation = 'OTHER'\n",
    );
    let token = server.log_in(&server.demo).await;
    for path in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public/%2e%2e%2fadmin",
        "/public//admin/..",
        "/public/..;/admin",
        "/public\\..\\admin",
        "/public/..%5cadmin",
        "/public/%252e%252e/admin",
        "/public/%25252e%25252e/admin",
        "/public/%c0%ae%c0%ae/admin",
        "/%2561dmin",
        "//admin",
        "/./admin",
        "/Admin",
        "/ADMIN/x",
        "/%41dmin",
        "/admin;x",
        "/admin%3bx",
        "/admin.",
        "/admin%20",
        "/admin%00",
        "/admin%2f",
        "/PUBLIC/x",
        "*",
        "admin",
    ] {
        let raw = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        let answer = gateway.raw(raw.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
        api.nothing();
    }
    for (target, status, reached) in [
        ("/%61dmin/x", 403, None),
        ("/admin", 403, None),
        ("/v1/items:purge", 403, None),
        ("/v1/items%3Apurge", 403, None),
        ("/v1/items%3apurge/%41", 403, None),
        ("/v1/items%3A", 200, Some("/v1/items%3A")),
        ("http://evil.example/admin", 403, None),
        ("/administrator", 200, Some("/administrator")),
        ("/%6Frders/a%2Db", 200, Some("/orders/a-b")),
        ("http://evil.example/orders?x=/../admin", 200, Some("/orders?x=/../admin")),
    ] {
        let raw = format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        let answer = gateway.raw(raw.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {answer}");
        match reached {
            Some(reached) => assert_eq!(api.one().uri.to_string(), reached),
            None => api.nothing(),
        }
    }
}
