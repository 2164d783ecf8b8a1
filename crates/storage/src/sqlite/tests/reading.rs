//! The directory's threads: a queue with an end, and one of its own for audit records.

use std::{
    pin::pin,
    sync::{Arc, mpsc},
    task::{Context, Poll, Waker},
};

use doorward_domain::{directory::Directory, journal::StoreError, observer::NoObserver};

use super::*;
use crate::{SqliteDirectory, SqliteLedger};

fn start(store: SqliteStore) -> (SqliteLedger, SqliteDirectory) {
    store.start(Arc::new(NoObserver), 2).unwrap()
}

#[test]
fn o1_a_full_queue_answers_busy() {
    let (_folder, store) = company();
    let (_ledger, directory) = store.start(Arc::new(NoObserver), 1).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let (started, has_started) = mpsc::channel();
    let (let_go, wait) = mpsc::channel();
    let mut slow = directory.ask(move |_| {
        started.send(()).unwrap();
        wait.recv().unwrap();
        Ok(())
    });
    assert!(slow.as_mut().poll(&mut context).is_pending());
    has_started.recv().unwrap();
    let mut waiting: Vec<_> = (0..1_024).map(|_| directory.list_names(ZOE)).collect();
    assert!(waiting.iter_mut().all(|question| question.as_mut().poll(&mut context).is_pending()));
    let one_more = pin!(directory.list_names(ZOE)).poll(&mut context);
    assert_eq!(one_more, Poll::Ready(Err(StoreError::Busy)));
    let_go.send(()).unwrap();
}

/// A search through audit records, however long it takes, holds up no login.
#[tokio::test]
async fn logins_do_not_wait_for_readers_of_audit_records() {
    let (_folder, store) = company();
    let (_ledger, directory) = start(store);
    let (let_go, wait) = mpsc::channel::<()>();
    let mut slow = directory.ask_for_records(move |_| Ok(wait.recv().is_ok()));
    assert!(slow.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    for _ in 0..3 {
        directory.find_by_name(canonical("acme"), canonical("zoë")).await.unwrap();
    }
    let_go.send(()).unwrap();
    assert!(slow.await.unwrap());
}
