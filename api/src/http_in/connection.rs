//! One connection, as far as others have to know of it: what it is doing, and since when.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;

use super::limits::{LINGER_SILENCE, Limits, RESERVE_TIMEOUT};
use hansard_domain::network::Network;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It was accepted, and nothing was asked yet.
    Opening,
    /// Everything that was asked is answered.
    Idle,
    /// The head of a request is arriving.
    Head,
    /// A request is being answered.
    Busy,
    /// The last answer is sent; what the client still sends is thrown away.
    Closing,
    /// It does not speak HTTP any more.
    Upgraded,
}

impl Phase {
    const ALL: [Self; 6] = [
        Self::Opening,
        Self::Idle,
        Self::Head,
        Self::Busy,
        Self::Closing,
        Self::Upgraded,
    ];
}

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Too long in its phase.
    Phase(Phase),
    /// The client does not take what it is sent.
    NotRead,
    /// Another connection needs the room.
    MadeRoom,
}

impl Reason {
    /// For the metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Phase(Phase::Opening | Phase::Head) => "head-timeout",
            Self::Phase(_) => "idle-timeout",
            Self::NotRead => "write-timeout",
            Self::MadeRoom => "made-room",
        }
    }
}

/// A connection, for whoever may have to end it; requests carry it.
#[derive(Debug, Clone)]
pub struct Ending(pub Arc<Connection>);

/// See the module.
#[derive(Debug)]
pub struct Connection {
    pub peer: SocketAddr,
    pub network: Network,
    /// Taken in beyond the limit, to ask for the server's health.
    pub reserved: bool,
    opened: Instant,
    /// The phase, and since when: milliseconds after `opened`.
    phase: AtomicU64,
    /// When the client has refused to take bytes for too long: milliseconds after `opened`; 0 while it
    /// takes them.
    blocked_until: AtomicU64,
    /// When the client has let a body wait for too long: milliseconds after `opened`; 0 while none is
    /// waited for.
    awaited_until: AtomicU64,
    /// Bytes of the client are under way that nobody will read.
    unread: AtomicBool,
    /// It is to end now.
    ended: AtomicBool,
    /// It is to end after the answer under way.
    last: AtomicBool,
    /// Of the task that serves it.
    waker: AtomicWaker,
}

#[cfg(test)]
impl Ending {
    pub fn for_tests() -> Self {
        let peer = SocketAddr::from(([192, 0, 2, 1], 4));
        Self(Arc::new(Connection::new(peer, peer.ip().into(), false)))
    }
}

impl Connection {
    pub fn new(peer: SocketAddr, network: Network, reserved: bool) -> Self {
        Self {
            peer,
            network,
            reserved,
            opened: Instant::now(),
            phase: AtomicU64::new(0),
            blocked_until: AtomicU64::new(0),
            awaited_until: AtomicU64::new(0),
            unread: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            last: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.opened).as_millis() as u64
    }

    /// What it is doing, and since when.
    fn unpacked(&self) -> (Phase, u64) {
        let packed = self.phase.load(Ordering::Relaxed);
        let [number, ..] = packed.to_le_bytes();
        let phase = Phase::ALL.get(usize::from(number)).copied();
        (phase.unwrap_or(Phase::Busy), packed >> u8::BITS)
    }

    /// What it is doing, and for how long it has been.
    fn phase(&self) -> (Phase, Duration) {
        let (phase, since) = self.unpacked();
        let now = self.millis(Instant::now());
        (phase, Duration::from_millis(now.saturating_sub(since)))
    }

    /// Goes over to another phase, or begins the same one anew.
    pub fn enter(&self, phase: Phase) {
        let since = self.millis(Instant::now());
        self.phase
            .store(since << u8::BITS | phase as u64, Ordering::Relaxed);
    }

    /// Bytes came in.
    pub fn heard(&self) {
        match self.unpacked().0 {
            Phase::Idle => self.enter(Phase::Head),
            Phase::Closing => self.enter(Phase::Closing),
            Phase::Opening | Phase::Head | Phase::Busy | Phase::Upgraded => {}
        }
    }

    /// An answer has been handed over as a whole.
    pub fn answered(&self) {
        if self.unpacked().0 == Phase::Busy {
            self.enter(Phase::Idle);
        }
    }

    /// The client does not take bytes; it is given up then.
    pub fn blocked(&self, until: Instant) {
        let until = self.millis(until).max(1);
        self.blocked_until.store(until, Ordering::Relaxed);
    }

    /// The client takes bytes again.
    pub fn unblocked(&self) {
        self.blocked_until.store(0, Ordering::Relaxed);
    }

    /// The body of a request does not come; it is given up then.
    pub fn awaits_body(&self, until: Instant) {
        let until = self.millis(until).max(1);
        self.awaited_until.store(until, Ordering::Relaxed);
    }

    /// The body comes, or is not waited for any more.
    pub fn heard_body(&self) {
        self.awaited_until.store(0, Ordering::Relaxed);
    }

    /// Whether it waits for its client in the middle of a request: to send its body, or to take the
    /// answer.
    pub fn waits_within_request(&self) -> bool {
        let waits = |until: &AtomicU64| until.load(Ordering::Relaxed) != 0;
        waits(&self.blocked_until) || waits(&self.awaited_until)
    }

    /// Says that the client sends what nobody will read, so that it is read and thrown away before the
    /// connection is closed: else the client's system throws away the answer.
    pub fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Whether there may be bytes that nobody has read.
    pub fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
            || matches!(self.unpacked().0, Phase::Opening | Phase::Head)
    }

    /// Whether it is to be ended, and why.
    pub fn overdue(&self, limits: &Limits) -> Option<Reason> {
        let blocked = self.blocked_until.load(Ordering::Relaxed);
        if blocked != 0 && self.millis(Instant::now()) >= blocked {
            return Some(Reason::NotRead);
        }
        let (phase, spent) = self.phase();
        self.allowed(phase, limits)
            .is_some_and(|allowed| spent >= allowed)
            .then_some(Reason::Phase(phase))
    }

    /// How much of its time it has used up, in thousandths; `None` if it is not to be ended for the sake
    /// of others.
    pub fn dispensable(&self, limits: &Limits) -> Option<u64> {
        let now = self.millis(Instant::now());
        let share = |spent: Duration, allowed: Duration| {
            spent.as_millis() as u64 * 1000 / allowed.as_millis().max(1) as u64
        };
        // A client that does not take its answer, or lets its body wait, is waited for, too.
        let waits = |until: &AtomicU64, allowed: Duration| match until.load(Ordering::Relaxed) {
            0 => None,
            until => {
                let left = Duration::from_millis(until.saturating_sub(now));
                Some(share(allowed.saturating_sub(left), allowed))
            }
        };
        let blocked = waits(&self.blocked_until, limits.write_timeout);
        let awaited = waits(&self.awaited_until, limits.body_timeout);
        blocked.max(awaited).or_else(|| {
            let (phase, spent) = self.phase();
            Some(share(spent, self.allowed(phase, limits)?))
        })
    }

    /// How long a phase may last.
    fn allowed(&self, phase: Phase, limits: &Limits) -> Option<Duration> {
        match phase {
            Phase::Opening | Phase::Head | Phase::Idle if self.reserved => Some(RESERVE_TIMEOUT),
            Phase::Opening | Phase::Head => Some(limits.header_timeout),
            Phase::Idle => Some(limits.idle_timeout),
            Phase::Closing => Some(LINGER_SILENCE),
            Phase::Busy | Phase::Upgraded => None,
        }
    }

    /// Ends it now.
    pub fn end(&self, reason: Reason) {
        metrics::counter!("hansard_http_connections_ended_total", "reason" => reason.label())
            .increment(1);
        self.ended.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Ends it after the answer under way.
    pub fn finish(&self) {
        self.last.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Serves it with a future, until that is ready or the connection is to end. One task serves a
    /// connection: what wakes it, wakes this.
    pub async fn until_ended<T>(&self, serving: impl Future<Output = T>) -> Option<T> {
        let mut serving = pin!(serving);
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.ended.load(Ordering::Acquire) {
                return Poll::Ready(None);
            }
            serving.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Whether the answer under way is the last one. Whoever is within [`Self::until_ended`] is polled
    /// again when it becomes so.
    pub fn is_last(&self) -> bool {
        self.last.load(Ordering::Acquire)
    }
}
