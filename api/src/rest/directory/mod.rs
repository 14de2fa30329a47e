//! `directory` and `spotlight`: finding people and rooms.

use hansard_commands::authorization::sight::{Purpose, Right};
use hansard_commands::model::WriteModel;
use hansard_domain::id::RoomId;
use hansard_domain::pace::Pace;
use hansard_domain::room::RoomKind;
use hansard_projections::accounts::{self, Filter, Order, Page, Search, SearchFields, User as Row};
use hansard_projections::rooms::{
    self, Paging as Stretch, Room as FoundRoom, RoomFilter, RoomOrder,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, answer};
use super::aside;
use super::body::Params;
use super::caller::Caller;
use super::failure::Failure;
use super::paging::{Direction, Paging};
use super::users::User;
use crate::app::App;
use crate::operations::Operation;
use crate::wire::account::{DirectoryEntry, SpottedUser};
use crate::wire::room::SpottedRoom;

pub const OPERATIONS: &[Operation] = &[DIRECTORY, SPOTLIGHT];

/// How many rooms and how many people the spotlight shows.
const SPOTLIGHT_ROOMS: usize = 5;
/// How many are looked at first.
const SPOTTED_AT_ONCE: i64 = 50;
const SPOTLIGHT_USERS: usize = 5;

#[derive(Debug, Serialize, ToSchema)]
struct Found {
    #[schema(value_type = Vec<DirectoryEntry>)]
    result: Vec<Map<String, Value>>,
    count: usize,
    offset: u64,
    total: u64,
}

fn invalid() -> Failure {
    Failure::plain("Please verify the parameters")
}

pub const DIRECTORY: Operation = Operation::get("directory", &directory)
    .tells("The people or the channels of the workspace.")
    .notes(
        "`query` is an object with `text`, what to look for, and `type`: `channels` or `users`. At most \
         one name to sort by. For people it needs `view-outside-room` and `view-d-room`, for channels \
         `view-c-room`.",
    );

async fn directory(app: App, caller: Caller, paging: Paging) -> Answer<Found> {
    if paging.sort.len() > 1 {
        return Err(Failure::plain(
            "This method support only one \"sort\" parameter",
        ));
    }
    let query = paging.query.clone().unwrap_or_default();
    let text = |name: &str| query.get(name).and_then(Value::as_str).unwrap_or_default();
    let (wanted, kind) = (text("text").trim().to_owned(), text("type"));
    let sort = paging.sort.first();
    let (by, descending) = sort.map_or(("name", true), |(name, direction)| {
        (name.as_str(), *direction == Direction::Descending)
    });
    let (result, total) = match kind {
        "" | "channels" => channels(&app, &caller, &paging, wanted, by, descending).await?,
        "users" => users(&app, &caller, &paging, wanted, by, descending).await?,
        // There are no teams.
        "teams" => (vec![], 0),
        _ => return Err(invalid()),
    };
    answer(Found {
        count: result.len(),
        offset: paging.offset,
        total,
        result,
    })
}

type Part = (Vec<Map<String, Value>>, u64);

async fn channels(
    app: &App,
    caller: &Caller,
    paging: &Paging,
    text: String,
    by: &str,
    descending: bool,
) -> Result<Part, Failure> {
    const SHOWN: [&str; 12] = [
        "_id",
        "t",
        "description",
        "topic",
        "name",
        "fname",
        "ts",
        "archived",
        "default",
        "featured",
        "usersCount",
        "prid",
    ];
    let order = match by {
        "name" | "usernames" => RoomOrder::Name,
        "createdAt" => RoomOrder::Created,
        "usersCount" => RoomOrder::Members,
        "lastMessage" => RoomOrder::Spoken,
        _ => return Err(invalid()),
    };
    let model = app.commands.model();
    if !model.allows(caller, "view-c-room", None) {
        return Err(invalid().denied(Some("view-c-room")));
    }
    // Whoever sees channels sees all of them, and of groups those that it is in.
    let groups = ["view-joined-room", "view-p-room"];
    let groups = groups.iter().any(|may| model.allows(caller, may, None));
    let filter = RoomFilter {
        kind: Some(RoomKind::Channel).filter(|_| !groups),
        open_to: Some(caller.user().clone()).filter(|_| groups),
        name: Some(text).filter(|text| !text.is_empty()),
        order,
        descending,
        ..RoomFilter::default()
    };
    let mut tables = rooms::reading(&app.views.rooms, &filter).await?;
    let (page, total) = rooms::by_filter(&mut tables, &filter, paging.into()).await?;
    // As it is by now.
    let model = app.commands.model();
    let caller = caller.clone();
    let shown = move |room: &FoundRoom| {
        let sight = model.sight_in_list(&caller, &room.id, Purpose::Particulars);
        let open = |right| matches!(right, Right::Membership | Right::Openness);
        sight.filter(|sight| open(sight.right))?;
        let mut wire = room.wire();
        wire.retain(|name, _| SHOWN.contains(&name.as_str()));
        Some(wire)
    };
    let result = aside::each(&paging.client, page, shown).await?;
    let result = result.into_iter().flatten().collect();
    Ok((result, u64::try_from(total).unwrap_or_default()))
}

/// Where `Accounts_SearchFields` says to look.
fn search_fields(model: &WriteModel, email: bool) -> SearchFields {
    let setting = model.text("Accounts_SearchFields");
    let has = |name: &str| setting.split(',').any(|field| field.trim() == name);
    SearchFields {
        username: has("username"),
        name: has("name"),
        bio: has("bio"),
        nickname: has("nickname"),
        email: email && has("emails.address"),
    }
}

async fn users(
    app: &App,
    caller: &Caller,
    paging: &Paging,
    text: String,
    by: &str,
    descending: bool,
) -> Result<Part, Failure> {
    let model = app.commands.model();
    let may = |permission| model.allows(caller, permission, None);
    let emails = may("view-full-other-user-info");
    let order = match by {
        "name" => Order::Name,
        "username" => Order::Username,
        "createdAt" => Order::CreatedAt,
        // To those who are not shown addresses, their order is not shown either.
        "email" if emails => Order::Email,
        "email" => Order::Name,
        "bio" => Order::Bio,
        _ => return Err(invalid()),
    };
    for permission in ["view-outside-room", "view-d-room"] {
        if !may(permission) {
            return Err(invalid().denied(Some(permission)));
        }
    }
    let filter = Filter {
        active: Some(true),
        search: (!text.is_empty()).then(|| Search {
            text,
            fields: search_fields(&model, emails),
        }),
        ..Filter::default()
    };
    let page = Page {
        order,
        descending,
        offset: paging.offset,
        limit: paging.count,
    };
    let mut tables = accounts::reading(&app.views.accounts, &filter).await?;
    let (rows, total) = accounts::list(&mut tables, &filter, &page).await?;
    let shown = |row: &Row| {
        const SHOWN: [&str; 6] = ["_id", "username", "name", "nickname", "bio", "createdAt"];
        let mut user = User::full(&model, row).into_object();
        user.retain(|name, _| SHOWN.contains(&name.as_str()) || (emails && name == "emails"));
        user
    };
    Ok((rows.iter().map(shown).collect(), total))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Spotlight {
    /// What to look for; `@` in front for people only, `#` for rooms only.
    query: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Spotted {
    #[schema(value_type = Vec<SpottedUser>)]
    users: Vec<Map<String, Value>>,
    #[schema(value_type = Vec<SpottedRoom>)]
    rooms: Vec<Map<String, Value>>,
}

pub const SPOTLIGHT: Operation = Operation::get("spotlight", &spotlight)
    .tagged("directory")
    .tells(
        "A few people, and a few channels that the caller is not in, whose names contain a text.",
    );

async fn spotlight(
    app: App,
    caller: Caller,
    Params(Spotlight { query }): Params<Spotlight>,
) -> Answer<Spotted> {
    let (people, places, text) = match query.chars().next() {
        Some('@') => (true, false, &query[1..]),
        Some('#') => (false, true, &query[1..]),
        _ => (true, true, query.as_str()),
    };
    let model = app.commands.model();
    let may = |permission| model.allows(&caller, permission, None);
    let outside = may("view-outside-room");
    let mut spotted = Spotted {
        users: vec![],
        rooms: vec![],
    };
    if people && outside && may("view-d-room") {
        spotted.users = spot_users(&app, &model, text).await?;
    }
    if places && outside && may("view-c-room") {
        spotted.rooms = spot_rooms(&app, &caller, text).await?;
    }
    answer(spotted)
}

async fn spot_users(
    app: &App,
    model: &WriteModel,
    text: &str,
) -> Result<Vec<Map<String, Value>>, Failure> {
    const SHOWN: [&str; 6] = [
        "_id",
        "username",
        "nickname",
        "name",
        "status",
        "statusText",
    ];
    let filter = Filter {
        active: Some(true),
        search: (!text.is_empty()).then(|| Search {
            text: text.to_owned(),
            fields: search_fields(model, false),
        }),
        ..Filter::default()
    };
    let page = Page {
        limit: Some(SPOTLIGHT_USERS as u64),
        ..Page::default()
    };
    let mut tables = accounts::reading(&app.views.accounts, &filter).await?;
    let exact = accounts::by_username(&mut tables, text).await?;
    let exact = exact.filter(|row| row.active);
    let others = accounts::some(&mut tables, &filter, &page).await?;
    let first = exact.as_ref().map(|row| row.id.clone());
    let others = others
        .into_iter()
        .filter(|row| Some(&row.id) != first.as_ref());
    let shown = exact.into_iter().chain(others).take(SPOTLIGHT_USERS);
    let users = shown.map(|row| {
        let mut user = User::public(model, &row).into_object();
        user.retain(|name, _| SHOWN.contains(&name.as_str()));
        user.insert("outside".to_owned(), json!(true));
        user
    });
    Ok(users.collect())
}

async fn spot_rooms(
    app: &App,
    caller: &Caller,
    text: &str,
) -> Result<Vec<Map<String, Value>>, Failure> {
    const SHOWN: [&str; 6] = ["_id", "t", "name", "fname", "joinCodeRequired", "prid"];
    let filter = RoomFilter {
        kind: Some(RoomKind::Channel),
        name: Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        ..RoomFilter::default()
    };
    let mut tables = rooms::reading(&app.views.rooms, &filter).await?;
    let mut outside: Vec<RoomId> = Vec::new();
    let mut pace = Pace::new();
    let mut stretch = Stretch {
        offset: 0,
        count: SPOTTED_AT_ONCE,
    };
    // Those that the caller is in are left out, and there may be many of them.
    while outside.len() < SPOTLIGHT_ROOMS {
        let some = rooms::ids(&mut tables, &filter, stretch).await?;
        let last = (some.len() as i64) < stretch.count;
        let model = app.commands.model();
        for id in some {
            pace.keep().await;
            let sight = model.sight_in_list(caller, &id, Purpose::Particulars);
            let open = sight.is_some_and(|sight| sight.right == Right::Openness);
            if open && model.room(&id).is_some_and(|room| !room.archived) {
                outside.push(id);
            }
        }
        if last {
            break;
        }
        stretch.offset += stretch.count;
        stretch.count *= 4;
    }
    outside.truncate(SPOTLIGHT_ROOMS);
    let mut found = rooms::by_ids(&mut tables, &outside).await?;
    found.sort_by_key(|room| outside.iter().position(|id| *id == room.id));
    let rooms = found.into_iter().map(|room| {
        let mut wire = room.wire();
        wire.retain(|name, _| SHOWN.contains(&name.as_str()));
        wire
    });
    Ok(rooms.collect())
}
