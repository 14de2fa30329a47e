//! Views are disposable: whatever happens to their files, a start makes them anew from the log.

use std::fs;
use std::path::{Path, PathBuf};

use futures::{StreamExt, stream};
use hansard_tests::server::{Client, Options, Server, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection};

/// So many that a rebuild can be seen while it goes on.
const MESSAGES: usize = 1_000;

/// What a server with some life in it answers from its views.
struct Answers {
    admin: Client,
    garden: String,
}

impl Answers {
    async fn live(server: &Server) -> Self {
        let admin = server.admin().await;
        let mary = server.user("mary").await;
        let garden = admin.channel("garden").await;
        mary.post("channels.join", json!({ "roomId": garden }))
            .await
            .expect_ok();
        stream::iter(0..MESSAGES)
            .for_each_concurrent(16, |number| {
                let (mary, garden) = (&mary, &garden);
                async move {
                    mary.say(garden, &format!("flower number {number} for @admin"))
                        .await;
                }
            })
            .await;
        let asked = admin.say(&garden, "how many are there?").await;
        let thread = json!({ "message": { "rid": garden, "msg": "many", "tmid": asked["_id"] } });
        mary.post("chat.sendMessage", thread).await.expect_ok();
        let pin = json!({ "messageId": asked["_id"] });
        admin.post("chat.pinMessage", pin).await.expect_ok();
        admin
            .post(
                "chat.delete",
                json!({ "roomId": garden, "msgId": asked["_id"] }),
            )
            .await
            .expect_ok();
        Self { admin, garden }
    }

    /// Everything that the views have to say of it, with the statuses.
    async fn all(&self) -> Vec<(String, Value)> {
        let garden = &self.garden;
        let mut answers = Vec::new();
        for query in [
            format!("channels.history?roomId={garden}&count=2000"),
            format!("chat.search?roomId={garden}&searchText=flower%20number&count=50"),
            format!("chat.getDeletedMessages?roomId={garden}&since=2020-01-01T00:00:00.000Z"),
            format!("channels.info?roomId={garden}"),
            format!("channels.counters?roomId={garden}"),
            format!("channels.members?roomId={garden}"),
            "channels.list".to_owned(),
            "subscriptions.get".to_owned(),
            "users.list?sort={\"username\":1}".to_owned(),
        ] {
            let answer = self.admin.get(&query).await;
            let status = answer.status.as_u16();
            answers.push((query, json!({ "status": status, "body": answer.body })));
        }
        answers
    }
}

/// The file of a view that serves.
fn file_of(views: &Path, view: &str) -> PathBuf {
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&format!("{view}-")) && name.ends_with(".db")
    };
    let mut files = fs::read_dir(views)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files.find(named).expect("the view has a file")
}

fn delete(views: &Path) {
    fs::remove_dir_all(views).unwrap();
}

fn truncate(views: &Path) {
    let file = fs::File::options()
        .write(true)
        .open(file_of(views, "messages"))
        .unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length / 2).unwrap();
}

fn empty(views: &Path) {
    fs::write(file_of(views, "rooms"), "").unwrap();
}

/// All is garbage but the first page, which says that the file is a database.
fn scribble(views: &Path) {
    let file = file_of(views, "messages");
    let mut content = fs::read(&file).unwrap();
    for (place, byte) in content.iter_mut().enumerate().skip(4096) {
        *byte = (place % 251) as u8;
    }
    fs::write(&file, content).unwrap();
}

fn overwrite(views: &Path) {
    for entry in fs::read_dir(views).unwrap() {
        let path = entry.unwrap().path();
        let length = fs::metadata(&path).unwrap().len() as usize;
        fs::write(&path, "garbage!".repeat(length / 8 + 1)).unwrap();
    }
}

async fn age(views: &Path) {
    let mut tables = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file_of(views, "messages"))
        .connect()
        .await
        .unwrap();
    let aged = sqlx::query("UPDATE checkpoint SET version = version - 1")
        .execute(&mut tables)
        .await
        .unwrap();
    assert_eq!(aged.rows_affected(), 1);
    tables.close().await.unwrap();
}

/// Has the tables of messages refuse a text.
async fn refuse(views: &Path, text: &str) {
    let mut tables = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file_of(views, "messages"))
        .connect()
        .await
        .unwrap();
    let trigger = format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON message WHEN NEW.wire LIKE '%{text}%' \
         BEGIN SELECT RAISE(ABORT, 'it is refused'); END"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(trigger))
        .execute(&mut tables)
        .await
        .unwrap();
    tables.close().await.unwrap();
}

#[tokio::test]
async fn a_view_goes_on_without_an_event_that_it_cannot_take_in_and_says_so() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let garden = admin.channel("garden").await;
    server.stop().await;
    refuse(&server.data().join("views"), "poppies").await;
    server.launch();
    server.ready().await;

    let texts = ["roses", "poppies", "tulips"];
    for text in texts {
        admin.say(&garden, text).await;
    }
    let said = || async {
        let path = format!("channels.history?roomId={garden}");
        let history = admin.get(&path).await.expect_ok();
        let all = history["messages"].as_array().unwrap().clone();
        all.into_iter()
            .filter(|message| message["t"].is_null())
            .map(|message| message["msg"].as_str().unwrap().to_owned())
            .rev()
            .collect::<Vec<_>>()
    };
    assert_eq!(said().await, ["roses", "tulips"]);

    let ready = admin.get_path("/ready").await;
    assert_eq!(
        (ready.status, &ready.body["incomplete"]),
        (StatusCode::OK, &json!(["messages"]))
    );
    let views = admin.get_path("/api/hansard/v1/views").await.expect_ok();
    let all = views["views"].as_array().unwrap();
    let lacking: Vec<_> = all.iter().filter(|view| view["setAside"] != 0).collect();
    assert_eq!(
        (lacking.len(), &lacking[0]["name"]),
        (1, &json!("messages"))
    );
    let path = "/api/hansard/v1/views/messages/set-aside";
    let listed = admin.get_path(path).await.expect_ok();
    assert_eq!(listed["total"], 1);
    let refused = &listed["setAside"][0];
    assert_eq!(
        (&refused["event"], &refused["reason"]),
        (
            &json!("MessageSent"),
            &json!("a row could not be written or read: it is refused")
        )
    );
    let metrics = admin
        .request(reqwest::Method::GET, "/metrics")
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("hansard_view_set_aside{view=\"messages\"} 1"),
        "{metrics}"
    );
    eventually("it is on the record", || async {
        let audit = "/api/hansard/v1/audit?type=EventsSetAside";
        let entries = admin.get_path(audit).await.expect_ok()["entries"].take();
        let details = &entries[0]["details"];
        details["position"] == refused["position"] && details["events"] == 1
    })
    .await;

    // New tables refuse nothing.
    let path = "/api/hansard/v1/views/messages/rebuild";
    let rebuilt = admin
        .request(reqwest::Method::POST, path)
        .send()
        .await
        .unwrap();
    assert_eq!(rebuilt.status(), StatusCode::ACCEPTED);
    eventually("it is whole again", || async {
        admin.get_path("/ready").await.body["incomplete"] == json!([]) && said().await == texts
    })
    .await;
}

/// Starts the server again at once, and answers what `/ready` said until it was ready.
async fn readiness(server: &mut Server) -> Vec<StatusCode> {
    server.launch();
    let mut seen = Vec::new();
    // The harness gives up on a server that is never ready.
    let ready = server.url("/ready");
    let http = server.http().clone();
    let ask = async {
        loop {
            match http.get(&ready).send().await {
                Ok(answer) => {
                    seen.push(answer.status());
                    if answer.status().is_success() {
                        return;
                    }
                }
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::join!(ask, server.ready());
    seen
}

#[tokio::test]
async fn damaged_views_are_rebuilt_at_start_and_serve_again() {
    let options = Options::default().setting("API_Upper_Count_Limit", "10000");
    let mut server = Server::start_with(options).await;
    let answers = Answers::live(&server).await;
    let before = answers.all().await;
    for (query, answer) in &before {
        assert_eq!(answer["status"], 200, "{query}: {answer}");
    }
    let views = server.data().join("views");

    for damage in [
        "deleted",
        "truncated",
        "emptied",
        "scribbled",
        "overwritten",
        "aged",
    ] {
        server.stop().await;
        match damage {
            "deleted" => delete(&views),
            "truncated" => truncate(&views),
            "emptied" => empty(&views),
            "scribbled" => scribble(&views),
            "overwritten" => overwrite(&views),
            _ => age(&views).await,
        }
        let seen = readiness(&mut server).await;
        let (last, meanwhile) = seen.split_last().unwrap();
        assert_eq!(*last, StatusCode::OK, "{damage}");
        assert!(
            meanwhile
                .iter()
                .all(|status| *status == StatusCode::SERVICE_UNAVAILABLE),
            "{damage}: {meanwhile:?}"
        );
        if damage == "deleted" {
            // They may be there again before anybody asks, but not after it says that it is ready.
            assert_eq!(
                answers.all().await,
                before,
                "it was ready without its views"
            );
        }
        // Damage deep in a file is found while the view serves, and the view is withdrawn then.
        let what = format!("{damage}: the answers are those of before");
        eventually(&what, || async { answers.all().await == before }).await;
    }
}

#[tokio::test]
async fn write_ahead_logs_are_emptied_where_nothing_is_written() {
    let server = Server::start().await;
    let admin = server.admin().await;
    for number in 0..200 {
        admin
            .say("GENERAL", &format!("{number} {}", "x".repeat(2_000)))
            .await;
    }
    let data = server.data();
    let lengths = || {
        let directories = [data.join("views"), data.clone()];
        let files = directories
            .iter()
            .flat_map(|directory| fs::read_dir(directory).unwrap());
        let written_ahead = files.map(|file| file.unwrap().path()).filter(|path| {
            let name = path.to_string_lossy().into_owned();
            // The catalog changes with a rebuild alone.
            let of_view = name.contains("/views/") && !name.contains("catalog");
            name.ends_with("-wal") && (of_view || name.ends_with("/log.db-wal"))
        });
        written_ahead
            .map(|path| (fs::metadata(&path).map_or(0, |file| file.len()), path))
            .collect::<Vec<_>>()
    };
    let written: u64 = lengths().iter().map(|(length, _)| length).sum();
    assert!(written > 400_000, "{written} bytes were written ahead");
    eventually("all write-ahead logs are empty", async || {
        lengths().iter().all(|(length, _)| *length == 0)
    })
    .await;
}
