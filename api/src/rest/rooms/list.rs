//! Lists of rooms.

use hansard_commands::authorization::sight::{ADMINISTRATION, Purpose};
use hansard_commands::inspection::{self, Inspection};
use hansard_domain::id::UserId;
use hansard_projections::rooms::{self, Paging as Stretch, Room as Found, RoomFilter, RoomOrder};
use serde_json::{Map, Value};

use super::shape;
use crate::app::App;
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::paging::{Direction, Paging};
use crate::rest::query::Query;

/// What a client's own filter of rooms may ask about.
pub const MEMBERS: &[&str] = &[
    "_id",
    "t",
    "name",
    "fname",
    "msgs",
    "usersCount",
    "u",
    "usernames",
    "uids",
    "ts",
    "lm",
    "ro",
    "default",
    "archived",
    "topic",
    "description",
    "announcement",
    "customFields",
    "muted",
    "broadcast",
    "encrypted",
    "featured",
    "joinCodeRequired",
    "prid",
    "_updatedAt",
];

impl From<&Paging> for Stretch {
    fn from(paging: &Paging) -> Self {
        let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
        Self {
            offset: number(paging.offset),
            count: paging.count.map_or(0, number),
        }
    }
}

/// A page of rooms.
pub struct RoomList {
    pub rooms: Vec<Map<String, Value>>,
    pub total: usize,
}

/// The rooms of a filter, as they are asked for.
pub async fn rooms(
    app: &App,
    viewer: &UserId,
    filter: RoomFilter,
    paging: &Paging,
) -> Result<RoomList, Failure> {
    let (found, total) = find(app, viewer, filter, paging).await?;
    finished(app, viewer, found, total, paging).await
}

/// The rooms of a filter for somebody who administers rooms. If it would not see all of them
/// otherwise, that goes on the audit; and so does a look at a part of them, whose total tells of the
/// others, found or not, unless what is asked for is `open` to all.
pub async fn administered(
    app: &App,
    caller: &Caller,
    filter: RoomFilter,
    open: bool,
    paging: &Paging,
) -> Result<RoomList, Failure> {
    let narrowed =
        filter.name.is_some() || paging.query.as_ref().is_some_and(|asked| !asked.is_empty());
    let (found, total) = find(app, caller.user(), filter, paging).await?;
    let model = app.commands.model();
    let audited = |room: &&Found| {
        let sight = model.sight_in_list(caller, &room.id, Purpose::Administration);
        sight.is_some_and(|sight| sight.right.is_audited())
    };
    let unseen: Vec<_> = found
        .iter()
        .filter(audited)
        .map(|room| room.id.clone())
        .collect();
    let shown = unseen.len() as u64;
    if shown > 0 || !open && (narrowed || found.len() < total) {
        let inspection = Inspection {
            permission: ADMINISTRATION,
            shown,
            ..Inspection::default()
        };
        inspection::record_each(&app.commands, caller, &unseen, inspection).await?;
    }
    finished(app, caller.user(), found, total, paging).await
}

/// A page of the rooms of a filter, and how many there are in all.
async fn find(
    app: &App,
    viewer: &UserId,
    filter: RoomFilter,
    paging: &Paging,
) -> Result<(Vec<Found>, usize), Failure> {
    let sort = paging.sort.iter().find_map(|(name, direction)| {
        Some((RoomOrder::parse(name)?, *direction == Direction::Descending))
    });
    let (order, descending) = sort.unwrap_or_default();
    let filter = RoomFilter {
        order,
        descending,
        ..filter
    };
    match &paging.query {
        Some(query) if !query.is_empty() => queried(app, viewer, &filter, query, paging).await,
        _ => paged(app, &filter, paging).await,
    }
}

async fn paged(
    app: &App,
    filter: &RoomFilter,
    paging: &Paging,
) -> Result<(Vec<Found>, usize), Failure> {
    let stretch = paging.into();
    let mut reading = rooms::reading(&app.views.rooms, filter).await?;
    let (found, total) = rooms::by_filter(&mut reading, filter, stretch).await?;
    Ok((found, usize::try_from(total).unwrap_or_default()))
}

/// A client's own filter is applied to the rooms as they would be answered, so it sees what the
/// client sees and no more.
async fn queried(
    app: &App,
    viewer: &UserId,
    filter: &RoomFilter,
    query: &Map<String, Value>,
    paging: &Paging,
) -> Result<(Vec<Found>, usize), Failure> {
    let query = Query::read(&paging.client, query.clone(), MEMBERS).await?;
    let mut reading = app.views.rooms.walk().await?;
    let found = rooms::some(&mut reading, filter, Stretch::ALL).await?;
    drop(reading);
    let model = app.commands.model();
    let viewer = viewer.clone();
    let passing = query
        .filter(found, move |room| shape::seen(&model, &viewer, room))
        .await?;
    let total = passing.len();
    Ok((paging.slice(passing), total))
}

async fn finished(
    app: &App,
    viewer: &UserId,
    found: Vec<Found>,
    total: usize,
    paging: &Paging,
) -> Result<RoomList, Failure> {
    let rooms = shape::listed(app, viewer, found, paging.fields.clone()).await?;
    Ok(RoomList { rooms, total })
}
