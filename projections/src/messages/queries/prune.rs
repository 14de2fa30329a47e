//! Which messages a prune takes.

use hansard_domain::id::{MessageId, RoomId};
use hansard_domain::room::{PruneCriteria, Pruned};
use hansard_domain::vault::KeyId;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Messages, joined};
use crate::sql;
use crate::view::ViewError;

const MATCHING: &str = "SELECT id, key_id FROM message \
     WHERE room = $1 AND at >= $2 AND at <= $3 \
     AND ($4 = 0 OR pinned = 0) AND ($5 = 0 OR discussion = 0) \
     AND ($6 = 0 OR has_files = 1) \
     AND ($7 = 0 OR (thread IS NULL AND last_reply IS NULL)) \
     AND ($8 = '||' OR $8 LIKE '%|' || sender || '|%') \
     ORDER BY at, position LIMIT $9";

impl Messages {
    /// Which messages of a room a prune takes, the oldest first, at most `most`; with the keys whose
    /// deletion erases them.
    pub async fn matching(
        &self,
        room: &RoomId,
        criteria: &PruneCriteria,
        most: u64,
    ) -> Result<Vec<Pruned>, ViewError> {
        let mut reading = self.store.patient().await?;
        let limit = match criteria.limit {
            0 => most,
            limit => limit.min(most),
        };
        let (oldest, latest) = if criteria.inclusive {
            (criteria.oldest, criteria.latest)
        } else {
            (criteria.oldest.next(), criteria.latest.previous())
        };
        let rows = sql::query(MATCHING)
            .bind(room.to_string())
            .bind(oldest.0)
            .bind(latest.0)
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
}

fn pruned(row: &AnyRow) -> Result<Pruned, ViewError> {
    Ok(Pruned {
        message: MessageId::new(row.try_get::<String, _>(0)?),
        key: KeyId(row.try_get::<i64, _>(1)? as u64),
    })
}
