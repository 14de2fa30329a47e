use hansard_domain::account::{AccountEvent, MessageErasure, Profile};
use hansard_domain::id::{RoomId, Timestamp, UserId};
use hansard_domain::message::{Content, Mentions, MessageEvent, Sent, ThreadReply};
use hansard_domain::room::{PruneCriteria, PruneReason, Pruned, RoomEvent};
use hansard_domain::seal::Private;
use hansard_domain::vault::KeyId;
use serde_json::{Value, json};

use super::queries::{History, Slice, history_page};
use super::*;
use crate::sql::Dialect;
use crate::testing::{
    KEPT, Served, Story, dump, on_both_engines, shredded, tables, tables_on, told,
};

const TABLES: &[&str] = &[
    "message", "author", "star", "mention", "named", "renaming", "deleted", "total", "remains",
];

fn two_people() -> Story {
    let mut story = Story::default();
    story.registered("mary").registered("joe");
    story
}

fn wrote(story: &mut Story, id: &str, sender: &str, text: &str) {
    let sent = story.message("general", sender);
    story.wrote(id, sent, text);
}

fn replied(story: &mut Story, id: &str, sender: &str, parent: &str) {
    let sent = Sent {
        thread: Some(ThreadReply {
            parent: parent.into(),
            shown: false,
            followers: vec![sender.into()],
        }),
        ..story.message("general", sender)
    };
    story.wrote(id, sent, "a reply");
}

fn content(text: &str) -> Private<Content> {
    let content = Content {
        text: text.to_owned(),
        ..Content::default()
    };
    Private::new(KeyId(3), content)
}

fn reacted(story: &mut Story, id: &str, user: &str, reaction: &str) {
    let event = MessageEvent::ReactionAdded {
        room: "general".into(),
        user: user.into(),
        reaction: Private::new(KeyId(3), reaction.into()),
    };
    story.on(id, event);
}

/// A message that mentions somebody, whose name earlier versions recorded with it.
fn mentioned(story: &mut Story, id: &str, sender: &str, user: &str, mention: Value) {
    let sent = Sent {
        mentions: Mentions {
            users: vec![user.into()],
            everybody: false,
        },
        ..story.message("general", sender)
    };
    let content = Content {
        text: "hello".to_owned(),
        mentions: vec![mention],
        ..Content::default()
    };
    let content = Private::new(KEPT, content);
    story.on(id, MessageEvent::MessageSent { sent, content });
}

/// A system message about somebody, by another.
fn told_about(story: &mut Story, id: &str, kind: &str, sender: &str, user: &str) {
    let sent = Sent {
        system: Some(kind.to_owned()),
        ..story.message("general", sender)
    };
    let pinned = json!({ "message_link": "/group/general?msg=m1" });
    let content = Content {
        about: Some(user.into()),
        attachments: Vec::from_iter((kind == "message_pinned").then_some(pinned)).into(),
        ..Content::default()
    };
    let content = Private::new(KEPT, content);
    story.on(id, MessageEvent::MessageSent { sent, content });
}

/// Whatever names somebody in what others said, and in what the server said by others.
fn named_by_others(story: &mut Story, user: &str, other: &str) {
    let old =
        json!({ "_id": user, "username": user, "name": format!("Name of {user}"), "type": "user" });
    mentioned(story, "n1", other, user, old);
    let new = json!({ "_id": user, "type": "user" });
    mentioned(story, "n2", other, user, new);
    told_about(story, "n3", "au", other, user);
    told_about(story, "n4", "message_pinned", other, user);
    let joined = Sent {
        system: Some("uj".into()),
        ..story.message("general", user)
    };
    story.wrote("n5", joined, user);
}

/// How the messages that name somebody name him.
fn names_given(messages: &[Value]) -> [Value; 6] {
    let message = |id: &str| {
        let found = messages.iter().find(|message| message["_id"] == id);
        found.unwrap().clone()
    };
    let pinned = message("n4")["attachments"][0].clone();
    [
        message("n1")["mentions"][0].clone(),
        message("n2")["mentions"][0].clone(),
        message("n3")["msg"].clone(),
        pinned["author_name"].clone(),
        pinned["author_icon"].clone(),
        message("n5")["msg"].clone(),
    ]
}

fn deleted(story: &mut Story, id: &str, show_deleted: bool) {
    let event = MessageEvent::MessageDeleted {
        room: "general".into(),
        by: "joe".into(),
        erased: Some(KeyId(3)),
        show_deleted,
        at: story.now(),
    };
    story.on(id, event);
}

async fn history(tables: &mut AnyConnection, viewer: &str, history: History) -> Vec<Value> {
    let (viewer, room) = (UserId::new(viewer), RoomId::new("general"));
    let found = history_page(tables, &viewer, &room, &history)
        .await
        .unwrap();
    let messages: Vec<Value> = serde_json::from_str(&found.json).unwrap();
    assert_eq!(messages.len() as u64, found.count);
    messages
}

fn all() -> History {
    History {
        threads: true,
        ..History::default()
    }
}

fn ids(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|it| it["_id"].as_str().unwrap())
        .collect()
}

async fn a_page_of_history_is_the_newest_first_with_authors() {
    let mut story = two_people();
    for number in 1..=5 {
        wrote(&mut story, &format!("m{number}"), "mary", "hello \"you\"");
    }
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let page = History {
        slice: Slice {
            offset: 1,
            count: Some(2),
        },
        ..all()
    };
    let messages = history(&mut tables, "joe", page).await;
    assert_eq!(ids(&messages), ["m4", "m3"]);
    assert_eq!(messages[0]["u"]["username"], "mary");
    assert_eq!(messages[0]["msg"], "hello \"you\"");
    assert_eq!(messages[0]["ts"], "2023-11-14T22:13:25.000Z");
    assert_eq!(messages[0]["urls"], json!([]));

    let at = Timestamp::parse("2023-11-14T22:13:24.000Z");
    for (inclusive, expected) in [(false, vec!["m2", "m1"]), (true, vec!["m3", "m2", "m1"])] {
        let before = History {
            latest: at,
            inclusive,
            ..all()
        };
        assert_eq!(ids(&history(&mut tables, "joe", before).await), expected);
    }
}

async fn a_star_is_seen_by_the_one_who_gave_it() {
    let mut story = two_people();
    wrote(&mut story, "m1", "mary", "hello");
    let (room, user) = (RoomId::new("general"), UserId::new("joe"));
    story.on("m1", MessageEvent::MessageStarred { room, user });
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let joes = history(&mut tables, "joe", all()).await;
    assert_eq!(joes[0]["starred"], json!([{ "_id": "joe" }]));
    let marys = history(&mut tables, "mary", all()).await;
    assert!(marys[0].get("starred").is_none());
}

async fn names_follow_those_who_bear_them() {
    let mut story = two_people();
    wrote(&mut story, "m1", "joe", "hello");
    reacted(&mut story, "m1", "joe", ":smile:");
    reacted(&mut story, "m1", "mary", ":smile:");
    let by = UserId::new("joe");
    let (room, at) = (RoomId::new("general"), story.now());
    story.on("m1", MessageEvent::MessagePinned { room, by, at });
    let profile = Profile {
        username: "joseph".into(),
        ..Profile::default()
    };
    let profile = Private::new(KeyId(1), profile);
    story.account("joe", AccountEvent::UserProfileChanged { profile });
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let message = &history(&mut tables, "mary", all()).await[0];
    assert_eq!(message["u"]["username"], "joseph");
    assert_eq!(message["pinnedBy"]["username"], "joseph");
    let smiles = json!({ ":smile:": { "usernames": ["joseph", "mary"] } });
    assert_eq!(message["reactions"], smiles);
}

async fn names_in_what_others_said_are_those_of_today_and_go_with_the_account() {
    let mut story = two_people();
    named_by_others(&mut story, "joe", "mary");
    let names = |name: &str, full: Value| {
        let mention = json!({ "_id": "joe", "username": name, "name": full, "type": "user" });
        [
            mention.clone(),
            mention,
            json!(name),
            json!(name),
            json!(format!("/avatar/{name}")),
            json!(name),
        ]
    };
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let messages = history(&mut tables, "mary", all()).await;
    assert_eq!(names_given(&messages), names("joe", json!("Name of joe")));

    let profile = Profile {
        username: "joseph".into(),
        ..Profile::default()
    };
    let profile = Private::new(KeyId(1), profile);
    story.account("joe", AccountEvent::UserProfileChanged { profile });
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let messages = history(&mut tables, "mary", all()).await;
    assert_eq!(names_given(&messages), names("joseph", Value::Null));

    let gone = AccountEvent::UserDeleted {
        key: KeyId(1),
        messages: MessageErasure::Keep,
    };
    story.account("joe", gone);
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let messages = history(&mut tables, "mary", all()).await;
    let expected = names("removed-joe", json!("Removed User"));
    assert_eq!(names_given(&messages), expected);
    let everything = dump(&mut tables, TABLES).await.join("\n");
    assert!(!everything.contains("joseph"), "{everything}");
    assert!(!everything.contains("Name of joe"), "{everything}");
}

async fn who_goes_with_all_it_said_takes_back_its_reactions() {
    let mut story = two_people();
    for id in ["m1", "m2"] {
        wrote(&mut story, id, "joe", "hello");
        reacted(&mut story, id, "mary", ":zanzibar:");
    }
    reacted(&mut story, "m1", "joe", ":zanzibar:");
    let gone = AccountEvent::UserDeleted {
        key: KeyId(1),
        messages: MessageErasure::Delete,
    };
    story.account("mary", gone);
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let messages = history(&mut tables, "joe", all()).await;
    assert!(messages[0].get("reactions").is_none(), "{}", messages[0]);
    let joes = json!({ ":zanzibar:": { "usernames": ["joe"] } });
    assert_eq!(messages[1]["reactions"], joes);
}

async fn a_message_that_was_just_recorded_is_shown_as_the_view_will_show_it() {
    let mut story = two_people();
    named_by_others(&mut story, "joe", "mary");
    let mut tables = tables(&MessagesView, &story.entries, 1).await;
    let shown = history(&mut tables, "mary", all()).await;
    let named = |user: &UserId| {
        Some(Author {
            id: user.clone(),
            username: user.to_string(),
            name: Some(format!("Name of {user}")),
        })
    };
    let mut recorded = Vec::new();
    for entry in &story.entries {
        if let Event::Message(MessageEvent::MessageSent { sent, .. }) = &entry.event {
            let author = named(&sent.sender).unwrap();
            let message = message_json(entry, &author, named).unwrap().unwrap();
            recorded.insert(0, serde_json::from_str::<Value>(&message).unwrap());
        }
    }
    assert_eq!(recorded, shown);
}

fn profile(username: &str, bio: &str) -> AccountEvent {
    let profile = Profile {
        username: username.into(),
        bio: Some(bio.into()),
        ..Profile::default()
    };
    AccountEvent::UserProfileChanged {
        profile: Private::new(KeyId(1), profile),
    }
}

/// How many rows have been written so far.
async fn written(tables: &mut AnyConnection) -> usize {
    let row = crate::sql::query("SELECT total_changes()")
        .fetch_one(tables)
        .await
        .unwrap();
    usize::try_from(sqlx::Row::get::<i64, _>(&row, 0)).unwrap()
}

#[tokio::test]
async fn messages_are_written_anew_for_a_new_name_alone_and_few_at_once() {
    let many = 5 * naming::PART + 7;
    let mut story = two_people();
    story.account("joe", profile("joe", "before"));
    for number in 0..many {
        let mention = json!({ "_id": "joe", "type": "user" });
        mentioned(&mut story, &format!("m{number}"), "mary", "joe", mention);
    }
    let mut tables = tables_on(Dialect::Sqlite, &MessagesView, &story.entries, 1_000).await;
    let few = 10;
    let told = story.entries.len();
    story.account("joe", profile("joe", "after"));
    story.account("joe", profile("joseph", "after"));
    story.account("joe", profile("jojo", "after"));
    let mut before = written(&mut tables).await;
    for (events, most) in [
        (told..told + 1, few),
        (told + 1..told + 2, naming::PART + few),
    ] {
        let batch = &story.entries[events];
        MessagesView.apply(&mut tables, batch).await.unwrap();
        let now = written(&mut tables).await;
        assert!(now - before <= most, "{} of {most}", now - before);
        before = now;
    }
    // Yet another name comes in the middle.
    assert!(MessagesView.go_on(&mut tables).await.unwrap());
    let batch = &story.entries[told + 2..];
    MessagesView.apply(&mut tables, batch).await.unwrap();
    let mut parts = 0;
    let mut more = true;
    while more {
        before = written(&mut tables).await;
        more = MessagesView.go_on(&mut tables).await.unwrap();
        assert!(written(&mut tables).await - before <= naming::PART + few);
        parts += 1;
    }
    assert!(parts >= many / naming::PART);
    let mut at_once = tables_on(Dialect::Sqlite, &MessagesView, &story.entries, 1_000).await;
    let expected = dump(&mut at_once, TABLES).await;
    assert_eq!(dump(&mut tables, TABLES).await, expected);
    let everything = expected.join("\n");
    assert!(everything.contains("jojo"));
    assert!(!everything.contains("joseph"));
}

/// How many messages name somebody so.
async fn called(tables: &mut AnyConnection, name: &str) -> usize {
    let row = crate::sql::query("SELECT count(*) FROM message WHERE wire LIKE $1")
        .bind(format!("%\"{name}\"%"))
        .fetch_one(tables)
        .await
        .unwrap();
    usize::try_from(sqlx::Row::get::<i64, _>(&row, 0)).unwrap()
}

async fn long_messages_are_written_anew_few_at_once() {
    let (short, long, endless) = (5, naming::ENOUGH / 2, 2 * naming::ENOUGH);
    let parts: [&[usize]; 5] = [
        &[long, long],
        &[short, long, short, long],
        &[endless],
        &[short, endless],
        &[short, short],
    ];
    let mut story = two_people();
    for (number, length) in parts.concat().into_iter().enumerate() {
        let id = format!("m{number:02}");
        wrote(&mut story, &id, "mary", &"x".repeat(length));
        reacted(&mut story, &id, "joe", ":smile:");
    }
    let before = story.entries.len();
    story.account("joe", profile("joseph", "a bio"));
    let (before, renamed) = story.entries.split_at(before);
    let mut parted = tables(&MessagesView, before, 1_000).await;
    assert_eq!(called(&mut parted, "joseph").await, 0);
    MessagesView.apply(&mut parted, renamed).await.unwrap();
    let mut written = 0;
    for (number, part) in parts.into_iter().enumerate() {
        let now = called(&mut parted, "joseph").await;
        assert_eq!(now - written, part.len(), "part {number}");
        written = now;
        let more = MessagesView.go_on(&mut parted).await.unwrap();
        assert_eq!(more, number + 2 < parts.len(), "part {number}");
    }
    assert_eq!(called(&mut parted, "joe").await, 0);
    let mut at_once = tables(&MessagesView, &story.entries, 1_000).await;
    let expected = dump(&mut at_once, TABLES).await;
    assert!(dump(&mut parted, TABLES).await == expected);
}

async fn conditions_are_met_by_what_is_equal_to_them() {
    let mut story = two_people();
    wrote(&mut story, "plain", "mary", "hello");
    let mention = json!({ "_id": "joe", "type": "user" });
    mentioned(&mut story, "for joe", "mary", "joe", mention.clone());
    mentioned(&mut story, "also for joe", "joe", "joe", mention);
    let came = Sent {
        system: Some("uj".into()),
        ..story.message("general", "joe")
    };
    story.wrote("came", came, "");
    for id in ["plain", "for joe"] {
        let (room, user) = (RoomId::new("general"), UserId::new("joe"));
        story.on(id, MessageEvent::MessageStarred { room, user });
    }
    let mut served = Served::empty(MessagesView).await;
    served.take(&story.entries).await;
    let messages = Messages::new(served.store.clone());
    let (room, joe) = (RoomId::new("general"), UserId::new("joe"));
    let found = async |filter: Filter| {
        let mut found = Vec::new();
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let list = messages.list(&joe, &room, &filter, order, Slice::default());
            let list = list.await.unwrap();
            let listed: Vec<Value> = serde_json::from_str(&list.json).unwrap();
            assert_eq!(list.total, listed.len() as u64);
            let mut ids: Vec<_> = ids(&listed).into_iter().map(str::to_owned).collect();
            if order == Order::NewestFirst {
                ids.reverse();
            }
            found.push(ids);
        }
        assert_eq!(found[0], found[1]);
        found.remove(0)
    };
    let mentions = |users: &[&str]| Filter {
        mentions: users.iter().map(UserId::new).collect(),
        ..Filter::default()
    };
    let all = ["for joe", "also for joe"];
    assert_eq!(found(mentions(&["joe"])).await, all);
    assert_eq!(found(mentions(&["mary", "nobody", "joe"])).await, all);
    // What is not an id is none, whatever stands in it.
    assert!(found(mentions(&["|joe|"])).await.is_empty());
    assert!(found(mentions(&["x|joe|y"])).await.is_empty());
    let starred = Filter {
        starred: true,
        ..Filter::default()
    };
    assert_eq!(found(starred).await, ["plain", "for joe"]);
    let both = Filter {
        starred: true,
        ..mentions(&["joe"])
    };
    assert_eq!(found(both).await, ["for joe"]);
    let of_kind = |kind: &str| Filter {
        kind: Some(kind.to_owned()),
        ..Filter::default()
    };
    assert_eq!(found(of_kind("uj")).await, ["came"]);
    assert!(found(of_kind("x|uj|y")).await.is_empty());
}

async fn a_thread_counts_its_replies() {
    let mut story = two_people();
    wrote(&mut story, "m1", "mary", "hello");
    replied(&mut story, "r1", "joe", "m1");
    replied(&mut story, "r2", "joe", "m1");
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let room = History::default();
    let messages = history(&mut tables, "joe", room.clone()).await;
    assert_eq!(ids(&messages), ["m1"]);
    assert_eq!(messages[0]["tcount"], 2);
    assert_eq!(messages[0]["replies"], json!(["joe"]));
    assert_eq!(
        ids(&history(&mut tables, "joe", all()).await),
        ["r2", "r1", "m1"]
    );

    deleted(&mut story, "r1", false);
    deleted(&mut story, "r2", false);
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let messages = history(&mut tables, "joe", room).await;
    assert!(messages[0].get("tcount").is_none());
}

fn pruned(story: &mut Story, messages: &[&str]) {
    let pruned = messages.iter().map(|id| Pruned {
        message: (*id).into(),
        key: KeyId(3),
    });
    let event = RoomEvent::ChannelPruned {
        reason: PruneReason::Retention,
        criteria: PruneCriteria::default(),
        pruned: pruned.collect(),
    };
    story.room("general", event);
}

async fn a_place_holder_is_no_reply_that_a_prune_could_take() {
    let mut story = two_people();
    wrote(&mut story, "m1", "mary", "hello");
    replied(&mut story, "r1", "joe", "m1");
    let last = story.now();
    replied(&mut story, "r2", "joe", "m1");
    replied(&mut story, "r3", "joe", "m1");
    deleted(&mut story, "r3", true);
    pruned(&mut story, &["r3"]);
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let head = history(&mut tables, "joe", History::default()).await;
    assert_eq!((ids(&head), &head[0]["tcount"]), (vec!["m1"], &json!(2)));
    // The last reply is the last of those that are left.
    assert_eq!(head[0]["tlm"], last.iso());

    deleted(&mut story, "r2", true);
    pruned(&mut story, &["r2"]);
    deleted(&mut story, "r1", true);
    pruned(&mut story, &["r1"]);
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let head = history(&mut tables, "joe", History::default()).await;
    assert!(head[0].get("tcount").is_none(), "{}", head[0]);
}

async fn an_edited_message_keeps_its_place_and_marks() {
    let mut story = two_people();
    let sent = Sent {
        mentions: Mentions {
            users: vec!["joe".into()],
            everybody: false,
        },
        ..story.message("general", "mary")
    };
    story.wrote("m1", sent, "hello @joe");
    wrote(&mut story, "m2", "mary", "later");
    reacted(&mut story, "m1", "joe", ":smile:");
    let event = MessageEvent::MessageEdited {
        room: "general".into(),
        editor: "mary".into(),
        mentions: Mentions::default(),
        content: content("hello"),
        at: story.now(),
    };
    story.on("m1", event);
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let messages = history(&mut tables, "joe", all()).await;
    assert_eq!(ids(&messages), ["m2", "m1"]);
    assert_eq!(messages[1]["msg"], "hello");
    assert_eq!(
        messages[1]["editedBy"],
        json!({ "_id": "mary", "username": "mary" })
    );
    assert!(messages[1]["reactions"][":smile:"].is_object());
    assert_eq!(dump(&mut tables, &["mention"]).await, [""; 0]);
}

async fn a_deleted_message_leaves_its_id_or_a_place_holder() {
    let mut story = two_people();
    wrote(&mut story, "m1", "mary", "secret");
    wrote(&mut story, "m2", "mary", "secret");
    deleted(&mut story, "m1", false);
    deleted(&mut story, "m2", true);
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let messages = history(&mut tables, "joe", all()).await;
    assert_eq!(ids(&messages), ["m2"]);
    assert_eq!(
        (&messages[0]["t"], &messages[0]["msg"]),
        (&json!("rm"), &json!(""))
    );
    let everything = dump(&mut tables, TABLES).await.join("\n");
    assert!(!everything.contains("secret"), "{everything}");
    assert!(everything.contains("deleted: \"m1\""), "{everything}");
    assert!(
        everything.contains("total: \"general\" | 1"),
        "{everything}"
    );
}

async fn a_replay_after_shredding_gives_the_same_tables() {
    let mut story = two_people();
    for id in ["m1", "m2", "m3", "m4"] {
        wrote(&mut story, id, "mary", "secret");
        reacted(&mut story, id, "joe", ":smile:");
    }
    replied(&mut story, "r1", "joe", "m1");
    named_by_others(&mut story, "joe", "mary");
    deleted(&mut story, "m1", true);
    deleted(&mut story, "m2", false);
    let pruned = ["m3", "r1"].map(|id| Pruned {
        message: id.into(),
        key: KeyId(3),
    });
    let event = RoomEvent::ChannelPruned {
        reason: PruneReason::Requested,
        criteria: Default::default(),
        pruned: pruned.into(),
    };
    story.room("general", event);
    let sent = story.message("other", "mary");
    story.wrote("o1", sent, "secret");
    story.room("other", RoomEvent::RoomDeleted { key: KeyId(2) });
    deleted(&mut story, "m4", false);
    for id in ["mary", "joe"] {
        story.account(
            id,
            AccountEvent::UserDeleted {
                key: KeyId(1),
                messages: MessageErasure::default(),
            },
        );
    }
    let mut live = told(&MessagesView, &story, TABLES).await;
    let expected = dump(&mut live, TABLES).await;
    assert!(!expected.join("\n").contains("secret"));
    assert!(!expected.join("\n").contains("Name of"));
    let mut replayed = tables(&MessagesView, &shredded(&story.entries), 100).await;
    assert_eq!(dump(&mut replayed, TABLES).await, expected);
}

fn deleted_with_history(story: &mut Story, id: &str) {
    let event = MessageEvent::MessageDeleted {
        room: "general".into(),
        by: "joe".into(),
        erased: None,
        show_deleted: false,
        at: story.now(),
    };
    story.on(id, event);
}

fn named(mut readable: Vec<Readable>) -> Vec<(String, String)> {
    readable.sort_by(|one, other| one.1.message.cmp(&other.1.message));
    let name = |(room, pruned): Readable| (room.to_string(), pruned.message.to_string());
    readable.into_iter().map(name).collect()
}

async fn what_can_still_be_read_is_known_until_a_prune_names_it() {
    let mut story = two_people();
    for (id, sender) in [
        ("m1", "mary"),
        ("m2", "joe"),
        ("m3", "mary"),
        ("m4", "mary"),
    ] {
        wrote(&mut story, id, sender, "secret");
    }
    deleted_with_history(&mut story, "m3");
    deleted(&mut story, "m4", false);
    let elsewhere = story.message("other", "mary");
    story.wrote("o1", elsewhere, "secret");
    let all = [("general", "m1"), ("general", "m2"), ("general", "m3")];
    let all = all.map(|(room, id)| (room.to_owned(), id.to_owned()));
    let general = RoomId::new("general");

    let mut tables = told(&MessagesView, &story, TABLES).await;
    let found = readable_in(&mut tables, &general).await.unwrap();
    assert_eq!(named(found), all);
    story.room("general", RoomEvent::RoomDeleted { key: KeyId(2) });
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let found = readable_in(&mut tables, &general).await.unwrap();
    assert_eq!(named(found), all, "the room is gone, its texts are not");
    let everything = dump(&mut tables, TABLES).await.join("\n");
    assert_eq!(everything.matches("secret").count(), 1, "{everything}");
    let found = readable_by(&mut tables, &"mary".into()).await.unwrap();
    let ids: Vec<_> = named(found).into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, ["m1", "m3", "o1"]);
    let some = ["m3", "m4", "o1"].map(MessageId::new);
    let found = readable_among(&mut tables, &some).await.unwrap();
    assert_eq!(named(found).len(), 2);

    let pruned = ["m1", "m2", "m3"].map(|id| Pruned {
        message: id.into(),
        key: KeyId(3),
    });
    let event = RoomEvent::ChannelPruned {
        reason: PruneReason::Deletion,
        criteria: Default::default(),
        pruned: pruned.into(),
    };
    story.room("general", event);
    let mut tables = told(&MessagesView, &story, TABLES).await;
    let found = readable_in(&mut tables, &general).await.unwrap();
    assert_eq!(named(found), []);
    let found = readable_by(&mut tables, &"mary".into()).await.unwrap();
    assert_eq!(named(found), [("other".to_owned(), "o1".to_owned())]);
}

async fn who_is_unlinked_is_named_by_no_message_and_what_it_said_stays() {
    let mut story = two_people();
    wrote(&mut story, "m1", "mary", "hers");
    wrote(&mut story, "m2", "joe", "his");
    replied(&mut story, "r1", "mary", "m2");
    named_by_others(&mut story, "mary", "joe");
    for id in ["m1", "m2"] {
        reacted(&mut story, id, "mary", ":smile:");
        reacted(&mut story, id, "joe", ":smile:");
    }
    let edited = MessageEvent::MessageEdited {
        room: "general".into(),
        editor: "mary".into(),
        mentions: Mentions::default(),
        content: content("hers, edited"),
        at: story.now(),
    };
    story.on("m1", edited);
    let pinned = MessageEvent::MessagePinned {
        room: "general".into(),
        by: "mary".into(),
        at: story.now(),
    };
    story.on("m2", pinned);
    let joined = Sent {
        system: Some("uj".into()),
        ..story.message("general", "mary")
    };
    story.wrote("s1", joined, "mary");
    wrote(&mut story, "m3", "mary", "kept in the log");
    deleted_with_history(&mut story, "m3");
    let gone = AccountEvent::UserDeleted {
        key: KeyId(1),
        messages: MessageErasure::Unlink,
    };
    story.account("mary", gone);
    // What happens afterwards does not bring the name back.
    reacted(&mut story, "m1", "joe", ":tada:");

    let mut tables = told(&MessagesView, &story, TABLES).await;
    let messages = history(&mut tables, "joe", all()).await;
    let message = |id: &str| {
        let found = messages.iter().find(|message| message["_id"] == id);
        found.unwrap().clone()
    };
    let hers = message("m1");
    assert_eq!(hers["msg"], "hers, edited");
    assert_eq!(hers["u"]["_id"], "rocket.cat");
    assert_eq!(hers["alias"], "Removed User");
    let system = json!({ "_id": "rocket.cat", "username": "rocket.cat" });
    assert_eq!(hers["editedBy"], system);
    let smiling = json!({ "usernames": ["rocket.cat", "joe"] });
    assert_eq!(hers["reactions"][":smile:"], smiling);
    let his = message("m2");
    assert_eq!(his["u"]["_id"], "joe");
    assert_eq!(his["pinnedBy"], system);
    assert_eq!(his["reactions"][":smile:"], smiling);
    assert!(his["alias"].is_null());
    let mention = json!({
        "_id": "rocket.cat",
        "username": "rocket.cat",
        "name": null,
        "type": "user",
    });
    let expected = [
        mention.clone(),
        mention,
        json!("Removed User"),
        json!("Removed User"),
        json!("/avatar/Removed User"),
        json!("Removed User"),
    ];
    assert_eq!(names_given(&messages), expected);
    for message in &messages {
        assert!(!message.to_string().contains("mary"), "{message}");
    }
    // Of her there is no more than what shows another instead of her, and who was called.
    let rows = dump(&mut tables, TABLES).await;
    let hers = rows.iter().filter(|row| row.contains("mary"));
    let hers: Vec<_> = hers.filter(|row| !row.starts_with("mention: ")).collect();
    assert_eq!(hers.len(), 1, "{hers:?}");
    assert!(hers[0].starts_with("author: \"mary\""), "{hers:?}");
}

on_both_engines!(
    a_page_of_history_is_the_newest_first_with_authors,
    a_star_is_seen_by_the_one_who_gave_it,
    names_follow_those_who_bear_them,
    names_in_what_others_said_are_those_of_today_and_go_with_the_account,
    who_goes_with_all_it_said_takes_back_its_reactions,
    a_message_that_was_just_recorded_is_shown_as_the_view_will_show_it,
    long_messages_are_written_anew_few_at_once,
    conditions_are_met_by_what_is_equal_to_them,
    a_thread_counts_its_replies,
    a_place_holder_is_no_reply_that_a_prune_could_take,
    an_edited_message_keeps_its_place_and_marks,
    a_deleted_message_leaves_its_id_or_a_place_holder,
    a_replay_after_shredding_gives_the_same_tables,
    what_can_still_be_read_is_known_until_a_prune_names_it,
    who_is_unlinked_is_named_by_no_message_and_what_it_said_stays,
);
