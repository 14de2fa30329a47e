//! Reading the log: pages of rows, and rows into events.

use std::path::Path;

use futures::TryStreamExt;
use hansard_domain::id::Timestamp;
use hansard_domain::log::{LogError, Metadata, NewEvent, Position, StoredEvent, StreamId, Version};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow};
use sqlx::{Row, Sqlite, SqliteConnection, SqlitePool};

use super::super::packed::unpack;
use crate::sqlite::{Failure, failure};

/// A page ends with the event that reaches either limit.
const PAGE_EVENTS: usize = 1000;
const PAGE_BYTES: usize = 4 << 20;

pub fn options(path: &Path) -> SqliteConnectOptions {
    crate::sqlite::options(path)
        .create_if_missing(false)
        .pragma("query_only", "ON")
        // Rows that SQLite reads ahead of the decoder; few, as a single one may have megabytes.
        .row_buffer_size(32)
}

pub async fn head(connection: &mut SqliteConnection) -> Result<Position, sqlx::Error> {
    let head: Option<i64> = sqlx::query_scalar("SELECT max(position) FROM events")
        .fetch_one(connection)
        .await?;
    Ok(Position(head.unwrap_or_default() as u64))
}

pub async fn all(readers: &SqlitePool, after: Position) -> Result<Vec<StoredEvent>, LogError> {
    let query = sqlx::query(
        "SELECT position, stream, version, id, type, schema, at, clock, actor, correlation, causation,
                origin, payload, packed
         FROM events WHERE position > ? ORDER BY position LIMIT ?",
    );
    let query = query.bind(after.0 as i64).bind(PAGE_EVENTS as i64);
    page(readers, query).await
}

pub async fn stream(
    readers: &SqlitePool,
    stream: &StreamId,
    after: Version,
) -> Result<Vec<StoredEvent>, LogError> {
    let query = sqlx::query(
        "SELECT position, stream, version, id, type, schema, at, clock, actor, correlation, causation,
                origin, payload, packed
         FROM events WHERE stream = ? AND version > ? ORDER BY version LIMIT ?",
    );
    let query = query
        .bind(stream.as_str())
        .bind(after.0 as i64)
        .bind(PAGE_EVENTS as i64);
    page(readers, query).await
}

async fn page(
    readers: &SqlitePool,
    query: Query<'_, Sqlite, SqliteArguments>,
) -> Result<Vec<StoredEvent>, LogError> {
    let mut rows = query.fetch(readers);
    let mut events = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await.map_err(unreadable)? {
        let event = event(&row)?;
        bytes += event.event.payload.len();
        events.push(event);
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(events)
}

/// The last position whose event was recorded at or before `at`.
///
/// Needs no index: `at` never decreases with the position (the committer stamps its batches so),
/// hence some twenty probes by position find it in a million events.
pub async fn position_at(
    readers: &SqlitePool,
    head: Position,
    at: Timestamp,
) -> Result<Position, LogError> {
    let mut connection = readers.acquire().await.map_err(unreadable)?;
    // All up to `before` are at or before `at`, all after `last` are later than it.
    let (mut before, mut last) = (0, head.0 as i64);
    while before < last {
        let probe = last - (last - before) / 2;
        // The event at the probe, or the one that stands before a gap.
        let found: Option<(i64, i64)> = sqlx::query_as(
            "SELECT position, at FROM events WHERE position <= ? ORDER BY position DESC LIMIT 1",
        )
        .bind(probe)
        .fetch_optional(&mut *connection)
        .await
        .map_err(unreadable)?;
        match found {
            Some((position, recorded)) if recorded > at.0 => last = position - 1,
            // Nothing stands between what was found and the probe.
            _ => before = probe,
        }
    }
    let found: Option<i64> =
        sqlx::query_scalar("SELECT max(position) FROM events WHERE position <= ?")
            .bind(before)
            .fetch_one(&mut *connection)
            .await
            .map_err(unreadable)?;
    Ok(Position(found.unwrap_or_default() as u64))
}

fn unreadable(error: sqlx::Error) -> LogError {
    match failure(&error) {
        Failure::Damaged => LogError::Damaged {
            position: Position::START,
            reason: error.to_string(),
        },
        Failure::Full => LogError::Full,
        Failure::Disk | Failure::Other => LogError::Unavailable(error.to_string()),
    }
}

/// Decodes by place and unchecked: the table is STRICT, and checking every column of every row cost
/// a tenth of the rate.
fn event(row: &SqliteRow) -> Result<StoredEvent, LogError> {
    fn decode(row: &SqliteRow) -> Result<StoredEvent, Box<dyn std::error::Error + Send + Sync>> {
        let id = uuid::Uuid::from_slice(row.try_get_unchecked(3)?)?;
        let at = Timestamp(row.try_get_unchecked(6)?);
        let clock = row.try_get_unchecked::<Option<i64>, _>(7)?.map(Timestamp);
        let position = Position(row.try_get_unchecked::<i64, _>(0)? as u64);
        let stream = StreamId::from_name(row.try_get_unchecked(1)?);
        let version = Version(row.try_get_unchecked::<i64, _>(2)? as u64);
        let packed: Option<&[u8]> = row.try_get_unchecked(13)?;
        if let Some(packed) = packed {
            let (event, metadata) = unpack(packed, id, at, clock)?;
            return Ok(StoredEvent {
                position,
                stream,
                version,
                event,
                metadata,
            });
        }
        let actor: &str = row.try_get_unchecked(8)?;
        let correlation: Option<&str> = row.try_get_unchecked(9)?;
        let causation: Option<&[u8]> = row.try_get_unchecked(10)?;
        Ok(StoredEvent {
            position,
            stream,
            version,
            event: NewEvent {
                id,
                kind: row.try_get_unchecked::<&str, _>(4)?.into(),
                schema: u16::try_from(row.try_get_unchecked::<i64, _>(5)?)?,
                payload: row.try_get_unchecked(12)?,
                origin: row.try_get_unchecked(11)?,
            },
            metadata: Metadata {
                at,
                clock,
                actor: actor.parse()?,
                correlation: correlation.map(Into::into),
                causation: causation.map(uuid::Uuid::from_slice).transpose()?,
            },
        })
    }
    decode(row).map_err(|error| LogError::Damaged {
        position: Position(row.try_get_unchecked::<i64, _>(0).unwrap_or_default() as u64),
        reason: error.to_string(),
    })
}
