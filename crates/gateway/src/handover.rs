//! An answer on its way to the client, within bounds of time whoever is slow.
//!
//! Whether a client takes its answer cannot be seen from inside a body: the HTTP library does not ask a body for more
//! while a client of HTTP/2 keeps its window shut. So a task takes the answer from the upstream and hands it over, and
//! gives up when the upstream gives nothing or the client takes nothing for too long. All that the upstream's body
//! holds, its place among the requests too, goes with the task.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use tokio::{sync::mpsc, time::timeout};

/// The same body, which breaks off when it pauses longer than `idle`, or its reader does.
pub fn within(idle: Duration, mut body: Body) -> Body {
    if http_body::Body::is_end_stream(&body) {
        return body;
    }
    let (sender, mut receiver) = mpsc::channel(1);
    let is_whole = Arc::new(AtomicBool::new(false));
    let was_whole = is_whole.clone();
    tokio::spawn(async move {
        loop {
            let frame = tokio::select! {
                frame = timeout(idle, body.frame()) => frame,
                () = sender.closed() => return,
            };
            match frame {
                Ok(Some(Ok(frame))) => {
                    if !matches!(timeout(idle, sender.send(frame)).await, Ok(Ok(()))) {
                        return;
                    }
                }
                Ok(None) => return is_whole.store(true, Ordering::Release),
                Ok(Some(Err(_))) | Err(_) => return,
            }
        }
    });
    let mut is_over = false;
    Body::new(StreamBody::new(stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|frame| match frame {
            Some(frame) => Some(Ok(frame)),
            None if is_over || was_whole.load(Ordering::Acquire) => None,
            None => {
                is_over = true;
                Some(Err(axum::Error::new("the answer broke off")))
            }
        })
    })))
}
