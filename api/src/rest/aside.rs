//! Work of a request that takes longer than a moment is done beside the threads that serve: on threads of
//! its own, a few at once. Who finds them all taken waits for a moment.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failure::Failure;

/// A list of more is gone through aside: so many of the largest take a millisecond or two.
const FEW: usize = 200;

/// How long somebody waits for others to end.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// How many work aside at once: half as many as there are cores.
pub(super) static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Arc::new(Semaphore::new(cores.div_ceil(2)))
});

/// Waits for a turn. 503 where that takes too long.
pub async fn turn() -> Result<OwnedSemaphorePermit, Failure> {
    match tokio::time::timeout(MAX_WAIT, TURNS.clone().acquire_owned()).await {
        Ok(Ok(turn)) => Ok(turn),
        _ => Err(Failure::busy()),
    }
}

/// Does something when its turn has come.
pub async fn work<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let turn = turn().await?;
    let working = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    });
    working.await.map_err(|_| Failure::internal())
}

/// Makes something of each of a list: aside, where there are many.
pub async fn each<T, U, F>(list: Vec<T>, make: F) -> Result<Vec<U>, Failure>
where
    T: Send + 'static,
    U: Send + 'static,
    F: Fn(&T) -> U + Send + 'static,
{
    if list.len() <= FEW {
        return Ok(list.iter().map(make).collect());
    }
    work(move || list.iter().map(make).collect()).await
}
