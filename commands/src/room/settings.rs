//! Changing what a room is: `saveRoomSettings`, and the endpoints that change one thing each.

use hansard_domain::claim::{Namespace, same_name};
use hansard_domain::free::FreeObject;
use hansard_domain::id::{RoomId, UserId};
use hansard_domain::limit::{self, OutOfBounds};
use hansard_domain::room::{RetentionOverride, Room, RoomCommand, RoomKind, RoomSwitches};

use super::{existing, name, not_allowed, refusal};
use crate::after::RoomAfter;
use crate::authorization::sight::{ADMINISTRATION, Purpose};
use crate::bus::{Commands, Done};
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::WriteModel;

/// What is to be different; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    pub name: Option<String>,
    pub topic: Option<String>,
    pub announcement: Option<String>,
    pub description: Option<String>,
    pub custom_fields: Option<FreeObject>,
    pub kind: Option<String>,
    pub read_only: Option<bool>,
    pub react_when_read_only: Option<bool>,
    /// Kinds of system messages that are not shown.
    pub hidden_system_messages: Option<Vec<String>>,
    pub default: Option<bool>,
    pub featured: Option<bool>,
    /// Whether those who join it by default have it among their favourites.
    pub favourite: Option<bool>,
    pub encrypted: Option<bool>,
    /// Empty for none.
    pub join_code: Option<String>,
    pub retention: Retention,
}

/// Changes of a room's retention policy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Retention {
    pub enabled: Option<bool>,
    pub override_global: Option<bool>,
    /// Days.
    pub max_age: Option<i64>,
    pub exclude_pinned: Option<bool>,
    pub files_only: Option<bool>,
    pub ignore_threads: Option<bool>,
}

const DAY: i64 = 86_400_000;

impl Changes {
    fn check_size(&self) -> Result<(), OutOfBounds> {
        limit::ROOM_NAME.check_given(self.name.as_deref())?;
        limit::TOPIC.check_given(self.topic.as_deref())?;
        limit::ANNOUNCEMENT.check_given(self.announcement.as_deref())?;
        limit::DESCRIPTION.check_given(self.description.as_deref())?;
        limit::JOIN_CODE.check_given(self.join_code.as_deref())?;
        if let Some(fields) = &self.custom_fields {
            fields.check(&limit::ROOM_FIELDS)?;
        }
        let hidden = self.hidden_system_messages.as_deref().unwrap_or_default();
        limit::SYSTEM_MESSAGES.check_each(hidden, &limit::SYSTEM_MESSAGE)
    }
}

/// Changes a room (`edit-room`, and what single changes need besides).
pub async fn change(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    changes: Changes,
) -> Result<Done<RoomAfter>, CommandError> {
    changes.check_size()?;
    commands
        .run(caller, move |decision| {
            let me = decision.caller().user_id()?.clone();
            let found = existing(decision.model(), &room)?.state.clone();
            let changes = permitted(decision, &room, &found, changes.clone())?;
            texts(decision, &room, &me, &found, &changes)?;
            kind(decision, &room, &me, &found, &changes)?;
            switches(decision, &room, &me, &found, &changes)?;
            retention(decision, &room, &found, &changes.retention)?;
            decision.room_after(&room)
        })
        .await
}

fn refused(reason: &str) -> CommandError {
    CommandError::denied("error-action-not-allowed", reason)
}

/// The changes that the caller may make; an error if it asked for one that it may not.
fn permitted(
    decision: &Decision<'_>,
    id: &RoomId,
    room: &Room,
    mut changes: Changes,
) -> Result<Changes, CommandError> {
    let caller = decision.caller();
    let model = decision.model();
    if !model.allows(caller, "edit-room", Some(id)) {
        // In a conversation each who takes part may switch encryption, and nothing else.
        let takes_part = model.sees(caller, id, Purpose::Participation);
        if room.kind != RoomKind::Direct || changes.encrypted.is_none() || !takes_part {
            let refused = refused("Editing room is not allowed");
            return Err(refusal(model, caller, id, refused));
        }
        changes = Changes {
            encrypted: changes.encrypted,
            ..Changes::default()
        };
    }
    let read_only = changes.read_only == Some(true) || changes.react_when_read_only == Some(true);
    if room.switches.broadcast && read_only {
        return Err(refused(
            "Editing readOnly/reactWhenReadOnly are not allowed for broadcast rooms",
        ));
    }
    let administrative = changes.default.is_some() || changes.featured.is_some();
    if administrative && !model.allows(caller, "view-room-administration", None) {
        return Err(refused("Viewing room administration is not allowed"));
    }
    let kind = changes
        .kind
        .as_deref()
        .filter(|kind| *kind != room.kind.letter());
    if kind == Some("c") && !model.allows(caller, "create-c", None) {
        return Err(refused(
            "Changing a private group to a public channel is not allowed",
        ));
    }
    if kind == Some("p") && !model.allows(caller, "create-p", None) {
        return Err(refused(
            "Changing a public channel to a private room is not allowed",
        ));
    }
    check_encryption(model, caller, id, room, &changes)?;
    let before = room.retention.clone();
    if retained(before, &changes.retention) != room.retention
        && !model.allows(caller, "edit-room-retention-policy", Some(id))
    {
        return Err(refused("Editing room retention policy is not allowed"));
    }
    if changes.retention.override_global == Some(false) {
        changes.retention = Retention {
            enabled: changes.retention.enabled,
            override_global: Some(false),
            ..Retention::default()
        };
    }
    Ok(changes)
}

fn check_encryption(
    model: &WriteModel,
    caller: &Caller,
    id: &RoomId,
    room: &Room,
    changes: &Changes,
) -> Result<(), CommandError> {
    if changes
        .encrypted
        .is_none_or(|encrypted| encrypted == room.switches.encrypted)
    {
        return Ok(());
    }
    if room.kind == RoomKind::Channel {
        return Err(refused(
            "Only groups or direct channels can enable encryption",
        ));
    }
    if room.kind == RoomKind::Group && !model.allows(caller, "toggle-room-e2e-encryption", Some(id))
    {
        return Err(refused(
            "You do not have permission to toggle E2E encryption",
        ));
    }
    Ok(())
}

fn texts(
    decision: &mut Decision<'_>,
    id: &RoomId,
    me: &UserId,
    room: &Room,
    changes: &Changes,
) -> Result<(), CommandError> {
    if let Some(shown) = &changes.name {
        rename(decision, id, me, room, shown)?;
    }
    let details = &room.details;
    for (new, old, command, kind) in [
        (
            &changes.topic,
            &details.topic,
            RoomCommand::ChangeTopic as fn(String) -> RoomCommand,
            "room_changed_topic",
        ),
        (
            &changes.announcement,
            &details.announcement,
            RoomCommand::ChangeAnnouncement,
            "room_changed_announcement",
        ),
        (
            &changes.description,
            &details.description,
            RoomCommand::ChangeDescription,
            "room_changed_description",
        ),
    ] {
        if let Some(new) = new
            && new != old.as_deref().unwrap_or_default()
        {
            decision.room(id, command(new.clone()))?;
            decision.system_message(id, kind, me, new.as_str())?;
        }
    }
    if let Some(fields) = &changes.custom_fields
        && **fields != details.custom_fields.read()
    {
        let fields = fields.clone().into_inner();
        decision.room(id, RoomCommand::ChangeCustomFields(fields))?;
    }
    if let Some(code) = &changes.join_code {
        let code = Some(code.clone()).filter(|code| !code.is_empty());
        decision.room(id, RoomCommand::ChangeJoinCode(code))?;
    }
    Ok(())
}

fn rename(
    decision: &mut Decision<'_>,
    id: &RoomId,
    me: &UserId,
    room: &Room,
    shown: &str,
) -> Result<(), CommandError> {
    if room.kind == RoomKind::Direct {
        return Err(not_allowed());
    }
    if shown == room.details.name || shown.trim().is_empty() {
        return Ok(());
    }
    let name = if room.parent.is_some() {
        room.details.name.clone()
    } else {
        name::valid(decision.model(), shown, Some(id))?
    };
    if name != room.details.name {
        if decision.model().user_by_name(&name).is_some() {
            return Err(CommandError::refused(
                "error-duplicate-handle",
                format!("A room, team or user with name '{name}' already exists"),
            ));
        }
        // The same name in other letters is the room's own already.
        if !same_name(&name, &room.details.name) {
            decision.claim(Namespace::Room, &name, id.as_str())?;
            decision.release(Namespace::Room, &room.details.name, id.as_str())?;
        }
    }
    let fname = shown.to_owned();
    decision.room(id, RoomCommand::Rename { name, fname })?;
    decision.system_message(id, "r", me, shown)?;
    Ok(())
}

fn kind(
    decision: &mut Decision<'_>,
    id: &RoomId,
    me: &UserId,
    room: &Room,
    changes: &Changes,
) -> Result<(), CommandError> {
    let Some(asked) = changes.kind.as_deref() else {
        return Ok(());
    };
    if asked == room.kind.letter() {
        return Ok(());
    }
    let (kind, told) = match asked {
        "c" => (RoomKind::Channel, "public"),
        "p" => (RoomKind::Group, "private"),
        _ => {
            return Err(CommandError::refused(
                "error-invalid-room-type",
                "error-invalid-room-type",
            ));
        }
    };
    if room.kind == RoomKind::Direct {
        return Err(CommandError::refused(
            "error-direct-room",
            "Can't change type of direct rooms",
        ));
    }
    decision.room(id, RoomCommand::ChangeType(kind))?;
    decision.system_message(id, "room_changed_privacy", me, told)?;
    Ok(())
}

fn switches(
    decision: &mut Decision<'_>,
    id: &RoomId,
    me: &UserId,
    room: &Room,
    changes: &Changes,
) -> Result<(), CommandError> {
    let before = &room.switches;
    // Who makes a room private may not know that everybody who registers joins it.
    let knows = decision
        .model()
        .allows(decision.caller(), ADMINISTRATION, None);
    let closed = room.kind == RoomKind::Channel
        && decision
            .model()
            .room(id)
            .is_some_and(|room| room.kind == RoomKind::Group);
    let default = before.default && (knows || !closed);
    let hidden = changes.hidden_system_messages.clone();
    let after = RoomSwitches {
        read_only: changes.read_only.unwrap_or(before.read_only),
        react_when_read_only: changes
            .react_when_read_only
            .unwrap_or(before.react_when_read_only),
        encrypted: changes.encrypted.unwrap_or(before.encrypted),
        featured: changes.featured.unwrap_or(before.featured),
        favourite: changes.favourite.unwrap_or(before.favourite),
        default: changes.default.unwrap_or(default),
        hidden_system_messages: hidden.or_else(|| before.hidden_system_messages.clone()),
        // A join code was changed by its own command just before.
        join_code_required: decision
            .model()
            .room(id)
            .is_some_and(|room| room.switches.join_code_required),
        broadcast: before.broadcast,
    };
    let told = [
        (
            before.read_only,
            after.read_only,
            "room-set-read-only",
            "room-removed-read-only",
        ),
        (
            before.react_when_read_only,
            after.react_when_read_only,
            "room-allowed-reacting",
            "room-disallowed-reacting",
        ),
        (
            before.encrypted,
            after.encrypted,
            "room_e2e_enabled",
            "room_e2e_disabled",
        ),
    ];
    decision.room(id, RoomCommand::ChangeSwitches(after))?;
    for (before, after, on, off) in told {
        if before != after {
            let kind = if after { on } else { off };
            decision.system_message(id, kind, me, "")?;
        }
    }
    Ok(())
}

fn retention(
    decision: &mut Decision<'_>,
    id: &RoomId,
    room: &Room,
    changes: &Retention,
) -> Result<(), CommandError> {
    let after = retained(room.retention.clone(), changes);
    if after == room.retention {
        return Ok(());
    }
    decision.room(id, RoomCommand::OverrideRetention(after))
}

fn retained(before: Option<RetentionOverride>, changes: &Retention) -> Option<RetentionOverride> {
    if *changes == Retention::default() {
        return before;
    }
    let before = before.unwrap_or_default();
    Some(RetentionOverride {
        enabled: changes.enabled.unwrap_or(before.enabled),
        override_global: changes.override_global.unwrap_or(before.override_global),
        max_age: changes
            .max_age
            .map_or(before.max_age, |days| days.saturating_mul(DAY)),
        exclude_pinned: changes.exclude_pinned.unwrap_or(before.exclude_pinned),
        files_only: changes.files_only.unwrap_or(before.files_only),
        ignore_threads: changes.ignore_threads.unwrap_or(before.ignore_threads),
    })
}
