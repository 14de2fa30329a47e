//! What is pruned is gone: from the views, from every file, and from copies of the log.

use std::fs;
use std::path::Path;
use std::process::Output;

use hansard_tests::server::{Client, Server, command, eventually, files_with};
use reqwest::Method;
use serde_json::{Value, json};

/// Nobody says this by chance.
const SECRET: &str = "marigoldzanzibar";
const KEPT: &str = "cinnamonparade";

async fn prune(client: &Client, room: &str, more: Value) -> u64 {
    let mut body = json!({
        "roomId": room,
        "oldest": "0001-01-01T00:00:00.000Z",
        "latest": "9999-12-31T23:59:59.000Z",
    });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let answer = client.post("rooms.cleanHistory", body).await.expect_ok();
    answer["count"].as_u64().unwrap()
}

async fn found(client: &Client, room: &str, text: &str) -> usize {
    let found = client
        .get(&format!("chat.search?roomId={room}&searchText={text}"))
        .await
        .expect_ok();
    found["messages"].as_array().unwrap().len()
}

fn export(data: &Path, room: &str) -> Output {
    command(&[])
        .args(["export", room, "--data"])
        .arg(data)
        .output()
        .unwrap()
}

fn copy(from: &Path, to: &Path, names: &[&str]) {
    fs::create_dir_all(to).unwrap();
    for name in names {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// The log stands in one file, with its tail beside it while a server runs.
fn copy_log(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap().flatten() {
        let name = file.file_name().into_string().unwrap();
        if name.starts_with("log.db") && !name.ends_with("-shm") {
            copy(from, to, &[&name]);
        }
    }
}

#[tokio::test]
async fn a_pruned_text_is_in_no_file_and_opens_from_no_copy_of_the_log() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let room = admin.channel("attic").await;
    mary.post("channels.join", json!({ "roomId": room }))
        .await
        .expect_ok();
    for number in 0..20 {
        admin.say(&room, &format!("{SECRET} number {number}")).await;
    }
    mary.say(&room, KEPT).await;
    let edited = admin.say(&room, "harmless").await;
    let change = json!({ "roomId": room, "msgId": edited["_id"], "text": format!("{SECRET} now") });
    admin.post("chat.update", change).await.expect_ok();
    assert!(found(&admin, &room, SECRET).await > 0);
    // The test can fail: the text is there, and a copy of everything opens.
    assert!(!files_with(&server.data(), SECRET).is_empty());

    server.stop().await;
    let copies = tempfile::tempdir().unwrap();
    let (whole, late) = (copies.path().join("whole"), copies.path().join("late"));
    for copy in [&whole, &late] {
        copy_log(&server.data(), copy);
    }
    copy(&server.data(), &whole, &["vault.db", "master.key"]);
    server.launch();
    server.ready().await;

    let pruned = prune(&admin, &room, json!({ "users": ["admin"] })).await;
    assert!(pruned >= 21, "{pruned}");
    assert_eq!(
        files_with(&server.data(), SECRET),
        Vec::<std::path::PathBuf>::new()
    );
    assert_eq!(mary.texts(&room).await, [KEPT]);
    assert_eq!(found(&admin, &room, SECRET).await, 0);
    assert_eq!(found(&admin, &room, KEPT).await, 1);

    server.stop().await;
    assert_eq!(
        files_with(&server.data(), SECRET),
        Vec::<std::path::PathBuf>::new()
    );
    copy(&server.data(), &late, &["vault.db", "master.key"]);
    let before = export(&whole, "attic");
    assert!(before.status.success(), "{before:?}");
    assert!(String::from_utf8_lossy(&before.stdout).contains(SECRET));
    let after = export(&late, "attic");
    assert!(after.status.success(), "{after:?}");
    let after = String::from_utf8_lossy(&after.stdout);
    assert!(after.contains(KEPT), "{after}");
    assert!(!after.contains(SECRET), "{after}");
    assert_eq!(files_with(&late, SECRET), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_prune_takes_what_it_is_asked_to_take() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let room = admin.channel("attic").await;
    mary.post("channels.join", json!({ "roomId": room }))
        .await
        .expect_ok();
    let first = admin.say(&room, "one").await;
    let pinned = admin.say(&room, "pinned").await;
    admin
        .post("chat.pinMessage", json!({ "messageId": pinned["_id"] }))
        .await
        .expect_ok();
    let thread = admin.say(&room, "a thread").await;
    let reply = json!({ "message": { "rid": room, "msg": "a reply", "tmid": thread["_id"] } });
    admin.post("chat.sendMessage", reply).await.expect_ok();
    mary.say(&room, "by mary").await;

    // Bounds are exclusive unless they are said to be inclusive.
    let at = &first["ts"];
    let one = json!({ "oldest": at, "latest": at });
    assert_eq!(prune(&admin, &room, one.clone()).await, 0);
    let mut inclusive = one;
    inclusive["inclusive"] = true.into();
    inclusive["limit"] = 1.into();
    assert_eq!(prune(&admin, &room, inclusive).await, 1);

    let nobody = json!({ "users": ["nobody-of-that-name"] });
    assert_eq!(prune(&admin, &room, nobody).await, 0);
    assert_eq!(prune(&admin, &room, json!({ "filesOnly": true })).await, 0);
    assert_eq!(
        prune(
            &admin,
            &room,
            json!({ "users": ["mary"], "ignoreThreads": true })
        )
        .await,
        2
    );
    let rest = json!({ "excludePinned": true, "ignoreThreads": true });
    prune(&admin, &room, rest).await;
    let mut left = admin.texts(&room).await;
    left.sort();
    assert_eq!(left, ["a thread", "pinned"]);
    prune(&admin, &room, json!({})).await;
    assert!(admin.texts(&room).await.is_empty());
}

#[tokio::test]
async fn what_people_deleted_is_pruned_but_not_counted() {
    let server = Server::start().await;
    let admin = server.admin().await;
    for (setting, value) in [
        ("Message_KeepHistory", true),
        ("Message_ShowDeletedStatus", true),
    ] {
        let change = json!({ "value": value });
        admin
            .post(&format!("settings/{setting}"), change)
            .await
            .expect_ok();
    }
    let room = admin.channel("attic").await;
    prune(&admin, &room, json!({})).await;
    let said = admin.say(&room, SECRET).await;
    let delete = json!({ "roomId": room, "msgId": said["_id"] });
    admin.post("chat.delete", delete).await.expect_ok();
    assert_eq!(prune(&admin, &room, json!({})).await, 0);
    let id = said["_id"].as_str().unwrap();
    let stream = admin
        .get_path(&format!("/api/hansard/v1/streams/message-{id}"))
        .await
        .expect_ok();
    assert!(!stream.to_string().contains(SECRET), "{stream}");
    assert_eq!(
        stream["events"][0]["payload"]["content"],
        json!({ "shredded": true })
    );
}

#[tokio::test]
async fn only_those_who_may_prune_do() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let room = admin.channel("attic").await;
    let body = json!({ "roomId": room, "oldest": "2016-08-30", "latest": "2016-12-09" });
    let refused = mary.post("rooms.cleanHistory", body.clone()).await;
    assert_eq!(refused.expect_error(400), "error-not-allowed");
    admin.post("rooms.cleanHistory", body).await.expect_ok();
    let unbounded = json!({ "roomId": room, "latest": "2016-12-09" });
    let refused = admin.post("rooms.cleanHistory", unbounded).await;
    assert_eq!(
        refused.body["error"],
        "Body parameter \"oldest\" is required."
    );
    let unknown = json!({ "roomId": "nowhere", "latest": "2016-12-09", "oldest": "2016-12-08" });
    let refused = admin.post("rooms.cleanHistory", unknown).await;
    assert_eq!(refused.expect_error(400), "error-room-not-found");
}

/// Reads the feed of messages that were sent, from after a position, as long as one answers; `first`
/// is called before anything is read.
async fn feed(client: &Client, after: u64, last: &str, first: impl AsyncFnOnce()) -> String {
    let request = client
        .request(
            Method::GET,
            "/api/hansard/v1/events?types=MessageSent,ChannelPruned",
        )
        .header("Accept", "text/event-stream")
        .header("Last-Event-ID", after);
    let mut answer = request.send().await.unwrap();
    first().await;
    let mut read = String::new();
    while !read.contains(last) {
        let chunk = answer.chunk().await.unwrap().expect("the feed goes on");
        read.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    read
}

#[tokio::test]
async fn a_pruned_text_is_not_in_the_feed_wherever_it_is_taken_up() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("attic").await;
    let before = admin.seen();
    let said = admin.say(&room, SECRET).await;
    let kept = feed(&admin, before, "cinnamonparade", async || {
        admin.say(&room, KEPT).await;
    });
    assert!(kept.await.contains(SECRET), "the test can fail");
    prune(&admin, &room, json!({})).await;
    for after in [0, before] {
        let read = feed(&admin, after, "ChannelPruned", async || {}).await;
        assert!(read.contains(said["_id"].as_str().unwrap()), "{read}");
        assert!(!read.contains(SECRET), "{read}");
    }
}

#[tokio::test]
async fn who_reads_the_feed_slowly_does_not_get_what_is_pruned_meanwhile() {
    /// More than fits between a server and a client that does not read.
    const MESSAGES: usize = 200;

    let server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("attic").await;
    let before = admin.seen();
    for number in 0..MESSAGES {
        let text = format!("{SECRET}{number} {}", "x".repeat(200_000));
        let message = json!({ "rid": room, "msg": "", "attachments": [{ "text": text }] });
        let body = json!({ "message": message });
        admin.post("chat.sendMessage", body).await.expect_ok();
    }
    let read = feed(&admin, before, "ChannelPruned", async || {
        prune(&admin, &room, json!({})).await;
    });
    let read = read.await;
    let last = format!("{SECRET}{}", MESSAGES - 1);
    assert!(!read.contains(&last), "the last message is still there");
    assert!(read.matches("\"content\":{\"shredded\":true}").count() > MESSAGES / 10);
}

#[tokio::test]
async fn what_a_pruned_message_was_reacted_with_goes_with_it() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("attic").await;
    let said = admin.say(&room, "harmless").await;
    let react = json!({ "messageId": said["_id"], "emoji": SECRET });
    admin.post("chat.react", react).await.expect_ok();
    // The test can fail: a view has it.
    eventually("the reaction is found", async || {
        !files_with(&server.data(), SECRET).is_empty()
    })
    .await;
    let found = files_with(&server.data(), SECRET);
    let in_log = |path: &Path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("log.db")
    };
    assert!(!found.iter().any(|path| in_log(path)), "{found:?}");
    prune(&admin, &room, json!({})).await;
    server.stop().await;
    assert_eq!(
        files_with(&server.data(), SECRET),
        Vec::<std::path::PathBuf>::new()
    );
}
