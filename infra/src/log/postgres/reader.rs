//! Reading the log: pages of rows, and rows into events.

use std::time::Duration;

use hansard_domain::id::Timestamp;
use hansard_domain::log::{LogError, Metadata, NewEvent, Position, StoredEvent, StreamId, Version};
use sqlx::Row;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use super::refused;
use crate::postgres::{Database, Failure, failure, number, within};

/// A page ends with the event that reaches either limit.
const PAGE_EVENTS: i64 = 1000;
const PAGE_BYTES: i64 = 4 << 20;

/// How long a page may take; a server that needs longer is as good as away.
const PAGE: Duration = Duration::from_secs(5);

/// How long a single number may take.
const NUMBER: Duration = Duration::from_secs(2);

/// The position of the last event.
pub async fn head(database: &Database) -> Result<Position, sqlx::Error> {
    let mut connection = database.borrow().await?;
    let asked =
        sqlx::query("SELECT coalesce(max(position), 0) FROM events").fetch_one(connection.get()?);
    let head = number(&within(NUMBER, asked).await??)?;
    connection.give_back();
    Ok(Position(head))
}

pub async fn all(database: &Database, after: Position) -> Result<Vec<StoredEvent>, LogError> {
    // The server counts the bytes, so that no more crosses the line than a page takes.
    let query = sqlx::query(
        "SELECT position, stream, version, id, type, schema, at, clock, actor, correlation, causation,
                origin, payload
         FROM (SELECT *, sum(octet_length(payload)) OVER (ORDER BY position
                                                       ROWS UNBOUNDED PRECEDING) AS bytes
               FROM (SELECT * FROM events WHERE position > $1 ORDER BY position LIMIT $2) AS found)
              AS page
         WHERE bytes - octet_length(payload) < $3 ORDER BY position",
    );
    let query = query
        .bind(after.0 as i64)
        .bind(PAGE_EVENTS)
        .bind(PAGE_BYTES);
    page(database, query).await
}

pub async fn stream(
    database: &Database,
    stream: &StreamId,
    after: Version,
) -> Result<Vec<StoredEvent>, LogError> {
    // PostgreSQL has no text with a NUL in it, hence no such stream.
    if stream.as_str().contains('\0') {
        return Ok(Vec::new());
    }
    let query = sqlx::query(
        "SELECT position, stream, version, id, type, schema, at, clock, actor, correlation, causation,
                origin, payload
         FROM (SELECT *, sum(octet_length(payload)) OVER (ORDER BY version
                                                       ROWS UNBOUNDED PRECEDING) AS bytes
               FROM (SELECT * FROM events WHERE stream = $4 AND version > $1
                     ORDER BY version LIMIT $2) AS found) AS page
         WHERE bytes - octet_length(payload) < $3 ORDER BY version",
    );
    let query = query
        .bind(after.0 as i64)
        .bind(PAGE_EVENTS)
        .bind(PAGE_BYTES)
        .bind(stream.as_str());
    page(database, query).await
}

async fn page(
    database: &Database,
    query: Query<'_, sqlx::Postgres, PgArguments>,
) -> Result<Vec<StoredEvent>, LogError> {
    let mut connection = database.borrow().await.map_err(unreadable)?;
    let rows = query.fetch_all(connection.get().map_err(unreadable)?);
    let rows = within(PAGE, rows)
        .await
        .and_then(|rows| rows)
        .map_err(unreadable)?;
    connection.give_back();
    rows.iter().map(event).collect()
}

/// The last position whose event was recorded at or before `at`.
///
/// Needs no index: `at` never decreases with the position, and positions are dense, hence some twenty
/// probes find it in a million events; the server makes them all in one statement.
pub async fn position_at(database: &Database, at: Timestamp) -> Result<Position, LogError> {
    // All up to `before` are at or before `at`, all after `last` are later than it.
    let query = sqlx::query(
        "WITH RECURSIVE probes (before, last) AS (
             SELECT 0::bigint, coalesce(max(position), 0) FROM events
             UNION ALL
             SELECT CASE WHEN events.at > $1 THEN probes.before ELSE events.position END,
                    CASE WHEN events.at > $1 THEN events.position - 1 ELSE probes.last END
             FROM probes
             JOIN events ON events.position = probes.last - (probes.last - probes.before) / 2
             WHERE probes.before < probes.last
         )
         SELECT before FROM probes WHERE before = last",
    );
    let mut connection = database.borrow().await.map_err(unreadable)?;
    let query = query
        .bind(at.0)
        .fetch_one(connection.get().map_err(unreadable)?);
    let row = within(PAGE, query)
        .await
        .and_then(|row| row)
        .map_err(unreadable)?;
    let position = number(&row).map_err(unreadable)?;
    connection.give_back();
    Ok(Position(position))
}

fn unreadable(error: sqlx::Error) -> LogError {
    match failure(&error) {
        Failure::Damaged => LogError::Damaged {
            position: Position::START,
            reason: error.to_string(),
        },
        Failure::Full | Failure::Other => refused(&error),
    }
}

/// Decodes by place, as the queries above name the columns.
fn event(row: &PgRow) -> Result<StoredEvent, LogError> {
    fn decode(row: &PgRow) -> Result<StoredEvent, Box<dyn std::error::Error + Send + Sync>> {
        let id: &[u8] = row.try_get_unchecked(3)?;
        let actor: &str = row.try_get_unchecked(8)?;
        let correlation: Option<&str> = row.try_get_unchecked(9)?;
        let causation: Option<&[u8]> = row.try_get_unchecked(10)?;
        Ok(StoredEvent {
            position: Position(row.try_get_unchecked::<i64, _>(0)? as u64),
            stream: StreamId::from_name(row.try_get_unchecked(1)?),
            version: Version(row.try_get_unchecked::<i64, _>(2)? as u64),
            event: NewEvent {
                id: uuid::Uuid::from_slice(id)?,
                kind: row.try_get_unchecked::<&str, _>(4)?.into(),
                schema: u16::try_from(row.try_get_unchecked::<i32, _>(5)?)?,
                payload: row.try_get_unchecked(12)?,
                origin: row.try_get_unchecked(11)?,
            },
            metadata: Metadata {
                at: Timestamp(row.try_get_unchecked(6)?),
                clock: row.try_get_unchecked::<Option<i64>, _>(7)?.map(Timestamp),
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
