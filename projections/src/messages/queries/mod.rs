//! What can be asked about messages.
//!
//! A page is one row: the database puts the finished messages, their authors and the viewer's own
//! star together, because a row costs more on its way than a message. A page and its total are of one
//! moment, and a page [by time](by_time) ends between two times. None has many more than
//! [`MOST_BYTES`], whatever was asked for.

/// A message as the viewer `$1` sees it: the author in front, its star if it gave one, and what the columns
/// say instead of the [stored](super::wire::Columns::stored) wire.
macro_rules! one {
    () => {
        "'{\"u\":' || coalesce( \
             (SELECT a.wire FROM author a WHERE a.id = m.sender), \
             '{\"_id\":\"' || m.sender || '\"}' \
         ) || CASE WHEN m.stars > 0 AND EXISTS ( \
             SELECT 1 FROM star v WHERE v.room = m.room AND v.user_id = $1 \
             AND v.at = m.at AND v.position = m.position \
         ) THEN ',\"starred\":[{\"_id\":\"' || $1 || '\"}],' ELSE ',' END \
         || CASE substr(m.wire, 1, 1) WHEN '{' THEN substr(m.wire, 2) ELSE \
             '\"_id\":\"' || m.id || '\",\"rid\":\"' || m.room \
             || '\",\"ts\":\"' || strftime('%Y-%m-%dT%H:%M:%fZ', m.at / 1000.0, 'unixepoch') \
             || '\",\"_updatedAt\":\"' || strftime('%Y-%m-%dT%H:%M:%fZ', m.updated / 1000.0, 'unixepoch') \
             || CASE substr(m.wire, 1, 1) WHEN '-' \
                 THEN '\",\"urls\":[],\"mentions\":[],\"channels\":[]' ELSE '\"' END \
             || substr(m.wire, 2) END"
    };
}

mod by_time;
mod changes;
mod history;
mod list;
mod marks;
mod prune;
mod threads;

use std::time::Duration;

use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

pub use self::changes::{Changed, Cursor, Deleted, Point, Since};
#[cfg(test)]
pub(crate) use self::history::page as history_page;
pub use self::history::{History, Unread};
pub use self::list::{Filter, MOST_MENTIONED};
pub use self::threads::{Replies, ThreadKind};
use crate::rows::ByKey;
use crate::sql::{self, Query};
use crate::store::Store;
use crate::view::ViewError;

const SINGLE: &str = concat!(
    "SELECT ",
    one!(),
    " AS one, m.room, m.sender, m.at, m.thread FROM message m WHERE m.id = $2"
);

const AMONG: ByKey = ByKey::new(concat!(
    "SELECT count(*), string_agg(one, ',') FROM (SELECT ",
    one!(),
    " AS one FROM message m WHERE m.id IN"
));

/// A page ends where it has so many bytes, even if more was asked for: it is made whole in memory.
pub const MOST_BYTES: usize = 32 << 20;

/// So many messages are passed over in some ten milliseconds.
const DEEP: u64 = 10_000;

/// Which part of a list; `count` of `None` is all of it, as far as a page goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Slice {
    pub offset: u64,
    pub count: Option<u64>,
}

impl Slice {
    fn limit(self) -> i64 {
        self.count
            .map_or(i64::MAX, |count| i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// So far on that the way there is walked, row by row.
    fn is_deep(self) -> bool {
        self.offset > DEEP
    }

    fn skip(self) -> i64 {
        i64::try_from(self.offset).unwrap_or(i64::MAX)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// A part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// A JSON array of messages.
    pub json: String,
    /// How many stand in it: those that were asked for, and up to a thousand more where the last of
    /// them share a time.
    pub count: u64,
    /// It ends because it is as large as a page may be: there is more.
    pub full: bool,
    /// It may end inside of the messages of its last time: there may be more of them.
    pub split: bool,
    /// How many there are altogether, where the query counts them.
    pub total: u64,
    /// The times of the first and of the last of them, by which they are ordered; `None` where nothing
    /// was found, or the list has another order.
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    /// Some of them have stars, so that others may see them otherwise.
    pub starred: bool,
}

impl Found {
    /// From a row that begins with a number of messages and their JSON, joined.
    fn joined(row: &AnyRow) -> Result<Self, ViewError> {
        let joined: Option<String> = row.try_get(1)?;
        let joined = joined.unwrap_or_default();
        let mut json = String::with_capacity(joined.len() + 2);
        json.push('[');
        json.push_str(&joined);
        json.push(']');
        Ok(Self {
            json,
            count: row.try_get::<i64, _>(0)? as u64,
            ..Self::default()
        })
    }
}

/// How many messages by their ids are read at once.
const AT_ONCE: usize = 64;

/// Where a message stands, and the message itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageHead {
    pub room: RoomId,
    pub sender: UserId,
    pub at: Timestamp,
    pub thread: Option<MessageId>,
    /// The message as JSON.
    pub json: String,
}

/// The queries.
#[derive(Clone)]
pub struct Messages {
    store: Store,
}

impl Messages {
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The same for readers who wait so long at most; see [`Store::hurried`].
    #[must_use]
    pub fn hurried(&self, patience: Duration) -> Self {
        Self::new(self.store.hurried(patience))
    }

    /// One message; `None` if it is not there, or no more.
    pub async fn single(
        &self,
        viewer: &UserId,
        id: &MessageId,
    ) -> Result<Option<MessageHead>, ViewError> {
        Ok(self.single_and_lag(viewer, id).await?.0)
    }

    /// The same, with how many events the view is behind.
    pub async fn single_and_lag(
        &self,
        viewer: &UserId,
        id: &MessageId,
    ) -> Result<(Option<MessageHead>, u64), ViewError> {
        let mut reading = self.store.read().await?;
        let row = sql::query(SINGLE)
            .bind(viewer.to_string())
            .bind(id.to_string())
            .fetch_optional(&mut reading)
            .await?;
        let Some(row) = row else {
            return Ok((None, reading.lag));
        };
        let message = MessageHead {
            json: row.try_get(0)?,
            room: RoomId::new(row.try_get::<String, _>(1)?),
            sender: UserId::new(row.try_get::<String, _>(2)?),
            at: Timestamp(row.try_get(3)?),
            thread: row.try_get::<Option<String>, _>(4)?.map(MessageId::new),
        };
        Ok((Some(message), reading.lag))
    }

    /// Messages by their ids, which are in this order of time; those that are gone are left out.
    pub async fn among(
        &self,
        viewer: &UserId,
        ids: &[MessageId],
        order: Order,
    ) -> Result<Found, ViewError> {
        let among = match order {
            Order::NewestFirst => AMONG.then("ORDER BY m.at DESC, m.position DESC) AS page"),
            Order::OldestFirst => AMONG.then("ORDER BY m.at, m.position) AS page"),
        };
        let mut reading = match ids.len() {
            ..=AT_ONCE => self.store.read().await?,
            _ => self.store.moment().await?,
        };
        let (mut json, mut count) = (String::from("["), 0);
        let mut full = false;
        for ids in ids.chunks(AT_ONCE) {
            full = json.len() >= MOST_BYTES;
            if full {
                break;
            }
            for row in among.fetch_with(&mut reading, viewer.as_str(), ids).await? {
                let Some(page) = row.try_get::<Option<String>, _>(1)? else {
                    continue;
                };
                count += row.try_get::<i64, _>(0)? as u64;
                json.push_str(if json.len() == 1 { "" } else { "," });
                json.push_str(&page);
            }
        }
        json.push(']');
        Ok(Found {
            json,
            count,
            full,
            total: count,
            ..Found::default()
        })
    }

    /// The ids that stand among these.
    pub async fn existing(&self, ids: &[MessageId]) -> Result<Vec<MessageId>, ViewError> {
        let mut reading = self.store.read().await?;
        let rows = ByKey::new("SELECT id FROM message WHERE id IN")
            .fetch(&mut reading, ids)
            .await?;
        rows.iter()
            .map(|row| Ok(MessageId::new(row.try_get::<String, _>(0)?)))
            .collect()
    }
}

async fn count(tables: &mut AnyConnection, query: Query) -> Result<u64, ViewError> {
    Ok(query.fetch_one(tables).await?.try_get::<i64, _>(0)? as u64)
}

/// `|a|b|`, which a statement looks an item up in; `||` for none.
fn joined(items: &[impl AsRef<str>]) -> String {
    let mut joined = String::from("|");
    for item in items {
        joined.push_str(item.as_ref());
        joined.push('|');
    }
    if items.is_empty() {
        joined.push('|');
    }
    joined
}

fn or_empty(id: Option<&impl AsRef<str>>) -> String {
    id.map_or_else(String::new, |id| id.as_ref().to_owned())
}
