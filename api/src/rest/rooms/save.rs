//! `rooms.saveRoomSettings`: several changes of a room at once.

use hansard_commands::room::{self, Changes, Retention};
use hansard_domain::id::RoomId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::app::App;
use crate::operations::Operation;
use crate::rest::answer::{Answer, answer};
use crate::rest::body::{Body, free_object};
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;

pub const OPERATIONS: &[Operation] = &[SAVE_ROOM_SETTINGS];

/// What is to be different about a room.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = RoomSettings)]
struct Settings {
    /// The room's id.
    rid: String,
    room_name: Option<String>,
    room_topic: Option<String>,
    room_announcement: Option<String>,
    room_description: Option<String>,
    room_custom_fields: Option<Map<String, Value>>,
    /// `c` or `p`.
    room_type: Option<String>,
    read_only: Option<bool>,
    react_when_read_only: Option<bool>,
    /// Kinds of system messages that are not shown.
    system_messages: Option<Vec<String>>,
    default: Option<bool>,
    featured: Option<bool>,
    encrypted: Option<bool>,
    favorite: Option<Favorite>,
    join_code: Option<String>,
    retention_enabled: Option<bool>,
    retention_override_global: Option<bool>,
    /// Days.
    retention_max_age: Option<i64>,
    retention_exclude_pinned: Option<bool>,
    retention_files_only: Option<bool>,
    retention_ignore_threads: Option<bool>,
    #[serde(flatten)]
    #[schema(ignore)]
    unknown: Map<String, Value>,
}

/// Whether those who join a room by default have it among their favourites.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = DefaultFavorite)]
struct Favorite {
    favorite: bool,
    /// Whether the room is one that new users join.
    default_value: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SavedRoom)]
struct Saved {
    rid: String,
}

pub const SAVE_ROOM_SETTINGS: Operation =
    Operation::post("rooms.saveRoomSettings", &save_room_settings)
        .tells("Changes a room. Needs `edit-room`, and what single changes need besides.");

async fn save_room_settings(
    app: App,
    caller: Caller,
    Body(asked): Body<Settings>,
) -> Answer<Saved> {
    if !asked.unknown.is_empty() {
        return Err(Failure::refused(
            "error-invalid-settings",
            "Invalid settings provided",
        ));
    }
    let rid = asked.rid.clone();
    room::change(&app.commands, &caller, RoomId::new(&rid), asked.changes()?).await?;
    answer(Saved { rid })
}

impl Settings {
    fn changes(self) -> Result<Changes, Failure> {
        Ok(Changes {
            name: self.room_name,
            topic: self.room_topic,
            announcement: self.room_announcement,
            description: self.room_description,
            custom_fields: self
                .room_custom_fields
                .map(|fields| free_object("roomCustomFields", fields))
                .transpose()?,
            kind: self.room_type,
            read_only: self.read_only,
            react_when_read_only: self.react_when_read_only,
            hidden_system_messages: self.system_messages,
            default: self.default,
            featured: self.featured,
            favourite: self
                .favorite
                .map(|asked| asked.favorite && asked.default_value),
            encrypted: self.encrypted,
            join_code: self.join_code,
            retention: Retention {
                enabled: self.retention_enabled,
                override_global: self.retention_override_global,
                max_age: self.retention_max_age,
                exclude_pinned: self.retention_exclude_pinned,
                files_only: self.retention_files_only,
                ignore_threads: self.retention_ignore_threads,
            },
        })
    }
}
