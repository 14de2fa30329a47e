//! Webhooks from outside: a server, a receiver that fails and comes back, and everything in order.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hansard_tests::receiver::{Received, Receiver};
use hansard_tests::server::{Client, Options, Server, at_last, eventually};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;

fn open_to_this_machine() -> Options {
    Options::default().setting("Hansard_Webhook_Allow_Private_Addresses", "true")
}

/// An incoming webhook into #general: its path.
async fn incoming(admin: &Client) -> String {
    let body = admin
        .post(
            "integrations.create",
            json!({
                "type": "webhook-incoming", "name": "in", "enabled": true,
                "username": "rocket.cat", "channel": "#general", "scriptEnabled": false,
            }),
        )
        .await
        .expect_ok();
    let integration = &body["integration"];
    let part = |name: &str| integration[name].as_str().unwrap().to_owned();
    format!("/hooks/{}/{}", part("_id"), part("token"))
}

/// An outgoing webhook on messages in #general.
async fn outgoing(admin: &Client, url: &str, more: Value) -> Value {
    let mut asked = json!({
        "type": "webhook-outgoing", "name": "out", "enabled": true, "event": "sendMessage",
        "username": "rocket.cat", "channel": "#general", "scriptEnabled": false, "urls": [url],
    });
    for (name, value) in more.as_object().unwrap() {
        asked[name] = value.clone();
    }
    let mut body = admin.post("integrations.create", asked).await.expect_ok();
    body["integration"].take()
}

async fn say(admin: &Client, hook: &str, text: &str) {
    let request = admin.request(Method::POST, hook);
    let text = json!({ "text": text });
    admin.answer(request.json(&text)).await.expect_ok();
}

async fn deliveries(admin: &Client, state: &str) -> Vec<Value> {
    let path = format!("/api/hansard/v1/deliveries?state={state}");
    let mut body = admin.get_path(&path).await.expect_ok();
    match body["deliveries"].take() {
        Value::Array(deliveries) => deliveries,
        other => panic!("no deliveries: {other}"),
    }
}

/// The delivery that there is at last.
async fn only_delivery(admin: &Client, state: &str) -> Value {
    at_last(state, async || {
        let mut deliveries = deliveries(admin, state).await;
        (deliveries.len() == 1).then(|| deliveries.remove(0))
    })
    .await
}

fn verify(integration: &Value, received: &Received) {
    let secret = integration["signingSecret"].as_str().unwrap();
    let key = BASE64_STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).unwrap();
    let Received {
        id,
        timestamp,
        text,
        ..
    } = received;
    mac.update(format!("{id}.{timestamp}.{text}").as_bytes());
    let expected = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    assert_eq!(received.signature, format!("v1,{expected}"));
}

#[tokio::test]
async fn a_receiver_that_fails_and_comes_back_gets_everything_in_order_and_signed() {
    let mut server = Server::start_with(open_to_this_machine()).await;
    let admin = server.admin().await;
    let receiver = Receiver::start().await;
    let hook = incoming(&admin).await;
    let retries = json!({
        "retryFailedCalls": true, "retryCount": 9, "retryDelay": "powers-of-ten",
    });
    let integration = outgoing(&admin, &receiver.url(), retries).await;

    receiver.fail(2);
    for text in ["one", "two", "three"] {
        say(&admin, &hook, text).await;
    }
    receiver.has(5).await;
    assert_eq!(receiver.texts(), ["one", "one", "one", "two", "three"]);
    let received = receiver.received();
    assert!(received[..3].iter().all(|again| again.id == received[0].id));
    assert_ne!(received[0].id, received[3].id);
    for received in &received {
        verify(&integration, received);
        assert_eq!(received.body["token"], integration["token"]);
        assert_eq!(received.body["channel_id"], "GENERAL");
        assert_eq!(received.body["channel_name"], "general");
        assert_eq!(received.body["user_name"], "rocket.cat");
    }

    // Killed while the receiver is away, the server finds what it owes.
    receiver.fail(1);
    say(&admin, &hook, "four").await;
    receiver.has(6).await;
    server.kill();
    server.launch();
    server.ready().await;
    receiver.has(7).await;
    // Once more, if it was killed between the answer and its record.
    assert!(receiver.texts()[5..].iter().all(|text| text == "four"));
    let received = receiver.received();
    assert!(received[5..].iter().all(|again| again.id == received[5].id));
    let admin = server.admin().await;
    eventually("all is delivered", async || {
        deliveries(&admin, "delivered").await.len() == 4
    })
    .await;
    eventually("nothing is owed", async || {
        deliveries(&admin, "pending").await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_is_shown_without_the_token_and_can_be_replayed() {
    let server = Server::start_with(open_to_this_machine()).await;
    let admin = server.admin().await;
    let receiver = Receiver::start().await;
    let hook = incoming(&admin).await;
    let once = json!({ "retryFailedCalls": false });
    let integration = outgoing(&admin, &receiver.url(), once).await;
    let id = integration["_id"].as_str().unwrap();

    receiver.fail(1);
    say(&admin, &hook, "lost?").await;
    let dead = only_delivery(&admin, "dead").await;
    assert_eq!(dead["status"], 503);
    assert_eq!(dead["exchange"]["response"], "not now");
    let token = integration["token"].as_str().unwrap();
    assert!(!dead.to_string().contains(token));

    let replay = json!({ "integrationId": id, "historyId": dead["id"] });
    let replayed = admin.post("integrations.replayOutgoing", replay).await;
    replayed.expect_ok();
    receiver.has(2).await;
    eventually("it is delivered", async || {
        deliveries(&admin, "delivered").await.len() == 1
    })
    .await;
    let history = at_last("it is in the history", async || {
        let history = admin.get(&format!("integrations.history?id={id}")).await;
        let history = history.expect_ok();
        (history["total"] == 1).then_some(history)
    })
    .await;
    assert_eq!(history["history"][0]["data"]["text"], "lost?");

    let clear = json!({ "integrationId": id });
    admin
        .post("integrations.clearHistory", clear)
        .await
        .expect_ok();
    let history = admin.get(&format!("integrations.history?id={id}")).await;
    assert_eq!(history.expect_ok()["total"], 0);
}

#[tokio::test]
async fn an_answer_is_posted_once_and_sets_nothing_off() {
    let server = Server::start_with(open_to_this_machine()).await;
    let admin = server.admin().await;
    let receiver = Receiver::start().await;
    let hook = incoming(&admin).await;
    receiver.answer(&json!({ "text": "pong", "username": "Echo" }));
    outgoing(&admin, &receiver.url(), json!({})).await;

    say(&admin, &hook, "ping").await;
    eventually("the delivery is done", async || {
        deliveries(&admin, "delivered").await.len() == 1
    })
    .await;
    say(&admin, &hook, "again").await;
    eventually("the next is done", async || {
        deliveries(&admin, "delivered").await.len() == 2
    })
    .await;
    assert_eq!(receiver.texts(), ["ping", "again"]);
    let said = at_last("all of it is said", async || {
        let history = admin.get("channels.history?roomId=GENERAL").await;
        let history = history.expect_ok();
        let messages = history["messages"].as_array().unwrap().iter();
        let said: Vec<_> = messages
            .filter(|message| message["t"].is_null())
            .map(|message| message["msg"].as_str().unwrap().to_owned())
            .collect();
        (said.len() >= 4).then_some(said)
    })
    .await;
    assert_eq!(said, ["pong", "again", "pong", "ping"]);
}

/// Changes an outgoing webhook on messages in #general.
async fn change(admin: &Client, made: &Value, receiver: &Receiver, changes: &[Value]) {
    let mut asked = json!({
        "integrationId": made["_id"], "type": "webhook-outgoing", "name": "out", "enabled": true,
        "event": "sendMessage", "username": "rocket.cat", "channel": "#general",
        "scriptEnabled": false, "urls": [receiver.url()], "token": made["token"],
        "impersonateUser": false,
    });
    for (name, value) in changes
        .iter()
        .flat_map(|changes| changes.as_object().unwrap())
    {
        asked[name] = value.clone();
    }
    let request = admin.request(Method::PUT, "/api/v1/integrations.update");
    admin.answer(request.json(&asked)).await.expect_ok();
}

#[tokio::test]
async fn what_was_said_where_a_webhook_does_not_listen_any_more_is_told_to_nobody() {
    let server = Server::start_with(open_to_this_machine()).await;
    let admin = server.admin().await;
    admin.channel("attic").await;
    let (before, after) = (Receiver::start().await, Receiver::start().await);
    before.fail(1000);
    let made = outgoing(&admin, &before.url(), json!({})).await;
    admin.say("GENERAL", "not for others").await;
    before.has(1).await;
    let elsewhere = json!({ "channel": "#attic" });
    change(&admin, &made, &after, &[elsewhere]).await;
    let abandoned = at_last("the delivery is given up", async || {
        let dead = deliveries(&admin, "dead").await;
        dead.first().cloned()
    })
    .await;
    assert_eq!(abandoned["abandoned"], "unwatched", "{abandoned}");
    assert_eq!(after.texts(), Vec::<String>::new());
}

#[tokio::test]
async fn what_becomes_of_a_channel_that_is_private_now_is_told_to_no_webhook_of_public_ones() {
    let server = Server::start_with(open_to_this_machine()).await;
    let admin = server.admin().await;
    let square = admin.channel("square").await;
    let receiver = Receiver::start().await;
    receiver.fail(1000);
    let public = json!({ "channel": "all_public_channels" });
    outgoing(&admin, &receiver.url(), public).await;
    admin.say(&square, "in the open").await;
    receiver.has(1).await;
    let private = json!({ "roomId": square, "type": "p" });
    admin.post("channels.setType", private).await.expect_ok();
    let renamed = json!({ "roomId": square, "name": "closed" });
    admin.post("groups.rename", renamed).await.expect_ok();
    let abandoned = at_last("the delivery is given up", async || {
        let dead = deliveries(&admin, "dead").await;
        dead.first().cloned()
    })
    .await;
    assert_eq!(abandoned["abandoned"], "unwatched", "{abandoned}");
    for told in receiver.received() {
        assert_eq!(told.body["channel_name"], "square");
    }
}

#[tokio::test]
async fn a_receiver_answers_elsewhere_only_where_the_webhook_may_choose() {
    let server = Server::start_with(open_to_this_machine()).await;
    let admin = server.admin().await;
    let attic = admin.channel("attic").await;
    let mary = admin.member("mary").await;
    let receiver = Receiver::start().await;
    receiver.answer(&json!({ "text": "psst", "channel": "#attic" }));
    let made = outgoing(&admin, &receiver.url(), json!({})).await;
    let chooses = "overrideDestinationChannelEnabled";
    let choices = [
        (json!({ chooses: false }), 0),
        (json!({ chooses: true, "impersonateUser": true }), 0),
        (json!({ chooses: true }), 1),
    ];
    for (done, (changes, expected)) in (1..).zip(choices) {
        change(&admin, &made, &receiver, std::slice::from_ref(&changes)).await;
        mary.say("GENERAL", "what do you say").await;
        eventually("the delivery is done", async || {
            deliveries(&admin, "delivered").await.len() == done
        })
        .await;
        // A node hears a moment later of what another posted.
        let answers = at_last("the answer is there", async || {
            let said = admin.texts(&attic).await;
            let answers = said.iter().filter(|text| *text == "psst").count();
            (answers >= expected).then_some(answers)
        });
        assert_eq!(answers.await, expected, "{changes}");
    }
}

#[tokio::test]
async fn an_answer_counts_for_what_the_webhook_is_when_it_comes() {
    let server = Server::start_with(open_to_this_machine()).await;
    let admin = server.admin().await;
    let mary = admin.member("mary").await;
    let receiver = Receiver::start().await;
    receiver.answer(&json!({ "text": "the last word" }));
    let impersonating = json!({ "impersonateUser": true });
    let made = outgoing(&admin, &receiver.url(), impersonating).await;
    let update = async |changes: Value| {
        let impersonating = json!({ "impersonateUser": true });
        change(&admin, &made, &receiver, &[impersonating, changes]).await;
    };
    let answers = async || {
        let history = admin.get("channels.history?roomId=GENERAL").await;
        let history = history.expect_ok();
        let messages = history["messages"].as_array().unwrap().iter();
        let answers = messages.filter(|message| message["msg"] == "the last word");
        let by = answers.map(|message| message["u"]["username"].as_str().unwrap().to_owned());
        by.collect::<Vec<_>>()
    };
    let changes = [
        (json!({}), vec!["mary"]),
        (
            json!({ "impersonateUser": false }),
            vec!["rocket.cat", "mary"],
        ),
        (json!({ "enabled": false }), vec!["rocket.cat", "mary"]),
    ];
    for (done, (changes, expected)) in (1..).zip(changes) {
        update(json!({})).await;
        receiver.hold(true);
        mary.say("GENERAL", "what do you say").await;
        receiver.has(done).await;
        update(changes.clone()).await;
        receiver.hold(false);
        eventually("the delivery is done", async || {
            deliveries(&admin, "delivered").await.len() == done
        })
        .await;
        // A node hears a moment later of what another posted.
        let said = at_last("the answer is there", async || {
            let said = answers().await;
            (said.len() >= expected.len()).then_some(said)
        });
        assert_eq!(said.await, expected, "{changes}");
    }
}

#[tokio::test]
async fn this_machine_is_not_reached_unless_the_workspace_allows_it() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let receiver = Receiver::start().await;
    let hook = incoming(&admin).await;
    let once = json!({ "retryFailedCalls": false });
    outgoing(&admin, &receiver.url(), once).await;
    say(&admin, &hook, "hello?").await;
    let dead = only_delivery(&admin, "dead").await;
    let why = dead["exchange"]["response"].as_str().unwrap();
    assert!(
        why.contains("Hansard_Webhook_Allow_Private_Addresses"),
        "{why}"
    );
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn what_a_deleted_message_said_is_gone_from_the_history_of_deliveries() {
    let server = Server::start_with(open_to_this_machine()).await;
    let admin = server.admin().await;
    let receiver = Receiver::start().await;
    outgoing(&admin, &receiver.url(), json!({})).await;
    let message = admin.say("GENERAL", "the secret plan").await;
    let delivered = only_delivery(&admin, "delivered").await;
    assert!(delivered.to_string().contains("the secret plan"));
    let delete = json!({ "roomId": "GENERAL", "msgId": message["_id"] });
    admin.post("chat.delete", delete).await.expect_ok();
    let delivered = only_delivery(&admin, "delivered").await;
    assert_eq!(delivered["exchange"], Value::Null);
    assert_eq!(delivered["status"], 200);
}

#[tokio::test]
async fn a_delivery_under_way_is_called_off_when_its_message_is_erased() {
    let options = open_to_this_machine().setting("Hansard_Webhook_Timeout_Seconds", "300");
    let server = Server::start_with(options).await;
    let admin = server.admin().await;
    let receiver = Receiver::start().await;
    receiver.keep_silent();
    outgoing(&admin, &receiver.url(), json!({})).await;
    let message = admin.say("GENERAL", "the secret plan").await;
    receiver.has(1).await;
    let delete = json!({ "roomId": "GENERAL", "msgId": message["_id"] });
    admin.post("chat.delete", delete).await.expect_ok();
    let dead = only_delivery(&admin, "dead").await;
    assert_eq!(dead["abandoned"], "erased");
    assert_eq!(dead["exchange"], Value::Null);
}

#[tokio::test]
async fn a_script_that_would_not_run_is_refused() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let scripted = json!({
        "type": "webhook-incoming", "name": "in", "enabled": true, "username": "rocket.cat",
        "channel": "#general", "scriptEnabled": true, "script": "class Script {}",
    });
    let refused = admin.post("integrations.create", scripted).await;
    assert_eq!(refused.expect_error(400), "integration-scripts-disabled");
}

#[tokio::test]
async fn a_look_at_what_webhooks_sent_of_others_rooms_is_on_the_audit() {
    let server = Server::start_with(open_to_this_machine()).await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let receiver = Receiver::start().await;
    let groups = json!({ "channel": "all_private_groups" });
    let integration = outgoing(&admin, &receiver.url(), groups).await;
    let board = json!({ "name": "board" });
    let board = mary.post("groups.create", board).await.expect_ok();
    let board = board["group"]["_id"].as_str().unwrap().to_owned();
    mary.say(&board, "between us").await;
    receiver.has(1).await;

    let looks = async || {
        let path = format!("/api/hansard/v1/audit?type=RoomsInspected&room={board}");
        let page = admin.get_path(&path).await.expect_ok();
        page["entries"].as_array().unwrap().len()
    };
    // What is not there yet is no look.
    let delivery = only_delivery(&admin, "delivered").await;
    let before = at_last("the first look is on the audit", async || {
        Some(looks().await).filter(|looks| *looks > 0)
    })
    .await;
    let id = delivery["id"].as_str().unwrap();
    let path = format!("/api/hansard/v1/deliveries/{id}");
    admin.get_path(&path).await.expect_ok();
    let id = integration["_id"].as_str().unwrap();
    let history = admin.get(&format!("integrations.history?id={id}")).await;
    assert!(history.expect_ok().to_string().contains("between us"));
    // Another node may hear of it later: an answer to a look names no position.
    eventually("both looks are on the audit", async || {
        looks().await == before + 2
    })
    .await;

    // Whoever is in the room looks at nothing that it does not see.
    let member = json!({ "roomId": board, "username": hansard_tests::server::ADMIN });
    mary.post("groups.invite", member).await.expect_ok();
    eventually("a member's look is none", async || {
        let before = looks().await;
        admin.get_path(&path).await.expect_ok();
        looks().await == before
    })
    .await;
}

#[tokio::test]
async fn what_a_webhook_is_refused_in_a_room_that_it_does_not_know_of_is_on_the_audit() {
    let server = Server::start().await;
    let admin = server.admin().await;
    server.user("mary").await;
    let board = admin
        .post("groups.create", json!({ "name": "board" }))
        .await;
    let board = board.expect_ok()["group"]["_id"].clone();
    let hook = json!({
        "type": "webhook-incoming", "name": "in", "enabled": true, "username": "mary",
        "channel": "#general", "scriptEnabled": false, "overrideDestinationChannelEnabled": true,
    });
    let hook = admin.post("integrations.create", hook).await.expect_ok()["integration"].take();
    let part = |name: &str| hook[name].as_str().unwrap().to_owned();
    let path = format!("/hooks/{}/{}", part("_id"), part("token"));
    let request = admin.request(Method::POST, &path);
    let text = json!({ "text": "x", "channel": ["#general", "#board"] });
    let refused = admin.answer(request.json(&text)).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    let denied = at_last("the refusal is on the audit", async || {
        let denied = admin.audit("outcome=denied").await;
        (!denied.is_empty()).then_some(denied)
    })
    .await;
    assert_eq!(denied[0]["room"], board, "{denied:?}");
}
