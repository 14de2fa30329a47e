//! Rights that are taken away while something is under way that was asked for with them.
//!
//! What a look shows is in `stalled_views`.

use std::time::Duration;

use futures::future::join_all;
use hansard_tests::raw::Raw;
use hansard_tests::server::{Options, Server};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn nobody_registers_after_registration_was_closed() {
    let server =
        Server::start_with(Options::default().setting("Accounts_RegistrationForm", "Public")).await;
    let admin = server.admin().await;
    let crowd = (0..12).map(|number| {
        let application = json!({
            "username": format!("late{number}"), "name": "Late", "pass": "correct horse battery staple",
            "email": format!("late{number}@example.org"),
        });
        let nobody = server.anonymous();
        async move { nobody.post("users.register", application).await }
    });
    let close = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let closed = json!({ "value": "Disabled" });
        let path = "settings/Accounts_RegistrationForm";
        admin.post(path, closed).await.expect_ok();
    };
    tokio::join!(join_all(crowd), close);
    let path = "/api/hansard/v1/events?limit=1000&types=UserRegistered,SettingChanged";
    let events = admin.get_path(path).await.expect_ok();
    let events = events["events"].as_array().unwrap();
    let registered = |event: &&serde_json::Value| {
        event["type"] == "UserRegistered" && event["payload"].to_string().contains("late")
    };
    let mut closed = events
        .iter()
        .filter(|event| event["type"] == "SettingChanged");
    let closed = closed.next_back().unwrap()["position"].as_u64().unwrap();
    let late = events.iter().filter(registered);
    let late = late.filter(|event| event["position"].as_u64().unwrap() > closed);
    assert_eq!(late.count(), 0);
}

/// A client that reads slowly has what its system buffers, and no more.
#[tokio::test]
async fn an_export_of_the_audit_ends_with_the_session_that_asked_for_it() {
    let server = Server::start().await;
    let admin = server.admin().await;
    // Each line of the audit has the name of the program in it.
    let agent = "x".repeat(500);
    let said = (0..16).map(|_| async {
        for _ in 0..700 {
            let message = json!({ "message": { "rid": "GENERAL", "msg": "said" } });
            let request = admin.request(Method::POST, "/api/v1/chat.sendMessage");
            let request = request.header("User-Agent", &agent).json(&message);
            admin.answer(request).await.expect_ok();
        }
    });
    join_all(said).await;
    let auditor = server.admin().await;
    let mut raw = Raw::connect(&server).await;
    raw.send(format!(
        "GET /api/hansard/v1/audit?format=jsonl HTTP/1.1\r\nHost: hansard\r\nX-User-Id: {}\r\n\
         X-Auth-Token: {}\r\n\r\n",
        auditor.user_id(),
        auditor.token()
    ))
    .await;
    assert_eq!(raw.answer_without_body().await.unwrap().status, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    auditor.post("logout", json!({})).await.expect_ok();
    let rest = raw.closed().await;
    let lines = rest.split(|byte| *byte == b'\n').count();
    assert!((1..11_000).contains(&lines), "{lines} lines");
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "it looks as if it were whole"
    );
}

#[tokio::test]
async fn a_session_that_ended_is_not_gone_on_with() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    for round in 0..6 {
        let token = json!({ "userId": mary.user_id() });
        let session = admin.post("users.createToken", token).await.expect_ok();
        let token = session["data"]["authToken"].as_str().unwrap();
        let held = server.client(mary.user_id(), token);
        let resuming = (0..6).map(|_| async {
            let mut ended = 0;
            // Until the server has said so a few times.
            while ended < 3 {
                let resume = json!({ "resume": token });
                let answer = server.anonymous().post("login", resume).await;
                ended += u32::from(!answer.status.is_success());
            }
        });
        let end = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            match round % 3 {
                0 => held.post("logout", json!({})).await.expect_ok(),
                1 => held.get("logout").await.expect_ok(),
                _ => {
                    let whose = json!({ "userId": mary.user_id() });
                    admin.post("users.logout", whose).await.expect_ok()
                }
            };
        };
        let all = async { tokio::join!(join_all(resuming), end) };
        let done = tokio::time::timeout(Duration::from_secs(30), all).await;
        assert!(done.is_ok(), "round {round}: the session lives on");
        assert_eq!(held.get("me").await.status.as_u16(), 401, "round {round}");
    }
}
