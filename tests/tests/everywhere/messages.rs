//! Messages as a client meets them: sent, changed, marked, listed, found, deleted.

use hansard_tests::server::{Client, Options, Server, files_with};
use serde_json::{Value, json};

fn ids(messages: &Value) -> Vec<&str> {
    let messages = messages.as_array().expect("a list of messages");
    messages
        .iter()
        .map(|it| it["_id"].as_str().unwrap())
        .collect()
}

async fn send(client: &Client, message: Value) -> Value {
    let body = json!({ "message": message });
    client.post("chat.sendMessage", body).await.expect_ok()["message"].take()
}

async fn found(client: &Client, room: &str, text: &str) -> Vec<String> {
    let text: String = form(text);
    let path = format!("chat.search?roomId={room}&searchText={text}");
    let answer = client.get(&path).await.expect_ok();
    let ids = ids(&answer["messages"]);
    ids.into_iter().map(str::to_owned).collect()
}

fn form(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_message_reads_back_in_the_history_as_it_was_answered() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("talk").await;
    let text = "hello \"you\" \\ \u{1F600} https://example.org/a?b=c";
    let sent = admin.say(&room, text).await;
    assert_eq!(sent["msg"], text);
    assert_eq!(sent["rid"], room);
    assert_eq!(sent["u"]["username"], "admin");
    assert_eq!(sent["urls"][0]["url"], "https://example.org/a?b=c");

    let history = admin
        .get(&format!("channels.history?roomId={room}"))
        .await
        .expect_ok();
    assert_eq!(history["messages"][0], sent);
    let path = format!("chat.getMessage?msgId={}", sent["_id"].as_str().unwrap());
    assert_eq!(admin.get(&path).await.expect_ok()["message"], sent);
}

#[tokio::test]
async fn sending_the_same_id_again_is_the_same_message() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("talk").await;
    let mary = server.user("mary").await;
    for id in ["aBcDeFgHiJkLmN017", "mine-1"] {
        let message = json!({ "_id": id, "rid": room, "msg": id });
        let first = send(&admin, message.clone()).await;
        let again = send(&admin, message.clone()).await;
        assert_eq!(first, again);

        let body = json!({ "message": message });
        let refused = mary.post("chat.sendMessage", body).await.expect_error(400);
        assert_eq!(refused, "error-message-exists");
        let path = format!("channels.messages?roomId={room}");
        let listed = admin.get(&path).await.expect_ok();
        let once = listed["messages"].as_array().unwrap().iter();
        assert_eq!(once.filter(|it| it["msg"] == id).count(), 1);
    }
}

#[tokio::test]
async fn an_id_that_says_something_is_understood_and_kept_nowhere() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("talk").await;
    let called = "marigold-zanzibar";
    let message = json!({ "_id": called, "rid": room, "msg": "hello" });
    let sent = send(&admin, message).await;
    let id = sent["_id"].as_str().unwrap();
    assert_eq!(id.len(), 17);
    let path = format!("chat.getMessage?msgId={called}");
    assert_eq!(admin.get(&path).await.expect_ok()["message"], sent);

    let reply = json!({ "_id": "reply-zanzibar", "rid": room, "msg": "hi", "tmid": called });
    let reply = send(&admin, reply).await;
    assert_eq!(reply["tmid"], id);
    let replies = format!("chat.getThreadMessages?tmid={called}");
    let replies = admin.get(&replies).await.expect_ok();
    assert_eq!(replies["messages"][0]["_id"], reply["_id"]);
    for (operation, body) in [
        (
            "chat.react",
            json!({ "messageId": called, "emoji": "smile" }),
        ),
        ("chat.pinMessage", json!({ "messageId": called })),
        ("chat.starMessage", json!({ "messageId": called })),
        (
            "chat.reportMessage",
            json!({ "messageId": called, "description": "rude" }),
        ),
        ("chat.followMessage", json!({ "mid": called })),
        (
            "chat.update",
            json!({ "roomId": room, "msgId": called, "text": "good evening" }),
        ),
        ("chat.delete", json!({ "roomId": room, "msgId": called })),
    ] {
        admin.post(operation, body).await.expect_ok();
    }
    let found = files_with(&server.data(), "zanzibar");
    assert_eq!(found, Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn only_those_who_see_a_room_write_and_read_in_it() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let body = json!({ "name": "closed" });
    let group = admin.post("groups.create", body).await.expect_ok();
    let room = group["group"]["_id"].as_str().unwrap().to_owned();
    let sent = admin.say(&room, "between us").await;
    let id = sent["_id"].as_str().unwrap();

    let body = json!({ "message": { "rid": room, "msg": "me too" } });
    assert_eq!(mary.post("chat.sendMessage", body).await.status, 400);
    let read = mary.get(&format!("chat.getMessage?msgId={id}")).await;
    assert_eq!(read.body, json!({ "success": false }));
    let search = mary
        .get(&format!("chat.search?roomId={room}&searchText=between"))
        .await;
    assert_eq!(search.expect_error(400), "error-not-allowed");
    let elsewhere = mary.get("chat.search?roomId=GENERAL&searchText=in:closed%20between");
    assert_eq!(elsewhere.await.expect_ok()["messages"], json!([]));
    let body = json!({ "messageId": id, "emoji": "smile" });
    assert_eq!(
        mary.post("chat.react", body).await.expect_error(400),
        "error-message-not-found"
    );
}

#[tokio::test]
async fn a_text_is_changed_by_its_author_and_found_by_its_new_words() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let joe = server.user("joe").await;
    let room = admin.channel("talk").await;
    let sent = mary.say(&room, "an apple a day").await;
    let id = sent["_id"].as_str().unwrap();
    assert_eq!(found(&mary, &room, "apple").await, [id]);

    let edit = json!({ "roomId": room, "msgId": id, "text": "a pear a day" });
    let refused = joe
        .post("chat.update", edit.clone())
        .await
        .expect_error(400);
    assert_eq!(refused, "error-action-not-allowed");
    let edited = mary.post("chat.update", edit).await.expect_ok();
    assert_eq!(edited["message"]["msg"], "a pear a day");
    assert_eq!(edited["message"]["editedBy"]["username"], "mary");
    assert_eq!(found(&mary, &room, "apple").await, [""; 0]);
    assert_eq!(found(&mary, &room, "from:mary pear").await, [id]);
}

#[tokio::test]
async fn a_deleted_message_is_gone_and_clients_that_were_away_are_told() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("talk").await;
    let sent = admin.say(&room, "ephemeral").await;
    let id = sent["_id"].as_str().unwrap();
    let since = sent["ts"].as_str().unwrap();
    let body = json!({ "roomId": room, "msgId": id });
    admin.post("chat.delete", body).await.expect_ok();

    assert_eq!(
        admin
            .get(&format!("chat.getMessage?msgId={id}"))
            .await
            .status,
        400
    );
    assert_eq!(found(&admin, &room, "ephemeral").await, [""; 0]);
    let path = format!("chat.getDeletedMessages?roomId={room}&since={since}");
    let deleted = admin.get(&path).await.expect_ok();
    assert_eq!(ids(&deleted["messages"]), [id]);
    let path = format!("chat.syncMessages?roomId={room}&lastUpdate={since}");
    let changes = admin.get(&path).await.expect_ok();
    assert_eq!(ids(&changes["result"]["deleted"]), [id]);
}

#[tokio::test]
async fn marks_are_listed_and_a_star_is_ones_own() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let room = admin.channel("talk").await;
    let body = json!({ "roomId": room });
    mary.post("channels.join", body).await.expect_ok();
    let sent = admin.say(&room, "hello @mary").await;
    let id = sent["_id"].as_str().unwrap();
    let marked = json!({ "messageId": id });
    mary.post("chat.starMessage", marked.clone())
        .await
        .expect_ok();
    admin
        .post("chat.pinMessage", marked.clone())
        .await
        .expect_ok();
    let body = json!({ "messageId": id, "emoji": ":smile:" });
    mary.post("chat.react", body).await.expect_ok();

    for list in [
        "getStarredMessages",
        "getPinnedMessages",
        "getMentionedMessages",
    ] {
        let answer = mary
            .get(&format!("chat.{list}?roomId={room}"))
            .await
            .expect_ok();
        assert_eq!(ids(&answer["messages"]), [id], "{list}");
        assert_eq!(answer["total"], 1, "{list}");
    }
    let path = format!("chat.getMessage?msgId={id}");
    let seen = mary.get(&path).await.expect_ok();
    let message = &seen["message"];
    assert_eq!(message["starred"], json!([{ "_id": mary.user_id() }]));
    let smiles = json!({ ":smile:": { "usernames": ["mary"] } });
    assert_eq!(message["reactions"], smiles);
    assert!(
        admin.get(&path).await.expect_ok()["message"]
            .get("starred")
            .is_none()
    );

    mary.post("chat.unStarMessage", marked.clone())
        .await
        .expect_ok();
    admin.post("chat.unPinMessage", marked).await.expect_ok();
    for list in ["getStarredMessages", "getPinnedMessages"] {
        let answer = mary
            .get(&format!("chat.{list}?roomId={room}"))
            .await
            .expect_ok();
        assert_eq!(answer["total"], 0, "{list}");
    }
}

#[tokio::test]
async fn a_reply_to_nothing_is_refused() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let room = admin.channel("talk").await;
    let message = json!({ "rid": room, "msg": "private", "tmid": "ghost" });
    let refused = mary.post("chat.sendMessage", json!({ "message": message }));
    let error = refused.await.expect_error(400);
    assert!(error.contains("error-invalid-message"), "{error}");
    // Nor does it become one by sending that message later, somewhere else.
    let elsewhere = mary.channel("elsewhere").await;
    send(
        &mary,
        json!({ "_id": "ghost", "rid": elsewhere, "msg": "x" }),
    )
    .await;
    let history = format!("channels.history?roomId={room}");
    let history = admin.get(&history).await.expect_ok();
    assert!(!history.to_string().contains("private"));
    let thread = admin.get("chat.getThreadMessages?tmid=ghost").await;
    assert_eq!(thread.expect_ok()["messages"], json!([]));
}

#[tokio::test]
async fn a_reply_stands_in_its_thread() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let room = admin.channel("talk").await;
    let parent = admin.say(&room, "what do you think?").await;
    let parent = parent["_id"].as_str().unwrap();
    let reply = send(&mary, json!({ "rid": room, "msg": "good", "tmid": parent })).await;
    let reply = reply["_id"].as_str().unwrap();
    // A reply to a reply stands in the same thread.
    let second = send(&admin, json!({ "rid": room, "msg": "fine", "tmid": reply })).await;
    assert_eq!(second["tmid"], parent);

    let threads = admin
        .get(&format!("chat.getThreadsList?rid={room}"))
        .await
        .expect_ok();
    assert_eq!(ids(&threads["threads"]), [parent]);
    assert_eq!(threads["threads"][0]["tcount"], 2);
    let path = format!("chat.getThreadMessages?tmid={parent}");
    let replies = admin.get(&path).await.expect_ok();
    assert_eq!(
        ids(&replies["messages"]),
        [reply, second["_id"].as_str().unwrap()]
    );

    // The place of a message that a thread hangs on stays, its text does not.
    let body = json!({ "roomId": room, "msgId": parent });
    admin.post("chat.delete", body).await.expect_ok();
    let left = admin
        .get(&format!("chat.getMessage?msgId={parent}"))
        .await
        .expect_ok();
    assert_eq!(
        (&left["message"]["t"], &left["message"]["msg"]),
        (&json!("rm"), &json!(""))
    );
}

#[tokio::test]
async fn a_place_holder_in_a_thread_is_counted_off_once() {
    let options = Options::default().setting("Message_ShowDeletedStatus", "true");
    let server = Server::start_with(options).await;
    let admin = server.admin().await;
    let room = admin.channel("talk").await;
    let head = admin.say(&room, "the head").await["_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut replies = Vec::new();
    for text in ["first", "second", "third"] {
        let message = json!({ "rid": room, "msg": text, "tmid": head });
        let sent = admin
            .post("chat.sendMessage", json!({ "message": message }))
            .await;
        replies.push(sent.expect_ok()["message"].clone());
    }
    let delete = |id: &str| {
        let (admin, body) = (admin.clone(), json!({ "roomId": room, "msgId": id }));
        async move { admin.post("chat.delete", body).await.expect_ok() }
    };
    let shown = || async {
        let path = format!("chat.getMessage?msgId={head}");
        admin.get(&path).await.expect_ok()["message"].take()
    };
    for reply in &replies[1..] {
        delete(reply["_id"].as_str().unwrap()).await;
    }
    let counted = shown().await;
    assert_eq!(
        (&counted["tcount"], &counted["tlm"]),
        (&json!(1), &replies[0]["ts"])
    );

    let prune = json!({
        "roomId": room,
        "oldest": replies[1]["ts"],
        "latest": replies[2]["ts"],
        "inclusive": true,
    });
    let pruned = admin.post("rooms.cleanHistory", prune).await.expect_ok();
    // Nobody could read them any more.
    assert_eq!(pruned["count"], 0);
    assert_eq!(shown().await["tcount"], 1);

    // A thread still hangs on it, so its place stays.
    delete(&head).await;
    assert_eq!(shown().await["t"], "rm");
    let thread = admin
        .get(&format!("chat.getThreadMessages?tmid={head}"))
        .await
        .expect_ok();
    assert_eq!(thread["messages"][0]["msg"], "first");
}

#[tokio::test]
async fn a_thread_that_is_unread_is_listed_until_it_is_read_or_gone() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let room = admin.channel("talk").await;
    mary.post("channels.join", json!({ "roomId": room }))
        .await
        .expect_ok();
    let mut heads = Vec::new();
    for text in ["one", "two", "three"] {
        let head = mary.say(&room, text).await["_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let message = json!({ "rid": room, "msg": "a reply", "tmid": head });
        admin
            .post("chat.sendMessage", json!({ "message": message }))
            .await
            .expect_ok();
        heads.push(head);
    }
    let unread = || async {
        let path = format!("chat.getThreadsList?rid={room}&type=unread");
        let listed = mary.get(&path).await.expect_ok()["threads"].take();
        let path = format!("subscriptions.getOne?roomId={room}");
        let own = mary.get(&path).await.expect_ok()["subscription"]["tunread"].take();
        let ids = |list: &Value, id: fn(&Value) -> &Value| {
            let all = list.as_array().into_iter().flatten();
            let mut ids: Vec<_> = all.map(|it| id(it).as_str().unwrap().to_owned()).collect();
            ids.sort();
            ids
        };
        let (listed, own) = (ids(&listed, |it| &it["_id"]), ids(&own, |it| it));
        assert_eq!(listed, own);
        own
    };
    assert_eq!(unread().await, heads);
    // The room is read, its threads are not.
    mary.post("subscriptions.read", json!({ "rid": room }))
        .await
        .expect_ok();
    assert_eq!(unread().await, heads);
    mary.post("chat.unfollowMessage", json!({ "mid": heads[0] }))
        .await
        .expect_ok();
    assert_eq!(unread().await, heads[1..]);
    // Nobody can read what is gone.
    let at = admin
        .get(&format!("chat.getMessage?msgId={}", heads[1]))
        .await
        .expect_ok();
    let at = &at["message"]["ts"];
    let prune = json!({ "roomId": room, "oldest": at, "latest": at, "inclusive": true });
    admin.post("rooms.cleanHistory", prune).await.expect_ok();
    assert_eq!(unread().await, heads[2..]);
    let read = json!({ "rid": room, "readThreads": true });
    mary.post("subscriptions.read", read).await.expect_ok();
    assert_eq!(unread().await, [""; 0]);
}

#[tokio::test]
async fn a_post_finds_rooms_and_people_by_name() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let room = admin.channel("talk").await;
    let post = |channel: &str| json!({ "channel": channel, "text": "  to all of you " });
    let posted = mary
        .post("chat.postMessage", post("#talk"))
        .await
        .expect_ok();
    assert_eq!(posted["message"]["rid"], room);
    assert_eq!(posted["message"]["msg"], "to all of you");
    assert_eq!(posted["channel"], "#talk");

    let direct = mary
        .post("chat.postMessage", post("@admin"))
        .await
        .expect_ok();
    let again = admin
        .post("chat.postMessage", post("@mary"))
        .await
        .expect_ok();
    assert_eq!(direct["message"]["rid"], again["message"]["rid"]);
    let refused = mary.post("chat.postMessage", post("#nowhere")).await;
    assert_eq!(refused.body["error"], "[invalid-channel]");
}

#[tokio::test]
async fn every_message_of_many_senders_is_there_once_and_in_order() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("talk").await;
    let senders = (0..8).map(|sender| {
        let (admin, room) = (admin.clone(), room.clone());
        tokio::spawn(async move {
            for number in 0..25 {
                admin.say(&room, &format!("{sender}/{number}")).await;
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let mut texts: Vec<String> = Vec::new();
    // A page is longer where what was said last shares its time.
    while texts.len() < 200 {
        let offset = texts.len();
        let path = format!("channels.history?roomId={room}&count=100&offset={offset}");
        let page = admin.get(&path).await.expect_ok();
        let page = page["messages"].as_array().unwrap().clone();
        assert!(!page.is_empty(), "after {offset}");
        texts.extend(page.iter().map(|it| it["msg"].as_str().unwrap().to_owned()));
    }
    assert_eq!(texts.len(), 200);
    for sender in 0..8 {
        let own = texts
            .iter()
            .rev()
            .filter(|text| text.starts_with(&format!("{sender}/")));
        let expected: Vec<_> = (0..25).map(|number| format!("{sender}/{number}")).collect();
        assert_eq!(own.collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    }
}
