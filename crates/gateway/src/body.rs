//! Bodies on their way through: the beginning is held back while a token may be in it, and the rest streams.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use doorward_domain::credential::PlainToken;
use doorward_http::token_source::Presented;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use crate::{
    member::{Beginning, Progress, Scan},
    refusal::Refusal,
};

/// What a client says its body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// JSON.
    Json,
    /// Nothing, or what old clients call anything: an object is told from its first byte.
    Perhaps,
    /// Something else, in which nothing is looked for.
    Other,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Self {
        let is_encoded = headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
        let Some(kind) = headers.get(header::CONTENT_TYPE) else {
            return if is_encoded { Self::Other } else { Self::Perhaps };
        };
        let kind = String::from_utf8_lossy(kind.as_bytes());
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if is_encoded {
            Self::Other
        } else if kind == "application/json" || kind == "text/json" || kind.ends_with("+json") {
            Self::Json
        } else if kind.is_empty() || kind.starts_with("text/") || kind == "application/x-www-form-urlencoded"
        {
            Self::Perhaps
        } else {
            Self::Other
        }
    }
}

/// A body whose beginning was looked at.
pub struct Looked {
    /// The beginning, without its tokens.
    head: Bytes,
    /// What comes after it.
    rest: Body,
    /// The tokens that were in it.
    tokens: Vec<Vec<u8>>,
    /// Why a body without a token is refused, unless the token is elsewhere.
    without_token: Option<Refusal>,
}

/// Looks for a token in as many bytes of a body as `limit`, within the time.
pub async fn look(headers: &HeaderMap, body: Body, limit: usize, time: Duration) -> Result<Looked, Refusal> {
    let untouched = |body| Looked { head: Bytes::new(), rest: body, tokens: Vec::new(), without_token: None };
    let kind = Kind::of(headers);
    if kind == Kind::Other || http_body::Body::is_end_stream(&body) {
        return Ok(untouched(body));
    }
    let deadline = Instant::now() + time;
    let mut body = body;
    let (mut seen, mut beginning, mut scan) = (BytesMut::new(), Beginning::default(), Scan::default());
    let (mut is_end, mut is_object) = (false, false);
    let mut progress = Progress::Unfinished;
    while !is_end && seen.len() < limit {
        match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(Refusal::slow_client()),
            Ok(Some(Err(_))) => return Err(Refusal::broken_body()),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    seen.extend_from_slice(&data);
                }
            }
            Ok(None) => is_end = true,
        }
        is_end |= http_body::Body::is_end_stream(&body);
        let within = &seen[..seen.len().min(limit)];
        if !is_object {
            match beginning.may_be_object(within) {
                None if is_end => break,
                None => continue,
                Some(false) => break,
                Some(true) => is_object = true,
            }
        }
        progress = scan.read(within, is_end && seen.len() <= limit);
        if matches!(progress, Progress::Broken(_)) {
            break;
        }
    }
    let is_all = is_end && seen.len() <= limit;
    if !is_object {
        // Of white space alone nothing is known, and no more is looked at.
        return Ok(Looked { head: seen.freeze(), ..untouched(body) });
    }
    match progress {
        Progress::Broken(place) => {
            let refusal = Refusal::malformed(format!(
                "The body is not JSON: byte {place} is unexpected here; send one JSON object in UTF-8."
            ));
            if kind == Kind::Json {
                return Err(refusal);
            }
            // What only begins like an object may be anything.
            Ok(Looked { head: seen.freeze(), without_token: Some(refusal), ..untouched(body) })
        }
        Progress::Whole if !is_all => Err(Refusal::malformed(
            "The body goes on after its JSON object; send the object and nothing else.",
        )),
        Progress::Whole | Progress::Unfinished => {
            let too_large = (!is_all).then(|| Refusal::no_token_within(limit));
            if !scan.is_settled() {
                return Err(too_large.unwrap_or_else(Refusal::no_token));
            }
            let tokens = scan.tokens().to_vec();
            let without_token = too_large.filter(|_| tokens.is_empty());
            Ok(Looked { head: scan.without_tokens(seen), rest: body, tokens, without_token })
        }
    }
}

impl Looked {
    /// The one token of a request: that of its body, and what was found `elsewhere` in it.
    pub fn only_token(&mut self, elsewhere: Presented) -> Result<PlainToken, Refusal> {
        let presented = self.tokens.iter().fold(elsewhere, |presented, token| presented.found(token));
        if matches!(presented, Presented::Nothing) {
            return Err(self.without_token.take().unwrap_or_else(Refusal::no_token));
        }
        Ok(presented.one()?)
    }

    /// A body in which nothing is looked for.
    pub fn untouched(body: Body) -> Self {
        Self { head: Bytes::new(), rest: body, tokens: Vec::new(), without_token: None }
    }

    /// The body to be handed on, which `watch` keeps an eye on.
    pub fn forward(self, idle: Duration, watch: Arc<Watch>) -> Body {
        let head = Some(self.head).filter(|head| !head.is_empty());
        Body::new(Forwarded { head, rest: Paced::new(self.rest, idle), watch })
    }
}

/// What is known of a body while it is handed on.
pub struct Watch {
    last: Mutex<Instant>,
    fault: AtomicU8,
}

/// How a client failed to send its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It broke off.
    Broken = 1,
    /// It paused too long.
    Slow = 2,
}

impl Default for Watch {
    fn default() -> Self {
        Self { last: Mutex::new(Instant::now()), fault: AtomicU8::new(0) }
    }
}

impl Watch {
    fn moved(&self) {
        *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
    }

    /// When a part of the body was handed on last.
    pub fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What went wrong on the client's side, if anything.
    pub fn fault(&self) -> Option<Fault> {
        match self.fault.load(Ordering::Relaxed) {
            1 => Some(Fault::Broken),
            2 => Some(Fault::Slow),
            _ => None,
        }
    }
}

/// The beginning, then the rest. Trailers stay here: nobody looked at them.
struct Forwarded {
    head: Option<Bytes>,
    rest: Paced,
    watch: Arc<Watch>,
}

impl http_body::Body for Forwarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.watch.moved();
        if let Some(head) = self.head.take() {
            return Poll::Ready(Some(Ok(Frame::data(head))));
        }
        loop {
            let frame = std::task::ready!(Pin::new(&mut self.rest).poll_frame(cx));
            match frame {
                Some(Ok(frame)) if frame.is_data() => return Poll::Ready(Some(Ok(frame))),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let fault = if self.rest.is_late { Fault::Slow } else { Fault::Broken };
                    self.watch.fault.store(fault as u8, Ordering::Relaxed);
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.head.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let head = self.head.as_ref().map_or(0, |head| head.len() as u64);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(head));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(head)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// A body that fails when nothing comes of it for too long.
struct Paced {
    body: Body,
    idle: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    is_late: bool,
}

impl Paced {
    /// Lets `body` pause for no longer than `idle`.
    fn new(body: Body, idle: Duration) -> Self {
        Self { body, idle, pause: None, is_late: false }
    }
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.pause = None;
            return Poll::Ready(frame);
        }
        let idle = self.idle;
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(idle)));
        std::task::ready!(pause.as_mut().poll(cx));
        self.is_late = true;
        Poll::Ready(Some(Err(axum::Error::new("the body paused too long"))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn clients_say_what_their_bodies_are() {
        for (kind, encoding, expected) in [
            (None, None, Kind::Perhaps),
            (Some("application/JSON; charset=utf-8"), None, Kind::Json),
            (Some("application/problem+json"), None, Kind::Json),
            (Some("text/plain"), None, Kind::Perhaps),
            (Some("application/x-www-form-urlencoded"), None, Kind::Perhaps),
            (Some("multipart/form-data; boundary=x"), None, Kind::Other),
            (Some("application/x-ndjson"), None, Kind::Other),
            (Some("application/json"), Some("gzip"), Kind::Other),
            (Some("application/json"), Some("Identity"), Kind::Json),
            (None, Some("gzip"), Kind::Other),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(kind) = kind {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            }
            if let Some(encoding) = encoding {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
            assert_eq!(Kind::of(&headers), expected, "{kind:?} {encoding:?}");
        }
    }
}
