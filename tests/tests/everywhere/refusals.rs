//! What is refused for want of a right: it is on the record, once, and says no more than it has to.

use std::io::Write as _;
use std::net::TcpStream;

use hansard_tests::server::{Client, Server, at_last, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// How often somebody was refused; each node counts for itself.
fn times(denied: &[Value]) -> u64 {
    let times = |one: &Value| one["details"]["times"].as_u64().unwrap_or(1);
    denied.iter().map(times).sum()
}

#[tokio::test]
async fn whoever_asks_again_and_again_in_vain_fills_no_log() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let head = async |admin: &Client| {
        let events = admin.get_path("/api/hansard/v1/events?limit=1").await;
        events.expect_ok()["head"].as_u64().unwrap()
    };
    let before = head(&admin).await;
    for _ in 0..200 {
        let refused = mary.get_path("/api/hansard/v1/audit").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    let denied = admin.audit("outcome=denied&actor=@mary").await;
    assert!(denied.len() <= 3, "{denied:?}");
    let events = head(&admin).await - before;
    assert!(
        events <= 6,
        "{events} events for what was refused, and two looks"
    );

    // What was counted is not lost when the server stops.
    assert!(server.stop().await.success());
    server.launch();
    server.ready().await;
    let denied = admin.audit("outcome=denied&actor=@mary&limit=1000").await;
    let times = |entry: &Value| entry["details"]["times"].as_u64().unwrap_or(1);
    assert_eq!(denied.iter().map(times).sum::<u64>(), 200, "{denied:?}");
    let counted = denied.iter().find(|entry| times(entry) > 1).unwrap();
    assert_eq!(counted["origin"]["address"], "127.0.0.1");
    assert_eq!(counted["details"]["permission"], "view-audit");
    assert!(counted["details"]["since"].is_string(), "{counted}");
}

#[tokio::test]
async fn whatever_is_refused_for_want_of_a_right_is_on_the_record() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let channel = admin.channel("town").await;
    let mary_id = mary.user_id();
    let get = |path: &str| ("GET", path.to_owned(), json!(null));
    let post = |path: &str, body: Value| ("POST", path.to_owned(), body);
    let api = |path: &str| format!("/api/v1/{path}");
    let asked = [
        get(&api("groups.listAll")),
        get(&api("im.list.everyone")),
        get(&api("rooms.adminRooms")),
        get(&api(&format!("rooms.adminRooms.getRoom?rid={channel}"))),
        get(&api(&format!(
            "channels.counters?roomId={channel}&userId={mary_id}"
        ))),
        get(&api("statistics")),
        get(&api("settings/Site_Name")),
        get(&api("roles.getUsersInRole?role=admin")),
        get(&api("integrations.list")),
        get(&api("integrations.history?id=x")),
        get("/api/hansard/v1/audit"),
        get("/api/hansard/v1/retention"),
        get("/api/hansard/v1/views"),
        get("/api/hansard/v1/deliveries"),
        post(&api("settings/Site_Name"), json!({ "value": "x" })),
        post(&api("roles.create"), json!({ "name": "kings" })),
        post(
            &api("users.create"),
            json!({ "username": "joan", "name": "x", "email": "x@x.org", "password": "12345678aA!" }),
        ),
        post(
            &api("users.create"),
            json!({ "username": "joan", "name": "x", "email": "x@x.org", "password": "12345678aA!", "roles": ["admin"] }),
        ),
        post(&api("users.delete"), json!({ "userId": mary_id })),
        post(&api("users.createToken"), json!({ "userId": mary_id })),
        post(
            &api("users.setActiveStatus"),
            json!({ "userId": mary_id, "activeStatus": false }),
        ),
        post(
            &api("users.update"),
            json!({ "userId": mary_id, "data": { "name": "x" } }),
        ),
        post(
            &api("users.update"),
            json!({ "userId": mary_id, "data": { "email": "x@x.org" } }),
        ),
        post(
            &api("users.update"),
            json!({ "userId": mary_id, "data": { "password": "12345678aA!" } }),
        ),
        post(
            &api("users.update"),
            json!({ "userId": mary_id, "data": { "roles": ["admin"] } }),
        ),
        post(&api("users.logout"), json!({ "userId": mary_id })),
        post(&api("users.deactivateIdle"), json!({ "daysIdle": 9 })),
        post(
            &api("integrations.remove"),
            json!({ "type": "webhook-incoming", "integrationId": "x" }),
        ),
        post(
            &api("chat.postMessage"),
            json!({ "roomId": channel, "text": "x", "alias": "Administrator" }),
        ),
        post(
            &api("channels.rename"),
            json!({ "roomId": channel, "name": "city" }),
        ),
        post(&api("channels.delete"), json!({ "roomId": channel })),
        post(
            &api("channels.addOwner"),
            json!({ "roomId": channel, "userId": mary_id }),
        ),
    ];
    for (number, (method, path, body)) in asked.into_iter().enumerate() {
        // Of each caller some kinds are told apart.
        let joe = server.user(&format!("joe{number}")).await;
        let answer = match method {
            "GET" => joe.get_path(&path).await,
            _ => {
                joe.post(path.trim_start_matches("/api/v1/"), body.clone())
                    .await
            }
        };
        assert!(answer.status.is_client_error(), "{path}: {}", answer.body);
        let denied = format!("outcome=denied&actor=@joe{number}");
        let refused = format!("the refusal of {path} {body} is on the record");
        eventually(&refused, async || !admin.audit(&denied).await.is_empty()).await;
    }
}

#[tokio::test]
async fn whoever_asks_for_what_is_in_a_hidden_room_is_on_the_record() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let board = admin
        .post("groups.create", json!({ "name": "board" }))
        .await;
    let board = board.expect_ok()["group"]["_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let direct = admin.post("im.create", json!({ "username": "mary" })).await;
    let direct = direct.expect_ok()["room"]["_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let said = admin.say(&board, "between us").await["_id"].clone();
    let quiet = json!({ "name": "quiet", "readOnly": true });
    let quiet = admin.post("channels.create", quiet).await.expect_ok()["channel"]["_id"].clone();

    let decoys: Vec<_> = (0..40).map(|number| format!("room=q{number}")).collect();
    let decoys = decoys.join("&");
    let get = |operation: &str, room: &str| {
        let sign = if operation.contains('?') { '&' } else { '?' };
        (format!("{operation}{sign}roomId={room}"), Value::Null)
    };
    let post = |operation: &str, body: Value| (operation.to_owned(), body);
    let on = |operation: &str| post(operation, json!({ "messageId": said }));
    let asked = [
        post(
            "chat.sendMessage",
            json!({ "message": { "rid": board, "msg": "x" } }),
        ),
        post("chat.postMessage", json!({ "roomId": board, "text": "x" })),
        post(
            "chat.postMessage",
            json!({ "channel": "#board", "text": "x" }),
        ),
        post(
            "chat.update",
            json!({ "roomId": board, "msgId": said, "text": "x" }),
        ),
        post("chat.delete", json!({ "roomId": board, "msgId": said })),
        post("chat.react", json!({ "messageId": said, "emoji": ":ok:" })),
        on("chat.pinMessage"),
        on("chat.unPinMessage"),
        on("chat.starMessage"),
        on("chat.unStarMessage"),
        post(
            "chat.reportMessage",
            json!({ "messageId": said, "description": "x" }),
        ),
        post(
            "chat.ignoreUser",
            json!({ "rid": board, "userId": mary.user_id() }),
        ),
        post("subscriptions.read", json!({ "rid": board })),
        post("subscriptions.unread", json!({ "roomId": board })),
        post(
            "rooms.saveNotification",
            json!({ "roomId": board, "notifications": {} }),
        ),
        post(
            "rooms.cleanHistory",
            json!({ "roomId": board, "latest": "2100-01-01T00:00:00Z", "oldest": "2000-01-01T00:00:00Z" }),
        ),
        get("channels.info", &board),
        get("channels.history", &board),
        // Whatever else is named, in front of it or beside it.
        get(&format!("im.messages?{decoys}"), &direct),
        get(&format!("channels.history?{decoys}"), &board),
        post(
            &format!("rooms.saveNotification?{decoys}"),
            json!({ "roomId": board, "notifications": {} }),
        ),
        post(
            &format!("chat.postMessage?{decoys}"),
            json!({ "roomId": board, "text": "x" }),
        ),
        post(
            "chat.postMessage",
            json!({ "channel": ["#general", "#board"], "text": "x" }),
        ),
        get("im.history", &direct),
        get("im.messages", &direct),
        get("im.members", &direct),
        post("im.delete", json!({ "roomId": direct })),
        post(
            "chat.sendMessage",
            json!({ "message": { "rid": quiet, "msg": "x" } }),
        ),
    ];
    for (number, (operation, body)) in asked.into_iter().enumerate() {
        // Of each caller some kinds are told apart.
        let joe = server.user(&format!("joe{number}")).await;
        let room = match body.to_string() + &operation {
            all if all.contains(&direct) => &json!(direct),
            all if all.contains(quiet.as_str().unwrap()) => &quiet,
            _ => &json!(board),
        };
        if *room == quiet {
            joe.post("channels.join", json!({ "roomId": quiet }))
                .await
                .expect_ok();
        }
        let answer = match body {
            Value::Null => joe.get(&operation).await,
            ref body if operation == "chat.ignoreUser" => {
                let query = format!(
                    "{operation}?rid={}&userId={}",
                    body["rid"].as_str().unwrap(),
                    body["userId"].as_str().unwrap()
                );
                joe.get(&query).await
            }
            ref body => joe.post(&operation, body.clone()).await,
        };
        assert!(
            answer.status.is_client_error(),
            "{operation}: {}",
            answer.body
        );
        let denied = format!("outcome=denied&actor=@joe{number}");
        let denied = at_last(
            &format!("{operation} {body} is on the record"),
            async || {
                let denied = admin.audit(&denied).await;
                (!denied.is_empty()).then_some(denied)
            },
        )
        .await;
        assert_eq!(times(&denied), 1, "{operation}: {denied:?}");
        assert_eq!(denied[0]["room"], *room, "{operation}: {denied:?}");
    }
}

#[tokio::test]
async fn refusals_that_are_counted_when_their_caller_is_erased_name_no_address() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let joe = server.user("joe").await;
    for _ in 0..5 {
        joe.get_path("/api/hansard/v1/audit")
            .await
            .expect_error(403);
    }
    let delete = json!({ "userId": joe.user_id() });
    admin.post("users.delete", delete).await.expect_ok();
    // What is counted is recorded when the server stops.
    server.stop().await;
    server.launch();
    server.ready().await;
    let denied = at_last("the counted ones are recorded", async || {
        let denied = admin.audit("outcome=denied").await;
        (times(&denied) == 5).then_some(denied)
    })
    .await;
    for one in &denied {
        assert!(one["origin"].is_null(), "{one}");
    }
}

#[tokio::test]
async fn a_refusal_names_no_room_that_there_is_not() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let joe = server.user("joe").await;
    let words = "free text ".repeat(1_000);
    let mute = json!({ "roomId": words, "username": "admin" });
    let refused = joe.post("rooms.muteUser", mute).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    let denied = at_last("the refusal is on the record", async || {
        let denied = admin.audit("outcome=denied&actor=@joe").await;
        (!denied.is_empty()).then_some(denied)
    })
    .await;
    assert!(
        !json!(denied).to_string().contains("free text"),
        "{denied:?}"
    );
}

#[tokio::test]
async fn who_does_not_take_its_answer_keeps_nothing_off_the_record_of_a_stop() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let joe = server.user("joe").await;
    // Two that ask for a page of more than their systems buffer, and read nothing.
    let mut deaf = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let ask = "GET /api-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20);
        stream.write_all(ask.as_bytes()).unwrap();
        deaf.push(stream);
    }
    for _ in 0..5 {
        joe.get_path("/api/hansard/v1/audit")
            .await
            .expect_error(403);
    }
    assert!(server.stop().await.success());
    drop(deaf);
    server.launch();
    server.ready().await;
    eventually("the counted ones are recorded", async || {
        times(&admin.audit("outcome=denied&actor=@joe").await) == 5
    })
    .await;
}

#[tokio::test]
async fn who_has_a_role_is_not_told_by_whether_it_could_be_given() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (mary, carol) = (server.user("mary").await, server.user("carol").await);
    let board = mary.post("groups.create", json!({ "name": "board" })).await;
    let board = board.expect_ok()["group"]["_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let ask = async |role: &str, name: &str, room: Option<&str>| {
        let mut body = json!({ "roleName": role, "username": name });
        if let Some(room) = room {
            body["roomId"] = json!(room);
        }
        let refused = carol.post("roles.addUserToRole", body).await;
        (refused.status, refused.body)
    };
    let owner = ask("owner", "mary", Some(&board)).await;
    assert!(owner.0.is_client_error(), "{owner:?}");
    // What is asked again is counted, each minute and by each node for itself.
    eventually("it is on the record", async || {
        let denied = admin.audit("outcome=denied&actor=@carol&limit=100").await;
        times(&denied) >= 1
    })
    .await;
    assert_eq!(owner, ask("owner", "carol", Some(&board)).await);
    assert_eq!(owner, ask("owner", "mary", Some("there-is-none")).await);
    assert_eq!(owner, ask("admin", "carol", None).await);
    let is_admin = ask("admin", hansard_tests::server::ADMIN, None).await;
    assert_eq!(owner, is_admin);
}
