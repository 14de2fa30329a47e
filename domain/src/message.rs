//! A message: what was said, and what was made of it afterwards.
//!
//! Each message has a stream and a data key of its own, so that one message can be erased. Whether a
//! sender may speak in a room is the room's to say; this aggregate knows only the message.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use imbl::OrdSet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{IntegrationId, MessageId, RoomId, Timestamp, UserId};
use crate::seal::{Confidential, Part, Private};
use crate::vault::KeyId;

/// What is confidential in a message; sealed under the message's key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Content {
    #[serde(rename = "t")]
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emoji: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    /// Rocket.Chat's attachments, as they were sent after checking.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Value>,
    /// Links found in the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Names mentioned, as `{_id, username, name, type}`; `_id` is `all` or `here` for everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<Value>,
    /// Rooms mentioned, as `{_id, name}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub custom_fields: Map<String, Value>,
    /// Fields of a system message beside its text (`role`, `newOwner`, …).
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub system: Map<String, Value>,
}

/// Whom a message calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mentions {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserId>,
    /// `@all` or `@here`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub everybody: bool,
}

/// A message's place in a thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadReply {
    /// The message that the thread hangs on.
    pub parent: MessageId,
    /// Shown in the room, too.
    pub shown: bool,
    /// Who follows the thread from this reply on: its author, the parent's, those it mentions.
    #[serde(default)]
    pub followers: Vec<UserId>,
}

/// What a new message is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    pub room: RoomId,
    pub sender: UserId,
    /// The kind of a system message (`uj`, `au`, `r`, …).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub system: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub thread: Option<ThreadReply>,
    #[serde(default)]
    pub mentions: Mentions,
    /// The incoming webhook or bot integration it came through.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub integration: Option<IntegrationId>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub bot: bool,
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub groupable: bool,
    /// The discussion that was started with it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub discussion: Option<RoomId>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub has_files: bool,
    /// The time it shows.
    pub at: Timestamp,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
pub enum MessageEvent {
    MessageSent {
        sent: Sent,
        content: Private<Content>,
    },
    MessageEdited {
        room: RoomId,
        editor: UserId,
        mentions: Mentions,
        content: Private<Content>,
        at: Timestamp,
    },
    /// Taken out of the room. `erased` names the key to be shredded, unless history is kept.
    MessageDeleted {
        room: RoomId,
        by: UserId,
        erased: Option<KeyId>,
        /// A place holder stays where it was.
        show_deleted: bool,
        at: Timestamp,
    },
    ReactionAdded {
        room: RoomId,
        user: UserId,
        reaction: String,
    },
    ReactionRemoved {
        room: RoomId,
        user: UserId,
        reaction: String,
    },
    MessagePinned {
        room: RoomId,
        by: UserId,
        at: Timestamp,
    },
    MessageUnpinned {
        room: RoomId,
        by: UserId,
    },
    MessageStarred {
        room: RoomId,
        user: UserId,
    },
    MessageUnstarred {
        room: RoomId,
        user: UserId,
    },
    ThreadFollowed {
        room: RoomId,
        user: UserId,
    },
    ThreadUnfollowed {
        room: RoomId,
        user: UserId,
    },
    MessageReported {
        room: RoomId,
        by: UserId,
        reason: Private<String>,
    },
}

impl DomainEvent for MessageEvent {
    fn event_type(&self) -> String {
        <&'static str>::from(self).to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Confidential for MessageEvent {
    fn parts(&mut self, visit: &mut dyn FnMut(&mut dyn Part)) {
        match self {
            Self::MessageSent { content, .. } | Self::MessageEdited { content, .. } => {
                visit(content);
            }
            Self::MessageReported { reason, .. } => visit(reason),
            Self::MessageDeleted { .. }
            | Self::ReactionAdded { .. }
            | Self::ReactionRemoved { .. }
            | Self::MessagePinned { .. }
            | Self::MessageUnpinned { .. }
            | Self::MessageStarred { .. }
            | Self::MessageUnstarred { .. }
            | Self::ThreadFollowed { .. }
            | Self::ThreadUnfollowed { .. } => {}
        }
    }
}

#[derive(Debug, Clone)]
pub enum MessageCommand {
    Send {
        key: KeyId,
        sent: Sent,
        content: Content,
    },
    Edit {
        editor: UserId,
        mentions: Mentions,
        content: Content,
        at: Timestamp,
    },
    Delete {
        by: UserId,
        keep_history: bool,
        show_deleted: bool,
        at: Timestamp,
    },
    /// Adds a reaction, or takes it back where it stands; `add` asks for one of the two.
    React {
        user: UserId,
        reaction: String,
        add: Option<bool>,
    },
    Pin {
        by: UserId,
        at: Timestamp,
    },
    Unpin {
        by: UserId,
    },
    Star {
        user: UserId,
        star: bool,
    },
    Follow {
        user: UserId,
        follow: bool,
    },
    Report {
        by: UserId,
        reason: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("the message exists already")]
    Exists,
    #[error("there is no such message")]
    Missing,
    #[error("the message is pinned already")]
    Pinned,
    #[error("the message is not pinned")]
    NotPinned,
    #[error("a system message can't be edited")]
    System,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub key: KeyId,
    pub exists: bool,
    pub deleted: bool,
    pub room: RoomId,
    pub sender: UserId,
    pub system: Option<String>,
    pub thread: Option<ThreadReply>,
    pub content: Content,
    pub mentions: Mentions,
    pub at: Timestamp,
    pub pinned: bool,
    /// `(reaction, user)`.
    pub reactions: OrdSet<(String, UserId)>,
    pub starred: OrdSet<UserId>,
    pub followers: OrdSet<UserId>,
}

impl Message {
    fn decide(&self, command: MessageCommand) -> Result<Option<MessageEvent>, MessageError> {
        use MessageCommand as C;
        use MessageEvent as E;
        let room = self.room.clone();
        let event = match command {
            C::Send { .. } if self.exists => return Err(MessageError::Exists),
            C::Send { key, sent, content } => E::MessageSent {
                sent,
                content: Private::new(key, content),
            },
            _ if !self.exists || self.deleted => return Err(MessageError::Missing),
            C::Edit { .. } if self.system.is_some() => return Err(MessageError::System),
            C::Edit {
                editor,
                mentions,
                content,
                at,
            } => {
                let content = Private::new(self.key, content);
                E::MessageEdited {
                    room,
                    editor,
                    mentions,
                    content,
                    at,
                }
            }
            C::Delete {
                by,
                keep_history,
                show_deleted,
                at,
            } => {
                let erased = (!keep_history).then_some(self.key);
                E::MessageDeleted {
                    room,
                    by,
                    erased,
                    show_deleted,
                    at,
                }
            }
            C::React {
                user,
                reaction,
                add,
            } => {
                let stands = self.reactions.contains(&(reaction.clone(), user.clone()));
                match (stands, add) {
                    (true, Some(true)) | (false, Some(false)) => return Ok(None),
                    (true, _) => E::ReactionRemoved {
                        room,
                        user,
                        reaction,
                    },
                    (false, _) => E::ReactionAdded {
                        room,
                        user,
                        reaction,
                    },
                }
            }
            C::Pin { .. } if self.pinned => return Err(MessageError::Pinned),
            C::Pin { by, at } => E::MessagePinned { room, by, at },
            C::Unpin { .. } if !self.pinned => return Err(MessageError::NotPinned),
            C::Unpin { by } => E::MessageUnpinned { room, by },
            C::Star { user, star } if self.starred.contains(&user) == star => {
                return Ok(None);
            }
            C::Star { user, star: true } => E::MessageStarred { room, user },
            C::Star { user, star: false } => E::MessageUnstarred { room, user },
            C::Follow { user, follow } if self.followers.contains(&user) == follow => {
                return Ok(None);
            }
            C::Follow { user, follow: true } => E::ThreadFollowed { room, user },
            C::Follow {
                user,
                follow: false,
            } => E::ThreadUnfollowed { room, user },
            C::Report { by, reason } => E::MessageReported {
                room,
                by,
                reason: Private::new(self.key, reason),
            },
        };
        Ok(Some(event))
    }
}

impl Aggregate for Message {
    const TYPE: &'static str = "message";
    type Command = MessageCommand;
    type Event = MessageEvent;
    type Error = MessageError;
    type Services = ();

    async fn handle(
        &mut self,
        command: MessageCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), MessageError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: MessageEvent) {
        match event {
            MessageEvent::MessageSent { sent, content } => {
                self.key = content.key();
                self.exists = true;
                self.room = sent.room;
                self.followers.insert(sent.sender.clone());
                self.sender = sent.sender;
                self.system = sent.system;
                self.thread = sent.thread;
                self.mentions = sent.mentions;
                self.at = sent.at;
                match content.into_value() {
                    Some(content) => self.content = content,
                    None => self.deleted = true,
                }
            }
            MessageEvent::MessageEdited {
                mentions, content, ..
            } => {
                self.mentions = mentions;
                self.content = content.into_value().unwrap_or_default();
            }
            MessageEvent::MessageDeleted { .. } => self.deleted = true,
            MessageEvent::ReactionAdded { user, reaction, .. } => {
                self.reactions.insert((reaction, user));
            }
            MessageEvent::ReactionRemoved { user, reaction, .. } => {
                self.reactions.remove(&(reaction, user));
            }
            MessageEvent::MessagePinned { .. } => self.pinned = true,
            MessageEvent::MessageUnpinned { .. } => self.pinned = false,
            MessageEvent::MessageStarred { user, .. } => {
                self.starred.insert(user);
            }
            MessageEvent::MessageUnstarred { user, .. } => {
                self.starred.remove(&user);
            }
            MessageEvent::ThreadFollowed { user, .. } => {
                self.followers.insert(user);
            }
            MessageEvent::ThreadUnfollowed { user, .. } => {
                self.followers.remove(&user);
            }
            MessageEvent::MessageReported { .. } => {}
        }
    }
}
