//! What is asked about prunes.

use hansard_domain::id::{MessageId, RoomId, Timestamp};
use sqlx::{AnyConnection, Row};

use crate::sql;
use crate::view::ViewError;

/// How much was pruned from a room for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedTotal {
    pub room: RoomId,
    /// `requested`, `retention`, `deletion`.
    pub reason: String,
    pub messages: u64,
    /// When it happened last.
    pub last_at: Timestamp,
}

/// What was pruned from each room; of one room, if one is given.
pub async fn pruned(
    tables: &mut AnyConnection,
    room: Option<&RoomId>,
) -> Result<Vec<PrunedTotal>, ViewError> {
    let rows = sql::query(
        "SELECT room, reason, messages, last_at FROM pruned \
         WHERE $1 = '' OR room = $1 ORDER BY room, reason \
         /* walks pruned: a row or two a room, for an auditor */",
    )
    .bind(room.map_or_else(String::new, ToString::to_string))
    .fetch_all(tables)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(PrunedTotal {
                room: RoomId::new(row.try_get::<String, _>(0)?),
                reason: row.try_get(1)?,
                messages: row.try_get::<i64, _>(2)? as u64,
                last_at: Timestamp(row.try_get(3)?),
            })
        })
        .collect()
}

/// Messages that people deleted from a room and that left something for a prune.
pub async fn deleted(
    tables: &mut AnyConnection,
    room: &RoomId,
) -> Result<Vec<MessageId>, ViewError> {
    let rows = sql::query("SELECT message FROM deleted WHERE room = $1 ORDER BY message")
        .bind(room.to_string())
        .fetch_all(tables)
        .await?;
    rows.iter()
        .map(|row| Ok(MessageId::new(row.try_get::<String, _>(0)?)))
        .collect()
}
