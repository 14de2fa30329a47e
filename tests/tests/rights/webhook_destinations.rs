//! What an integration names is a room or a person, and stays that one whatever it is called later.

use hansard_tests::receiver::Receiver;
use hansard_tests::server::{Answer, Client, Options, Server, at_last, eventually};
use reqwest::Method;
use serde_json::{Value, json};

fn open_to_this_machine() -> Options {
    Options::default().setting("Hansard_Webhook_Allow_Private_Addresses", "true")
}

async fn group(owner: &Client, name: &str) -> String {
    let group = json!({ "name": name, "members": ["rocket.cat"] });
    let made = owner.post("groups.create", group).await.expect_ok();
    made["group"]["_id"].as_str().unwrap().to_owned()
}

async fn rename(owner: &Client, group: &str, name: &str) {
    let renamed = json!({ "roomId": group, "name": name });
    owner.post("groups.rename", renamed).await.expect_ok();
}

/// Somebody takes another username.
async fn called(user: &Client, username: &str) {
    let named = json!({ "data": { "username": username } });
    let answer = user.post("users.updateOwnBasicInfo", named).await;
    answer.expect_ok();
}

async fn incoming(admin: &Client, channel: &str) -> Value {
    let asked = json!({
        "type": "webhook-incoming", "name": "in", "enabled": true, "username": "rocket.cat",
        "channel": channel, "scriptEnabled": false, "overrideDestinationChannelEnabled": true,
    });
    let mut made = admin.post("integrations.create", asked).await.expect_ok();
    made["integration"].take()
}

/// Asks for an outgoing webhook on what is said in `#board`, whose answers go to a room.
async fn outgoing(admin: &Client, url: &str, target: &str) -> Answer {
    let asked = json!({
        "type": "webhook-outgoing", "name": "out", "enabled": true, "username": "rocket.cat",
        "scriptEnabled": false, "event": "sendMessage", "channel": "#board", "targetRoom": target,
        "urls": [url],
    });
    admin.post("integrations.create", asked).await
}

async fn shown(viewer: &Client, integration: &Value) -> Value {
    let id = integration["_id"].as_str().unwrap();
    let path = format!("integrations.get?integrationId={id}");
    viewer.get(&path).await.expect_ok()["integration"].take()
}

/// What it names is shown so at last: whoever renamed it is another client.
async fn names(admin: &Client, integration: &Value, member: &str, name: Value) {
    eventually("it is shown as it is called", async || {
        shown(admin, integration).await[member] == name
    })
    .await;
}

/// Posts through an incoming webhook.
async fn hook(admin: &Client, integration: &Value, payload: Value) -> (u16, Value) {
    let part = |name: &str| integration[name].as_str().unwrap();
    let path = format!("/hooks/{}/{}", part("_id"), part("token"));
    let answer = admin.request(Method::POST, &path).json(&payload);
    let answer = admin.answer(answer).await;
    (answer.status.as_u16(), answer.body)
}

async fn posted(admin: &Client, integration: &Value, text: &str) {
    let (status, answer) = hook(admin, integration, json!({ "text": text })).await;
    assert_eq!(status, 200, "{answer}");
}

/// What is posted is refused at last, and what is to be done is said.
async fn is_refused(admin: &Client, integration: &Value) {
    let answer = at_last("it is refused", async || {
        let (status, answer) = hook(admin, integration, json!({ "text": "lost" })).await;
        (status == 400).then_some(answer)
    })
    .await;
    let error = answer["error"].as_str().unwrap();
    assert!(
        error.contains("is gone") && error.contains("save it with a channel that is there"),
        "{error}"
    );
}

/// What stands in a room, its notices left out.
async fn said(reader: &Client, history: &str) -> Vec<String> {
    let history = reader.get(history).await.expect_ok();
    let messages = history["messages"].as_array().unwrap().iter();
    messages
        .filter(|message| message["t"].is_null())
        .map(|message| message["msg"].as_str().unwrap().to_owned())
        .collect()
}

async fn is_said(reader: &Client, history: &str, texts: &[&str]) {
    eventually("it is said", async || said(reader, history).await == texts).await;
}

/// What somebody was told in direct conversations.
async fn told(user: &Client) -> Vec<String> {
    let conversations = user.get("im.list").await.expect_ok();
    let mut told = Vec::new();
    for conversation in conversations["ims"].as_array().unwrap() {
        let id = conversation["_id"].as_str().unwrap();
        told.extend(said(user, &format!("im.history?roomId={id}")).await);
    }
    told
}

#[tokio::test]
async fn what_comes_in_goes_to_the_room_that_was_named_and_to_no_other_of_its_name() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (alice, carol) = (server.user("alice").await, server.user("carol").await);
    let alerts = group(&alice, "alerts").await;
    let integration = incoming(&admin, "#alerts").await;
    assert_eq!(integration["channel"], json!(["#alerts"]));

    rename(&alice, &alerts, "operations").await;
    let taken = carol.channel("alerts").await;
    posted(&admin, &integration, "disk full").await;
    let of_group = format!("groups.history?roomId={alerts}");
    is_said(&alice, &of_group, &["disk full"]).await;
    let of_channel = format!("channels.history?roomId={taken}");
    assert!(said(&carol, &of_channel).await.is_empty());

    // Saved as it is shown, it stays there.
    names(&admin, &integration, "channel", json!(["#operations"])).await;
    let as_shown = shown(&admin, &integration).await;
    assert_eq!(as_shown["heldBack"], Value::Null);
    let saved = json!({
        "integrationId": integration["_id"], "type": "webhook-incoming", "name": "in",
        "enabled": true, "channel": as_shown["channel"][0], "scriptEnabled": false,
    });
    let saved = admin
        .request(Method::PUT, "/api/v1/integrations.update")
        .json(&saved);
    admin.answer(saved).await.expect_ok();
    posted(&admin, &integration, "disk empty").await;
    is_said(&alice, &of_group, &["disk empty", "disk full"]).await;

    // Whoever posts names a room as it is called now.
    let named = json!({ "text": "hello", "channel": "#alerts" });
    assert_eq!(hook(&admin, &integration, named).await.0, 200);
    is_said(&carol, &of_channel, &["hello"]).await;

    let gone = json!({ "roomId": alerts });
    alice.post("groups.delete", gone).await.expect_ok();
    carol.channel("operations").await;
    is_refused(&admin, &integration).await;
    let as_shown = shown(&admin, &integration).await;
    assert_eq!(as_shown["heldBack"], "destinationGone");
    assert_eq!(as_shown["channel"], json!([format!("#{alerts}")]));
}

#[tokio::test]
async fn what_comes_in_goes_to_the_person_that_was_named_and_to_nobody_else_of_its_name() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (bob, carol) = (server.user("bob").await, server.user("carol").await);
    let integration = incoming(&admin, "@bob").await;
    posted(&admin, &integration, "one").await;
    called(&bob, "robert").await;
    called(&carol, "bob").await;
    posted(&admin, &integration, "two").await;
    eventually("bob is told", async || told(&bob).await == ["two", "one"]).await;
    assert!(told(&carol).await.is_empty());
    names(&admin, &integration, "channel", json!(["@robert"])).await;

    let active = |active: bool| json!({ "userId": bob.user_id(), "activeStatus": active, "confirmRelinquish": true });
    let set = "users.setActiveStatus";
    admin.post(set, active(false)).await.expect_ok();
    is_refused(&admin, &integration).await;
    admin.post(set, active(true)).await.expect_ok();
    posted(&admin, &integration, "three").await;
    let gone = json!({ "userId": bob.user_id(), "confirmRelinquish": true });
    admin.post("users.delete", gone).await.expect_ok();
    called(&carol, "robert").await;
    is_refused(&admin, &integration).await;
    assert!(told(&carol).await.is_empty());
}

#[tokio::test]
async fn an_outgoing_webhook_hears_the_room_that_was_named_and_answers_into_it() {
    let server = Server::start_with(open_to_this_machine()).await;
    let admin = server.admin().await;
    let (alice, carol) = (server.user("alice").await, server.user("carol").await);
    let receiver = Receiver::start().await;
    receiver.answer(&json!({ "text": "noted" }));
    let (board, log) = (group(&alice, "board").await, group(&alice, "log").await);
    let refused = outgoing(&admin, &receiver.url(), "#nowhere").await;
    assert_eq!(refused.expect_error(400), "error-invalid-targetRoom");
    let made = outgoing(&admin, &receiver.url(), "#log").await.expect_ok();
    let integration = &made["integration"];

    rename(&alice, &board, "garden").await;
    rename(&alice, &log, "diary").await;
    let (taken, taken_too) = (carol.channel("board").await, carol.channel("log").await);
    carol.say(&taken, "to whom it may concern").await;
    alice.say(&board, "between us").await;
    receiver.has(1).await;
    let of_log = format!("groups.history?roomId={log}");
    is_said(&alice, &of_log, &["noted"]).await;
    assert_eq!(receiver.texts(), ["between us"]);
    let of_channel = format!("channels.history?roomId={taken_too}");
    assert!(said(&carol, &of_channel).await.is_empty());
    names(&admin, integration, "channel", json!(["#garden"])).await;
    names(&admin, integration, "targetRoom", json!("#diary")).await;

    // What is gone is not made up for by another room.
    let gone = json!({ "roomId": log });
    alice.post("groups.delete", gone).await.expect_ok();
    alice.say(&board, "and now").await;
    let id = integration["_id"].as_str().unwrap();
    let path = format!("integrations.history?id={id}");
    let newest = at_last("the second is delivered", async || {
        let history = admin.get(&path).await.expect_ok();
        let newest = &history["history"][0];
        let done = history["total"] == 2 && newest["state"] == "delivered";
        done.then(|| newest.clone())
    })
    .await;
    assert_eq!(newest["answerHeldBack"], "destinationGone");
    let path = format!("/api/hansard/v1/deliveries?integration={id}");
    let deliveries = admin.get_path(&path).await.expect_ok();
    let why = deliveries["deliveries"].as_array().unwrap().iter();
    let why: Vec<_> = why.map(|delivery| &delivery["answerHeldBack"]).collect();
    assert_eq!(why, [&json!("destinationGone"), &Value::Null]);
    let of_board = format!("groups.history?roomId={board}");
    is_said(&alice, &of_board, &["and now", "between us"]).await;
}
