//! Three nodes on one PostgreSQL while clients talk: nodes are killed, and the database goes away.
//!
//! `cargo build -p hansard && cargo test -p hansard-tests --test failover_postgres -- --ignored --nocapture`

use std::time::Duration;

use hansard_tests::failover::{FAIL_OVER, Nodes};
use hansard_tests::history::load::Load;
use hansard_tests::server::Client;
use hansard_tests::services::{Postgres, in_schema};
use reqwest::StatusCode;
use serde_json::json;

const CLIENTS: usize = 12;

/// How often each node is killed.
const ROUNDS: usize = 2;

/// How often each node is frozen: at some point it holds what the others wait for.
const FREEZES: usize = 5;

/// How long the database does nothing.
const STANDSTILL: Duration = Duration::from_secs(8);

/// Messages between one disturbance and the next.
const SENTENCES: usize = 100;

/// Where the nodes keep their views.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Views {
    /// Each its own.
    OfANode,
    /// Together, in the database of the log; one of them feeds them.
    Shared,
}

impl Views {
    async fn nodes(self, database: &Postgres) -> Nodes {
        let log = in_schema(database.url(), "chat");
        match self {
            Self::OfANode => Nodes::start(&log, "sqlite").await,
            Self::Shared => Nodes::start(&log, &log).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: run by tests/run --full"]
async fn killed_nodes_lose_nothing() {
    kill_nodes(Views::OfANode).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: run by tests/run --full"]
async fn killed_nodes_lose_nothing_of_shared_views() {
    kill_nodes(Views::Shared).await;
}

async fn kill_nodes(views: Views) {
    let database = Postgres::start();
    let mut nodes = views.nodes(&database).await;
    let admin = nodes.admin().await;
    let load = Load::start(nodes.urls(), &admin, CLIENTS).await;
    load.goes_on("undisturbed", FAIL_OVER).await;
    load.talk(SENTENCES).await;
    for round in 1..=ROUNDS {
        // One of them leads, each time another one.
        for node in 0..nodes.count() {
            nodes.node(node).kill();
            load.goes_on(&format!("round {round}, node {node} is killed"), FAIL_OVER)
                .await;
            nodes.node(node).launch();
            nodes.node(node).ready().await;
            load.talk(SENTENCES).await;
        }
        // Nobody is left for a moment.
        for node in 0..nodes.count() {
            nodes.node(node).kill();
        }
        for node in 0..nodes.count() {
            nodes.node(node).launch();
        }
        load.goes_on(
            &format!("round {round}, all nodes are killed"),
            FAIL_OVER * 2,
        )
        .await;
        load.talk(SENTENCES).await;
    }
    nodes.settle(load, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: run by tests/run --full"]
async fn a_database_that_goes_away_and_comes_back_loses_nothing() {
    take_the_database_away(Views::OfANode).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: run by tests/run --full"]
async fn a_database_that_goes_away_and_comes_back_loses_nothing_of_shared_views() {
    take_the_database_away(Views::Shared).await;
}

async fn take_the_database_away(views: Views) {
    let database = Postgres::start();
    let mut nodes = views.nodes(&database).await;
    let admin = nodes.admin().await;
    let load = Load::start(nodes.urls(), &admin, CLIENTS).await;
    load.goes_on("undisturbed", FAIL_OVER).await;
    load.talk(SENTENCES).await;
    for round in 1..=ROUNDS {
        database.stop();
        database.start_again();
        load.goes_on(
            &format!("round {round}, the database was restarted"),
            FAIL_OVER,
        )
        .await;
        load.talk(SENTENCES).await;
        database.crash();
        database.start_again();
        load.goes_on(&format!("round {round}, the database crashed"), FAIL_OVER)
            .await;
        load.talk(SENTENCES).await;
        // It is away for a while, and a node goes with it.
        database.crash();
        nodes.node(round % 3).kill();
        away(&admin, &nodes, load.room(), (round + 1) % 3, views).await;
        database.start_again();
        nodes.node(round % 3).launch();
        let what = format!("round {round}, the database and a node crashed");
        load.goes_on(&what, FAIL_OVER).await;
        load.talk(SENTENCES).await;

        // Connections stay, but nobody answers.
        database.freeze();
        tokio::time::sleep(STANDSTILL).await;
        database.thaw();
        load.goes_on(
            &format!("round {round}, the database stood still"),
            FAIL_OVER,
        )
        .await;
        load.talk(SENTENCES).await;
    }
    nodes.settle(load, &admin).await;
}

/// While the database is away, a node answers reads from views of its own, and to everything else
/// that it can't do it.
async fn away(admin: &Client, nodes: &Nodes, room: &str, node: usize, views: Views) {
    let client = nodes.at(node, admin);
    let history = client.get(&format!("channels.history?roomId={room}")).await;
    let expected = match views {
        Views::OfANode => StatusCode::OK,
        Views::Shared => StatusCode::SERVICE_UNAVAILABLE,
    };
    assert_eq!(history.status, expected);
    let message = json!({ "rid": room, "msg": "into the void" });
    let said = client.post("chat.sendMessage", json!({ "message": message }));
    assert_eq!(said.await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: run by tests/run --full"]
async fn a_frozen_node_does_not_hold_up_the_others() {
    freeze_nodes(Views::OfANode).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: run by tests/run --full"]
async fn a_frozen_node_does_not_hold_up_the_others_at_shared_views() {
    freeze_nodes(Views::Shared).await;
}

async fn freeze_nodes(views: Views) {
    let database = Postgres::start();
    let mut nodes = views.nodes(&database).await;
    let admin = nodes.admin().await;
    let load = Load::start(nodes.urls(), &admin, CLIENTS).await;
    load.goes_on("undisturbed", FAIL_OVER).await;
    for round in 1..=FREEZES {
        for node in 0..nodes.count() {
            load.talk(SENTENCES).await;
            nodes.node(node).signal("-STOP");
            let what = format!("round {round}, node {node} is frozen");
            load.goes_on(&what, FAIL_OVER).await;
            // It may have been the one that feeds the views.
            load.shows(&what, FAIL_OVER).await;
            nodes.node(node).signal("-CONT");
        }
    }
    nodes.settle(load, &admin).await;
}
