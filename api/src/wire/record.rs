//! The record.

use serde::Serialize;
use utoipa::ToSchema;

/// From where something was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = EventOrigin)]
pub enum Origin {
    #[serde(rename_all = "camelCase")]
    Known {
        /// The client's address.
        address: String,
        user_agent: String,
    },
    /// It was erased with somebody: `true`.
    Shredded { shredded: bool },
    /// `forged`, it does not open under its key; `malformed`, it is no origin.
    Unreadable { unreadable: String },
}

/// What is pruned from a room.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RetentionPolicy)]
pub struct Policy {
    /// Milliseconds.
    max_age: u64,
    exclude_pinned: bool,
    files_only: bool,
    ignore_threads: bool,
    ignore_discussion: bool,
    /// The room's own policy instead of the workspace's.
    overridden: bool,
}
