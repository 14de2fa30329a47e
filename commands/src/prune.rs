//! Pruning: messages of a room, and their texts, are gone for good.
//!
//! A prune is put on the record before anything is deleted: `ChannelPruned` names the messages and
//! their keys. The [shredder](crate::shredder) then deletes the keys, the views their rows.

use std::collections::HashSet;

use async_trait::async_trait;
use hansard_domain::id::{MessageId, RoomId, UserId};
use hansard_domain::limit;
use hansard_domain::log::Position;
use hansard_domain::message::Message;
use hansard_domain::room::{PruneCriteria, PruneReason, Pruned, RoomCommand};

use crate::bus::Commands;
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::room::MessageIndex;

/// How many messages one `ChannelPruned` names at most.
const CHUNK: usize = 10_000;

/// Knows which messages were deleted from a room by people and left something behind: their text,
/// where history is kept, or a place holder.
#[async_trait]
pub trait DeletedMessages: Send + Sync {
    async fn deleted(&self, room: &RoomId) -> Result<Vec<MessageId>, CommandError>;
}

/// What a prune needs to know about messages. Both must tell of everything that was committed
/// before they were asked.
#[derive(Clone, Copy)]
pub struct Messages<'a> {
    pub index: &'a dyn MessageIndex,
    pub deleted: &'a dyn DeletedMessages,
}

/// What is asked of `rooms.cleanHistory`.
#[derive(Debug, Clone, Default)]
pub struct CleanHistory {
    pub room: RoomId,
    /// Its `users` are those of `usernames`.
    pub criteria: PruneCriteria,
    /// Only messages of these; empty means everybody's.
    pub usernames: Vec<String>,
}

/// What was pruned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Messages that people could see.
    pub count: u64,
    /// Where the last of it stands in the log; `None` if there was nothing to prune.
    pub position: Option<Position>,
}

/// Prunes a room because somebody asks for it (`clean-channel-history`).
pub async fn clean_history(
    commands: &Commands,
    messages: Messages<'_>,
    caller: &Caller,
    request: CleanHistory,
) -> Result<Done, CommandError> {
    let CleanHistory {
        room,
        mut criteria,
        usernames,
    } = request;
    limit::PRUNED_USERS.check_count(usernames.len())?;
    let permitted = {
        let room = room.clone();
        commands.run(caller, move |decision| check_may_prune(decision, &room))
    };
    permitted.await?;
    if !usernames.is_empty() {
        let model = commands.model();
        criteria.users = usernames
            .iter()
            .filter_map(|name| model.user_by_name(name).cloned())
            .collect();
        if criteria.users.is_empty() {
            // Nobody of those asked for is here; no users at all would mean everybody.
            return Ok(Done::default());
        }
    }
    prune(
        commands,
        messages,
        caller,
        room,
        criteria,
        PruneReason::Requested,
    )
    .await
}

fn check_may_prune(decision: &Decision<'_>, room: &RoomId) -> Result<(), CommandError> {
    decision.model().require_or(
        decision.caller(),
        "clean-channel-history",
        Some(room),
        "error-not-allowed",
        "Not allowed",
    )
}

/// Prunes a room for whoever may; each part of it is asked about again.
pub async fn prune(
    commands: &Commands,
    messages: Messages<'_>,
    caller: &Caller,
    room: RoomId,
    criteria: PruneCriteria,
    reason: PruneReason,
) -> Result<Done, CommandError> {
    if criteria.files_only {
        // Messages have no files of their own yet, and without them they must not go.
        return Ok(Done::default());
    }
    // In this order: what somebody deletes in between is in both lists, and not in none.
    let mut pruned = messages.index.matching(&room, &criteria, u64::MAX).await?;
    let deleted = messages.deleted.deleted(&room).await?;
    let hidden: HashSet<&MessageId> = deleted.iter().collect();
    let visible = |pruned: &&Pruned| !hidden.contains(&pruned.message);
    let count = pruned.iter().filter(visible).count() as u64;
    if criteria.limit == 0 || (pruned.len() as u64) < criteria.limit {
        let found: HashSet<MessageId> = pruned.iter().map(|found| found.message.clone()).collect();
        for id in deleted.iter().filter(|id| !found.contains(*id)) {
            if let Some(message) = commands.message(id).await?
                && matches(&criteria, &message)
            {
                let (message, key) = (id.clone(), message.key);
                pruned.push(Pruned { message, key });
            }
        }
    }

    let mut position = None;
    for chunk in pruned.chunks(CHUNK) {
        let (room, criteria, pruned) = (room.clone(), criteria.clone(), chunk.to_vec());
        let done = commands
            .run(caller, move |decision| {
                check_may_prune(decision, &room)?;
                let (criteria, pruned) = (criteria.clone(), pruned.clone());
                decision.room(
                    &room,
                    RoomCommand::Prune {
                        reason,
                        criteria,
                        pruned,
                    },
                )
            })
            .await?;
        position = done
            .batch
            .and_then(|batch| batch.last().map(|entry| entry.position));
    }
    Ok(Done { count, position })
}

/// Whether a message that was deleted would have been pruned.
fn matches(criteria: &PruneCriteria, message: &Message) -> bool {
    let by = |user: &UserId| criteria.users.is_empty() || criteria.users.contains(user);
    let in_time = if criteria.inclusive {
        criteria.oldest <= message.at && message.at <= criteria.latest
    } else {
        criteria.oldest < message.at && message.at < criteria.latest
    };
    in_time
        && by(&message.sender)
        && !(criteria.exclude_pinned && message.pinned)
        && !(criteria.ignore_threads && message.thread.is_some())
}
