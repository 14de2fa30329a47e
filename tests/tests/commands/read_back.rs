//! What can be recorded can always be read back: by the journal, by every view, in a snapshot, in
//! answers, and in the feed of events.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use hansard_domain::event::Event;
use hansard_domain::id::{Clock, Ids, RandomIds, SystemClock};
use hansard_domain::journal::{Context, Draft, Journal, Proposal};
use hansard_domain::json;
use hansard_domain::log::{Actor, Position, StreamId, Version};
use hansard_domain::seal::Confidential;
use hansard_infra::log::sqlite::SqliteLog;
use hansard_infra::vault::master_key::MasterKey;
use hansard_infra::vault::sqlite::SqliteVault;
use hansard_tests::load::dice::Dice;
use hansard_tests::server::{Client, Server};
use hansard_tests::specimen::values::Shape;
use hansard_tests::specimen::{Told, origin, story};
use serde_json::{Value, json};

/// A workspace's log and keys, opened beside no server.
struct Record {
    journal: Arc<Journal>,
    log: Arc<SqliteLog>,
    vault: Arc<SqliteVault>,
}

impl Record {
    async fn open(data: &Path) -> Self {
        let master = MasterKey::load_or_create(data.join("master.key")).unwrap();
        let vault = SqliteVault::open(data.join("vault.db"), master).await;
        let vault = Arc::new(vault.unwrap());
        let log = Arc::new(SqliteLog::open(data.join("log.db")).await.unwrap());
        let journal = Journal::open(log.clone(), vault.clone()).await.unwrap();
        Self {
            journal,
            log,
            vault,
        }
    }

    /// Records one of every event in each shape, each story as one commit.
    async fn tell(&self) -> Vec<Told> {
        let seed = rand::random();
        println!("the values of this run are those of seed {seed}");
        let mut dice = Dice::new(seed);
        let keys = self.journal.keys();
        keys.reserve(500).await.unwrap();
        let now = SystemClock.now();
        let mut fresh = || keys.fresh().unwrap();
        let mut all = Vec::new();
        for shape in Shape::ALL {
            let told = story(shape, &mut dice, now, &mut fresh);
            let events = |events: &[Event]| -> Vec<_> {
                let events = events.iter().cloned();
                events
                    .map(|event| (RandomIds.event_id(now), event))
                    .collect()
            };
            let draft = |told: &Told| Draft {
                stream: told.stream.clone(),
                expected: Version::NONE,
                events: events(&told.events),
            };
            let proposal = Proposal {
                drafts: told.iter().map(draft).collect(),
                context: Context {
                    at: now,
                    clock: None,
                    actor: Actor::Anonymous,
                    correlation: Some("~".repeat(64).into()),
                    causation: None,
                    origin: Some(origin(fresh())),
                },
            };
            let recorded = self.journal.append(None, vec![proposal]).await.unwrap();
            assert!(recorded[0].is_ok(), "{recorded:?}");
            all.extend(told);
        }
        all
    }

    async fn close(self) {
        drop(self.journal);
        self.log.close().await;
        self.vault.close().await;
    }
}

/// The payload that the feed shows of an event.
fn payload(event: &Event) -> Value {
    let mut event = event.clone();
    event.parts(&mut |part| part.reveal());
    json::value(&event.payload().unwrap()).unwrap()
}

/// Compares what was recorded with what is shown, where a part is shown as what is in it. A secret is
/// covered, and what was erased says so.
#[track_caller]
fn compare(recorded: &Value, shown: &Value, place: &str) {
    if *shown == "[hidden]" || *shown == json!({ "shredded": true }) {
        return;
    }
    let part = recorded.as_object().filter(|part| part.len() == 2);
    if let Some(value) = part
        .filter(|part| part.get("k").is_some_and(Value::is_u64))
        .and_then(|part| part.get("v"))
    {
        // What is in a part is shown as it is, whatever it looks like.
        return within(value, shown, place);
    }
    match (recorded, shown) {
        (Value::Object(recorded), Value::Object(shown)) => {
            let names = |object: &serde_json::Map<String, Value>| -> Vec<_> {
                object.keys().cloned().collect()
            };
            assert_eq!(names(recorded), names(shown), "{place}");
            for (name, value) in recorded {
                compare(value, &shown[name], &format!("{place}.{name}"));
            }
        }
        _ => within(recorded, shown, place),
    }
}

/// The same inside of a part, where some members of a known name are secrets.
#[track_caller]
fn within(recorded: &Value, shown: &Value, place: &str) {
    if *shown == "[hidden]" {
        return;
    }
    match (recorded, shown) {
        (Value::Object(recorded), Value::Object(shown)) if recorded.len() == shown.len() => {
            for (name, value) in recorded {
                let shown = shown.get(name).unwrap_or(&Value::Null);
                within(value, shown, &format!("{place}.{name}"));
            }
        }
        (Value::Array(recorded), Value::Array(shown)) if recorded.len() == shown.len() => {
            for (recorded, shown) in recorded.iter().zip(shown) {
                within(recorded, shown, place);
            }
        }
        _ => assert_eq!(recorded, shown, "{place}"),
    }
}

/// An answer, also one that nests deeper than a parser takes that does not know how deep it may.
async fn deep(client: &Client, path: &str) -> Value {
    let request = client.request(reqwest::Method::GET, path);
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{path}: {status} {text}");
    json::value(&text).unwrap()
}

/// Every event of the feed, by its stream.
async fn feed(client: &Client) -> BTreeMap<String, Vec<Value>> {
    let mut streams: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut after = 0;
    loop {
        let path = format!("/api/hansard/v1/events?limit=50&after={after}");
        let page = deep(client, &path).await;
        let events = page["events"].as_array().unwrap();
        for event in events {
            let stream = event["stream"].as_str().unwrap().to_owned();
            streams.entry(stream).or_default().push(event.clone());
        }
        let next = page["next"].as_u64().unwrap();
        if events.is_empty() || next >= page["head"].as_u64().unwrap() {
            return streams;
        }
        after = next;
    }
}

async fn check_feed(admin: &Client, told: &[Told]) {
    let shown = feed(admin).await;
    for Told { stream, events } in told {
        let shown = &shown[stream.as_str()];
        assert!(shown.len() >= events.len(), "{stream}");
        for (event, shown) in events.iter().zip(shown) {
            let place = format!("{stream} {}", event.kind());
            assert_eq!(shown["type"], event.kind(), "{place}");
            compare(&payload(event), &shown["payload"], &place);
        }
    }
}

/// Everything that is shown of the specimens, by where.
async fn shown(admin: &Client) -> BTreeMap<String, Value> {
    let mut paths = vec![
        "/api/v1/users.list?count=100&fields={\"customFields\":1,\"username\":1}".to_owned(),
        "/api/v1/channels.list?count=100&sort={\"ts\":1}".to_owned(),
        "/api/v1/directory?query={\"type\":\"users\"}".to_owned(),
        "/api/v1/spotlight?query=e".to_owned(),
        "/api/v1/settings?count=500".to_owned(),
        "/api/v1/integrations.list".to_owned(),
        "/api/v1/roles.list".to_owned(),
        "/api/v1/permissions.listAll".to_owned(),
        "/api/hansard/v1/deliveries".to_owned(),
        "/api/hansard/v1/audit?order=oldest&limit=500&before=300".to_owned(),
        "/api/hansard/v1/retention".to_owned(),
    ];
    let channels = deep(admin, "/api/v1/channels.list?count=100").await;
    for channel in channels["channels"].as_array().unwrap() {
        let room = channel["_id"].as_str().unwrap();
        let room = room.replace('|', "%7C");
        paths.push(format!("/api/v1/channels.info?roomId={room}"));
        paths.push(format!("/api/v1/channels.members?roomId={room}"));
        paths.push(format!("/api/v1/channels.messages?roomId={room}"));
        paths.push(format!(
            "/api/v1/channels.messages?roomId={room}&fields={{\"ts\":0}}"
        ));
    }
    let mut all = BTreeMap::new();
    for path in paths {
        let mut answer = deep(admin, &path).await;
        // What the looks themselves change.
        answer.as_object_mut().unwrap().remove("next");
        all.insert(path, answer);
    }
    all
}

/// Compares what is shown, and names the first place that differs.
fn same(now: &BTreeMap<String, Value>, before: &BTreeMap<String, Value>) {
    let [now, before] = [now, before].map(|shown| serde_json::to_value(shown).unwrap());
    if let Some(place) = difference(&now, &before) {
        panic!("{place}");
    }
}

fn difference(now: &Value, before: &Value) -> Option<String> {
    let within =
        |name: &str, now, before| difference(now, before).map(|place| format!("{name} > {place}"));
    match (now, before) {
        (Value::Object(now), Value::Object(before)) if now.len() == before.len() => {
            now.iter().find_map(|(name, now)| match before.get(name) {
                Some(before) => within(name, now, before),
                None => Some(format!("{name} is new")),
            })
        }
        (Value::Array(now), Value::Array(before)) if now.len() == before.len() => {
            let mut pairs = now.iter().zip(before).enumerate();
            pairs.find_map(|(index, (now, before))| within(&index.to_string(), now, before))
        }
        _ if now == before => None,
        _ => Some(format!("is {now}, and was {before}")),
    }
}

/// Events that say what a message was, in the order of the log.
fn fields_of<'t>(told: &'t [Told], kind: &str) -> HashMap<&'t StreamId, Value> {
    let mut found = HashMap::new();
    for Told { stream, events } in told {
        for event in events.iter().filter(|event| event.kind() == kind) {
            found.insert(stream, payload(event));
        }
    }
    found
}

/// Changes what was told of a little: whatever holds it reads it and writes it again.
async fn touch(admin: &Client, told: &[Told]) {
    let path = |id: &str| id.replace('|', "%7C");
    for Told { stream, events } in told {
        let id = stream.key();
        let done = async |operation: &str, body: Value| {
            let answer = admin.post(operation, body).await;
            assert!(
                answer.status.is_success(),
                "{stream} {operation}: {}",
                answer.body
            );
        };
        match (stream.category(), events.first().map(Event::kind)) {
            ("account", _) if id.starts_with("joe") => {
                let change = json!({ "userId": id, "data": { "nickname": "new" } });
                done("users.update", change).await;
            }
            ("room", _) if id.starts_with("room") => {
                done("channels.join", json!({ "roomId": id })).await;
                let topic = json!({ "roomId": id, "topic": "new" });
                done("channels.setTopic", topic).await;
                admin
                    .get(&format!("channels.history?roomId={}", path(id)))
                    .await
                    .expect_ok();
            }
            ("message", _) if id.starts_with("message") => {
                done("chat.starMessage", json!({ "messageId": id })).await;
                done("chat.react", json!({ "messageId": id, "emoji": "new" })).await;
                done("chat.pinMessage", json!({ "messageId": id })).await;
            }
            ("integration", _) if id.starts_with("hook") => {
                admin
                    .get(&format!("integrations.get?integrationId={}", path(id)))
                    .await
                    .expect_ok();
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_can_be_recorded_can_be_read_back() {
    let mut server = Server::start().await;
    server.admin().await;
    assert!(server.stop().await.success());

    let record = Record::open(&server.data()).await;
    let before = record.journal.head();
    let told = record.tell().await;
    record.close().await;

    // From the log, by somebody who did not write it.
    let record = Record::open(&server.data()).await;
    let mut read: HashMap<StreamId, Vec<Event>> = HashMap::new();
    let mut batches = record.journal.all(before);
    while let Some(batch) = batches.next().await {
        for entry in batch.unwrap().iter() {
            assert!(entry.position > Position::START);
            assert_eq!(
                entry.origin.as_ref().unwrap().value(),
                origin(Default::default()).value()
            );
            read.entry(entry.stream.clone())
                .or_default()
                .push(entry.event.clone());
        }
    }
    drop(batches);
    // What is erased is gone for everybody as soon as that is on the record.
    let erases = |event: &Event| {
        ["UserDeleted", "RoomDeleted", "IntegrationRemoved"].contains(&event.kind())
    };
    for Told { stream, events } in &told {
        if !events.iter().any(erases) {
            assert_eq!(read[stream], *events, "{stream}");
        }
    }
    record.close().await;

    // By a server that takes it into its views and its write model.
    server.launch();
    server.ready().await;
    let admin = server.admin().await;
    check_feed(&admin, &told).await;
    let first = shown(&admin).await;
    let messages: Vec<_> = first
        .iter()
        .filter(|(path, _)| path.contains("channels.messages"))
        .flat_map(|(_, answer)| answer["messages"].as_array().unwrap())
        .collect();
    for (stream, edited) in fields_of(&told, "MessageEdited") {
        let message = messages
            .iter()
            .find(|message| message["_id"] == stream.key());
        let message = message.unwrap_or_else(|| panic!("{stream} is not shown"));
        let content = &edited["content"]["v"];
        assert_eq!(
            message["customFields"], content["custom_fields"],
            "{stream}"
        );
        assert_eq!(message["attachments"], content["attachments"], "{stream}");
        assert_eq!(message["msg"], content["t"], "{stream}");
    }
    let users = first
        .iter()
        .find(|(path, _)| path.contains("users.list"))
        .unwrap()
        .1;
    for (stream, changed) in fields_of(&told, "UserProfileChanged") {
        let users = users["users"].as_array().unwrap();
        let user = users
            .iter()
            .find(|user| user["_id"] == stream.key())
            .unwrap();
        let fields = &changed["profile"]["v"]["customFields"];
        assert_eq!(user["customFields"], *fields, "{stream}");
    }

    touch(&admin, &told).await;
    check_feed(&admin, &told).await;
    let first = shown(&admin).await;

    // From the snapshot that it leaves, and from views that are built again.
    assert!(server.stop().await.success());
    let output = server.output();
    server.launch();
    server.ready().await;
    let admin = server.admin().await;
    same(&shown(&admin).await, &first);
    for view in [
        "accounts",
        "rooms",
        "messages",
        "subscriptions",
        "search",
        "audit",
    ] {
        let path = format!("/api/hansard/v1/views/{view}/rebuild");
        let rebuild = admin.request(reqwest::Method::POST, &path);
        assert!(rebuild.send().await.unwrap().status().is_success());
    }
    hansard_tests::server::eventually("the views are built again", async || {
        let views = admin.get_path("/api/hansard/v1/views").await.expect_ok();
        let views = views["views"].as_array().unwrap().iter();
        views.clone().all(|view| view["state"] == "serving")
            && views
                .filter(|view| view["generation"].as_u64() >= Some(2))
                .count()
                >= 6
    })
    .await;
    same(&shown(&admin).await, &first);
    let after = server.output();
    for trouble in [
        "the snapshot can't be used",
        "panicked",
        "set aside",
        "can't be shown",
    ] {
        assert!(!after.contains(trouble), "{trouble}: {after}");
    }
    assert!(after.len() > output.len());
}
