//! An older log is put back beside views and cursors that have seen more: nothing of what is no more is
//! shown, and nothing that comes is missed.

use std::fs;
use std::path::{Path, PathBuf};

use hansard_tests::server::{Client, Options, Server, eventually};
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
