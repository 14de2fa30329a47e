//! All messages of a room, by a filter.

use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use sqlx::{AnyConnection, Row as _};

use super::by_time::{ByTime, by_time};
use super::{Found, Messages, Order, Slice, count, or_empty};
use crate::sql;
use crate::view::ViewError;

/// The statements of a list.
struct List {
    newest: ByTime,
    oldest: ByTime,
    count: &'static str,
}

/// Messages in the room `$2` that a [`Filter`] lets through. Of those that are marked, only these are
/// looked up: a condition on marks is one on `(m.at, m.position)`.
macro_rules! filtered {
    ($marked:literal) => {
        concat!(
            "FROM message m WHERE m.room = $2 \
             AND ($5 = '' OR m.sender = $5) \
             AND ($6 = '' OR m.thread = $6) \
             AND ($7 = '' OR m.id = $7) \
             AND ($8 = 0 OR m.pinned = 1) \
             AND ($9 = '' OR m.system = $9)",
            $marked
        )
    };
}

macro_rules! list {
    ($marked:literal, $limit:literal, $offset:literal, $last:literal) => {
        List {
            newest: by_time!(
                "m.at", newest first, filtered!($marked), "$3" to "$4", $limit, $offset, $last
            ),
            oldest: by_time!(
                "m.at", oldest first, filtered!($marked), "$3" to "$4", $limit, $offset, $last
            ),
            count: concat!(
                "SELECT count(*) ",
                filtered!($marked),
                " AND m.at >= $3 AND m.at <= $4"
            ),
        }
    };
}

const ANY: List = list!("", "$10", "$11", "$12");
const STARRED: List = list!(
    " AND (m.at, m.position) IN ( \
         SELECT s.at, s.position FROM star s WHERE s.room = $2 AND s.user_id = $1)",
    "$10",
    "$11",
    "$12"
);
const MENTIONING: List = list!(
    " AND (m.at, m.position) IN ( \
         SELECT n.at, n.position FROM mention n WHERE n.room = $2 AND n.user_id IN \
             ($10, $11, $12, $13, $14, $15, $16, $17))",
    "$18",
    "$19",
    "$20"
);
const MENTIONING_STARRED: List = list!(
    " AND (m.at, m.position) IN ( \
         SELECT s.at, s.position FROM star s WHERE s.room = $2 AND s.user_id = $1) \
     AND (m.at, m.position) IN ( \
         SELECT n.at, n.position FROM mention n WHERE n.room = $2 AND n.user_id IN \
             ($10, $11, $12, $13, $14, $15, $16, $17))",
    "$18",
    "$19",
    "$20"
);
#[cfg(test)]
pub(super) const NEWEST: ByTime = ANY.newest;
#[cfg(test)]
pub(super) const NEWEST_MENTIONING: ByTime = MENTIONING.newest;

/// How many a list may look for mentions of.
pub const MOST_MENTIONED: usize = 8;

/// Which messages of a room a list shows; all of them by default.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub latest: Option<Timestamp>,
    pub oldest: Option<Timestamp>,
    pub sender: Option<UserId>,
    pub thread: Option<MessageId>,
    pub id: Option<MessageId>,
    pub pinned: bool,
    /// Starred by the viewer.
    pub starred: bool,
    /// Mentioning one of these, if there are any; what is beyond [`MOST_MENTIONED`] is not looked for.
    pub mentions: Vec<UserId>,
    /// Only system messages of this kind.
    pub kind: Option<String>,
}

impl Filter {
    fn is_everything(&self) -> bool {
        self.latest.is_none()
            && self.oldest.is_none()
            && self.sender.is_none()
            && self.thread.is_none()
            && self.id.is_none()
            && !self.pinned
            && !self.starred
            && self.mentions.is_empty()
            && self.kind.is_none()
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
        let mut reading = if filter.is_everything() && !slice.is_deep() {
            self.store.moment().await?
        } else {
            self.store.walk().await?
        };
        let bound = |sql: &'static str| {
            let query = sql::query(sql)
                .bind(viewer.to_string())
                .bind(room.to_string())
                .bind(filter.oldest.map_or(i64::MIN, |at| at.0))
                .bind(filter.latest.map_or(i64::MAX, |at| at.0))
                .bind(or_empty(filter.sender.as_ref()))
                .bind(or_empty(filter.thread.as_ref()))
                .bind(or_empty(filter.id.as_ref()))
                .bind(i64::from(filter.pinned))
                .bind(or_empty(filter.kind.as_ref()));
            // Naming somebody twice changes nothing.
            let last = filter.mentions.last().into_iter().cycle();
            let mentions = filter.mentions.iter().chain(last).take(MOST_MENTIONED);
            mentions.fold(query, |query, user| query.bind(user.to_string()))
        };
        let list = match (filter.mentions.is_empty(), filter.starred) {
            (true, false) => ANY,
            (true, true) => STARRED,
            (false, false) => MENTIONING,
            (false, true) => MENTIONING_STARRED,
        };
        let statements = match order {
            Order::NewestFirst => list.newest,
            Order::OldestFirst => list.oldest,
        };
        let page = statements.find(&mut reading, slice, bound).await?;
        let total = if filter.is_everything() {
            total(&mut reading, room).await?
        } else {
            count(&mut reading, bound(list.count)).await?
        };
        Ok(Found { total, ..page })
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
        let mut reading = self.store.walk().await?;
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
