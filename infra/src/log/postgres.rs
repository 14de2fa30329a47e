//! The event log in a PostgreSQL database, for many nodes that all append.
//!
//! Every batch is one transaction under one advisory lock, which PostgreSQL hands on only after the
//! transaction can be seen by everybody: so positions become visible in order, and they are dense,
//! from 1, as a transaction that fails uses none. The [writer](writer) of a node merges the appends
//! that wait into one such batch; what goes in is [decided](batch) in memory, in a few statements
//! for all streams together. Nodes take turns: whoever decides on what the log holds has the lock
//! while it decides, so nothing that it read has changed when its events are written.
//!
//! Who follows is [woken](heard) by the notification that each batch sends, and should none come, by
//! asking for the newest position twice a second.

mod heard;
mod reader;
mod writer;

use async_trait::async_trait;
use hansard_domain::id::Timestamp;
use hansard_domain::log::{
    Commit, EventLog, EventPages, LogError, Outcome, Position, Role, StreamId, Version,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::writer::{Request, Writer};
use super::queue::{Asking, BATCH_BYTES, queue};
use super::{closed, unfold};
use crate::postgres::{Database, Failure, OpenError, advice, failure};

/// See the module.
pub struct PostgresLog {
    database: Database,
    writer: Asking<Request>,
    /// The newest position that this node knows of.
    newest: watch::Sender<Position>,
    /// What keeps `newest` new; it ends with the log.
    _listening: JoinSet<()>,
}

impl PostgresLog {
    /// Opens the log in this database.
    pub async fn open(database: &Database) -> Result<Self, OpenError> {
        let newest = watch::channel(reader::head(database).await?).0;
        let (writer, queue) = queue(BATCH_BYTES);
        tokio::spawn(Writer::new(database.clone(), newest.clone()).run(queue));

        let mut listening = JoinSet::new();
        listening.spawn(heard::ask(database.clone(), newest.clone()));
        if database.notifies() {
            listening.spawn(heard::listen(database.clone(), newest.clone()));
        }
        Ok(Self {
            database: database.clone(),
            writer,
            newest,
            _listening: listening,
        })
    }

    /// Finishes what waits; appends fail from then on.
    pub async fn close(&self) {
        self.writer.close().await;
    }
}

/// Tells a newest position to those who wait; it never goes back.
fn announce(newest: &watch::Sender<Position>, position: Position) {
    newest.send_if_modified(|known| {
        let moved = *known < position;
        *known = position.max(*known);
        moved
    });
}

fn refused(error: &sqlx::Error) -> LogError {
    match failure(error) {
        Failure::Full => LogError::Full,
        Failure::Damaged | Failure::Other => LogError::Unavailable(advice(error)),
    }
}

#[async_trait]
impl EventLog for PostgresLog {
    fn role(&self) -> watch::Receiver<Role> {
        watch::channel(Role::Shared).1
    }

    async fn moved(&self, after: Position) -> Result<Position, LogError> {
        let mut newest = self.newest.subscribe();
        let moved = newest.wait_for(|newest| *newest > after).await;
        moved.map(|newest| *newest).map_err(|_| closed())
    }

    async fn turn(&self) -> Result<Position, LogError> {
        self.writer.ask(Request::Turn).await
    }

    async fn pass(&self) {
        self.writer.tell(Request::Pass).await;
    }

    async fn append(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, LogError> {
        self.writer.append(commits).await
    }

    fn stream(&self, stream: &StreamId, after: Version) -> EventPages {
        let state = (self.database.clone(), stream.clone(), after);
        unfold(state, |(database, stream, after)| async move {
            let page = reader::stream(&database, &stream, after).await?;
            let last = page.last().map(|event| event.version);
            Ok(last.map(|last| (page, (database, stream, last))))
        })
    }

    fn all(&self, after: Position) -> EventPages {
        let state = (self.database.clone(), after);
        unfold(state, |(database, after)| async move {
            let page = reader::all(&database, after).await?;
            let last = page.last().map(|event| event.position);
            Ok(last.map(|last| (page, (database, last))))
        })
    }

    fn follow(&self, after: Position) -> EventPages {
        let state = (self.database.clone(), self.newest.subscribe(), after);
        unfold(state, |(database, mut newest, after)| async move {
            loop {
                newest
                    .wait_for(|newest| *newest > after)
                    .await
                    .map_err(|_| closed())?;
                let page = reader::all(&database, after).await?;
                if let Some(last) = page.last().map(|event| event.position) {
                    return Ok(Some((page, (database, newest, last))));
                }
                // The database has less than was there before: it was put back to an older state.
                newest.changed().await.map_err(|_| closed())?;
            }
        })
    }

    async fn head(&self) -> Result<Position, LogError> {
        let head = reader::head(&self.database)
            .await
            .map_err(|error| refused(&error))?;
        announce(&self.newest, head);
        Ok(head)
    }

    async fn position_at(&self, at: Timestamp) -> Result<Position, LogError> {
        reader::position_at(&self.database, at).await
    }
}
