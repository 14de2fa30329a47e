//! What is asked of the statistics.

use hansard_domain::id::Timestamp;
use sqlx::{AnyConnection, Row};

use super::fold::day;
use crate::sql;
use crate::view::ViewError;

pub(super) const MESSAGE: &str = "message";
pub(super) const LOGIN: &str = "login";
pub(super) const READ: &str = "read";

/// What there is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Messages by the kind of their room; those of discussions stand apart.
    pub channel_messages: u64,
    pub group_messages: u64,
    pub direct_messages: u64,
    pub discussion_messages: u64,
    pub last_message: Option<Timestamp>,
    pub last_login: Option<Timestamp>,
    pub last_read: Option<Timestamp>,
}

impl Counted {
    pub fn messages(&self) -> u64 {
        self.channel_messages
            + self.group_messages
            + self.direct_messages
            + self.discussion_messages
    }
}

pub async fn counted(tables: &mut AnyConnection) -> Result<Counted, ViewError> {
    let mut counted = Counted::default();
    let rooms = sql::query(
        "SELECT kind, discussion, CAST(sum(messages) AS bigint) FROM room \
         GROUP BY kind, discussion /* walks room: a row of three columns a room, for statistics */",
    )
    .fetch_all(&mut *tables)
    .await?;
    for row in &rooms {
        let kind: String = row.try_get(0)?;
        let messages = row.try_get::<i64, _>(2)?.max(0) as u64;
        let total = match (row.try_get::<i64, _>(1)?, kind.as_str()) {
            (0, "c") => &mut counted.channel_messages,
            (0, "p") => &mut counted.group_messages,
            (0, _) => &mut counted.direct_messages,
            _ => &mut counted.discussion_messages,
        };
        *total += messages;
    }
    for row in &sql::query("SELECT what, at FROM newest /* walks newest: it has two rows */")
        .fetch_all(tables)
        .await?
    {
        let at = Some(Timestamp(row.try_get(1)?));
        match row.try_get::<String, _>(0)?.as_str() {
            MESSAGE => counted.last_message = at,
            LOGIN => counted.last_login = at,
            READ => counted.last_read = at,
            _ => {}
        }
    }
    Ok(counted)
}

/// How many different people wrote or logged in on the days from one time to another.
pub async fn active_between(
    tables: &mut AnyConnection,
    from: Timestamp,
    to: Timestamp,
) -> Result<u64, ViewError> {
    let row =
        sql::query("SELECT count(DISTINCT user_id) FROM active WHERE day >= $1 AND day <= $2")
            .bind(day(from))
            .bind(day(to))
            .fetch_one(tables)
            .await?;
    Ok(row.try_get::<i64, _>(0)? as u64)
}
