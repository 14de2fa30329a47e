//! What changed and what was deleted in a room, for clients that keep a copy.

use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::log::Position;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::by_time::{ByTime, by_time};
use super::{Found, Messages, Slice, count};
use crate::sql::{self, Query};
use crate::view::ViewError;

/// What changed in the room `$2` beyond a point, up to a time.
pub(super) const UPDATED: ByTime = by_time!(
    "m.updated", oldest first, "FROM message m WHERE m.room = $2", after ("$3", "$4") to "$5",
    "$6", "$7", "$8"
);
pub(super) const UPDATED_NEWEST: ByTime = by_time!(
    "m.updated", newest first, "FROM message m WHERE m.room = $2", before ("$3", "$4") to "$5",
    "$6", "$7", "$8"
);

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

/// A point between changes, which are ordered by time, and by position where they share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub at: Timestamp,
    /// Inside of the changes of that time: beyond the message that stands there in the log. All of them
    /// are on the same side of the point where it is absent.
    pub position: Option<Position>,
}

impl From<Timestamp> for Point {
    fn from(at: Timestamp) -> Self {
        Self { at, position: None }
    }
}

/// From where on changes are read, and in which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// What changed after a point, the earliest change first.
    After(Point),
    /// What changed before a point, the latest change first.
    Before(Point),
}

impl Cursor {
    /// The times between which it reads, both exclusive.
    fn bounds(self) -> (i64, i64) {
        match self {
            Self::After(point) => (point.at.0, i64::MAX),
            Self::Before(point) => (i64::MIN, point.at.0),
        }
    }

    /// The time and the position beyond which it reads, and the time that it reads up to.
    fn beyond(self) -> (i64, i64, i64) {
        let inside = |position: Position| i64::try_from(position.0).unwrap_or(i64::MAX);
        match self {
            Self::After(Point { at, position }) => {
                (at.0, position.map_or(i64::MAX, inside), i64::MAX)
            }
            Self::Before(Point { at, position }) => {
                (at.0, position.map_or(i64::MIN, inside), i64::MIN)
            }
        }
    }

    /// On from a point, in the same direction.
    fn from(self, point: Point) -> Self {
        match self {
            Self::After(_) => Self::After(point),
            Self::Before(_) => Self::Before(point),
        }
    }

    /// From where what it leaves behind is read in the other direction, if the first change that it
    /// finds is of this time.
    fn back(self, first: Timestamp) -> Point {
        let inside = |point: Point, other: fn(u64) -> u64| Point {
            at: first,
            position: point
                .position
                .filter(|_| point.at == first)
                .map(|position| Position(other(position.0))),
        };
        match self {
            Self::After(point) => inside(point, |position| position.saturating_add(1)),
            Self::Before(point) => inside(point, |position| position.saturating_sub(1)),
        }
    }
}

/// A page of changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed<T> {
    pub found: T,
    /// From where what comes before the first change of the page is read, and what comes after the last.
    pub first: Option<Point>,
    pub last: Option<Point>,
    /// Whether there is more in the direction that was read.
    pub more: bool,
}

/// All that happened after a point, of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Since {
    /// What was sent or changed, and is there.
    pub updated: Found,
    pub deleted: Vec<Deleted>,
    /// The point up to which this tells of everything, where that is too much at once: there is more
    /// after it. It is the latest time in it but where more changes share that than are told at once.
    pub until: Option<Point>,
}

impl Messages {
    /// What happened in a room after a point, the earliest change first.
    pub async fn since(
        &self,
        viewer: &UserId,
        room: &RoomId,
        since: Point,
    ) -> Result<Since, ViewError> {
        self.since_in((&UPDATED, DELETED), viewer, room.as_ref(), since)
            .await
    }

    /// What happened in something after a point, the earliest change first: `updated` takes the viewer,
    /// what it happened in, the point's time and position, both exclusive, and a time, inclusive; `gone`
    /// all but the viewer, and times, exclusive. All deletions of the point's time are before it.
    pub(super) async fn since_in(
        &self,
        (updated, gone): (&ByTime, &'static str),
        viewer: &UserId,
        of: &str,
        since: Point,
    ) -> Result<Since, ViewError> {
        let mut reading = self.store.moment().await?;
        let cursor = Cursor::After(since);
        let mut deleted = deleted_page(&mut reading, gone, of, cursor, None).await?;
        let mut until = deleted.last.filter(|_| deleted.more);
        let (at, position, end) = cursor.beyond();
        let bound = |sql: &'static str| {
            sql::query(sql)
                .bind(viewer.to_string())
                .bind(of)
                .bind(at)
                .bind(position)
                .bind(until.map_or(end, |until| until.at.0))
        };
        let found = updated.find(&mut reading, Slice::default(), bound).await?;
        if found.full
            && let Some(last) = last(updated, &mut reading, &found, bound).await?
        {
            deleted.found.retain(|gone| gone.at <= last.at);
            until = Some(last);
        }
        Ok(Since {
            updated: found,
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
        let beyond = |cursor: Cursor, sql: &'static str| {
            let (at, position, end) = cursor.beyond();
            sql::query(sql)
                .bind(viewer.to_string())
                .bind(room.to_string())
                .bind(at)
                .bind(position)
                .bind(end)
        };
        let bound = |sql| beyond(cursor, sql);
        let statements = match cursor {
            Cursor::After(_) => UPDATED,
            Cursor::Before(_) => UPDATED_NEWEST,
        };
        let slice = Slice { offset: 0, count };
        let page = statements.find(&mut reading, slice, bound).await?;
        let last = last(&statements, &mut reading, &page, bound).await?;
        let more = match last.filter(|_| count.is_some() || page.full) {
            Some(last) => {
                let rest = |sql| beyond(cursor.from(last), sql);
                let next = statements.position(&mut reading, 0, rest).await?;
                next.is_some()
            }
            None => false,
        };
        Ok(Changed {
            first: page.first.map(|at| cursor.back(at)),
            last,
            more,
            found: page,
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
        let bounds = Cursor::After(since.into()).bounds();
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

/// The point after the last message of a page.
async fn last(
    list: &ByTime,
    tables: &mut AnyConnection,
    page: &Found,
    bound: impl Fn(&'static str) -> Query,
) -> Result<Option<Point>, ViewError> {
    let Some(at) = page.last else {
        return Ok(None);
    };
    let position = match page.count.checked_sub(1).filter(|_| page.split) {
        Some(place) => list.position(tables, place, bound).await?,
        None => None,
    };
    Ok(Some(Point { at, position }))
}

/// A page of what was deleted. However much was deleted at the time at its end, it is all there: ids
/// are small, and what one commit deletes is bounded.
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
            let rest = cursor.from(at.into()).bounds();
            more = !deleted(tables, sql, of, rest, one).await?.is_empty();
        }
    }
    Ok(Changed {
        first: found.first().map(|gone| gone.at.into()),
        last: found.last().map(|gone| gone.at.into()),
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
