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
pub use direct::{direct, open_direct};
pub use keep::{close, favour, notify, open, read, unread};
pub use members::{add_everybody, enter, invite, join, kick, leave, mute, unmute};
pub use name::name_exists;
pub use roles::{RoomRole, grant_role, revoke_role};
pub use settings::{Changes, Retention, change};

use crate::error::CommandError;
use crate::model::{Versioned, WriteModel};

/// A room that is there.
fn existing<'a>(model: &'a WriteModel, room: &RoomId) -> Result<&'a Versioned<Room>, CommandError> {
    model
        .room(room)
        .ok_or_else(|| CommandError::refused("error-invalid-room", "Invalid room"))
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
