//! Pinned, starred and mentioning messages of a room.

use hansard_domain::id::RoomId;
use hansard_projections::messages::Order;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{not_allowed, required};
use crate::app::App;
use crate::operations::Operation;
use crate::rest::body::Params;
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::message_shape::{Written, order, project, require_readable};
use crate::rest::paging::Paging;
use crate::wire::message::MessagesAnswer;

pub const OPERATIONS: &[Operation] = &[PINNED, STARRED, MENTIONED];

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct OfRoom {
    #[serde(rename = "roomId")]
    #[param(required = true)]
    room_id: Option<String>,
}

impl OfRoom {
    fn room(&self, code: &str) -> Result<RoomId, Failure> {
        let given = self.room_id.as_deref();
        let reason = "The required \"roomId\" query param is missing.";
        required(given, code, reason).map(RoomId::new)
    }
}

pub const PINNED: Operation = Operation::get("chat.getPinnedMessages", &pinned)
    .tells("The pinned messages of a room, the newest first.");

async fn pinned(
    app: App,
    caller: Caller,
    (Params(asked), paging): (Params<OfRoom>, Paging),
) -> Result<Written<MessagesAnswer>, Failure> {
    let room = asked.room("error-roomId-param-not-provided")?;
    require_readable(&app, &caller, &room, not_allowed("Not allowed"))?;
    let messages = &app.views.messages;
    let found = messages
        .pinned(caller.user(), &room, (&paging).into())
        .await?;
    let found = project(found, &paging).await?;
    Ok(Written::new().page("messages", &found, paging.offset))
}

pub const STARRED: Operation = Operation::get("chat.getStarredMessages", &starred)
    .tells("The messages of a room that the caller starred.");

async fn starred(
    app: App,
    caller: Caller,
    (Params(asked), paging): (Params<OfRoom>, Paging),
) -> Result<Written<MessagesAnswer>, Failure> {
    let room = asked.room("error-invalid-params")?;
    require_readable(&app, &caller, &room, refusal)?;
    let order = order(&paging, Order::NewestFirst);
    let messages = &app.views.messages;
    let found = messages
        .starred(caller.user(), &room, order, (&paging).into())
        .await?;
    let found = project(found, &paging).await?;
    Ok(Written::new().page("messages", &found, paging.offset))
}

pub const MENTIONED: Operation = Operation::get("chat.getMentionedMessages", &mentioned)
    .tells("The messages of a room that mention the caller.");

async fn mentioned(
    app: App,
    caller: Caller,
    (Params(asked), paging): (Params<OfRoom>, Paging),
) -> Result<Written<MessagesAnswer>, Failure> {
    let room = asked.room("error-invalid-params")?;
    require_readable(&app, &caller, &room, refusal)?;
    let order = order(&paging, Order::NewestFirst);
    let messages = &app.views.messages;
    let found = messages
        .mentioned(caller.user(), &room, order, (&paging).into())
        .await?;
    let found = project(found, &paging).await?;
    Ok(Written::new().page("messages", &found, paging.offset))
}

/// These two endpoints say it without a code.
fn refusal() -> Failure {
    Failure::plain("error-not-allowed").denied(None)
}
