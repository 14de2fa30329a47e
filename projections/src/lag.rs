//! How far behind the answers of a task are: noted by those who read, asked by who answers.

use std::cell::Cell;

tokio::task_local! {
    static BEHIND: Cell<u64>;
}

/// Does some work, and tells how many events the views that it read from were behind at most.
pub async fn noting<T>(work: impl Future<Output = T>) -> (T, u64) {
    BEHIND
        .scope(Cell::new(0), async {
            let done = work.await;
            (done, BEHIND.with(Cell::get))
        })
        .await
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
}
