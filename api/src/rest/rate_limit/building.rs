//! How many answers that may be large are made at a time.
//!
//! An answer is made whole, and while it is made its parts stand in memory several times over. So those
//! who ask for more than a usual page wait until it is their turn: [`AT_A_TIME`] of them are made at once,
//! and one for an account, or for a network where nobody is logged in. Who waits keeps a connection busy,
//! so [`WAITING`] of a client wait at most; it is told to come again with more. What has been made counts
//! as [waiting](super::waiting) to be taken.

use std::net::{IpAddr, Ipv4Addr};

use hansard_commands::caller::Caller as Asking;
use hansard_domain::id::UserId;
use hansard_domain::network::Network;

use super::super::failure::Failure;
use super::super::turns::{Turn, Turns};
use crate::app::App;

/// Each takes some four times the bytes that a page of messages has at most, 128 MiB.
const AT_A_TIME: usize = 4;

/// How many of a client wait for the one that is made.
const WAITING: usize = 4;

/// What is being made. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Building(Turns<Client>);

/// Who has a line of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Client {
    Account(UserId),
    Network(Network),
}

/// An answer that is made until this is dropped.
pub type Permit = Turn;

impl Default for Building {
    fn default() -> Self {
        Self(Turns::new(AT_A_TIME, WAITING))
    }
}

impl Client {
    /// Whoever asks.
    pub fn of(asking: &Asking) -> Self {
        if let Some(user) = &asking.user {
            return Self::Account(user.clone());
        }
        let address = asking
            .origin
            .as_ref()
            .and_then(|origin| origin.address.parse().ok());
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Self::Network(address.into())
    }
}

/// Whoever may be about to make a large answer. An operation takes it with its request.
#[derive(Debug)]
pub struct Builder {
    building: Building,
    client: Client,
}

impl Builder {
    pub fn of(app: &App, client: Client) -> Self {
        Self {
            building: app.limiter.building.clone(),
            client,
        }
    }

    /// Waits until it is the client's turn; the answer has to be made before the permit is dropped. 429
    /// where enough of the client wait already.
    pub async fn enter(self) -> Result<Permit, Failure> {
        let permit = self.building.0.enter(&self.client).await;
        permit.ok_or_else(Failure::too_many_at_once)
    }
}
