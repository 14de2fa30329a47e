//! Three nodes on three brokers while clients talk: the node that writes is killed or frozen, and the
//! broker that leads the log's partition is killed.
//!
//! `cargo build -p hansard && cargo test -p hansard-tests --test failover_kafka -- --ignored --nocapture`

use std::time::Duration;

use hansard_tests::failover::{FAIL_OVER, Nodes};
use hansard_tests::history::load::Load;
use hansard_tests::kafka::Brokers;
use hansard_tests::server::eventually;

const CLIENTS: usize = 12;

/// How often each of it happens.
const ROUNDS: usize = 2;

/// Messages between one disturbance and the next.
const SENTENCES: usize = 100;

/// What the design promises; a machine that also runs other tests may be late.
const PROMISED: Duration = Duration::from_secs(15);

const TOPIC: &str = "chat";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: run by tests/run --full"]
async fn killed_and_frozen_writers_and_killed_brokers_lose_nothing() {
    let brokers = Brokers::start(3);
    let log = format!("kafka://{}/{TOPIC}", brokers.servers());
    let mut nodes = Nodes::start(&log, "sqlite").await;
    let admin = nodes.admin().await;
    let load = Load::start(nodes.urls(), &admin, CLIENTS).await;
    load.goes_on("undisturbed", FAIL_OVER).await;
    load.talk(SENTENCES).await;
    let mut pauses = Vec::new();
    for round in 1..=ROUNDS {
        let writer = nodes.writer(&admin).await;
        nodes.node(writer).kill();
        let what = format!("round {round}, node {writer} wrote and is killed");
        pauses.push(load.goes_on(&what, FAIL_OVER).await);
        nodes.node(writer).launch();
        nodes.node(writer).ready().await;
        load.talk(SENTENCES).await;

        let writer = nodes.writer(&admin).await;
        nodes.node(writer).signal("-STOP");
        let what = format!("round {round}, node {writer} wrote and is frozen");
        pauses.push(load.goes_on(&what, FAIL_OVER).await);
        nodes.node(writer).signal("-CONT");
        load.talk(SENTENCES).await;
        let successor = nodes.writer(&admin).await;
        assert_ne!(successor, writer, "nobody took over from the frozen node");
        nodes.node(writer).ready().await;

        let leader = leader(&brokers);
        brokers.kill(leader);
        let what = format!("round {round}, broker {leader} led and is killed");
        pauses.push(load.goes_on(&what, FAIL_OVER).await);
        brokers.restart(leader);
        in_sync(&brokers).await;
        load.talk(SENTENCES).await;
    }
    nodes.settle(load, &admin).await;
    let longest = pauses.iter().max().expect("there were pauses");
    let late = pauses.iter().filter(|pause| **pause > PROMISED).count();
    println!("somebody wrote again after {longest:.1?} at the latest; later than promised: {late}");
}

/// The number of the broker that leads the partition.
fn leader(brokers: &Brokers) -> usize {
    let leader = brokers.partition(TOPIC, "Leader");
    leader.parse().expect("a broker's number")
}

/// Waits until every broker has all of the log.
async fn in_sync(brokers: &Brokers) {
    eventually("all brokers are in sync", || async {
        tokio::task::block_in_place(|| brokers.in_sync(TOPIC, 3))
    })
    .await;
}
