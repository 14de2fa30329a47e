//! Closing a room for good, or until somebody opens it again.

use async_trait::async_trait;
use hansard_domain::claim::Namespace;
use hansard_domain::id::RoomId;
use hansard_domain::log::Position;
use hansard_domain::room::{PruneCriteria, Pruned, RoomCommand, RoomKind};

use super::existing;
use crate::bus::Commands;
use crate::caller::Caller;
use crate::error::CommandError;

/// Knows which messages there are: the write side does not, the views do.
#[async_trait]
pub trait MessageIndex: Send + Sync {
    /// Messages of a room that a prune takes, the oldest first, at most `most`.
    async fn matching(
        &self,
        room: &RoomId,
        criteria: &PruneCriteria,
        most: u64,
    ) -> Result<Vec<Pruned>, CommandError>;
}

/// Nothing more is said in a room (`archive-room`).
pub async fn archive(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
) -> Result<(), CommandError> {
    commands
        .run(caller, move |decision| {
            let caller = decision.caller();
            let me = caller.user_id()?.clone();
            let model = decision.model();
            let found = existing(model, &room)?;
            model.require_or(
                caller,
                "archive-room",
                Some(&room),
                "error-not-authorized",
                "Not authorized",
            )?;
            if found.kind == RoomKind::Direct {
                return Err(CommandError::refused(
                    "error-direct-message-room",
                    "rooms type: d can not be archived",
                ));
            }
            decision.room(&room, RoomCommand::Archive)?;
            decision.system_message(&room, "room-archived", &me, "")?;
            Ok(())
        })
        .await?;
    Ok(())
}

/// An archived room is as it was before (`unarchive-room`).
pub async fn unarchive(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
) -> Result<(), CommandError> {
    commands
        .run(caller, move |decision| {
            let caller = decision.caller();
            let me = caller.user_id()?.clone();
            let model = decision.model();
            existing(model, &room)?;
            model.require_or(
                caller,
                "unarchive-room",
                Some(&room),
                "error-not-authorized",
                "Not authorized",
            )?;
            decision.room(&room, RoomCommand::Unarchive)?;
            decision.system_message(&room, "room-unarchived", &me, "")?;
            Ok(())
        })
        .await?;
    Ok(())
}

/// Deletes a room and everything said in it, for good (`delete-c`, `delete-p`, `delete-d`).
///
/// The room is gone at once; what was said in it is erased by the [eraser](crate::eraser). Answers
/// where the deletion stands in the log.
pub async fn delete(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
) -> Result<Option<Position>, CommandError> {
    let done = commands.run(caller, move |decision| {
        let caller = decision.caller();
        let model = decision.model();
        let found = existing(model, &room)?;
        let permission = match found.kind {
            RoomKind::Channel => "delete-c",
            RoomKind::Group => "delete-p",
            RoomKind::Direct => "delete-d",
        };
        model.require_or(
            caller,
            permission,
            Some(&room),
            "error-not-allowed",
            "Not allowed",
        )?;
        let (name, kind) = (found.details.name.clone(), found.kind);
        decision.room(&room, RoomCommand::Delete)?;
        if !name.is_empty() {
            decision.release(Namespace::Room, &name, room.as_str())?;
        } else if kind != RoomKind::Direct {
            // What it was called was sealed under a key that is gone.
            decision.release_all(room.as_str())?;
        }
        Ok(())
    });
    let batch = done.await?.batch;
    Ok(batch.and_then(|batch| batch.last().map(|entry| entry.position)))
}
