//! Whatever may befall a cluster, at random, for as long as one likes:
//!
//! `SOAK_SECONDS=3600 cargo test -p doorward --test it cluster::soak -- --nocapture`

use std::{sync::Arc, time::Duration};

use doorward_testkit::PostgresServer;
use tokio::{task::block_in_place, time::Instant};

use super::{Cluster, Load, below, failover::Pair, nemesis::Nemesis, place};

/// How long it takes if nobody says how long.
const SHORT: &str = "5";
/// After so many rounds the next cluster begins, on a pair whose standby will take over.
const ROUNDS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn whatever_comes() {
    let seconds = std::env::var("SOAK_SECONDS").unwrap_or_else(|_| SHORT.into());
    let long = Duration::from_secs(seconds.parse().expect("SOAK_SECONDS is a number"));
    let _place = place().await;
    let (began, mut round) = (Instant::now(), 0);
    while began.elapsed() < long {
        let database = PostgresServer::start();
        let cluster = Arc::new(Cluster::start(&database).await);
        for _ in 0..ROUNDS {
            if began.elapsed() >= long {
                return;
            }
            let load = Load::start(&cluster);
            load.progress(5).await;
            let nemeses: Vec<_> = (0..=below(3)).map(|_| Nemesis::any()).collect();
            for nemesis in &nemeses {
                eprintln!("{:.0} s: {nemesis:?}", began.elapsed().as_secs_f64());
                nemesis.strike(&cluster, &database, &load).await;
                if below(3) > 0 {
                    load.progress(5).await;
                }
            }
            round += 1;
            println!("round {round}, {nemeses:?}: {}", load.judge().await);
        }
        drop((cluster, database));

        let pair = block_in_place(Pair::start);
        let cluster = Arc::new(pair.cluster().await.0);
        let load = Load::start(&cluster);
        load.progress(10 + below(30) as u64).await;
        pair.fail_over();
        load.progress(10).await;
        round += 1;
        println!("round {round}, failover: {}", load.judge().await);
    }
}
