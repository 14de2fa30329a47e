//! Rooms in answers.

use std::collections::HashMap;

use hansard_commands::authorization::sight::Purpose;
use hansard_commands::model::WriteModel;
use hansard_domain::id::{RoomId, UserId};
use hansard_projections::rooms::{self, Room as Found};
use serde_json::{Map, Value};

use crate::app::App;
use crate::rest::aside;
use crate::rest::failure::Failure;
use crate::rest::paging::Fields;
use crate::rest::rate_limit::building::Client;

/// A room as it is now.
pub async fn room(app: &App, viewer: &UserId, id: &RoomId) -> Result<Map<String, Value>, Failure> {
    let mut reading = app.views.rooms.read().await?;
    let found = rooms::by_ids(&mut reading, std::slice::from_ref(id)).await?;
    drop(reading);
    let room = finished(app, viewer, found, |_| ()).await?.pop();
    room.ok_or_else(|| Failure::refused("error-invalid-room", "Invalid room"))
}

/// A room as somebody sees it who knows of it: a member without the right to look into it sees no more
/// than that it is there.
pub fn seen(model: &WriteModel, viewer: &UserId, room: &Found) -> Map<String, Value> {
    const KNOWN: [&str; 5] = ["_id", "t", "name", "fname", "_updatedAt"];
    let mut wire = room.wire();
    let sight = model.sight_of(Some(viewer), &room.id, Purpose::Administration);
    if sight.is_none() {
        wire.retain(|name, _| KNOWN.contains(&name.as_str()));
    }
    wire
}

/// Rooms of a list. `fields` says what of the rest is asked for.
pub async fn listed(
    app: &App,
    viewer: &UserId,
    rooms: Vec<Found>,
    fields: Option<Fields>,
) -> Result<Vec<Map<String, Value>>, Failure> {
    let last = move |room: &mut Map<String, Value>| {
        if let Some(fields) = &fields {
            fields.project(room);
        }
    };
    finished(app, viewer, rooms, last).await
}

/// Rooms, with what was said last in those of them that the viewer may read; `finish` has the last word on
/// each.
async fn finished(
    app: &App,
    viewer: &UserId,
    rooms: Vec<Found>,
    finish: impl Fn(&mut Map<String, Value>) + Send + 'static,
) -> Result<Vec<Map<String, Value>>, Failure> {
    let mut last = HashMap::new();
    let model = app.commands.model();
    if model.flag("Store_Last_Message") {
        let reads = |id| {
            model
                .sight_of(Some(viewer), id, Purpose::Messages)
                .is_some()
        };
        let spoken: Vec<_> = rooms
            .iter()
            .filter(|room| room.spoken.is_some() && reads(&room.id))
            .map(|room| room.id.clone())
            .collect();
        last = app.views.messages.latest(viewer, &spoken).await?;
        // What was read may have been said after the viewer ceased to see it.
        let model = app.commands.model();
        last.retain(|room, _| {
            let sight = model.sight_of(Some(viewer), room, Purpose::Messages);
            sight.is_some()
        });
    }
    let client = Client::Account(viewer.clone());
    let viewer = viewer.clone();
    let shown = move |room: &Found| {
        let mut wire = seen(&model, &viewer, room);
        if let Some(message) = last.get(&room.id) {
            wire.insert("lastMessage".to_owned(), message.clone());
        }
        finish(&mut wire);
        wire
    };
    aside::each(&client, rooms, shown).await
}
