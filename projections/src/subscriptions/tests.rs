use hansard_domain::id::{RoomId, Timestamp, UserId};
use hansard_domain::message::{Mentions, ThreadReply};
use hansard_domain::room::{Entry as Way, RoomEvent, RoomKind};
use hansard_domain::subscription::SubscriptionEvent;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Story, on_both_engines, told};

const TABLES: &[&str] = &[
    "room",
    "flow",
    "own",
    "subscription",
    "mention",
    "summons",
    "follower",
    "unread_thread",
    "account",
    "removed",
];

fn a_channel() -> Story {
    let mut story = Story::default();
    story.registered("mary").registered("joe").registered("ann");
    story.created("general", RoomKind::Channel, &["mary", "joe", "ann"]);
    story
}

fn read(story: &mut Story, user: &str, threads: bool) {
    let at = story.now();
    story.subscription("general", user, SubscriptionEvent::RoomRead { at, threads });
}

async fn of(tables: &mut AnyConnection, room: &str, user: &str) -> Subscription {
    one(tables, &RoomId::new(room), &UserId::new(user))
        .await
        .unwrap()
        .unwrap()
}

async fn wire(tables: &mut AnyConnection, room: &str, user: &str) -> Value {
    of(tables, room, user)
        .await
        .wire(Counting::UserAndGroupMentions, Counting::AllMessages)
}

async fn nobodys_own_message_is_unread() {
    let mut story = a_channel();
    story
        .said("m1", "general", "mary")
        .said("m2", "general", "mary")
        .said("m3", "general", "joe");
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    for (user, unread) in [("mary", 1), ("joe", 2), ("ann", 3)] {
        let subscription = of(&mut tables, "general", user).await;
        assert_eq!(subscription.unread(Counting::AllMessages), unread, "{user}");
        assert_eq!(
            subscription.unread(Counting::UserAndGroupMentions),
            0,
            "{user}"
        );
        assert!(subscription.alert, "{user}");
    }
}

async fn what_was_read_is_not_unread() {
    let mut story = a_channel();
    story
        .said("m1", "general", "mary")
        .said("m2", "general", "joe");
    read(&mut story, "joe", false);
    story
        .said("m3", "general", "mary")
        .said("m4", "general", "joe");
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    let joe = of(&mut tables, "general", "joe").await;
    assert_eq!((joe.unread(Counting::AllMessages), joe.alert), (1, true));
    read(&mut story, "joe", false);
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    let joe = of(&mut tables, "general", "joe").await;
    assert_eq!((joe.unread(Counting::AllMessages), joe.alert), (0, false));
}

async fn mentions_call_those_who_are_meant() {
    let mut story = a_channel();
    let mut sent = story.message("general", "mary");
    sent.mentions = Mentions {
        users: vec!["joe".into(), "mary".into()],
        everybody: false,
    };
    story.sent("m1", sent);
    let mut sent = story.message("general", "mary");
    sent.mentions.everybody = true;
    story.sent("m2", sent);
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    for (user, by_name, by_group) in [("mary", 0, 0), ("joe", 1, 1), ("ann", 0, 1)] {
        let subscription = of(&mut tables, "general", user).await;
        assert_eq!(subscription.user_mentions, by_name, "{user}");
        assert_eq!(subscription.group_mentions, by_group, "{user}");
        assert_eq!(
            subscription.unread(Counting::UserAndGroupMentions),
            by_name + by_group
        );
    }
    read(&mut story, "joe", false);
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    let joe = of(&mut tables, "general", "joe").await;
    assert_eq!((joe.user_mentions, joe.group_mentions), (0, 0));
}

async fn who_joins_is_called_once_and_owes_nothing_older() {
    let mut story = a_channel();
    story.registered("late");
    story
        .said("m0", "general", "late")
        .said("m1", "general", "mary");
    story.room(
        "general",
        RoomEvent::MemberJoined {
            user: "late".into(),
            entry: Way::Joined,
            at: Timestamp(5),
        },
    );
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    let late = wire(&mut tables, "general", "late").await;
    assert_eq!(
        (&late["unread"], &late["userMentions"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&late["alert"], &late["open"]),
        (&json!(true), &json!(true))
    );
    story
        .said("m2", "general", "late")
        .said("m3", "general", "mary");
    read(&mut story, "late", false);
    story.said("m4", "general", "mary");
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    let late = of(&mut tables, "general", "late").await;
    assert_eq!(late.unread(Counting::AllMessages), 1);
}

async fn a_hidden_room_shows_up_when_something_is_said() {
    let mut story = a_channel();
    story.said("m1", "general", "mary");
    story.subscription("general", "joe", SubscriptionEvent::RoomHidden {});
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    assert!(!of(&mut tables, "general", "joe").await.open);
    story.said("m2", "general", "joe");
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    assert!(!of(&mut tables, "general", "joe").await.open);
    story.said("m3", "general", "mary");
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    assert!(of(&mut tables, "general", "joe").await.open);
}

async fn a_conversation_is_named_after_the_others() {
    let mut story = a_channel();
    story.created("talk", RoomKind::Direct, &["mary", "joe"]);
    story.created("three", RoomKind::Direct, &["mary", "joe", "ann"]);
    story.created("self", RoomKind::Direct, &["mary"]);
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    let talk = wire(&mut tables, "talk", "mary").await;
    assert_eq!(
        (&talk["name"], &talk["fname"]),
        (&json!("joe"), &json!("Name of joe"))
    );
    assert_eq!(talk["open"], true);
    assert_eq!(wire(&mut tables, "talk", "joe").await["open"], false);
    assert_eq!(wire(&mut tables, "three", "joe").await["name"], "ann,mary");
    assert_eq!(wire(&mut tables, "self", "mary").await["name"], "mary");
    story.said("m1", "talk", "mary");
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    let talk = wire(&mut tables, "talk", "joe").await;
    assert_eq!((&talk["open"], &talk["unread"]), (&json!(true), &json!(1)));
}

async fn threads_call_their_followers_until_they_are_read() {
    let mut story = a_channel();
    story.said("m1", "general", "mary");
    read(&mut story, "mary", false);
    read(&mut story, "ann", false);
    let mut sent = story.message("general", "joe");
    sent.thread = Some(ThreadReply {
        parent: "m1".into(),
        shown: false,
        followers: vec!["mary".into(), "joe".into()],
    });
    story.sent("m2", sent);
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    let mary = wire(&mut tables, "general", "mary").await;
    assert_eq!(
        (&mary["tunread"], &mary["alert"]),
        (&json!(["m1"]), &json!(true))
    );
    assert_eq!(mary["unread"], 0);
    assert!(!of(&mut tables, "general", "ann").await.alert);
    read(&mut story, "mary", false);
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    assert!(of(&mut tables, "general", "mary").await.alert);
    read(&mut story, "mary", true);
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    let mary = wire(&mut tables, "general", "mary").await;
    assert_eq!((mary.get("tunread"), &mary["alert"]), (None, &json!(false)));
}

async fn who_leaves_leaves_a_trace_until_it_returns() {
    let mut story = a_channel();
    story.room("general", RoomEvent::MemberLeft { user: "joe".into() });
    let joe = UserId::new("joe");
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    assert!(of_account(&mut tables, &joe).await.unwrap().is_empty());
    let gone = removed_since(&mut tables, &joe, Timestamp(0))
        .await
        .unwrap();
    assert_eq!(gone.len(), 1);
    story.room(
        "general",
        RoomEvent::MemberJoined {
            user: "joe".into(),
            entry: Way::Joined,
            at: Timestamp(5),
        },
    );
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    assert_eq!(of_account(&mut tables, &joe).await.unwrap().len(), 1);
    assert!(
        removed_since(&mut tables, &joe, Timestamp(0))
            .await
            .unwrap()
            .is_empty()
    );
}

async fn a_deleted_room_is_gone_for_everybody() {
    let mut story = a_channel();
    story.said("m1", "general", "mary");
    story.room(
        "general",
        RoomEvent::RoomDeleted {
            key: hansard_domain::vault::KeyId(2),
        },
    );
    let mut tables = told(&Subscriptions, &story, TABLES).await;
    let left = crate::testing::dump(&mut tables, &["room", "flow", "own", "subscription"]).await;
    assert_eq!(left, [""; 0]);
}

on_both_engines!(
    nobodys_own_message_is_unread,
    what_was_read_is_not_unread,
    mentions_call_those_who_are_meant,
    who_joins_is_called_once_and_owes_nothing_older,
    a_hidden_room_shows_up_when_something_is_said,
    a_conversation_is_named_after_the_others,
    threads_call_their_followers_until_they_are_read,
    who_leaves_leaves_a_trace_until_it_returns,
    a_deleted_room_is_gone_for_everybody,
);
