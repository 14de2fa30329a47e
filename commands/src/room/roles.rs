//! Owners, moderators, leaders.

use hansard_domain::id::{RoleId, RoomId, UserId};
use hansard_domain::message::Content;
use hansard_domain::room::RoomCommand;
use serde_json::{Map, Value};

use super::{existing, invalid_user};
use crate::bus::Commands;
use crate::caller::Caller;
use crate::error::CommandError;

/// A role that somebody has in one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomRole {
    Owner,
    Moderator,
    Leader,
}

impl RoomRole {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Moderator => "moderator",
            Self::Leader => "leader",
        }
    }

    fn permission(self) -> &'static str {
        match self {
            Self::Owner => "set-owner",
            Self::Moderator => "set-moderator",
            Self::Leader => "set-leader",
        }
    }

    fn with_article(self) -> &'static str {
        match self {
            Self::Owner => "an owner",
            Self::Moderator => "a moderator",
            Self::Leader => "a leader",
        }
    }
}

/// Gives a member a role (`set-owner`, `set-moderator`, `set-leader`).
pub async fn grant_role(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    user: UserId,
    role: RoomRole,
) -> Result<(), CommandError> {
    change(commands, caller, room, user, role, true).await
}

/// Takes a role from a member (`set-owner`, `set-moderator`, `set-leader`).
pub async fn revoke_role(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    user: UserId,
    role: RoomRole,
) -> Result<(), CommandError> {
    change(commands, caller, room, user, role, false).await
}

async fn change(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    user: UserId,
    role: RoomRole,
    grant: bool,
) -> Result<(), CommandError> {
    commands
        .run(caller, move |decision| {
            let caller = decision.caller();
            let me = caller.user_id()?.clone();
            let model = decision.model();
            let found = existing(model, &room)?;
            let permission = role.permission();
            model.require_or(
                caller,
                permission,
                Some(&room),
                "error-not-allowed",
                "Not allowed",
            )?;
            model.account(&user).ok_or_else(invalid_user)?;
            if !found.is_member(&user) {
                return Err(match (grant, role) {
                    (true, _) | (false, RoomRole::Leader) => {
                        CommandError::refused("error-user-not-in-room", "User is not in this room")
                    }
                    _ => CommandError::refused("error-invalid-room", "Invalid room"),
                });
            }
            let holds = found.has_role(&user, role.as_str());
            if holds && grant {
                return Err(CommandError::refused(
                    format!("error-user-already-{}", role.as_str()),
                    format!("User is already {}", role.with_article()),
                ));
            }
            if !holds && !grant {
                return Err(CommandError::refused(
                    format!("error-user-not-{}", role.as_str()),
                    format!("User is not {}", role.with_article()),
                ));
            }
            let last = found.holders(role.as_str()).count() == 1;
            if !grant && role == RoomRole::Owner && last {
                return Err(CommandError::refused(
                    "error-remove-last-owner",
                    "This is the last owner. Please set a new owner before removing this one.",
                ));
            }
            let about = Some(user.clone());
            let id = RoleId::new(role.as_str());
            let user = user.clone();
            let (command, kind) = if grant {
                (
                    RoomCommand::GrantRole { user, role: id },
                    "subscription-role-added",
                )
            } else {
                (
                    RoomCommand::RevokeRole { user, role: id },
                    "subscription-role-removed",
                )
            };
            decision.room(&room, command)?;
            let content = Content {
                about,
                system: Map::from_iter([("role".to_owned(), Value::from(role.as_str()))]),
                ..Content::default()
            };
            decision.system_message_with(&room, kind, &me, content)?;
            Ok(())
        })
        .await?;
    Ok(())
}
