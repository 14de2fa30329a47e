//! The event log in one SQLite file, for one server process.
//!
//! One [writer](writer) owns the only connection that writes; it merges the appends that wait into
//! one transaction, so that many requests share one flush of the disk. Reads go through a few
//! connections of their own and never block it: in WAL mode a reader sees the last commit, and only
//! what is durable (`synchronous=FULL` flushes before a commit becomes visible).
//!
//! Positions are dense here, from 1, since nothing else numbers events and a transaction that fails
//! uses none.
//!
//! The same file can be the local copy of a log that stands elsewhere: then it is opened as a
//! replica of that log by name, and filled with events at the positions they have there.

mod reader;
pub(super) mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use hansard_domain::id::Timestamp;
use hansard_domain::log::{
    Commit, EventLog, EventPages, LogError, Outcome, Position, StreamId, Version,
};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};
use tokio::sync::watch;

use self::writer::Writer;
use super::batch::EventRow;
use super::queue::{Asking, BATCH_BYTES, queue};
use super::{closed, unfold};
use crate::sqlite::{Failure, advice, failure, options};

/// Connections that read. More would not read faster: a page is decoded on the caller's core.
const READERS: u32 = 4;

/// Marks the file as an event log of ours ("Hlog"), so that nothing else is taken for one.
const APPLICATION_ID: i64 = 1_215_065_959;
const FORMAT: i64 = 3;

/// Brings the table from format 1 to 2. Adding a column changes no row.
const WITH_CLOCK: &str = "ALTER TABLE events ADD COLUMN clock INTEGER; PRAGMA user_version = 2;";
/// From 2 to 3: what is recorded from then on is [`packed`](super::packed).
const WITH_PACKED: &str = "ALTER TABLE events ADD COLUMN packed BLOB; PRAGMA user_version = 3;";

/// Rows that have `packed` are empty from `type` on, but for the times: those of earlier formats are not.
const SCHEMA: &str = "
    CREATE TABLE events (
        position    INTEGER PRIMARY KEY,
        stream      TEXT NOT NULL,
        version     INTEGER NOT NULL,
        id          BLOB NOT NULL,
        type        TEXT NOT NULL,
        schema      INTEGER NOT NULL,
        at          INTEGER NOT NULL,
        clock       INTEGER,
        actor       TEXT NOT NULL,
        correlation TEXT,
        causation   BLOB,
        origin      TEXT,
        payload     TEXT NOT NULL,
        packed      BLOB,
        UNIQUE (stream, version)
    ) STRICT;
    PRAGMA application_id = 1215065959;
    PRAGMA user_version = 3;
";

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open the event log {path}: {}", advice(source), path = path.display())]
    Unavailable { path: PathBuf, source: sqlx::Error },
    #[error(
        "{path} is not an event log; move it away, or name another directory with --data",
        path = path.display()
    )]
    Foreign { path: PathBuf },
    #[error(
        "the event log {path} has format {format}, this version of hansard reads {FORMAT}; start the \
         newer version that wrote it",
        path = path.display()
    )]
    Newer { path: PathBuf, format: i64 },
    #[error(
        "{path} is a copy of the event log {actual}, not {expected}; \
         give the server the log it belongs to, or move the file away",
        path = path.display()
    )]
    OtherSource {
        path: PathBuf,
        expected: String,
        actual: String,
    },
}

/// What a file is called that is no copy of anything.
const OWN: &str = "of this file itself";

/// See the module.
pub struct SqliteLog {
    writer: Asking<writer::Request>,
    readers: SqlitePool,
    head: watch::Receiver<Position>,
}

impl SqliteLog {
    /// Opens the log in this file, or makes it.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        Self::open_with(path, writer::options(path), None).await
    }

    /// Opens the copy of the log `source` in this file, or makes it.
    ///
    /// Commits are not flushed one by one: what a power cut takes is copied again.
    pub(super) async fn open_replica(path: &Path, source: &str) -> Result<Self, OpenError> {
        let options = writer::options(path).synchronous(SqliteSynchronous::Normal);
        Self::open_with(path, options, Some(source)).await
    }

    /// Decides about commits without writing them. What it tells holds until the next fill.
    pub(super) async fn plan(&self, commits: Vec<Commit>) -> Result<writer::Plan, LogError> {
        self.writer
            .ask(|answer| writer::Request::Plan { commits, answer })
            .await
    }

    /// Writes events at the positions they have, but for those that are here already.
    pub(super) async fn fill(&self, rows: Vec<EventRow>) -> Result<(), LogError> {
        self.writer
            .ask(|answer| writer::Request::Fill { rows, answer })
            .await
    }

    pub(super) fn watch_head(&self) -> watch::Receiver<Position> {
        self.head.clone()
    }

    async fn open_with(
        path: &Path,
        writing: SqliteConnectOptions,
        source: Option<&str>,
    ) -> Result<Self, OpenError> {
        let unavailable = |source| OpenError::Unavailable {
            path: path.to_path_buf(),
            source,
        };

        let mut connection = match options(path).connect().await {
            Ok(connection) => connection,
            Err(error) if failure(&error) == Failure::Damaged => {
                return Err(OpenError::Foreign {
                    path: path.to_path_buf(),
                });
            }
            Err(error) => return Err(unavailable(error)),
        };
        prepare(&mut connection, path, source).await?;
        let head = reader::head(&mut connection).await.map_err(unavailable)?;
        connection.close().await.map_err(unavailable)?;

        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            // A connection to a local file does not go stale; testing it costs a round trip.
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(30))
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(reader::options(path))
            .await
            .map_err(unavailable)?;

        let (writer, queue) = queue(BATCH_BYTES);
        let (announce, head) = watch::channel(head);
        tokio::spawn(Writer::new(writing, announce).run(queue));
        Ok(Self {
            writer,
            readers,
            head,
        })
    }

    /// Finishes what waits and closes the file; appends and followers fail from then on.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }

    /// Pages after a position, until `next` says that there is nothing to read.
    fn pages(&self, after: Position, wait: bool) -> EventPages {
        let state = (self.readers.clone(), self.head.clone(), after);
        unfold(state, move |(readers, mut head, after)| async move {
            loop {
                if wait {
                    head.wait_for(|head| *head > after)
                        .await
                        .map_err(|_| closed())?;
                } else if *head.borrow() <= after {
                    return Ok(None);
                }
                let page = reader::all(&readers, after).await?;
                match page.last().map(|event| event.position) {
                    Some(last) => return Ok(Some((page, (readers, head, last)))),
                    None if wait => head.changed().await.map_err(|_| closed())?,
                    None => return Ok(None),
                }
            }
        })
    }
}

/// Makes the table in a new file, and refuses a file that is something else.
async fn prepare(
    connection: &mut SqliteConnection,
    path: &Path,
    source: Option<&str>,
) -> Result<(), OpenError> {
    let unavailable = |source| OpenError::Unavailable {
        path: path.to_path_buf(),
        source,
    };
    let number = |sql| sqlx::query_scalar::<_, i64>(sql);
    let application = number("PRAGMA application_id")
        .fetch_one(&mut *connection)
        .await
        .map_err(unavailable)?;
    let format = number("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await
        .map_err(unavailable)?;
    let tables = number("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *connection)
        .await
        .map_err(unavailable)?;
    let steps = match (application, format) {
        (APPLICATION_ID, 1) => &[WITH_CLOCK, WITH_PACKED][..],
        (APPLICATION_ID, 2) => &[WITH_PACKED],
        _ => &[],
    };
    for step in steps {
        let mut transaction = connection.begin().await.map_err(unavailable)?;
        sqlx::raw_sql(*step)
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)?;
    }
    match (application, format, tables) {
        (APPLICATION_ID, 1..=FORMAT, _) => {
            let replica = number(
                "SELECT count(*) FROM sqlite_schema WHERE name = 'replica' AND type = 'table'",
            )
            .fetch_one(&mut *connection)
            .await
            .map_err(unavailable)?;
            let copied: Option<String> = match replica {
                0 => None,
                _ => sqlx::query_scalar("SELECT source FROM replica")
                    .fetch_optional(&mut *connection)
                    .await
                    .map_err(unavailable)?,
            };
            if copied.as_deref() == source {
                return Ok(());
            }
            let name = |source: Option<&str>| source.unwrap_or(OWN).to_owned();
            Err(OpenError::OtherSource {
                path: path.to_path_buf(),
                expected: name(source),
                actual: name(copied.as_deref()),
            })
        }
        (APPLICATION_ID, format, _) => Err(OpenError::Newer {
            path: path.to_path_buf(),
            format,
        }),
        (0, 0, 0) => {
            let mut transaction = connection.begin().await.map_err(unavailable)?;
            sqlx::raw_sql(SCHEMA)
                .execute(&mut *transaction)
                .await
                .map_err(unavailable)?;
            if let Some(source) = source {
                sqlx::raw_sql("CREATE TABLE replica (source TEXT NOT NULL) STRICT")
                    .execute(&mut *transaction)
                    .await
                    .map_err(unavailable)?;
                sqlx::query("INSERT INTO replica VALUES (?)")
                    .bind(source)
                    .execute(&mut *transaction)
                    .await
                    .map_err(unavailable)?;
            }
            transaction.commit().await.map_err(unavailable)
        }
        _ => Err(OpenError::Foreign {
            path: path.to_path_buf(),
        }),
    }
}

#[async_trait]
impl EventLog for SqliteLog {
    async fn append(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, LogError> {
        self.writer.append(commits).await
    }

    fn stream(&self, stream: &StreamId, after: Version) -> EventPages {
        let state = (self.readers.clone(), stream.clone(), after);
        unfold(state, |(readers, stream, after)| async move {
            let page = reader::stream(&readers, &stream, after).await?;
            let last = page.last().map(|event| event.version);
            Ok(last.map(|last| (page, (readers, stream, last))))
        })
    }

    fn all(&self, after: Position) -> EventPages {
        self.pages(after, false)
    }

    fn follow(&self, after: Position) -> EventPages {
        self.pages(after, true)
    }

    async fn head(&self) -> Result<Position, LogError> {
        Ok(*self.head.borrow())
    }

    async fn position_at(&self, at: Timestamp) -> Result<Position, LogError> {
        let head = *self.head.borrow();
        reader::position_at(&self.readers, head, at).await
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use hansard_domain::id::ID_ALPHABET;
    use hansard_domain::log::{Actor, Append, Metadata, NewEvent};
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn commit(stream: &str, expected: u64, payload: &str) -> Commit {
        let event = NewEvent {
            id: uuid::Uuid::from_u128(u128::from(expected) + 1),
            kind: "Happened".into(),
            schema: 1,
            payload: payload.to_owned(),
            origin: None,
        };
        let append = Append {
            stream: StreamId::from_name(stream),
            expected: Version(expected),
            events: vec![event],
        };
        let metadata = Metadata {
            at: Timestamp(0),
            clock: None,
            actor: Actor::System,
            correlation: None,
            causation: None,
        };
        Commit {
            after: None,
            appends: vec![append],
            metadata,
        }
    }

    /// A text that is packed in no less than its three quarters.
    fn noise(bytes: usize) -> String {
        let mut random = SmallRng::seed_from_u64(7);
        let letters = (0..bytes).map(|_| ID_ALPHABET[random.random_range(0..ID_ALPHABET.len())]);
        letters.map(char::from).collect()
    }

    async fn count(log: &SqliteLog) -> usize {
        let pages: Vec<_> = log.all(Position::START).try_collect().await.unwrap();
        pages.concat().len()
    }

    #[tokio::test]
    async fn a_full_disk_loses_nothing_and_passes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.db");
        let small = writer::options(&path).pragma("max_page_count", "60");
        let log = SqliteLog::open_with(&path, small, None).await.unwrap();
        let payload = noise(10_000);
        let mut version = 0;
        let full = loop {
            match log.append(vec![commit("room-a", version, &payload)]).await {
                Ok(outcomes) => outcomes[0].clone().unwrap(),
                Err(error) => break error,
            };
            version += 1;
        };
        assert!(matches!(full, LogError::Full), "{full:?}");
        assert!(version > 5);
        let wal = || {
            std::fs::metadata(path.with_extension("db-wal"))
                .unwrap()
                .len()
        };
        let before = wal();
        assert_eq!(count(&log).await as u64, version);
        assert_eq!(log.head().await.unwrap(), Position(version));
        // What still fits is written, after the failure as before.
        log.append(vec![commit("room-b", 0, "{}")]).await.unwrap()[0]
            .clone()
            .unwrap();
        assert_eq!(count(&log).await as u64, version + 1);
        assert_eq!(wal(), before, "it goes where the WAL began");
        log.close().await;

        let log = SqliteLog::open(&path).await.unwrap();
        log.append(vec![commit("room-a", version, &payload)])
            .await
            .unwrap()[0]
            .clone()
            .unwrap();
        assert_eq!(count(&log).await as u64, version + 2);
    }

    #[tokio::test]
    async fn a_failed_batch_leaves_nothing_and_the_next_one_works() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.db");
        let log = SqliteLog::open(&path).await.unwrap();
        log.append(vec![commit("room-a", 0, "{}")]).await.unwrap()[0]
            .clone()
            .unwrap();
        let mut other = options(&path).connect().await.unwrap();
        let trigger = "CREATE TRIGGER broken AFTER INSERT ON events WHEN new.version = 4
                       BEGIN SELECT RAISE(FAIL, 'the disk is broken'); END";
        sqlx::raw_sql(trigger).execute(&mut other).await.unwrap();
        let batch = || {
            let versions = 1..=3;
            versions
                .map(|version| commit("room-a", version, "{}"))
                .collect()
        };
        for _ in 0..2 {
            let failed = log.append(batch()).await.unwrap_err();
            assert!(
                failed.to_string().contains("the disk is broken"),
                "{failed}"
            );
            assert_eq!(count(&log).await, 1);
        }
        sqlx::raw_sql("DROP TRIGGER broken")
            .execute(&mut other)
            .await
            .unwrap();
        let outcomes = log.append(batch()).await.unwrap();
        let positions = outcomes
            .into_iter()
            .flat_map(|outcome| outcome.unwrap().positions);
        assert_eq!(
            positions.collect::<Vec<_>>(),
            [Position(2), Position(3), Position(4)]
        );
        assert_eq!(count(&log).await, 4);
    }

    #[tokio::test]
    async fn the_wal_stays_small_under_steady_load() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.db");
        let log = std::sync::Arc::new(SqliteLog::open(&path).await.unwrap());
        let reading = log.clone();
        let reader = tokio::spawn(async move {
            loop {
                let mut pages = reading.all(Position::START);
                while pages.try_next().await.unwrap().is_some() {}
                tokio::task::yield_now().await;
            }
        });
        let payload = noise(100_000);
        let mut largest = 0;
        for version in 0..2_000 {
            log.append(vec![commit("room-a", version, &payload)])
                .await
                .unwrap()[0]
                .clone()
                .unwrap();
            largest = largest.max(
                std::fs::metadata(path.with_extension("db-wal"))
                    .unwrap()
                    .len(),
            );
        }
        reader.abort();
        assert!(reader.await.is_err_and(|ended| ended.is_cancelled()));
        // 200 MB were written.
        assert!(largest < 20 << 20, "the WAL had {} MB", largest >> 20);
        log.close().await;
    }

    #[tokio::test]
    async fn the_wal_stays_small_under_small_events() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.db");
        let log = SqliteLog::open(&path).await.unwrap();
        let mut largest = 0;
        // Each takes two pages or three in the WAL: 20 MB without a checkpoint.
        for number in 0..2_000 {
            let stream = format!("room-{}", number * 7_919 % 2_000);
            let written = log.append(vec![commit(&stream, 0, "{}")]);
            written.await.unwrap()[0].clone().unwrap();
            let wal = std::fs::metadata(path.with_extension("db-wal")).unwrap();
            largest = largest.max(wal.len());
        }
        assert!(largest < 12 << 20, "the WAL had {} MB", largest >> 20);
        log.close().await;
    }

    #[tokio::test]
    async fn the_wal_is_emptied_where_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.db");
        let log = SqliteLog::open(&path).await.unwrap();
        let payload = noise(100_000);
        for version in 0..10 {
            let written = log.append(vec![commit("room-a", version, &payload)]);
            written.await.unwrap()[0].clone().unwrap();
        }
        let length = || {
            let wal = std::fs::metadata(path.with_extension("db-wal"));
            wal.unwrap().len()
        };
        assert!(length() > 500_000, "{} bytes", length());
        while length() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(count(&log).await, 10);
        log.append(vec![commit("room-a", 10, &payload)])
            .await
            .unwrap()[0]
            .clone()
            .unwrap();
        assert_eq!(count(&log).await, 11);
        log.close().await;
    }

    #[tokio::test]
    async fn a_closed_log_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.db");
        let log = SqliteLog::open(&path).await.unwrap();
        let mut following = log.follow(Position::START);
        log.append(vec![commit("room-a", 0, "{}")]).await.unwrap()[0]
            .clone()
            .unwrap();
        assert_eq!(following.try_next().await.unwrap().unwrap().len(), 1);
        log.close().await;
        assert!(following.try_next().await.is_err());
        assert!(log.append(vec![commit("room-a", 1, "{}")]).await.is_err());
        assert!(
            !path.with_extension("db-wal").exists(),
            "all is in the one file"
        );
    }

    #[tokio::test]
    async fn a_file_that_is_something_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let text = directory.path().join("notes.txt");
        std::fs::write(&text, "x".repeat(10_000)).unwrap();
        assert!(matches!(
            SqliteLog::open(&text).await,
            Err(OpenError::Foreign { .. })
        ));

        let other = directory.path().join("other.db");
        let mut connection = options(&other).connect().await.unwrap();
        sqlx::raw_sql("CREATE TABLE t (x)")
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        assert!(matches!(
            SqliteLog::open(&other).await,
            Err(OpenError::Foreign { .. })
        ));

        let newer = directory.path().join("newer.db");
        SqliteLog::open(&newer).await.unwrap().close().await;
        let mut connection = options(&newer).connect().await.unwrap();
        sqlx::raw_sql("PRAGMA user_version = 4")
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        assert!(matches!(
            SqliteLog::open(&newer).await,
            Err(OpenError::Newer { format: 4, .. })
        ));
    }

    #[tokio::test]
    async fn a_log_of_the_first_format_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.db");
        let mut connection = options(&path).connect().await.unwrap();
        let first = SCHEMA
            .replace("clock       INTEGER,", "")
            .replace("packed      BLOB,", "")
            .replace("user_version = 3", "user_version = 1");
        sqlx::raw_sql(sqlx::AssertSqlSafe(first))
            .execute(&mut connection)
            .await
            .unwrap();
        sqlx::raw_sql(
            "INSERT INTO events (position, stream, version, id, type, schema, at, actor, payload)
             VALUES (1, 'room-a', 1, x'00000000000000000000000000000001', 'Happened', 1, 0, 'system', '{}')",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        connection.close().await.unwrap();

        for version in 1..3 {
            let log = SqliteLog::open(&path).await.unwrap();
            let mut next = commit("room-a", version, "{}");
            next.metadata.clock = Some(Timestamp(-5));
            log.append(vec![next]).await.unwrap()[0].clone().unwrap();
            let pages: Vec<_> = log.all(Position::START).try_collect().await.unwrap();
            let events = pages.concat();
            let payloads = events.iter().map(|event| event.event.payload.as_str());
            assert!(payloads.eq(vec!["{}"; version as usize + 1]));
            let clocks = events.into_iter().map(|event| event.metadata.clock);
            let clocks: Vec<_> = clocks.collect();
            assert_eq!(clocks[0], None);
            assert_eq!(clocks[1..], vec![Some(Timestamp(-5)); version as usize]);
            log.close().await;
        }
    }
}
