//! Changing what was said.

use hansard_domain::free::FreeObject;
use hansard_domain::id::{MessageId, RoomId, Timestamp};
use hansard_domain::limit;
use hansard_domain::log::Version;
use hansard_domain::message::{Message, MessageCommand};
use serde_json::Value;

use super::send::{check_room, check_size, check_whole};
use super::{check_sight, custom_fields, invalid_message, on_message, text};
use crate::authorization::sight::Purpose;
use crate::bus::{Commands, message_stream};
use crate::caller::Caller;
use crate::error::CommandError;
use crate::model::WriteModel;

#[derive(Debug, Clone)]
pub struct Edit {
    pub message: MessageId,
    /// Where the client thinks the message is.
    pub room: RoomId,
    pub text: String,
    /// What replaces the custom fields, if anything does.
    pub custom_fields: Option<FreeObject>,
    /// The links that shall have a preview; when given, the same text is looked through again.
    pub previews: Option<Vec<String>>,
}

/// Gives a message another text. Its sender may while the workspace allows editing, others with
/// `edit-message`; for so many minutes unless `bypass-time-limit-edit-and-delete` is granted.
///
/// Answers the version of the message since; `None` if there was nothing to change.
pub async fn edit(
    commands: &Commands,
    caller: &Caller,
    edit: Edit,
) -> Result<Option<Version>, CommandError> {
    let missing = || {
        CommandError::plain(format!(
            "No message found with the id of \"{}\".",
            edit.message
        ))
    };
    on_message(commands, &edit.message, missing, async |message| {
        let editor = caller.user_id()?.clone();
        let model = commands.model();
        // Before anything is told of the message.
        check_sight(
            &model,
            caller,
            &message.room,
            Purpose::Participation,
            || CommandError::denied("", "error-not-allowed"),
            missing,
        )?;
        if message.room != edit.room {
            return Err(CommandError::plain(
                "The room id provided does not match where the message is from.",
            ));
        }
        // The text under a file is its description.
        let mut attachments = message.content.attachments.read();
        let described = attachments
            .first()
            .and_then(|attachment| attachment.get("description").and_then(Value::as_str));
        let same = described.unwrap_or(&message.content.text) == edit.text;
        if same && edit.previews.is_none() && edit.custom_fields.is_none() {
            return Ok(None);
        }
        check_size(&model, &edit.text)?;
        if let Some(fields) = &edit.custom_fields {
            fields.check(&limit::MESSAGE_FIELDS)?;
        }
        limit::PREVIEWS.check_each(edit.previews.as_deref().unwrap_or_default(), &limit::URL)?;
        let mut content = message.content.clone();
        let clean = text::without_bad_words(&model, &edit.text);
        let is_described = described.is_some();
        match attachments.first_mut() {
            Some(attachment) if is_described => attachment["description"] = clean.into(),
            _ => content.text = clean,
        }
        content.urls = text::links(&content.text);
        content.previews.clone_from(&edit.previews);
        // Quotes came from links in the old text.
        attachments.retain(|attachment| attachment.get("message_link").is_none());
        content.attachments = attachments.into();
        let mentions = text::mention(&model, caller, &mut content);
        if let Some(fields) = &edit.custom_fields {
            content.custom_fields = fields.clone().into_inner().into();
        }
        check_whole(&content)?;
        let fields = edit.custom_fields.clone();
        let id = edit.message.clone();
        let stream = message_stream(&id);
        let weight = content.size();
        let done = commands
            .run_heavy(caller, weight, move |decision| {
                let now = decision.now();
                may_edit(decision.model(), decision.caller(), &message, now)?;
                check_room(decision.model(), decision.caller(), &editor, &message.room)?;
                if let Some(fields) = &fields {
                    custom_fields::check(decision.model(), fields)?;
                }
                let command = MessageCommand::Edit {
                    editor: editor.clone(),
                    mentions: mentions.clone(),
                    content: content.clone(),
                    at: now,
                };
                decision.message(&id, &message, command)
            })
            .await?;
        let own = done.entries().iter().filter(|entry| entry.stream == stream);
        Ok(own.map(|entry| entry.version).next_back())
    })
    .await
}

fn may_edit(
    model: &WriteModel,
    caller: &Caller,
    message: &Message,
    now: Timestamp,
) -> Result<(), CommandError> {
    if message.system.is_some() {
        return Err(invalid_message());
    }
    let room = Some(&message.room);
    let own = caller.user.as_ref() == Some(&message.sender);
    let allowed = own && model.flag("Message_AllowEditing");
    if !allowed && !model.allows(caller, "edit-message", room) {
        return Err(CommandError::denied(
            "error-action-not-allowed",
            "Message editing not allowed",
        ));
    }
    let minutes = model.number("Message_AllowEditing_BlockEditInMinutes");
    let age = now.0.saturating_sub(message.at.0) / 60_000;
    if minutes > 0
        && age >= minutes
        && !model.allows(caller, "bypass-time-limit-edit-and-delete", room)
    {
        return Err(CommandError::denied(
            "error-message-editing-blocked",
            "Message editing is blocked",
        ));
    }
    Ok(())
}
