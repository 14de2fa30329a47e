//! What can be asked about messages.
//!
//! A page is one row: the database puts the finished messages, their authors and the viewer's own
//! star together, because a row costs more on its way than a message.

use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::room::{PruneCriteria, Pruned};
use hansard_domain::vault::KeyId;
use serde_json::Value;
use sqlx::{AnyConnection, Row as _};

use super::row::SKEW;
use crate::rows::ByKey;
use crate::sql::{self, Query};
use crate::store::{Reading, Store};
use crate::view::ViewError;

/// A message as the viewer `$1` sees it: the author in front, its star if it gave one.
macro_rules! one {
    () => {
        "'{\"u\":' || coalesce( \
             (SELECT a.wire FROM author a WHERE a.id = m.sender), \
             '{\"_id\":\"' || m.sender || '\"}' \
         ) || CASE WHEN m.stars > 0 AND EXISTS ( \
             SELECT 1 FROM star v WHERE v.room = m.room AND v.user_id = $1 \
             AND v.at = m.at AND v.position = m.position \
         ) THEN ',\"starred\":[{\"_id\":\"' || $1 || '\"}],' ELSE ',' END || substr(m.wire, 2)"
    };
}

/// How many messages a selection has, and their JSON, joined. The inner selection is ordered and
/// bounded, so it is aggregated in its order.
macro_rules! page {
    ($selection:literal) => {
        concat!(
            "SELECT count(*), string_agg(one, ',') FROM (SELECT ",
            one!(),
            " AS one ",
            $selection,
            ") AS page"
        )
    };
}

/// Messages in the room `$2` that a [`Filter`] lets through.
macro_rules! filtered {
    () => {
        "FROM message m WHERE m.room = $2 \
         AND m.at >= $3 AND m.at <= $4 \
         AND ($5 = '' OR m.sender = $5) \
         AND ($6 = '' OR m.thread = $6) \
         AND ($7 = '' OR m.id = $7) \
         AND ($8 = 0 OR m.pinned = 1) \
         AND ($9 = '||' OR EXISTS (SELECT 1 FROM star s WHERE s.position = m.position \
             AND $9 LIKE '%|' || s.user_id || '|%')) \
         AND ($10 = '||' OR EXISTS (SELECT 1 FROM mention n WHERE n.position = m.position \
             AND $10 LIKE '%|' || n.user_id || '|%')) \
         AND ($11 = '||' OR (m.system IS NOT NULL AND $11 LIKE '%|' || m.system || '|%')) \
         AND ($12 = '||' OR m.system IS NULL OR $12 NOT LIKE '%|' || m.system || '|%') "
    };
}

const HISTORY: &str = page!(
    "FROM message m WHERE m.room = $2 AND m.at >= $3 AND m.at <= $4 \
     AND (m.main = 1 OR $5 = 1) \
     AND (m.system IS NULL OR $6 NOT LIKE '%|' || m.system || '|%') \
     ORDER BY m.at DESC, m.position DESC LIMIT $7 OFFSET $8"
);

const FIRST_UNREAD: &str = concat!(
    "SELECT ",
    one!(),
    " AS one FROM message m WHERE m.room = $2 AND m.at > $3 AND m.at < $4 \
     AND (m.main = 1 OR $5 = 1) \
     AND (m.system IS NULL OR $6 NOT LIKE '%|' || m.system || '|%') \
     ORDER BY m.at, m.position LIMIT 1"
);

const UNREAD: &str = "SELECT count(*), min(m.at) FROM message m \
     WHERE m.room = $1 AND m.at > $2 AND m.at < $3 AND (m.main = 1 OR $4 = 1) \
     AND (m.system IS NULL OR $5 NOT LIKE '%|' || m.system || '|%')";

const LIST_COUNT: &str = concat!("SELECT count(*) ", filtered!());

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

const THREAD: &str =
    page!("FROM message m WHERE m.thread = $2 ORDER BY m.at, m.position LIMIT $3 OFFSET $4");

const THREAD_NEWEST: &str = page!(
    "FROM message m WHERE m.thread = $2 ORDER BY m.at DESC, m.position DESC LIMIT $3 OFFSET $4"
);

const THREADS: &str = page!(
    "FROM message m WHERE m.room = $2 AND m.last_reply IS NOT NULL \
     ORDER BY m.last_reply DESC, m.position DESC LIMIT $3 OFFSET $4"
);

const EACH_THREAD: &str = concat!(
    "SELECT ",
    one!(),
    " AS one FROM message m WHERE m.room = $2 AND m.last_reply IS NOT NULL \
     ORDER BY m.last_reply DESC, m.position DESC"
);

// What was sent since is found by its time (which may be a little before it was recorded), what
// changed since by the index of changed messages (`at + 0` keeps the clustered order out of that).
const UPDATED: &str = page!(
    "FROM ( \
         SELECT * FROM message WHERE room = $2 AND at > $4 AND updated > $3 \
         UNION ALL \
         SELECT * FROM message WHERE room = $2 AND changed > $3 AND at + 0 <= $4 \
     ) AS m ORDER BY m.updated, m.position LIMIT $5"
);

const THREAD_UPDATED: &str =
    page!("FROM message m WHERE m.thread = $2 AND m.updated > $3 ORDER BY m.at, m.position");

const THREADS_UPDATED: &str = page!(
    "FROM message m WHERE m.room = $2 AND m.last_reply IS NOT NULL AND m.updated > $3 \
     ORDER BY m.last_reply DESC, m.position DESC"
);

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

/// Which part of a list; `count` of `None` is all of it.
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
    /// How many stand in it.
    pub count: u64,
    /// How many there are altogether, where the query counts them.
    pub total: u64,
    /// How many events the view was behind; see [`Reading::lag`].
    pub lag: u64,
}

/// A page of a room's history, the newest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Before this; everything when absent.
    pub latest: Option<Timestamp>,
    /// After this.
    pub oldest: Option<Timestamp>,
    /// The bounds belong to it.
    pub inclusive: bool,
    pub slice: Slice,
    /// With the replies that show in their thread alone.
    pub threads: bool,
    /// Kinds of system messages to leave out.
    pub hidden: Vec<String>,
}

/// What a page of history leaves before it that has not been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unread {
    /// The oldest of them, as JSON.
    pub first: Option<String>,
    pub count: u64,
}

/// Which messages of a room a list shows; all of them by default.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub latest: Option<Timestamp>,
    pub oldest: Option<Timestamp>,
    pub sender: Option<UserId>,
    pub thread: Option<MessageId>,
    pub id: Option<MessageId>,
    pub pinned: bool,
    /// Starred by one of these.
    pub starred_by: Vec<UserId>,
    /// Mentioning one of these.
    pub mentions: Vec<UserId>,
    /// Only these kinds of system messages.
    pub kinds: Vec<String>,
    /// None of these kinds.
    pub hidden: Vec<String>,
}

impl Filter {
    fn is_everything(&self) -> bool {
        self.latest.is_none()
            && self.oldest.is_none()
            && self.sender.is_none()
            && self.thread.is_none()
            && self.id.is_none()
            && !self.pinned
            && self.starred_by.is_empty()
            && self.mentions.is_empty()
            && self.kinds.is_empty()
            && self.hidden.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ThreadKind {
    All,
    /// Those that the viewer follows.
    Following,
    /// Those that the viewer follows and that were replied to after this.
    Unread(Timestamp),
}

/// A message that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    pub id: MessageId,
    pub at: Timestamp,
}

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

    /// A page of a room's history.
    pub async fn history(
        &self,
        viewer: &UserId,
        room: &RoomId,
        history: &History,
    ) -> Result<Found, ViewError> {
        let mut reading = self.store.read().await?;
        let lag = reading.lag;
        let found = history_page(&mut reading, viewer, room, history).await?;
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
        let mut reading = self.store.read().await?;
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

    /// Messages of a room.
    pub async fn list(
        &self,
        viewer: &UserId,
        room: &RoomId,
        filter: &Filter,
        order: Order,
        slice: Slice,
    ) -> Result<Found, ViewError> {
        const NEWEST: &str = concat!(
            "SELECT count(*), string_agg(one, ',') FROM (SELECT ",
            one!(),
            " AS one ",
            filtered!(),
            "ORDER BY m.at DESC, m.position DESC LIMIT $13 OFFSET $14) AS page"
        );
        const OLDEST: &str = concat!(
            "SELECT count(*), string_agg(one, ',') FROM (SELECT ",
            one!(),
            " AS one ",
            filtered!(),
            "ORDER BY m.at, m.position LIMIT $13 OFFSET $14) AS page"
        );
        let mut reading = self.store.read().await?;
        let bound = |sql: &'static str| {
            sql::query(sql)
                .bind(viewer.to_string())
                .bind(room.to_string())
                .bind(filter.oldest.map_or(i64::MIN, |at| at.0))
                .bind(filter.latest.map_or(i64::MAX, |at| at.0))
                .bind(or_empty(filter.sender.as_ref()))
                .bind(or_empty(filter.thread.as_ref()))
                .bind(or_empty(filter.id.as_ref()))
                .bind(i64::from(filter.pinned))
                .bind(joined(&filter.starred_by))
                .bind(joined(&filter.mentions))
                .bind(joined(&filter.kinds))
                .bind(joined(&filter.hidden))
        };
        let sql = match order {
            Order::NewestFirst => NEWEST,
            Order::OldestFirst => OLDEST,
        };
        let query = bound(sql).bind(slice.limit()).bind(slice.skip());
        let page = found(&mut reading, query).await?;
        let total = if filter.is_everything() {
            total(&mut reading, room).await?
        } else {
            count(&mut reading, bound(LIST_COUNT)).await?
        };
        Ok(Found { total, ..page })
    }

    pub async fn pinned(
        &self,
        viewer: &UserId,
        room: &RoomId,
        slice: Slice,
    ) -> Result<Found, ViewError> {
        let mut reading = self.store.read().await?;
        let query = sql::query(PINNED)
            .bind(viewer.to_string())
            .bind(room.to_string())
            .bind(slice.limit())
            .bind(slice.skip());
        let page = found(&mut reading, query).await?;
        let all = sql::query("SELECT count(*) FROM message WHERE room = $1 AND pinned = 1");
        let total = count(&mut reading, all.bind(room.to_string())).await?;
        Ok(Found { total, ..page })
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
        page: &'static str,
        all: &'static str,
        slice: Slice,
    ) -> Result<Found, ViewError> {
        let mut reading = self.store.read().await?;
        let query = sql::query(page)
            .bind(viewer.to_string())
            .bind(room.to_string())
            .bind(viewer.to_string())
            .bind(slice.limit())
            .bind(slice.skip());
        let page = found(&mut reading, query).await?;
        let all = sql::query(all)
            .bind(room.to_string())
            .bind(viewer.to_string());
        let total = count(&mut reading, all).await?;
        Ok(Found { total, ..page })
    }

    /// The replies of a thread.
    pub async fn thread(
        &self,
        viewer: &UserId,
        parent: &MessageId,
        order: Order,
        slice: Slice,
    ) -> Result<Found, ViewError> {
        let mut reading = self.store.read().await?;
        let sql = match order {
            Order::OldestFirst => THREAD,
            Order::NewestFirst => THREAD_NEWEST,
        };
        let query = sql::query(sql)
            .bind(viewer.to_string())
            .bind(parent.to_string())
            .bind(slice.limit())
            .bind(slice.skip());
        let page = found(&mut reading, query).await?;
        let all = sql::query("SELECT count(*) FROM message WHERE thread = $1");
        let total = count(&mut reading, all.bind(parent.to_string())).await?;
        Ok(Found { total, ..page })
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
        let mut reading = self.store.read().await?;
        if *kind == ThreadKind::All && text.is_empty() {
            let query = sql::query(THREADS)
                .bind(viewer.to_string())
                .bind(room.to_string())
                .bind(slice.limit())
                .bind(slice.skip());
            let page = found(&mut reading, query).await?;
            let all = sql::query(
                "SELECT count(*) FROM message WHERE room = $1 AND last_reply IS NOT NULL",
            );
            let total = count(&mut reading, all.bind(room.to_string())).await?;
            return Ok(Found { total, ..page });
        }
        // A room's threads are few beside its messages: what is not a column is looked at here.
        let rows = sql::query(EACH_THREAD)
            .bind(viewer.to_string())
            .bind(room.to_string())
            .fetch_all(&mut reading)
            .await?;
        let text = text.to_lowercase();
        let mut chosen = Vec::new();
        for row in rows {
            let json: String = row.try_get(0)?;
            let message: Value = hansard_domain::json::from_str(&json)?;
            let says = message["msg"]
                .as_str()
                .is_some_and(|msg| msg.to_lowercase().contains(&text));
            let wanted = match kind {
                ThreadKind::All => true,
                ThreadKind::Following => follows(&message, viewer),
                ThreadKind::Unread(since) => {
                    let last = message["tlm"].as_str().and_then(Timestamp::parse);
                    last.is_some_and(|last| last > *since) && follows(&message, viewer)
                }
            };
            if says && wanted {
                chosen.push(json);
            }
        }
        let total = chosen.len() as u64;
        let page: Vec<String> = chosen
            .into_iter()
            .skip(slice.offset as usize)
            .take(slice.count.map_or(usize::MAX, |count| count as usize))
            .collect();
        Ok(Found {
            json: format!("[{}]", page.join(",")),
            count: page.len() as u64,
            total,
            lag: reading.lag,
        })
    }

    /// What was sent or changed in a room after a time, the earliest change first, at most `limit`.
    pub async fn updated(
        &self,
        viewer: &UserId,
        room: &RoomId,
        since: Timestamp,
        limit: Option<u64>,
    ) -> Result<Found, ViewError> {
        let mut reading = self.store.read().await?;
        let slice = Slice {
            offset: 0,
            count: limit,
        };
        let query = sql::query(UPDATED)
            .bind(viewer.to_string())
            .bind(room.to_string())
            .bind(since.0)
            .bind(since.minus(SKEW).0)
            .bind(slice.limit());
        found(&mut reading, query).await
    }

    /// What was sent or changed in a thread after a time.
    pub async fn thread_updated(
        &self,
        viewer: &UserId,
        parent: &MessageId,
        since: Timestamp,
    ) -> Result<Found, ViewError> {
        let mut reading = self.store.read().await?;
        let query = sql::query(THREAD_UPDATED)
            .bind(viewer.to_string())
            .bind(parent.to_string())
            .bind(since.0);
        found(&mut reading, query).await
    }

    /// The messages that threads hang on in a room and that changed after a time: with a reply, for
    /// one.
    pub async fn threads_updated(
        &self,
        viewer: &UserId,
        room: &RoomId,
        since: Timestamp,
    ) -> Result<Found, ViewError> {
        let mut reading = self.store.read().await?;
        let query = sql::query(THREADS_UPDATED)
            .bind(viewer.to_string())
            .bind(room.to_string())
            .bind(since.0);
        found(&mut reading, query).await
    }

    /// What was deleted in a room after a time, and how much that is altogether.
    pub async fn deleted(
        &self,
        room: &RoomId,
        since: Timestamp,
        slice: Slice,
    ) -> Result<(Vec<Deleted>, u64), ViewError> {
        let mut reading = self.store.read().await?;
        let rows = sql::query(
            "SELECT id, at FROM deleted WHERE room = $1 AND at > $2 \
             ORDER BY at, id LIMIT $3 OFFSET $4",
        )
        .bind(room.to_string())
        .bind(since.0)
        .bind(slice.limit())
        .bind(slice.skip())
        .fetch_all(&mut reading)
        .await?;
        let all = sql::query("SELECT count(*) FROM deleted WHERE room = $1 AND at > $2");
        let total = count(&mut reading, all.bind(room.to_string()).bind(since.0)).await?;
        Ok((deleted(&rows)?, total))
    }

    /// What was deleted in a thread after a time.
    pub async fn thread_deleted(
        &self,
        parent: &MessageId,
        since: Timestamp,
    ) -> Result<Vec<Deleted>, ViewError> {
        let mut reading = self.store.read().await?;
        let rows =
            sql::query("SELECT id, at FROM deleted WHERE thread = $1 AND at > $2 ORDER BY at, id")
                .bind(parent.to_string())
                .bind(since.0)
                .fetch_all(&mut reading)
                .await?;
        deleted(&rows)
    }

    /// One message; `None` if it is not there, or no more.
    pub async fn single(
        &self,
        viewer: &UserId,
        id: &MessageId,
    ) -> Result<Option<MessageHead>, ViewError> {
        let mut reading = self.store.read().await?;
        let row = sql::query(SINGLE)
            .bind(viewer.to_string())
            .bind(id.to_string())
            .fetch_optional(&mut reading)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(MessageHead {
            json: row.try_get(0)?,
            room: RoomId::new(row.try_get::<String, _>(1)?),
            sender: UserId::new(row.try_get::<String, _>(2)?),
            at: Timestamp(row.try_get(3)?),
            thread: row.try_get::<Option<String>, _>(4)?.map(MessageId::new),
        }))
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
        let mut reading = self.store.read().await?;
        let (mut json, mut count) = (String::from("["), 0);
        for row in among.fetch_with(&mut reading, viewer.as_str(), ids).await? {
            let Some(page) = row.try_get::<Option<String>, _>(1)? else {
                continue;
            };
            count += row.try_get::<i64, _>(0)? as u64;
            json.push_str(if json.len() == 1 { "" } else { "," });
            json.push_str(&page);
        }
        json.push(']');
        Ok(Found {
            json,
            count,
            total: count,
            lag: reading.lag,
        })
    }

    /// Which messages of a room a prune takes, the oldest first, at most `most`; with the keys whose
    /// deletion erases them.
    pub async fn matching(
        &self,
        room: &RoomId,
        criteria: &PruneCriteria,
        most: u64,
    ) -> Result<Vec<Pruned>, ViewError> {
        let mut reading = self.store.read().await?;
        let inside = i64::from(!criteria.inclusive);
        let limit = match criteria.limit {
            0 => most,
            limit => limit.min(most),
        };
        let rows = sql::query(
            "SELECT id, key_id FROM message \
             WHERE room = $1 AND at >= $2 AND at <= $3 \
             AND ($4 = 0 OR pinned = 0) AND ($5 = 0 OR discussion = 0) \
             AND ($6 = 0 OR has_files = 1) \
             AND ($7 = 0 OR (thread IS NULL AND last_reply IS NULL)) \
             AND ($8 = '||' OR $8 LIKE '%|' || sender || '|%') \
             ORDER BY at, position LIMIT $9",
        )
        .bind(room.to_string())
        .bind(criteria.oldest.0.saturating_add(inside))
        .bind(criteria.latest.0.saturating_sub(inside))
        .bind(i64::from(criteria.exclude_pinned))
        .bind(i64::from(criteria.ignore_discussion))
        .bind(i64::from(criteria.files_only))
        .bind(i64::from(criteria.ignore_threads))
        .bind(joined(&criteria.users))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut reading)
        .await?;
        rows.iter().map(pruned).collect()
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
        let mut reading = self.store.read().await?;
        let all =
            sql::query("SELECT count(*) FROM message WHERE room = $1 AND at > $2 AND at <= $3")
                .bind(room.to_string())
                .bind(after.0)
                .bind(until.0);
        count(&mut reading, all).await
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

fn follows(message: &Value, user: &UserId) -> bool {
    let followers = message["replies"].as_array();
    followers.is_some_and(|all| all.iter().any(|follower| follower == user.as_str()))
}

pub(super) async fn history_page(
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
    let query = sql::query(HISTORY)
        .bind(viewer.to_string())
        .bind(room.to_string())
        .bind(oldest)
        .bind(latest)
        .bind(i64::from(history.threads))
        .bind(joined(&history.hidden))
        .bind(history.slice.limit())
        .bind(history.slice.skip());
    page(tables, query).await
}

async fn found(reading: &mut Reading, query: Query) -> Result<Found, ViewError> {
    let lag = reading.lag;
    let found = page(reading, query).await?;
    Ok(Found { lag, ..found })
}

async fn page(tables: &mut AnyConnection, query: Query) -> Result<Found, ViewError> {
    let row = query.fetch_one(tables).await?;
    let joined: Option<String> = row.try_get(1)?;
    let joined = joined.unwrap_or_default();
    let mut json = String::with_capacity(joined.len() + 2);
    json.push('[');
    json.push_str(&joined);
    json.push(']');
    Ok(Found {
        json,
        count: row.try_get::<i64, _>(0)? as u64,
        total: 0,
        lag: 0,
    })
}

async fn count(tables: &mut AnyConnection, query: Query) -> Result<u64, ViewError> {
    Ok(query.fetch_one(tables).await?.try_get::<i64, _>(0)? as u64)
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

fn deleted(rows: &[sqlx::any::AnyRow]) -> Result<Vec<Deleted>, ViewError> {
    let read = |row: &sqlx::any::AnyRow| {
        Ok(Deleted {
            id: MessageId::new(row.try_get::<String, _>(0)?),
            at: Timestamp(row.try_get(1)?),
        })
    };
    rows.iter().map(read).collect()
}

fn pruned(row: &sqlx::any::AnyRow) -> Result<Pruned, ViewError> {
    Ok(Pruned {
        message: MessageId::new(row.try_get::<String, _>(0)?),
        key: KeyId(row.try_get::<i64, _>(1)? as u64),
    })
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
