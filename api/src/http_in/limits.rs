//! What clients may take of the server's connections and time; the table stands in the [parent].
//!
//! [parent]: super

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Connections that are open at a time, where neither a flag nor the system says anything else.
const CONNECTIONS: usize = 10_000;

/// Below so many connections a server is of no use, and something is wrong with its limits.
const FEWEST: usize = 16;

/// An address may have one in so many of all connections, but not fewer than the least.
const PART_OF_ADDRESS: usize = 8;
const LEAST_OF_ADDRESS: usize = 64;

/// Connections beyond the limit that may ask for the server's health.
pub const RESERVE: usize = 16;

/// Those of them that one address may have.
pub const RESERVE_PER_ADDRESS: usize = 4;

/// Connections to the address of the metrics, where they have one.
const OPERATORS: usize = 64;

/// How long each connection of the reserve may take to ask.
pub const RESERVE_TIMEOUT: Duration = Duration::from_secs(3);

/// File descriptors for everything that is not a client's connection: the log, the vault, the views and
/// their rebuilds (three files for each connection to SQLite), PostgreSQL, brokers, webhooks.
const OTHER_DESCRIPTORS: usize = 512;

/// The largest head of a request that is taken, in bytes.
pub const HEAD_BYTES: usize = 32 << 10;

/// What is read ahead of a client, and kept of an answer that it does not take, in bytes.
pub const BUFFER_BYTES: usize = 64 << 10;

/// What is taken in of a body that nobody read, so that the connection can go on: so many bytes, and so
/// long. A client that sends more is told that the connection ends.
pub const DRAIN_BYTES: u64 = 256 << 10;
pub const DRAIN_TIME: Duration = Duration::from_secs(1);

/// How long what a client still sends is thrown away before its connection is closed: while it sends
/// something, and altogether.
pub const LINGER_SILENCE: Duration = Duration::from_secs(3);
pub const LINGER_TIME: Duration = Duration::from_secs(30);

/// Bodies of requests that are in memory at a time, all together, in bytes; four of the largest that is
/// taken where that is more.
pub const BODIES_BYTES: usize = 256 << 20;

/// The flags that say something else are named in [`Config`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections that are open at a time.
    pub connections: usize,
    /// Those of one address; none behind proxies, whose addresses say nothing.
    pub per_address: Option<usize>,
    /// Requests of one client that are under way, behind proxies.
    pub per_client: Option<usize>,
    /// The longest that the head of a request may take.
    pub header_timeout: Duration,
    /// How long a body may keep the server waiting; see [`Pace`](super::pace::Pace).
    pub body_timeout: Duration,
    /// How long a connection may be idle between two requests.
    pub idle_timeout: Duration,
    /// How long a client may refuse to take bytes; see [`Pace`](super::pace::Pace).
    pub write_timeout: Duration,
    /// Bytes of bodies in memory.
    pub bodies: usize,
}

/// The limits can't be kept.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    #[error(
        "{place} is {connections}, which needs {needed} file descriptors, and this process may have \
         {allowed}; raise its hard limit (ulimit -Hn, LimitNOFILE= in systemd), or say a lower number"
    )]
    TooMany {
        place: String,
        connections: usize,
        needed: usize,
        allowed: usize,
    },
    #[error(
        "this process may have {allowed} file descriptors, and the server needs {needed} at least; \
         raise its hard limit (ulimit -Hn, LimitNOFILE= in systemd)"
    )]
    TooFewDescriptors { allowed: usize, needed: usize },
}

impl Limits {
    /// The limits that the configuration and the system give, which lets this process open the files it
    /// needs for them.
    pub fn of(config: &Config) -> Result<Self, LimitsError> {
        let wanted = config.max_connections;
        let allowed = raise_descriptors(descriptors(wanted.unwrap_or(CONNECTIONS)));
        let connections = connections(wanted, allowed, &config.place("max-connections"))?;
        if wanted.is_none() && connections < CONNECTIONS {
            tracing::info!(
                connections,
                "the limit of open files leaves room for so many clients"
            );
        }
        let part = (connections / PART_OF_ADDRESS).max(LEAST_OF_ADDRESS.min(connections));
        let part = config.connections_per_address.unwrap_or(part);
        Ok(Self {
            connections,
            per_address: (config.forwarded_count == 0).then_some(part),
            per_client: (config.forwarded_count > 0).then_some(part),
            header_timeout: config.header_timeout(),
            body_timeout: config.body_timeout(),
            idle_timeout: config.idle_timeout(),
            write_timeout: config.write_timeout(),
            bodies: BODIES_BYTES.max(config.body_limit.saturating_mul(4)),
        })
    }

    /// The limits of an address that only those who run the server should reach.
    pub fn of_operators(&self) -> Self {
        Self {
            connections: OPERATORS,
            per_address: None,
            ..self.clone()
        }
    }

    #[cfg(test)]
    pub fn for_tests() -> Self {
        Self {
            connections: 100,
            per_address: None,
            per_client: None,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            bodies: BODIES_BYTES,
        }
    }
}

/// The descriptors that so many connections need, with all others.
fn descriptors(connections: usize) -> usize {
    connections
        .saturating_add(RESERVE)
        .saturating_add(OPERATORS + RESERVE)
        .saturating_add(OTHER_DESCRIPTORS)
}

/// How many connections there are with so many descriptors.
fn connections(wanted: Option<usize>, allowed: usize, place: &str) -> Result<usize, LimitsError> {
    let possible = allowed.saturating_sub(descriptors(0));
    if possible < FEWEST.min(wanted.unwrap_or(FEWEST)) {
        let needed = descriptors(FEWEST);
        return Err(LimitsError::TooFewDescriptors { allowed, needed });
    }
    match wanted {
        Some(connections) if connections > possible => Err(LimitsError::TooMany {
            place: place.to_owned(),
            connections,
            needed: descriptors(connections),
            allowed,
        }),
        Some(connections) => Ok(connections),
        None => Ok(CONNECTIONS.min(possible)),
    }
}

/// Raises this process's limit of open files as far as it is needed and may be. Answers the limit that
/// holds.
fn raise_descriptors(needed: usize) -> usize {
    let limits = getrlimit(Resource::Nofile);
    let unlimited = |limit: Option<u64>| limit.map_or(usize::MAX, |limit| limit as usize);
    let (soft, hard) = (unlimited(limits.current), unlimited(limits.maximum));
    let raised = needed.min(hard);
    if soft >= raised {
        return soft;
    }
    let wanted = Rlimit {
        current: Some(raised as u64),
        maximum: limits.maximum,
    };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => raised,
        Err(error) => {
            tracing::warn!(%error, soft, raised, "the limit of open files could not be raised");
            soft
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_follow_from_the_descriptors() {
        let connections = |wanted, allowed| connections(wanted, allowed, "--max-connections");
        assert_eq!(connections(None, 1 << 20), Ok(CONNECTIONS));
        assert_eq!(connections(None, 1024), Ok(416));
        assert_eq!(connections(Some(100), 1024), Ok(100));
        assert_eq!(
            connections(Some(1000), 1024),
            Err(LimitsError::TooMany {
                place: "--max-connections".to_owned(),
                connections: 1000,
                needed: 1608,
                allowed: 1024,
            })
        );
        assert_eq!(
            connections(None, 512),
            Err(LimitsError::TooFewDescriptors {
                allowed: 512,
                needed: 624,
            })
        );
        assert_eq!(connections(Some(1), 609), Ok(1));
    }
}
