//! Accounts, roles, permissions and settings, as clients meet them.

use hansard_tests::server::{ADMIN, ADMIN_PASSWORD, Client, Options, Server, at_last};
use serde_json::{Value, json};

/// The hexadecimal SHA-256 of `password`.
const DIGEST_OF_PASSWORD: &str = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";

async fn create(admin: &Client, username: &str) -> Value {
    let user = json!({
        "username": username,
        "name": format!("The name of {username}"),
        "email": format!("{username}@example.org"),
        "password": "password",
    });
    admin.post("users.create", user).await.expect_ok()["user"].clone()
}

#[tokio::test]
async fn a_user_logs_in_by_name_address_digest_and_token() {
    let server = Server::start().await;
    let admin = server.admin().await;
    create(&admin, "mary").await;
    let anonymous = server.anonymous();
    let mut token = Value::Null;
    let logins = [
        json!({ "user": "MARY", "password": "password" }),
        json!({ "user": "mary@example.org", "password": "password" }),
        json!({ "username": "mary", "password": "password" }),
        json!({ "email": "Mary@example.org", "password": "password" }),
        json!({
            "user": { "username": "mary" },
            "password": { "digest": DIGEST_OF_PASSWORD, "algorithm": "sha-256" },
        }),
    ];
    for login in logins {
        let answer = anonymous.post("login", login).await.expect_ok();
        assert_eq!(answer["status"], "success");
        assert_eq!(answer["data"]["me"]["username"], "mary");
        token = answer["data"]["authToken"].clone();
    }
    let resumed = anonymous.post("login", json!({ "resume": token })).await;
    assert_eq!(resumed.expect_ok()["data"]["authToken"], token);
}

#[tokio::test]
async fn an_unknown_name_and_a_wrong_password_are_answered_alike() {
    let server = Server::start().await;
    let anonymous = server.anonymous();
    let wrong = json!({ "user": ADMIN, "password": "wrong" });
    let unknown = json!({ "user": "nobody", "password": "wrong" });
    let wrong = anonymous.post("login", wrong).await;
    let unknown = anonymous.post("login", unknown).await;
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.status, unknown.status);
    assert_eq!(wrong.body, unknown.body);
}

#[tokio::test]
async fn who_fails_too_often_is_blocked_whether_the_name_is_known_or_not() {
    let options = Options::default()
        .setting(
            "Block_Multiple_Failed_Logins_Attempts_Until_Block_by_User",
            "2",
        )
        .setting("Block_Multiple_Failed_Logins_By_Ip", "false");
    let server = Server::start_with(options).await;
    let anonymous = server.anonymous();
    for name in [ADMIN, "nobody"] {
        let attempt = || anonymous.post("login", json!({ "user": name, "password": "wrong" }));
        for _ in 0..2 {
            assert_eq!(attempt().await.body["error"], "Unauthorized", "{name}");
        }
        // What a busy node could not count in time it counts a moment later.
        let blocked = at_last(name, async || {
            let refused = attempt().await;
            assert_eq!(refused.status, 401);
            (refused.body["error"] != "Unauthorized").then_some(refused)
        })
        .await;
        assert_eq!(blocked.body["error"], "error-login-blocked-for-user");
    }
    let right = json!({ "user": ADMIN, "password": ADMIN_PASSWORD });
    assert_eq!(anonymous.post("login", right).await.status, 401);
}

#[tokio::test]
async fn a_deactivated_user_is_out_at_once_and_stays_out() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = create(&admin, "mary").await;
    let session = server.login("mary", "password").await;
    let deactivate = json!({ "userId": mary["_id"], "activeStatus": false });
    admin
        .post("users.setActiveStatus", deactivate)
        .await
        .expect_ok();
    assert_eq!(session.get("me").await.status, 401);
    let login = json!({ "user": "mary", "password": "password" });
    let refused = server.anonymous().post("login", login).await;
    assert_eq!(refused.body["error"], "error-user-is-not-activated");
}

#[tokio::test]
async fn names_and_addresses_are_unique_and_free_again_after_a_deletion() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = create(&admin, "mary").await;
    let again = |username: &str, email: &str| json!({ "username": username, "name": "x", "email": email, "password": "password" });
    let taken = [
        again("Mary", "other@example.org"),
        again("other", "MARY@example.org"),
    ];
    for user in taken {
        let answer = admin.post("users.create", user).await;
        assert_eq!(answer.body["errorType"], "error-field-unavailable");
    }
    let delete = json!({ "userId": mary["_id"] });
    admin.post("users.delete", delete).await.expect_ok();
    let gone = admin.get("users.info?username=mary").await;
    assert_eq!(gone.body["error"], "User not found.");
    create(&admin, "mary").await;
}

#[tokio::test]
async fn personal_access_tokens_outlive_sessions() {
    let server = Server::start().await;
    let mary = server.user("mary").await;
    let named = json!({ "tokenName": "robot" });
    let made = mary
        .post("users.generatePersonalAccessToken", named.clone())
        .await
        .expect_ok();
    let robot = server.client(mary.user_id(), made["token"].as_str().unwrap());
    mary.post("logout", json!({})).await.expect_ok();
    assert_eq!(mary.get("me").await.status, 401);
    assert_eq!(robot.get("me").await.expect_ok()["username"], "mary");
    robot
        .post("users.removePersonalAccessToken", named)
        .await
        .expect_ok();
    assert_eq!(robot.get("me").await.status, 401);
}

#[tokio::test]
async fn a_permission_counts_from_the_moment_it_is_granted() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let user = json!({
        "username": "joe", "name": "Joe", "email": "joe@example.org", "password": "password",
    });
    let refused = mary.post("users.create", user.clone()).await;
    assert_eq!(refused.body["errorType"], "error-action-not-allowed");
    let grant = json!({ "permissions": [{ "_id": "create-user", "roles": ["admin", "user"] }] });
    admin.post("permissions.update", grant).await.expect_ok();
    mary.post("users.create", user).await.expect_ok();
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let deactivate = json!({ "userId": admin.user_id(), "activeStatus": false });
    let answer = admin.post("users.setActiveStatus", deactivate).await;
    assert_eq!(answer.body["errorType"], "error-action-not-allowed");
    let revoke = json!({ "username": ADMIN, "roleId": "admin" });
    let answer = admin.post("roles.removeUserFromRole", revoke).await;
    assert_eq!(answer.body["errorType"], "error-admin-required");
    let delete = json!({ "userId": admin.user_id() });
    let answer = admin.post("users.delete", delete).await;
    assert_eq!(answer.body["errorType"], "error-action-not-allowed");
}

#[tokio::test]
async fn a_setting_takes_its_own_kind_and_shows_what_may_be_seen() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let wrong = json!({ "value": "perhaps" });
    let answer = admin
        .post("settings/Accounts_AllowEmailChange", wrong)
        .await;
    assert_eq!(answer.status, 400);
    let right = json!({ "value": false });
    admin
        .post("settings/Accounts_AllowEmailChange", right)
        .await
        .expect_ok();
    let public = server
        .anonymous()
        .get("settings.public?query={\"_id\":\"Accounts_AllowEmailChange\"}")
        .await
        .expect_ok();
    assert_eq!(public["settings"][0]["value"], false);
    let mary = server.user("mary").await;
    assert_eq!(mary.get("settings/SMTP_Host").await.status, 403);
    let hidden = mary
        .get("settings?query={\"_id\":\"SMTP_Password\"}")
        .await
        .expect_ok();
    assert_eq!(hidden["total"], 0);
}

#[tokio::test]
async fn accounts_are_found_in_the_directory() {
    let server = Server::start().await;
    let admin = server.admin().await;
    create(&admin, "mary").await;
    let query = "directory?query={\"type\":\"users\",\"text\":\"name of MARY\"}";
    let found = admin.get(query).await.expect_ok();
    assert_eq!(found["total"], 1);
    assert_eq!(found["result"][0]["username"], "mary");
    assert!(found["result"][0]["emails"].is_array());
    let joe = server.user("joe").await;
    let found = joe.get(query).await.expect_ok();
    assert!(found["result"][0].get("emails").is_none());
}

#[tokio::test]
async fn accounts_and_settings_are_the_same_after_a_restart() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let value = json!({ "value": "The House" });
    admin.post("settings/Site_Name", value).await.expect_ok();
    let before = mary.get("me").await.expect_ok();
    server.kill();
    server.launch();
    server.ready().await;
    let mary = server.client(mary.user_id(), mary.token());
    assert_eq!(mary.get("me").await.expect_ok(), before);
    let admin = server.client(admin.user_id(), admin.token());
    let setting = admin.get("settings/Site_Name").await.expect_ok();
    assert_eq!(setting["value"], "The House");
}

#[tokio::test]
async fn who_may_only_make_accounts_gives_none_more_than_everybody_gets() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let clerk = server.user("clerk").await;
    let role = json!({ "name": "clerks" });
    let role = admin.post("roles.create", role).await.expect_ok();
    let role = role["role"]["_id"].as_str().unwrap().to_owned();
    let grants = json!({ "permissions": [{ "_id": "create-user", "roles": ["admin", role] }] });
    admin.post("permissions.update", grants).await.expect_ok();
    let given = json!({ "roleId": role, "username": "clerk" });
    admin.post("roles.addUserToRole", given).await.expect_ok();

    let asked = |name: &str, roles: &[&str]| {
        json!({
            "username": name, "name": name, "email": format!("{name}@example.org"),
            "password": "a long enough password 1", "roles": roles,
        })
    };
    for roles in [&[role.as_str()][..], &["user", "owner"], &["bot"]] {
        let made = clerk.post("users.create", asked("more", roles)).await;
        assert_eq!(
            made.expect_error(400),
            "error-action-not-allowed",
            "{roles:?}"
        );
    }
    for (name, roles) in [("one", &["user"][..]), ("two", &["guest"]), ("three", &[])] {
        let made = clerk.post("users.create", asked(name, roles)).await;
        made.expect_ok();
    }
    let made = admin.post("users.create", asked("more", &["user", &role]));
    made.await.expect_ok();
}

#[tokio::test]
async fn why_somebody_wants_to_be_let_in_is_shown_to_those_who_may_see_the_whole_account() {
    let options = Options::default().setting("Accounts_RegistrationForm", "Public");
    let server = Server::start_with(options).await;
    let admin = server.admin().await;
    let member = admin.member("mary").await;
    let wait = json!({ "value": true });
    let setting = "settings/Accounts_ManuallyApproveNewUsers";
    admin.post(setting, wait).await.expect_ok();
    let form = json!({
        "username": "waiting", "name": "Waiting", "email": "waiting@example.org",
        "pass": "a long secret of somebody", "reason": "I am being treated here",
    });
    // By a client that every node answers after the setting was changed.
    admin.post("users.register", form).await.expect_ok();

    let info = "users.info?username=waiting";
    let told = async |client: &Client| {
        at_last("who registered is shown", async || {
            let answer = client.get(info).await;
            answer.status.is_success().then(|| answer.expect_ok())
        })
        .await
    };
    let shown = told(&admin).await;
    assert_eq!(shown["user"]["reason"], "I am being treated here");
    let shown = told(&member).await;
    assert_eq!(shown["user"]["username"], "waiting");
    assert_eq!(shown["user"]["reason"], Value::Null, "{shown}");
}
