//! The view of what was pruned, and of what people deleted and a prune still has to erase.
//!
//! What holds for a room now is not here: that follows from the settings.

mod fold;
mod queries;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::event::{Entry, Event};
use hansard_domain::message::MessageEvent;
use hansard_domain::room::RoomEvent;
use sqlx::AnyConnection;

pub use queries::{PrunedTotal, deleted, pruned};

use crate::view::{View, ViewError};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Retention;

#[async_trait]
impl View for Retention {
    fn name(&self) -> &'static str {
        "retention"
    }

    fn version(&self) -> u32 {
        2
    }

    fn schema(&self) -> &'static str {
        concat!(include_str!("schema.sql"), include_str!("../gone.sql"))
    }

    fn indexes(&self) -> &'static str {
        include_str!("indexes.sql")
    }

    fn concerns(&self, event: &Event) -> bool {
        matches!(
            event,
            Event::Message(MessageEvent::MessageDeleted { .. })
                | Event::Room(RoomEvent::ChannelPruned { .. } | RoomEvent::RoomDeleted { .. })
        )
    }

    async fn apply(
        &self,
        tables: &mut AnyConnection,
        entries: &[Arc<Entry>],
    ) -> Result<(), ViewError> {
        fold::apply(tables, entries).await
    }
}
