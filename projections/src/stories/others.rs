//! What the views of statistics, of the search and of retention have to answer.

use std::collections::{BTreeMap, BTreeSet};

use hansard_domain::account::AccountEvent;
use hansard_domain::event::Event;
use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::log::Actor;
use hansard_domain::message::MessageEvent;
use hansard_domain::room::{PruneReason, RoomEvent, RoomKind};
use hansard_domain::subscription::SubscriptionEvent;

use super::messages;
use super::past::{Past, Said};
use crate::statistics::Counted;

const DAY: i64 = 86_400_000;

pub fn counted(past: &Past) -> Counted {
    let mut counted = Counted::default();
    for room in past.rooms() {
        let said = past.standing_in(&room);
        let messages = said.iter().filter(|said| said.shows_text()).count() as u64;
        let discussion = matches!(
            past.of_room(&room)[0].1,
            RoomEvent::RoomCreated {
                parent: Some(_),
                ..
            }
        );
        match (discussion, past.kind(&room)) {
            (true, _) => counted.discussion_messages += messages,
            (_, RoomKind::Channel) => counted.channel_messages += messages,
            (_, RoomKind::Group) => counted.group_messages += messages,
            (_, RoomKind::Direct) => counted.direct_messages += messages,
        }
    }
    let newest = |which: &dyn Fn(&Event) -> bool| {
        let all = past.entries.iter().filter(|entry| which(&entry.event));
        all.map(|entry| entry.at).max()
    };
    counted.last_message = newest(&|event| match event {
        Event::Message(MessageEvent::MessageSent { sent, .. }) => sent.system.is_none(),
        _ => false,
    });
    counted.last_login =
        newest(&|event| matches!(event, Event::Account(AccountEvent::UserLoggedIn { .. })));
    counted.last_read = newest(&|event| {
        matches!(
            event,
            Event::Subscription(SubscriptionEvent::RoomRead { .. })
        )
    });
    counted
}

/// How many threads there are.
pub fn threads(past: &Past) -> u64 {
    let rooms = past.all_rooms();
    rooms
        .iter()
        .map(|room| messages::threads(past, room).len() as u64)
        .sum()
}

/// How many people wrote or logged in on a day or the day after.
pub fn active(past: &Past, day: Timestamp) -> u64 {
    let mut active = BTreeSet::new();
    for entry in past.entries {
        let counts = match &entry.event {
            Event::Message(MessageEvent::MessageSent { sent, .. }) => sent.system.is_none(),
            Event::Account(AccountEvent::UserLoggedIn { .. }) => true,
            _ => false,
        };
        let days_later = entry.at.0.div_euclid(DAY) - day.0.div_euclid(DAY);
        if let Actor::User(user) = &entry.actor
            && counts
            && (0..=1).contains(&days_later)
        {
            active.insert(user.as_str().to_owned());
        }
    }
    active.len() as u64
}

/// What a search finds in some rooms, the newest first.
pub fn found(past: &Past, rooms: &[RoomId], which: impl Fn(&Said) -> bool) -> Vec<MessageId> {
    let mut found = past.standing();
    found.retain(|said| rooms.contains(&said.sent.room));
    found.retain(|said| said.sent.system.is_none() && said.shows_text() && which(said));
    found.reverse();
    found.iter().map(|said| said.id.clone()).collect()
}

pub fn says(said: &Said, word: &str) -> bool {
    said.content()
        .is_some_and(|content| content.text.split(' ').any(|it| it == word))
}

pub fn is_from(past: &Past, said: &Said, user: &UserId) -> bool {
    messages::sender(past, said) == *user
}

/// What people deleted from a room and that left its text or a place holder, until a prune takes it.
pub fn left_behind(past: &Past, room: &RoomId) -> Vec<MessageId> {
    let mut left: Vec<_> = past
        .said
        .iter()
        .filter(|said| {
            said.sent.room == *room && said.prunes.is_empty() && said.room_ended.is_none()
        })
        .filter(|said| {
            said.events.iter().any(|(_, event)| {
                matches!(
                    event,
                    MessageEvent::MessageDeleted {
                        erased,
                        show_deleted,
                        ..
                    } if erased.is_none() || *show_deleted
                )
            })
        })
        .map(|said| said.id.clone())
        .collect();
    left.sort();
    left
}

/// How many messages of each room were pruned for each reason, each once.
pub fn pruned(past: &Past) -> BTreeMap<(RoomId, &'static str), u64> {
    let mut totals = BTreeMap::new();
    for said in &past.said {
        let Some(first) = said.prunes.first() else {
            continue;
        };
        let Event::Room(RoomEvent::ChannelPruned { reason, .. }) = &past.entries[*first].event
        else {
            unreachable!()
        };
        let reason = match reason {
            PruneReason::Requested => "requested",
            PruneReason::Retention => "retention",
            PruneReason::Deletion => "deletion",
        };
        *totals.entry((said.sent.room.clone(), reason)).or_default() += 1;
    }
    totals
}
