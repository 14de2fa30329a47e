//! What was said in a deleted room, or by an account that is deleted with its messages, is gone: from
//! every file, and from the record, whatever happens in between.

use std::time::Duration;

use hansard_tests::server::{Client, Options, Server, eventually, files_with};
use reqwest::Method;
use serde_json::{Value, json};

/// Nobody says this by chance.
const SECRET: &str = "marigoldzanzibar";

async fn server_with(settings: &[(&str, &str)]) -> Server {
    let options = settings
        .iter()
        .fold(Options::default(), |options, (id, value)| {
            options.setting(id, value)
        });
    Server::start_with(options).await
}

/// What the record holds of a message's text: `None` if there is no such message.
async fn recorded(admin: &Client, message: &str) -> Option<Value> {
    let stream = admin
        .get_path(&format!("/api/hansard/v1/streams/message-{message}"))
        .await;
    let content = &stream.body["events"][0]["payload"]["content"];
    (!content.is_null()).then(|| content.clone())
}

async fn is_erased(admin: &Client, message: &str) -> bool {
    recorded(admin, message).await == Some(json!({ "shredded": true }))
}

#[track_caller]
fn assert_nowhere(server: &Server) {
    let found = files_with(&server.data(), SECRET);
    assert!(found.is_empty(), "{found:?}");
}

async fn say(client: &Client, room: &str) -> String {
    let said = client.say(room, SECRET).await;
    said["_id"].as_str().unwrap().to_owned()
}

async fn delete_message(client: &Client, room: &str, message: &str) {
    let delete = json!({ "roomId": room, "msgId": message });
    client.post("chat.delete", delete).await.expect_ok();
}

/// Sends a request whose answer may never come.
fn send(client: &Client, operation: &str, body: Value) -> tokio::task::JoinHandle<()> {
    let request = client
        .request(Method::POST, &format!("/api/v1/{operation}"))
        .json(&body);
    tokio::spawn(async move {
        let _ = request.send().await;
    })
}

/// Says so many things at once, under ids of its own choice; answers the ids.
fn say_many(client: &Client, room: &str, round: &str) -> Vec<String> {
    // Of Rocket.Chat's form, so that they are kept.
    let ids: Vec<String> = (0..20)
        .map(|number| format!("{round:x<15}{number:02}"))
        .collect();
    for id in &ids {
        let message = json!({ "message": { "_id": id, "rid": room, "msg": SECRET } });
        drop(send(client, "chat.sendMessage", message));
    }
    ids
}

#[tokio::test]
async fn a_deleted_room_leaves_no_text_even_of_what_was_deleted_before() {
    let mut server = server_with(&[("Message_KeepHistory", "true")]).await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let channel = admin.channel("attic").await;
    let group = admin.post("groups.create", json!({ "name": "den" })).await;
    let direct = mary.post("im.create", json!({ "username": "admin" })).await;
    let rooms = [
        ("channels.delete", channel),
        (
            "groups.delete",
            group.expect_ok()["group"]["_id"].as_str().unwrap().into(),
        ),
        (
            "im.delete",
            direct.expect_ok()["room"]["_id"].as_str().unwrap().into(),
        ),
        ("rooms.delete", admin.channel("cellar").await),
    ];
    let mut messages = Vec::new();
    for (_, room) in &rooms {
        let kept = say(&admin, room).await;
        delete_message(&admin, room, &kept).await;
        messages.extend([kept, say(&admin, room).await]);
    }
    for message in &messages {
        assert!(recorded(&admin, message).await.is_some());
        assert!(!is_erased(&admin, message).await, "the test can fail");
    }
    assert!(!files_with(&server.data(), SECRET).is_empty());
    for (operation, room) in rooms {
        let delete = admin.post(operation, json!({ "roomId": room })).await;
        delete.expect_ok();
    }
    for message in &messages {
        assert!(is_erased(&admin, message).await, "{message}");
    }
    assert_nowhere(&server);
    server.stop().await;
    assert_nowhere(&server);
}

#[tokio::test]
async fn what_is_said_while_a_room_is_deleted_goes_with_it_even_if_the_server_is_killed() {
    let mut server = server_with(&[("Message_KeepHistory", "true")]).await;
    let admin = server.admin().await;
    for (round, killed_after) in [1, 5, 20, 60].into_iter().enumerate() {
        let name = format!("attic{round}");
        let room = admin.channel(&name).await;
        let kept = say(&admin, &room).await;
        delete_message(&admin, &room, &kept).await;
        let mut messages = vec![kept, say(&admin, &room).await];
        messages.extend(say_many(&admin, &room, &format!("early{round}x")));
        let delete = send(&admin, "channels.delete", json!({ "roomId": room }));
        messages.extend(say_many(&admin, &room, &format!("late{round}x")));
        tokio::time::sleep(Duration::from_millis(killed_after)).await;
        server.kill();
        delete.await.unwrap();
        server.launch();
        server.ready().await;
        // It was killed before the deletion was on the record: then it is still to be asked for.
        if admin
            .get(&format!("channels.info?roomId={room}"))
            .await
            .status
            .is_success()
        {
            let delete = admin.post("channels.delete", json!({ "roomId": room }));
            delete.await.expect_ok();
        }
        for message in &messages {
            eventually("a message of a deleted room is erased", async || {
                recorded(&admin, message).await.is_none() || is_erased(&admin, message).await
            })
            .await;
        }
        assert!(is_erased(&admin, &messages[0]).await);
        assert!(is_erased(&admin, &messages[1]).await);
        server.stop().await;
        assert_nowhere(&server);
        server.launch();
        server.ready().await;
    }
}

#[tokio::test]
async fn an_account_that_goes_with_its_messages_leaves_none_even_if_the_server_is_killed() {
    let mut server = server_with(&[
        ("Message_ErasureType", "Delete"),
        ("Message_KeepHistory", "true"),
    ])
    .await;
    let admin = server.admin().await;
    for (round, killed_after) in [1, 10, 60].into_iter().enumerate() {
        let mary = server.user(&format!("mary{round}")).await;
        let room = admin.channel(&format!("attic{round}")).await;
        mary.post("channels.join", json!({ "roomId": room }))
            .await
            .expect_ok();
        let kept = say(&mary, &room).await;
        delete_message(&mary, &room, &kept).await;
        let mut messages = vec![kept, say(&mary, &room).await];
        messages.extend(say_many(&mary, &room, &format!("early{round}x")));
        let body = json!({ "userId": mary.user_id() });
        let delete = send(&admin, "users.delete", body.clone());
        messages.extend(say_many(&mary, &room, &format!("late{round}x")));
        tokio::time::sleep(Duration::from_millis(killed_after)).await;
        server.kill();
        delete.await.unwrap();
        server.launch();
        server.ready().await;
        let info = format!("users.info?userId={}", mary.user_id());
        if admin.get(&info).await.status.is_success() {
            admin.post("users.delete", body).await.expect_ok();
        }
        for message in &messages {
            eventually("a message of a deleted account is erased", async || {
                recorded(&admin, message).await.is_none() || is_erased(&admin, message).await
            })
            .await;
        }
        assert!(is_erased(&admin, &messages[0]).await);
        assert!(is_erased(&admin, &messages[1]).await);
        server.stop().await;
        assert_nowhere(&server);
        server.launch();
        server.ready().await;
    }
}

#[tokio::test]
async fn an_unlinked_account_leaves_its_messages_to_the_server() {
    let server = server_with(&[("Message_ErasureType", "Unlink")]).await;
    let admin = server.admin().await;
    let mary = server.user("marigold").await;
    let room = admin.channel("attic").await;
    mary.post("channels.join", json!({ "roomId": room }))
        .await
        .expect_ok();
    let said = say(&mary, &room).await;
    let change = json!({ "roomId": room, "msgId": said, "text": "what she said" });
    mary.post("chat.update", change).await.expect_ok();
    let react = json!({ "messageId": said, "emoji": "smile" });
    mary.post("chat.react", react).await.expect_ok();
    let delete = json!({ "userId": mary.user_id() });
    admin.post("users.delete", delete).await.expect_ok();

    let message = admin.get(&format!("chat.getMessage?msgId={said}")).await;
    let message = message.expect_ok()["message"].take();
    assert_eq!(message["msg"], "what she said");
    assert_eq!(message["u"]["_id"], "rocket.cat");
    assert_eq!(message["u"]["username"], "rocket.cat");
    assert_eq!(message["alias"], "Removed User");
    let history = admin
        .get(&format!("channels.history?roomId={room}&count=0"))
        .await
        .expect_ok();
    let found = admin
        .get(&format!("chat.search?roomId={room}&searchText=said"))
        .await
        .expect_ok();
    assert_eq!(found["messages"].as_array().unwrap().len(), 1);
    for shown in [message, history, found] {
        let shown = shown.to_string();
        assert!(!shown.contains(mary.user_id()), "{shown}");
        assert!(!shown.contains("\"marigold\""), "{shown}");
    }
}
