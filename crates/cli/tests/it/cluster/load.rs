//! Clients that do everything everywhere, and the history of what they were told.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use doorward_testkit::{
    History,
    history::{Promises, TokenNumber, Verdict},
};
use tokio::{task::JoinHandle, time::sleep};

use super::{Cluster, INSTANCES, LEASE, below, soon};

const CLIENTS: usize = 6;
/// How many tokens are worked on at a time, so that clients meet over them.
const AT_WORK: usize = 24;
/// How long a client rests after each call: the machine is others' too.
const REST: Duration = Duration::from_millis(4);

/// Clients at work.
pub struct Load {
    parts: Arc<Parts>,
    clients: Vec<JoinHandle<()>>,
}

struct Parts {
    cluster: Arc<Cluster>,
    history: History,
    known: Mutex<Vec<Known>>,
    counts: Counts,
    is_over: AtomicBool,
}

#[derive(Clone)]
struct Known {
    number: TokenNumber,
    token: String,
}

#[derive(Default)]
struct Counts {
    issued: AtomicU64,
    active: AtomicU64,
    released: AtomicU64,
    unavailable: AtomicU64,
}

impl Load {
    /// Sets clients to work.
    pub fn start(cluster: &Arc<Cluster>) -> Self {
        let parts = Arc::new(Parts {
            cluster: cluster.clone(),
            history: History::default(),
            known: Mutex::default(),
            counts: Counts::default(),
            is_over: AtomicBool::new(false),
        });
        let clients = (0..CLIENTS).map(|_| tokio::spawn(work(parts.clone()))).collect();
        Self { parts, clients }
    }

    /// Waits until clients have been served this often more in each way.
    pub async fn progress(&self, times: u64) {
        let Counts { issued, active, released, .. } = &self.parts.counts;
        let counts = || [issued, active, released].map(|count| count.load(Ordering::Relaxed));
        let before = counts();
        soon("progress", async {
            while counts().iter().zip(before).any(|(now, before)| *now < before + times) {
                sleep(Duration::from_millis(20)).await;
                // A client that has failed says why.
                if let Some(client) = self.clients.iter().find(|client| client.is_finished()) {
                    panic!("a client has ended: {client:?}; {}", self.parts.cluster.warnings());
                }
            }
        })
        .await;
    }

    /// Lets the clients finish, has every instance serve again, looks at all tokens everywhere, and judges. What was
    /// done, for people.
    pub async fn judge(self) -> String {
        self.parts.is_over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        let Parts { cluster, history, known, counts, .. } = &*self.parts;
        cluster.serves_again().await;
        let known = known.lock().unwrap().clone();
        for Known { number, token } in &known {
            for instance in 0..INSTANCES {
                soon("a verdict", async {
                    while verify(&self.parts, instance, *number, token).await == Verdict::Unavailable {
                        sleep(REST).await;
                    }
                })
                .await;
            }
        }
        let violations = history.violations(Promises { lease: LEASE, idle: None });
        let shown: String = violations.iter().take(5).map(|violation| format!("{violation}\n")).collect();
        assert!(violations.is_empty(), "{} violations:\n{shown}{}", violations.len(), cluster.warnings());
        let Counts { issued, active, released, unavailable } = counts;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!(
            "{:.1} s, {} issued, {} verified active, {} released, {} without an answer",
            history.now().as_secs_f64(),
            count(issued),
            count(active),
            count(released),
            count(unavailable)
        )
    }
}

async fn verify(parts: &Parts, instance: usize, number: TokenNumber, token: &str) -> Verdict {
    let began = parts.history.now();
    let verdict = parts.cluster.verify(instance, token).await;
    parts.history.verified(number, instance, began, verdict);
    match verdict {
        Verdict::Active => parts.counts.active.fetch_add(1, Ordering::Relaxed),
        Verdict::Inactive => 0,
        Verdict::Unavailable => parts.counts.unavailable.fetch_add(1, Ordering::Relaxed),
    };
    verdict
}

async fn work(parts: Arc<Parts>) {
    let Parts { cluster, history, known, counts, .. } = &*parts;
    let known = || known.lock().unwrap_or_else(PoisonError::into_inner);
    while !parts.is_over.load(Ordering::Relaxed) {
        sleep(REST).await;
        let instance = below(INSTANCES);
        let some = {
            let known = known();
            let at_work = &known[known.len().saturating_sub(AT_WORK)..];
            (!at_work.is_empty()).then(|| at_work[below(at_work.len())].clone())
        };
        match (below(10), some) {
            (0..=1, _) | (_, None) => {
                let began = history.now();
                let Some(token) = cluster.issue(instance).await else {
                    counts.unavailable.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                let number = history.issued(instance, began);
                counts.issued.fetch_add(1, Ordering::Relaxed);
                known().push(Known { number, token });
            }
            (2..=3, Some(Known { number, token })) => {
                let release = history.begin_release(number, instance);
                let is_done = cluster.release(instance, &token).await;
                history.end_release(release, is_done);
                counts.released.fetch_add(u64::from(is_done), Ordering::Relaxed);
                counts.unavailable.fetch_add(u64::from(!is_done), Ordering::Relaxed);
                // Now it must not be in force anywhere.
                for instance in 0..INSTANCES {
                    verify(&parts, instance, number, &token).await;
                }
            }
            (_, Some(Known { number, token })) => {
                verify(&parts, instance, number, &token).await;
            }
        }
    }
}
