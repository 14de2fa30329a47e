//! The view of subscriptions: what each member sees of its rooms, and how much of it is unread.
//!
//! A message writes nothing per member. The view counts what is said in each room and by each
//! account; a subscription remembers what the counters were when it was last read, and what is
//! unread is the difference. Only those who are mentioned get a row each.

mod fold;
mod queries;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::event::{Entry, Event};
use sqlx::AnyConnection;

pub use queries::{Counting, Mine, Subscription, mine, of_account, one, removed_since};

use crate::view::{View, ViewError};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subscriptions;

#[async_trait]
impl View for Subscriptions {
    fn name(&self) -> &'static str {
        "subscriptions"
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
            Event::Message(_) | Event::Room(_) | Event::Subscription(_) | Event::Account(_)
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
