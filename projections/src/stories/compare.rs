//! What views answer, against what follows from what happened.

use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::room::PruneCriteria;
use serde_json::Value;

use super::past::{Past, Said};
use super::teller::{SYSTEM_KINDS, WORDS};
use super::{Views, messages, others, rooms};
use crate::messages::{
    Cursor, Filter, History, Messages, Order, Replies, Slice, ThreadKind, readable_among,
    readable_by, readable_in,
};
use crate::retention;
use crate::rooms::{self as rooms_view, MemberOrder, Paging, RoomFilter, RoomOrder};
use crate::search::{Question, Search};
use crate::statistics;
use crate::subscriptions::{self as subscriptions_view, Counting};

const ALL: Slice = Slice {
    offset: 0,
    count: None,
};

/// The fields of a room that are compared.
const OF_A_ROOM: [&str; 12] = [
    "_id",
    "t",
    "name",
    "fname",
    "topic",
    "msgs",
    "usersCount",
    "lm",
    "archived",
    "ro",
    "muted",
    "unmuted",
];

pub(super) async fn compare(views: &mut Views, past: &Past<'_>, when: &str) {
    compare_messages(views, past, when).await;
    compare_rooms(views, past, when).await;
    compare_subscriptions(views, past, when).await;
    compare_search(views, past, when).await;
    compare_statistics(views, past, when).await;
}

fn ids(said: &[&Said]) -> Vec<MessageId> {
    said.iter().map(|said| said.id.clone()).collect()
}

fn read(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

fn named(messages: &[Value]) -> Vec<MessageId> {
    let id = |message: &Value| MessageId::new(message["_id"].as_str().unwrap());
    messages.iter().map(id).collect()
}

async fn compare_messages(views: &Views, past: &Past<'_>, when: &str) {
    let messages = Messages::new(views.messages.store.clone());
    let users = past.users();
    let (viewer, other) = (users[0].clone(), users[users.len() / 2].clone());
    let middle = past.entries[past.entries.len() / 2].at;
    for room in past.all_rooms() {
        let what = format!("{room}, {when}");
        for (threads, hidden) in [
            (true, &[][..]),
            (false, &SYSTEM_KINDS[..2]),
            (true, &["rm"]),
        ] {
            let asked = History {
                threads,
                hidden: hidden.iter().map(ToString::to_string).collect(),
                ..History::default()
            };
            let found = messages.history(&viewer, &room, &asked).await.unwrap();
            let expected = messages::history(past, &room, threads, hidden);
            let found = read(&found.json);
            assert_eq!(named(&found), ids(&expected), "the history of {what}");
            for (found, said) in found.iter().zip(expected) {
                let expected = messages::wire(past, said, &viewer);
                assert_eq!(*found, expected, "{} in {what}", said.id);
            }
        }
        let mut standing = past.standing_in(&room);
        assert_eq!(
            messages.total(&room).await.unwrap(),
            standing.len() as u64,
            "{what}"
        );

        let in_time = |said: &&Said| said.at() <= middle;
        let filter = Filter {
            latest: Some(middle),
            sender: Some(other.clone()),
            ..Filter::default()
        };
        let found = messages
            .list(&viewer, &room, &filter, Order::OldestFirst, ALL)
            .await
            .unwrap();
        let expected: Vec<_> = standing
            .iter()
            .copied()
            .filter(in_time)
            .filter(|said| messages::sender(past, said) == other)
            .collect();
        assert_eq!(
            named(&read(&found.json)),
            ids(&expected),
            "what {other} said in {what}"
        );
        assert_eq!(found.total, expected.len() as u64);

        standing.reverse();
        let pinned = messages.pinned(&viewer, &room, ALL).await.unwrap();
        let expected: Vec<_> = standing
            .iter()
            .copied()
            .filter(|said| said.is_pinned())
            .collect();
        assert_eq!(
            named(&read(&pinned.json)),
            ids(&expected),
            "the pinned of {what}"
        );
        assert_eq!(pinned.total, expected.len() as u64);
        for user in &users {
            let starred = messages
                .starred(user, &room, Order::NewestFirst, ALL)
                .await
                .unwrap();
            let expected: Vec<_> = standing
                .iter()
                .copied()
                .filter(|said| said.is_starred_by(user))
                .collect();
            assert_eq!(
                named(&read(&starred.json)),
                ids(&expected),
                "the stars of {user} in {what}"
            );
            assert_eq!(starred.total, expected.len() as u64);
            let mentioned = messages
                .mentioned(user, &room, Order::NewestFirst, ALL)
                .await
                .unwrap();
            let expected: Vec<_> = standing
                .iter()
                .copied()
                .filter(|said| said.mentioned().contains(user))
                .collect();
            assert_eq!(
                named(&read(&mentioned.json)),
                ids(&expected),
                "{user} in {what}"
            );
            assert_eq!(mentioned.total, expected.len() as u64);
        }

        let heads = messages::threads(past, &room);
        let found = messages
            .threads(&viewer, &room, &ThreadKind::All, "", ALL)
            .await
            .unwrap();
        assert_eq!(
            named(&read(&found.json)),
            ids(&heads),
            "the threads of {what}"
        );
        assert_eq!(found.total, heads.len() as u64);
        for head in &heads {
            let found = messages
                .thread(
                    &viewer,
                    &head.id,
                    Replies::default(),
                    Order::NewestFirst,
                    ALL,
                )
                .await
                .unwrap();
            let into = |said: &&Said| {
                said.sent
                    .thread
                    .as_ref()
                    .is_some_and(|it| it.parent == head.id)
            };
            let expected: Vec<_> = standing.iter().copied().filter(into).collect();
            assert_eq!(
                named(&read(&found.json)),
                ids(&expected),
                "{} in {what}",
                head.id
            );
            assert_eq!(found.total, expected.len() as u64);
        }

        for since in [Timestamp(0), middle] {
            let all = messages.since(&viewer, &room, since.into()).await.unwrap();
            let found = all.updated;
            let mut expected: Vec<_> = standing
                .iter()
                .copied()
                .filter(|said| messages::updated(past, said) > since)
                .collect();
            expected.sort_by_key(|said| (messages::updated(past, said), said.entry.position));
            assert_eq!(
                named(&read(&found.json)),
                ids(&expected),
                "changes in {what}"
            );
            let page = messages
                .updated_page(&viewer, &room, Cursor::After(since.into()), Some(7))
                .await
                .unwrap();
            let begin = &expected[..expected.len().min(page.found.count as usize)];
            assert_eq!(
                named(&read(&page.found.json)),
                ids(begin),
                "changes in {what}"
            );
            assert_eq!(page.more, begin.len() < expected.len(), "{what}");
            let (found, total) = messages.deleted(&room, since, ALL).await.unwrap();
            let mut expected = messages::deleted(past, &room);
            expected.retain(|(_, at)| *at > since);
            assert_eq!(found, all.deleted, "{what}");
            let found: Vec<_> = found.into_iter().map(|gone| (gone.id, gone.at)).collect();
            assert_eq!(found, expected, "what is gone from {what}");
            assert_eq!(total, expected.len() as u64);
        }

        for number in 0..8 {
            let criteria = PruneCriteria {
                oldest: if number % 2 == 0 {
                    Timestamp(0)
                } else {
                    middle
                },
                latest: if number < 4 {
                    Timestamp(i64::MAX)
                } else {
                    middle
                },
                inclusive: number % 3 == 0,
                exclude_pinned: number % 3 == 1,
                ignore_discussion: number % 4 == 1,
                ignore_threads: number % 4 == 2,
                users: (number == 5).then(|| other.clone()).into_iter().collect(),
                ..PruneCriteria::default()
            };
            let found = messages.matching(&room, &criteria, u64::MAX).await.unwrap();
            let found: Vec<_> = found.into_iter().map(|pruned| pruned.message).collect();
            let expected = messages::matching(past, &room, &criteria);
            assert_eq!(found, expected, "{criteria:?} in {what}");
        }

        let mut reading = views.messages.store.read().await.unwrap();
        let found = readable_in(&mut reading, &room).await.unwrap();
        let mut found: Vec<_> = found
            .into_iter()
            .map(|(_, pruned)| pruned.message)
            .collect();
        found.sort();
        let expected = messages::readable(past, &room);
        assert_eq!(found, expected, "what can be read in {what}");
        let among = readable_among(&mut reading, &ids(&standing)).await.unwrap();
        assert_eq!(among.len(), standing.len(), "{what}");
    }
    let mut reading = views.messages.store.read().await.unwrap();
    for user in &users {
        let found = readable_by(&mut reading, user).await.unwrap();
        let mut found: Vec<_> = found
            .into_iter()
            .map(|(_, pruned)| pruned.message)
            .collect();
        found.sort();
        let readable = past.all_rooms();
        let readable = readable
            .iter()
            .flat_map(|room| messages::readable(past, room));
        let mut expected: Vec<_> = readable
            .filter(|id| messages::sender(past, past.message(id).unwrap()) == *user)
            .collect();
        expected.sort();
        assert_eq!(found, expected, "what {user} said, {when}");
    }
    drop(reading);
    let live = past.rooms();
    let latest = messages.latest(&viewer, &live).await.unwrap();
    for room in &live {
        let expected = messages::history(past, room, false, &[]);
        let expected = expected.into_iter().find(|said| said.kind().is_none());
        let found = latest
            .get(room)
            .map(|message| MessageId::new(message["_id"].as_str().unwrap()));
        assert_eq!(
            found,
            expected.map(|said| said.id.clone()),
            "the latest of {room}, {when}"
        );
    }
}

async fn compare_rooms(views: &Views, past: &Past<'_>, when: &str) {
    let mut tables = views.rooms.store.read().await.unwrap();
    let live = past.rooms();
    let filter = RoomFilter {
        order: RoomOrder::Messages,
        ..RoomFilter::default()
    };
    let (found, total) = rooms_view::by_filter(&mut tables, &filter, Paging::ALL)
        .await
        .unwrap();
    assert_eq!(total as usize, live.len(), "{when}");
    assert_eq!(found.len(), live.len(), "{when}");
    assert!(found.is_sorted_by_key(|room| room.messages), "{when}");
    for room in found {
        let mut wire = Value::Object(room.wire());
        let expected = rooms::room(past, &room.id);
        let fields = wire.as_object_mut().unwrap();
        for list in ["muted", "unmuted"] {
            if let Some(Value::Array(names)) = fields.get_mut(list) {
                names.sort_by_key(ToString::to_string);
            }
        }
        fields.retain(|field, _| OF_A_ROOM.contains(&field.as_str()));
        assert_eq!(wire, expected, "{when}");

        let order = MemberOrder::Username;
        let page = rooms_view::members(&mut tables, &room.id, "", &[], order, Paging::ALL)
            .await
            .unwrap();
        for member in &page.members {
            let roles = rooms::roles(past, &room.id, &member.id);
            assert_eq!(member.roles, roles, "{} in {}, {when}", member.id, room.id);
        }
    }
    for user in past.users() {
        let found = rooms_view::of_member(&mut tables, &user, None)
            .await
            .unwrap();
        let mut found: Vec<_> = found.into_iter().map(|room| room.id).collect();
        found.sort();
        let mut expected = live.clone();
        expected.retain(|room| past.came(room, &user).is_some());
        expected.sort();
        assert_eq!(found, expected, "the rooms of {user}, {when}");
    }
}

async fn compare_subscriptions(views: &Views, past: &Past<'_>, when: &str) {
    let mut tables = views.subscriptions.store.read().await.unwrap();
    for user in past.users() {
        let found = subscriptions_view::of_account(&mut tables, &user)
            .await
            .unwrap();
        let mut expected = past.rooms();
        expected.retain(|room| past.came(room, &user).is_some());
        assert_eq!(found.len(), expected.len(), "{user}, {when}");
        for room in expected {
            let found = found.iter().find(|it| it.room == room);
            let found = found.unwrap_or_else(|| panic!("{user} in {room}, {when}"));
            let wire = found.wire(Counting::AllMessages, Counting::AllMessages);
            let threads = |field: &str| -> Vec<MessageId> {
                let ids = wire[field].as_array().into_iter().flatten();
                let mut ids: Vec<_> = ids.map(|id| MessageId::new(id.as_str().unwrap())).collect();
                ids.sort();
                ids
            };
            let shown = rooms::Subscription {
                roles: found.roles.clone(),
                favourite: found.favourite,
                open: found.open,
                alert: found.alert,
                seen: found.seen,
                said: found.said,
                user_mentions: found.user_mentions,
                group_mentions: found.group_mentions,
                unread_threads: threads("tunread"),
                unread_threads_by_name: threads("tunreadUser"),
                unread_threads_by_group: threads("tunreadGroup"),
            };
            let expected = rooms::subscription(past, &room, &user).unwrap();
            assert_eq!(shown, expected, "{user} in {room}, {when}");
        }
    }
}

async fn compare_search(views: &Views, past: &Past<'_>, when: &str) {
    let search = Search::new(views.search.store.clone());
    let rooms = past.rooms();
    let find = async |question: &str, rooms: &[RoomId], senders: &[UserId]| {
        let question = Question::read(question);
        let matches = search.find(&question, rooms, senders, 0, u64::MAX).await;
        matches.unwrap().ids
    };
    for word in WORDS {
        let found = find(word, &rooms, &[]).await;
        let expected = others::found(past, &rooms, |said| others::says(said, word));
        assert_eq!(found, expected, "{word}, {when}");
    }
    let found = find("is:pinned", &rooms, &[]).await;
    let pinned = |said: &Said| said.is_pinned();
    assert_eq!(found, others::found(past, &rooms, pinned), "{when}");
    let found = find("has:link", &rooms[..1], &[]).await;
    let links = |said: &Said| {
        said.content()
            .is_some_and(|content| !content.urls.is_empty())
    };
    assert_eq!(found, others::found(past, &rooms[..1], links), "{when}");
    for user in past.users() {
        let found = find("from:somebody", &rooms, std::slice::from_ref(&user)).await;
        let expected = others::found(past, &rooms, |said| others::is_from(past, said, &user));
        assert_eq!(found, expected, "from {user}, {when}");
    }
}

async fn compare_statistics(views: &Views, past: &Past<'_>, when: &str) {
    let mut tables = views.statistics.store.read().await.unwrap();
    let counted = statistics::counted(&mut tables).await.unwrap();
    assert_eq!(counted, others::counted(past), "{when}");
    for entry in [past.entries.first(), past.entries.last()]
        .into_iter()
        .flatten()
    {
        let tomorrow = Timestamp(entry.at.0 + 86_400_000);
        let found = statistics::active_between(&mut tables, entry.at, tomorrow)
            .await
            .unwrap();
        assert_eq!(found, others::active(past, entry.at), "{when}");
    }
    let threads = Messages::new(views.messages.store.clone())
        .count_threads()
        .await
        .unwrap();
    assert_eq!(threads, others::threads(past), "{when}");

    let mut tables = views.retention.store.read().await.unwrap();
    for room in past.all_rooms() {
        let found = retention::deleted(&mut tables, &room).await.unwrap();
        assert_eq!(
            found,
            others::left_behind(past, &room),
            "left in {room}, {when}"
        );
    }
    let found = retention::pruned(&mut tables, None).await.unwrap();
    // A prune may find that another one took everything before it.
    let found = found.into_iter().filter(|total| total.messages > 0);
    let found: Vec<_> = found
        .map(|total| ((total.room, total.reason), total.messages))
        .collect();
    let expected = others::pruned(past).into_iter();
    let expected: Vec<_> = expected
        .map(|((room, reason), messages)| ((room, reason.to_owned()), messages))
        .collect();
    assert_eq!(found, expected, "{when}");
}
