//! `hansard passwd`: whoever runs the server sets a password that nobody knows any more.

use std::io::Write;
use std::process::{Output, Stdio};

use hansard_tests::server::{ADMIN, ADMIN_PASSWORD, Server, command};
use serde_json::json;

/// Runs it with a line on standard input.
fn passwd(server: &Server, arguments: &[&str], line: &str) -> Output {
    let mut process = command(&[])
        .arg("passwd")
        .args(arguments)
        .arg("--data")
        .arg(server.data())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may refuse before it reads.
    let _ = process.stdin.take().unwrap().write_all(line.as_bytes());
    process.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn start_again(server: &mut Server) {
    server.launch();
    server.ready().await;
}

#[tokio::test]
async fn a_password_is_set_while_no_server_runs() {
    const NEW: &str = "ministry of owls";

    let mut server = Server::start().await;
    let admin = server.admin().await;
    let made = json!({ "tokenName": "ci" });
    admin
        .post("users.generatePersonalAccessToken", made)
        .await
        .expect_ok();
    let attic = admin.channel("attic").await;
    admin.say(&attic, "before").await;
    server.stop().await;

    // Its name or its address, whatever the case.
    let done = passwd(&server, &["Admin"], &format!("{NEW}\n"));
    assert!(done.status.success(), "{}", text(&done.stderr));
    let said = text(&done.stdout);
    assert!(said.contains("The password of 'admin' is set."), "{said}");
    assert!(said.contains("have ended: 2."), "{said}");
    assert!(!said.contains(NEW) && !text(&done.stderr).contains(NEW));

    start_again(&mut server).await;
    let old = json!({ "user": ADMIN, "password": ADMIN_PASSWORD });
    assert_eq!(server.anonymous().post("login", old).await.status, 401);
    assert_eq!(admin.get("me").await.status, 401, "the session has ended");
    let again = server.login(ADMIN, NEW).await;
    let history = again
        .get(&format!("channels.history?roomId={attic}"))
        .await
        .expect_ok();
    assert_eq!(history["messages"][0]["msg"], "before");

    // It is on the record, as done by the server.
    let audit = "audit?type=UserPasswordChanged&target=".to_owned() + again.user_id();
    let path = format!("/api/hansard/v1/{audit}");
    let audit = again
        .request(reqwest::Method::GET, &path)
        .send()
        .await
        .unwrap();
    let audit: serde_json::Value = audit.json().await.unwrap();
    let entry = &audit["entries"][0];
    assert_eq!(entry["action"], "UserPasswordChanged", "{audit}");
    assert_eq!(entry["correlation"], "hansard passwd", "{audit}");
    assert!(
        entry["username"].is_null() || entry["actor"] == "system",
        "{audit}"
    );
}

#[tokio::test]
async fn a_one_time_password_is_made_and_printed() {
    let mut server = Server::start().await;
    server.stop().await;
    let done = passwd(&server, &["admin@example.org", "--one-time"], "");
    assert!(done.status.success(), "{}", text(&done.stderr));
    let said = text(&done.stdout);
    let password = said.lines().next().unwrap().rsplit(' ').next().unwrap();
    start_again(&mut server).await;
    let login = json!({ "user": ADMIN, "password": password });
    let login = server.anonymous().post("login", login).await.expect_ok();
    assert_eq!(
        login["data"]["me"]["requirePasswordChange"], true,
        "{login}"
    );
}

#[tokio::test]
async fn what_can_t_be_set_is_refused_and_changes_nothing() {
    let mut server = Server::start().await;
    server.stop().await;
    let unknown = passwd(&server, &["mary"], "a good password\n");
    assert!(!unknown.status.success());
    let said = text(&unknown.stderr);
    assert!(
        said.contains("there is no account 'mary'; the administrators are admin"),
        "{said}"
    );
    for empty in ["", "\n", "   \n"] {
        let refused = passwd(&server, &["admin"], empty);
        assert!(!refused.status.success(), "{}", text(&refused.stdout));
        assert!(
            text(&refused.stderr).contains("password policy"),
            "{}",
            text(&refused.stderr)
        );
    }
    start_again(&mut server).await;
    server.admin().await;
}
