//! The eraser: the policy that erases what was said in rooms that are deleted, and by accounts that
//! are deleted with their messages.
//!
//! The deletion itself is one commit and comes first; this names the keys of the texts, in
//! `ChannelPruned`, for the [shredder](crate::shredder). Nothing escapes it: what was said before the
//! deletion is in the list that is asked for after it, and what another node let through after it
//! comes by here as an event. What is erased is in no list any more, so that twice is once, and a
//! server that was killed in between goes on where its cursor stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::account::{AccountEvent, MessageErasure};
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::journal::Batch;
use hansard_domain::message::MessageEvent;
use hansard_domain::room::{PruneCriteria, PruneReason, Pruned, RoomCommand, RoomEvent};

use crate::bus::Commands;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::model::WriteModel;
use crate::policy::Policy;

/// Names its cursor.
pub const NAME: &str = "eraser";

/// How many messages one `ChannelPruned` names at most.
const CHUNK: usize = 10_000;

/// A message that can still be read, and the room it was said in.
pub type Readable = (RoomId, Pruned);

/// Knows which messages can still be read: those in sight, those deleted with their history kept, and
/// those of rooms that are gone. It must tell of everything that was committed before it was asked,
/// and no longer of what a prune has named.
#[async_trait]
pub trait ReadableMessages: Send + Sync {
    async fn said_in(&self, room: &RoomId) -> Result<Vec<Readable>, CommandError>;
    async fn said_by(&self, user: &UserId) -> Result<Vec<Readable>, CommandError>;
    /// Those of some messages.
    async fn among(&self, messages: &[MessageId]) -> Result<Vec<Readable>, CommandError>;
}

/// See the module.
pub struct Eraser {
    messages: Arc<dyn ReadableMessages>,
}

impl Eraser {
    pub fn new(messages: Arc<dyn ReadableMessages>) -> Self {
        Self { messages }
    }
}

#[async_trait]
impl Policy for Eraser {
    fn name(&self) -> &'static str {
        NAME
    }

    fn awaited(&self, batch: &Batch) -> bool {
        batch.iter().any(|entry| {
            matches!(
                entry.event,
                Event::Room(RoomEvent::RoomDeleted { .. })
                    | Event::Account(AccountEvent::UserDeleted { .. })
            )
        })
    }

    async fn react(&self, commands: &Commands, batch: &Batch) -> Result<(), CommandError> {
        let Some(last) = batch
            .last()
            .filter(|_| batch.iter().any(|entry| may_leave(entry)))
        else {
            return Ok(());
        };
        let model = commands.model_at(last.position).await;
        let late: Vec<&Entry> = batch
            .iter()
            .map(Arc::as_ref)
            .filter(|entry| is_late(&model, entry))
            .collect();
        if let Some(first) = late.first() {
            let ids: Vec<MessageId> = late
                .iter()
                .map(|entry| MessageId::new(entry.stream.key()))
                .collect();
            erase(commands, first, self.messages.among(&ids).await?).await?;
        }
        for entry in batch.iter() {
            let left = match &entry.event {
                Event::Room(RoomEvent::RoomDeleted { .. }) => {
                    let room = RoomId::new(entry.stream.key());
                    self.messages.said_in(&room).await?
                }
                Event::Account(AccountEvent::UserDeleted {
                    messages: MessageErasure::Delete,
                    ..
                }) => {
                    let user = UserId::new(entry.stream.key());
                    self.messages.said_by(&user).await?
                }
                _ => continue,
            };
            erase(commands, entry, left).await?;
        }
        Ok(())
    }
}

/// Whether an event is of a kind that can leave something to erase.
fn may_leave(entry: &Entry) -> bool {
    matches!(
        entry.event,
        Event::Room(RoomEvent::RoomDeleted { .. })
            | Event::Account(AccountEvent::UserDeleted { .. })
            | Event::Message(MessageEvent::MessageSent { .. })
    )
}

/// Whether a message was sent that should not be there any more.
fn is_late(model: &WriteModel, entry: &Entry) -> bool {
    let Event::Message(MessageEvent::MessageSent { sent, .. }) = &entry.event else {
        return false;
    };
    model.room_is_gone(&sent.room) || model.erasure(&sent.sender) == Some(MessageErasure::Delete)
}

/// Puts the erasure on the record, in pieces.
async fn erase(
    commands: &Commands,
    cause: &Entry,
    left: Vec<Readable>,
) -> Result<(), CommandError> {
    let caller = Caller::policy(NAME, Some(cause.id));
    let users = match &cause.event {
        Event::Account(_) => vec![UserId::new(cause.stream.key())],
        _ => Vec::new(),
    };
    let criteria = PruneCriteria {
        latest: Timestamp(i64::MAX),
        oldest: Timestamp(i64::MIN),
        inclusive: true,
        users,
        ..PruneCriteria::default()
    };
    let mut rooms: BTreeMap<RoomId, Vec<Pruned>> = BTreeMap::new();
    for (room, message) in left {
        rooms.entry(room).or_default().push(message);
    }
    for (room, messages) in rooms {
        for pruned in messages.chunks(CHUNK) {
            let (room, criteria, pruned) = (room.clone(), criteria.clone(), pruned.to_vec());
            let prune = commands.run(&caller, move |decision| {
                let command = RoomCommand::Prune {
                    reason: PruneReason::Deletion,
                    criteria: criteria.clone(),
                    pruned: pruned.clone(),
                };
                decision.room(&room, command)
            });
            prune.await?;
        }
    }
    Ok(())
}
