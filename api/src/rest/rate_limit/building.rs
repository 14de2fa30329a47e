//! How many answers that may be large are made at a time.
//!
//! An answer is made whole, and while it is made its parts stand in memory several times over. So those
//! who ask for more than a usual page wait until it is their turn: [`AT_A_TIME`] of them are made at once,
//! and one for an account, or for a network where nobody is logged in. Who waits keeps a connection busy,
//! so [`WAITING`] of a client wait at most; it is told to come again with more. What has been made counts
//! as [waiting](super::waiting) to be taken.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Weak};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use hansard_domain::id::UserId;
use hansard_domain::network::Network;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::caller::client_address;
use super::super::failure::Failure;
use super::super::refused::AskedBy;
use crate::app::App;

/// Each takes some four times the bytes that a page of messages has at most, 128 MiB.
const AT_A_TIME: usize = 4;

/// How many of a client wait for the one that is made.
const WAITING: usize = 4;

/// What is being made. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Building {
    all: Arc<Semaphore>,
    /// The line of a client. Whoever waits in it or has its turn holds it, nobody else.
    of: Arc<Mutex<HashMap<Client, Weak<Semaphore>>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Client {
    Account(UserId),
    Network(Network),
}

/// An answer that is made until this is dropped.
#[derive(Debug)]
pub struct Permit {
    _of_all: Option<OwnedSemaphorePermit>,
    _of_client: Option<OwnedSemaphorePermit>,
}

impl Default for Building {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(AT_A_TIME)),
            of: Arc::default(),
        }
    }
}

impl Building {
    /// Waits until it is the client's turn; `None` if enough of it wait.
    async fn enter(&self, client: Client) -> Option<Permit> {
        let own = {
            let mut of = self.of.lock();
            of.retain(|_, line| line.strong_count() > 0);
            match of.get(&client) {
                Some(line) if line.strong_count() > WAITING => return None,
                Some(line) => line.upgrade(),
                None => None,
            }
            .unwrap_or_else(|| {
                let line = Arc::new(Semaphore::new(1));
                of.insert(client, Arc::downgrade(&line));
                line
            })
        };
        // First its own line: it takes no place from others while it waits. Neither is ever closed.
        let of_client = own.acquire_owned().await.ok();
        Some(Permit {
            _of_client: of_client,
            _of_all: self.all.clone().acquire_owned().await.ok(),
        })
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
        let asked_by = parts.extensions.get::<AskedBy>();
        let account = asked_by.and_then(AskedBy::user).cloned();
        let client = account.map_or_else(
            || {
                let proxies = app.config.forwarded_count;
                let address = client_address(&parts.headers, &parts.extensions, proxies);
                Client::Network(address.into())
            },
            Client::Account,
        );
        Self {
            building: app.limiter.building.clone(),
            client,
        }
    }

    /// Waits until it is the client's turn; the answer has to be made before the permit is dropped. 429
    /// where enough of the client wait already.
    pub async fn enter(self) -> Result<Permit, Failure> {
        let permit = self.building.enter(self.client).await;
        permit.ok_or_else(Failure::too_many_at_once)
    }
}

impl FromRequestParts<App> for Builder {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self::of(parts, app))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn so_many_are_made_at_a_time_and_one_for_a_client() {
        let building = Building::default();
        let enter = |name: &str| building.enter(Client::Account(UserId::new(name)));
        let first = enter("a").await.unwrap();
        let mut second = Box::pin(enter("a"));
        assert!((&mut second).now_or_never().is_none(), "one for a client");
        let mut others = Vec::new();
        for number in 1..AT_A_TIME {
            others.push(enter(&format!("other {number}")).await.unwrap());
        }
        let mut late = Box::pin(enter("late"));
        assert!((&mut late).now_or_never().is_none(), "so many altogether");
        drop(first);
        // Who waits in the line of all comes before who has only come to it.
        let late = late.await.unwrap();
        assert!((&mut second).now_or_never().is_none());
        drop(late);
        let second = second.await.unwrap();
        drop((second, others));
        let last = enter("b").await.unwrap();
        assert_eq!(
            building.of.lock().len(),
            1,
            "nothing is left of those who went"
        );
        drop(last);
        assert_eq!(building.all.available_permits(), AT_A_TIME);
    }

    #[tokio::test]
    async fn so_many_of_a_client_wait_and_others_are_told_to_come_again() {
        let building = Building::default();
        let enter = |name: &str| Box::pin(building.enter(Client::Account(UserId::new(name))));
        let first = enter("a").await.unwrap();
        let mut waiting: Vec<_> = (0..WAITING).map(|_| enter("a")).collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none(), "it waits");
        }
        assert!(enter("a").await.is_none(), "enough wait");
        assert!(enter("b").await.is_some(), "whoever else waits");
        // Who goes away leaves its place to another.
        waiting.pop();
        let mut another = enter("a");
        assert!((&mut another).now_or_never().is_none());
        assert!(enter("a").await.is_none());
        drop(first);
        assert!(waiting.remove(0).await.is_some());
    }
}
