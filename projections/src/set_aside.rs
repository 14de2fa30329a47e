//! Events that a view could not take in: what is known of them stands in a table of its generation.
//!
//! One such event must not stop a view, so it is left out, and told where the views are told of. A
//! rebuild tries it again, with whatever has been mended by then, and begins a new list. A database
//! that fails is another matter: what it could not do is tried again until it can.

use hansard_domain::event::Entry;
use hansard_domain::log::Position;
use sqlx::{AnyConnection, Row};

use crate::sql;
use crate::view::ViewError;

pub const TABLE: &str = "CREATE TABLE set_aside (
    position bigint PRIMARY KEY,
    -- What happened, by the event's name.
    event text NOT NULL,
    -- Why the view could not take it in; holds nothing that the event says.
    reason text NOT NULL,
    -- It erases what therefore may stand in the tables still.
    erases bigint NOT NULL
)";

/// An event that is not in a view's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    pub position: Position,
    /// What happened, by the event's name.
    pub event: String,
    /// Why the view could not take it in.
    pub reason: String,
}

/// What a generation has to know of its own list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    pub count: u64,
    /// The first that erases something, after those that the tables were built from.
    pub erasing: Option<Position>,
}

impl Known {
    /// What stands in tables that were finished at a position.
    pub async fn of(tables: &mut AnyConnection, finished: Position) -> Result<Self, ViewError> {
        let row = sql::query(
            "SELECT count(*), min(CASE WHEN erases = 1 AND position > $1 THEN position END) \
             FROM set_aside",
        )
        .bind(finished.0 as i64)
        .fetch_one(tables)
        .await?;
        Ok(Self {
            count: row.try_get::<i64, _>(0)? as u64,
            erasing: row
                .try_get::<Option<i64>, _>(1)?
                .map(|position| Position(position as u64)),
        })
    }
}

/// Enters an event into the list.
pub async fn enter(
    tables: &mut AnyConnection,
    entry: &Entry,
    reason: &ViewError,
    erases: bool,
) -> Result<(), ViewError> {
    sql::query("INSERT INTO set_aside (position, event, reason, erases) VALUES ($1, $2, $3, $4)")
        .bind(entry.position.0 as i64)
        .bind(entry.event.kind())
        .bind(reason.to_string())
        .bind(i64::from(erases))
        .execute(tables)
        .await?;
    Ok(())
}

/// The events that a view's tables lack, the latest first.
pub async fn list(tables: &mut AnyConnection, most: u32) -> Result<Vec<SetAside>, ViewError> {
    sql::query("SELECT position, event, reason FROM set_aside ORDER BY position DESC LIMIT $1")
        .bind(i64::from(most))
        .fetch_all(tables)
        .await?
        .iter()
        .map(|row| {
            Ok(SetAside {
                position: Position(row.try_get::<i64, _>(0)? as u64),
                event: row.try_get(1)?,
                reason: row.try_get(2)?,
            })
        })
        .collect()
}
