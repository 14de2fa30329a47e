//! What changed and what was deleted in a room, for clients that keep a copy.

use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::by_time::{ByTime, by_time, cut, enough};
use super::{Found, Messages, Slice, count};
use crate::sql;
use crate::view::ViewError;

/// What changed in the room `$2` between two times.
pub(super) const UPDATED: ByTime = by_time!(
    "m.updated", oldest first, "FROM message m WHERE m.room = $2", "$3" to "$4", "$5", "$6", "$7"
);
const UPDATED_NEWEST: ByTime = by_time!(
    "m.updated", newest first, "FROM message m WHERE m.room = $2", "$3" to "$4", "$5", "$6", "$7"
);
/// The same, both times exclusive.
const ANY_UPDATED: &str = "SELECT count(*) FROM (SELECT 1 FROM message m \
     WHERE m.room = $2 AND m.updated > $3 AND m.updated < $4 LIMIT 1) AS any_one";

const DELETED: &str = "SELECT id, at FROM deleted WHERE room = $1 AND at > $2 AND at < $3 \
     ORDER BY at, id LIMIT $4 OFFSET $5";
const DELETED_NEWEST: &str = "SELECT id, at FROM deleted WHERE room = $1 AND at > $2 AND at < $3 \
     ORDER BY at DESC, id DESC LIMIT $4 OFFSET $5";

/// A message that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    pub id: MessageId,
    pub at: Timestamp,
}

/// From where on changes are read, and in which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// What changed after a time, the earliest change first.
    After(Timestamp),
    /// What changed before a time, the latest change first.
    Before(Timestamp),
}

impl Cursor {
    /// The times between which it reads, both exclusive.
    fn bounds(self) -> (i64, i64) {
        match self {
            Self::After(at) => (at.0, i64::MAX),
            Self::Before(at) => (i64::MIN, at.0),
        }
    }

    /// The same times, both inclusive.
    fn within(self) -> (i64, i64) {
        let (after, before) = self.bounds();
        (after.saturating_add(1), before.saturating_sub(1))
    }

    /// On from a time, in the same direction.
    fn from(self, at: Timestamp) -> Self {
        match self {
            Self::After(_) => Self::After(at),
            Self::Before(_) => Self::Before(at),
        }
    }
}

/// A page of changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed<T> {
    pub found: T,
    /// The times of the first and of the last change of the page.
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    /// Whether there is more in the direction that was read.
    pub more: bool,
}

/// All that happened after a time, of one moment: whoever goes on from the latest time in it misses
/// nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Since {
    /// What was sent or changed, and is there.
    pub updated: Found,
    pub deleted: Vec<Deleted>,
}

impl Messages {
    /// What happened in a room after a time, the earliest change first.
    pub async fn since(
        &self,
        viewer: &UserId,
        room: &RoomId,
        since: Timestamp,
    ) -> Result<Since, ViewError> {
        let mut reading = self.store.moment().await?;
        let cursor = Cursor::After(since);
        let (from, to) = cursor.within();
        let bound = |sql: &'static str| {
            sql::query(sql)
                .bind(viewer.to_string())
                .bind(room.to_string())
                .bind(from)
                .bind(to)
        };
        let updated = UPDATED.find(&mut reading, Slice::default(), bound).await?;
        let deleted = deleted(&mut reading, room, cursor, Slice::default()).await?;
        let lag = reading.lag;
        Ok(Since {
            updated: Found { lag, ..updated },
            deleted,
        })
    }

    /// A page of what was sent or changed in a room.
    pub async fn updated_page(
        &self,
        viewer: &UserId,
        room: &RoomId,
        cursor: Cursor,
        count: Option<u64>,
    ) -> Result<Changed<Found>, ViewError> {
        let mut reading = self.store.moment().await?;
        let between = |(after, before): (i64, i64), sql: &'static str| {
            sql::query(sql)
                .bind(viewer.to_string())
                .bind(room.to_string())
                .bind(after)
                .bind(before)
        };
        let bound = |sql| between(cursor.within(), sql);
        let statements = match cursor {
            Cursor::After(_) => UPDATED,
            Cursor::Before(_) => UPDATED_NEWEST,
        };
        let slice = Slice { offset: 0, count };
        let page = statements.find(&mut reading, slice, bound).await?;
        let more = match page.last.filter(|_| count.is_some()) {
            Some(last) => {
                let rest = between(cursor.from(last).bounds(), ANY_UPDATED);
                super::count(&mut reading, rest).await? > 0
            }
            None => false,
        };
        Ok(Changed {
            first: page.first,
            last: page.last,
            more,
            found: Found {
                lag: reading.lag,
                ..page
            },
        })
    }

    /// What was deleted in a room after a time, and how much that is altogether.
    pub async fn deleted(
        &self,
        room: &RoomId,
        since: Timestamp,
        slice: Slice,
    ) -> Result<(Vec<Deleted>, u64), ViewError> {
        let mut reading = self.store.moment().await?;
        let found = deleted(&mut reading, room, Cursor::After(since), slice).await?;
        let all = sql::query("SELECT count(*) FROM deleted WHERE room = $1 AND at > $2");
        let total = count(&mut reading, all.bind(room.to_string()).bind(since.0)).await?;
        Ok((found, total))
    }

    /// A page of what was deleted in a room.
    pub async fn deleted_page(
        &self,
        room: &RoomId,
        cursor: Cursor,
        count: Option<u64>,
    ) -> Result<Changed<Vec<Deleted>>, ViewError> {
        let mut reading = self.store.read().await?;
        // One more tells whether there is more.
        let at_hand = Slice {
            offset: 0,
            count: enough(count).map(|count| count.saturating_add(1)),
        };
        let all = deleted(&mut reading, room, cursor, at_hand).await?;
        let all: Vec<_> = all.into_iter().map(|gone| (gone.id, gone.at)).collect();
        let page = cut(&all, Slice { offset: 0, count });
        Ok(Changed {
            first: page.first().map(|(_, at)| *at),
            last: page.last().map(|(_, at)| *at),
            more: page.len() < all.len(),
            found: page
                .iter()
                .map(|(id, at)| Deleted {
                    id: id.clone(),
                    at: *at,
                })
                .collect(),
        })
    }
}

/// What was deleted in a thread after a time.
pub(super) async fn deleted_of_thread(
    tables: &mut AnyConnection,
    parent: &MessageId,
    since: Timestamp,
) -> Result<Vec<Deleted>, ViewError> {
    let rows = sql::query(
        "SELECT id, at FROM deleted WHERE thread = $1 AND at > $2 \
         AND room = (SELECT room FROM message WHERE id = $1) ORDER BY at, id",
    )
    .bind(parent.to_string())
    .bind(since.0)
    .fetch_all(tables)
    .await?;
    rows.iter().map(gone).collect()
}

pub(super) async fn deleted(
    tables: &mut AnyConnection,
    room: &RoomId,
    cursor: Cursor,
    slice: Slice,
) -> Result<Vec<Deleted>, ViewError> {
    let (after, before) = cursor.bounds();
    let rows = sql::query(match cursor {
        Cursor::After(_) => DELETED,
        Cursor::Before(_) => DELETED_NEWEST,
    })
    .bind(room.to_string())
    .bind(after)
    .bind(before)
    .bind(slice.limit())
    .bind(slice.skip())
    .fetch_all(tables)
    .await?;
    rows.iter().map(gone).collect()
}

fn gone(row: &AnyRow) -> Result<Deleted, ViewError> {
    Ok(Deleted {
        id: MessageId::new(row.try_get::<String, _>(0)?),
        at: Timestamp(row.try_get(1)?),
    })
}
