//! What is put on a message: reactions, pins, stars, followers of its thread, reports.

use hansard_domain::event::Event;
use hansard_domain::id::{MessageId, RoomId, UserId};
use hansard_domain::limit;
use hansard_domain::message::{Content, Message, MessageCommand, MessageEvent};
use hansard_domain::room::Room;
use hansard_domain::subscription::SubscriptionCommand;
use serde_json::json;

use super::{check_sight, invalid_message, may_write, on_message};
use crate::after::MessageAfter;
use crate::authorization::sight::Purpose;
use crate::bus::Commands;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::model::{Versioned, WriteModel};
use crate::subscription::on_subscription;

#[derive(Debug, Clone)]
pub struct Reaction {
    pub message: MessageId,
    /// An emoji's name, with or without its colons.
    pub emoji: String,
    /// Add it (or take it back); the other of the two when not said.
    pub add: Option<bool>,
}

pub async fn react(
    commands: &Commands,
    caller: &Caller,
    asked: Reaction,
) -> Result<(), CommandError> {
    limit::REACTION.check(&asked.emoji)?;
    let name = asked.emoji.replace(':', "");
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|letter| letter.is_alphanumeric() || "_+-".contains(letter));
    on_message(commands, &asked.message, not_found, async |message| {
        let user = caller.user_id()?.clone();
        let (id, add, name) = (asked.message.clone(), asked.add, name.clone());
        commands
            .run(caller, move |decision| {
                let model = decision.model();
                let room = readable(model, decision.caller(), &message.room)?;
                if !is_name {
                    return Err(CommandError::refused(
                        "error-not-allowed",
                        "Invalid emoji provided.",
                    ));
                }
                if room.muted.contains(&user) {
                    return Err(CommandError::refused(
                        "error-not-allowed",
                        "You_have_been_muted",
                    ));
                }
                if !room.switches.react_when_read_only {
                    may_write(model, &user, &message.room, room)?;
                }
                let command = MessageCommand::React {
                    user: user.clone(),
                    reaction: format!(":{name}:"),
                    add,
                };
                decision.message(&id, &message, command)
            })
            .await
            .map(|_| ())
    })
    .await
}

/// Pins a message; answers the system message that says so.
pub async fn pin(
    commands: &Commands,
    caller: &Caller,
    id: &MessageId,
) -> Result<Option<MessageAfter>, CommandError> {
    on_message(commands, id, not_found, async |message| {
        let user = caller.user_id()?.clone();
        let id = id.clone();
        let done = commands
            .run(caller, move |decision| {
                may_pin(
                    decision.model(),
                    decision.caller(),
                    &user,
                    &message,
                    "pinning",
                )?;
                let author = decision.author(&user)?;
                if message.pinned {
                    return Ok(author);
                }
                // The notice points at what was pinned and does not repeat it: erasing the message
                // must leave no copy.
                let content = Content {
                    attachments: vec![json!({
                        "message_link": format!("/group/{}?msg={id}", message.room),
                        "ts": message.at.iso(),
                        "attachments": [],
                    })]
                    .into(),
                    about: Some(message.sender.clone()),
                    ..Content::default()
                };
                let command = MessageCommand::Pin {
                    by: user.clone(),
                    at: decision.now(),
                };
                decision.message(&id, &message, command)?;
                decision.system_message_with(&message.room, "message_pinned", &user, content)?;
                Ok(author)
            })
            .await?;
        let author = done.answer;
        let notice = done.batch.and_then(|batch| {
            let sent = batch.iter().find(|entry| {
                matches!(
                    entry.event,
                    Event::Message(MessageEvent::MessageSent { .. })
                )
            });
            sent.cloned()
        });
        Ok(notice.map(|entry| MessageAfter { entry, author }))
    })
    .await
}

pub async fn unpin(
    commands: &Commands,
    caller: &Caller,
    id: &MessageId,
) -> Result<(), CommandError> {
    on_message(commands, id, not_found, async |message| {
        let user = caller.user_id()?.clone();
        let id = id.clone();
        commands
            .run(caller, move |decision| {
                may_pin(
                    decision.model(),
                    decision.caller(),
                    &user,
                    &message,
                    "unpinning",
                )?;
                if !message.pinned {
                    return Ok(());
                }
                decision.message(&id, &message, MessageCommand::Unpin { by: user.clone() })
            })
            .await
            .map(|_| ())
    })
    .await
}

fn may_pin(
    model: &WriteModel,
    caller: &Caller,
    user: &UserId,
    message: &Message,
    doing: &str,
) -> Result<(), CommandError> {
    if !model.flag("Message_AllowPinning") {
        return Err(CommandError::refused(
            "error-action-not-allowed",
            format!("Message {doing} not allowed"),
        ));
    }
    if !readable(model, caller, &message.room)?.is_member(user) {
        return Err(CommandError::refused(
            "error-invalid-message",
            format!("Message you are {doing} was not found"),
        ));
    }
    model.require_or(
        caller,
        "pin-message",
        Some(&message.room),
        "not-authorized",
        "Not Authorized",
    )
}

/// Stars a message for the caller alone, or takes the star back. Nothing happens for somebody who is
/// not in the room.
pub async fn star(
    commands: &Commands,
    caller: &Caller,
    id: &MessageId,
    star: bool,
) -> Result<(), CommandError> {
    on_message(commands, id, not_found, async |message| {
        let user = caller.user_id()?.clone();
        let id = id.clone();
        commands
            .run(caller, move |decision| {
                let model = decision.model();
                if !model.flag("Message_AllowStarring") {
                    return Err(CommandError::refused(
                        "error-action-not-allowed",
                        "Message starring not allowed",
                    ));
                }
                let room = readable(model, decision.caller(), &message.room)?;
                if !room.is_member(&user) {
                    return Ok(());
                }
                let command = MessageCommand::Star {
                    user: user.clone(),
                    star,
                };
                decision.message(&id, &message, command)
            })
            .await
            .map(|_| ())
    })
    .await
}

/// Follows the thread that a message hangs on or stands in, or stops.
pub async fn follow(
    commands: &Commands,
    caller: &Caller,
    id: &MessageId,
    follow: bool,
) -> Result<(), CommandError> {
    if !commands.model().flag("Threads_enabled") {
        return Err(CommandError::refused("error-not-allowed", "not-allowed"));
    }
    let asked = commands.message(id).await?.ok_or_else(invalid_message)?;
    let parent = asked
        .thread
        .as_ref()
        .map_or_else(|| id.clone(), |thread| thread.parent.clone());
    on_message(commands, &parent, invalid_message, async |message| {
        let user = caller.user_id()?.clone();
        let id = parent.clone();
        commands
            .run(caller, move |decision| {
                let model = decision.model();
                if !model.sees(decision.caller(), &message.room, Purpose::Messages) {
                    return Err(CommandError::denied("error-not-allowed", "not-allowed"));
                }
                let command = MessageCommand::Follow {
                    user: user.clone(),
                    follow,
                };
                decision.message(&id, &message, command)
            })
            .await
            .map(|_| ())
    })
    .await
}

/// Reports a message to those who moderate.
pub async fn report(
    commands: &Commands,
    caller: &Caller,
    id: &MessageId,
    reason: String,
) -> Result<(), CommandError> {
    if reason.trim().is_empty() {
        return Err(CommandError::plain("error-invalid-description"));
    }
    limit::REPORT.check(&reason)?;
    let missing = || CommandError::plain("error-invalid-message_id");
    on_message(commands, id, missing, async |message| {
        let user = caller.user_id()?.clone();
        let (id, reason) = (id.clone(), reason.clone());
        commands
            .run(caller, move |decision| {
                let (model, caller) = (decision.model(), decision.caller());
                let missing = || CommandError::plain("error-invalid-message_id");
                check_sight(
                    model,
                    caller,
                    &message.room,
                    Purpose::Messages,
                    missing,
                    missing,
                )?;
                let command = MessageCommand::Report {
                    by: user.clone(),
                    reason: reason.clone(),
                };
                decision.message(&id, &message, command)
            })
            .await
            .map(|_| ())
    })
    .await
}

/// Hides what somebody says in a room from the caller, or shows it again.
pub async fn ignore_user(
    commands: &Commands,
    caller: &Caller,
    room: RoomId,
    other: UserId,
    ignore: bool,
) -> Result<(), CommandError> {
    on_subscription(commands, caller, &room, move |decision, loaded| {
        let (model, caller) = (decision.model(), decision.caller());
        let (room, user) = (loaded.room(), loaded.user());
        // Who may not know the members ignores whom it likes.
        let ignorable = match model.room(room) {
            Some(found) if !model.sees(caller, room, Purpose::Members) => {
                found.is_member(user) && model.account(&other).is_some()
            }
            Some(found) => found.is_member(user) && found.is_member(&other),
            None => false,
        };
        if !ignorable {
            let error = CommandError::refused("error-invalid-subscription", "Invalid subscription");
            return Err(model.refusal(caller, room, error));
        }
        let command = SubscriptionCommand::Ignore {
            user: other.clone(),
            ignore,
        };
        decision.subscription(loaded, command)
    })
    .await
}

/// The room of a message that the caller may read.
fn readable<'m>(
    model: &'m WriteModel,
    caller: &Caller,
    room: &RoomId,
) -> Result<&'m Versioned<Room>, CommandError> {
    let refused = || CommandError::denied("not-authorized", "Not Authorized");
    check_sight(model, caller, room, Purpose::Messages, refused, not_found)
}

fn not_found() -> CommandError {
    CommandError::refused(
        "error-message-not-found",
        "The provided \"messageId\" does not match any existing message.",
    )
}
