//! Who may do what: permission × role × scope, with Rocket.Chat's names.
//!
//! A use case asks here before it commands; nothing else decides. The server itself and its policies
//! are not asked.

use hansard_domain::id::{RoomId, UserId};
use hansard_domain::room::RoomKind;

use crate::caller::Caller;
use crate::error::CommandError;
use crate::model::WriteModel;

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
        let member = room.and_then(|room| self.room(room)?.members.get(user));
        grant.roles.iter().any(|role| {
            account.roles.contains(role) || member.is_some_and(|member| member.roles.contains(role))
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

    /// Whether somebody may see a room and what is said in it: its members, and everybody who may
    /// see channels where it is one. A discussion is seen by whoever sees the room it is about.
    pub fn can_access(&self, user: Option<&UserId>, room: &RoomId) -> bool {
        let Some(found) = self.room(room) else {
            return false;
        };
        if found.kind == RoomKind::Channel {
            let seen = match user {
                Some(user) => self.permitted(user, "view-c-room", None),
                None => self.flag("Accounts_AllowAnonymousRead"),
            };
            if seen {
                return true;
            }
        }
        let member = user
            .filter(|user| found.is_member(user))
            .is_some_and(|user| {
                self.permitted(user, "view-joined-room", None)
                    || self.permitted(user, &format!("view-{}-room", found.kind.letter()), None)
            });
        let parent = found.parent.as_ref().map(|parent| &parent.room);
        // A discussion's parent is no discussion, so this goes one step.
        member || parent.is_some_and(|parent| parent != room && self.can_access(user, parent))
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

    /// Refuses (400) a caller without a permission, with the operation's own code and reason.
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
        Err(CommandError::Denied {
            code: code.into(),
            reason: reason.to_owned(),
            permission: Some(permission.to_owned()),
            room: room.cloned(),
            forbidden: false,
        })
    }
}
