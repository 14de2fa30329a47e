//! The writer: one task, one connection, one transaction a batch.
//!
//! As nobody else writes, it knows the version of every stream it has met and decides in memory
//! which commits go in; a batch then costs a lookup of the streams it does not know, a few inserts
//! of many rows, and one flush.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use hansard_domain::log::{Commit, LogError, Outcome, Position, StreamId};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions};
use sqlx::{Arguments, ConnectOptions, Connection, Row, SqliteConnection};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::super::batch::{Batch, EventRow};
use super::super::packed::pack;
use super::super::queue::{Gathered, Queue, Work};
use crate::sqlite::{Failure, failure};

/// Streams whose version is kept in memory; up to twice as many while the older half is forgotten.
const KNOWN_STREAMS: usize = 50_000;

/// What it is asked besides appending.
pub enum Request {
    /// Decides which commits go in, and writes nothing.
    Plan {
        commits: Vec<Commit>,
        answer: oneshot::Sender<Result<Plan, LogError>>,
    },
    /// Writes events that have their places already.
    Fill {
        rows: Vec<EventRow>,
        answer: oneshot::Sender<Result<(), LogError>>,
    },
}

/// What a batch of commits comes to, before it is written elsewhere.
pub struct Plan {
    outcomes: Vec<Outcome>,
    /// In order; their positions are not yet known.
    pub rows: Vec<EventRow>,
    first: u64,
}

impl Plan {
    /// Whether a commit conflicts.
    pub fn refuses(&self) -> bool {
        self.outcomes.iter().any(Result::is_err)
    }

    /// Puts the events where they came to stand: one position for each.
    pub fn settle(mut self, positions: &[Position]) -> (Vec<Outcome>, Vec<EventRow>) {
        let place = |planned: &mut u64| {
            // What stands below the first was there before: a retry.
            let index = planned.checked_sub(self.first);
            if let Some(position) = index.and_then(|index| positions.get(index as usize)) {
                *planned = position.0;
            }
        };
        for recorded in self.outcomes.iter_mut().flatten() {
            recorded
                .positions
                .iter_mut()
                .for_each(|position| place(&mut position.0));
        }
        self.rows
            .iter_mut()
            .for_each(|row| place(&mut row.position));
        (self.outcomes, self.rows)
    }
}

pub struct Writer {
    options: SqliteConnectOptions,
    head: watch::Sender<Position>,
    /// None before the first batch and after a failure: whatever state it was in is gone with it.
    connection: Option<SqliteConnection>,
    known: Versions,
    /// Bytes that the WAL has, about.
    in_wal: usize,
    /// Whether the WAL may hold anything.
    grown: bool,
    /// The disk may have been full when it was last written to.
    may_be_full: bool,
    /// The checkpoint under way.
    checkpoint: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn new(options: SqliteConnectOptions, head: watch::Sender<Position>) -> Self {
        Self {
            options,
            head,
            connection: None,
            known: Versions::default(),
            in_wal: 0,
            grown: true,
            may_be_full: false,
            checkpoint: None,
        }
    }

    /// Works until it is told to close or nobody is left who could ask.
    pub async fn run(mut self, mut queue: Queue<Request>) {
        let closed = loop {
            let work = if self.grown {
                match tokio::time::timeout(IDLE, queue.next()).await {
                    Ok(work) => work,
                    Err(_) => {
                        self.cut_back().await;
                        continue;
                    }
                }
            } else {
                queue.next().await
            };
            // Whoever asked may have gone.
            match work {
                Work::Batch(batch) => self.write(batch).await,
                Work::Own(Request::Plan { commits, answer }) => {
                    let _ = answer.send(self.plan(commits).await);
                }
                Work::Own(Request::Fill { rows, answer }) => {
                    let _ = answer.send(self.fill(rows).await);
                }
                Work::Close(done) => break done,
            }
        };
        self.checkpoint_ended().await;
        if let Some(mut connection) = self.connection.take() {
            checkpoint(&mut connection, TRUNCATE).await;
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "the event log did not close cleanly");
            }
        }
        if let Some(done) = closed {
            // Nobody may wait any more.
            let _ = done.send(());
        }
    }

    async fn write(&mut self, batch: Gathered) {
        let written = match self.append(batch.commits).await {
            Ok(outcomes) => Ok(outcomes),
            Err(error) => Err(self.failed(&error).await),
        };
        let done = written.is_ok();
        batch.waiting.hear(written);
        if done {
            self.checkpoint(in_wal(batch.bytes, batch.events)).await;
        }
    }

    /// Writes what does not conflict, in one transaction.
    async fn append(&mut self, commits: Vec<Commit>) -> Result<Vec<Outcome>, sqlx::Error> {
        let mut connection = self.connection().await?;
        let outcome = self.append_on(&mut connection, commits).await;
        self.connection = Some(connection);
        outcome
    }

    async fn append_on(
        &mut self,
        connection: &mut SqliteConnection,
        commits: Vec<Commit>,
    ) -> Result<Vec<Outcome>, sqlx::Error> {
        let head = *self.head.borrow();
        let (batch, outcomes) = self.decide(connection, commits).await?;
        let last = batch.next_position() - 1;
        let versions: Vec<_> = batch
            .versions()
            .map(|(stream, version)| (stream.clone(), version))
            .collect();
        insert(connection, batch.rows).await?;
        for (stream, version) in versions {
            self.known.learn(stream, version);
        }
        if last > head.0 {
            self.head.send_replace(Position(last));
        }
        Ok(outcomes)
    }

    /// Sorts the commits into what is to be written and what conflicts or stands there already.
    async fn decide(
        &self,
        connection: &mut SqliteConnection,
        commits: Vec<Commit>,
    ) -> Result<(Batch, Vec<Outcome>), sqlx::Error> {
        let mut batch = Batch::new(*self.head.borrow(), &commits);
        let named = commits.iter().flat_map(|commit| &commit.appends);
        let versions = self.lookup(connection, named.map(|append| &append.stream));
        for (stream, version) in versions.await? {
            batch.stored(&stream, version);
        }
        // There are some only where a client sends again what it sent before.
        for taken in batch.overlaps(&commits) {
            let found = sqlx::query_as::<_, (i64, Vec<u8>, i64)>(
                "SELECT version, id, position FROM events
                 WHERE stream = ? AND version > ? AND version <= ?",
            )
            .bind(taken.stream.as_str())
            .bind(taken.after as i64)
            .bind(taken.last as i64)
            .fetch_all(&mut *connection)
            .await?;
            for (version, id, position) in found {
                let id =
                    Uuid::from_slice(&id).map_err(|error| sqlx::Error::Decode(error.into()))?;
                batch.standing(&taken.stream, version as u64, id, Position(position as u64));
            }
        }
        let outcomes = commits
            .into_iter()
            .map(|commit| batch.decide(commit))
            .collect();
        Ok((batch, outcomes))
    }

    async fn plan(&mut self, commits: Vec<Commit>) -> Result<Plan, LogError> {
        let decided = match self.connection().await {
            Ok(mut connection) => {
                let decided = self.decide(&mut connection, commits).await;
                self.connection = Some(connection);
                decided
            }
            Err(error) => Err(error),
        };
        match decided {
            Ok((batch, outcomes)) => Ok(Plan {
                outcomes,
                first: batch.first,
                rows: batch.rows,
            }),
            Err(error) => Err(self.failed(&error).await),
        }
    }

    /// Writes events at the places they have, those left out that stand here already. All others
    /// must come after the head, and in each stream right after the version it is at.
    async fn fill(&mut self, mut rows: Vec<EventRow>) -> Result<(), LogError> {
        let mut connection = match self.connection().await {
            Ok(connection) => connection,
            Err(error) => return Err(self.failed(&error).await),
        };
        let mut last = self.head.borrow().0;
        rows.retain(|row| row.position > last);
        let bytes = rows.iter().map(|row| row.event.payload.len() + 200).sum();
        let events = rows.len();
        let written = async {
            let mut streams = self
                .lookup(&mut connection, rows.iter().map(|row| &row.stream))
                .await?;
            for row in &rows {
                let version = streams.entry(row.stream.clone()).or_default();
                if row.position <= last || row.version != *version + 1 {
                    return Ok(Err(LogError::Damaged {
                        position: Position(row.position),
                        reason: format!(
                            "version {} of {} can't come after version {version} and position {last}",
                            row.version, row.stream,
                        ),
                    }));
                }
                last = row.position;
                *version = row.version;
            }
            insert(&mut connection, rows).await?;
            Ok(Ok(streams))
        }
        .await;
        self.connection = Some(connection);
        match written {
            Ok(Ok(streams)) => {
                for (stream, version) in streams {
                    self.known.learn(stream, version);
                }
                self.head.send_if_modified(|head| {
                    let moved = head.0 != last;
                    head.0 = last;
                    moved
                });
                self.checkpoint(in_wal(bytes, events)).await;
                Ok(())
            }
            Ok(Err(damaged)) => Err(damaged),
            Err(error) => Err(self.failed(&error).await),
        }
    }

    /// The versions of all streams that are named.
    async fn lookup<'a>(
        &self,
        connection: &mut SqliteConnection,
        named: impl Iterator<Item = &'a StreamId>,
    ) -> Result<HashMap<StreamId, u64>, sqlx::Error> {
        let mut streams = HashMap::new();
        let mut unknown = Vec::new();
        for stream in named {
            if streams.contains_key(stream) {
                continue;
            }
            let known = self.known.get(stream);
            if known.is_none() {
                unknown.push(stream.as_str());
            }
            streams.insert(stream.clone(), known.unwrap_or_default());
        }
        if unknown.is_empty() {
            return Ok(streams);
        }
        let names =
            serde_json::to_string(&unknown).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let found = sqlx::query(
            "SELECT named.value, (SELECT max(version) FROM events WHERE stream = named.value) AS version
             FROM json_each(?) AS named WHERE version IS NOT NULL",
        )
        .bind(names)
        .fetch_all(connection)
        .await?;
        for row in found {
            let stream = StreamId::from_name(row.try_get(0)?);
            let version = row.try_get::<i64, _>(1)? as u64;
            streams.insert(stream, version);
        }
        Ok(streams)
    }

    async fn failed(&mut self, error: &sqlx::Error) -> LogError {
        self.grown = true;
        let failure = failure(error);
        self.may_be_full |= matches!(failure, Failure::Full | Failure::Disk);
        let error = match failure {
            Failure::Full => LogError::Full,
            Failure::Damaged | Failure::Disk | Failure::Other => {
                LogError::Unavailable(error.to_string())
            }
        };
        tracing::error!(%error, "an append to the event log failed");
        self.forget().await;
        error
    }

    async fn connection(&mut self) -> Result<SqliteConnection, sqlx::Error> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.reopen().await,
        }
    }

    async fn reopen(&mut self) -> Result<SqliteConnection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        // On a full disk the WAL can't grow. Once its pages are in the database it is written again from its
        // start, which takes no more room.
        if self.may_be_full {
            self.checkpoint_ended().await;
            self.may_be_full = !checkpoint(&mut connection, RESTART).await;
        }
        // A commit that failed may have been written after all.
        let head = super::reader::head(&mut connection).await?;
        self.head.send_if_modified(|known| {
            let moved = *known != head;
            *known = head;
            moved
        });
        Ok(connection)
    }

    /// Empties the WAL where nothing was written for a while: its file would stay as large as it ever was.
    ///
    /// After a failure, too: on a disk that is full the WAL may hold most of what there was room for.
    async fn cut_back(&mut self) {
        self.checkpoint_ended().await;
        match self.connection().await {
            Ok(mut connection) => {
                if checkpoint(&mut connection, TRUNCATE).await {
                    self.grown = false;
                    self.in_wal = 0;
                }
                self.connection = Some(connection);
            }
            Err(error) => tracing::warn!(%error, "the event log was not checkpointed"),
        }
    }

    /// Drops the connection and everything believed about the file.
    async fn forget(&mut self) {
        self.known = Versions::default();
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "closing the event log after a failure");
        }
    }

    /// Moves pages from the WAL into the database from time to time, so that the WAL is used again
    /// from its start instead of growing.
    ///
    /// Most of the work is done beside the writer by a connection of its own, which can't reach the
    /// end while batches go on; the writer moves the rest, a few pages. Measured with 64 appenders:
    /// p99 9 ms when the writer did it all, and a quarter less events.
    async fn checkpoint(&mut self, written: usize) {
        self.grown = true;
        self.in_wal += written;
        // Where batches come faster than their pages can be moved they have to wait: the WAL would grow until
        // they pause.
        let must_end = self.in_wal >= WAIT_AFTER;
        match &self.checkpoint {
            Some(task) if must_end || task.is_finished() => {
                self.checkpoint_ended().await;
                if let Some(connection) = &mut self.connection {
                    // Waits (the busy timeout at most) until readers are done with the old pages; a
                    // read holds them for one page of events.
                    let done = checkpoint(connection, RESTART).await;
                    // Where a reader stays, as a backup does, not every batch waits for it: the next try is
                    // after so much more.
                    self.in_wal = if done { 0 } else { CHECKPOINT_AFTER / 2 };
                }
            }
            None if self.in_wal >= CHECKPOINT_AFTER => {
                let options = self.options.clone();
                self.checkpoint = Some(tokio::spawn(async move {
                    match options.connect().await {
                        Ok(mut beside) => {
                            checkpoint(&mut beside, "PRAGMA wal_checkpoint(PASSIVE)").await;
                        }
                        Err(error) => tracing::warn!(%error, "the event log was not checkpointed"),
                    }
                }));
            }
            Some(_) | None => {}
        }
    }

    /// Waits for the checkpoint under way.
    async fn checkpoint_ended(&mut self) {
        if let Some(task) = self.checkpoint.take()
            && let Err(error) = task.await
        {
            tracing::warn!(%error, "the checkpoint of the event log was cut short");
        }
    }
}

/// After how long without an event the WAL is emptied.
const IDLE: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 5_000 });

/// Bytes of the WAL after which it is moved into the database, and those after which batches wait for that.
const CHECKPOINT_AFTER: usize = if cfg!(test) { 4 << 20 } else { 32 << 20 };
const WAIT_AFTER: usize = CHECKPOINT_AFTER / 2 * 3;

/// All pages are moved, and the WAL is written from its start again.
const RESTART: &str = "PRAGMA wal_checkpoint(RESTART)";

/// The same, and its file is emptied.
const TRUNCATE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// A page of the database.
const PAGE: usize = 4_096;

/// How many bytes a batch takes in the WAL, about. Each page that it touches goes there whole: those that its
/// events fill, and one of the index for the stream of each. An event of 300 bytes that is written alone takes
/// 10,000.
const fn in_wal(bytes: usize, events: usize) -> usize {
    bytes + PAGE * (1 + events)
}

pub fn options(path: &Path) -> SqliteConnectOptions {
    crate::sqlite::options(path)
        .create_if_missing(false)
        // Checkpoints are the writer's, after the answer to the batch instead of before it.
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", "50331648")
        .pragma("cache_size", "-16384")
        .busy_timeout(Duration::from_millis(250))
}

/// Moves pages from the WAL into the database; says whether it was all of them.
async fn checkpoint(connection: &mut SqliteConnection, sql: &'static str) -> bool {
    match sqlx::query_as::<_, (i64, i64, i64)>(sql)
        .fetch_one(connection)
        .await
    {
        Ok((0, ..)) => true,
        Ok((_, pages, moved)) => {
            tracing::debug!(
                pages,
                moved,
                "a reader held up the checkpoint of the event log"
            );
            false
        }
        Err(error) => {
            tracing::warn!(%error, "the event log was not checkpointed");
            false
        }
    }
}

/// Versions of the streams met lately, in two halves: when the newer is full the older is dropped.
#[derive(Default)]
struct Versions {
    newer: HashMap<StreamId, u64>,
    older: HashMap<StreamId, u64>,
}

impl Versions {
    fn get(&self, stream: &StreamId) -> Option<u64> {
        self.newer
            .get(stream)
            .or_else(|| self.older.get(stream))
            .copied()
    }

    fn learn(&mut self, stream: StreamId, version: u64) {
        if self.newer.len() >= KNOWN_STREAMS {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(stream, version);
    }
}

/// Inserts of so many rows each. Few sizes, so that all stay prepared; not too few, as every
/// statement costs some 10 µs of hand-over between threads, whatever it does.
static INSERTS: LazyLock<[(usize, String); 8]> = LazyLock::new(|| {
    [256, 64, 32, 16, 8, 4, 2, 1].map(|rows| {
        let places = vec!["(?, ?, ?, ?, '', 0, ?, ?, '', '', ?)"; rows].join(", ");
        let sql = format!(
            "INSERT INTO events (position, stream, version, id, type, schema, at, clock, actor,
                                 payload, packed)
             VALUES {places}"
        );
        (rows, sql)
    })
});

/// How many values a row is bound to.
const VALUES: usize = 7;

async fn insert(connection: &mut SqliteConnection, rows: Vec<EventRow>) -> Result<(), sqlx::Error> {
    let mut rows = rows.into_iter();
    let alone = INSERTS.iter().any(|(size, _)| *size == rows.len());
    if alone || rows.len() == 0 {
        // One statement is a transaction by itself.
        return insert_rows(connection, &mut rows).await;
    }
    let mut transaction = connection.begin().await?;
    insert_rows(&mut transaction, &mut rows).await?;
    transaction.commit().await
}

async fn insert_rows(
    connection: &mut SqliteConnection,
    rows: &mut std::vec::IntoIter<EventRow>,
) -> Result<(), sqlx::Error> {
    for (size, sql) in INSERTS.iter() {
        while rows.len() >= *size {
            let mut arguments = SqliteArguments::default();
            arguments.reserve(size * VALUES, 0);
            for row in rows.by_ref().take(*size) {
                bind(&mut arguments, row).map_err(sqlx::Error::Encode)?;
            }
            sqlx::query_with(sql.as_str(), arguments)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

fn bind(arguments: &mut SqliteArguments, row: EventRow) -> Result<(), sqlx::error::BoxDynError> {
    let EventRow {
        position,
        stream,
        version,
        event,
        envelope,
        following: _,
    } = row;
    arguments.add(position as i64)?;
    arguments.add(stream.as_str())?;
    arguments.add(version as i64)?;
    arguments.add(event.id.as_bytes().as_slice())?;
    arguments.add(envelope.at)?;
    arguments.add(envelope.clock)?;
    arguments.add(pack(&event, &envelope)?)
}
