//! `GET /api/hansard/v1/retention`: what holds for each room, and what was pruned.

use std::collections::BTreeMap;

use hansard_commands::model::WriteModel;
use hansard_commands::retention::{RoomPolicy, Schedule};
use hansard_domain::id::{RoomId, Timestamp};
use hansard_projections::retention::{self, PrunedTotal};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{inspected, names, require};
use crate::app::App;
use crate::operations::Operation;
use crate::rest::answer::{Answer, answer};
use crate::rest::body::Params;
use crate::rest::caller::Caller;
use crate::wire;

/// It names every room.
const PERMISSIONS: &[&str] = &["view-audit"];

pub const OPERATIONS: &[Operation] = &[SHOW];

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RetentionQuery {
    /// Only this room: its id or its name.
    room: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RetentionAnswer {
    /// Whether any message is pruned by its age.
    enabled: bool,
    /// When policies are enforced, in the form of cron, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_run: Option<String>,
    /// Rooms that a policy holds for or that were pruned before.
    rooms: Vec<RoomRetention>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RoomRetention {
    room: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What holds for it; not there if its messages stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<wire::record::Policy>)]
    policy: Option<RoomPolicy>,
    /// What was pruned, by reason: `requested`, `retention`, `deletion`.
    pruned: BTreeMap<String, PrunedAnswer>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PrunedAnswer {
    messages: u64,
    last_at: String,
}

pub const SHOW: Operation = Operation::get("hansard.retention", &show)
    .own("/api/hansard/v1/retention")
    .tagged("record")
    .tells("What holds for each room, and what was pruned.")
    .notes("Needs `view-audit`; every look goes on the audit.");

async fn show(
    app: App,
    caller: Caller,
    Params(query): Params<RetentionQuery>,
) -> Answer<RetentionAnswer> {
    require(&app, &caller, PERMISSIONS)?;
    let only = {
        let model = app.commands.model();
        let named = query.room.as_deref();
        named.map(|room| RoomId::new(names::room(&model, room)))
    };
    let totals = {
        let mut reading = app.views.retention.read().await?;
        retention::pruned(&mut reading, only.as_ref()).await?
    };
    let (rooms, schedule) = {
        let model = app.commands.model();
        let rooms = rooms(&model, only.as_ref(), totals);
        (rooms, Schedule::of(&model))
    };
    let asked = only.map_or_else(String::new, |room| room.to_string());
    inspected(&app, &caller, "retention", asked, rooms.len() as u64).await?;
    let status = app.retention.borrow().clone();
    answer(RetentionAnswer {
        enabled: schedule.is_some(),
        schedule: schedule.map(|schedule| schedule.as_str().to_owned()),
        last_run: status.last_run.map(Timestamp::iso),
        next_run: status.next_run.map(Timestamp::iso),
        rooms,
    })
}

/// What holds for a room, or for each, and what was pruned there.
fn rooms(
    model: &WriteModel,
    only: Option<&RoomId>,
    totals: Vec<PrunedTotal>,
) -> Vec<RoomRetention> {
    let mut rooms: BTreeMap<RoomId, RoomRetention> = BTreeMap::new();
    for (id, room) in model.rooms() {
        let policy = RoomPolicy::of(model, room);
        if policy.is_some() && only.is_none_or(|only| only == id) {
            let room = RoomRetention::of(id, names::room_name(model, id.as_str()), policy);
            rooms.insert(id.clone(), room);
        }
    }
    for PrunedTotal {
        room: id,
        reason,
        messages,
        last_at,
    } in totals
    {
        let room = rooms.entry(id).or_insert_with_key(|id| {
            RoomRetention::of(id, names::room_name(model, id.as_str()), None)
        });
        let last_at = last_at.iso();
        let pruned = PrunedAnswer { messages, last_at };
        room.pruned.insert(reason, pruned);
    }
    rooms.into_values().collect()
}

impl RoomRetention {
    fn of(id: &RoomId, name: Option<String>, policy: Option<RoomPolicy>) -> Self {
        Self {
            room: id.to_string(),
            name,
            policy,
            pruned: BTreeMap::new(),
        }
    }
}
