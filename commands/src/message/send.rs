//! Saying something in a room.

use std::time::Duration;

use hansard_domain::event::Event;
use hansard_domain::free::{self, FreeList, FreeObject};
use hansard_domain::id::{IntegrationId, MessageId, RoomId, Timestamp, UserId};
use hansard_domain::limit::{self, OutOfBounds};
use hansard_domain::message::{Content, Mentions, MessageEvent, Sent, ThreadReply};
use hansard_domain::room::Room;

use super::{attachment, check_sight, custom_fields, may_write, text};
use crate::after::MessageAfter;
use crate::authorization::sight::Purpose;
use crate::bus::Commands;
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::integration::answerable::check_post;
use crate::model::{Versioned, WriteModel};

/// A client's clock may be wrong by so much; beyond [`FORGIVEN`] the server's time is taken.
const TOLERATED: Duration = Duration::from_secs(60);
const FORGIVEN: Duration = Duration::from_secs(10);

pub(super) const SIZE_EXCEEDED: &str = "error-message-size-exceeded";

/// A message on its way into a room.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// What the client calls it, so that sending again is the same message.
    pub id: Option<MessageId>,
    /// A reply goes where its thread is, whatever stands here.
    pub room: Option<RoomId>,
    pub text: String,
    pub alias: Option<String>,
    pub emoji: Option<String>,
    pub avatar: Option<String>,
    pub attachments: FreeList,
    pub blocks: FreeList,
    pub custom_fields: Option<FreeObject>,
    /// What the client calls the message that the thread hangs on, or a reply in it.
    pub thread: Option<MessageId>,
    /// A reply that the room sees, too.
    pub shown: bool,
    /// The time the client shows.
    pub at: Option<Timestamp>,
    pub parse_urls: bool,
    /// The links that shall have a preview; all of them when not said.
    pub previews: Option<Vec<String>>,
    pub groupable: bool,
    pub bot: bool,
    pub integration: Option<IntegrationId>,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self {
            id: None,
            room: None,
            text: String::new(),
            alias: None,
            emoji: None,
            avatar: None,
            attachments: FreeList::default(),
            blocks: FreeList::default(),
            custom_fields: None,
            thread: None,
            shown: false,
            at: None,
            parse_urls: true,
            previews: None,
            groupable: true,
            bot: false,
            integration: None,
        }
    }
}

impl Outgoing {
    /// Refuses what is too large, before anything is done for it.
    pub(super) fn check_size(&self, model: &WriteModel) -> Result<(), CommandError> {
        self.check_fields()?;
        check_size(model, &self.text)?;
        check_bytes(self.bytes())
    }

    /// How large it is.
    pub(super) fn bytes(&self) -> usize {
        let free = free::size(&self.attachments) + free::size(&self.blocks);
        self.text.len() + free + free::size(&self.custom_fields)
    }

    fn check_fields(&self) -> Result<(), OutOfBounds> {
        limit::ALIAS.check_given(self.alias.as_deref())?;
        limit::EMOJI.check_given(self.emoji.as_deref())?;
        limit::AVATAR.check_given(self.avatar.as_deref())?;
        limit::ATTACHMENTS.check_count(self.attachments.len())?;
        limit::BLOCKS.check_count(self.blocks.len())?;
        if let Some(fields) = &self.custom_fields {
            fields.check(&limit::MESSAGE_FIELDS)?;
        }
        let previews = self.previews.as_deref().unwrap_or_default();
        limit::PREVIEWS.check_each(previews, &limit::URL)
    }
}

/// What came of sending.
#[derive(Debug, Clone)]
pub enum Said {
    /// The new message.
    New(MessageAfter),
    /// The same sender had sent a message of this id into this room before; that one stands.
    Already(MessageId),
}

impl Said {
    pub fn id(&self) -> MessageId {
        match self {
            Self::New(new) => MessageId::new(new.entry.stream.key()),
            Self::Already(id) => id.clone(),
        }
    }
}

/// Sends a message into a room that the caller can see and may write in.
pub async fn send(
    commands: &Commands,
    caller: &Caller,
    message: Outgoing,
) -> Result<Said, CommandError> {
    if message.shown && message.thread.is_none() {
        return Err(CommandError::refused(
            "invalid-params",
            "tshow provided but missing tmid",
        ));
    }
    let prepared = prepare(commands, caller, message).await?;
    deliver(commands, caller, prepared, |_, _| Ok(())).await
}

/// A message whose text has been looked through.
#[derive(Clone)]
pub(super) struct Prepared {
    id: Option<MessageId>,
    room: RoomId,
    sender: UserId,
    content: Content,
    mentions: Mentions,
    thread: Option<ThreadReply>,
    at: Option<Timestamp>,
    groupable: bool,
    bot: bool,
    integration: Option<IntegrationId>,
}

/// Does beforehand what needs no decision: reads the thread's parent, checks and parses.
pub(super) async fn prepare(
    commands: &Commands,
    caller: &Caller,
    mut message: Outgoing,
) -> Result<Prepared, CommandError> {
    let sender = caller.user_id()?.clone();
    let model = commands.model();
    if message.thread.is_some() && !model.flag("Threads_enabled") {
        return Err(CommandError::refused("error-not-allowed", "not-allowed"));
    }
    let at = shown_time(message.at, commands.clock().now())?;
    message.check_size(&model)?;
    let id = match message.id.take() {
        Some(called) => Some(commands.message_id(called).await?),
        None => None,
    };
    let mut thread = None;
    if let Some(called) = message.thread.take() {
        let asked = commands.message_id(called).await?;
        let (reply, room) = reply(commands, asked, &sender, message.shown).await?;
        thread = Some(reply);
        if message.room.as_ref().is_some_and(|asked| *asked != room) {
            let elsewhere = CommandError::refused(
                "error-invalid-room",
                "The message of the id in tmid is in another room",
            );
            return Err(model.refusal(caller, &room, elsewhere));
        }
        message.room = Some(room);
    }
    let Some(room) = message.room else {
        return Err(CommandError::plain(
            "The 'rid' property on the message object is missing.",
        ));
    };
    // Decided again on the newest state; here it keeps the work below from those it is not for.
    check_room(&model, caller, &sender, &room)?;
    let mut attachments = message.attachments.into_inner();
    attachment::check(&mut attachments)?;
    let mut content = Content {
        text: text::without_bad_words(&model, &message.text),
        alias: message.alias.filter(|alias| !alias.is_empty()),
        emoji: message.emoji.filter(|emoji| !emoji.is_empty()),
        avatar: message.avatar.filter(|avatar| !avatar.is_empty()),
        attachments: attachments.into(),
        blocks: message.blocks.into_inner().into(),
        custom_fields: message
            .custom_fields
            .clone()
            .unwrap_or_default()
            .into_inner()
            .into(),
        ..Content::default()
    };
    // What an integration says it is called stands beside the name of the account it posts as.
    let impersonates = content.alias.is_some() || content.avatar.is_some();
    if impersonates
        && message.integration.is_none()
        && !model.allows(caller, "message-impersonate", Some(&room))
    {
        return Err(CommandError::denied("", "Not enough permission"));
    }
    if let Some(avatar) = &content.avatar {
        attachment::check_avatar(avatar)?;
    }
    if let Some(fields) = &message.custom_fields {
        custom_fields::check(&model, fields)?;
    }
    if message.parse_urls {
        content.urls = text::links(&content.text);
        content.previews = message.previews;
    }
    let mentions = text::mention(&model, caller, &mut content);
    check_whole(&content)?;
    if let Some(thread) = thread
        .as_mut()
        .filter(|thread| !thread.followers.is_empty())
    {
        let called = mentions.users.iter();
        thread.followers.extend(called.cloned());
        thread.followers.sort_unstable();
        thread.followers.dedup();
    }
    Ok(Prepared {
        id,
        room,
        sender,
        content,
        mentions,
        thread,
        at,
        groupable: message.groupable,
        bot: message.bot,
        integration: message.integration,
    })
}

/// Has a prepared message recorded, `first` with it; the answer to a message that is there already
/// is that one.
pub(super) async fn deliver(
    commands: &Commands,
    caller: &Caller,
    prepared: Prepared,
    mut first: impl FnMut(&mut Decision<'_>, &RoomId) -> Result<(), CommandError> + Send + 'static,
) -> Result<Said, CommandError> {
    let chosen = prepared.id.clone();
    let room = prepared.room.clone();
    let weight = prepared.content.size();
    let done = commands
        .run_heavy(caller, weight, move |decision| {
            first(decision, &prepared.room)?;
            let author = decision.author(&prepared.sender)?;
            Ok((decide(decision, prepared.clone())?, author))
        })
        .await;
    match (done, chosen) {
        (Ok(done), _) => {
            let (id, author) = done.answer;
            let entries = done.batch.iter().flat_map(|batch| batch.iter());
            let sent = entries.into_iter().find(|entry| {
                matches!(
                    entry.event,
                    Event::Message(MessageEvent::MessageSent { .. })
                ) && entry.stream.key() == id.as_str()
            });
            let entry = sent.cloned().ok_or(CommandError::Stopping)?;
            Ok(Said::New(MessageAfter { entry, author }))
        }
        (Err(CommandError::Conflict(_)), Some(id)) => {
            already(commands, caller.user_id()?, &room, id).await
        }
        (Err(error), _) => Err(error),
    }
}

fn decide(decision: &mut Decision<'_>, message: Prepared) -> Result<MessageId, CommandError> {
    let Prepared {
        id,
        room,
        sender,
        content,
        mentions,
        thread,
        at,
        groupable,
        bot,
        integration,
    } = message;
    let caller = decision.caller();
    check_room(decision.model(), caller, &sender, &room)?;
    if mentions.everybody {
        check_call(decision.model(), caller, &room, &content)?;
    }
    let id = id.unwrap_or_else(|| MessageId::new(decision.id()));
    let sent = Sent {
        room,
        sender,
        system: None,
        thread,
        mentions,
        integration,
        bot,
        groupable,
        discussion: None,
        has_files: false,
        at: at.unwrap_or(decision.now()),
    };
    decision.new_message(&id, sent, content)?;
    Ok(id)
}

/// The room; an error if it is not there, or the caller can't see it or may not write in it.
pub(super) fn check_room<'m>(
    model: &'m WriteModel,
    caller: &Caller,
    sender: &UserId,
    room: &RoomId,
) -> Result<&'m Versioned<Room>, CommandError> {
    let found = check_sight(
        model,
        caller,
        room,
        Purpose::Participation,
        || CommandError::denied("", "error-not-allowed"),
        || CommandError::plain("error-invalid-room"),
    )?;
    if found.switches.encrypted
        && model.flag("E2E_Enable")
        && !model.flag("E2E_Allow_Unencrypted_Messages")
    {
        return Err(CommandError::refused(
            "error-not-allowed",
            "Not allowed to send un-encrypted messages in an encrypted room",
        ));
    }
    may_write(model, sender, room, found)?;
    check_post(model, caller, sender, room)?;
    Ok(found)
}

/// Refuses `@all` and `@here` to those who may not call everybody, and in rooms too large for it.
fn check_call(
    model: &WriteModel,
    caller: &Caller,
    room: &RoomId,
    content: &Content,
) -> Result<(), CommandError> {
    let most = model.number("Message_MaxAll");
    let members = model.room(room).map_or(0, |room| room.members.len());
    if most > 0 && members as i64 > most {
        return Err(CommandError::refused(
            "error-action-not-allowed",
            format!("Group mentions are disabled in rooms of more than {most} members"),
        ));
    }
    for (who, permission) in [("all", "mention-all"), ("here", "mention-here")] {
        let called = content.mentions.iter().any(|mention| mention["_id"] == who);
        if called && !model.allows(caller, permission, Some(room)) {
            return Err(CommandError::denied(
                "error-action-not-allowed",
                format!("Notify {who} in this room not allowed"),
            ));
        }
    }
    Ok(())
}

pub(super) fn check_size(model: &WriteModel, text: &str) -> Result<(), CommandError> {
    // Rocket.Chat counts UTF-16 units; a text has at most as many as bytes.
    let most = usize::try_from(model.number("Message_MaxAllowedSize")).unwrap_or(0);
    if text.len() <= most || text.encode_utf16().count() <= most {
        return Ok(());
    }
    Err(CommandError::refused(
        SIZE_EXCEEDED,
        "Message size exceeds Message_MaxAllowedSize",
    ))
}

/// Refuses a message that is too large with all that belongs to it.
pub(super) fn check_whole(content: &Content) -> Result<(), CommandError> {
    check_bytes(free::size(content))
}

fn check_bytes(bytes: usize) -> Result<(), CommandError> {
    limit::MESSAGE
        .check_count(bytes)
        .map_err(|excess| CommandError::refused(SIZE_EXCEEDED, excess.to_string()))
}

/// The time a message shows: the client's where its clock is about right.
fn shown_time(asked: Option<Timestamp>, now: Timestamp) -> Result<Option<Timestamp>, CommandError> {
    let Some(asked) = asked else { return Ok(None) };
    let off = Duration::from_millis(asked.0.abs_diff(now.0));
    if off > TOLERATED {
        return Err(CommandError::refused(
            "error-message-ts-out-of-sync",
            "Message timestamp is out of sync",
        ));
    }
    Ok((off <= FORGIVEN).then_some(asked))
}

/// A reply's place: in the thread of the message it answers, and in that one's room. A thread has no
/// threads.
///
/// Other than in Rocket.Chat there has to be such a message: somebody could send it later, elsewhere, and
/// the thread would lead from one room into another. Nor does a reply go into another room than its sender
/// asks for.
async fn reply(
    commands: &Commands,
    asked: MessageId,
    sender: &UserId,
    shown: bool,
) -> Result<(ThreadReply, RoomId), CommandError> {
    let missing = || {
        CommandError::refused(
            "error-invalid-message",
            "There is no message of the id in tmid to reply to",
        )
    };
    let mut parent = asked;
    let mut message = commands.message(&parent).await?.ok_or_else(missing)?;
    if let Some(thread) = message.thread.clone() {
        parent = thread.parent;
        message = commands.message(&parent).await?.ok_or_else(missing)?;
    }
    let mut followers = Vec::new();
    // Nobody follows what is there no more.
    if message.stands() {
        followers.push(sender.clone());
        // Its author follows from the start, and may have stopped.
        if !message.stopped.contains(&message.sender) {
            followers.push(message.sender.clone());
        }
    }
    let room = message.room.clone();
    let reply = ThreadReply {
        parent,
        shown,
        followers,
    };
    Ok((reply, room))
}

/// A message of this id is there already: the same one if the same user sent it to the same room.
async fn already(
    commands: &Commands,
    sender: &UserId,
    room: &RoomId,
    id: MessageId,
) -> Result<Said, CommandError> {
    let stands = commands.message(&id).await?;
    let same = stands.is_some_and(|message| {
        message.sender == *sender && message.room == *room && !message.deleted
    });
    if same {
        return Ok(Said::Already(id));
    }
    Err(CommandError::refused(
        "error-message-exists",
        "A message with this id exists already",
    ))
}
