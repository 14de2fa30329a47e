//! Three brokers and three nodes on one log, of which some are frozen or killed: nothing
//! acknowledged is lost or doubled, and somebody writes again.
//!
//! `cargo test -p hansard-tests --test failover_log_kafka -- --ignored --nocapture`

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use hansard_domain::log::{EventLog, Position, StoredEvent};
use hansard_infra::log::kafka::{KafkaConfig, KafkaLog};
use hansard_tests::kafka::Brokers;
use parking_lot::Mutex;
use tempfile::TempDir;

/// The longest that nobody may write after something was killed or frozen, on a machine that does
/// other things as well; a quiet one stays below 15 s.
const FAIL_OVER: Duration = Duration::from_mins(1);

const TOPIC: &str = "chat";

/// What a node told, and when.
#[derive(Default)]
struct Told {
    writes: bool,
    /// The id, the position and the time of each event that was acknowledged.
    acknowledged: Vec<(String, u64, Instant)>,
    failed: HashSet<String>,
}

struct Node {
    process: Child,
    directory: TempDir,
    told: Arc<Mutex<Told>>,
}

impl Node {
    fn start(url: &str) -> Self {
        Self::start_in(url, tempfile::tempdir().unwrap(), Arc::default())
    }

    fn start_in(url: &str, directory: TempDir, told: Arc<Mutex<Told>>) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_hansard-log-node"))
            .arg(url)
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let telling = told.clone();
        thread::spawn(move || {
            // A line that is cut short by a kill was told to nobody.
            for line in lines.map_while(Result::ok) {
                let words: Vec<_> = line.splitn(3, ' ').collect();
                let mut told = telling.lock();
                match words[..] {
                    ["role", role] => told.writes = role == "Sole",
                    ["ack", id, position] => {
                        let position = position.parse().unwrap();
                        told.acknowledged
                            .push((id.to_owned(), position, Instant::now()));
                    }
                    ["failed", id, _] => {
                        told.failed.insert(id.to_owned());
                    }
                    _ => panic!("a node said: {line}"),
                }
            }
        });
        Self {
            process,
            directory,
            told,
        }
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    fn written(&self) -> usize {
        self.told.lock().acknowledged.len()
    }

    /// Kills it without a warning, and starts it again.
    fn restart(mut self, url: &str) -> Self {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.told.lock().writes = false;
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        Self::start_in(url, directory, self.told.clone())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Cluster {
    url: String,
    nodes: Vec<Node>,
}

impl Cluster {
    /// Waits until a node other than this one has written since now; tells which and how long it
    /// took.
    fn await_writer(&self, but: Option<usize>, what: &str) -> usize {
        let before: Vec<_> = self.nodes.iter().map(Node::written).collect();
        let asked = Instant::now();
        loop {
            let writing = (0..self.nodes.len())
                .find(|node| Some(*node) != but && self.nodes[*node].written() > before[*node]);
            if let Some(node) = writing {
                println!("{what}: node {node} writes after {:?}", asked.elapsed());
                return node;
            }
            assert!(asked.elapsed() < FAIL_OVER, "{what}: nobody writes");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Cluster {
    /// Waits until a node says that it writes no more.
    fn await_retreat(&self, node: usize) {
        let asked = Instant::now();
        while self.nodes[node].told.lock().writes {
            assert!(
                asked.elapsed() < FAIL_OVER,
                "a writer that was replaced notices"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

async fn read(url: &str) -> Vec<StoredEvent> {
    let directory = tempfile::tempdir().unwrap();
    let config = KafkaConfig::parse(url).unwrap();
    let log = KafkaLog::open(config, directory.path().join("log.db"))
        .await
        .unwrap();
    log.caught_up().await.unwrap();
    let pages: Vec<_> = log.all(Position::START).try_collect().await.unwrap();
    log.close().await;
    pages.concat()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: run by tests/run --full"]
async fn frozen_and_killed_nodes_and_brokers_lose_nothing() {
    let brokers = Brokers::start(3);
    let url = format!("kafka://{}/{TOPIC}", brokers.servers());
    let shared = url.clone();
    let disturbed = tokio::task::spawn_blocking(move || (disturb(&brokers, shared), brokers));
    let (cluster, _brokers) = disturbed.await.unwrap();

    let stands = read(&url).await;
    let mut places = HashMap::new();
    for stored in &stands {
        let before = places.insert(stored.event.id.to_string(), stored.position.0);
        assert!(before.is_none(), "{} stands twice", stored.event.id);
    }
    let mut spoken_of: HashSet<String> = HashSet::new();
    let mut times = Vec::new();
    for node in &cluster.nodes {
        let told = node.told.lock();
        for (id, position, at) in &told.acknowledged {
            assert_eq!(places.get(id), Some(position), "{id} was acknowledged");
            spoken_of.insert(id.clone());
            times.push(*at);
        }
        spoken_of.extend(told.failed.iter().cloned());
    }
    // What nobody was told of: at most the one event that each kill cut short.
    let silent = places.keys().filter(|id| !spoken_of.contains(*id)).count();
    assert!(silent <= KILLS, "{silent} events came from nowhere");
    times.sort();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(longest < Some(FAIL_OVER), "nobody wrote for {longest:?}");
    println!(
        "{} events, {} acknowledged, the longest pause {longest:?}",
        stands.len(),
        times.len()
    );
}

const ROUNDS: usize = 2;
/// The writer in each round, and all at the end.
const KILLS: usize = ROUNDS + 3;

fn disturb(brokers: &Brokers, url: String) -> Cluster {
    let mut cluster = Cluster {
        nodes: (0..3).map(|_| Node::start(&url)).collect(),
        url,
    };
    for round in 0..ROUNDS {
        let writer = cluster.await_writer(None, "undisturbed");

        cluster.nodes[writer].signal("-STOP");
        cluster.await_writer(Some(writer), "the writer is frozen");
        thread::sleep(Duration::from_secs(1));
        let frozen = cluster.nodes[writer].written();
        cluster.nodes[writer].signal("-CONT");
        cluster.await_retreat(writer);
        // What it had written and not yet told may be told now.
        let thawed = cluster.nodes[writer].written();
        assert!(thawed <= frozen + 1, "it wrote on");

        let writer = cluster.await_writer(None, "thawed");
        let node = cluster.nodes.remove(writer).restart(&cluster.url);
        cluster.nodes.insert(writer, node);
        cluster.await_writer(None, "the writer is killed");

        // The leader of the partition is one of them, the group's coordinator too.
        for broker in 1..=3 {
            brokers.kill(broker);
            cluster.await_writer(None, &format!("round {round}, broker {broker} is killed"));
            brokers.restart(broker);
            cluster.await_writer(None, &format!("round {round}, broker {broker} is back"));
            // It is in sync again before the next one goes.
            let back = Instant::now();
            while !brokers.in_sync(TOPIC, 3) {
                assert!(back.elapsed() < FAIL_OVER, "broker {broker} is not in sync");
                thread::sleep(Duration::from_millis(200));
            }
        }
    }
    for node in &mut cluster.nodes {
        node.process.kill().unwrap();
        node.process.wait().unwrap();
    }
    // The last lines are read.
    thread::sleep(Duration::from_millis(300));
    cluster
}
