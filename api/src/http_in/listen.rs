//! The sockets that HTTP is served on: one for each address that the operator's name stands for.

use std::io;
use std::net::SocketAddr;

use futures::future::select_all;
use hansard_infra::plain;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::config::ListenAddress;

/// Why the server can't listen. `place` is where the address was given.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("{place} is '{given}': the name can't be resolved ({reason}); give an IP address")]
    Unknown {
        place: String,
        given: ListenAddress,
        reason: String,
    },
    #[error(
        "the address {address} ({place}) is in use already; stop what listens there, or choose \
         another port"
    )]
    InUse { place: String, address: SocketAddr },
    #[error(
        "cannot listen on {address} ({place}): {reason}; give an address of this machine, or \
         0.0.0.0 for all of them"
    )]
    NoAddress {
        place: String,
        address: SocketAddr,
        reason: String,
    },
    #[error(
        "cannot listen on {address} ({place}): {reason}; ports below 1024 are the administrator's, \
         choose another one"
    )]
    Denied {
        place: String,
        address: SocketAddr,
        reason: String,
    },
    #[error("cannot listen on {address} ({place}): {reason}")]
    Other {
        place: String,
        address: SocketAddr,
        reason: String,
    },
}

/// How many connections wait to be accepted, as far as the system lets them (`net.core.somaxconn`).
const BACKLOG: u32 = 4_096;

/// Sockets that listen, at least one. They take connections in no order.
pub struct Listeners {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Listeners {
    /// Listens on every address that the host stands for. `place` names where it was given.
    pub async fn bind(wanted: &ListenAddress, place: &str) -> Result<Self, ListenError> {
        let place = || place.to_owned();
        let unknown = |reason: String| ListenError::Unknown {
            place: place(),
            given: wanted.clone(),
            reason,
        };
        let found = tokio::net::lookup_host((wanted.host(), wanted.port()))
            .await
            .map_err(|error| unknown(plain::io(&error)))?;
        let mut wanted: Vec<SocketAddr> = found.collect();
        wanted.sort_unstable();
        wanted.dedup();
        let (mut sockets, mut addresses) = (Vec::new(), Vec::new());
        let mut refused = None;
        for mut address in wanted {
            // Whatever port is free is the same for all of them.
            if let Some(first) = addresses.first().map(SocketAddr::port)
                && address.port() == 0
            {
                address.set_port(first);
            }
            match listen(address) {
                Ok(socket) => {
                    addresses.push(socket.local_addr().unwrap_or(address));
                    sockets.push(socket);
                }
                // A name may stand for an address that this machine does not have, such as IPv6's.
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    refused = Some((address, error));
                }
                Err(error) => return Err(ListenError::of(place(), address, &error)),
            }
        }
        match (sockets.is_empty(), refused) {
            (false, _) => Ok(Self { sockets, addresses }),
            (true, Some((address, error))) => Err(ListenError::of(place(), address, &error)),
            (true, None) => Err(unknown("it has no address".to_owned())),
        }
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub fn sockets(&self) -> &[TcpListener] {
        &self.sockets
    }

    /// The next connection, on whichever of the sockets it comes.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        if let [socket] = self.sockets.as_slice() {
            return socket.accept().await;
        }
        let accepting = self.sockets.iter().map(|socket| Box::pin(socket.accept()));
        select_all(accepting).await.0
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Connections of the process before may still be closing.
    socket.set_reuseaddr(cfg!(unix))?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl ListenError {
    fn of(place: String, address: SocketAddr, error: &io::Error) -> Self {
        let reason = plain::io(error);
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { place, address },
            io::ErrorKind::AddrNotAvailable => Self::NoAddress {
                place,
                address,
                reason,
            },
            io::ErrorKind::PermissionDenied => Self::Denied {
                place,
                address,
                reason,
            },
            _ => Self::Other {
                place,
                address,
                reason,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bind(address: &str) -> Result<Listeners, ListenError> {
        Listeners::bind(&address.parse().unwrap(), "--listen").await
    }

    #[tokio::test]
    async fn a_name_is_listened_on_at_all_its_addresses() {
        let listeners = bind("localhost:0").await.unwrap();
        let addresses = listeners.addresses().to_vec();
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
        for address in addresses {
            let connecting = TcpStream::connect(address);
            let (connected, accepted) = tokio::join!(connecting, listeners.accept());
            assert_eq!(
                connected.unwrap().local_addr().unwrap(),
                accepted.unwrap().1
            );
        }
    }

    #[tokio::test]
    async fn what_can_not_be_listened_on_is_told() {
        let taken = bind("127.0.0.1:0").await.unwrap();
        let port = taken.addresses()[0].port();
        let said = |refused: Result<Listeners, ListenError>| refused.err().unwrap().to_string();
        let in_use = said(bind(&format!("127.0.0.1:{port}")).await);
        assert!(
            in_use.contains("--listen") && in_use.contains("in use already"),
            "{in_use}"
        );
        let unknown = said(bind("no-such-host.invalid:1").await);
        assert!(unknown.contains("can't be resolved"), "{unknown}");
        let elsewhere = said(bind("192.0.2.1:1").await);
        assert!(
            elsewhere.contains("give an address of this machine"),
            "{elsewhere}"
        );
    }
}
