//! Why a command was not carried out.

use std::borrow::Cow;

use hansard_domain::account::AccountError;
use hansard_domain::claim::ClaimError;
use hansard_domain::fair::Crowded;
use hansard_domain::id::RoomId;
use hansard_domain::integration::{DeliveryError, IntegrationError};
use hansard_domain::journal::JournalError;
use hansard_domain::limit::{self, OutOfBounds};
use hansard_domain::log::StreamId;
use hansard_domain::message::MessageError;
use hansard_domain::role::{PermissionError, RoleError};
use hansard_domain::room::RoomError;
use hansard_domain::setting::definitions::SettingError;
use serde_json::{Value, json};

use crate::state::StateError;

#[derive(Debug, Clone, thiserror::Error)]
pub enum CommandError {
    /// A rule says no; code, reason and details are those of Rocket.Chat's errors, which clients
    /// see as `errorType` and `reason [code]`.
    #[error("{reason} [{code}]")]
    Refused {
        code: Cow<'static, str>,
        reason: String,
        details: Value,
    },
    /// The caller lacks a right; it goes on the record as `CommandDenied`.
    #[error("{reason} [{code}]")]
    Denied {
        code: Cow<'static, str>,
        reason: String,
        permission: Option<String>,
        room: Option<RoomId>,
        /// Answered with 403 instead of 400, as Rocket.Chat's route checks do.
        forbidden: bool,
        /// It is on the record, or counted to be. What is refused outside of the committer is not: see
        /// [`Commands::refuse`](crate::bus::Commands::refuse).
        noted: bool,
    },
    #[error("You must be logged in to do this.")]
    NotLoggedIn,
    /// The stream has moved on, or is there already: decide again on what is there now.
    #[error("{0} was changed by somebody else at the same time; try again")]
    Conflict(StreamId),
    /// Another node decides; nothing was done here.
    #[error("another node writes the log")]
    Follower,
    /// More is waiting than can be taken; nothing was done.
    #[error("the server is busy; try again in a second")]
    Busy,
    /// As many requests of one account wait as may; nothing was done.
    #[error("too many requests of this account are waiting; wait for the answers of some")]
    TooManyAtOnce,
    /// The log or the vault does not answer; whether the command was recorded is not known.
    #[error(transparent)]
    Unavailable(#[from] JournalError),
    /// What is kept beside the log can't be written; what was recorded stays recorded.
    #[error(transparent)]
    State(#[from] StateError),
    /// The keys minted ahead are used up; the committer mints more and decides again.
    #[error("no data keys are left; try again")]
    OutOfKeys,
    /// It changes more than one commit may; nothing was done.
    #[error("this changes too much at once; do it in smaller parts")]
    TooMuch,
    /// The code that was to decide panicked; nothing was recorded.
    #[error("the command could not be decided; the server's output says where it failed")]
    Broken,
    #[error("the server is stopping")]
    Stopping,
}

impl From<Crowded> for CommandError {
    fn from(_: Crowded) -> Self {
        Self::Busy
    }
}

impl CommandError {
    /// A rule says no.
    pub fn refused(code: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self::Refused {
            code: code.into(),
            reason: reason.into(),
            details: Value::Null,
        }
    }

    /// A rule says no, in words alone: some of Rocket.Chat's errors have no code.
    pub fn plain(reason: impl Into<String>) -> Self {
        Self::refused("", reason)
    }

    /// A rule says no, and tells more in `details`.
    pub fn refused_with(
        code: impl Into<Cow<'static, str>>,
        reason: impl Into<String>,
        details: Value,
    ) -> Self {
        Self::Refused {
            code: code.into(),
            reason: reason.into(),
            details,
        }
    }

    /// The caller lacks a right (400, with a code of the operation's own).
    pub fn denied(code: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self::Denied {
            code: code.into(),
            reason: reason.into(),
            permission: None,
            room: None,
            forbidden: false,
            noted: false,
        }
    }

    /// The same answer, of something in a room that the caller may not know of: it goes on the record.
    #[must_use]
    pub fn denied_in(self, room: &RoomId) -> Self {
        match self {
            // What tells more is told as it is.
            Self::Refused {
                code,
                reason,
                details: Value::Null,
            } => Self::Denied {
                code,
                reason,
                permission: None,
                room: Some(room.clone()),
                forbidden: false,
                noted: false,
            },
            Self::Denied {
                code,
                reason,
                permission,
                room: None,
                forbidden,
                noted,
            } => Self::Denied {
                code,
                reason,
                permission,
                room: Some(room.clone()),
                forbidden,
                noted,
            },
            other => other,
        }
    }

    /// The caller lacks a right (403), in Rocket.Chat's bare word for it.
    pub fn unauthorized(permission: &str, room: Option<&RoomId>) -> Self {
        Self::Denied {
            code: "".into(),
            reason: "unauthorized".to_owned(),
            permission: Some(permission.to_owned()),
            room: room.cloned(),
            forbidden: true,
            noted: false,
        }
    }

    /// The caller lacks a permission that the whole operation needs (403).
    pub fn forbidden(permission: &str, room: Option<&RoomId>) -> Self {
        Self::Denied {
            code: "error-unauthorized".into(),
            reason: "User does not have the permissions required for this action".to_owned(),
            permission: Some(permission.to_owned()),
            room: room.cloned(),
            forbidden: true,
            noted: false,
        }
    }
}

/// The code of the refusal of a field that is larger than it may be.
pub const FIELD_TOO_LARGE: &str = "error-field-too-large";

impl From<OutOfBounds> for CommandError {
    fn from(error: OutOfBounds) -> Self {
        let reason = error.to_string();
        match error {
            OutOfBounds::TooMuch { field, most, unit } => Self::refused_with(
                FIELD_TOO_LARGE,
                reason,
                json!({ "field": field, "most": most, "unit": unit.as_str() }),
            ),
            OutOfBounds::ReservedName { field } => {
                Self::refused_with("error-invalid-field", reason, json!({ "field": field }))
            }
        }
    }
}

impl From<AccountError> for CommandError {
    fn from(error: AccountError) -> Self {
        let reason = error.to_string();
        match error {
            AccountError::Exists => Self::refused("error-user-exists", reason),
            AccountError::Missing => Self::refused("error-invalid-user", "Invalid user"),
            AccountError::Inactive => Self::refused("error-user-is-not-activated", reason),
            AccountError::Lost => Self::refused("error-user-lost", reason),
            AccountError::HasRole(_) => Self::refused("error-user-already-in-role", reason),
            AccountError::LacksRole(_) => Self::refused("error-user-not-in-role", reason),
            AccountError::TokenExists => Self::refused(
                "error-token-already-exists",
                "A token with this name already exists",
            ),
            AccountError::NoToken => {
                Self::refused("error-token-does-not-exists", "Token does not exist")
            }
        }
    }
}

impl From<RoomError> for CommandError {
    fn from(error: RoomError) -> Self {
        let reason = error.to_string();
        match error {
            RoomError::Exists => Self::refused("error-room-exists", reason),
            RoomError::Missing => Self::refused("error-invalid-room", "Invalid room"),
            RoomError::Archived => {
                Self::refused("error-room-archived", "The private group is archived")
            }
            RoomError::NotArchived => Self::refused("error-room-not-archived", reason),
            RoomError::Direct => Self::refused("error-invalid-room", "Invalid room"),
            RoomError::NotInRoom => {
                Self::refused("error-user-not-in-room", "User is not in this room")
            }
            RoomError::LastOwner => Self::refused(
                "error-you-are-last-owner",
                "You are the last owner. Please set new owner before leaving the room.",
            ),
            RoomError::HasRole(role) => Self::refused(
                format!("error-user-already-{role}"),
                format!("User is already {role}"),
            ),
            RoomError::LacksRole(role) => Self::refused(
                format!("error-user-not-{role}"),
                format!("User is not {role}"),
            ),
            RoomError::Muted => Self::refused("error-user-already-muted", reason),
            RoomError::NotMuted => Self::refused("error-user-not-muted", reason),
        }
    }
}

impl From<MessageError> for CommandError {
    fn from(error: MessageError) -> Self {
        let reason = error.to_string();
        match error {
            MessageError::Exists => Self::refused("error-message-exists", reason),
            MessageError::Missing => Self::refused("error-invalid-message", "Invalid message"),
            MessageError::Pinned => Self::refused("error-pinning-message", reason),
            MessageError::NotPinned => Self::refused("error-unpinning-message", reason),
            MessageError::TooManyReactions => limit::REACTIONS.exceeded().into(),
            MessageError::ChangedTooMuch => Self::refused("error-message-changed-too-much", reason),
            MessageError::System => {
                Self::refused("error-action-not-allowed", "Message editing not allowed")
            }
        }
    }
}

impl From<RoleError> for CommandError {
    fn from(error: RoleError) -> Self {
        match error {
            RoleError::Exists => Self::refused(
                "error-duplicate-role-names-not-allowed",
                "Role name already exists",
            ),
            RoleError::Missing => Self::refused("error-invalid-roleId", "This role does not exist"),
            RoleError::Protected => {
                Self::refused("error-role-protected", "Cannot delete a protected role")
            }
        }
    }
}

impl From<PermissionError> for CommandError {
    fn from(error: PermissionError) -> Self {
        Self::refused("error-invalid-permission", error.to_string())
    }
}

impl From<std::convert::Infallible> for CommandError {
    fn from(error: std::convert::Infallible) -> Self {
        match error {}
    }
}

impl From<SettingError> for CommandError {
    fn from(error: SettingError) -> Self {
        match error {
            SettingError::TooLarge { excess, .. } => excess.into(),
            SettingError::WrongKind { .. } | SettingError::NotAnOption { .. } => {
                Self::refused("error-invalid-setting-value", error.to_string())
            }
        }
    }
}

impl From<IntegrationError> for CommandError {
    fn from(error: IntegrationError) -> Self {
        Self::refused("error-invalid-integration", error.to_string())
    }
}

impl From<DeliveryError> for CommandError {
    fn from(error: DeliveryError) -> Self {
        Self::refused("error-invalid-delivery", error.to_string())
    }
}

impl From<ClaimError> for CommandError {
    fn from(error: ClaimError) -> Self {
        Self::refused("error-field-unavailable", error.to_string())
    }
}
