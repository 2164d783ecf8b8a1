//! Idle time is that since the last use on any instance.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use doorward_testkit::{
    Answer, History, PostgresServer,
    history::{Deed, Promises, TokenNumber, Verdict},
};
use serde_json::json;
use tokio::{task::block_in_place, time::sleep};

use super::{Cluster, INSTANCES, LEASE, below, place, soon};

const IDLE: Duration = Duration::from_secs(3);
/// By how much instances may be wrong: their clocks differ by as long as PostgreSQL takes to answer.
const DOUBT: Duration = Duration::from_millis(1_200);
const PAUSE: Duration = Duration::from_millis(100);

struct Watched<'a> {
    cluster: &'a Cluster,
    history: History,
    number: TokenNumber,
    token: String,
}

impl<'a> Watched<'a> {
    async fn new(cluster: &'a Cluster) -> Self {
        let history = History::default();
        let began = history.now();
        // From another instance than the one that is to know of uses.
        let token = cluster.administrator(1).await;
        let number = history.issued(1, began);
        Self { cluster, history, number, token }
    }

    async fn uses(&self, instance: usize) -> Verdict {
        let began = self.history.now();
        let verdict = self.cluster.verify(instance, &self.token).await;
        self.history.verified(self.number, instance, began, verdict);
        verdict
    }

    async fn sees(&self, instance: usize) -> Verdict {
        let began = self.history.now();
        let verdict = self.cluster.see(instance, &self.token).await;
        self.history.seen(self.number, instance, began, verdict);
        verdict
    }

    /// Uses it as `who` says, and looks at it on instance 1, until it would long be idle without those uses. `false` if
    /// the machine stood still for so long that it may have become idle.
    async fn outlives_its_idle_time(&self, who: impl Fn() -> usize) -> bool {
        let mut last = self.history.now();
        while self.history.now() < 2 * IDLE + DOUBT {
            if self.uses(who()).await != Verdict::Active || self.history.now() - last > IDLE - DOUBT {
                return false;
            }
            last = self.history.now();
            self.sees(1).await;
            sleep(PAUSE).await;
        }
        let late = |began: Duration| began > IDLE + DOUBT;
        let events = self.history.events();
        assert!(events.iter().any(|event| late(event.began) && event.deed == Deed::Seen(Verdict::Active)));
        // One that has never been asked.
        self.sees(2).await == Verdict::Active
    }

    async fn dies_everywhere(&self) {
        soon("it is idle everywhere", async {
            loop {
                let mut inactive = 0;
                for instance in 0..INSTANCES {
                    inactive += usize::from(self.sees(instance).await == Verdict::Inactive);
                }
                if inactive == INSTANCES {
                    break;
                }
                sleep(PAUSE).await;
            }
        })
        .await;
    }

    fn judge(&self) {
        let violations = self.history.violations(Promises { lease: LEASE, idle: Some((IDLE, DOUBT)) });
        let shown: String = violations.iter().take(5).map(|violation| format!("{violation}\n")).collect();
        assert!(violations.is_empty(), "{shown}{}", self.cluster.warnings());
    }
}

/// A cluster whose tokens of passwords do not live long without a use.
pub async fn cluster_on(url: &str, database: &PostgresServer) -> Cluster {
    let idle = format!("tokens.password_idle={}", humantime::format_duration(IDLE));
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, database.port()));
    Cluster::start_on(url, server, &[&idle]).await
}

/// Checks that uses on one instance, or on any, keep a token alive on all, and that it dies without.
pub async fn is_kept(cluster: &Cluster) {
    let (on_one, on_any) = (|| 0, || below(INSTANCES));
    let mut lived = [false; 2];
    // The machine may stand still, but not always.
    while lived != [true; 2] {
        let (one, any) = (Watched::new(cluster).await, Watched::new(cluster).await);
        let (one_lived, any_lived) =
            tokio::join!(one.outlives_its_idle_time(on_one), any.outlives_its_idle_time(on_any));
        tokio::join!(one.dies_everywhere(), any.dies_everywhere());
        one.judge();
        any.judge();
        lived = [lived[0] || one_lived, lived[1] || any_lived];
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn a_use_on_one_instance_keeps_a_token_alive_on_all_and_its_end_is_that_of_all() {
    let _place = place().await;
    let database = PostgresServer::shared();
    let url = block_in_place(|| database.create_database());
    is_kept(&cluster_on(&url, database).await).await;
}

/// A use that must be written before it is answered is looked at more than once; a batch tells of it once, in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn a_batch_tells_of_each_token_once() {
    let _place = place().await;
    let database = PostgresServer::shared();
    let url = block_in_place(|| database.create_database());
    let cluster = cluster_on(&url, database).await;
    let unknown = "0".repeat(32);
    soon("the machine does not stand still", async {
        loop {
            let (caller, token) = (cluster.administrator(0).await, cluster.administrator(0).await);
            // Late enough that others must know of the next use.
            sleep(IDLE / 2 + PAUSE).await;
            let batch = json!({"tokens": [unknown, token, "no token", token]});
            let request = cluster.request(0, "POST", "/verify/batch").bearer_auth(&caller).json(&batch);
            let answer = Answer::of(request).await;
            if answer.status == 200 {
                let active: Vec<_> = answer.json()["results"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|it| it["active"].clone())
                    .collect();
                assert_eq!(active.len(), 4, "{answer:?}");
                if active == [false, true, false, true] {
                    break;
                }
            }
        }
    })
    .await;
}
