//! How events change the view of retention.

use std::collections::BTreeMap;
use std::sync::Arc;

use hansard_domain::event::{Entry, Event};
use hansard_domain::id::Timestamp;
use hansard_domain::message::MessageEvent;
use hansard_domain::room::{PruneReason, RoomEvent};
use sqlx::AnyConnection;

use crate::rows::{ByKey, Insert};
use crate::view::ViewError;

const PRUNED: Insert = Insert::into("pruned", &["room", "reason", "messages", "last_at"])
    .on_conflict(
        "ON CONFLICT (room, reason) DO UPDATE SET \
         messages = pruned.messages + excluded.messages, last_at = excluded.last_at",
    );

const DELETED: Insert =
    Insert::into("deleted", &["message", "room"]).on_conflict("ON CONFLICT (message) DO NOTHING");

const FORGET: ByKey = ByKey::new("DELETE FROM deleted WHERE message IN");
const FORGET_ROOM: ByKey = ByKey::new("DELETE FROM deleted WHERE room IN");

pub(super) async fn apply(
    tables: &mut AnyConnection,
    entries: &[Arc<Entry>],
) -> Result<(), ViewError> {
    let mut pruned: BTreeMap<(&str, &'static str), (i64, Timestamp)> = BTreeMap::new();
    let mut deleted: BTreeMap<&str, &str> = BTreeMap::new();
    let mut gone: Vec<&str> = Vec::new();
    let mut rooms_gone: Vec<&str> = Vec::new();
    for entry in entries {
        let key = entry.stream.key();
        match &entry.event {
            Event::Message(MessageEvent::MessageDeleted {
                room,
                erased,
                show_deleted,
                ..
            }) if erased.is_none() || *show_deleted => {
                deleted.insert(key, room.as_str());
            }
            Event::Room(RoomEvent::ChannelPruned {
                reason,
                pruned: messages,
                ..
            }) => {
                let total = pruned.entry((key, name(*reason))).or_default();
                total.0 += messages.len() as i64;
                total.1 = entry.at;
                for message in messages {
                    deleted.remove(message.message.as_str());
                    gone.push(message.message.as_str());
                }
            }
            Event::Room(RoomEvent::RoomDeleted { .. }) => {
                deleted.retain(|_, room| *room != key);
                rooms_gone.push(key);
            }
            _ => {}
        }
    }
    FORGET.execute(tables, &gone).await?;
    FORGET_ROOM.execute(tables, &rooms_gone).await?;
    let deleted: Vec<_> = deleted.into_iter().collect();
    DELETED
        .write(tables, &deleted, |(message, room), values| {
            values.text(message);
            values.text(room);
        })
        .await?;
    let pruned: Vec<_> = pruned.into_iter().collect();
    PRUNED
        .write(
            tables,
            &pruned,
            |((room, reason), (messages, at)), values| {
                values.text(room);
                values.text(reason);
                values.number(*messages);
                values.time(*at);
            },
        )
        .await
}

fn name(reason: PruneReason) -> &'static str {
    match reason {
        PruneReason::Requested => "requested",
        PruneReason::Retention => "retention",
        PruneReason::Deletion => "deletion",
    }
}
