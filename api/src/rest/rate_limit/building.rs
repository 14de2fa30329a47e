//! How many answers that may be large are made at a time.
//!
//! An answer is made whole, and while it is made its parts stand in memory several times over. So those
//! who ask for more than a usual page wait until it is their turn: [`AT_A_TIME`] of them are made at once,
//! and one for an account, or for a network where nobody is logged in. Who waits keeps a connection busy,
//! so [`WAITING`] of a client wait at most; it is told to come again with more. What has been made counts
//! as [waiting](super::waiting) to be taken.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use hansard_domain::id::UserId;
use hansard_domain::network::Network;

use super::super::caller::client_address;
use super::super::failure::Failure;
use super::super::refused::AskedBy;
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
    /// Whoever makes a request.
    pub fn of(parts: &Parts, app: &App) -> Self {
        let asked_by = parts.extensions.get::<AskedBy>();
        let account = asked_by.and_then(AskedBy::user);
        account.map_or_else(
            || {
                let proxies = app.config.forwarded_count;
                let address = client_address(&parts.headers, &parts.extensions, proxies);
                Self::Network(address.into())
            },
            Self::Account,
        )
    }
}

/// Whoever may be about to make a large answer. It stands behind the caller in a handler's arguments.
#[derive(Debug)]
pub struct Builder {
    building: Building,
    client: Client,
}

impl Builder {
    pub fn of(parts: &Parts, app: &App) -> Self {
        Self {
            building: app.limiter.building.clone(),
            client: Client::of(parts, app),
        }
    }

    /// Waits until it is the client's turn; the answer has to be made before the permit is dropped. 429
    /// where enough of the client wait already.
    pub async fn enter(self) -> Result<Permit, Failure> {
        let permit = self.building.0.enter(&self.client).await;
        permit.ok_or_else(Failure::too_many_at_once)
    }
}

impl FromRequestParts<App> for Builder {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self::of(parts, app))
    }
}
