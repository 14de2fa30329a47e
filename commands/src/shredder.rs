//! The shredder: the policy that deletes the keys of what an event says is gone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hansard_domain::account::AccountEvent;
use hansard_domain::event::Event;
use hansard_domain::integration::IntegrationEvent;
use hansard_domain::journal::{Batch, Journal, JournalError};
use hansard_domain::log::Role;
use hansard_domain::message::MessageEvent;
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

/// The keys that an event says are to be deleted.
pub fn erased(event: &Event) -> Vec<KeyId> {
    match event {
        Event::Room(RoomEvent::ChannelPruned { pruned, .. }) => {
            pruned.iter().map(|pruned| pruned.key).collect()
        }
        Event::Message(MessageEvent::MessageDeleted {
            erased: Some(key), ..
        })
        | Event::Room(RoomEvent::RoomDeleted { key })
        | Event::Account(AccountEvent::UserDeleted { key, .. })
        | Event::Integration(IntegrationEvent::IntegrationRemoved { key }) => vec![*key],
        _ => Vec::new(),
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
            .flat_map(|entry| erased(&entry.event))
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        self.shred(commands.journal(), &keys).await?;
        let in_snapshot = |event: &Event| {
            matches!(
                event,
                Event::Room(_) | Event::Account(_) | Event::Integration(_)
            ) && !matches!(event, Event::Room(RoomEvent::ChannelPruned { .. }))
        };
        if batch
            .iter()
            .any(|entry| in_snapshot(&entry.event) && !erased(&entry.event).is_empty())
        {
            self.snapshots.save(&commands.model()).await;
        }
        Ok(())
    }
}
