//! The admin listener.

use doorward_testkit::{Answer, TestServer};

#[tokio::test]
async fn health_and_metrics() {
    let server = TestServer::start().await;
    assert_eq!(server.admin("/livez").await.status, 200);
    assert_eq!(server.admin("/readyz").await.status, 200);
    let token = server.log_in(&server.demo).await;
    server.log_in_with_key(&server.demo).await;
    server.try_password(&server.demo, "wrong").await;
    for _ in 0..3 {
        server.verify(&token).await;
    }
    server.release(&token).await;
    server.verify(&token).await;
    for (name, value) in [
        (r#"doorward_requests_total{endpoint="verify",outcome="ok"}"#, 3.0),
        (r#"doorward_requests_total{endpoint="verify",outcome="INVALID_TOKEN"}"#, 1.0),
        (r#"doorward_requests_total{endpoint="token",outcome="INVALID_CREDENTIALS"}"#, 1.0),
        (r#"doorward_request_duration_seconds_count{endpoint="verify"}"#, 4.0),
        (r#"doorward_logins_total{method="password",outcome="issued"}"#, 1.0),
        (r#"doorward_logins_total{method="password",outcome="invalid_credentials"}"#, 1.0),
        (r#"doorward_logins_total{method="web_api_key",outcome="issued"}"#, 1.0),
        (r#"doorward_sessions{method="password"}"#, 0.0),
        (r#"doorward_sessions{method="web_api_key"}"#, 1.0),
        ("doorward_hash_wait_seconds_count", 2.0),
        ("doorward_hash_queue", 0.0),
        ("doorward_journal_commit_seconds_count", 4.0),
        ("doorward_journal_commit_entries_sum", 4.0),
    ] {
        assert_eq!(server.metric(name).await, value, "{name}");
    }
}

#[tokio::test]
async fn the_api_listener_shows_nothing_of_the_admin_listener() {
    let server = TestServer::start().await;
    for path in ["/livez", "/readyz", "/metrics", "/docs", "/openapi.json"] {
        assert_eq!(Answer::of(server.request("GET", path)).await.status, 404, "{path}");
        assert!(matches!(server.admin(path).await.status, 200 | 303), "{path}");
    }
    for path in ["/verify", "/oauth2/introspect"] {
        assert_eq!(server.admin(path).await.status, 404, "{path}");
    }
    let organisations = server.request("GET", "/admin/v1/organisations");
    assert_eq!(Answer::of(organisations).await.status, 404);
}

/// The API document in the tree is the one that is served. `UPDATE_DOCS=1` writes it.
#[tokio::test]
async fn the_api_document_is_up_to_date() {
    let server = TestServer::start().await;
    let served = server.admin("/openapi.json").await.json();
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
    let text = serde_json::to_string_pretty(&served).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == text,
        "docs/openapi.json differs from what is served; run the tests with UPDATE_DOCS=1 and commit it"
    );
    for path in [
        "/authentication/token",
        "/authentication/web_api_key/token",
        "/authentication/token/release",
        "/verify",
        "/oauth2/introspect",
        "/oauth2/revoke",
    ] {
        assert!(served["paths"].get(path).is_some(), "{path}");
    }
}

/// Everything that the documentation page loads is in the binary.
#[tokio::test]
async fn the_documentation_needs_no_other_server() {
    let server = TestServer::start().await;
    let page = server.admin("/docs/").await;
    assert_eq!(page.status, 200);
    let assets: Vec<_> =
        page.text.split(['"', '\'']).filter(|text| text.ends_with(".js") || text.ends_with(".css")).collect();
    assert!(assets.len() >= 3, "{assets:?}");
    for asset in assets {
        assert!(!asset.contains("//"), "{asset} comes from elsewhere");
        assert_eq!(
            server.admin(&format!("/docs/{}", asset.trim_start_matches("./"))).await.status,
            200,
            "{asset}"
        );
    }
}
