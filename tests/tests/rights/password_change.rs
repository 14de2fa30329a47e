//! A password that has to be changed opens nothing but its own change.

use hansard_tests::server::{Client, Options, Server};
use serde_json::{Value, json};

fn digest(password: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(password.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn change(old: &str, new: &str) -> Value {
    json!({ "data": { "currentPassword": digest(old), "newPassword": new } })
}

/// Operations of all parts, which are all refused.
async fn is_shut(client: &Client) {
    for path in [
        "/api/v1/users.info?username=rocket.cat",
        "/api/v1/rooms.get",
        "/api/v1/subscriptions.get",
        "/api/v1/channels.history?roomId=GENERAL",
        "/api/v1/settings",
        "/api/v1/statistics",
        "/api/hansard/v1/audit",
        "/api/hansard/v1/events",
        "/api/hansard/v1/views",
        "/api/hansard/v1/deliveries",
    ] {
        let refused = client.get_path(path).await;
        let said = refused.body["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let error = refused.expect_error(403);
        assert_eq!(error, "error-password-change-required", "{path}");
        assert!(said.contains("users.updateOwnBasicInfo"), "{said}");
    }
    for (operation, body) in [
        (
            "chat.sendMessage",
            json!({ "message": { "rid": "GENERAL", "msg": "hi" } }),
        ),
        ("users.createToken", json!({ "userId": client.user_id() })),
        (
            "users.generatePersonalAccessToken",
            json!({ "tokenName": "for ever" }),
        ),
        (
            "users.update",
            json!({ "userId": client.user_id(), "data": { "requirePasswordChange": false } }),
        ),
        ("settings/Site_Name", json!({ "value": "mine" })),
        ("users.create", json!({})),
    ] {
        let refused = client.post(operation, body).await;
        let error = refused.expect_error(403);
        assert_eq!(error, "error-password-change-required", "{operation}");
    }
}

#[tokio::test]
async fn the_one_time_password_of_the_first_administrator_opens_its_change_and_nothing_else() {
    let mut options = Options::default();
    for unset in ["ADMIN_PASS", "ADMIN_USERNAME"] {
        options.environment.push((unset.to_owned(), String::new()));
    }
    let server = Server::start_with(options).await;
    let output = server.output();
    let printed = output
        .split_once("one-time password")
        .map(|(_, after)| after.trim_start_matches([':', ' ']));
    let printed = printed
        .and_then(|after| after.split_whitespace().next())
        .unwrap_or_else(|| panic!("no password in {output}"));

    let admin = server.login("admin", printed).await;
    let me = admin.get("me").await.expect_ok();
    assert_eq!(me["requirePasswordChange"], true);
    is_shut(&admin).await;

    // No other change comes with it, and not the same password.
    let mut more = change(printed, "a better one");
    more["data"]["name"] = json!("Somebody");
    let refused = admin.post("users.updateOwnBasicInfo", more).await;
    assert_eq!(refused.expect_error(400), "error-password-change-required");
    let nothing = json!({ "data": { "name": "Somebody" } });
    let refused = admin.post("users.updateOwnBasicInfo", nothing).await;
    assert_eq!(refused.expect_error(400), "error-password-change-required");
    let same = admin
        .post("users.updateOwnBasicInfo", change(printed, printed))
        .await;
    assert_eq!(same.expect_error(400), "error-password-same-as-current");
    is_shut(&admin).await;

    admin
        .post("users.updateOwnBasicInfo", change(printed, "a better one"))
        .await
        .expect_ok();
    let me = admin.get("me").await.expect_ok();
    assert_eq!(me["requirePasswordChange"], Value::Null);
    admin.get("statistics").await.expect_ok();
    let login = json!({ "user": "admin", "password": printed });
    let refused = server.anonymous().post("login", login).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn any_account_is_shut_until_it_has_the_password_that_is_asked_of_it() {
    let options = Options::default()
        .setting("Accounts_AllowPasswordChange", "false")
        .setting("Accounts_AllowUserProfileChange", "false");
    let server = Server::start_with(options).await;
    let admin = server.admin().await;
    let mary = admin.member("mary").await;
    mary.get("rooms.get").await.expect_ok();
    let demand = json!({ "userId": mary.user_id(), "data": { "requirePasswordChange": true } });
    admin.post("users.update", demand).await.expect_ok();

    // The sessions that there are already, and later ones.
    is_shut(&mary).await;
    let again = server.login("mary", "mary's own secret").await;
    is_shut(&again).await;
    again.post("logout", json!({})).await.expect_ok();
    mary.get("settings.public").await.expect_ok();

    mary.post(
        "users.updateOwnBasicInfo",
        change("mary's own secret", "another secret"),
    )
    .await
    .expect_ok();
    mary.get("rooms.get").await.expect_ok();
    // What the settings forbid is forbidden again, and nobody asks it of itself.
    let refused = mary.post(
        "users.updateOwnBasicInfo",
        change("another secret", "a third one"),
    );
    assert_eq!(refused.await.expect_error(400), "error-not-allowed");
    let demand = json!({ "userId": mary.user_id(), "data": { "requirePasswordChange": true } });
    let refused = mary.post("users.update", demand).await.expect_error(400);
    assert_eq!(refused, "error-action-not-allowed");
}

#[tokio::test]
async fn an_account_without_a_password_is_used_by_the_tokens_that_were_made_for_it() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let bot = json!({
        "username": "bot", "name": "bot", "email": "bot@example.org", "roles": ["bot"],
        "setRandomPassword": true,
    });
    let made = admin.post("users.create", bot).await.expect_ok();
    let id = made["user"]["_id"].as_str().unwrap();
    let issued = admin
        .post("users.createToken", json!({ "userId": id }))
        .await;
    let token = issued.expect_ok()["data"]["authToken"].take();
    let bot = server.client(id, token.as_str().unwrap());
    bot.get("rooms.get").await.expect_ok();
}
