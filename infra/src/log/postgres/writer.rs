//! The writer: one task, one connection, one transaction a batch.
//!
//! A batch costs a lookup of the streams it touches, one insert and one flush of the server's disk,
//! however many requests share it.
//!
//! Whoever decides on what the log holds takes a turn first: the transaction begins, with the lock in
//! its hands, before anything is decided, and what is decided is written by it. Nodes take turns in
//! the order in which they asked, and none is overtaken.

use std::time::Duration;

use hansard_domain::log::{Commit, LogError, Outcome, Position, StreamId};
use sqlx::{PgConnection, Row};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::super::batch::{Batch, EventRow};
use super::super::queue::{Queue, Work};
use super::{announce, refused};
use crate::postgres::{Database, number, within};

/// How long it may take until it is this node's turn to write, with a new connection if need be.
const TURN: Duration = Duration::from_secs(5);

/// How long writing may take once it is. An append that is given up has an unknown outcome, hence
/// more than a disk needs that is merely busy.
const WRITING: Duration = Duration::from_secs(10);

/// What it is asked besides appending.
pub enum Request {
    /// To begin a turn, and to tell the log's head.
    Turn(oneshot::Sender<Result<Position, LogError>>),
    /// To end a turn that nothing was appended in.
    Pass,
}

pub struct Writer {
    database: Database,
    newest: watch::Sender<Position>,
    /// None before the first batch and after a failure: whatever state it was in is gone with it.
    connection: Option<PgConnection>,
    /// A transaction that has the lock, and the log's head since it has it.
    turn: Option<(PgConnection, Position)>,
    /// What a batch begins with: the lock in a statement of its own, as the one after it must see
    /// everything that was written before the lock was got.
    begin: String,
}

impl Writer {
    pub fn new(database: Database, newest: watch::Sender<Position>) -> Self {
        let begin = format!(
            "BEGIN; SELECT pg_advisory_xact_lock({}); \
             SELECT coalesce(max(position), 0) FROM events",
            database.lock("append")
        );
        Self {
            database,
            newest,
            connection: None,
            turn: None,
            begin,
        }
    }

    /// Works until it is told to close or nobody is left who could ask.
    pub async fn run(mut self, mut queue: Queue<Request>) {
        let closed = loop {
            match queue.next().await {
                Work::Batch(batch) => {
                    let written = self.append(batch.commits).await.map_err(|error| {
                        let error = refused(&error);
                        tracing::error!(%error, "an append to the event log failed");
                        error
                    });
                    batch.waiting.hear(written);
                }
                Work::Own(Request::Turn(answer)) => {
                    let head = self.hold().await.map_err(|error| refused(&error));
                    if answer.send(head).is_err() {
                        // Whoever asked has gone, and will not pass.
                        self.pass().await;
                    }
                }
                Work::Own(Request::Pass) => self.pass().await,
                Work::Close(done) => break done,
            }
        };
        self.pass().await;
        if let Some(connection) = self.connection.take()
            && let Err(error) = sqlx::Connection::close(connection).await
        {
            tracing::debug!(%error, "the connection that wrote the event log did not close cleanly");
        }
        if let Some(done) = closed {
            // Nobody may wait any more.
            let _ = done.send(());
        }
    }

    /// Writes what does not conflict, in one transaction. After an error the connection is dropped,
    /// and with it whatever it had not committed.
    async fn append(&mut self, commits: Vec<Commit>) -> Result<Vec<Outcome>, sqlx::Error> {
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        let (mut connection, head) = match self.turn.take() {
            Some(held) => held,
            None => within(TURN, self.turn()).await??,
        };
        let (outcomes, head) =
            within(WRITING, self.append_on(&mut connection, head, commits)).await??;
        self.connection = Some(connection);
        announce(&self.newest, head);
        Ok(outcomes)
    }

    /// Begins a turn for whoever decides, and tells the head of the log.
    async fn hold(&mut self) -> Result<Position, sqlx::Error> {
        // A turn that was neither used nor given back may have been taken back by the server.
        self.pass().await;
        let (connection, head) = within(TURN, self.turn()).await??;
        self.turn = Some((connection, head));
        announce(&self.newest, head);
        Ok(head)
    }

    /// Gives the lock back.
    async fn pass(&mut self) {
        let Some((mut connection, _)) = self.turn.take() else {
            return;
        };
        match within(WRITING, sqlx::raw_sql("ROLLBACK").execute(&mut connection)).await {
            Ok(Ok(_)) => self.connection = Some(connection),
            // With the connection the lock is gone as well.
            Ok(Err(error)) | Err(error) => {
                tracing::debug!(%error, "a turn to write the event log did not end cleanly");
            }
        }
    }

    /// A connection with the lock in its hands, and the head of the log.
    async fn turn(&mut self) -> Result<(PgConnection, Position), sqlx::Error> {
        // Nothing is written yet: if the connection turns out to be stale, another one will do.
        if let Some(mut connection) = self.connection.take() {
            match self.begin(&mut connection).await {
                Ok(head) => return Ok((connection, head)),
                Err(error) if error.as_database_error().is_none() => {
                    tracing::debug!(%error, "the connection that writes the event log was lost");
                }
                Err(error) if is_stopping(&error) => {
                    tracing::debug!(%error, "the connection that writes the event log was ended");
                }
                Err(error) => return Err(error),
            }
        }
        let mut connection = self.database.connect().await?;
        let head = self.begin(&mut connection).await?;
        Ok((connection, head))
    }

    async fn begin(&self, connection: &mut PgConnection) -> Result<Position, sqlx::Error> {
        // The text has nothing in it but the number of a lock.
        let begin = sqlx::raw_sql(sqlx::AssertSqlSafe(self.begin.as_str()));
        let rows = begin.fetch_all(connection).await?;
        let head = rows.last().ok_or(sqlx::Error::RowNotFound)?;
        Ok(Position(number(head)?))
    }

    /// The batch, and the head after it.
    async fn append_on(
        &self,
        connection: &mut PgConnection,
        head: Position,
        commits: Vec<Commit>,
    ) -> Result<(Vec<Outcome>, Position), sqlx::Error> {
        let mut batch = Batch::new(head, &commits);
        look_up(connection, &mut batch, &commits).await?;
        let outcomes = commits
            .into_iter()
            .map(|commit| batch.decide(commit))
            .collect();
        if batch.rows.is_empty() {
            sqlx::raw_sql("ROLLBACK").execute(connection).await?;
            return Ok((outcomes, head));
        }
        let head = Position(batch.next_position() - 1);
        let channel = self.database.notifies().then(|| self.database.channel());
        insert(connection, batch.rows, channel, head).await?;
        sqlx::raw_sql("COMMIT").execute(connection).await?;
        Ok((outcomes, head))
    }
}

/// Whether the server ended the connection, before it did what it was asked.
fn is_stopping(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("57P01" | "57P02" | "57P05" | "25P03"))
}

/// Tells the batch what stands in the streams it touches.
async fn look_up(
    connection: &mut PgConnection,
    batch: &mut Batch,
    commits: &[Commit],
) -> Result<(), sqlx::Error> {
    let found = sqlx::query(
        "SELECT named.stream, last.version
         FROM unnest($1::text[]) AS named (stream),
              LATERAL (SELECT version FROM events WHERE events.stream = named.stream
                       ORDER BY version DESC LIMIT 1) AS last",
    )
    .bind(batch.names())
    .fetch_all(&mut *connection)
    .await?;
    for row in found {
        let version = row.try_get::<i64, _>(1)? as u64;
        batch.stored(&StreamId::from_name(row.try_get(0)?), version);
    }

    let overlaps = batch.overlaps(commits);
    if overlaps.is_empty() {
        return Ok(());
    }
    let streams: Vec<_> = overlaps.iter().map(|it| it.stream.as_str()).collect();
    let after: Vec<_> = overlaps.iter().map(|it| it.after as i64).collect();
    let last: Vec<_> = overlaps.iter().map(|it| it.last as i64).collect();
    let found = sqlx::query(
        "SELECT events.stream, events.version, events.id, events.position
         FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS taken (stream, after, last),
              LATERAL (SELECT * FROM events WHERE events.stream = taken.stream
                       AND events.version > taken.after AND events.version <= taken.last) AS events",
    )
    .bind(streams)
    .bind(after)
    .bind(last)
    .fetch_all(&mut *connection)
    .await?;
    for row in found {
        let id =
            Uuid::from_slice(row.try_get(2)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
        batch.standing(
            &StreamId::from_name(row.try_get(0)?),
            row.try_get::<i64, _>(1)? as u64,
            id,
            Position(row.try_get::<i64, _>(3)? as u64),
        );
    }
    Ok(())
}

/// Inserts all rows and, on a channel, notifies of the head they make; one statement.
async fn insert(
    connection: &mut PgConnection,
    rows: Vec<EventRow>,
    channel: Option<String>,
    head: Position,
) -> Result<(), sqlx::Error> {
    fn column<'r, T>(rows: &'r [EventRow], value: impl Fn(&'r EventRow) -> T) -> Vec<T> {
        rows.iter().map(value).collect()
    }
    let rows = &rows[..];
    let query = sqlx::query(
        "WITH added AS (
             INSERT INTO events (position, stream, version, id, type, schema, at, clock, actor,
                                 correlation, causation, origin, payload)
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bytea[], $5::text[],
                                  $6::integer[], $7::bigint[], $8::bigint[], $9::text[],
                                  $10::text[], $11::bytea[], $12::text[], $13::text[])
         )
         SELECT pg_notify($14, $15) WHERE $14 IS NOT NULL",
    );
    query
        .bind(column(rows, |row| row.position as i64))
        .bind(column(rows, |row| row.stream.as_str()))
        .bind(column(rows, |row| row.version as i64))
        .bind(column(rows, |row| row.event.id.as_bytes().as_slice()))
        .bind(column(rows, |row| row.event.kind.as_str()))
        .bind(column(rows, |row| i32::from(row.event.schema)))
        .bind(column(rows, |row| row.envelope.at))
        .bind(column(rows, |row| row.envelope.clock))
        .bind(column(rows, |row| &*row.envelope.actor))
        .bind(column(rows, |row| row.envelope.correlation.as_deref()))
        .bind(column(rows, |row| row.envelope.causation.as_deref()))
        .bind(column(rows, |row| row.event.origin.as_deref()))
        .bind(column(rows, |row| row.event.payload.as_str()))
        .bind(channel)
        .bind(head.to_string())
        .execute(connection)
        .await
        .map(drop)
}
