//! `rooms.cleanHistory`: prunes a room.

use hansard_commands::authorization::sight::Purpose;
use hansard_commands::prune::{self, CleanHistory, Messages};
use hansard_domain::id::{RoomId, Timestamp};
use hansard_domain::room::PruneCriteria;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::answer::{Answer, answer};
use super::body::Body;
use super::caller::Caller;
use super::failure::Failure;
use super::lenient;
use crate::app::App;
use crate::operations::Operation;

pub const OPERATIONS: &[Operation] = &[CLEAN_HISTORY];

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
struct CleanHistoryRequest {
    /// The room, by its id; or else by its name.
    room_id: Option<String>,
    room_name: Option<String>,
    /// Only messages before this time.
    latest: Option<String>,
    /// Only messages after this time.
    oldest: Option<String>,
    /// Messages of the very times above, too.
    inclusive: bool,
    /// Pinned messages stay.
    #[schema(value_type = bool)]
    exclude_pinned: Value,
    /// Only files go; messages stay.
    #[schema(value_type = bool)]
    files_only: Value,
    /// Threads stay.
    #[schema(value_type = bool)]
    ignore_threads: Value,
    /// Messages that discussions were started with stay.
    #[schema(value_type = bool)]
    ignore_discussion: Value,
    /// Only messages of these, by username.
    users: Vec<String>,
    /// At most so many, the oldest first; 0 for all.
    limit: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct CleanedHistory {
    /// The room.
    _id: String,
    /// How many messages went.
    count: u64,
    /// Their texts are still in files of a view that stands still: they go when it goes on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    erasing: bool,
}

pub const CLEAN_HISTORY: Operation = Operation::post("rooms.cleanHistory", &clean_history)
    .tells("Prune a room.")
    .notes(
        "Messages go from the room for good, and their texts from every file: they are gone when this \
         answers, unless it says `erasing`. Needs `clean-channel-history`.",
    );

async fn clean_history(
    app: App,
    caller: Caller,
    Body(request): Body<CleanHistoryRequest>,
) -> Answer<CleanedHistory> {
    let room = request.room(&app, &caller)?;
    let criteria = PruneCriteria {
        latest: required("latest", request.latest.as_deref())?,
        oldest: required("oldest", request.oldest.as_deref())?,
        inclusive: request.inclusive,
        exclude_pinned: is_on(&request.exclude_pinned),
        ignore_discussion: is_on(&request.ignore_discussion),
        files_only: is_on(&request.files_only),
        ignore_threads: is_on(&request.ignore_threads),
        users: Vec::new(),
        limit: request.limit,
    };
    let messages = Messages {
        index: app.index.as_ref(),
        deleted: app.index.as_ref(),
    };
    let asked = CleanHistory {
        room: room.clone(),
        criteria,
        usernames: request.users,
    };
    let done = prune::clean_history(&app.commands, messages, &caller, asked).await?;
    let erased = match done.position {
        Some(position) => app.erasure.waited_for(position).await,
        None => true,
    };
    answer(CleanedHistory {
        _id: room.to_string(),
        count: done.count,
        erasing: !erased,
    })
}

impl CleanHistoryRequest {
    /// The room that is meant, if the caller knows of it or may prune every one.
    fn room(&self, app: &App, caller: &Caller) -> Result<RoomId, Failure> {
        let model = app.commands.model();
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let room = match (given(&self.room_id), given(&self.room_name)) {
            (Some(id), _) => Some(RoomId::new(id)).filter(|id| model.room(id).is_some()),
            (None, Some(name)) => model.room_by_name(&name).cloned(),
            (None, None) => {
                return Err(Failure::refused(
                    "error-roomid-param-not-provided",
                    "The parameter \"roomId\" or \"roomName\" is required",
                ));
            }
        };
        let reached = |room: &RoomId| {
            model.sees(caller, room, Purpose::Existence)
                || model.allows(caller, "clean-channel-history", Some(room))
        };
        let missing = || {
            Failure::refused(
                "error-room-not-found",
                "The required \"roomId\" or \"roomName\" param provided does not match any channel",
            )
        };
        let room = room.ok_or_else(missing)?;
        if !reached(&room) {
            return Err(missing().denied_in(&room));
        }
        if let Some(found) = model.room(&room).filter(|found| found.archived) {
            return Err(Failure::refused(
                "error-room-archived",
                &format!("The channel, {}, is archived", found.details.name),
            ));
        }
        Ok(room)
    }
}

fn required(name: &str, text: Option<&str>) -> Result<Timestamp, Failure> {
    let text = text
        .filter(|text| !text.is_empty())
        .ok_or_else(|| Failure::plain(format!("Body parameter \"{name}\" is required.")))?;
    Timestamp::parse(text)
        .ok_or_else(|| Failure::plain(format!("Body parameter \"{name}\" is not a date.")))
}

/// What is not a way of saying yes is no.
fn is_on(value: &Value) -> bool {
    lenient::read(value.clone()).unwrap_or(false)
}
