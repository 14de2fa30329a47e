//! How much the server takes: what is larger than it may be is refused, and nothing is recorded.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use hansard_domain::limit::{self, Limit, Unit};
use hansard_tests::document;
use hansard_tests::server::{Answer, Client};
use hansard_tests::world::World;
use reqwest::Method;
use serde_json::{Map, Value, json};

/// A field of an operation, and how much it takes. The operation stands behind `/api/v1/`, or is one of
/// `/hooks`; a field inside of objects is written with dots.
type Row = (&'static str, &'static str, Limit);

const TABLE: &[Row] = &[
    ("users.create", "username", limit::USERNAME),
    ("users.create", "name", limit::NAME),
    ("users.create", "email", limit::EMAIL),
    ("users.create", "password", limit::PASSWORD),
    ("users.create", "bio", limit::BIO),
    ("users.create", "nickname", limit::NICKNAME),
    ("users.create", "roles", limit::ROLES),
    ("users.create", "customFields", limit::ACCOUNT_FIELDS),
    ("users.register", "username", limit::USERNAME),
    ("users.register", "name", limit::NAME),
    ("users.register", "email", limit::EMAIL),
    ("users.register", "pass", limit::PASSWORD),
    ("users.register", "reason", limit::REASON),
    ("users.register", "customFields", limit::ACCOUNT_FIELDS),
    ("users.update", "data.username", limit::USERNAME),
    ("users.update", "data.name", limit::NAME),
    ("users.update", "data.email", limit::EMAIL),
    ("users.update", "data.password", limit::PASSWORD),
    ("users.update", "data.bio", limit::BIO),
    ("users.update", "data.nickname", limit::NICKNAME),
    ("users.update", "data.roles", limit::ROLES),
    ("users.update", "data.language", limit::LANGUAGE),
    ("users.update", "data.customFields", limit::ACCOUNT_FIELDS),
    ("users.updateOwnBasicInfo", "data.username", limit::USERNAME),
    ("users.updateOwnBasicInfo", "data.name", limit::NAME),
    ("users.updateOwnBasicInfo", "data.email", limit::EMAIL),
    ("users.updateOwnBasicInfo", "data.bio", limit::BIO),
    ("users.updateOwnBasicInfo", "data.nickname", limit::NICKNAME),
    (
        "users.updateOwnBasicInfo",
        "data.newPassword",
        limit::PASSWORD,
    ),
    (
        "users.updateOwnBasicInfo",
        "customFields",
        limit::ACCOUNT_FIELDS,
    ),
    ("users.setPreferences", "data", limit::PREFERENCES),
    (
        "users.generatePersonalAccessToken",
        "tokenName",
        limit::TOKEN_NAME,
    ),
    ("login", "user", limit::LOGIN_NAME),
    ("login", "user.username", limit::LOGIN_NAME),
    ("login", "user.email", limit::LOGIN_NAME),
    ("login", "username", limit::LOGIN_NAME),
    ("login", "email", limit::LOGIN_NAME),
    ("chat.sendMessage", "message.msg", MESSAGE_TEXT),
    ("chat.sendMessage", "message.alias", limit::ALIAS),
    ("chat.sendMessage", "message.emoji", limit::EMOJI),
    ("chat.sendMessage", "message.avatar", limit::AVATAR),
    (
        "chat.sendMessage",
        "message.attachments",
        limit::ATTACHMENTS,
    ),
    ("chat.sendMessage", "message.blocks", limit::BLOCKS),
    (
        "chat.sendMessage",
        "message.customFields",
        limit::MESSAGE_FIELDS,
    ),
    ("chat.sendMessage", "previewUrls", limit::PREVIEWS),
    ("chat.postMessage", "channel", limit::CHANNELS),
    ("chat.postMessage", "roomId", limit::CHANNELS),
    ("chat.postMessage", "text", MESSAGE_TEXT),
    ("chat.postMessage", "msg", MESSAGE_TEXT),
    ("chat.postMessage", "username", limit::ALIAS),
    ("chat.postMessage", "alias", limit::ALIAS),
    ("chat.postMessage", "icon_emoji", limit::EMOJI),
    ("chat.postMessage", "emoji", limit::EMOJI),
    ("chat.postMessage", "icon_url", limit::AVATAR),
    ("chat.postMessage", "avatar", limit::AVATAR),
    ("chat.postMessage", "attachments", limit::ATTACHMENTS),
    ("chat.postMessage", "customFields", limit::MESSAGE_FIELDS),
    ("chat.update", "text", MESSAGE_TEXT),
    ("chat.update", "customFields", limit::MESSAGE_FIELDS),
    ("chat.update", "previewUrls", limit::PREVIEWS),
    ("chat.react", "emoji", limit::REACTION),
    ("chat.react", "reaction", limit::REACTION),
    ("chat.reportMessage", "description", limit::REPORT),
    ("channels.create", "name", limit::ROOM_NAME),
    ("channels.create", "members", limit::MEMBERS),
    ("channels.create", "customFields", limit::ROOM_FIELDS),
    ("channels.create", "extraData.topic", limit::TOPIC),
    (
        "channels.create",
        "extraData.description",
        limit::DESCRIPTION,
    ),
    (
        "channels.create",
        "extraData.announcement",
        limit::ANNOUNCEMENT,
    ),
    ("channels.rename", "name", limit::ROOM_NAME),
    ("channels.setTopic", "topic", limit::TOPIC),
    ("channels.setDescription", "description", limit::DESCRIPTION),
    ("channels.setPurpose", "purpose", limit::DESCRIPTION),
    (
        "channels.setAnnouncement",
        "announcement",
        limit::ANNOUNCEMENT,
    ),
    ("channels.setJoinCode", "joinCode", limit::JOIN_CODE),
    (
        "channels.setCustomFields",
        "customFields",
        limit::ROOM_FIELDS,
    ),
    ("channels.invite", "userIds", limit::MEMBERS),
    ("channels.invite", "usernames", limit::MEMBERS),
    ("groups.create", "name", limit::ROOM_NAME),
    ("groups.create", "members", limit::MEMBERS),
    ("groups.create", "customFields", limit::ROOM_FIELDS),
    ("groups.create", "extraData.topic", limit::TOPIC),
    ("groups.rename", "name", limit::ROOM_NAME),
    ("groups.setTopic", "topic", limit::TOPIC),
    ("groups.setDescription", "description", limit::DESCRIPTION),
    ("groups.setPurpose", "purpose", limit::DESCRIPTION),
    (
        "groups.setAnnouncement",
        "announcement",
        limit::ANNOUNCEMENT,
    ),
    ("groups.setCustomFields", "customFields", limit::ROOM_FIELDS),
    ("groups.invite", "userIds", limit::MEMBERS),
    ("groups.invite", "usernames", limit::MEMBERS),
    ("im.create", "usernames", limit::MEMBERS),
    ("im.setTopic", "topic", limit::TOPIC),
    ("dm.create", "usernames", limit::MEMBERS),
    ("dm.setTopic", "topic", limit::TOPIC),
    ("rooms.saveRoomSettings", "roomName", limit::ROOM_NAME),
    ("rooms.saveRoomSettings", "roomTopic", limit::TOPIC),
    (
        "rooms.saveRoomSettings",
        "roomAnnouncement",
        limit::ANNOUNCEMENT,
    ),
    (
        "rooms.saveRoomSettings",
        "roomDescription",
        limit::DESCRIPTION,
    ),
    (
        "rooms.saveRoomSettings",
        "roomCustomFields",
        limit::ROOM_FIELDS,
    ),
    (
        "rooms.saveRoomSettings",
        "systemMessages",
        limit::SYSTEM_MESSAGES,
    ),
    ("rooms.saveRoomSettings", "joinCode", limit::JOIN_CODE),
    (
        "rooms.saveNotification",
        "notifications.desktopNotifications",
        limit::NOTIFICATION,
    ),
    ("rooms.cleanHistory", "users", limit::PRUNED_USERS),
    ("roles.create", "name", limit::ROLE_NAME),
    ("roles.create", "description", limit::ROLE_DESCRIPTION),
    ("roles.update", "name", limit::ROLE_NAME),
    ("roles.update", "description", limit::ROLE_DESCRIPTION),
    ("permissions.update", "permissions", limit::PERMISSIONS),
    ("settings/Site_Name", "value", limit::SETTING_TEXT),
    (
        "settings/Accounts_CustomFields",
        "value",
        limit::SETTING_CODE,
    ),
    ("settings/Assets_logo", "value", limit::SETTING_ASSET),
    ("integrations.create", "name", limit::INTEGRATION_NAME),
    ("integrations.create", "username", limit::USERNAME),
    ("integrations.create", "alias", limit::ALIAS),
    ("integrations.create", "avatar", limit::AVATAR),
    ("integrations.create", "emoji", limit::EMOJI),
    ("integrations.create", "script", limit::SCRIPT),
    ("integrations.create", "scriptEngine", limit::SCRIPT_ENGINE),
    ("integrations.create", "channel", limit::CHANNEL),
    ("integrations.create", "targetRoom", limit::TARGET_ROOM),
    ("integrations.create", "urls", limit::INTEGRATION_URLS),
    ("integrations.create", "triggerWords", limit::TRIGGER_WORDS),
    ("integrations.create", "token", limit::INTEGRATION_TOKEN),
    (
        "integrations.create",
        "signingSecret",
        limit::SIGNING_SECRET,
    ),
    ("integrations.update", "name", limit::INTEGRATION_NAME),
    ("integrations.update", "username", limit::USERNAME),
    ("integrations.update", "alias", limit::ALIAS),
    ("integrations.update", "avatar", limit::AVATAR),
    ("integrations.update", "emoji", limit::EMOJI),
    ("integrations.update", "script", limit::SCRIPT),
    ("integrations.update", "scriptEngine", limit::SCRIPT_ENGINE),
    ("integrations.update", "channel", limit::CHANNEL),
    ("integrations.update", "targetRoom", limit::TARGET_ROOM),
    ("integrations.update", "urls", limit::INTEGRATION_URLS),
    ("integrations.update", "triggerWords", limit::TRIGGER_WORDS),
    ("integrations.update", "token", limit::INTEGRATION_TOKEN),
    (
        "integrations.update",
        "signingSecret",
        limit::SIGNING_SECRET,
    ),
    ("hooks", "text", MESSAGE_TEXT),
    ("hooks", "channel", limit::CHANNELS),
    ("hooks", "username", limit::ALIAS),
    ("hooks", "icon_emoji", limit::EMOJI),
    ("hooks", "icon_url", limit::AVATAR),
    ("hooks", "attachments", limit::ATTACHMENTS),
    ("hooks", "customFields", limit::MESSAGE_FIELDS),
];

/// What `Message_MaxAllowedSize` says where nobody changed it.
const MESSAGE_TEXT: Limit = Limit {
    most: 5_000,
    ..limit::MESSAGE_TEXT
};

/// Members of bodies that are only compared with what there is, whatever their operation: they name
/// something, choose among words, or prove something, and are not recorded.
const ONLY_COMPARED: &[&str] = &[
    "_id",
    "roomId",
    "rid",
    "roomName",
    "userId",
    "username",
    "user",
    "usernames",
    "msgId",
    "messageId",
    "mid",
    "tmid",
    "t",
    "ts",
    "type",
    "action",
    "status",
    "statusType",
    "scope",
    "roleId",
    "roleName",
    "role",
    "integrationId",
    "historyId",
    "target_url",
    "event",
    "retryDelay",
    "roomType",
    "latest",
    "oldest",
    "secretURL",
    "password",
    "currentPassword",
    "digest",
    "hashed",
    "algorithm",
    "resume",
    "joinCode",
    "tokenName",
    "bot",
];

/// Members that several operations share one request for, and that mean something to one of them.
const SET_ELSEWHERE: &[&str] = &[
    "name",
    "topic",
    "description",
    "purpose",
    "announcement",
    "joinCode",
    "type",
    "readOnly",
    "default",
    "encrypted",
];

/// Fields of which what is too long is cut off, as Rocket.Chat does.
const CUT: &[(&str, &str)] = &[
    ("users.create", "statusText"),
    ("users.update", "data.statusText"),
    ("users.updateOwnBasicInfo", "data.statusText"),
    ("users.setStatus", "message"),
];

/// A value of so much of what a limit counts.
fn value(field: &str, limit: &Limit, much: usize) -> Value {
    match limit.unit {
        Unit::Characters => json!("x".repeat(much)),
        // `{"f":"…"}`
        Unit::Bytes => json!({ "f": "x".repeat(much.saturating_sub(8)) }),
        Unit::Entries if field == "permissions" => {
            json!(vec![json!({ "_id": "create-c", "roles": ["admin"] }); much])
        }
        Unit::Entries if field.ends_with("attachments") || field.ends_with("blocks") => {
            json!(vec![json!({}); much])
        }
        Unit::Entries if field == "usernames" => {
            let names: Vec<_> = (0..much).map(|number| format!("u{number}")).collect();
            json!(names.join(","))
        }
        _ => (0..much).map(|number| format!("#{number}")).collect(),
    }
}

fn put(body: &mut Value, field: &str, value: Value) {
    let mut path = field.split('.').peekable();
    let mut place = body;
    while let Some(name) = path.next() {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let members = place.as_object_mut().expect("an object");
        if path.peek().is_none() {
            members.insert(name.to_owned(), value);
            return;
        }
        place = members.entry(name).or_insert(Value::Null);
    }
}

/// Asks for an operation with a field as it should be.
async fn ask(world: &World, operation: &str, field: &str, value: Value) -> Answer {
    let mut body = world.request(operation);
    // One name for a thing at a time.
    match (operation, field) {
        ("login", "username" | "email") => drop(body.as_object_mut().unwrap().remove("user")),
        ("chat.postMessage", "roomId") => drop(body.as_object_mut().unwrap().remove("channel")),
        ("chat.postMessage", "msg") => drop(body.as_object_mut().unwrap().remove("text")),
        ("chat.react", "reaction") => drop(body.as_object_mut().unwrap().remove("emoji")),
        (_, "usernames") if operation.ends_with("invite") => {
            drop(body.as_object_mut().unwrap().remove("userIds"));
        }
        _ => {}
    }
    let value = match (operation, field) {
        // A list here, and a text with commas where conversations are made.
        (_, "usernames") if operation.ends_with("invite") => {
            value.as_str().unwrap_or_default().split(',').collect()
        }
        _ => value,
    };
    put(&mut body, field, value);
    let nobody = world.server.anonymous();
    let client: &Client = match operation {
        "users.register" | "login" | "hooks" => &nobody,
        _ => &world.admin,
    };
    let path = match operation {
        "hooks" => format!("/{}", world.hook()),
        _ => format!("/api/v1/{operation}"),
    };
    let method = match operation {
        "integrations.update" => Method::PUT,
        _ => Method::POST,
    };
    client
        .answer(client.request(method, &path).json(&body))
        .await
}

/// Whether an answer says that something is too large.
fn tells_of_size(answer: &Answer) -> bool {
    let error = answer.body["error"].as_str().unwrap_or_default();
    let sizes = [
        "takes at most",
        "size exceeds",
        "error-message-size-exceeded",
    ];
    sizes.iter().any(|size| error.contains(size))
}

#[tokio::test]
async fn a_field_that_is_larger_than_it_may_be_is_refused_and_nothing_is_recorded() {
    let world = World::start().await;
    for (operation, field, limit) in TABLE {
        let row = format!("{operation} {field}");
        let before = world.head().await;
        let much = value(field, limit, limit.most + 1);
        let refused = ask(&world, operation, field, much).await;
        assert_eq!(refused.status, 400, "{row}: {}", refused.body);
        assert!(tells_of_size(&refused), "{row}: {}", refused.body);
        let recorded = world.recorded_after(before).await;
        assert_eq!(recorded, [""; 0], "{row}");

        let huge = value(field, limit, limit.most * 20);
        let refused = ask(&world, operation, field, huge).await;
        assert!(refused.status.is_client_error(), "{row}: {}", refused.body);
        let recorded = world.recorded_after(before).await;
        assert_eq!(recorded, [""; 0], "{row}");
    }
    // And as much as there may be is not too much.
    for (operation, field, limit) in TABLE {
        let much = value(field, limit, limit.most);
        let taken = ask(&world, operation, field, much).await;
        assert!(!taken.status.is_server_error(), "{operation} {field}");
        assert!(
            !tells_of_size(&taken),
            "{operation} {field}: {}",
            taken.body
        );
    }
}

#[test]
fn every_field_that_can_be_recorded_has_its_limit() {
    let tabled: BTreeSet<_> = TABLE
        .iter()
        .map(|(operation, field, _)| (*operation, *field))
        .collect();
    let mut missing = Vec::new();
    for operation in document::operations() {
        let Some(name) = operation.path.strip_prefix("/api/v1/") else {
            continue;
        };
        for member in &operation.body {
            let field = member.name();
            let last = member.path.last().map_or("", String::as_str);
            let counted = matches!(
                member.kind.as_deref(),
                Some("boolean" | "integer" | "number")
            );
            let inside = |(of, tabled): &(&str, &str)| {
                *of == name && tabled.starts_with(&format!("{field}."))
            };
            let shared = name.contains(".set") || name.contains(".rename");
            let elsewhere = SET_ELSEWHERE.contains(&last) && shared;
            let known = counted
                || elsewhere
                || CUT.contains(&(name, field.as_str()))
                // Each of some settings stands in the table by its own name.
                || name == "settings/{id}"
                || tabled.contains(&(name, field.as_str()))
                || tabled.iter().any(inside)
                || ONLY_COMPARED.contains(&last)
                || operation
                    .body
                    .iter()
                    .any(|other| other.name().starts_with(&format!("{field}.")));
            if !known {
                missing.push(format!("{name} {field}"));
            }
        }
    }
    assert_eq!(missing, [""; 0]);
}

/// So many levels of arrays and objects.
fn nested(levels: usize) -> Value {
    (1..levels).fold(json!([]), |inner, level| {
        if level % 2 == 0 {
            json!([inner])
        } else {
            json!({ "a": inner })
        }
    })
}

/// Where a client chooses the shape of a value.
const FREE: &[(&str, &str)] = &[
    ("users.create", "customFields.f"),
    ("users.register", "customFields.f"),
    ("users.update", "data.customFields.f"),
    ("users.updateOwnBasicInfo", "customFields.f"),
    ("users.setPreferences", "data.f"),
    ("chat.sendMessage", "message.attachments"),
    ("chat.sendMessage", "message.blocks"),
    ("chat.sendMessage", "message.customFields.f"),
    ("chat.postMessage", "attachments"),
    ("chat.postMessage", "customFields.f"),
    ("chat.update", "customFields.f"),
    ("channels.create", "customFields.f"),
    ("channels.setCustomFields", "customFields.f"),
    ("groups.create", "customFields.f"),
    ("groups.setCustomFields", "customFields.f"),
    ("rooms.saveRoomSettings", "roomCustomFields.f"),
    ("settings/Assets_logo", "value.f"),
    ("hooks", "attachments"),
    ("hooks", "customFields.f"),
];

#[tokio::test]
async fn a_value_that_nests_too_deep_is_refused_and_nothing_is_recorded() {
    let world = World::start().await;
    let before = world.head().await;
    let deepest = limit::FREE_LEVELS.most;
    for (operation, field) in FREE {
        // The object around it is one, and the list of attachments another.
        for levels in [deepest + 1, 60, 90, 110, 120, 121, 122, 123, 124, 125] {
            let refused = ask(&world, operation, field, json!([nested(levels)])).await;
            let row = format!("{operation} {field} {levels}: {}", refused.body);
            assert_eq!(refused.status, 400, "{row}");
            let error = refused.body["error"].as_str().unwrap_or_default();
            assert!(
                error.contains("levels of nesting") || error.contains("JSON"),
                "{row}"
            );
        }
    }
    // The parser takes the text in such a member for more JSON, however deep.
    let hidden = json!({ "$serde_json::private::RawValue": nested(100).to_string() });
    for (operation, field) in FREE {
        let refused = ask(&world, operation, field, json!([hidden])).await;
        assert_eq!(refused.status, 400, "{operation} {field}: {}", refused.body);
    }
    let recorded = world.recorded_after(before).await;
    assert_eq!(recorded, [""; 0]);

    let deep = nested(deepest - 3);
    for (operation, field) in FREE {
        let taken = ask(&world, operation, field, json!([{ "deep": deep }])).await;
        assert!(
            !tells_of_size(&taken),
            "{operation} {field}: {}",
            taken.body
        );
    }
    let lists = [
        "users.list",
        "directory",
        "spotlight?query=m",
        "channels.list",
        "rooms.get",
    ];
    for list in lists {
        world.admin.get(list).await.expect_ok();
    }
    let events = world
        .admin
        .get_path("/api/hansard/v1/events?limit=1000")
        .await;
    for event in events.expect_ok()["events"].as_array().unwrap() {
        assert!(event["payload"].is_object(), "{event}");
    }
}

#[tokio::test]
async fn a_message_is_bounded_with_all_that_belongs_to_it() {
    let world = World::start().await;
    let send = async |attachments: Value| {
        let message = json!({ "rid": world.channel, "msg": "m", "attachments": attachments });
        world
            .admin
            .post("chat.sendMessage", json!({ "message": message }))
            .await
    };
    let part = || json!({ "text": "x".repeat(60 * 1024) });
    send(json!([part(), part(), part(), part()]))
        .await
        .expect_ok();
    let before = world.head().await;
    let refused = send(json!([part(), part(), part(), part(), part()])).await;
    let error = refused.body["error"].as_str().unwrap_or_default();
    assert!(error.contains("takes at most 262144 bytes"), "{error}");
    assert_eq!(world.recorded_after(before).await, [""; 0]);
}

#[tokio::test]
async fn a_post_is_bounded_with_all_its_copies() {
    let world = World::start().await;
    let mut rooms = Vec::new();
    for number in 0..10 {
        rooms.push(world.admin.channel(&format!("room{number}")).await);
    }
    let before = world.head().await;
    let attachments = json!([{ "text": "x".repeat(150 * 1024) }]);
    let post = async |rooms: &[String]| {
        let body = json!({ "channel": rooms, "text": "m", "attachments": attachments });
        world.admin.post("chat.postMessage", body).await
    };
    let refused = post(&rooms).await;
    let error = refused.body["error"].as_str().unwrap_or_default();
    assert!(error.contains("at most 6 channels"), "{}", refused.body);
    assert_eq!(world.recorded_after(before).await, [""; 0]);
    post(&rooms[..6]).await.expect_ok();
}

#[tokio::test]
async fn what_requests_add_up_to_is_bounded_too() {
    let world = World::start().await;
    let refused_at_last = async |operation: &str, body: &dyn Fn(usize) -> Value| {
        for number in 0..200 {
            let answer = world.admin.post(operation, body(number)).await;
            if tells_of_size(&answer) {
                return;
            }
            answer.expect_ok();
        }
        panic!("{operation} takes more and more");
    };
    let text = "x".repeat(1_000);
    refused_at_last(
        "users.setPreferences",
        &|number| json!({ "data": { format!("p{number}"): text } }),
    )
    .await;
    refused_at_last(
        "users.updateOwnBasicInfo",
        &|number| json!({ "data": {}, "customFields": { format!("f{number}"): text } }),
    )
    .await;
    refused_at_last(
        "users.generatePersonalAccessToken",
        &|number| json!({ "tokenName": format!("t{number}") }),
    )
    .await;
    refused_at_last(
        "chat.react",
        &|number| json!({ "messageId": world.message, "emoji": format!("emoji{number}") }),
    )
    .await;
    // Names that nobody has are remembered no longer than one can be.
    let nobody = world.server.anonymous();
    let name = "n".repeat(limit::LOGIN_NAME.most);
    let refused = nobody
        .post("login", json!({ "user": name, "password": "x" }))
        .await;
    assert_eq!(refused.status, 401, "{}", refused.body);
}

#[tokio::test]
async fn what_is_too_long_of_a_status_text_is_cut_off() {
    let world = World::start().await;
    let text = "x".repeat(limit::STATUS_TEXT.most + 50);
    world
        .mary
        .post("users.setStatus", json!({ "message": text }))
        .await
        .expect_ok();
    let status = world.mary.get("users.getStatus").await.expect_ok();
    let kept = status["message"].as_str().unwrap();
    assert_eq!(kept, &text[..limit::STATUS_TEXT.most]);
}

#[tokio::test]
async fn headers_that_are_recorded_are_bounded() {
    let world = World::start().await;
    let long = "a".repeat(6_000);
    let request = world.mary.request(Method::POST, "/api/v1/users.setStatus");
    let request = request
        .header("User-Agent", &long)
        .header("X-Request-Id", &long)
        .header("X-Forwarded-For", &long)
        .json(&json!({ "message": "here" }));
    let before = world.head().await;
    world.mary.answer(request).await.expect_ok();
    let page = format!("/api/hansard/v1/events?limit=1000&after={before}");
    let page = world.admin.get_path(&page).await.expect_ok();
    let events = page["events"].as_array().unwrap();
    let changed = events
        .iter()
        .find(|event| event["type"] == "UserProfileChanged")
        .unwrap();
    let agent = changed["origin"]["userAgent"].as_str().unwrap();
    assert_eq!(agent.len(), limit::USER_AGENT.most);
    assert_eq!(changed["origin"]["address"], "127.0.0.1");
    assert!(changed["correlation"].as_str().unwrap().len() < 64);
}

#[tokio::test]
async fn an_account_makes_only_so_many_rooms() {
    let world = World::start().await;
    let make = async |number: u32| {
        let kind = if number.is_multiple_of(2) {
            "channels"
        } else {
            "groups"
        };
        let room = json!({ "name": format!("room-{number}") });
        world.mary.post(&format!("{kind}.create"), room).await
    };
    let made = stream::iter(0..limit::ROOMS_OF_ONE)
        .map(make)
        .buffer_unordered(16);
    made.for_each(|made| async { drop(made.expect_ok()) }).await;
    let refused = make(limit::ROOMS_OF_ONE).await.expect_error(400);
    assert_eq!(refused, "error-too-many-rooms");
    world.server.user("zoe").await;
    let three = json!({ "usernames": "admin,zoe" });
    let refused = world.mary.post("im.create", three).await;
    assert_eq!(refused.expect_error(400), "error-too-many-rooms");
    // Conversations of two are none of them, and one that is gone makes place for another.
    let with = json!({ "username": "admin" });
    world.mary.post("im.create", with).await.expect_ok();
    let gone = json!({ "roomName": "room-0" });
    world.mary.post("channels.delete", gone).await.expect_ok();
    make(limit::ROOMS_OF_ONE).await.expect_ok();
    make(limit::ROOMS_OF_ONE + 1).await.expect_error(400);
}
