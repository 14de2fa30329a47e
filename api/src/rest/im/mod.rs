//! `im.*` and `dm.*`: direct conversations, under both names.

use axum::extract::State;
use hansard_commands::room::{self, Changes};
use hansard_domain::id::{RoomId, UserId};
use hansard_domain::room::RoomKind;
use hansard_projections::rooms::RoomFilter;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, Nothing, Success, answer, done};
use super::body::{Body, Params};
use super::caller::Caller;
use super::failure::Failure;
use super::paging::{Paging, PagingParams};
use super::rooms::section::{self as shared, Counters, CountersParams, Members};
use super::rooms::{
    HistoryAnswer, HistoryParams, MembersParams, MessageListAnswer, RoomList, history, messages,
    rooms, shape,
};
use crate::app::App;

mod names;

pub fn routes() -> OpenApiRouter<App> {
    names::im::routes().merge(names::dm::routes())
}

/// Which conversation.
#[derive(Debug, Clone, Default, Deserialize, ToSchema, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct DirectRef {
    /// The room's id.
    pub room_id: Option<String>,
    /// The other one's username, where no id is given.
    pub username: Option<String>,
}

/// A conversation to be opened.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CreateDirect)]
pub struct Create {
    /// With whom.
    username: Option<String>,
    /// With whom, several separated by commas.
    usernames: Option<String>,
    /// A conversation that the caller does not take part in.
    exclude_self: Option<bool>,
}

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct DirectAnswer {
    #[schema(value_type = Object)]
    room: Value,
}

/// A page of conversations.
#[derive(Debug, Serialize, ToSchema)]
pub struct DirectsAnswer {
    #[schema(value_type = Vec<shape::Room>)]
    ims: Vec<Map<String, Value>>,
    count: usize,
    offset: u64,
    total: usize,
}

/// What a conversation is to be about.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SetDirectTopic)]
pub struct SetTopic {
    /// The room's id.
    room_id: Option<String>,
    topic: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DirectTopic)]
pub struct TopicAnswer {
    topic: Option<String>,
}

fn unauthorized() -> Failure {
    Failure::forbidden_because("unauthorized")
}

fn not_provided(where_: &str) -> Failure {
    let reason = format!("{where_} param \"roomId\" is required");
    Failure::refused("error-room-param-not-provided", &reason)
}

/// The conversation that is meant; one with somebody that there is none with yet is opened.
async fn find(app: &App, caller: &Caller, wanted: &DirectRef) -> Result<RoomId, Failure> {
    let name = wanted.room_id.as_deref().or(wanted.username.as_deref());
    let Some(name) = name else {
        return Err(Failure::refused(
            "error-room-param-not-provided",
            "Query param \"roomId\" or \"username\" is required",
        ));
    };
    let name = name.trim_start_matches('@');
    let (found, other) = {
        let model = app.commands.model();
        let id = UserId::new(name);
        let other = match model.account(&id) {
            Some(_) => Some(id),
            None => model.user_by_name(name).cloned(),
        };
        let found = match &other {
            Some(other) => model
                .direct_room(&[caller.user().clone(), other.clone()])
                .cloned(),
            None => Some(RoomId::new(name)).filter(|id| {
                model
                    .room(id)
                    .is_some_and(|room| room.kind == RoomKind::Direct)
            }),
        };
        let username =
            other.and_then(|other| Some(model.account(&other)?.profile.username.clone()));
        (found, username)
    };
    match (found, other) {
        (Some(room), _) => Ok(room),
        (None, Some(username)) => {
            Ok(room::direct(&app.commands, caller, vec![username], false).await?)
        }
        (None, None) => Err(Failure::with_body(json!({
            "success": false, "error": "[invalid-channel]", "errorType": "invalid-channel",
        }))),
    }
}

/// The conversation that is meant, which the caller may see.
async fn find_seen(app: &App, caller: &Caller, wanted: &DirectRef) -> Result<RoomId, Failure> {
    let room = find(app, caller, wanted).await?;
    require_access(app, caller, &room)?;
    Ok(room)
}

fn require_access(app: &App, caller: &Caller, room: &RoomId) -> Result<(), Failure> {
    if app.commands.model().can_access(Some(caller.user()), room) {
        return Ok(());
    }
    Err(unauthorized())
}

/// The conversation of a `roomId` alone, which the caller may see.
async fn by_id(
    app: &App,
    caller: &Caller,
    room: Option<&String>,
    where_: &str,
) -> Result<RoomId, Failure> {
    let room = room
        .filter(|room| !room.is_empty())
        .ok_or_else(|| not_provided(where_))?;
    require_access(app, caller, &RoomId::new(room))?;
    let wanted = DirectRef {
        room_id: Some(room.clone()),
        username: None,
    };
    find(app, caller, &wanted).await
}

async fn create(app: &App, caller: &Caller, asked: Create) -> Result<DirectAnswer, Failure> {
    let usernames = match (asked.username, asked.usernames) {
        (Some(username), _) => vec![username],
        (None, Some(usernames)) => usernames
            .split(',')
            .map(|username| username.trim().to_owned())
            .collect(),
        (None, None) => {
            return Err(Failure::invalid_params(
                "must have required property 'username'",
            ));
        }
    };
    let exclude_self = asked.exclude_self.unwrap_or_default();
    let room = room::direct(&app.commands, caller, usernames, exclude_self).await?;
    let wire = shape::room(app, caller.user(), &room).await?;
    Ok(DirectAnswer {
        room: json!({ "t": "d", "rid": room, "_id": room, "usernames": wire.get("usernames") }),
    })
}

async fn delete(app: &App, caller: &Caller, wanted: &DirectRef) -> Result<(), Failure> {
    let room = find(app, caller, wanted).await?;
    let model = app.commands.model();
    let seen = model.can_access(Some(caller.user()), &room)
        || model.allows(caller, "view-room-administration", None);
    drop(model);
    if !seen {
        return Err(Failure::refused("error-not-allowed", "Not allowed"));
    }
    let deleted = room::delete(&app.commands, caller, room).await?;
    app.erasure.follows(&app.commands, deleted).await;
    Ok(())
}

async fn is_open(app: &App, caller: &Caller, room: &RoomId) -> Result<Option<bool>, Failure> {
    let mut reading = app.views.subscriptions.read().await?;
    let own = hansard_projections::subscriptions::one(&mut reading, room, caller.user()).await?;
    Ok(own.map(|own| own.open))
}

async fn open(app: &App, caller: &Caller, wanted: &DirectRef) -> Result<(), Failure> {
    let room = by_id(app, caller, wanted.room_id.as_ref(), "Body").await?;
    if is_open(app, caller, &room).await? == Some(true) {
        return Ok(());
    }
    Ok(room::open(&app.commands, caller, room).await?)
}

async fn close(app: &App, caller: &Caller, wanted: &DirectRef) -> Result<(), Failure> {
    let room = by_id(app, caller, wanted.room_id.as_ref(), "Body").await?;
    match is_open(app, caller, &room).await? {
        None => Err(Failure::plain("The user is not subscribed to the room")),
        Some(false) => Err(Failure::plain(
            "The direct message room, is already closed to the sender",
        )),
        Some(true) => Ok(room::close(&app.commands, caller, room).await?),
    }
}

async fn set_topic(app: &App, caller: &Caller, asked: SetTopic) -> Result<TopicAnswer, Failure> {
    let room = by_id(app, caller, asked.room_id.as_ref(), "Body").await?;
    let topic = Some(asked.topic.clone().unwrap_or_default());
    let changes = Changes {
        topic,
        ..Changes::default()
    };
    room::change(&app.commands, caller, room, changes).await?;
    Ok(TopicAnswer { topic: asked.topic })
}

async fn list(app: &App, caller: &Caller, paging: &Paging) -> Result<DirectsAnswer, Failure> {
    let paging = Paging {
        query: None,
        ..paging.clone()
    };
    let filter = RoomFilter {
        kind: Some(RoomKind::Direct),
        member: Some(caller.user().clone()),
        ..RoomFilter::default()
    };
    let found = rooms(app, caller.user(), filter, &paging).await?;
    Ok(DirectsAnswer::of(found, &paging))
}

async fn list_everyone(
    app: &App,
    caller: &Caller,
    paging: &Paging,
) -> Result<DirectsAnswer, Failure> {
    if !app
        .commands
        .model()
        .allows(caller, "view-room-administration", None)
    {
        return Err(unauthorized());
    }
    let filter = RoomFilter {
        kind: Some(RoomKind::Direct),
        ..RoomFilter::default()
    };
    let found = rooms(app, caller.user(), filter, paging).await?;
    Ok(DirectsAnswer::of(found, paging))
}

impl DirectsAnswer {
    fn of(list: RoomList, paging: &Paging) -> Self {
        Self {
            count: list.rooms.len(),
            ims: list.rooms,
            offset: paging.offset,
            total: list.total,
        }
    }
}

async fn history_of(
    app: &App,
    caller: &Caller,
    wanted: &DirectRef,
    asked: &HistoryParams,
    paging: &Paging,
) -> Result<HistoryAnswer, Failure> {
    let room = wanted.room_id.as_ref().filter(|room| !room.is_empty());
    let room = room.ok_or_else(|| not_provided("Query"))?;
    let wanted = DirectRef {
        room_id: Some(room.clone()),
        username: None,
    };
    let room = find(app, caller, &wanted).await?;
    history(app, caller.user(), &room, asked, false, paging).await
}

async fn messages_of(
    app: &App,
    caller: &Caller,
    wanted: &DirectRef,
    paging: &Paging,
) -> Result<MessageListAnswer, Failure> {
    let room = find_seen(app, caller, wanted).await?;
    messages(app, caller.user(), &room, paging).await
}

async fn messages_of_others(
    app: &App,
    caller: &Caller,
    wanted: &DirectRef,
    paging: &Paging,
) -> Result<MessageListAnswer, Failure> {
    let room = {
        let model = app.commands.model();
        if !model.flag("API_Enable_Direct_Message_History_EndPoint") {
            return Err(Failure::refused(
                "error-endpoint-disabled",
                "This endpoint is disabled",
            ));
        }
        if !model.allows(caller, "view-room-administration", None) {
            return Err(unauthorized());
        }
        let room = wanted
            .room_id
            .as_deref()
            .filter(|room| !room.is_empty())
            .ok_or_else(|| {
                Failure::refused(
                    "error-roomid-param-not-provided",
                    "The parameter \"roomId\" is required",
                )
            })?;
        let id = RoomId::new(room);
        if model
            .room(&id)
            .is_none_or(|room| room.kind != RoomKind::Direct)
        {
            return Err(Failure::refused(
                "error-room-not-found",
                &format!("No direct message room found by the id of: {room}"),
            ));
        }
        id
    };
    messages(app, caller.user(), &room, paging).await
}

async fn members_of(
    app: &App,
    caller: &Caller,
    wanted: &DirectRef,
    asked: &MembersParams,
    paging: &Paging,
) -> Result<Members, Failure> {
    let room = find_seen(app, caller, wanted).await?;
    shared::members_of(app, &room, asked, paging).await
}

async fn counters_of(
    app: &App,
    caller: &Caller,
    wanted: &DirectRef,
    asked: &CountersParams,
) -> Result<Counters, Failure> {
    let room = wanted.room_id.as_ref().filter(|room| !room.is_empty());
    let room = RoomId::new(room.ok_or_else(|| not_provided("Query"))?);
    let user = shared::counted(app, caller, asked)?;
    if !app.commands.model().can_access(Some(&user), &room) {
        return Err(unauthorized());
    }
    shared::counters(app, caller, &room, &user).await
}
