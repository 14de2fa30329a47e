//! Who may do what: permission × role × scope, with Rocket.Chat's names.
//!
//! A use case asks here before it commands; nothing else decides. The server itself and its policies
//! are not asked. What somebody sees of a room is a question of its own: [`sight`].

pub mod sight;
pub mod withdrawn;

use hansard_domain::id::{RoomId, UserId};

use self::sight::Purpose;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::model::WriteModel;

/// What is said of a room that is not there: code and reason.
pub const NO_ROOM: (&str, &str) = ("error-invalid-room", "Invalid room");

impl WriteModel {
    /// Whether a user has a permission: through a role of the workspace, or, where a room is given,
    /// through a role in that room. Accounts that are not active have none.
    pub fn permitted(&self, user: &UserId, permission: &str, room: Option<&RoomId>) -> bool {
        let Some(grant) = self.permission(permission) else {
            return false;
        };
        let Some(account) = self.account(user).filter(|account| account.active) else {
            return false;
        };
        let here = room.and_then(|room| self.room(room)?.roles.get(user));
        grant.roles.iter().any(|role| {
            account.roles.contains(role) || here.is_some_and(|roles| roles.contains(role))
        })
    }

    /// Whether the caller has a permission.
    pub fn allows(&self, caller: &Caller, permission: &str, room: Option<&RoomId>) -> bool {
        caller.is_trusted()
            || caller
                .user
                .as_ref()
                .is_some_and(|user| self.permitted(user, permission, room))
    }

    /// Refuses (403) a caller without a permission.
    pub fn require(
        &self,
        caller: &Caller,
        permission: &str,
        room: Option<&RoomId>,
    ) -> Result<(), CommandError> {
        if self.allows(caller, permission, room) {
            return Ok(());
        }
        caller.user_id()?;
        Err(CommandError::forbidden(permission, room))
    }

    /// Refuses (403) a caller without any of several permissions.
    pub fn require_any(
        &self,
        caller: &Caller,
        permissions: &[&str],
        room: Option<&RoomId>,
    ) -> Result<(), CommandError> {
        if permissions
            .iter()
            .any(|permission| self.allows(caller, permission, room))
        {
            return Ok(());
        }
        caller.user_id()?;
        Err(CommandError::forbidden(
            permissions.first().copied().unwrap_or_default(),
            room,
        ))
    }

    /// Refuses (400) a caller without a permission, with the operation's own code and reason; one that
    /// does not know of the room is told that there is none.
    pub fn require_or(
        &self,
        caller: &Caller,
        permission: &str,
        room: Option<&RoomId>,
        code: &'static str,
        reason: &str,
    ) -> Result<(), CommandError> {
        if self.allows(caller, permission, room) {
            return Ok(());
        }
        caller.user_id()?;
        // Who does not know of the room learns nothing of it.
        let known = room.is_none_or(|room| self.sees(caller, room, Purpose::Existence));
        let (code, reason) = if known { (code, reason) } else { NO_ROOM };
        Err(CommandError::Denied {
            code: code.into(),
            reason: reason.to_owned(),
            permission: Some(permission.to_owned()),
            room: room.cloned(),
            forbidden: false,
            noted: false,
        })
    }
}
