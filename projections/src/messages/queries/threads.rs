//! Threads: the messages that they hang on, and the replies.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::ControlFlow;

use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use serde::Deserialize;
use sqlx::Row as _;

use super::by_time::{self, ByTime, Filling, by_time};
use super::changes::{DELETED, Since};
use super::{Found, Messages, Order, Slice, count};
use crate::folding::folded;
use crate::sql;
use crate::view::ViewError;

/// The messages of the thread `$2` that are in the room of its head. Old logs may have others: who
/// may see the one room may not see the other. The thread is looked up, not the room (hence `||`).
macro_rules! in_thread {
    () => {
        "FROM message m WHERE m.thread = $2 \
         AND m.room || '' = (SELECT room FROM message WHERE id = $2)"
    };
}

pub(super) const THREAD: ByTime = by_time!(
    "m.at", oldest first, in_thread!(), "$3" to "$4", "$5", "$6", "$7"
);
const THREAD_NEWEST: ByTime = by_time!(
    "m.at", newest first, in_thread!(), "$3" to "$4", "$5", "$6", "$7"
);
const REPLIES: &str = concat!(
    "SELECT count(*) ",
    in_thread!(),
    " AND m.at >= $3 AND m.at <= $4"
);

const THREADS: ByTime = by_time!(
    "m.last_reply",
    newest first,
    "FROM message m WHERE m.room = $2 AND m.last_reply IS NOT NULL",
    "-9223372036854775807" to "9223372036854775807",
    "$3", "$4", "$5"
);

const EACH_THREAD: &str = concat!(
    "SELECT ",
    one!(),
    " AS one, m.id, m.last_reply FROM message m WHERE m.room = $2 AND m.last_reply IS NOT NULL \
     ORDER BY m.last_reply DESC, m.position DESC LIMIT $3 OFFSET $4"
);

const THREAD_UPDATED: ByTime = by_time!(
    "m.updated", oldest first, in_thread!(), after ("$3", "$4") to "$5", "$6", "$7", "$8"
);

const THREADS_UPDATED: ByTime = by_time!(
    "m.updated",
    oldest first,
    "FROM message m WHERE m.room = $2 AND m.last_reply IS NOT NULL",
    after ("$3", "$4") to "$5",
    "$6", "$7", "$8"
);

/// What was deleted in the thread `$1` between two times, both exclusive.
const DELETED_IN_THREAD: &str = "SELECT id, at FROM deleted \
     WHERE thread = $1 AND at > $2 AND at < $3 \
     AND room = (SELECT room FROM message WHERE id = $1) ORDER BY at, id LIMIT $4 OFFSET $5";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ThreadKind {
    All,
    /// Those that the viewer follows.
    Following,
    /// These, which the viewer has not read.
    Unread(HashSet<MessageId>),
}

/// Which replies of a thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct Replies {
    /// Not before this.
    pub oldest: Option<Timestamp>,
    /// Not after this.
    pub latest: Option<Timestamp>,
}

impl Messages {
    /// The replies of a thread.
    pub async fn thread(
        &self,
        viewer: &UserId,
        parent: &MessageId,
        replies: Replies,
        order: Order,
        slice: Slice,
    ) -> Result<Found, ViewError> {
        let mut reading = self.store.moment().await?;
        let bound = |sql: &'static str| {
            sql::query(sql)
                .bind(viewer.to_string())
                .bind(parent.to_string())
                .bind(replies.oldest.map_or(i64::MIN, |at| at.0))
                .bind(replies.latest.map_or(i64::MAX, |at| at.0))
        };
        let statements = match order {
            Order::OldestFirst => THREAD,
            Order::NewestFirst => THREAD_NEWEST,
        };
        let page = statements.find(&mut reading, slice, bound).await?;
        Ok(Found {
            total: count(&mut reading, bound(REPLIES)).await?,
            ..page
        })
    }

    /// Messages that threads hang on, those replied to last first; `text` is looked for in them,
    /// whatever its case.
    pub async fn threads(
        &self,
        viewer: &UserId,
        room: &RoomId,
        kind: &ThreadKind,
        text: &str,
        slice: Slice,
    ) -> Result<Found, ViewError> {
        let all = *kind == ThreadKind::All && text.is_empty();
        let mut reading = if all {
            self.store.moment().await?
        } else {
            self.store.walk().await?
        };
        let bound = |sql: &'static str| {
            sql::query(sql)
                .bind(viewer.to_string())
                .bind(room.to_string())
        };
        if all {
            let page = THREADS.find(&mut reading, slice, bound).await?;
            let all = sql::query(
                "SELECT count(*) FROM message WHERE room = $1 AND last_reply IS NOT NULL",
            );
            return Ok(Found {
                total: count(&mut reading, all.bind(room.to_string())).await?,
                ..page
            });
        }
        // A room's threads are few beside its messages: what is not a column is looked at here.
        let text = folded(text);
        let (mut filling, mut total) = (Filling::new(slice.count), 0);
        let mut ended = false;
        let all = Slice::default();
        by_time::each(
            &mut reading,
            all,
            || bound(EACH_THREAD),
            |row| {
                let (json, id): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
                // What can't be read is left out of what is looked for in it.
                let Ok(head) = hansard_domain::json::from_str::<Head<'_>>(json) else {
                    return Ok(ControlFlow::Continue(()));
                };
                let says = folded(&head.msg).contains(&text);
                let wanted = match kind {
                    ThreadKind::All => true,
                    ThreadKind::Following => head.replies.contains(viewer),
                    ThreadKind::Unread(threads) => threads.contains(id),
                };
                if says && wanted {
                    total += 1;
                    if total > slice.offset && !ended {
                        ended = filling.take(json, Timestamp(row.try_get(2)?)).is_break();
                    }
                }
                Ok(ControlFlow::Continue(()))
            },
        )
        .await?;
        Ok(Found {
            total,
            ..filling.found()
        })
    }

    /// How many threads there are in all rooms.
    pub async fn count_threads(&self) -> Result<u64, ViewError> {
        let mut reading = self.store.walk().await?;
        let all = sql::query(
            "SELECT count(*) FROM message WHERE last_reply IS NOT NULL \
             /* walks message: the index has the threads alone; for statistics */",
        );
        count(&mut reading, all).await
    }

    /// What happened in a thread after a time, the earliest change first.
    pub async fn thread_since(
        &self,
        viewer: &UserId,
        parent: &MessageId,
        since: Timestamp,
    ) -> Result<Since, ViewError> {
        let statements = (&THREAD_UPDATED, DELETED_IN_THREAD);
        self.since_in(statements, viewer, parent.as_ref(), since.into())
            .await
    }

    /// The messages that threads hang on in a room and that changed after a time, with a reply, for
    /// one, the earliest change first; and what was deleted in the room.
    pub async fn threads_since(
        &self,
        viewer: &UserId,
        room: &RoomId,
        since: Timestamp,
    ) -> Result<Since, ViewError> {
        let statements = (&THREADS_UPDATED, DELETED);
        self.since_in(statements, viewer, room.as_ref(), since.into())
            .await
    }
}

/// What is looked for in the message that a thread hangs on; what else it has is not taken in.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    msg: Cow<'a, str>,
    /// Who follows it.
    #[serde(default)]
    replies: Vec<UserId>,
}
