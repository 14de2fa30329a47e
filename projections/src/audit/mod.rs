//! The audit: who did what to what, when, from where, with which outcome.
//!
//! One row an event, refusals and looks at the record included. Rows name people, rooms and messages
//! by their ids alone, so that an erasure has little to erase here: the addresses a person came from.
//!
//! There is a row for each event, so rows are small: what many of them say is a number of a
//! [name](names), other ids are [packed], and what most say is not there at all.

mod describe;
mod fold;
mod names;
mod packed;
mod query;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::event::Entry;
use hansard_domain::seal::Fault;
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

    /// As it stands in a row.
    fn number(self) -> Option<i64> {
        match self {
            Self::Done => None,
            Self::Denied => Some(1),
            Self::Failed => Some(2),
        }
    }
}

const FAULTS: [Fault; 2] = [Fault::Forged, Fault::Malformed];

/// As it stands in a row.
fn fault_number(fault: Fault) -> i64 {
    match fault {
        Fault::Forged => 1,
        Fault::Malformed => 2,
    }
}

#[async_trait]
impl View for Audit {
    fn name(&self) -> &'static str {
        "audit"
    }

    fn version(&self) -> u32 {
        4
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
