//! Integrations.

use serde::Serialize;
use utoipa::ToSchema;

use super::Person;

/// An integration, with the secrets of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Integration {
    #[serde(rename = "_id")]
    id: String,
    /// `webhook-incoming` or `webhook-outgoing`.
    #[serde(rename = "type")]
    direction: String,
    name: String,
    enabled: bool,
    /// Why it does nothing although it is enabled: `makerInactive`, `makerMayNotManage`. Whoever has the
    /// permission for all integrations takes it over by saving it. Or why it does not all that it is there
    /// for: `destinationGone`, where a room that it names was deleted, or an account was deleted or
    /// deactivated; it has to be saved with others.
    held_back: Option<String>,
    username: String,
    user_id: String,
    /// The rooms and people that were named when it was saved, as they are called now; by their id those
    /// that are gone, and rooms that the caller does not see.
    channel: Vec<String>,
    alias: String,
    avatar: String,
    emoji: String,
    token: String,
    script: String,
    script_enabled: bool,
    script_engine: String,
    /// Of incoming ones.
    override_destination_channel_enabled: Option<bool>,
    /// Of outgoing ones, as all that follows.
    event: Option<String>,
    target_room: Option<String>,
    urls: Option<Vec<String>>,
    trigger_words: Option<Vec<String>>,
    trigger_word_anywhere: Option<bool>,
    signing_secret: Option<String>,
    run_on_edits: Option<bool>,
    retry_failed_calls: Option<bool>,
    retry_count: Option<u32>,
    retry_delay: Option<String>,
    impersonate_user: Option<bool>,
    #[serde(rename = "_createdAt")]
    created: String,
    #[serde(rename = "_createdBy")]
    created_by: Person,
    #[serde(rename = "_updatedAt")]
    updated: String,
}
