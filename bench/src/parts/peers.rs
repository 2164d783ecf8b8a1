//! The products of others that do a verification's job, each as its documentation says for production: `bench/peers` starts
//! them.

use crate::{
    chart::{Bar, bars},
    ground::Ground,
    load::{Contender, rounds},
    parts::Part,
    report::{Section, Table},
    statistics::{time, whole},
    target::{Target, peers},
};

const PEERS: [&str; 3] = ["oidc-provider", "better-auth", "django-rest-knox"];
/// How many tokens a peer is given, which is few, to its advantage.
const TOKENS: u32 = 1_000;

pub(super) fn measure(ground: &Ground) -> anyhow::Result<()> {
    let sessions = ground.args.sessions;
    let product = Target::product(ground, &ground.filled(sessions)?, &[])?;
    let mut section = Section::new(Part::Peers, "Peers");
    section.paragraph(&format!(
        "What a team would use instead, on the same core, in the same rounds, one peer after the other; bench/peers/README.md \
         says how each is set up. Doorward answers `/verify` with {} live sessions, a peer has {} tokens.",
        whole(f64::from(sessions)),
        whole(f64::from(TOKENS)),
    ));
    let mut table = Table::new([
        "",
        "requests/s",
        "Doorward beside it",
        "Doorward is faster by",
        "CPU a request",
        "p50",
        "p99",
    ]);
    let mut pictured = Vec::new();
    for peer in PEERS {
        let (target, work) = match Target::peer(ground, peer, TOKENS) {
            Ok(started) => started,
            // The others are worth having.
            Err(error) => {
                section.paragraph(&format!("{peer} could not be measured: {error:#}"));
                continue;
            }
        };
        let script = peers().join("tokens.lua").to_string_lossy().into_owned();
        let at = |name: &str| work.join(name).to_string_lossy().into_owned();
        let series = rounds(
            ground,
            &[
                Contender::requests(ground, "Doorward", &product, "verify", sessions),
                Contender {
                    script: &script,
                    arguments: vec![at("request"), at("tokens.txt")],
                    path: "",
                    ..Contender::requests(ground, peer, &target, "verify", sessions)
                },
            ],
        )?;
        let faster = series[0].ratio(&series[1], |run| run.rate);
        table.row([
            peer.into(),
            series[1].spread(|run| run.rate).show(whole),
            series[0].spread(|run| run.rate).show(whole),
            faster.show(|it| format!("{it:.0}×")),
            time(series[1].spread(|run| run.cpu).median),
            time(series[1].spread(|run| run.p50).median),
            time(series[1].spread(|run| run.p99).median),
        ]);
        pictured.push(Bar { label: peer.into(), value: faster, is_ours: true });
    }
    section.table(&table);
    let title = "How many times a peer's requests per second Doorward answers";
    section.picture(ground, "peers", title, &bars(title, &pictured, None, |it| format!("{it:.0}×")))?;
    section.finish(ground)
}
