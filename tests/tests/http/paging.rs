//! Reading on by time, as clients do: nothing is missed, and nothing is read twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use hansard_tests::server::{Client, Options, Server};
use serde_json::{Value, json};

/// How many speak at once.
const SPEAKERS: usize = 64;

/// How many messages they send altogether; every fourth is a reply in the thread, shown in the room.
const MESSAGES: usize = 20_000;

const PAGE: usize = 100;

/// What was said, by id.
type Ids = BTreeSet<String>;

/// Everybody speaks as fast as the server lets them; answers the ids of all messages and of the replies
/// in the thread.
async fn a_busy_room(client: &Client, room: &str, thread: &str) -> (Ids, Ids) {
    let client = Arc::new(client.clone());
    let mut speaking = tokio::task::JoinSet::new();
    for speaker in 0..SPEAKERS {
        let (client, room, thread) = (client.clone(), room.to_owned(), thread.to_owned());
        speaking.spawn(async move {
            let mut said = Vec::new();
            for number in (speaker..MESSAGES).step_by(SPEAKERS) {
                let reply = number % 4 == 0;
                let mut message = json!({ "rid": room, "msg": format!("number {number}") });
                if reply {
                    message["tmid"] = json!(thread);
                    message["tshow"] = json!(true);
                }
                let sent = client
                    .post("chat.sendMessage", json!({ "message": message }))
                    .await;
                let sent = sent.expect_ok();
                said.push((sent["message"]["_id"].as_str().unwrap().to_owned(), reply));
            }
            said
        });
    }
    let said: Vec<_> = speaking.join_all().await.into_iter().flatten().collect();
    let all = said.iter().map(|(id, _)| id.clone()).collect();
    let replies = said
        .into_iter()
        .filter(|(_, reply)| *reply)
        .map(|(id, _)| id);
    (all, replies.collect())
}

/// Reads on with what `next` makes of the page before, until a page is shorter than was asked for.
/// Checks that no message comes twice.
async fn read_on(
    client: &Client,
    first: String,
    list: &str,
    next: impl Fn(&Value, &[Value]) -> Option<String>,
) -> Ids {
    let (mut path, mut seen) = (first, Ids::new());
    loop {
        let answer = client.get(&path).await.expect_ok();
        let messages = answer.pointer(list).unwrap().as_array().unwrap();
        for message in messages {
            let id = message["_id"].as_str().unwrap().to_owned();
            assert!(seen.insert(id), "twice, in {path}: {message}");
        }
        match next(&answer, messages) {
            Some(on) => path = on,
            None => return seen,
        }
    }
}

/// The time of the last message of a full page.
fn last_time(messages: &[Value]) -> Option<&str> {
    let full = messages.len() >= PAGE;
    messages.last().filter(|_| full)?["ts"].as_str()
}

/// Both directions of a list that takes conditions on the time.
async fn both_ways(client: &Client, list: &str, expected: &Ids, what: &str) {
    for (sort, operator) in [(1, "$gt"), (-1, "$lt")] {
        let page = |query: Value| {
            format!("{list}&count={PAGE}&sort=%7B%22ts%22:{sort}%7D&query={query}")
                .replace('{', "%7B")
                .replace('}', "%7D")
                .replace('"', "%22")
                .replace('$', "%24")
        };
        let seen = read_on(client, page(json!({})), "/messages", |_, messages| {
            let at = last_time(messages)?;
            Some(page(json!({ "ts": { operator: { "$date": at } } })))
        });
        assert_same(&seen.await, expected, &format!("{what}, {operator}"));
    }
}

#[track_caller]
fn assert_same(seen: &Ids, expected: &Ids, what: &str) {
    let missed: Vec<_> = expected.difference(seen).take(5).collect();
    let more: Vec<_> = seen.difference(expected).take(5).collect();
    assert!(
        missed.is_empty() && more.is_empty(),
        "{what}: of {} messages {} were seen; missing: {missed:?}, not expected: {more:?}",
        expected.len(),
        seen.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_room_read_by_time_has_each_message_once() {
    let options = Options::default().setting("API_Allow_Infinite_Count", "true");
    let server = Server::start_with(options).await;
    let admin = server.admin().await;
    let room = admin.channel("busy").await;
    let thread = admin.say(&room, "the head").await["_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let (mut all, replies) = a_busy_room(&admin, &room, &thread).await;
    all.insert(thread.clone());
    assert_eq!(all.len(), MESSAGES + 1);

    let history = format!("channels.history?roomId={room}&count={PAGE}");
    let seen = read_on(&admin, history.clone(), "/messages", |_, messages| {
        Some(format!("{history}&latest={}", last_time(messages)?))
    });
    assert_same(&seen.await, &all, "channels.history");

    both_ways(
        &admin,
        &format!("channels.messages?roomId={room}"),
        &all,
        "channels.messages",
    )
    .await;
    both_ways(
        &admin,
        &format!("chat.getThreadMessages?tmid={thread}"),
        &replies,
        "chat.getThreadMessages",
    )
    .await;

    let sync = format!("chat.syncMessages?roomId={room}&type=UPDATED&count={PAGE}");
    for (way, begin) in [("next", "0"), ("previous", "4102444800000")] {
        let first = format!("{sync}&{way}={begin}");
        let seen = read_on(&admin, first, "/result/updated", |answer, _| {
            let cursor = answer["result"]["cursor"][way].as_str()?;
            Some(format!("{sync}&{way}={cursor}"))
        });
        assert_same(&seen.await, &all, &format!("chat.syncMessages, {way}"));
    }
    for (list, pointer) in [
        (
            format!("chat.syncMessages?roomId={room}&lastUpdate=1970-01-01"),
            "/result/updated",
        ),
        (
            format!("channels.history?roomId={room}&count=0"),
            "/messages",
        ),
    ] {
        let seen = read_on(&admin, list.clone(), pointer, |_, _| None).await;
        assert_same(&seen, &all, &list);
    }
    let threads = format!("chat.syncThreadMessages?tmid={thread}&updatedSince=1970-01-01");
    let seen = read_on(&admin, threads, "/messages/update", |_, _| None).await;
    assert_same(&seen, &replies, "chat.syncThreadMessages");
}

#[tokio::test]
async fn changes_are_read_by_cursors_that_go_together() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("talk").await;
    let mut said = Vec::new();
    for number in 0..5 {
        let message = admin.say(&room, &format!("number {number}")).await;
        said.push(message["_id"].as_str().unwrap().to_owned());
    }
    for id in &said[..2] {
        let delete = json!({ "roomId": room, "msgId": id });
        admin.post("chat.delete", delete).await.expect_ok();
    }
    let sync = |rest: &str| {
        let admin = admin.clone();
        let path = format!("chat.syncMessages?roomId={room}&{rest}");
        async move { admin.get(&path).await }
    };
    let ids = |list: &Value| -> Vec<String> {
        let all = list.as_array().unwrap().iter();
        all.map(|message| message["_id"].as_str().unwrap().to_owned())
            .collect()
    };

    let first = sync("type=UPDATED&count=2").await.expect_ok()["result"].take();
    assert_eq!(ids(&first["updated"]), said[2..4]);
    assert_eq!(first["deleted"], json!([]));
    let next = first["cursor"]["next"].as_str().unwrap();
    let second = sync(&format!("type=UPDATED&count=2&next={next}"))
        .await
        .expect_ok()["result"]
        .take();
    assert_eq!(ids(&second["updated"]), said[4..]);
    assert_eq!(second["cursor"]["next"], Value::Null);
    let back = second["cursor"]["previous"].as_str().unwrap();
    let before = sync(&format!("type=UPDATED&count=9&previous={back}"))
        .await
        .expect_ok()["result"]
        .take();
    assert_eq!(ids(&before["updated"]), [said[3].clone(), said[2].clone()]);
    assert_eq!(before["cursor"]["previous"], Value::Null);

    let gone = sync("type=DELETED&count=1&next=0").await.expect_ok()["result"].take();
    assert_eq!(ids(&gone["deleted"]), said[..1]);
    let next = gone["cursor"]["next"].as_str().unwrap();
    let gone = sync(&format!("type=DELETED&count=1&next={next}"))
        .await
        .expect_ok()["result"]
        .take();
    assert_eq!(ids(&gone["deleted"]), said[1..2]);
    assert_eq!(gone["cursor"]["next"], Value::Null);

    for (asked, error) in [
        ("", "error-lastUpdate-param-not-provided"),
        ("next=0", "error-type-param-required"),
        ("type=OTHER", "error-type-param-not-supported"),
        ("type=UPDATED&next=0&previous=0", "error-cursor-conflict"),
        (
            "type=UPDATED&lastUpdate=1970-01-01",
            "error-cursor-and-lastUpdate-conflict",
        ),
        ("type=UPDATED&next=soon", "error-invalid-cursor"),
        (
            "type=UPDATED&next=9223372036854775807",
            "error-invalid-cursor",
        ),
    ] {
        assert_eq!(sync(asked).await.expect_error(400), error, "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_time_are_all_told_however_many_they_are() {
    const MANY: usize = 1_200;
    let options = Options::default().setting("Message_ErasureType", "Unlink");
    let server = Server::start_with(options).await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let mut speaking = tokio::task::JoinSet::new();
    for speaker in 0..SPEAKERS {
        let mary = Arc::new(mary.clone());
        speaking.spawn(async move {
            let mut said = Vec::new();
            for number in (speaker..MANY).step_by(SPEAKERS) {
                let message = mary.say("GENERAL", &format!("number {number}")).await;
                said.push(message["_id"].as_str().unwrap().to_owned());
            }
            said
        });
    }
    let said: Ids = speaking.join_all().await.into_iter().flatten().collect();
    // One event changes all that she wrote.
    let delete = json!({ "userId": mary.user_id() });
    admin.post("users.delete", delete).await.expect_ok();

    let sync = "chat.syncMessages?roomId=GENERAL&type=UPDATED&count=50";
    for (way, begin) in [("next", "0"), ("previous", "4102444800000")] {
        let first = format!("{sync}&{way}={begin}");
        let seen = read_on(&admin, first, "/result/updated", |answer, _| {
            let cursor = answer["result"]["cursor"][way].as_str()?;
            Some(format!("{sync}&{way}={cursor}"))
        });
        let seen: Ids = seen.await.intersection(&said).cloned().collect();
        assert_same(&seen, &said, way);
    }
}

/// A message that is nearly as large as one can be.
fn large(room: &str) -> Value {
    json!({ "message": { "rid": room, "msg": "large", "attachments": [{ "text": "x".repeat(240_000) }] } })
}

/// What `list` of an answer names.
fn named(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap();
    let id = |message: &Value| message["_id"].as_str().unwrap().to_owned();
    list.iter().map(id).collect()
}

#[tokio::test]
async fn who_asks_for_everything_is_given_as_much_as_an_answer_holds_and_reads_on() {
    const MANY: usize = 160;
    let server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("heavy").await;
    let mut said = Ids::new();
    for _ in 0..MANY {
        let sent = admin
            .post("chat.sendMessage", large(&room))
            .await
            .expect_ok();
        said.insert(sent["message"]["_id"].as_str().unwrap().to_owned());
    }
    let most = (32 << 20) / 240_000 + 1;

    let path = format!("channels.messages?roomId={room}&count=0");
    let all = admin.get(&path).await.expect_ok();
    let count = all["count"].as_u64().unwrap();
    assert_eq!(named(&all["messages"]).len() as u64, count);
    assert!(count <= most, "{count}");
    assert!(all["total"].as_u64().unwrap() >= MANY as u64);
    let rest = admin
        .get(&format!("{path}&offset={count}"))
        .await
        .expect_ok();
    let both = [named(&all["messages"]), named(&rest["messages"])].concat();
    assert_eq!(both.len() as u64, all["total"].as_u64().unwrap());
    assert!(said.is_subset(&both.into_iter().collect()));

    // Where it asks for many at once, some may be refused, and what is given is whole.
    let many = join_all((0..30).map(|_| admin.get(&path))).await;
    let given = many.iter().filter(|answer| answer.status == 200);
    assert!(given.clone().all(|answer| answer.body["count"] == count));
    assert!(given.count() > 0);
    assert!(
        many.iter()
            .all(|answer| [200, 429].contains(&answer.status.as_u16()))
    );

    let path = format!("channels.history?roomId={room}&count=0");
    let (mut seen, mut latest) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("{path}{latest}")).await.expect_ok();
        let page = page["messages"].as_array().unwrap();
        assert!(page.len() as u64 <= most);
        let Some(last) = page.last() else { break };
        latest = format!("&latest={}", last["ts"].as_str().unwrap());
        seen.extend(named(&Value::from(page.clone())));
    }
    let distinct: Ids = seen.iter().cloned().collect();
    assert_eq!(distinct.len(), seen.len(), "none came twice");
    assert!(said.is_subset(&distinct));

    let sync = async |asked: String| {
        let path = format!("chat.syncMessages?roomId={room}&{asked}");
        admin.get(&path).await.expect_ok()["result"].clone()
    };
    let first = sync("lastUpdate=1970-01-01T00:00:00Z".to_owned()).await;
    let mut seen = named(&first["updated"]);
    assert!(seen.len() as u64 <= most);
    let next = first["cursor"]["next"].as_str().unwrap();
    let page = sync(format!("type=UPDATED&next={next}&count=100")).await;
    let last = first["updated"].as_array().unwrap().last().unwrap();
    let rest = sync(format!(
        "lastUpdate={}",
        last["_updatedAt"].as_str().unwrap()
    ))
    .await;
    assert!(rest["cursor"].is_null());
    let rest = named(&rest["updated"]);
    assert_eq!(named(&page["updated"]), rest);
    seen.extend(rest);
    assert!(said.is_subset(&seen.into_iter().collect()));
}
