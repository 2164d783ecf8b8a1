//! What a verification costs, beside the same HTTP stack with nothing behind it, the least that a kernel's sockets take, and
//! the same stack with redis-server behind it.

use crate::{
    chart::{Bar, bars},
    ground::Ground,
    load::{Contender, rounds},
    parts::Part,
    report::Section,
    statistics::whole,
    target::{Target, record_answers},
};

/// What the issue of this project aims at, as a part of plain hyper's requests per second.
const AIM: f64 = 0.90;

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
    let contender = |label: &str, target, kind: &str| Contender {
        label: label.to_owned(),
        target,
        path: "/verify",
        script: "requests.lua",
        arguments: vec![kind.to_owned(), sessions.to_string()],
        connections: ground.args.connections,
        is_refused: kind == "unknown",
    };
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
    let pictured: Vec<Bar> = series
        .iter()
        .map(|one| Bar {
            label: one.label.clone(),
            value: one.ratio(&series[0], |run| run.rate),
            is_ours: one.label.starts_with("Doorward"),
        })
        .collect();
    let title = "Requests per second, as a part of plain hyper's fixed answer";
    section.picture(ground, "verify", title, &bars(title, &pictured, Some(AIM), |it| format!("{it:.2}")))?;
    section.finish(ground)
}
