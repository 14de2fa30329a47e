//! Messages in answers.
//!
//! The view of messages holds them finished, so an answer is written around their text and nothing
//! is parsed or serialised again; [`wire::message`](crate::wire::message) says what they look like.

use std::marker::PhantomData;

use hansard_commands::after::MessageAfter;
use hansard_commands::authorization::sight::Purpose;
use hansard_commands::message::Said;
use hansard_commands::model::WriteModel;
use hansard_domain::account::Author;
use hansard_domain::id::{MessageId, RoomId, UserId};
use hansard_domain::log::Version;
use hansard_projections::messages::{Found, MessageHead, Order, Slice, message_json};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::aside;
use super::caller::Caller;
use super::decided;
use super::failure::Failure;
use super::paging::{Direction, Paging};
use crate::app::App;
use crate::operations::contract::{Described, Schemas};
use crate::operations::reply::{Answers, Reply};

/// An answer whose members are JSON texts: `{…, "success": true}`.
#[derive(Debug)]
pub struct Written<A> {
    body: String,
    /// What it looks like.
    answer: PhantomData<fn() -> A>,
}

impl<A> Written<A> {
    pub fn new() -> Self {
        Self {
            body: String::from("{"),
            answer: PhantomData,
        }
    }

    /// Adds a member; `json` must be JSON.
    pub fn json(mut self, name: &str, json: &str) -> Self {
        self.body.reserve(json.len() + name.len() + 24);
        self.body.push('"');
        self.body.push_str(name);
        self.body.push_str("\":");
        self.body.push_str(json);
        self.body.push(',');
        self
    }

    pub fn number(self, name: &str, number: u64) -> Self {
        self.json(name, &number.to_string())
    }

    /// Adds `messages`, `count`, `offset` and `total` of a page.
    pub fn page(self, name: &str, found: &Found, offset: u64) -> Self {
        self.json(name, &found.json)
            .number("count", found.count)
            .number("offset", offset)
            .number("total", found.total)
    }
}

impl<A: ToSchema + 'static> Answers for Written<A> {
    fn reply(mut self) -> Result<Reply, Failure> {
        self.body.push_str("\"success\":true}");
        Ok(Reply::json(self.body))
    }

    fn describe(schemas: &mut Schemas) -> Described {
        Described::of(schemas.reference::<A>())
    }
}

impl From<&Paging> for Slice {
    fn from(paging: &Paging) -> Self {
        Self {
            offset: paging.offset,
            count: paging.count,
        }
    }
}

/// The order that a list of messages is asked for in: by time, either way.
pub fn order(paging: &Paging, usual: Order) -> Order {
    let by_time = paging.sort.iter().find(|(name, _)| name == "ts");
    match by_time {
        Some((_, Direction::Ascending)) => Order::OldestFirst,
        Some((_, Direction::Descending)) => Order::NewestFirst,
        None => usual,
    }
}

/// Messages of so many bytes are projected in a millisecond or two.
const SMALL: usize = 128 << 10;

/// Leaves of each message the members that are asked for.
pub async fn project(found: Found, paging: &Paging) -> Result<Found, Failure> {
    let Some(fields) = paging.fields.clone() else {
        return Ok(found);
    };
    let small = found.json.len() <= SMALL;
    let project = move || {
        // One after the other: read as values, they take many times their text.
        let messages: Vec<&RawValue> = hansard_domain::json::from_str(&found.json)?;
        let mut json = String::from("[");
        for message in messages {
            let mut message = hansard_domain::json::object(message.get())?;
            fields.project(&mut message);
            if json.len() > 1 {
                json.push(',');
            }
            json.push_str(&serde_json::to_string(&message)?);
        }
        json.push(']');
        Ok(Found { json, ..found })
    };
    let projected: serde_json::Result<Found> = if small {
        project()
    } else {
        aside::work(&paging.client, project).await?
    };
    projected.map_err(unreadable)
}

/// A message that was just recorded, with its author as it was decided: others may have deleted it since.
pub fn recorded(model: &WriteModel, message: &MessageAfter) -> Result<String, Failure> {
    let named = |user: &UserId| {
        model.account(user).map(|account| Author {
            id: user.clone(),
            username: account.profile.username.clone(),
            name: account.profile.name.clone(),
        })
    };
    let json = message_json(&message.entry, &message.author, named)?;
    json.ok_or_else(Failure::internal)
}

/// What was said: from its event, or from its stream where it stood already.
pub async fn said(app: &App, caller: &Caller, said: &Said) -> Result<String, Failure> {
    match said {
        Said::New(message) => recorded(&app.commands.model(), message),
        Said::Already(id) => Ok(stands(app, caller, id, None).await?.json),
    }
}

/// A message as it was recorded, up to a version or altogether. What Rocket.Chat says of one that is
/// not there is nothing.
pub async fn stands(
    app: &App,
    caller: &Caller,
    id: &MessageId,
    until: Option<Version>,
) -> Result<MessageHead, Failure> {
    let message = decided::message(app, caller, id, until).await?;
    let told = |message: &MessageHead| {
        // What stands there now may be of later than the caller was let in.
        until.is_some() || decided::reads(app, caller, &message.room)
    };
    message.filter(told).ok_or_else(nothing)
}

pub fn nothing() -> Failure {
    Failure::with_body(serde_json::json!({ "success": false }))
}

/// Refuses somebody who may not read what is said in a room.
pub fn require_readable(
    app: &App,
    caller: &Caller,
    room: &RoomId,
    refusal: impl FnOnce() -> Failure,
) -> Result<(), Failure> {
    if app.commands.model().sees(caller, room, Purpose::Messages) {
        return Ok(());
    }
    Err(refusal())
}

/// A message that the caller may read. Who knows of its room is told that it may not; to others it is
/// not there.
pub async fn readable(
    app: &App,
    caller: &Caller,
    id: &MessageId,
    refused: impl FnOnce() -> Failure,
    missing: impl FnOnce() -> Failure,
) -> Result<MessageHead, Failure> {
    let message = app.views.messages.single(caller.user(), id).await?;
    if_readable(app, caller, message, refused, missing)
}

/// The same with a message that was found.
pub fn if_readable(
    app: &App,
    caller: &Caller,
    message: Option<MessageHead>,
    refused: impl FnOnce() -> Failure,
    missing: impl FnOnce() -> Failure,
) -> Result<MessageHead, Failure> {
    let Some(message) = message else {
        return Err(missing());
    };
    let model = app.commands.model();
    if model.sees(caller, &message.room, Purpose::Messages) {
        return Ok(message);
    }
    let failure = if model.sees(caller, &message.room, Purpose::Existence) {
        refused()
    } else {
        missing()
    };
    Err(failure.denied_in(&message.room))
}

/// Logs what should not happen: the view's JSON is our own.
pub fn unreadable(error: serde_json::Error) -> Failure {
    tracing::error!(%error, "a message of the view is not JSON");
    Failure::internal()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hansard_domain::account::Author;
    use hansard_domain::event::Entry;
    use hansard_domain::id::Timestamp;
    use hansard_domain::log::{Actor, Position, StreamId};
    use hansard_domain::message::{Content, Mentions, MessageEvent, Sent};
    use hansard_domain::seal::Private;
    use hansard_domain::vault::KeyId;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_recorded_is_answered_although_its_author_has_been_deleted_since() {
        let eve = UserId::new("eve-id");
        let sent = Sent {
            room: "GENERAL".into(),
            sender: eve.clone(),
            system: None,
            thread: None,
            mentions: Mentions::default(),
            integration: None,
            bot: false,
            groupable: true,
            discussion: None,
            has_files: false,
            at: Timestamp(7),
        };
        let content = Content {
            text: "good-bye".to_owned(),
            ..Content::default()
        };
        let content = Private::new(KeyId(1), content);
        let entry = Arc::new(Entry {
            position: Position(9),
            stream: StreamId::new("message", MessageId::new("last")),
            version: Version(1),
            id: Default::default(),
            at: Timestamp(7),
            clock: None,
            actor: Actor::User(eve.clone()),
            correlation: None,
            causation: None,
            origin: None,
            fault: None,
            event: MessageEvent::MessageSent { sent, content }.into(),
        });
        let author = Author {
            id: eve,
            username: "eve".to_owned(),
            name: Some("Eve".to_owned()),
        };
        let nobody_there = WriteModel::empty();
        let answer = recorded(&nobody_there, &MessageAfter { entry, author }).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["msg"], "good-bye");
        let shown = json!({ "_id": "eve-id", "username": "eve", "name": "Eve" });
        assert_eq!(answer["u"], shown);
    }
}
