//! All messages of a room, by a filter.

use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use sqlx::{AnyConnection, Row as _};

use super::by_time::{ByTime, by_time};
use super::{Found, Messages, Order, Slice, count, joined, or_empty};
use crate::sql;
use crate::view::ViewError;

/// Messages in the room `$2` that a [`Filter`] lets through.
macro_rules! filtered {
    () => {
        "FROM message m WHERE m.room = $2 \
         AND ($5 = '' OR m.sender = $5) \
         AND ($6 = '' OR m.thread = $6) \
         AND ($7 = '' OR m.id = $7) \
         AND ($8 = 0 OR m.pinned = 1) \
         AND ($9 = '||' OR EXISTS (SELECT 1 FROM star s WHERE s.position = m.position \
             AND $9 LIKE '%|' || s.user_id || '|%')) \
         AND ($10 = '||' OR EXISTS (SELECT 1 FROM mention n WHERE n.position = m.position \
             AND $10 LIKE '%|' || n.user_id || '|%')) \
         AND ($11 = '||' OR (m.system IS NOT NULL AND $11 LIKE '%|' || m.system || '|%')) \
         AND ($12 = '||' OR m.system IS NULL OR $12 NOT LIKE '%|' || m.system || '|%')"
    };
}

pub(super) const NEWEST: ByTime = by_time!(
    "m.at", newest first, filtered!(), "$3" to "$4", "$13", "$14", "$15"
);
const OLDEST: ByTime = by_time!(
    "m.at", oldest first, filtered!(), "$3" to "$4", "$13", "$14", "$15"
);
const COUNT: &str = concat!(
    "SELECT count(*) ",
    filtered!(),
    " AND m.at >= $3 AND m.at <= $4"
);

/// Which messages of a room a list shows; all of them by default.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub latest: Option<Timestamp>,
    pub oldest: Option<Timestamp>,
    pub sender: Option<UserId>,
    pub thread: Option<MessageId>,
    pub id: Option<MessageId>,
    pub pinned: bool,
    /// Starred by one of these.
    pub starred_by: Vec<UserId>,
    /// Mentioning one of these.
    pub mentions: Vec<UserId>,
    /// Only these kinds of system messages.
    pub kinds: Vec<String>,
    /// None of these kinds.
    pub hidden: Vec<String>,
}

impl Filter {
    fn is_everything(&self) -> bool {
        self.latest.is_none()
            && self.oldest.is_none()
            && self.sender.is_none()
            && self.thread.is_none()
            && self.id.is_none()
            && !self.pinned
            && self.starred_by.is_empty()
            && self.mentions.is_empty()
            && self.kinds.is_empty()
            && self.hidden.is_empty()
    }
}

impl Messages {
    /// Messages of a room.
    pub async fn list(
        &self,
        viewer: &UserId,
        room: &RoomId,
        filter: &Filter,
        order: Order,
        slice: Slice,
    ) -> Result<Found, ViewError> {
        let mut reading = self.store.moment().await?;
        let bound = |sql: &'static str| {
            sql::query(sql)
                .bind(viewer.to_string())
                .bind(room.to_string())
                .bind(filter.oldest.map_or(i64::MIN, |at| at.0))
                .bind(filter.latest.map_or(i64::MAX, |at| at.0))
                .bind(or_empty(filter.sender.as_ref()))
                .bind(or_empty(filter.thread.as_ref()))
                .bind(or_empty(filter.id.as_ref()))
                .bind(i64::from(filter.pinned))
                .bind(joined(&filter.starred_by))
                .bind(joined(&filter.mentions))
                .bind(joined(&filter.kinds))
                .bind(joined(&filter.hidden))
        };
        let statements = match order {
            Order::NewestFirst => NEWEST,
            Order::OldestFirst => OLDEST,
        };
        let page = statements.find(&mut reading, slice, bound).await?;
        let total = if filter.is_everything() {
            total(&mut reading, room).await?
        } else {
            count(&mut reading, bound(COUNT)).await?
        };
        Ok(Found {
            total,
            lag: reading.lag,
            ..page
        })
    }

    /// How many messages a room has.
    pub async fn total(&self, room: &RoomId) -> Result<u64, ViewError> {
        let mut reading = self.store.read().await?;
        total(&mut reading, room).await
    }

    /// How many messages a room has after one time and up to another.
    pub async fn count_between(
        &self,
        room: &RoomId,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<u64, ViewError> {
        let mut reading = self.store.read().await?;
        let all =
            sql::query("SELECT count(*) FROM message WHERE room = $1 AND at > $2 AND at <= $3")
                .bind(room.to_string())
                .bind(after.0)
                .bind(until.0);
        count(&mut reading, all).await
    }
}

async fn total(tables: &mut AnyConnection, room: &RoomId) -> Result<u64, ViewError> {
    let row = sql::query("SELECT messages FROM total WHERE room = $1")
        .bind(room.to_string())
        .fetch_optional(tables)
        .await?;
    Ok(match row {
        Some(row) => row.try_get::<i64, _>(0)? as u64,
        None => 0,
    })
}
