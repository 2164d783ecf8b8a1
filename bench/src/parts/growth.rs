//! What more organisations, users and keys cost what is asked most: a verification, and a token issued by key and released,
//! which looks up key, user, unit and organisation.

use crate::{
    ground::Ground,
    load::{Contender, rounds},
    parts::Part,
    report::{Section, Table},
    statistics::{time, whole},
    target::{Target, record_answers},
};

/// How many organisations, and how many sessions, of which there are ten for each user and key.
const GROWN: [(u32, u32); 7] = [
    (100, 10_000),
    (100, 100_000),
    (100, 1_000_000),
    (10, 100_000),
    (1_000, 100_000),
    (10_000, 100_000),
    (100, 10_000_000),
];

pub(super) fn measure(ground: &Ground) -> anyhow::Result<()> {
    let mut section = Section::new(Part::Growth, "Growing");
    section.paragraph(
        "Beside plain hyper's fixed answer in the same rounds. Users and keys are as many, a tenth of the sessions; the keys \
         of random users are used.",
    );
    let mut table = Table::new([
        "organisations",
        "users and keys",
        "verify, requests/s of plain hyper's",
        "CPU of plain hyper's",
        "issue and release, requests/s of plain hyper's",
        "CPU of plain hyper's",
        "p50",
        "p99",
    ]);
    for (organisations, sessions) in GROWN.into_iter().filter(|(_, it)| *it <= ground.args.sessions_up_to) {
        let folder = ground.copied(&ground.filled_with(sessions, organisations)?)?;
        let product = Target::product(ground, &folder, &[])?;
        let answers = ground.scratch.join("answers");
        record_answers(&product, &answers, sessions, &ground.basic())?;
        let fixed = Target::yardstick(ground, "fixed", &answers)?;
        let users = ground.users(sessions);
        let verify = |label: &str, target| Contender::requests(ground, label, target, "verify", sessions);
        let series = rounds(
            ground,
            &[
                verify("plain hyper", &fixed),
                verify(&format!("verify, {organisations} organisations, {users} users"), &product),
                Contender {
                    script: "pairs.lua",
                    arguments: vec!["users".into(), users.to_string()],
                    path: "",
                    ..verify("issue and release", &product)
                },
            ],
        )?;
        let beside = |place: usize| {
            (series[place].ratio(&series[0], |run| run.rate), series[place].ratio(&series[0], |run| run.cpu))
        };
        let ((verify_rate, verify_cpu), (pair_rate, pair_cpu)) = (beside(1), beside(2));
        table.row([
            whole(f64::from(organisations)),
            whole(users as f64),
            verify_rate.to_string(),
            verify_cpu.to_string(),
            pair_rate.to_string(),
            pair_cpu.to_string(),
            time(series[2].spread(|run| run.p50).median),
            time(series[2].spread(|run| run.p99).median),
        ]);
    }
    section.table(&table);
    section.finish(ground)
}
