//! Event logs: the stores that keep the promises of [`hansard_domain::log`].

mod batch;
pub mod eventstore;
pub mod kafka;
pub mod memory;
pub mod packed;
pub mod postgres;
mod queue;
pub mod sqlite;

use std::sync::Arc;

use futures::{StreamExt, stream};
use hansard_domain::log::{EventPages, LogError, StoredEvent};

/// How far the local copy of a log is that stands elsewhere. Places may count more than events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// All before this place is in the copy.
    pub applied: u64,
    /// The place after the last record, as it was lately.
    pub end: u64,
    /// Whether nothing was left to copy when it was last looked.
    pub at_end: bool,
    /// Whether the servers answered when they were last asked.
    pub reachable: bool,
}

impl Progress {
    /// About how many events are missing.
    pub fn lag(&self) -> u64 {
        if self.at_end {
            return 0;
        }
        self.end.saturating_sub(self.applied)
    }
}

/// A stream of pages from a step that gives the next one; it ends after the first error.
fn unfold<State, Step, Next>(state: State, step: Step) -> EventPages
where
    State: Send + 'static,
    Step: Fn(State) -> Next + Send + Sync + 'static,
    Next: Future<Output = Result<Option<(Vec<StoredEvent>, State)>, LogError>> + Send + 'static,
{
    let step = Arc::new(step);
    stream::unfold(Some(state), move |state| {
        let step = step.clone();
        async move {
            match step(state?).await {
                Ok(Some((page, next))) => Some((Ok(page), Some(next))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }
    })
    .boxed()
}

fn closed() -> LogError {
    LogError::Unavailable("the log is closed".to_owned())
}
