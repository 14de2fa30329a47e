//! The view of rooms: what they are, who is in them, how much is said in them.
//!
//! It holds no message: what was said last is the messages view's to tell, so that an erased text
//! never stands here. Names of people are kept once and put into answers when they are read.

mod decided;
mod fold;
mod members;
mod queries;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::event::{Entry, Event};
use sqlx::AnyConnection;

pub use decided::changed_at;
pub use members::{Member, MemberOrder, MemberPage, members, online};
pub use queries::{
    Paging, Person, Room, RoomFilter, RoomOrder, by_filter, by_ids, ids, mine, of_member, reading,
    removed_among, some,
};

use crate::sql::Dialect;
use crate::view::{View, ViewError};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rooms;

#[async_trait]
impl View for Rooms {
    fn name(&self) -> &'static str {
        "rooms"
    }

    fn version(&self) -> u32 {
        10
    }

    fn schema(&self) -> &'static str {
        concat!(include_str!("schema.sql"), include_str!("../gone.sql"))
    }

    fn own_schema(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => include_str!("fts5.sql"),
            Dialect::Postgres => "",
        }
    }

    fn indexes(&self) -> &'static str {
        include_str!("indexes.sql")
    }

    fn concerns(&self, event: &Event) -> bool {
        matches!(
            event,
            Event::Message(_) | Event::Room(_) | Event::Account(_)
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
