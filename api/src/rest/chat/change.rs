//! `chat.getMessage`, `chat.update` and `chat.delete`.

use hansard_commands::message::{self, Deletion, Edit};
use hansard_domain::id::RoomId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::{message_id, not_allowed};
use crate::app::App;
use crate::operations::Operation;
use crate::rest::body::{Body, Params, free_object};
use crate::rest::caller::Caller;
use crate::rest::decided::{self, By};
use crate::rest::failure::Failure;
use crate::rest::message_shape::{Written, nothing, readable, stands};
use crate::wire::Person;
use crate::wire::message::MessageAnswer;

pub const OPERATIONS: &[Operation] = &[GET_MESSAGE, UPDATE, DELETE];

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct GetMessage {
    #[serde(rename = "msgId")]
    #[param(required = true)]
    msg_id: Option<String>,
}

pub const GET_MESSAGE: Operation =
    Operation::get("chat.getMessage", &get_message).tells("One message.");

async fn get_message(
    app: App,
    caller: Caller,
    Params(asked): Params<GetMessage>,
) -> Result<Written<MessageAnswer>, Failure> {
    let Some(id) = asked.msg_id.filter(|id| !id.is_empty()) else {
        return Err(Failure::plain(
            "The \"msgId\" query parameter must be provided.",
        ));
    };
    let id = message_id(&app, &id, nothing).await?;
    let refused = not_allowed("Not allowed");
    let message = readable(&app, &caller, &id, refused, nothing).await?;
    Ok(Written::new().json("message", &message.json))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UpdateMessage)]
struct Update {
    room_id: String,
    msg_id: String,
    text: String,
    custom_fields: Option<Map<String, Value>>,
    /// Links that shall have a preview; when given, the text is looked through again.
    preview_urls: Option<Vec<String>>,
}

pub const UPDATE: Operation =
    Operation::post("chat.update", &update).tells("Change a message's text.");

async fn update(
    app: App,
    caller: Caller,
    Body(request): Body<Update>,
) -> Result<Written<MessageAnswer>, Failure> {
    let id = message_id(&app, &request.msg_id, || no_message(&request.msg_id)).await?;
    let edit = Edit {
        message: id.clone(),
        room: RoomId::new(&request.room_id),
        text: request.text,
        custom_fields: request
            .custom_fields
            .map(|fields| free_object("customFields", fields))
            .transpose()?,
        previews: request.preview_urls,
    };
    let version = message::edit(&app.commands, &caller, edit).await?;
    let message = stands(&app, &caller, &id, version).await?;
    Ok(Written::new().json("message", &message.json))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeleteMessage)]
struct Delete {
    msg_id: String,
    room_id: String,
    /// In the name of the one who wrote it; needs `force-delete-message` for somebody else's.
    as_user: Option<bool>,
}

/// What was deleted, and when.
#[derive(Debug, Serialize, ToSchema)]
#[allow(
    dead_code,
    reason = "a schema: the answer is written around the view's JSON"
)]
struct DeleteAnswer {
    _id: String,
    /// Milliseconds since 1970, as text.
    ts: String,
    message: DeletedMessage,
    #[schema(example = true)]
    success: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[allow(
    dead_code,
    reason = "a schema: the answer is written around the view's JSON"
)]
struct DeletedMessage {
    _id: String,
    rid: String,
    u: Person,
}

pub const DELETE: Operation = Operation::post("chat.delete", &delete)
    .tells("Delete a message.")
    .notes("Its text is erased for good, unless the workspace keeps history.");

async fn delete(
    app: App,
    caller: Caller,
    Body(request): Body<Delete>,
) -> Result<Written<DeleteAnswer>, Failure> {
    let id = message_id(&app, &request.msg_id, || no_message(&request.msg_id)).await?;
    let before = decided::message_by(&app, &caller, &id, None).await?;
    let (before, by) = before.ok_or_else(|| no_message(&request.msg_id))?;
    let shown = hansard_domain::json::value(&before.json).unwrap_or_default();
    let deletion = Deletion {
        message: id.clone(),
        room: RoomId::new(&request.room_id),
        as_author: request.as_user.unwrap_or(false),
        // Where that is not known a placeholder stays, so that no replies are lost with it.
        has_replies: by == By::Stream
            || shown["tcount"].as_u64().is_some_and(|replies| replies > 0),
    };
    message::delete(&app.commands, &caller, deletion).await?;
    let deleted = serde_json::json!({ "_id": id, "rid": before.room, "u": shown["u"] });
    let now = app.commands.clock().now().0;
    Ok(Written::new()
        .json("_id", &Value::from(id.as_str()).to_string())
        .json("ts", &format!("\"{now}\""))
        .json("message", &deleted.to_string()))
}

fn no_message(id: &str) -> Failure {
    Failure::plain(format!("No message found with the id of \"{id}\"."))
}
