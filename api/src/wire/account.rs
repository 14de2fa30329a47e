//! Accounts, as far as [`User`](crate::rest::users::User) is not their shape itself.

use serde::Serialize;
use utoipa::ToSchema;

use super::AnyObject;
use super::room::RoomInDirectory;

#[derive(Debug, Serialize, ToSchema)]
pub struct UserEmail {
    address: String,
    verified: bool,
}

/// The user's preferences; after a login with the workspace's defaults for all others.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UserPreferences)]
pub struct Settings {
    profile: Option<Profile>,
    /// By name.
    preferences: AnyObject,
}

/// Always empty.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserSettingsProfile)]
pub struct Profile {}

/// What an account can log in with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UserServices)]
pub struct Services {
    password: Password,
    resume: Option<Resume>,
}

/// Whether there is one: `{"exists": …}` of a login, just that of `users.info`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = UserPassword)]
pub enum Password {
    OfLogin { exists: bool },
    Exists(bool),
}

/// Always empty: sessions are not shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserResume)]
pub struct Resume {}

/// A room that a user is in.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserRoom {
    _id: String,
    rid: String,
    name: Option<String>,
    t: String,
    roles: Option<Vec<String>>,
    unread: u64,
}

/// Somebody whom the spotlight found.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpottedUser {
    #[serde(rename = "_id")]
    id: String,
    username: String,
    nickname: Option<String>,
    name: Option<String>,
    status: String,
    status_text: Option<String>,
    /// Always `true`.
    outside: bool,
}

/// Somebody in the directory.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserInDirectory {
    #[serde(rename = "_id")]
    id: String,
    username: String,
    name: Option<String>,
    nickname: Option<String>,
    bio: Option<String>,
    created_at: String,
    /// For those who may see them.
    emails: Option<Vec<UserEmail>>,
}

/// What the directory found: a room, or somebody.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum DirectoryEntry {
    Room(RoomInDirectory),
    User(UserInDirectory),
}
