//! `chat.sendMessage` and `chat.postMessage`.

use hansard_commands::message::{self, Address, Outgoing, Post};
use hansard_domain::free::FreeObject;
use hansard_domain::id::{MessageId, RoomId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::app::App;
use crate::operations::Operation;
use crate::rest::body::{Body, free_list, free_object};
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::lenient::OneOrMany;
use crate::rest::message_shape::{Written, said};
use crate::rest::time::time_in;
use crate::wire::AnyObject;
use crate::wire::message::{Message, MessageAnswer};

pub const OPERATIONS: &[Operation] = &[SEND_MESSAGE, POST_MESSAGE];

#[derive(Debug, Deserialize, ToSchema)]
struct SendMessage {
    message: Option<MessageToSend>,
    /// The links that shall have a preview; all of them when absent.
    #[serde(rename = "previewUrls")]
    preview_urls: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct MessageToSend {
    /// Chosen by the client; sending it again is the same message.
    #[serde(rename = "_id")]
    id: Option<String>,
    /// The room; a reply needs none.
    rid: Option<String>,
    msg: Option<String>,
    alias: Option<String>,
    emoji: Option<String>,
    avatar: Option<String>,
    #[schema(value_type = Option<Vec<AnyObject>>)]
    attachments: Option<Vec<Value>>,
    #[schema(value_type = Option<Vec<AnyObject>>)]
    blocks: Option<Vec<Value>>,
    /// The message that the thread hangs on.
    tmid: Option<String>,
    /// The room sees the reply, too.
    tshow: Option<bool>,
    /// The time to show, at most a minute off: ISO 8601, milliseconds, or `{"$date": milliseconds}`.
    #[schema(value_type = Option<String>)]
    ts: Option<Value>,
    groupable: Option<bool>,
    #[serde(rename = "customFields")]
    custom_fields: Option<Map<String, Value>>,
    /// A kind of system message; there may be none.
    t: Option<String>,
}

pub const SEND_MESSAGE: Operation = Operation::post("chat.sendMessage", &send_message)
    .tells("Send a message into a room.")
    .notes(
        "Whoever may see a room may write in it, unless it is archived, read-only, or the caller is \
         muted there. `alias` and `avatar` need `message-impersonate`, `@all` needs `mention-all`, \
         `@here` needs `mention-here`.",
    );

async fn send_message(
    app: App,
    caller: Caller,
    Body(request): Body<SendMessage>,
) -> Result<Written<MessageAnswer>, Failure> {
    let Some(message) = request.message else {
        return Err(Failure::refused(
            "error-invalid-params",
            "The \"message\" parameter must be provided.",
        ));
    };
    if message.t.as_ref().is_some_and(|kind| !kind.is_empty()) {
        return Err(Failure::plain(
            "Cannot send system messages using 'chat.sendMessage'",
        ));
    }
    let outgoing = Outgoing {
        previews: request.preview_urls,
        ..message.outgoing()?
    };
    let sent = message::send(&app.commands, &caller, outgoing).await?;
    let json = said(&app, &caller, &sent).await?;
    Ok(Written::new().json("message", &json))
}

impl MessageToSend {
    fn outgoing(self) -> Result<Outgoing, Failure> {
        Ok(Outgoing {
            id: self.id.as_deref().map(id).transpose()?,
            room: self.rid.map(RoomId::new),
            text: self.msg.unwrap_or_default(),
            alias: self.alias,
            emoji: self.emoji,
            avatar: self.avatar,
            attachments: free_list("attachments", self.attachments.unwrap_or_default())?,
            blocks: free_list("blocks", self.blocks.unwrap_or_default())?,
            custom_fields: custom_fields(self.custom_fields)?,
            thread: self.tmid.as_deref().map(id).transpose()?,
            shown: self.tshow.unwrap_or(false),
            at: self.ts.as_ref().map(shown_time).transpose()?.flatten(),
            groupable: self.groupable.unwrap_or(true),
            ..Outgoing::default()
        })
    }
}

fn custom_fields(given: Option<Map<String, Value>>) -> Result<Option<FreeObject>, Failure> {
    given
        .map(|fields| free_object("customFields", fields))
        .transpose()
}

fn id(given: &str) -> Result<MessageId, Failure> {
    MessageId::parse(given).map_err(|error| Failure::invalid_params(&error.to_string()))
}

/// What is not a time is not one to show; a number that no clock shows is refused.
fn shown_time(value: &Value) -> Result<Option<Timestamp>, Failure> {
    let at = time_in(value);
    if at.is_none() && (value.is_number() || value.is_object()) {
        return Err(Failure::refused(
            "error-message-ts-out-of-sync",
            "Message timestamp is out of sync",
        ));
    }
    Ok(at)
}

#[derive(Debug, Deserialize, ToSchema)]
struct PostMessage {
    /// `#name`, `@username`, or an id or name; one or several.
    #[schema(value_type = Option<TextOrTexts>)]
    channel: Option<OneOrMany>,
    #[serde(rename = "roomId")]
    #[schema(value_type = Option<TextOrTexts>)]
    room_id: Option<OneOrMany>,
    text: Option<String>,
    msg: Option<String>,
    username: Option<String>,
    alias: Option<String>,
    icon_emoji: Option<String>,
    emoji: Option<String>,
    icon_url: Option<String>,
    avatar: Option<String>,
    #[schema(value_type = Option<Vec<AnyObject>>)]
    attachments: Option<Value>,
    #[serde(rename = "parseUrls")]
    parse_urls: Option<bool>,
    #[schema(value_type = Option<AnyObject>)]
    bot: Option<Value>,
    groupable: Option<bool>,
    tmid: Option<String>,
    #[serde(rename = "customFields")]
    custom_fields: Option<Map<String, Value>>,
}

#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = OneOrMany)]
#[allow(dead_code, reason = "a schema: what is read is of one form")]
enum TextOrTexts {
    One(String),
    Many(Vec<String>),
}

/// A message that was posted, and where.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "a schema: the view holds messages finished")]
struct PostAnswer {
    /// Milliseconds since 1970.
    ts: i64,
    /// As it was asked for.
    channel: String,
    message: Message,
    #[schema(example = true)]
    success: bool,
}

pub const POST_MESSAGE: Operation = Operation::post("chat.postMessage", &post_message)
    .tells("Post a message to rooms or people, as bots and scripts do.")
    .notes("Whoever posts into a channel joins it. The answer tells of the first of several.");

async fn post_message(
    app: App,
    caller: Caller,
    Body(request): Body<PostMessage>,
) -> Result<Written<PostAnswer>, Failure> {
    let posted = message::post(&app.commands, &caller, request.post()?).await?;
    let Some(first) = posted.first() else {
        return Err(Failure::refused("invalid-channel", ""));
    };
    let json = said(&app, &caller, &first.said).await?;
    let now = app.commands.clock().now();
    let channel = Value::String(first.channel.clone());
    Ok(Written::new()
        .json("ts", &now.0.to_string())
        .json("channel", &channel.to_string())
        .json("message", &json))
}

impl PostMessage {
    fn post(self) -> Result<Post, Failure> {
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        // What is no list is not there.
        let mut attachments = match self.attachments {
            Some(Value::Array(attachments)) => Some(attachments),
            _ => None,
        };
        let parse_urls = self.parse_urls.unwrap_or(attachments.is_none());
        for attachment in attachments.iter_mut().flatten() {
            if let Value::Object(attachment) = attachment
                && let Some(Value::String(text)) = attachment.shift_remove("msg")
            {
                attachment.insert("text".to_owned(), text.trim().into());
            }
        }
        let avatar = some(self.icon_url).or(some(self.avatar));
        let emoji = some(self.icon_emoji).or(some(self.emoji));
        let text = some(self.text).or(some(self.msg)).unwrap_or_default();
        Ok(Post {
            to: self
                .channel
                .or(self.room_id)
                .map(|OneOrMany(channels)| channels.into_iter().map(Address::Named).collect())
                .unwrap_or_default(),
            message: Outgoing {
                text: text.trim().to_owned(),
                alias: some(self.username).or(some(self.alias)),
                emoji: emoji.filter(|_| avatar.is_none()),
                avatar,
                attachments: free_list("attachments", attachments.unwrap_or_default())?,
                custom_fields: custom_fields(self.custom_fields)?,
                thread: self.tmid.as_deref().map(id).transpose()?,
                parse_urls,
                groupable: self.groupable.unwrap_or(false),
                bot: self.bot.is_some_and(|bot| !bot.is_null() && bot != false),
                ..Outgoing::default()
            },
        })
    }
}
