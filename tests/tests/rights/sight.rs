//! What somebody sees of rooms, as a client finds out over HTTP: one rule for everything that shows a
//! room or something in it, and silence about rooms that somebody does not know of.

use hansard_tests::server::{Client, Server, encoded};
use serde_json::{Value, json};

const TEXT: &str = "the merger is off";

/// A private group of the owner and mary, with a topic and a message in it.
struct Secret {
    room: String,
    message: String,
}

async fn secret(owner: &Client) -> Secret {
    let made = owner
        .post(
            "groups.create",
            json!({ "name": "board", "members": ["mary"] }),
        )
        .await
        .expect_ok();
    let room = made["group"]["_id"].as_str().unwrap().to_owned();
    let topic = json!({ "roomId": room, "topic": "takeover" });
    owner.post("groups.setTopic", topic).await.expect_ok();
    let said = owner.say(&room, TEXT).await;
    Secret {
        room,
        message: said["_id"].as_str().unwrap().to_owned(),
    }
}

async fn audited(auditor: &Client, filter: &str) -> Vec<Value> {
    auditor
        .audit(&format!("type=RoomsInspected&{filter}"))
        .await
}

#[tokio::test]
async fn a_message_of_a_room_that_somebody_does_not_know_of_is_not_there() {
    let server = Server::start().await;
    let (owner, joe) = (server.user("owner").await, server.user("joe").await);
    let mary = server.user("mary").await;
    let Secret { room, message } = secret(&owner).await;

    let nothing = "A0000000000000000";
    for id in [message.as_str(), nothing] {
        let edit = json!({ "roomId": room, "msgId": id, "text": TEXT });
        let answer = joe.post("chat.update", edit).await;
        assert_eq!(answer.status, 400);
        let told = format!("No message found with the id of \"{id}\".");
        assert_eq!(answer.body, json!({ "success": false, "error": told }));
        let delete = json!({ "roomId": "elsewhere", "msgId": id });
        let answer = joe.post("chat.delete", delete).await;
        assert_eq!(answer.body, json!({ "success": false, "error": told }));
        let answer = joe.get(&format!("chat.getMessage?msgId={id}")).await;
        assert_eq!(answer.body, json!({ "success": false }));

        let mid = json!({ "messageId": id, "emoji": "smile" });
        for operation in ["chat.react", "chat.starMessage", "chat.pinMessage"] {
            let error = joe.post(operation, mid.clone()).await.expect_error(400);
            assert_eq!(error, "error-message-not-found", "{operation}");
        }
        let follow = json!({ "mid": id });
        let error = joe.post("chat.followMessage", follow).await;
        let thread = joe.get(&format!("chat.getThreadMessages?tmid={id}")).await;
        // As in Rocket.Chat, which says whether there is one: an id can't be guessed.
        let expected = if id == nothing {
            "error-invalid-message"
        } else {
            "error-not-allowed"
        };
        for refused in [error, thread] {
            assert_eq!(refused.expect_error(400), expected);
        }
        let unread = json!({ "firstUnreadMessage": { "_id": id } });
        let error = joe.post("subscriptions.unread", unread).await;
        assert_eq!(error.expect_error(400), "error-action-not-allowed");
    }

    // Who was in the room knows of it no more than others.
    let leave = json!({ "roomId": room });
    mary.post("groups.leave", leave).await.expect_ok();
    let answer = mary.get(&format!("chat.getMessage?msgId={message}")).await;
    assert_eq!(answer.body, json!({ "success": false }));
}

#[tokio::test]
async fn an_author_who_left_a_group_deletes_nothing_there_any_more() {
    let server = Server::start().await;
    let owner = server.user("owner").await;
    let mary = server.user("mary").await;
    let Secret { room, .. } = secret(&owner).await;
    let said = mary.say(&room, "mine").await["_id"].clone();
    mary.post("groups.leave", json!({ "roomId": room }))
        .await
        .expect_ok();

    let delete = json!({ "roomId": room, "msgId": said });
    let refused = mary.post("chat.delete", delete.clone()).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    let history = owner.get(&format!("groups.history?roomId={room}")).await;
    let messages = history.expect_ok()["messages"].take();
    let kept = messages.as_array().unwrap().iter();
    assert!(kept.clone().any(|message| message["_id"] == said));

    // With `force-delete-message` one need not be in the room.
    let admin = server.admin().await;
    admin.post("chat.delete", delete).await.expect_ok();
}

#[tokio::test]
async fn a_conversation_of_two_others_is_told_by_no_refusal() {
    let server = Server::start().await;
    let (mary, joe) = (server.user("mary").await, server.user("joe").await);
    let (paul, eve) = (server.user("paul").await, server.user("eve").await);
    let with = |name: &str| json!({ "username": name });
    let made = mary.post("im.create", with("joe")).await.expect_ok();
    let real = made["room"]["_id"].as_str().unwrap().to_owned();
    let mut ids = [joe.user_id(), paul.user_id()];
    ids.sort_unstable();
    let imagined = ids.concat();

    let bodies = |room: &str| {
        [
            ("rooms.delete", json!({ "roomId": room })),
            ("rooms.leave", json!({ "roomId": room })),
            (
                "rooms.favorite",
                json!({ "roomId": room, "favorite": true }),
            ),
            (
                "rooms.changeArchivationState",
                json!({ "rid": room, "action": "archive" }),
            ),
            (
                "rooms.muteUser",
                json!({ "roomId": room, "username": "joe" }),
            ),
            (
                "rooms.saveRoomSettings",
                json!({ "rid": room, "encrypted": true }),
            ),
            (
                "rooms.cleanHistory",
                json!({ "roomId": room, "latest": "2100-01-01", "oldest": "2000-01-01" }),
            ),
            ("im.delete", json!({ "roomId": room })),
            ("im.open", json!({ "roomId": room })),
            (
                "chat.sendMessage",
                json!({ "message": { "rid": room, "msg": "hi" } }),
            ),
            ("subscriptions.read", json!({ "rid": room })),
            ("subscriptions.unread", json!({ "roomId": room })),
        ]
    };
    for ((operation, one), (_, other)) in bodies(&real).into_iter().zip(bodies(&imagined)) {
        let (one, other) = (
            eve.post(operation, one).await,
            eve.post(operation, other).await,
        );
        assert!(!one.status.is_success(), "{operation}: {}", one.body);
        let told = one.body.to_string().replace(&real, &imagined);
        assert_eq!(told, other.body.to_string(), "{operation}");
    }
    for path in [
        "rooms.info?roomId=",
        "im.history?roomId=",
        "im.messages?roomId=",
        "im.members?roomId=",
        "im.counters?roomId=",
        "chat.search?searchText=hi&roomId=",
        "chat.getPinnedMessages?roomId=",
        "subscriptions.getOne?roomId=",
    ] {
        let one = eve.get(&format!("{path}{real}")).await.body.to_string();
        let other = eve.get(&format!("{path}{imagined}")).await.body.to_string();
        assert_eq!(one.replace(&real, &imagined), other, "{path}");
    }
}

#[tokio::test]
async fn an_archived_group_is_named_to_its_members_only() {
    let server = Server::start().await;
    let (owner, joe) = (server.user("owner").await, server.user("joe").await);
    server.user("mary").await;
    let Secret { room, .. } = secret(&owner).await;
    owner
        .post("groups.archive", json!({ "roomId": room }))
        .await
        .expect_ok();
    let info = format!("rooms.info?roomId={room}");
    assert_eq!(
        joe.get(&info).await.expect_error(400),
        "error-room-not-found"
    );
    assert_eq!(
        owner.get(&info).await.expect_error(400),
        "error-room-archived"
    );
}

#[tokio::test]
async fn who_is_online_answers_no_guess_about_a_group() {
    let server = Server::start().await;
    let (owner, joe) = (server.user("owner").await, server.user("joe").await);
    server.user("mary").await;
    secret(&owner).await;
    let ask = |client: Client, pattern: &'static str| async move {
        let query = format!("{{\"topic\":{{\"$regex\":\"{pattern}\"}}}}");
        client.get(&format!("groups.online?query={query}")).await
    };
    let right = ask(joe.clone(), "^take").await;
    let wrong = ask(joe, "^stake").await;
    assert_eq!(right.body, wrong.body);
    assert_eq!(right.expect_error(400), "error-not-allowed");
    ask(owner, "^take").await.expect_ok();
}

#[tokio::test]
async fn a_star_is_nobody_elses_to_ask_about() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (mary, joe) = (server.user("mary").await, server.user("joe").await);
    let room = admin.channel("open").await;
    let message = admin.say(&room, "hello").await["_id"].clone();
    for somebody in [&mary, &joe] {
        let join = json!({ "roomId": room });
        somebody.post("channels.join", join).await.expect_ok();
    }
    let star = json!({ "messageId": message });
    mary.post("chat.starMessage", star).await.expect_ok();

    let starred_by = |id: &str| {
        let query = format!("{{\"starred._id\":{{\"$in\":[\"{id}\"]}}}}");
        format!("channels.messages?roomId={room}&query={query}")
    };
    let own = mary.get(&starred_by(mary.user_id())).await.expect_ok();
    assert_eq!(own["total"], 1);
    let others = joe.get(&starred_by(mary.user_id())).await;
    assert_eq!(others.expect_error(400), "error-invalid-query");
}

#[tokio::test]
async fn a_deleted_room_is_told_to_those_who_were_in_it() {
    let server = Server::start().await;
    let (owner, joe) = (server.user("owner").await, server.user("joe").await);
    let mary = server.user("mary").await;
    let Secret { room, .. } = secret(&owner).await;
    owner
        .post("groups.delete", json!({ "roomId": room }))
        .await
        .expect_ok();
    let since = "rooms.get?updatedSince=2020-01-01T00:00:00.000Z";
    let mut told = mary.get(since).await.expect_ok()["remove"].take();
    assert_eq!(told[0]["_id"].take(), json!(room));
    let told = joe.get(since).await.expect_ok();
    assert_eq!(told["remove"], json!([]));

    // Nor to those who were put out of it before.
    let Secret { room, .. } = secret(&owner).await;
    let kick = json!({ "roomId": room, "userId": mary.user_id() });
    owner.post("groups.kick", kick).await.expect_ok();
    let before = mary.get(since).await.expect_ok();
    owner
        .post("groups.delete", json!({ "roomId": room }))
        .await
        .expect_ok();
    let after = mary.get(since).await.expect_ok();
    assert_eq!(after["remove"], before["remove"]);
}

#[tokio::test]
async fn whom_one_ignores_in_a_broadcast_room_tells_nothing_of_its_members() {
    let server = Server::start().await;
    let owner = server.user("owner").await;
    let [joe, mary, eve] = ["joe", "mary", "eve"].map(|name| server.user(name));
    let (joe, mary, eve) = (joe.await, mary.await, eve.await);
    let group = json!({
        "name": "news", "members": ["joe", "mary"], "extraData": { "broadcast": true },
    });
    let made = owner.post("groups.create", group).await.expect_ok();
    let room = made["group"]["_id"].as_str().unwrap();
    let members = joe.get(&format!("groups.members?roomId={room}")).await;
    members.expect_error(403);
    let ignore = async |whom: &str| {
        let path = format!("chat.ignoreUser?rid={room}&userId={whom}&ignore=true");
        joe.get(&path).await.status.as_u16()
    };
    assert_eq!(ignore(mary.user_id()).await, 200);
    assert_eq!(ignore(eve.user_id()).await, 200);
    assert_eq!(ignore("nobody").await, 400);
}

#[tokio::test]
async fn who_is_in_a_broadcast_room_is_not_suggested_to_those_who_see_nobody_elsewhere() {
    let server = Server::start().await;
    let (admin, owner) = (server.admin().await, server.user("owner").await);
    let (joe, mary) = (server.user("joe").await, server.user("mary").await);
    server.user("eve").await;
    let alone = json!([{ "_id": "view-outside-room", "roles": ["admin"] }]);
    let alone = json!({ "permissions": alone });
    admin.post("permissions.update", alone).await.expect_ok();
    let out = json!({ "roomId": "GENERAL" });
    for client in [&joe, &mary, &owner] {
        client.post("channels.leave", out.clone()).await.expect_ok();
    }
    let group = async |name: &str, broadcast: bool| {
        let group = json!({
            "name": name, "members": ["joe", "mary"], "extraData": { "broadcast": broadcast },
        });
        owner.post("groups.create", group).await.expect_ok();
    };
    let suggested = async || {
        let path = "users.autocomplete?selector={\"term\":\"\"}";
        let found = joe.get(path).await.expect_ok();
        let items = found["items"].as_array().unwrap().iter();
        let mut names: Vec<_> = items
            .map(|item| item["username"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    group("news", true).await;
    assert_eq!(suggested().await, Vec::<String>::new());
    group("talk", false).await;
    assert_eq!(suggested().await, ["mary", "owner"]);
}

#[tokio::test]
async fn an_administrators_looks_show_no_private_message_and_go_on_the_audit() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let owner = server.user("owner").await;
    let mary = server.user("mary").await;
    let Secret { room, .. } = secret(&owner).await;
    let with = json!({ "username": "owner" });
    let made = mary.post("im.create", with).await.expect_ok();
    let direct = made["room"]["_id"].as_str().unwrap().to_owned();
    mary.say(&direct, TEXT).await;

    for (operation, id) in [("groups.listAll", &room), ("im.list.everyone", &direct)] {
        let list = admin.get(operation).await.expect_ok().to_string();
        assert!(list.contains(id.as_str()), "{operation}");
        assert!(!list.contains(TEXT), "{operation}");
        let looks = audited(&admin, &format!("target={operation}")).await;
        assert_eq!(looks.len(), 1, "{operation}");
        assert_eq!(looks[0]["details"]["shown"], 1);
        assert_eq!(
            looks[0]["details"]["permission"],
            "view-room-administration"
        );
        // A page beyond the end shows nothing, but how many there are.
        let asked = [
            format!("{operation}?offset=9"),
            format!(
                "{operation}?query={}",
                encoded(r#"{"name":"no such name"}"#)
            ),
        ];
        for (asked, looks) in asked.iter().zip(2..) {
            admin.get(asked).await.expect_ok();
            let known = audited(&admin, &format!("target={operation}")).await;
            assert_eq!(known.len(), looks, "{asked}");
            assert_eq!(known[0]["details"]["shown"], 0, "{asked}");
        }
    }
    let before = audited(&admin, "target=rooms.adminRooms").await.len();
    admin
        .get("rooms.adminRooms?filter=boa&offset=9")
        .await
        .expect_ok();
    let looks = audited(&admin, "target=rooms.adminRooms").await.len();
    assert_eq!(looks, before + 1);
    // Members are shown what was said last, and it is nobody's business that they look.
    let list = owner.get("groups.list").await.expect_ok();
    assert!(list.to_string().contains(TEXT));

    let others = format!("im.messages.others?roomId={direct}");
    let disabled = admin.get(&others).await.expect_error(400);
    assert_eq!(disabled, "error-endpoint-disabled");
    let on = json!({ "value": true });
    let setting = "settings/API_Enable_Direct_Message_History_EndPoint";
    admin.post(setting, on).await.expect_ok();
    let messages = admin.get(&others).await.expect_ok();
    assert!(messages.to_string().contains(TEXT));
    let here = format!("room={direct}&target=im.messages.others");
    let looks = audited(&admin, &here).await;
    assert_eq!(looks.len(), 1);
    assert_eq!(looks[0]["username"], "admin");
    assert_eq!(looks[0]["details"]["shown"], messages["count"]);
    mary.get(&others).await.expect_error(403);
}

#[tokio::test]
async fn a_look_that_changes_nothing_goes_on_the_audit_whatever_right_it_needs() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let owner = server.user("owner").await;
    let (mary, joe) = (server.user("mary").await, server.user("joe").await);
    let Secret { room, .. } = secret(&owner).await;
    let permissions: Vec<_> = [
        "add-user-to-any-p-room",
        "kick-user-from-any-p-room",
        "remove-user",
        "access-permissions",
        "view-other-user-channels",
    ]
    .map(|id| json!({ "_id": id, "roles": ["admin", "user"] }))
    .into();
    let grant = json!({ "permissions": permissions });
    admin.post("permissions.update", grant).await.expect_ok();

    let mary_again = json!({ "roomName": "board", "userId": mary.user_id() });
    let shown = joe
        .post("groups.invite", mary_again.clone())
        .await
        .expect_ok();
    assert_eq!(shown["group"]["topic"], "takeover");
    let nobody = json!({ "roomName": "board", "userId": joe.user_id() });
    joe.post("groups.kick", nobody).await.expect_ok();
    let holders = format!("roles.getUsersInRole?role=owner&roomId={room}");
    joe.get(&holders).await.expect_ok();

    for action in ["groups.invite", "groups.kick", "roles.getUsersInRole"] {
        let looks = audited(&admin, &format!("room={room}")).await;
        let of_joe = looks
            .iter()
            .filter(|look| look["username"] == "joe" && look["target"]["id"] == action);
        assert_eq!(of_joe.count(), 1, "{action}: {looks:?}");
    }
    // Members look into their own room.
    mary.post("groups.invite", mary_again).await.expect_ok();
    mary.get(&holders).await.expect_ok();
    let looks = audited(&admin, &format!("room={room}")).await;
    assert!(
        looks.iter().all(|look| look["username"] == "joe"),
        "{looks:?}"
    );
}

#[tokio::test]
async fn a_member_whose_right_to_look_is_taken_away_sees_that_its_room_is_there_and_no_more() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let owner = server.user("owner").await;
    let mary = server.user("mary").await;
    let Secret { room, .. } = secret(&owner).await;
    let lists = ["groups.list", "rooms.get"];
    for list in lists {
        let told = mary.get(list).await.expect_ok().to_string();
        assert!(told.contains("takeover"), "{list}: {told}");
    }
    let permissions = json!([
        { "_id": "view-p-room", "roles": ["admin"] },
        { "_id": "view-joined-room", "roles": ["admin"] },
    ]);
    let taken = json!({ "permissions": permissions });
    admin.post("permissions.update", taken).await.expect_ok();
    for list in lists {
        let told = mary.get(list).await.expect_ok().to_string();
        assert!(!told.contains("takeover"), "{list}: {told}");
        assert!(told.contains(&room), "{list}: {told}");
    }
}

#[tokio::test]
async fn channels_are_there_for_those_who_may_see_channels() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let room = admin.channel("open").await;
    admin.say(&room, TEXT).await;
    let role = |name: &str, role: &str| json!({ "username": name, "roleId": role });
    let [guest, bot] = ["guest", "bot"].map(|name| (name, server.user(name)));
    let (guest, bot) = (guest.1.await, bot.1.await);
    for name in ["guest", "bot"] {
        admin
            .post("roles.addUserToRole", role(name, name))
            .await
            .expect_ok();
        let ordinary = json!({ "username": name, "roleId": "user" });
        admin
            .post("roles.removeUserFromRole", ordinary)
            .await
            .expect_ok();
    }
    for operation in [
        "channels.info",
        "channels.members",
        "channels.roles",
        "channels.moderators",
        "channels.history",
        "channels.messages",
    ] {
        let error = guest.get(&format!("{operation}?roomId={room}")).await;
        let error = error.expect_error(400);
        assert_eq!(error, "error-room-not-found", "{operation}");
    }

    // A bot sees channels, and reads in those that it is in (`preview-c-room`).
    let info = bot.get(&format!("channels.info?roomId={room}")).await;
    assert!(info.expect_ok()["channel"].get("lastMessage").is_none());
    let message = admin.say(&room, "first").await["_id"].clone();
    let reads = [
        format!("channels.history?roomId={room}"),
        format!("channels.messages?roomId={room}"),
        format!("chat.getMessage?msgId={}", message.as_str().unwrap()),
        format!("chat.search?roomId={room}&searchText=merger"),
        format!("chat.syncMessages?roomId={room}&lastUpdate=2020-01-01T00:00:00.000Z"),
        format!("chat.getThreadsList?rid={room}"),
        format!("chat.getPinnedMessages?roomId={room}"),
        format!("chat.getMentionedMessages?roomId={room}"),
    ];
    for read in &reads {
        let status = bot.get(read).await.status.as_u16();
        assert!(matches!(status, 400 | 403), "{read}: {status}");
    }
    let join = json!({ "roomId": room });
    bot.post("channels.join", join).await.expect_ok();
    for read in &reads {
        bot.get(read).await.expect_ok();
    }
}

#[tokio::test]
async fn addresses_are_shown_to_those_who_may_see_them() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    for list in ["users.list", "users.listByStatus"] {
        let shown = mary.get(list).await.expect_ok().to_string();
        assert!(!shown.contains("mary@example.org"), "{list}: {shown}");
        assert!(!shown.contains("lastLogin"), "{list}: {shown}");
        let shown = admin.get(list).await.expect_ok().to_string();
        assert!(shown.contains("mary@example.org"), "{list}: {shown}");
    }
    // Nor does the order tell of them.
    let names = |list: Value| -> Vec<String> {
        let users = list["users"].as_array().unwrap().iter();
        let name = |user: &Value| user["username"].as_str().unwrap().to_owned();
        users.map(name).collect()
    };
    let forth = mary.get("users.list?sort={\"emails\":1}").await.expect_ok();
    let back = mary
        .get("users.list?sort={\"emails\":-1}")
        .await
        .expect_ok();
    assert_eq!(names(forth), names(back));
}

#[tokio::test]
async fn a_mention_of_a_room_that_its_author_does_not_know_of_stays_a_word() {
    let server = Server::start().await;
    let (owner, joe) = (server.user("owner").await, server.user("joe").await);
    server.user("mary").await;
    secret(&owner).await;
    let said = joe.say("GENERAL", "see #board").await;
    assert_eq!(said["channels"], json!([]));
    let said = owner.say("GENERAL", "see #board").await;
    assert_eq!(said["channels"][0]["name"], "board");
}

#[tokio::test]
async fn who_takes_no_part_in_a_conversation_is_not_told_whether_there_is_one() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (mary, eve) = (server.user("mary").await, server.user("eve").await);
    server.user("joe").await;
    server.user("paul").await;
    let with_joe = json!({ "username": "joe" });
    let made = mary.post("im.create", with_joe).await.expect_ok();
    let others = |names: &str| json!({ "usernames": names, "excludeSelf": true });
    for names in ["mary,joe", "mary,paul"] {
        let refused = eve.post("im.create", others(names)).await;
        assert_eq!(refused.expect_error(400), "error-not-allowed", "{names}");
    }
    let rooms = mary.get("im.list").await.expect_ok();
    assert_eq!(rooms["total"], 1);

    let shown = admin.post("im.create", others("mary,joe")).await;
    assert_eq!(shown.expect_ok()["room"]["_id"], made["room"]["_id"]);
    let room = made["room"]["_id"].as_str().unwrap();
    let looks = audited(&admin, &format!("room={room}")).await;
    assert_eq!(looks.len(), 1, "{looks:?}");
}

#[tokio::test]
async fn whose_last_owner_somebody_is_names_no_group_to_others() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (mary, joe) = (server.user("mary").await, server.user("joe").await);
    let group = json!({ "name": "conspiracy" });
    mary.post("groups.create", group).await.expect_ok();
    let permission = "edit-other-user-active-status";
    let grant = json!({ "permissions": [{ "_id": permission, "roles": ["admin", "user"] }] });
    admin.post("permissions.update", grant).await.expect_ok();
    let deactivate = json!({ "userId": mary.user_id(), "activeStatus": false });
    let refused = joe.post("users.setActiveStatus", deactivate).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.body["errorType"], "user-last-owner");
    assert!(
        !refused.body.to_string().contains("conspiracy"),
        "{}",
        refused.body
    );
}
