//! How a server stops, and what it never writes down.

use hansard_tests::server::{ADMIN_PASSWORD, Server, files, files_with};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_server_that_is_told_to_stop_stops_cleanly() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let garden = admin.channel("garden").await;
    admin.say(&garden, "last words").await;
    let status = server.stop().await;
    assert_eq!(status.code(), Some(0), "{}", server.output());
    let open: Vec<_> = files(&server.data())
        .into_iter()
        .filter(|(path, content)| {
            let name = path.to_string_lossy();
            name.ends_with("-wal") && !content.is_empty()
        })
        .map(|(path, _)| path)
        .collect();
    assert!(open.is_empty(), "left open: {open:?}");

    server.launch();
    server.ready().await;
    let history = admin
        .get(&format!("channels.history?roomId={garden}"))
        .await
        .expect_ok();
    assert_eq!(history["messages"][0]["msg"], "last words");
}

#[tokio::test]
async fn secrets_are_never_written_down_and_words_only_sealed() {
    const WRONG_PASSWORD: &str = "wrong-horse-mistyped";
    const PASSWORD: &str = "quokka-9-battery";
    const TEXT: &str = "xylophone of the unspoken";
    const USERNAME: &str = "ottoline.m";
    const EMAIL: &str = "ottoline@bloomsbury.example";
    const NAME: &str = "Ottoline Morrell";
    const TOPIC: &str = "gossip-about-garsington";

    let mut server = Server::start().await;
    let admin = server.admin().await;
    let made = json!({
        "username": USERNAME, "name": NAME, "email": EMAIL, "password": PASSWORD, "verified": true,
    });
    admin.post("users.create", made).await.expect_ok();
    let refused = json!({ "user": USERNAME, "password": WRONG_PASSWORD });
    let refused = server.anonymous().post("login", refused).await;
    assert_eq!(refused.status, 401);
    let user = server.login(USERNAME, PASSWORD).await;
    let personal = user
        .post(
            "users.generatePersonalAccessToken",
            json!({ "tokenName": "ci" }),
        )
        .await
        .expect_ok();
    let personal = personal["token"].as_str().unwrap().to_owned();
    let salon = user.channel("salon").await;
    user.say(&salon, TEXT).await;
    user.post(
        "channels.setTopic",
        json!({ "roomId": salon, "topic": TOPIC }),
    )
    .await
    .expect_ok();
    let changed = json!({ "data": { "currentPassword": PASSWORD, "newPassword": "short" } });
    user.post("users.updateOwnBasicInfo", changed).await;
    // Where people put them by mistake.
    let path = format!("/api/v1/me?authToken={}&password={PASSWORD}", user.token());
    user.request(Method::GET, &path).send().await.unwrap();

    let secrets = [
        ("the administrator's password", ADMIN_PASSWORD),
        ("a password", PASSWORD),
        ("a mistyped password", WRONG_PASSWORD),
        ("a session's token", user.token()),
        ("another session's token", admin.token()),
        ("a personal access token", &personal),
    ];
    let personal_data = [
        ("a message", TEXT),
        ("a username", USERNAME),
        ("an address", EMAIL),
        ("a name", NAME),
        ("a topic", TOPIC),
        ("a room's name", "salon"),
    ];
    for stopped in [false, true] {
        if stopped {
            server.stop().await;
        }
        let output = server.output();
        for (what, secret) in secrets {
            assert!(!output.contains(secret), "{what} stands in a log line");
            let found = files_with(&server.data(), secret);
            assert!(found.is_empty(), "{what} stands in {found:?}");
        }
        for (what, text) in personal_data {
            assert!(!output.contains(text), "{what} stands in a log line");
            // The views hold it in the clear; they can be deleted at any time.
            let views = server.data().join("views");
            let mut found = files_with(&server.data(), text);
            found.retain(|path| !path.starts_with(&views));
            assert!(found.is_empty(), "{what} stands in {found:?}");
        }
    }
}
