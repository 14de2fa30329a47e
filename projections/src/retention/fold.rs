//! How events change the view of retention.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use hansard_domain::event::{Entry, Event};
use hansard_domain::id::Timestamp;
use hansard_domain::log::Position;
use hansard_domain::message::MessageEvent;
use hansard_domain::room::{PruneReason, RoomEvent};
use sqlx::{AnyConnection, Row as _};

use crate::gone::{self, Leaving, is_remembered};
use crate::rows::{ByKey, Insert};
use crate::view::ViewError;

const PRUNED: Insert = Insert::into("pruned", &["room", "reason", "messages", "last_at"])
    .on_conflict(
        "ON CONFLICT (room, reason) DO UPDATE SET \
         messages = pruned.messages + excluded.messages, \
         last_at = CASE WHEN excluded.last_at > pruned.last_at \
         THEN excluded.last_at ELSE pruned.last_at END",
    );

const DELETED: Insert =
    Insert::into("deleted", &["message", "room"]).on_conflict("ON CONFLICT (message) DO NOTHING");

const FORGET: ByKey = ByKey::new("DELETE FROM deleted WHERE message IN");
const FORGET_ROOM: ByKey = ByKey::new("DELETE FROM deleted WHERE room IN");

const ENDED: Insert = Insert::into("ended", &["room"]).on_conflict("ON CONFLICT DO NOTHING");
const HAS_ENDED: ByKey = ByKey::new("SELECT room FROM ended WHERE room IN");

pub(super) async fn apply(
    tables: &mut AnyConnection,
    entries: &[Arc<Entry>],
) -> Result<(), ViewError> {
    // What happens after the end of a room is told apart from what happens before it.
    for part in entries.split_inclusive(|entry| ends_room(entry)) {
        fold(tables, part).await?;
        if let Some(last) = part.last().filter(|last| ends_room(last)) {
            let room = [last.stream.key()];
            FORGET_ROOM.execute(tables, &room).await?;
            gone::forget_rooms(tables, &room).await?;
            ENDED
                .write(tables, &room, |room, values| values.text(room))
                .await?;
        }
    }
    Ok(())
}

fn ends_room(entry: &Entry) -> bool {
    matches!(entry.event, Event::Room(RoomEvent::RoomDeleted { .. }))
}

async fn fold(tables: &mut AnyConnection, entries: &[Arc<Entry>]) -> Result<(), ViewError> {
    let mut named = Vec::new();
    let mut reasons = Vec::new();
    let mut left: BTreeMap<&str, (&str, Position)> = BTreeMap::new();
    for entry in entries {
        let key = entry.stream.key();
        match &entry.event {
            Event::Message(MessageEvent::MessageDeleted {
                room,
                erased,
                show_deleted,
                ..
            }) if erased.is_none() || *show_deleted => {
                left.insert(key, (room.as_str(), entry.position));
            }
            Event::Room(RoomEvent::ChannelPruned { reason, pruned, .. }) => {
                for pruned in pruned {
                    named.push(Leaving {
                        message: pruned.message.as_str(),
                        room: key,
                        position: entry.position,
                        kept: false,
                    });
                    reasons.push((name(*reason), entry.at));
                }
            }
            _ => {}
        }
    }
    let first = gone::leave(tables, &named).await?;
    let mut pruned: BTreeMap<(&str, &'static str), (i64, Timestamp)> = BTreeMap::new();
    for ((named, (reason, at)), first) in named.iter().zip(reasons).zip(first) {
        let total = pruned.entry((named.room, reason)).or_default();
        total.0 += i64::from(first);
        total.1 = total.1.max(at);
    }
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
        .await?;

    // A prune may have named a message before the one who deleted it was done.
    let known = gone::known(tables, left.keys().copied()).await?;
    let rooms: BTreeSet<&str> = left.values().map(|(room, _)| *room).collect();
    let rooms: Vec<&str> = rooms.into_iter().collect();
    let mut ended = HashSet::new();
    for row in HAS_ENDED.fetch(tables, &rooms).await? {
        ended.insert(row.try_get::<String, _>(0)?);
    }
    let left: Vec<_> = left
        .into_iter()
        .filter(|(message, (room, position))| {
            let pruned = known
                .get(*message)
                .is_some_and(|went| is_remembered(*went, *position));
            !pruned && !ended.contains(*room)
        })
        .collect();
    DELETED
        .write(tables, &left, |(message, (room, _)), values| {
            values.text(message);
            values.text(room);
        })
        .await?;
    let gone: Vec<&str> = named.iter().map(|named| named.message).collect();
    FORGET.execute(tables, &gone).await?;
    Ok(())
}

fn name(reason: PruneReason) -> &'static str {
    match reason {
        PruneReason::Requested => "requested",
        PruneReason::Retention => "retention",
        PruneReason::Deletion => "deletion",
    }
}
