//! What people do with messages: say them, change them, take them back, mark them.
//!
//! What a text holds (mentions, links) is found in [`text`], what may stand in an attachment in
//! [`attachment`]. Messages are not in the write model: whoever changes one loads its stream first
//! and decides on that; if it moved on meanwhile the commit conflicts and is decided again.

mod attachment;
mod custom_fields;
mod delete;
mod edit;
mod marks;
mod post;
mod send;
mod text;

use hansard_domain::id::{MessageId, RoomId, UserId};
use hansard_domain::message::Message;
use hansard_domain::room::Room;

pub use self::delete::{Deletion, delete};
pub use self::edit::{Edit, edit};
pub use self::marks::{Reaction, follow, ignore_user, pin, react, report, star, unpin};
pub use self::post::{Address, Post, Posted, Target, post, resolve};
pub use self::send::{Outgoing, Said, send};
use crate::authorization::sight::Purpose;
use crate::bus::Commands;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::model::{Versioned, WriteModel};
use crate::retried::retried;

/// Loads a message that is there, has something decided on it, and does so again when the message
/// changed in between.
async fn on_message<T, F, R>(
    commands: &Commands,
    id: &MessageId,
    missing: impl Fn() -> CommandError,
    decide: F,
) -> Result<T, CommandError>
where
    F: Fn(Versioned<Message>) -> R,
    R: Future<Output = Result<T, CommandError>>,
{
    retried(async || {
        let message = commands.message(id).await?.ok_or_else(&missing)?;
        if message.deleted {
            return Err(missing());
        }
        decide(message).await
    })
    .await
}

/// Refuses somebody who may not see a message's room for a purpose. Who knows of the room is told that
/// it may not; to others the message is not there. Either goes on the record where the room is there.
fn check_sight<'m>(
    model: &'m WriteModel,
    caller: &Caller,
    room: &RoomId,
    purpose: Purpose,
    refused: impl FnOnce() -> CommandError,
    missing: impl FnOnce() -> CommandError,
) -> Result<&'m Versioned<Room>, CommandError> {
    if let Some(sight) = model.sight(caller, room, purpose) {
        return Ok(sight.room);
    }
    let error = if model.sees(caller, room, Purpose::Existence) {
        refused()
    } else {
        missing()
    };
    Err(match model.room(room) {
        Some(_) => error.denied_in(room),
        None => error,
    })
}

/// A message that is there, or the error that says it is not.
fn invalid_message() -> CommandError {
    CommandError::refused("error-invalid-message", "Invalid message")
}

/// Whether somebody may write in a room that it can see: nobody writes in an archived room, some
/// are muted, and in a read-only room only those with `post-readonly` do.
pub(crate) fn may_write(
    model: &WriteModel,
    user: &UserId,
    room_id: &RoomId,
    room: &Room,
) -> Result<(), CommandError> {
    if room.archived {
        return Err(CommandError::refused(
            "error-room-archived",
            "The room is archived",
        ));
    }
    let heard = !room.switches.read_only || room.unmuted.contains(user);
    if !heard && !model.permitted(user, "post-readonly", Some(room_id)) {
        return Err(CommandError::Denied {
            code: "".into(),
            reason: "You can't send messages because the room is readonly.".to_owned(),
            permission: Some("post-readonly".to_owned()),
            room: Some(room_id.clone()),
            forbidden: false,
            noted: false,
        });
    }
    if room.muted.contains(user) {
        return Err(CommandError::plain("You_have_been_muted"));
    }
    Ok(())
}
