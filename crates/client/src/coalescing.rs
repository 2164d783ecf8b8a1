//! Tasks that ask the same question at the same time share an answer, and yet none gets one that is older than its
//! question.
//!
//! Joining a question that was already sent would be wrong: it may have been answered before a release that the joining
//! task knows of. So those who come while a question is under way share the *next* one, which is sent when the first
//! is answered.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OnceCell;

/// Questions that are being asked.
pub(crate) struct Coalescing<K, V>(Mutex<HashMap<K, Line<V>>>);

/// Those who ask one question.
struct Line<V> {
    /// Held while the question is under way.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The question that was not sent yet; others may join it.
    next: Option<Arc<OnceCell<V>>>,
    /// How many tasks are here; with the last the line goes.
    tasks: usize,
}

impl<K: Clone + Eq + Hash, V: Clone> Coalescing<K, V> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// The answer to a question that is sent after this is called.
    pub(crate) async fn ask(&self, key: K, question: impl AsyncFnOnce() -> V) -> V {
        let (turn, seat) = self.join(&key);
        let _leaving = Leaving { lines: self, key: &key };
        let answer = seat.get_or_init(async || {
            let _turn = turn.lock().await;
            self.close(&key, &seat);
            question().await
        });
        answer.await.clone()
    }

    fn join(&self, key: &K) -> (Arc<tokio::sync::Mutex<()>>, Arc<OnceCell<V>>) {
        let mut lines = self.lines();
        let line =
            lines.entry(key.clone()).or_insert_with(|| Line { turn: Arc::default(), next: None, tasks: 0 });
        line.tasks += 1;
        let seat = line.next.get_or_insert_default().clone();
        (line.turn.clone(), seat)
    }

    /// From now on nobody joins this question.
    fn close(&self, key: &K, seat: &Arc<OnceCell<V>>) {
        if let Some(line) = self.lines().get_mut(key)
            && line.next.as_ref().is_some_and(|next| Arc::ptr_eq(next, seat))
        {
            line.next = None;
        }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<K, Line<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that asks; it may be given up at any point.
struct Leaving<'a, K: Clone + Eq + Hash, V: Clone> {
    lines: &'a Coalescing<K, V>,
    key: &'a K,
}

impl<K: Clone + Eq + Hash, V: Clone> Drop for Leaving<'_, K, V> {
    fn drop(&mut self) {
        let mut lines = self.lines.lines();
        if let Some(line) = lines.get_mut(self.key) {
            line.tasks -= 1;
            if line.tasks == 0 {
                lines.remove(self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// The first question is under way while a hundred more come: they share one, which is sent later.
    #[tokio::test]
    async fn t6_those_who_come_late_share_the_next_question() {
        let coalescing = Arc::new(Coalescing::new());
        let (asked, go_on, sent) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let ask = || {
            let (coalescing, asked, go_on, sent) =
                (coalescing.clone(), asked.clone(), go_on.clone(), sent.clone());
            tokio::spawn(async move {
                let question = async || {
                    let number = asked.fetch_add(1, Ordering::SeqCst);
                    sent.notify_one();
                    go_on.notified().await;
                    number
                };
                coalescing.ask("token", question).await
            })
        };
        let first = ask();
        sent.notified().await;
        let late: Vec<_> = (0..100).map(|_| ask()).collect();
        while coalescing.lines()["token"].tasks < 101 {
            tokio::task::yield_now().await;
        }
        go_on.notify_one();
        assert_eq!(first.await.unwrap(), 0);
        sent.notified().await;
        go_on.notify_one();
        for task in late {
            assert_eq!(task.await.unwrap(), 1);
        }
        assert!(coalescing.lines().is_empty());
    }

    /// Who asks for all may be given up; the others ask again.
    #[tokio::test]
    async fn a_task_that_is_given_up_takes_nobody_with_it() {
        let coalescing = Arc::new(Coalescing::new());
        let first = {
            let coalescing = coalescing.clone();
            tokio::spawn(async move { coalescing.ask(1, std::future::pending::<u8>).await })
        };
        while coalescing.lines().is_empty() {
            tokio::task::yield_now().await;
        }
        let second = {
            let coalescing = coalescing.clone();
            tokio::spawn(async move { coalescing.ask(1, async || 2).await })
        };
        while coalescing.lines()[&1].tasks < 2 {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(second.await.unwrap(), 2);
        assert!(coalescing.lines().is_empty());
    }
}
