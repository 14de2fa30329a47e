//! The audit: who did what to what, when, from where, with which outcome.
//!
//! One row an event, refusals and looks at the record included. Rows name people, rooms and messages
//! by their ids alone, so that an erasure has little to erase here: the addresses a person came from.

mod describe;
mod fold;
mod query;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::event::Entry;
use sqlx::AnyConnection;

pub use query::{AuditFilter, AuditRow, Order, count, page};

use crate::view::{View, ViewError};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Audit;

/// How what is on the record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The caller lacked a right.
    Denied,
    /// A login, or a delivery, did not work.
    Failed,
}

impl Outcome {
    pub const ALL: [Self; 3] = [Self::Done, Self::Denied, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

#[async_trait]
impl View for Audit {
    fn name(&self) -> &'static str {
        "audit"
    }

    fn version(&self) -> u32 {
        3
    }

    fn schema(&self) -> &'static str {
        include_str!("schema.sql")
    }

    fn indexes(&self) -> &'static str {
        include_str!("indexes.sql")
    }

    async fn apply(
        &self,
        tables: &mut AnyConnection,
        entries: &[Arc<Entry>],
    ) -> Result<(), ViewError> {
        fold::apply(tables, entries).await
    }
}
