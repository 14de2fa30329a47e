//! Full-text search in messages.
//!
//! Words, phrases and prefixes are found in the text; the room, the sender and what a message has
//! (links, files, a pin) are words in a column of their own, so that a search is one walk through
//! the index, the newest first, whatever it asks for. System messages are not in it.
//!
//! This is the one view whose statements differ: the index of words is SQLite's FTS5 ([`fts5`]) or a
//! `tsvector` of PostgreSQL ([`tsvector`]), into which texts are cut the same way ([`words`]).
//! [`question`] reads what people type; nothing of it reaches the index but quoted strings.

mod fold;
mod fts5;
mod index;
mod queries;
pub mod question;
#[cfg(test)]
mod tests;
mod tsvector;
mod words;

use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::event::{Entry, Event};
use hansard_domain::room::RoomEvent;
use sqlx::AnyConnection;

pub use self::queries::{Matches, Search};
pub use self::question::Question;
use crate::sql::Dialect;
use crate::view::{View, ViewError};

/// See the module.
pub struct SearchView;

#[async_trait]
impl View for SearchView {
    fn name(&self) -> &'static str {
        "search"
    }

    fn version(&self) -> u32 {
        5
    }

    fn schema(&self) -> &'static str {
        include_str!("schema.sql")
    }

    fn own_schema(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => include_str!("fts5.sql"),
            Dialect::Postgres => include_str!("tsvector.sql"),
        }
    }

    fn indexes(&self) -> &'static str {
        include_str!("indexes.sql")
    }

    fn concerns(&self, event: &Event) -> bool {
        matches!(
            event,
            Event::Message(_)
                | Event::Room(RoomEvent::ChannelPruned { .. } | RoomEvent::RoomDeleted { .. })
        ) || fold::unlinks(event)
    }

    async fn apply(
        &self,
        tables: &mut AnyConnection,
        entries: &[Arc<Entry>],
    ) -> Result<(), ViewError> {
        fold::apply(tables, entries).await
    }
}
