//! Whoever asks for what changed since a time is told of every change.

use std::collections::BTreeMap;

use hansard_domain::event::Event;
use hansard_domain::id::Timestamp;
use serde_json::Value;

use super::Views;
use super::past::Past;
use super::teller::Teller;
use crate::messages::Messages;
use crate::rooms as rooms_view;
use crate::subscriptions::{self as subscriptions_view, Counting};
use crate::testing::on_both_engines;

/// How many events each story has; after each of them everything is looked at.
const EVENTS: usize = 500;

/// What clients keep a copy of, and when each changed last.
type Shown = BTreeMap<String, (Value, Timestamp)>;

async fn shown(views: &Views, past: &Past<'_>) -> Shown {
    let mut shown = Shown::new();
    let rooms = past.rooms();
    let users = past.users();
    let mut tables = views.rooms.store.read().await.unwrap();
    let messages = Messages::new(views.messages.store.clone());
    let mut latest = messages.latest(&users[0], &rooms).await.unwrap();
    for room in rooms_view::by_ids(&mut tables, &rooms).await.unwrap() {
        let mut wire = Value::Object(room.wire());
        wire["lastMessage"] = latest.remove(&room.id).unwrap_or_default();
        // Who wrote it stands beside it, whatever the name is now.
        if let Some(message) = wire["lastMessage"].as_object_mut() {
            message.shift_remove("u");
            message.shift_remove("alias");
        }
        add(&mut shown, format!("room {}", room.id), wire);
    }
    let mut tables = views.subscriptions.store.read().await.unwrap();
    for user in &users {
        for own in subscriptions_view::of_account(&mut tables, user)
            .await
            .unwrap()
        {
            let wire = own.wire(Counting::AllMessages, Counting::AllMessages);
            add(&mut shown, format!("{user} in {}", own.room), wire);
        }
    }
    shown
}

fn add(shown: &mut Shown, what: String, mut wire: Value) {
    let updated = wire
        .as_object_mut()
        .unwrap()
        .shift_remove("_updatedAt")
        .unwrap();
    let updated = Timestamp::parse(updated.as_str().unwrap()).unwrap();
    shown.insert(what, (wire, updated));
}

async fn a_change_is_told_to_whoever_asks_for_what_changed() {
    for seed in super::seeds(1) {
        let mut teller = Teller::with_a_clock_that_never_falls(seed);
        teller.tell_until(EVENTS);
        let entries = teller.entries;
        let mut views = Views::empty().await;
        let mut before = Shown::new();
        // Names are written into messages without their changing by it.
        let but_names = |wire: &Value, event: &Event| {
            let mut wire = wire.clone();
            if matches!(event, Event::Account(_)) {
                wire.as_object_mut().unwrap().shift_remove("lastMessage");
            }
            wire
        };
        for (place, entry) in entries.iter().enumerate() {
            views.take(std::slice::from_ref(entry)).await;
            if place < 20 {
                continue;
            }
            let now = shown(&views, &Past::of(&entries[..=place])).await;
            for (what, (wire, updated)) in &now {
                let wire = but_names(wire, &entry.event);
                let then = before
                    .get(what)
                    .map(|(then, _)| but_names(then, &entry.event));
                if then.as_ref().is_some_and(|then| *then != wire) {
                    let event = entry.event.kind();
                    assert!(
                        *updated >= entry.at,
                        "HANSARD_STORY_SEED={seed}: {event} at {place} changed {what}, which says that it \
                         changed earlier\n{}\n{wire}",
                        then.unwrap()
                    );
                }
            }
            before = now;
        }
    }
}

on_both_engines!(a_change_is_told_to_whoever_asks_for_what_changed);
