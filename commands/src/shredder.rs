//! The shredder: the policy that deletes the keys of what an event says is gone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hansard_domain::account::AccountEvent;
use hansard_domain::event::Event;
use hansard_domain::integration::IntegrationEvent;
use hansard_domain::journal::{Batch, Journal, JournalError};
use hansard_domain::log::Role;
use hansard_domain::room::RoomEvent;
use hansard_domain::vault::KeyId;

use crate::bus::Commands;
use crate::error::CommandError;
use crate::policy::Policy;
use crate::snapshot::Snapshots;

/// How often a follower looks whether keys are gone.
const PAUSE: Duration = Duration::from_millis(50);

/// See the module. It also replaces the write model's snapshot when something in it is erased.
pub struct Shredder {
    snapshots: Arc<Snapshots>,
}

impl Shredder {
    pub fn new(snapshots: Arc<Snapshots>) -> Self {
        Self { snapshots }
    }

    /// Returns when the keys are gone. Where another node writes it is that one which deletes them; if
    /// it can't any more, this one does once it is elected.
    async fn shred(&self, journal: &Journal, keys: &[KeyId]) -> Result<(), JournalError> {
        while journal.role() == Role::Follower {
            if journal.keys().gone(keys).await? {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        journal.shred(keys).await
    }
}

#[async_trait]
impl Policy for Shredder {
    fn name(&self) -> &'static str {
        "shredder"
    }

    async fn react(&self, commands: &Commands, batch: &Batch) -> Result<(), CommandError> {
        let keys: Vec<KeyId> = batch
            .iter()
            .flat_map(|entry| entry.event.erases())
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        self.shred(commands.journal(), &keys).await?;
        let last = batch
            .iter()
            .rfind(|entry| is_erased_from_model(&entry.event));
        if let Some(last) = last {
            let model = commands.model_at(last.position).await;
            self.snapshots.save(&model).await?;
        }
        Ok(())
    }
}

/// Whether what an event erases stood in the write model.
fn is_erased_from_model(event: &Event) -> bool {
    matches!(
        event,
        Event::Room(RoomEvent::RoomDeleted { .. })
            | Event::Account(AccountEvent::UserDeleted { .. })
            | Event::Integration(IntegrationEvent::IntegrationRemoved { .. })
    )
}
