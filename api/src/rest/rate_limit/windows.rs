//! How often things were asked for lately: a window for each client and thing, in bounded memory.

use std::sync::Arc;

use hansard_domain::id::Timestamp;
use moka::sync::Cache;
use parking_lot::Mutex;

use hansard_domain::network::Network;

/// The memory that all windows may take, in bytes. When it is used up, those are forgotten that are used
/// least: addresses that come once push out each other, and none that comes often.
const MEMORY: u64 = 32 << 20;

/// What a window takes, in bytes: its entry in the cache, the count itself, and what the allocator adds.
const WINDOW: u32 = 320;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    Network(Network),
    /// A digest of the id of an account or a webhook.
    Account(u64),
}

/// Who asks, and a digest of what for.
pub type Key = (Who, u64);

/// The calls counted so far. Cheap to clone.
#[derive(Clone)]
pub struct Windows(Cache<Key, Arc<Mutex<Window>>>);

/// A window begins with the first call and is over when its time has passed.
#[derive(Debug)]
struct Window {
    since: Timestamp,
    calls: i64,
}

/// So many calls in so many milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub calls: i64,
    pub millis: i64,
}

/// What came of counting a call.
#[derive(Debug, PartialEq, Eq)]
pub struct Counted {
    pub allowed: bool,
    pub remaining: i64,
    /// Milliseconds until the window is over.
    pub reset: i64,
}

impl Windows {
    pub fn new() -> Self {
        let cache = Cache::builder()
            .weigher(|_, _| WINDOW)
            .max_capacity(MEMORY)
            .build();
        Self(cache)
    }

    pub fn count(&self, key: Key, limit: Limit, now: Timestamp) -> Counted {
        let fresh = || {
            Arc::new(Mutex::new(Window {
                since: now,
                calls: 0,
            }))
        };
        let window = self.0.get_with(key, fresh);
        let mut window = window.lock();
        window.count(limit, now)
    }
}

impl Window {
    fn count(&mut self, limit: Limit, now: Timestamp) -> Counted {
        let elapsed = now.0.saturating_sub(self.since.0);
        // A clock that was set back does not make a window longer.
        if !(0..limit.millis).contains(&elapsed) {
            *self = Self {
                since: now,
                calls: 0,
            };
        }
        self.calls = self.calls.saturating_add(1);
        Counted {
            allowed: self.calls <= limit.calls,
            remaining: (limit.calls - self.calls).max(0),
            reset: limit.millis - now.0.saturating_sub(self.since.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

    const LIMIT: Limit = Limit {
        calls: 2,
        millis: 1000,
    };

    fn from(address: IpAddr) -> Who {
        Who::Network(address.into())
    }

    fn key(last: u8) -> Key {
        (from(IpAddr::from([127, 0, 0, last])), 7)
    }

    #[test]
    fn calls_beyond_the_limit_wait_for_the_window_to_end() {
        let windows = Windows::new();
        let call = |at| windows.count(key(1), LIMIT, Timestamp(at));
        let counted = |allowed, remaining, reset| Counted {
            allowed,
            remaining,
            reset,
        };
        assert_eq!(call(0), counted(true, 1, 1000));
        assert_eq!(call(400), counted(true, 0, 600));
        assert_eq!(call(500), counted(false, 0, 500));
        assert!(call(1000).allowed);
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out() {
        let windows = Windows::new();
        let call = |at| windows.count(key(1), LIMIT, Timestamp(at));
        assert!(call(1_000_000).allowed && call(1_000_000).allowed);
        assert!(!call(1_000_000).allowed);
        assert_eq!(call(5).reset, 1000);
    }

    #[test]
    fn clients_and_things_are_counted_apart() {
        let windows = Windows::new();
        let call = |key| windows.count(key, LIMIT, Timestamp(0)).allowed;
        assert!(call(key(1)) && call(key(1)));
        assert!(!call(key(1)));
        assert!(call(key(2)));
        assert!(call((key(1).0, 8)));
        assert!(call((Who::Account(7), 7)) && call((Who::Account(8), 7)));
    }

    #[test]
    fn many_addresses_take_no_more_memory_and_reset_no_window() {
        let windows = Windows::new();
        for _ in 0..100 {
            windows.count(key(1), LIMIT, Timestamp(0));
        }
        for network in 0..300_000_u64 {
            let address = Ipv6Addr::from(u128::from(network) << 64);
            windows.count((from(address.into()), 7), LIMIT, Timestamp(0));
            if network % 1000 == 0 {
                assert!(!windows.count(key(1), LIMIT, Timestamp(0)).allowed);
            }
        }
        windows.0.run_pending_tasks();
        assert!(windows.0.weighted_size() <= MEMORY);
    }
}
