//! Messages.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{AnyObject, Person};

/// A message. With `fields`, an answer has of these members only those that were asked for, and `_id`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    #[serde(rename = "_id")]
    id: String,
    /// The room it is in.
    #[schema(required = false)]
    rid: String,
    #[schema(required = false)]
    msg: String,
    /// When it was sent.
    #[schema(required = false)]
    ts: String,
    #[schema(required = false)]
    u: Person,
    #[serde(rename = "_updatedAt")]
    #[schema(required = false)]
    updated_at: String,
    /// The kind of a system message.
    t: Option<String>,
    /// The role that a system message tells of.
    role: Option<String>,
    /// The message that its thread hangs on.
    tmid: Option<String>,
    /// A reply that the room sees, too.
    tshow: Option<bool>,
    /// How many replies hang on it.
    tcount: Option<u64>,
    /// When the last of them was sent.
    tlm: Option<String>,
    /// The ids of those who follow its thread.
    replies: Option<Vec<String>>,
    /// The discussion that it tells of.
    drid: Option<String>,
    #[schema(required = false)]
    urls: Vec<Link>,
    #[schema(required = false)]
    mentions: Vec<Mention>,
    #[schema(required = false)]
    channels: Vec<MentionedRoom>,
    /// As their sender wrote them, or the server for its own messages.
    attachments: Option<Vec<AnyObject>>,
    /// As their sender wrote them.
    blocks: Option<Vec<AnyObject>>,
    /// By the name of the emoji, such as `:smile:`.
    reactions: Option<BTreeMap<String, Reaction>>,
    alias: Option<String>,
    avatar: Option<String>,
    emoji: Option<String>,
    groupable: Option<bool>,
    bot: Option<Bot>,
    pinned: Option<bool>,
    pinned_at: Option<String>,
    pinned_by: Option<Person>,
    edited_at: Option<String>,
    edited_by: Option<Person>,
    /// The caller's star.
    starred: Option<Vec<Star>>,
    custom_fields: Option<AnyObject>,
}

/// An address in a message's text.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MessageLink)]
pub struct Link {
    url: String,
    /// Empty: addresses are not looked up.
    meta: LinkMeta,
    /// The sender wants no preview of it.
    ignore_parse: Option<bool>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MessageLinkMeta)]
pub struct LinkMeta {}

/// Somebody whom a message mentions; `all` and `here` stand for everybody.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessageMention)]
pub struct Mention {
    _id: String,
    username: Option<String>,
    name: Option<String>,
    /// `user` of people.
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// A room that a message mentions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessageRoom)]
pub struct MentionedRoom {
    _id: String,
    name: Option<String>,
    fname: Option<String>,
}

/// Who gave a reaction.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessageReaction)]
pub struct Reaction {
    usernames: Vec<String>,
}

/// Whose star it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessageStar)]
pub struct Star {
    _id: String,
}

/// Which program wrote a message: `{"i": …}` with the integration's id, or `true`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = MessageBot)]
pub enum Bot {
    Integration { i: String },
    Unnamed(bool),
}

/// One message.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageAnswer {
    message: Message,
    #[schema(example = true)]
    success: bool,
}

/// A page of messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessagesAnswer {
    messages: Vec<Message>,
    count: u64,
    offset: u64,
    total: u64,
    #[schema(example = true)]
    success: bool,
}
