//! The places of a listener: how many connections there may be, who makes room when there are no more, how long a
//! client may take nothing of what is sent to it, and how long it may send nothing (`security.md` H5, O3).
//!
//! A connection takes its place before anything is read of it, its TLS handshake included. When all are taken, one that
//! waits for a request and has had none for a while is closed for the newcomer; a connection with a request that is being
//! answered never is. Who that is, is found as the pages of a memory are: a hand goes round the places, notes who was used
//! since it came by, and takes the place where nobody was. So clients that are at work keep their connections through a
//! flood of those that only connect. Where the hand finds nobody, it is the newcomer who is closed. Who sends no request for
//! too long is found in the same way, by going round from time to time.
//!
//! Every read and every write of a connection goes through here, so there is no timer, no clock and no lock on that way
//! as long as it goes on.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use axum::{
    body::HttpBody,
    http::{Request, Response, Version},
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    service::Service,
};
use pin_project_lite::pin_project;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::{Sleep, sleep, timeout},
};

use crate::metrics::ConnectionCounts;

/// How many places are looked at for a newcomer, so that a flood costs little even where nobody makes room.
const LOOKED_AT: usize = 64;
/// How many connections may be about to close for others, beyond those that have places: their tasks have to run first.
const LEAVING_AT_A_TIME: usize = 64;
/// How long a client may be silent before its machine is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long a newcomer waits for one of those to go, before it is refused.
const PATIENCE: Duration = Duration::from_millis(50);
/// The most bytes that are put together to be written as one piece.
const SMALL: usize = 2_048;
/// How often it is said that connections are refused.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// As many connections as there may be, and how long they may be stalled. Clones are one.
#[derive(Clone)]
pub struct Places(Arc<Shared>);

struct Shared {
    most: usize,
    write_timeout: Duration,
    makes_room: bool,
    counts: ConnectionCounts,
    ring: Mutex<Ring>,
    /// Rung when one of too many who are leaving has gone.
    gone: Notify,
}

#[derive(Default)]
struct Ring {
    /// As many as there were connections at a time.
    seats: Vec<Option<Seated>>,
    /// Those without a connection.
    free: Vec<usize>,
    /// Connections that there are, with a place or leaving.
    open: usize,
    hand: usize,
    told: Option<Instant>,
}

/// A seat, and how it stood when somebody went by.
struct Seated {
    seat: Arc<Seat>,
    /// When the hand did.
    at_hand: u64,
    /// When it was looked for those who are silent, and since when there was no other request.
    at_round: u64,
    silent_since: Instant,
}

/// What is known of a connection from outside of it.
#[derive(Default)]
struct Seat {
    /// How many requests are being answered, [`LEAVING`], and above that how many there were, so that no two moments with a
    /// request between them look alike.
    requests: AtomicU64,
    /// Whether it lasts however long there is no request: HTTP/2, of which the layers below see to it that the client is
    /// there, and what has become of an upgrade.
    is_lasting: AtomicBool,
    /// Of the task that reads.
    reader: Mutex<Option<Waker>>,
}

/// A request, in both of its counts.
const ONE: u64 = 1;
const ONE_MORE: u64 = 1 << 32 | ONE;
/// The connection must make room.
const LEAVING: u64 = 1 << 31;
/// Requests that are being answered.
const BUSY: u64 = LEAVING - 1;

impl Seat {
    /// Takes the place from a connection that waits for a request, if it still stands so.
    fn take(&self, stands: u64) -> bool {
        let taken = stands & BUSY == 0
            && self
                .requests
                .compare_exchange(stands, stands | LEAVING, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok();
        if taken && let Some(reader) = lock(&self.reader).take() {
            reader.wake();
        }
        taken
    }

    fn stands(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn is_leaving(&self) -> bool {
        self.stands() & LEAVING != 0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ring {
    fn enter(&mut self, most: usize, makes_room: bool) -> Option<(usize, Entered)> {
        if let Some(index) = self.free.pop() {
            return Some((index, Entered::Free));
        }
        if self.seats.len() < most {
            self.seats.push(None);
            return Some((self.seats.len() - 1, Entered::Free));
        }
        if !makes_room || self.is_crowded(most) {
            return None;
        }
        for _ in 0..LOOKED_AT.min(2 * self.seats.len()) {
            self.hand = (self.hand + 1) % self.seats.len();
            let Some(seated) = &mut self.seats[self.hand] else { continue };
            let stands = seated.seat.stands();
            let was_used = std::mem::replace(&mut seated.at_hand, stands) != stands;
            if !was_used && seated.seat.take(stands) {
                return Some((self.hand, Entered::Taken));
            }
        }
        None
    }

    /// Whether as many are leaving as may.
    fn is_crowded(&self, most: usize) -> bool {
        self.open >= most + LEAVING_AT_A_TIME
    }

    /// Whether it is time to tell again.
    fn may_tell(&mut self) -> bool {
        let now = Instant::now();
        let may = self.told.is_none_or(|told| now.duration_since(told) >= TOLD_EVERY);
        if may {
            self.told = Some(now);
        }
        may
    }

    fn leave(&mut self, index: usize, seat: &Arc<Seat>) {
        self.open -= 1;
        // It may be somebody else's by now.
        if self.seats[index].as_ref().is_some_and(|known| Arc::ptr_eq(&known.seat, seat)) {
            self.seats[index] = None;
            self.free.push(index);
        }
    }
}

#[derive(PartialEq)]
enum Entered {
    Free,
    Taken,
}

impl Default for Places {
    /// 10,000 connections, of which none may take nothing for half a minute.
    fn default() -> Self {
        Self::new(10_000, Duration::from_secs(30), ConnectionCounts::default())
    }
}

impl Places {
    /// Places for `most` connections. One whose client takes nothing of what is sent to it for `write_timeout` is closed.
    pub fn new(most: usize, write_timeout: Duration, counts: ConnectionCounts) -> Self {
        Self::that(true, most, write_timeout, counts)
    }

    /// Places that are kept by whoever has them: for connections that are used without requests, as WebSockets are.
    pub fn kept(most: usize, write_timeout: Duration) -> Self {
        Self::that(false, most, write_timeout, ConnectionCounts::default())
    }

    fn that(makes_room: bool, most: usize, write_timeout: Duration, counts: ConnectionCounts) -> Self {
        let (ring, gone) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { most: most.max(1), write_timeout, makes_room, counts, ring, gone }))
    }

    /// Notes that a connection could not be taken from the operating system, for want of file descriptors say.
    pub(super) fn failed(&self, error: &io::Error) {
        self.0.counts.failures.inc();
        if lock(&self.0.ring).may_tell() {
            tracing::error!(%error, "connections cannot be taken; it is tried again");
        }
    }

    /// Waits while as many are leaving as may, for a moment at most: those who have been told to go have to be let do so, and a
    /// flood that is taken faster than they go would have newcomers refused that there is room for.
    pub(super) async fn let_leave(&self) {
        let is_crowded = || lock(&self.0.ring).is_crowded(self.0.most);
        // Where the bell rang before this listens, it has kept that for it.
        let _ = timeout(PATIENCE, async {
            while is_crowded() {
                self.0.gone.notified().await;
            }
        })
        .await;
    }

    /// Gives a connection a place; `None` if there is none, or the connection has ended already.
    pub(super) fn admit(&self, stream: TcpStream) -> Option<Placed> {
        let place = self.place()?;
        // A client that has vanished says nothing; asked, its machine or the network does.
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Placed { stream, place, reader: None, stalled: None })
    }

    fn place(&self) -> Option<Place> {
        let shared = &self.0;
        let mut ring = lock(&shared.ring);
        let Some((index, how)) = ring.enter(shared.most, shared.makes_room) else {
            shared.counts.refused.inc();
            if ring.may_tell() {
                tracing::warn!(
                    places = shared.most,
                    "connections are refused: all places are taken by requests that are being answered"
                );
            }
            return None;
        };
        let seat = Arc::new(Seat::default());
        ring.seats[index] =
            Some(Seated { seat: seat.clone(), at_hand: 0, at_round: 0, silent_since: Instant::now() });
        ring.open += 1;
        drop(ring);
        if how == Entered::Taken {
            shared.counts.displaced.inc();
        }
        shared.counts.open.inc();
        Some(Place { shared: shared.clone(), index, seat })
    }

    /// Ends the connections that wait for a request and have had none for `longest`, as well as it is known: what happened
    /// since this was last called happened now.
    pub(super) fn cut_off(&self, now: Instant, longest: Duration) {
        for seated in lock(&self.0.ring).seats.iter_mut().flatten() {
            let stands = seated.seat.stands();
            let is_silent = stands == seated.at_round && stands & BUSY == 0;
            seated.at_round = stands;
            if !is_silent || seated.seat.is_lasting.load(Ordering::Relaxed) {
                seated.silent_since = now;
            } else if now.duration_since(seated.silent_since) >= longest {
                seated.seat.take(stands);
            }
        }
    }
}

/// A place that is taken, until this is dropped.
struct Place {
    shared: Arc<Shared>,
    index: usize,
    seat: Arc<Seat>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.counts.open.dec();
        let mut ring = lock(&shared.ring);
        let was_crowded = ring.is_crowded(shared.most);
        ring.leave(self.index, &self.seat);
        drop(ring);
        if was_crowded {
            shared.gone.notify_one();
        }
    }
}

/// A connection that has its place, and loses it when its client takes nothing for too long.
pub(super) struct Placed {
    stream: TcpStream,
    place: Place,
    /// Whom [`Seat::reader`] wakes.
    reader: Option<Waker>,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Placed {
    /// A service for the requests that come from here.
    pub(super) fn counting<S>(&self, service: S) -> Counting<S> {
        Counting { service, seat: self.place.seat.clone() }
    }

    /// Sees to it that this task is woken when the place is taken from it. `false`: it has been already.
    fn stays(&mut self, cx: &Context<'_>) -> bool {
        if self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            return true;
        }
        self.reader = Some(cx.waker().clone());
        *lock(&self.place.seat.reader) = self.reader.clone();
        !self.place.seat.is_leaving()
    }

    /// Passes the outcome of a write on, unless too many have come to nothing, or somebody waits for the place.
    fn wrote<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        if !self.stays(cx) || self.place.seat.is_leaving() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let write_timeout = self.place.shared.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(write_timeout)));
        std::task::ready!(stalled.as_mut().poll(cx));
        self.place.shared.counts.stalled.inc();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Its end, as if the client had closed it.
        if self.place.seat.is_leaving() {
            return Poll::Ready(Ok(()));
        }
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if outcome.is_pending() && !self.stays(cx) { Poll::Ready(Ok(())) } else { outcome }
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Almost always there is one piece, or a head and a small body; for one piece the kernel's way is shorter.
        let stream = Pin::new(&mut self.stream);
        let outcome = match bufs {
            [one] => stream.poll_write(cx, one),
            [head, body] if head.len() + body.len() <= SMALL => {
                let (mut both, all) = ([0; SMALL], head.len() + body.len());
                both[..head.len()].copy_from_slice(head);
                both[head.len()..all].copy_from_slice(body);
                stream.poll_write(cx, &both[..all])
            }
            _ => stream.poll_write_vectored(cx, bufs),
        };
        self.wrote(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A connection's service, which says when a request is being answered.
pub(super) struct Counting<S> {
    service: S,
    seat: Arc<Seat>,
}

impl<S> Counting<S> {
    pub(super) fn lasting(&self) -> Lasting {
        Lasting(self.seat.clone())
    }
}

/// Says of a connection that it is none of requests any more.
pub(super) struct Lasting(Arc<Seat>);

impl Lasting {
    pub(super) fn set(self) {
        self.0.is_lasting.store(true, Ordering::Relaxed);
    }
}

impl<S, B> Service<Request<Incoming>> for Counting<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Response = Response<Answered<B>>;
    type Error = S::Error;
    type Future = Counted<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.seat.requests.fetch_add(ONE_MORE, Ordering::AcqRel);
        if request.version() == Version::HTTP_2 {
            self.seat.is_lasting.store(true, Ordering::Relaxed);
        }
        let busy = Some(Busy(self.seat.clone()));
        Counted { answer: self.service.call(request), busy }
    }
}

pin_project! {
    /// An answer in the making.
    pub(super) struct Counted<F> {
        #[pin]
        answer: F,
        busy: Option<Busy>,
    }
}

impl<F, B, E> Future for Counted<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Answered<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = std::task::ready!(this.answer.poll(cx));
        let busy = this.busy.take();
        Poll::Ready(answer.map(|answer| answer.map(|body| Answered { body, busy })))
    }
}

pin_project! {
    /// The body of an answer, which is being answered as long as there is more of it.
    pub(super) struct Answered<B> {
        #[pin]
        body: B,
        busy: Option<Busy>,
    }
}

impl<B: HttpBody> HttpBody for Answered<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request that is being answered, until this is dropped. What has been answered may still have to be written then: the
/// hand, which sees that there was a request, passes by once more.
struct Busy(Arc<Seat>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(ONE, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(most: usize) -> Places {
        Places::new(most, Duration::from_secs(1), ConnectionCounts::default())
    }

    fn enter(places: &Places) -> Place {
        places.place().expect("a place")
    }

    fn use_once(place: &Place) {
        drop(busy(place));
    }

    fn busy(place: &Place) -> Busy {
        place.seat.requests.fetch_add(ONE_MORE, Ordering::AcqRel);
        Busy(place.seat.clone())
    }

    fn are_leaving<const N: usize>(all: [&Place; N]) -> [bool; N] {
        all.map(|place| place.seat.is_leaving())
    }

    #[test]
    fn o3_a_place_is_free_again_when_its_connection_ends() {
        let places = Places::kept(2, Duration::from_secs(1));
        let (one, _two) = (enter(&places), enter(&places));
        assert!(places.place().is_none());
        drop(one);
        let _three = enter(&places);
        assert!(places.place().is_none());
        assert_eq!(places.0.counts.refused.get(), 2);
        assert_eq!(places.0.counts.open.get(), 2);
    }

    #[test]
    fn o3_a_connection_that_has_sent_nothing_makes_room() {
        let places = places(2);
        let (used, idle) = (enter(&places), enter(&places));
        use_once(&used);
        let next = enter(&places);
        assert_eq!(are_leaving([&used, &idle, &next]), [false, true, false]);
        use_once(&next);
        drop(idle);
        // Both are used; the hand has to go round, and finds one of them.
        let last = enter(&places);
        assert_eq!(are_leaving([&used, &next, &last]).iter().filter(|leaving| **leaving).count(), 1);
        assert_eq!(places.0.counts.displaced.get(), 2);
        assert_eq!(lock(&places.0.ring).seats.len(), 2);
    }

    #[test]
    fn o3_who_is_being_answered_keeps_the_place_and_the_newcomer_goes() {
        let places = places(3);
        let all = [enter(&places), enter(&places), enter(&places)];
        let busy: Vec<_> = all.iter().map(busy).collect();
        for _ in 0..10 {
            assert!(places.place().is_none());
        }
        drop(busy);
        let _fourth = enter(&places);
    }

    /// A flood of those who only connect does not reach who comes back again and again.
    #[test]
    fn o3_who_is_at_work_keeps_the_place_through_a_flood() {
        let places = places(100);
        let working: Vec<_> = (0..50).map(|_| enter(&places)).collect();
        let mut flood = std::collections::VecDeque::new();
        for _ in 0..1_000 {
            working.iter().for_each(use_once);
            flood.push_back(enter(&places));
            flood.retain(|place: &Place| !place.seat.is_leaving());
            assert!(flood.len() <= 50);
        }
        assert!(working.iter().all(|place| !place.seat.is_leaving()));
    }

    /// Connections that were told to go take a file descriptor each until they have gone.
    #[test]
    fn o3_there_is_an_end_to_those_who_are_leaving() {
        let places = places(2);
        let mut all: Vec<_> = (0..2 + LEAVING_AT_A_TIME).map(|_| enter(&places)).collect();
        assert!(places.place().is_none());
        all.remove(0);
        let _next = enter(&places);
        assert!(places.place().is_none());
    }

    /// So one is not refused who comes a moment before they have gone.
    #[tokio::test(start_paused = true)]
    async fn o3_a_newcomer_waits_for_those_who_are_leaving() {
        let places = places(2);
        let mut all: Vec<_> = (0..2 + LEAVING_AT_A_TIME).map(|_| enter(&places)).collect();
        let leaves = async {
            tokio::time::sleep(PATIENCE / 2).await;
            all.remove(0);
        };
        let (_next, ()) = tokio::join!(
            async {
                places.let_leave().await;
                enter(&places)
            },
            leaves
        );
        let begun = tokio::time::Instant::now();
        places.let_leave().await;
        assert_eq!(begun.elapsed(), PATIENCE, "nobody goes, and it is not waited for ever");
        assert!(places.place().is_none());
    }

    #[test]
    fn o3_a_place_that_was_taken_is_not_given_back_twice() {
        let places = places(1);
        let first = enter(&places);
        let second = enter(&places);
        assert!(first.seat.is_leaving());
        drop(first);
        assert!(lock(&places.0.ring).free.is_empty(), "it is the second's");
        drop(second);
        assert_eq!(lock(&places.0.ring).free, [0]);
        assert_eq!(places.0.counts.open.get(), 0);
    }

    #[test]
    fn h5_who_sends_no_request_for_too_long_is_cut_off() {
        let second = Duration::from_secs(1);
        let places = places(5);
        let [silent, asked, answered, stream] = [(); 4].map(|()| enter(&places));
        let begun = Instant::now();
        let in_progress = busy(&answered);
        stream.seat.is_lasting.store(true, Ordering::Relaxed);
        let round = |seconds: u32| {
            places.cut_off(begun + second * seconds, second * 3);
            are_leaving([&silent, &asked, &answered, &stream])
        };
        for seconds in 0..3 {
            assert_eq!(round(seconds), [false; 4]);
        }
        use_once(&asked);
        assert_eq!(round(4), [true, false, false, false]);
        drop(in_progress);
        assert_eq!(round(5), [true, false, false, false]);
        assert_eq!(round(7), [true, true, false, false]);
        assert_eq!(round(8), [true, true, true, false]);
    }
}
