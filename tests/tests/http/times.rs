//! Times that clients name, as far as numbers go: each is taken for what it is, or refused.

use hansard_tests::server::Server;
use serde_json::json;

/// What no calendar holds, and what is not a time at all.
const IMPOSSIBLE: [&str; 8] = [
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "253402300800000",
    "%2B262142-01-01",
    "0000-12-31T23:59:59.999Z",
    "NaN",
    "soon",
];

/// The ends of what a calendar holds.
const POSSIBLE: [&str; 4] = [
    "0001-01-01T00:00:00.000Z",
    "1970-01-01T00:00:00.000Z",
    "2999-12-31",
    "9999-12-31T23:59:59.999Z",
];

/// Every parameter of a query string that is a time; `{}` is where it stands.
fn queries(room: &str, group: &str, direct: &str, message: &str) -> Vec<String> {
    let mut queries = Vec::new();
    for (section, room) in [("channels", room), ("groups", group), ("im", direct)] {
        for bound in ["latest", "oldest"] {
            for inclusive in [false, true] {
                queries.push(format!(
                    "/api/v1/{section}.history?roomId={room}&{bound}={{}}&inclusive={inclusive}&unreads=true"
                ));
            }
        }
        for operator in ["$gt", "$gte", "$lt", "$lte"] {
            let query =
                format!("%7B%22ts%22:%7B%22{operator}%22:%7B%22$date%22:%22{{}}%22%7D%7D%7D");
            queries.push(format!(
                "/api/v1/{section}.messages?roomId={room}&query={query}"
            ));
        }
    }
    queries.extend([
        format!("/api/v1/chat.syncMessages?roomId={room}&lastUpdate={{}}"),
        format!("/api/v1/chat.getDeletedMessages?roomId={room}&since={{}}"),
        format!("/api/v1/chat.syncThreadsList?rid={room}&updatedSince={{}}"),
        format!("/api/v1/chat.syncThreadMessages?tmid={message}&updatedSince={{}}"),
        "/api/v1/rooms.get?updatedSince={}".to_owned(),
        "/api/v1/subscriptions.get?updatedSince={}".to_owned(),
        "/api/v1/permissions.listAll?updatedSince={}".to_owned(),
        "/api/hansard/v1/audit?since={}".to_owned(),
        "/api/hansard/v1/audit?until={}".to_owned(),
    ]);
    queries
}

#[tokio::test]
async fn a_time_beyond_all_calendars_is_refused_and_one_within_is_answered() {
    let server = Server::start().await;
    let admin = server.admin().await;
    server.user("mary").await;
    let room = admin.channel("talk").await;
    let made = admin
        .post("groups.create", json!({ "name": "few" }))
        .await
        .expect_ok();
    let group = made["group"]["_id"].as_str().unwrap().to_owned();
    let made = admin
        .post("im.create", json!({ "username": "mary" }))
        .await
        .expect_ok();
    let direct = made["room"]["_id"].as_str().unwrap().to_owned();
    let message = admin.say(&room, "hello").await["_id"]
        .as_str()
        .unwrap()
        .to_owned();
    admin.say(&group, "hello").await;
    admin.say(&direct, "hello").await;

    for query in queries(&room, &group, &direct, &message) {
        for time in POSSIBLE {
            let answer = admin.get_path(&query.replace("{}", time)).await;
            assert_eq!(answer.status, 200, "{query} with {time}: {}", answer.body);
        }
        for time in IMPOSSIBLE {
            let answer = admin.get_path(&query.replace("{}", time)).await;
            assert_eq!(answer.status, 400, "{query} with {time}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_bound_at_the_end_of_time_hides_and_shows_what_it_says() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("talk").await;
    admin.say(&room, "hello").await;
    for (bounds, shown) in [
        ("latest=9999-12-31T23:59:59.999Z", 1),
        ("oldest=9999-12-31T23:59:59.999Z", 0),
        ("oldest=253402300799999&inclusive=true", 0),
        ("latest=0001-01-01T00:00:00.000Z", 0),
        ("oldest=-62135596800000", 1),
        ("oldest=&latest=", 1),
    ] {
        let history = admin
            .get(&format!("channels.history?roomId={room}&{bounds}"))
            .await
            .expect_ok();
        let messages = history["messages"].as_array().unwrap();
        let said = messages.iter().filter(|message| message["t"].is_null());
        assert_eq!(said.count(), shown, "{bounds}");
    }
}

#[tokio::test]
async fn a_time_in_a_body_is_checked_too() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("talk").await;
    for time in [
        json!(i64::MAX),
        json!(i64::MIN),
        json!({ "$date": i64::MAX }),
        json!(u64::MAX),
    ] {
        let message = json!({ "message": { "rid": room, "msg": "hello", "ts": time } });
        let error = admin
            .post("chat.sendMessage", message)
            .await
            .expect_error(400);
        assert_eq!(error, "error-message-ts-out-of-sync", "{time}");
    }
    for (latest, oldest) in [
        ("9999-12-31", "9223372036854775807"),
        ("-9223372036854775808", "0001-01-01"),
        ("+262142-01-01", "0001-01-01"),
    ] {
        let prune = json!({ "roomId": room, "latest": latest, "oldest": oldest });
        let answer = admin.post("rooms.cleanHistory", prune).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    for days in [json!(i64::MAX), json!(u64::MAX)] {
        let idle = json!({ "daysIdle": days, "role": "user" });
        let answer = admin.post("users.deactivateIdle", idle).await;
        assert!(answer.status.as_u16() < 500, "{}", answer.body);
    }
}
