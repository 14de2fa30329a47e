//! How many bytes of answers may wait in memory until their clients have taken them.
//!
//! An answer is made whole. A network and an account may have a part of all that waits, and have to take
//! what they asked for in a time that its size allows. Where there is no room for more, the network that
//! has most gives way to those that have less: its connections are ended. Small answers are not counted,
//! nor are those that are made for nobody: the pages that come with the server.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::{IntoResponse, Response};
use hansard_domain::id::UserId;
use hansard_domain::network::Network;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;

use super::super::failure::Failure;
use crate::app::App;
use crate::http_in::{Ending, Reason};

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
    next: u64,
    all: usize,
    of_networks: HashMap<Network, usize>,
    of_accounts: HashMap<UserId, usize>,
    answers: HashMap<u64, Answer>,
}

/// An answer that waits.
#[derive(Debug)]
struct Answer {
    bytes: usize,
    taker: Taker,
}

/// Who has to take an answer. An account may ask from many networks, and many accounts from one.
#[derive(Debug, Clone)]
pub struct Taker {
    pub network: Network,
    /// Whose session it is, where it is one.
    pub account: Option<UserId>,
    /// Of the connection that the answer goes to.
    pub ending: Option<Ending>,
}

/// Bytes that wait until this is dropped.
#[derive(Debug)]
struct Held {
    number: u64,
    waiting: Waiting,
}

impl Bytewise {
    fn of_network(&self, network: Network) -> usize {
        self.of_networks.get(&network).copied().unwrap_or(0)
    }

    /// Whether a client may have so much more wait. What no client could ever be given waits while
    /// nothing else of its client does.
    fn allows(&self, taker: &Taker, bytes: usize) -> bool {
        let fits = |before: usize, most: usize| before == 0 || before + bytes <= most;
        let account = taker.account.as_ref();
        let of_account = account.map_or(0, |account| {
            self.of_accounts.get(account).copied().unwrap_or(0)
        });
        fits(self.of_network(taker.network), OF_NETWORK) && fits(of_account, OF_ACCOUNT)
    }

    /// Ends answers of the network that has most until so much more fits, if it would have more even
    /// then than the network that asks.
    fn make_room(&mut self, network: Network, bytes: usize) {
        let most = self.of_networks.iter().max_by_key(|(_, bytes)| **bytes);
        let Some((&greedy, &has)) = most else {
            return;
        };
        let wanted = (self.all + bytes).saturating_sub(MOST);
        if has < self.of_network(network) + bytes + wanted {
            return;
        }
        let mut its: Vec<(u64, usize)> = self
            .answers
            .iter()
            .filter(|(_, answer)| answer.taker.network == greedy && answer.taker.ending.is_some())
            .map(|(number, answer)| (*number, answer.bytes))
            .collect();
        its.sort_unstable_by_key(|(_, bytes)| Reverse(*bytes));
        let mut freed = 0;
        for (number, bytes) in its {
            if freed >= wanted {
                break;
            }
            freed += bytes;
            if let Some(Ending(connection)) = self.remove(number).and_then(|ended| ended.ending) {
                connection.end(Reason::MadeRoom);
            }
        }
    }

    fn add(&mut self, taker: Taker, bytes: usize) -> u64 {
        self.all += bytes;
        *self.of_networks.entry(taker.network).or_default() += bytes;
        if let Some(account) = &taker.account {
            *self.of_accounts.entry(account.clone()).or_default() += bytes;
        }
        self.next += 1;
        self.answers.insert(self.next, Answer { bytes, taker });
        self.next
    }

    /// Answers who was to take it; `None` if that is over already.
    fn remove(&mut self, number: u64) -> Option<Taker> {
        let Answer { bytes, taker } = self.answers.remove(&number)?;
        self.all -= bytes;
        take(&mut self.of_networks, &taker.network, bytes);
        if let Some(account) = &taker.account {
            take(&mut self.of_accounts, account, bytes);
        }
        Some(taker)
    }
}

fn take<K: Eq + Hash>(of: &mut HashMap<K, usize>, key: &K, bytes: usize) {
    if let Some(own) = of.get_mut(key) {
        *own -= bytes;
        if *own == 0 {
            of.remove(key);
        }
    }
}

impl Waiting {
    /// Counts an answer; `None` if there is no room for it.
    fn hold(&self, taker: Taker, bytes: usize) -> Option<Held> {
        let mut waiting = self.0.lock();
        if !waiting.allows(&taker, bytes) {
            return None;
        }
        let fits = |waiting: &Bytewise| waiting.all == 0 || waiting.all + bytes <= MOST;
        if !fits(&waiting) {
            waiting.make_room(taker.network, bytes);
        }
        fits(&waiting).then(|| Held {
            number: waiting.add(taker, bytes),
            waiting: self.clone(),
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.waiting.0.lock().remove(self.number);
    }
}

/// Counts an answer to a client, and refuses it where there is no room for it.
pub fn limit(app: &App, taker: impl FnOnce() -> Taker, response: Response) -> Response {
    let size = response.body().size_hint().exact().unwrap_or(0);
    let Some(bytes) = usize::try_from(size).ok().filter(|bytes| *bytes > SMALL) else {
        return response;
    };
    let Some(held) = app.waiting.hold(taker(), bytes) else {
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
    use std::net::IpAddr;

    use http_body_util::BodyExt as _;

    use super::*;

    fn network(last: u8) -> Network {
        IpAddr::from([192, 0, 2, last]).into()
    }

    fn taker(account: Option<&str>, last: u8) -> Taker {
        Taker {
            network: network(last),
            account: account.map(UserId::new),
            ending: Some(Ending::for_tests()),
        }
    }

    #[test]
    fn a_client_has_a_part_of_what_waits() {
        let waiting = Waiting::default();
        let hold = |name, last, bytes| waiting.hold(taker(Some(name), last), bytes);
        let first = hold("a", 1, OF_ACCOUNT - 1).unwrap();
        assert!(hold("a", 2, 2).is_none(), "whatever network it asks from");
        let others: Vec<_> = ["b", "c", "d"]
            .into_iter()
            .map(|name| hold(name, 1, OF_ACCOUNT).unwrap())
            .collect();
        assert!(hold("e", 1, 2).is_none(), "a network has its part, too");
        drop((first, others));
        // Larger than what an account may have, but alone.
        let large = hold("a", 1, OF_ACCOUNT + 1).unwrap();
        assert!(hold("a", 1, 1).is_none());
        drop(large);
        let left = waiting.0.lock();
        assert!(left.all == 0 && left.of_networks.is_empty() && left.of_accounts.is_empty());
        assert!(left.answers.is_empty());
    }

    #[test]
    fn who_has_most_gives_way_to_those_who_have_less() {
        let waiting = Waiting::default();
        let large = MOST / 64;
        let greedy: Vec<_> = (0..64)
            .map(|number| waiting.hold(taker(None, 1 + number % 2), large).unwrap())
            .collect();
        assert!(
            waiting.hold(taker(None, 1), large).is_none(),
            "it has its part"
        );
        let modest = waiting.hold(taker(None, 3), 2 * large).unwrap();
        {
            let now = waiting.0.lock();
            assert_eq!(now.all, MOST);
            let ended = greedy
                .iter()
                .filter(|held| !now.answers.contains_key(&held.number));
            assert_eq!(ended.count(), 2, "no more than there is need of");
        }
        // Equals don't drive each other out.
        let fourth = waiting.hold(taker(None, 4), OF_NETWORK);
        assert!(fourth.is_none());
        drop((greedy, modest));
        assert_eq!(waiting.0.lock().all, 0);
    }

    fn taken(bytes: usize, until: Instant) -> (Waiting, Taken) {
        let waiting = Waiting::default();
        let held = waiting.hold(taker(None, 1), bytes).unwrap();
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
