//! A message: what was said, and what was made of it afterwards.
//!
//! Each message has a stream and a data key of its own, so that one message can be erased. Whether a
//! sender may speak in a room is the room's to say; this aggregate knows only the message.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use imbl::OrdSet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::free::{Kept, KeptList, KeptObject};
use crate::id::{IntegrationId, MessageId, RoomId, Timestamp, UserId};
use crate::seal::{Confidential, Part, Private, or_clear};
use crate::vault::KeyId;
use crate::{free, limit};

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
    #[serde(skip_serializing_if = "Kept::is_empty")]
    pub attachments: KeptList,
    #[serde(skip_serializing_if = "Kept::is_empty")]
    pub blocks: KeptList,
    /// Links found in the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Which of them shall have a preview, where the sender chose; all of them otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previews: Option<Vec<String>>,
    /// Who is mentioned: `{_id, username}` for everybody, where both are `all` or `here`, and
    /// `{_id, type}` for people. Their names are theirs and go with their accounts: whoever shows the
    /// message adds them. Earlier versions recorded them here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<Value>,
    /// Rooms mentioned, as `{_id, name}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<Value>,
    #[serde(skip_serializing_if = "Kept::is_empty")]
    pub custom_fields: KeptObject,
    /// Fields of a system message beside its text (`role`, `newOwner`, …).
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub system: Map<String, Value>,
    /// Whom a system message is about. Whoever shows the message writes the username: as the author of
    /// the message that it points at, otherwise as its text. Earlier versions recorded the name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<UserId>,
}

impl Content {
    /// How many bytes those of its parts have that may be large.
    pub fn size(&self) -> usize {
        let free = self.attachments.size() + self.blocks.size() + self.custom_fields.size();
        let previews = self.previews.iter().flatten();
        let links: usize = self.urls.iter().chain(previews).map(String::len).sum();
        self.text.len() + free + links
    }
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

#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
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
        /// Any word that its giver chooses.
        #[serde(deserialize_with = "or_clear")]
        reaction: Private<String>,
    },
    ReactionRemoved {
        room: RoomId,
        user: UserId,
        #[serde(deserialize_with = "or_clear")]
        reaction: Private<String>,
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

impl MessageEvent {
    /// The room that the message is in.
    pub fn room(&self) -> &RoomId {
        match self {
            Self::MessageSent { sent, .. } => &sent.room,
            Self::MessageEdited { room, .. }
            | Self::MessageDeleted { room, .. }
            | Self::ReactionAdded { room, .. }
            | Self::ReactionRemoved { room, .. }
            | Self::MessagePinned { room, .. }
            | Self::MessageUnpinned { room, .. }
            | Self::MessageStarred { room, .. }
            | Self::MessageUnstarred { room, .. }
            | Self::ThreadFollowed { room, .. }
            | Self::ThreadUnfollowed { room, .. }
            | Self::MessageReported { room, .. } => room,
        }
    }
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
            Self::ReactionAdded { reaction, .. } | Self::ReactionRemoved { reaction, .. } => {
                if !matches!(reaction, Private::Clear(_)) {
                    visit(reaction);
                }
            }
            Self::MessageDeleted { .. }
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
    #[error("the message has as many different reactions as it takes")]
    TooManyReactions,
    #[error("the message was changed as much as a message can be; send a new one")]
    ChangedTooMuch,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub key: KeyId,
    pub exists: bool,
    pub deleted: bool,
    /// Deleted, with a place holder where it was.
    pub replaced: bool,
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
    /// Those who asked to follow the thread; who follows by a reply is not known here.
    pub followers: OrdSet<UserId>,
    /// Those who stopped to follow it.
    pub stopped: OrdSet<UserId>,
    /// How many events it has. All of them are read before it is changed again.
    pub changes: usize,
    /// How many bytes its edits have.
    pub edited_bytes: usize,
}

impl Message {
    /// Whether people see it, or a place holder instead of it.
    pub fn stands(&self) -> bool {
        self.exists && (!self.deleted || self.replaced)
    }

    /// Whether somebody may react so: as others did, or in another way, as long as there is room for it.
    fn takes_reaction(&self, reaction: &str) -> bool {
        let mut different = 0;
        let mut last = None;
        for (given, _) in &self.reactions {
            if given == reaction {
                return true;
            }
            if last.replace(given) != Some(given) {
                different += 1;
            }
        }
        different < limit::REACTIONS.most
    }

    /// Whether there is room for another change, with so many bytes of a new text. What can be done once
    /// only, or takes something back, needs none.
    fn check_changes(&self, bytes: usize) -> Result<(), MessageError> {
        let fits = self.changes < limit::CHANGES.most
            && self.edited_bytes.saturating_add(bytes) <= limit::EDITS.most;
        fits.then_some(()).ok_or(MessageError::ChangedTooMuch)
    }

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
                self.check_changes(free::size(&content))?;
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
                if !stands && add != Some(false) && !self.takes_reaction(&reaction) {
                    return Err(MessageError::TooManyReactions);
                }
                let reaction = Private::new(self.key, reaction);
                match (stands, add) {
                    (true, Some(true)) | (false, Some(false)) => return Ok(None),
                    (true, _) => E::ReactionRemoved {
                        room,
                        user,
                        reaction,
                    },
                    (false, _) => {
                        self.check_changes(0)?;
                        E::ReactionAdded {
                            room,
                            user,
                            reaction,
                        }
                    }
                }
            }
            C::Pin { .. } if self.pinned => return Err(MessageError::Pinned),
            C::Pin { by, at } => {
                self.check_changes(0)?;
                E::MessagePinned { room, by, at }
            }
            C::Unpin { .. } if !self.pinned => return Err(MessageError::NotPinned),
            C::Unpin { by } => E::MessageUnpinned { room, by },
            C::Star { user, star } if self.starred.contains(&user) == star => {
                return Ok(None);
            }
            C::Star { user, star: true } => {
                self.check_changes(0)?;
                E::MessageStarred { room, user }
            }
            C::Star { user, star: false } => E::MessageUnstarred { room, user },
            C::Follow { user, follow: true } if self.followers.contains(&user) => return Ok(None),
            C::Follow { user, follow: true } => {
                self.check_changes(0)?;
                E::ThreadFollowed { room, user }
            }
            // Also for those who are not known to follow: replies make followers, and stand in
            // streams of their own.
            C::Follow {
                user,
                follow: false,
            } if self.stopped.contains(&user) => return Ok(None),
            C::Follow {
                user,
                follow: false,
            } => E::ThreadUnfollowed { room, user },
            C::Report { by, reason } => {
                self.check_changes(0)?;
                E::MessageReported {
                    room,
                    by,
                    reason: Private::new(self.key, reason),
                }
            }
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
        self.changes += 1;
        match event {
            MessageEvent::MessageSent { sent, content } => {
                self.key = content.key();
                self.exists = true;
                self.room = sent.room;
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
                self.edited_bytes += free::size(&self.content);
            }
            MessageEvent::MessageDeleted { show_deleted, .. } => {
                self.deleted = true;
                self.replaced = show_deleted;
            }
            MessageEvent::ReactionAdded { user, reaction, .. } => {
                if let Some(reaction) = reaction.into_value() {
                    self.reactions.insert((reaction, user));
                }
            }
            MessageEvent::ReactionRemoved { user, reaction, .. } => {
                if let Some(reaction) = reaction.into_value() {
                    self.reactions.remove(&(reaction, user));
                }
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
                self.stopped.remove(&user);
                self.followers.insert(user);
            }
            MessageEvent::ThreadUnfollowed { user, .. } => {
                self.followers.remove(&user);
                self.stopped.insert(user);
            }
            MessageEvent::MessageReported { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;
    use crate::event::Event;

    const KEY: KeyId = KeyId(7);

    fn message() -> TestFramework<Message> {
        TestFramework::with(())
    }

    fn new() -> Sent {
        Sent {
            room: "GENERAL".into(),
            sender: "mary".into(),
            system: None,
            thread: None,
            mentions: Mentions::default(),
            integration: None,
            bot: false,
            groupable: true,
            discussion: None,
            has_files: false,
            at: Timestamp(5),
        }
    }

    fn content(text: &str) -> Content {
        Content {
            text: text.into(),
            ..Content::default()
        }
    }

    fn sent() -> MessageEvent {
        MessageEvent::MessageSent {
            sent: new(),
            content: Private::new(KEY, content("hello")),
        }
    }

    fn send() -> MessageCommand {
        MessageCommand::Send {
            key: KEY,
            sent: new(),
            content: content("hello"),
        }
    }

    fn edit() -> MessageCommand {
        MessageCommand::Edit {
            editor: "mary".into(),
            mentions: Mentions::default(),
            content: content("good evening"),
            at: Timestamp(6),
        }
    }

    fn delete(keep_history: bool) -> MessageCommand {
        MessageCommand::Delete {
            by: "mary".into(),
            keep_history,
            show_deleted: false,
            at: Timestamp(7),
        }
    }

    fn deleted(erased: Option<KeyId>) -> MessageEvent {
        MessageEvent::MessageDeleted {
            room: "GENERAL".into(),
            by: "mary".into(),
            erased,
            show_deleted: false,
            at: Timestamp(7),
        }
    }

    fn react(add: Option<bool>) -> MessageCommand {
        MessageCommand::React {
            user: "paul".into(),
            reaction: ":wave:".into(),
            add,
        }
    }

    fn reacted() -> MessageEvent {
        MessageEvent::ReactionAdded {
            room: "GENERAL".into(),
            user: "paul".into(),
            reaction: Private::new(KEY, ":wave:".into()),
        }
    }

    fn unreacted() -> MessageEvent {
        MessageEvent::ReactionRemoved {
            room: "GENERAL".into(),
            user: "paul".into(),
            reaction: Private::new(KEY, ":wave:".into()),
        }
    }

    fn pin() -> MessageCommand {
        MessageCommand::Pin {
            by: "mary".into(),
            at: Timestamp(8),
        }
    }

    fn pinned() -> MessageEvent {
        MessageEvent::MessagePinned {
            room: "GENERAL".into(),
            by: "mary".into(),
            at: Timestamp(8),
        }
    }

    fn unpinned() -> MessageEvent {
        MessageEvent::MessageUnpinned {
            room: "GENERAL".into(),
            by: "mary".into(),
        }
    }

    #[tokio::test]
    async fn a_message_is_sealed_under_a_key_of_its_own() {
        message()
            .given_no_previous_events()
            .when_async(send())
            .await
            .then_expect_events(vec![sent()]);
    }

    #[tokio::test]
    async fn a_message_is_sent_once_even_after_it_was_deleted() {
        for given in [vec![sent()], vec![sent(), deleted(Some(KEY))]] {
            message()
                .given(given)
                .when_async(send())
                .await
                .then_expect_error(MessageError::Exists);
        }
    }

    #[tokio::test]
    async fn nothing_can_be_done_to_a_message_that_is_not_there_or_was_deleted_or_erased() {
        let erased = MessageEvent::MessageSent {
            sent: new(),
            content: Private::Shredded { key: KEY },
        };
        for given in [vec![], vec![sent(), deleted(None)], vec![erased]] {
            for command in [
                edit(),
                delete(false),
                react(None),
                pin(),
                MessageCommand::Star {
                    user: "paul".into(),
                    star: true,
                },
                MessageCommand::Report {
                    by: "paul".into(),
                    reason: "rude".into(),
                },
            ] {
                message()
                    .given(given.clone())
                    .when_async(command)
                    .await
                    .then_expect_error(MessageError::Missing);
            }
        }
    }

    #[tokio::test]
    async fn an_edit_is_sealed_under_the_key_of_the_message() {
        message()
            .given(vec![sent()])
            .when_async(edit())
            .await
            .then_expect_events(vec![MessageEvent::MessageEdited {
                room: "GENERAL".into(),
                editor: "mary".into(),
                mentions: Mentions::default(),
                content: Private::new(KEY, content("good evening")),
                at: Timestamp(6),
            }]);
    }

    #[tokio::test]
    async fn what_the_system_said_is_not_edited() {
        let joined = MessageEvent::MessageSent {
            sent: Sent {
                system: Some("uj".into()),
                ..new()
            },
            content: Private::new(KEY, content("mary")),
        };
        message()
            .given(vec![joined])
            .when_async(edit())
            .await
            .then_expect_error(MessageError::System);
    }

    #[tokio::test]
    async fn a_deleted_message_names_its_key_for_shredding_unless_history_is_kept() {
        for (keep_history, erased) in [(false, Some(KEY)), (true, None)] {
            message()
                .given(vec![sent()])
                .when_async(delete(keep_history))
                .await
                .then_expect_events(vec![deleted(erased)]);
        }
    }

    #[tokio::test]
    async fn a_reaction_is_given_and_taken_back_in_turns() {
        for (given, add, then) in [
            (vec![sent()], None, vec![reacted()]),
            (vec![sent(), reacted()], None, vec![unreacted()]),
            (vec![sent(), reacted(), unreacted()], None, vec![reacted()]),
            (vec![sent(), reacted()], Some(true), vec![]),
            (vec![sent(), reacted()], Some(false), vec![unreacted()]),
            (vec![sent()], Some(false), vec![]),
        ] {
            message()
                .given(given)
                .when_async(react(add))
                .await
                .then_expect_events(then);
        }
    }

    #[tokio::test]
    async fn a_reaction_that_an_earlier_version_wrote_in_the_clear_is_taken_back() {
        let clear = r#"{"room":"GENERAL","user":"paul","reaction":":wave:"}"#;
        let read = Event::read("message", "ReactionAdded", 1, clear).unwrap();
        assert_eq!(read.payload().unwrap(), clear);
        let Event::Message(event) = read else {
            panic!("{read:?}");
        };
        message()
            .given(vec![sent(), event])
            .when_async(react(None))
            .await
            .then_expect_events(vec![unreacted()]);
    }

    #[tokio::test]
    async fn a_reaction_of_somebody_else_is_another_one() {
        let by_mary = MessageEvent::ReactionAdded {
            room: "GENERAL".into(),
            user: "mary".into(),
            reaction: Private::new(KEY, ":wave:".into()),
        };
        message()
            .given(vec![sent(), by_mary])
            .when_async(react(None))
            .await
            .then_expect_events(vec![reacted()]);
    }

    #[tokio::test]
    async fn a_message_is_changed_as_much_as_can_be_read_again_and_deleted_always() {
        let text = "x".repeat(limit::MESSAGE.most);
        let edited = MessageEvent::MessageEdited {
            room: "GENERAL".into(),
            editor: "mary".into(),
            mentions: Mentions::default(),
            content: Private::new(KEY, content(&text)),
            at: Timestamp(6),
        };
        let edits = limit::EDITS.most / limit::MESSAGE.most;
        let (room, user) = (RoomId::new("GENERAL"), UserId::new("paul"));
        let marks = (0..limit::CHANGES.most).map(|number| {
            let (room, user) = (room.clone(), user.clone());
            if number % 2 == 0 {
                MessageEvent::MessageStarred { room, user }
            } else {
                MessageEvent::MessageUnstarred { room, user }
            }
        });
        for full in [vec![edited; edits], marks.collect()] {
            let full: Vec<_> = std::iter::once(sent()).chain(full).collect();
            message()
                .given(full.clone())
                .when_async(edit())
                .await
                .then_expect_error(MessageError::ChangedTooMuch);
            message()
                .given(full)
                .when_async(delete(true))
                .await
                .then_expect_events(vec![deleted(None)]);
        }
    }

    #[tokio::test]
    async fn a_message_takes_so_many_different_reactions_and_any_number_of_each() {
        let by_mary = |number: usize| MessageEvent::ReactionAdded {
            room: "GENERAL".into(),
            user: "mary".into(),
            reaction: Private::new(KEY, format!(":{number}:")),
        };
        let full: Vec<_> = std::iter::once(sent())
            .chain((0..limit::REACTIONS.most).map(by_mary))
            .collect();
        message()
            .given(full.clone())
            .when_async(react(None))
            .await
            .then_expect_error(MessageError::TooManyReactions);
        message()
            .given(full)
            .when_async(MessageCommand::React {
                user: "paul".into(),
                reaction: ":7:".into(),
                add: None,
            })
            .await
            .then_expect_events(vec![MessageEvent::ReactionAdded {
                room: "GENERAL".into(),
                user: "paul".into(),
                reaction: Private::new(KEY, ":7:".into()),
            }]);
    }

    #[tokio::test]
    async fn a_message_is_pinned_and_unpinned_in_turns() {
        let unpin = || MessageCommand::Unpin { by: "mary".into() };
        message()
            .given(vec![sent()])
            .when_async(pin())
            .await
            .then_expect_events(vec![pinned()]);
        message()
            .given(vec![sent(), pinned()])
            .when_async(pin())
            .await
            .then_expect_error(MessageError::Pinned);
        message()
            .given(vec![sent(), pinned()])
            .when_async(unpin())
            .await
            .then_expect_events(vec![unpinned()]);
        message()
            .given(vec![sent(), pinned(), unpinned()])
            .when_async(unpin())
            .await
            .then_expect_error(MessageError::NotPinned);
    }

    #[tokio::test]
    async fn a_star_is_the_users_own_and_recorded_when_it_changes() {
        let star = |star| MessageCommand::Star {
            user: "paul".into(),
            star,
        };
        let starred = |user: &str| MessageEvent::MessageStarred {
            room: "GENERAL".into(),
            user: user.into(),
        };
        let unstarred = MessageEvent::MessageUnstarred {
            room: "GENERAL".into(),
            user: "paul".into(),
        };
        for (given, command, then) in [
            (vec![sent()], star(true), vec![starred("paul")]),
            (
                vec![sent(), starred("mary")],
                star(true),
                vec![starred("paul")],
            ),
            (vec![sent(), starred("paul")], star(true), vec![]),
            (vec![sent(), starred("paul")], star(false), vec![unstarred]),
            (vec![sent(), starred("mary")], star(false), vec![]),
        ] {
            message()
                .given(given)
                .when_async(command)
                .await
                .then_expect_events(then);
        }
    }

    #[tokio::test]
    async fn a_thread_is_followed_once() {
        let follow = || MessageCommand::Follow {
            user: "paul".into(),
            follow: true,
        };
        let followed = || MessageEvent::ThreadFollowed {
            room: "GENERAL".into(),
            user: "paul".into(),
        };
        message()
            .given(vec![sent()])
            .when_async(follow())
            .await
            .then_expect_events(vec![followed()]);
        message()
            .given(vec![sent(), followed()])
            .when_async(follow())
            .await
            .then_expect_events(vec![]);
    }

    #[tokio::test]
    async fn who_follows_a_thread_by_a_reply_can_stop_following() {
        message()
            .given(vec![sent()])
            .when_async(MessageCommand::Follow {
                user: "paul".into(),
                follow: false,
            })
            .await
            .then_expect_events(vec![MessageEvent::ThreadUnfollowed {
                room: "GENERAL".into(),
                user: "paul".into(),
            }]);
    }

    #[tokio::test]
    async fn the_reason_of_a_report_is_sealed_with_the_message() {
        message()
            .given(vec![sent()])
            .when_async(MessageCommand::Report {
                by: "paul".into(),
                reason: "rude".into(),
            })
            .await
            .then_expect_events(vec![MessageEvent::MessageReported {
                room: "GENERAL".into(),
                by: "paul".into(),
                reason: Private::new(KEY, "rude".into()),
            }]);
    }

    #[test]
    fn an_edit_replaces_the_text_and_whom_it_calls() {
        let mut message = Message::default();
        message.apply(sent());
        message.apply(MessageEvent::MessageEdited {
            room: "GENERAL".into(),
            editor: "mary".into(),
            mentions: Mentions {
                users: vec!["paul".into()],
                everybody: false,
            },
            content: Private::new(KEY, content("good evening, @paul")),
            at: Timestamp(6),
        });
        assert_eq!(message.content, content("good evening, @paul"));
        assert_eq!(message.mentions.users, ["paul".into()]);
    }
}
