//! The history of a room, the newest message first.

use hansard_domain::id::{RoomId, Timestamp, UserId};
use sqlx::{AnyConnection, Row as _};

use super::by_time::{ByTime, JOINED, by_time};
use super::{Found, Messages, Slice, joined};
use crate::sql;
use crate::view::ViewError;

pub(super) const HISTORY: ByTime = by_time!(
    "m.at",
    newest first,
    "FROM message m WHERE m.room = $2 AND (m.main = 1 OR $5 = 1) \
     AND (m.system IS NULL OR $6 NOT LIKE '%|' || m.system || '|%')",
    "$3" to "$4",
    "$7", "$8", "$9"
);

const FIRST_UNREAD: &str = concat!(
    "SELECT ",
    one!(),
    " AS one FROM message m WHERE m.room = $2 AND m.at > $3 AND m.at < $4 \
     AND (m.main = 1 OR $5 = 1) \
     AND (m.system IS NULL OR $6 NOT LIKE '%|' || m.system || '|%') \
     ORDER BY m.at, m.position LIMIT 1"
);

const UNREAD: &str = "SELECT count(*) FROM message m \
     WHERE m.room = $1 AND m.at > $2 AND m.at < $3 AND (m.main = 1 OR $4 = 1) \
     AND (m.system IS NULL OR $5 NOT LIKE '%|' || m.system || '|%')";

/// A page of a room's history, the newest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Before this; everything when absent: a message may show a time a little ahead of the clock.
    pub latest: Option<Timestamp>,
    /// After this.
    pub oldest: Option<Timestamp>,
    /// The bounds belong to it.
    pub inclusive: bool,
    pub slice: Slice,
    /// With the replies that show in their thread alone.
    pub threads: bool,
    /// Kinds of system messages to leave out: few, and such as there are, because each message is
    /// looked up among them.
    pub hidden: Vec<String>,
}

/// What a page of history leaves before it that has not been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unread {
    /// The oldest of them, as JSON.
    pub first: Option<String>,
    pub count: u64,
}

impl Messages {
    /// A page of a room's history.
    pub async fn history(
        &self,
        viewer: &UserId,
        room: &RoomId,
        history: &History,
    ) -> Result<Found, ViewError> {
        let mut reading = match history.slice.count {
            _ if history.slice.is_deep() => self.store.walk().await?,
            Some(..=JOINED) => self.store.read().await?,
            // Read in parts.
            _ => self.store.moment().await?,
        };
        let lag = reading.lag;
        let found = page(&mut reading, viewer, room, history).await?;
        Ok(Found { lag, ..found })
    }

    /// What lies between two times of a room's history, both exclusive.
    pub async fn unread(
        &self,
        viewer: &UserId,
        room: &RoomId,
        (after, before): (Timestamp, Timestamp),
        history: &History,
    ) -> Result<Unread, ViewError> {
        let mut reading = self.store.walk().await?;
        let row = sql::query(UNREAD)
            .bind(room.to_string())
            .bind(after.0)
            .bind(before.0)
            .bind(i64::from(history.threads))
            .bind(joined(&history.hidden))
            .fetch_one(&mut reading)
            .await?;
        let count: i64 = row.try_get(0)?;
        if count == 0 {
            return Ok(Unread::default());
        }
        let first = sql::query(FIRST_UNREAD)
            .bind(viewer.to_string())
            .bind(room.to_string())
            .bind(after.0)
            .bind(before.0)
            .bind(i64::from(history.threads))
            .bind(joined(&history.hidden))
            .fetch_optional(&mut reading)
            .await?;
        Ok(Unread {
            first: first.map(|row| row.try_get(0)).transpose()?,
            count: count as u64,
        })
    }
}

pub(in crate::messages) async fn page(
    tables: &mut AnyConnection,
    viewer: &UserId,
    room: &RoomId,
    history: &History,
) -> Result<Found, ViewError> {
    let inclusive = history.inclusive;
    let oldest = history
        .oldest
        .map_or(i64::MIN, |at| if inclusive { at } else { at.next() }.0);
    let latest = history
        .latest
        .map_or(i64::MAX, |at| if inclusive { at } else { at.previous() }.0);
    let bound = |sql: &'static str| {
        sql::query(sql)
            .bind(viewer.to_string())
            .bind(room.to_string())
            .bind(oldest)
            .bind(latest)
            .bind(i64::from(history.threads))
            .bind(joined(&history.hidden))
    };
    HISTORY.find(tables, history.slice, bound).await
}
