use hansard_domain::account::{AccountEvent, LoginMethod, Session, TokenHash};
use hansard_domain::id::{MessageId, Timestamp, UserId};
use hansard_domain::log::{Actor, StreamId};
use hansard_domain::message::MessageEvent;
use hansard_domain::room::{PruneCriteria, PruneReason, Pruned, RoomEvent, RoomKind};
use hansard_domain::vault::KeyId;

use super::{Counted, Statistics, active_between, counted};
use crate::testing::{Story, on_both_engines, told};

const TABLES: [&str; 5] = ["room", "gone", "day", "active", "newest"];

fn prune(messages: &[&str]) -> RoomEvent {
    let pruned = messages.iter().map(|message| Pruned {
        message: MessageId::new(message),
        key: KeyId(3),
    });
    RoomEvent::ChannelPruned {
        reason: PruneReason::Requested,
        criteria: PruneCriteria::default(),
        pruned: pruned.collect(),
    }
}

fn delete(story: &mut Story, room: &str, message: &str) {
    let deleted = MessageEvent::MessageDeleted {
        room: room.into(),
        by: "mary".into(),
        erased: None,
        show_deleted: false,
        at: story.now(),
    };
    story.tell(StreamId::new("message", message), deleted);
}

async fn messages_are_counted_by_the_kind_of_their_room() {
    let mut story = Story::default();
    story
        .created("c", RoomKind::Channel, &["mary"])
        .created("p", RoomKind::Group, &["mary"])
        .created("d", RoomKind::Direct, &["mary", "paul"])
        .said("1", "c", "mary")
        .said("2", "c", "mary")
        .said("3", "p", "mary")
        .said("4", "d", "paul");
    let last = story.entries.last().unwrap().at;
    let mut tables = told(&Statistics, &story, &TABLES).await;
    let now = counted(&mut tables).await.unwrap();
    assert_eq!(now.messages(), 4);
    assert_eq!(
        now,
        Counted {
            channel_messages: 2,
            group_messages: 1,
            direct_messages: 1,
            last_message: Some(last),
            ..Counted::default()
        }
    );
}

async fn a_message_goes_once_however_often_it_is_taken() {
    let mut story = Story::default();
    story.created("c", RoomKind::Channel, &["mary"]);
    for id in ["1", "2", "3"] {
        story.said(id, "c", "mary");
    }
    delete(&mut story, "c", "1");
    story
        .room("c", prune(&["1", "2"]))
        .room("c", prune(&["2"]))
        .said("4", "c", "mary");
    let mut tables = told(&Statistics, &story, &TABLES).await;
    assert_eq!(counted(&mut tables).await.unwrap().channel_messages, 2);
}

async fn a_rooms_messages_go_where_the_room_goes() {
    let mut story = Story::default();
    story
        .created("c", RoomKind::Channel, &["mary"])
        .created("x", RoomKind::Channel, &["mary"])
        .said("1", "c", "mary")
        .said("2", "x", "mary")
        .room(
            "c",
            RoomEvent::RoomTypeChanged {
                kind: RoomKind::Group,
            },
        )
        .room("x", RoomEvent::RoomDeleted { key: KeyId(2) });
    let mut tables = told(&Statistics, &story, &TABLES).await;
    let now = counted(&mut tables).await.unwrap();
    assert_eq!((now.channel_messages, now.group_messages), (0, 1));
}

async fn people_are_active_once_a_day() {
    let mut story = Story::default();
    story.created("c", RoomKind::Channel, &["mary"]);
    for (user, id) in [("mary", "1"), ("mary", "2"), ("paul", "3")] {
        let sent = story.message("c", user);
        let content = hansard_domain::seal::Private::new(KeyId(3), Default::default());
        let stream = StreamId::new("message", id);
        let event = MessageEvent::MessageSent { sent, content };
        story.tell_as(Actor::User(UserId::new(user)), None, stream, event);
    }
    let login = AccountEvent::UserLoggedIn {
        method: LoginMethod::Password,
        token: TokenHash("t".to_owned()),
        session: Session {
            since: Timestamp(0),
            expires: None,
        },
        from: None,
    };
    let stream = StreamId::new("account", "anna");
    story.tell_as(Actor::User("anna".into()), None, stream, login);
    let (first, now) = (story.entries[0].at, story.now());
    let mut tables = told(&Statistics, &story, &TABLES).await;
    assert_eq!(active_between(&mut tables, first, now).await.unwrap(), 3);
    let long_ago = Timestamp(0);
    assert_eq!(
        active_between(&mut tables, long_ago, long_ago)
            .await
            .unwrap(),
        0
    );
}

on_both_engines!(
    messages_are_counted_by_the_kind_of_their_room,
    a_message_goes_once_however_often_it_is_taken,
    a_rooms_messages_go_where_the_room_goes,
    people_are_active_once_a_day,
);
