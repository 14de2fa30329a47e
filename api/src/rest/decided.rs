//! What an operation answers that recorded something.
//!
//! What was recorded is answered as done, from what was decided: accounts, rooms and roles as their
//! decision left them, messages from their own stream. The views are asked for what only they know,
//! and not for long:
//!
//! | of | what only a view knows |
//! | --- | --- |
//! | a room | `msgs`, `lm`, `lastMessage`, `_updatedAt` where that is when something was said, and in which order people were muted |
//! | a message | `tcount`, `tlm`, and followers that came by replies, of the head of a thread |
//! | roles, permissions | `_updatedAt` of those that were not changed by this operation |
//!
//! A view that stands still leaves these as they were when it stopped, or out; the answer then says so
//! in `Hansard-Lag`.

use std::sync::Arc;
use std::time::Duration;

use hansard_commands::after::{AccountAfter, RoomAfter};
use hansard_commands::authorization::sight::Purpose;
use hansard_commands::bus::{Done, message_stream};
use hansard_commands::error::CommandError;
use hansard_commands::model::WriteModel;
use hansard_domain::account::{Author, MessageErasure};
use hansard_domain::event::{Entry, Event};
use hansard_domain::fair::Turn;
use hansard_domain::id::{MessageId, RoomId, UserId};
use hansard_domain::log::Version;
use hansard_domain::message::MessageEvent;
use hansard_projections::accounts::{self, User};
use hansard_projections::configuration::{self, Changes};
use hansard_projections::messages::{self, MessageHead};
use hansard_projections::rooms::{self, Person, Room};
use hansard_projections::{ViewError, subscriptions};
use serde_json::{Map, Value};

use super::caller::Caller;
use super::failure::Failure;
use crate::app::App;
use crate::operations::asked::is_logged_out;

/// How long an answer waits for what only a view knows.
const PATIENCE: Duration = Duration::from_millis(500);

/// After how long it asks again where too many of its client wait.
const AGAIN: Duration = Duration::from_millis(50);

/// What a view tells, unless it tells nothing at the moment.
fn told<T>(what: &str, told: Result<T, ViewError>) -> Option<T> {
    told.inspect_err(|error| tracing::warn!(%error, "{what} is answered without its view"))
        .ok()
}

/// An account as it was decided.
pub async fn account(app: &App, done: &Done<AccountAfter>) -> User {
    let AccountAfter { id, state } = &done.answer;
    let updated = match accounts::changed_at(done.entries(), id) {
        Some(at) => at,
        // Nothing was changed, so the view has known it for a while.
        None => {
            let seen = async {
                let mut reading = app.views.accounts.hurried(PATIENCE).read().await?;
                accounts::by_id(&mut reading, id).await
            };
            let seen = told("an account", seen.await).flatten();
            seen.map_or(state.created, |seen| seen.updated_at)
        }
    };
    User::of(id, state, updated)
}

/// A room as it was decided, as the caller may see it.
pub async fn room(app: &App, caller: &Caller, done: &Done<RoomAfter>) -> Map<String, Value> {
    let id = &done.answer.id;
    let seen = async {
        let mut reading = app.views.rooms.hurried(PATIENCE).read().await?;
        rooms::by_ids(&mut reading, std::slice::from_ref(id)).await
    };
    let seen = told("a room", seen.await).and_then(|mut seen| seen.pop());
    let room = room_with(app, done, seen);
    let mut wire = room.wire();
    let stored = app.commands.model().flag("Store_Last_Message");
    if room.spoken.is_some() && stored && reads(app, caller, id) {
        let messages = app.views.messages.hurried(PATIENCE);
        let latest = messages
            .latest(caller.user(), std::slice::from_ref(id))
            .await;
        let latest = told("a room's last message", latest);
        // The caller may be out of the room by now, or logged out.
        let latest = latest.filter(|_| reads(app, caller, id));
        if let Some(message) = latest.and_then(|mut latest| latest.remove(id)) {
            wire.insert("lastMessage".to_owned(), message);
        }
    }
    wire
}

/// A room as it was decided, without what only the views know.
pub fn room_alone(app: &App, done: &Done<RoomAfter>) -> Room {
    room_with(app, done, None)
}

fn room_with(app: &App, done: &Done<RoomAfter>, seen: Option<Room>) -> Room {
    let RoomAfter { id, state } = &done.answer;
    let changed = rooms::changed_at(done.entries(), id);
    let model = app.commands.model();
    Room::of(id, state, seen, changed, |user| {
        let account = model.account(user)?;
        Some(Person {
            username: Some(account.profile.username.clone()),
            name: account.profile.name.clone(),
        })
    })
}

/// A message as it was recorded: as the view shows it, or, where that is behind, as its stream has it,
/// up to a version, or else to its end. `None` if it is gone.
pub async fn message(
    app: &App,
    caller: &Caller,
    id: &MessageId,
    until: Option<Version>,
) -> Result<Option<MessageHead>, Failure> {
    let shown = message_by(app, caller, id, until).await?;
    Ok(shown.map(|(message, _)| message))
}

/// What a message is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// All that its view knows.
    View,
    /// Its view is behind, or busy: how many replies there are is not known.
    Stream,
}

/// The same, and what it is known by.
pub async fn message_by(
    app: &App,
    caller: &Caller,
    id: &MessageId,
    until: Option<Version>,
) -> Result<Option<(MessageHead, By)>, Failure> {
    let views = app.views.messages.hurried(PATIENCE);
    let seen = match told("a message", views.single_and_lag(caller.user(), id).await) {
        // Who was put out meanwhile is told what it did, and nothing that came after.
        Some((Some(seen), _)) if until.is_some() && !reads(app, caller, &seen.room) => None,
        Some((Some(seen), 0)) => return Ok(Some((seen, By::View))),
        Some((None, 0)) if until.is_none() => return Ok(None),
        // The view is behind, or somebody has deleted what stood at that version.
        told => told.and_then(|(seen, _)| seen),
    };
    let stream = message_stream(id);
    let _turn = turn_to_load(app, until.is_some()).await?;
    let entries = app.commands.journal().stream(&stream, Version::NONE).await;
    let mut entries = entries.map_err(CommandError::from)?;
    if is_shredded(&entries) {
        return Ok(None);
    }
    if let Some(until) = until {
        entries.retain(|entry| entry.version <= until);
    }
    let (model, reader) = (app.commands.model(), caller.user().clone());
    // It may have changed thousands of times.
    let folding = tokio::task::spawn_blocking(move || {
        messages::message_of_stream(&entries, &reader, |user| author(&model, user))
    });
    let mut message = folding.await.map_err(|_| Failure::internal())??;
    if let (Some(message), Some(seen)) = (&mut message, seen) {
        message.json = with_replies(std::mem::take(&mut message.json), &seen.json);
    }
    Ok(message.map(|message| (message, By::Stream)))
}

/// Whether the caller may read what is said in a room, as things are now: a session may have ended since the
/// request began.
pub fn reads(app: &App, caller: &Caller, room: &RoomId) -> bool {
    let model = app.commands.model();
    let account = model.account(caller.user());
    let is_let_in = !is_logged_out(app, &model, caller)
        && account.is_some_and(|account| !account.must_change_password());
    let sight = model.sight_of(Some(caller.user()), room, Purpose::Messages);
    is_let_in && sight.is_some()
}

/// A turn to read a stream. Who is to be told what it did waits for as long as its request may take.
async fn turn_to_load(app: &App, done: bool) -> Result<Turn, Failure> {
    loop {
        match app.commands.turn_to_load().await {
            Ok(turn) => return Ok(turn),
            Err(_) if done => tokio::time::sleep(AGAIN).await,
            Err(crowded) => return Err(CommandError::from(crowded).into()),
        }
    }
}

/// Whether a message was erased in a way that its own stream does not tell of: with its room, its
/// sender, or by a prune.
fn is_shredded(entries: &[Arc<Entry>]) -> bool {
    entries.iter().any(|entry| match &entry.event {
        Event::Message(MessageEvent::MessageSent { content, .. }) => content.value().is_none(),
        _ => false,
    })
}

/// How somebody is named beside what it said.
fn author(model: &WriteModel, user: &UserId) -> Author {
    match model.account(user) {
        Some(account) => messages::author(user, Some(&account.profile)),
        None if model.erasure(user) == Some(MessageErasure::Unlink) => messages::author_unlinked(),
        None => messages::author(user, None),
    }
}

/// A message with what the view shows of the thread that hangs on it.
fn with_replies(message: String, seen: &str) -> String {
    const OF_THREAD: [&str; 3] = ["tcount", "tlm", "replies"];
    let read = |message: &str| {
        hansard_domain::json::object(message)
            .inspect_err(|error| tracing::error!(%error, "a message of the view is not JSON"))
    };
    let (Ok(mut whole), Ok(mut seen)) = (read(&message), read(seen)) else {
        return message;
    };
    let shown = OF_THREAD.into_iter();
    let shown: Vec<_> = shown
        .filter_map(|field| Some((field, seen.shift_remove(field)?)))
        .collect();
    if shown.is_empty() {
        return message;
    }
    for (field, value) in shown {
        whole.insert(field.to_owned(), value);
    }
    serde_json::to_string(&whole).unwrap_or(message)
}

/// When roles were changed last, with what was recorded just now.
pub async fn changes_of_roles(app: &App, entries: &[Arc<Entry>]) -> Changes {
    let seen = async {
        let mut reading = app.views.configuration.hurried(PATIENCE).read().await?;
        configuration::of_roles(&mut reading).await
    };
    let seen = told("when roles were changed", seen.await);
    seen.unwrap_or_default().with_roles(entries)
}

/// When permissions were changed last, with what was recorded just now.
pub async fn changes_of_permissions(app: &App, entries: &[Arc<Entry>]) -> Changes {
    let seen = async {
        let mut reading = app.views.configuration.hurried(PATIENCE).read().await?;
        configuration::of_permissions(&mut reading).await
    };
    let seen = told("when permissions were changed", seen.await);
    seen.unwrap_or_default().with_permissions(entries)
}

/// Whether a room stands in a member's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// The user is not a member.
    No,
    Open,
    Hidden,
    /// It was hidden, and whether something was said since nobody can tell at the moment.
    Unknown,
}

/// Whether a room stands in somebody's list: as it was decided, and what is said shows a hidden room
/// again, which only the view knows.
pub async fn listed(app: &App, room: &RoomId, user: &UserId) -> Listed {
    {
        let model = app.commands.model();
        let found = model.room(room);
        if !found.is_some_and(|found| found.is_member(user)) {
            return Listed::No;
        }
    }
    match app.commands.subscription(room, user).await {
        Ok(own) if !own.in_model(&app.commands.model()).hidden => return Listed::Open,
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "whether a room is open is asked of its view alone"),
    }
    let seen = async {
        let mut reading = app.views.subscriptions.hurried(PATIENCE).read().await?;
        let own = subscriptions::one(&mut reading, room, user).await?;
        Ok(own.map(|own| own.open).filter(|_| reading.lag == 0))
    };
    match told("whether a room is open", seen.await).flatten() {
        Some(true) => Listed::Open,
        Some(false) => Listed::Hidden,
        None => Listed::Unknown,
    }
}
