//! A page and its total are of one moment, also while the tables change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hansard_domain::event::Entry;
use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::integration::{Cause, DeliveryEvent, Trigger};
use hansard_domain::log::{Position, StreamId};
use hansard_domain::message::{MessageEvent, Sent, ThreadReply};
use hansard_domain::room::{Entry as Way, RoomEvent, RoomKind};

use crate::accounts::{self, Accounts};
use crate::deliveries::{self, Deliveries, DeliveriesView};
use crate::messages::{Filter, Messages, MessagesView, Order, Replies, Slice, ThreadKind};
use crate::rooms::{self, MemberOrder, Paging, RoomFilter, Rooms};
use crate::store::Store;
use crate::testing::{ON, Served, Story, on_both_engines};
use crate::view::View;

/// How many events change the tables while they are read.
const EVENTS: usize = 400;

const ALL: Slice = Slice {
    offset: 0,
    count: None,
};

/// Reads again and again while the events come one by one: what is read says how many it found, and how
/// many there are.
async fn always_agree(view: impl View, story: &Story, read: impl AsyncFn(&Store) -> (u64, u64)) {
    let mut served = Served::empty(view).await;
    let store = served.store.clone();
    let entries: Vec<Arc<Entry>> = story.entries.clone();
    let done = Arc::new(AtomicBool::new(false));
    let told = done.clone();
    let engine = ON.get();
    let writing = tokio::spawn(ON.scope(engine, async move {
        for entry in entries {
            served.take(&[entry]).await;
        }
        told.store(true, Ordering::SeqCst);
        served
    }));
    let mut times = 0;
    while !done.load(Ordering::SeqCst) {
        let (found, total) = read(&store).await;
        assert_eq!(found, total, "after {times} times");
        times += 1;
    }
    let _served = writing.await.unwrap();
    assert!(times > 0);
}

fn reply(story: &Story, parent: &str) -> Sent {
    Sent {
        thread: Some(ThreadReply {
            parent: MessageId::new(parent),
            shown: true,
            followers: vec![UserId::new("mary")],
        }),
        ..story.message("general", "mary")
    }
}

/// Messages that are said, replied to, starred, pinned and deleted.
fn busy() -> Story {
    let mut story = Story::default();
    story.registered("mary");
    let (room, user) = (RoomId::new("general"), UserId::new("mary"));
    for number in 0..EVENTS / 5 {
        let id = format!("m{number}");
        story.said(&id, "general", "mary");
        story.on(
            &id,
            MessageEvent::MessageStarred {
                room: room.clone(),
                user: user.clone(),
            },
        );
        let at = story.now();
        story.on(
            &id,
            MessageEvent::MessagePinned {
                room: room.clone(),
                by: user.clone(),
                at,
            },
        );
        let sent = reply(&story, if number % 2 == 0 { "m0" } else { &id });
        story.sent(&format!("r{number}"), sent);
        story.on(
            &format!("r{}", number / 2),
            MessageEvent::MessageDeleted {
                room: room.clone(),
                by: user.clone(),
                erased: None,
                show_deleted: false,
                at,
            },
        );
    }
    story
}

async fn a_page_of_messages_agrees_with_its_total() {
    let (room, viewer) = (RoomId::new("general"), UserId::new("mary"));
    let filter = Filter {
        sender: Some(viewer.clone()),
        ..Filter::default()
    };
    always_agree(MessagesView, &busy(), async |store| {
        let messages = Messages::new(store.clone());
        let order = Order::NewestFirst;
        let lists = [
            messages
                .list(&viewer, &room, &Filter::default(), order, ALL)
                .await,
            messages.list(&viewer, &room, &filter, order, ALL).await,
            messages.pinned(&viewer, &room, ALL).await,
            messages.starred(&viewer, &room, order, ALL).await,
            messages
                .thread(
                    &viewer,
                    &MessageId::new("m0"),
                    Replies::default(),
                    order,
                    ALL,
                )
                .await,
            messages
                .threads(&viewer, &room, &ThreadKind::All, "", ALL)
                .await,
        ];
        let (gone, total) = messages.deleted(&room, Timestamp(0), ALL).await.unwrap();
        let (mut found, mut all) = (gone.len() as u64, total);
        for list in lists {
            let list = list.unwrap();
            assert_eq!(list.count, list.total);
            found += list.count;
            all += list.total;
        }
        (found, all)
    })
    .await;
}

async fn a_page_of_rooms_or_members_agrees_with_its_total() {
    let mut story = Story::default();
    story
        .registered("mary")
        .created("general", RoomKind::Channel, &["mary"]);
    for number in 0..EVENTS / 4 {
        let id = format!("u{number}");
        story.registered(&id);
        let at = story.now();
        story.room(
            "general",
            RoomEvent::MemberJoined {
                user: UserId::new(&id),
                entry: Way::Joined,
                at,
            },
        );
        story.created(&format!("c{number}"), RoomKind::Channel, &["mary"]);
        if number % 3 == 0 {
            story.room(
                "general",
                RoomEvent::MemberLeft {
                    user: UserId::new(&id),
                },
            );
        }
    }
    always_agree(Rooms, &story, async |store| {
        let mut reading = store.read().await.unwrap();
        let filter = RoomFilter::default();
        let (rooms, total) = rooms::by_filter(&mut reading, &filter, Paging::ALL)
            .await
            .unwrap();
        assert_eq!(rooms.len() as i64, total);
        let general = RoomId::new("general");
        let order = MemberOrder::Username;
        let page = rooms::members(&mut reading, &general, "", &[], order, Paging::ALL).await;
        let page = page.unwrap();
        (page.members.len() as u64, page.total as u64)
    })
    .await;
}

async fn a_page_of_accounts_agrees_with_its_total() {
    let mut story = Story::default();
    for number in 0..EVENTS {
        story.registered(&format!("u{number}"));
    }
    always_agree(Accounts, &story, async |store| {
        let mut reading = store.read().await.unwrap();
        let (filter, page) = (accounts::Filter::default(), accounts::Page::default());
        let (found, total) = accounts::list(&mut reading, &filter, &page).await.unwrap();
        (found.len() as u64, total)
    })
    .await;
}

async fn a_page_of_deliveries_agrees_with_its_total() {
    let mut story = Story::default();
    for number in 0..EVENTS {
        let (position, at) = (Position(number as u64 + 1), story.now());
        let cause = Cause {
            integration: "hook".into(),
            trigger: Trigger::SendMessage,
            position,
            room: None,
            message: None,
            user: None,
            url: 0,
        };
        let id = StreamId::new("delivery", format!("d{number}"));
        story.tell(id, DeliveryEvent::WebhookQueued { cause, at });
    }
    always_agree(DeliveriesView, &story, async |store| {
        let filter = deliveries::Filter::default();
        let page = Deliveries::new(store.clone())
            .page(&filter, false, 0, u64::MAX)
            .await;
        let page = page.unwrap();
        (page.deliveries.len() as u64, page.total)
    })
    .await;
}

on_both_engines!(
    a_page_of_messages_agrees_with_its_total,
    a_page_of_rooms_or_members_agrees_with_its_total,
    a_page_of_accounts_agrees_with_its_total,
    a_page_of_deliveries_agrees_with_its_total,
);
