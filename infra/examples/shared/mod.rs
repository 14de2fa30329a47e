//! What the examples that measure logs have in common.

use hansard_domain::id::{Clock, Ids, RandomIds, SystemClock};
use hansard_domain::log::{Actor, Append, Commit, Metadata, NewEvent, StreamId, Version};

/// A sent message as it stands sealed in the log: a stream of its own, some 350 bytes.
pub fn message() -> Commit {
    let now = SystemClock.now();
    let event = NewEvent {
        id: RandomIds.event_id(now),
        kind: "MessageSent".into(),
        schema: 1,
        payload: format!(r#"{{"room":"GENERAL","sealed":"{}"}}"#, "x".repeat(320)),
        origin: Some("y".repeat(120)),
    };
    let append = Append {
        stream: StreamId::new("message", RandomIds.id(now)),
        expected: Version::NONE,
        events: vec![event],
    };
    let metadata = Metadata {
        at: now,
        clock: None,
        actor: Actor::User("rocketcat".into()),
        correlation: Some("01998d5a-7c1e".into()),
        causation: None,
    };
    Commit {
        after: None,
        appends: vec![append],
        metadata,
    }
}
