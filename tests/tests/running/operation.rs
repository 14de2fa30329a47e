//! The server as its operator meets it: it rebuilds, stops, and says how it is doing; what every request gets.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use hansard_tests::server::{Options, Server};
use reqwest::{Method, StatusCode};
use serde_json::json;

#[tokio::test]
async fn views_are_built_again_beside_what_serves_and_into_another_directory() {
    let mut server = Server::start().await;
    assert!(server.stop().await.success());
    assert!(server.hansard(&["replay"]).status.success());
    let into = server.data().with_file_name("then");
    let then = server.hansard(&[
        "replay",
        "rooms",
        "--until",
        "1",
        "--into",
        into.to_str().unwrap(),
    ]);
    assert!(then.status.success(), "{then:?}");
    assert!(
        String::from_utf8_lossy(&then.stdout).contains("position 1 "),
        "{then:?}"
    );
    assert!(into.join("rooms-1.db").is_file());
    assert_eq!(
        server.hansard(&["replay", "no-such-view"]).status.code(),
        Some(1)
    );
    server.launch();
    server.ready().await;
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let server = Server::start().await;
    let client = server.anonymous();
    let made = client
        .request(Method::GET, "/api/info")
        .send()
        .await
        .unwrap();
    assert_eq!(made.headers()["x-request-id"].len(), 17);
    assert_eq!(made.headers()["content-type"], "application/json");
    let given = client
        .request(Method::GET, "/api/info")
        .header("X-Request-Id", "7e57-7");
    assert_eq!(
        given.send().await.unwrap().headers()["x-request-id"],
        "7e57-7"
    );
    // It is recorded in clear, and for ever.
    let telling = client
        .request(Method::GET, "/api/info")
        .header("X-Request-Id", "mary-was-here");
    let telling = telling.send().await.unwrap();
    assert_eq!(telling.headers()["x-request-id"].len(), 17);
}

#[tokio::test]
async fn what_is_no_endpoint_is_told_in_the_routers_words() {
    let server = Server::start().await;
    let client = server.anonymous();
    let missing = client.get("no.such.endpoint").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let told = json!({ "status": "error", "message": "API endpoint does not exist" });
    assert_eq!(missing.body, told);

    let wrong = client
        .request(Method::DELETE, "/api/info")
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.headers()["allow"], "GET,HEAD");
    assert_eq!(wrong.json::<serde_json::Value>().await.unwrap(), told);
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused() {
    let options = Options {
        rate_limited: true,
        ..Options::default()
    };
    let options = options.setting("API_Enable_Rate_Limiter_Limit_Calls_Default", "2");
    let server = Server::start_with(options).await;
    let client = server.anonymous();
    let call = || client.request(Method::GET, "/api/v1/info").send();
    for remaining in ["1", "0"] {
        let allowed = call().await.unwrap();
        assert_eq!(allowed.status(), StatusCode::OK);
        assert_eq!(allowed.headers()["x-ratelimit-limit"], "2");
        assert_eq!(allowed.headers()["x-ratelimit-remaining"], remaining);
    }
    let refused = call().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("x-ratelimit-reset"));
    assert!(refused.headers().contains_key("retry-after"));
    let body: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(body["success"], false);
    let error = body["error"].as_str().unwrap();
    assert!(
        error.starts_with("Error, too many requests. Please slow down."),
        "{error}"
    );
    assert!(error.ends_with("[error-too-many-requests]"), "{error}");
}

#[tokio::test]
async fn pages_of_other_origins_are_let_in_by_the_settings() {
    let ask = async |server: &Server| {
        let request = server.anonymous().request(Method::OPTIONS, "/api/info");
        let request = request
            .header("Origin", "https://chat.example.org")
            .header("Access-Control-Request-Method", "GET");
        request.send().await.unwrap()
    };
    let closed = Server::start().await;
    assert_eq!(ask(&closed).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    let options = Options::default()
        .setting("API_Enable_CORS", "true")
        .setting("API_CORS_Origin", "https://chat.example.org");
    let open = Server::start_with(options).await;
    let answer = ask(&open).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(
        answer.headers()["access-control-allow-origin"],
        "https://chat.example.org"
    );
}

#[tokio::test]
async fn the_server_says_how_it_is_doing() {
    let server = Server::start().await;
    let client = server.anonymous();
    assert_eq!(
        client.get_path("/health").await.body,
        json!({ "status": "ok" })
    );
    assert_eq!(client.get_path("/ready").await.body["ready"], true);
    let metrics = client
        .request(Method::GET, "/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        metrics.contains("hansard_http_request_seconds_count"),
        "{metrics}"
    );
    let page = client
        .request(Method::GET, "/api-docs/")
        .send()
        .await
        .unwrap();
    assert!(page.text().await.unwrap().contains("swagger-ui"));
    let document = client.get_path("/api-docs/openapi.json").await;
    assert!(document.body["paths"]["/api/info"]["get"].is_object());
    assert!(
        server.output().contains("\"message\":\"serving\""),
        "log lines are JSON in a file"
    );
}

#[tokio::test]
async fn a_rooms_messages_are_exported_oldest_first() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    for text in ["first", "second, \"quoted\"\nand broken"] {
        admin.say("GENERAL", text).await;
    }
    assert!(server.stop().await.success());
    let exported = |arguments: &[&str]| {
        let output = server.hansard(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let lines = exported(&["export", "general"]);
    let texts: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["msg"].take())
        .collect();
    assert_eq!(texts, ["first", "second, \"quoted\"\nand broken"]);
    let table = exported(&["export", "GENERAL", "--format", "csv"]);
    assert!(table.starts_with("id,at,userId,username,"), "{table}");
    assert!(
        table.contains("\"second, \"\"quoted\"\"\nand broken\""),
        "{table}"
    );
}

#[tokio::test]
async fn a_room_is_exported_to_its_end_however_large_its_messages_are() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("archive").await;
    for number in 0..5 {
        admin.say(&room, &format!("before {number}")).await;
    }
    // More than a page may have: it ends before as many messages as were asked for.
    let text = "x".repeat(250_000);
    for _ in 0..140 {
        let message = json!({ "roomId": room, "text": "large", "attachments": [{ "text": text }] });
        admin.post("chat.postMessage", message).await.expect_ok();
    }
    for number in 0..5 {
        admin.say(&room, &format!("after {number}")).await;
    }
    assert!(server.stop().await.success());
    let output = server.hansard(&["export", "archive"]);
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), 150);
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["msg"], "after 4");
}

#[tokio::test]
async fn an_exported_table_holds_no_formula_and_is_read_by_its_owner_alone() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let formula = "=cmd|' /C calc'!A0";
    admin.say("GENERAL", formula).await;
    assert!(server.stop().await.success());
    let file = server.data().with_file_name("general.csv");
    std::fs::write(&file, "what stood here before").unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let path = file.to_str().unwrap();
    let output = server.hansard(&["export", "general", "--format", "csv", "--output", path]);
    assert!(output.status.success(), "{output:?}");
    let table = std::fs::read_to_string(&file).unwrap();
    assert!(table.contains(&format!(",'{formula}\n")), "{table}");
    assert!(!table.contains("what stood here before"), "{table}");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
