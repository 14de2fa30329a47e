//! What was said in a room.

use hansard_commands::authorization::sight::Purpose;
use hansard_domain::id::{RoomId, Timestamp, UserId};
use hansard_domain::setting::definitions::HIDEABLE_MESSAGES;
use hansard_projections::messages::{Filter, Found, History, MOST_MENTIONED, Order, Unread};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::message_shape::{Written, order, project};
use crate::rest::paging::Paging;
use crate::rest::time::{time, time_in};
use crate::wire::message::Message;

/// Which part of a room's history.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct HistoryParams {
    /// Messages before this time; now if absent.
    pub latest: Option<String>,
    /// Messages after this time.
    pub oldest: Option<String>,
    /// Whether those of the two times themselves belong to it.
    pub inclusive: Option<bool>,
    /// Answers also how much before the page has not been read.
    pub unreads: Option<bool>,
    /// With replies that show in their thread alone.
    pub show_thread_messages: Option<bool>,
}

/// A page of history, the newest message first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "a schema: the view holds messages finished")]
pub struct HistoryAnswer {
    messages: Vec<Message>,
    /// The oldest message before the page that has not been read.
    first_unread: Option<Message>,
    /// How many messages before the page have not been read.
    unread_not_loaded: Option<u64>,
    #[schema(example = true)]
    success: bool,
}

/// What is said to those who ask for others' stars.
const OTHERS_STARS: &str = "A star is shown to whoever set it: \"starred._id\" takes the id of the \
                            caller alone";

/// What is said to those who ask for more mentions than are looked for.
fn too_many() -> String {
    format!("\"mentions._id\" takes at most {MOST_MENTIONED} ids")
}

/// A page of a room's history. 403 for whoever may not read it.
pub async fn history(
    app: &App,
    caller: &Caller,
    room: &RoomId,
    asked: &HistoryParams,
    threads: bool,
    paging: &Paging,
) -> Result<Written<HistoryAnswer>, Failure> {
    let viewer = caller.user();
    let history = {
        let model = app.commands.model();
        let sight = model.sight(caller, room, Purpose::Messages);
        let found = sight.ok_or_else(unauthorized)?.room;
        let hidden = found
            .switches
            .hidden_system_messages
            .clone()
            .or_else(|| serde_json::from_value(model.setting("Hide_System_Messages")).ok());
        History {
            latest: bound(asked.latest.as_deref())?,
            oldest: bound(asked.oldest.as_deref())?,
            inclusive: asked.inclusive.unwrap_or_default(),
            slice: paging.into(),
            threads: asked.show_thread_messages.unwrap_or(threads),
            hidden: expanded(&hidden.unwrap_or_default()),
        }
    };
    let found = app.views.messages.history(viewer, room, &history).await?;
    let mut answer = Written::new().json("messages", &found.json);
    if asked.unreads == Some(true) {
        let mut unread = Unread::default();
        if let Some((after, before)) = history.oldest.zip(found.last) {
            let messages = &app.views.messages;
            unread = messages
                .unread(viewer, room, (after, before), &history)
                .await?;
        }
        answer = answer.number("unreadNotLoaded", unread.count);
        if let Some(first) = unread.first {
            answer = answer.json("firstUnread", &first);
        }
    }
    Ok(answer)
}

/// A page of all messages of a room that the viewer may read, by `query`.
pub async fn messages(
    app: &App,
    viewer: &UserId,
    room: &RoomId,
    paging: &Paging,
) -> Result<Found, Failure> {
    let filter = paging
        .query
        .as_ref()
        .map(|query| filter(query, viewer))
        .transpose()?
        .unwrap_or_default();
    let order = order(paging, Order::NewestFirst);
    let messages = &app.views.messages;
    let found = messages
        .list(viewer, room, &filter, order, paging.into())
        .await?;
    project(found, paging).await
}

fn unauthorized() -> Failure {
    Failure::forbidden_because("unauthorized")
}

/// The kinds of system message that are hidden, each once. `mute_unmute` hides both; what can't be
/// hidden is not looked for.
fn expanded(kinds: &[String]) -> Vec<String> {
    let hidden = HIDEABLE_MESSAGES
        .iter()
        .filter(|known| kinds.iter().any(|kind| kind == **known));
    hidden
        .flat_map(|kind| match *kind {
            "mute_unmute" => vec!["user-muted".to_owned(), "user-unmuted".to_owned()],
            kind => vec![kind.to_owned()],
        })
        .collect()
}

/// A bound; none where nothing stands.
fn bound(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    text.map(|text| time(text).ok_or_else(invalid_date))
        .transpose()
}

fn invalid_date() -> Failure {
    Failure::refused("error-invalid-date", "Invalid date")
}

/// The filters of messages that the view has an answer to.
fn filter(query: &Map<String, Value>, viewer: &UserId) -> Result<Filter, Failure> {
    let mut filter = Filter::default();
    for (name, wanted) in query {
        let text = || wanted.as_str().ok_or_else(|| unknown_condition(name));
        match name.as_str() {
            "rid" => {}
            "_id" => filter.id = Some(text()?.into()),
            "u._id" => filter.sender = Some(text()?.into()),
            "tmid" => filter.thread = Some(text()?.into()),
            "t" => filter.kind = Some(text()?.to_owned()),
            "mentions._id" => {
                filter.mentions = listed(wanted).ok_or_else(|| unknown_condition(name))?;
                if filter.mentions.len() > MOST_MENTIONED {
                    return Err(Failure::refused("error-invalid-query", &too_many()));
                }
            }
            "starred._id" => {
                let asked = listed(wanted).ok_or_else(|| unknown_condition(name))?;
                if asked.iter().any(|id| id != viewer) {
                    return Err(Failure::refused("error-invalid-query", OTHERS_STARS));
                }
                filter.starred = true;
            }
            "pinned" if *wanted == Value::Bool(true) => filter.pinned = true,
            "ts" => (filter.oldest, filter.latest) = between(wanted)?,
            _ => return Err(unknown_condition(name)),
        }
    }
    Ok(filter)
}

/// The first and the last time that a condition on times lets through.
pub fn between(condition: &Value) -> Result<(Option<Timestamp>, Option<Timestamp>), Failure> {
    let bounds = condition
        .as_object()
        .ok_or_else(|| unknown_condition("ts"))?;
    let (mut oldest, mut latest) = (None, None);
    for (bound, at) in bounds {
        let at = time_in(at).ok_or_else(invalid_date)?;
        match bound.as_str() {
            "$gte" => oldest = oldest.max(Some(at)),
            "$gt" => oldest = oldest.max(Some(at.next())),
            "$lte" => latest = Some(latest.map_or(at, |latest: Timestamp| latest.min(at))),
            "$lt" => {
                let at = at.previous();
                latest = Some(latest.map_or(at, |latest: Timestamp| latest.min(at)));
            }
            _ => return Err(unknown_condition(bound)),
        }
    }
    Ok((oldest, latest))
}

/// One id, or a list of some.
fn listed(wanted: &Value) -> Option<Vec<UserId>> {
    let list = match wanted {
        Value::String(id) => return Some(vec![id.as_str().into()]),
        Value::Object(operators) => operators.get("$in")?.as_array()?,
        _ => return None,
    };
    let ids = list.iter().map(|id| Some(id.as_str()?.into()));
    ids.collect::<Option<Vec<_>>>()
        .filter(|ids| !ids.is_empty())
}

pub fn unknown_condition(name: &str) -> Failure {
    let reason = format!("Invalid query parameter provided: \"{name}\"");
    Failure::refused("error-invalid-query", &reason)
}
