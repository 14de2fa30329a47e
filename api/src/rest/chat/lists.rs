//! Pinned, starred and mentioning messages of a room.

use axum::extract::State;
use hansard_domain::id::RoomId;
use hansard_projections::messages::Order;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{not_allowed, required};
use crate::app::App;
use crate::rest::body::Params;
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::message_shape::{MessagesAnswer, Written, order, project, require_readable};
use crate::rest::paging::{Paging, PagingParams};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(pinned))
        .routes(routes!(starred))
        .routes(routes!(mentioned))
}

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

/// The pinned messages of a room, the newest first.
#[utoipa::path(
    get, path = "/api/v1/chat.getPinnedMessages", tag = "chat",
    params(OfRoom, PagingParams), responses((status = 200, body = MessagesAnswer), Failure)
)]
async fn pinned(
    caller: Caller,
    State(app): State<App>,
    Params(asked): Params<OfRoom>,
    paging: Paging,
) -> Result<Written, Failure> {
    let room = asked.room("error-roomId-param-not-provided")?;
    require_readable(&app, &caller, &room, not_allowed("Not allowed"))?;
    let messages = &app.views.messages;
    let found = messages
        .pinned(caller.user(), &room, (&paging).into())
        .await?;
    let found = project(found, &paging).await?;
    Ok(Written::new().page("messages", &found, paging.offset))
}

/// The messages of a room that the caller starred.
#[utoipa::path(
    get, path = "/api/v1/chat.getStarredMessages", tag = "chat",
    params(OfRoom, PagingParams), responses((status = 200, body = MessagesAnswer), Failure)
)]
async fn starred(
    caller: Caller,
    State(app): State<App>,
    Params(asked): Params<OfRoom>,
    paging: Paging,
) -> Result<Written, Failure> {
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

/// The messages of a room that mention the caller.
#[utoipa::path(
    get, path = "/api/v1/chat.getMentionedMessages", tag = "chat",
    params(OfRoom, PagingParams), responses((status = 200, body = MessagesAnswer), Failure)
)]
async fn mentioned(
    caller: Caller,
    State(app): State<App>,
    Params(asked): Params<OfRoom>,
    paging: Paging,
) -> Result<Written, Failure> {
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
