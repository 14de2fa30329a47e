//! Nodes of one workspace, each to be killed or frozen by itself, and what must hold of them after
//! that.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::history::load::Load;
use crate::history::log::{self, Recorded, What};
use crate::history::{History, check};
use crate::server::{Client, Options, Server, eventually};
use crate::topology;

/// The longest that nothing may be written after something was killed, frozen or cut off. The design
/// says half of it; a machine that also runs other tests may be late.
pub const FAIL_OVER: Duration = Duration::from_secs(30);

/// Messages of a page.
const PAGE: usize = 100;

/// Three nodes on one log.
pub struct Nodes {
    nodes: Vec<Server>,
}

impl Nodes {
    /// Starts three that keep their log and their views there.
    pub async fn start(log: &str, views: &str) -> Self {
        let options = Options {
            environment: topology::of_a_node(log, views),
            ..Options::default()
        };
        let mut nodes: Vec<_> = (0..3)
            .map(|_| Server::launch_node(options.clone()))
            .collect();
        for node in &mut nodes {
            node.ready().await;
        }
        Self { nodes }
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url("")).collect()
    }

    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    pub fn node(&mut self, number: usize) -> &mut Server {
        &mut self.nodes[number]
    }

    /// A client of the first node, logged in as the administrator.
    pub async fn admin(&self) -> Client {
        self.nodes[0].admin().await
    }

    /// The node that was elected last.
    pub async fn writer(&self, admin: &Client) -> usize {
        let address = log::writer(&self.at(0, admin)).await;
        let address = address.expect("the log is read").expect("a node writes");
        let writer = self.nodes.iter().position(|node| node.url("") == address);
        writer.unwrap_or_else(|| panic!("no node is at {address}"))
    }

    /// The same user, at one node alone.
    pub fn at(&self, node: usize, user: &Client) -> Client {
        self.nodes[node].client(user.user_id(), user.token())
    }

    /// Ends the load and holds what its clients were told against the log of every node; all are to
    /// be running. Every node has to show all messages, and no view may be behind.
    pub async fn settle(&mut self, load: Load, admin: &Client) {
        let history = load.stop().await;
        for node in &mut self.nodes {
            node.ready().await;
        }
        let mut said = Vec::new();
        for node in 0..self.nodes.len() {
            let client = self.at(node, admin);
            eventually("the views of a node are up to date", || caught_up(&client)).await;
            let log = log::read(&client).await.expect("the log is read");
            println!("node {node}: {}", history.looked(&log));
            let faults = check(&history, &log);
            let told: Vec<_> = faults.iter().take(20).map(ToString::to_string).collect();
            let many = faults.len();
            assert!(
                faults.is_empty(),
                "{many} faults in the log of node {node}: {told:#?}"
            );
            let ids = ids(&history, &log);
            shows(&client, &history.room, &ids).await;
            said.push(ids);
        }
        assert!(said.windows(2).all(|pair| pair[0] == pair[1]));
        assert!(!said[0].is_empty(), "nothing was written");
        println!("the longest pause was {:.1?}", history.longest_pause());
    }
}

async fn caught_up(client: &Client) -> bool {
    let answer = client.get_path("/api/hansard/v1/views").await;
    let views = answer.body["views"].as_array().cloned().unwrap_or_default();
    !views.is_empty()
        && views
            .iter()
            .all(|view| view["lag"] == 0 && view["state"] == "serving")
}

/// The messages of the room, system messages left out.
fn ids(history: &History, log: &[Recorded]) -> BTreeSet<String> {
    let said = log.iter().filter_map(|event| match &event.what {
        What::Said(said) if said.room == history.room => Some(said.id.clone()),
        _ => None,
    });
    said.collect()
}

/// A node lists exactly these messages in a room.
async fn shows(client: &Client, room: &str, ids: &BTreeSet<String>) {
    let mut shown = BTreeSet::new();
    let mut total = usize::MAX;
    while shown.len() < total {
        let offset = shown.len();
        let path = format!("channels.messages?roomId={room}&count={PAGE}&offset={offset}");
        let page = client.get(&path).await.expect_ok();
        total = page["total"].as_u64().expect("a total") as usize;
        let messages = page["messages"].as_array().expect("messages");
        assert!(
            !messages.is_empty() || shown.len() == total,
            "a page is empty"
        );
        shown.extend(messages.iter().map(|it| id(it).to_owned()));
    }
    let missing: Vec<_> = ids.difference(&shown).take(5).collect();
    let too_many: Vec<_> = shown.difference(ids).take(5).collect();
    assert!(
        missing.is_empty() && too_many.is_empty(),
        "not shown: {missing:?}; not in the log: {too_many:?}"
    );
}

fn id(message: &Value) -> &str {
    message["_id"].as_str().expect("a message has an id")
}
