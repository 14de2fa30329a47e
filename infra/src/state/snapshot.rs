//! The write model's snapshot in one SQLite file of the node's own.
//!
//! A save is one transaction, of the records that changed. `secure_delete` overwrites what is deleted or
//! replaced, and the rollback journal, which has the pages as they were, is gone when a save returns. It
//! needs no write-ahead log: nobody reads beside the one who writes. A file that can't be used is
//! deleted: the log has all that was in it.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use hansard_commands::state::{Records, SnapshotStore, StateError};
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection};
use tokio::sync::Mutex;

use crate::sqlite::{advice, options};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS records (
        number  INTEGER PRIMARY KEY,
        content BLOB NOT NULL
    ) STRICT;
";

/// Records that are read at a time.
const PAGE: i64 = 256;

/// See the module. Nothing is opened before it is asked for something.
#[derive(Clone)]
pub struct SnapshotFile {
    path: PathBuf,
    connection: Arc<Mutex<Option<SqliteConnection>>>,
}

impl SnapshotFile {
    pub fn new(directory: impl AsRef<Path>) -> Self {
        Self {
            path: directory.as_ref().join("snapshot.db"),
            connection: Arc::default(),
        }
    }

    async fn open(&self) -> Result<SqliteConnection, sqlx::Error> {
        if let Some(directory) = self.path.parent() {
            tokio::fs::create_dir_all(directory).await?;
        }
        // What earlier versions kept it in.
        for name in ["snapshot", "snapshot.new"] {
            remove(&self.path.with_file_name(name)).await?;
        }
        let options = options(&self.path)
            .page_size(8_192)
            .journal_mode(SqliteJournalMode::Truncate)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("secure_delete", "ON");
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
        Ok(connection)
    }

    /// The connection; a file that can't be used makes way for a new one. It is put back by whoever succeeds
    /// with it: see [`Writer`](crate::sqlite::Writer) for what would become of it else.
    async fn connection(
        &self,
        slot: &mut Option<SqliteConnection>,
    ) -> Result<SqliteConnection, sqlx::Error> {
        if let Some(open) = slot.take() {
            return Ok(open);
        }
        match self.open().await {
            Ok(open) => Ok(open),
            Err(_) => {
                self.delete().await?;
                self.open().await
            }
        }
    }

    /// Deletes the file, and what SQLite leaves beside it.
    async fn delete(&self) -> std::io::Result<()> {
        for ending in ["", "-journal", "-wal", "-shm"] {
            let mut path = self.path.clone().into_os_string();
            path.push(ending);
            remove(Path::new(&path)).await?;
        }
        Ok(())
    }

    async fn page(&self, numbers: &Range<u64>) -> Result<Records, sqlx::Error> {
        let mut slot = self.connection.lock().await;
        let mut connection = self.connection(&mut slot).await?;
        let page: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT number, content FROM records WHERE number >= ? AND number < ?
             ORDER BY number LIMIT ?",
        )
        .bind(integer(numbers.start))
        .bind(integer(numbers.end))
        .bind(PAGE)
        .fetch_all(&mut connection)
        .await?;
        *slot = Some(connection);
        let page = page.into_iter();
        Ok(page
            .map(|(number, content)| (number.unsigned_abs(), content))
            .collect())
    }

    async fn write(
        &self,
        anew: bool,
        mut records: BoxStream<'static, Result<Records, StateError>>,
    ) -> Result<(), StateError> {
        let mut slot = self.connection.lock().await;
        if anew {
            // Faster than to overwrite all of it, and no less gone.
            drop(slot.take());
            self.delete()
                .await
                .map_err(|error| failed("written", error))?;
        }
        let written = |error: sqlx::Error| failed("written", advice(&error));
        let mut connection = self.connection(&mut slot).await.map_err(written)?;
        let mut transaction = connection.begin().await.map_err(written)?;
        while let Some(records) = records.next().await {
            for (number, content) in records? {
                let replace = "INSERT INTO records (number, content) VALUES (?, ?)
                               ON CONFLICT (number) DO UPDATE SET content = excluded.content";
                let replace = sqlx::query(replace).bind(integer(number)).bind(content);
                replace.execute(&mut *transaction).await.map_err(written)?;
            }
        }
        transaction.commit().await.map_err(written)?;
        *slot = Some(connection);
        Ok(())
    }
}

async fn remove(path: &Path) -> std::io::Result<()> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Numbers of records are far below the largest integer of SQLite.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn failed(what: &'static str, reason: impl std::fmt::Display) -> StateError {
    StateError {
        name: "snapshot".to_owned(),
        what,
        reason: reason.to_string(),
    }
}

#[async_trait]
impl SnapshotStore for SnapshotFile {
    async fn record(&self, number: u64) -> Result<Option<Vec<u8>>, StateError> {
        let page = self.page(&(number..number + 1)).await;
        let page = page.map_err(|error| failed("read", advice(&error)))?;
        Ok(page.into_iter().next().map(|(_, content)| content))
    }

    fn records(&self, numbers: Range<u64>) -> BoxStream<'static, Result<Records, StateError>> {
        let state = (self.clone(), numbers);
        futures::stream::try_unfold(state, |(file, numbers)| async move {
            let page = file.page(&numbers).await;
            let page = page.map_err(|error| failed("read", advice(&error)))?;
            let next = page.last().map(|(number, _)| number + 1);
            Ok(next.map(|next| (page, (file, next..numbers.end))))
        })
        .boxed()
    }

    async fn replace(
        &self,
        anew: bool,
        records: BoxStream<'static, Result<Records, StateError>>,
    ) -> Result<(), StateError> {
        self.write(anew, records).await
    }
}

#[cfg(test)]
mod tests {
    use futures::{TryStreamExt, stream};

    use super::*;

    fn of(records: Vec<(u64, &str)>) -> BoxStream<'static, Result<Records, StateError>> {
        let records = records.into_iter();
        let records = records.map(|(number, text)| (number, text.as_bytes().to_vec()));
        let pages: Vec<_> = records.map(|record| Ok(vec![record])).collect();
        stream::iter(pages).boxed()
    }

    async fn all(file: &SnapshotFile) -> Vec<(u64, String)> {
        let pages: Vec<Records> = file.records(0..1 << 50).try_collect().await.unwrap();
        let records = pages.concat().into_iter();
        records
            .map(|(number, content)| (number, String::from_utf8(content).unwrap()))
            .collect()
    }

    fn contains(directory: &Path, text: &str) -> bool {
        let files = std::fs::read_dir(directory).unwrap();
        let mut files = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        files.any(|content| {
            content
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        })
    }

    #[tokio::test]
    async fn records_are_replaced_and_what_they_were_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let file = SnapshotFile::new(directory.path());
        assert_eq!(file.record(0).await.unwrap(), None);
        let long = "the first state ".repeat(4_000);
        let first = vec![(0, "head"), (1 << 40, &long), (2, "a")];
        file.replace(false, of(first)).await.unwrap();
        assert!(contains(directory.path(), "the first state"));
        file.replace(false, of(vec![(1 << 40, "short"), (0, "other")]))
            .await
            .unwrap();
        let expected = [(0, "other"), (2, "a"), (1 << 40, "short")];
        let expected = expected.map(|(number, text)| (number, text.to_owned()));
        assert_eq!(all(&file).await, expected);
        assert!(!contains(directory.path(), "the first state"));

        let again = SnapshotFile::new(directory.path());
        assert_eq!(all(&again).await, expected);
        assert_eq!(again.record(2).await.unwrap(), Some(b"a".to_vec()));
        again.replace(true, of(vec![(7, "b")])).await.unwrap();
        assert_eq!(all(&again).await, [(7, "b".to_owned())]);
    }

    #[tokio::test]
    async fn a_save_that_fails_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = SnapshotFile::new(directory.path());
        file.replace(true, of(vec![(1, "a")])).await.unwrap();
        let fails = of(vec![(1, "b")]).chain(stream::iter([Err(failed("written", "a test"))]));
        assert!(file.replace(false, fails.boxed()).await.is_err());
        assert_eq!(all(&file).await, [(1, "a".to_owned())]);
    }

    #[tokio::test]
    async fn many_records_come_in_the_order_of_their_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let file = SnapshotFile::new(directory.path());
        let records: Vec<_> = (0..1_000).rev().map(|number| (number * 3, "x")).collect();
        file.replace(true, of(records)).await.unwrap();
        let numbers: Vec<_> = all(&file)
            .await
            .into_iter()
            .map(|record| record.0)
            .collect();
        let expected: Vec<_> = (0..1_000).map(|number| number * 3).collect();
        assert_eq!(numbers, expected);
    }

    #[tokio::test]
    async fn a_damaged_file_and_those_of_earlier_versions_make_way() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["snapshot.db", "snapshot", "snapshot.new"] {
            std::fs::write(directory.path().join(name), "somebody ".repeat(1_000)).unwrap();
        }
        let file = SnapshotFile::new(directory.path());
        assert_eq!(file.record(0).await.unwrap(), None);
        file.replace(false, of(vec![(0, "head")])).await.unwrap();
        assert_eq!(all(&file).await, [(0, "head".to_owned())]);
        assert!(!contains(directory.path(), "somebody"));
    }
}
