//! Instances are stopped and started one after the other, and no request is lost that another instance can take.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use doorward_testkit::{PostgresServer, history::Verdict};
use tokio::{task::JoinHandle, time::sleep};

use super::{Cluster, INSTANCES, PATIENCE, below, place, soon};

const CLIENTS: usize = 4;

/// The instances in the order in which a request tries them, as a load balancer does. One of them must answer, in one
/// round.
fn each() -> impl Iterator<Item = usize> {
    let first = below(INSTANCES);
    (first..first + INSTANCES).map(|number| number % INSTANCES)
}

async fn issue(cluster: &Cluster) -> String {
    for instance in each() {
        if let Some(token) = cluster.issue(instance).await {
            return token;
        }
    }
    panic!("no instance issued a token");
}

async fn verify(cluster: &Cluster, token: &str) -> Verdict {
    for instance in each() {
        let verdict = cluster.verify(instance, token).await;
        if verdict != Verdict::Unavailable {
            return verdict;
        }
    }
    panic!("no instance verified a token");
}

async fn release(cluster: &Cluster, token: &str) {
    for instance in each() {
        if cluster.release(instance, token).await {
            return;
        }
    }
    panic!("no instance released a token");
}

async fn work(cluster: Arc<Cluster>, rounds: Arc<AtomicU64>, is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::Relaxed) {
        let token = issue(&cluster).await;
        for _ in 0..4 {
            assert_eq!(verify(&cluster, &token).await, Verdict::Active);
        }
        release(&cluster, &token).await;
        for _ in 0..2 {
            assert_eq!(verify(&cluster, &token).await, Verdict::Inactive);
        }
        rounds.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn a_rolling_restart_loses_no_request() {
    let _place = place().await;
    let mut cluster = Cluster::start(PostgresServer::shared()).await;
    // A machine that is slow loses nothing.
    cluster.patience = PATIENCE;
    let (cluster, rounds, is_over) = (Arc::new(cluster), Arc::default(), Arc::default());
    let mut clients: Vec<JoinHandle<()>> = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(tokio::spawn(work(cluster.clone(), Arc::clone(&rounds), Arc::clone(&is_over))));
    }
    let progress = async || {
        let before = rounds.load(Ordering::Relaxed);
        soon("progress", async {
            while rounds.load(Ordering::Relaxed) < before + 4 * CLIENTS as u64 {
                assert!(!clients.iter().any(JoinHandle::is_finished), "a client has failed; see above");
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    progress().await;
    for instance in 0..INSTANCES {
        cluster.instances[instance].stop();
        progress().await;
        cluster.run(instance);
        progress().await;
    }
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let waits = "an instance did not acknowledge a release";
    for instance in &cluster.instances {
        assert!(!instance.log().contains(waits), "who says goodbye keeps nobody waiting: {}", instance.log());
    }
}
