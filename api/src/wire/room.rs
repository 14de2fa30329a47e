//! Rooms.

use serde::Serialize;
use utoipa::ToSchema;

use super::message::Message;
use super::{AnyObject, Person};

/// A room. Who does not see into it gets fewer members, and with `fields` an answer has of them only those that
/// were asked for, and `_id`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    #[serde(rename = "_id")]
    id: String,
    /// `c` channel, `p` private group, `d` direct conversation.
    #[schema(required = false)]
    t: String,
    /// The name in addresses; direct conversations have none.
    name: Option<String>,
    /// The name as it is shown.
    fname: Option<String>,
    #[schema(required = false)]
    msgs: u64,
    #[schema(required = false)]
    users_count: u64,
    /// Who made it.
    u: Option<Person>,
    /// Who takes part in a direct conversation.
    usernames: Option<Vec<String>>,
    uids: Option<Vec<String>>,
    #[schema(required = false)]
    ts: String,
    /// When something was last said in it.
    lm: Option<String>,
    last_message: Option<Message>,
    /// Read-only.
    ro: Option<bool>,
    default: Option<bool>,
    archived: Option<bool>,
    topic: Option<String>,
    description: Option<String>,
    announcement: Option<String>,
    custom_fields: Option<AnyObject>,
    /// Usernames of those who may not speak.
    muted: Option<Vec<String>>,
    /// Usernames of those who may speak although it is read-only.
    unmuted: Option<Vec<String>>,
    /// `true`: the system messages that the workspace hides are not shown. Else the kinds that are not.
    #[serde(rename = "sysMes")]
    hidden_system_messages: Option<HiddenSystemMessages>,
    react_when_read_only: Option<bool>,
    broadcast: Option<bool>,
    encrypted: Option<bool>,
    featured: Option<bool>,
    favorite: Option<bool>,
    join_code_required: Option<bool>,
    retention: Option<Retention>,
    /// The room that a discussion is about.
    prid: Option<String>,
    /// The message that a discussion is about.
    pmid: Option<String>,
    #[serde(rename = "_updatedAt")]
    #[schema(required = false)]
    updated_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum HiddenSystemMessages {
    AsInTheWorkspace(bool),
    Kinds(Vec<String>),
}

/// What is pruned from a room by a policy of its own.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OwnRetention)]
pub struct Retention {
    enabled: bool,
    override_global: bool,
    /// Days.
    max_age: u64,
    exclude_pinned: bool,
    files_only: bool,
    ignore_threads: bool,
}

/// A member of a room.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomMember)]
pub struct Member {
    #[serde(rename = "_id")]
    id: String,
    username: Option<String>,
    name: Option<String>,
    nickname: Option<String>,
    /// `online`, `away`, `busy` or `offline`.
    status: String,
    #[serde(rename = "_updatedAt")]
    updated_at: String,
}

/// What roles somebody has in a room.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoomRole)]
pub struct HeldRoles {
    _id: String,
    rid: String,
    u: Person,
    roles: Vec<String>,
}

/// A text of a room, under the name that it was set by.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoomText)]
pub struct Text {
    topic: Option<String>,
    description: Option<String>,
    purpose: Option<String>,
    announcement: Option<String>,
}

/// A direct conversation that was opened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenedRoom)]
pub struct Opened {
    /// `d`.
    t: String,
    rid: String,
    _id: String,
    /// Of those who take part in it.
    usernames: Vec<String>,
}

/// A channel that the spotlight found.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpottedRoom {
    #[serde(rename = "_id")]
    id: String,
    t: String,
    name: String,
    fname: Option<String>,
    join_code_required: Option<bool>,
    /// The room that a discussion is about.
    prid: Option<String>,
}

/// A room in the directory.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomInDirectory {
    #[serde(rename = "_id")]
    id: String,
    t: String,
    name: Option<String>,
    fname: Option<String>,
    description: Option<String>,
    topic: Option<String>,
    ts: String,
    archived: Option<bool>,
    default: Option<bool>,
    featured: Option<bool>,
    users_count: u64,
    /// The room that a discussion is about.
    prid: Option<String>,
}
