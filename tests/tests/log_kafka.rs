//! The log and the vault on Kafka, against brokers that this test starts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::TryStreamExt;
use hansard_domain::id::Timestamp;
use hansard_domain::log::{
    Actor, Append, Commit, EventLog, LogError, Metadata, NewEvent, Position, Role, StoredEvent,
    StreamId, Version,
};
use hansard_infra::log::kafka::{KafkaConfig, KafkaLog, OpenError};
use hansard_tests::conformance::log;
use hansard_tests::conformance::log::{LogFactory, LogUnderTest};
use hansard_tests::kafka::Brokers;
use parking_lot::Mutex;
use tempfile::TempDir;

/// One broker for all tests that leave it as it is; it ends with the last of them.
fn broker() -> Arc<Brokers> {
    static SHARED: LazyLock<Mutex<Weak<Brokers>>> = LazyLock::new(Mutex::default);
    let mut shared = SHARED.lock();
    if let Some(brokers) = shared.upgrade() {
        return brokers;
    }
    let brokers = Arc::new(Brokers::start(1));
    *shared = Arc::downgrade(&brokers);
    brokers
}

/// The address of a topic that nobody else uses.
fn fresh(brokers: &Brokers) -> KafkaConfig {
    static TOPICS: AtomicUsize = AtomicUsize::new(0);
    let number = TOPICS.fetch_add(1, Ordering::Relaxed);
    KafkaConfig::parse(&format!("kafka://{}/log-{number}", brokers.servers())).unwrap()
}

/// A node's handle to a log, with a copy of its own.
struct Node {
    directory: TempDir,
    config: KafkaConfig,
    log: Arc<KafkaLog>,
}

impl Node {
    async fn open(config: &KafkaConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = Self::log(config, directory.path().join("log.db")).await;
        Self {
            directory,
            config: config.clone(),
            log,
        }
    }

    async fn log(config: &KafkaConfig, path: PathBuf) -> Arc<KafkaLog> {
        let log = KafkaLog::open(config.clone(), path).await.unwrap();
        log.caught_up().await.unwrap();
        Arc::new(log)
    }

    async fn become_writer(&self, within: Duration) {
        let mut role = self.log.role();
        tokio::time::timeout(within, role.wait_for(|role| *role == Role::Sole))
            .await
            .expect("this node becomes the writer in time")
            .unwrap();
    }
}

struct Kafka(Arc<Brokers>);

#[async_trait]
impl LogFactory for Kafka {
    async fn create(&self) -> Box<dyn LogUnderTest> {
        let node = Node::open(&fresh(&self.0)).await;
        node.become_writer(Duration::from_secs(15)).await;
        Box::new(node)
    }
}

#[async_trait]
impl LogUnderTest for Node {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    async fn reopen(&mut self) {
        self.log.close().await;
        let path = self.directory.path().join("log.db");
        self.log = Self::log(&self.config, path).await;
        self.become_writer(Duration::from_secs(15)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_keeps_the_promises_of_the_log() {
    log::run(&Kafka(broker())).await;
}
