//! Where a request comes from, as the audit record and the log say it.

use std::net::IpAddr;

use doorward_domain::address::TrustedProxies;
use doorward_testkit::{Answer, Options, TestServer};

use crate::program::Server;

/// Fails to log in with these values of `X-Forwarded-For` and returns the address of the audit record.
async fn audited(server: &TestServer, values: &[&[u8]]) -> IpAddr {
    let request =
        server.request("POST", "/authentication/web_api_key/token").basic_auth("nobody's", Some(""));
    // The other headers in which clients might claim an address count nowhere.
    let mut request = request.header("Forwarded", "for=203.0.113.5").header("X-Real-IP", "203.0.113.6");
    for value in values {
        request = request.header("X-Forwarded-For", *value);
    }
    let answer = Answer::of(request).await;
    let row = server.audit().await.pop().unwrap();
    assert_eq!(
        (row.reason.as_str(), row.request_id.as_str()),
        ("unknown_key", answer.header("x-request-id"))
    );
    address(&row.address.unwrap())
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn h1_forwarding_headers_count_only_behind_configured_proxies() {
    let server = TestServer::start().await;
    let sent: [&[&[u8]]; 4] = [&[], &[b"192.0.2.1"], &[b"garbage"], &[b"127.0.0.1", b"192.0.2.1"]];
    for values in sent {
        assert_eq!(audited(&server, values).await, address("127.0.0.1"), "{values:?}");
    }

    let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
    let server = TestServer::with(Options { proxies, ..Options::default() }).await;
    assert_eq!(audited(&server, &[b"192.0.2.1"]).await, address("127.0.0.1"), "the peer is no proxy");

    let proxies = ["127.0.0.1", "10.0.0.0/8"].map(|network| network.parse().unwrap());
    let proxies = TrustedProxies::new(proxies.into());
    let server = TestServer::with(Options { proxies, ..Options::default() }).await;
    let sent: &[(&[&[u8]], &str)] = &[
        (&[], "127.0.0.1"),
        (&[b"192.0.2.1"], "192.0.2.1"),
        (&[b"2001:db8::1"], "2001:db8::1"),
        (&[b"[2001:db8::1]:4711"], "2001:db8::1"),
        (&[b"::ffff:192.0.2.1"], "192.0.2.1"),
        (&[b"192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        // What the client sent itself stands left of what the proxies saw.
        (&[b"203.0.113.1, 127.0.0.1, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        (&[b"203.0.113.1", b"127.0.0.1,192.0.2.1", b"10.0.0.2"], "192.0.2.1"),
        (&[b"192.0.2.1", b"203.0.113.1"], "203.0.113.1"),
        (&[b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (&[b""], "127.0.0.1"),
        (&[b"garbage"], "127.0.0.1"),
        (&[b"192.0.2.1, \xff"], "127.0.0.1"),
        (&[b"192.0.2.1, garbage, 10.0.0.2"], "10.0.0.2"),
        (&[b"garbage, \xff,, 192.0.2.1"], "192.0.2.1"),
    ];
    for (values, expected) in sent {
        assert_eq!(audited(&server, values).await, address(expected), "{values:?}");
    }
}

/// The lines of the log say what the audit records say.
#[tokio::test]
async fn h1_the_log_has_the_address_of_the_client() {
    for (proxies, expected) in [("", "127.0.0.1"), ("10.0.0.0/8, 127.0.0.*", "192.0.2.1")] {
        let folder = tempfile::tempdir().unwrap();
        let proxies = format!("listen.trusted_proxies={proxies}");
        let server = Server::start(&folder.path().join("data"), &["--demo", "--set", &proxies]);
        let request = server.request("GET", "/authentication/token").header("X-Forwarded-For", "192.0.2.1");
        let id = Answer::of(request).await.header("x-request-id").to_owned();
        server.signal("TERM");
        let (_, log) = server.wait();
        let line = log.lines().find(|line| line.contains(&id)).unwrap_or_else(|| panic!("no line: {log}"));
        assert!(line.contains(&format!("\"address\":\"{expected}\"")), "{line}");
    }
}
