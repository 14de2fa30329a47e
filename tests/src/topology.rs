//! What the log of a test's server is kept in, and on how many nodes; see [`server`](crate::server).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Runtime;

use crate::esdb::Esdb;
use crate::kafka::Brokers;
use crate::services::postgres_url;

/// The same on all nodes of a workspace: what one seals another has to open.
const MASTER_KEY: &str = "5e1f6a0b7c2d3948a1b0c9d8e7f60514233241506f7e8d9cabbacddeeff00112";
const SECRET: &str = "known to the nodes alone";

/// The environment of a new workspace's nodes, and how many there are.
pub fn of_this_run() -> (Vec<(String, String)>, usize) {
    let wanted = std::env::var("HANSARD_TEST_ON").unwrap_or_else(|_| "sqlite".to_owned());
    let (store, nodes) = match wanted.split_once('-') {
        Some((store, nodes)) => (store, nodes.parse().expect("a number of nodes")),
        None => (wanted.as_str(), 1),
    };
    let log = match store {
        "sqlite" => {
            assert_eq!(nodes, 1, "a log in SQLite has one node");
            return (Vec::new(), 1);
        }
        "postgres" => postgres_url(),
        "kafka" => kafka_url(),
        "esdb" => esdb_url(),
        _ => panic!("HANSARD_TEST_ON: there is no {wanted}"),
    };
    // Shared by nodes in one database, or each node's own; keys of a log in EventStoreDB go with them.
    let views = match store {
        "postgres" => log.clone(),
        "esdb" if nodes > 1 => postgres_url(),
        _ => "sqlite".to_owned(),
    };
    (of_a_node(&log, &views), nodes)
}

/// The environment of every node of a workspace that keeps its log and its views there.
pub fn of_a_node(log: &str, views: &str) -> Vec<(String, String)> {
    let environment = [
        ("HANSARD_LOG", log),
        ("HANSARD_VIEWS", views),
        ("HANSARD_MASTER_KEY", MASTER_KEY),
        ("HANSARD_CLUSTER_SECRET", SECRET),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    environment.into()
}

/// The URL of a topic that nobody else uses.
fn kafka_url() -> String {
    static BROKERS: OnceLock<Brokers> = OnceLock::new();
    static TOPICS: AtomicU64 = AtomicU64::new(0);
    let servers = std::env::var("HANSARD_TEST_KAFKA").unwrap_or_else(|_| {
        BROKERS
            .get_or_init(|| Brokers::start(1))
            .servers()
            .to_owned()
    });
    let number = TOPICS.fetch_add(1, Ordering::Relaxed);
    format!("kafka://{servers}/log-{}-{number}", std::process::id())
}

/// The URL of a stream that nobody else uses, on a stand-in that lasts as long as the process.
fn esdb_url() -> String {
    static SERVER: OnceLock<(Runtime, Esdb)> = OnceLock::new();
    static STREAMS: AtomicU64 = AtomicU64::new(0);
    let (_, server) = SERVER.get_or_init(|| {
        // Neither is done in a test's own runtime, which ends with the test.
        let started = std::thread::spawn(|| {
            let runtime = Runtime::new().expect("threads for the stand-in");
            let server = runtime.block_on(Esdb::start());
            (runtime, server)
        });
        started.join().expect("the stand-in starts")
    });
    let number = STREAMS.fetch_add(1, Ordering::Relaxed);
    format!("esdb://{}/log-{number}?tls=false", server.address())
}
