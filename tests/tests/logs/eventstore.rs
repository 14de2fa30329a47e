//! The log in EventStoreDB, against the suite that all adapters run.
//!
//! Against a stand-in that speaks the protocol as the official client does, always; against a real
//! server where `HANSARD_TEST_ESDB_URL` names one (`esdb://user:password@host:2113?tls=false`).

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use hansard_domain::log::{Commit, EventLog, LogError, Position, Recorded, StoredEvent};
use hansard_infra::log::eventstore::{EventStoreConfig, EventStoreLog, OpenError};
use hansard_tests::conformance::log::{self, LogFactory, LogUnderTest, commit_to as commit, event};
use hansard_tests::esdb::{Esdb, Stored};
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

const REAL_SERVER: &str = "HANSARD_TEST_ESDB_URL";
const KEYS: &str = "the keys of this test";

/// A stream of this server that nobody else uses.
fn fresh(url: &str) -> EventStoreConfig {
    let stream = format!("hansard-test-{}", Uuid::from_u128(rand::random()));
    EventStoreConfig::from_url(url)
        .unwrap()
        .with_stream(&stream)
}

async fn open_log(config: &EventStoreConfig, directory: &Path) -> Arc<EventStoreLog> {
    let log = EventStoreLog::open(config, directory.join("log.db"), KEYS).await;
    let log = log.unwrap();
    log.caught_up().await.unwrap();
    Arc::new(log)
}

/// A node's handle to a log, with a copy of its own.
struct Node {
    config: EventStoreConfig,
    directory: TempDir,
    log: Arc<EventStoreLog>,
    /// Of other nodes.
    copies: Vec<TempDir>,
}

impl Node {
    async fn open(config: EventStoreConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = open_log(&config, directory.path()).await;
        Self {
            config,
            directory,
            log,
            copies: Vec::new(),
        }
    }
}

#[async_trait]
impl LogUnderTest for Node {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    async fn reopen(&mut self) {
        self.log.close().await;
        self.log = open_log(&self.config, self.directory.path()).await;
    }

    async fn another(&mut self) -> Option<Arc<dyn EventLog>> {
        let directory = tempfile::tempdir().unwrap();
        let log = open_log(&self.config, directory.path()).await;
        self.copies.push(directory);
        Some(log)
    }
}

struct Streams(String);

#[async_trait]
impl LogFactory for Streams {
    async fn create(&self) -> Box<dyn LogUnderTest> {
        Box::new(Node::open(fresh(&self.0)).await)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_promises_of_the_log_on_a_stand_in() {
    let server = Esdb::start().await;
    log::run(&Streams(server.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_promises_of_the_log_on_a_real_server() {
    match std::env::var(REAL_SERVER) {
        Ok(url) => log::run(&Streams(url)).await,
        // Not by a macro: what those write is not shown for a test that passes.
        Err(_) => writeln!(
            std::io::stderr(),
            "\nNOT RUN: the log in EventStoreDB against a real server, as {REAL_SERVER} names none\n"
        )
        .unwrap(),
    }
}

async fn write(log: &EventStoreLog, commit: &Commit) -> Result<Recorded, LogError> {
    let mut outcomes = log.append(vec![commit.clone()]).await?;
    Ok(outcomes.remove(0).unwrap())
}

async fn all(log: &EventStoreLog) -> Vec<StoredEvent> {
    let pages: Vec<_> = log.all(Position::START).try_collect().await.unwrap();
    pages.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_answered_is_written_once() {
    let server = Esdb::start().await;
    let node = Node::open(fresh(&server.url())).await;
    for number in 0..6 {
        match number % 3 {
            0 => server.lose_answers(2),
            1 => server.refuse_appends(2),
            _ => server.cut_answers(2),
        }
        let recorded = write(&node.log, &commit("room-a", number, &[event("{}")])).await;
        assert_eq!(recorded.unwrap().positions, [Position(number + 1)]);
    }
    assert_eq!(all(&node.log).await.len(), 6);
    assert_eq!(server.events(node.config.stream()).len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_asked_again() {
    let server = Esdb::start().await;
    let node = Node::open(fresh(&server.url())).await;
    // Whoever copies may be one of those that are not answered.
    server.hang(2);
    let written = write(&node.log, &commit("room-a", 0, &[event("{}")])).await;
    if let Err(error) = &written {
        assert!(matches!(error, LogError::Unavailable(_)), "{error}");
    }
    let next = timeout(Duration::from_mins(1), write_again(&node.log)).await;
    next.expect("it goes on");
}

/// Writes to a stream of its own until it works.
async fn write_again(log: &EventStoreLog) {
    let commit = commit("room-b", 0, &[event("{}")]);
    while write(log, &commit).await.is_err() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told() {
    let server = Esdb::start().await;
    // hansard:right
    server.demand_authorization("Basic aGFuc2FyZDpyaWdodA==");
    let url = |password: &str| {
        server
            .url()
            .replace("esdb://", &format!("esdb://hansard:{password}@"))
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.db");
    let refused = EventStoreLog::open(&fresh(&url("wrong")), &path, KEYS).await;
    let told = refused.err().unwrap().to_string();
    assert!(told.contains("does not let this user"), "{told}");
    assert!(!told.contains("wrong"), "{told}");
    Node::open(fresh(&url("right"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_is_written_to_again() {
    let server = Esdb::start().await;
    let node = Node::open(fresh(&server.url())).await;
    let first = commit("room-a", 0, &[event("{}")]);
    write(&node.log, &first).await.unwrap();
    server.stop().await;
    assert!(node.log.head().await.is_err(), "nobody can tell the end");
    let log = node.log.clone();
    let second = commit("room-a", 1, &[event("{}")]);
    let asked = second.clone();
    let writing = tokio::spawn(async move { write(&log, &asked).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.resume().await;
    let written = timeout(Duration::from_secs(30), writing).await.unwrap();
    let written = written.unwrap();
    // Given up or not: the same again is the same.
    let again = write(&node.log, &second).await.unwrap();
    assert_eq!(written.unwrap_or(again.clone()), again);
    assert_eq!(all(&node.log).await.len(), 2);
    assert_eq!(server.events(node.config.stream()).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stands_in_the_stream_as_it_is() {
    let server = Esdb::start().await;
    let node = Node::open(fresh(&server.url())).await;
    let event = event(r#"{"text":"hello"}"#);
    write(
        &node.log,
        &commit("room-a", 0, std::slice::from_ref(&event)),
    )
    .await
    .unwrap();
    let stored = server.events(node.config.stream()).remove(0);
    assert_eq!(stored.id, event.id);
    assert_eq!(stored.event_type, "Happened");
    assert_eq!(stored.data, event.payload.as_bytes());
    let metadata: serde_json::Value = serde_json::from_slice(&stored.metadata).unwrap();
    assert_eq!(metadata["stream"], "room-a");
    assert_eq!(metadata["actor"], "user:mary");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_others_is_not_written() {
    let server = Esdb::start().await;
    let config = fresh(&server.url());
    let foreign = Stored {
        id: Uuid::from_u128(1),
        event_type: "Foreign".to_owned(),
        data: b"{}".to_vec(),
        metadata: Vec::new(),
    };
    server.intrude(config.stream(), foreign.clone());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.db");
    let refused = EventStoreLog::open(&config, &path, KEYS).await.err();
    assert!(
        matches!(refused, Some(OpenError::Foreign { .. })),
        "{refused:?}"
    );

    // Neither does one that somebody else writes into go on.
    let node = Node::open(fresh(&server.url())).await;
    write(&node.log, &commit("room-a", 0, &[event("{}")]))
        .await
        .unwrap();
    server.intrude(node.config.stream(), foreign);
    let mut progress = node.log.progress();
    let stuck = progress.wait_for(|progress| progress.lag() > 0);
    timeout(Duration::from_mins(1), stuck)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(server.events(node.config.stream()).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_keys_open_no_stream() {
    let server = Esdb::start().await;
    let node = Node::open(fresh(&server.url())).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.db");
    let refused = EventStoreLog::open(&node.config, path, "others")
        .await
        .err();
    assert!(
        matches!(refused, Some(OpenError::OtherKeys { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_not_of_the_stream_is_refused() {
    let server = Esdb::start().await;
    let node = Node::open(fresh(&server.url())).await;
    for number in 0..3 {
        write(&node.log, &commit("room-a", number, &[event("{}")]))
            .await
            .unwrap();
    }
    node.log.close().await;
    // A node that begins needs what was deleted; one that has it does not.
    server.truncate(node.config.stream(), 2);
    let log = open_log(&node.config, node.directory.path()).await;
    log.close().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.db");
    let refused = EventStoreLog::open(&node.config, path, KEYS).await.err();
    assert!(
        matches!(
            refused,
            Some(OpenError::Deleted {
                first: 2,
                needed: 0,
                ..
            })
        ),
        "{refused:?}"
    );

    let anew = Esdb::start().await;
    let config = EventStoreConfig::from_url(&anew.url())
        .unwrap()
        .with_stream(node.config.stream());
    let path = node.directory.path().join("log.db");
    let refused = EventStoreLog::open(&config, path, KEYS).await.err();
    assert!(
        matches!(refused, Some(OpenError::Recreated { .. })),
        "{refused:?}"
    );
}
