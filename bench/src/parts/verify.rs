//! What a verification costs, beside the same HTTP stack with nothing behind it, the least that a kernel's sockets take, and
//! the same stack with redis-server behind it.

use crate::{
    chart::{Bar, bars},
    ground::Ground,
    load::{Contender, Series, rounds},
    parts::Part,
    population::OPERATOR_KEY,
    report::{Section, Table},
    statistics::whole,
    target::{Target, record_answers},
};

/// What the issue of this project aims at, as a part of plain hyper's requests per second.
const AIM: f64 = 0.90;
/// Tokens of one question of a batch, and how many ask at a time.
const BATCH: f64 = 1_000.0;
const BATCH_CONNECTIONS: u32 = 8;

pub(super) fn measure(ground: &Ground) -> anyhow::Result<()> {
    let sessions = ground.args.sessions;
    let product = Target::product(ground, &ground.filled(sessions)?, &[])?;
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
    section.finish(ground)
}

fn pictured(series: &[Series]) -> Vec<Bar> {
    let bar = |one: &Series| Bar {
        label: one.label.clone(),
        value: one.ratio(&series[0], |run| run.rate),
        is_ours: one.label.starts_with("Doorward"),
    };
    series.iter().map(bar).collect()
}
