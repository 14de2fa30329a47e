//! The port for what the write side keeps beside the log: its snapshot and the cursors of policies.
//!
//! Losing any of it costs time, not truth: it is made again from the log.

use async_trait::async_trait;

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
