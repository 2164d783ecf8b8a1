//! The primary is lost, and its synchronous standby takes over.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use doorward_testkit::{Fault, PostgresServer, history::Verdict};
use tokio::{task::block_in_place, time::sleep};

use super::{Cluster, INSTANCES, Load, place, soon};

/// A primary and its synchronous standby.
pub struct Pair {
    primary: PostgresServer,
    standby: PostgresServer,
}

impl Pair {
    pub fn start() -> Self {
        let primary = PostgresServer::start();
        let standby = primary.start_standby("standby");
        primary.wait_for_standbys("standby");
        Self { primary, standby }
    }

    /// A cluster on the pair. Its instances reach the primary through their proxies and the standby directly.
    pub async fn cluster(&self) -> (Cluster, String) {
        let one = block_in_place(|| self.primary.create_database());
        let (address, database) = one.rsplit_once('/').unwrap();
        let url =
            format!("{address},127.0.0.1:{}/{database}?target_session_attrs=read-write", self.standby.port());
        let primary = SocketAddr::from(([127, 0, 0, 1], self.primary.port()));
        (Cluster::start_on(&url, primary, &[]).await, database.to_owned())
    }

    /// Ends the primary as a power failure would and makes the standby the primary.
    pub fn fail_over(&self) {
        block_in_place(|| {
            self.primary.kill();
            self.standby.promote();
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn a_synchronous_standby_takes_over() {
    let _place = place().await;
    let pair = block_in_place(Pair::start);
    let cluster = Arc::new(pair.cluster().await.0);
    let load = Load::start(&cluster);
    load.progress(20).await;
    pair.fail_over();
    load.progress(20).await;
    eprintln!("failover: {}", load.judge().await);
}

/// A release that the standby does not confirm is not answered, but the others read of it: it is on the primary. When
/// the standby takes over, that record never was, and another one has its number. An instance that has applied the one
/// has not applied the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn a_record_that_was_lost_with_the_primary_is_not_taken_for_the_one_that_has_its_number() {
    let _place = place().await;
    let pair = block_in_place(Pair::start);
    let (cluster, database) = pair.cluster().await;
    let cluster = Arc::new(cluster);
    let (lost, kept) = (cluster.issue(0).await.unwrap(), cluster.issue(0).await.unwrap());
    for instance in 0..INSTANCES {
        assert_eq!(cluster.verify_soon(instance, &kept).await, Verdict::Active);
    }
    let head = |server: &PostgresServer| -> u64 {
        block_in_place(|| server.sql(&database, "SELECT head FROM journal_state")).parse().unwrap()
    };
    let before = head(&pair.primary);
    block_in_place(|| pair.standby.kill());
    // The commit waits for the standby, until an operator breaks that off.
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let broken_off = async {
        while head(&pair.primary) == before {
            block_in_place(|| pair.primary.sql(&database, cancel));
            sleep(Duration::from_millis(20)).await;
        }
    };
    let (is_done, ()) = tokio::join!(cluster.release(0, &lost), soon("it is broken off", broken_off));
    assert!(!is_done, "no standby has confirmed it");
    // Time to read it: instances look many times in it.
    sleep(Duration::from_secs(1)).await;
    let victim = &cluster.instances[1];
    victim.signal("STOP");
    block_in_place(|| {
        pair.primary.kill();
        pair.standby.run();
        pair.standby.promote();
    });
    assert_eq!(head(&pair.standby), before, "the record was lost with the primary");

    let release = tokio::spawn({
        let (cluster, kept) = (cluster.clone(), kept.clone());
        async move {
            soon("a release", async { while !cluster.release(0, &kept).await {} }).await;
        }
    });
    soon("the record is on the new primary", async { while head(&pair.standby) == before {} }).await;
    victim.signal("CONT");
    release.await.unwrap();
    for _ in 0..20 {
        for instance in 0..INSTANCES {
            let verdict = cluster.verify(instance, &kept).await;
            assert_ne!(verdict, Verdict::Active, "instance {instance}: {}", cluster.warnings());
        }
        sleep(Duration::from_millis(100)).await;
    }
    cluster.serves_again().await;
}

/// The standby is made the primary while the old one lives on, out of its reach and that of new connections, as happens
/// where a name or an address moves from one to the other. Connections that are open still lead to the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn nothing_is_read_from_a_primary_that_was_replaced() {
    let _place = place().await;
    let pair = block_in_place(Pair::start);
    let (cluster, _) = pair.cluster().await;
    // Each instance but the first asks the database, and keeps the connection.
    let (known, unknown) = (cluster.issue(0).await.unwrap(), cluster.issue(0).await.unwrap());
    for instance in 0..INSTANCES {
        assert_eq!(cluster.verify_soon(instance, &known).await, Verdict::Active);
    }
    for instance in &cluster.instances {
        instance.proxy.set(Fault::Refuse);
    }
    block_in_place(|| pair.standby.promote());
    soon("a release on the new primary", async { while !cluster.release(0, &unknown).await {} }).await;
    for _ in 0..20 {
        for instance in 0..INSTANCES {
            let verdict = cluster.verify(instance, &unknown).await;
            assert_ne!(verdict, Verdict::Active, "instance {instance}: {}", cluster.warnings());
        }
        sleep(Duration::from_millis(100)).await;
    }
    cluster.serves_again().await;
    assert_eq!(cluster.verify_soon(1, &unknown).await, Verdict::Inactive);
    assert_eq!(cluster.verify_soon(1, &known).await, Verdict::Active);
}
