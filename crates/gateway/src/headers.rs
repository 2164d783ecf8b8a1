//! The headers of a request on their way through: what the client may not say is taken out, whatever its spelling, before
//! what Doorward says is put in (`security.md` F2, H1, H2).

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::query;

/// What a trusted proxy is believed of where a request comes from. Nothing else that begins with `x-forwarded-` goes on.
const VOUCHED: [&str; 5] =
    ["x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-forwarded-server"];

/// Other ways to name an address, a scheme, or another path than the one that was compared with the routes; some servers obey.
const OTHER_ORIGINS: [&str; 11] = [
    "cf-connecting-ip",
    "forwarded",
    "front-end-https",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-url-scheme",
];

/// Names another method than the one that was compared with the routes; some servers obey.
const OTHER_METHODS: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// Meant for this connection alone, beside what `Connection` names.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "http2-settings",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether the request asks for a WebSocket, the one upgrade that is handed on.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    let has =
        |name: HeaderName, wanted: &str| elements(headers, &name).any(|e| e.eq_ignore_ascii_case(wanted));
    has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && headers.contains_key(header::SEC_WEBSOCKET_KEY)
        && headers.contains_key(header::SEC_WEBSOCKET_VERSION)
}

fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// The name as a reader may see it that takes one mark for another: CGI and its heirs make `X-Auth-User` and
/// `X_Auth.User` one variable.
fn folded(name: &str) -> String {
    name.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { b.to_ascii_lowercase() as char } else { '-' })
        .collect()
}

/// Takes out what the client may not say. `from_proxy` keeps what a trusted proxy says of its client.
///
/// The framing goes too: it is made anew from the body that is handed on.
pub fn clean(headers: &mut HeaderMap, from_proxy: bool, keeps_methods: bool) {
    let is_websocket = is_websocket(headers);
    let named: Vec<String> = elements(headers, &header::CONNECTION).map(folded).collect();
    let is_refused = |header: &HeaderName| {
        let name = folded(header.as_str());
        let is_vouched_for = from_proxy && VOUCHED.contains(&header.as_str());
        name.starts_with("x-auth-")
            || (name.starts_with("x-forwarded-") && !is_vouched_for)
            || HOP_BY_HOP.contains(&&*name)
            || named.contains(&name)
            || OTHER_ORIGINS.contains(&&*name)
            || (!keeps_methods && OTHER_METHODS.contains(&&*name))
            || name == "x-request-id"
            || name == "expect"
            || name == "content-length"
    };
    let refused: Vec<HeaderName> = headers.keys().filter(|name| is_refused(name)).cloned().collect();
    for name in refused {
        headers.remove(name);
    }
    join_cookies(headers);
    if is_websocket {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
}

/// HTTP/2 may send a cookie a header, HTTP/1.1 may not (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<_> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// Says who asked: the peer at the end of `X-Forwarded-For`, and under which host and scheme, unless a trusted proxy has said that.
pub fn tell_origin(headers: &mut HeaderMap, peer: IpAddr, host: Option<&str>, is_tls: bool) {
    let mut chain: Vec<String> =
        elements(headers, &HeaderName::from_static("x-forwarded-for")).map(str::to_owned).collect();
    chain.push(peer.to_canonical().to_string());
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-forwarded-for", &chain.join(", "));
    if let Some(host) = host.filter(|_| !headers.contains_key("x-forwarded-host"))
        && let Ok(host) = HeaderValue::from_str(host)
    {
        headers.insert("x-forwarded-host", host);
    }
    if !headers.contains_key("x-forwarded-proto") {
        headers.insert("x-forwarded-proto", HeaderValue::from_static(if is_tls { "https" } else { "http" }));
    }
}

/// A page that was opened with the token in its address names that address in `Referer`.
pub fn clean_referer(headers: &mut HeaderMap) {
    let header::Entry::Occupied(mut referers) = headers.entry(header::REFERER) else { return };
    for referer in referers.iter_mut() {
        let bytes = referer.as_bytes();
        let Some(start) = bytes.iter().position(|byte| *byte == b'?') else { continue };
        let mut page = bytes[..start].to_vec();
        let query = std::str::from_utf8(&bytes[start + 1..]).ok();
        if let Some(rest) = query.and_then(|query| query::without_tokens(query, |_| true)) {
            page.push(b'?');
            page.extend_from_slice(rest.as_bytes());
        }
        if let Ok(page) = HeaderValue::from_bytes(&page) {
            *referer = page;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        map
    }

    fn names(map: &HeaderMap) -> Vec<&str> {
        map.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn f2_no_spelling_of_an_identity_header_passes() {
        for name in [
            "X-Auth-User",
            "X_Auth_User",
            "x-auth_user-id",
            "X.Auth.Role",
            "x_auth-organisation",
            "X-Auth-Require",
            "X-AUTH-Touch",
            "x!auth~anything",
            "X-Auth-",
        ] {
            let mut headers = map(&[(name, "admin"), ("x-author", "me")]);
            clean(&mut headers, true, true);
            assert_eq!(names(&headers), ["x-author"], "{name}");
        }
    }

    #[test]
    fn h1_what_a_client_says_of_its_origin_counts_only_behind_a_proxy() {
        let sent = [
            ("forwarded", "for=1.2.3.4"),
            ("x-real-ip", "1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("X_Forwarded_For", "1.2.3.4"),
            ("x-forwarded-host", "evil"),
            ("x-forwarded-proto", "https"),
            ("X-Forwarded-User", "admin"),
            ("x-forwarded-ssl", "on"),
            ("X_Forwarded-Scheme", "https"),
            ("x-client-ip", "1.2.3.4"),
        ];
        let mut headers = map(&sent);
        clean(&mut headers, false, true);
        tell_origin(&mut headers, "10.0.0.1".parse().unwrap(), Some("api.example"), false);
        assert_eq!(
            headers,
            map(&[
                ("x-forwarded-for", "10.0.0.1"),
                ("x-forwarded-host", "api.example"),
                ("x-forwarded-proto", "http")
            ])
        );
        let mut headers = map(&sent);
        clean(&mut headers, true, true);
        tell_origin(&mut headers, "::ffff:10.0.0.1".parse().unwrap(), Some("api.example"), false);
        assert_eq!(
            headers,
            map(&[
                ("x-forwarded-for", "1.2.3.4, 10.0.0.1"),
                ("x-forwarded-host", "evil"),
                ("x-forwarded-proto", "https")
            ])
        );
    }

    #[test]
    fn what_is_for_this_connection_stays_here() {
        let mut headers = map(&[
            ("connection", "close, X-Secret , Upgrade"),
            ("connection", "te, x_other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("proxy-authorization", "Basic x"),
            ("expect", "100-continue"),
            ("x-original-url", "/admin"),
            ("x-http-method-override", "DELETE"),
            ("cookie", "a=b"),
        ]);
        clean(&mut headers, true, false);
        assert_eq!(names(&headers), ["cookie"]);
    }

    #[test]
    fn cookies_of_http_2_become_one_header() {
        let mut headers = map(&[("cookie", "a=1"), ("accept", "x"), ("cookie", "sid=2; b=3")]);
        clean(&mut headers, false, true);
        assert_eq!(headers, map(&[("cookie", "a=1; sid=2; b=3"), ("accept", "x")]));
    }

    #[test]
    fn a_websocket_is_the_one_upgrade() {
        let mut headers = map(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-key", "x"),
            ("sec-websocket-version", "13"),
        ]);
        clean(&mut headers, false, true);
        assert_eq!(headers["connection"], "upgrade");
        assert_eq!(headers["upgrade"], "websocket");
    }

    #[test]
    fn h2_a_referer_loses_its_token() {
        for (sent, left) in [
            ("https://a.example/x?token=A&b=1", "https://a.example/x?b=1"),
            ("https://a.example/x?token=A", "https://a.example/x"),
            ("https://a.example/x?b=1", "https://a.example/x?b=1"),
            ("https://a.example/x", "https://a.example/x"),
        ] {
            let mut headers = map(&[("referer", sent)]);
            clean_referer(&mut headers);
            assert_eq!(headers["referer"], left);
            let mut headers = map(&[("referer", "https://a.example/?b=1"), ("referer", sent)]);
            clean_referer(&mut headers);
            assert_eq!(headers, map(&[("referer", "https://a.example/?b=1"), ("referer", left)]));
        }
    }
}
