//! What a verification costs, beside the same HTTP stack with nothing behind it, the least that a kernel's sockets take, and
//! the same stack with redis-server behind it.

use std::fs;

use crate::{
    chart::{Bar, bars},
    ground::Ground,
    load::{Contender, Series, Tool, rounds},
    parts::Part,
    population::OPERATOR_KEY,
    report::{Section, Table},
    statistics::whole,
    target::{Target, free_address, record_answers},
};

/// What the issue of this project aims at, as a part of plain hyper's requests per second.
const AIM: f64 = 0.90;
/// Tokens of one question of a batch, and how many ask at a time.
const BATCH: f64 = 1_000.0;
const BATCH_CONNECTIONS: u32 = 8;

pub(super) fn measure(ground: &Ground) -> anyhow::Result<()> {
    let sessions = ground.args.sessions;
    let envoy = free_address()?;
    let settings = ground.scratch.join("envoy.toml");
    fs::write(&settings, format!("[listen]\next_authz = \"{envoy}\"\n"))?;
    let flags = ["--config", &settings.to_string_lossy()];
    let product = Target::product(ground, &ground.filled(sessions)?, &flags)?;
    let answers = ground.scratch.join("answers");
    record_answers(&product, &answers, sessions, &ground.basic())?;
    let fixed = Target::yardstick(ground, "fixed", &answers)?;
    let framework = Target::yardstick(ground, "framework", &answers)?;
    let floor = Target::yardstick(ground, "floor", &answers)?;
    let redis = Target::redis(ground, &answers, sessions)?;
    let mut section = Section::new(Part::Verify, "A verification");
    section.paragraph(&format!(
        "{} live sessions of {} users; each request carries the token of one at random. The server has one core, wrk the \
         other, {} connections. Every target answers the same headers; those that are not asked stand still meanwhile. \
         redis-server has the sessions under the token's digest, is asked over one pipelined connection, and shares the \
         server's core.",
        whole(f64::from(sessions)),
        whole(ground.users(sessions) as f64),
        ground.args.connections,
    ));
    let contender =
        |label: &str, target, kind: &str| Contender::requests(ground, label, target, kind, sessions);
    let series = rounds(
        ground,
        &[
            contender("plain hyper, fixed answer", &fixed, "verify"),
            contender("Doorward", &product, "verify"),
            contender("Doorward, no use of the token", &product, "peek"),
            contender("Doorward, token in the query", &product, "query"),
            contender("Doorward, unknown token", &product, "unknown"),
            contender("axum, fixed answer", &framework, "verify"),
            contender("plain hyper and redis GET", &redis, "verify"),
            contender("bare epoll loop", &floor, "verify"),
        ],
    )?;
    section.compared(&series, 0);
    let title = "Requests per second, as a part of plain hyper's fixed answer";
    section.picture(
        ground,
        "verify",
        title,
        &bars(title, &pictured(&series), Some(AIM), |it| format!("{it:.2}")),
    )?;

    section.heading("Introspection");
    let introspect = |label: &str, target| Contender {
        path: "/oauth2/introspect",
        arguments: vec!["introspect".into(), sessions.to_string(), OPERATOR_KEY.into()],
        ..contender(label, target, "introspect")
    };
    let series = rounds(
        ground,
        &[
            introspect("plain hyper, fixed answer", &fixed),
            introspect("Doorward", &product),
            introspect("axum, fixed answer", &framework),
        ],
    )?;
    section.compared(&series, 0);

    section.heading("A thousand tokens at once");
    let batch = |label: &str, target| Contender {
        path: "/verify/batch",
        connections: BATCH_CONNECTIONS.min(ground.args.connections),
        arguments: vec!["batch".into(), sessions.to_string(), OPERATOR_KEY.into()],
        ..contender(label, target, "batch")
    };
    let series = rounds(ground, &[batch("plain hyper, fixed answer", &fixed), batch("Doorward", &product)])?;
    section.compared(&series, 0);
    let mut table = Table::new(["asked", "tokens a second", "tokens a second of a core"]);
    for one in &series {
        table.row([
            one.label.clone(),
            one.spread(|run| run.rate * BATCH).show(whole),
            one.spread(|run| BATCH / run.cpu).show(whole),
        ]);
    }
    section.table(&table);

    section.heading("HTTP/2 and gRPC");
    section.paragraph(
        "h2load sends the same token again and again, one request at a time on each connection. Envoy asks by gRPC: its message \
         has a request with six headers.",
    );
    let fixed2 = Target::yardstick(ground, "fixed2", &answers)?;
    let message = ground.scratch.join("check.bin");
    fs::write(&message, check(1))?;
    let message = message.to_string_lossy().into_owned();
    let header = |text: String| ["-H".to_owned(), text];
    let bearer = header(format!("authorization: Bearer {:032X}", 1));
    let grpc = [header("content-type: application/grpc".into()), header("te: trailers".into())].concat();
    let (verify, verify_fixed) =
        (format!("http://{}/verify", product.address), format!("http://{}/verify", fixed2.address));
    let check = format!("http://{envoy}/envoy.service.auth.v3.Authorization/Check");
    let contender = |label: &str, target, path, arguments| Contender {
        path,
        arguments,
        tool: Tool::H2load,
        ..contender(label, target, "verify")
    };
    let series = rounds(
        ground,
        &[
            contender("plain hyper, fixed answer, HTTP/2", &fixed2, &verify_fixed, bearer.to_vec()),
            contender("Doorward, /verify, HTTP/2", &product, &verify, bearer.to_vec()),
            contender(
                "Doorward, Envoy's gRPC",
                &product,
                &check,
                [vec!["-d".into(), message], grpc].concat(),
            ),
        ],
    )?;
    section.compared(&series, 0);
    section.finish(ground)
}

/// Envoy's question about a request with a token, as gRPC sends it (envoy/service/auth/v3/external_auth.proto).
fn check(token: u32) -> Vec<u8> {
    // A message of less than 16 KiB, whose parts need a length of two bytes from 128 on.
    let field = |number: u8, value: &[u8]| {
        let length = value.len();
        let length = match u8::try_from(length) {
            Ok(short @ 0..128) => vec![short],
            _ => vec![(length & 127) as u8 | 128, (length >> 7) as u8],
        };
        [&[number << 3 | 2], &length[..], value].concat()
    };
    let text = |number, value: &str| field(number, value.as_bytes());
    let header = |(name, value): (&str, &str)| field(3, &[text(1, name), text(2, value)].concat());
    let bearer = format!("Bearer {token:032X}");
    let headers = [
        (":authority", "api"),
        (":method", "GET"),
        (":path", "/orders"),
        ("accept", "*/*"),
        ("user-agent", "h2"),
        ("authorization", &bearer),
    ];
    let http =
        [vec![text(2, "GET")], headers.map(header).to_vec(), vec![text(4, "/orders")]].concat().concat();
    let message = field(1, &field(4, &field(2, &http)));
    let length = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    [&[0], &length[..], &message].concat()
}

fn pictured(series: &[Series]) -> Vec<Bar> {
    let bar = |one: &Series| Bar {
        label: one.label.clone(),
        value: one.ratio(&series[0], |run| run.rate),
        is_ours: one.label.starts_with("Doorward"),
    };
    series.iter().map(bar).collect()
}
