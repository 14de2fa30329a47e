//! `channels.*`: rooms that everybody may look into.

use axum::extract::State;
use hansard_commands::room;
use hansard_domain::room::RoomKind;
use hansard_projections::rooms::RoomFilter;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, Nothing, Success, answer, done};
use super::body::{Body, Params};
use super::caller::Caller;
use super::decided;
use super::failure::Failure;
use super::lenient;
use super::paging::{Paging, PagingParams};
use super::rooms::{RoomList, rooms, shape};
use crate::app::App;

section_endpoints!("channels", Section::Channels, ChannelAnswer);

pub fn routes() -> OpenApiRouter<App> {
    shared_routes()
        .routes(routes!(join))
        .routes(routes!(kick_member))
        .routes(routes!(leave_channel))
        .routes(routes!(list))
        .routes(routes!(list_joined))
        .routes(routes!(change_default))
        .routes(routes!(change_join_code))
}

/// A channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelAnswer {
    #[schema(value_type = shape::Room)]
    channel: Map<String, Value>,
}

impl From<Map<String, Value>> for ChannelAnswer {
    fn from(channel: Map<String, Value>) -> Self {
        Self { channel }
    }
}

/// A page of channels.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelsAnswer {
    #[schema(value_type = Vec<shape::Room>)]
    channels: Vec<Map<String, Value>>,
    count: usize,
    offset: u64,
    total: usize,
}

impl ChannelsAnswer {
    fn of(list: RoomList, paging: &Paging) -> Self {
        Self {
            count: list.rooms.len(),
            channels: list.rooms,
            offset: paging.offset,
            total: list.total,
        }
    }
}

/// Which channel to join.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = JoinChannel)]
struct Join {
    #[serde(flatten, deserialize_with = "lenient::beside")]
    room: RoomRef,
    /// Where the channel asks for one.
    join_code: Option<String>,
}

/// Makes the caller a member of a channel.
#[utoipa::path(
    post, path = "/api/v1/channels.join", operation_id = "channels.join", tag = "channels",
    request_body = Join, responses((status = 200, body = Success<ChannelAnswer>), Failure)
)]
async fn join(
    caller: Caller,
    State(app): State<App>,
    Body(asked): Body<Join>,
) -> Answer<ChannelAnswer> {
    let found = Section::Channels.find_live(&app, &caller, &asked.room)?;
    let done = room::join(&app.commands, &caller, found.id, asked.join_code).await?;
    answer(decided::room(&app, &caller, &done).await.into())
}

/// Sends a member away. Needs `remove-user`.
#[utoipa::path(
    post, path = "/api/v1/channels.kick", operation_id = "channels.kick", tag = "channels",
    request_body = MemberRef, responses((status = 200, body = Success<ChannelAnswer>), Failure)
)]
async fn kick_member(
    caller: Caller,
    State(app): State<App>,
    Body(asked): Body<MemberRef>,
) -> Answer<ChannelAnswer> {
    let done = kick(&app, &caller, Section::Channels, &asked).await?;
    answer(decided::room(&app, &caller, &done).await.into())
}

/// The caller leaves a channel. Needs `leave-c`.
#[utoipa::path(
    post, path = "/api/v1/channels.leave", operation_id = "channels.leave", tag = "channels",
    request_body = RoomRef, responses((status = 200, body = Success<ChannelAnswer>), Failure)
)]
async fn leave_channel(
    caller: Caller,
    State(app): State<App>,
    Body(asked): Body<RoomRef>,
) -> Answer<ChannelAnswer> {
    let done = leave(&app, &caller, Section::Channels, &asked).await?;
    answer(decided::room(&app, &caller, &done).await.into())
}

/// Channels: all of them with `view-c-room`, the caller's own with `view-joined-room`.
#[utoipa::path(
    get, path = "/api/v1/channels.list", operation_id = "channels.list", tag = "channels",
    params(PagingParams), responses((status = 200, body = Success<ChannelsAnswer>), Failure)
)]
async fn list(caller: Caller, State(app): State<App>, paging: Paging) -> Answer<ChannelsAnswer> {
    let member = {
        let model = app.commands.model();
        let all = model.allows(&caller, "view-c-room", None);
        if !all && !model.allows(&caller, "view-joined-room", None) {
            return Err(Failure::forbidden_because("unauthorized"));
        }
        (!all).then(|| caller.user().clone())
    };
    let filter = RoomFilter {
        kind: Some(RoomKind::Channel),
        member,
        ..RoomFilter::default()
    };
    let list = rooms(&app, caller.user(), filter, &paging).await?;
    answer(ChannelsAnswer::of(list, &paging))
}

/// The channels that the caller is in.
#[utoipa::path(
    get, path = "/api/v1/channels.list.joined", operation_id = "channels.list.joined",
    tag = "channels", params(PagingParams),
    responses((status = 200, body = Success<ChannelsAnswer>), Failure)
)]
async fn list_joined(
    caller: Caller,
    State(app): State<App>,
    paging: Paging,
) -> Answer<ChannelsAnswer> {
    let paging = Paging {
        query: None,
        ..paging
    };
    let filter = RoomFilter {
        kind: Some(RoomKind::Channel),
        member: Some(caller.user().clone()),
        ..RoomFilter::default()
    };
    let list = rooms(&app, caller.user(), filter, &paging).await?;
    answer(ChannelsAnswer::of(list, &paging))
}

/// Lets new users join a channel by themselves, or not. Needs `edit-room` and
/// `view-room-administration`.
#[utoipa::path(
    post, path = "/api/v1/channels.setDefault", operation_id = "channels.setDefault",
    tag = "channels", request_body = SetSwitch,
    responses((status = 200, body = Success<ChannelAnswer>), Failure)
)]
async fn change_default(
    caller: Caller,
    State(app): State<App>,
    Body(asked): Body<SetSwitch>,
) -> Answer<ChannelAnswer> {
    answer(
        set_default(&app, &caller, Section::Channels, asked)
            .await?
            .into(),
    )
}

/// Lets only those join who know a code. Needs `edit-room`.
#[utoipa::path(
    post, path = "/api/v1/channels.setJoinCode", operation_id = "channels.setJoinCode",
    tag = "channels", request_body = SetText,
    responses((status = 200, body = Success<ChannelAnswer>), Failure)
)]
async fn change_join_code(
    caller: Caller,
    State(app): State<App>,
    Body(asked): Body<SetText>,
) -> Answer<ChannelAnswer> {
    answer(
        set_join_code(&app, &caller, Section::Channels, asked)
            .await?
            .into(),
    )
}
