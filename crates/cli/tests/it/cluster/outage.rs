//! Without its database a cluster answers for a lease at most, and nothing that is wrong.

use doorward_testkit::{Answer, PostgresServer, history::Verdict};
use serde_json::json;
use tokio::{task::block_in_place, time::Instant};

use super::{Cluster, INSTANCES, LEASE, place};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn a_lost_database_is_503_within_a_lease_and_recovers_by_itself() {
    use Verdict::{Active, Inactive, Unavailable};
    let _place = place().await;
    let database = PostgresServer::start();
    let cluster = Cluster::start(&database).await;
    let (live, fresh) = (cluster.issue(0).await.unwrap(), cluster.issue(1).await.unwrap());
    let released = cluster.issue(1).await.unwrap();
    for instance in 0..INSTANCES {
        for token in [&live, &released] {
            assert_eq!(cluster.verify_soon(instance, token).await, Active);
        }
    }
    assert!(cluster.release(2, &released).await);
    let doomed = cluster.issue(2).await.unwrap();
    let unknown = "0".repeat(live.len());

    for is_killed in [true, false] {
        if is_killed {
            block_in_place(|| database.kill())
        } else {
            database.pause()
        }
        let lost_at = Instant::now();
        let mut answers = 0;
        loop {
            let is_over = lost_at.elapsed() > LEASE;
            for instance in 0..INSTANCES {
                let verdicts = [
                    cluster.verify(instance, &live).await,
                    cluster.verify(instance, &fresh).await,
                    cluster.verify(instance, &released).await,
                    cluster.verify(instance, &unknown).await,
                ];
                let never = [Inactive, Inactive, Active, Active];
                assert!(verdicts.iter().zip(never).all(|(verdict, never)| *verdict != never), "{verdicts:?}");
                answers += verdicts.iter().filter(|verdict| **verdict != Unavailable).count();
                // What began before may have been answered by a lease of before.
                assert!(!is_over || verdicts == [Unavailable; 4], "{verdicts:?}");
                assert!(!is_over || !cluster.is_ready(instance).await);
            }
            if is_over {
                break;
            }
        }
        eprintln!("{answers} answers in the last lease");
        // One is asked for all: it takes as long as clients have patience.
        let instance = usize::from(is_killed);
        assert_eq!(cluster.issue(instance).await, None);
        // What was sent to a database that stands still is done when it goes on.
        assert!(!cluster.release(instance, &doomed).await, "nobody knows whether it is done");
        let body = json!({"organisation": "ACME", "username": "admin", "password": "wrong, or is it"});
        let login = cluster.request(instance, "POST", "/authentication/token").json(&body);
        let login = Answer::of(login).await;
        assert_eq!((login.status, &*login.code()), (503, "UNAVAILABLE"), "{login:?}");
        let answer = Answer::of(cluster.request(instance, "GET", "/verify").bearer_auth(&live)).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{answer:?}");

        if is_killed {
            block_in_place(|| database.run())
        } else {
            database.resume()
        }
        cluster.serves_again().await;
        for instance in 0..INSTANCES {
            let verdicts = [
                cluster.verify_soon(instance, &live).await,
                cluster.verify_soon(instance, &fresh).await,
                cluster.verify_soon(instance, &released).await,
                cluster.verify_soon(instance, &unknown).await,
            ];
            assert_eq!(verdicts, [Active, Active, Inactive, Inactive], "{}", cluster.warnings());
        }
    }
}
