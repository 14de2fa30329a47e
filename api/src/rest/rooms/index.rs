//! What the write side asks of the views: which messages there are.

use async_trait::async_trait;
use hansard_commands::error::CommandError;
use hansard_commands::room::MessageIndex;
use hansard_domain::id::RoomId;
use hansard_domain::journal::JournalError;
use hansard_domain::log::LogError;
use hansard_domain::room::{PruneCriteria, Pruned};
use hansard_projections::messages::Messages;

/// The view of messages as the index of them.
pub struct ViewIndex<'a>(pub &'a Messages);

#[async_trait]
impl MessageIndex for ViewIndex<'_> {
    async fn matching(
        &self,
        room: &RoomId,
        criteria: &PruneCriteria,
        most: u64,
    ) -> Result<Vec<Pruned>, CommandError> {
        self.0
            .matching(room, criteria, most)
            .await
            .map_err(|error| {
                CommandError::Unavailable(JournalError::Log(LogError::Unavailable(
                    error.to_string(),
                )))
            })
    }
}
