//! Integrations do no more than whoever answers for them may, for as long as it may.
//!
//! Nobody listens where the outgoing ones send to: that a delivery was queued is what they heard.

use hansard_tests::server::{Client, Server, at_last, eventually};
use reqwest::Method;
use serde_json::{Value, json};

const NOWHERE: &str = "http://127.0.0.1:9/";

/// Gives a user a role with nothing but a few permissions; answers the role's id.
async fn permit(admin: &Client, user: &str, permissions: &[&str]) -> String {
    let role = json!({ "name": format!("integrators-{user}") });
    let made = admin.post("roles.create", role).await.expect_ok();
    let role = made["role"]["_id"].as_str().unwrap().to_owned();
    let grants: Vec<_> = permissions
        .iter()
        .map(|permission| json!({ "_id": permission, "roles": ["admin", role] }))
        .collect();
    let grants = json!({ "permissions": grants });
    admin.post("permissions.update", grants).await.expect_ok();
    let given = json!({ "roleId": role, "username": user });
    admin.post("roles.addUserToRole", given).await.expect_ok();
    role
}

async fn group(owner: &Client, name: &str, members: &[&str]) -> String {
    let group = json!({ "name": name, "members": members });
    let made = owner.post("groups.create", group).await.expect_ok();
    made["group"]["_id"].as_str().unwrap().to_owned()
}

/// An outgoing webhook on messages in a channel: its id.
async fn outgoing(maker: &Client, username: &str, channel: &str) -> String {
    let asked = json!({
        "type": "webhook-outgoing", "name": "out", "enabled": true, "event": "sendMessage",
        "username": username, "channel": channel, "scriptEnabled": false, "urls": [NOWHERE],
        "retryFailedCalls": false,
    });
    let made = maker.post("integrations.create", asked).await.expect_ok();
    made["integration"]["_id"].as_str().unwrap().to_owned()
}

fn incoming_as(username: &str) -> Value {
    json!({
        "type": "webhook-incoming", "name": "in", "enabled": true, "username": username,
        "channel": "#general", "scriptEnabled": false, "overrideDestinationChannelEnabled": true,
    })
}

async fn hook(server: &Server, made: &Value, payload: Value) -> (u16, Value) {
    let part = |name: &str| made["integration"][name].as_str().unwrap();
    let path = format!("/hooks/{}/{}", part("_id"), part("token"));
    let anybody = server.anonymous();
    let answer = anybody.request(Method::POST, &path).json(&payload);
    let answer = anybody.answer(answer).await;
    (answer.status.as_u16(), answer.body)
}

/// How many deliveries of a webhook there are.
async fn heard(admin: &Client, integration: &str) -> u64 {
    let history = admin
        .get(&format!("integrations.history?id={integration}"))
        .await;
    history.expect_ok()["total"].as_u64().unwrap()
}

/// An administrator's webhook that hears of everything, and so tells when a message has been looked at.
struct Witness<'a> {
    admin: &'a Client,
    id: String,
}

impl<'a> Witness<'a> {
    async fn of(admin: &'a Client) -> Self {
        let all = "all_public_channels,all_private_groups,all_direct_messages";
        let id = outgoing(admin, "rocket.cat", all).await;
        Self { admin, id }
    }

    /// Says something, and waits until it is known who hears it.
    async fn say(&self, sender: &Client, room: &str) {
        let before = heard(self.admin, &self.id).await;
        sender.say(room, "between us").await;
        eventually("the message is heard", async || {
            heard(self.admin, &self.id).await > before
        })
        .await;
    }
}

/// The reasons on the record for which an integration was held back.
async fn reasons(admin: &Client, integration: &str) -> Vec<String> {
    let path = format!("/api/hansard/v1/streams/integration-{integration}");
    let stream = admin.get_path(&path).await.expect_ok();
    let entries = stream["events"].as_array().unwrap().iter();
    entries
        .filter(|entry| entry["type"] == "IntegrationHeldBack")
        .map(|entry| {
            let payload = entry["payload"].to_string();
            ["makerInactive", "makerMayNotManage", "roomOutOfSight"]
                .into_iter()
                .find(|why| payload.contains(why))
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn a_webhook_hears_what_its_maker_could_read_at_that_time() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (bob, alice) = (server.user("bob").await, server.user("alice").await);
    let role = permit(&admin, "bob", &["manage-own-outgoing-integrations"]).await;
    let witness = Witness::of(&admin).await;

    // Who takes the name of the room that is heard is not heard in its place.
    let channel = bob.channel("plans").await;
    let by_name = outgoing(&bob, "bob", "#plans").await;
    witness.say(&bob, &channel).await;
    assert_eq!(heard(&admin, &by_name).await, 1);
    let freed = json!({ "roomId": channel, "name": "elsewhere" });
    bob.post("channels.rename", freed).await.expect_ok();
    let plans = group(&alice, "plans", &[]).await;
    witness.say(&alice, &plans).await;
    assert_eq!(heard(&admin, &by_name).await, 1);
    witness.say(&bob, &channel).await;
    assert_eq!(heard(&admin, &by_name).await, 2);
    assert!(reasons(&admin, &by_name).await.is_empty());

    // Who is sent away hears no more.
    let board = group(&alice, "board", &["bob"]).await;
    let of_member = outgoing(&bob, "bob", "#board").await;
    witness.say(&alice, &board).await;
    assert_eq!(heard(&admin, &of_member).await, 1);
    let away = json!({ "roomId": board, "userId": bob.user_id() });
    alice.post("groups.kick", away.clone()).await.expect_ok();
    witness.say(&alice, &board).await;
    assert_eq!(heard(&admin, &of_member).await, 1);

    // Nor is what it heard sent to it again.
    let history = admin
        .get(&format!("integrations.history?id={of_member}"))
        .await
        .expect_ok();
    let again = json!({ "integrationId": of_member, "historyId": history["history"][0]["_id"] });
    bob.post("integrations.replayOutgoing", again)
        .await
        .expect_ok();
    eventually("the delivery is given up", async || {
        let path = "/api/hansard/v1/deliveries?state=dead";
        let dead = admin.get_path(path).await.expect_ok();
        dead["deliveries"]
            .as_array()
            .unwrap()
            .iter()
            .any(|dead| dead["abandoned"] == "heldBack")
    })
    .await;

    // Who may not manage integrations any more has none that works, nor who is deactivated.
    alice.post("groups.invite", away).await.expect_ok();
    witness.say(&alice, &board).await;
    assert_eq!(heard(&admin, &of_member).await, 2);
    let given = || json!({ "roleId": role, "username": "bob" });
    admin
        .post("roles.removeUserFromRole", given())
        .await
        .expect_ok();
    witness.say(&alice, &board).await;
    admin.post("roles.addUserToRole", given()).await.expect_ok();
    let active = json!({
        "userId": bob.user_id(), "activeStatus": false, "confirmRelinquish": true,
    });
    admin
        .post("users.setActiveStatus", active)
        .await
        .expect_ok();
    witness.say(&alice, &board).await;
    assert_eq!(heard(&admin, &of_member).await, 2);
    assert_eq!(
        reasons(&admin, &of_member).await,
        ["roomOutOfSight", "makerMayNotManage", "makerInactive"]
    );
}

#[tokio::test]
async fn who_manages_its_own_integrations_has_none_speak_for_others() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (bob, alice) = (server.user("bob").await, server.user("alice").await);
    let both = [
        "manage-own-incoming-integrations",
        "manage-own-outgoing-integrations",
    ];
    permit(&admin, "bob", &both).await;

    for mut asked in [
        incoming_as("alice"),
        incoming_as(hansard_tests::server::ADMIN),
        json!({
            "type": "webhook-outgoing", "name": "out", "enabled": true, "event": "sendMessage",
            "username": "alice", "channel": "#general", "scriptEnabled": false, "urls": [NOWHERE],
        }),
        json!({
            "type": "webhook-outgoing", "name": "out", "enabled": true, "event": "sendMessage",
            "username": "bob", "channel": "#general", "scriptEnabled": false, "urls": [NOWHERE],
            "impersonateUser": true,
        }),
    ] {
        let refused = bob.post("integrations.create", asked.clone()).await;
        assert_eq!(refused.expect_error(400), "error-not-allowed", "{asked}");
        asked["impersonateUser"] = true.into();
        admin.post("integrations.create", asked).await.expect_ok();
    }

    // As itself it says no more than it could say, and is given no role for it.
    let made = bob.post("integrations.create", incoming_as("bob")).await;
    let made = made.expect_ok();
    let board = group(&alice, "board", &["rocket.cat"]).await;
    let named = json!({ "text": "done", "username": "Build" });
    assert_eq!(hook(&server, &made, named).await.0, 200);
    let (status, _) = hook(&server, &made, json!({ "text": "x", "roomId": board })).await;
    assert_eq!(status, 400);
    let path = format!("users.info?userId={}", bob.user_id());
    let roles = admin.get(&path).await.expect_ok()["user"]["roles"].to_string();
    assert!(!roles.contains("\"bot\""), "{roles}");

    // As the server's own account it speaks where its maker could, wherever that account is.
    let made = bob.post("integrations.create", incoming_as("rocket.cat"));
    let made = made.await.expect_ok();
    assert_eq!(hook(&server, &made, json!({ "text": "hi" })).await.0, 200);
    for elsewhere in [
        json!({ "text": "x", "roomId": board }),
        json!({ "text": "x", "channel": "#board" }),
        json!({ "text": "x", "channel": "@alice" }),
    ] {
        let (status, answer) = hook(&server, &made, elsewhere.clone()).await;
        assert_eq!(status, 400, "{elsewhere}: {answer}");
    }
    let with = json!({ "username": "alice" });
    bob.post("im.create", with).await.expect_ok();
    let to_alice = json!({ "text": "hi", "channel": "@alice" });
    assert_eq!(hook(&server, &made, to_alice).await.0, 200);
}

#[tokio::test]
async fn an_integration_of_somebody_that_is_gone_waits_until_an_administrator_takes_it_over() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (eve, alice) = (server.user("eve").await, server.user("alice").await);
    let role = json!({ "roleId": "admin", "username": "eve" });
    admin
        .post("roles.addUserToRole", role.clone())
        .await
        .expect_ok();
    let witness = Witness::of(&admin).await;
    let board = group(&alice, "board", &[]).await;
    let listens = outgoing(&eve, "rocket.cat", "all_private_groups").await;
    let made = eve.post("integrations.create", incoming_as("alice")).await;
    let made = made.expect_ok();
    let said = || json!({ "text": "hi", "roomId": board });
    assert_eq!(hook(&server, &made, said()).await.0, 200);
    eventually("what came in is heard", async || {
        heard(&admin, &listens).await == 1
    })
    .await;
    witness.say(&alice, &board).await;
    let before = heard(&admin, &listens).await;
    assert_eq!(before, 2);

    let shown = async |what: &str| {
        let path = format!("integrations.get?integrationId={listens}");
        admin.get(&path).await.expect_ok()["integration"][what].clone()
    };
    assert_eq!(shown("heldBack").await, Value::Null);
    admin
        .post("roles.removeUserFromRole", role)
        .await
        .expect_ok();
    witness.say(&alice, &board).await;
    assert_eq!(hook(&server, &made, said()).await.0, 503);
    assert_eq!(shown("heldBack").await, "makerMayNotManage");
    let gone = json!({ "userId": eve.user_id(), "confirmRelinquish": true });
    admin.post("users.delete", gone).await.expect_ok();
    witness.say(&alice, &board).await;
    assert_eq!(hook(&server, &made, said()).await.0, 503);
    assert_eq!(heard(&admin, &listens).await, before);
    assert_eq!(shown("heldBack").await, "makerInactive");
    assert_eq!(
        reasons(&admin, &listens).await,
        ["makerMayNotManage", "makerInactive"]
    );

    let saved = json!({
        "integrationId": listens, "type": "webhook-outgoing", "name": "out", "enabled": true,
        "event": "sendMessage", "username": "rocket.cat", "channel": "all_private_groups",
        "scriptEnabled": false, "urls": [NOWHERE], "token": shown("token").await,
    });
    let saved = admin
        .request(Method::PUT, "/api/v1/integrations.update")
        .json(&saved);
    admin.answer(saved).await.expect_ok();
    assert_eq!(shown("heldBack").await, Value::Null);
    assert_eq!(
        shown("_createdBy").await["_id"].as_str(),
        Some(admin.user_id())
    );
    witness.say(&alice, &board).await;
    assert_eq!(heard(&admin, &listens).await, before + 1);
}

#[tokio::test]
async fn the_history_of_a_webhook_tells_its_maker_nothing_of_a_room_that_it_had_to_leave() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    permit(&admin, "bob", &["manage-own-outgoing-integrations"]).await;
    let board = group(&alice, "board", &["bob"]).await;
    let listens = outgoing(&bob, "bob", "#board").await;
    Witness::of(&admin).await.say(&alice, &board).await;
    let history = format!("integrations.history?id={listens}");
    let told = |history: Value| history["history"][0]["data"]["channel_name"].clone();
    eventually("the delivery was tried", async || {
        told(bob.get(&history).await.expect_ok()) == "board"
    })
    .await;

    let kick = json!({ "roomId": board, "userId": bob.user_id() });
    alice.post("groups.kick", kick).await.expect_ok();
    let renamed = json!({ "roomId": board, "name": "merger" });
    alice.post("groups.rename", renamed).await.expect_ok();
    let history_then = bob.get(&history).await.expect_ok();
    assert!(
        !history_then.to_string().contains("merger"),
        "{history_then}"
    );
    let data = &history_then["history"][0]["data"];
    assert_eq!(data["user_id"], alice.user_id());
    assert_eq!(data["user_name"], Value::Null);
    assert_eq!(told(history_then), Value::Null);
    assert_eq!(told(admin.get(&history).await.expect_ok()), "merger");
}

/// The looks on the audit that somebody had at something, as what was looked for and how much was shown.
async fn looks(admin: &Client, actor: &str, what: &str) -> Vec<Value> {
    let looks = admin
        .audit(&format!("type=RecordInspected&actor=@{actor}"))
        .await;
    looks
        .iter()
        .filter(|look| look["target"]["id"] == what)
        .map(|look| look["details"]["shown"].clone())
        .collect()
}

#[tokio::test]
async fn who_sees_the_tokens_of_others_leaves_a_trace() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let bob = server.user("bob").await;
    permit(&admin, "bob", &["manage-incoming-integrations"]).await;
    let made = admin.post("integrations.create", incoming_as("rocket.cat"));
    let made = made.await.expect_ok();
    let id = made["integration"]["_id"].as_str().unwrap();
    let own = bob.post("integrations.create", incoming_as("rocket.cat"));
    let own = own.await.expect_ok();
    let own = own["integration"]["_id"].as_str().unwrap();
    let seen = async |which: &str| {
        let path = format!("integrations.get?integrationId={which}");
        bob.get(&path).await.expect_ok()
    };
    let shown = at_last("it is shown", async || {
        let path = format!("integrations.get?integrationId={id}");
        let answer = bob.get(&path).await;
        answer.status.is_success().then_some(answer.body)
    });
    assert!(shown.await["integration"]["token"].is_string());
    eventually("the look at the token is on the record", async || {
        looks(&admin, "bob", "integrations").await == [json!(1)]
    })
    .await;
    // One's own are nobody else's to know of.
    seen(own).await;
    let list = bob.get("integrations.list").await.expect_ok();
    assert_eq!(list["total"], 2);
    let saved = json!({
        "integrationId": id, "type": "webhook-incoming", "name": "in", "enabled": true,
        "channel": "#general", "scriptEnabled": false,
    });
    let saved = bob
        .request(Method::PUT, "/api/v1/integrations.update")
        .json(&saved);
    bob.answer(saved).await.expect_ok();
    eventually("each look is on the record once", async || {
        looks(&admin, "bob", "integrations").await == [json!(1), json!(1), json!(1)]
    })
    .await;
}

#[tokio::test]
async fn who_sees_what_settings_keep_secret_leaves_a_trace() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let bob = server.user("bob").await;
    permit(&admin, "bob", &["view-privileged-setting"]).await;
    let secrets = "settings?query={\"_id\":{\"$in\":[\"SMTP_Password\",\"Site_Name\"]}}";
    let value = async |path: &str| {
        at_last("the settings are shown", async || {
            let answer = bob.get(path).await;
            answer.status.is_success().then_some(answer.body)
        })
        .await
    };
    value("settings/SMTP_Password").await;
    value(secrets).await;
    let set = json!({ "value": "correct horse" });
    admin.post("settings/SMTP_Password", set).await.expect_ok();
    eventually("it is known", async || {
        bob.get("settings/SMTP_Password").await.expect_ok()["value"] == "correct horse"
    })
    .await;
    value("settings/Site_Name").await;
    value("settings?query={\"_id\":\"Site_Name\"}").await;
    value(secrets).await;
    // No page shows it, and so it tells of it.
    let guess = "settings?query={\"value\":{\"$regex\":\"^correct\"}}&count=1&offset=9";
    value(guess).await;
    eventually("each look at it is on the record", async || {
        looks(&admin, "bob", "settings").await == [json!(1), json!(1), json!(1)]
    })
    .await;
}

#[tokio::test]
async fn who_makes_its_own_webhooks_learns_of_no_room_by_it_and_asks_on_the_record() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (bob, alice) = (server.user("bob").await, server.user("alice").await);
    let carol = server.user("carol").await;
    let own = [
        "manage-own-incoming-integrations",
        "manage-own-outgoing-integrations",
    ];
    permit(&admin, "bob", &own).await;
    let with = json!({ "username": "carol" });
    let made = alice.post("im.create", with).await.expect_ok();
    let conversation = made["room"]["_id"].as_str().unwrap();
    let board = group(&alice, "board", &[]).await;
    let elsewhere = format!("{}{}", admin.user_id(), carol.user_id());
    let asked = async |kind: &str, channel: &str| {
        let asked = json!({
            "type": kind, "name": "x", "enabled": true, "username": "bob", "channel": channel,
            "scriptEnabled": false, "event": "sendMessage", "urls": [NOWHERE],
        });
        let answer = bob.post("integrations.create", asked).await;
        (answer.status.as_u16(), answer.body.to_string())
    };
    eventually("bob may make webhooks", async || {
        asked("webhook-incoming", "#general").await.0 == 200
            && asked("webhook-outgoing", "#general").await.0 == 200
    })
    .await;
    for kind in ["webhook-incoming", "webhook-outgoing"] {
        let nothing = asked(kind, &format!("#{elsewhere}")).await;
        assert_eq!(nothing.0, 400);
        assert!(nothing.1.contains("error-invalid-room"), "{}", nothing.1);
        for hidden in [conversation, &board, "board"] {
            assert_eq!(
                asked(kind, &format!("#{hidden}")).await,
                nothing,
                "{hidden}"
            );
        }
    }
    eventually("the questions are on the record", async || {
        let refused = admin.audit("outcome=denied&actor=@bob").await;
        let mut asked = refused.iter().map(|refused| &refused["target"]["id"]);
        asked.any(|operation| operation == "integrations.create")
    })
    .await;
}
