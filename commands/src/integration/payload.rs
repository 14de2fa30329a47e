//! What an outgoing webhook tells its receiver: Rocket.Chat's fields, made from the log and the write
//! model when a delivery is due.

use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::integration::{Cause, Delivery, Integration, Trigger};
use hansard_domain::log::{Position, StreamId, Version};
use hansard_domain::message::{Message, MessageEvent};
use hansard_domain::vault::KeyId;
use serde_json::{Map, Value, json};

use super::trigger::trigger_word;
use crate::bus::Commands;
use crate::error::CommandError;
use crate::model::WriteModel;
use cqrs_es::Aggregate;

/// What is to be sent, and what becomes of the record of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    pub body: Map<String, Value>,
    /// Seals the record of it.
    pub key: KeyId,
    /// What it carries is sealed under these: once one of them is gone it is not to be sent any more.
    pub carried: Vec<KeyId>,
    /// Names in the body that are not to be kept as long as the key.
    pub names: Vec<String>,
}

/// What a delivery carries; `None` when it has been erased, or deleted, in the meantime.
pub async fn payload(
    commands: &Commands,
    model: &WriteModel,
    integration: &Integration,
    delivery: &Delivery,
) -> Result<Option<Payload>, CommandError> {
    let Some(cause) = &delivery.cause else {
        return Ok(None);
    };
    if let Some(id) = &cause.message {
        let stream = StreamId::new(Message::TYPE, id);
        let entries = commands.journal().stream(&stream, Version::NONE).await?;
        let said = said(entries.iter().map(AsRef::as_ref), cause.position);
        return Ok(said.and_then(|said| of_message(model, integration, cause, id, &said)));
    }
    Ok(match cause.trigger {
        Trigger::UserCreated => of_user(model, integration, cause, delivery.queued),
        _ => of_room(model, integration, cause, delivery.queued),
    })
}

/// A message as it stood after an event.
struct Said {
    message: Message,
    edited: bool,
    /// What it shows of where it came from.
    bot: Option<Value>,
}

fn said<'a>(entries: impl Iterator<Item = &'a Entry>, until: Position) -> Option<Said> {
    let mut said = Said {
        message: Message::default(),
        edited: false,
        bot: None,
    };
    for entry in entries {
        let Event::Message(event) = &entry.event else {
            continue;
        };
        // Whatever came later: what has been deleted is sent no more.
        if let MessageEvent::MessageDeleted { .. } = event {
            return None;
        }
        if entry.position > until {
            continue;
        }
        if let MessageEvent::MessageSent { sent, content } = event {
            content.value()?;
            let integration = sent.integration.as_ref();
            said.bot = integration.map(|id| json!({ "i": id }));
        }
        said.edited |= matches!(event, MessageEvent::MessageEdited { .. });
        said.message.apply(event.clone());
    }
    (said.message.exists && !said.message.deleted).then_some(said)
}

fn of_message(
    model: &WriteModel,
    integration: &Integration,
    cause: &Cause,
    id: &MessageId,
    said: &Said,
) -> Option<Payload> {
    let message = &said.message;
    let content = &message.content;
    let room = model.room(&message.room)?;
    let mut body = start(integration);
    if cause.trigger == Trigger::SendMessage
        && let Ok(Some(word)) = trigger_word(&integration.details, &content.text)
    {
        body.insert("trigger_word".into(), word.into());
    }
    body.insert("channel_id".into(), json!(message.room));
    body.insert("channel_name".into(), name(&room.details.name));
    body.insert("message_id".into(), json!(id));
    body.insert("timestamp".into(), message.at.iso().into());
    body.insert("user_id".into(), json!(message.sender));
    body.insert("user_name".into(), json!(username(model, &message.sender)));
    body.insert("text".into(), content.text.clone().into());
    if let Some(alias) = content.alias.as_ref().filter(|alias| !alias.is_empty()) {
        body.insert("alias".into(), alias.clone().into());
    }
    if let Some(bot) = &said.bot {
        body.insert("bot".into(), bot.clone());
    }
    match cause.trigger {
        Trigger::FileUploaded => {
            body.insert("user".into(), user(model, &message.sender));
            body.insert("room".into(), room_fields(model, &message.room)?);
            body.insert(
                "message".into(),
                json!({
                    "_id": id,
                    "rid": message.room,
                    "msg": content.text,
                    "ts": message.at.iso(),
                    "u": { "_id": message.sender, "username": username(model, &message.sender) },
                    "attachments": content.attachments,
                }),
            );
        }
        _ => {
            body.insert("siteUrl".into(), model.text("Site_Url").into());
            if said.edited {
                body.insert("isEdited".into(), true.into());
            }
            if let Some(thread) = &message.thread {
                body.insert("tmid".into(), json!(thread.parent));
            }
        }
    }
    Some(Payload {
        body,
        key: message.key,
        carried: vec![message.key],
        names: names_of(model, &message.sender).collect(),
    })
}

fn of_room(
    model: &WriteModel,
    integration: &Integration,
    cause: &Cause,
    at: Timestamp,
) -> Option<Payload> {
    let id = cause.room.as_ref()?;
    let room = model.room(id)?;
    let created = cause.trigger == Trigger::RoomCreated;
    let mut body = start(integration);
    body.insert("channel_id".into(), json!(id));
    body.insert("channel_name".into(), name(&room.details.name));
    let at = if created { room.created } else { at };
    body.insert("timestamp".into(), at.iso().into());
    let person = cause.user.as_ref();
    if let Some(who) = person {
        body.insert("user_id".into(), json!(who));
        body.insert("user_name".into(), json!(username(model, who)));
        let role = if created { "owner" } else { "user" };
        body.insert(role.into(), user(model, who));
        if !created && is_bot(model, who) {
            body.insert("bot".into(), true.into());
        }
    }
    body.insert("room".into(), room_fields(model, id)?);
    let creator = room.creator.as_ref().filter(|id| Some(*id) != person);
    let mut names: Vec<_> = creator
        .into_iter()
        .flat_map(|creator| names_of(model, creator))
        .collect();
    let mut carried = vec![room.key];
    // The record goes with whom it is about, as far as that is somebody who is there.
    let account = person.and_then(|who| model.account(who));
    if let Some(account) = account {
        carried.push(account.key);
        names.extend([room.details.name.clone(), room.details.fname.clone()]);
        names.extend(room.details.topic.clone());
    }
    let key = account.map_or(room.key, |account| account.key);
    Some(Payload {
        body,
        key,
        carried,
        names,
    })
}

fn of_user(
    model: &WriteModel,
    integration: &Integration,
    cause: &Cause,
    at: Timestamp,
) -> Option<Payload> {
    let id = cause.user.as_ref()?;
    let account = model.account(id)?;
    let mut body = start(integration);
    body.insert("timestamp".into(), at.iso().into());
    body.insert("user_id".into(), json!(id));
    body.insert("user_name".into(), account.profile.username.clone().into());
    body.insert("user".into(), user(model, id));
    if is_bot(model, id) {
        body.insert("bot".into(), true.into());
    }
    Some(Payload {
        body,
        key: account.key,
        carried: vec![account.key],
        names: Vec::new(),
    })
}

fn start(integration: &Integration) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("token".into(), integration.details.token.clone().into());
    body.insert("bot".into(), false.into());
    body
}

/// Direct conversations have no name; Rocket.Chat sends none.
pub(super) fn name(name: &str) -> Value {
    if name.is_empty() {
        return Value::Null;
    }
    name.into()
}

fn username<'a>(model: &'a WriteModel, id: &UserId) -> Option<&'a str> {
    let account = model.account(id)?;
    Some(&account.profile.username)
}

/// What somebody is called.
fn names_of<'a>(model: &'a WriteModel, id: &UserId) -> impl Iterator<Item = String> + use<'a> {
    let profile = model.account(id).map(|account| &account.profile);
    profile.into_iter().flat_map(|profile| {
        let full = profile.name.iter();
        let words = full.clone().flat_map(|name| name.split_whitespace());
        words
            .map(ToOwned::to_owned)
            .chain(full.cloned())
            .chain([profile.username.clone()])
    })
}

fn is_bot(model: &WriteModel, id: &UserId) -> bool {
    use hansard_domain::account::AccountKind;
    model
        .account(id)
        .is_some_and(|account| account.kind == AccountKind::Bot)
}

fn user(model: &WriteModel, id: &UserId) -> Value {
    let Some(account) = model.account(id) else {
        return json!({ "_id": id });
    };
    json!({
        "_id": id,
        "username": account.profile.username,
        "name": account.profile.name,
        "type": account.kind,
        "active": account.active,
        "roles": account.roles,
    })
}

fn room_fields(model: &WriteModel, id: &RoomId) -> Option<Value> {
    let room = model.room(id)?;
    let creator = room.creator.as_ref();
    Some(json!({
        "_id": id,
        "t": room.kind,
        "name": name(&room.details.name),
        "fname": name(&room.details.fname),
        "ts": room.created.iso(),
        "u": creator.map(|id| json!({ "_id": id, "username": username(model, id) })),
        "usersCount": room.members.len(),
        "ro": room.switches.read_only,
        "archived": room.archived,
        "topic": room.details.topic,
    }))
}
