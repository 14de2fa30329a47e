//! How far behind the answers of a task are, and how long it waited for views: noted by those who read, asked
//! by who answers.

use std::cell::Cell;
use std::time::Duration;

tokio::task_local! {
    static BEHIND: Cell<u64>;
    static WAITED: Cell<Duration>;
}

/// Does some work, and tells how many events the views that it read from were behind at most.
pub async fn noting<T>(work: impl Future<Output = T>) -> (T, u64) {
    let work = WAITED.scope(Cell::new(Duration::ZERO), work);
    BEHIND
        .scope(Cell::new(0), async {
            let done = work.await;
            (done, BEHIND.with(Cell::get))
        })
        .await
}

/// Notes that a view was waited for.
pub(crate) fn waited(time: Duration) {
    let _ = WAITED.try_with(|waited| waited.set(waited.get() + time));
}

/// What is left of the time that a task waits for views altogether, however many it reads.
pub(crate) fn left_of(patience: Duration) -> Duration {
    let waited = WAITED.try_with(Cell::get).unwrap_or_default();
    patience.saturating_sub(waited)
}

/// Notes that something was read so many events behind; outside of [`noting`] nobody asks.
pub fn note(behind: u64) {
    // An error means that nobody asks.
    let _ = BEHIND.try_with(|most| most.set(most.get().max(behind)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_largest_lag_of_a_task_is_told() {
        let work = async {
            note(3);
            note(1);
        };
        assert_eq!(noting(work).await, ((), 3));
        assert_eq!(noting(async {}).await, ((), 0));
        note(5);
    }

    #[tokio::test]
    async fn a_task_waits_for_all_views_together() {
        let patience = Duration::from_secs(2);
        let work = async {
            waited(Duration::from_millis(1_500));
            assert_eq!(left_of(patience), Duration::from_millis(500));
            waited(patience);
            assert_eq!(left_of(patience), Duration::ZERO);
        };
        noting(work).await;
        waited(patience);
        assert_eq!(left_of(patience), patience);
    }
}
