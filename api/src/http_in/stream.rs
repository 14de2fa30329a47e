//! What a connection's bytes go through: it notes what the client does, gives up one that does not take
//! its answer, and lets a client finish sending before it closes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Connection, Phase};
use super::connections::Place;
use super::limits::LINGER_TIME;
use super::pace::Pace;

/// How much is thrown away at a time.
const THROWN_AWAY: usize = 8 << 10;

/// How often a stream is read in one go of throwing away, before others have their turn.
const TURNS: usize = 32;

/// See the module. The place is given back when it is dropped.
#[derive(Debug)]
pub struct Stream<S> {
    inner: S,
    place: Place,
    writing: Pace,
    /// The client sends nothing more.
    at_end: bool,
    /// Our side is closed, and since when.
    closed: Option<Instant>,
}

impl<S> Stream<S> {
    pub fn new(inner: S, place: Place) -> Self {
        let writing = Pace::new(place.limits().write_timeout);
        Self {
            inner,
            place,
            writing,
            at_end: false,
            closed: None,
        }
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.place
    }

    /// Notes how a write went, and gives up a client that takes bytes too slowly.
    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => {
                let until = self.writing.wait();
                self.place.blocked(until);
            }
            Poll::Ready(Ok(bytes)) if !self.writing.is_even() => {
                self.writing.moved(*bytes);
                self.place.unblocked();
                if self.writing.is_over() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            Poll::Ready(_) => {}
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.place.heard();
        } else if buffer.remaining() > 0 {
            self.at_end = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.wrote(flushed.map_ok(|()| 0)).map_ok(|_| ())
    }

    /// Closes our side. If the client may still be sending, what it sends is thrown away until it closes
    /// its own: its system would answer a closed connection by throwing away what we sent.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = match self.closed {
            Some(closed) => closed,
            None => {
                ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
                if self.at_end || !self.place.has_unread() {
                    return Poll::Ready(Ok(()));
                }
                self.place.enter(Phase::Closing);
                *self.closed.insert(Instant::now())
            }
        };
        let mut space = [0; THROWN_AWAY];
        for _ in 0..TURNS {
            let mut buffer = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() || closed.elapsed() > LINGER_TIME {
                return Poll::Ready(Ok(()));
            }
            self.place.heard();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
