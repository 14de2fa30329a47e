//! Work of many rows or events on the threads that serve everybody: it gives way to others after a while.
//! Rows come from a database as fast as they are taken, so that waiting for them alone may never give way.

use std::time::{Duration, Instant};

/// After how long others have their turn.
const STRETCH: Duration = Duration::from_micros(500);

/// Since when a task has not given way.
#[derive(Debug)]
pub struct Pace(Instant);

impl Default for Pace {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Pace {
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets others go on, if it is time. To be called after each row.
    pub async fn keep(&mut self) {
        if self.0.elapsed() >= STRETCH {
            tokio::task::yield_now().await;
            self.0 = Instant::now();
        }
    }
}

/// What each row says, in order.
pub async fn each_row<R, T, E>(rows: &[R], read: impl Fn(&R) -> Result<T, E>) -> Result<Vec<T>, E> {
    let mut pace = Pace::new();
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        all.push(read(row)?);
        pace.keep().await;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn others_go_on_while_many_rows_are_read() {
        let heard = Arc::new(AtomicBool::new(false));
        let hears = heard.clone();
        // On the one thread that there is.
        tokio::spawn(async move { hears.store(true, Ordering::Relaxed) });
        let rows = [(); 20];
        let before = each_row(&rows, |()| {
            std::thread::sleep(STRETCH);
            Ok::<_, ()>(heard.load(Ordering::Relaxed))
        });
        let before = before.await.unwrap();
        assert!(!before[0] && before[19], "{before:?}");
    }
}
