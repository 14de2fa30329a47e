//! Batches of a journal folded into larger ones: the further behind a reader is, the larger.

use std::sync::Arc;

use futures::stream::Fuse;
use futures::{FutureExt, Stream, StreamExt};
use hansard_domain::event::Entry;
use hansard_domain::journal::{Batch, JournalError};

/// Folds what is there at once, up to about `most` entries. `None` at the end; an error comes after
/// what was read before it.
pub struct Folded<S> {
    batches: Fuse<S>,
    most: usize,
    failed: Option<JournalError>,
}

impl<S: Stream<Item = Result<Batch, JournalError>> + Unpin> Folded<S> {
    pub fn new(batches: S, most: usize) -> Self {
        Self {
            batches: batches.fuse(),
            most,
            failed: None,
        }
    }

    /// Dropping the future before it is ready loses nothing.
    pub async fn next(&mut self) -> Option<Result<Vec<Arc<Entry>>, JournalError>> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        let first = match self.batches.next().await? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        let mut entries = first.to_vec();
        while entries.len() < self.most {
            match self.batches.next().now_or_never() {
                Some(Some(Ok(batch))) => entries.extend(batch.iter().cloned()),
                Some(Some(Err(error))) => {
                    self.failed = Some(error);
                    break;
                }
                // Nothing more for now, or for ever; the next call finds out.
                Some(None) | None => break,
            }
        }
        Some(Ok(entries))
    }
}
