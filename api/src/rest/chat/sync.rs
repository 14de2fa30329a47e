//! What changed and what was deleted, for clients that were away.

use axum::extract::State;
use hansard_domain::id::RoomId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{not_allowed, required};
use crate::app::App;
use crate::rest::answer::{Answer, Success, answer};
use crate::rest::body::Params;
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::message_shape::{Message, Written, require_readable};
use crate::rest::paging::{Paging, PagingParams};
use crate::rest::time::time;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sync_messages))
        .routes(routes!(deleted_messages))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SyncMessages {
    #[serde(rename = "roomId")]
    #[param(required = true)]
    room_id: Option<String>,
    /// ISO 8601.
    #[serde(rename = "lastUpdate")]
    #[param(required = true)]
    last_update: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "a schema: the view holds messages finished")]
struct SyncAnswer {
    result: SyncResult,
    #[schema(example = true)]
    success: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "a schema: the view holds messages finished")]
struct SyncResult {
    updated: Vec<Message>,
    deleted: Vec<DeletedAt>,
}

#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "a schema: the view holds messages finished")]
struct DeletedAt {
    _id: String,
    #[serde(rename = "_deletedAt")]
    deleted_at: String,
}

/// What was sent, changed or deleted in a room since a time.
#[utoipa::path(
    get, path = "/api/v1/chat.syncMessages", tag = "chat",
    params(SyncMessages), responses((status = 200, body = SyncAnswer), Failure)
)]
async fn sync_messages(
    caller: Caller,
    State(app): State<App>,
    Params(asked): Params<SyncMessages>,
) -> Result<Written, Failure> {
    let room = required(
        asked.room_id.as_deref(),
        "error-roomId-param-not-provided",
        "The required \"roomId\" query param is missing.",
    )?;
    let since = required(
        asked.last_update.as_deref(),
        "error-lastUpdate-param-not-provided",
        "The required \"lastUpdate\" query param is missing.",
    )?;
    let since = time(since).ok_or_else(|| {
        Failure::refused(
            "error-roomId-param-invalid",
            "The \"lastUpdate\" query parameter must be a valid date.",
        )
    })?;
    let room = RoomId::new(room);
    require_readable(&app, &caller, &room, not_allowed("Not allowed"))?;
    let messages = &app.views.messages;
    let updated = messages.updated(caller.user(), &room, since, None).await?;
    let (deleted, _) = messages.deleted(&room, since, Default::default()).await?;
    let deleted: Vec<_> = deleted
        .iter()
        .map(|gone| json!({ "_id": gone.id, "_deletedAt": gone.at.iso() }))
        .collect();
    let result = format!(
        "{{\"updated\":{},\"deleted\":{}}}",
        updated.json,
        Value::from(deleted)
    );
    Ok(Written::new().json("result", &result))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DeletedMessages {
    #[serde(rename = "roomId")]
    #[param(required = true)]
    room_id: Option<String>,
    /// ISO 8601.
    #[param(required = true)]
    since: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct DeletedAnswer {
    messages: Vec<DeletedId>,
    count: u64,
    offset: u64,
    total: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct DeletedId {
    _id: String,
}

/// The ids of the messages deleted in a room since a time.
#[utoipa::path(
    get, path = "/api/v1/chat.getDeletedMessages", tag = "chat",
    params(DeletedMessages, PagingParams),
    responses((status = 200, body = Success<DeletedAnswer>), Failure)
)]
async fn deleted_messages(
    caller: Caller,
    State(app): State<App>,
    Params(asked): Params<DeletedMessages>,
    paging: Paging,
) -> Answer<DeletedAnswer> {
    let missing_room = "The required \"roomId\" query param is missing.";
    let room = required(asked.room_id.as_deref(), missing_room, "")?;
    let missing_since = "The required \"since\" query param is missing.";
    let since = required(asked.since.as_deref(), missing_since, "")?;
    let since = time(since).ok_or_else(|| {
        Failure::refused("The \"since\" query parameter must be a valid date.", "")
    })?;
    let room = RoomId::new(room);
    require_readable(&app, &caller, &room, not_allowed("Not allowed"))?;
    let messages = &app.views.messages;
    let (deleted, total) = messages.deleted(&room, since, (&paging).into()).await?;
    let id = |gone: &hansard_projections::messages::Deleted| DeletedId {
        _id: gone.id.to_string(),
    };
    answer(DeletedAnswer {
        count: deleted.len() as u64,
        messages: deleted.iter().map(id).collect(),
        offset: paging.offset,
        total,
    })
}
