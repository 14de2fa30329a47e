//! Statistics: how much is said, where and when.
//!
//! How many accounts and rooms there are is not here: the write model knows; nor how many threads:
//! that is for the view of messages to tell.

mod fold;
mod queries;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::account::AccountEvent;
use hansard_domain::event::{Entry, Event};
use hansard_domain::message::MessageEvent;
use hansard_domain::room::RoomEvent;
use hansard_domain::subscription::SubscriptionEvent;
use sqlx::AnyConnection;

pub use queries::{Counted, active_between, counted};

use crate::view::{View, ViewError};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Statistics;

#[async_trait]
impl View for Statistics {
    fn name(&self) -> &'static str {
        "statistics"
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
            Event::Message(MessageEvent::MessageSent { .. } | MessageEvent::MessageDeleted { .. })
                | Event::Room(
                    RoomEvent::RoomCreated { .. }
                        | RoomEvent::RoomTypeChanged { .. }
                        | RoomEvent::ChannelPruned { .. }
                        | RoomEvent::RoomDeleted { .. }
                )
                | Event::Account(
                    AccountEvent::UserRegistered { .. } | AccountEvent::UserLoggedIn { .. }
                )
                | Event::Subscription(SubscriptionEvent::RoomRead { .. })
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
