//! The index of words, in the dialect of the database.

use hansard_domain::id::{MessageId, RoomId, UserId};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::fold::Row;
use super::question::Question;
use super::{fts5, tsvector};
use crate::sql::Dialect;
use crate::view::ViewError;

/// What is to be found.
pub(super) struct Wanted<'a> {
    pub question: &'a Question,
    /// In one of these; never empty.
    pub rooms: &'a [RoomId],
    /// By one of these; by anybody where there are none.
    pub senders: &'a [UserId],
    /// Of rows: from this one on, and before that one.
    pub from: i64,
    pub until: i64,
    pub count: i64,
    pub offset: i64,
}

/// The ids, in order.
pub(super) async fn find(
    tables: &mut AnyConnection,
    wanted: &Wanted<'_>,
) -> Result<Vec<AnyRow>, ViewError> {
    match Dialect::of(tables) {
        Dialect::Sqlite => fts5::find(tables, wanted).await,
        Dialect::Postgres => tsvector::find(tables, wanted).await,
    }
}

/// Enters rows, which are in the order of their numbers and stand in the table already.
pub(super) async fn add(
    tables: &mut AnyConnection,
    rows: &[(&MessageId, &Row)],
) -> Result<(), ViewError> {
    match Dialect::of(tables) {
        Dialect::Sqlite => fts5::add(tables, rows).await,
        Dialect::Postgres => tsvector::add(tables, rows).await,
    }
}

/// Takes rows out, which are in the order of their numbers and still stand in the table.
pub(super) async fn forget(
    tables: &mut AnyConnection,
    rows: &[(&MessageId, &Row)],
) -> Result<(), ViewError> {
    match Dialect::of(tables) {
        Dialect::Sqlite => fts5::forget(tables, rows).await,
        Dialect::Postgres => tsvector::forget(tables, rows).await,
    }
}

/// The first rows that have a word of a scope, at most so many.
pub(super) async fn scoped(
    tables: &mut AnyConnection,
    word: &str,
    most: i64,
) -> Result<Vec<AnyRow>, ViewError> {
    match Dialect::of(tables) {
        Dialect::Sqlite => fts5::scoped(tables, word, most).await,
        Dialect::Postgres => tsvector::rows_scoped(tables, word, most).await,
    }
}
