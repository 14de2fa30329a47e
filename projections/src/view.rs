//! What a view is: tables, how events change them, and what can go wrong with them.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use hansard_domain::event::{Entry, Event};
use hansard_domain::fair::Crowded;
use hansard_domain::journal::JournalError;
use serde_json::error::Category;
use sqlx::AnyConnection;
use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;
use tokio::sync::watch;

use crate::sql::Dialect;

/// A set of tables made from the log alone. Its folder holds its schema, what events do to it, and
/// its queries.
///
/// Each generation of a view has a namespace of its own, so table names stand unqualified and reach
/// no other view. What the tables hold must depend on the events alone: not on the time, and not on
/// where one batch ends and the next begins.
#[async_trait]
pub trait View: Send + Sync + 'static {
    /// Lower-case letters: names files and metrics.
    fn name(&self) -> &'static str;

    /// Changes whenever the tables or their meaning do: a different number rebuilds the view.
    fn version(&self) -> u32;

    /// `CREATE TABLE …`, with a line for each column; the names `checkpoint`
    /// and `set_aside` are taken. Written for
    /// SQLite, and adapted for PostgreSQL: `WITHOUT ROWID` is left out, texts sort by their bytes, a
    /// `blob` is a `bytea`, and what stands in `/* PostgreSQL: … */` is no comment.
    fn schema(&self) -> &'static str;

    /// What the two databases have no common words for: a full-text index. On SQLite it must have its
    /// secure deletion switched on: what is erased must be gone from the file.
    fn own_schema(&self, _dialect: Dialect) -> &'static str {
        ""
    }

    /// `CREATE INDEX …`; run last in a rebuild. An index that `apply` searches by, or that a
    /// conflict clause names, belongs into the schema instead.
    fn indexes(&self) -> &'static str;

    /// Whether an event can change the tables; only such events are handed to [`Self::apply`]. What
    /// concerns no table costs no transaction.
    fn concerns(&self, _event: &Event) -> bool {
        true
    }

    /// Changes the tables. Runs in the transaction that also moves the view's checkpoint. Where it
    /// fails with an error that [lies in an event](ViewError::lies_in_an_event), or panics, smaller
    /// batches are tried, and in the end that event alone is left out. A
    /// statement costs some 10 µs whatever it does: fold the batch in memory and write it with
    /// [`rows`](crate::rows).
    async fn apply(
        &self,
        tables: &mut AnyConnection,
        entries: &[Arc<Entry>],
    ) -> Result<(), ViewError>;

    /// Whether an event may leave something to be done by [`Self::go_on`].
    fn defers(&self, _event: &Event) -> bool {
        false
    }

    /// Does a part of what events have left to be done, so little that no reader has to wait for it;
    /// answers whether there is more. It is called between batches, in a transaction of its own, until
    /// nothing is left, and after a restart. What the tables hold then is the same wherever in
    /// between batches came.
    async fn go_on(&self, _tables: &mut AnyConnection) -> Result<bool, ViewError> {
        Ok(false)
    }
}

/// Why a view could not be written or read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ViewError {
    /// It has no tables to answer from yet; they are being built.
    #[error("the view {0} is being built")]
    Building(&'static str),
    #[error("there is no view {0}")]
    Unknown(String),
    /// Only the node that feeds the views may do it.
    #[error("another node feeds the views; this has to be asked of that one")]
    Elsewhere,
    /// It may work later.
    #[error("a view is unavailable: {0}")]
    Unavailable(String),
    /// A query took longer than it may.
    #[error("the query takes too long; ask for less, or for a shorter time")]
    TooLong,
    /// As many as may at a time walk through many rows.
    #[error("too many ask the view for what takes long; ask again later, or for less")]
    Busy,
    /// The view has to be rebuilt.
    #[error(
        "it was made from what this log does not hold: an older copy of the log was put back, or \
         another log"
    )]
    Foreign,
    /// What is stored makes no sense; the view has to be rebuilt.
    #[error("a view is damaged: {0}")]
    Damaged(String),
    #[error("a row could not be written or read: {0}")]
    Row(String),
    #[error("a fold of events panicked; what the server wrote to its log then says where")]
    Panicked,
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl From<Crowded> for ViewError {
    fn from(_: Crowded) -> Self {
        Self::Busy
    }
}

impl ViewError {
    /// Whether it lies in what is to be taken in, so that trying again helps as little as another
    /// database would.
    pub fn lies_in_an_event(&self) -> bool {
        matches!(self, Self::Row(_) | Self::Panicked)
    }
}

/// Counts the errors that told of damage. For the whole process, because it is a query that meets
/// most damage, and its error knows nothing of the task that could repair it; whoever feeds a view
/// looks after its own tables when the count changes.
static SUSPICIONS: LazyLock<watch::Sender<u64>> = LazyLock::new(watch::Sender::default);

pub(crate) fn suspicions() -> watch::Receiver<u64> {
    SUSPICIONS.subscribe()
}

/// SQLite's primary codes for a file that is no database, or no more.
const DAMAGED_FILE: [i32; 2] = [11, 26];

/// PostgreSQL's codes for tables or indexes that can't be read, or are not there.
const DAMAGED_TABLES: [&str; 4] = ["XX001", "XX002", "42P01", "3F000"];

fn tells_of_damage(error: &(dyn DatabaseError + 'static)) -> bool {
    let Some(code) = error.code() else {
        return false;
    };
    if error.try_downcast_ref::<SqliteError>().is_some() {
        // The low byte is the primary code, what is above it says more.
        code.parse::<i32>()
            .is_ok_and(|code| DAMAGED_FILE.contains(&(code & 0xff)))
    } else {
        DAMAGED_TABLES.contains(&&*code)
    }
}

/// SQLite's primary codes for a disk that does not take or give what is asked of it, and for one that is full.
const REFUSED_BY_THE_DISK: [i32; 2] = [10, 13];

fn refused_by_the_disk(error: &(dyn DatabaseError + 'static)) -> bool {
    let code = error.code().and_then(|code| code.parse::<i32>().ok());
    error.try_downcast_ref::<SqliteError>().is_some()
        && code.is_some_and(|code| REFUSED_BY_THE_DISK.contains(&(code & 0xff)))
}

/// Whether a statement was interrupted because its time was over.
fn took_too_long(error: &(dyn DatabaseError + 'static)) -> bool {
    let Some(code) = error.code() else {
        return false;
    };
    if error.try_downcast_ref::<SqliteError>().is_some() {
        code.parse::<i32>()
            .is_ok_and(|code| code & 0xff == INTERRUPTED)
    } else {
        code == QUERY_CANCELED
    }
}

/// SQLite's primary code for what was interrupted.
const INTERRUPTED: i32 = 9;

/// PostgreSQL's code for what was canceled.
const QUERY_CANCELED: &str = "57014";

/// SQLite's primary codes for a value that it does not take: too big, against a constraint, of another
/// type, out of range.
const REFUSED_BY_SQLITE: [i32; 4] = [18, 19, 20, 25];

/// PostgreSQL's classes of such codes: data exceptions, constraints, limits of what a row can hold.
const REFUSED_BY_POSTGRES: [&str; 3] = ["22", "23", "54"];

/// Why a database does not take a value, if that is what the error is about. What it says of the value
/// itself is left out: it may be confidential.
fn refusal(error: &(dyn DatabaseError + 'static)) -> Option<String> {
    let code = error.code()?;
    if error.try_downcast_ref::<SqliteError>().is_some() {
        let primary = code.parse::<i32>().ok()? & 0xff;
        let refused = REFUSED_BY_SQLITE.contains(&primary);
        return refused.then(|| error.message().to_owned());
    }
    let class = code.get(..2)?;
    let refused = REFUSED_BY_POSTGRES.contains(&class);
    refused.then(|| match class {
        "23" => error.message().to_owned(),
        _ => format!("the database refuses a value ({code})"),
    })
}

impl From<sqlx::Error> for ViewError {
    fn from(error: sqlx::Error) -> Self {
        if let Some(error) = error.as_database_error() {
            if tells_of_damage(error) {
                SUSPICIONS.send_modify(|count| *count += 1);
                return Self::Damaged(error.to_string());
            }
            if took_too_long(error) {
                return Self::TooLong;
            }
            if let Some(refusal) = refusal(error) {
                return Self::Row(refusal);
            }
            if refused_by_the_disk(error) {
                return Self::Unavailable(format!(
                    "the disk could not be read or written; check that it has room and works: {error}"
                ));
            }
        }
        match error {
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::Encode(_)
            | sqlx::Error::TypeNotFound { .. } => Self::Row(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for ViewError {
    fn from(error: serde_json::Error) -> Self {
        // Of a value that has another shape, the error tells the value, which may be confidential.
        Self::Row(match error.classify() {
            Category::Data => format!(
                "JSON has another shape than it should, at line {} column {}",
                error.line(),
                error.column()
            ),
            Category::Io | Category::Syntax | Category::Eof => error.to_string(),
        })
    }
}
