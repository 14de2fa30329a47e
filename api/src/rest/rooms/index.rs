//! What the write side asks of the views: which messages there are.
//!
//! A view that can't catch up with the log does not know; whoever asks it is told to come again.

use async_trait::async_trait;
use hansard_commands::error::CommandError;
use hansard_commands::prune::DeletedMessages;
use hansard_commands::room::MessageIndex;
use hansard_domain::id::{MessageId, RoomId};
use hansard_domain::journal::JournalError;
use hansard_domain::log::LogError;
use hansard_domain::room::{PruneCriteria, Pruned};
use hansard_projections::messages::Messages;
use hansard_projections::{Reading, Store, ViewError, retention};

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
        drop(caught_up(self.0.store()).await?);
        let found = self.0.matching(room, criteria, most).await;
        found.map_err(unavailable)
    }
}

/// The same for those who outlive a request, and what of deleted messages is left.
pub struct Index {
    pub messages: Messages,
    /// The view of retention.
    pub retention: Store,
}

#[async_trait]
impl MessageIndex for Index {
    async fn matching(
        &self,
        room: &RoomId,
        criteria: &PruneCriteria,
        most: u64,
    ) -> Result<Vec<Pruned>, CommandError> {
        ViewIndex(&self.messages)
            .matching(room, criteria, most)
            .await
    }
}

#[async_trait]
impl DeletedMessages for Index {
    async fn deleted(&self, room: &RoomId) -> Result<Vec<MessageId>, CommandError> {
        let mut reading = caught_up(&self.retention).await?;
        let found = retention::deleted(&mut reading, room).await;
        found.map_err(unavailable)
    }
}

/// A reading that holds everything that was committed.
async fn caught_up(store: &Store) -> Result<Reading, CommandError> {
    let reading = store.read().await.map_err(unavailable)?;
    if reading.lag > 0 {
        return Err(CommandError::Busy);
    }
    Ok(reading)
}

fn unavailable(error: ViewError) -> CommandError {
    CommandError::Unavailable(JournalError::Log(LogError::Unavailable(error.to_string())))
}
