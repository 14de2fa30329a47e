//! A disk that is full: what can't be recorded is refused, and service resumes by itself.
//!
//! The disk is played by the limit on the size of files, which can be moved under a running process:
//! a write beyond it fails as one on a full disk does, for root and for anybody else.

use std::collections::HashSet;
use std::process::Command;

use hansard_tests::server::{Client, Options, Server, eventually};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Lets no file of the server grow beyond a size in bytes; `unlimited` takes that back.
fn limit_files(server: &Server, size: &str) {
    let limited = Command::new("prlimit")
        .args([
            "--pid",
            &server.pid().to_string(),
            &format!("--fsize={size}:"),
        ])
        .status()
        .expect("prlimit, of util-linux, runs");
    assert!(limited.success());
}

/// Sends a text; answers the status, and how long to wait before the next try.
async fn send(client: &Client, room: &str, text: &str) -> (StatusCode, Option<String>, Value) {
    let answer = client
        .request(Method::POST, "/api/v1/chat.sendMessage")
        .json(&json!({ "message": { "rid": room, "msg": text } }))
        .send()
        .await
        .unwrap();
    let wait = answer.headers().get("Retry-After");
    let wait = wait.map(|wait| wait.to_str().unwrap().to_owned());
    (
        answer.status(),
        wait,
        answer.json().await.unwrap_or_default(),
    )
}

/// What was said in a room, without what the system said.
async fn texts(client: &Client, room: &str) -> Vec<String> {
    let query = format!("channels.history?roomId={room}&count=10000");
    let history = client.get(&query).await.expect_ok();
    let messages = history["messages"].as_array().unwrap();
    messages
        .iter()
        .filter(|message| message.get("t").is_none())
        .map(|message| message["msg"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn on_a_full_disk_messages_are_refused_whole_until_there_is_room_again() {
    // Without it the first write beyond the limit ends the process, which no full disk does.
    let ignoring_the_signal = ["sh", "-c", r#"trap "" XFSZ; exec "$@""#, "sh"];
    let mut server = Server::start_with(Options {
        through: ignoring_the_signal.map(str::to_owned).to_vec(),
        ..Options::default().setting("API_Upper_Count_Limit", "10000")
    })
    .await;
    let admin = server.admin().await;
    let room = admin.channel("attic").await;
    admin.say(&room, "before").await;

    let size = |name| std::fs::metadata(server.data().join(name)).map_or(0, |file| file.len());
    let full = size("log.db").max(size("log.db-wal"));
    limit_files(&server, &full.to_string());

    let mut said: HashSet<String> = ["before".to_owned()].into();
    let mut refused = HashSet::new();
    for number in 0.. {
        assert!(number < 5_000, "the disk never was full");
        let text = format!("{number} {}", "x".repeat(4_000));
        let (status, wait, body) = send(&admin, &room, &text).await;
        if status.is_success() {
            said.insert(text);
            continue;
        }
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert!(
            wait.is_some_and(|wait| wait.parse::<u32>().is_ok()),
            "no Retry-After"
        );
        assert_eq!(body["success"], false, "{body}");
        refused.insert(text);
        if refused.len() == 3 {
            break;
        }
    }
    // What there is can still be read.
    texts(&admin, &room).await;

    limit_files(&server, "unlimited");
    let again = || async {
        let (status, _, body) = send(&admin, &room, "after").await;
        assert!(
            status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE,
            "{status} {body}"
        );
        status.is_success()
    };
    eventually("messages are taken again", again).await;
    said.insert("after".to_owned());

    eventually("all of it is shown", async || {
        texts(&admin, &room).await.len() >= said.len()
    })
    .await;

    for restarted in [false, true] {
        if restarted {
            server.kill();
            server.launch();
            server.ready().await;
        }
        let there = texts(&admin, &room).await;
        let unique: HashSet<_> = there.iter().cloned().collect();
        assert_eq!(there.len(), unique.len(), "a message is there twice");
        assert!(
            unique.is_disjoint(&refused),
            "a message is there that was refused"
        );
        assert_eq!(unique, said);
    }
}

/// What keys are written to fails again and again, then there is room: what is sealed from then on is read
/// back by whoever has nothing but the files.
#[tokio::test]
async fn what_is_acknowledged_after_the_vault_had_no_room_is_there_for_ever() {
    let limits = tempfile::tempdir().unwrap();
    let limit = limits.path().join("fsize");
    let through = format!(
        r#"trap "" XFSZ; exec prlimit --fsize="$(cat '{}' 2>/dev/null || echo unlimited):" "$@""#,
        limit.display()
    );
    let mut server = Server::start_with(Options {
        through: ["sh", "-c", &through, "sh"].map(str::to_owned).to_vec(),
        ..Options::default().setting("API_Upper_Count_Limit", "10000")
    })
    .await;
    let admin = server.admin().await;
    let room = admin.channel("attic").await;
    admin.say(&room, "before").await;
    assert!(server.stop().await.success());

    // Room for the few bytes of a message, and not for a block of keys.
    std::fs::write(&limit, "65536").unwrap();
    server.launch();
    server.ready().await;
    let mut refused = 0;
    for number in 0.. {
        assert!(number < 5_000, "there always was room");
        let (status, _, body) = send(&admin, &room, "refused").await;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            refused += 1;
        } else {
            assert!(status.is_success(), "{status} {body}");
        }
        if refused == 4 {
            break;
        }
    }
    std::fs::remove_file(&limit).unwrap();
    limit_files(&server, "unlimited");
    eventually("messages are taken again", async || {
        send(&admin, &room, "after").await.0.is_success()
    })
    .await;
    // More than one block of keys.
    for number in 0..2_500 {
        admin.say(&room, &format!("{number}")).await;
    }
    assert!(server.stop().await.success());
    std::fs::remove_dir_all(server.data().join("views")).unwrap();
    server.launch();
    server.ready().await;
    let there: HashSet<_> = texts(&admin, &room).await.into_iter().collect();
    let lost = (0..2_500).filter(|number| !there.contains(&number.to_string()));
    assert_eq!(lost.count(), 0, "of {} that are there", there.len());
    assert!(there.contains("before") && there.contains("after"));
}
