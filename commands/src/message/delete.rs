//! Taking back what was said.

use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::message::{Message, MessageCommand};

use super::{check_sight, on_message};
use crate::authorization::sight::Purpose;
use crate::bus::Commands;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::model::WriteModel;
use crate::setting;

/// With it one deletes whatever anybody said, whenever.
const FORCE: &str = "force-delete-message";

#[derive(Debug, Clone)]
pub struct Deletion {
    pub message: MessageId,
    /// Where the client thinks the message is.
    pub room: RoomId,
    /// In the name of the one who wrote it.
    pub as_author: bool,
    /// A thread hangs on it, which must keep its place.
    pub has_replies: bool,
}

/// Deletes a message; unless the workspace keeps history, its text is erased for good. A place holder
/// stays where the workspace wants one, or a thread hangs on it.
pub async fn delete(
    commands: &Commands,
    caller: &Caller,
    deletion: Deletion,
) -> Result<(), CommandError> {
    let missing = || {
        CommandError::plain(format!(
            "No message found with the id of \"{}\".",
            deletion.message
        ))
    };
    on_message(commands, &deletion.message, missing, async |message| {
        let claimed = deletion.room.clone();
        let missing = missing();
        let asking = caller.user_id()?.clone();
        let id = deletion.message.clone();
        let (as_author, has_replies) = (deletion.as_author, deletion.has_replies);
        commands
            .run(caller, move |decision| {
                let (model, caller) = (decision.model(), decision.caller());
                let room = Some(&message.room);
                // Who may delete whatever is said need not be in the room.
                if !model.allows(caller, FORCE, room) {
                    let purpose = Purpose::Participation;
                    check_sight(model, caller, &message.room, purpose, not_allowed, || {
                        missing.clone()
                    })?;
                }
                if message.room != claimed {
                    return Err(CommandError::plain(
                        "The room id provided does not match where the message is from.",
                    ));
                }
                let by = if as_author && message.sender != asking {
                    model.require_or(
                        caller,
                        FORCE,
                        room,
                        "",
                        "Unauthorized. You must have the permission \"force-delete-message\" to \
                         delete other's message as them.",
                    )?;
                    message.sender.clone()
                } else {
                    asking.clone()
                };
                may_delete(model, &by, &message, decision.now())?;
                for setting in ["Message_KeepHistory", "Message_ShowDeletedStatus"] {
                    setting::require_known(model, setting)?;
                }
                let command = MessageCommand::Delete {
                    keep_history: model.flag("Message_KeepHistory"),
                    show_deleted: has_replies || model.flag("Message_ShowDeletedStatus"),
                    by,
                    at: decision.now(),
                };
                decision.message(&id, &message, command)
            })
            .await
            .map(|_| ())
    })
    .await
}

/// Whether somebody may delete a message: with `force-delete-message` any, otherwise while the
/// workspace allows it, with `delete-message`, or `delete-own-message` for one's own.
fn may_delete(
    model: &WriteModel,
    by: &UserId,
    message: &Message,
    now: Timestamp,
) -> Result<(), CommandError> {
    let room = Some(&message.room);
    let has = |permission| model.permitted(by, permission, room);
    if has(FORCE) {
        return Ok(());
    }
    let own = *by == message.sender && has("delete-own-message");
    let minutes = model.number("Message_AllowDeleting_BlockDeleteInMinutes");
    let age = (now.0.saturating_sub(message.at.0) + 30_000) / 60_000;
    let late = minutes > 0 && age > minutes && !has("bypass-time-limit-edit-and-delete");
    if !model.flag("Message_AllowDeleting") || late || !(own || has("delete-message")) {
        return Err(not_allowed());
    }
    let read_only = model
        .room(&message.room)
        .is_some_and(|room| room.switches.read_only);
    if read_only && !has("post-readonly") {
        return Err(CommandError::denied(
            "",
            "You can't delete messages because the room is readonly.",
        ));
    }
    Ok(())
}

fn not_allowed() -> CommandError {
    CommandError::denied("error-action-not-allowed", "Not allowed")
}
