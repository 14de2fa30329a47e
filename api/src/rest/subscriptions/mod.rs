//! `subscriptions.*`: what the caller sees of its rooms.

use hansard_commands::room;
use hansard_domain::id::{MessageId, RoomId, Timestamp};
use hansard_projections::messages::{Filter, Order, Slice};
use hansard_projections::subscriptions::{self as view, Counting};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, Nothing, answer, done};
use super::body::{Body, Params};
use super::caller::Caller;
use super::decided;
use super::failure::Failure;
use super::message_shape::{if_readable, require_readable};
use crate::app::App;
use crate::operations::Operation;
use crate::wire::Removed;
use crate::wire::subscription::Subscription;

pub const OPERATIONS: &[Operation] = &[GET, GET_ONE, READ, UNREAD];

/// What counts as unread in channels and groups, and in direct conversations.
fn counting(app: &App) -> (Counting, Counting) {
    let model = app.commands.model();
    (
        Counting::parse(&model.text("Unread_Count")),
        Counting::parse(&model.text("Unread_Count_DM")),
    )
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct Since {
    /// Only what changed after this time.
    updated_since: Option<String>,
}

/// What changed, and what is gone.
#[derive(Debug, Serialize, ToSchema)]
struct SubscriptionChanges {
    #[schema(value_type = Vec<Subscription>)]
    update: Vec<Value>,
    #[schema(value_type = Vec<Removed>)]
    remove: Vec<Value>,
}

pub const GET: Operation =
    Operation::get("subscriptions.get", &get).tells("The caller's subscriptions.");

async fn get(
    app: App,
    caller: Caller,
    Params(asked): Params<Since>,
) -> Answer<SubscriptionChanges> {
    let since = asked.updated_since.filter(|since| !since.is_empty());
    let since = since.map(|since| {
        Timestamp::parse(&since).ok_or_else(|| {
            Failure::refused(
                "error-roomId-param-invalid",
                "The \"lastUpdate\" query parameter must be a valid date.",
            )
        })
    });
    let since = since.transpose()?;
    let (channels, direct) = counting(&app);
    let mine = view::mine(&app.views.subscriptions, caller.user()).await?;
    let removed = match since {
        Some(since) if mine.ended.is_some_and(|ended| ended > since) => {
            let mut reading = app.views.subscriptions.read().await?;
            view::removed_since(&mut reading, caller.user(), since).await?
        }
        _ => Vec::new(),
    };
    answer(SubscriptionChanges {
        update: mine
            .subscriptions
            .iter()
            .filter(|subscription| since.is_none_or(|since| subscription.updated > since))
            .map(|subscription| subscription.wire(channels, direct))
            .collect(),
        remove: removed
            .into_iter()
            .map(|(id, at)| json!({ "_id": id, "_deletedAt": at.iso() }))
            .collect(),
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct OneParams {
    /// The room's id.
    room_id: String,
}

/// A subscription; `null` for a room that the caller is not in.
#[derive(Debug, Serialize, ToSchema)]
struct SubscriptionAnswer {
    #[schema(value_type = Option<Subscription>)]
    subscription: Value,
}

pub const GET_ONE: Operation =
    Operation::get("subscriptions.getOne", &get_one).tells("The caller's subscription to a room.");

async fn get_one(
    app: App,
    caller: Caller,
    Params(asked): Params<OneParams>,
) -> Answer<SubscriptionAnswer> {
    let (channels, direct) = counting(&app);
    let mut reading = app.views.subscriptions.read().await?;
    let found = view::one(&mut reading, &RoomId::new(&asked.room_id), caller.user()).await?;
    let subscription = found
        .map(|found| found.wire(channels, direct))
        .unwrap_or_default();
    answer(SubscriptionAnswer { subscription })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReadRoom)]
struct Read {
    /// The room's id.
    rid: Option<String>,
    /// The same as `rid`.
    room_id: Option<String>,
    /// What was said in threads is read, too.
    read_threads: Option<bool>,
}

pub const READ: Operation =
    Operation::post("subscriptions.read", &read).tells("Everything said in a room is read.");

async fn read(app: App, caller: Caller, Body(asked): Body<Read>) -> Answer<Nothing> {
    if asked.rid.is_some() && asked.room_id.is_some() {
        return Err(Failure::invalid_params(
            "must NOT have additional properties",
        ));
    }
    let room = asked.rid.or(asked.room_id);
    let room =
        room.ok_or_else(|| Failure::invalid_params("must have required property 'roomId'"))?;
    let threads = asked.read_threads.unwrap_or_default();
    room::read(&app.commands, &caller, RoomId::new(room), threads).await?;
    done()
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UnreadRoom)]
struct Unread {
    /// The room's id: its last message is unread again.
    room_id: Option<String>,
    /// This message and all after it are unread again.
    first_unread_message: Option<MessageRef>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = UnreadMessage)]
struct MessageRef {
    _id: String,
}

pub const UNREAD: Operation = Operation::post("subscriptions.unread", &unread)
    .tells("What was read is unread again, from a message on.");

async fn unread(app: App, caller: Caller, Body(asked): Body<Unread>) -> Answer<Nothing> {
    let (room, from) = match (asked.room_id, asked.first_unread_message) {
        (Some(room), _) => {
            let room = RoomId::new(room);
            require_readable(&app, &caller, &room, nothing_unread)?;
            let from = last_message(&app, &caller, &room).await?;
            (room, from)
        }
        (None, Some(message)) => {
            let not_allowed = || Failure::refused("error-action-not-allowed", "Not allowed");
            let id = MessageId::parse(&message._id).map_err(|_| not_allowed())?;
            let id = app.commands.message_id(id).await?;
            let found = decided::message(&app, &caller, &id, None).await?;
            let found = if_readable(&app, &caller, found, not_allowed, not_allowed)?;
            if found.sender == *caller.user() {
                return Err(not_allowed());
            }
            (found.room, found.at)
        }
        (None, None) => {
            return Err(Failure::invalid_params(
                "must have required property 'roomId'",
            ));
        }
    };
    room::unread(&app.commands, &caller, room, from).await?;
    done()
}

/// When the last message of a room was sent.
async fn last_message(app: &App, caller: &Caller, room: &RoomId) -> Result<Timestamp, Failure> {
    let one = Slice {
        offset: 0,
        count: Some(1),
    };
    let found = app
        .views
        .messages
        .list(
            caller.user(),
            room,
            &Filter::default(),
            Order::NewestFirst,
            one,
        )
        .await?;
    let messages = hansard_domain::json::objects(&found.json).unwrap_or_default();
    let at = messages
        .first()
        .and_then(|message| Timestamp::parse(message.get("ts")?.as_str()?));
    at.ok_or_else(nothing_unread)
}

fn nothing_unread() -> Failure {
    Failure::refused(
        "error-no-message-for-unread",
        "There are no messages to mark unread",
    )
}
