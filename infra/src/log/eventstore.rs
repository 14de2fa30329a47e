//! The event log in one stream of an EventStoreDB (KurrentDB), which every node writes.
//!
//! The stream is the truth. Every node keeps a [copy](copying) of it in a SQLite file, and all reads
//! are answered from there. A [writer](writer) checks expected versions against the copy and appends a
//! batch with the expectation that nobody has added to the stream since: so a batch is decided from
//! all that stands before it, without locks and without one node that leads.
//!
//! One stream, and not one for each aggregate, because a commit may change several aggregates and is
//! whole or absent: an append to one stream is, while the client this stands on can't append to
//! several at once. A position is a revision plus one.

mod config;
mod copying;
mod record;
mod server;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use hansard_domain::id::Timestamp;
use hansard_domain::log::{
    Commit, EventLog, EventPages, LogError, Outcome, Position, Role, StreamId, Version,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

pub use config::{ConfigError, EventStoreConfig};

use self::copying::Copying;
use self::server::{Failure, Server};
use self::writer::{BATCH_BYTES, Writer};
use super::queue::{Asking, queue};
use super::sqlite::{self, SqliteLog};
use super::{Progress, closed};
use crate::reach;

/// How long a copy may stand still that somebody waits for.
const STANDSTILL: Duration = Duration::from_secs(10);

/// The property of the stream that names the keys its events are sealed with.
const KEYS: &str = "hansardKeys";

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}")]
    Unavailable(String),
    #[error(
        "the stream {stream} has {rule}, so that events are deleted; take it out of the stream's \
         metadata"
    )]
    Unsafe { stream: String, rule: &'static str },
    #[error(
        "the stream {stream} has events that are not of a log; name another one, it is made if it \
             does not exist"
    )]
    Foreign { stream: String },
    #[error(
        "the events of the stream {stream} are sealed with keys that are kept elsewhere: by the node \
         that made it, or in a PostgreSQL database. Nodes that share a log in EventStoreDB share their \
         keys in the database of their views (--views postgres://…)"
    )]
    OtherKeys { stream: String },
    #[error(
        "the stream {stream} begins at revision {first}, but {needed} is needed next: events were \
         deleted from it"
    )]
    Deleted {
        stream: String,
        first: u64,
        needed: u64,
    },
    #[error(
        "the local copy does not belong to the stream {stream}: {reason}. If the stream was made anew \
         on purpose, move the copy and the views away"
    )]
    Recreated { stream: String, reason: String },
    #[error(transparent)]
    Replica(#[from] sqlite::OpenError),
    #[error("the local copy of the event log: {0}")]
    Unreadable(LogError),
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(failure.to_string())
    }
}

/// Looks whether the server answers, and whether it lets this user read the stream; makes nothing.
pub async fn reach(config: &EventStoreConfig) -> Result<(), OpenError> {
    reach::any(config.addresses()).await.map_err(|reasons| {
        OpenError::Unavailable(format!(
            "the server can't be reached: {reasons}; check the address, and that it runs"
        ))
    })?;
    Server::new(config)?.first().await?;
    Ok(())
}

/// See the module.
pub struct EventStoreLog {
    server: Server,
    replica: Arc<SqliteLog>,
    writer: Asking,
    role: watch::Receiver<Role>,
    progress: watch::Receiver<Progress>,
    wake: Arc<Notify>,
    /// How many events the stream had when the log was opened.
    end_at_start: u64,
    stop: watch::Sender<()>,
    copying: Mutex<Option<JoinHandle<()>>>,
}

impl EventStoreLog {
    /// Opens the log in a stream, or makes the stream, with the copy in this file. `keys` names the
    /// keys that its events are sealed with; a stream whose events are sealed with others is refused.
    /// It returns when the stream was checked; see [`Self::caught_up`] for the copy.
    pub async fn open(
        config: &EventStoreConfig,
        replica: impl AsRef<Path>,
        keys: &str,
    ) -> Result<Self, OpenError> {
        let stream = config.stream();
        let server = Server::new(config)?;
        claim(&server, stream, keys).await?;
        let source = format!("the stream {stream} of the EventStoreDB with the keys {keys}");
        let replica = Arc::new(SqliteLog::open_replica(replica.as_ref(), &source).await?);
        let end_at_start = match matches(&server, stream, &replica).await {
            Ok(end) => end,
            Err(error) => {
                replica.close().await;
                return Err(error);
            }
        };

        let (announce, progress) = watch::channel(Progress {
            applied: replica.watch_head().borrow().0,
            end: end_at_start,
            at_end: false,
            reachable: true,
        });
        let wake = Arc::new(Notify::new());
        let (stop, stopped) = watch::channel(());
        let (tell_partial, partial) = watch::channel(false);
        let copying = Copying {
            server: server.clone(),
            replica: replica.clone(),
            progress: announce,
            partial: tell_partial,
            wake: wake.clone(),
            stop: stopped,
        };
        let copying = tokio::spawn(copying.run());
        let (asking, queue) = queue(BATCH_BYTES);
        let writer = Writer {
            server: server.clone(),
            replica: replica.clone(),
            progress: progress.clone(),
            partial,
            wake: wake.clone(),
        };
        tokio::spawn(writer.run(queue));
        Ok(Self {
            server,
            replica,
            writer: asking,
            role: watch::channel(Role::Shared).1,
            progress,
            wake,
            end_at_start,
            stop,
            copying: Mutex::new(Some(copying)),
        })
    }

    /// How far the local copy is, as it goes on.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits until the local copy has all that was in the stream when the log was opened.
    pub async fn caught_up(&self) -> Result<(), LogError> {
        copied(self.progress.clone(), &self.wake, self.end_at_start).await
    }

    /// Finishes what waits and closes the copy.
    pub async fn close(&self) {
        self.writer.close().await;
        self.stop.send_replace(());
        let copying = self.copying.lock().take();
        if let Some(copying) = copying
            && let Err(error) = copying.await
        {
            tracing::warn!(%error, "the copying of the event log was cut short");
        }
        self.replica.close().await;
    }

    /// Pages of the copy, once it has all that the stream has now.
    fn current(&self, pages: EventPages) -> EventPages {
        let (server, progress, wake) = (
            self.server.clone(),
            self.progress.clone(),
            self.wake.clone(),
        );
        let wait = async move {
            let end = end(&server).await?;
            copied(progress, &wake, end).await?;
            Ok(pages)
        };
        futures::stream::once(wait).try_flatten().boxed()
    }
}

async fn end(server: &Server) -> Result<u64, LogError> {
    let end = server.end().await;
    end.map_err(|failure| LogError::Unavailable(failure.to_string()))
}

/// Waits until so many events of the stream are copied, as long as it goes on.
async fn copied(
    mut progress: watch::Receiver<Progress>,
    wake: &Notify,
    end: u64,
) -> Result<(), LogError> {
    wake.notify_one();
    let (mut furthest, mut since) = (0, Instant::now());
    loop {
        let applied = progress.borrow_and_update().applied;
        if applied >= end {
            return Ok(());
        }
        if applied > furthest {
            (furthest, since) = (applied, Instant::now());
        }
        match timeout_at(since + STANDSTILL, progress.changed()).await {
            Ok(changed) => changed.map_err(|_| closed())?,
            Err(_) => {
                return Err(LogError::Unavailable(
                    "the local copy of the stream stands still".to_owned(),
                ));
            }
        }
    }
}

/// Refuses a stream that deletes events or whose events are sealed with other keys; names the keys of
/// one that has none.
async fn claim(server: &Server, stream: &str, keys: &str) -> Result<(), OpenError> {
    loop {
        // In this order: whoever adds the first event has named its keys before.
        let end = server.end().await?;
        let (mut rules, changes) = server.rules().await?;
        let deleting = [
            (rules.max_count.is_some(), "$maxCount"),
            (rules.max_age.is_some(), "$maxAge"),
            (rules.truncate_before.is_some(), "$tb"),
        ];
        if let Some((_, rule)) = deleting.into_iter().find(|(set, _)| *set) {
            let stream = stream.to_owned();
            return Err(OpenError::Unsafe { stream, rule });
        }
        match rules.custom_properties.get(KEYS) {
            Some(named) if named == keys => return Ok(()),
            Some(_) => {
                let stream = stream.to_owned();
                return Err(OpenError::OtherKeys { stream });
            }
            None if end > 0 => {
                let stream = stream.to_owned();
                return Err(OpenError::Foreign { stream });
            }
            None => {}
        }
        rules.custom_properties.insert(KEYS.to_owned(), keys.into());
        match server.lay_down(&rules, changes).await {
            Ok(()) => return Ok(()),
            // Another node may just have done the same.
            Err(Failure::Overtaken(_)) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// Refuses a copy that is not the beginning of the stream; tells how many events the stream has.
async fn matches(server: &Server, stream: &str, replica: &SqliteLog) -> Result<u64, OpenError> {
    let head = replica.watch_head().borrow().0;
    let recreated = |reason: String| OpenError::Recreated {
        stream: stream.to_owned(),
        reason,
    };
    let end = server.end().await?;
    let first = server.first().await?.map_or(end, |event| event.revision);
    if first > head {
        return Err(OpenError::Deleted {
            stream: stream.to_owned(),
            first,
            needed: head,
        });
    }
    if end < head {
        return Err(recreated(format!(
            "the stream has {end} events, the copy {head}"
        )));
    }
    if head > first {
        let last = Position(head - 1);
        let copied = replica.all(last).try_next().await;
        let copied = copied.map_err(OpenError::Unreadable)?;
        let copied = copied.and_then(|page| page.first().map(|event| event.event.id));
        let there = server.at(last.0).await?;
        let there = there.and_then(|event| record::read(&event).ok());
        if there.map(|piece| piece.row.event.id) != copied {
            return Err(recreated(format!(
                "they differ in the event at revision {}",
                last.0
            )));
        }
    }
    Ok(end)
}

#[async_trait]
impl EventLog for EventStoreLog {
    fn role(&self) -> watch::Receiver<Role> {
        self.role.clone()
    }

    async fn moved(&self, after: Position) -> Result<Position, LogError> {
        let mut head = self.replica.watch_head();
        let head = head.wait_for(|head| *head > after).await;
        head.map(|head| *head).map_err(|_| closed())
    }

    async fn append(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, LogError> {
        self.writer.append(commits).await
    }

    fn stream(&self, stream: &StreamId, after: Version) -> EventPages {
        self.current(self.replica.stream(stream, after))
    }

    fn all(&self, after: Position) -> EventPages {
        self.current(self.replica.all(after))
    }

    fn follow(&self, after: Position) -> EventPages {
        self.replica.follow(after)
    }

    async fn head(&self) -> Result<Position, LogError> {
        let end = end(&self.server).await?;
        copied(self.progress.clone(), &self.wake, end).await?;
        self.replica.head().await
    }

    async fn position_at(&self, at: Timestamp) -> Result<Position, LogError> {
        self.replica.position_at(at).await
    }
}
