//! The connections that are open: who gets in, who has to leave.
//!
//! Beyond the limit of all, or of one address, those leave first that wait for their client and have
//! used up most of their time; a few at once, so that looking for them costs little. Where none waits,
//! a newcomer gets one of the places of the reserve, in which nothing but the server's health is told.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::connection::{Connection, Reason};
use super::limits::{Limits, RESERVE, RESERVE_PER_ADDRESS};
use hansard_domain::network::Network;

/// When the limit of all is reached, one in so many leaves.
const PART_OF_ALL: usize = 32;

/// When the limit of an address is reached, one in so many of its connections leaves.
const PART_OF_ADDRESS: usize = 8;

/// How many leave where the system has no room for more.
const RELIEF: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Connections {
    pub limits: Limits,
    open: Mutex<Open>,
    /// The last one has left.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
    ordinary: Count,
    reserved: Count,
}

#[derive(Debug, Default)]
struct Count {
    all: usize,
    of: HashMap<Network, usize>,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    number: u64,
    connection: Arc<Connection>,
    connections: Arc<Connections>,
}

impl Count {
    fn of(&self, network: Network) -> usize {
        self.of.get(&network).copied().unwrap_or(0)
    }

    fn add(&mut self, network: Network) {
        self.all += 1;
        *self.of.entry(network).or_default() += 1;
    }

    fn remove(&mut self, network: Network) {
        self.all -= 1;
        if let Some(count) = self.of.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&network);
            }
        }
    }
}

impl Connections {
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            open: Mutex::default(),
            emptied: Notify::new(),
        })
    }

    /// A place for a client, if there is one.
    pub fn admit(self: &Arc<Self>, peer: SocketAddr) -> Option<Place> {
        let network = Network::from(peer.ip());
        let limits = &self.limits;
        let mut open = self.open.lock();
        let crowded = |open: &Open| {
            limits
                .per_address
                .is_some_and(|most| open.ordinary.of(network) >= most)
        };
        let full = |open: &Open| open.ordinary.all >= limits.connections;
        if crowded(&open) {
            let leave = open.ordinary.of(network).div_ceil(PART_OF_ADDRESS);
            open.make_room(limits, leave, |connection| {
                !connection.reserved && connection.network == network
            });
        }
        if full(&open) {
            let leave = open.ordinary.all.div_ceil(PART_OF_ALL);
            open.make_room(limits, leave, |connection| !connection.reserved);
        }
        let reserved = crowded(&open) || full(&open);
        if reserved && !open.has_reserve(limits, network) {
            metrics::counter!("hansard_http_connections_refused_total").increment(1);
            return None;
        }
        let connection = Arc::new(Connection::new(peer, network, reserved));
        let number = open.enter(connection.clone());
        Some(Place {
            number,
            connection,
            connections: self.clone(),
        })
    }

    /// Ends connections that took too long.
    pub fn sweep(&self) {
        let open = self.open.lock();
        for connection in open.connections.values() {
            if let Some(reason) = connection.overdue(&self.limits) {
                connection.end(reason);
            }
        }
        metrics::gauge!("hansard_http_connections").set(open.connections.len() as f64);
    }

    /// Ends some connections because the system has no room for more.
    pub fn relieve(&self) {
        let mut open = self.open.lock();
        open.make_room(&self.limits, RELIEF, |_| true);
    }

    /// Has every connection end after the answer under way. None may be admitted any more.
    pub fn finish(&self) {
        for connection in self.open.lock().connections.values() {
            connection.finish();
        }
    }

    /// Ends all connections that wait for their client to ask.
    pub fn dismiss_waiting(&self) {
        let mut open = self.open.lock();
        open.make_room(&self.limits, usize::MAX, |connection| {
            !connection.waits_within_request()
        });
    }

    /// Ends also those that wait for their client to send a body, or to take what it is sent.
    pub fn dismiss_slow(&self) {
        let mut open = self.open.lock();
        open.make_room(&self.limits, usize::MAX, |_| true);
    }

    /// Waits until none is open.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.open.lock().connections.is_empty() {
                return;
            }
            emptied.await;
        }
    }
}

impl Open {
    fn count(&mut self, connection: &Connection) -> &mut Count {
        if connection.reserved {
            &mut self.reserved
        } else {
            &mut self.ordinary
        }
    }

    fn enter(&mut self, connection: Arc<Connection>) -> u64 {
        self.next += 1;
        self.count(&connection).add(connection.network);
        self.connections.insert(self.next, connection);
        self.next
    }

    fn leave(&mut self, number: u64) -> Option<Arc<Connection>> {
        let connection = self.connections.remove(&number)?;
        self.count(&connection).remove(connection.network);
        Some(connection)
    }

    /// Whether the reserve has a place, if need be one that somebody else has to leave.
    fn has_reserve(&mut self, limits: &Limits, network: Network) -> bool {
        if self.reserved.of(network) >= RESERVE_PER_ADDRESS {
            self.make_room(limits, 1, |connection| {
                connection.reserved && connection.network == network
            });
        } else if self.reserved.all >= RESERVE {
            self.make_room(limits, 1, |connection| connection.reserved);
        }
        self.reserved.of(network) < RESERVE_PER_ADDRESS && self.reserved.all < RESERVE
    }

    /// Ends up to so many connections of those that wait for their client: the ones that have used up
    /// most of their time, and the oldest of those that have used up the same.
    fn make_room(&mut self, limits: &Limits, count: usize, of: impl Fn(&Connection) -> bool) {
        let mut waiting: Vec<(Reverse<u64>, u64)> = self
            .connections
            .iter()
            .filter(|(_, connection)| of(connection))
            .filter_map(|(number, connection)| {
                Some((Reverse(connection.dispensable(limits)?), *number))
            })
            .collect();
        if count < waiting.len() {
            waiting.select_nth_unstable(count);
            waiting.truncate(count);
        }
        for (_, number) in waiting {
            if let Some(connection) = self.leave(number) {
                connection.end(Reason::MadeRoom);
            }
        }
    }
}

impl Place {
    pub fn limits(&self) -> &Limits {
        &self.connections.limits
    }
}

impl Deref for Place {
    type Target = Arc<Connection>;

    fn deref(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        open.leave(self.number);
        if open.connections.is_empty() {
            self.connections.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::connection::Phase;
    use super::*;

    fn connections(all: usize, per_address: Option<usize>) -> Arc<Connections> {
        Connections::new(Limits {
            connections: all,
            per_address,
            ..Limits::for_tests()
        })
    }

    fn peer(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 4).into()
    }

    fn busy(place: Option<Place>) -> Place {
        let place = place.unwrap();
        place.enter(Phase::Busy);
        place
    }

    #[test]
    fn who_waits_makes_room() {
        let connections = connections(2, None);
        let first = connections.admit(peer(1)).unwrap();
        let second = busy(connections.admit(peer(2)));
        let third = connections.admit(peer(3)).unwrap();
        assert!(!third.reserved && !second.reserved);
        let left = connections.open.lock();
        assert!(!left.connections.contains_key(&first.number));
        assert_eq!(left.ordinary.all, 2);
    }

    #[test]
    fn of_those_who_came_together_the_oldest_make_room() {
        let connections = connections(64, None);
        let together: Vec<_> = (0..64)
            .map(|last| connections.admit(peer(last)).unwrap())
            .collect();
        let _late = connections.admit(peer(64)).unwrap();
        let left = connections.open.lock();
        let stayed = together
            .iter()
            .map(|place| left.connections.contains_key(&place.number));
        assert_eq!(
            stayed.collect::<Vec<_>>(),
            [vec![false; 2], vec![true; 62]].concat()
        );
    }

    #[test]
    fn who_does_not_take_its_answer_makes_room() {
        let connections = connections(2, None);
        let deaf = busy(connections.admit(peer(1)));
        deaf.blocked(Instant::now() + connections.limits.write_timeout);
        let taking = busy(connections.admit(peer(2)));
        let third = connections.admit(peer(3)).unwrap();
        assert!(!third.reserved);
        let left = connections.open.lock();
        assert!(!left.connections.contains_key(&deaf.number));
        assert!(left.connections.contains_key(&taking.number));
    }

    #[test]
    fn who_does_not_send_its_body_makes_room() {
        let connections = connections(2, None);
        let mute = busy(connections.admit(peer(1)));
        mute.awaits_body(Instant::now() + connections.limits.body_timeout);
        let sending = busy(connections.admit(peer(2)));
        sending.awaits_body(Instant::now());
        sending.heard_body();
        let third = connections.admit(peer(3)).unwrap();
        assert!(!third.reserved);
        let left = connections.open.lock();
        assert!(!left.connections.contains_key(&mute.number));
        assert!(left.connections.contains_key(&sending.number));
    }

    #[test]
    fn where_nobody_waits_there_is_a_reserve() {
        let connections = connections(1, None);
        let inside = busy(connections.admit(peer(1)));
        let all: Vec<_> = (0..=255)
            .filter_map(|last| connections.admit(peer(last)))
            .map(|place| busy(Some(place)))
            .collect();
        assert_eq!(all.len(), RESERVE);
        assert!(all.iter().all(|place| place.reserved));
        drop((inside, all));
        assert!(!connections.admit(peer(1)).unwrap().reserved);
    }

    #[test]
    fn one_address_takes_no_more_than_its_part() {
        let connections = connections(100, Some(2));
        let first: Vec<_> = (0..2).map(|_| busy(connections.admit(peer(1)))).collect();
        let reserved: Vec<_> = (0..10)
            .filter_map(|_| connections.admit(peer(1)))
            .map(|place| busy(Some(place)))
            .collect();
        assert_eq!(reserved.len(), RESERVE_PER_ADDRESS);
        assert!(!connections.admit(peer(2)).unwrap().reserved);
        drop(first);
        assert!(!connections.admit(peer(1)).unwrap().reserved);
    }

    #[tokio::test]
    async fn the_end_is_told_when_all_have_left() {
        let connections = connections(2, None);
        connections.emptied().await;
        let place = connections.admit(peer(1)).unwrap();
        let waiting = tokio::spawn({
            let connections = connections.clone();
            async move { connections.emptied().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(place);
        waiting.await.unwrap();
    }
}
