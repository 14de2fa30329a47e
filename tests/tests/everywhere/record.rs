//! Hansard's own surface: the audit, the log as a feed, the views, retention, statistics.

use std::time::Duration;

use hansard_tests::server::{Client, Server, at_last, eventually};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn text(client: &Client, path: &str) -> (Option<String>, String) {
    let answer = client.request(Method::GET, path).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let kind = answer.headers().get("content-type");
    let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
    (kind, answer.text().await.unwrap())
}

#[tokio::test]
async fn the_audit_tells_who_did_what_and_who_was_refused() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let room = admin.channel("council").await;
    admin.say(&room, "the budget is secret").await;
    mary.post(
        "rooms.cleanHistory",
        json!({ "roomId": room, "oldest": "2016-01-01", "latest": "2016-01-02" }),
    )
    .await
    .expect_error(400);
    server
        .anonymous()
        .post("login", json!({ "user": "mary", "password": "wrong" }))
        .await;

    let sent = admin
        .audit("type=MessageSent&actor=admin&room=council")
        .await;
    let sent = sent.first().unwrap();
    assert_eq!(sent["username"], "admin");
    assert_eq!(sent["roomName"], "council");
    assert_eq!(sent["origin"]["address"], "127.0.0.1");
    let denied = admin.audit("outcome=denied&actor=@mary").await;
    assert_eq!(
        denied[0]["target"],
        json!({ "kind": "operation", "id": "rooms.cleanHistory" })
    );
    let failed = admin.audit("outcome=failed&target=@mary").await;
    assert_eq!(failed[0]["action"], "LoginFailed");
    let everything = admin.audit("limit=1000").await;
    assert!(
        !Value::from(everything.clone())
            .to_string()
            .contains("budget")
    );

    // Looks are on the record, and pages join.
    eventually("the looks are on the record", async || {
        let looks = admin.audit("type=RecordInspected&actor=admin").await;
        looks.len() >= 4
    })
    .await;
    let mut paged = Vec::new();
    let mut before = "before=1000000".to_owned();
    loop {
        let page = admin
            .get_path(&format!(
                "/api/hansard/v1/audit?limit=7&{before}&target=@mary"
            ))
            .await
            .expect_ok();
        paged.extend(page["entries"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_u64() else {
            break;
        };
        before = format!("before={next}");
    }
    assert_eq!(paged, admin.audit("limit=1000&target=@mary").await);
}

#[tokio::test]
async fn the_audit_comes_as_lines_and_as_a_table() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let whole = admin.audit("order=oldest&type=UserRegistered").await;
    let path = "/api/hansard/v1/audit?type=UserRegistered&format=";
    let (kind, lines) = text(&admin, &format!("{path}jsonl")).await;
    assert_eq!(kind.as_deref(), Some("application/jsonl; charset=utf-8"));
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, whole);
    let (kind, table) = text(&admin, &format!("{path}csv")).await;
    assert_eq!(kind.as_deref(), Some("text/csv; charset=utf-8"));
    assert!(table.starts_with("position,at,actor,"), "{table}");
    assert_eq!(table.lines().count(), whole.len() + 1);
}

#[tokio::test]
async fn a_wrong_filter_is_told_and_shows_nothing() {
    let server = Server::start().await;
    let admin = server.admin().await;
    for query in [
        "audit?outcome=maybe",
        "audit?type=NothingHappened",
        "audit?since=yesterday",
        "audit?actor=nobody-of-that-name",
        "audit?aktor=admin",
        "audit?limit=0",
        "audit?order=sideways",
        "audit?format=xml",
        "events?types=NothingHappened",
        "events?limit=100000",
        "events?after=x",
    ] {
        let refused = admin.get_path(&format!("/api/hansard/v1/{query}")).await;
        assert_eq!(
            refused.status,
            StatusCode::BAD_REQUEST,
            "{query}: {}",
            refused.body
        );
        assert_eq!(refused.body["errorType"], "invalid-params", "{query}");
    }
}

#[tokio::test]
async fn only_those_who_may_see_the_record_do() {
    let server = Server::start().await;
    let mary = server.user("mary").await;
    for path in [
        "audit",
        "events",
        "streams/room-GENERAL",
        "views",
        "retention",
    ] {
        let path = format!("/api/hansard/v1/{path}");
        assert_eq!(
            mary.get_path(&path).await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
        let nobody = server.anonymous().get_path(&path).await;
        assert_eq!(nobody.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let rebuild = "/api/hansard/v1/views/audit/rebuild";
    let refused = mary.request(Method::POST, rebuild).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_log_is_read_page_by_page_without_its_secrets() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("council").await;
    let said = admin.say(&room, "hear, hear").await;
    let mut events: Vec<Value> = Vec::new();
    let mut after = 0;
    loop {
        let page = admin
            .get_path(&format!("/api/hansard/v1/events?after={after}&limit=10"))
            .await
            .expect_ok();
        let found = page["events"].as_array().unwrap();
        assert!(found.len() <= 10);
        events.extend(found.clone());
        after = page["next"].as_u64().unwrap();
        // Each look adds an event of its own.
        if found.len() < 10 {
            break;
        }
    }
    let positions: Vec<_> = events
        .iter()
        .map(|event| event["position"].as_u64().unwrap())
        .collect();
    assert!(positions.is_sorted_by(|earlier, later| earlier < later));
    // Where nodes elect the one that writes, its election comes before all else.
    let mut kinds = events.iter().map(|event| &event["type"]);
    let first = kinds.find(|kind| *kind != "WriterElected");
    assert_eq!(first.unwrap(), "WorkspaceFounded");
    let sent = events
        .iter()
        .find(|event| event["stream"] == format!("message-{}", said["_id"].as_str().unwrap()));
    assert_eq!(sent.unwrap()["payload"]["content"]["t"], "hear, hear");
    let all = Value::from(events).to_string();
    assert!(!all.contains("$argon2"), "a password's hash is shown");
    assert!(!all.contains(admin.token()), "a token is shown");

    let rooms = admin
        .get_path("/api/hansard/v1/events?types=RoomCreated&limit=1000")
        .await
        .expect_ok();
    assert!(
        rooms["events"]
            .as_array()
            .unwrap()
            .iter()
            .all(|event| event["type"] == "RoomCreated")
    );
    let stream = admin
        .get_path(&format!("/api/hansard/v1/streams/room-{room}"))
        .await
        .expect_ok();
    assert_eq!(stream["events"][0]["version"], 1);
    let nothing = admin.get_path("/api/hansard/v1/streams/room-nowhere").await;
    assert_eq!(nothing.status, StatusCode::NOT_FOUND);
}

/// Reads server-sent events until one of a type comes; answers its id and its data.
async fn next_event(answer: &mut reqwest::Response, kind: &str) -> (u64, Value) {
    let mut read = String::new();
    let wanted = format!("event: {kind}");
    let waiting = async {
        loop {
            while let Some(end) = read.find("\n\n") {
                let event: String = read.drain(..end + 2).collect();
                let line = |name: &str| {
                    let mut lines = event.lines();
                    lines
                        .find_map(|line| line.strip_prefix(name).map(|rest| rest.trim().to_owned()))
                };
                if event.lines().any(|line| line == wanted) {
                    let data = serde_json::from_str(&line("data:").unwrap()).unwrap();
                    return (line("id:").unwrap().parse().unwrap(), data);
                }
            }
            let chunk = answer.chunk().await.unwrap().expect("the feed goes on");
            read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect("an event comes")
}

fn feed(client: &Client, query: &str, last: Option<u64>) -> reqwest::RequestBuilder {
    let path = format!("/api/hansard/v1/events?{query}");
    let request = client
        .request(Method::GET, &path)
        .header("Accept", "text/event-stream");
    match last {
        Some(last) => request.header("Last-Event-ID", last.to_string()),
        None => request,
    }
}

#[tokio::test]
async fn the_feed_goes_on_where_it_was_left_and_ends_with_the_right_to_see_it() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("council").await;
    admin.say(&room, "first").await;
    let mut answer = feed(&admin, "types=MessageSent", None)
        .send()
        .await
        .unwrap();
    let content = |event: &Value| event["payload"]["content"]["t"].clone();
    let (first, event) = next_event(&mut answer, "MessageSent").await;
    assert_eq!(content(&event), "first");
    admin.say(&room, "second").await;
    let (_, event) = next_event(&mut answer, "MessageSent").await;
    assert_eq!(content(&event), "second");
    drop(answer);

    admin.say(&room, "third").await;
    let mut answer = feed(&admin, "types=MessageSent", Some(first))
        .send()
        .await
        .unwrap();
    for expected in ["second", "third"] {
        let (_, event) = next_event(&mut answer, "MessageSent").await;
        assert_eq!(content(&event), expected);
    }

    // Another holder loses the right while it listens.
    let mary = server.user("mary").await;
    let grant =
        |roles: Value| json!({ "permissions": [{ "_id": "view-event-log", "roles": roles }] });
    admin
        .post("permissions.update", grant(json!(["admin", "user"])))
        .await
        .expect_ok();
    let listen = async || {
        let mut hers = feed(&mary, "types=MessageSent", None).send().await.unwrap();
        next_event(&mut hers, "MessageSent").await;
        hers
    };
    let ends = async |mut feed: reqwest::Response| {
        let ended = async { while feed.chunk().await.unwrap().is_some() {} };
        tokio::time::timeout(Duration::from_secs(30), ended)
            .await
            .expect("her feed ends");
    };
    let hers = listen().await;
    let demand = |on| json!({ "userId": mary.user_id(), "data": { "requirePasswordChange": on } });
    admin.post("users.update", demand(true)).await.expect_ok();
    ends(hers).await;
    admin.post("users.update", demand(false)).await.expect_ok();
    let hers = listen().await;
    admin
        .post("permissions.update", grant(json!(["admin"])))
        .await
        .expect_ok();
    ends(hers).await;

    // The server stops in spite of those who listen.
    let status = server.stop().await;
    assert!(status.success(), "{}", server.output());
    let ended = async { while matches!(answer.chunk().await, Ok(Some(_))) {} };
    tokio::time::timeout(Duration::from_secs(30), ended)
        .await
        .expect("the feed ends");
}

#[tokio::test]
async fn views_tell_how_they_are_and_are_rebuilt() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let generation = async || {
        let views = admin.get_path("/api/hansard/v1/views").await.expect_ok();
        let views = views["views"].as_array().unwrap().clone();
        let view = views
            .into_iter()
            .find(|view| view["name"] == "audit")
            .unwrap();
        assert!(view["lag"].is_u64() && view["version"].is_u64());
        (view["generation"].as_u64(), view["state"] == "serving")
    };
    // What is being built already is not begun anew.
    eventually("the audit is built", async || generation().await.1).await;
    let (before, _) = generation().await;
    let rebuild = admin
        .request(Method::POST, "/api/hansard/v1/views/audit/rebuild")
        .send()
        .await
        .unwrap();
    assert_eq!(rebuild.status(), StatusCode::ACCEPTED);
    eventually("the audit is rebuilt", async || {
        let (now, serving) = generation().await;
        serving && now > before
    })
    .await;
    assert!(!admin.audit("limit=5").await.is_empty());
    let unknown = admin
        .request(Method::POST, "/api/hansard/v1/views/nothing/rebuild")
        .send()
        .await
        .unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_policy_that_is_switched_on_prunes_a_room_where_nothing_is_said() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("quiet").await;
    admin.say(&room, "long ago").await;
    for (setting, value) in [
        ("RetentionPolicy_TTL_Channels", json!(1)),
        ("RetentionPolicy_AppliesToChannels", json!(true)),
        ("RetentionPolicy_Enabled", json!(true)),
    ] {
        let change = json!({ "value": value });
        admin
            .post(&format!("settings/{setting}"), change)
            .await
            .expect_ok();
    }
    eventually("the room is pruned", async || {
        let path = format!("channels.history?roomId={room}");
        let history = admin.get(&path).await.expect_ok();
        history["messages"].as_array().unwrap().is_empty()
    })
    .await;
    let told = at_last("the prune is counted", async || {
        let path = "/api/hansard/v1/retention?room=quiet";
        let told = admin.get_path(path).await.expect_ok();
        let messages = &told["rooms"][0]["pruned"]["retention"]["messages"];
        (messages.as_u64() >= Some(1)).then_some(told)
    })
    .await;
    assert_eq!(told["enabled"], true);
    assert_eq!(told["schedule"], "*/30 * * * *");
    assert_eq!(told["rooms"][0]["policy"]["maxAge"], 1);
    eventually("the look is on the record", async || {
        let looks = admin.audit("type=RecordInspected").await;
        let mut looks = looks.iter().map(|look| &look["target"]["id"]);
        looks.any(|what| what == "retention")
    })
    .await;
    let pruned = at_last("the prune is audited", async || {
        let mut pruned = admin.audit("type=ChannelPruned&room=quiet").await;
        pruned.pop()
    })
    .await;
    assert_eq!(pruned["actor"], "policy:retention");
}

#[tokio::test]
async fn statistics_count_what_there_is() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let before = admin.get("statistics").await.expect_ok();
    let room = admin.channel("council").await;
    admin.say(&room, "hear, hear").await;
    let mary = server.user("mary").await;
    let after = admin.get("statistics?refresh=true").await.expect_ok();
    let more = |field: &str| after[field].as_i64().unwrap() - before[field].as_i64().unwrap();
    assert_eq!(more("totalUsers"), 1);
    assert_eq!(more("totalChannels"), 1);
    assert!(more("totalChannelMessages") >= 1);
    // Of the node that answers.
    assert!(after["process"]["uptime"].as_f64() > Some(0.0));
    assert!(after["os"]["totalmem"].as_u64().unwrap() > 0);
    let refused = mary.get("statistics").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.body["error"], "error-not-allowed");
}
