//! An older vault is put back beside a newer log: what was sealed since can't be read, and nothing else
//! is harmed, then or later.

use std::fs;

use hansard_tests::server::{Client, Server};
use serde_json::{Value, json};

/// All of the log.
async fn events(client: &Client) -> Vec<Value> {
    let page = client.get_path("/api/hansard/v1/events?limit=1000").await;
    page.expect_ok()["events"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_log_goes_on_beside_an_older_vault_that_was_put_back() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("attic").await;
    admin.say(&room, "before the backup").await;
    server.stop().await;
    let backup = server.data().join("../vault.backup");
    let vault = server.data().join("vault.db");
    fs::copy(&vault, &backup).unwrap();

    server.launch();
    server.ready().await;
    // More than one block of keys, so that those of the backup are used up for certain.
    for number in 0..10 {
        admin
            .say(&room, &format!("after the backup {number}"))
            .await;
        server.user(&format!("mary{number}")).await;
        server.stop().await;
        server.launch();
        server.ready().await;
    }
    server.stop().await;

    // Whatever was made from the log is there, or is made anew.
    for (round, gone) in [vec![], vec!["views"], vec!["views", "state"]]
        .iter()
        .enumerate()
    {
        fs::copy(&backup, &vault).unwrap();
        for name in gone {
            fs::remove_dir_all(server.data().join(name)).unwrap();
        }
        server.launch();
        server.ready().await;
        let admin = server.admin().await;
        let said = format!("after restoring {round}");
        admin.say(&room, &said).await;
        let all = admin.texts(&room).await;
        assert_eq!(all.first().unwrap(), "before the backup", "{all:?}");
        assert_eq!(all.last().unwrap(), &said, "{all:?}");
        server.user(&format!("joe{round}")).await;
        admin.get("users.list").await.expect_ok();
        admin.get("rooms.get").await.expect_ok();
        server.stop().await;
    }

    // A start that reads the whole log, and what was said after the last restore is still there.
    for name in ["views", "state"] {
        fs::remove_dir_all(server.data().join(name)).unwrap();
    }
    server.launch();
    server.ready().await;
    let admin = server.admin().await;
    let all = admin.texts(&room).await;
    assert_eq!(all.last().unwrap(), "after restoring 2", "{all:?}");
    let events = events(&admin).await;
    assert!(events.iter().all(|event| !event["payload"].is_null()));
    let shown = Value::from(events).to_string();
    assert!(!shown.contains("forged"), "no number was given out twice");
    let audit = "/api/hansard/v1/audit?unreadable=forged";
    let forged = admin.get_path(audit).await.expect_ok();
    assert_eq!(forged["entries"], json!([]));
}

#[tokio::test]
async fn once_the_right_vault_is_back_all_is_there_again() {
    let mut server = Server::start().await;
    let older = server.data().join("../vault.older");
    let newer = server.data().join("../vault.newer");
    let vault = server.data().join("vault.db");
    assert!(server.stop().await.success());
    fs::copy(&vault, &older).unwrap();
    server.launch();
    server.ready().await;
    // More than the keys that the older one has ahead of need: these are not those of the backup.
    let eve = server.user("eve").await;
    let site = json!({ "value": "Town hall" });
    let admin = server.admin().await;
    admin.post("settings/Site_Name", site).await.expect_ok();
    assert!(server.stop().await.success());
    fs::copy(&vault, &newer).unwrap();

    // It can't be read, and what can't is not kept.
    fs::remove_dir_all(server.data().join("state")).unwrap();
    fs::copy(&older, &vault).unwrap();
    server.launch();
    server.ready().await;
    let eve = server.client(eve.user_id(), eve.token());
    assert_eq!(eve.get("me").await.status.as_u16(), 401);
    let output = server.output();
    assert!(output.contains("no snapshot is kept meanwhile"), "{output}");
    assert!(server.stop().await.success());

    fs::copy(&newer, &vault).unwrap();
    server.launch();
    server.ready().await;
    let eve = server.client(eve.user_id(), eve.token());
    assert_eq!(eve.get("me").await.expect_ok()["username"], "eve");
    let admin = server.admin().await;
    let site = admin.get("settings/Site_Name").await.expect_ok();
    assert_eq!(site["value"], "Town hall");
}

#[tokio::test]
async fn a_setting_that_nobody_can_read_is_not_taken_for_its_default() {
    let mut server = Server::start().await;
    let older = server.data().join("../vault.older");
    let vault = server.data().join("vault.db");
    server.stop().await;
    fs::copy(&vault, &older).unwrap();
    server.launch();
    server.ready().await;
    // More than the keys that the older one has ahead of need.
    server.user("eve").await;
    let admin = server.admin().await;
    let set = async |admin: &Client, id: &str, value: Value| {
        let path = format!("settings/{id}");
        let changed = admin.post(&path, json!({ "value": value })).await;
        changed.expect_ok();
    };
    let (form, erasure) = ("Accounts_RegistrationForm", "Message_ErasureType");
    set(&admin, form, json!("Disabled")).await;
    set(&admin, erasure, json!("Keep")).await;
    let history = "Message_KeepHistory";
    set(&admin, history, json!(true)).await;
    server.stop().await;

    fs::copy(&older, &vault).unwrap();
    fs::remove_dir_all(server.data().join("state")).unwrap();
    server.launch();
    server.ready().await;
    let output = server.output();
    assert!(output.contains("retention stands still"), "{output}");
    for id in [form, erasure, history] {
        assert!(output.contains(id), "{id} is not named: {output}");
    }

    let nobody = server.anonymous();
    let mallory = json!({
        "username": "mallory", "name": "Mallory", "email": "mallory@example.org",
        "pass": "correct horse battery staple",
    });
    let register = async || nobody.post("users.register", mallory.clone()).await;
    assert_eq!(register().await.expect_error(400), "error-setting-lost");

    let admin = server.admin().await;
    let joe = server.user("joe").await;
    let delete = async || {
        admin
            .post("users.delete", json!({ "userId": joe.user_id() }))
            .await
    };
    assert_eq!(delete().await.expect_error(400), "error-setting-lost");

    let said = admin.say("GENERAL", "to be kept").await;
    let deletion = json!({ "roomId": "GENERAL", "msgId": said["_id"] });
    let forget = async || admin.post("chat.delete", deletion.clone()).await;
    assert_eq!(forget().await.expect_error(400), "error-setting-lost");
    set(&admin, history, json!(true)).await;
    forget().await.expect_ok();

    // What it has by default is set like any other value.
    set(&admin, erasure, json!("Delete")).await;
    delete().await.expect_ok();
    assert_eq!(register().await.expect_error(400), "error-setting-lost");
    set(&admin, form, json!("Public")).await;
    register().await.expect_ok();
}
