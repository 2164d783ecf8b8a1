//! Requests as no honest client sends them: of each, one whole request reaches the API, or none.

use doorward_testkit::TestServer;

use super::{Gateway, RawApi};

/// The requests in bytes, read as strictly as can be; panics if they are not whole requests.
fn requests(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (mut rest, mut requests) = (bytes, Vec::new());
    while !rest.is_empty() {
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(rest[..end].to_vec()).expect("a head is text");
        rest = &rest[end..];
        assert!(!head.replace("\r\n", "").contains(['\r', '\n', '\0']), "{head:?}");
        let values = |name: &str| -> Vec<String> {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines
                .filter(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
                .collect()
        };
        let (length, coding) = (values("content-length"), values("transfer-encoding"));
        let mut body = Vec::new();
        match (&length[..], &coding[..]) {
            ([], []) => {}
            ([length], []) => {
                let (this, next) = rest.split_at(length.parse().expect("a length"));
                (body, rest) = (this.to_vec(), next);
            }
            ([], [coding]) => {
                assert_eq!(coding, "chunked");
                loop {
                    let end = rest.windows(2).position(|two| two == b"\r\n").expect("a chunk");
                    let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
                    body.extend_from_slice(&rest[end + 2..end + 2 + size]);
                    assert_eq!(&rest[end + 2 + size..end + 4 + size], b"\r\n");
                    rest = &rest[end + 4 + size..];
                    if size == 0 {
                        break;
                    }
                }
            }
            _ => panic!("two framings: {head}"),
        }
        requests.push((head, body));
    }
    requests
}

#[tokio::test]
async fn h4_f3_nothing_is_smuggled() {
    let server = TestServer::start().await;
    let api = RawApi::start(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let gateway = Gateway::before(&server, api.address, &[]);
    let token = server.log_in(&server.demo).await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\nX-Auth-User: spoofed\r\n\r\n";
    let head = format!("POST /x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n");
    let chunk = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let length = hidden.len();
    let huge = "a".repeat(40_000);
    let many = "X-Many: a\r\n".repeat(200);
    // Each with whether something may reach the API at all.
    let samples: Vec<(&str, String, bool)> = vec![
        (
            "CL.TE",
            format!("{head}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
            true,
        ),
        ("TE.CL", format!("{head}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunk}"), true),
        (
            "TE.TE twice",
            format!("{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n{chunk}"),
            false,
        ),
        (
            "TE.TE cow",
            format!("{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n{chunk}"),
            false,
        ),
        ("TE xchunked", format!("{head}Transfer-Encoding: xchunked\r\n\r\n{chunk}"), false),
        ("TE gzip, chunked", format!("{head}Transfer-Encoding: gzip, chunked\r\n\r\n{chunk}"), false),
        ("TE chunked, identity", format!("{head}Transfer-Encoding: chunked, identity\r\n\r\n{chunk}"), false),
        ("TE quoted", format!("{head}Transfer-Encoding: \"chunked\"\r\n\r\n{chunk}"), false),
        ("TE vertical tab", format!("{head}Transfer-Encoding: \x0bchunked\r\n\r\n{chunk}"), false),
        ("TE tab", format!("{head}Transfer-Encoding:\tchunked\r\n\r\n{chunk}"), true),
        (
            "TE in HTTP/1.0",
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}")
                .replace("HTTP/1.1\r\nHost: a\r\nAuth", "HTTP/1.0\r\nHost: a\r\nAuth"),
            false,
        ),
        (
            "space before colon",
            format!("{head}Transfer-Encoding : chunked\r\nContent-Length: {length}\r\n\r\n{hidden}"),
            false,
        ),
        (
            "space in front",
            format!("{head} Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n{hidden}"),
            false,
        ),
        ("obs-fold", format!("{head}Transfer-Encoding:\r\n chunked\r\n\r\n{chunk}"), false),
        ("obs-fold of another", format!("{head}X-Fold: a\r\n b\r\n\r\n{hidden}"), false),
        ("bare LF", format!("{head}Content-Length: {length}\nX: a\r\n\r\n{hidden}"), true),
        (
            "bare LF ends",
            format!("POST /x HTTP/1.1\nHost: a\nAuthorization: Bearer {token}\n\n{hidden}"),
            true,
        ),
        (
            "bare CR",
            format!("{head}X: a\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n{hidden}"),
            false,
        ),
        ("NUL in a value", format!("{head}X: a\0b\r\nContent-Length: 0\r\n\r\n{hidden}"), false),
        ("NUL in a name", format!("{head}X\0: a\r\nContent-Length: 0\r\n\r\n{hidden}"), false),
        (
            "two lengths",
            format!("{head}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}"),
            false,
        ),
        ("a list of lengths", format!("{head}Content-Length: 0, {length}\r\n\r\n{hidden}"), false),
        ("a length with a sign", format!("{head}Content-Length: +{length}\r\n\r\n{hidden}"), false),
        ("a negative length", format!("{head}Content-Length: -1\r\n\r\n{hidden}"), false),
        ("a hexadecimal length", format!("{head}Content-Length: 0x5\r\n\r\n{hidden}"), false),
        ("a length too long", format!("{head}Content-Length: 99999999999999999999\r\n\r\n{hidden}"), false),
        (
            "a chunk with a sign",
            format!("{head}Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n{hidden}"),
            false,
        ),
        (
            "a chunk without an end",
            format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n{hidden}"),
            false,
        ),
        (
            "a chunk too long",
            format!("{head}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{hidden}"),
            false,
        ),
        (
            "a chunk's extension",
            format!("{head}Transfer-Encoding: chunked\r\n\r\n5;a=\n\r\nhello\r\n0\r\n\r\n"),
            false,
        ),
        ("two hosts", format!("{head}Host: b\r\nContent-Length: 0\r\n\r\n"), false),
        ("a huge header", format!("{head}X: {huge}\r\n\r\n{hidden}"), false),
        ("many headers", format!("{head}{many}\r\n{hidden}"), false),
        (
            "GET with chunks",
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}").replace("POST", "GET"),
            false,
        ),
        ("pipelined without a token", format!("{head}Content-Length: 0\r\n\r\n{hidden}"), true),
        ("a space in the path", format!("{head}\r\n").replace("/x", "/x /hidden"), false),
        ("no version", format!("POST /x\r\nAuthorization: Bearer {token}\r\n\r\n{hidden}"), false),
    ];
    for (name, sample, may_reach) in samples {
        let answer = gateway.raw(sample.as_bytes()).await;
        let bytes = api.take();
        let requests = requests(&bytes);
        assert!(requests.len() <= usize::from(may_reach), "{name}: {requests:?}");
        for (head, body) in &requests {
            assert!(head.starts_with("POST /x HTTP/1.1\r\n"), "{name}: {head}");
            assert!(!head.contains("spoofed") && head.contains("x-auth-user: "), "{name}: {head}");
            assert!(!head.contains(&token), "{name}: {head}");
            assert!(body.is_empty() || body == hidden.as_bytes(), "{name}: {body:?}");
        }
        assert!(!requests.is_empty() || !answer.contains("HTTP/1.1 200"), "{name}: {answer}");
    }
}

/// Two requests on one connection are two requests, each checked.
#[tokio::test]
async fn pipelined_requests_are_checked_one_by_one() {
    let server = TestServer::start().await;
    let api = super::Api::start().await;
    let gateway = Gateway::before(&server, api.address, &[]);
    let token = server.log_in(&server.demo).await;
    let with = format!("GET /with HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    let without = "GET /without HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = gateway.raw(format!("{with}{without}{with}").as_bytes()).await;
    let statuses: Vec<_> = answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "401", "200"], "{answer}");
    let reached = std::mem::take(&mut *api.reached.lock().unwrap());
    assert_eq!(reached.iter().map(|one| one.uri.path()).collect::<Vec<_>>(), ["/with", "/with"]);
}
