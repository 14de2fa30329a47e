//! Rooms and subscriptions, as a client sees them over HTTP.

use hansard_tests::server::{Client, Server, eventually};
use serde_json::{Value, json};

#[tokio::test]
async fn a_channel_is_made_joined_and_left() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let made = admin
        .post("channels.create", json!({ "name": "talk" }))
        .await
        .expect_ok();
    let room = made["channel"]["_id"].as_str().unwrap().to_owned();
    assert_eq!(made["channel"]["usersCount"], 1);
    assert_eq!(
        made["channel"]["u"]["username"],
        hansard_tests::server::ADMIN
    );

    let joined = mary
        .post("channels.join", json!({ "roomName": "talk" }))
        .await
        .expect_ok();
    assert_eq!(joined["channel"]["usersCount"], 2);
    let members = mary
        .get(&format!("channels.members?roomId={room}&filter=mar"))
        .await
        .expect_ok();
    assert_eq!(members["members"][0]["username"], "mary");
    assert_eq!(members["total"], 1);
    let history = mary
        .get(&format!("channels.history?roomId={room}"))
        .await
        .expect_ok();
    assert_eq!(history["messages"][0]["t"], "uj");

    mary.post("channels.leave", json!({ "roomId": room }))
        .await
        .expect_ok();
    let error = mary
        .post("channels.leave", json!({ "roomId": room }))
        .await
        .expect_error(400);
    assert_eq!(error, "error-user-not-in-room");
    let error = admin
        .post("channels.leave", json!({ "roomId": room }))
        .await
        .expect_error(400);
    assert_eq!(error, "error-you-are-last-owner");
}

#[tokio::test]
async fn names_are_unique_and_free_again_after_a_rename_or_a_deletion() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let first = admin.channel("first").await;
    let error = admin
        .post("groups.create", json!({ "name": "First" }))
        .await
        .expect_error(400);
    assert_eq!(error, "error-duplicate-channel-name");
    let error = admin
        .post("channels.create", json!({ "name": "a b" }))
        .await
        .expect_error(400);
    assert_eq!(error, "error-invalid-room-name");

    admin
        .post(
            "channels.rename",
            json!({ "roomId": first, "name": "second" }),
        )
        .await
        .expect_ok();
    admin
        .post("groups.create", json!({ "name": "first" }))
        .await
        .expect_ok();
    admin
        .post("channels.delete", json!({ "roomId": first }))
        .await
        .expect_ok();
    let error = admin
        .get(&format!("channels.info?roomId={first}"))
        .await
        .expect_error(400);
    assert_eq!(error, "error-room-not-found");
    admin.channel("second").await;
}

#[tokio::test]
async fn a_private_group_is_there_for_its_members_only() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (mary, joe) = (server.user("mary").await, server.user("joe").await);
    let made = admin
        .post(
            "groups.create",
            json!({ "name": "secret", "members": ["mary"] }),
        )
        .await;
    let room = made.expect_ok()["group"]["_id"]
        .as_str()
        .unwrap()
        .to_owned();
    mary.get(&format!("groups.info?roomId={room}"))
        .await
        .expect_ok();
    let error = joe
        .get(&format!("groups.info?roomId={room}"))
        .await
        .expect_error(400);
    assert_eq!(error, "error-room-not-found");
    let error = joe
        .get(&format!("rooms.info?roomId={room}"))
        .await
        .expect_error(400);
    assert_eq!(error, "error-room-not-found");
    let invite = json!({ "roomId": room, "userId": joe.user_id() });
    let error = mary
        .post("groups.invite", invite.clone())
        .await
        .expect_error(400);
    assert_eq!(error, "error-not-allowed");
    admin.post("groups.invite", invite).await.expect_ok();
    joe.get(&format!("groups.info?roomId={room}"))
        .await
        .expect_ok();
}

#[tokio::test]
async fn what_is_said_is_unread_until_it_is_read() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let talk = admin
        .post("im.create", json!({ "username": "mary" }))
        .await
        .expect_ok();
    let room = talk["room"]["rid"].as_str().unwrap().to_owned();
    let one = format!("subscriptions.getOne?roomId={room}");
    assert_eq!(
        mary.get(&one).await.expect_ok()["subscription"]["open"],
        false
    );
    admin.say(&room, "one").await;
    admin.say(&room, "two").await;

    let subscription = mary.get(&one).await.expect_ok()["subscription"].take();
    assert_eq!(
        (&subscription["unread"], &subscription["open"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(subscription["name"], hansard_tests::server::ADMIN);
    assert_eq!(
        admin.get(&one).await.expect_ok()["subscription"]["unread"],
        0
    );

    mary.post("subscriptions.read", json!({ "rid": room }))
        .await
        .expect_ok();
    let subscription = mary.get(&one).await.expect_ok()["subscription"].take();
    assert_eq!(
        (&subscription["unread"], &subscription["alert"]),
        (&json!(0), &json!(false))
    );
    let listed = mary.get("im.list").await.expect_ok();
    assert_eq!(listed["ims"][0]["lastMessage"]["msg"], "two");
    assert_eq!(listed["ims"][0]["msgs"], 2);
}

/// What a member sees of a room, but for what each event about it changes.
async fn attention(client: &Client, room: &str) -> Value {
    let own = format!("subscriptions.getOne?roomId={room}");
    let own = client.get(&own).await.expect_ok()["subscription"].take();
    json!([own["open"], own["alert"], own["unread"], own["tunread"]])
}

#[tokio::test]
async fn reading_again_is_no_event_where_nothing_has_happened_and_always_leaves_all_read() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let room = admin.channel("talk").await;
    mary.post("channels.join", json!({ "roomId": room }))
        .await
        .expect_ok();
    let read = async |threads: bool| {
        let asked = json!({ "rid": room, "readThreads": threads });
        mary.post("subscriptions.read", asked).await.expect_ok();
    };
    let seen = async || {
        let own = format!("subscriptions.getOne?roomId={room}");
        let own = mary.get(&own).await.expect_ok()["subscription"].take();
        (own["ls"].clone(), own["_updatedAt"].clone())
    };
    let all_read = json!([true, false, 0, null]);

    // Who came into a room has yet to read it.
    assert_eq!(attention(&mary, &room).await[1], true);
    read(false).await;
    assert_eq!(attention(&mary, &room).await, all_read);
    let before = seen().await;
    for _ in 0..3 {
        read(false).await;
    }
    assert_eq!(seen().await, before, "nothing has happened");
    read(true).await;
    let with_threads = seen().await;
    assert_ne!(with_threads, before, "threads were not read yet");
    read(false).await;
    read(true).await;
    assert_eq!(seen().await, with_threads);

    // Each of these calls for attention again, until the room is read.
    let thread = mary.say(&room, "a thread").await;
    let (head, at) = (&thread["_id"], &thread["ts"]);
    let reply = json!({ "message": { "rid": room, "msg": "a reply", "tmid": head } });
    let of_room = json!({ "roomId": room });
    let said = admin.say(&room, "hello").await["_id"].take();
    let unread = json!({ "firstUnreadMessage": { "_id": said } });
    for (who, operation, asked) in [
        (
            &admin,
            "chat.postMessage",
            json!({ "roomId": room, "text": "hello @mary" }),
        ),
        (
            &admin,
            "channels.rename",
            json!({ "roomId": room, "name": "lobby" }),
        ),
        (&mary, "subscriptions.unread", unread),
        (&mary, "channels.close", of_room.clone()),
        (&admin, "channels.archive", of_room.clone()),
        (&admin, "channels.unarchive", of_room),
    ] {
        let again = operation != "channels.unarchive";
        who.post(operation, asked).await.expect_ok();
        let called = attention(&mary, &room).await;
        assert_eq!(called != all_read, again, "{operation}: {called}");
        read(false).await;
        assert_eq!(attention(&mary, &room).await, all_read, "{operation}");
    }

    // A thread stays unread until it is read with the room, or left, or gone.
    admin
        .post("chat.sendMessage", reply.clone())
        .await
        .expect_ok();
    read(false).await;
    read(false).await;
    let in_thread = json!([true, true, 0, [head]]);
    assert_eq!(attention(&mary, &room).await, in_thread);
    read(true).await;
    assert_eq!(attention(&mary, &room).await, all_read);
    for (who, operation, asked) in [
        (&mary, "chat.unfollowMessage", json!({ "mid": head })),
        (
            &admin,
            "rooms.cleanHistory",
            json!({ "roomId": room, "oldest": at, "latest": at, "inclusive": true }),
        ),
    ] {
        mary.post("chat.followMessage", json!({ "mid": head }))
            .await
            .expect_ok();
        admin
            .post("chat.sendMessage", reply.clone())
            .await
            .expect_ok();
        read(false).await;
        assert_eq!(attention(&mary, &room).await, in_thread);
        who.post(operation, asked).await.expect_ok();
        read(false).await;
        assert_eq!(attention(&mary, &room).await, all_read, "{operation}");
    }
}

#[tokio::test]
async fn roles_in_a_room_are_given_and_taken() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let room = admin.channel("talk").await;
    let member = json!({ "roomId": room, "userId": mary.user_id() });
    let error = admin
        .post("channels.addModerator", member.clone())
        .await
        .expect_error(400);
    assert_eq!(error, "error-user-not-in-room");
    mary.post("channels.join", json!({ "roomId": room }))
        .await
        .expect_ok();
    let topic = json!({ "roomId": room, "topic": "weather" });
    let error = mary
        .post("channels.setTopic", topic.clone())
        .await
        .expect_error(400);
    assert_eq!(error, "error-action-not-allowed");
    admin
        .post("channels.addModerator", member.clone())
        .await
        .expect_ok();
    mary.post("channels.setTopic", topic).await.expect_ok();
    let info = mary
        .get(&format!("channels.info?roomId={room}"))
        .await
        .expect_ok();
    assert_eq!(info["channel"]["topic"], "weather");
    let found = mary
        .get(&format!("channels.moderators?roomId={room}"))
        .await
        .expect_ok();
    assert_eq!(found["moderators"][0]["username"], "mary");
    admin
        .post("channels.removeModerator", member)
        .await
        .expect_ok();
}

#[tokio::test]
async fn a_muted_member_does_not_speak_again_by_leaving() {
    let server = Server::start().await;
    let (owner, mary) = (server.user("owner").await, server.user("mary").await);
    let room = owner.channel("talk").await;
    let this = || json!({ "roomId": room });
    let say = || json!({ "message": { "rid": room, "msg": "hi" } });
    let mute = || json!({ "roomId": room, "username": "mary" });
    mary.post("channels.join", this()).await.expect_ok();
    owner.post("rooms.muteUser", mute()).await.expect_ok();
    mary.post("channels.leave", this()).await.expect_ok();
    let refused = mary.post("chat.sendMessage", say()).await;
    assert_eq!(refused.body["error"], "You_have_been_muted");
    let post = json!({ "roomId": room, "text": "hi" });
    let refused = mary.post("chat.postMessage", post).await;
    assert_eq!(refused.body["error"], "You_have_been_muted");
    mary.post("channels.join", this()).await.expect_ok();
    let refused = mary.post("chat.sendMessage", say()).await;
    assert_eq!(refused.body["error"], "You_have_been_muted");
    mary.post("channels.leave", this()).await.expect_ok();

    // Whoever silenced it lets it speak again, in the room or not.
    owner.post("rooms.unmuteUser", mute()).await.expect_ok();
    mary.post("chat.sendMessage", say()).await.expect_ok();
    let refused = owner.post("rooms.unmuteUser", mute()).await;
    assert_eq!(refused.expect_error(400), "error-user-not-in-room");
}

#[tokio::test]
async fn a_channel_that_everybody_joins_is_joined_no_more_once_it_is_private() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let owner = server.user("owner").await;
    let room = owner.channel("hall").await;
    let default = json!({ "roomId": room, "default": true });
    admin.post("channels.setDefault", default).await.expect_ok();
    let early = server.user("early").await;
    let private = json!({ "roomId": room, "type": "p" });
    owner.post("channels.setType", private).await.expect_ok();
    let late = server.user("late").await;
    let groups = async |client: &Client| client.get("groups.list").await.expect_ok().to_string();
    eventually("who was in it is in a group", async || {
        groups(&early).await.contains(&room)
    })
    .await;
    let told = groups(&late).await;
    assert!(!told.contains(&room), "{told}");
}
