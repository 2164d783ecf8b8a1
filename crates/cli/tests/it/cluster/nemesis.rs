//! What may befall a cluster, one thing at a time.

use std::{sync::Arc, time::Duration};

use doorward_testkit::{Fault, PostgresServer};
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

use super::{Cluster, INSTANCES, LEASE, Load, below, place, soon};

/// Something that befalls an instance or the database, and is over in the end.
#[derive(Clone, Copy, Debug)]
pub enum Nemesis {
    Nothing,
    /// `kill -9` of an instance, which is started again.
    Killed,
    /// A clean stop and a start.
    Restarted,
    /// An instance stands still for less than a lease.
    PausedBriefly,
    /// It stands still until the others have given it up.
    PausedLong,
    /// PostgreSQL loses its power for a moment, or for longer than a lease.
    DatabaseKilled {
        for_long: bool,
    },
    /// PostgreSQL takes connections and answers nothing.
    DatabasePaused {
        for_long: bool,
    },
    /// Something happens between one instance and PostgreSQL.
    Network(Fault),
}

/// What may happen between an instance and PostgreSQL.
pub const FAULTS: [Fault; 6] = [
    Fault::Cut,
    Fault::Delay(Duration::from_millis(300)),
    Fault::Stall,
    Fault::SILENCE,
    Fault::HalfOpen { to_server: true, to_client: false },
    Fault::HalfOpen { to_server: false, to_client: true },
];

impl Nemesis {
    /// Anything of it.
    pub fn any() -> Self {
        let for_long = below(2) == 0;
        match below(12) {
            0 => Self::Nothing,
            1 => Self::Killed,
            2 => Self::Restarted,
            3 => Self::PausedBriefly,
            4 => Self::PausedLong,
            5 => Self::DatabaseKilled { for_long },
            6 => Self::DatabasePaused { for_long },
            _ => Self::Network(FAULTS[below(FAULTS.len())]),
        }
    }

    /// Strikes, and sees that whoever is not struck goes on.
    pub async fn strike(self, cluster: &Cluster, database: &PostgresServer, load: &Load) {
        let number = below(INSTANCES);
        let victim = &cluster.instances[number];
        let outage = |for_long| if for_long { LEASE * 3 / 2 } else { LEASE / 4 };
        match self {
            Self::Nothing => load.progress(40).await,
            Self::Killed => {
                victim.kill();
                load.progress(10).await;
                cluster.run(number);
            }
            Self::Restarted => {
                victim.stop();
                load.progress(10).await;
                cluster.run(number);
            }
            Self::PausedBriefly => {
                victim.signal("STOP");
                sleep(LEASE / 3).await;
                victim.signal("CONT");
            }
            Self::PausedLong => {
                let removals = removals(cluster);
                victim.signal("STOP");
                soon("the others give up who is silent", async {
                    while self::removals(cluster) == removals {
                        sleep(Duration::from_millis(50)).await;
                    }
                })
                .await;
                load.progress(5).await;
                victim.signal("CONT");
            }
            Self::DatabaseKilled { for_long } => {
                block_in_place(|| database.kill());
                sleep(outage(for_long)).await;
                block_in_place(|| database.run());
            }
            Self::DatabasePaused { for_long } => {
                database.pause();
                sleep(outage(for_long)).await;
                database.resume();
            }
            Self::Network(fault) => {
                victim.proxy.set(fault);
                load.progress(4).await;
                if below(2) == 0 {
                    sleep(LEASE).await;
                }
                victim.proxy.set(Fault::None);
            }
        }
    }
}

/// How often instances have given up others.
fn removals(cluster: &Cluster) -> usize {
    let said = "an instance was silent for a lease";
    cluster.instances.iter().map(|instance| instance.log().matches(said).count()).sum()
}

/// Has a cluster work while these strike, one after the other, and judges all that was said.
async fn survives(database: &PostgresServer, nemeses: &[Nemesis]) {
    let _place = place().await;
    let cluster = Arc::new(Cluster::start(database).await);
    let load = Load::start(&cluster);
    load.progress(10).await;
    for nemesis in nemeses {
        let began = Instant::now();
        nemesis.strike(&cluster, database, &load).await;
        let struck = began.elapsed().as_secs_f64();
        load.progress(10).await;
        eprintln!(
            "{nemesis:?} for {struck:.1} s, and {:.1} s until all is well",
            began.elapsed().as_secs_f64() - struck
        );
    }
    eprintln!("{nemeses:?}: {}", load.judge().await);
}

macro_rules! survives {
    ($($(#[$about:meta])* $name:ident: $database:expr, $nemeses:expr;)*) => {$(
        $(#[$about])*
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        #[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
        async fn $name() {
            let database = $database;
            survives(&database, &$nemeses).await;
        }
    )*};
}

survives! {
    releases_are_linearizable: PostgresServer::shared(), [Nemesis::Nothing];
    an_instance_is_killed: PostgresServer::shared(), [Nemesis::Killed];
    an_instance_stands_still_for_less_than_its_lease: PostgresServer::shared(), [Nemesis::PausedBriefly];
    an_instance_stands_still_for_longer_than_its_lease: PostgresServer::shared(), [Nemesis::PausedLong];
    connections_are_cut: PostgresServer::shared(), [Nemesis::Network(Fault::Cut)];
    connections_are_slow: PostgresServer::shared(), [Nemesis::Network(FAULTS[1]), Nemesis::Network(Fault::Stall)];
    connections_are_half_open: PostgresServer::shared(),
        [Nemesis::Network(FAULTS[3]), Nemesis::Network(FAULTS[4]), Nemesis::Network(FAULTS[5])];
    postgresql_is_killed: PostgresServer::start(),
        [Nemesis::DatabaseKilled { for_long: false }, Nemesis::DatabaseKilled { for_long: true }];
    postgresql_stands_still: PostgresServer::start(),
        [Nemesis::DatabasePaused { for_long: false }, Nemesis::DatabasePaused { for_long: true }];
}
