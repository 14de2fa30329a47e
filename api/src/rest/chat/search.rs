//! `chat.search`.

use hansard_commands::authorization::sight::Purpose;
use hansard_domain::id::{RoomId, UserId};
use hansard_projections::messages::Order;
use hansard_projections::search::Question;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{not_allowed, required};
use crate::app::App;
use crate::operations::Operation;
use crate::rest::body::Params;
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::message_shape::{Written, project, require_readable};
use crate::rest::paging::Paging;
use crate::wire::message::Message;

pub const OPERATIONS: &[Operation] = &[SEARCH];

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SearchIn {
    #[serde(rename = "roomId")]
    #[param(required = true)]
    room_id: Option<String>,
    /// Words, `"phrases"`, `-not`, `word*`, `from:user`, `before:2026-01-31`, `after:`, `on:`,
    /// `has:link|file|image|audio|video|attachment`, `is:pinned`. `in:room` searches another room.
    #[serde(rename = "searchText")]
    #[param(required = true)]
    search_text: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "a schema: the view holds messages finished")]
struct SearchAnswer {
    messages: Vec<Message>,
    #[schema(example = true)]
    success: bool,
}

pub const SEARCH: Operation = Operation::get("chat.search", &search)
    .tells("Search the messages of a room, the newest first.");

async fn search(
    app: App,
    caller: Caller,
    (Params(asked), paging): (Params<SearchIn>, Paging),
) -> Result<Written<SearchAnswer>, Failure> {
    let room = required(
        asked.room_id.as_deref(),
        "error-roomId-param-not-provided",
        "The required \"roomId\" query param is missing.",
    )?;
    let text = required(
        asked.search_text.as_deref(),
        "error-searchText-param-not-provided",
        "The required \"searchText\" query param is missing.",
    )?;
    let room = RoomId::new(room);
    require_readable(&app, &caller, &room, not_allowed("Not allowed"))?;
    let question = Question::read(text);
    if question.is_empty() {
        return Ok(Written::new().json("messages", "[]"));
    }
    let rooms = rooms(&app, &caller, room, &question);
    let senders = senders(&app, caller.user(), &question);
    let count = paging.count.unwrap_or(u64::MAX);
    let matches = app
        .views
        .search
        .find(&question, &rooms, &senders, paging.offset, count)
        .await?;
    let order = if question.oldest_first {
        Order::OldestFirst
    } else {
        Order::NewestFirst
    };
    let found = app
        .views
        .messages
        .among(caller.user(), &matches.ids, order)
        .await?;
    let found = project(found, &paging).await?;
    Ok(Written::new().json("messages", &found.json))
}

/// The room, or those that the question names and the caller may read.
fn rooms(app: &App, caller: &Caller, room: RoomId, question: &Question) -> Vec<RoomId> {
    if question.rooms.is_empty() {
        return vec![room];
    }
    let model = app.commands.model();
    let named = question.rooms.iter();
    named
        .filter_map(|name| model.room_called(name))
        .filter(|room| model.sees(caller, room, Purpose::Messages))
        .collect()
}

/// Those whom the question's names mean.
fn senders(app: &App, viewer: &UserId, question: &Question) -> Vec<UserId> {
    let model = app.commands.model();
    let sender = |name: &String| match name.as_str() {
        "me" => Some(viewer.clone()),
        name => model.user_by_name(name).cloned(),
    };
    question.from.iter().filter_map(sender).collect()
}
