//! The port of the event log: what any store of events must offer and promise.
//!
//! Every adapter keeps six promises, checked by one conformance suite:
//! 1. what was acknowledged is never lost;
//! 2. a commit is whole or absent, over all its streams;
//! 3. a stream's versions are dense; a stale expected version conflicts and writes nothing;
//! 4. readers see events in position order, exactly once, and never a position that later gains a
//!    predecessor;
//! 5. a retried append with the same event ids is the same append;
//! 6. a commit that names the position it was decided after is written only where that is still the
//!    log's head: what it was decided on holds when it is recorded.
//!
//! What stands here is bytes and places; typed, opened events are the [`journal`](crate::journal)'s.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use compact_str::{CompactString, ToCompactString};
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use crate::id::{IntegrationId, Timestamp, UserId};

/// A place in the log: strictly increasing, gaps allowed. Zero is before the first event.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    pub const START: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position, and the event that stands there: of one log, and of no other.
///
/// Whatever remembers how far it has read a log remembers the place. Where an older copy of the log is
/// put back, or another log, its position alone would be as good as any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub position: Position,
    /// Not known of what was remembered by an earlier version, nor before the first event.
    pub event: Option<Uuid>,
}

/// An event's place in its stream, from 1. Zero is the version of a stream without events.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    pub const NONE: Self = Self(0);

    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The name of a stream: an aggregate's type and id, `room-GENERAL`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(CompactString);

impl StreamId {
    pub fn new(category: &str, id: impl fmt::Display) -> Self {
        Self(compact_str::format_compact!("{category}-{id}"))
    }

    /// Wraps a whole stream name, as it stands in a log or in a request.
    pub fn from_name(name: &str) -> Self {
        Self(name.to_compact_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first `-`: the aggregate's type.
    pub fn category(&self) -> &str {
        self.0
            .split_once('-')
            .map_or(self.0.as_str(), |(category, _)| category)
    }

    /// What stands after the first `-`: the aggregate's id.
    pub fn key(&self) -> &str {
        self.0.split_once('-').map_or("", |(_, key)| key)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who did it. In the log it is text: `user:<id>`, `integration:<id>`, `policy:<name>`, `system`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A person or a bot, through its account.
    User(UserId),
    /// An incoming webhook.
    Integration(IntegrationId),
    /// A rule of the server that reacts to events or to the time.
    Policy(CompactString),
    /// The server itself: start-up, an operator's command.
    System,
    /// A request that nobody is logged in for.
    Anonymous,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Integration(id) => write!(f, "integration:{id}"),
            Self::Policy(name) => write!(f, "policy:{name}"),
            Self::System => f.write_str("system"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// Text that names no actor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' names no actor; one is user:<id>, integration:<id>, policy:<name>, system, anonymous"
)]
pub struct UnknownActor(pub String);

impl FromStr for Actor {
    type Err = UnknownActor;

    fn from_str(text: &str) -> Result<Self, UnknownActor> {
        match text.split_once(':') {
            Some(("user", id)) => Ok(Self::User(UserId::new(id))),
            Some(("integration", id)) => Ok(Self::Integration(IntegrationId::new(id))),
            Some(("policy", name)) => Ok(Self::Policy(name.into())),
            None if text == "system" => Ok(Self::System),
            None if text == "anonymous" => Ok(Self::Anonymous),
            _ => Err(UnknownActor(text.to_owned())),
        }
    }
}

/// What is the same for all events of a commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// When it was recorded. Along the log it never falls, over restarts and nodes.
    pub at: Timestamp,
    /// What the clock of the node that recorded it said, where that was not `at`: it was behind what
    /// had been recorded before.
    pub clock: Option<Timestamp>,
    pub actor: Actor,
    /// The id of the request that asked for it.
    pub correlation: Option<CompactString>,
    /// The event that caused it, where a policy reacted to one.
    pub causation: Option<Uuid>,
}

/// An event on its way into the log.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// UUID v7; the same id again is the same event.
    pub id: Uuid,
    /// The event's type, `MessageSent`.
    pub kind: CompactString,
    /// The number of the payload's schema, from 1.
    pub schema: u16,
    /// JSON, its confidential parts sealed.
    pub payload: String,
    /// Client address and user agent, the same for all events of a commit, but sealed beside each: JSON
    /// as the [`seal`](crate::seal) module writes it.
    pub origin: Option<String>,
}

/// Events for one stream, which must be at version `expected`.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    pub stream: StreamId,
    pub expected: Version,
    pub events: Vec<NewEvent>,
}

/// Written whole or not at all. A stream stands in it at most once.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The position of the last event that it was decided on. If the log has gone on since, it is
    /// [`Overtaken`](Refusal::Overtaken): what it decides may be wrong by now. `None` for what
    /// depends on nothing but the versions it expects.
    pub after: Option<Position>,
    pub appends: Vec<Append>,
    pub metadata: Metadata,
}

/// Where the events of a commit came to stand, in the order of its appends and their events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub positions: Vec<Position>,
}

/// Why a commit was refused. Nothing of it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// Others have appended since the position that it was decided on: decide again.
    #[error("other nodes have appended to the log since this was decided")]
    Overtaken,
}

/// What became of a commit.
pub type Outcome = Result<Recorded, Refusal>;

/// A stream that is not at the version that a commit expects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream {stream} is at version {}, not {}", actual.0, expected.0)]
pub struct Conflict {
    pub stream: StreamId,
    pub expected: Version,
    pub actual: Version,
}

/// An event as it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    pub position: Position,
    pub stream: StreamId,
    pub version: Version,
    pub event: NewEvent,
    pub metadata: Metadata,
}

/// Why the log could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// It may work later. Whether an append was written is not known: ask again with the same ids,
    /// or read the log.
    #[error("the event log is unavailable: {0}")]
    Unavailable(String),
    /// The disk is full; nothing was written.
    #[error("the disk of the event log is full; make room and the server goes on by itself")]
    Full,
    /// Another node writes; nothing was written.
    #[error("another node writes the event log")]
    Follower,
    /// What was read is no event of ours.
    #[error("the event log is damaged at position {position}: {reason}")]
    Damaged { position: Position, reason: String },
}

/// Events in position order, a page at a time; a page is never empty.
pub type EventPages = BoxStream<'static, Result<Vec<StoredEvent>, LogError>>;

/// Who writes a log, seen from one handle to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// This handle, and nobody else.
    Sole,
    /// Every node: events of others may come to stand before those of an append.
    Shared,
    /// Another node: an append here fails with [`LogError::Follower`].
    Follower,
}

/// A store of events. See the module for what it promises.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Who writes. It changes where nodes elect their writer; by the time it says
    /// [`Role::Sole`], all that earlier writers wrote can be read here.
    fn role(&self) -> watch::Receiver<Role> {
        watch::channel(Role::Sole).1
    }

    /// Waits until events can be read that stand after a position, and tells the newest position
    /// known. Where nobody but this handle writes nobody needs to ask.
    async fn moved(&self, _after: Position) -> Result<Position, LogError> {
        std::future::pending().await
    }

    /// Waits for this handle's turn to append, and tells the log's head as it is then. Where several
    /// nodes append, it says what to decide on: at best nobody else appends before this handle has
    /// (some seconds at most, then the turn is taken back); in any case whoever was overtaken is told
    /// so by [`append`](Self::append). A turn that is not used is given back by
    /// [`pass`](Self::pass).
    async fn turn(&self) -> Result<Position, LogError> {
        self.head().await
    }

    /// Gives a turn back that nothing is to be appended in.
    async fn pass(&self) {}

    /// Durable when it returns. Each commit is recorded or refused on its own; on an error none is
    /// acknowledged. Commits later in the list see the streams as the earlier ones left them, and
    /// those that name what they were decided [`after`](Commit::after) name what stood before the
    /// first of the list.
    async fn append(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, LogError>;

    /// The events of one stream after a version, to its end.
    fn stream(&self, stream: &StreamId, after: Version) -> EventPages;

    /// All events after a position, to the head as it is when the end is reached.
    fn all(&self, after: Position) -> EventPages;

    /// All events after a position, and those that come; never ends by itself.
    fn follow(&self, after: Position) -> EventPages;

    /// The position of the last event, [`Position::START`] for an empty log.
    async fn head(&self) -> Result<Position, LogError>;

    /// The position of the last event recorded at or before a time, [`Position::START`] for none.
    async fn position_at(&self, at: Timestamp) -> Result<Position, LogError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_read_what_they_write() {
        for actor in [
            Actor::User("u1".into()),
            Actor::Integration("i1".into()),
            Actor::Policy("retention".into()),
            Actor::System,
            Actor::Anonymous,
        ] {
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
        assert!("nobody:x".parse::<Actor>().is_err());
    }

    #[test]
    fn a_stream_name_tells_category_and_key() {
        let stream = StreamId::new("room", "GENERAL");
        assert_eq!((stream.category(), stream.key()), ("room", "GENERAL"));
    }
}
