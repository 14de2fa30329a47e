//! The history of a room, the newest message first.

use std::sync::Arc;

use hansard_domain::id::{RoomId, Timestamp, UserId};
use sqlx::{AnyConnection, Row as _};

use super::by_time::{ByTime, JOINED, by_time};
use super::{Found, Messages, Slice, count, joined};
use crate::answers::{Answer, Subject};
use crate::sql;
use crate::view::ViewError;

/// Kinds of system messages that `$5` names don't show.
macro_rules! not_hidden {
    ($message:literal) => {
        concat!(
            "(",
            $message,
            ".system IS NULL OR $5 NOT LIKE '%|' || ",
            $message,
            ".system || '|%')"
        )
    };
}

/// What shows in the room `$2`: by an index that has nothing else, and the messages beside it.
macro_rules! shown {
    () => {
        concat!("WHERE s.room = $2 AND s.main = 1 AND ", not_hidden!("s"))
    };
    (messages) => {
        concat!(
            "FROM message s CROSS JOIN message m ",
            shown!(),
            " AND m.room = s.room AND m.at = s.at AND m.position = s.position"
        )
    };
}

/// The same with the replies that show in their threads alone.
macro_rules! with_replies {
    () => {
        concat!("FROM message m WHERE m.room = $2 AND ", not_hidden!("m"))
    };
}

/// The statements of a history.
struct Statements {
    page: ByTime,
    /// The oldest between two times, both exclusive.
    first: &'static str,
    /// How many lie between two times, both exclusive.
    count: &'static str,
}

const SHOWN: Statements = Statements {
    page: by_time!(
        "s.at", "s.position", newest first, concat!("FROM message s ", shown!()), shown!(messages),
        "$3" to "$4", "$6", "$7", "$8"
    ),
    first: concat!(
        "SELECT ",
        one!(),
        " AS one ",
        shown!(messages),
        " AND s.at > $3 AND s.at < $4 ORDER BY s.at, s.position LIMIT 1"
    ),
    count: concat!(
        "SELECT count(*) FROM message s ",
        shown!(),
        " AND s.at > $3 AND s.at < $4"
    ),
};

const WITH_REPLIES: Statements = Statements {
    page: by_time!(
        "m.at", newest first, with_replies!(), "$3" to "$4", "$6", "$7", "$8"
    ),
    first: concat!(
        "SELECT ",
        one!(),
        " AS one ",
        with_replies!(),
        " AND m.at > $3 AND m.at < $4 ORDER BY m.at, m.position LIMIT 1"
    ),
    count: concat!(
        "SELECT count(*) ",
        with_replies!(),
        " AND m.at > $3 AND m.at < $4"
    ),
};

#[cfg(test)]
pub(super) const HISTORY: ByTime = SHOWN.page;
#[cfg(test)]
pub(super) const HISTORY_WITH_REPLIES: ByTime = WITH_REPLIES.page;

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

impl History {
    fn statements(&self) -> Statements {
        if self.threads { WITH_REPLIES } else { SHOWN }
    }
}

/// What a page of history leaves before it that has not been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unread {
    /// The oldest of them, as JSON.
    pub first: Option<String>,
    pub count: u64,
}

impl Messages {
    /// A page of a room's history. One of a statement is kept: for everybody, unless some of its messages
    /// have stars, which everybody sees the own of.
    pub async fn history(
        &self,
        viewer: &UserId,
        room: &RoomId,
        history: &History,
    ) -> Result<Arc<Found>, ViewError> {
        let mut reading = match history.slice.count {
            _ if history.slice.is_deep() => self.store.walk().await?,
            Some(..=JOINED) => {
                let read = async || {
                    let mut reading = self.store.read().await?;
                    let found = page(&mut reading, viewer, room, history).await?;
                    Ok(Answer {
                        own: found.starred,
                        bytes: size_of::<Found>() + found.json.len(),
                        about: vec![Subject::Room(room.clone())],
                        value: found,
                    })
                };
                let asked = format!("history {room} {history:?}");
                return self.store.answer(asked, viewer, read).await;
            }
            // Read in parts.
            _ => self.store.moment().await?,
        };
        let found = page(&mut reading, viewer, room, history).await?;
        Ok(Arc::new(found))
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
        let statements = history.statements();
        let bound = |sql: &'static str| {
            sql::query(sql)
                .bind(viewer.to_string())
                .bind(room.to_string())
                .bind(after.0)
                .bind(before.0)
                .bind(joined(&history.hidden))
        };
        let count = count(&mut reading, bound(statements.count)).await?;
        if count == 0 {
            return Ok(Unread::default());
        }
        let first = bound(statements.first).fetch_optional(&mut reading).await?;
        Ok(Unread {
            first: first.map(|row| row.try_get(0)).transpose()?,
            count,
        })
    }
}

pub(crate) async fn page(
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
            .bind(joined(&history.hidden))
    };
    let statements = history.statements();
    statements.page.find(tables, history.slice, bound).await
}
