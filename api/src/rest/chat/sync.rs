//! What changed and what was deleted, for clients that were away.

use hansard_domain::id::{RoomId, Timestamp};
use hansard_domain::log::Position;
use hansard_projections::messages::{Changed, Cursor, Deleted, Point};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::{not_allowed, required};
use crate::app::App;
use crate::operations::Operation;
use crate::rest::answer::{Answer, answer};
use crate::rest::body::Params;
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::message_shape::{Written, require_readable, unreadable};
use crate::rest::paging::Paging;
use crate::rest::rate_limit::building::Builder;
use crate::rest::time::time;
use crate::wire::message::Message;

pub const OPERATIONS: &[Operation] = &[SYNC_MESSAGES, DELETED_MESSAGES];

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SyncMessages {
    #[serde(rename = "roomId")]
    #[param(required = true)]
    room_id: Option<String>,
    /// ISO 8601, or the cursor of an answer to it: everything since then, at once.
    #[serde(rename = "lastUpdate")]
    last_update: Option<String>,
    /// `UPDATED` or `DELETED`: one page of that kind.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// A cursor: what happened after it, the earliest first. 0 begins.
    next: Option<String>,
    /// A cursor: what happened before it, the latest first.
    previous: Option<String>,
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
    /// Of a page, and where `lastUpdate` brought more than 32 MiB: all is told up to `next`.
    cursor: Option<SyncCursor>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeletedAt {
    _id: String,
    #[serde(rename = "_deletedAt")]
    deleted_at: String,
}

impl DeletedAt {
    pub(super) fn list(deleted: Vec<Deleted>) -> Result<String, Failure> {
        let told = |gone: Deleted| Self {
            _id: gone.id.to_string(),
            deleted_at: gone.at.iso(),
        };
        let told: Vec<_> = deleted.into_iter().map(told).collect();
        serde_json::to_string(&told).map_err(unreadable)
    }
}

/// Where to read on: milliseconds since 1970, as text, and inside of the changes of one time its place
/// among them (`1700000000000.4711`); `null` where there is nothing. To be handed back as it is.
#[derive(Debug, Serialize, ToSchema)]
struct SyncCursor {
    next: Option<String>,
    previous: Option<String>,
}

impl SyncCursor {
    fn of<T>(asked: Cursor, changed: &Changed<T>) -> Self {
        let (back, on) = (
            changed.first.map(text),
            changed.last.filter(|_| changed.more).map(text),
        );
        match asked {
            Cursor::After(_) => Self {
                next: on,
                previous: back,
            },
            Cursor::Before(_) => Self {
                next: back,
                previous: on,
            },
        }
    }
}

/// A point as cursors say it.
fn text(Point { at, position }: Point) -> String {
    match position {
        Some(position) => format!("{}.{position}", at.0),
        None => at.0.to_string(),
    }
}

/// The point that a cursor says.
fn point(text: &str) -> Option<Point> {
    let text = text.trim();
    let (millis, position) = match text.split_once('.') {
        Some((millis, position)) => (millis, Some(Position(position.parse().ok()?))),
        None => (text, None),
    };
    let at = Timestamp::of_millis(millis.parse().ok()?)?;
    Some(Point { at, position })
}

/// What is asked for.
enum Asked {
    Since(Point),
    Updated(Cursor),
    Deleted(Cursor),
}

impl SyncMessages {
    fn read(&self) -> Result<Asked, Failure> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (next, previous) = (given(&self.next), given(&self.previous));
        let paged = next.is_some() || previous.is_some();
        let kind = given(&self.kind);
        if kind.is_none() && !paged {
            let since = required(
                self.last_update.as_deref(),
                "error-lastUpdate-param-not-provided",
                "The required \"lastUpdate\" query param is missing.",
            )?;
            let since = time(since).map(Point::from).or_else(|| point(since));
            return since.map(Asked::Since).ok_or_else(|| {
                Failure::refused(
                    "error-roomId-param-invalid",
                    "The \"lastUpdate\" query parameter must be a valid date.",
                )
            });
        }
        if given(&self.last_update).is_some() {
            return Err(Failure::refused(
                "error-cursor-and-lastUpdate-conflict",
                "Pages are read with \"next\" or \"previous\", not with \"lastUpdate\".",
            ));
        }
        let cursor = |text: &str| {
            point(text).ok_or_else(|| {
                Failure::refused(
                    "error-invalid-cursor",
                    "\"next\" and \"previous\" are milliseconds since 1970, or the cursors of a page.",
                )
            })
        };
        let cursor = match (next, previous) {
            (Some(_), Some(_)) => {
                return Err(Failure::refused(
                    "error-cursor-conflict",
                    "Only one of \"next\" and \"previous\" can be asked for.",
                ));
            }
            (None, Some(before)) => Cursor::Before(cursor(&before)?),
            (Some(after), None) => Cursor::After(cursor(&after)?),
            (None, None) => Cursor::After(Timestamp::EARLIEST.into()),
        };
        match kind.as_deref() {
            Some("UPDATED") => Ok(Asked::Updated(cursor)),
            Some("DELETED") => Ok(Asked::Deleted(cursor)),
            Some(_) => Err(Failure::refused(
                "error-type-param-not-supported",
                "The \"type\" must be \"UPDATED\" or \"DELETED\".",
            )),
            None => Err(Failure::refused(
                "error-type-param-required",
                "The \"type\" of the page, \"UPDATED\" or \"DELETED\", is missing.",
            )),
        }
    }
}

pub const SYNC_MESSAGES: Operation = Operation::get("chat.syncMessages", &sync_messages)
    .tells("What was sent, changed or deleted in a room since a time.")
    .notes(
        "All of it at once with `lastUpdate`; or a page of one kind with `type` and `next` or \
         `previous`, the cursors that the page before told. A page holds more than `count` messages, up \
         to 1,000, where the last of them have the same time, and all that was deleted at the time at \
         its end.\n\n With `lastUpdate`, too, the answer ends at 32 MiB of messages, or at 100,000 that \
         were deleted. It then has a `cursor`: what happened later is asked for with its `next`, as \
         `lastUpdate` or by pages.",
    );

async fn sync_messages(
    app: App,
    caller: Caller,
    (Params(asked), mut paging, builder): (Params<SyncMessages>, Paging, Builder),
) -> Result<Written<SyncAnswer>, Failure> {
    let room = required(
        asked.room_id.as_deref(),
        "error-roomId-param-not-provided",
        "The required \"roomId\" query param is missing.",
    )?;
    let wanted = asked.read()?;
    let room = RoomId::new(room);
    // Before it is asked who may see it: what somebody may see can change while it waits.
    if let Asked::Since(_) = wanted {
        paging.whole(builder).await?;
    }
    require_readable(&app, &caller, &room, not_allowed("Not allowed"))?;
    let messages = &app.views.messages;
    let (updated, deleted, cursor) = match wanted {
        Asked::Since(since) => {
            let all = messages.since(caller.user(), &room, since).await?;
            let cursor = all.until.map(|until| SyncCursor {
                next: Some(text(until)),
                previous: None,
            });
            (all.updated.json, all.deleted, cursor)
        }
        Asked::Updated(cursor) => {
            let page = messages.updated_page(caller.user(), &room, cursor, paging.count);
            let page = page.await?;
            let told = SyncCursor::of(cursor, &page);
            (page.found.json, Vec::new(), Some(told))
        }
        Asked::Deleted(cursor) => {
            let page = messages.deleted_page(&room, cursor, paging.count).await?;
            let told = SyncCursor::of(cursor, &page);
            ("[]".to_owned(), page.found, Some(told))
        }
    };
    let deleted = DeletedAt::list(deleted)?;
    let cursor = cursor.map(|cursor| format!(",\"cursor\":{}", json!(cursor)));
    let result = format!(
        "{{\"updated\":{updated},\"deleted\":{}{}}}",
        deleted,
        cursor.unwrap_or_default()
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

pub const DELETED_MESSAGES: Operation =
    Operation::get("chat.getDeletedMessages", &deleted_messages)
        .tells("The ids of the messages deleted in a room since a time.");

async fn deleted_messages(
    app: App,
    caller: Caller,
    (Params(asked), paging): (Params<DeletedMessages>, Paging),
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
    let id = |gone: &Deleted| DeletedId {
        _id: gone.id.to_string(),
    };
    answer(DeletedAnswer {
        count: deleted.len() as u64,
        messages: deleted.iter().map(id).collect(),
        offset: paging.offset,
        total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_handed_back_as_it_was_told() {
        for told in ["1700000000123", "1700000000123.4711", "0", "-5.1"] {
            assert_eq!(point(told).map(text).as_deref(), Some(told));
        }
        let inside = point("5.7").unwrap();
        assert_eq!(
            (inside.at, inside.position),
            (Timestamp(5), Some(Position(7)))
        );
        for other in ["", "soon", "5.", "5.x", "5.-1", "5.1.1", ".5", "1e3"] {
            assert_eq!(point(other), None, "{other}");
        }
    }
}
