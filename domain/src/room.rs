//! A room: who is in it, and what may be done in it.
//!
//! Channels (`c`), private groups (`p`) and direct conversations (`d`) are one aggregate. Names and
//! texts are sealed under the room's key. What a member keeps for itself (favourite, hidden, read up
//! to) is the [`subscription`](crate::subscription)'s; messages are [`message`](crate::message)s.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::free::KeptObject;
use crate::id::{MessageId, RoleId, RoomId, Timestamp, UserId};
use crate::members::Members;
use crate::seal::{Confidential, Part, Private};
use crate::vault::KeyId;

#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum RoomKind {
    #[default]
    #[serde(rename = "c")]
    Channel,
    #[serde(rename = "p")]
    Group,
    #[serde(rename = "d")]
    Direct,
}

impl RoomKind {
    /// Rocket.Chat's letter: `c`, `p`, `d`.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Channel => "c",
            Self::Group => "p",
            Self::Direct => "d",
        }
    }
}

/// What is said about a room; sealed under the room's key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoomDetails {
    /// The name in addresses, unique; empty for direct conversations.
    pub name: String,
    /// The name as it is shown.
    pub fname: String,
    pub topic: Option<String>,
    pub description: Option<String>,
    pub announcement: Option<String>,
    pub join_code: Option<String>,
    pub custom_fields: KeptObject,
}

/// Which room a discussion was started from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    pub room: RoomId,
    pub message: Option<MessageId>,
}

/// Switches of a room; all off is a plain room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoomSwitches {
    pub read_only: bool,
    pub react_when_read_only: bool,
    pub broadcast: bool,
    pub encrypted: bool,
    pub featured: bool,
    /// A favourite of those who join it by default.
    pub favourite: bool,
    /// New users join it.
    pub default: bool,
    /// Kinds of system messages not shown here; `None` follows the workspace.
    pub hidden_system_messages: Option<Vec<String>>,
    pub join_code_required: bool,
}

/// Switches that have been on at some time: a room tells of them while they are off, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnceOn {
    pub react_when_read_only: bool,
    pub broadcast: bool,
    pub encrypted: bool,
    pub featured: bool,
}

impl OnceOn {
    fn note(&mut self, switches: &RoomSwitches) {
        self.react_when_read_only |= switches.react_when_read_only;
        self.broadcast |= switches.broadcast;
        self.encrypted |= switches.encrypted;
        self.featured |= switches.featured;
    }
}

/// A room's own retention policy, over the workspace's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetentionOverride {
    pub enabled: bool,
    pub override_global: bool,
    /// Milliseconds.
    pub max_age: i64,
    pub exclude_pinned: bool,
    pub files_only: bool,
    pub ignore_threads: bool,
}

/// How somebody came into a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Entry {
    Joined,
    Added {
        by: UserId,
    },
    /// Put in by the server: default channels.
    Assigned,
}

/// What a prune was asked to remove; times are message times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PruneCriteria {
    pub latest: Timestamp,
    pub oldest: Timestamp,
    pub inclusive: bool,
    pub exclude_pinned: bool,
    pub ignore_discussion: bool,
    pub files_only: bool,
    pub ignore_threads: bool,
    /// Only messages of these; empty means everybody's.
    pub users: Vec<UserId>,
    /// At most so many, oldest first; zero means all.
    pub limit: u64,
}

/// A message that a prune removed, and the key whose deletion removes its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    #[serde(rename = "m")]
    pub message: MessageId,
    #[serde(rename = "k")]
    pub key: KeyId,
}

/// Why a prune happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PruneReason {
    /// Somebody asked for it (`rooms.cleanHistory`).
    Requested,
    /// A retention policy.
    Retention,
    /// The room, or the account that wrote, is being deleted.
    Deletion,
}

#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
pub enum RoomEvent {
    RoomCreated {
        kind: RoomKind,
        creator: Option<UserId>,
        members: Vec<UserId>,
        switches: RoomSwitches,
        parent: Option<Parent>,
        details: Private<RoomDetails>,
        at: Timestamp,
    },
    RoomRenamed {
        details: Private<RoomDetails>,
    },
    TopicChanged {
        details: Private<RoomDetails>,
    },
    DescriptionChanged {
        details: Private<RoomDetails>,
    },
    AnnouncementChanged {
        details: Private<RoomDetails>,
    },
    JoinCodeChanged {
        details: Private<RoomDetails>,
        required: bool,
    },
    CustomFieldsChanged {
        details: Private<RoomDetails>,
    },
    RoomTypeChanged {
        kind: RoomKind,
    },
    RoomSwitchesChanged {
        switches: RoomSwitches,
    },
    RetentionOverridden {
        retention: Option<RetentionOverride>,
    },
    MemberJoined {
        user: UserId,
        entry: Entry,
        at: Timestamp,
    },
    MemberLeft {
        user: UserId,
    },
    MemberRemoved {
        user: UserId,
        by: Option<UserId>,
    },
    MemberMuted {
        user: UserId,
    },
    MemberUnmuted {
        user: UserId,
    },
    RoomRoleGranted {
        user: UserId,
        role: RoleId,
    },
    RoomRoleRevoked {
        user: UserId,
        role: RoleId,
    },
    RoomArchived {},
    RoomUnarchived {},
    /// Messages are gone for good; their keys are to be shredded. A large prune is several events.
    ChannelPruned {
        reason: PruneReason,
        criteria: PruneCriteria,
        pruned: Vec<Pruned>,
    },
    /// The room is gone with its texts; the key is to be shredded. The keys of the texts are named
    /// by the `ChannelPruned` that follow.
    RoomDeleted {
        key: KeyId,
    },
}

impl DomainEvent for RoomEvent {
    fn event_type(&self) -> String {
        <&'static str>::from(self).to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Confidential for RoomEvent {
    fn parts(&mut self, visit: &mut dyn FnMut(&mut dyn Part)) {
        match self {
            Self::RoomCreated { details, .. }
            | Self::RoomRenamed { details }
            | Self::TopicChanged { details }
            | Self::DescriptionChanged { details }
            | Self::AnnouncementChanged { details }
            | Self::JoinCodeChanged { details, .. }
            | Self::CustomFieldsChanged { details } => visit(details),
            Self::RoomTypeChanged { .. }
            | Self::RoomSwitchesChanged { .. }
            | Self::RetentionOverridden { .. }
            | Self::MemberJoined { .. }
            | Self::MemberLeft { .. }
            | Self::MemberRemoved { .. }
            | Self::MemberMuted { .. }
            | Self::MemberUnmuted { .. }
            | Self::RoomRoleGranted { .. }
            | Self::RoomRoleRevoked { .. }
            | Self::RoomArchived {}
            | Self::RoomUnarchived {}
            | Self::ChannelPruned { .. }
            | Self::RoomDeleted { .. } => {}
        }
    }
}

#[derive(Debug, Clone)]
pub enum RoomCommand {
    Create {
        key: KeyId,
        kind: RoomKind,
        creator: Option<UserId>,
        /// Beside the creator.
        members: Vec<UserId>,
        switches: RoomSwitches,
        parent: Option<Parent>,
        details: RoomDetails,
        at: Timestamp,
    },
    Rename {
        name: String,
        fname: String,
    },
    ChangeTopic(String),
    ChangeDescription(String),
    ChangeAnnouncement(String),
    ChangeJoinCode(Option<String>),
    ChangeCustomFields(Map<String, Value>),
    ChangeType(RoomKind),
    ChangeSwitches(RoomSwitches),
    OverrideRetention(Option<RetentionOverride>),
    Enter {
        user: UserId,
        entry: Entry,
        at: Timestamp,
    },
    Leave {
        user: UserId,
    },
    Remove {
        user: UserId,
        by: Option<UserId>,
    },
    Mute {
        user: UserId,
    },
    Unmute {
        user: UserId,
    },
    GrantRole {
        user: UserId,
        role: RoleId,
    },
    RevokeRole {
        user: UserId,
        role: RoleId,
    },
    Archive,
    Unarchive,
    Prune {
        reason: PruneReason,
        criteria: PruneCriteria,
        pruned: Vec<Pruned>,
    },
    Delete,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    #[error("the room exists already")]
    Exists,
    #[error("there is no such room")]
    Missing,
    #[error("the room is archived")]
    Archived,
    #[error("the room is not archived")]
    NotArchived,
    #[error("a direct conversation can't do that")]
    Direct,
    #[error("the user is not in the room")]
    NotInRoom,
    #[error("the user is the last owner; make somebody else an owner first")]
    LastOwner,
    #[error("the user has the role {0} in this room already")]
    HasRole(RoleId),
    #[error("the user does not have the role {0} in this room")]
    LacksRole(RoleId),
    #[error("the user is muted already")]
    Muted,
    #[error("the user is not muted")]
    NotMuted,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Room {
    pub key: KeyId,
    pub exists: bool,
    pub deleted: bool,
    pub kind: RoomKind,
    pub creator: Option<UserId>,
    pub created: Timestamp,
    pub details: RoomDetails,
    pub switches: RoomSwitches,
    #[serde(default)]
    pub once_on: OnceOn,
    pub parent: Option<Parent>,
    pub archived: bool,
    pub members: Members,
    /// The members that have roles here (owner, moderator, leader), and which.
    pub roles: OrdMap<UserId, OrdSet<RoleId>>,
    /// Who may not speak here, in the room or not: nobody gets its voice back by leaving.
    pub muted: OrdSet<UserId>,
    /// Who may speak although the room is read-only.
    #[serde(default)]
    pub unmuted: OrdSet<UserId>,
    pub retention: Option<RetentionOverride>,
    /// Everybody a direct conversation was opened between, also those who left.
    pub participants: Vec<UserId>,
}

const OWNER: &str = "owner";

impl Room {
    /// What is left of a room that was deleted.
    pub fn gone(key: KeyId) -> Self {
        Self {
            key,
            exists: true,
            deleted: true,
            ..Self::default()
        }
    }

    /// All of it but the members.
    pub fn without_members(&self) -> Self {
        Self {
            members: Members::default(),
            ..self.clone()
        }
    }

    pub fn is_member(&self, user: &UserId) -> bool {
        self.members.contains(user)
    }

    pub fn has_role(&self, user: &UserId, role: &str) -> bool {
        self.roles
            .get(user)
            .is_some_and(|roles| roles.contains(role))
    }

    /// Those who have a role here, in the order of their ids.
    pub fn holders<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a UserId> {
        self.roles
            .iter()
            .filter(move |(_, roles)| roles.contains(role))
            .map(|(id, _)| id)
    }

    /// Whether somebody is muted, or the room is read-only and nobody gave it a voice.
    pub fn is_silent(&self, user: &UserId) -> bool {
        let unheard = self.switches.read_only && !self.unmuted.contains(user);
        self.muted.contains(user) || unheard
    }

    fn is_last_owner(&self, user: &UserId) -> bool {
        self.has_role(user, OWNER) && self.holders(OWNER).count() == 1
    }

    fn with(&self, change: impl FnOnce(&mut RoomDetails)) -> Private<RoomDetails> {
        let mut details = self.details.clone();
        change(&mut details);
        Private::new(self.key, details)
    }

    fn decide(&self, command: RoomCommand) -> Result<Option<RoomEvent>, RoomError> {
        use RoomCommand as C;
        use RoomEvent as E;
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        let event = match command {
            C::Create { .. } if self.exists => return Err(RoomError::Exists),
            C::Create {
                key,
                kind,
                creator,
                members,
                switches,
                parent,
                details,
                at,
            } => E::RoomCreated {
                kind,
                creator,
                members,
                switches,
                parent,
                details: Private::new(key, details),
                at,
            },
            // What was said in a room is erased after it.
            C::Prune {
                reason: PruneReason::Deletion,
                criteria,
                pruned,
            } if self.exists => E::ChannelPruned {
                reason: PruneReason::Deletion,
                criteria,
                pruned,
            },
            _ if !self.exists || self.deleted => return Err(RoomError::Missing),

            // What an archived room still takes.
            C::Unarchive if !self.archived => return Err(RoomError::NotArchived),
            C::Unarchive => E::RoomUnarchived {},
            C::Delete => E::RoomDeleted { key: self.key },
            C::Prune {
                reason,
                criteria,
                pruned,
            } => E::ChannelPruned {
                reason,
                criteria,
                pruned,
            },
            C::OverrideRetention(retention) if retention == self.retention => return Ok(None),
            C::OverrideRetention(retention) => E::RetentionOverridden { retention },
            C::Leave { user } if !self.is_member(&user) => {
                return Err(RoomError::NotInRoom);
            }
            C::Leave { user } if self.is_last_owner(&user) => return Err(RoomError::LastOwner),
            C::Leave { user } => E::MemberLeft { user },
            C::Remove { user, .. } if !self.is_member(&user) => return Err(RoomError::NotInRoom),
            C::Remove { user, by: Some(_) } if self.is_last_owner(&user) => {
                return Err(RoomError::LastOwner);
            }
            C::Remove { user, by } => E::MemberRemoved { user, by },
            C::Archive if self.archived => return Err(RoomError::Archived),
            C::Archive if self.kind == RoomKind::Direct => return Err(RoomError::Direct),
            C::Archive => E::RoomArchived {},

            C::Enter { .. } if self.archived => return Err(RoomError::Archived),
            C::Enter { user, .. } if self.is_member(&user) => return Ok(None),
            C::Enter { user, .. }
                if self.kind == RoomKind::Direct && !self.participants.contains(&user) =>
            {
                return Err(RoomError::Direct);
            }
            C::Enter { user, entry, at } => E::MemberJoined { user, entry, at },
            C::Rename { name, fname }
                if self.details.name == name && self.details.fname == fname =>
            {
                return Ok(None);
            }
            C::Rename { name, fname } => E::RoomRenamed {
                details: self.with(|details| {
                    details.name = name;
                    details.fname = fname;
                }),
            },
            C::ChangeTopic(topic) => E::TopicChanged {
                details: self.with(|details| details.topic = text(topic)),
            },
            C::ChangeDescription(description) => E::DescriptionChanged {
                details: self.with(|details| details.description = text(description)),
            },
            C::ChangeAnnouncement(announcement) => E::AnnouncementChanged {
                details: self.with(|details| details.announcement = text(announcement)),
            },
            C::ChangeJoinCode(code) => E::JoinCodeChanged {
                required: code.is_some(),
                details: self.with(|details| details.join_code = code),
            },
            C::ChangeCustomFields(fields) => E::CustomFieldsChanged {
                details: self.with(|details| details.custom_fields = fields.into()),
            },
            C::ChangeType(_) if self.kind == RoomKind::Direct => return Err(RoomError::Direct),
            C::ChangeType(kind) if kind == self.kind => return Ok(None),
            C::ChangeType(kind) => E::RoomTypeChanged { kind },
            C::ChangeSwitches(switches) if switches == self.switches => return Ok(None),
            C::ChangeSwitches(switches) => E::RoomSwitchesChanged { switches },

            C::Mute { user } if !self.is_member(&user) => return Err(RoomError::NotInRoom),
            C::Mute { user } if self.muted.contains(&user) => return Err(RoomError::Muted),
            C::Mute { user } => E::MemberMuted { user },
            C::Unmute { user } if !self.is_silent(&user) => return Err(RoomError::NotMuted),
            C::Unmute { user } => E::MemberUnmuted { user },
            C::GrantRole { user, .. } if !self.is_member(&user) => {
                return Err(RoomError::NotInRoom);
            }
            C::GrantRole { user, role } if self.has_role(&user, role.as_str()) => {
                return Err(RoomError::HasRole(role));
            }
            C::GrantRole { user, role } => E::RoomRoleGranted { user, role },
            C::RevokeRole { user, role } if !self.has_role(&user, role.as_str()) => {
                return Err(RoomError::LacksRole(role));
            }
            C::RevokeRole { user, role } if role.as_str() == OWNER && self.is_last_owner(&user) => {
                return Err(RoomError::LastOwner);
            }
            C::RevokeRole { user, role } => E::RoomRoleRevoked { user, role },
        };
        Ok(Some(event))
    }

    fn exit(&mut self, user: &UserId) {
        self.members.remove(user);
        self.roles.remove(user);
        self.unmuted.remove(user);
    }
}

impl Aggregate for Room {
    const TYPE: &'static str = "room";
    type Command = RoomCommand;
    type Event = RoomEvent;
    type Error = RoomError;
    type Services = ();

    async fn handle(
        &mut self,
        command: RoomCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), RoomError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: RoomEvent) {
        match event {
            RoomEvent::RoomCreated {
                kind,
                creator,
                members,
                switches,
                parent,
                details,
                at,
            } => {
                self.key = details.key();
                self.exists = true;
                self.kind = kind;
                self.created = at;
                self.once_on.note(&switches);
                self.switches = switches;
                self.parent = parent;
                self.details = details.into_value().unwrap_or_default();
                for user in creator.iter().chain(&members) {
                    self.members.insert(user, at);
                }
                if kind == RoomKind::Direct {
                    self.participants = self.members.sorted();
                } else if let Some(creator) = &creator {
                    let owner = OrdSet::unit(OWNER.into());
                    self.roles.insert(creator.clone(), owner);
                }
                self.creator = creator;
            }
            RoomEvent::RoomRenamed { details }
            | RoomEvent::TopicChanged { details }
            | RoomEvent::DescriptionChanged { details }
            | RoomEvent::AnnouncementChanged { details }
            | RoomEvent::CustomFieldsChanged { details } => {
                self.details = details.into_value().unwrap_or_default();
            }
            RoomEvent::JoinCodeChanged { details, required } => {
                self.details = details.into_value().unwrap_or_default();
                self.switches.join_code_required = required;
            }
            RoomEvent::RoomTypeChanged { kind } => self.kind = kind,
            RoomEvent::RoomSwitchesChanged { switches } => {
                self.once_on.note(&switches);
                self.switches = switches;
            }
            RoomEvent::RetentionOverridden { retention } => self.retention = retention,
            RoomEvent::MemberJoined { user, at, .. } => {
                self.roles.remove(&user);
                self.members.insert(&user, at);
            }
            // The server removes accounts that are deleted.
            RoomEvent::MemberRemoved { user, by: None } => {
                self.exit(&user);
                self.muted.remove(&user);
            }
            RoomEvent::MemberLeft { user } | RoomEvent::MemberRemoved { user, .. } => {
                self.exit(&user);
            }
            RoomEvent::MemberMuted { user } => {
                self.unmuted.remove(&user);
                self.muted.insert(user);
            }
            RoomEvent::MemberUnmuted { user } => {
                self.muted.remove(&user);
                if self.switches.read_only {
                    self.unmuted.insert(user);
                }
            }
            RoomEvent::RoomRoleGranted { user, role } => {
                if self.members.contains(&user) {
                    self.roles.entry(user).or_default().insert(role);
                }
            }
            RoomEvent::RoomRoleRevoked { user, role } => {
                if let Some(roles) = self.roles.get_mut(&user) {
                    roles.remove(&role);
                    if roles.is_empty() {
                        self.roles.remove(&user);
                    }
                }
            }
            RoomEvent::RoomArchived {} => self.archived = true,
            RoomEvent::RoomUnarchived {} => self.archived = false,
            RoomEvent::ChannelPruned { .. } => {}
            RoomEvent::RoomDeleted { .. } => *self = Self::gone(self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    const KEY: KeyId = KeyId(7);

    fn room() -> TestFramework<Room> {
        TestFramework::with(())
    }

    fn named(name: &str) -> RoomDetails {
        RoomDetails {
            name: name.into(),
            fname: name.into(),
            ..RoomDetails::default()
        }
    }

    /// A room that mary made, with paul in it.
    fn created(kind: RoomKind) -> RoomEvent {
        RoomEvent::RoomCreated {
            kind,
            creator: Some("mary".into()),
            members: vec!["paul".into()],
            switches: RoomSwitches::default(),
            parent: None,
            details: Private::new(KEY, named("garden")),
            at: Timestamp(5),
        }
    }

    fn create() -> RoomCommand {
        RoomCommand::Create {
            key: KEY,
            kind: RoomKind::Channel,
            creator: Some("mary".into()),
            members: vec!["paul".into()],
            switches: RoomSwitches::default(),
            parent: None,
            details: named("garden"),
            at: Timestamp(5),
        }
    }

    fn deleted() -> RoomEvent {
        RoomEvent::RoomDeleted { key: KEY }
    }

    fn enter(user: &str) -> RoomCommand {
        RoomCommand::Enter {
            user: user.into(),
            entry: Entry::Joined,
            at: Timestamp(6),
        }
    }

    fn joined(user: &str) -> RoomEvent {
        RoomEvent::MemberJoined {
            user: user.into(),
            entry: Entry::Joined,
            at: Timestamp(6),
        }
    }

    fn leave(user: &str) -> RoomCommand {
        RoomCommand::Leave { user: user.into() }
    }

    fn left(user: &str) -> RoomEvent {
        RoomEvent::MemberLeft { user: user.into() }
    }

    fn remove(user: &str, by: Option<&str>) -> RoomCommand {
        RoomCommand::Remove {
            user: user.into(),
            by: by.map(UserId::new),
        }
    }

    fn removed(user: &str, by: Option<&str>) -> RoomEvent {
        RoomEvent::MemberRemoved {
            user: user.into(),
            by: by.map(UserId::new),
        }
    }

    fn grant(user: &str, role: &str) -> RoomCommand {
        RoomCommand::GrantRole {
            user: user.into(),
            role: role.into(),
        }
    }

    fn granted(user: &str, role: &str) -> RoomEvent {
        RoomEvent::RoomRoleGranted {
            user: user.into(),
            role: role.into(),
        }
    }

    fn revoke(user: &str, role: &str) -> RoomCommand {
        RoomCommand::RevokeRole {
            user: user.into(),
            role: role.into(),
        }
    }

    fn revoked(user: &str, role: &str) -> RoomEvent {
        RoomEvent::RoomRoleRevoked {
            user: user.into(),
            role: role.into(),
        }
    }

    fn muted(user: &str) -> RoomEvent {
        RoomEvent::MemberMuted { user: user.into() }
    }

    /// What is refused, given a channel and what happened in it.
    async fn refused(more: Vec<RoomEvent>, command: RoomCommand, error: RoomError) {
        room()
            .given([vec![created(RoomKind::Channel)], more].concat())
            .when_async(command)
            .await
            .then_expect_error(error);
    }

    /// What is recorded, given a channel and what happened in it.
    async fn recorded(more: Vec<RoomEvent>, command: RoomCommand, events: Vec<RoomEvent>) {
        room()
            .given([vec![created(RoomKind::Channel)], more].concat())
            .when_async(command)
            .await
            .then_expect_events(events);
    }

    fn after(events: Vec<RoomEvent>) -> Room {
        let mut room = Room::default();
        for event in events {
            room.apply(event);
        }
        room
    }

    #[tokio::test]
    async fn a_room_is_created_once_even_after_it_was_deleted() {
        room()
            .given_no_previous_events()
            .when_async(create())
            .await
            .then_expect_events(vec![created(RoomKind::Channel)]);
        refused(vec![], create(), RoomError::Exists).await;
        refused(vec![deleted()], create(), RoomError::Exists).await;
    }

    #[test]
    fn who_creates_a_room_owns_it_and_is_in_it() {
        for kind in [RoomKind::Channel, RoomKind::Group] {
            let room = after(vec![created(kind)]);
            assert!(room.holders(OWNER).eq([&UserId::new("mary")]));
            assert!(room.is_member(&"paul".into()) && !room.has_role(&"paul".into(), OWNER));
            assert_eq!(room.key, KEY);
        }
    }

    #[test]
    fn nobody_owns_a_direct_conversation() {
        let room = after(vec![created(RoomKind::Direct)]);
        assert_eq!(room.holders(OWNER).count(), 0);
        assert_eq!(room.participants, ["mary".into(), "paul".into()]);
    }

    #[tokio::test]
    async fn nothing_can_be_done_to_a_room_that_is_not_there_or_was_deleted() {
        for given in [vec![], vec![created(RoomKind::Channel), deleted()]] {
            for command in [
                enter("anna"),
                leave("paul"),
                RoomCommand::Archive,
                RoomCommand::Unarchive,
                RoomCommand::ChangeTopic("roses".into()),
                RoomCommand::Delete,
            ] {
                room()
                    .given(given.clone())
                    .when_async(command)
                    .await
                    .then_expect_error(RoomError::Missing);
            }
        }
    }

    #[tokio::test]
    async fn a_room_is_entered_once() {
        recorded(vec![], enter("anna"), vec![joined("anna")]).await;
        recorded(vec![joined("anna")], enter("anna"), vec![]).await;
        recorded(vec![left("paul")], enter("paul"), vec![joined("paul")]).await;
    }

    #[tokio::test]
    async fn an_archived_room_takes_no_new_members() {
        let archived = vec![RoomEvent::RoomArchived {}];
        refused(archived.clone(), enter("anna"), RoomError::Archived).await;
        let opened = vec![RoomEvent::RoomArchived {}, RoomEvent::RoomUnarchived {}];
        recorded(opened, enter("anna"), vec![joined("anna")]).await;
        recorded(archived, leave("paul"), vec![left("paul")]).await;
    }

    #[tokio::test]
    async fn a_room_is_archived_and_unarchived_in_turns() {
        let archived = || vec![RoomEvent::RoomArchived {}];
        recorded(vec![], RoomCommand::Archive, archived()).await;
        refused(archived(), RoomCommand::Archive, RoomError::Archived).await;
        let unarchived = vec![RoomEvent::RoomUnarchived {}];
        recorded(archived(), RoomCommand::Unarchive, unarchived).await;
        refused(vec![], RoomCommand::Unarchive, RoomError::NotArchived).await;
    }

    #[tokio::test]
    async fn a_direct_conversation_stays_between_those_it_was_opened_for() {
        let direct = || vec![created(RoomKind::Direct)];
        for command in [
            enter("anna"),
            RoomCommand::Archive,
            RoomCommand::ChangeType(RoomKind::Group),
        ] {
            room()
                .given(direct())
                .when_async(command)
                .await
                .then_expect_error(RoomError::Direct);
        }
        room()
            .given([direct(), vec![left("paul")]].concat())
            .when_async(enter("paul"))
            .await
            .then_expect_events(vec![joined("paul")]);
    }

    #[tokio::test]
    async fn only_a_member_leaves_or_is_removed() {
        refused(vec![], leave("anna"), RoomError::NotInRoom).await;
        refused(vec![], remove("anna", Some("mary")), RoomError::NotInRoom).await;
        recorded(vec![], leave("paul"), vec![left("paul")]).await;
        let gone = removed("paul", Some("mary"));
        recorded(vec![], remove("paul", Some("mary")), vec![gone.clone()]).await;
        refused(vec![gone], leave("paul"), RoomError::NotInRoom).await;
    }

    #[tokio::test]
    async fn the_last_owner_stays_until_somebody_else_owns_the_room() {
        let commands = || {
            [
                (leave("mary"), left("mary")),
                (remove("mary", Some("root")), removed("mary", Some("root"))),
                (revoke("mary", OWNER), revoked("mary", OWNER)),
            ]
        };
        for (command, event) in commands() {
            refused(vec![], command.clone(), RoomError::LastOwner).await;
            let alone = vec![left("paul")];
            refused(alone, command.clone(), RoomError::LastOwner).await;
            recorded(vec![granted("paul", OWNER)], command, vec![event]).await;
        }
    }

    #[tokio::test]
    async fn the_server_removes_even_the_last_owner() {
        recorded(vec![], remove("mary", None), vec![removed("mary", None)]).await;
    }

    #[tokio::test]
    async fn a_role_in_the_room_is_granted_once_and_to_members_only() {
        let moderator = RoleId::new("moderator");
        let grants = vec![granted("paul", "moderator")];
        recorded(vec![], grant("paul", "moderator"), grants.clone()).await;
        let error = RoomError::HasRole(moderator.clone());
        refused(grants, grant("paul", "moderator"), error).await;
        refused(vec![], grant("anna", "moderator"), RoomError::NotInRoom).await;
        let error = RoomError::LacksRole(moderator);
        refused(vec![], revoke("paul", "moderator"), error).await;
    }

    #[tokio::test]
    async fn who_leaves_loses_roles() {
        let back = vec![granted("paul", "moderator"), left("paul"), joined("paul")];
        let error = RoomError::LacksRole("moderator".into());
        refused(back, revoke("paul", "moderator"), error).await;
    }

    #[tokio::test]
    async fn who_is_muted_stays_so_however_often_it_leaves() {
        let paul = UserId::new("paul");
        for gone in [left("paul"), removed("paul", Some("mary"))] {
            let away = vec![muted("paul"), gone];
            let back = [away.clone(), vec![joined("paul")]].concat();
            for given in [away, back] {
                let room = after([vec![created(RoomKind::Channel)], given.clone()].concat());
                assert!(room.is_silent(&paul));
                let (user, unmuted) = (
                    paul.clone(),
                    RoomEvent::MemberUnmuted { user: paul.clone() },
                );
                recorded(given, RoomCommand::Unmute { user }, vec![unmuted]).await;
            }
        }
    }

    #[test]
    fn a_room_forgets_whom_it_muted_with_the_account() {
        let gone = removed("paul", None);
        let room = after(vec![created(RoomKind::Channel), muted("paul"), gone]);
        assert!(room.muted.is_empty());
    }

    #[test]
    fn a_voice_in_a_read_only_room_goes_with_its_member() {
        let switches = RoomSwitches {
            read_only: true,
            ..RoomSwitches::default()
        };
        let heard = RoomEvent::MemberUnmuted {
            user: "paul".into(),
        };
        let room = after(vec![
            created(RoomKind::Channel),
            RoomEvent::RoomSwitchesChanged { switches },
            heard,
            left("paul"),
            joined("paul"),
        ]);
        assert!(room.is_silent(&"paul".into()));
    }

    #[tokio::test]
    async fn a_member_is_muted_and_unmuted_in_turns() {
        let mute = |user: &str| RoomCommand::Mute { user: user.into() };
        let unmute = || RoomCommand::Unmute {
            user: "paul".into(),
        };
        recorded(vec![], mute("paul"), vec![muted("paul")]).await;
        refused(vec![muted("paul")], mute("paul"), RoomError::Muted).await;
        refused(vec![], mute("anna"), RoomError::NotInRoom).await;
        refused(vec![], unmute(), RoomError::NotMuted).await;
        let unmuted = RoomEvent::MemberUnmuted {
            user: "paul".into(),
        };
        recorded(vec![muted("paul")], unmute(), vec![unmuted]).await;
    }

    #[tokio::test]
    async fn what_is_said_about_a_room_changes_one_by_one_under_its_key() {
        let details = |change: fn(&mut RoomDetails)| {
            let mut details = named("garden");
            details.topic = Some("roses".into());
            change(&mut details);
            Private::new(KEY, details)
        };
        let topic = || RoomEvent::TopicChanged {
            details: details(|_| ()),
        };
        let cases = [
            (
                RoomCommand::ChangeDescription("flowers".into()),
                RoomEvent::DescriptionChanged {
                    details: details(|room| room.description = Some("flowers".into())),
                },
            ),
            (
                RoomCommand::ChangeAnnouncement("spring".into()),
                RoomEvent::AnnouncementChanged {
                    details: details(|room| room.announcement = Some("spring".into())),
                },
            ),
            (
                RoomCommand::Rename {
                    name: "park".into(),
                    fname: "Park".into(),
                },
                RoomEvent::RoomRenamed {
                    details: details(|room| {
                        room.name = "park".into();
                        room.fname = "Park".into();
                    }),
                },
            ),
            (
                RoomCommand::ChangeTopic(String::new()),
                RoomEvent::TopicChanged {
                    details: details(|room| room.topic = None),
                },
            ),
        ];
        for (command, event) in cases {
            let room = after(vec![created(RoomKind::Channel), topic(), event.clone()]);
            recorded(vec![topic()], command, vec![event.clone()]).await;
            let (RoomEvent::DescriptionChanged { details }
            | RoomEvent::AnnouncementChanged { details }
            | RoomEvent::RoomRenamed { details }
            | RoomEvent::TopicChanged { details }) = event
            else {
                unreachable!()
            };
            assert_eq!(Some(&room.details), details.value());
        }
    }

    #[tokio::test]
    async fn a_join_code_is_required_as_long_as_there_is_one() {
        let changed = |code: Option<&str>| RoomEvent::JoinCodeChanged {
            required: code.is_some(),
            details: Private::new(
                KEY,
                RoomDetails {
                    join_code: code.map(str::to_owned),
                    ..named("garden")
                },
            ),
        };
        let set = RoomCommand::ChangeJoinCode(Some("sesame".into()));
        recorded(vec![], set, vec![changed(Some("sesame"))]).await;
        let unset = RoomCommand::ChangeJoinCode(None);
        recorded(vec![changed(Some("sesame"))], unset, vec![changed(None)]).await;

        let mut room = after(vec![created(RoomKind::Channel), changed(Some("sesame"))]);
        assert!(room.switches.join_code_required);
        room.apply(changed(None));
        assert!(!room.switches.join_code_required);
    }

    #[tokio::test]
    async fn what_does_not_change_anything_is_not_recorded() {
        for command in [
            RoomCommand::Rename {
                name: "garden".into(),
                fname: "garden".into(),
            },
            RoomCommand::ChangeType(RoomKind::Channel),
            RoomCommand::ChangeSwitches(RoomSwitches::default()),
            RoomCommand::OverrideRetention(None),
        ] {
            recorded(vec![], command, vec![]).await;
        }
    }

    #[tokio::test]
    async fn a_type_switches_and_a_retention_of_its_own_are_recorded_when_they_change() {
        let retention = Some(RetentionOverride {
            enabled: true,
            max_age: 1,
            ..RetentionOverride::default()
        });
        let switches = RoomSwitches {
            read_only: true,
            ..RoomSwitches::default()
        };
        let cases = [
            (
                RoomCommand::ChangeType(RoomKind::Group),
                RoomEvent::RoomTypeChanged {
                    kind: RoomKind::Group,
                },
            ),
            (
                RoomCommand::ChangeSwitches(switches.clone()),
                RoomEvent::RoomSwitchesChanged { switches },
            ),
            (
                RoomCommand::OverrideRetention(retention.clone()),
                RoomEvent::RetentionOverridden { retention },
            ),
        ];
        for (command, event) in cases {
            recorded(vec![], command.clone(), vec![event.clone()]).await;
            recorded(vec![event], command, vec![]).await;
        }
    }

    #[tokio::test]
    async fn a_room_is_pruned_even_when_archived() {
        let pruned = vec![Pruned {
            message: "m1".into(),
            key: KeyId(8),
        }];
        let criteria = PruneCriteria {
            latest: Timestamp(9),
            ..PruneCriteria::default()
        };
        let prune = RoomCommand::Prune {
            reason: PruneReason::Requested,
            criteria: criteria.clone(),
            pruned: pruned.clone(),
        };
        let event = RoomEvent::ChannelPruned {
            reason: PruneReason::Requested,
            criteria,
            pruned,
        };
        recorded(vec![RoomEvent::RoomArchived {}], prune, vec![event]).await;
    }

    #[tokio::test]
    async fn what_was_said_in_a_deleted_room_is_erased_after_it_and_nothing_else_is_pruned() {
        let prune = |reason| RoomCommand::Prune {
            reason,
            criteria: PruneCriteria::default(),
            pruned: vec![],
        };
        let event = RoomEvent::ChannelPruned {
            reason: PruneReason::Deletion,
            criteria: PruneCriteria::default(),
            pruned: vec![],
        };
        recorded(vec![deleted()], prune(PruneReason::Deletion), vec![event]).await;
        let missing = RoomError::Missing;
        for reason in [PruneReason::Requested, PruneReason::Retention] {
            refused(vec![deleted()], prune(reason), missing.clone()).await;
        }
        room()
            .given_no_previous_events()
            .when_async(prune(PruneReason::Deletion))
            .await
            .then_expect_error(missing);
    }

    #[tokio::test]
    async fn a_deleted_room_names_its_key_and_keeps_nothing_of_what_was_said_about_it() {
        recorded(vec![], RoomCommand::Delete, vec![deleted()]).await;
        let room = after(vec![created(RoomKind::Channel), deleted()]);
        assert_eq!(room.details, RoomDetails::default());
        assert!(room.members.is_empty());
    }
}
