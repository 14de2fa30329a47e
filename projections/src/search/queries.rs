//! Finding messages.

use std::time::Duration;

use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::fold::number_at;
use super::index::{self, Wanted};
use super::question::Question;
use crate::store::Store;
use crate::view::ViewError;

/// What was found, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches {
    pub ids: Vec<MessageId>,
}

/// The queries.
#[derive(Clone)]
pub struct Search {
    store: Store,
}

/// How long a search may take: somebody waits for it, and few can be made at a time.
const TIME: Duration = Duration::from_secs(1);

impl Search {
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The messages in some rooms that answer a question, the newest first unless it asks otherwise.
    /// `senders` are those that the names in its `from` mean; who asks says which rooms may be seen.
    pub async fn find(
        &self,
        question: &Question,
        rooms: &[RoomId],
        senders: &[UserId],
        offset: u64,
        count: u64,
    ) -> Result<Matches, ViewError> {
        if rooms.is_empty() || (senders.is_empty() && !question.from.is_empty()) {
            return Ok(Matches::default());
        }
        let mut reading = self.store.within(TIME).await?;
        find(&mut reading, question, rooms, senders, (offset, count)).await
    }
}

pub(super) async fn find(
    tables: &mut AnyConnection,
    question: &Question,
    rooms: &[RoomId],
    senders: &[UserId],
    (offset, count): (u64, u64),
) -> Result<Matches, ViewError> {
    let bound = |at: Option<Timestamp>, otherwise| at.map_or(otherwise, number_at);
    let limit = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let wanted = Wanted {
        question,
        rooms,
        senders,
        from: bound(question.since, i64::MIN),
        until: bound(question.until, i64::MAX),
        count: limit(count),
        offset: limit(offset),
    };
    let rows = index::find(tables, &wanted).await?;
    let id = |row: &AnyRow| Ok(MessageId::new(row.try_get::<String, _>(0)?));
    Ok(Matches {
        ids: rows.iter().map(id).collect::<Result<_, ViewError>>()?,
    })
}
