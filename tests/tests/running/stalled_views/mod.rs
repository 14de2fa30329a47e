//! Views that stand still: what is recorded is answered as done all the same, from what was decided.
//!
//! Two servers are told the same. The views of one keep up; those of the other are locked by somebody
//! else's transaction, so that they take nothing in from then on. What both answer must be the same, but
//! for what only a view knows.

mod comparing;
mod telling;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use comparing::{Forms, compare};
use hansard_tests::document;
use hansard_tests::server::{Client, Options, Server, eventually};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use telling::{Teller, prepare, tell_everything, tell_of_deletions};

/// What records something, or has something done, about what a view has shown.
const ABOUT_VIEWS: [&str; 4] = [
    "POST /api/hansard/v1/deliveries/{id}/replay",
    "POST /api/hansard/v1/views/{view}/rebuild",
    "POST integrations.replayOutgoing",
    // See `a_prune_is_answered_although_a_view_keeps_its_files`.
    "POST rooms.cleanHistory",
];

/// Holds the files of views against every other writer.
struct Held(Vec<SqliteConnection>);

impl Held {
    async fn all(views: &Path) -> Self {
        let held = Self::some(views, "").await;
        assert!(held.0.len() >= 10, "every view has a file");
        held
    }

    /// Those whose names begin like this.
    async fn some(views: &Path, beginning: &str) -> Self {
        let mut held = Vec::new();
        for file in std::fs::read_dir(views).unwrap().flatten() {
            let path = file.path();
            let wanted = file.file_name().to_string_lossy().starts_with(beginning);
            if wanted && path.extension().is_some_and(|extension| extension == "db") {
                let options = SqliteConnectOptions::new().filename(&path);
                let mut connection = options.connect().await.unwrap();
                sqlx::raw_sql("BEGIN EXCLUSIVE")
                    .execute(&mut connection)
                    .await
                    .unwrap();
                held.push(connection);
            }
        }
        assert!(
            !held.is_empty(),
            "no view has a file that begins with {beginning}"
        );
        Self(held)
    }

    async fn release(self) {
        for mut connection in self.0 {
            sqlx::raw_sql("ROLLBACK")
                .execute(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
        }
    }
}

/// Waits until every view shows everything.
async fn all_shown(admin: &Client) {
    eventually("the views keep up", async || {
        let views = admin.get_path("/api/hansard/v1/views").await.expect_ok();
        let mut views = views["views"].as_array().unwrap().iter();
        views.all(|view| view["lag"] == 0)
    })
    .await;
}

#[tokio::test]
async fn what_was_recorded_is_answered_as_done_although_no_view_has_it() {
    let options = || {
        Options::default()
            .setting("Accounts_RegistrationForm", "Public")
            .setting("Accounts_AllowDeleteOwnAccount", "true")
    };
    let keeping_up = Server::start_with(options()).await;
    let standing_still = Server::start_with(options()).await;
    let (mut right, mut late) = (Teller::default(), Teller::default());
    let there = prepare(&keeping_up).await;
    tell_everything(&keeping_up, &there, &mut right).await;

    let there = prepare(&standing_still).await;
    all_shown(&there.admin).await;
    let held = Held::all(&standing_still.data().join("views")).await;
    tell_everything(&standing_still, &there, &mut late).await;

    let forms = Forms::new();
    assert_eq!(right.told.len(), late.told.len());
    let (mut differences, mut behind) = (Vec::new(), 0);
    for (right, late) in right.told.iter().zip(&late.told) {
        let of = &right.operation;
        assert_eq!(of, &late.operation);
        if right.status != 200 || late.status != 200 {
            differences.push(format!("{of}: {right:?} but {late:?}"));
        }
        let (right, late_body) = (forms.of(&right.body), forms.of(&late.body));
        compare(of, &right, &late_body, &mut differences);
        behind += usize::from(late.behind);
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
    assert!(behind > 0, "nothing says that views are behind");

    // Deletions wait a while for their erasure, and are answered as done all the same.
    let deletions = tell_of_deletions(&there).await;
    for (operation, answer) in &deletions {
        assert_eq!(answer.status, 200, "{operation}: {}", answer.body);
    }

    let deletions = deletions
        .iter()
        .map(|(operation, _)| format!("POST {operation}"));
    let mut asked: BTreeSet<_> = late.told.into_iter().map(|told| told.operation).collect();
    asked.extend(deletions);
    asked.extend(ABOUT_VIEWS.map(str::to_owned));
    let operations = document::operations().into_iter();
    let recording = operations.filter(|operation| operation.method != "GET");
    let recording: BTreeSet<_> = recording.map(|operation| operation.name()).collect();
    assert_eq!(asked, recording, "every operation that records is asked");

    // And when the views go on they have it all.
    held.release().await;
    let users = there.admin.get("users.list?count=100").await.expect_ok();
    let users = users["users"].as_array().unwrap().iter();
    let names: Vec<&Value> = users.map(|user| &user["username"]).collect();
    assert!(names.contains(&&json!("lady.o")), "{names:?}");
    assert!(!names.contains(&&json!("spare")), "{names:?}");
}

#[tokio::test]
async fn a_prune_is_answered_although_a_view_keeps_its_files() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let attic = admin.channel("attic").await;
    admin.say(&attic, "xylophone").await;
    all_shown(&admin).await;
    let searched = json!({ "roomId": attic, "oldest": "2020-01-01T00:00:00.000Z", "latest": "2099-01-01T00:00:00.000Z" });
    // All but those that a prune asks what there is.
    let views = server.data().join("views");
    let held = Held::some(&views, "search-").await;
    let pruned = admin.post("rooms.cleanHistory", searched).await.expect_ok();
    assert_eq!(pruned["count"], 1, "{pruned}");
    assert_eq!(pruned["erasing"], true, "{pruned}");
    held.release().await;
    let history = admin
        .get(&format!("channels.history?roomId={attic}"))
        .await
        .expect_ok();
    assert_eq!(
        history["messages"].as_array().map(Vec::len),
        Some(0),
        "{history}"
    );
}

#[tokio::test]
async fn who_was_put_out_while_its_answer_waited_gets_nothing_that_came_after() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (bob, carol) = (server.user("bob").await, server.user("carol").await);
    let dave = server.user("dave").await;
    let members = json!({ "name": "board", "members": ["bob", "carol", "dave"] });
    let board = admin.post("groups.create", members).await.expect_ok();
    let board = board["group"]["_id"].as_str().unwrap().to_owned();
    let moderates = json!({ "roomId": board, "userId": dave.user_id() });
    let moderates = admin.post("groups.addModerator", moderates).await;
    moderates.expect_ok();
    let head = admin.say(&board, "first").await["_id"].clone();
    let head = head.as_str().unwrap();
    let reply = json!({ "message": { "rid": board, "tmid": head, "msg": "a reply" } });
    admin.post("chat.sendMessage", reply).await.expect_ok();
    let looks = [
        format!("groups.history?roomId={board}"),
        format!("groups.history?roomId={board}&offset=1"),
        format!("groups.messages?roomId={board}&offset=1"),
        format!("chat.search?roomId={board}&searchText=after"),
        format!("chat.syncMessages?roomId={board}&lastUpdate=2020-01-01T00:00:00.000Z"),
        format!("chat.getThreadMessages?tmid={head}"),
        format!("rooms.info?roomId={board}"),
        format!("groups.members?roomId={board}"),
    ];
    let pin = json!({ "messageId": head });
    admin.post("chat.pinMessage", pin.clone()).await.expect_ok();
    // A channel that is a group after that, and somebody who is in neither.
    let eve = server.user("eve").await;
    let square = admin.channel("square").await;
    let outside = [
        format!("channels.history?roomId={square}"),
        format!("channels.messages?roomId={square}"),
    ];
    // What is answered without the room.
    let lists = [
        "rooms.get",
        "groups.list",
        "channels.list",
        "directory?query={\"type\":\"channels\"}",
    ];
    all_shown(&admin).await;
    for client in [&bob, &carol] {
        for look in looks.iter().map(String::as_str).chain(lists) {
            client.get(look).await.expect_ok();
        }
    }
    for look in &outside {
        eve.get(look).await.expect_ok();
    }

    let held = Held::all(&server.data().join("views")).await;
    // From here on every look waits for what was just said.
    admin.say(&board, "before").await;
    let of_members = [&bob, &carol]
        .into_iter()
        .flat_map(|client| looks.iter().map(move |look| (client.clone(), look.clone())));
    let of_eve = outside.iter().map(|look| (eve.clone(), look.clone()));
    let lists = lists.map(|list| (list, bob.clone()));
    let of_eve_too = (lists[3].0, eve.clone());
    let listing: Vec<_> = lists
        .into_iter()
        .chain([of_eve_too])
        .map(|(list, client)| tokio::spawn(async move { client.get(list).await }))
        .collect();
    let waiting: Vec<_> = of_members
        .chain(of_eve)
        .map(|(client, look)| tokio::spawn(async move { (client.get(&look).await, look) }))
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // What changes something is answered with the room, as far as it may be seen then.
    let renaming = {
        let name = json!({ "roomId": board, "name": "the-board" });
        let dave = dave.clone();
        tokio::spawn(async move { dave.post("groups.rename", name).await })
    };
    // Nothing is recorded of what is pinned already: it is answered as it stands.
    let pinning = {
        let dave = dave.clone();
        tokio::spawn(async move { dave.post("chat.pinMessage", pin).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    for kicked in [&bob, &dave] {
        let kick = json!({ "roomId": board, "userId": kicked.user_id() });
        admin.post("groups.kick", kick).await.expect_ok();
    }
    carol.post("logout", json!({})).await.expect_ok();
    let private = json!({ "roomId": square, "type": "p" });
    admin.post("channels.setType", private).await.expect_ok();
    admin.say(&board, "said after that").await;
    admin.say(&square, "said after that").await;
    let edit = json!({ "roomId": board, "msgId": head, "text": "said after that" });
    admin.post("chat.update", edit).await.expect_ok();
    let topic = json!({ "roomId": square, "topic": "said after that" });
    admin.post("groups.setTopic", topic).await.expect_ok();
    held.release().await;
    for look in waiting {
        let (answer, look) = look.await.unwrap();
        let status = answer.status.as_u16();
        assert!([400, 401, 403].contains(&status), "{look}: {answer:?}");
        assert!(!answer.body.to_string().contains("after that"), "{look}");
    }
    let renamed = renaming.await.unwrap().expect_ok();
    assert!(!renamed.to_string().contains("after that"), "{renamed}");
    let pinned = pinning.await.unwrap();
    assert_eq!(pinned.status.as_u16(), 400, "{pinned:?}");
    for list in listing {
        let answer = list.await.unwrap().expect_ok();
        assert!(!answer.to_string().contains("after that"), "{answer}");
    }
}

#[tokio::test]
async fn a_message_leaves_a_placeholder_where_it_is_not_known_whether_there_are_replies() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let bob = admin.member("bob").await;
    let head = admin.say("GENERAL", "the head").await["_id"].clone();
    let head = head.as_str().unwrap();
    all_shown(&admin).await;
    let held = Held::some(&server.data().join("views"), "messages").await;
    let reply = json!({ "message": { "rid": "GENERAL", "tmid": head, "msg": "a reply" } });
    bob.post("chat.sendMessage", reply).await.expect_ok();
    let deletion = json!({ "roomId": "GENERAL", "msgId": head });
    admin.post("chat.delete", deletion).await.expect_ok();
    held.release().await;
    all_shown(&admin).await;
    let replies = bob
        .get(&format!("chat.getThreadMessages?tmid={head}"))
        .await;
    let replies = replies.expect_ok();
    assert_eq!(replies["messages"][0]["msg"], "a reply", "{replies}");
    let history = bob.get("channels.history?roomId=GENERAL").await.expect_ok();
    let left = history["messages"].as_array().unwrap().iter();
    let left = left.filter(|message| message["_id"] == head);
    assert!(
        left.clone().count() == 1 && !history.to_string().contains("the head"),
        "{history}"
    );
}
