//! What the SQLite adapters share: connection options and the meaning of error codes.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, SqliteConnection};
use tokio::sync::Mutex;

use crate::plain;

/// Write-ahead log, durable at every commit.
pub fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(4096)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging()
}

/// The only connection that writes to a file. Writes come one at a time.
///
/// It is given up whenever something fails on it, or is dropped in the middle: where the disk is full or
/// broken SQLite ends a transaction by itself, the statement that should end it fails, and all that is written
/// later would be part of a transaction that is never committed, although each commit succeeds.
pub struct Writer {
    options: SqliteConnectOptions,
    held: Mutex<Option<SqliteConnection>>,
}

impl Writer {
    /// Connects when it is used.
    pub fn new(options: SqliteConnectOptions) -> Self {
        Self {
            options,
            held: Mutex::default(),
        }
    }

    /// Does some work that fails with the errors of SQLite, or with others.
    pub async fn write<T, E: From<sqlx::Error>>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut held = self.held.lock().await;
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.options).await?,
        };
        let done = work(&mut connection).await?;
        *held = Some(connection);
        Ok(done)
    }
}

/// What an error of SQLite means to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Full,
    Damaged,
    /// It may be full, or broken.
    Disk,
    Other,
}

const SQLITE_IOERR: i32 = 10;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_NOTADB: i32 = 26;

/// What is wrong with a file that can't be opened, and what to do about it.
pub fn advice(error: &sqlx::Error) -> String {
    match failure(error) {
        Failure::Full => "the disk is full; make room and start again".to_owned(),
        Failure::Damaged => {
            "it is damaged, or is no file of this server; put it back from a backup".to_owned()
        }
        Failure::Disk => {
            "the disk could not be read or written; check that it has room and works".to_owned()
        }
        Failure::Other => plain::database(error),
    }
}

pub fn failure(error: &sqlx::Error) -> Failure {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|code| code.parse::<i32>().ok());
    // The low byte is the primary code, what is above it says more.
    match code.map(|code| code & 0xff) {
        Some(SQLITE_FULL) => Failure::Full,
        Some(SQLITE_IOERR) => Failure::Disk,
        Some(SQLITE_CORRUPT | SQLITE_NOTADB) => Failure::Damaged,
        _ => Failure::Other,
    }
}
