//! One of the instances that work on a store together, put together: its copy of the sessions, its way into the store,
//! and what keeps it in the cluster.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    clock::Clock,
    cluster::{ClusterObserver, Keeper, KeeperParts, Member, Pace, Roster, SessionSource},
    journal::{Journal, JournalThread, Ledger},
    sessions::{Held, SessionCopy, SessionCopyParts, Sessions},
};

/// What an instance is made of.
pub struct InstanceParts<L> {
    /// Where it commits.
    pub ledger: L,
    /// What it has in common with the others.
    pub roster: Arc<dyn Roster>,
    /// The store's sessions.
    pub source: Arc<dyn SessionSource>,
    /// The clock of every expiry.
    pub clock: Clock,
    /// The clock of its lease.
    pub lease_clock: Clock,
    /// How fast the cluster lives.
    pub pace: Pace,
    /// What operators know it by.
    pub name: String,
    /// About how many bytes of sessions it may hold.
    pub memory: u64,
    /// Who counts.
    pub observer: Arc<dyn ClusterObserver>,
}

/// An instance that runs. What uses it has its sessions and its journal.
#[must_use]
pub struct Instance {
    standing: Standing,
    journal_thread: JournalThread,
    stop: watch::Sender<()>,
    keeping: JoinHandle<()>,
}

/// How an instance stands in the cluster. Clones are one.
#[derive(Clone)]
pub struct Standing {
    member: Arc<Member<Held>>,
    keeper: Arc<Keeper<Held>>,
    lease_clock: Clock,
}

impl Standing {
    /// Whether it has a lease, and so may answer.
    pub fn may_answer(&self) -> bool {
        self.member.may_answer(self.lease_clock.steady())
    }

    /// Says that there may be something new in the release log.
    pub fn wake(&self) {
        self.keeper.wake();
    }
}

impl Instance {
    /// Starts an instance, which registers as soon as it can. To be called within a runtime. `on_broken` is as for
    /// [`Journal::start`].
    pub fn start(
        parts: InstanceParts<impl Ledger>,
        on_broken: impl FnOnce(String) + Send + 'static,
    ) -> (Self, Sessions, Journal) {
        let InstanceParts { ledger, roster, source, clock, lease_clock, pace, name, memory, observer } =
            parts;
        let member = Arc::new(Member::new(Held::new(clock.clone())));
        let keeper = Arc::new(Keeper::new(KeeperParts {
            member: member.clone(),
            roster: roster.clone(),
            clock: lease_clock.clone(),
            pace,
            name,
            observer: observer.clone(),
        }));
        let copy = Arc::new(SessionCopy::new(SessionCopyParts {
            member: member.clone(),
            keeper: keeper.clone(),
            roster,
            source,
            clock: clock.clone(),
            lease_clock: lease_clock.clone(),
            memory,
            observer,
        }));
        let (journal, journal_thread) =
            Journal::start_copied(ledger, copy.clone(), lease_clock.clone(), on_broken);
        let (stop, mut stopped) = watch::channel(());
        let keeping = tokio::spawn({
            let keeper = keeper.clone();
            async move { keeper.run(async { drop(stopped.changed().await) }).await }
        });
        let standing = Standing { member, keeper, lease_clock };
        (Self { standing, journal_thread, stop, keeping }, Sessions::copied(copy), journal)
    }

    /// How it stands in the cluster.
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Commits what waits, answers nobody any more and says goodbye, so that no release waits for this instance.
    pub async fn stop(self) {
        let Self { journal_thread, stop, keeping, .. } = self;
        // A panic has been reported by the panic hook.
        let _ = tokio::task::spawn_blocking(|| journal_thread.stop()).await;
        drop(stop);
        let _ = keeping.await;
    }
}
