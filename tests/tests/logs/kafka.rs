//! The log and the vault on Kafka, against brokers that this test starts.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::TryStreamExt;
use hansard_domain::log::{Commit, EventLog, LogError, Position, Role, StoredEvent};
use hansard_domain::vault::{KeyId, KeyVault, VaultError};
use hansard_infra::log::kafka::{KafkaConfig, KafkaLog, OpenError};
use hansard_infra::log::sqlite::SqliteLog;
use hansard_infra::vault::kafka::KafkaVault;
use hansard_infra::vault::master_key::MasterKey;
use hansard_tests::conformance::log::{LogFactory, LogUnderTest, commit_to as commit, event};
use hansard_tests::conformance::vault::VaultUnderTest;
use hansard_tests::conformance::{log, vault};
use hansard_tests::kafka::Brokers;
use hansard_tests::server::eventually;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, Producer};
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

/// The longest that nobody may write after a node is gone, on a machine that does other things as well.
const FAIL_OVER: Duration = Duration::from_mins(1);

/// A node's handle to a log, with a copy of its own.
struct Node {
    directory: TempDir,
    config: KafkaConfig,
    log: Arc<KafkaLog>,
}

async fn open_log(config: &KafkaConfig, directory: &Path) -> Arc<KafkaLog> {
    let log = KafkaLog::open(config.clone(), directory.join("log.db")).await;
    let log = log.unwrap();
    log.caught_up().await.unwrap();
    Arc::new(log)
}

impl Node {
    async fn open(config: &KafkaConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = open_log(config, directory.path()).await;
        Self {
            directory,
            config: config.clone(),
            log,
        }
    }

    async fn vault(&self, master: &MasterKey) -> Arc<KafkaVault> {
        let path = self.directory.path().join("vault.db");
        let vault = KafkaVault::open(self.log.clone(), path, master.clone()).await;
        Arc::new(vault.unwrap())
    }

    async fn become_writer(&self) {
        let mut role = self.log.role();
        tokio::time::timeout(FAIL_OVER, role.wait_for(|role| *role == Role::Sole))
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
        node.become_writer().await;
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
        self.log = open_log(&self.config, self.directory.path()).await;
        self.become_writer().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_keeps_the_promises_of_the_log() {
    log::run(&Kafka(broker())).await;
}

struct KafkaVaultUnderTest {
    node: Node,
    master: MasterKey,
    vault: Option<Arc<KafkaVault>>,
    /// How often it was opened; the log is opened anew now and then, too.
    opened: usize,
}

#[async_trait]
impl VaultUnderTest for KafkaVaultUnderTest {
    fn vault(&self) -> Arc<dyn KeyVault> {
        self.vault.clone().unwrap()
    }

    async fn reopen(&mut self) {
        if let Some(vault) = self.vault.take() {
            vault.close().await;
        }
        self.opened += 1;
        if self.opened.is_multiple_of(3) {
            self.node.reopen().await;
        }
        self.vault = Some(self.node.vault(&self.master).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_keeps_the_promises_of_the_vault() {
    let brokers = broker();
    let node = Node::open(&fresh(&brokers)).await;
    node.become_writer().await;
    let mut under_test = KafkaVaultUnderTest {
        node,
        master: MasterKey::random(),
        vault: None,
        opened: 0,
    };
    under_test.reopen().await;
    vault::run(&mut under_test).await;
}

async fn write(log: &KafkaLog, commit: &Commit) -> Result<Position, LogError> {
    let outcomes = log.append(vec![commit.clone()]).await?;
    Ok(outcomes[0].clone().expect("no conflict").positions[0])
}

/// Appends until it works: what else happens is that this node is not the writer for a while.
async fn write_at_last(log: &KafkaLog, commit: &Commit) -> Position {
    let deadline = Instant::now() + FAIL_OVER;
    loop {
        match write(log, commit).await {
            Ok(position) => return position,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn all(log: &KafkaLog) -> Vec<StoredEvent> {
    let pages: Vec<_> = log.all(Position::START).try_collect().await.unwrap();
    pages.concat()
}

/// What the last of `count` events stands behind.
async fn reach(log: &KafkaLog, position: Position) {
    let before = Position(position.0 - 1);
    tokio::time::timeout(FAIL_OVER, log.moved(before))
        .await
        .expect("the events arrive")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_writes_and_the_next_takes_over() {
    let brokers = broker();
    let config = fresh(&brokers);
    let (first, second) = (Node::open(&config).await, Node::open(&config).await);
    // Either may be chosen; it stays so while nothing happens.
    let mut roles = (first.log.role(), second.log.role());
    let (writer, other) = tokio::time::timeout(FAIL_OVER, async {
        tokio::select! {
            _ = roles.0.wait_for(|role| *role == Role::Sole) => (first, second),
            _ = roles.1.wait_for(|role| *role == Role::Sole) => (second, first),
        }
    })
    .await
    .expect("one of them writes");

    let mut following = other.log.follow(Position::START);
    let mut written = Vec::new();
    for number in 0..20 {
        let events = [event(number.to_string()), event("{}")];
        let commit = commit("room-a", number * 2, &events);
        written.push(write(&writer.log, &commit).await.unwrap());
        let refused = write(&other.log, &commit).await;
        assert!(matches!(refused, Err(LogError::Follower)), "{refused:?}");
    }
    let mut followed: Vec<StoredEvent> = Vec::new();
    while followed.len() < 40 {
        let page = tokio::time::timeout(FAIL_OVER, following.try_next());
        followed.extend(page.await.expect("events").unwrap().unwrap());
    }
    assert_eq!(followed, all(&writer.log).await);
    assert_eq!(*other.log.role().borrow(), Role::Follower);
    let mut progress = other.log.progress();
    let near = progress.wait_for(|progress| progress.lag() <= 2);
    tokio::time::timeout(FAIL_OVER, near)
        .await
        .unwrap()
        .unwrap();

    let expected = all(&writer.log).await;
    // Not closed: as if its process had ended.
    drop(writer);
    other.become_writer().await;
    assert_eq!(all(&other.log).await, expected);
    let next = write(&other.log, &commit("room-a", 40, &[event("{}")])).await;
    assert!(next.unwrap() > *written.last().unwrap());

    // Whoever comes with nothing gets everything.
    let third = Node::open(&config).await;
    assert_eq!(all(&third.log).await, all(&other.log).await);
    assert_eq!(*third.log.role().borrow(), Role::Follower);
    other.log.close().await;
    third.become_writer().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_writer_does_not_write_and_campaigns_anew() {
    let brokers = broker();
    let config = fresh(&brokers);
    let node = Node::open(&config).await;
    node.become_writer().await;
    let before = commit("room-a", 0, &[event("before")]);
    write(&node.log, &before).await.unwrap();

    // As another node does that takes this one for dead.
    let other: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", config.servers())
        .set("transactional.id", config.topic())
        .create()
        .unwrap();
    let (fencing, _other) =
        tokio::task::spawn_blocking(move || (other.init_transactions(FAIL_OVER), other))
            .await
            .unwrap();
    fencing.unwrap();

    let fenced = commit("room-a", 1, &[event("fenced")]);
    let refused = write(&node.log, &fenced).await;
    assert!(matches!(refused, Err(LogError::Follower)), "{refused:?}");
    assert_eq!(*node.log.role().borrow(), Role::Follower);
    assert_eq!(all(&node.log).await.len(), 1);

    node.become_writer().await;
    assert_eq!(all(&node.log).await.len(), 1, "nothing of it was written");
    write(&node.log, &fenced).await.unwrap();
    assert_eq!(all(&node.log).await.len(), 2);
}

/// Three nodes that come and go while clients write: nothing acknowledged is lost or doubled.
#[tokio::test(flavor = "multi_thread")]
async fn a_changing_writer_loses_nothing() {
    let brokers = broker();
    let config = fresh(&brokers);
    let mut acknowledged = Vec::new();
    let mut node = Node::open(&config).await;
    node.become_writer().await;
    let mut version = 0;
    for _ in 0..3 {
        let next = Node::open(&config).await;
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            let commit = commit("room-a", version, &[event(version.to_string())]);
            write_at_last(&node.log, &commit).await;
            acknowledged.push(commit.appends[0].events[0].id);
            version += 1;
        }
        // One that nobody waits for.
        let stray = commit("room-a", version, &[event("stray")]);
        let log = node.log.clone();
        let asked = tokio::spawn(async move { write(&log, &stray).await });
        tokio::time::sleep(Duration::from_millis(3)).await;
        asked.abort();
        drop(node);
        next.become_writer().await;
        let stands = all(&next.log).await;
        version = stands.len() as u64;
        if stands.len() > acknowledged.len() {
            assert_eq!(stands.last().unwrap().event.payload, "stray");
            acknowledged.push(stands.last().unwrap().event.id);
        }
        let ids: Vec<_> = stands.iter().map(|stored| stored.event.id).collect();
        assert_eq!(ids, acknowledged);
        node = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_is_waited_for() {
    let brokers = Arc::new(Brokers::start(1));
    let config = fresh(&brokers);
    let node = Node::open(&config).await;
    node.become_writer().await;
    for version in 0..10 {
        let commit = commit("room-a", version, &[event("{}")]);
        write(&node.log, &commit).await.unwrap();
    }
    let in_the_way = brokers.clone();
    tokio::task::spawn_blocking(move || in_the_way.kill(1))
        .await
        .unwrap();

    let pending = commit("room-a", 10, &[event("pending")]);
    let asked = Instant::now();
    let refused = write(&node.log, &pending).await;
    assert!(
        matches!(refused, Err(LogError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(
        asked.elapsed() < Duration::from_secs(30),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(all(&node.log).await.len(), 10, "reads go on");

    let in_the_way = brokers.clone();
    tokio::task::spawn_blocking(move || in_the_way.restart(1))
        .await
        .unwrap();
    node.become_writer().await;
    let position = write_at_last(&node.log, &pending).await;
    // Again: the same answer.
    assert_eq!(write(&node.log, &pending).await.unwrap(), position);
    assert_eq!(all(&node.log).await.len(), 11);
    let fresh = Node::open(&config).await;
    reach(&fresh.log, position).await;
    assert_eq!(all(&fresh.log).await, all(&node.log).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_the_same_on_all_nodes() {
    let brokers = broker();
    let config = fresh(&brokers);
    let master = MasterKey::random();
    let writer = Node::open(&config).await;
    writer.become_writer().await;
    let other = Node::open(&config).await;
    let (vault, copy) = (writer.vault(&master).await, other.vault(&master).await);

    // The other node waits for a secret until it is made.
    let waiting = copy.clone();
    let waiting = tokio::spawn(async move { waiting.secret("claims").await });
    let claims = vault.secret("claims").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), claims);

    let minted = vault.mint(100, KeyId(0)).await.unwrap();
    let ids: Vec<_> = minted.iter().map(|(id, _)| *id).collect();
    let found = async |expected: usize| {
        let deadline = Instant::now() + FAIL_OVER;
        while copy.keys(&ids).await.unwrap().len() != expected {
            assert!(
                Instant::now() < deadline,
                "the other node has {expected} keys"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        copy.keys(&ids).await.unwrap()
    };
    assert_eq!(found(100).await, minted.iter().cloned().collect());
    vault.shred(&ids[..40]).await.unwrap();
    let left = found(60).await;
    assert!(ids[..40].iter().all(|id| !left.contains_key(id)));
    // A number that the topic has never had, as after it was put back to an earlier state.
    for lost in [KeyId(1_000_000), KeyId(2_000_000)] {
        assert!(copy.keys(&[lost]).await.unwrap().is_empty());
    }
    assert_eq!(copy.keys(&ids).await.unwrap().len(), 60);
    assert!(
        copy.mint(1, KeyId(0)).await.is_err(),
        "only the writer mints"
    );
    assert!(
        copy.shred(&ids[50..]).await.is_err(),
        "only the writer shreds"
    );

    let another = KafkaVault::open(
        other.log.clone(),
        other.directory.path().join("another.db"),
        MasterKey::random(),
    );
    assert!(matches!(another.await, Err(VaultError::WrongMasterKey)));

    // Numbers go on where they were, after all keys are gone and with another writer.
    vault.shred(&ids).await.unwrap();
    vault.close().await;
    writer.log.close().await;
    other.become_writer().await;
    let next = copy.mint(1, KeyId(0)).await.unwrap();
    assert_eq!(next[0].0.0, ids.last().unwrap().0 + 1);
}

async fn make_topic(config: &KafkaConfig, partitions: i32, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", config.servers())
        .create()
        .unwrap();
    let mut topic = NewTopic::new(config.topic(), partitions, TopicReplication::Fixed(1));
    for (name, value) in settings {
        topic = topic.set(name, value);
    }
    let made = admin
        .create_topics([&topic], &AdminOptions::new())
        .await
        .unwrap();
    made[0].as_ref().unwrap();
}

async fn refused(config: &KafkaConfig) -> String {
    let directory = tempfile::tempdir().unwrap();
    let opened = KafkaLog::open(config.clone(), directory.path().join("log.db")).await;
    opened.err().expect("the topic is refused").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_would_lose_events_is_refused() {
    let brokers = broker();
    let keeps = [("retention.ms", "-1"), ("retention.bytes", "-1")];

    let config = fresh(&brokers);
    make_topic(&config, 1, &[("retention.ms", "604800000"), keeps[1]]).await;
    let told = refused(&config).await;
    let change = format!(
        "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {} \
         --add-config retention.ms=-1",
        config.servers(),
        config.topic()
    );
    assert!(told.contains(&change), "{told}");
    assert!(told.contains("retention.ms=604800000"), "{told}");

    let config = fresh(&brokers);
    make_topic(&config, 1, &[keeps[0], ("retention.bytes", "1000000")]).await;
    let told = refused(&config).await;
    assert!(told.contains("--add-config retention.bytes=-1"), "{told}");

    let config = fresh(&brokers);
    let compacted = [keeps[0], keeps[1], ("cleanup.policy", "compact")];
    make_topic(&config, 1, &compacted).await;
    let told = refused(&config).await;
    assert!(
        told.contains("--add-config cleanup.policy=delete"),
        "{told}"
    );

    let config = fresh(&brokers);
    make_topic(&config, 2, &keeps).await;
    assert!(refused(&config).await.contains("2 partitions"));

    let config = fresh(&brokers);
    make_topic(&config, 1, &keeps).await;
    let node = Node::open(&config).await;
    node.become_writer().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_something_else_is_refused() {
    let brokers = broker();
    let config = fresh(&brokers);
    let node = Node::open(&config).await;
    node.become_writer().await;
    for version in 0..3 {
        let commit = commit("room-a", version, &[event("{}")]);
        write(&node.log, &commit).await.unwrap();
    }
    node.log.close().await;
    let path = node.directory.path().join("log.db");

    let other = KafkaLog::open(fresh(&brokers), &path).await;
    let told = other.err().unwrap().to_string();
    assert!(
        told.contains(&format!("a copy of the event log {}", config.topic())),
        "{told}"
    );
    let alone = SqliteLog::open(&path).await;
    assert!(alone.err().unwrap().to_string().contains("is a copy of"));

    // A topic of the same name, with less in it, then with as much but of something else.
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", config.servers())
        .create()
        .unwrap();
    let deleted = admin.delete_topics(&[config.topic()], &AdminOptions::new());
    deleted.await.unwrap()[0].as_ref().unwrap();
    let metadata = || {
        admin
            .inner()
            .fetch_metadata(Some(config.topic()), FAIL_OVER)
    };
    eventually("the topic is gone", async || {
        let metadata = tokio::task::block_in_place(metadata).unwrap();
        metadata.topics()[0].error().is_some()
    })
    .await;
    let anew = Node::open(&config).await;
    let recreated = KafkaLog::open(config.clone(), &path).await.err().unwrap();
    assert!(
        matches!(recreated, OpenError::Recreated { .. }),
        "{recreated}"
    );
    anew.become_writer().await;
    for version in 0..3 {
        let commit = commit("room-a", version, &[event("{}")]);
        write(&anew.log, &commit).await.unwrap();
    }
    let recreated = KafkaLog::open(config, &path).await.err().unwrap();
    assert!(
        matches!(recreated, OpenError::Recreated { .. }),
        "{recreated}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_may_ask_for_a_password() {
    let brokers = Brokers::start_with_password("hansard", "right");
    let url = format!(
        "kafka://{}/log?security.protocol=SASL_PLAINTEXT&sasl.mechanism=SCRAM-SHA-512&sasl.username=hansard",
        brokers.servers()
    );
    let config = |password: &str| {
        let config = KafkaConfig::parse(&url).unwrap();
        config.password(password.to_owned())
    };
    let told = refused(&config("wrong")).await;
    assert!(!told.contains("wrong"), "{told}");
    let node = Node::open(&config("right")).await;
    node.become_writer().await;
    write(&node.log, &commit("room-a", 0, &[event("{}")]))
        .await
        .unwrap();
}
