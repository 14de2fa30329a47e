//! How many bytes of answers may wait in memory until their clients have taken them.
//!
//! An answer is made whole. A network and an account may have a part of all that waits, and have to take
//! what they asked for in a time that its size allows; small answers are not counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use hansard_domain::network::Network;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;

use super::super::failure::Failure;
use crate::app::App;

/// Answers up to so many bytes are not counted: a connection keeps as much anyway.
const SMALL: usize = 64 << 10;

/// All that may wait, in bytes, and what of it a network and an account may have.
const MOST: usize = 512 << 20;
const OF_NETWORK: usize = MOST / 2;
const OF_ACCOUNT: usize = MOST / 8;

/// How long a client may take for an answer: so long, and the time that its bytes need at this rate a
/// second, which a bad mobile connection has.
const GRACE: Duration = Duration::from_secs(60);
const RATE: usize = 64 << 10;

/// What waits. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Arc<Mutex<Bytewise>>);

#[derive(Debug, Default)]
struct Bytewise {
    all: usize,
    of: HashMap<Client, usize>,
}

/// Who has to take an answer. An account may ask from many networks, and many accounts from one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Client {
    Network(Network),
    /// As its client names it; it is the account's, or the answer is a small refusal.
    Account(HeaderValue),
}

impl Client {
    fn most(&self) -> usize {
        match self {
            Self::Network(_) => OF_NETWORK,
            Self::Account(_) => OF_ACCOUNT,
        }
    }
}

/// Bytes that wait until this is dropped.
#[derive(Debug)]
struct Held {
    bytes: usize,
    clients: Vec<Client>,
    waiting: Waiting,
}

impl Waiting {
    /// Counts an answer; `None` if there is no room for it. An answer that no client could ever be given
    /// waits while nothing else of its client does.
    fn hold(&self, clients: Vec<Client>, bytes: usize) -> Option<Held> {
        let mut waiting = self.0.lock();
        let fits = |before: usize, most: usize| before == 0 || before + bytes <= most;
        let own = |client: &Client| waiting.of.get(client).copied().unwrap_or(0);
        if !fits(waiting.all, MOST) || !clients.iter().all(|one| fits(own(one), one.most())) {
            return None;
        }
        waiting.all += bytes;
        for client in &clients {
            *waiting.of.entry(client.clone()).or_default() += bytes;
        }
        Some(Held {
            bytes,
            clients,
            waiting: self.clone(),
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut waiting = self.waiting.0.lock();
        waiting.all -= self.bytes;
        for client in &self.clients {
            if let Some(own) = waiting.of.get_mut(client) {
                *own -= self.bytes;
                if *own == 0 {
                    waiting.of.remove(client);
                }
            }
        }
    }
}

/// Counts an answer to a client, and refuses it where there is no room for it.
pub fn limit(
    app: &App,
    address: IpAddr,
    account: Option<HeaderValue>,
    response: Response,
) -> Response {
    let size = response.body().size_hint().exact().unwrap_or(0);
    let Some(bytes) = usize::try_from(size).ok().filter(|bytes| *bytes > SMALL) else {
        return response;
    };
    let network = Client::Network(address.into());
    let clients = account.map(Client::Account).into_iter().chain([network]);
    let Some(held) = app.waiting.hold(clients.collect(), bytes) else {
        return Failure::too_many_at_once().into_response();
    };
    let until = Instant::now() + GRACE + Duration::from_secs((bytes / RATE) as u64);
    response.map(|body| {
        Body::new(Taken {
            body,
            next: Bytes::new(),
            until,
            _held: held,
        })
    })
}

/// A body that is handed over piece by piece, so that it counts until its client has taken it.
struct Taken {
    body: Body,
    next: Bytes,
    until: Instant,
    _held: Held,
}

impl HttpBody for Taken {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if Instant::now() > self.until {
            return Poll::Ready(Some(Err(axum::Error::new("the client took too long"))));
        }
        if self.next.is_empty() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.next = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return other,
            }
        }
        let length = self.next.len().min(SMALL);
        Poll::Ready(Some(Ok(Frame::data(self.next.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint();
        let waiting = self.next.len() as u64;
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + waiting);
        }
        hint.set_lower(rest.lower() + waiting);
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn network(last: u8) -> Client {
        Client::Network(IpAddr::from([192, 0, 2, last]).into())
    }

    fn account(name: &'static str) -> Client {
        Client::Account(HeaderValue::from_static(name))
    }

    #[test]
    fn a_client_has_a_part_of_what_waits() {
        let waiting = Waiting::default();
        let hold = |name, last, bytes| waiting.hold(vec![account(name), network(last)], bytes);
        let first = hold("a", 1, OF_ACCOUNT - 1).unwrap();
        assert!(hold("a", 2, 2).is_none(), "whatever network it asks from");
        let mut others: Vec<_> = ["b", "c", "d"]
            .into_iter()
            .map(|name| hold(name, 1, OF_ACCOUNT).unwrap())
            .collect();
        assert!(hold("e", 1, 2).is_none(), "a network has its part, too");
        others.extend(["e", "f", "g", "h"].map(|name| hold(name, 2, OF_ACCOUNT).unwrap()));
        assert!(hold("i", 3, 2).is_none(), "all are full");
        others.clear();
        drop(first);
        // Larger than what an account may have, but alone.
        let large = hold("a", 1, OF_ACCOUNT + 1).unwrap();
        assert!(hold("a", 1, 1).is_none());
        drop(large);
        let left = waiting.0.lock();
        assert!(left.all == 0 && left.of.is_empty());
    }

    fn taken(bytes: usize, until: Instant) -> (Waiting, Taken) {
        let waiting = Waiting::default();
        let held = waiting.hold(vec![network(1)], bytes).unwrap();
        let body = Body::from(vec![b'x'; bytes]);
        let taken = Taken {
            body,
            next: Bytes::new(),
            until,
            _held: held,
        };
        (waiting, taken)
    }

    #[tokio::test]
    async fn an_answer_counts_until_all_of_it_was_taken() {
        let bytes = 3 * SMALL + 1;
        let (waiting, mut body) = taken(bytes, Instant::now() + GRACE);
        let mut left = bytes;
        while left > 0 {
            assert_eq!(body.size_hint().exact(), Some(left as u64));
            assert!(!body.is_end_stream() && waiting.0.lock().all == bytes);
            let frame = body.frame().await.unwrap().unwrap();
            left -= frame.into_data().unwrap().len();
        }
        assert!(body.is_end_stream());
        drop(body);
        assert_eq!(waiting.0.lock().all, 0);
    }

    #[tokio::test]
    async fn who_takes_too_long_gets_no_more() {
        let past = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let (_, mut body) = taken(2 * SMALL, past);
        assert!(body.frame().await.unwrap().is_err());
    }
}
