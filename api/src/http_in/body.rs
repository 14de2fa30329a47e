//! The body of a request: it may not keep the server waiting, nor fill its memory, and what a handler
//! does not read of it is not lost sight of.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use tokio::time::Sleep;

use super::connection::Connection;
use super::limits::{DRAIN_BYTES, DRAIN_TIME, Limits};
use super::pace::Pace;

/// Why a body is not read on.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body arrives too slowly")]
    TooSlow,
    #[error("the bodies of all requests together take too much memory")]
    NoRoom,
    #[error(transparent)]
    Connection(#[from] hyper::Error),
}

impl BodyError {
    /// What stands behind an error of whoever read a body.
    pub fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut error = Some(error);
        while let Some(one) = error {
            if let Some(found) = one.downcast_ref() {
                return Some(found);
            }
            error = one.source();
        }
        None
    }
}

/// The memory that the bodies of all requests share. The more of it is taken, the less a single body may have
/// of it: whoever holds large ones leaves room for the small ones of everybody else.
#[derive(Debug)]
pub struct Memory {
    taken: AtomicUsize,
    limit: usize,
}

/// As long as others have no more than this part of the memory, a body may have all that is left.
const PLENTY: usize = 4;

/// Otherwise it may have this part of what others leave.
const PART: usize = 16;

/// Whoever wants no more gets it as long as there is any.
const LITTLE: usize = 8 << 10;

impl Memory {
    /// Whether a body may have so many bytes while others have so many.
    fn allows(&self, own: usize, others: usize) -> bool {
        let free = self.limit.saturating_sub(others);
        own <= free && (others <= self.limit / PLENTY || own <= free / PART || own <= LITTLE)
    }

    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            limit,
        })
    }
}

/// What one body takes of the memory, until it is dropped.
#[derive(Debug)]
struct Taken {
    memory: Arc<Memory>,
    bytes: AtomicUsize,
}

impl Taken {
    fn of(memory: &Arc<Memory>) -> Self {
        Self {
            memory: memory.clone(),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Takes so many bytes more. Answers whether there is room for them.
    fn take(&self, bytes: usize) -> bool {
        let own = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let before = self.memory.taken.fetch_add(bytes, Ordering::Relaxed);
        self.memory.allows(own + bytes, before.saturating_sub(own))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.memory.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A body on its way to a handler.
pub struct RequestBody {
    incoming: Option<Incoming>,
    rest: Arc<Shared>,
    connection: Arc<Connection>,
    pace: Pace,
    /// Rings when the client has kept us waiting for too long.
    alarm: Option<Pin<Box<Sleep>>>,
}

/// What is left of a body when its handler is done. The memory counts as taken until it is dropped.
pub struct Rest(Arc<Shared>);

struct Shared {
    taken: Taken,
    left: Mutex<Left>,
}

#[derive(Default)]
struct Left {
    /// Given back by the handler before its end.
    body: Option<Incoming>,
    /// Some of it was asked for: a client that waits for that has been told to send.
    begun: bool,
    /// It was read to its end, or can't be read any more.
    ended: bool,
    /// It is not worth waiting for the rest.
    given_up: bool,
}

impl RequestBody {
    pub fn new(
        incoming: Incoming,
        limits: &Limits,
        memory: &Arc<Memory>,
        connection: &Arc<Connection>,
    ) -> (Self, Rest) {
        let rest = Arc::new(Shared {
            taken: Taken::of(memory),
            left: Mutex::default(),
        });
        let body = Self {
            incoming: Some(incoming),
            rest: rest.clone(),
            connection: connection.clone(),
            pace: Pace::new(limits.body_timeout),
            alarm: None,
        };
        (body, Rest(rest))
    }

    fn give_up(&self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.rest.left.lock().given_up = true;
        Poll::Ready(Some(Err(error)))
    }

    /// Notes that there is nothing more to read.
    fn end(&mut self) {
        self.incoming = None;
        self.rest.left.lock().ended = true;
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(incoming).poll_frame(cx);
        if polled.is_ready() {
            this.connection.heard_body();
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                this.pace.moved(bytes);
                if !this.rest.taken.take(bytes) {
                    return this.give_up(BodyError::NoRoom);
                }
                if this.pace.is_over() {
                    return this.give_up(BodyError::TooSlow);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.end();
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Pending => {
                this.rest.left.lock().begun = true;
                let until = this.pace.wait();
                this.connection.awaits_body(until);
                let until = until.into();
                let alarm = this
                    .alarm
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
                if alarm.deadline() != until {
                    alarm.as_mut().reset(until);
                }
                match alarm.as_mut().poll(cx) {
                    Poll::Ready(()) => this.give_up(BodyError::TooSlow),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.connection.heard_body();
        let Some(incoming) = self.incoming.take() else {
            return;
        };
        let mut left = self.rest.left.lock();
        if incoming.is_end_stream() {
            left.ended = true;
        } else {
            left.body = Some(incoming);
        }
    }
}

impl Rest {
    /// Takes in what the client still sends of the body, if that is little and soon there. Answers
    /// whether the connection can go on.
    pub async fn settle(&self, expects_continue: bool) -> bool {
        let left = std::mem::take(&mut *self.0.left.lock());
        let Some(mut body) = left.body else {
            return left.ended;
        };
        // A client that waits to be told to send a body is not told so only to throw it away.
        if left.given_up || (expects_continue && !left.begun) {
            return false;
        }
        if body.size_hint().lower() > DRAIN_BYTES {
            return false;
        }
        let drained = async {
            let mut bytes = 0;
            loop {
                match body.frame().await {
                    None => return true,
                    Some(Err(_)) => return false,
                    Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, Bytes::len) as u64,
                }
                if bytes > DRAIN_BYTES {
                    return false;
                }
            }
        };
        tokio::time::timeout(DRAIN_TIME, drained)
            .await
            .unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_their_memory_and_give_it_back() {
        let memory = Memory::new(100);
        let first = Taken::of(&memory);
        let second = Taken::of(&memory);
        assert!(first.take(60) && second.take(40));
        assert!(!second.take(1));
        drop(first);
        assert!(second.take(59));
        drop(second);
        assert_eq!(memory.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn whoever_holds_large_bodies_leaves_room_for_small_ones() {
        let memory = Memory::new(super::super::limits::BODIES_BYTES);
        let mut held = Vec::new();
        // As large as there is room for, from so many connections.
        for _ in 0..64 {
            let body = Taken::of(&memory);
            let mut size = 10 << 20;
            while size > 0 && !memory.allows(size, memory.taken.load(Ordering::Relaxed)) {
                size /= 2;
            }
            assert!(body.take(size));
            held.push(body);
        }
        for _ in 0..1_000 {
            let body = Taken::of(&memory);
            assert!(body.take(64 << 10));
        }
    }

    #[test]
    fn what_stands_behind_an_error_is_found() {
        let wrapped = axum::Error::new(axum::Error::new(BodyError::TooSlow));
        let found = BodyError::behind(&wrapped);
        assert!(matches!(found, Some(BodyError::TooSlow)));
        assert!(BodyError::behind(&std::fmt::Error).is_none());
    }
}
