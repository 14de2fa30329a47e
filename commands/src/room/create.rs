//! Making channels and private groups.

use hansard_domain::claim::Namespace;
use hansard_domain::free::FreeObject;
use hansard_domain::id::{RoomId, UserId};
use hansard_domain::limit::{self, OutOfBounds};
use hansard_domain::room::{RoomCommand, RoomDetails, RoomKind, RoomSwitches};

use super::{invalid_user, name};
use crate::after::RoomAfter;
use crate::bus::{Commands, Done};
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::WriteModel;

/// A channel or private group to be made.
#[derive(Debug, Clone, Default)]
pub struct NewRoom {
    pub kind: RoomKind,
    pub name: String,
    /// Usernames; those that nobody has are passed over.
    pub members: Vec<String>,
    pub read_only: bool,
    /// Whoever makes it does not become a member.
    pub exclude_self: bool,
    pub custom_fields: FreeObject,
    pub topic: Option<String>,
    pub description: Option<String>,
    pub announcement: Option<String>,
    pub broadcast: bool,
    /// As the workspace has it for its groups, if not told.
    pub encrypted: Option<bool>,
}

impl NewRoom {
    fn check_size(&self) -> Result<(), OutOfBounds> {
        limit::ROOM_NAME.check(&self.name)?;
        limit::MEMBERS.check_count(self.members.len())?;
        limit::TOPIC.check_given(self.topic.as_deref())?;
        limit::DESCRIPTION.check_given(self.description.as_deref())?;
        limit::ANNOUNCEMENT.check_given(self.announcement.as_deref())?;
        self.custom_fields.check(&limit::ROOM_FIELDS)
    }
}

/// Makes a channel (`create-c`) or a private group (`create-p`).
pub async fn create(
    commands: &Commands,
    caller: &Caller,
    new: NewRoom,
) -> Result<Done<RoomAfter>, CommandError> {
    new.check_size()?;
    commands
        .run(caller, move |decision| make(decision, new.clone()))
        .await
}

/// Refuses another room of an account that has made as many as it may.
pub(super) fn check_made(
    model: &WriteModel,
    caller: &Caller,
    creator: &UserId,
) -> Result<(), CommandError> {
    let most = limit::ROOMS_OF_ONE;
    if model.rooms_made(creator) < most || model.allows(caller, "api-bypass-rate-limit", None) {
        return Ok(());
    }
    Err(CommandError::refused(
        "error-too-many-rooms",
        format!("You have made {most} rooms, as many as one may; have some of them deleted"),
    ))
}

fn make(decision: &mut Decision<'_>, new: NewRoom) -> Result<RoomAfter, CommandError> {
    let caller = decision.caller();
    let creator = caller.user_id()?.clone();
    let model = decision.model();
    let permission = match new.kind {
        RoomKind::Group => "create-p",
        _ => "create-c",
    };
    model.require_or(caller, permission, None, "error-not-allowed", "Not allowed")?;
    if new.name.trim().is_empty() {
        return Err(CommandError::refused("error-invalid-name", "Invalid name"));
    }
    model.account(&creator).ok_or_else(invalid_user)?;
    check_made(model, caller, &creator)?;
    let name = name::valid(model, new.name.trim(), None)?;
    let mut members: Vec<UserId> = new
        .members
        .iter()
        .filter_map(|username| model.user_by_name(username).cloned())
        .filter(|member| *member != creator)
        .collect();
    members.sort();
    members.dedup();

    let encrypted = new.encrypted.unwrap_or_else(|| {
        new.kind == RoomKind::Group
            && model.flag("E2E_Enable")
            && model.flag("E2E_Enabled_Default_PrivateRooms")
    });
    let room = RoomId::new(decision.id());
    decision.claim(Namespace::Room, &name, room.as_str())?;
    let create = RoomCommand::Create {
        key: decision.fresh_key()?,
        kind: new.kind,
        creator: Some(creator.clone()),
        members,
        switches: RoomSwitches {
            read_only: new.read_only || new.broadcast,
            broadcast: new.broadcast,
            encrypted,
            ..RoomSwitches::default()
        },
        parent: None,
        details: RoomDetails {
            name,
            fname: new.name,
            topic: new.topic,
            description: new.description,
            announcement: new.announcement,
            join_code: None,
            custom_fields: new.custom_fields.into_inner().into(),
        },
        at: decision.now(),
    };
    decision.room(&room, create)?;
    if new.exclude_self {
        let remove = RoomCommand::Remove {
            user: creator,
            by: None,
        };
        decision.room(&room, remove)?;
    }
    decision.room_after(&room)
}
