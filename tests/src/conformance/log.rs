//! The promises of the event log, checked from outside through the port.
//!
//! An adapter's test implements [`LogFactory`] and calls [`run`]. Every check gets a log of its own
//! and panics with what went wrong.

mod concurrency;
mod model;
mod nodes;
mod places;
mod retries;

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use hansard_domain::id::Timestamp;
use hansard_domain::log::{
    Actor, Append, Commit, Conflict, EventLog, EventPages, LogError, Metadata, NewEvent, Outcome,
    Position, Recorded, Refusal, StoredEvent, StreamId, Version,
};
use uuid::Uuid;

/// Makes logs of one kind.
#[async_trait]
pub trait LogFactory: Send + Sync {
    /// An empty log that nobody else uses.
    async fn create(&self) -> Box<dyn LogUnderTest>;
}

/// A log that can be closed and opened again with what it holds.
#[async_trait]
pub trait LogUnderTest: Send {
    fn log(&self) -> Arc<dyn EventLog>;
    async fn reopen(&mut self);

    /// Another handle to the same log, as another node has one; where every node writes.
    async fn another(&mut self) -> Option<Arc<dyn EventLog>> {
        None
    }
}

type Check = for<'a> fn(&'a mut dyn LogUnderTest) -> BoxFuture<'a, ()>;

/// Runs all checks one after the other; what fails is the one named last.
pub async fn run(factory: &dyn LogFactory) {
    let checks: &[(&str, Check)] = &[
        ("an empty log has nothing", |log| {
            Box::pin(places::empty(log))
        }),
        ("an event comes back as it was", |log| {
            Box::pin(places::round_trip(log))
        }),
        ("versions are dense", |log| {
            Box::pin(places::dense_versions(log))
        }),
        ("a stale version writes nothing", |log| {
            Box::pin(places::stale_versions(log))
        }),
        ("a commit is whole or absent", |log| {
            Box::pin(places::several_streams(log))
        }),
        ("a commit sees the one before it", |log| {
            Box::pin(places::one_append(log))
        }),
        ("an append without events asserts", |log| {
            Box::pin(places::without_events(log))
        }),
        ("what was decided on another head is refused", |log| {
            Box::pin(places::decided_after(log))
        }),
        ("long streams are read to the end", |log| {
            Box::pin(places::long_streams(log))
        }),
        ("big events fit", |log| Box::pin(places::big_events(log))),
        ("streams may be many", |log| {
            Box::pin(places::many_streams(log))
        }),
        ("times lead to positions", |log| {
            Box::pin(places::position_at(log))
        }),
        ("all is there after reopening", |log| {
            Box::pin(places::reopening(log))
        }),
        ("a retry is the same append", |log| {
            Box::pin(retries::same(log))
        }),
        ("a retry may come in the same batch", |log| {
            Box::pin(retries::same_batch(log))
        }),
        ("half a retry is a conflict", |log| {
            Box::pin(retries::overlapping(log))
        }),
        ("an abandoned append can be retried", |log| {
            Box::pin(retries::abandoned(log))
        }),
        ("one writer wins each version", |log| {
            Box::pin(concurrency::one_stream(log))
        }),
        ("writers of other streams don't disturb", |log| {
            Box::pin(concurrency::own_streams(log))
        }),
        ("one of those that decide on a head is written", |log| {
            Box::pin(concurrency::decided_after(log))
        }),
        ("followers see everything once", |log| {
            Box::pin(concurrency::followers(log))
        }),
        ("a follower wakes at once", |log| {
            Box::pin(concurrency::waking(log))
        }),
        ("nodes write one log", |log| Box::pin(nodes::writing(log))),
        ("nodes decide on what stands before", |log| {
            Box::pin(nodes::deciding(log))
        }),
        ("a turn that is not used is no hindrance", |log| {
            Box::pin(nodes::passing(log))
        }),
        ("nodes hear of each other", |log| {
            Box::pin(nodes::hearing(log))
        }),
        ("a retry may go to another node", |log| {
            Box::pin(nodes::retrying(log))
        }),
        ("a random schedule goes as in the model", |log| {
            Box::pin(model::random_schedule(log))
        }),
    ];
    for (name, check) in checks {
        println!("{name}");
        check(factory.create().await.as_mut()).await;
    }
}

/// An event with a fresh id.
pub fn event(payload: impl Into<String>) -> NewEvent {
    let id = Uuid::from_u128(rand::random());
    NewEvent {
        id,
        kind: "Happened".into(),
        schema: 1,
        payload: payload.into(),
        origin: None,
    }
}

fn append(stream: &str, expected: u64, events: &[NewEvent]) -> Append {
    let stream = StreamId::from_name(stream);
    Append {
        stream,
        expected: Version(expected),
        events: events.to_vec(),
    }
}

fn commit(appends: impl IntoIterator<Item = Append>) -> Commit {
    commit_at(1_700_000_000_000, appends)
}

/// A commit of events of one stream.
pub fn commit_to(stream: &str, expected: u64, events: &[NewEvent]) -> Commit {
    commit([append(stream, expected, events)])
}

fn commit_at(at: i64, appends: impl IntoIterator<Item = Append>) -> Commit {
    let metadata = Metadata {
        at: Timestamp(at),
        clock: None,
        actor: Actor::User("mary".into()),
        correlation: None,
        causation: None,
    };
    Commit {
        after: None,
        appends: appends.into_iter().collect(),
        metadata,
    }
}

async fn write(log: &dyn EventLog, commit: Commit) -> Outcome {
    let started = Instant::now();
    let mut outcomes = loop {
        match log.append(vec![commit.clone()]).await {
            Ok(outcomes) => break outcomes,
            // One that nodes write in turn may do without a writer for a moment; the same again is the
            // same append.
            Err(LogError::Follower | LogError::Unavailable(_))
                if started.elapsed() < Duration::from_secs(30) =>
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("the log does not work: {error}"),
        }
    };
    assert_eq!(outcomes.len(), 1, "one outcome a commit");
    outcomes.remove(0)
}

fn conflict(stream: &str, expected: u64, actual: u64) -> Outcome {
    let stream = StreamId::from_name(stream);
    Err(Refusal::Conflict(Conflict {
        stream,
        expected: Version(expected),
        actual: Version(actual),
    }))
}

/// All events of pages that end.
async fn collect(pages: EventPages) -> Vec<StoredEvent> {
    try_collect(pages).await.expect("the log can be read")
}

async fn try_collect(mut pages: EventPages) -> Result<Vec<StoredEvent>, LogError> {
    let mut events: Vec<StoredEvent> = Vec::new();
    while let Some(page) = pages.try_next().await? {
        assert!(!page.is_empty(), "a page is never empty");
        events.extend(page);
    }
    Ok(events)
}

async fn all(log: &dyn EventLog) -> Vec<StoredEvent> {
    let events = collect(log.all(Position::START)).await;
    assert_in_order(&events);
    events
}

async fn stream(log: &dyn EventLog, name: &str) -> Vec<StoredEvent> {
    let events = collect(log.stream(&StreamId::from_name(name), Version::NONE)).await;
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.stream.as_str(), name);
        assert_eq!(
            event.version,
            Version(index as u64 + 1),
            "versions of {name} are dense"
        );
    }
    assert_in_order(&events);
    events
}

fn assert_in_order(events: &[StoredEvent]) {
    for pair in events.windows(2) {
        let (first, second) = (pair[0].position, pair[1].position);
        assert!(first < second, "position {first} comes before {second}");
    }
}

fn ids(events: &[StoredEvent]) -> Vec<Uuid> {
    events.iter().map(|event| event.event.id).collect()
}

/// Fails with the two logs' differences in few words: payloads may have megabytes.
fn assert_same(actual: &[StoredEvent], expected: &[StoredEvent], what: &str) {
    if actual == expected {
        return;
    }
    let mut places = String::new();
    for (name, events) in [("actual", actual), ("expected", expected)] {
        let _ = write!(places, "\n{name}:");
        for event in events.iter().take(50) {
            let _ = write!(
                places,
                " {}={}/{}",
                event.position, event.stream, event.version.0
            );
        }
    }
    panic!(
        "{what}: {} events, not {}{places}",
        actual.len(),
        expected.len()
    );
}
