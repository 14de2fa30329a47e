//! Pinned, starred and mentioning messages of a room.

use hansard_domain::id::{RoomId, UserId};
use sqlx::AnyConnection;

use super::by_time::{JOINED, long};
use super::{Found, Messages, Order, Slice, count};
use crate::sql::{self, Query};
use crate::view::ViewError;

/// The statements that pages of one list are made of.
#[derive(Clone, Copy)]
struct Marked {
    /// The page as one row.
    page: &'static str,
    /// A row for each message: its JSON and its time.
    rows: &'static str,
}

/// Of a selection that is ordered; its last two parameters are the limit and the offset. It is
/// aggregated in its order.
macro_rules! marked {
    ($selection:literal) => {
        Marked {
            page: concat!(
                "SELECT count(*), string_agg(one, ',') FROM (SELECT ",
                one!(),
                " AS one ",
                $selection,
                ") AS page"
            ),
            rows: concat!("SELECT ", one!(), " AS one, m.at ", $selection),
        }
    };
}

// The inner selection needs nothing but the index of pinned messages, and so is answered from it.
const PINNED: Marked = marked!(
    "FROM ( \
         SELECT at, position FROM message WHERE pinned = 1 AND room = $2 \
         ORDER BY at DESC, position DESC LIMIT $3 OFFSET $4 \
     ) AS p JOIN message m ON m.room = $2 AND m.at = p.at AND m.position = p.position \
     ORDER BY p.at DESC, p.position DESC"
);

const STARRED: Marked = marked!(
    "FROM star s JOIN message m ON m.room = s.room AND m.at = s.at AND m.position = s.position \
     WHERE s.room = $2 AND s.user_id = $3 \
     ORDER BY s.at DESC, s.position DESC LIMIT $4 OFFSET $5"
);

const STARRED_OLDEST: Marked = marked!(
    "FROM star s JOIN message m ON m.room = s.room AND m.at = s.at AND m.position = s.position \
     WHERE s.room = $2 AND s.user_id = $3 ORDER BY s.at, s.position LIMIT $4 OFFSET $5"
);

const MENTIONED: Marked = marked!(
    "FROM mention s JOIN message m ON m.room = s.room AND m.at = s.at AND m.position = s.position \
     WHERE s.room = $2 AND s.user_id = $3 \
     ORDER BY s.at DESC, s.position DESC LIMIT $4 OFFSET $5"
);

const MENTIONED_OLDEST: Marked = marked!(
    "FROM mention s JOIN message m ON m.room = s.room AND m.at = s.at AND m.position = s.position \
     WHERE s.room = $2 AND s.user_id = $3 ORDER BY s.at, s.position LIMIT $4 OFFSET $5"
);

impl Marked {
    /// The part of the list that is asked for. `bound` gives a statement its parameters, all but those
    /// of the slice.
    async fn find(
        self,
        tables: &mut AnyConnection,
        slice: Slice,
        bound: impl Fn(&'static str) -> Query,
    ) -> Result<Found, ViewError> {
        if slice.count.is_none_or(|count| count > JOINED) {
            return long(tables, slice, || bound(self.rows)).await;
        }
        let page = bound(self.page).bind(slice.limit()).bind(slice.skip());
        Found::joined(&page.fetch_one(tables).await?)
    }
}

impl Messages {
    pub async fn pinned(
        &self,
        viewer: &UserId,
        room: &RoomId,
        slice: Slice,
    ) -> Result<Found, ViewError> {
        let mut reading = self.store.moment().await?;
        let bound = |sql: &'static str| {
            sql::query(sql)
                .bind(viewer.to_string())
                .bind(room.to_string())
        };
        let page = PINNED.find(&mut reading, slice, bound).await?;
        let all = sql::query("SELECT count(*) FROM message WHERE room = $1 AND pinned = 1");
        Ok(Found {
            total: count(&mut reading, all.bind(room.to_string())).await?,
            ..page
        })
    }

    /// What the viewer starred in a room.
    pub async fn starred(
        &self,
        viewer: &UserId,
        room: &RoomId,
        order: Order,
        slice: Slice,
    ) -> Result<Found, ViewError> {
        let marked = match order {
            Order::NewestFirst => STARRED,
            Order::OldestFirst => STARRED_OLDEST,
        };
        let all = "SELECT count(*) FROM star WHERE room = $1 AND user_id = $2";
        self.marked(viewer, room, marked, all, slice).await
    }

    /// Where the viewer is mentioned in a room.
    pub async fn mentioned(
        &self,
        viewer: &UserId,
        room: &RoomId,
        order: Order,
        slice: Slice,
    ) -> Result<Found, ViewError> {
        let marked = match order {
            Order::NewestFirst => MENTIONED,
            Order::OldestFirst => MENTIONED_OLDEST,
        };
        let all = "SELECT count(*) FROM mention WHERE room = $1 AND user_id = $2";
        self.marked(viewer, room, marked, all, slice).await
    }

    async fn marked(
        &self,
        viewer: &UserId,
        room: &RoomId,
        marked: Marked,
        all: &'static str,
        slice: Slice,
    ) -> Result<Found, ViewError> {
        let mut reading = self.store.moment().await?;
        let bound = |sql: &'static str| {
            sql::query(sql)
                .bind(viewer.to_string())
                .bind(room.to_string())
                .bind(viewer.to_string())
        };
        let page = marked.find(&mut reading, slice, bound).await?;
        let all = sql::query(all)
            .bind(room.to_string())
            .bind(viewer.to_string());
        Ok(Found {
            total: count(&mut reading, all).await?,
            ..page
        })
    }
}
