//! Nobody gets what is meant for somebody else by being called like an id, or like something that was.

use hansard_tests::server::{Client, Options, Server};
use reqwest::Method;
use serde_json::{Value, json};

async fn conversation(client: &Client, username: &str) -> String {
    let opened = client.post("im.create", json!({ "username": username }));
    let room = opened.await.expect_ok();
    room["room"]["_id"].as_str().unwrap().to_owned()
}

async fn group(client: &Client, name: &str) -> String {
    let made = client.post("groups.create", json!({ "name": name })).await;
    made.expect_ok()["group"]["_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The same letters in the other case: another word, and the same name.
fn alike(id: &str) -> String {
    let lower = id.to_lowercase();
    if lower == id {
        id.to_uppercase()
    } else {
        lower
    }
}

async fn register(server: &Server, username: &str) -> hansard_tests::server::Answer {
    let form = json!({
        "username": username, "name": "Bob", "email": format!("{username}@example.org"),
        "pass": "a long secret of somebody",
    });
    server.anonymous().post("users.register", form).await
}

fn texts(page: &Value) -> Vec<&str> {
    let messages = page["messages"].as_array().unwrap().iter();
    messages
        .map(|message| message["msg"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn nobody_and_no_room_is_called_like_an_id() {
    let options = Options::default().setting("Accounts_RegistrationForm", "Public");
    let server = Server::start_with(options).await;
    let admin = server.admin().await;
    let alice = admin.member("alice").await;
    let bob = admin.member("bob").await;
    let gone = admin.member("gone").await;
    let both = conversation(&alice, "bob").await;
    let room = group(&alice, "attic").await;
    let deleted = group(&alice, "cellar").await;
    let delete = json!({ "roomId": deleted });
    alice.post("groups.delete", delete).await.expect_ok();
    let delete = json!({ "userId": gone.user_id(), "confirmRelinquish": true });
    admin.post("users.delete", delete).await.expect_ok();
    // Whether two talk is not told: they never did.
    let untold = format!("{}{}", bob.user_id(), admin.user_id());

    let mine = alice.channel("hall").await;
    for id in [
        alice.user_id(),
        gone.user_id(),
        &both,
        &room,
        &deleted,
        &untold,
    ] {
        let form = register(&server, id).await;
        assert_eq!(form.status, 400, "{id}");
        assert_eq!(form.body["error"], "Username is already in use", "{id}");
        let new = json!({
            "username": id, "name": "Bob", "email": "bob@example.com", "password": "a long secret",
        });
        let new = admin.post("users.create", new).await;
        assert_eq!(new.expect_error(400), "error-field-unavailable", "{id}");
        let change = json!({ "data": { "username": id } });
        let change = alice.post("users.updateOwnBasicInfo", change).await;
        assert_eq!(change.status, 400, "{id}: {}", change.body);
        let free = format!("users.checkUsernameAvailability?username={id}");
        assert_eq!(alice.get(&free).await.expect_ok()["result"], false, "{id}");

        for operation in ["channels.create", "groups.create"] {
            let named = alice.post(operation, json!({ "name": id })).await;
            assert_eq!(named.expect_error(400), "error-invalid-room-name", "{id}");
        }
        let rename = json!({ "roomId": mine, "name": id });
        let renamed = alice.post("channels.rename", rename).await;
        assert_eq!(renamed.expect_error(400), "error-invalid-room-name", "{id}");
    }
    // The oldest channel has an id that is a word, which is nobody else's name, but may be its own.
    let rename = json!({ "roomId": "GENERAL", "name": "GENERAL" });
    admin.post("channels.rename", rename).await.expect_ok();
}

#[tokio::test]
async fn a_conversation_is_found_by_its_id_whoever_is_called_so() {
    let options = Options::default().setting("Accounts_RegistrationForm", "Public");
    let server = Server::start_with(options).await;
    let admin = server.admin().await;
    let alice = admin.member("alice").await;
    let bob = admin.member("bob").await;
    let room = conversation(&alice, "bob").await;
    bob.say(&room, "from bob").await;
    let name = alike(&room);
    register(&server, &name).await.expect_ok();
    let impostor = server.login(&name, "a long secret of somebody").await;
    let forged = conversation(&impostor, "alice").await;
    impostor.say(&forged, "forged").await;

    for prefix in ["im", "dm"] {
        for operation in ["history", "messages"] {
            let page = format!("{prefix}.{operation}?roomId={room}");
            for reader in [&alice, &bob] {
                let page = reader.get(&page).await.expect_ok();
                assert_eq!(texts(&page), ["from bob"], "{operation}");
            }
        }
        let members = format!("{prefix}.members?roomId={room}");
        let members = alice.get(&members).await.expect_ok();
        let named: Vec<_> = members["members"]
            .as_array()
            .unwrap()
            .iter()
            .map(|member| member["username"].as_str().unwrap())
            .collect();
        assert_eq!(named, ["alice", "bob"]);
    }
    // Nothing was opened by looking.
    assert_eq!(bob.get("im.list").await.expect_ok()["total"], 1);

    let close = json!({ "roomId": room });
    alice.post("im.close", close.clone()).await.expect_ok();
    let listed = alice.get("subscriptions.get").await.expect_ok();
    for subscription in listed["update"].as_array().unwrap() {
        let theirs = subscription["rid"] == room;
        assert!(!theirs || subscription["open"] == false, "{subscription}");
    }
    alice.post("im.open", close.clone()).await.expect_ok();

    admin.post("im.delete", close).await.expect_ok();
    let info = format!("rooms.info?roomId={forged}");
    alice.get(&info).await.expect_ok();
    for reader in [&alice, &bob] {
        let page = format!("im.history?roomId={room}");
        assert_eq!(reader.get(&page).await.status, 400);
        let info = format!("rooms.info?roomId={room}");
        assert_eq!(reader.get(&info).await.status, 400);
    }
}

#[tokio::test]
async fn what_is_posted_to_an_id_reaches_its_owner_whatever_a_room_is_called() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let bob = admin.member("bob").await;
    let gone = admin.member("gone").await;
    let carol = admin.member("carol").await;
    let notifier = admin.member("notifier").await;
    let old = group(&admin, "cellar").await;
    let delete = json!({ "roomId": old });
    admin.post("groups.delete", delete).await.expect_ok();
    let delete = json!({ "userId": gone.user_id(), "confirmRelinquish": true });
    admin.post("users.delete", delete).await.expect_ok();
    let mut traps = Vec::new();
    for id in [bob.user_id(), gone.user_id(), &old] {
        traps.push(carol.channel(&alike(id)).await);
    }
    let hook = json!({
        "type": "webhook-incoming", "name": "in", "enabled": true, "username": "notifier",
        "channel": "#general", "scriptEnabled": false, "overrideDestinationChannelEnabled": true,
    });
    let hook = admin.post("integrations.create", hook).await.expect_ok();
    let part = |name: &str| hook["integration"][name].as_str().unwrap();
    let hook = format!("/hooks/{}/{}", part("_id"), part("token"));

    for field in ["channel", "roomId"] {
        let mut post = json!({ "text": "between us" });
        post[field] = bob.user_id().into();
        let posted = notifier.post("chat.postMessage", post.clone()).await;
        let room = posted.expect_ok()["message"]["rid"].take();
        let page = format!("im.history?roomId={}", room.as_str().unwrap());
        let before = bob.get(&page).await.expect_ok();
        let before = texts(&before).len();
        let request = server.anonymous().request(Method::POST, &hook).json(&post);
        notifier.answer(request).await.expect_ok();
        let after = bob.get(&page).await.expect_ok();
        assert_eq!(texts(&after).len(), before + 1);

        for id in [gone.user_id(), &old] {
            for word in [id.to_owned(), format!("#{id}"), format!("@{id}")] {
                let mut post = json!({ "text": "between us" });
                post[field] = word.into();
                let posted = notifier.post("chat.postMessage", post).await;
                assert_eq!(posted.expect_error(400), "invalid-channel");
            }
        }
    }
    for trap in &traps {
        let page = format!("channels.messages?roomId={trap}");
        let page = carol.get(&page).await.expect_ok();
        let said = page["messages"].as_array().unwrap().iter();
        let said: Vec<_> = said.filter(|said| said["t"].is_null()).collect();
        assert!(said.is_empty(), "{said:?}");
    }
}
