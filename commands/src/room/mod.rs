//! What people do with rooms: make them, come and go, give them names and roles, keep them in order.
//!
//! A use case looks at the write model for who may do it and what Rocket.Chat refuses, then commands
//! the room. What happened is told in the room by a system message of the same commit.

mod create;
mod delete;
mod direct;
mod keep;
mod members;
mod name;
mod roles;
mod settings;

use hansard_domain::id::{RoomId, UserId};
use hansard_domain::room::Room;

pub use create::{NewRoom, create};
pub use delete::{MessageIndex, archive, delete, unarchive};
pub(crate) use direct::own;
pub use direct::{direct, open_direct};
pub use keep::{close, favour, notify, open, read, unread};
pub use members::{add_everybody, check_code, enter, invite, join, kick, leave, mute, unmute};
pub use name::name_exists;
pub use roles::{RoomRole, grant_role, revoke_role};
pub use settings::{Changes, Retention, change};

use crate::authorization::NO_ROOM;
use crate::authorization::sight::Purpose;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::model::{Versioned, WriteModel};

/// A room that is there, whoever asks: what follows must not tell of it before it asks for a permission.
fn existing<'a>(model: &'a WriteModel, room: &RoomId) -> Result<&'a Versioned<Room>, CommandError> {
    model.room(room).ok_or_else(no_room)
}

/// A room that the caller knows of.
fn known<'a>(
    model: &'a WriteModel,
    caller: &Caller,
    room: &RoomId,
) -> Result<&'a Versioned<Room>, CommandError> {
    let sight = model.sight(caller, room, Purpose::Existence);
    sight.map(|sight| sight.room).ok_or_else(no_room)
}

/// What somebody is told who may not do something with a room: that, or, if it does not know of the
/// room, that there is none.
fn refusal(
    model: &WriteModel,
    caller: &Caller,
    room: &RoomId,
    refused: CommandError,
) -> CommandError {
    if model.sees(caller, room, Purpose::Existence) {
        return refused;
    }
    no_room()
}

fn no_room() -> CommandError {
    let (code, reason) = NO_ROOM;
    CommandError::denied(code, reason)
}

fn not_allowed() -> CommandError {
    CommandError::denied("error-not-allowed", "Not allowed")
}

fn invalid_user() -> CommandError {
    CommandError::refused("error-invalid-user", "Invalid user")
}

fn username(model: &WriteModel, user: &UserId) -> String {
    model
        .account(user)
        .map(|account| account.profile.username.clone())
        .unwrap_or_default()
}
