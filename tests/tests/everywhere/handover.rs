//! What nodes hand over to the one that writes, asked for as they ask each other.

use hansard_tests::server::{Client, Server, eventually};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SECRET: &str = "known to the nodes alone";

/// Whether nodes of this run hand over to each other.
fn elects() -> bool {
    std::env::var("HANSARD_TEST_ON").is_ok_and(|on| on.starts_with("kafka"))
}

/// A post, as a node hands it over.
fn handed(client: &Client, room: &str, text: &str, number: &str, again: bool) -> Value {
    json!({
        "method": "Post",
        "operation": "chat.postMessage",
        "number": number,
        "after": client.seen(),
        "again": again,
        "asked": {
            "credentials": { "user": client.user_id(), "token": client.token() },
            "address": "127.0.0.1",
            "user_agent": "a node",
            "request_id": format!("c0ffee-{number}"),
            "input": {
                "query": "",
                "body": { "roomId": room, "text": text },
                "payload": { "text": "", "is_form": false },
                "path": [],
                "proof": null,
                "token": null,
                "follow": null,
            },
        },
    })
}

/// Hands over to the node that writes.
async fn ask(client: &Client, secret: Option<&str>, handed: &Value) -> (StatusCode, Value) {
    // One node after the other.
    for _ in 0..10 {
        let request = client.request(Method::POST, "/api/hansard/node/operations");
        let mut request = request.json(handed);
        if let Some(secret) = secret {
            request = request.header("hansard-node-secret", secret);
        }
        let answer = request.send().await.unwrap();
        if answer.headers().contains_key("hansard-follows") {
            continue;
        }
        let status = answer.status();
        return (status, answer.json().await.unwrap());
    }
    panic!("no node writes");
}

#[tokio::test]
async fn what_is_handed_over_twice_is_done_once() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let garden = admin.channel("garden").await;
    let first = handed(&admin, &garden, "the roses are out", "1", false);
    if !elects() {
        let (status, _) = ask(&admin, Some(SECRET), &first).await;
        assert_eq!(
            status,
            StatusCode::NOT_FOUND,
            "there are no nodes to ask each other"
        );
        return;
    }
    let (status, _) = ask(&admin, None, &first).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = ask(&admin, Some("another one"), &first).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(admin.texts(&garden).await.is_empty());

    let (status, answer) = ask(&admin, Some(SECRET), &first).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let again = handed(&admin, &garden, "the roses are out", "1", true);
    for repeated in [&again, &first] {
        let same = ask(&admin, Some(SECRET), repeated).await;
        assert_eq!(same, (status, answer.clone()));
    }
    eventually("it is said", async || admin.texts(&garden).await.len() == 1).await;

    // A node that took over has no answers to give again: the log has the request's id.
    let mut elsewhere = handed(&admin, &garden, "the roses are out", "2", true);
    elsewhere["after"] = 0.into();
    elsewhere["asked"]["request_id"] = first["asked"]["request_id"].clone();
    let (status, answer) = ask(&admin, Some(SECRET), &elsewhere).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{answer}");
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("error-answer-lost")
    );
    assert_eq!(admin.texts(&garden).await.len(), 1);

    // What was not done is done now.
    let lost = handed(&admin, &garden, "and the tulips", "3", true);
    let (status, answer) = ask(&admin, Some(SECRET), &lost).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    eventually("it is said", async || admin.texts(&garden).await.len() == 2).await;
}
