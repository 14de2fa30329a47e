//! Messages as clients read them: history, threads, pins, stars, mentions, and what was deleted.
//!
//! A row holds its finished JSON, all but the author, who stands once in a table of authors: a new
//! name, or none any more, is one row however much was written under it. What a message says goes
//! with its row; a deleted message leaves its id and the time behind, for clients that catch up, and,
//! while its text can still be read in the log, the key that a prune has to name.

#[cfg(test)]
mod by_time_tests;
mod fold;
mod latest;
mod naming;
mod queries;
mod remains;
mod row;
#[cfg(test)]
mod tests;
mod unlink;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::account::{AccountEvent, Author};
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{MessageId, UserId};
use hansard_domain::message::MessageEvent;
use hansard_domain::room::RoomEvent;
use hansard_domain::vault::KeyId;
use sqlx::AnyConnection;

pub use self::fold::{author, author_unlinked};
#[cfg(test)]
pub(crate) use self::queries::history_page;
pub use self::queries::{
    Changed, Cursor, Deleted, Filter, Found, History, MOST_BYTES, MOST_MENTIONED, MessageHead,
    Messages, Order, Point, Replies, Since, Slice, ThreadKind, Unread,
};
pub use self::remains::{Readable, readable_among, readable_by, readable_in};
use crate::sql::Dialect;
use crate::view::{View, ViewError};

/// See the module.
pub struct MessagesView;

#[async_trait]
impl View for MessagesView {
    fn name(&self) -> &'static str {
        "messages"
    }

    fn version(&self) -> u32 {
        8
    }

    fn schema(&self) -> &'static str {
        include_str!("schema.sql")
    }

    fn own_schema(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => "",
            Dialect::Postgres => include_str!("strftime.sql"),
        }
    }

    fn indexes(&self) -> &'static str {
        include_str!("indexes.sql")
    }

    fn concerns(&self, event: &Event) -> bool {
        matches!(
            event,
            Event::Message(_)
                | Event::Account(_)
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

    fn defers(&self, event: &Event) -> bool {
        matches!(
            event,
            Event::Account(AccountEvent::UserProfileChanged { .. })
        )
    }

    async fn go_on(&self, tables: &mut AnyConnection) -> Result<bool, ViewError> {
        naming::go_on(tables).await
    }
}

/// A message as its own stream has it, with the names that people have: as the view will show it once it
/// has taken all of that in, but for what replies leave on the head of their thread. `None` if it is not
/// there, or no more.
pub fn message_of_stream(
    entries: &[Arc<Entry>],
    viewer: &UserId,
    author: impl Fn(&UserId) -> Author,
) -> Result<Option<MessageHead>, ViewError> {
    let Some(id) = entries
        .first()
        .map(|entry| MessageId::new(entry.stream.key()))
    else {
        return Ok(None);
    };
    fold::alone(&id, entries, viewer, author)
}

/// A message that was just recorded, as the view will show it; `None` for other events. `named` tells
/// of accounts that are there.
pub fn message_json(
    entry: &Entry,
    author: &Author,
    named: impl Fn(&UserId) -> Option<Author>,
) -> Result<Option<String>, ViewError> {
    let Event::Message(MessageEvent::MessageSent { sent, content }) = &entry.event else {
        return Ok(None);
    };
    let content = content.value().cloned().unwrap_or_default();
    let id = MessageId::new(entry.stream.key());
    let mut row = row::Row::sent(id, sent, Some(&content), KeyId::default(), entry)?;
    row.set_names(|user| named(user).unwrap_or_else(|| fold::removed(user)))?;
    let (author, wire) = (serde_json::to_string(author)?, row.wire.into_text()?);
    Ok(Some(format!("{{\"u\":{author},{}", &wire[1..])))
}
