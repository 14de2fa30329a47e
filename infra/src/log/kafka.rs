//! The event log in one partition of a Kafka topic, for several nodes of which one writes.
//!
//! The partition is the truth. Every node keeps a [copy](replica) of it in a SQLite file, and all
//! reads are answered from there. One node writes: the one that a consumer group's
//! [choice](election) fell on, once its [producer](writer) has fenced any earlier one. It checks
//! expected versions against its copy and puts each batch of appends into one transaction.
//!
//! A position is an offset plus one. There are gaps: the end of a transaction takes an offset, and so
//! does the marker that each new writer leaves.

mod config;
mod context;
mod election;
mod feed;
mod record;
mod replica;
mod topic;
mod writer;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use hansard_domain::id::Timestamp;
use hansard_domain::log::{
    Commit, EventLog, EventPages, LogError, Outcome, Position, Role, StreamId, Version,
};
use parking_lot::Mutex;
use rdkafka::error::KafkaError;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use config::{ConfigError, KafkaConfig, PASSWORD_VARIABLE};

pub(crate) use feed::Feed;
pub(crate) use writer::{KeyRecord, MARKER};

use self::config::PATIENCE;
use self::replica::Copying;
use self::writer::{WriteKeys, Writer};
use super::queue::{Asking, BATCH_BYTES, queue};
use super::sqlite::{self, SqliteLog};
use super::{Progress, closed};

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the settings behind the ? are wrong: {0}")]
    Misconfigured(String),
    #[error("{0}")]
    Unavailable(String),
    #[error(
        "the topic {topic} has {partitions} partitions, but the order of all events needs a single \
         one; name another topic, it is made if it does not exist"
    )]
    Partitions { topic: String, partitions: usize },
    #[error("the topic {topic} has {setting}, so that {danger}; change it with: {change}")]
    Unsafe {
        topic: String,
        setting: String,
        danger: &'static str,
        change: String,
    },
    #[error(
        "the topic {topic} begins at offset {first}, but {needed} is needed next: events were \
         deleted from it, or it is another topic of the same name"
    )]
    Deleted {
        topic: String,
        first: u64,
        needed: u64,
    },
    #[error(
        "the local copy does not belong to the topic {topic}: {reason}. If the topic was made anew \
         on purpose, move the copy and the views away"
    )]
    Recreated { topic: String, reason: String },
    #[error(transparent)]
    Replica(#[from] sqlite::OpenError),
    #[error("the local copy of the event log: {0}")]
    Unreadable(LogError),
}

/// See the module.
pub struct KafkaLog {
    config: KafkaConfig,
    cluster: String,
    replica: Arc<SqliteLog>,
    writer: Asking<WriteKeys>,
    role: watch::Receiver<Role>,
    term: watch::Receiver<Option<u64>>,
    progress: watch::Receiver<Progress>,
    /// The end of the topic when the log was opened.
    end_at_start: u64,
    stop: watch::Sender<()>,
    copying: Mutex<Option<JoinHandle<()>>>,
}

impl KafkaLog {
    /// Opens the log in a topic, or makes the topic, with the copy in this file. It returns when the
    /// topic was checked; see [`Self::caught_up`] for the copy.
    pub async fn open(config: KafkaConfig, replica: impl AsRef<Path>) -> Result<Self, OpenError> {
        let cluster = topic::prepare(&config).await?;
        let source = format!("{} of the Kafka cluster {cluster}", config.topic());
        let replica = Arc::new(SqliteLog::open_replica(replica.as_ref(), &source).await?);
        let end_at_start = match matches(&config, &replica).await {
            Ok(end) => end,
            Err(error) => {
                replica.close().await;
                return Err(error);
            }
        };

        let start = replica.watch_head().borrow().0;
        let (announce, progress) = watch::channel(Progress {
            applied: start,
            end: end_at_start,
            at_end: false,
            reachable: true,
        });
        let (stop, stopped) = watch::channel(());
        let copying = Copying {
            config: config.clone(),
            replica: replica.clone(),
            progress: announce,
            stop: stopped,
        };
        let copying = tokio::spawn(copying.run());

        let (asking, queue) = queue(BATCH_BYTES);
        let (tell_role, role) = watch::channel(Role::Follower);
        let (tell_term, term) = watch::channel(None);
        let writer = Writer {
            config: config.clone(),
            replica: replica.clone(),
            role: tell_role,
            progress: progress.clone(),
            term: tell_term,
        };
        tokio::spawn(writer.run(queue));
        Ok(Self {
            config,
            cluster,
            replica,
            writer: asking,
            role,
            term,
            progress,
            end_at_start,
            stop,
            copying: Mutex::new(Some(copying)),
        })
    }

    /// How far the local copy is, as it goes on.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits until the local copy has all that was in the topic when the log was opened. Only then
    /// this node may be chosen to write.
    pub async fn caught_up(&self) -> Result<(), LogError> {
        let end = self.end_at_start;
        self.progress
            .clone()
            .wait_for(|progress| progress.at_end || progress.applied >= end)
            .await
            .map_err(|_| closed())?;
        Ok(())
    }

    /// Lets another node write, if this one does, and closes the copy.
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

    pub(crate) fn config(&self) -> &KafkaConfig {
        &self.config
    }

    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The offset of this writer's marker in the topic of keys; `None` while another node writes.
    pub(crate) fn term(&self) -> watch::Receiver<Option<u64>> {
        self.term.clone()
    }

    /// Writes keys in one transaction, unless the writer has changed since `term` was read; tells the
    /// offset after them.
    pub(crate) async fn write_keys(
        &self,
        term: u64,
        records: Vec<KeyRecord>,
    ) -> Result<u64, LogError> {
        self.writer
            .ask(|answer| WriteKeys {
                term,
                records,
                answer,
            })
            .await
    }
}

/// Looks whether a broker answers, and whether it lets this client in; makes nothing.
pub async fn reach(config: &KafkaConfig) -> Result<(), OpenError> {
    topic::reach(config).await
}

/// Refuses a copy that is not the beginning of the topic; tells where the topic ends.
async fn matches(config: &KafkaConfig, replica: &SqliteLog) -> Result<u64, OpenError> {
    let topic = config.topic();
    let head = replica.watch_head().borrow().0;
    let feed = Feed::open(config, topic, head.saturating_sub(1))
        .map_err(|error| OpenError::Misconfigured(reason(&error)))?;
    let (first, end) = feed
        .ends()
        .await
        .map_err(|error| OpenError::Unavailable(reason(&error)))?;
    let recreated = |reason: String| OpenError::Recreated {
        topic: topic.to_owned(),
        reason,
    };
    if first > head {
        return Err(OpenError::Deleted {
            topic: topic.to_owned(),
            first,
            needed: head,
        });
    }
    if end < head {
        return Err(recreated(format!(
            "the topic ends at offset {end}, the copy at {head}"
        )));
    }
    if head > 0 && first < head {
        let last = Position(head - 1);
        let copied = replica.all(last).try_next().await;
        let copied = copied.map_err(OpenError::Unreadable)?;
        let copied = copied.and_then(|page| page.first().map(|event| event.event.id));
        let there = tokio::time::timeout(PATIENCE, feed.next())
            .await
            .map_err(|_| OpenError::Unavailable("the topic can't be read".to_owned()))?
            .map_err(|error| OpenError::Unavailable(reason(&error)))?;
        let there = there.and_then(|message| record::read(&message).ok().flatten());
        if there.map(|row| row.event.id) != copied {
            return Err(recreated(format!(
                "they differ in the event at offset {}",
                last.0
            )));
        }
    }
    // Taking leave of the brokers may take a moment.
    tokio::task::spawn_blocking(move || drop(feed));
    Ok(end)
}

/// What an error says, without the value of a setting: it may be secret.
pub(crate) fn reason(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, description, setting, _) => {
            format!("{setting}: {description}")
        }
        error => error.to_string(),
    }
}

#[async_trait]
impl EventLog for KafkaLog {
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
        self.replica.stream(stream, after)
    }

    fn all(&self, after: Position) -> EventPages {
        self.replica.all(after)
    }

    fn follow(&self, after: Position) -> EventPages {
        self.replica.follow(after)
    }

    async fn head(&self) -> Result<Position, LogError> {
        self.replica.head().await
    }

    async fn position_at(&self, at: Timestamp) -> Result<Position, LogError> {
        self.replica.position_at(at).await
    }
}
