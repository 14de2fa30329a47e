//! `channels.*`: rooms that everybody may look into.

use hansard_commands::room;
use hansard_domain::room::RoomKind;
use hansard_projections::rooms::RoomFilter;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::answer::{Answer, answer};
use super::body::Body;
use super::caller::Caller;
use super::decided;
use super::failure::Failure;
use super::lenient;
use super::paging::Paging;
use super::rooms::endpoints::{self, Kind};
use super::rooms::section::*;
use super::rooms::{RoomList, rooms};
use crate::app::App;
use crate::operations::Operation;
use crate::wire::room::Room;

pub const OPERATIONS: &[&[Operation]] = &[
    SHARED,
    &[
        JOIN,
        KICK_MEMBER,
        LEAVE_CHANNEL,
        LIST,
        LIST_JOINED,
        CHANGE_DEFAULT,
        CHANGE_JOIN_CODE,
    ],
];

const SHARED: &[Operation] = &endpoints::operations::<Channels>();

struct Channels;

impl Kind for Channels {
    const SECTION: Section = Section::Channels;
    const RESOURCE: &'static str = "channels";
    type Room = ChannelAnswer;
}

/// A channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelAnswer {
    #[schema(value_type = Room)]
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
    #[schema(value_type = Vec<Room>)]
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

pub const JOIN: Operation =
    Operation::post("channels.join", &join).tells("Makes the caller a member of a channel.");

async fn join(app: App, caller: Caller, Body(asked): Body<Join>) -> Answer<ChannelAnswer> {
    let found = Section::Channels.find_live(&app, &caller, &asked.room)?;
    let done = room::join(&app.commands, &caller, found.id, asked.join_code).await?;
    answer(decided::room(&app, &caller, &done).await.into())
}

pub const KICK_MEMBER: Operation = Operation::post("channels.kick", &kick_member)
    .tells("Sends a member away. Needs `remove-user`.");

async fn kick_member(
    app: App,
    caller: Caller,
    Body(asked): Body<MemberRef>,
) -> Answer<ChannelAnswer> {
    let done = kick(&app, &caller, Section::Channels, &asked).await?;
    answer(decided::room(&app, &caller, &done).await.into())
}

pub const LEAVE_CHANNEL: Operation = Operation::post("channels.leave", &leave_channel)
    .tells("The caller leaves a channel. Needs `leave-c`.");

async fn leave_channel(
    app: App,
    caller: Caller,
    Body(asked): Body<RoomRef>,
) -> Answer<ChannelAnswer> {
    let done = leave(&app, &caller, Section::Channels, &asked).await?;
    answer(decided::room(&app, &caller, &done).await.into())
}

pub const LIST: Operation = Operation::get("channels.list", &list)
    .tells("Channels: all of them with `view-c-room`, the caller's own with `view-joined-room`.");

async fn list(app: App, caller: Caller, paging: Paging) -> Answer<ChannelsAnswer> {
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

pub const LIST_JOINED: Operation = Operation::get("channels.list.joined", &list_joined)
    .tells("The channels that the caller is in.");

async fn list_joined(app: App, caller: Caller, paging: Paging) -> Answer<ChannelsAnswer> {
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

pub const CHANGE_DEFAULT: Operation = Operation::post("channels.setDefault", &change_default)
    .tells(
        "Lets new users join a channel by themselves, or not. Needs `edit-room` and \
         `view-room-administration`.",
    );

async fn change_default(
    app: App,
    caller: Caller,
    Body(asked): Body<SetSwitch>,
) -> Answer<ChannelAnswer> {
    answer(
        set_default(&app, &caller, Section::Channels, asked)
            .await?
            .into(),
    )
}

pub const CHANGE_JOIN_CODE: Operation = Operation::post("channels.setJoinCode", &change_join_code)
    .tells("Lets only those join who know a code. Needs `edit-room`.");

async fn change_join_code(
    app: App,
    caller: Caller,
    Body(asked): Body<SetText>,
) -> Answer<ChannelAnswer> {
    answer(
        set_join_code(&app, &caller, Section::Channels, asked)
            .await?
            .into(),
    )
}
