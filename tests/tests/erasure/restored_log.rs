//! An older log is put back beside views and cursors that have seen more: nothing of what is no more is
//! shown, and nothing that comes is missed.

use std::fs;
use std::path::{Path, PathBuf};

use hansard_tests::receiver::Receiver;
use hansard_tests::server::{Client, Options, Server, eventually};
use reqwest::Method;
use serde_json::{Value, json};

async fn usernames(client: &Client) -> Vec<String> {
    let list = client.get("users.list?count=0").await.expect_ok();
    let users = list["users"].as_array().unwrap();
    let name = |user: &Value| user["username"].as_str().unwrap().to_owned();
    users.iter().map(name).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// A server that was stopped, whose log is older than what was made from it.
struct Restored {
    server: Server,
    room: String,
    backup: PathBuf,
    /// Whose account and messages are in the backup.
    joe: String,
}

async fn restored() -> Restored {
    let options = Options::default().setting("Message_ErasureType", "Delete");
    let mut server = Server::start_with(options).await;
    let admin = server.admin().await;
    let room = admin.channel("attic").await;
    admin.say(&room, "before the backup").await;
    let joe = server.user("joe").await;
    joe.post("channels.join", json!({ "roomId": room }))
        .await
        .expect_ok();
    joe.say(&room, "a word of joe").await;
    let joe = joe.user_id().to_owned();
    server.stop().await;
    let backup = server.data().join("../log.backup");
    fs::copy(server.data().join("log.db"), &backup).unwrap();

    server.launch();
    server.ready().await;
    let admin = server.admin().await;
    for number in 0..40 {
        admin
            .say(&room, &format!("after the backup {number}"))
            .await;
    }
    server.user("mary").await;
    server.stop().await;
    Restored {
        server,
        room,
        backup,
        joe,
    }
}

impl Restored {
    fn put_back(&self) {
        let data = self.server.data();
        fs::copy(&self.backup, data.join("log.db")).unwrap();
        for rest in ["log.db-wal", "log.db-shm"] {
            let _ = fs::remove_file(data.join(rest));
        }
    }

    /// What is in the log is shown, and nothing else; what is said is seen, what is deleted is erased.
    async fn is_whole(&self, said: &[&str]) {
        let (server, room) = (&self.server, &self.room);
        let admin = server.admin().await;
        assert_eq!(admin.texts(room).await, said);
        assert!(!usernames(&admin).await.contains(&"mary".to_owned()));
        admin.say(room, "news").await;
        let mut expected = said.to_vec();
        expected.push("news");
        assert_eq!(admin.texts(room).await, expected);

        let delete = json!({ "userId": self.joe });
        admin.post("users.delete", delete).await.expect_ok();
        expected.retain(|text| *text != "a word of joe");
        eventually("the deleted account's messages are gone", async || {
            admin.texts(room).await == expected
        })
        .await;
    }
}

#[tokio::test]
async fn views_and_policies_go_by_an_older_log_that_was_put_back() {
    let mut restored = restored().await;
    restored.put_back();
    restored.server.launch();
    restored.server.ready().await;
    restored
        .is_whole(&["before the backup", "a word of joe"])
        .await;
    let output = restored.server.output();
    assert!(
        output.contains("an older copy of the log was put back"),
        "{output}"
    );
}

#[tokio::test]
async fn what_was_made_from_another_log_is_found_out_though_this_one_is_longer() {
    let mut restored = restored().await;
    let data = restored.server.data();
    let newer = data.join("../newer");
    copy(&data.join("views"), &newer.join("views"));
    copy(&data.join("state"), &newer.join("state"));

    restored.put_back();
    for name in ["views", "state"] {
        fs::remove_dir_all(data.join(name)).unwrap();
    }
    restored.server.launch();
    restored.server.ready().await;
    let admin = restored.server.admin().await;
    let mut said = vec!["before the backup".to_owned(), "a word of joe".to_owned()];
    for number in 0..80 {
        said.push(format!("another history {number}"));
        admin.say(&restored.room, said.last().unwrap()).await;
    }
    restored.server.stop().await;

    fs::remove_dir_all(data.join("views")).unwrap();
    copy(&newer.join("views"), &data.join("views"));
    copy(&newer.join("state"), &data.join("state"));
    restored.server.launch();
    restored.server.ready().await;
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    restored.is_whole(&said).await;
}

/// A server with an outgoing webhook that was changed to hear more, and was off for a while.
struct Widened {
    server: Server,
    receiver: Receiver,
    integration: Value,
    group: String,
    /// A copy of `state/` from before it was changed, as of a node that led then.
    state: PathBuf,
    log: PathBuf,
}

impl Widened {
    async fn new() -> Self {
        let options = Options::default().setting("Hansard_Webhook_Allow_Private_Addresses", "true");
        let mut server = Server::start_with(options).await;
        let admin = server.admin().await;
        let receiver = Receiver::start().await;
        let group = admin
            .post("groups.create", json!({ "name": "board" }))
            .await;
        let group = group.expect_ok()["group"]["_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let asked = json!({
            "type": "webhook-outgoing", "name": "out", "enabled": true, "username": "rocket.cat",
            "scriptEnabled": false, "event": "sendMessage", "channel": "#general",
            "triggerWords": ["!bot"], "urls": [receiver.url()],
        });
        let mut made = admin.post("integrations.create", asked).await.expect_ok();
        let integration = made["integration"].take();
        admin.say(&group, "a secret of the board").await;
        admin.say("GENERAL", "without the word").await;
        admin.say("GENERAL", "!bot hears").await;
        receiver.has(1).await;
        server.stop().await;
        let state = server.data().join("../state.before");
        copy(&server.data().join("state"), &state);

        server.launch();
        server.ready().await;
        let log = server.data().join("../log.widened");
        let widened = Self {
            server,
            receiver,
            integration,
            group,
            state,
            log,
        };
        widened.save(json!({ "enabled": false })).await;
        let admin = widened.server.admin().await;
        admin.say("GENERAL", "!bot is off").await;
        let wide = json!({
            "channel": "#general,all_private_groups", "triggerWords": [],
            "urls": [widened.receiver.url(), widened.receiver.url()],
        });
        widened.save(wide).await;
        let mut widened = widened;
        widened.server.stop().await;
        fs::copy(widened.server.data().join("log.db"), &widened.log).unwrap();
        widened
    }

    async fn save(&self, changes: Value) {
        let mut asked = json!({
            "type": "webhook-outgoing", "name": "out", "enabled": true, "username": "rocket.cat",
            "scriptEnabled": false, "event": "sendMessage", "channel": "#general",
            "triggerWords": ["!bot"], "urls": [self.receiver.url()],
            "integrationId": self.integration["_id"], "token": self.integration["token"],
        });
        let changes = changes.as_object().unwrap().clone();
        asked.as_object_mut().unwrap().extend(changes);
        let admin = self.server.admin().await;
        let saving = admin.request(Method::PUT, "/api/v1/integrations.update");
        admin.answer(saving.json(&asked)).await.expect_ok();
    }

    /// What is said now is heard, and came after nothing that was said before.
    async fn hears_from_now_on(&mut self) {
        self.server.launch();
        self.server.ready().await;
        let admin = self.server.admin().await;
        admin.say(&self.group, "news of the board").await;
        // One for each URL.
        self.receiver.has(3).await;
        let news = "news of the board";
        assert_eq!(self.receiver.texts(), ["!bot hears", news, news]);
    }
}

#[tokio::test]
async fn a_webhook_hears_nothing_of_before_it_was_set_up_so_though_its_cursor_is_gone() {
    let mut widened = Widened::new().await;
    fs::remove_dir_all(widened.server.data().join("state")).unwrap();
    widened.hears_from_now_on().await;
}

#[tokio::test]
async fn a_webhook_hears_nothing_of_before_it_was_set_up_so_where_a_cursor_is_of_long_ago() {
    let mut widened = Widened::new().await;
    let state = widened.server.data().join("state");
    fs::remove_dir_all(&state).unwrap();
    copy(&widened.state, &state);
    widened.hears_from_now_on().await;
}

#[tokio::test]
async fn a_webhook_hears_nothing_of_before_it_was_set_up_so_from_an_older_log() {
    let mut widened = Widened::new().await;
    widened.server.launch();
    widened.server.ready().await;
    let admin = widened.server.admin().await;
    for name in ["later", "latest"] {
        admin.channel(name).await;
    }
    widened.server.stop().await;
    let data = widened.server.data();
    fs::copy(&widened.log, data.join("log.db")).unwrap();
    for rest in ["log.db-wal", "log.db-shm"] {
        let _ = fs::remove_file(data.join(rest));
    }
    widened.hears_from_now_on().await;
}

#[tokio::test]
async fn what_a_webhook_is_owed_comes_though_its_cursor_is_lost_in_a_crash() {
    let mut widened = Widened::new().await;
    widened.server.launch();
    widened.server.ready().await;
    let admin = widened.server.admin().await;
    for number in 0..20 {
        admin.say(&widened.group, &format!("owed {number}")).await;
    }
    widened.server.kill();
    fs::remove_dir_all(widened.server.data().join("state")).unwrap();
    widened.server.launch();
    widened.server.ready().await;
    eventually("all that is owed has come", async || {
        let heard = widened.receiver.texts();
        (0..20).all(|number| {
            let owed = format!("owed {number}");
            heard.iter().filter(|text| **text == owed).count() >= 2
        })
    })
    .await;
    let heard = widened.receiver.texts();
    let foreign = heard
        .iter()
        .find(|text| !text.starts_with("owed ") && *text != "!bot hears");
    assert_eq!(foreign, None);
}

#[tokio::test]
async fn who_was_erased_after_the_copy_of_the_log_is_let_in_no_more_and_can_be_deleted_again() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let eve = server.user("eve").await;
    let board = json!({ "name": "board", "members": ["eve"] });
    let board = admin.post("groups.create", board).await.expect_ok();
    let board = board["group"]["_id"].as_str().unwrap().to_owned();
    let yard = admin.channel("yard").await;
    server.stop().await;
    let backup = server.data().join("../log.backup");
    fs::copy(server.data().join("log.db"), &backup).unwrap();

    server.launch();
    server.ready().await;
    let admin = server.admin().await;
    let delete = json!({ "userId": eve.user_id() });
    admin.post("users.delete", delete.clone()).await.expect_ok();
    let delete_yard = json!({ "roomId": yard });
    admin
        .post("channels.delete", delete_yard.clone())
        .await
        .expect_ok();
    server.stop().await;
    let restored = Restored {
        server,
        room: yard,
        backup,
        joe: eve.user_id().to_owned(),
    };
    restored.put_back();
    let mut server = restored.server;
    server.launch();
    server.ready().await;

    let admin = server.admin().await;
    admin.say(&board, "not for eve").await;
    let eve = server.client(eve.user_id(), eve.token());
    let history = eve.get(&format!("groups.history?roomId={board}")).await;
    assert_eq!(history.status.as_u16(), 401, "{:?}", history.body);
    let output = server.output();
    assert!(
        output.contains("the vault has not got the keys"),
        "{output}"
    );
    assert!(output.contains(eve.user_id()), "{output}");
    let active = json!({ "userId": eve.user_id(), "activeStatus": true });
    let refused = admin.post("users.setActiveStatus", active).await;
    assert_eq!(refused.expect_error(400), "error-user-lost");

    // What was deleted can be deleted again, and what it was called is free.
    admin.post("users.delete", delete).await.expect_ok();
    admin.post("channels.delete", delete_yard).await.expect_ok();
    server.user("eve").await;
    admin.channel("yard").await;
}
