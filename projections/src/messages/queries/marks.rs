//! Pinned, starred and mentioning messages of a room.

use hansard_domain::id::{RoomId, UserId};

use super::{Found, Messages, Order, Slice, count, page};
use crate::sql;
use crate::view::ViewError;

// The inner selection needs nothing but the index of pinned messages, and so is answered from it.
const PINNED: &str = page!(
    "FROM ( \
         SELECT at, position FROM message WHERE pinned = 1 AND room = $2 \
         ORDER BY at DESC, position DESC LIMIT $3 OFFSET $4 \
     ) AS p JOIN message m ON m.room = $2 AND m.at = p.at AND m.position = p.position \
     ORDER BY p.at DESC, p.position DESC"
);

const STARRED: &str = page!(
    "FROM star s JOIN message m ON m.room = s.room AND m.at = s.at AND m.position = s.position \
     WHERE s.room = $2 AND s.user_id = $3 \
     ORDER BY s.at DESC, s.position DESC LIMIT $4 OFFSET $5"
);

const STARRED_OLDEST: &str = page!(
    "FROM star s JOIN message m ON m.room = s.room AND m.at = s.at AND m.position = s.position \
     WHERE s.room = $2 AND s.user_id = $3 ORDER BY s.at, s.position LIMIT $4 OFFSET $5"
);

const MENTIONED: &str = page!(
    "FROM mention s JOIN message m ON m.room = s.room AND m.at = s.at AND m.position = s.position \
     WHERE s.room = $2 AND s.user_id = $3 \
     ORDER BY s.at DESC, s.position DESC LIMIT $4 OFFSET $5"
);

const MENTIONED_OLDEST: &str = page!(
    "FROM mention s JOIN message m ON m.room = s.room AND m.at = s.at AND m.position = s.position \
     WHERE s.room = $2 AND s.user_id = $3 ORDER BY s.at, s.position LIMIT $4 OFFSET $5"
);

impl Messages {
    pub async fn pinned(
        &self,
        viewer: &UserId,
        room: &RoomId,
        slice: Slice,
    ) -> Result<Found, ViewError> {
        let mut reading = self.store.moment().await?;
        let query = sql::query(PINNED)
            .bind(viewer.to_string())
            .bind(room.to_string())
            .bind(slice.limit())
            .bind(slice.skip());
        let page = page(&mut reading, query).await?;
        let all = sql::query("SELECT count(*) FROM message WHERE room = $1 AND pinned = 1");
        Ok(Found {
            total: count(&mut reading, all.bind(room.to_string())).await?,
            lag: reading.lag,
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
        let sql = match order {
            Order::NewestFirst => STARRED,
            Order::OldestFirst => STARRED_OLDEST,
        };
        let all = "SELECT count(*) FROM star WHERE room = $1 AND user_id = $2";
        self.marked(viewer, room, sql, all, slice).await
    }

    /// Where the viewer is mentioned in a room.
    pub async fn mentioned(
        &self,
        viewer: &UserId,
        room: &RoomId,
        order: Order,
        slice: Slice,
    ) -> Result<Found, ViewError> {
        let sql = match order {
            Order::NewestFirst => MENTIONED,
            Order::OldestFirst => MENTIONED_OLDEST,
        };
        let all = "SELECT count(*) FROM mention WHERE room = $1 AND user_id = $2";
        self.marked(viewer, room, sql, all, slice).await
    }

    async fn marked(
        &self,
        viewer: &UserId,
        room: &RoomId,
        marked: &'static str,
        all: &'static str,
        slice: Slice,
    ) -> Result<Found, ViewError> {
        let mut reading = self.store.moment().await?;
        let query = sql::query(marked)
            .bind(viewer.to_string())
            .bind(room.to_string())
            .bind(viewer.to_string())
            .bind(slice.limit())
            .bind(slice.skip());
        let page = page(&mut reading, query).await?;
        let all = sql::query(all)
            .bind(room.to_string())
            .bind(viewer.to_string());
        Ok(Found {
            total: count(&mut reading, all).await?,
            lag: reading.lag,
            ..page
        })
    }
}
