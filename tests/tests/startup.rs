//! How a server starts, refuses to, and stops; and what it never writes down.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use hansard_tests::server::{ADMIN_PASSWORD, Server, binary, files, files_with};
use reqwest::Method;
use serde_json::json;

/// How long a server that can't start may take to say so.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a server that must refuse to; answers what it said.
fn refusal(data: &Path, listen: &str, environment: &[(&str, &str)]) -> String {
    let mut process = Command::new(binary())
        .args(["serve", "--listen", listen, "--data"])
        .arg(data)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while process.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            process.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let Output { status, stderr, .. } = process.wait_with_output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("hansard: "), "{said}");
    last
}

#[test]
fn a_port_in_use_is_named() {
    let data = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let said = refusal(data.path(), &address, &[]);
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    std::fs::write(&file, "").unwrap();
    let data = file.join("data");
    let said = refusal(&data, "127.0.0.1:0", &[]);
    assert!(said.contains(&*data.to_string_lossy()), "{said}");
    assert!(said.contains("cannot create the data directory"), "{said}");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    // Not even root makes files there.
    let said = refusal(Path::new("/sys"), "127.0.0.1:0", &[]);
    assert!(said.contains("/sys is not writable"), "{said}");
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_told_who_is_there() {
    let server = Server::start().await;
    let said = refusal(&server.data(), "127.0.0.1:0", &[]);
    let owner = format!("in use by process {}", server.pid());
    assert!(said.contains(&owner), "{said}");
}

#[tokio::test]
async fn a_wrong_master_key_opens_nothing() {
    let mut server = Server::start().await;
    server.stop().await;
    let wrong = [("HANSARD_MASTER_KEY", "5a".repeat(32))];
    let wrong = [(wrong[0].0, wrong[0].1.as_str())];
    let said = refusal(&server.data(), "127.0.0.1:0", &wrong);
    assert!(said.contains("master key"), "{said}");

    let malformed = refusal(
        &server.data(),
        "127.0.0.1:0",
        &[("HANSARD_MASTER_KEY", "key")],
    );
    assert!(
        malformed.contains("64 hexadecimal characters"),
        "{malformed}"
    );
    assert!(!malformed.contains(&"5a".repeat(32)), "{malformed}");

    server.launch();
    server.ready().await;
}

#[tokio::test]
async fn a_lost_master_key_is_not_replaced_by_a_new_one() {
    let mut server = Server::start().await;
    server.stop().await;
    let key = server.data().join("master.key");
    let kept = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let said = refusal(&server.data(), "127.0.0.1:0", &[]);
    assert!(said.contains("master key"), "{said}");
    assert!(!key.exists(), "a key was made that opens nothing");

    std::fs::write(&key, kept).unwrap();
    server.launch();
    server.ready().await;
}

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
