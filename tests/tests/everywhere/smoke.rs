//! The shortest way through the server, and what is left of it after a crash.

use hansard_tests::server::{Client, Server};
use serde_json::Value;

/// The texts of a channel's history, newest first, without what the system said.
async fn texts(client: &Client, room: &str) -> Vec<String> {
    let history = client
        .get(&format!("channels.history?roomId={room}"))
        .await
        .expect_ok();
    history["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|message| message.get("t").is_none())
        .map(|message| message["msg"].as_str().unwrap().to_owned())
        .collect()
}

async fn found(client: &Client, room: &str, words: &str) -> Vec<String> {
    let found = client
        .get(&format!("chat.search?roomId={room}&searchText={words}"))
        .await
        .expect_ok();
    found["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["msg"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_was_said_is_there_after_a_crash() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let garden = admin.channel("garden").await;
    let mary = server.user("mary").await;
    mary.post("channels.join", serde_json::json!({ "roomId": garden }))
        .await
        .expect_ok();
    admin.say(&garden, "the roses are out").await;
    mary.say(&garden, "and the tulips, @admin").await;

    for crash in 0..2 {
        let said = texts(&admin, &garden).await;
        assert_eq!(
            said,
            ["and the tulips, @admin", "the roses are out"],
            "crash {crash}"
        );
        assert_eq!(found(&admin, &garden, "roses").await, ["the roses are out"]);
        let counters = admin
            .get(&format!("channels.counters?roomId={garden}"))
            .await
            .expect_ok();
        assert_eq!(counters["userMentions"], Value::from(1), "{counters}");
        // The sessions are there, too: nobody logs in again.
        let me = mary.get("me").await.expect_ok();
        assert_eq!(me["username"], "mary");
        server.kill();
        server.launch();
        server.ready().await;
    }

    mary.say(&garden, "and it goes on").await;
    assert_eq!(texts(&admin, &garden).await.len(), 3);
}
