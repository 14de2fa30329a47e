//! Subscriptions.

use serde::Serialize;
use utoipa::ToSchema;

use super::Person;

/// What a room is to one of its members.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    #[serde(rename = "_id")]
    id: String,
    /// The room's id.
    rid: String,
    /// `c` channel, `p` private group, `d` direct conversation.
    t: String,
    /// Since when.
    ts: String,
    name: Option<String>,
    fname: Option<String>,
    /// The room that a discussion is about.
    prid: Option<String>,
    /// When the member last marked it as read.
    ls: Option<String>,
    u: Person,
    /// Whether the member's list of rooms shows it.
    open: bool,
    /// Whether something is unread.
    alert: bool,
    unread: u64,
    user_mentions: u64,
    group_mentions: u64,
    roles: Option<Vec<String>>,
    /// A favourite.
    f: Option<bool>,
    archived: Option<bool>,
    /// The ids of those whose messages are not shown.
    ignored: Option<Vec<String>>,
    /// Threads with unread replies, by the id of their first message.
    tunread: Option<Vec<String>>,
    /// Those of them in which a reply mentions the member.
    tunread_user: Option<Vec<String>>,
    /// Those of them in which a reply mentions everybody.
    tunread_group: Option<Vec<String>>,
    disable_notifications: Option<bool>,
    hide_unread_status: Option<bool>,
    hide_mention_status: Option<bool>,
    mute_group_mentions: Option<bool>,
    desktop_notifications: Option<String>,
    mobile_push_notifications: Option<String>,
    email_notifications: Option<String>,
    audio_notification_value: Option<String>,
    unread_alert: Option<String>,
    #[serde(rename = "_updatedAt")]
    updated_at: String,
}
