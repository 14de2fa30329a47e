//! What changed and what was deleted in a room, for clients that keep a copy.

use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::by_time::{ByTime, by_time};
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

/// What was deleted in the room `$1` between two times, both exclusive.
pub(super) const DELETED: &str = "SELECT id, at FROM deleted \
     WHERE room = $1 AND at > $2 AND at < $3 ORDER BY at, id LIMIT $4 OFFSET $5";
const DELETED_NEWEST: &str = "SELECT id, at FROM deleted \
     WHERE room = $1 AND at > $2 AND at < $3 ORDER BY at DESC, id DESC LIMIT $4 OFFSET $5";

/// How many deletions a page tells of at most, but for those of the time at its end: what a prune or
/// an erasure deletes has one time.
const MOST_DELETED: u64 = 100_000;

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
    /// The time up to which this tells of everything, where that is too much at once: there is more
    /// after it.
    pub until: Option<Timestamp>,
}

impl Messages {
    /// What happened in a room after a time, the earliest change first.
    pub async fn since(
        &self,
        viewer: &UserId,
        room: &RoomId,
        since: Timestamp,
    ) -> Result<Since, ViewError> {
        self.since_in((&UPDATED, DELETED), viewer, room.as_ref(), since)
            .await
    }

    /// What happened in something after a time, the earliest change first: `updated` takes the viewer,
    /// what it happened in, and two times, both inclusive; `gone` all but the viewer, and the times
    /// exclusive.
    pub(super) async fn since_in(
        &self,
        (updated, gone): (&ByTime, &'static str),
        viewer: &UserId,
        of: &str,
        since: Timestamp,
    ) -> Result<Since, ViewError> {
        let mut reading = self.store.moment().await?;
        let mut deleted = deleted_page(&mut reading, gone, of, Cursor::After(since), None).await?;
        let mut until = deleted.last.filter(|_| deleted.more);
        let bound = |sql: &'static str| {
            sql::query(sql)
                .bind(viewer.to_string())
                .bind(of)
                .bind(since.next().0)
                .bind(until.unwrap_or(Timestamp(i64::MAX)).0)
        };
        let updated = updated.find(&mut reading, Slice::default(), bound).await?;
        if let Some(last) = updated.last.filter(|_| updated.full) {
            deleted.found.retain(|gone| gone.at <= last);
            until = Some(last);
        }
        Ok(Since {
            updated: Found {
                lag: reading.lag,
                ..updated
            },
            deleted: deleted.found,
            until,
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
        let more = match page.last.filter(|_| count.is_some() || page.full) {
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
        let slice = Slice {
            count: Some(slice.count.unwrap_or(MOST_DELETED).min(MOST_DELETED)),
            ..slice
        };
        let bounds = Cursor::After(since).bounds();
        let found = deleted(&mut reading, DELETED, room.as_ref(), bounds, slice).await?;
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
        let mut reading = self.store.moment().await?;
        let sql = match cursor {
            Cursor::After(_) => DELETED,
            Cursor::Before(_) => DELETED_NEWEST,
        };
        deleted_page(&mut reading, sql, room.as_ref(), cursor, count).await
    }
}

/// A page of what was deleted. However much was deleted at the time at its end, it is all there: ids
/// are small, and the cursors that clients have know times alone.
async fn deleted_page(
    tables: &mut AnyConnection,
    sql: &'static str,
    of: &str,
    cursor: Cursor,
    count: Option<u64>,
) -> Result<Changed<Vec<Deleted>>, ViewError> {
    let wanted = count.unwrap_or(MOST_DELETED).min(MOST_DELETED);
    let one_more = Slice {
        offset: 0,
        count: Some(wanted + 1),
    };
    let mut found = deleted(tables, sql, of, cursor.bounds(), one_more).await?;
    let mut more = false;
    if found.len() as u64 > wanted
        && let Some(beyond) = found.pop()
    {
        more = true;
        if let Some(at) = found
            .last()
            .map(|last| last.at)
            .filter(|at| *at == beyond.at)
        {
            let before = found.partition_point(|gone| gone.at != at);
            found.truncate(before);
            let at_once = (at.previous().0, at.next().0);
            found.extend(deleted(tables, sql, of, at_once, Slice::default()).await?);
            let one = Slice {
                offset: 0,
                count: Some(1),
            };
            let rest = cursor.from(at).bounds();
            more = !deleted(tables, sql, of, rest, one).await?.is_empty();
        }
    }
    Ok(Changed {
        first: found.first().map(|gone| gone.at),
        last: found.last().map(|gone| gone.at),
        more,
        found,
    })
}

/// What was deleted in something between two times, both exclusive.
async fn deleted(
    tables: &mut AnyConnection,
    sql: &'static str,
    of: &str,
    (after, before): (i64, i64),
    slice: Slice,
) -> Result<Vec<Deleted>, ViewError> {
    let rows = sql::query(sql)
        .bind(of)
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
