//! What the write side asks of the views: which messages there are.
//!
//! A view that can't catch up with the log does not know; whoever asks it is told to come again.

use async_trait::async_trait;
use hansard_commands::eraser::{Readable, ReadableMessages};
use hansard_commands::error::CommandError;
use hansard_commands::prune::DeletedMessages;
use hansard_commands::room::MessageIndex;
use hansard_domain::id::{MessageId, RoomId, UserId};
use hansard_domain::journal::JournalError;
use hansard_domain::log::LogError;
use hansard_domain::room::{PruneCriteria, Pruned};
use hansard_projections::messages::{self, Messages};
use hansard_projections::{Reading, Store, ViewError, retention};

/// The views as the index of messages.
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
        is_caught_up(self.messages.store()).await?;
        let found = self.messages.matching(room, criteria, most).await;
        found.map_err(unavailable)
    }
}

#[async_trait]
impl ReadableMessages for Index {
    async fn said_in(&self, room: &RoomId) -> Result<Vec<Readable>, CommandError> {
        let mut reading = caught_up(self.messages.store()).await?;
        let found = messages::readable_in(&mut reading, room).await;
        found.map_err(unavailable)
    }

    async fn said_by(&self, user: &UserId) -> Result<Vec<Readable>, CommandError> {
        let mut reading = caught_up(self.messages.store()).await?;
        let found = messages::readable_by(&mut reading, user).await;
        found.map_err(unavailable)
    }

    async fn among(&self, ids: &[MessageId]) -> Result<Vec<Readable>, CommandError> {
        let mut reading = caught_up(self.messages.store()).await?;
        let found = messages::readable_among(&mut reading, ids).await;
        found.map_err(unavailable)
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

async fn is_caught_up(store: &Store) -> Result<(), CommandError> {
    whole(store.read().await).map(drop)
}

/// A reading for as long as it takes, that holds everything that was committed.
async fn caught_up(store: &Store) -> Result<Reading, CommandError> {
    whole(store.patient().await)
}

/// Refuses a reading that lacks something.
fn whole(reading: Result<Reading, ViewError>) -> Result<Reading, CommandError> {
    let reading = reading.map_err(unavailable)?;
    if reading.lag > 0 {
        return Err(CommandError::Busy);
    }
    Ok(reading)
}

fn unavailable(error: ViewError) -> CommandError {
    CommandError::Unavailable(JournalError::Log(LogError::Unavailable(error.to_string())))
}
