//! Work of a request that takes longer than a moment is done beside the threads that serve: on threads of
//! its own, a few at once. Who finds them all taken waits for a moment, each client in a line of its own:
//! it has one turn at a time, and waits for one of each other client at most. What clients filter by has
//! turns of its own, because it takes longest.

use std::sync::LazyLock;
use std::time::Duration;

use super::failure::Failure;
use super::rate_limit::building::Client;
use super::turns::{Turn, Turns};

/// A list of more is gone through aside: so many of the largest take a millisecond or two.
const FEW: usize = 200;

/// How long somebody waits for others to end.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// How many of a client wait.
const WAITING: usize = 32;

/// Those that make lists.
static LISTS: LazyLock<Turns<Client>> = LazyLock::new(|| Turns::new(at_once(), WAITING));

/// Those that filter by what a client wrote.
pub(super) static QUERIES: LazyLock<Turns<Client>> =
    LazyLock::new(|| Turns::new(at_once(), WAITING));

/// How many work aside at once: half as many as there are cores.
fn at_once() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores.div_ceil(2)
}

/// Waits for a turn. 503 where that takes too long, 429 where enough of the client wait already.
async fn turn(turns: &Turns<Client>, client: &Client) -> Result<Turn, Failure> {
    let turn = tokio::time::timeout(MAX_WAIT, turns.enter(client)).await;
    turn.map_err(|_| Failure::busy())?
        .ok_or_else(Failure::too_many_at_once)
}

/// Waits for a turn to filter. 503 where that takes too long.
pub async fn query(client: &Client) -> Result<Turn, Failure> {
    turn(&QUERIES, client).await
}

/// Does something when its turn has come.
pub async fn work<T: Send + 'static>(
    client: &Client,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let turn = turn(&LISTS, client).await?;
    let working = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    });
    working.await.map_err(|_| Failure::internal())
}

/// Makes something of each of a list: aside, where there are many.
pub async fn each<T, U, F>(client: &Client, list: Vec<T>, make: F) -> Result<Vec<U>, Failure>
where
    T: Send + 'static,
    U: Send + 'static,
    F: Fn(&T) -> U + Send + 'static,
{
    if list.len() <= FEW {
        return Ok(list.iter().map(make).collect());
    }
    work(client, move || list.iter().map(make).collect()).await
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use hansard_domain::id::UserId;

    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_all_that_one_client_asks_for() {
        let client = |name: &str| Client::Account(UserId::new(name));
        let many = client("many");
        let first = query(&many).await.unwrap();
        let mut waiting: Vec<_> = (0..20).map(|_| Box::pin(query(&many))).collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none());
        }
        // Lists that nobody filters do not stand behind queries at all.
        let list = (0..=FEW).collect();
        let made = each(&many, list, |number| number + 1).await.unwrap();
        assert_eq!(made.len(), FEW + 1);
        let other = client("other");
        let mut others = Box::pin(query(&other));
        let now = (&mut others).now_or_never();
        drop(first);
        // Its turn comes before the second of the one who has asked so often.
        let others = match now {
            Some(turn) => turn,
            None => others.await,
        };
        others.unwrap();
        drop(waiting);
    }
}
