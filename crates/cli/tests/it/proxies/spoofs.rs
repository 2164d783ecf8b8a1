//! What clients send to be taken for somebody else.

use super::rig::IDENTITY;

/// Every header that is Doorward's to set or to read.
pub fn reserved() -> Vec<&'static str> {
    IDENTITY.into_iter().chain(["X-Auth-Require", "X-Auth-Touch"]).collect()
}

/// A header name in all the spellings that some server takes for it.
pub fn spellings(name: &str) -> Vec<String> {
    let alternating = name.char_indices().map(|(place, letter)| {
        if place % 2 == 0 { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() }
    });
    let mut all = vec![name.to_owned(), name.to_lowercase(), name.to_uppercase(), alternating.collect()];
    let places: Vec<usize> = name.match_indices('-').map(|(place, _)| place).collect();
    // Each hyphen or not, in every combination, as an underscore or as a full stop.
    for other in ["_", "."] {
        for choice in 1..1_u32 << places.len() {
            let mut spelling = name.to_owned();
            for (number, place) in places.iter().enumerate().filter(|(number, _)| choice >> number & 1 == 1) {
                let _ = number;
                spelling.replace_range(place..&(place + 1), other);
            }
            all.push(spelling.to_lowercase());
            all.push(spelling);
        }
    }
    all
}

/// Header lines that are not as they should be: proxies may refuse them, or pass them on without the lie.
pub fn malformed() -> Vec<String> {
    [
        "X-Auth-User : admin\r\n",
        "X-Auth-User\t: admin\r\n",
        " X-Auth-User: admin\r\n",
        "X-Auth-User:\r\n admin\r\n",
        "X-Padding: a\r\n X-Auth-User: admin\r\n",
        "X-Padding: a\r\n\tX-Auth-User: admin\r\n",
        "X-Padding: a\nX-Auth-User: admin\r\n",
        "X-Padding: a\rX-Auth-User: admin\r\n",
        "X-Padding: a\r\n\rX-Auth-User: admin\r\n",
        "X-Padding: a\0\r\nX-Auth-User: admin\r\n",
        "X-Auth-User\0: admin\r\n",
        "X-Auth-User\x0b: admin\r\n",
        "X-Auth-User\u{a0}: admin\r\n",
        "\u{ff}X-Auth-User: admin\r\n",
        "X-Auth-User: admin\0\r\n",
        "X-Auth-User:\x0cadmin\r\n",
        "X+Auth+User: admin\r\n",
        "X~Auth~User: admin\r\n",
        "X'Auth'User: admin\r\n",
        "X!Auth!User: admin\r\n",
        "X Auth User: admin\r\n",
        "\"X-Auth-User\": admin\r\n",
        ":X-Auth-User: admin\r\n",
        "X-Auth-User\r\n",
        ": admin\r\n",
    ]
    .map(str::to_owned)
    .into()
}

/// Requests whose length is ambiguous, with another request where the body may be; `{token}` is a valid one's header.
pub fn smuggling(bearer: &str) -> Vec<String> {
    let hidden =
        "GET /smuggled HTTP/1.1\r\nHost: api.example.com\r\nX-Auth-User: admin\r\nX-Auth-User-Id: 1\r\n\r\n";
    let length = hidden.len();
    let size = format!("{length:x}");
    let chunk = format!("0\r\n\r\n{hidden}");
    let both = chunk.len();
    [
        format!("Content-Length: {both}\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {both}\r\n\r\n{chunk}"),
        format!("Transfer-Encoding: xchunked\r\nContent-Length: {both}\r\n\r\n{chunk}"),
        format!("Transfer-Encoding: chunked, identity\r\nContent-Length: {both}\r\n\r\n{chunk}"),
        format!("Transfer-Encoding: identity\r\nContent-Length: {both}\r\n\r\n{chunk}"),
        format!("Transfer-Encoding: chunked, chunked\r\n\r\n{chunk}"),
        format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n{chunk}"),
        format!("Transfer-Encoding : chunked\r\nContent-Length: {both}\r\n\r\n{chunk}"),
        format!("Transfer-Encoding:\x0bchunked\r\nContent-Length: {both}\r\n\r\n{chunk}"),
        format!("Transfer-Encoding:\r\n chunked\r\nContent-Length: {both}\r\n\r\n{chunk}"),
        format!("X: y\nTransfer-Encoding: chunked\r\nContent-Length: {both}\r\n\r\n{chunk}"),
        format!("Transfer_Encoding: chunked\r\nContent-Length: {both}\r\n\r\n{chunk}"),
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}"),
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n\r\n{hidden}"),
        format!("Content-Length: 0, {length}\r\n\r\n{hidden}"),
        format!("Content-Length: +{length}\r\n\r\n{hidden}"),
        format!("Content-Length: 0x{size}\r\n\r\n{hidden}"),
        format!("Content-Length: -1\r\n\r\n{hidden}"),
        format!("Content-Length : {length}\r\n\r\n{hidden}"),
        format!("Content_Length: {length}\r\n\r\n{hidden}"),
        format!("\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\n\r\n{size};ext=\"\n\"\r\n{hidden}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n-{size}\r\n{hidden}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n0x{size}\r\n{hidden}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{hidden}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n0\nX: y\n\n{hidden}"),
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Auth-User: admin\r\nX_Auth_User: admin\r\n\r\n".into(),
        "Transfer-Encoding: chunked\r\nTrailer: X-Auth-User\r\n\r\n0\r\nX-Auth-User: admin\r\n\r\n".into(),
        format!("Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n{hidden}"),
    ]
    .into_iter()
    .map(|rest| format!("POST /first HTTP/1.1\r\nHost: api.example.com\r\n{bearer}{rest}"))
    .collect()
}

/// Targets with which clients try to be somewhere else than where the check is.
pub const TARGETS: &[&str] = &[
    "/",
    "/orders",
    "/verify",
    "//verify",
    "/verify/at/x",
    "/.doorward-verify",
    "//.doorward-verify",
    "/%2edoorward-verify",
    "/./.doorward-verify",
    "/x/../.doorward-verify",
    "/@doorward_invalid_token",
    "@doorward_invalid_token",
    "/authentication/token",
    "//orders",
    "///orders",
    "/./orders",
    "/x/../orders",
    "/x/%2e%2e/orders",
    "/x/%2E./orders",
    "/x/..%2forders",
    "/x%2f..%2forders",
    "/x/..%5corders",
    "/x/..\\orders",
    "/x/..;/orders",
    "/x/..;a=b/orders",
    "/..;/orders",
    "/%2e%2e/%2e%2e/orders",
    "/../../etc/passwd",
    "/x/%252e%252e/orders",
    "/x/%c0%ae%c0%ae/orders",
    "/orders%00",
    "/orders%00.css",
    "/orders%0d%0aX-Auth-User:%20admin",
    "/orders%20HTTP/1.1",
    "/orders;token=x",
    "/orders.css",
    "/favicon.ico",
    "/.well-known/acme-challenge/x",
    "/robots.txt",
    "/orders?",
    "/orders?x=/verify",
    "/orders?/../x",
    "/orders#part",
    "/orders%",
    "/orders%zz",
    "orders",
    "",
    "*",
    "?token=",
    "/?token",
    "/?token=null",
    "/?token[]=x",
    "http://api.example.com/orders",
    "http://api.example.com",
    "http://api.example.com//orders",
    "http://127.0.0.1/orders",
    "http://doorward/verify",
    "http://user:password@api.example.com/orders",
    "HTTP://API.EXAMPLE.COM/orders",
    "https://api.example.com/orders",
    "file:///etc/passwd",
    "//api.example.com/orders",
    "api.example.com:80",
];

/// Header lines with which clients try to be let in without a token; `{token}` is somebody's valid token.
pub const BYPASSES: &[&str] = &[
    "X-Original-URI: /?token={token}",
    "X-Original-Uri: /?token={token}",
    "X_Original_URI: /?token={token}",
    "X-Forwarded-Uri: /?token={token}",
    "X_Forwarded_Uri: /?token={token}",
    "X-Original-URL: /public",
    "X-Rewrite-URL: /public",
    "X-Original-Method: OPTIONS",
    "X-Forwarded-Method: OPTIONS",
    "X-HTTP-Method-Override: OPTIONS",
    "X-HTTP-Method: OPTIONS",
    "X-Method-Override: HEAD",
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-Host: localhost",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Prefix: /verify",
    "X-Accel-Redirect: /.doorward-verify",
    "X-Sendfile: /etc/passwd",
    "X-Auth-User: mpadministrator",
    "X-Auth-Require: organisation=CRMDEMO",
    "X-Auth-Touch: false",
    "User-Agent: kube-probe/1.30",
    "User-Agent: ELB-HealthChecker/2.0",
    "Cookie: token={token}",
    "Authorization: Bearer",
    "Authorization: {token}",
    "Authorization: Token {token}",
    "Authorization: Basic {token}",
    "Authorization: Bearer null",
    "Authorization: Bearer {token}x",
    "Authorization: Bearer {token}, Bearer {token}",
    "Authorization: Bearer {token} {token}",
    "Proxy-Authorization: Bearer {token}",
    "Authorization_: Bearer {token}",
    "X-Authorization: Bearer {token}",
    "Connection: Authorization",
    "Connection: close, X-Original-URI",
    "Upgrade: websocket\r\nConnection: Upgrade",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    "Upgrade: TLS/1.0\r\nConnection: Upgrade",
    "Expect: 100-continue",
    "Range: bytes=0-0",
    "If-None-Match: *",
    "If-Modified-Since: Tue, 24 Nov 2026 00:00:00 GMT",
    "Content-Length: 0",
    "Host: 127.0.0.1",
    "Origin: https://example.com\r\nAccess-Control-Request-Method: GET",
    "Max-Forwards: 0",
];
