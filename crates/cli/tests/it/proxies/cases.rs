//! What must hold behind every proxy.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use super::{
    rig::{IDENTITY, Proxy, Rig, bearer, get},
    spoofs,
    tap::{Mood, Tap},
    wire::Message,
};

/// Checks that an answer is the contract's envelope.
#[track_caller]
fn is_envelope(answer: &Message, status: u16, code: &str) {
    assert_eq!(answer.status(), status, "{answer:?}");
    let envelope: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    assert_eq!(envelope["status"]["code"], code, "{answer:?}");
    assert!(envelope["status"]["message"].is_string() && envelope["data"].is_object(), "{answer:?}");
    let types = answer.values("content-type");
    assert!(types.len() == 1 && types[0].starts_with("application/json"), "{answer:?}");
    let challenges = answer.values("www-authenticate");
    assert_eq!(challenges, vec!["Bearer error=\"invalid_token\""; usize::from(status == 401)], "{answer:?}");
    assert_eq!(answer.values("retry-after").len(), usize::from(status == 503), "{answer:?}");
}

/// Checks that a request speaks for the first organisation's user, as Doorward says it, and in no other way.
#[track_caller]
fn is_genuine(rig: &Rig, arrived: &Message, sent: &str) {
    let demo = &rig.server.demo;
    let expected = [
        demo.code.clone(),
        demo.id.to_string(),
        "Markt & M%C3%BCller 100%25".to_owned(),
        demo.unit.to_string(),
        demo.username.clone(),
        demo.user.to_string(),
        "password".to_owned(),
    ];
    for (name, value) in IDENTITY.into_iter().zip(&expected) {
        assert_eq!(arrived.values(name), [value.as_str()], "{name} for {sent:?}: {arrived:?}");
    }
    assert!(
        matches!(arrived.values("X-Auth-Expires")[..], [time] if time.starts_with("2026-11-24T")),
        "{arrived:?}"
    );
    for (name, _) in &arrived.headers {
        // What some server takes for a hyphen, and what some server takes for white space.
        let hyphen =
            |letter: char| matches!(letter, '_' | '.' | ' ') || letter.is_control() || !letter.is_ascii();
        if name.to_lowercase().replace(hyphen, "-").contains("x-auth-") {
            assert!(IDENTITY.iter().any(|known| known.eq_ignore_ascii_case(name)), "{sent:?}: {arrived:?}");
        }
    }
    assert!(arrived.values("authorization").is_empty(), "{sent:?}: {arrived:?}");
}

pub fn a_valid_token_passes_and_an_ended_one_gets_the_envelope(proxy: Proxy) {
    let rig = Rig::start(proxy);
    let token = rig.token();
    let answer = rig.get("/orders/7?page=2&sort=%C3%A9+x", &bearer(&token));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "the API got 0 bytes"), "{}", rig.logs());
    let arrived = rig.arrived();
    is_genuine(&rig, &arrived, "a plain request");
    assert_eq!(arrived.request(), ("GET", "/orders/7?page=2&sort=%C3%A9+x"));
    let asked = rig.tap.take();
    let question = asked.strip_prefix(proxy.asks_with()).and_then(|asked| asked.strip_prefix(" /verify"));
    let question = question.unwrap_or_else(|| panic!("{asked}"));
    assert!(question.starts_with(" HTTP/1.1\r\n") || question.starts_with("? HTTP/1.1\r\n"), "{asked}");

    for headers in [String::new(), bearer("00000000000000000000000000000000"), bearer("nonsense")] {
        is_envelope(&rig.get("/orders", &headers), 401, "INVALID_TOKEN");
    }
    let head = rig.send("HEAD /orders HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    assert_eq!(head.status(), 401);
    assert!(rig.upstream.take().is_empty());
    rig.finish();
}

pub fn a_use_slides_and_a_release_is_in_force_at_once(proxy: Proxy) {
    let rig = Rig::start(proxy);
    let token = rig.token();
    for _ in 0..3 {
        rig.server.clock.advance(Duration::from_secs(59 * 60));
        assert_eq!(rig.get("/", &bearer(&token)).status(), 200);
        is_genuine(&rig, &rig.arrived(), "sliding");
    }
    // The client cannot make it a peek.
    rig.server.clock.advance(Duration::from_secs(59 * 60));
    assert_eq!(rig.get("/", &format!("{}X-Auth-Touch: false\r\n", bearer(&token))).status(), 200);
    rig.server.clock.advance(Duration::from_secs(59 * 60));
    assert_eq!(rig.get("/", &bearer(&token)).status(), 200);
    rig.upstream.take();
    rig.runtime.block_on(rig.server.release(&token));
    for target in ["/", "/?x", &format!("/?token={token}")] {
        is_envelope(&rig.get(target, &bearer(&token)), 401, "INVALID_TOKEN");
    }
    let idle = rig.token();
    rig.server.clock.advance(Duration::from_secs(3600));
    is_envelope(&rig.get("/", &bearer(&idle)), 401, "INVALID_TOKEN");
    assert!(rig.upstream.take().is_empty());
    rig.finish();
}

pub fn a_route_demands_more(proxy: Proxy) {
    let rig = Rig::demanding(proxy, "require_organisation=CRMDEMO&require_method=password");
    assert_eq!(rig.get("/admin/", &bearer(&rig.token())).status(), 200, "{}", rig.logs());
    is_genuine(&rig, &rig.arrived(), "a demand that is met");
    let other = rig.token_of(&rig.server.other);
    for target in ["/admin/", "/admin/?require_organisation=OTHER", "/admin/?require_organisation="] {
        let headers = format!("{}X-Auth-Require: organisation=OTHER\r\n", bearer(&other));
        is_envelope(&rig.get(target, &headers), 403, "FORBIDDEN");
    }
    is_envelope(&rig.get(&format!("/admin/?require_organisation=OTHER&token={other}"), ""), 403, "FORBIDDEN");
    is_envelope(&rig.get("/admin/", ""), 401, "INVALID_TOKEN");
    assert!(rig.upstream.take().is_empty());
    assert_eq!(rig.get("/orders", &bearer(&other)).status(), 200, "another route");
    rig.finish();
}

/// What is demanded of a path is demanded of whatever an API takes for that path.
pub fn f3_a_demand_holds_for_every_spelling_of_its_path(proxy: Proxy) {
    let rig = Rig::demanding(proxy, "require_organisation=CRMDEMO");
    let (token, other) = (rig.token(), rig.token_of(&rig.server.other));
    for target in [
        "/admin/x",
        "/%61dmin/x",
        "/admi%6E/x",
        "/%61%64%6d%69%6e/x?a=/orders",
        "http://api.example.com/%61dmin/x",
    ] {
        is_envelope(&rig.get(target, &bearer(&other)), 403, "FORBIDDEN");
        assert!(rig.upstream.take().is_empty(), "{target}");
        assert_eq!(rig.get(target, &bearer(&token)).status(), 200, "{target}: {}", rig.logs());
        rig.arrived();
    }
    // To Caddy paths are the same in either case; to the others `/ADMIN/` is another path.
    for target in ["/ADMIN/x", "/%41dmin/x"] {
        let status = if proxy == Proxy::Caddy { 403 } else { 200 };
        assert_eq!(rig.get(target, &bearer(&other)).status(), status, "{target}");
    }
    rig.finish();
}

pub fn methods_bodies_and_old_clients_pass(proxy: Proxy) {
    let rig = Rig::start(proxy);
    let token = rig.token();
    for method in ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
        let body = if matches!(method, "GET" | "HEAD") { "" } else { "{\"a\": \"b\"}" };
        let headers = bearer(&token);
        let length = body.len();
        let request = format!(
            "{method} /orders HTTP/1.1\r\nHost: api.example.com\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        assert_eq!(rig.send(request).status(), 200, "{method}: {}", rig.logs());
        let arrived = rig.arrived();
        is_genuine(&rig, &arrived, method);
        assert_eq!((arrived.request(), arrived.text().as_str()), ((method, "/orders"), body));
    }
    let chunked = "POST /orders HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n";
    let answer = rig.send(format!("{chunked}{}\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", bearer(&token)));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "the API got 5 bytes"));
    assert_eq!(rig.arrived().text(), "abcde");
    let asked = rig.tap.take().to_lowercase();
    assert!(!asked.contains("transfer-encoding") && !asked.contains("content-length: 1"), "{asked}");
    let question = format!("{} /verify", proxy.asks_with()).to_lowercase();
    assert_eq!(asked.matches(&question).count(), asked.matches("\r\n\r\n").count(), "{asked}");

    let old = rig.send(format!("GET /orders HTTP/1.0\r\n{}\r\n", bearer(&token)));
    if proxy == Proxy::Caddy {
        // Sites are found by their names, and this request has none.
        assert_eq!(old.status(), 200, "{old:?}");
    }
    for arrived in rig.upstream.take() {
        is_genuine(&rig, &arrived, "HTTP/1.0");
    }
    let old = rig.send(format!("GET /orders HTTP/1.0\r\nHost: api.example.com\r\n{}\r\n", bearer(&token)));
    assert_eq!(old.status(), 200);
    is_genuine(&rig, &rig.arrived(), "HTTP/1.0");
    is_envelope(&rig.send("GET /orders HTTP/1.0\r\nHost: api.example.com\r\n\r\n"), 401, "INVALID_TOKEN");

    // Whoever has no token is refused before a body comes, and one connection serves many.
    let mut connection = rig.connect();
    for headers in [bearer(&token), bearer("nonsense"), bearer(&token)] {
        write!(connection.stream, "{}", get("/orders", &headers)).unwrap();
        let status = connection.read(true).unwrap().status();
        assert_eq!(status, if headers.contains("nonsense") { 401 } else { 200 });
    }
    rig.finish();
}

pub fn a_large_body_streams_through_and_doorward_gets_none(proxy: Proxy) {
    let rig = Rig::start(proxy);
    let token = rig.token();
    let body: Vec<u8> = (0..24_000_000_u32).map(|number| (number % 251) as u8).collect();
    let length = body.len();
    let head = |headers: &str| {
        format!("POST /orders HTTP/1.1\r\nHost: api.example.com\r\n{headers}Content-Length: {length}\r\n\r\n")
    };
    let sent = [head(&bearer(&token)).into_bytes(), body.clone()].concat();
    let answer = rig.send(&sent);
    assert_eq!(
        (answer.status(), answer.text()),
        (200, format!("the API got {length} bytes")),
        "{}",
        rig.logs()
    );
    let arrived = rig.arrived();
    is_genuine(&rig, &arrived, "a large body");
    assert!(arrived.body == body, "another body arrived");
    let asked = rig.tap.take().to_lowercase();
    let question = format!("{} /verify", proxy.asks_with()).to_lowercase();
    assert!(asked.len() < 4000 && asked.starts_with(&question), "{} bytes", asked.len());
    assert!(!asked.contains("transfer-encoding") && !asked.contains("content-length:"), "{asked}");
    assert_eq!(asked.matches("\r\n\r\n").count(), 1, "{asked}");

    // httpd reads a body before it refuses a request, unless the client waits to be asked for it.
    let waits = if proxy == Proxy::Apache { "Expect: 100-continue\r\n" } else { "" };
    let mut connection = rig.connect();
    connection.stream.write_all(head(waits).as_bytes()).unwrap();
    is_envelope(&connection.read(true).unwrap(), 401, "INVALID_TOKEN");
    assert!(rig.upstream.take().is_empty());
    rig.finish();
}

pub fn a_websocket_opens_for_a_valid_token_only(proxy: Proxy) {
    let rig = Rig::start(proxy);
    let token = rig.token();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut connection = rig.connect();
    write!(connection.stream, "{}", get(&format!("/feed?token={token}&from=3"), upgrade)).unwrap();
    let answer = connection.read_head().unwrap();
    assert_eq!(answer.status(), 101, "{answer:?} {}", rig.logs());
    let arrived = rig.arrived();
    is_genuine(&rig, &arrived, "a WebSocket");
    assert_eq!(arrived.request(), ("GET", "/feed?from=3"));
    connection.stream.write_all(b"\x81\x05hello").unwrap();
    assert_eq!(connection.bytes(7).unwrap(), b"\x81\x05hello");
    drop(connection);

    for headers in [upgrade.to_owned(), format!("{upgrade}{}", bearer("nonsense"))] {
        is_envelope(&rig.get("/feed", &headers), 401, "INVALID_TOKEN");
    }
    assert!(rig.upstream.take().is_empty());
    rig.finish();
}

pub fn f1_an_outage_is_503_and_never_a_pass(proxy: Proxy) {
    let mut rig = Rig::start(proxy);
    let token = rig.token();
    let requests = || {
        [get(&format!("/?token={token}"), ""), get("/", &bearer(&token)), get("/", "")]
            .map(|request| rig.send(request))
    };
    rig.tap.set(Mood::Silent);
    let begun = Instant::now();
    for answer in requests() {
        is_envelope(&answer, 503, "UNAVAILABLE");
    }
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    rig.tap.set(Mood::Pass);
    assert_eq!(rig.get("/", &bearer(&token)).status(), 200, "{}", rig.logs());
    rig.upstream.take();
    rig.tap.close();
    for request in [get(&format!("/?token={token}"), ""), get("/", &bearer(&token)), get("/", "")] {
        is_envelope(&rig.send(request), 503, "UNAVAILABLE");
    }
    assert!(rig.upstream.take().is_empty());
    rig.tap.open();
    // It is there again, and nobody has to be told; proxies that mark a server as failed look again after a while.
    let deadline = Instant::now() + Duration::from_secs(15);
    while rig.get("/", &bearer(&token)).status() != 200 {
        assert!(Instant::now() < deadline, "{}", rig.logs());
    }
    is_genuine(&rig, &rig.arrived(), "after an outage");
    rig.finish();
}

pub fn f1_no_answer_but_a_yes_is_a_yes(proxy: Proxy) {
    let rig = Rig::start(proxy);
    let token = rig.token();
    let identity = IDENTITY.map(|name| format!("{name}: x\r\n")).concat();
    for (answer, status) in [
        ("", 503),
        ("nonsense\r\n\r\n", 503),
        ("HTTP/1.1 200", 503),
        ("HTTP/1.1 100 Continue\r\n\r\n", 503),
        ("HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 503),
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n{identity}\r\n", 503),
        ("HTTP/1.1 304 Not Modified\r\n{identity}\r\n", 503),
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", 503),
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n{identity}\r\n", 401),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n{identity}\r\n", 403),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n{identity}\r\n", 503),
        ("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", 503),
        ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n{identity}\r\n", 503),
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n{identity}\r\n", 503),
        ("HTTP/1.1 599 What\r\nContent-Length: 0\r\n{identity}\r\n", 503),
    ] {
        rig.tap.set(Mood::Say(answer.replace("{identity}", &identity)));
        let reply = rig.get("/", &bearer(&token));
        let code = if status == 401 {
            "INVALID_TOKEN"
        } else if status == 403 {
            "FORBIDDEN"
        } else {
            "UNAVAILABLE"
        };
        assert_eq!(reply.status(), status, "{answer:?}: {reply:?} {}", rig.logs());
        if status != 401 {
            is_envelope(&reply, status, code);
        }
        assert!(rig.upstream.take().is_empty(), "{answer:?}");
    }
    // Nobody is asked but Doorward, wherever it may point.
    let elsewhere = Tap::start(rig.server.api);
    elsewhere.set(Mood::Say(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{identity}\r\n")));
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let address = elsewhere.address;
        let answer = format!("HTTP/1.1 {status}\r\nLocation: http://{address}/\r\nContent-Length: 0\r\n\r\n");
        rig.tap.set(Mood::Say(answer));
        is_envelope(&rig.get("/", &bearer(&token)), 503, "UNAVAILABLE");
        assert!(rig.upstream.take().is_empty(), "{status}");
    }
    // Another server than Doorward says yes to everything. nginx cannot look at headers before it decides; the API gets no
    // identity at all then, and none that the client made up.
    for answer in ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"] {
        rig.tap.set(Mood::Say(answer.to_owned()));
        let reply = rig.get("/", &format!("{}X-Auth-User: admin\r\n", bearer(&token)));
        let arrived = rig.upstream.take();
        if proxy == Proxy::Nginx {
            assert_eq!((reply.status(), arrived.len()), (200, 1));
            assert!(arrived[0].headers.iter().all(|(name, _)| !name.to_lowercase().starts_with("x-auth")));
        } else {
            is_envelope(&reply, 503, "UNAVAILABLE");
            assert!(arrived.is_empty(), "{arrived:?}");
        }
    }
    rig.finish();
}

pub fn f2_identity_headers_are_doorwards_whatever_the_client_sends(proxy: Proxy) {
    let rig = Rig::start(proxy);
    let own = bearer(&rig.token());
    for name in spoofs::reserved() {
        for spelling in spoofs::spellings(name) {
            // In front of the token and behind it, and twice.
            let lie = format!("{spelling}: admin\r\n");
            for headers in [format!("{lie}{own}"), format!("{own}{lie}{lie}{spelling}:\r\n")] {
                let answer = rig.get("/", &headers);
                assert_eq!(answer.status(), 200, "{headers}: {answer:?} {}", rig.logs());
                is_genuine(&rig, &rig.arrived(), &headers);
            }
        }
        assert!(!rig.tap.take().contains("admin"), "{name} reaches Doorward");
    }
    // All at once.
    let lies: String = spoofs::reserved()
        .into_iter()
        .flat_map(|name| spoofs::spellings(name).into_iter().take(3))
        .map(|spelling| format!("{spelling}: admin\r\n"))
        .collect();
    assert_eq!(rig.get("/", &format!("{lies}{own}{lies}")).status(), 200, "{}", rig.logs());
    is_genuine(&rig, &rig.arrived(), "all at once");

    for lie in spoofs::malformed() {
        for headers in [format!("{lie}{own}"), format!("{own}{lie}")] {
            let request: Vec<u8> = get("/", &headers).chars().map(|letter| letter as u8).collect();
            let answer = rig.send(request);
            let arrived = rig.upstream.take();
            match answer.status() {
                200 => assert_eq!(arrived.len(), 1, "{headers:?}"),
                status => assert!(
                    matches!(status, 0 | 400 | 401) && arrived.is_empty(),
                    "{headers:?}: {answer:?} {arrived:?}"
                ),
            }
            for arrived in arrived {
                is_genuine(&rig, &arrived, &headers);
            }
        }
    }
    rig.finish();
}

pub fn f2_connection_removes_no_identity_header(proxy: Proxy) {
    let rig = Rig::start(proxy);
    let own = bearer(&rig.token());
    let all = IDENTITY.join(", ");
    for lines in [
        "Connection: X-Auth-User\r\n".to_owned(),
        format!("Connection: {all}\r\n"),
        format!("Connection: close, {all}\r\n"),
        format!("Connection: keep-alive\r\nconnection: {}\r\n", all.to_lowercase()),
        format!("Connection: Upgrade, {all}\r\nUpgrade: h2c\r\n"),
        format!("Keep-Alive: {all}\r\nProxy-Connection: {all}\r\nTE: {all}\r\nTrailer: {all}\r\n"),
        format!("Connection: Keep-Alive\r\nKeep-Alive: timeout=5\r\nConnection: {all}\r\n"),
        "Connection: X-Forwarded-For, Host, Content-Length\r\n".to_owned(),
    ] {
        for headers in [format!("{lines}{own}"), format!("{own}{lines}")] {
            assert_eq!(rig.get("/", &headers).status(), 200, "{headers}: {}", rig.logs());
            let arrived = rig.arrived();
            is_genuine(&rig, &arrived, &headers);
            // Nor may the next hop be told to remove them.
            for name in ["connection", "keep-alive", "proxy-connection", "te", "trailer"] {
                let told = arrived.values(name).concat().to_lowercase();
                assert!(!told.contains("x-auth") && !told.contains("x-forwarded"), "{headers}: {arrived:?}");
            }
            assert_eq!(arrived.values("x-forwarded-for"), ["127.0.0.1"], "{headers}: {arrived:?}");
        }
    }
    // The same around a WebSocket, where the header is needed.
    let mut connection = rig.connect();
    let headers = format!(
        "{own}Connection: Upgrade, {all}\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    write!(connection.stream, "{}", get("/", &headers)).unwrap();
    assert_eq!(connection.read_head().unwrap().status(), 101, "{}", rig.logs());
    is_genuine(&rig, &rig.arrived(), &headers);
    rig.finish();
}

pub fn f2_names_are_passed_on_as_doorward_writes_them(proxy: Proxy) {
    let rig = Rig::start(proxy);
    let token = rig.token();
    // Nothing in a name is taken for a variable of the proxy's.
    for name in [
        "$host",
        "{env.PATH}",
        "%[src]",
        "%{HTTP_HOST}e",
        "a,b;c=d",
        "\"quoted\"",
        "\\back",
        "{http.request.uri}",
    ] {
        let lines = IDENTITY.map(|header| format!("{header}: {name}\r\n")).concat();
        rig.tap.set(Mood::Say(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n")));
        assert_eq!(
            rig.get("/?{env.PATH}=$host&x=${host}", &bearer(&token)).status(),
            200,
            "{name}: {}",
            rig.logs()
        );
        let arrived = rig.arrived();
        for header in IDENTITY {
            assert_eq!(arrived.values(header), [name], "{arrived:?}");
        }
        assert_eq!(arrived.request().1, "/?{env.PATH}=$host&x=${host}");
    }
    rig.finish();
}

pub fn f3_no_path_bypasses_the_check(proxy: Proxy) {
    let rig = Rig::start(proxy);
    let (own, ended) = (bearer(&rig.token()), rig.token());
    rig.runtime.block_on(rig.server.release(&ended));
    let refused = [String::new(), bearer(&ended), "X-Auth-User: admin\r\n".to_owned()];
    for target in spoofs::TARGETS {
        for method in ["GET", "POST", "OPTIONS", "TRACE", "CONNECT", "get"] {
            for headers in &refused {
                let request = format!(
                    "{method} {target} HTTP/1.1\r\nHost: api.example.com\r\n{headers}Content-Length: 0\r\n\r\n"
                );
                let answer = rig.send(&request);
                let arrived = rig.upstream.take();
                assert!(arrived.is_empty(), "{request}: {arrived:?}");
                // What is no request for the API may have any answer that is not the API's.
                // Caddy answers 200 and nothing for sites that it does not have.
                let is_elsewhere =
                    target.contains("://") && !target.to_lowercase().contains("api.example.com");
                let is_own = (proxy == Proxy::Caddy && is_elsewhere)
                    || *target == "*"
                    || *method == *"CONNECT"
                    || *method == *"OPTIONS";
                assert!(is_own || !(100..400).contains(&answer.status()), "{request}: {answer:?}");
                assert!(!answer.text().contains("the API got"), "{request}: {answer:?}");
            }
        }
        // With a token the path arrives as it was, or in a form that has only one meaning.
        let answer = rig.get(target, &own);
        for arrived in rig.upstream.take() {
            is_genuine(&rig, &arrived, target);
            let path = arrived.request().1.split('?').next().unwrap().to_lowercase();
            let path = path.strip_prefix("http://api.example.com").unwrap_or(&path);
            let is_written_twice = target.contains("%252e");
            for ambiguous in ["//", "%2f", "%5c", "\\", "%00"] {
                assert!(is_written_twice || !path.contains(ambiguous), "{target}: {arrived:?}");
            }
            for segment in path.replace("%2e", ".").split('/') {
                let name = segment.split(';').next().unwrap();
                assert!(is_written_twice || !matches!(name, "." | ".."), "{target}: {arrived:?}");
            }
        }
        // Nobody but the API is told whose a token is.
        let is_told = answer.headers.iter().any(|(name, _)| name.to_lowercase().starts_with("x-auth-"));
        assert!(!is_told, "{target}: {answer:?}");
        let has_token = target.contains("token=");
        assert!(has_token || answer.status() != 401, "{target}: {answer:?}");
    }
    for target in
        ["/orders/7", "/%C3%A4/b%20c", "/a:b@c,d;e=f", "/-._~!$&'()*+,;=:@", "/orders?x=%2F..%2F&y=//&z=../"]
    {
        assert_eq!(rig.get(target, &own).status(), 200, "{target}");
        let arrived = rig.arrived();
        let plain = |text: &str| text.replace("%20", " ");
        assert_eq!(plain(arrived.request().1), plain(target));
    }
    for target in ["/x/../y", "//x", "/x%2fy", "/x/%2e%2E/y", "/x/..;/y", "/x%5cy"] {
        let answer = rig.get(target, &own);
        if proxy == Proxy::Apache && target.contains("%2f") {
            // AllowEncodedSlashes Off, the default, comes first.
            assert_eq!(answer.status(), 404);
        } else {
            is_envelope(&answer, 400, "MALFORMED_REQUEST");
        }
    }
    rig.finish();
}

pub fn f3_no_header_or_method_bypasses_the_check(proxy: Proxy) {
    let rig = Rig::start(proxy);
    let (own, others) = (rig.token(), rig.token_of(&rig.server.other));
    for line in spoofs::BYPASSES {
        let line = format!("{}\r\n", line.replace("{token}", &others));
        for method in ["GET", "POST", "HEAD", "OPTIONS", "PUT"] {
            let request = format!("{method} /orders HTTP/1.1\r\nHost: api.example.com\r\n{line}\r\n");
            let answer = rig.send(&request);
            let arrived = rig.upstream.take();
            assert!(arrived.is_empty(), "{request}: {arrived:?}");
            assert!(matches!(answer.status(), 400 | 401 | 411 | 417), "{request}: {answer:?}");
        }
        // With a token of one's own, it is one's own that counts.
        let is_token = line.starts_with("Authorization:");
        let answer = rig.get("/orders", &format!("{}{line}", bearer(&own)));
        for arrived in rig.upstream.take() {
            assert!(!is_token, "{line}");
            is_genuine(&rig, &arrived, &line);
            // Where nobody looks for a token, whatever is there is the client's own affair.
            let elsewhere = |name: &str| {
                name.to_lowercase().contains("authorization") || name.eq_ignore_ascii_case("cookie")
            };
            let headers = arrived.headers.iter().filter(|(name, _)| !elsewhere(name));
            let head: String = headers.map(|(_, value)| value.as_str()).collect();
            assert!(!head.contains(&others), "{line}: {arrived:?}");
        }
        if is_token {
            assert!(matches!(answer.status(), 400 | 401), "{line}: {answer:?}");
        }
    }
    // Two tokens are none.
    for request in [
        get(&format!("/?token={others}"), &bearer(&own)),
        get(&format!("/?token={own}&token={others}"), ""),
        get(&format!("/?token={own}&%74oken={others}"), ""),
        get("/", &format!("{}{}", bearer(&own), bearer(&others))),
    ] {
        let answer = rig.send(&request);
        assert!(matches!(answer.status(), 400 | 401), "{request}: {answer:?}");
    }
    assert!(rig.upstream.take().is_empty());
    // One in two places is one.
    assert_eq!(rig.get(&format!("/?token={own}&a=b&token={own}"), &bearer(&own)).status(), 200);
    assert_eq!(rig.arrived().request().1, "/?a=b");
    rig.finish();
}

pub fn f3_no_framing_smuggles_a_request_past_the_check(proxy: Proxy) {
    let rig = Rig::start(proxy);
    let own = bearer(&rig.token());
    let mut answered = 0;
    for headers in [own.as_str(), ""] {
        for request in spoofs::smuggling(headers) {
            let mut connection = rig.connect();
            let bytes: Vec<u8> = request.chars().map(|letter| letter as u8).collect();
            // A second request shows what is left in the connection.
            let _ = connection.stream.write_all(&bytes);
            let _ = connection.stream.write_all(get("/second", "Connection: close\r\n").as_bytes());
            connection.stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
            let mut statuses = Vec::new();
            while let Some(answer) = connection.read(true) {
                statuses.push(answer.status());
            }
            for arrived in rig.upstream.take() {
                assert!(!headers.is_empty(), "{request}: {arrived:?}");
                assert_eq!(arrived.request().1, "/first", "{request}: {arrived:?}");
                // HAProxy passes trailers on; docs/proxies/haproxy.md says so.
                assert!(arrived.trailers.is_empty() || proxy == Proxy::Haproxy, "{request}: {arrived:?}");
                is_genuine(&rig, &arrived, &request);
            }
            answered += usize::from(!statuses.is_empty());
        }
    }
    assert!(answered > 40, "only {answered} were answered");
    rig.finish();
}

pub fn f3_only_a_websocket_is_an_upgrade(proxy: Proxy) {
    let rig = Rig::start(proxy);
    let own = bearer(&rig.token());
    for upgrade in [
        "h2c",
        "h2",
        "TLS/1.0",
        "HTTP/2.0",
        "websocket, h2c",
        "h2c, websocket",
        "websocket/13",
        "connect-udp",
    ] {
        let settings = "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
        let headers = format!("{own}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\n{settings}");
        let answer = rig.get("/", &headers);
        if proxy == Proxy::Haproxy && upgrade.contains(", ") {
            // It is half a WebSocket, without a key: HAProxy refuses it.
            assert!(matches!(answer.status(), 200 | 400), "{answer:?}");
        } else {
            assert_eq!(answer.status(), 200, "{upgrade}: {}", rig.logs());
        }
        let Some(arrived) = rig.upstream.take().pop() else { continue };
        is_genuine(&rig, &arrived, upgrade);
        assert!(
            arrived.values("upgrade").is_empty() && arrived.values("http2-settings").is_empty(),
            "{arrived:?}"
        );
        assert!(!arrived.values("connection").concat().to_lowercase().contains("upgrade"), "{arrived:?}");
    }
    rig.finish();
}

pub fn h1_the_address_is_that_of_the_connection(proxy: Proxy) {
    let rig = Rig::start(proxy);
    let own = bearer(&rig.token());
    for lines in [
        "",
        "X-Forwarded-For: 192.0.2.1\r\n",
        "X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\nx-forwarded-for: 127.0.0.1\r\n",
        "X_Forwarded_For: 192.0.2.1\r\nX-Forwarded_For: 192.0.2.1\r\n",
        "Forwarded: for=192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\n",
        "X-Forwarded-For:\r\n",
        "Connection: X-Forwarded-For\r\nX-Forwarded-For: 192.0.2.1\r\n",
    ] {
        assert_eq!(rig.get("/", &format!("{own}{lines}")).status(), 200, "{}", rig.logs());
        let asked = rig.tap.take();
        let said: Vec<_> = asked.lines().filter_map(|line| line.split_once(": ")).collect();
        let of = |wanted: &str| {
            let named = said.iter().filter(|(name, _)| name.replace('_', "-").eq_ignore_ascii_case(wanted));
            named.map(|(_, value)| *value).collect::<Vec<_>>()
        };
        assert_eq!(of("x-forwarded-for"), ["127.0.0.1"], "{lines}: {asked}");
        let arrived = rig.arrived();
        assert_eq!(arrived.values("x-forwarded-for"), ["127.0.0.1"], "{lines}: {arrived:?}");
        assert!(!format!("{arrived:?}{asked}").contains("192.0.2.1"), "{lines}: {arrived:?} {asked}");
    }
    rig.finish();
}

pub fn h2_a_token_in_the_query_reaches_neither_the_api_nor_a_log(proxy: Proxy) {
    let mut rig = Rig::start(proxy);
    let token = rig.token();
    for (query, left) in [
        ("token={token}", ""),
        ("token={token}&page=2", "?page=2"),
        ("page=2&token={token}", "?page=2"),
        ("page=2&token={token}&sort=name", "?page=2&sort=name"),
        ("%74oken={token}", ""),
        ("a=b&%74%6f%6B%65%6e={token}&c=d", "?a=b&c=d"),
        ("token={token}&token={token}&a=b", "?a=b"),
        ("a=b&token={token}&c=d&token={token}&e=f", "?a=b&c=d&e=f"),
        ("token=&token={token}&a", "?a"),
        ("mytoken=1&token={token}&token2=2&tokens=3", "?mytoken=1&token2=2&tokens=3"),
        ("x=token%3D1&token={token}&y=a%26token%3D2", "?x=token%3D1&y=a%26token%3D2"),
        ("a=1&a=2&token={token}&b=%20+%2B", "?a=1&a=2&b=%20+%2B"),
        ("t=x&token={token}&q=?token=1", "?t=x&q=?token=1"),
    ] {
        for method in ["GET", "POST"] {
            let target = format!("/orders/7?{}", query.replace("{token}", &token));
            let answer = rig.send(format!(
                "{method} {target} HTTP/1.1\r\nHost: api.example.com\r\nReferer: https://x.example{target}\r\n\
                 Content-Length: 0\r\n\r\n"
            ));
            assert_eq!(answer.status(), 200, "{target}: {}", rig.logs());
            let arrived = rig.arrived();
            is_genuine(&rig, &arrived, &target);
            // httpd leaves the question mark.
            let mark = if proxy == Proxy::Apache && left.is_empty() { "?" } else { "" };
            assert_eq!(arrived.request(), (method, format!("/orders/7{left}{mark}").as_str()), "{target}");
            let headers: Vec<_> =
                arrived.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("referer")).collect();
            assert!(!format!("{headers:?}").contains(&token), "{arrived:?}");
        }
    }
    // A client that sends it more often than that sends it nowhere.
    let often = format!("/?token={token}&token={token}&token={token}&token={token}");
    assert!(matches!(rig.get(&often, "").status(), 200 | 400));
    for arrived in rig.upstream.take() {
        assert!(!format!("{arrived:?}").contains(&token), "{arrived:?}");
    }
    // When things go wrong, which is when proxies write most.
    let lost = format!("?token={token}");
    for path in ["/../..", "/%2e%2e/x", "//x", "/%", "/%zz", "/x\\y", "/\u{e4}", "/x y", "/%00"] {
        let sent = get(&format!("{path}{lost}"), &referer_of(&token));
        let bytes: Vec<u8> = sent.chars().map(|letter| letter as u8).collect();
        rig.send(bytes);
    }
    rig.send(format!("GET /{lost} HTTP/9.9\r\n\r\n"));
    rig.send(format!("GET /{lost}\r\n\r\n"));
    rig.send(format!("GET /{lost} HTTP/1.1\r\nHost: a\r\nHost: b\r\nbad header\r\n\r\n"));
    rig.send(format!("GET /{lost} HTTP/1.1\r\n\r\n"));
    rig.send(format!("GET /{lost} HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"));
    rig.send(format!("POST /{lost} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"));
    rig.send(format!("GET /{lost} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(70_000)));
    rig.send(format!("GET /{}{lost} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000)));
    rig.upstream.take();
    rig.tap.close();
    assert_eq!(rig.get(&format!("/gone{lost}"), &referer_of(&token)).status(), 503);
    rig.tap.open();
    rig.upstream.hang_up();
    for headers in [referer_of(&token), format!("{}Cookie: a=b\r\n", bearer(&token))] {
        let answer = rig.get(&format!("/no-answer{lost}"), &headers);
        assert!(matches!(answer.status(), 502..=504), "{answer:?}");
    }
    let logs = rig.logs();
    assert!(logs.contains("/orders/7"), "the log has requests: {logs}");
    let has_names = proxy != Proxy::Caddy;
    assert_eq!(logs.contains(&rig.server.demo.username), has_names, "and whose they are: {logs}");
    rig.finish();
}

fn referer_of(token: &str) -> String {
    format!("Referer: https://shop.example/?token={token}\r\nCookie: a=b\r\n")
}
