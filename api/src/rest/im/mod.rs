//! `im.*` and `dm.*`: direct conversations, under both names.

use hansard_commands::authorization::sight::{ADMINISTRATION, Purpose};
use hansard_commands::inspection::{self, Inspection};
use hansard_commands::room::{self, Changes};
use hansard_domain::id::RoomId;
use hansard_domain::room::RoomKind;
use hansard_projections::rooms::RoomFilter;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, Nothing, answer, done};
use super::body::{Body, Params};
use super::caller::Caller;
use super::decided::{self, Listed};
use super::failure::Failure;
use super::message_shape::Written;
use super::paging::Paging;
use super::rooms::section::{self as shared, Counters, CountersParams, Members};
use super::rooms::{
    HistoryAnswer, HistoryParams, MembersParams, RoomList, administered, history, messages, rooms,
};
use crate::app::App;
use crate::operations::Operation;
use crate::wire::message::MessagesAnswer;
use crate::wire::room::{Opened, Room};

mod endpoints;

/// They are there as `im.*`, and as `dm.*`.
pub const OPERATIONS: &[&[Operation]] = &[&endpoints::OPERATIONS, &DM];

const DM: [Operation; endpoints::OPERATIONS.len()] = {
    let mut operations = endpoints::OPERATIONS;
    let mut at = 0;
    while at < operations.len() {
        operations[at] = operations[at].under("dm");
        at += 1;
    }
    operations
};

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
    #[schema(value_type = Opened)]
    room: Value,
}

/// A page of conversations.
#[derive(Debug, Serialize, ToSchema)]
pub struct DirectsAnswer {
    #[schema(value_type = Vec<Room>)]
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

/// The conversation that is meant, if the caller may see it for the purpose; one with somebody that
/// there is none with yet is opened.
async fn find(
    app: &App,
    caller: &Caller,
    wanted: &DirectRef,
    purpose: Purpose,
) -> Result<RoomId, Failure> {
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
        let other = model.account_called(name);
        let found = match &other {
            Some(other) => model
                .direct_room(&[caller.user().clone(), other.clone()])
                .cloned(),
            None => Some(RoomId::new(name)).filter(|id| {
                model
                    .sight(caller, id, purpose)
                    .is_some_and(|sight| sight.room.kind == RoomKind::Direct)
            }),
        };
        let username =
            other.and_then(|other| Some(model.account(&other)?.profile.username.clone()));
        (found, username)
    };
    match (found, other) {
        (Some(room), _) => Ok(room),
        (None, Some(username)) => {
            let done = room::direct(&app.commands, caller, vec![username], false);
            Ok(done.await?.answer.id)
        }
        (None, None) => {
            let failure = Failure::with_body(json!({
                "success": false, "error": "[invalid-channel]", "errorType": "invalid-channel",
            }));
            // A conversation of others is not there; that somebody asked for it goes on the record.
            let id = RoomId::new(name);
            Err(match app.commands.model().room(&id) {
                Some(_) => failure.denied_in(&id),
                None => failure,
            })
        }
    }
}

fn require(app: &App, caller: &Caller, room: &RoomId, purpose: Purpose) -> Result<(), Failure> {
    if app.commands.model().sees(caller, room, purpose) {
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
    require(app, caller, &RoomId::new(room), Purpose::Particulars)?;
    let wanted = DirectRef {
        room_id: Some(room.clone()),
        username: None,
    };
    find(app, caller, &wanted, Purpose::Particulars).await
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
    let done = room::direct(&app.commands, caller, usernames, exclude_self).await?;
    let (room, wire) = (&done.answer.id, decided::room_alone(app, &done).wire());
    Ok(DirectAnswer {
        room: json!({ "t": "d", "rid": room, "_id": room, "usernames": wire.get("usernames") }),
    })
}

async fn delete(app: &App, caller: &Caller, wanted: &DirectRef) -> Result<(), Failure> {
    let room = find(app, caller, wanted, Purpose::Administration).await?;
    let deleted = room::delete(&app.commands, caller, room).await?;
    app.erasure.follows(&app.commands, deleted).await;
    Ok(())
}

async fn open(app: &App, caller: &Caller, wanted: &DirectRef) -> Result<(), Failure> {
    let room = by_id(app, caller, wanted.room_id.as_ref(), "Body").await?;
    if decided::listed(app, &room, caller.user()).await == Listed::Open {
        return Ok(());
    }
    Ok(room::open(&app.commands, caller, room).await?)
}

async fn close(app: &App, caller: &Caller, wanted: &DirectRef) -> Result<(), Failure> {
    let room = by_id(app, caller, wanted.room_id.as_ref(), "Body").await?;
    match decided::listed(app, &room, caller.user()).await {
        Listed::No => Err(Failure::plain("The user is not subscribed to the room")),
        Listed::Hidden => Err(Failure::plain(
            "The direct message room, is already closed to the sender",
        )),
        Listed::Open | Listed::Unknown => Ok(room::close(&app.commands, caller, room).await?),
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
    if !app.commands.model().allows(caller, ADMINISTRATION, None) {
        return Err(unauthorized());
    }
    let filter = RoomFilter {
        kind: Some(RoomKind::Direct),
        ..RoomFilter::default()
    };
    let found = administered(app, caller, filter, false, paging).await?;
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
) -> Result<Written<HistoryAnswer>, Failure> {
    let room = wanted.room_id.as_ref().filter(|room| !room.is_empty());
    let room = room.ok_or_else(|| not_provided("Query"))?;
    let wanted = DirectRef {
        room_id: Some(room.clone()),
        username: None,
    };
    let room = find(app, caller, &wanted, Purpose::Existence).await?;
    history(app, caller, &room, asked, false, paging).await
}

async fn messages_of(
    app: &App,
    caller: &Caller,
    wanted: &DirectRef,
    paging: &Paging,
) -> Result<Written<MessagesAnswer>, Failure> {
    let room = find(app, caller, wanted, Purpose::Existence).await?;
    require(app, caller, &room, Purpose::Messages)?;
    let page = messages(app, caller.user(), &room, paging).await?;
    Ok(Written::new().page("messages", &page, paging.offset))
}

async fn messages_of_others(
    app: &App,
    caller: &Caller,
    wanted: &DirectRef,
    paging: &Paging,
) -> Result<Written<MessagesAnswer>, Failure> {
    let (room, right) = {
        let model = app.commands.model();
        if !model.flag("API_Enable_Direct_Message_History_EndPoint") {
            return Err(Failure::refused(
                "error-endpoint-disabled",
                "This endpoint is disabled",
            ));
        }
        if !model.allows(caller, ADMINISTRATION, None) {
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
        let sight = model.sight(caller, &id, Purpose::Inspection);
        let right = sight.map(|sight| sight.right).ok_or_else(|| {
            Failure::refused(
                "error-room-not-found",
                &format!("No direct message room found by the id of: {room}"),
            )
        })?;
        (id, right)
    };
    let page = messages(app, caller.user(), &room, paging).await?;
    if right.is_audited() {
        let inspection = Inspection {
            permission: ADMINISTRATION,
            room: Some(room),
            user: None,
            shown: page.count,
        };
        inspection::record(&app.commands, caller, inspection).await?;
    }
    Ok(Written::new().page("messages", &page, paging.offset))
}

async fn members_of(
    app: &App,
    caller: &Caller,
    wanted: &DirectRef,
    asked: &MembersParams,
    paging: &Paging,
) -> Result<Members, Failure> {
    let room = find(app, caller, wanted, Purpose::Existence).await?;
    require(app, caller, &room, Purpose::Members)?;
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
    let model = app.commands.model();
    if model
        .sight_of(Some(&user), &room, Purpose::Particulars)
        .is_none()
    {
        return Err(unauthorized());
    }
    drop(model);
    shared::inspected(app, caller, &room, &user).await?;
    shared::counters(app, caller, &room, &user).await
}
