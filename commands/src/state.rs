//! The ports for what the write side keeps beside the log: its snapshot and the cursors of policies.
//!
//! Losing any of it costs time, not truth: it is made again from the log.

use std::ops::Range;

use async_trait::async_trait;
use futures::stream::BoxStream;

#[derive(Debug, Clone, thiserror::Error)]
#[error("the state '{name}' can't be {what}: {reason}")]
pub struct StateError {
    pub name: String,
    /// `read`, `written` or `tidied`.
    pub what: &'static str,
    pub reason: String,
}

/// Small named files, each replaced as a whole.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// What was saved last under a name; `None` if nothing was, or what is there is not whole.
    async fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StateError>;

    /// Replaces what is saved under a name. What was there before is gone when it returns.
    async fn save(&self, name: &str, content: Vec<u8>) -> Result<(), StateError>;
}

/// Records of a snapshot, each with its number.
pub type Records = Vec<(u64, Vec<u8>)>;

/// The one snapshot of a node, in numbered records.
#[async_trait]
pub trait SnapshotStore: Send + Sync {
    /// One record; `None` if it is not there.
    async fn record(&self, number: u64) -> Result<Option<Vec<u8>>, StateError>;

    /// The records of some numbers, in the order of these, some at a time.
    fn records(&self, numbers: Range<u64>) -> BoxStream<'static, Result<Records, StateError>>;

    /// Takes over records in place of those of their numbers, or, `anew`, in place of all that there are:
    /// all of them, or, if one of them is an error, none. What they replace is gone when it returns.
    async fn replace(
        &self,
        anew: bool,
        records: BoxStream<'static, Result<Records, StateError>>,
    ) -> Result<(), StateError>;
}
