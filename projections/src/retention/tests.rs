use hansard_domain::id::{MessageId, RoomId, Timestamp};
use hansard_domain::log::StreamId;
use hansard_domain::message::MessageEvent;
use hansard_domain::room::{PruneCriteria, PruneReason, Pruned, RoomEvent};
use hansard_domain::vault::KeyId;

use super::{Retention, deleted, pruned};
use crate::testing::{Story, on_both_engines, told};

const TABLES: [&str; 2] = ["pruned", "deleted"];

fn gone(erased: bool, show_deleted: bool) -> MessageEvent {
    MessageEvent::MessageDeleted {
        room: "GENERAL".into(),
        by: "mary".into(),
        erased: erased.then_some(KeyId(3)),
        show_deleted,
        at: Timestamp(0),
    }
}

fn prune(reason: PruneReason, messages: &[&str]) -> RoomEvent {
    let pruned = messages.iter().map(|message| Pruned {
        message: MessageId::new(message),
        key: KeyId(3),
    });
    RoomEvent::ChannelPruned {
        reason,
        criteria: PruneCriteria::default(),
        pruned: pruned.collect(),
    }
}

async fn what_was_pruned_is_counted_by_reason() {
    let mut story = Story::default();
    story
        .room("GENERAL", prune(PruneReason::Requested, &["a", "b"]))
        .room("GENERAL", prune(PruneReason::Retention, &["c"]))
        .room("GENERAL", prune(PruneReason::Requested, &["d"]));
    let last = story.entries[2].at;
    let mut tables = told(&Retention, &story, &TABLES).await;
    let general = RoomId::new("GENERAL");
    let totals = pruned(&mut tables, Some(&general)).await.unwrap();
    let counts: Vec<_> = totals
        .iter()
        .map(|total| (total.reason.as_str(), total.messages))
        .collect();
    assert_eq!(counts, [("requested", 3), ("retention", 1)]);
    assert_eq!(totals[0].last_at, last);
    assert_eq!(
        pruned(&mut tables, Some(&RoomId::new("other")))
            .await
            .unwrap(),
        []
    );
}

async fn a_deleted_message_is_known_until_a_prune_erases_what_it_left() {
    let mut story = Story::default();
    for (id, erased, show_deleted) in [
        ("nothing-left", true, false),
        ("text-kept", false, false),
        ("place-holder", true, true),
        ("pruned-later", false, false),
    ] {
        story.tell(StreamId::new("message", id), gone(erased, show_deleted));
    }
    story.room("GENERAL", prune(PruneReason::Requested, &["pruned-later"]));
    let mut tables = told(&Retention, &story, &TABLES).await;
    let left = deleted(&mut tables, &"GENERAL".into()).await.unwrap();
    let left: Vec<_> = left.iter().map(MessageId::as_str).collect();
    assert_eq!(left, ["place-holder", "text-kept"]);
}

async fn a_deleted_room_leaves_nothing_to_prune() {
    let mut story = Story::default();
    story
        .tell(StreamId::new("message", "kept"), gone(false, false))
        .room("GENERAL", RoomEvent::RoomDeleted { key: KeyId(2) });
    let mut tables = told(&Retention, &story, &TABLES).await;
    assert_eq!(deleted(&mut tables, &"GENERAL".into()).await.unwrap(), []);
}

on_both_engines!(
    what_was_pruned_is_counted_by_reason,
    a_deleted_message_is_known_until_a_prune_erases_what_it_left,
    a_deleted_room_leaves_nothing_to_prune,
);
